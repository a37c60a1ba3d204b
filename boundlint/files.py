"""Which files are checked, and their text. Changes when the ways to find or decode sources change."""

from __future__ import annotations

import codecs
import io
import os
import stat
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from boundlint.findings import AnalysisError
from boundlint.globs import GlobList, compile_globs, parse_ignore_lines

if TYPE_CHECKING:
    from boundlint.config import Settings

CONFIG_NAMES = ("boundlint.toml", "pyproject.toml")
VCS_FOLDERS = (".git", ".hg", ".svn")
# A package that is installed somewhere inside a project is not a part of that project.
_INSTALLED = frozenset({"site-packages", "dist-packages", "node_modules"})

_Ignore = tuple[str, GlobList]  # the absolute folder that the patterns are relative to, with a last slash


def find_root(start: Path) -> Path:
    """The nearest folder at or above `start` with a pyproject.toml, a boundlint.toml or a VCS: the project.

    Without any of these it is `start` itself (its folder when it is a file).
    """
    start = _real(start)
    folder = start if start.is_dir() else start.parent
    top = folder
    for candidate in (folder, *folder.parents):
        if candidate.name in _INSTALLED:
            return top
        if any((candidate / name).is_file() for name in CONFIG_NAMES):
            return candidate
        if any((candidate / name).exists() for name in VCS_FOLDERS):
            return candidate
        top = candidate
    return folder


def relative_name(path: Path, root: Path) -> str:
    """The path as findings write it: relative to the root, `/` separated, `../` for what lies outside."""
    try:
        return path.relative_to(root).as_posix()
    except ValueError:
        pass
    try:
        return Path(os.path.relpath(path, root)).as_posix()
    except ValueError:  # another drive
        return path.as_posix()


def discover(paths: Iterable[Path], settings: Settings) -> tuple[tuple[Path, ...], tuple[AnalysisError, ...]]:
    """All Python files below the paths, absolute and sorted, and what could not be looked at.

    A folder is searched for `*.py`, without what `exclude` or `.gitignore` (inside a git repository) names;
    linked folders are not followed. A file that is given itself is always part of the answer, and a folder
    that is given itself is searched even where a pattern names that very folder.
    """
    found: set[str] = set()
    errors: list[AnalysisError] = []
    for path in paths:
        real = _real(path)
        name = relative_name(real, settings.root)
        try:
            mode = os.stat(real).st_mode
        except OSError as error:
            errors.append(AnalysisError(name, 0, _stat_problem(error)))
            continue
        if stat.S_ISDIR(mode):
            found.update(_walk(real, settings, errors))
        elif stat.S_ISREG(mode):
            found.add(str(real))
        else:
            errors.append(AnalysisError(name, 0, "this is neither a file nor a folder"))
    return tuple(Path(path) for path in sorted(found)), tuple(errors)


def read_source(source: Path | bytes, name: str) -> str | AnalysisError:
    """The text of a Python file, with `\\n` line ends, or why there is none; `name` is the path to report.

    Honors a byte order mark and the encoding declaration of PEP 263. Never raises.
    """
    data = source if isinstance(source, bytes) else read_bytes(source, name)
    return data if isinstance(data, AnalysisError) else decode(data, name)


