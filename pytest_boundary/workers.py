"""pytest-xdist: each worker gives its ledger to the controller, whose summary is that of the whole run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pytest_boundary.ledger import from_data

if TYPE_CHECKING:
    from pytest_boundary.run import Run

KEY = "boundlint"


def give(run: Run, output: dict[str, Any]) -> None:
    """In a worker, at its end."""
    output[KEY] = json.dumps(
        {
            "ledger": run.ledger.to_data(),
            "broken": run.monitor.broken,
            "faults": run.monitor.faults,
            "unnecessary": run.unnecessary,
            "blind": run.blind,
        }
    )


class Workers:
    """In the controller: takes what the workers give."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def pytest_testnodedown(self, node: Any) -> None:
        """A worker ended; one that crashed has given nothing."""
        output = getattr(node, "workeroutput", None) or {}
        if KEY not in output:
            self._run.incomplete.append(f"worker {node.gateway.id}")
            return
        data = json.loads(output[KEY])
        run = self._run
        run.ledger.merge(from_data(data["ledger"]))
        run.monitor.faults += data["faults"]
        run.monitor.broken += [text for text in data["broken"] if text not in run.monitor.broken]
        run.blind += [text for text in data["blind"] if text not in run.blind]
        run.unnecessary += data["unnecessary"]
