"""LangChain: vector stores of every distribution, prompts and tool arguments.

A store that a seam of its own watches below is the same access. Prompts and tools are seen through LangChain's own hook
for callbacks: they touch no store, so that nothing is asked of them but that they hold no other tenant's value.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from pytest_boundary import catalog, subclasses
from pytest_boundary.checks import documents, expressions
from pytest_boundary.checks.filters import NOTHING, All, Filter, Other
from pytest_boundary.monitor import Monitor
from pytest_boundary.operations import Operation
from pytest_boundary.patching import Patcher
from pytest_boundary.seams import Seam, qdrant, weaviate
from pytest_boundary.seams.points import Call, Watch, several

STORE = "langchain_core.vectorstores.VectorStore"
SEARCH = re.compile(r"a?(?:similarity_search|max_marginal_relevance_search|search$|get_by_ids$)")
OTHERS = ("add_texts", "add_documents", "from_texts", "delete")
REQUIRED = ("similarity_search", "search", "add_documents", "get_by_ids")
# Names that the stores take through **kwargs; further ones count where a method names them itself, or for a package.
FILTERS = ("filter", "pre_filter", "expr", "where")
MORE_FILTERS = ("filters", "search_filter", "where_filter", "query_filter", "metadata_filter")
PLACES = ("namespace", "collection_name")
MORE_PLACES = ("tenant", "partition_names", "index_name")
OF_PACKAGE = {"langchain_weaviate": ("filters", "tenant")}
OWN_PLACES = ("collection_name", "_collection_name", "index_name", "_index_name", "_namespace", "namespace")
FIX = 'filter={"tenant_id": …}   (in search_kwargs of a retriever), or a collection of the tenant'
WRITE_FIX = 'metadatas=[{…, "tenant_id": …}]'


def translate(condition: Any) -> Filter:
    """A filter of any store: a document, an expression, a model of qdrant or weaviate."""
    if condition is None or (isinstance(condition, Mapping) and not condition):
        return NOTHING
    if isinstance(condition, Mapping):
        return documents.translate(condition)
    if isinstance(condition, str):
        return expressions.translate(condition)
    if hasattr(condition, "must"):
        return qdrant.translate(condition)
    if hasattr(condition, "operator"):
        return weaviate.translate(condition)
    return Other()


class _Watch(Watch):
    """The hooks around one method of one class of stores."""

    def __init__(self, monitor: Monitor, method: str, function: Any) -> None:
        plain = re.sub(r"^a(?!dd_)|^a(?=add_)", "", method)
        effect = "read" if SEARCH.match(plain) else "delete" if plain == "delete" else "write"
        operation = catalog.operation("langchain", f"{STORE}.{plain}", "retrieval", effect)
        super().__init__(monitor, operation, self.describe, _metadatas, fix=FIX, write_fix=WRITE_FIX)
        self.method = plain
        named = list(inspect.signature(function).parameters)[1:]
        through = OF_PACKAGE.get(function.__module__.partition(".")[0], ())
        self._names = named
        self._filters = tuple(n for n in (*FILTERS, *MORE_FILTERS) if n in (*FILTERS, *named, *through))
        self._places = tuple(n for n in (*PLACES, *MORE_PLACES) if n in (*PLACES, *named, *through))

    def describe(self, store: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """A call in the words of every vector store."""
        given = dict(zip(self._names, args, strict=False)) | kwargs
        collection, *places = [*_own_places(store), ""]
        places = [given[name] for name in self._places if given.get(name)] + places
        sent = [args, kwargs]
        if self.method in ("add_documents", "add_texts", "from_texts"):
            written = _written(given)
            return Call(collection, tuple(places), payloads=written, sent=sent, surface="vector write")
        conditions = [given[name] for name in self._filters if given.get(name) is not None]
        query = given.get("query")
        return Call(
            collection,
            tuple(places),
            filters=[All(tuple(map(translate, conditions)))] if conditions else [NOTHING],
            functions=[condition for condition in conditions if callable(condition)],
            keys=several(given.get("ids")),
            sent=query,
            surface="embeddings input" if query is not None else "",
        )


def _own_places(store: Any) -> Iterator[str]:
    """The names of what a store is bound to: its collection, then namespaces and the like."""
    if isinstance(store, type):  # `from_texts`
        return
    for name in OWN_PLACES:
        place = getattr(store, name, None)
        if isinstance(place, str) and place:
            yield place
    inner = getattr(store, "_chroma_collection", None)
    for name in ("tenant", "database"):
        place = getattr(inner, name, None)
        if isinstance(place, str) and not place.startswith("default_"):
            yield place


def _written(given: Mapping[str, Any]) -> list[Any]:
    """The metadata of what is written. Texts in an iterator are left to the store below."""
    if "documents" in given:
        return [getattr(document, "metadata", document) for document in several(given["documents"])]
    metadatas, texts = several(given.get("metadatas")), given.get("texts")
    number = len(texts) if isinstance(texts, (list, tuple)) else 1
    return [*metadatas, *([{}] * (number - len(metadatas)))]


def _metadatas(result: Any) -> Iterator[Any]:
    for item in result if isinstance(result, list) else ():
        yield getattr(item[0] if isinstance(item, tuple) and item else item, "metadata", None)


def install_stores(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Watch what each class of stores has of its own, and what the base class gives it."""
    for name in REQUIRED:
        if name not in vars(module.VectorStore):
            raise patcher.broken(f"VectorStore.{name} not found")

    def watch(owner: type) -> None:
        for name, held in tuple(vars(owner).items()):
            function = held.__func__ if isinstance(held, classmethod) else held
            if not inspect.isfunction(function) or getattr(function, "__isabstractmethod__", False):
                continue
            if SEARCH.match(name) or name in OTHERS or name[1:] in OTHERS:
                hooks = _Watch(monitor, name, function)
                patcher.wrap(owner, name, hooks.before, hooks.after, claims=True)

    subclasses.each(patcher, module.VectorStore, watch)


