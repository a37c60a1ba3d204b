"""BND403: a model's answer cached under a key that leaves out what the answer depends on."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from boundlint.findings import Persona
from boundlint.flow.evidence import confidence_of, is_cache, shown_key
from boundlint.flow.usage import SUPPORT_PATH
from boundlint.flow.values import Access, FunctionFlow
from boundlint.rule import Problem, Rule

if TYPE_CHECKING:
    import libcst as cst

    from boundlint.flow.view import View

# What an answer depends on besides the question: permissions, sources, prompt and tools.
INGREDIENT = re.compile(
    r"(?:^|_)(?:permissions?|roles?|scopes?|allowed_\w+|access_level|datasources?|data_sources?|sources?|knowledge_bases?|kb_ids?|"
    r"collections?|datasets?|dataset_ids|document_ids|doc_ids|documents?|context|filters?|system_prompt|instructions?|prompt_version|"
    r"prompt_template|persona|tools?|tool_ids|tool_state|model|model_name|model_id|temperature|language|locale)$"
)


def check_call(node: cst.CSTNode, view: View) -> Iterable[Problem]:
    """Report a cached model answer that depends on parameters which its key does not hold."""
    for access in view.accesses(node):
        missing = missing_in(access)
        if not missing or SUPPORT_PATH.search(view.path):
            continue
        yield Problem(
            f"{access.operation.target} keeps a model's answer under {shown_key(access)}, which leaves out {', '.join(missing)}",
            f"make {', '.join(missing)} a part of the key, or do not cache the answer",
            confidence_of(access, True),
            persona_of(access),
            access.operation.target,
            (f"the answer depends on: {', '.join(sorted(access.value_of('value').params))}",),
            access.trace,
        )


def missing_in(access: Access) -> tuple[str, ...]:
    """The parameters that the cached answer depends on and the key does not."""
    if access.operation.effect != "write" or not is_cache(access):
        return ()
    value, key = access.value_of("value"), access.scope
    if "model" not in value.marks or "unknown" in key.marks:
        return ()
    return tuple(name for name in sorted(value.params - key.params) if INGREDIENT.search(name))


def suspects(flow: FunctionFlow) -> bool:
    """Whether the flow saw such an answer."""
    return any(missing_in(access) for access in flow.accesses)


def persona_of(access: Access) -> Persona:
    """Good evidence: the cache is known for sure."""
    return "auditor" if access.confidence == "low" else "pedantic"


RULE = Rule(
    code="BND403",
    name="incomplete-response-cache-key",
    severity="warning",
    summary="a model response cached under a key that misses permissions, data sources, prompt version or tool state",
    visit={"Call": check_call},
    suspects=suspects,
)
