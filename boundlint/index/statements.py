"""What the index keeps of a SQL text: its verb, its tables, and the columns that it compares or creates.

A statement is cut down to words by regular expressions, fast enough for every text of a project; `boundlint.sql`
reads one whole, where a followed function runs it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

SQL = re.compile(
    r"\s*(?:/\*.*?\*/\s*|--[^\n]*\n\s*)*(?:SELECT\s(?=.*?\sFROM\b)|select\s(?=.*?\sfrom\s)|UPDATE\s+\S+\s+(?:AS\s+)?(?:\w+\s+)?SET\s"
    r"|DELETE\s+FROM\s|INSERT\s+(?:OR\s+\w+\s+)?INTO\s|CREATE\s+(?:\w+\s+){0,2}TABLE\s|WITH\s+(?:RECURSIVE\s+)?\w+\s*(?:\([^)]*\)\s*)?AS\s"
    r"|update\s+\S+\s+set\s|delete\s+from\s|insert\s+into\s|create\s+table\s|with\s+\w+\s+as\s*\()",
    re.DOTALL,
)
# What makes the database itself, or the connection, show the rows of one tenant only.
OWNER = r"[\w.]*(?:tenant|user|org|workspace|account|company|customer|team)\w*"
SECURES = re.compile(
    rf"(?i)\bCREATE\s+POLICY\b|\bROW\s+LEVEL\s+SECURITY\b|\bset_config\(\s*'(?:{OWNER}|(?:rls|app)\.\w+)'"
    rf"|^\s*SET\s+(?:LOCAL\s+|SESSION\s+)?(?:(?=\w+\.){OWNER}|(?:rls|app)\.\w+"
    r"|search_path\s*(?:TO|=)\s*[\"']?(?:$|\{\}|%s|:\w))"
)
NAME = r"(?:[`\"\[]?\w+[`\"\]]?\.)?[`\"\[]?(\w+)"
TABLES = re.compile(rf"(?i)\b(?:FROM|JOIN|UPDATE|INTO|TABLE(?:\s+IF\s+NOT\s+EXISTS)?)\s+(?:ONLY\s+)?{NAME}")
COMPARED = re.compile(
    r"(?i)[`\"]?\b(\w+)[`\"\])]?\s*(?:=|!=|<>|<|>|\bIN\b|\bIS\b|\bNOT\s+IN\b|\bLIKE\b|\bILIKE\b|\bANY\b)"
)
JOINED = re.compile(r"\b\w+\.[`\"]?\w+[`\"]?\s*=\s*\w+\.[`\"]?\w+\b")  # ties two tables, compares nothing
CONDITIONS = re.compile(r"(?i)\b(?:WHERE|ON)\b")
DEFINED = re.compile(r"(?:^|[,(])\s*[`\"\[]?([A-Za-z_]\w*)[`\"\]]?\s+[A-Za-z]")
PARENT = re.compile(rf"(?i)\bREFERENCES\s+{NAME}")
NO_COLUMN = frozenset(
    "primary foreign unique constraint check index key exclude like and or not where on".split()
)
CREATE = re.compile(r"(?i)\s*CREATE\b")
VERB = re.compile(r"(?:/\*.*?\*/|--[^\n]*\n|\s)*(\w+)", re.DOTALL)
LONGEST = 20_000  # characters of a text that are looked at


class Words(NamedTuple):
    """One SQL text: its verb in lower case, its tables (of a CREATE TABLE: the table and its parents), its columns."""

    verb: str
    tables: tuple[str, ...]
    columns: tuple[str, ...]


def is_sql(text: str) -> bool:
    """Whether a text is a statement on rows, or makes a table."""
    return SQL.match(text, 0, LONGEST) is not None


def secures_rows(text: str) -> bool:
    """Whether a text sets or defines what the database shows to one tenant: a policy, a setting, a search path."""
    return ("SET " in text or "set_config" in text or "POLICY" in text or "ROW LEVEL" in text) and bool(
        SECURES.search(text, 0, LONGEST)
    )


def words_of(text: str) -> str:
    """A statement as facts hold it: verb, tables and columns, `verb|table table|column column`."""
    text = text[:LONGEST]
    found = VERB.match(text)
    verb = found[1].lower() if found else ""
    tables = [name.lower() for name in TABLES.findall(text)]
    if CREATE.match(text):
        tables = [*tables[:1], *(name.lower() for name in PARENT.findall(text))]
        columns = [name.lower() for name in DEFINED.findall(text.partition("(")[2])]
    else:
        start = CONDITIONS.search(text)
        conditions = JOINED.sub("", text[start.start() :]) if start is not None else ""
        columns = [name.lower() for name in COMPARED.findall(conditions)]
    kept = sorted({name for name in columns if name not in NO_COLUMN and not name.isdigit()})
    return f"{verb}|{' '.join(dict.fromkeys(tables))}|{' '.join(kept)}"


def words(entry: str) -> Words:
    """A statement back from the text of `words_of`."""
    verb, tables, columns = entry.split("|")
    return Words(verb, tuple(tables.split()), tuple(columns.split()))
