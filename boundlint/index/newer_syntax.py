"""Syntax that the running interpreter does not know yet, as the nearest syntax that it knows.

LibCST's parser finds the constructs; each is overwritten in place, so that lines and, nearly always, columns
stay those of the source.  String templates become placeholders in the text, and trees of their own that
replace the placeholders afterwards.  Changes when Python's grammar grows.
"""

from __future__ import annotations

import ast
import re
import sys
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from boundlint.index.parse import MOST_LEVELS, ParseError, parse_native

if TYPE_CHECKING:
    import libcst as cst


_TEMPLATES = frozenset({"FormattedString", "TemplatedString"})
_EXPRESSIONS = frozenset({"FormattedStringExpression", "TemplatedStringExpression"})
_LAZY_IMPORTS = frozenset({"LazyImport", "LazyImportFrom"})
_COMPREHENSIONS = frozenset({"ListComp", "SetComp", "GeneratorExp"})
_TOKENS = re.compile(
    r"'''(?:\\.|[^\\])*?'''|\"\"\"(?:\\.|[^\\])*?\"\"\"|'(?:\\.|[^'\\\n])*'|\"(?:\\.|[^\"\\\n])*\"|#[^\n]*"
    r"|\\\n|[\[({]|[\])}]|[,;\n]|\b(?:not|lambda|if|await|and|or|for|in|is|yield|from|case)\b|[-+*/%@&|^~<>=.:!]",
    re.DOTALL,
)
_BLANKS = re.compile(rb"(?:[ \t\f\n]|\\\n|#[^\n]*\n)*")
_REFUSALS = (
    RecursionError,
    MemoryError,
    ValueError,
    ParseError,
)  # a value: LibCST lost a blank, so places are wrong
_ELIF = re.compile(r"^[ \t]*elif\b", re.MULTILINE)
# The native parser behind LibCST takes the process down at some 3,000 levels, is slow at 200 brackets, and
# takes exponential time over nested match patterns.
_DEEPEST_TEXT = 2 * MOST_LEVELS
_MOST_BRANCHES = 2 * MOST_LEVELS
_MOST_BRACKETS = 100
_MOST_PATTERNS = 7


def parse_newer(source: str, refusal: ParseError) -> ast.Module:
    """The tree of a source that the interpreter refused; raises `refusal` where LibCST refuses too."""
    import libcst as cst

    source = source.replace("\r\n", "\n").replace("\r", "\n")
    if _nests_deeply(source):
        raise refusal
    try:
        return _Rewriter(source, cst.parse_module(source)).tree()
    except (*_REFUSALS, cst.CSTValidationError, cst.CSTLogicError, cst.ParserSyntaxError) as error:
        raise refusal from error


def _nests_deeply(source: str) -> bool:
    """Whether a cheap bound of the nesting is exceeded: openers, operators and words up to a separator."""
    if len(_ELIF.findall(source)) > _MOST_BRANCHES:
        return True
    outer: list[int] = []
    here = depth = 0
    most = _MOST_BRACKETS
    for token in _TOKENS.findall(source):
        if token == "case":
            most = _MOST_BRACKETS if outer else _MOST_PATTERNS
        elif token in "([{":
            outer.append(here + 1)
            if len(outer) > most:
                return True
            depth += here + 1
            here = 0
        elif token in ")]}":
            if outer:
                here = outer.pop()
                depth -= here
        elif token in ",;" or (token == "\n" and not outer):
            here = 0
            if not outer:
                most = _MOST_BRACKETS
        elif token[0] not in "#\\\n":
            here += 1
        if depth + here > _DEEPEST_TEXT:
            return True
    return False