def read_bytes(path: Path, name: str) -> bytes | AnalysisError:
    """The content of a file, or why it cannot be read."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        return AnalysisError(name, 0, f"cannot be read: {error.strerror or error}")


def decode(data: bytes, name: str) -> str | AnalysisError:
    """Decode the bytes of a Python file as the interpreter would, see `read_source`."""
    if b"\0" in data:
        return AnalysisError(
            name, _line_at(data, data.index(b"\0")), "contains a null byte: not Python source"
        )
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        if not codecs.lookup(encoding)._is_text_encoding:
            raise SyntaxError(f"{encoding} is not a text encoding")
    except SyntaxError as error:
        if "invalid or missing encoding declaration" not in str(error):
            return AnalysisError(name, 1, f"has a wrong encoding declaration: {_first_line(error)}")
        encoding = "utf-8"  # a broken byte in the first two lines: the decoder below says where
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        byte, line = data[error.start], _line_at(data, error.start)
        message = f"is not valid {encoding} (byte 0x{byte:02x}): declare its encoding, or exclude the file"
        return AnalysisError(name, line, message)
    except (ValueError, LookupError) as error:
        return AnalysisError(name, 1, f"cannot be decoded as {encoding}: {error}")
    if "\0" in text:
        return AnalysisError(name, text.count("\n", 0, text.index("\0")) + 1, "contains a null character")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _real(path: Path) -> Path:
    # The folder is resolved, the last part is not: a linked file keeps the name it is known by.
    try:
        return path.resolve() if path.is_dir() else path.parent.resolve() / path.name
    except (OSError, RuntimeError, ValueError):
        return Path(os.path.abspath(path))


def _walk(top: Path, settings: Settings, errors: list[AnalysisError]) -> Iterator[str]:
    excluded = compile_globs(settings.exclude)
    root = os.path.join(str(settings.root), "")
    pending: list[tuple[str, tuple[_Ignore, ...] | None]] = [(str(top), _inherited_ignores(top))]
    while pending:
        folder, ignores = pending.pop()
        try:
            with os.scandir(folder) as entries:
                found = list(entries)
        except OSError as error:
            name = relative_name(Path(folder), settings.root)
            errors.append(AnalysisError(name, 0, f"this folder cannot be read: {error.strerror or error}"))
            continue
        ignores = _extended_ignores(folder, {entry.name for entry in found}, ignores)
        for entry in found:
            try:
                is_folder = entry.is_dir(follow_symlinks=False)
            except OSError:
                continue
            if not is_folder and not entry.name.endswith(".py"):
                continue
            inside = entry.path[len(root) :] if entry.path.startswith(root) else entry.name
            inside = inside.replace(os.sep, "/") if os.sep != "/" else inside
            if excluded.verdict(inside, is_folder) or _ignored(entry.path, is_folder, ignores):
                continue
            if is_folder:
                pending.append((entry.path, ignores))
            elif _is_source(entry, settings.root, errors):
                yield entry.path


def _is_source(entry: os.DirEntry[str], root: Path, errors: list[AnalysisError]) -> bool:
    if not entry.is_symlink():
        return entry.is_file(follow_symlinks=False)
    if entry.name.startswith(".#"):
        return False  # the lock of an editor: a link that points to nothing on purpose
    try:
        return stat.S_ISREG(os.stat(entry.path).st_mode)
    except OSError as error:
        name = relative_name(Path(entry.path), root)
        errors.append(AnalysisError(name, 0, f"this link leads nowhere: {error.strerror or error}"))
        return False


def _inherited_ignores(top: Path) -> tuple[_Ignore, ...] | None:
    """The ignore files above `top` up to its git repository.

    None outside of a repository, and where the repository ignores `top`: who asks for it wants it searched.
    """
    chain = [top, *top.parents]
    depth = next((index for index, folder in enumerate(chain) if (folder / ".git").exists()), None)
    if depth is None:
        return None
    if depth == 0:
        return ()
    own = _read_ignore(chain[depth] / ".git" / "info" / "exclude", chain[depth])
    ignores: tuple[_Ignore, ...] = (own,) if own else ()
    for index in range(depth, 0, -1):
        here = _read_ignore(chain[index] / ".gitignore", chain[index])
        ignores = (*ignores, here) if here else ignores
        if _ignored(str(chain[index - 1]), True, ignores):
            return None
    return ignores


def _extended_ignores(
    folder: str, names: set[str], ignores: tuple[_Ignore, ...] | None
) -> tuple[_Ignore, ...] | None:
    if ".git" in names:
        own = _read_ignore(Path(folder, ".git", "info", "exclude"), Path(folder))
        ignores = (own,) if own else ()  # a repository of its own
    if ignores is None or ".gitignore" not in names:
        return ignores
    here = _read_ignore(Path(folder, ".gitignore"), Path(folder))
    return (*ignores, here) if here else ignores


def _read_ignore(file: Path, base: Path) -> _Ignore | None:
    try:
        text = file.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    return os.path.join(str(base), ""), parse_ignore_lines(text.split("\n"))


def _ignored(path: str, is_folder: bool, ignores: tuple[_Ignore, ...] | None) -> bool:
    for base, globs in reversed(ignores or ()):
        inside = path[len(base) :].replace(os.sep, "/")
        verdict = globs.verdict(inside, is_folder)
        if verdict is not None:
            return verdict
    return False


def _stat_problem(error: OSError) -> str:
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return "no such file or folder"
    return f"cannot be read: {error.strerror or error}"


def _line_at(data: bytes, offset: int) -> int:
    head = data[:offset].replace(b"\r\n", b"\n")
    return head.count(b"\n") + head.count(b"\r") + 1


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0]
