"""Generic views (Django, DRF) that answer from a class variable: a queryset of everybody's rows, and nothing narrows it.

Told by the facts alone: the methods that such a view may override to scope, its permissions and filters, and
what the other generic views of the project do.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from boundlint.flow.usage import SUPPORT_PATH
from boundlint.index.entries import PRIVILEGED
from boundlint.index.facts import FunctionFacts
from boundlint.index.models import Model
from boundlint.index.nodes import span_of
from boundlint.index.project import Class, Function

if TYPE_CHECKING:
    from boundlint.flow.analysis import Flow

GENERIC = re.compile(
    r"^(?:(?:ReadOnly)?ModelViewSet|GenericViewSet|GenericAPIView|(?:List|Retrieve|Update|Destroy|Create){1,3}APIView"
    r"|(?:Detail|List|Update|Delete)View)$"
)
CREATES = re.compile(r"^Create(?:APIView|ModelMixin|View)$")
# Bases of the frameworks that narrow no rows; any other one from outside of the project may.
PLAIN_BASE = re.compile(
    r"^(?:\w*ModelMixin|APIView|ViewSet|GenericViewSet|View|LoginRequiredMixin|NestedViewSetMixin|object)$"
)
# Methods in which a view scopes, or refuses.
HOOKS = frozenset(
    "get_queryset filter_queryset get_object dispatch initial setup check_permissions check_object_permissions "
    "has_permission test_func initialize_request list retrieve update destroy get put patch delete".split()
)
ALL_ROWS = re.compile(
    r"^([\w.]+?)\.(?:\w*objects\w*)\.(?:all|select_related|prefetch_related|order_by|with_\w+)\("
)
PLAIN_FILTER = re.compile(r"^(?:\w+\.)*(?:DjangoFilterBackend|SearchFilter|OrderingFilter)$")
# Permissions that ask who calls, or for a right on the table, and not for one on the row.
PLAIN_PERMISSION = re.compile(r"^(?:\w+\.)*(?:IsAuthenticated\w*|AllowAny|DjangoModelPermissions\w*)$")
OPEN_TO_ALL = re.compile(r"AllowAny|IsAuthenticatedOrReadOnly")
LEAST_SCOPED = 2  # other generic views that scope, so that this one stands out
MOST_OPEN = 0.5  # of the generic views: where half of them is open, something else must protect them


@dataclass(frozen=True)
class OpenView:
    """A generic view over all rows of a customers' model.

    `span` is that of the assignment of its class variable (columns in UTF-8 bytes); `peers` are places of
    views that scope, `scoped` of `total` do.
    """

    name: str
    model: str
    span: tuple[int, int, int, int]
    scoped: int
    total: int
    peers: tuple[tuple[str, int], ...]
    privileged: bool

    @property
    def stands_out(self) -> bool:
        """Whether most generic views of the project scope their rows."""
        return self.scoped >= LEAST_SCOPED and self.total - self.scoped <= MOST_OPEN * self.total


class Views:
    """The generic views of one project; they are judged once."""

    def __init__(self, flow: Flow) -> None:
        self._flow = flow

    def are_in(self, path: str) -> bool:
        """Whether a file holds an open view."""
        return any(cls.path == path for cls, _ in self._judged[1])

    def of_module(self, module: Function) -> tuple[OpenView, ...]:
        """The open views of a file."""
        scoped, open_views = self._judged
        total = len(scoped) + len(open_views)
        peers = tuple((cls.path, cls.facts.line) for cls in scoped[:2])
        found = []
        for cls, model in open_views:
            node = self._assignment(cls) if cls.path == module.path else None
            if node is not None:
                text = " ".join((cls.path, cls.facts.qualname)).lower()
                found.append(
                    OpenView(
                        cls.facts.qualname,
                        model.name,
                        span_of(node),
                        len(scoped),
                        total,
                        peers,
                        bool(
                            PRIVILEGED.search(text)
                            or OPEN_TO_ALL.search(self._text(cls, "permission_classes"))
                        ),
                    )
                )
        return tuple(found)

    @cached_property
    def _judged(self) -> tuple[list[Class], list[tuple[Class, Model]]]:
        """The generic views over customers' models: those that scope, and those that do not."""
        scoped, open_views = [], []
        for cls, model in self._generic():
            if self._is_scoped(cls, model):
                scoped.append(cls)
            elif self._is_open(cls):
                open_views.append((cls, model))
        return scoped, open_views

    def _generic(self) -> Iterator[tuple[Class, Model]]:
        project = self._flow.project
        models = {model.name: model for model in self._flow.models.values()}
        for path in project.files:
            for cls in project.classes(path).values():
                if SUPPORT_PATH.search(path):
                    continue
                bases = [row.rpartition(".")[2] for row in project.ancestors(cls) if isinstance(row, str)]
                if not any(map(GENERIC.match, bases)) or any(map(CREATES.match, bases)):
                    continue
                model = models.get(self._model_name(cls))
                if model is not None:
                    yield cls, model

    def _model_name(self, cls: Class) -> str:
        """The model of a view, by a class variable or by what its `get_queryset` queries; "" where none tells."""
        fields = {row.name: row.value for row in cls.facts.fields}
        named = ALL_ROWS.match(fields.get("queryset", ""))
        name = named[1] if named else fields.get("model", "")
        if not name:
            method = self._flow.project.functions(cls.path).get(f"{cls.facts.qualname}.get_queryset")
            name = next(iter(self._flow.queries(method)), "") if method is not None else ""
        return re.split(r"[.:]", name)[-1]

    def _is_scoped(self, cls: Class, model: Model) -> bool:
        """Whether a method, a permission, a filter or a base narrows the rows to a boundary."""
        flow = self._flow
        if flow.scoping.scopes(model.cls.name, f"{model.name}.objects.all"):
            return True
        if any(self._names_boundary(facts) for facts in self._hooks(cls)):
            return True
        texts = (self._text(cls, name) for name in ("permission_classes", "filter_backends"))
        for word in {word for text in texts for word in re.findall(r"[\w.]+", text)}:
            symbol = flow.project.resolve(cls.path, word)
            found = symbol.cls if symbol is not None else None
            rows = flow.project.methods(found) if found is not None else ()
            if any(self._names_boundary(row.facts) for row in rows):
                return True
        return False

    def _is_open(self, cls: Class) -> bool:
        """Whether nothing at all could narrow the rows."""
        project = self._flow.project
        for row in project.ancestors(cls):
            last = row.rpartition(".")[2] if isinstance(row, str) else ""
            if last and not GENERIC.match(last) and not PLAIN_BASE.match(last):
                return False
        if any(True for _ in self._hooks(cls)):
            return False
        permissions, filters = self._text(cls, "permission_classes"), self._text(cls, "filter_backends")
        if any(not PLAIN_FILTER.match(word) for word in re.findall(r"[\w.]+", filters)):
            return False
        if not permissions:
            return not self._may_check_objects  # the settings may name a permission that does
        return all(PLAIN_PERMISSION.match(word) for word in re.findall(r"[A-Za-z_][\w.]*", permissions))

    @cached_property
    def _may_check_objects(self) -> bool:
        """Whether the project has a permission that looks at single records."""
        return bool(self._flow.project.methods_named.get("has_object_permission"))

    def _hooks(self, cls: Class) -> Iterator[FunctionFacts]:
        project = self._flow.project
        for row in project.ancestors(cls):
            if isinstance(row, Class):
                inside = f"{row.facts.qualname}."
                for function in project.methods(row):
                    if function.facts.qualname[len(inside) :] in HOOKS:
                        yield function.facts

    def _names_boundary(self, facts: FunctionFacts) -> bool:
        words = (*facts.names.split(), *facts.keys.split())
        return any(word == "user" or self._flow.vocabulary.column(word) for word in words)

    def _text(self, cls: Class, name: str) -> str:
        """The source of a class variable, of the class or of the nearest base in the project."""
        for row in self._flow.project.ancestors(cls):
            if isinstance(row, Class):
                for item in row.facts.fields:
                    if item.name == name:
                        return item.value
        return ""

    def _assignment(self, cls: Class) -> ast.Assign | None:
        """The class variable that a view answers from."""
        found = {
            target.id: statement
            for statement in self._flow.slices.class_statements(cls)
            if isinstance(statement, ast.Assign)
            for target in statement.targets
            if isinstance(target, ast.Name)
        }
        return found.get("queryset", found.get("model"))
