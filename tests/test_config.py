"""Reading the configuration: values, where it is found, and errors that say where and what to do."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from boundlint.config import DEFAULT_EXCLUDE, ConfigError, Settings, load_settings

CODES = ("BND001", "BND201", "BND202", "BND301", "BND401", "ACM101")


def load(folder: Path, text: str, name: str = "pyproject.toml", **options: object) -> Settings:
    (folder / name).write_text(textwrap.dedent(text), encoding="utf-8")
    return load_settings(folder, codes=CODES, **options)  # type: ignore[arg-type]


def failure(folder: Path, text: str, name: str = "pyproject.toml") -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, name)
    assert caught.value.path == folder / name
    return caught.value


EVERYTHING = """\
    [project]
    name = "demo"

    [tool.boundlint]
    select = ["BND2", "BND301"]
    ignore = ["BND202"]
    extend-select = ["BND401"]
    persona = "pedantic"
    min-confidence = "medium"
    exclude = ["migrations/", "*_pb2.py"]
    guards = ["app.auth.require_*"]
    key-builders = ["app.keys.scoped_key"]

    [tool.boundlint.per-file-ignores]
    "tests/**" = ["BND2"]

    [tool.boundlint.boundary]
    names = ["shop_id", "*_shop"]
    types = ["app.auth.Principal"]
    current = ["app.auth.current_shop"]
    factories = ["app.redis.client_for"]
    levels = { tenant = ["shop_id"], user = ["member_id"] }

    [tool.boundlint.unscoped]
    "app.flags.*" = "shared feature flags"

    [[tool.boundlint.operation]]
    target = "app.store.Store.put"
    kind = "memory"
    effect = "write"
    args = [{ role = "key", position = 0, keyword = "key" }]
    """


def test_every_key_is_read(tmp_path: Path) -> None:
    settings = load(tmp_path, EVERYTHING)
    assert settings.root == tmp_path.resolve()
    assert settings.config_path == tmp_path / "pyproject.toml"
    assert settings.select == ("BND2", "BND301")
    assert (settings.persona, settings.min_confidence) == ("pedantic", "medium")
    assert settings.exclude == (*DEFAULT_EXCLUDE, "migrations/", "*_pb2.py")
    assert settings.guards == ("app.auth.require_*",)
    assert settings.key_builders == ("app.keys.scoped_key",)
    assert settings.boundary.names == ("shop_id", "*_shop")
    assert settings.boundary.types == ("app.auth.Principal",)
    assert settings.boundary.current == ("app.auth.current_shop",)
    assert settings.boundary.factories == ("app.redis.client_for",)
    assert settings.boundary.levels == {"tenant": ("shop_id",), "user": ("member_id",)}
    assert settings.unscoped == {"app.flags.*": "shared feature flags"}
    (operation,) = settings.operations
    assert (operation.target, operation.kind, operation.args[0].keyword) == (
        "app.store.Store.put",
        "memory",
        "key",
    )
    line = EVERYTHING.split("\n").index("    [[tool.boundlint.operation]]") + 1
    assert operation.source == f"{tmp_path / 'pyproject.toml'}:{line}"


def test_boundlint_toml_has_the_same_keys_and_goes_first(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.boundlint]\nselect = ["BND4"]\n', encoding="utf-8")
    settings = load(tmp_path, 'select = ["BND3"]\n[boundary]\nnames = ["shop"]\n', "boundlint.toml")
    assert settings.select == ("BND3",)
    assert settings.boundary.names == ("shop",)


def test_without_a_configuration_there_are_defaults(tmp_path: Path) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / "app").mkdir()
    settings = load_settings(tmp_path / "app", codes=CODES)
    assert settings == Settings(root=tmp_path)
    assert all(settings.selects(code) for code in CODES)


def test_the_nearest_project_file_that_speaks_of_boundlint_is_read(tmp_path: Path) -> None:
    service = tmp_path / "services" / "api"
    service.mkdir(parents=True)
    (service / "pyproject.toml").write_text('[project]\nname = "api"\n', encoding="utf-8")
    (service / "x.py").touch()
    load(tmp_path, '[tool.boundlint]\nselect = ["BND2"]\n')
    settings = load_settings(service / "x.py", codes=CODES)
    assert (settings.root, settings.select) == (tmp_path, ("BND2",))
    (service / ".git").mkdir()  # another repository: what is above it is not its configuration
    settings = load_settings(service, codes=CODES)
    assert (settings.root, settings.select) == (service, ())


def test_a_named_configuration_and_root(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / ".git").mkdir()
    other = tmp_path / "strict.toml"
    other.write_text('persona = "auditor"\n', encoding="utf-8")
    settings = load_settings(tmp_path / "app", config=other, codes=CODES)
    assert (settings.root, settings.persona, settings.config_path) == (tmp_path, "auditor", other)
    settings = load_settings(tmp_path / "app", config=other, root=tmp_path / "app", codes=CODES)
    assert settings.root == tmp_path / "app"
    with pytest.raises(ConfigError, match="No such file"):
        load_settings(tmp_path, config=tmp_path / "gone.toml", codes=CODES)


@pytest.mark.parametrize(
    ("select", "ignore", "extend", "running"),
    [
        ((), (), (), CODES),
        (("BND2",), (), (), ("BND201", "BND202")),
        ((), ("BND",), (), ("ACM101",)),
        ((), ("BND",), ("BND201",), ("BND201", "ACM101")),
        (("BND2",), ("BND201",), (), ("BND202",)),
        (("BND201",), ("BND2",), (), ("BND201",)),
        (("BND2",), ("BND2",), (), ()),
        (("BND2",), (), ("A",), ("BND201", "BND202", "ACM101")),
    ],
)
def test_the_longest_prefix_decides(
    tmp_path: Path,
    select: tuple[str, ...],
    ignore: tuple[str, ...],
    extend: tuple[str, ...],
    running: tuple[str, ...],
) -> None:
    settings = Settings(root=tmp_path, select=select, ignore=ignore, extend_select=extend)
    assert tuple(code for code in CODES if settings.selects(code)) == running


def test_the_command_line_replaces_select_and_adds_to_ignore(tmp_path: Path) -> None:
    text = '[tool.boundlint]\nselect = ["BND2"]\nignore = ["BND202"]\npersona = "auditor"\n'
    settings = load(tmp_path, text, select=("BND",), ignore=("BND3",), persona="regular")
    assert (settings.select, settings.ignore) == (("BND",), ("BND202", "BND3"))
    assert settings.persona == "regular"
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, ignore=("BND9",))
    assert caught.value.path is None
    assert str(caught.value).startswith("--ignore: no rule has the code 'BND9'; did you mean BND")


@pytest.mark.parametrize(
    ("path", "code", "pattern"),
    [
        ("tests/deep/a.py", "BND201", "tests/*"),
        ("app/tests/a.py", "BND201", None),
        ("tests/a.py", "BND301", None),
        ("app/conftest.py", "BND301", "conftest.py"),
    ],
)
def test_per_file_ignores(tmp_path: Path, path: str, code: str, pattern: str | None) -> None:
    text = '[tool.boundlint.per-file-ignores]\n"tests/*" = ["BND2"]\n"conftest.py" = ["BND"]\n'
    assert load(tmp_path, text).ignored_in(path, code) == pattern


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("[tool.boundlint]\nselekt = []\n", 2, "unknown key 'selekt'; did you mean 'select'?"),
        ("[tool.boundlint]\nkey_builders = []\n", 2, "did you mean 'key-builders'?"),
        (
            "[tool.boundlint]\n\n[tool.boundlint.boundary]\n# names\nnmaes = ['x']\n",
            5,
            "unknown key 'boundary.nmaes'; did you mean 'boundary.names'?",
        ),
        ("[tool.boundlint]\nboundary.nams = []\n", 2, "did you mean 'boundary.names'?"),
        ("[tool.boundlint]\nboundary = { nams = [] }\n", 2, "did you mean 'boundary.names'?"),
        ("[tool.boundlint]\nselect = 'BND2'\n", 2, "select must be a list of strings, not a string"),
        ("[tool.boundlint]\nselect = [\n  'BND2',\n  3,\n]\n", 2, "select must be a list of strings"),
        ("[tool.boundlint]\nselect = [\n  'BND2', # 'x'\n  'BND9',\n]\n", 4, "no rule has the code 'BND9'"),
        ("[tool.boundlint]\nignore = ['bnd201']\n", 2, "did you mean BND201?"),
        ("[tool.boundlint]\npersona = 'strict'\n", 2, "one of regular, pedantic, auditor, not 'strict'"),
        ("[tool.boundlint]\nmin-confidence = 1\n", 2, "min-confidence must be one of low, medium, high"),
        ("[tool.boundlint]\nexclude = ['']\n", 2, "this is an empty string"),
        ("[tool.boundlint]\nguards = true\n", 2, "guards must be a list of strings, not a boolean"),
        ("[tool.boundlint]\nguards = ['a', 'b c']\n", 2, "'b c' is not a dotted name"),
        ("[tool.boundlint]\nboundary = []\n", 2, "boundary must be a table, not a list"),
        ("[tool.boundlint.boundary]\nnames = ['a.b']\n", 2, "'a.b' is not a name"),
        ("[tool.boundlint.boundary.levels]\ntenant = 'x'\n", 2, "boundary.levels.tenant must be a list"),
        ("[tool.boundlint]\nunscoped = ['app.flags']\n", 2, "give each pattern a reason"),
        ("[tool.boundlint.unscoped]\n'app.flags' = ''\n", 2, "'app.flags' needs a reason"),
        ("[tool.boundlint.unscoped]\n'app flags' = 'x'\n", 2, "'app flags' is not a dotted name"),
        ("[tool.boundlint.per-file-ignores]\n\n'a.py' = ['X']\n", 3, "no rule has the code 'X'"),
        ("[tool]\nboundlint = 3\n", 2, "tool.boundlint must be a table"),
        ("[tool.boundlint]\noperation = 3\n", 2, "operation must be an array of tables"),
        ("[tool.boundlint]\nselect = [\n", 2, "is not valid TOML"),
        ("[tool.boundlint]\nx = '''\n[tool.boundlint]\ny = 1\n'''\nz = 1\n", 2, "unknown key 'x'"),
    ],
)
def test_errors_name_the_line_and_the_repair(tmp_path: Path, text: str, line: int, message: str) -> None:
    error = failure(tmp_path, text)
    assert message in error.message
    assert error.line == line
    assert str(error).startswith(f"{tmp_path / 'pyproject.toml'}:{line}: ")


def test_an_operation_that_is_wrong_is_named_by_its_line(tmp_path: Path) -> None:
    good = '[[tool.boundlint.operation]]\ntarget = "a.B.c"\nkind = "memory"\neffect = "read"\n'
    error = failure(tmp_path, good + "\n" + good.replace('effect = "read"', 'efect = "read"'))
    assert error.line == 9
    assert "effect" in error.message


def test_what_is_not_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "boundlint.toml").write_bytes(b"select = ['\xff']\n")
    with pytest.raises(ConfigError, match="not valid UTF-8"):
        load_settings(tmp_path, codes=CODES)


def test_a_project_file_of_others_may_be_broken_when_it_is_not_about_boundlint(tmp_path: Path) -> None:
    assert load(tmp_path, "[tool.other\n").config_path is None


def test_windows_line_ends_and_a_byte_order_mark(tmp_path: Path) -> None:
    text = '\ufeff[tool.boundlint]\r\nselect = ["BND2"]\r\n'
    (tmp_path / "pyproject.toml").write_bytes(text.encode())
    assert load_settings(tmp_path, codes=CODES).select == ("BND2",)


def test_digest_follows_what_the_analysis_depends_on(tmp_path: Path) -> None:
    base = load(tmp_path, EVERYTHING)
    moved = load(tmp_path, "\n\n" + textwrap.dedent(EVERYTHING))
    assert moved.digest() == base.digest()
    assert load(tmp_path, EVERYTHING, persona="auditor").digest() == base.digest()
    for old, new in (
        ('"*_shop"', '"*_store"'),
        ("member_id", "person_id"),
        ("require_*", "check_*"),
        ("feature flags", "flags"),
        ('kind = "memory"', 'kind = "cache"'),
    ):
        assert load(tmp_path, EVERYTHING.replace(old, new)).digest() != base.digest(), new
