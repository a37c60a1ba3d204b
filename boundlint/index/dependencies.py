"""What a framework injects: `Depends(get_session)` as a default, inside `Annotated`, or in a decorator."""

from __future__ import annotations

import re
from collections.abc import Iterator

from boundlint.index.project import Function, Project

DEPENDS = re.compile(r"\b(?:Depends|Security|Provide|Inject)\(\s*([\w.]+)")


def dependencies(text: str) -> list[str]:
    """The functions that the source text of an annotation, default or decorator names as dependencies."""
    return DEPENDS.findall(text) if "(" in text else []


def injected(project: Project, function: Function, text: str) -> Iterator[tuple[Function, str]]:
    """Each dependency of a text as (module, call path in that module).

    An alias such as `SessionDep = Annotated[Session, Depends(get_session)]` is followed.
    """
    module = project.functions(function.path)[""]
    for name in dependencies(text):
        yield module, name
    alias = text.strip()
    if alias.replace(".", "").isidentifier():
        symbol = project.resolve(function.path, alias)
        if symbol is not None and symbol.kind == "variable":
            there = project.functions(symbol.path)[""]
            for value in project.files[symbol.path].assigned.get(symbol.name, ()):
                if value.startswith(":"):
                    for name in dependencies(value):
                        yield there, name
