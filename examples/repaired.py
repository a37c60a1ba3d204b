"""Puts the repaired modules over a copy of the example agent, and runs a command there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
LEAKY, REPAIRED = HERE / "support_agent", HERE / "support_agent_repaired"


def build(folder: Path) -> Path:
    """Make the repaired agent in a folder; gives its root."""
    root = folder / "support_agent"
    shutil.copytree(LEAKY, root, ignore=shutil.ignore_patterns("__pycache__", ".*", "*.egg-info"))
    for module in REPAIRED.glob("*.py"):
        target = root / "support_agent" / module.name
        if not target.exists():
            raise FileNotFoundError(f"{module.name} repairs nothing: the agent has no such module")
        shutil.copy(module, target)
    return root


def main(command: list[str]) -> int:
    """Run a command in the repaired agent; its exit status."""
    with tempfile.TemporaryDirectory() as folder:
        root = build(Path(folder))
        # before the installed (leaky) package of the same name
        environment = {**os.environ, "PYTHONPATH": str(root)}
        if command[:1] in (["pytest"], ["boundlint"]):
            command = [sys.executable, "-m", *command]
        return subprocess.run(command, cwd=root, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["pytest", "--enforce-boundary"]))
