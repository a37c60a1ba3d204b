"""Which names a log call mentions: enough to tell, without the source, whether it could hold content."""

from __future__ import annotations

import ast

LEVELS = frozenset(
    "debug info warning warn error exception critical fatal success trace log print adebug ainfo awarning aerror "
    "aexception acritical".split()
)


def mentioned(node: ast.Call) -> set[str]:
    """The last names of what a call is given: variables, attributes, constant keys, keywords."""
    found: set[str] = set()
    stack: list[ast.AST] = [*node.args, *node.keywords]
    while stack:
        part = stack.pop()
        if isinstance(part, ast.Name):
            found.add(part.id)
        elif isinstance(part, ast.Attribute):
            found.add(part.attr)
            stack.append(part.value)
        elif isinstance(part, ast.Constant):
            if isinstance(part.value, str) and part.value.isidentifier():
                found.add(part.value)
        else:
            if isinstance(part, ast.keyword) and part.arg:
                found.add(part.arg)
            stack.extend(ast.iter_child_nodes(part))
    return found
