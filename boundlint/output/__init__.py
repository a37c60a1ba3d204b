"""The output formats, one module each, and what they share. Changes when a format comes or goes.

A format is a function from a report to text. Its module is imported when the format is asked for.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from boundlint.registry import hookimpl

if TYPE_CHECKING:
    from boundlint.findings import Report
    from boundlint.registry import Renderer
    from boundlint.rule import Rule

NAMES = ("rich", "concise", "json", "sarif", "github", "gitlab", "junit")

# Control characters, and those that change the direction of the text around them (or hide in it).
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff\ufffe\uffff]"
)


@dataclass(frozen=True)
class Context:
    """What a format may need besides the report.

    `root` is what the paths of the report are relative to, `cwd` what the output is relative to. `rules` are
    all rules that exist. `sources` holds the text of files that are not on the disk (standard input), by
    the report's path. `color` allows terminal colors.
    """

    root: Path
    cwd: Path
    rules: tuple[Rule, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)
    color: bool = False

    def shown(self, path: str) -> str:
        """A path of the report, relative to `cwd` with `/`; absolute where there is no relative one."""
        full = os.path.join(self.root, path)
        try:
            return os.path.relpath(full, self.cwd).replace(os.sep, "/")
        except ValueError:  # another drive
            return full.replace(os.sep, "/")


def printable(text: str) -> str:
    """Text from a linted project made safe to print on one line: control characters become escapes."""
    return _UNSAFE.sub(lambda match: match.group().encode("unicode_escape").decode("ascii"), text)


@hookimpl
def boundlint_output_formats() -> Mapping[str, Renderer]:
    """The built-in formats."""
    return {name: _lazy(name) for name in NAMES}


def _lazy(name: str) -> Renderer:
    def render(report: Report, context: Context) -> str:
        module = importlib.import_module(f"{__name__}.{name}")
        return cast("Renderer", module.render)(report, context)

    return render