class _Rewriter:
    """The edits of one module.  Offsets count bytes; edits keep the length, insertions come last."""

    def __init__(self, source: str, module: cst.Module) -> None:
        from libcst.metadata import ByteSpanPositionProvider, MetadataWrapper

        self.module = module
        self.text = bytearray(source.encode())
        self.starts = [0, *accumulate(len(line) + 1 for line in bytes(self.text).split(b"\n"))]
        self.insertions: list[tuple[int, bytes]] = []
        self.templates: list[tuple[int, ast.JoinedStr]] = []  # with the offset of the placeholder
        self.placeholders: dict[tuple[int, int], ast.JoinedStr] = {}  # the same by line and column
        wrapper = MetadataWrapper(module, unsafe_skip_copy=True)
        self.spans = wrapper.resolve(ByteSpanPositionProvider)

    def tree(self) -> ast.Module:
        pieces = set()
        for node in self.spans:  # inner nodes before the outer ones
            if type(node).__name__ == "ConcatenatedString":
                pieces |= {id(node.left), id(node.right)}  # type: ignore[attr-defined]
        for node in self.spans:
            if id(node) not in pieces:
                self._rewrite(node)
        text = bytearray(self.text)
        for offset, inserted in sorted(self.insertions, reverse=True):
            text[offset:offset] = inserted
        tree = parse_native(text.decode())
        _substitute(tree, {self._final(offset): joined for offset, joined in self.templates})
        return tree

    def _rewrite(self, node: Any) -> None:
        kind = type(node).__name__
        start, end = self._span(node)
        if kind in _TEMPLATES or kind == "ConcatenatedString":
            self._template(node, start, end)
        elif kind == "TypeParameters":
            self._blank(start, end)
        elif kind == "TypeAlias":
            parameters = node.type_parameters
            name = self._span(node.name)
            self._blank(start, self._span(parameters)[1] if parameters else name[1])
            self.text[start : start + name[1] - name[0]] = node.name.value.encode()
        elif kind in _LAZY_IMPORTS:
            word = b"import" if kind == "LazyImport" else b"from"
            place = self.text.index(word, start + len(b"lazy"))
            self._blank(start, place + len(word))
            self.text[start : start + len(word)] = word
        elif kind in ("ExceptHandler", "ExceptStarHandler"):
            self._handler(node, start)
        elif kind in _COMPREHENSIONS and type(node.elt).__name__ == "StarredElement":
            self._star(self._span(node.elt)[0])
        elif kind == "StarredDictComp":
            place = self.text.index(b"**", start)
            self._blank(place, place + 2)
        elif sys.version_info < (3, 11):
            self._unpacking(node, kind)

    def _handler(self, node: Any, start: int) -> None:
        if sys.version_info < (3, 11) and type(node).__name__ == "ExceptStarHandler":
            self._star(self.text.index(b"*", start))
        if type(node.type).__name__ == "Tuple" and not node.type.lpar:
            first, last = self._span(node.type)
            if self.text[first - 1 : first] == b" ":
                self.text[first - 1 : first] = b"("
            else:
                self.insertions.append((first, b"("))
            self.insertions.append((last, b")"))

    def _unpacking(self, node: Any, kind: str) -> None:
        """`tuple[*Ts]` and `*args: *Ts`, new in Python 3.11."""
        if kind == "Index" and getattr(node, "star", None):
            self._star(self.text.index(b"*", self._span(node)[0]))
        elif kind == "Annotation" and type(node.annotation).__name__ == "StarredElement":
            self._star(self._span(node.annotation)[0])

    def _star(self, offset: int) -> None:
        self.text[offset : offset + 1] = b" "

    def _blank(self, start: int, end: int) -> None:
        """Overwrite with blanks; a line break stays, behind a backslash."""
        for offset in range(start, end):
            if self.text[offset : offset + 1] != b"\n":
                self.text[offset : offset + 1] = b" "
            elif offset > start and self.text[offset - 1 : offset] != b"\n":
                self.text[offset - 1 : offset] = b"\\"
            else:
                self.insertions.append((offset, b"\\"))

    def _template(self, node: Any, start: int, end: int) -> None:
        pieces = list(_pieces(node))
        if not any(type(piece).__name__ in _TEMPLATES for piece in pieces):
            return
        values: list[ast.expr] = []
        for piece in pieces:
            if type(piece).__name__ in _TEMPLATES:
                values += self._parts(piece.parts, piece.start, start, end)
            else:
                text = ast.literal_eval(piece.value)
                values.append(self._placed(ast.Constant(value=text, kind=None), start, end))
        joined = ast.JoinedStr(values=_merged(values))
        self.templates.append((start + 1, self._placed(joined, start, end)))
        self.placeholders[self._place(start + 1)] = joined
        for offset in range(start, end):
            if self.text[offset : offset + 1] != b"\n":
                self.text[offset : offset + 1] = b" "
        self.text[start : start + 2] = b"(0"
        self.text[end - 1 : end] = b")"

    def _parts(self, parts: Sequence[Any], opener: str, start: int, end: int) -> Iterator[ast.expr]:
        for part in parts:
            if type(part).__name__ not in _EXPRESSIONS:
                yield self._placed(ast.Constant(value=_decoded(part.value, opener), kind=None), start, end)
                continue
            first, last = self._span(part)
            begin = self._behind_blanks(first + 1)
            stop = self._end_of_expression(part, begin, last - 1)
            conversion = ord(part.conversion) if part.conversion else -1
            if part.equal is not None:
                shown = self._code(part.whitespace_before_expression) + self._code(part.expression)
                shown += self._code(part.whitespace_after_expression) + self._code(part.equal)
                yield self._placed(ast.Constant(value=shown.decode(), kind=None), start, end)
                if conversion < 0 and part.format_spec is None:
                    conversion = ord("r")
            spec = None
            if part.format_spec is not None:
                values = _merged(list(self._parts(part.format_spec, opener, start, end)))
                spec = self._placed(ast.JoinedStr(values=values), start, end)
            value = self._expression(begin, stop)
            yield self._placed(
                ast.FormattedValue(value=value, conversion=conversion, format_spec=spec), first, last
            )

    def _expression(self, start: int, end: int) -> ast.expr:
        """The tree of an expression inside a template, with its real lines and columns."""
        tree = parse_native("(" + self.text[start:end].decode() + "\n)").body[0]
        assert isinstance(tree, ast.Expr)
        line, column = self._place(start)
        for node in ast.walk(tree):
            if isinstance(node, (ast.expr, ast.keyword, ast.arg)):
                # the added parenthesis takes a column of the first line
                node.col_offset += column - 1 if node.lineno == 1 else 0
                node.end_col_offset = (node.end_col_offset or 0) + (column - 1 if node.end_lineno == 1 else 0)
                node.lineno += line - 1
                node.end_lineno = (node.end_lineno or 1) + line - 1
        _substitute(tree, self.placeholders)
        return tree.value

    def _end_of_expression(self, part: Any, begin: int, end: int) -> int:
        """Where the expression of a template's part ends, whose brace closes at an offset."""
        if part.format_spec is not None:
            end = self._span(part.format_spec[0])[0] if part.format_spec else end
            end = self.text.rindex(b":", begin, end)
        if part.conversion is not None:
            end = self.text.rindex(b"!", begin, end)
        if part.equal is not None:
            end = self.text.rindex(b"=", begin, end)
        return end

    def _behind_blanks(self, offset: int) -> int:
        """The offset of what follows blanks, line breaks and comments."""
        found = _BLANKS.match(self.text, offset)
        return found.end() if found is not None else offset

    def _placed(self, node: Any, start: int, end: int) -> Any:
        node.lineno, node.col_offset = self._place(start)
        node.end_lineno, node.end_col_offset = self._place(end)
        return node

    def _place(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1]

    def _final(self, offset: int) -> tuple[int, int]:
        """Line and column of an offset after the insertions."""
        line, column = self._place(offset)
        if self.insertions:
            start = offset - column
            column += sum(len(text) for place, text in self.insertions if start <= place <= offset)
        return line, column

    def _span(self, node: Any) -> tuple[int, int]:
        span = self.spans.get(node)
        return (span.start, span.start + span.length) if span is not None else (0, 0)

    def _code(self, node: Any) -> bytes:
        return self.module.code_for_node(node).encode()


