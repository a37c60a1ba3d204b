"""Time boundlint beside flake8, bandit and semgrep on the same tree of real code: `make bench`.

Every tool has an environment of its own and the same number of jobs (bandit knows none).  Each round runs
all of them in turn; a ratio is the median of the ratios of the rounds, so that a slow moment of the machine
hits both sides.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import venv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import measure, trees
from benchmarks.tables import markdown, replace_between

HERE = Path(__file__).parent
RESULTS = HERE / "results.json"
README = HERE / "README.md"
SPEED_PACKAGES = ("langflow-base", "open-webui", "khoj", "mem0ai")
TOOLS = {"flake8": "flake8==7.5.0", "bandit": "bandit==1.9.4", "semgrep": "semgrep==1.185.0"}
QUIET = {
    "SEMGREP_SEND_METRICS": "off",
    "SEMGREP_ENABLE_VERSION_CHECK": "0",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}
STEPS = (50_000, 100_000, 250_000, 500_000, 1_000_000)  # lines of the trees of `--scale`
COLD, WARM = "boundlint, cold, no cache", "boundlint, warm, nothing changed"
ONE, ONE_ALL = "boundlint, warm, one file changed, that file", "boundlint, warm, one file changed, the tree"


@dataclass
class Subject:
    """Something to time: `prepare` runs before each round, outside of the clock."""

    name: str
    command: Sequence[str]
    prepare: Callable[[], None] = lambda: None
    seconds: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    memory_mb: float = 0.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write results.json and the table of the README."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="default: 3")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes of each tool, default: 2")
    parser.add_argument(
        "--packages", nargs="*", default=SPEED_PACKAGES, metavar="NAME", help="of packages.txt"
    )
    parser.add_argument("--tools", nargs="*", default=list(TOOLS), choices=list(TOOLS), metavar="TOOL")
    parser.add_argument(
        "--large", action="store_true", help="also one cold run over all packages, for memory"
    )
    parser.add_argument(
        "--scale",
        action="store_true",
        help="also cold runs over 50,000 to 1,000,000 lines, for the cost per line",
    )
    parser.add_argument("--dry", action="store_true", help="print only, write nothing")
    options = parser.parse_args(arguments)

    tree = trees.assemble(trees.fetch(options.packages), trees.WORK / "tree")
    files, lines = trees.count_lines(tree)
    print(f"{files:,} files, {lines:,} lines", file=sys.stderr)
    subjects = boundlint_subjects(tree, options.jobs) + [
        other(tool, tree, options.jobs) for tool in options.tools
    ]
    time_all(subjects, options.rounds)
    results: dict[str, Any] = {
        "tree": {
            "packages": [f"{n}=={v}" for n, v in trees.pinned(options.packages)],
            "files": files,
            "lines": lines,
        },
        "machine": machine(),
        "tools": {
            "boundlint": boundlint_version(),
            **{tool: TOOLS[tool].partition("==")[2] for tool in options.tools},
        },
        "jobs": options.jobs,
        "rounds": options.rounds,
        "runs": summarize(subjects),
    }
    if options.large:
        results["large"] = large(options.jobs)
    if options.scale:
        results["scale"] = scale(options.jobs)
    text = table(results)
    print(text)
    if not options.dry:
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        README.write_text(
            replace_between(README.read_text(encoding="utf-8"), "speed", text), encoding="utf-8"
        )
    return 0


def boundlint_subjects(tree: Path, jobs: int) -> list[Subject]:
    """The four runs of boundlint that people wait for."""
    program = [str(environment("boundlint", str(HERE.parent), fresh=True) / "boundlint"), "check", "--quiet"]
    program += ["--root", str(tree), "--jobs", str(jobs), "--output-format", "json"]
    cache = trees.WORK / "cache"
    warm = [*program, "--cache-dir", str(cache)]
    changed = next(path for path in trees.python_files(tree) if path.name == "main.py")
    original = changed.read_bytes()
    edits = iter(range(10**9))

    def prime() -> None:
        changed.write_bytes(original)
        measure.run([*warm, str(tree)])

    def edit() -> None:
        prime()
        changed.write_bytes(original + b"\n# edit %d\nedited = %d\n" % (next(edits), next(edits)))

    return [
        Subject(COLD, [*program, "--no-cache", str(tree)]),
        Subject(WARM, [*warm, str(tree)], prime),
        Subject(ONE, [*warm, str(changed)], edit),
        Subject(ONE_ALL, [*warm, str(tree)], edit),
    ]


def other(tool: str, tree: Path, jobs: int) -> Subject:
    """Another linter, with its usual settings."""
    program = str(environment(tool, TOOLS[tool]) / tool)
    commands = {
        "flake8": [program, "--isolated", "--jobs", str(jobs), str(tree)],
        "bandit": [program, "--quiet", "--recursive", "--format", "json", str(tree)],
        "semgrep": [
            *(
                program,
                "scan",
                "--config",
                str(HERE / "semgrep.yml"),
                "--metrics",
                "off",
                "--quiet",
                "--json",
            ),
            *("--disable-version-check", "--no-git-ignore", "--jobs", str(jobs), str(tree)),
        ],
    }
    return Subject(tool, commands[tool])


def environment(name: str, requirement: str, fresh: bool = False) -> Path:
    """The folder of programs of a virtual environment with one tool; `fresh` installs it again."""
    folder = trees.WORK / "venvs" / name
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    stamp = folder / "installed.txt"
    if fresh or not stamp.is_file() or stamp.read_text(encoding="utf-8") != requirement:
        print(f"installing {name}", file=sys.stderr)
        if not folder.is_dir():
            venv.create(folder, with_pip=True)
        pip = [str(programs / "python"), "-m", "pip", "install", "--quiet"]
        subprocess.run([*pip, requirement], check=True)
        if fresh:  # pip leaves an installed version of the same number alone
            subprocess.run([*pip, "--force-reinstall", "--no-deps", requirement], check=True)
        stamp.write_text(requirement, encoding="utf-8")
    return programs


def time_all(subjects: Sequence[Subject], rounds: int) -> None:
    """All subjects in turn, round by round, each round starting with another one; then their memory."""
    for round_number in range(rounds):
        shift = round_number % len(subjects)
        for subject in (*subjects[shift:], *subjects[:shift]):
            subject.prepare()
            took = measure.run(subject.command, environment=QUIET)
            subject.seconds.append(took.seconds)
            subject.cpu.append(took.cpu)
            print(
                f"round {round_number + 1}: {subject.name}: {took.seconds:.2f} s, {took.cpu:.2f} s computed",
                file=sys.stderr,
            )
    for subject in subjects:
        subject.prepare()
        subject.memory_mb = measure.peak_memory(subject.command, environment=QUIET)


def summarize(subjects: Sequence[Subject]) -> list[dict[str, Any]]:
    """One row a subject; `ratio` says how many times longer than a cold run of boundlint it takes."""
    cold = next(subject for subject in subjects if subject.name == COLD)
    return [
        {
            "name": subject.name,
            "seconds": [round(value, 3) for value in subject.seconds],
            "median": round(statistics.median(subject.seconds), 3),
            "ratio": round(
                statistics.median(a / b for a, b in zip(subject.seconds, cold.seconds, strict=True)), 3
            ),
            "cpu": round(statistics.median(subject.cpu), 3),
            "cpu_ratio": round(
                statistics.median(a / b for a, b in zip(subject.cpu, cold.cpu, strict=True)), 3
            ),
            "memory_mb": round(subject.memory_mb),
        }
        for subject in subjects
    ]


def large(jobs: int) -> dict[str, Any]:
    """One cold run of boundlint over all packages."""
    tree = trees.assemble(trees.fetch(), trees.WORK / "large")
    files, lines = trees.count_lines(tree)
    command = [str(trees.WORK / "venvs/boundlint/bin/boundlint"), "check", "--quiet", "--no-cache"]
    command += ["--root", str(tree), "--jobs", str(jobs), "--output-format", "json", str(tree)]
    seconds = measure.run(command, accept=(0, 1, 2)).seconds
    memory = measure.peak_memory(command, accept=(0, 1, 2))
    return {"files": files, "lines": lines, "seconds": round(seconds, 2), "memory_mb": round(memory)}


def scale(jobs: int, steps: Sequence[int] = STEPS) -> list[dict[str, Any]]:
    """Cold runs of boundlint over growing parts of all packages, file by file in the order of their names."""
    whole = trees.assemble(trees.fetch(), trees.WORK / "large")
    rows = []
    for step in steps:
        part, lines = trees.head(whole, trees.WORK / "part", step)
        command = [str(trees.WORK / "venvs/boundlint/bin/boundlint"), "check", "--quiet", "--no-cache"]
        command += ["--root", str(part), "--jobs", str(jobs), "--output-format", "json", str(part)]
        took = measure.run(command, accept=(0, 1, 2))
        rows.append({"lines": lines, "seconds": round(took.seconds, 2), "cpu": round(took.cpu, 2)})
        print(f"{lines:,} lines: {took.seconds:.1f} s, {took.cpu:.1f} s computed", file=sys.stderr)
    return rows


def boundlint_version() -> str:
    """The version and the commit that was measured."""
    from boundlint import __version__

    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=HERE, capture_output=True, text=True, check=False
    )
    return f"{__version__} ({commit.stdout.strip()})" if commit.returncode == 0 else __version__


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    return {"python": platform.python_version(), "system": platform.system(), "cores": os.cpu_count()}


def table(results: Mapping[str, Any]) -> str:
    """The results as Markdown."""
    tree, host = results["tree"], results["machine"]
    rows = [
        (
            row["name"],
            f"{row['median']:.2f} s",
            f"{row['ratio']:.2f}",
            f"{row['cpu']:.2f} s",
            f"{row['cpu_ratio']:.2f}",
            f"{row['memory_mb']} MB",
        )
        for row in results["runs"]
    ]
    parts = [
        f"{tree['files']:,} files, {tree['lines']:,} lines of {', '.join(tree['packages'])}; Python {host['python']}, "
        f"{host['cores']} cores, {results['jobs']} jobs, median of {results['rounds']} rounds. "
        + ", ".join(f"{tool} {version}" for tool, version in results["tools"].items())
        + ".",
        markdown(
            ("run", "time", "times boundlint's cold run", "computed", "times boundlint's", "peak memory"),
            rows,
        ),
    ]
    if "large" in results:
        row = results["large"]
        parts.append(
            f"All packages at once, cold: {row['files']:,} files, {row['lines']:,} lines, {row['seconds']:.1f} s, "
            f"{row['memory_mb']} MB."
        )
    if "scale" in results:
        growing = [
            (
                f"{row['lines']:,}",
                f"{row['seconds']:.1f} s",
                f"{row['cpu']:.1f} s",
                f"{row['cpu'] / row['lines'] * 1e6:.0f} µs",
            )
            for row in results["scale"]
        ]
        parts.append(markdown(("lines", "time", "computed", "computed for a line"), growing))
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
