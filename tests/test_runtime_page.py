"""The HTML report in a real browser: it renders, filters, loads nothing, and takes no value for markup.

`make test-services` runs this; there a missing browser is a failure. `make test` skips it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from runtime_project import Project

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.skipif(
    not os.environ.get("BOUNDLINT_SERVICES"), reason="needs a real browser: make test-services"
)
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
HOSTILE = """</td></tr></table><script>document.title = "owned"</script><img src=x onerror="document.title='owned'">"""
APP = f"""
    import sqlite3
    from pathlib import Path

    import fakeredis

    HOSTILE = {HOSTILE!r}
    store = fakeredis.FakeRedis(decode_responses=True)
    database = sqlite3.connect(":memory:")
    database.execute("CREATE TABLE notes (id, tenant_id, text)")

    def run():
        for number in range(3):
            store.set(f"acme:{{number}}", "x")
        store.set(HOSTILE, "x")
        database.execute("SELECT text FROM notes WHERE tenant_id = ?", ("acme",)).fetchall()
        database.execute("SELECT '" + HOSTILE.replace("'", "''") + "' FROM notes").fetchall()

    def from_a_hostile_file():
        name = str(Path(__file__).parent / "<img src=x onerror=document.title=1>.py")
        exec(compile("store.get('session')", name, "exec"), {{"store": store}})
"""


@pytest.fixture(scope="module")
def browser_page() -> Iterator[Page]:
    """A page without a network. Each request and each error of it stands in `asked` and `failed`."""
    from playwright.sync_api import sync_playwright

    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    assert found is not None, "no browser is installed (Debian: apt-get install chromium-headless-shell)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser.new_context(offline=True, viewport={"width": 1200, "height": 800}).new_page()
        browser.close()


@pytest.fixture
def report(project: Project, pytester: pytest.Pytester) -> Path:
    tests = "def test_it():\n    code.run()\n    code.from_a_hostile_file()\n"
    result = project(APP, tests, "--boundary-report=report.html", flag="--enforce-boundary=report")
    result.assert_outcomes(passed=1)
    return pytester.path / "report.html"


def rows(page: Page) -> list[str]:
    """The text of the rows that a person sees."""
    return [row.inner_text() for row in page.locator("#rows tr").all() if row.is_visible()]


def test_the_page_renders_and_filters(browser_page: Page, report: Path) -> None:
    page = browser_page
    asked: list[str] = []
    failed: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.on("console", lambda message: failed.append(message.text) if message.type == "error" else None)
    page.goto(report.as_uri())

    assert page.title() == "boundlint: operations by site"  # no hostile value has run
    assert page.locator("h1").inner_text() == "Operations by site"
    assert len(rows(page)) == 6
    assert page.locator("#shown").inner_text() == "8"
    assert page.locator("img, table script, pre script").count() == 0
    keys = page.locator("#rows tr td:nth-child(5)").all_inner_texts()
    assert f"key {HOSTILE!r}" in keys
    assert any("<img src=x onerror=document.title=1>.py:1" in row for row in rows(page))
    assert page.locator("pre", has_text="BND201 unscoped memory write").first.is_visible()
    red = page.locator("tr.bad td").first.evaluate("cell => getComputedStyle(cell).backgroundColor")
    assert red != page.locator("tr:not(.bad) td").first.evaluate(
        "cell => getComputedStyle(cell).backgroundColor"
    )

    line = page.evaluate("() => parseFloat(getComputedStyle(document.body).lineHeight)")
    assert page.locator("thead").evaluate("head => head.clientHeight") < 2 * line  # no word is cut
    page.set_viewport_size({"width": 420, "height": 800})
    assert page.evaluate(
        "document.documentElement.scrollWidth <= innerWidth"
    )  # the table scrolls, not the page
    page.set_viewport_size({"width": 1200, "height": 800})

    page.select_option("#verdict", "scoped")
    assert len(rows(page)) == 2
    assert all("\tscoped\t" in row for row in rows(page))
    assert page.locator("#shown").inner_text() == "4"
    page.select_option("#client", "sqlite3")
    assert ["SELECT text FROM notes" in row for row in rows(page)] == [True]
    page.select_option("#verdict", "")
    page.select_option("#client", "")
    page.fill("#text", "OWNED")
    assert len(rows(page)) == 2
    page.keyboard.press("Enter")  # sends no form
    page.fill("#text", "no such row")
    assert rows(page) == []
    assert page.locator("#shown").inner_text() == "0"
    page.fill("#text", "")
    assert len(rows(page)) == 6

    assert asked == [report.as_uri()]
    assert failed == []


def test_no_script_but_the_pages_own_runs(browser_page: Page, report: Path) -> None:
    """Even where a value became markup: the page's policy names its script by its hash."""
    text = report.read_text(encoding="utf-8")
    report.write_text(text.replace("<h1>", "<script>document.title = 'owned'</script><h1>"), "utf-8")
    browser_page.goto(report.as_uri())
    assert browser_page.title() == "boundlint: operations by site"
    assert browser_page.locator("#shown").inner_text() == "8"
