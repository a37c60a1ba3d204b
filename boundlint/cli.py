"""The command line: arguments, and which command they go to. Changes when a command or an option changes."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from boundlint import __version__
from boundlint.findings import CONFIDENCES, PERSONAS

USAGE_ERROR = 2
FORMATS = "rich, concise, json, sarif, github, gitlab, junit"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status is 0 (no findings), 1 (findings) or 2 (anything else)."""
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):
            reconfigure(errors="backslashreplace")  # a file name or source line may hold anything
    try:
        options = _parser().parse_args(arguments)
        status = _command(options)(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # Who reads the output has seen enough. Python must not flush into the closed pipe on its way out.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return USAGE_ERROR
    except KeyboardInterrupt:
        print("boundlint: interrupted", file=sys.stderr)
        return USAGE_ERROR
    except Exception as error:
        return _failed(error)
    return status


def _failed(error: Exception) -> int:
    from boundlint.catalog.schema import CatalogError
    from boundlint.config import ConfigError
    from boundlint.registry import PluginError

    if isinstance(error, (ConfigError, PluginError, CatalogError)):
        print(f"boundlint: error: {error}", file=sys.stderr)
        return USAGE_ERROR
    if os.environ.get("BOUNDLINT_TRACEBACK"):
        traceback.print_exception(error)
        return USAGE_ERROR
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    print(
        f"boundlint: internal error: {type(error).__name__}: {error}{place}\n"
        "This is a bug in boundlint, nothing was proven about your code. Please report it with the output of "
        "the same command under BOUNDLINT_TRACEBACK=1.",
        file=sys.stderr,
    )
    return USAGE_ERROR


def _command(options: argparse.Namespace) -> Callable[[argparse.Namespace], int]:
    if options.command == "check":
        from boundlint.cli_check import check

        return check
    from boundlint import cli_info

    commands = {
        "explain": cli_info.explain,
        "rules": cli_info.rules,
        "catalog": cli_info.catalog,
        "clean": cli_info.clean,
    }
    return commands[options.command]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="boundlint",
        description="Finds code that touches one customer's data without saying whose it is.",
        epilog="Exit status: 0 no findings, 1 findings, 2 anything else.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"boundlint {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_check(commands)
    explain = _add(commands, "explain", "print what a rule reports, why, and how to repair it")
    explain.add_argument("rule", metavar="CODE", help="a rule's code or name")
    _add_color(explain)
    rules = _add(commands, "rules", "list all rules")
    _add_list_format(rules)
    catalog = _add(commands, "catalog", "the data clients and operations that boundlint knows")
    actions = catalog.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = _add(actions, "list", "list client families, or the operations of some of them")
    listing.add_argument("families", nargs="*", metavar="FAMILY")
    _add_list_format(listing)
    verify = _add(actions, "verify", "import each installed client and check that every entry still holds")
    verify.add_argument("families", nargs="*", metavar="FAMILY")
    _add_list_format(verify)
    clean = _add(commands, "clean", "delete the cache of a project")
    clean.add_argument("path", nargs="?", type=Path, default=Path("."), metavar="PATH")
    clean.add_argument("--root", type=Path, metavar="DIR", help="the project's folder")
    clean.add_argument("--cache-dir", type=Path, metavar="DIR")
    return parser


def _add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add(commands, "check", "check files and folders")
    parser.add_argument(
        "paths", nargs="*", type=Path, metavar="PATH", help="default: . ; - is standard input"
    )
    choice = parser.add_argument_group("which findings")
    _add_codes(choice, "--select", "only rules with these code prefixes, separated by commas")
    _add_codes(choice, "--ignore", "not the rules with these code prefixes")
    _add_codes(choice, "--extend-select", "the rules with these code prefixes, too")
    choice.add_argument("--persona", choices=PERSONAS, help="how thorough to be (default: regular)")
    choice.add_argument("--min-confidence", choices=CONFIDENCES, help="hide findings below it (default: low)")
    choice.add_argument("--no-suppressions", action="store_true", help="report what comments silence, too")
    output = parser.add_argument_group("output")
    output.add_argument("--output-format", metavar="FORMAT", help=f"{FORMATS} (default: rich)")
    output.add_argument("--output-file", type=Path, metavar="FILE", help="write there instead")
    output.add_argument("--statistics", action="store_true", help="print counts by rule, not the findings")
    output.add_argument("--show-settings", action="store_true", help="print the settings, and check nothing")
    output.add_argument("--exit-zero", action="store_true", help="exit with 0 even when there are findings")
    output.add_argument("-q", "--quiet", action="store_true", help="no summary and no progress")
    _add_color(output)
    project = parser.add_argument_group("project")
    project.add_argument("--config", type=Path, metavar="FILE", help="this file and no other")
    project.add_argument("--root", type=Path, metavar="DIR", help="the folder that is the whole project")
    project.add_argument(
        "--stdin-filename", type=Path, metavar="FILE", help="the name of what comes from standard input"
    )
    speed = parser.add_argument_group("speed")
    speed.add_argument("-j", "--jobs", type=_jobs, metavar="N", help="processes (default: all cores)")
    speed.add_argument("--no-cache", action="store_true")
    speed.add_argument("--cache-dir", type=Path, metavar="DIR", help="default: .boundlint_cache in the root")


def _add(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, text: str
) -> argparse.ArgumentParser:
    return commands.add_parser(name, help=text, description=text, allow_abbrev=False)


def _add_codes(group: argparse._ArgumentGroup, option: str, text: str) -> None:
    group.add_argument(option, type=_codes, action="extend", metavar="CODES", help=text)


def _add_color(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--color", choices=("auto", "always", "never"), default="auto", help="default: only on a terminal"
    )


def _add_list_format(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--output-format", choices=("text", "json"), default="text")


def _codes(text: str) -> list[str]:
    return [code.strip() for code in text.split(",") if code.strip()]


def _jobs(text: str) -> int:
    count = int(text) if text.isascii() and text.isdigit() else 0
    if count < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes, 1 or more")
    return count


if __name__ == "__main__":
    sys.exit(main())
