"""The built-in rules: one module a rule, its spec beside it. Installed as `boundlint_rules`."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from types import ModuleType

from boundlint.registry import hookimpl

MODULES = (
    "suppressions.unused_suppression",
    "suppressions.suppression_without_reason",
    "boundary.function_without_boundary",
    "boundary.scattered_boundary_arguments",
    "boundary.model_chosen_boundary",
    "boundary.client_chosen_boundary",
    "boundary.boundary_fails_open",
    "boundary.unused_boundary_parameter",
    "memory.unscoped_memory_key",
    "memory.shared_memory_object",
    "memory.scratchpad_as_memory",
    "memory.run_state_without_expiry",
    "memory.ambiguous_scope_key",
    "memory.hand_built_namespace",
    "retrieval.unfiltered_retrieval",
    "retrieval.post_ranking_filter",
    "retrieval.discarded_filter",
    "records.unscoped_record_lookup",
    "records.unbound_child_record",
    "records.unscoped_bulk_write",
    "tools.prompt_as_permission",
    "tools.shared_credential_in_tool",
    "tools.unapproved_write_tool",
    "cache.tenant_unaware_cache_key",
    "cache.memoized_customer_data",
    "cache.incomplete_response_cache_key",
    "jobs.job_without_boundary",
    "jobs.resumed_job_not_revalidated",
    "jobs.boundary_lost_in_thread",
    "logs.customer_content_in_log",
    "logs.log_without_boundary",
    "artifacts.shared_temp_artifact",
)


@hookimpl
def boundlint_rules() -> Iterable[ModuleType]:
    """The rule modules, in the order of `MODULES`."""
    return [importlib.import_module(f"{__name__}.{name}") for name in MODULES]
