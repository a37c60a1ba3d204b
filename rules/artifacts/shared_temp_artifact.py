"""BND801: a file or browser profile at a path that two customers share, or that outlives its request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.findings import Persona
from boundlint.flow.artifacts import Artifact
from boundlint.flow.usage import SUPPORT_PATH
from boundlint.index.entries import is_privileged
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.values import FunctionFlow
    from boundlint.flow.view import View

WHY = {
    "time": "two requests in one moment get the same name",
    "name": "two customers who send a file of one name get the same path",
    "": "every request gets the same path",
}


def check_call(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a file that customers share, or that is left behind."""
    for row in view.artifacts(node):
        yield Problem(
            message_of(row),
            help_of(row),
            "high" if row.confidence == "high" and row.temporary else "medium",
            persona_of(row),
            row.call,
        )


def message_of(row: Artifact) -> str:
    """What is wrong with the file."""
    if row.kind == "profile":
        return f"{row.call} keeps one profile for everybody at '{row.path}': cookies and logins of all customers meet there"
    if row.kind == "shared-object":
        return f"{row.call} opens what the client names with {row.content}, in a bucket that customers share: nothing says whose it is"
    if row.kind == "left-behind":
        return f"{row.call} keeps the file after it is closed, and nothing removes it: {row.content} stays on the disk"
    why = WHY["name" if "name" in row.varies else "time" if "time" in row.varies else ""]
    return f"{row.call} writes {row.content} to '{row.path}', which customers share: {why}"


def help_of(row: Artifact) -> str:
    """The repair."""
    if row.kind == "profile":
        return "give each run a folder of its own (tempfile.mkdtemp), or one with the tenant's id"
    if row.kind == "shared-object":
        return "put the tenant's id into the key or the bucket, or look up who owns the object before it is opened"
    if row.kind == "left-behind":
        return "let the file be removed on close (no delete=False), or remove it in a finally block"
    return "use tempfile.NamedTemporaryFile or tempfile.TemporaryDirectory, or put the tenant's id and a random part into the name"


def persona_of(row: Artifact) -> Persona:
    """Good evidence: a temporary place, and content that was handed in."""
    if SUPPORT_PATH.search(row.function.path) or is_privileged(row.function):
        return "auditor"
    if row.kind == "left-behind":
        return "pedantic" if row.handed_on else "regular"
    if row.kind in ("profile", "shared-object"):
        return "regular"
    return "regular" if row.temporary else "pedantic"


def suspects(flow: FunctionFlow) -> bool:
    """A function that writes a file where customers meet."""
    return flow.effects is not None and bool(flow.effects.artifacts)


RULE = Rule(
    code="BND801",
    name="shared-temp-artifact",
    severity="warning",
    summary="temp files, browser profiles or sandboxes at a path that two tenants share",
    visit={"Call": check_call},
    suspects=suspects,
)