def _substitute(tree: ast.AST, templates: dict[tuple[int, int], ast.JoinedStr]) -> None:
    """Put the templates where their placeholders stand."""
    stack = [tree]
    while stack:
        node = stack.pop()
        for name, value in ast.iter_fields(node):
            items = value if isinstance(value, list) else [value]
            for index, item in enumerate(items):
                if isinstance(item, ast.Constant) and item.value == 0:
                    joined = templates.get((item.lineno, item.col_offset))
                    if joined is not None and isinstance(value, list):
                        value[index] = joined
                    elif joined is not None:
                        setattr(node, name, joined)
                elif isinstance(item, ast.AST):
                    stack.append(item)


def _pieces(node: Any) -> Iterator[Any]:
    """The strings that stand side by side in one literal."""
    stack = [node]
    while stack:
        node = stack.pop()
        if type(node).__name__ == "ConcatenatedString":
            stack += [node.right, node.left]
        else:
            yield node


def _merged(values: list[ast.expr]) -> list[ast.expr]:
    """Neighbouring texts as one, as CPython does."""
    merged: list[ast.expr] = []
    for value in values:
        before = merged[-1] if merged else None
        if isinstance(value, ast.Constant) and isinstance(before, ast.Constant):
            before.value = str(before.value) + str(value.value)
        elif not (isinstance(value, ast.Constant) and value.value == ""):
            merged.append(value)
    return merged


def _decoded(text: str, opener: str) -> str:
    """What a text between the braces of a template means."""
    text = text.replace("{{", "{").replace("}}", "}")
    if "\\" not in text or "r" in opener.lower():
        return text
    safe = re.sub(
        r"\\.|[\"\n]", lambda found: {'"': r"\x22", "\n": r"\n"}.get(found[0], found[0]), text, flags=re.S
    )
    try:
        tree = parse_native(f'"{safe}"').body[0]
    except ParseError:  # a lone backslash before a brace
        return text
    return str(ast.literal_eval(tree.value)) if isinstance(tree, ast.Expr) else text
