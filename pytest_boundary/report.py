"""`--boundary-report`: every operation seen, by site, with its verdict; as JSON or as one page of HTML."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytest_boundary.ledger import BAD, Ledger
from pytest_boundary.message import block

VERSION = 1


def data(ledger: Ledger, problems: Sequence[str]) -> dict[str, Any]:
    """The report as plain data: `version`, `operations`, `findings`, `problems`."""
    found = ledger.to_data()
    operations = sorted(found["operations"], key=lambda row: (row["site"]["path"], row["site"]["line"]))
    return {
        "version": VERSION,
        "operations": operations,
        "findings": found["findings"],
        "problems": list(problems),
    }


def write(path: Path, ledger: Ledger, problems: Sequence[str]) -> None:
    """Write the report; the ending of the name says in which form."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".html":
        path.write_text(page(ledger, problems), encoding="utf-8")
    else:
        path.write_text(json.dumps(data(ledger, problems), indent=2) + "\n", encoding="utf-8")


def page(ledger: Ledger, problems: Sequence[str]) -> str:
    """One page that needs nothing from anywhere else."""
    operations = data(ledger, problems)["operations"]
    verdicts = sorted({row["verdict"] for row in operations})
    clients = sorted({row["client"] for row in operations})
    rows = "\n".join(_row(row) for row in operations)
    findings = "\n".join(f"<pre>{html.escape(block(finding))}</pre>" for finding in ledger.findings)
    trouble = "\n".join(f"<pre>{html.escape(text)}</pre>" for text in problems)
    return PAGE.format(
        policy=f"default-src 'none'; style-src {_hashed(STYLE)}; script-src {_hashed(SCRIPT)}",
        style=STYLE,
        script=SCRIPT,
        verdicts=_options(verdicts),
        clients=_options(clients),
        rows=rows,
        findings=findings or "<p>None.</p>",
        problems=f"<h2>Problems of the run</h2>\n{trouble}" if problems else "",
        total=sum(row["count"] for row in operations),
    )


def _hashed(text: str) -> str:
    """What the page's policy calls its own style and script, so that the browser runs no others."""
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def _options(names: Sequence[str]) -> str:
    return "".join(f"<option>{html.escape(name)}</option>" for name in names)


def _row(row: dict[str, Any]) -> str:
    site = row["site"]
    where = f"{site['path']}:{site['line']} {site['function']}" if site["path"] else "(no line of yours)"
    cells = (where, row["verdict"], row["client"], row["operation"], row["shown"], str(row["count"]))
    bad = " class=bad" if row["verdict"] in BAD else ""
    text = "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)
    return f'<tr{bad} data-verdict="{html.escape(row["verdict"])}" data-client="{html.escape(row["client"])}">{text}</tr>'


STYLE = """
body { font: 14px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem;
  color: #1c1e21; background: #fff; }
div { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; min-width: 54rem; }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #ddd; vertical-align: top;
  white-space: nowrap; }
th { background: #f5f5f5; }
td:first-child, td:nth-child(5) { white-space: normal; overflow-wrap: anywhere; }
td:first-child { min-width: 14rem; }
tr.bad td { background: #fdecea; }
pre { background: #f5f5f5; padding: .8rem; overflow-x: auto; }
form { display: flex; gap: 1rem; flex-wrap: wrap; margin: 1rem 0; }
@media (prefers-color-scheme: dark) {
  body { color: #e4e6eb; background: #18191a; } th, pre { background: #242526; }
  tr.bad td { background: #4a1f1f; } th, td { border-color: #3a3b3c; }
}
"""
SCRIPT = """
const rows = [...document.querySelectorAll("#rows tr")];
const inputs = ["verdict", "client", "text"].map(id => document.getElementById(id));
function filter() {
  const [verdict, client, text] = inputs.map(input => input.value);
  let shown = 0;
  for (const row of rows) {
    row.hidden = (verdict && row.dataset.verdict !== verdict) || (client && row.dataset.client !== client)
      || (text && !row.textContent.toLowerCase().includes(text.toLowerCase()));
    if (!row.hidden) shown += Number(row.lastElementChild.textContent);
  }
  document.getElementById("shown").textContent = shown;
}
inputs.forEach(input => input.addEventListener("input", filter));
document.querySelector("form").addEventListener("submit", event => event.preventDefault());
filter();
"""
PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>boundlint: operations by site</title>
<style>{style}</style>
<h1>Operations by site</h1>
<p><strong id="shown"></strong> of {total} operations on data clients.</p>
<form>
<label>Verdict <select id="verdict"><option value="">all</option>{verdicts}</select></label>
<label>Client <select id="client"><option value="">all</option>{clients}</select></label>
<label>Text <input id="text" type="search" placeholder="app/memory.py"></label>
</form>
<div>
<table>
<thead><tr><th>Site<th>Verdict<th>Client<th>Operation<th>Scope argument<th>Times</tr></thead>
<tbody id="rows">
{rows}
</tbody>
</table>
</div>
<h2>Findings</h2>
{findings}
{problems}
<script>{script}</script>
</html>
"""
