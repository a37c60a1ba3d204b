"""What a name alone says about a value that is no boundary: an id, a one-time secret, a digest, a time."""

from __future__ import annotations

import re
from functools import lru_cache

from boundlint.index.vocabulary import normal

SECRET = re.compile(
    r"(?:^|_)(?:state|nonce|otp|captcha|jti|csrf|code|token|verifier|invite|invitation|magic|ticket|secret|challenge|pkce)(?:_|$|s$)"
)
DIGEST = re.compile(
    r"(?:^|_)(?:hash|digest|sha\d*|md5|checksum|fingerprint|etag|signature|content_key)(?:_|$)"
)
IDENTIFIER = re.compile(r"(?:^|_)(?:id|ids|uuid|guid|pk|oid|uid)$")
TIME = re.compile(r"(?:^|_)(?:time|timestamp|now|date|day|hour|minute|month|week|expires?|ttl|seconds|at)$")
LOCK = re.compile(r"(?:^|_)(?:lock|locks|mutex|lease|semaphore|fence|leader)(?:_|$)")
# What a planner or a tool leaves behind while a run goes on: of no use, and a risk, once it is over.
SCRATCH = re.compile(
    r"(?:^|_)(?:scratchpads?|intermediate_steps?|observations?|tool_(?:results?|outputs?|responses?|observations?|traces?)|"
    r"planner_(?:notes?|output|state)|chain_of_thought|reasoning_(?:trace|steps?)|run_summary|run_summaries|run_notes|internal_notes)$"
)
CREDENTIAL = re.compile(
    r"(?i)(?:token|api_?key|access_?key|secret(?:_?key)?|password|passwd|credentials?|service_?role(?:_?key)?|(?:^|_)pat|auth_?key)$"
)
CREDENTIAL_MARK = "credential:"  # begins the mark of a value that holds a credential; its name follows
ROOTS = {"settings": "config", "config": "config", "os": "config", "conf": "config", "constants": "config"}
FUNCTIONS = {
    "uuid": "id",
    "secrets": "secret",
    "hashlib": "digest",
    "hmac": "digest",
    "time": "time",
    "datetime": "time",
    "random": "random",
    "os": "config",
    "xxhash": "digest",
    "zlib": "digest",
    "ulid": "id",
    "shortuuid": "id",
}


@lru_cache(maxsize=8192)
def marks(name: str) -> frozenset[str]:
    """The marks that a variable, attribute or key name suggests."""
    plain = normal(name)
    found = set()
    if IDENTIFIER.search(plain) or plain in ("id", "uuid", "pk"):
        found.add("id")
    if SECRET.search(plain):
        found.add("secret")
    if DIGEST.search(plain):
        found.add("digest")
    if TIME.search(plain):
        found.add("time")
    if LOCK.search(plain):
        found.add("lock")
    if SCRATCH.search(plain):
        found.add("scratch")
    return frozenset(found)


def root_marks(path: str) -> frozenset[str]:
    """The marks that the first name of a path suggests: `settings.PREFIX` is configuration, `settings.API_TOKEN` a credential of the process."""
    mark = ROOTS.get(path.partition(".")[0].lower())
    return frozenset({mark}) | credential_marks(path.rpartition(".")[2]) if mark else frozenset()


def credential_marks(name: str) -> frozenset[str]:
    """The mark of a credential that the environment or the settings hold under a name."""
    return frozenset({CREDENTIAL_MARK + name}) if CREDENTIAL.search(name) else frozenset()


def function_marks(dotted: str) -> frozenset[str]:
    """The marks of what a function outside of the project returns, by its module."""
    mark = FUNCTIONS.get(dotted.partition(".")[0])
    return frozenset({mark}) if mark else frozenset()
