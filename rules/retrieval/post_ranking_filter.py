"""BND302: candidates are fetched from all tenants and compared with the boundary afterwards."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.findings import TraceStep
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.view import View


def check_comparison(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a comparison of a search result's boundary, where the search itself had none."""
    for row in view.post_filters(node):
        access = row.access
        if access.verdict == "scoped":
            continue
        certain = access.verdict == "unscoped"
        yield Problem(
            f"{access.operation.target} ranks candidates of all tenants; `{row.compared}` drops the others too late",
            "pass the boundary in the filter of the search, so that the ranking never sees other tenants",
            "high" if certain and access.confidence == "high" else "medium",
            "regular" if certain or access.verdict == "open" else "pedantic",
            access.operation.target,
            trace=(
                TraceStep(access.function.path, access.line, "candidates are fetched here"),
                *access.trace,
            ),
        )


RULE = Rule(
    code="BND302",
    name="post-ranking-filter",
    severity="error",
    summary="candidates fetched broadly, tenant compared afterwards",
    visit={"Comparison": check_comparison},
)
