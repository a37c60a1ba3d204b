"""What a rule is: its name and the free functions that look at nodes of one function's source.

A rule module holds one `RULE`.  Its handlers receive a LibCST node and a `View` of the function the node
stands in, ask the flow through the view, and yield problems.  Rules hold no dataflow and no client names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from boundlint.findings import Confidence, Fix, Persona, Severity, TraceStep

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.values import FunctionFlow
    from boundlint.flow.view import View
    from boundlint.index.facts import FunctionFacts
    from boundlint.suppressions import SuppressionUse


@dataclass(frozen=True)
class Problem:
    """What a handler reports; the engine adds the rule's name, the place and the fingerprint.

    `persona` follows the evidence: `regular` only where the rule's spec calls the evidence good.
    """

    message: str
    help: str
    confidence: Confidence = "medium"
    persona: Persona = "auditor"
    operation: str = ""
    facts: tuple[str, ...] = ()
    trace: tuple[TraceStep, ...] = ()
    fix: Fix | None = None


Handler = Callable[["cst.CSTNode", "View"], Iterable[Problem]]
SuppressionHandler = Callable[["SuppressionUse"], Iterable[Problem]]


@dataclass(frozen=True)
class Rule:
    """One rule.  `visit` maps LibCST node type names (`Call`, `FunctionDef`) to handlers.

    A rule is shown the functions in which the flow found something to judge, those that its own `wants` asks
    for by their facts alone, and, of those that the flow followed, the ones that its `suspects` names.
    """

    code: str
    name: str
    severity: Severity
    summary: str
    visit: Mapping[str, Handler] = field(default_factory=dict)
    wants: Callable[[FunctionFacts], bool] | None = None
    only_wanted: bool = False  # shown what `wants` asks for, and nothing else
    suspects: Callable[[FunctionFlow], bool] | None = None
    on_suppression: SuppressionHandler | None = None
    certain: bool = False  # also runs in a project that shows no tenancy at all