def install_callbacks(module: ModuleType, patcher: Patcher, monitor: Monitor) -> None:
    """Register a handler for everybody, in every thread and task."""
    from langchain_core.callbacks.base import BaseCallbackHandler  # the module's own neighbour

    model = catalog.operation("langchain", "langchain_core.language_models.BaseChatModel.invoke", "llm")
    tool = catalog.operation("langchain", "langchain_core.tools.BaseTool.invoke", "tool")

    def look(operation: Operation, surface: str, told: Any, shown: Callable[[], str] | None = None) -> None:
        __tracebackhide__ = True
        try:
            if shown is not None:
                monitor.before(operation, lambda _: "free", shown)
            monitor.watcher.surface(told, surface, operation)
        except Exception as error:
            patcher.failed(error)

    class Handler(BaseCallbackHandler):
        raise_error = True
        run_inline = True  # on the caller's stack, in async code as well

        def on_chat_model_start(self, serialized: Any, messages: Any, **_: Any) -> Any:
            look(model, "LLM messages", messages, lambda: "messages")

        def on_llm_start(self, serialized: Any, prompts: Any, **_: Any) -> Any:
            look(model, "LLM messages", prompts, lambda: "prompts")

        def on_llm_end(self, response: Any, **_: Any) -> Any:
            look(model, "LLM answer", response)

        def on_tool_start(self, serialized: Any, input_str: Any, *, inputs: Any = None, **_: Any) -> Any:
            look(
                tool,
                "tool arguments",
                [input_str, inputs],
                lambda: f"tool {(serialized or {}).get('name')!r}",
            )

        def on_tool_end(self, output: Any, **_: Any) -> Any:
            look(tool, "tool results", output)

    hooks = module._configure_hooks
    known = len(hooks)
    handler = Handler()
    variable: ContextVar[Any] = ContextVar("boundlint_langchain", default=handler)
    module.register_configure_hook(variable, True)
    if len(hooks) != known + 1:
        raise patcher.broken("register_configure_hook keeps no hook any more")
    hook = hooks[-1]
    patcher.undo(lambda: hooks.remove(hook))


SEAM = Seam(
    "langchain",
    "langchain-core",
    {"langchain_core.vectorstores.base": install_stores, "langchain_core.tracers.context": install_callbacks},
)
