"""Tables in Markdown, and their places in the README."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; all columns but the first are numbers."""
    lines = [" | ".join(head), " | ".join(["---"] + ["---:"] * (len(head) - 1))]
    lines += [" | ".join(row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def replace_between(text: str, name: str, content: str) -> str:
    """The text with new content between `<!-- name -->` and `<!-- /name -->`.  Raises ValueError without them."""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, opened, rest = text.partition(start)
    _, closed, after = rest.partition(end)
    if not opened or not closed:
        raise ValueError(f"the text has no {start} … {end}")
    return f"{before}{start}\n{content}\n{end}{after}"
