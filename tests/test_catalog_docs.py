from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from boundlint.catalog.loader import load_catalog
from boundlint.catalog.model import SCOPE_ROLES, Effect, Form, Injection, Kind

DOCS = (Path(__file__).parent.parent / "docs" / "catalog.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([\w-]+)` \| .* \| (\d+) of (\d+) \| (.+) \| \d{4}-\d\d-\d\d \|$", re.MULTILINE)


def test_the_table_of_verified_versions_is_about_the_catalog_as_it_is() -> None:
    rows = {name: (int(verified), int(total)) for name, verified, total, _ in ROW.findall(DOCS)}
    assert {name: total for name, (_, total) in rows.items()} == {
        family.name: len(family.operations) for family in load_catalog().families
    }
    assert {name: row for name, row in rows.items() if row[0] == 0} == {}


def test_the_page_explains_every_word_of_the_schema() -> None:
    words = {*get_args(Kind), *get_args(Effect), *get_args(Form), *get_args(Injection), *SCOPE_ROLES}
    assert {word for word in words if f"`{word}`" not in DOCS} == set()
