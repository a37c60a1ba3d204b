"""The names that say whose something is in most applications, as plain data: the linter and the plugin share them."""

from __future__ import annotations

import re

# Counts over 26 real applications put these in front; see docs/how-it-decides.md.
TENANT = frozenset(
    "tenant tenant_id tenant_ids tenant_uuid tenant_slug tenant_key org_id org_uuid organization organization_id "
    "organization_uuid organisation organisation_id org_slug workspace workspace_id workspace_ids workspace_slug "
    "account_id team_id team_ids company_id customer customer_id client_org current_tenant current_tenant_id current_org "
    "current_organization current_organization_id current_workspace current_account".split()
)
USER = frozenset(
    "user_id user_ids user_uuid userid uid user_email user_sub owner_id owner_ids owner_email created_by created_by_id end_user_id "
    "end_user current_user current_user_id actor actor_id principal principal_id author_id member_id login_user "
    "uploaded_by uploaded_by_id submitted_by submitted_by_id "
    "auth_user authenticated_user requester_id request_user account_user auth_context user_ctx user_context "
    "identity subject_id".split()
)
# Boundaries only where the project's models or types say so, or when they are the only thing there is.
CONDITIONAL = frozenset(
    "user project_id namespace group_id group_ids owner account auth org team project member username".split()
)
NEVER = frozenset(
    "user_agent user_message user_prompt user_input user_query user_text user_data_dir user_file_id user_content "
    "user_question user_msg user_msgs user_messages user_role user_instructions project_root context_window auth_type auth_token auth_header "
    "auth_url auth_method user_settings_schema users_count organization_name_prompt account_sid account_name".split()
)
TENANT_SUFFIX = re.compile(
    r"(?:^|_)(?:tenant|org|organi[sz]ation|workspace|company|customer|account|team)_(?:id|ids|uuid|slug|key)$"
)
USER_SUFFIX = re.compile(
    r"(?:^|_)(?:user|owner|actor|principal|member|creator|author|uploader)_(?:id|ids|uuid|email)$"
)
CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
# Models of the owners themselves, and columns that say who wrote a row.
IDENTITY = re.compile(
    r"^(?:\w*User|Account|Tenant|Organi[sz]ation|Workspace|Team|Company|Member|Profile|Customer)s?(?:Model|ORM|Entity)?$"
)
AUDIT = frozenset({"created_by", "created_by_id", "updated_by", "updated_by_id", "author_id", "member_id"})


def normal(name: str) -> str:
    """A name in snake case without leading underscores: `_tenantId` -> `tenant_id`."""
    plain = name.strip("_")
    if plain.islower():
        return plain
    return CAMEL.sub("_", plain).lower()
