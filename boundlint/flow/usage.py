"""What an access without a boundary may legitimately be for: a lock, a one-time secret, configuration.

The classes and their shares are those measured over real applications, see docs/how-it-decides.md.
"""

from __future__ import annotations

import re
from typing import Literal

from boundlint.flow.values import Access

Usage = Literal[
    "customer", "lock", "secret", "configuration", "counter", "queue", "digest", "resource", "support"
]

LOCK = re.compile(
    r"(?<![a-z])(?:lock|lease|mutex|semaphore|fence|leader|heartbeat|in[_-]?progress|running|alive|dedup|idempoten|debounce|cooldown|processed|seen|once)|lock(?![a-z])"
)
SECRET = re.compile(
    r"nonce|otp|captcha|csrf|jti|verif|invit|magic|oauth|pkce|reset|revoked|blacklist|blocklist|denylist|challenge|sso|login_attempt|auth_code|device_code"
)
CONFIGURATION = re.compile(
    r"config|setting|(?:\b|_)models?(?:\b|_)|version|health|licen[cs]e|feature|flag|registry|pricing|price|schema|template|catalog|manifest|"
    r"metric|status|stats|migrat|maintenance|system|global|public|shared|default|provider|exchange|currency|geo|country|locale|translation|"
    r"deploy|router|cluster|node|worker|scheduler|cron|instance|cooldown|embedding_dim|dimension|release|update_check|jwks|(?<![a-z])rsa(?![a-z])|(?<![a-z])(?:host(?:name)?|base_url)(?![a-z])|(?:public|private|signing|encryption)_key|openid|discovery|well.known"
)
COUNTER = re.compile(
    r"(?<![a-z])(?:rate|limit|count|quota|throttl|usage|budget|spend|rpm|tpm|attempt|retry|hits|window|sequence|autoincrement|next_id|max_id)|ratelimit|counter|generator"
)
QUEUE = re.compile(
    r"queue|channel|stream|event|topic|broadcast|pubsub|notify|notification|signal|inbox|outbox|cancel|stop|abort|websocket|\bws\b|socket|presence|room"
)
MEMBERS = frozenset("sadd sismember smismember zadd zscore zrank".split())  # what takes members of a set
TIMES = re.compile(
    r"\{(?:f['\"]\{[\w.]+\}['\"]|[\w.()\[\]]+): (?:int\()?(?:time\.time|(?:\w+\.)*(?:now|utcnow|time|timestamp))\([\w.]*\)\)?\}"
)
# What a key says that belongs to one run: of use until the run ends.
RUN_STATE = re.compile(
    r"(?<![a-z])(?:agent_?runs?|runs?|run_?(?:state|id)|steps?|scratch(?:pad)?|tmp|temp|intermediate|working|task_?state|job_?state|"
    r"workflow_?state|graph_?state|planner|draft|partial|stream_?state|interrupts?|resume)(?![a-z])"
)
SUPPORT_PATH = re.compile(
    r"(?:^|/)(?:tests?|testing|migrations?|alembic|fixtures?|examples?|docs?|benchmarks?|scripts?|commands?|seeds?|demo|evals?|evaluation|"
    r"samples?|cookbook|tutorials?|schedules?|scheduled|crons?|periodic|notebooks?|management|cli|tools_dev|dev|e2e|integration_tests|conftest\.py|setup\.py)(?:/|$)|(?:^|/)(?:test_[^/]*|[^/]*_test|conftest|migrate|seed|populate|cli|[^/]*_cli)\.py$"
)


def is_built_in_sight(access: Access) -> bool:
    """Whether the receiver's scope is known: a client that its constructor may bind was made where the flow saw it."""
    return "constructor" not in access.operation.binders or bool(access.bound.marks & {"external", "object"})


def usage_of(access: Access) -> Usage:
    """The class of an access; `customer` when nothing speaks for one of the legitimately unscoped ones."""
    if SUPPORT_PATH.search(access.function.path):
        return "support"
    key = access.value_of(
        "key", "key_list", "key_mapping", "key_pattern", "field", "namespace", "session", "thread"
    )
    text = f"{key.text or ''} {access.source_of('key', 'key_list', 'key_pattern', 'namespace')}".lower()
    around = f"{access.function.facts.name} {access.receiver}".lower()
    method = access.operation.method
    value = access.value_of("value")
    if (
        "lock" in key.marks
        or "lock" in method
        or LOCK.search(text)
        or re.search(r"lock|lease|heartbeat|leader", around)
    ):
        return "lock"
    if access.has("flag") and re.search(r"\bnx\b|True", access.source_of("flag")):
        return "lock"
    if (
        "secret" in key.marks
        or SECRET.search(text)
        or re.search(r"oauth|captcha|invit|sso|login|csrf|verif|revoke", around)
    ):
        return "secret"
    if (
        re.match(r"(?:h?incr|decr|expire|ttl|pexpire|zcount|zremrangebyscore|scard|pttl)", method)
        or COUNTER.search(text)
        or re.search(r"rate_?limit|quota|throttl|counter", around)
    ):
        return "counter"
    if (
        access.operation.kind == "queue"
        or QUEUE.search(text)
        or re.search(r"publish|subscrib|broadcast|enqueue|queue|pubsub", around)
    ):
        return "queue"
    if access.has("value") and (value.is_constant or (value.marks <= {"time"} and not value.params)):
        return "lock"  # an existence flag: 1, "true", a time
    if method in ("srem", "zrem") or (
        method in MEMBERS and access.source_of("value").rpartition(".")[2] in value.carriers
    ):
        return "queue"  # a set of tenants or users: whose turn it is
    if TIMES.fullmatch(access.source_of("value")):
        return "lock"  # when each was seen last
    if "digest" in key.marks and not value.carriers:
        return "digest"
    if CONFIGURATION.search(text) or re.search(
        r"config|setting|registry|health|licen[cs]e|metric|pricing|model_list|schema", around
    ):
        return "configuration"
    chosen = access.value_of("namespace") if access.has("namespace") else key
    if "id" in (
        chosen.marks | access.bound.marks if "constructor" in access.operation.binders else chosen.marks
    ):
        return "resource"
    return "customer"
