"""What a name says that it holds: the content itself (a prompt, a document, a credential), or only perhaps."""

from __future__ import annotations

import re
from typing import Literal

Content = Literal["credential", "prompt", "message", "document", "answer", "tool result", "request", "query"]

# What each name holds; all of these are the content itself, not a name, a count or an id of it.
STRONG: tuple[tuple[Content, re.Pattern[str]], ...] = (
    (
        "credential",
        re.compile(
            r"^(?:\w+_)?(?:access_token|refresh_token|id_token|auth_token|bearer_token|session_token|client_secret|api_key|apikey|secret_key"
            r"|private_key|password|passwd|jwt_token|authorization)$"
        ),
    ),
    (
        "prompt",
        re.compile(
            r"^(?:(?:system|user|final|full|chat|llm|input|original|rendered|agent|raw|current|human|task)_)?prompts?$"
        ),
    ),
    (
        "message",
        re.compile(
            r"^(?:(?:chat|user|message|conversation|msg|dialog)_)?(?:history|messages)$|^(?:packed|chat|assistant|human|incoming|inbound|db)_message$"
            r"|^(?:user_)?(?:question|utterance|transcript)$|^user_(?:query|input|text|content|question|msg)$|^email_body$|^(?:chat|message)_history_text$"
        ),
    ),
    (
        "document",
        re.compile(
            r"^(?:page_content|(?:document|doc|file|email|page|pdf|note|chunk)_(?:text|content|contents|body)|retrieved_(?:docs|documents|chunks|context))$"
        ),
    ),
    (
        "answer",
        re.compile(
            r"^(?:(?:llm|model|agent|final|raw|assistant|ai|generated)_(?:response|output|answer|reply|completion|text)|response_content|completion|answer|generated_text)$"
        ),
    ),
    (
        "tool result",
        re.compile(r"^tool_(?:result|results|output|outputs|response|args|arguments|input|inputs)$"),
    ),
)
# A search text is the customer's question, or a query in SQL: no name tells.
QUERY = re.compile(r"^(?:search_|original_|rewritten_|retrieval_)?(?:query|queries)$")
# What a request or a stored record of a customer calls its own content.
OF_REQUEST = re.compile(
    r"^(?:message|query|question|prompt|text|input|content|user_input|goal|instructions?)$"
)
REQUEST_NAME = re.compile(
    r"^(?:\w+_)?(?:request|req|payload|body|msg|message|submit_obj|params|query_in|input_data)$"
)
OF_RECORD = re.compile(r"^(?:body|page_content|plain_text|raw_text|html_body|text_content|transcript)$")
RESPONSE_NAME = re.compile(
    r"^(?:\w*(?:resp|response|res|result|exc|exception|error|err|event|settings|config)|r|e|ex)$"
)
# Names that hold content only where the value says so.
AMBIGUOUS = re.compile(
    r"^(?:\w+_)?(?:message|text|content|contents|body|data|result|results|output|response|resp|res|reply|payload|chunks?|docs?|documents?|query|input|inputs"
    r"|summary|ans|raw|headers|cookies|token|kwargs|args|arguments|final_response|completion|params|request|req|json)$"
)
NO_CONTENT = re.compile(
    r"_(?:id|ids|uuid|name|names|key|type|count|size|length|len|url|uri|path|status|code|version|index|hash|digest|at|time|tokens|num|number|total|usage"
    r"|template|templates|error|errors|cost|model|role|format|mode|date|limit|kwargs|config|class|cls|field|label|idx|keys|dict_keys|token_count)$"
)


def may_log_content(logged: str) -> bool:
    """Whether the names that a function's log calls mention could hold content, by the index alone."""
    return any(
        strong(name) is not None or AMBIGUOUS.match(name.lower()) or OF_RECORD.match(name)
        for name in logged.split()
    )


def strong(name: str) -> Content | None:
    """What a name alone says that it holds."""
    plain = name.lower().strip("_")
    if QUERY.match(plain):
        return "query"
    if name.isupper() or NO_CONTENT.search(plain):
        return None
    return next((what for what, pattern in STRONG if pattern.match(plain)), None)
