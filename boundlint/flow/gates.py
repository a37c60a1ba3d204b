"""What lets callers in to a route besides its own parameters: its view class, and the router that it hangs on."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from boundlint.index.entries import ROUTE, view_guards
from boundlint.index.extract import path_of
from boundlint.index.project import Function

if TYPE_CHECKING:
    from boundlint.flow.analysis import Flow


def gates(flow: Flow, function: Function) -> str:
    """The source of what is asked before a route: `[IsAuthenticated]`, `[Depends(require_user)]`; "" for nothing."""
    texts = (view_guards(flow.project, function), *map(_of_route, function.facts.decorators))
    return " ".join(filter(None, (*texts, _of_router(flow, function))))


def _of_route(decorator: str) -> str:
    """A route's own `dependencies=[…]`, which fill no parameter."""
    return decorator if "dependencies" in decorator and ROUTE.search(decorator) else ""


def _of_router(flow: Flow, function: Function) -> str:
    """The dependencies of the router in the same file: `router = APIRouter(dependencies=[…])`."""
    module = flow.project.functions(function.path)[""].facts
    if "Depends" not in module.calls and "Security" not in module.calls:
        return ""
    routers = {row.partition(".")[0] for row in function.facts.decorators if ROUTE.search(row)}
    for node in flow.slices.module_statements(function.path) if routers else ():
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Call):
            continue
        if any(path_of(target) in routers for target in node.targets):
            for keyword in node.value.keywords:
                if keyword.arg == "dependencies":
                    return ast.unparse(keyword.value)
    return ""
