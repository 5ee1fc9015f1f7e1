"""The configuration: what it accepts, and that every refusal names the line, the key and a remedy, and no secret."""

from __future__ import annotations

import io
import os
import re
import stat
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.traceback import Traceback

from mlrelease_tui.config import (
    Config,
    KnownKeys,
    config_path,
    empty,
    load,
    parse,
)
from mlrelease_tui.config.initial import Draft, DraftBinding, render, write_initial
from mlrelease_tui.config.lines import KeyPath, locate
from mlrelease_tui.connectors.api import Option
from mlrelease_tui.domain.plan import Level
from mlrelease_tui.domain.rollout import Verb
from mlrelease_tui.errors import ConfigError

WHERE = Path("/etc/somewhere/config.toml")
CANARY = "hunter2-c4n4ry"

GOOD = """\
[connections.registry]
kind = "mlflow"
url = "https://mlflow.internal/"
credential = { command = ["pass", "show", "mlflow"] }

[connections.prod-eu]
kind = "kubernetes"
context = "prod-eu"
namespaces = ["ml"]
environment = "production"

[[bindings]]
endpoint = "prod-eu/ml/fraud-scorer"
model = "registry/fraud-scorer"
alias = "champion"
guard = { error_ratio = 0.01, p99_ms = 400 }
"""


def read(
    text: str,
    env: Mapping[str, str] | None = None,
    known_keys: KnownKeys | None = None,
    action_ids: Collection[str] | None = None,
) -> Config:
    home = {"HOME": "/home/op"}
    return parse(text, WHERE, home if env is None else env, known_keys=known_keys or {}, action_ids=action_ids)


def refused(text: str, known_keys: KnownKeys | None = None, action_ids: Collection[str] | None = None) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read(text, None, known_keys, action_ids)
    return caught.value


def written(path: Path, text: str = GOOD, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


# --- what a good file says ---------------------------------------------------------------------------------------------


def test_the_example_of_the_product() -> None:
    config = read(GOOD)
    registry, cluster = config.connections["registry"], config.connections["prod-eu"]
    assert (registry.kind, registry.options["url"], registry.line) == ("mlflow", "https://mlflow.internal", 1)
    assert registry.credential is not None
    assert (registry.credential.kind, registry.credential.command) == ("command", ("pass", "show", "mlflow"))
    assert cluster.options == {"context": "prod-eu", "namespaces": ("ml",)}
    assert cluster.environment == "production"
    (binding,) = config.bindings
    assert (binding.endpoint.id, binding.model.id, binding.alias, binding.line) == (
        "prod-eu/ml/fraud-scorer",
        "registry/fraud-scorer",
        "champion",
        12,
    )
    assert binding.guard is not None
    assert (binding.guard.error_ratio, binding.guard.p99_ms, binding.guard.p95_ms) == (0.01, 400.0, None)
    assert (config.policy.arm_minutes, config.policy.plan_expires_s) == (15, 120)
    assert config.warnings == ()


def test_settings_are_read_and_folders_default_to_the_state_folder() -> None:
    config = read(
        """
state_dir = "state"
[ui]
theme = "mono"
ascii = true
refresh_s = 5
keymap = { preset = "k9s", remap = { rollback = "B" } }
[policy]
arm_minutes = 5
plan_expires_s = 60
[environments.edge]
confirm = 3
[environments.staging]
confirm = { promote = 3 }
production = true
"""
    )
    assert config.state_dir == WHERE.parent / "state"
    assert config.audit_dir == WHERE.parent / "state" / "audit"
    assert (config.ui.theme, config.ui.ascii, config.ui.mouse, config.ui.refresh_s) == ("mono", True, None, 5.0)
    assert (config.ui.keymap.preset, config.ui.keymap.remap) == ("k9s", {"rollback": "B"})
    assert (config.policy.arm_minutes, config.policy.plan_expires_s) == (5, 60)
    assert config.floor("edge", Verb.WEIGHT) is Level.NAME
    assert config.floor("staging", Verb.PROMOTE) is Level.NAME
    assert config.floor("staging", Verb.WEIGHT) is Level.READ
    assert config.floor("dev", Verb.PROMOTE) is Level.READ
    assert config.is_production("staging")
    assert not config.is_production("edge")


def test_without_folders_the_xdg_state_folder_is_used_and_relative_xdg_paths_are_ignored() -> None:
    assert read("", {"HOME": "/h"}).audit_dir == Path("/h/.local/state/mlrelease/audit")
    assert read("", {"HOME": "/h", "XDG_STATE_HOME": "/s"}).state_dir == Path("/s/mlrelease")
    assert read("", {"HOME": "/h", "XDG_STATE_HOME": "here"}).state_dir == Path("/h/.local/state/mlrelease")
    assert empty({"HOME": "/h"}).connections == {}


def test_where_the_file_is_looked_for(tmp_path: Path) -> None:
    env = {"HOME": "/h", "XDG_CONFIG_HOME": "/c", "MLRELEASE_CONFIG": "/m/x.toml"}
    assert config_path(tmp_path / "a.toml", env) == tmp_path / "a.toml"
    assert config_path(None, env) == Path("/m/x.toml")
    del env["MLRELEASE_CONFIG"]
    assert config_path(None, env) == Path("/c/mlrelease/config.toml")
    del env["XDG_CONFIG_HOME"]
    assert config_path(None, env) == Path("/h/.config/mlrelease/config.toml")


def test_every_source_of_a_credential() -> None:
    config = read(
        """
[connections]
a = { kind = "oci", url = "https://r", credential = { file = "~/t", user = "bot" } }
b = { kind = "oci", url = "https://r", credential = { keyring = { service = "s", user = "u" } } }
c = { kind = "oci", url = "https://r", credential = { keyring = true } }
d = { kind = "oci", url = "https://r", credential = { env = "REGISTRY_TOKEN", scheme = "bearer" } }
e = { kind = "oci", url = "https://r", credential = { prompt = true } }
f = { kind = "oci", url = "https://r", credential = { none = true } }
g = { kind = "oci", url = "https://r", credential = { command = ["vault", "read"], pass_env = ["VAULT_TOKEN"] } }
h = { kind = "oci", url = "https://r", credential = { file = "$CREDENTIALS_DIRECTORY/oci" } }
""",
        {"HOME": "/home/op", "CREDENTIALS_DIRECTORY": "/run/credentials/x"},
    )
    sources = {name: connection.credential for name, connection in config.connections.items()}
    assert sources["a"] and (sources["a"].file, sources["a"].user) == (str(Path("~/t").expanduser()), "bot")
    assert sources["b"] and (sources["b"].service, sources["b"].entry) == ("s", "u")
    assert sources["c"] and (sources["c"].service, sources["c"].entry) == ("mlrelease", "c")
    assert sources["d"] and (sources["d"].variable, sources["d"].scheme) == ("REGISTRY_TOKEN", "bearer")
    assert [sources[name] and sources[name].kind for name in "ef"] == ["prompt", "none"]  # type: ignore[union-attr]
    assert sources["g"] and sources["g"].pass_env == ("VAULT_TOKEN",)
    assert sources["h"] and sources["h"].file == "/run/credentials/x/oci"


def test_a_plugin_declares_its_keys() -> None:
    text = '[connections.s]\nkind = "sagemaker"\nregion = "eu-west-1"\n'
    keys = {"sagemaker": {"region": "text required", "endpoint": "url"}}
    assert read(text, known_keys=keys).connections["s"].options == {"region": "eu-west-1"}
    problem = refused(text.replace("region", "regoin"), known_keys=keys)
    assert "`connections.s.regoin` is an unknown key" in problem.message
    assert problem.hint == "did you mean `region`?"
    problem = refused('[connections.s]\nkind = "sagemaker"\n', known_keys=keys)
    assert "has no `region`" in problem.message
    # A plugin that cannot be asked keeps its connection, so that it can be shown as broken.
    options = read(text + "x = [{ y = 1 }]\n", known_keys={"sagemaker": None}).connections["s"].options
    assert options == {"region": "eu-west-1", "x": ({"y": 1},)}


def test_the_options_of_a_factory_are_taken_as_it_declares_them() -> None:
    known = {
        "x": {
            "folder": Option((str,), "a folder", required=True, path=True),
            "ratio": Option((int, float), "a ratio"),
            "count": Option((int,), "a count"),
            "names": Option((list, dict), "names"),
        }
    }
    head = '[connections.s]\nkind = "x"\n'
    options = read(head + 'folder = "here"\nratio = 1\nnames = ["a"]\n', known_keys=known).connections["s"].options
    assert options == {"folder": str(WHERE.parent / "here"), "ratio": 1, "names": ("a",)}
    assert "has no `folder`" in refused(head, known_keys=known).message
    assert "wants an integer, not a boolean" in refused(head + "count = true", known_keys=known).message
    assert "wants an array or a table, not a string" in refused(head + 'names = "a"', known_keys=known).message
    # A plugin cannot loosen what a built-in kind accepts.
    assert "unknown key" in refused('[connections.m]\nkind = "mlflow"\nx = 1', known_keys={"mlflow": None}).message


def test_warnings_name_the_connection() -> None:
    text = '[connections.a]\nkind = "mlflow"\nurl = "http://far.example"\ncredential = { env = "TOK" }\n'
    assert read(text).warnings == ("a: its credential travels unencrypted (http)",)
    assert read(text.replace("far.example", "127.0.0.1:5000")).warnings == ()


# --- refusals ------------------------------------------------------------------------------------------------------------

BAD = [
    # (replace, by, line, in the message, in the hint)
    (
        'kind = "mlflow"',
        'kind = "mlfow"',
        2,
        "`connections.registry.kind` names no connector: mlfow",
        "did you mean `mlflow`?",
    ),
    ("url =", "ulr =", 3, "`connections.registry.ulr` is an unknown key", "did you mean `url`?"),
    ("[connections.", "[conections.", 1, "`conections` is an unknown key", "did you mean `connections`?"),
    ('url = "https://mlflow.internal/"', "url = 5000", 3, "wants a string, not an integer", ""),
    ('url = "https://mlflow.internal/"', 'url = "mlflow.internal"', 3, "wants an address with a scheme", ""),
    ('url = "https://mlflow.internal/"', 'url = "https://h:99999"', 3, "cannot be read", ""),
    ('url = "https://mlflow.internal/"\n', "", 1, "has no `url`, which kind mlflow needs", ""),
    ('kind = "mlflow"\n', "", 1, "has no `kind`", 'kind = "mlflow"'),
    ('namespaces = ["ml"]', 'namespaces = "ml"', 9, "wants an array of strings, not a string", ""),
    ('namespaces = ["ml"]', 'namespaces = ["ml", 3]', 9, "wants a string, not an integer", ""),
    (
        'environment = "production"',
        'environment = "producton"',
        10,
        "is not declared: producton",
        "did you mean `production`?",
    ),
    ("context =", 'kind = "fake"\ncontext =', 8, "`connections.prod-eu.kind` is given twice", "line 7"),
    ("[[bindings]]", "[connections.registry]\n[[bindings]]", 12, "`connections.registry` is given twice", "line 1"),
    ("prod-eu/ml/fraud-scorer", "prod-eu/fraud-scorer", 13, "wants connection/namespace/name", ""),
    (
        "prod-eu/ml/fraud-scorer",
        "prod-us/ml/fraud-scorer",
        13,
        "names no connection: prod-us",
        "did you mean `prod-eu`?",
    ),
    ('"registry/', '"registri/', 14, "names no connection: registri", "did you mean `registry`?"),
    ('model = "registry/fraud-scorer"\n', "", 12, "`bindings[0]` has no `model`", ""),
    ("p99_ms = 400", "p98_ms = 400", 16, "`bindings[0].guard.p98_ms` is an unknown key", "p99_ms"),
    ("error_ratio = 0.01", "error_ratio = 1.5", 16, "wants a number from 0 to 1", ""),
    ("error_ratio = 0.01", "error_ratio = nan", 16, "wants a number from 0 to 1", ""),
    ("error_ratio = 0.01", "error_ratio = true", 16, "not a boolean", ""),
    ("p99_ms = 400", "p99_ms = 1e400", 16, "wants a number", ""),
    ('{ command = ["pass", "show", "mlflow"] }', "{ command = [] }", 4, "wants a program and its arguments", ""),
    ('{ command = ["pass", "show", "mlflow"] }', '{ command = ["./get"] }', 4, "not by a relative one", ""),
    ('{ command = ["pass", "show", "mlflow"] }', '{ prompt = true, env = "A" }', 4, "exactly one source", ""),
    ('{ command = ["pass", "show", "mlflow"] }', "{ prompt = false }", 4, "wants true", ""),
    ('{ command = ["pass", "show", "mlflow"] }', "{ }", 4, "exactly one source", ""),
    (
        '{ command = ["pass", "show", "mlflow"] }',
        '{ comand = ["x"] }',
        4,
        "`connections.registry.credential.comand`",
        "`command`?",
    ),
    ('kind = "mlflow"', "kind = mlflow", 2, "is not valid TOML: invalid value", 'a string wants quotes: key = "value"'),
    ('kind = "mlflow"', 'kind: "mlflow"', 2, "is not valid TOML", "TOML writes key = value"),
    ('kind = "mlflow"', 'kind = "mlflow', 2, "is not valid TOML", ""),
    ("[connections.registry]", '[connections."a/b"]', 1, "is no name for a connection", "no slash"),
]


@pytest.mark.parametrize(("old", "new", "line", "message", "hint"), BAD, ids=[f"{new[:40]}" for _, new, *_ in BAD])
def test_a_bad_file_names_line_key_and_remedy(old: str, new: str, line: int, message: str, hint: str) -> None:
    assert old in GOOD
    problem = refused(GOOD.replace(old, new, 1))
    assert problem.line == line
    assert message in problem.message
    assert hint in problem.hint
    assert str(problem).startswith(f"{WHERE}:{line}: ")
    assert problem.exit_code == 2


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("[policy]\narm_minutes = 0", 2, "whole number from 1 to 240"),
        ("[policy]\nplan_expires_s = 121", 2, "whole number from 10 to 120"),
        ("[policy]\narm_minutes = 1.5", 2, "not a float"),
        ("[environments.prod]\nconfirm = 0", 2, "whole number from 1 to 4"),
        ("[environments.prod]\nconfirm = { promot = 3 }", 2, "`environments.prod.confirm.promot` is an unknown key"),
        ('[ui]\ntheme = "drak"', 2, "wants one of dark"),
        ("[ui]\nrefresh_s = 0.1", 2, "wants a number from 0.5"),
        ('ui = "dark"', 1, "wants a table, not a string"),
        ("bindings = 3", 1, "wants [[bindings]], not an integer"),
        ("x = 1979-05-27", 1, "unknown key"),
        ('[connections]\na = { kind = "local" }', 2, "has no `directory`"),
        ("connections = [1]", 1, "wants a table, not an array"),
        ("state_dir = ''", 1, "not empty"),
        ('state_dir = "a\\u0000b"', 1, "without control characters"),
        ("a" + ".a" * 40 + " = 1", 1, "nested more than 24 deep"),
        ("\n\na = " + "[" * 5000 + "]" * 5000, 3, "nested more than 24 deep"),
        ("a = " + "9" * 5000, 1, "a number is too long"),
    ],
)
def test_bad_settings(text: str, line: int, message: str) -> None:
    problem = refused(text)
    assert problem.line == line
    assert message in problem.message


def test_an_endpoint_bound_twice_names_both_lines() -> None:
    twin = GOOD[GOOD.index("[[bindings]]") :]
    problem = refused(GOOD + twin)
    assert (problem.line, problem.hint) == (18, "it is bound on line 12 already")


def test_unknown_actions_are_suggested_when_the_catalogue_is_known() -> None:
    text = '[ui.keymap.remap]\nrollbak = "B"\n'
    assert read(text).ui.keymap.remap == {"rollbak": "B"}
    problem = refused(text, action_ids=["rollback", "promote"])
    assert (problem.line, problem.hint) == (2, "did you mean `rollback`?")


def test_others_can_name_the_line_of_what_only_they_know() -> None:
    config = read('[ui.keymap.remap]\nrollback = "ctrl+q"\n')
    problem = config.error(("ui", "keymap", "remap", "rollback"), "ctrl+q is reserved")
    assert str(problem) == f"{WHERE}:2: ctrl+q is reserved"


def test_hostile_names_are_shown_as_visible_escapes() -> None:
    problem = refused('"a\\u001b]52;c;x\\u0007" = 1')
    assert "\x1b" not in str(problem)
    assert "\\e]52" in str(problem)


# --- secrets ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        f'token = "{CANARY}"',
        f'api_key = "{CANARY}"',
        f'PASSWORD = "{CANARY}"',
        f'accessToken = "{CANARY}"',
        f'url = "https://user:{CANARY}@host"',
        f'url = "https://{CANARY}@host"',
        f'url = "postgresql://user:{CANARY}@host/db"',
        f'url = "https://host/?access_token={CANARY}"',
        f'credential = "{CANARY}"',
        f'credential = {{ token = "{CANARY}" }}',
        f'credential = {{ env = "{CANARY}" }}',
        f'credential = {{ command = ["curl", "-H", "ghp_{CANARY.replace("-", "")}"] }}',
        f'credential = {{ command = ["curl", "https://u:{CANARY}@host"] }}',
        f'credential = {{ prompt = true, user = "ghp_{CANARY.replace("-", "")}" }}',
        f'workspace = "glpat-{CANARY}"',
        f'comment = {{ nested = ["hf_{CANARY.replace("-", "")}"] }}',
    ],
)
def test_a_secret_in_the_file_is_refused_and_not_repeated(line: str, tmp_path: Path) -> None:
    url = "" if line.startswith("url") else 'url = "https://host"\n'
    text = f'[connections.a]\nkind = "mlflow"\n{url}{line}\n'
    path = written(tmp_path / "config.toml", text)
    with pytest.raises(ConfigError) as caught:
        load(path, {"HOME": str(tmp_path)})
    problem = caught.value
    assert problem.line == text.count("\n")
    assert problem.hint
    shown = io.StringIO()
    console = Console(file=shown, width=400)
    console.print(Traceback.from_exception(type(problem), problem, problem.__traceback__, show_locals=True))
    for secret in (CANARY, CANARY.replace("-", "")):
        assert secret not in str(problem)
        # This test holds the secret in its own locals: look at the frames below it only.
        frames = shown.getvalue().split("reading.py", 1)[1]
        assert secret not in frames


def test_paths_to_secrets_are_no_secrets() -> None:
    text = '[connections.a]\nkind = "x"\ntoken_file = "/run/t"\nsecret_env = "A"\n'
    assert read(text, known_keys={"x": {"token_file": "path", "secret_env": "text"}}).connections["a"].options == {
        "token_file": "/run/t",
        "secret_env": "A",
    }
    assert read('[connections.d]\nkind = "docker"\nhost = "ssh://anna@bastion"\n').connections["d"].options


# --- the file itself -------------------------------------------------------------------------------------------------------


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no configuration") as caught:
        load(None, {"HOME": str(tmp_path)})
    assert "mlrelease init" in caught.value.hint
    assert caught.value.path == str(tmp_path / ".config/mlrelease/config.toml")


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "c.toml", mode=mode)
    with pytest.raises(ConfigError, match="others may write it") as caught:
        load(path, {})
    assert caught.value.hint == f"chmod go-w {path}"
    path.chmod(0o644)
    assert load(path, {}).connections


def test_a_file_of_another_user_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "c.toml")
    uid = os.getuid()
    if uid == 0:
        os.chown(path, 12345, -1)
    else:
        uid += 1
    with pytest.raises(ConfigError, match="belongs to another user"):
        load(path, {}, uid=uid)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, Path("/dev/zero")):
        with pytest.raises(ConfigError, match=r"not a regular file|others may write it"):
            load(path, {})
    target = written(tmp_path / "real.toml")
    (tmp_path / "link.toml").symlink_to(target)
    assert load(tmp_path / "link.toml", {}).connections


def test_fifty_megabytes_are_refused_unread(tmp_path: Path) -> None:
    path = written(tmp_path / "c.toml", "")
    os.truncate(path, 50 * 1024 * 1024)
    with pytest.raises(ConfigError, match="larger than 1024 KiB"):
        load(path, {})


def test_not_utf8_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(b"# a\n# b\n# \xff\n")
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="is not UTF-8 here") as caught:
        load(path, {})
    assert caught.value.line == 3


def test_byte_order_mark_and_crlf_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    path.chmod(0o600)
    assert load(path, {}).bindings[0].line == 12


def test_a_folder_that_anybody_may_write_is_warned_of(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    path = written(folder / "c.toml")
    folder.chmod(0o777)
    assert "anybody may replace the configuration" in load(path, {}).warnings[0]
    folder.chmod(0o700)
    assert load(path, {}).warnings == ()


# --- lines: a document built with known lines ---------------------------------------------------------------------------

NAMES = st.one_of(
    st.sampled_from(["a", "b", "c-1", "_", "1"]),
    st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=4),
)


def basic(text: str) -> str:
    return '"' + "".join(f"\\U{ord(char):08X}" if ord(char) < 32 or char in '"\\\x7f' else char for char in text) + '"'


@st.composite
def spelled(draw: st.DrawFn, name: str) -> str:
    """One of the ways to write a key."""
    ways = [basic(name)]
    if re.fullmatch(r"[A-Za-z0-9_-]+", name):
        ways.append(name)
    if "'" not in name and all(ord(char) >= 32 and ord(char) != 127 for char in name):
        ways.append(f"'{name}'")
    return draw(st.sampled_from(ways))


SCALARS = st.sampled_from(
    [
        "1",
        "-1.5e3",
        "true",
        "1979-05-27 07:32:00Z",
        '"a # no comment ] } = ,"',
        '"\\" \\\\"',
        "'it # is ] }'",
        '"""\nthree\n [x]\n y = 1"""',
        '""" "quotes" """""',
        "'''\nraw = '' \\ \n'''",
        "''''''",
        '""',
    ]
)


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[KeyPath, int]]:
    """A valid document in mixed styles, with the line of every key and element that it writes."""
    lines: dict[KeyPath, int] = {}
    out = ""

    def now() -> int:
        return out.count("\n") + 1

    def write(text: str) -> None:
        nonlocal out
        out += text

    def value(path: KeyPath, depth: int, breaks: bool) -> None:
        style = draw(st.sampled_from(["scalar", "array", "inline"] if depth < 3 else ["scalar"]))
        if style == "scalar":
            write(draw(SCALARS))
        elif style == "array":
            write("[")
            count = draw(st.integers(0, 3))
            for index in range(count):
                write(draw(st.sampled_from(["", " ", "\n  ", "\n# ] }\n"])))
                lines[(*path, index)] = now()
                value((*path, index), depth + 1, breaks)
                if index < count - 1 or draw(st.booleans()):
                    write(draw(st.sampled_from([",", " ,", "\n,", ", # x\n"])))
            write(draw(st.sampled_from(["]", " ]", "\n]"])))
        else:
            write("{ ")
            for index, name in enumerate(draw(st.lists(NAMES, max_size=2, unique=True))):
                write(", " if index else "")
                pair((*path, name), depth + 1, breaks)
            write(" }")

    def pair(path: KeyPath, depth: int, breaks: bool) -> None:
        name = str(path[-1])
        lines[path] = now()
        write(draw(spelled(name)))
        if draw(st.integers(0, 3)) == 0:
            inner = draw(NAMES)
            path = (*path, inner)
            lines[path] = now()
            write(draw(st.sampled_from([".", " . "])) + draw(spelled(inner)))
        write(draw(st.sampled_from(["=", " = ", "\t="])))
        value(path, depth, breaks)

    def body(path: KeyPath) -> None:
        for name in draw(st.lists(NAMES, max_size=3, unique=True)):
            write(draw(st.sampled_from(["", "\n", "# [no] = 'table'\n", "\t"])))
            pair((*path, name), 0, True)
            write(draw(st.sampled_from(["\n", " # end\n", "\n\n"])))

    body(())
    taken = {path[0] for path in lines}
    for name in draw(st.lists(NAMES, max_size=3, unique=True)):
        if name in taken:
            continue
        repeats = draw(st.integers(0, 3))
        for index in range(repeats or 1):
            lines.setdefault((name,), now())
            path: KeyPath = (name, index) if repeats else (name,)
            lines[path] = now()
            write(("[[ " if repeats else "[") + draw(spelled(name)) + (" ]]" if repeats else "]") + "\n")
            body(path)
            if draw(st.booleans()):
                child = draw(NAMES)
                if (*path, child) not in lines:
                    lines[(*path, child)] = now()
                    write(f"[{draw(spelled(name))}.{draw(spelled(child))}] # sub\n")
                    body((*path, child))
    return out, lines


def paths(value: object, path: KeyPath = ()) -> list[KeyPath]:
    found: list[KeyPath] = [path] if path else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += paths(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            found += paths(item, (*path, index))
    return found


@settings(max_examples=300, deadline=None)
@given(documents())
def test_every_key_of_a_valid_document_has_its_line(document: tuple[str, dict[KeyPath, int]]) -> None:
    text, expected = document
    text = text.replace("\r\n", "\n")
    parsed = tomllib.loads(text)
    located = locate(text)
    assert located.repeated is None
    assert located.too_deep == 0
    assert dict(located.first) == expected
    assert set(located.first) == set(paths(parsed))


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="[]{}=.,\"'\\#\n ab1", max_size=60))
def test_any_text_either_loads_or_is_refused_in_our_words(text: str) -> None:
    located = locate(text)
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        with pytest.raises(ConfigError):
            read(text)
    else:
        assert located.repeated is None
        assert all(line >= 1 for line in located.first.values())


def test_keys_under_arrays_of_tables() -> None:
    text = "[[a]]\nx = 1\n[[a.b]]\ny = 1\n[[a.b]]\ny = 2\n[[a]]\n[[a.b]]\ny = 3\n[a.c]\nz = 1\n"
    first = locate(text).first
    assert first[("a", 0, "b", 1, "y")] == 6
    assert first[("a", 1, "b", 0, "y")] == 9
    assert first[("a", 1, "c", "z")] == 11


# --- a first file -----------------------------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(
    st.text(max_size=20).filter(lambda text: text.strip() != ""),
    st.text(max_size=20),
    st.text(max_size=30),
)
def test_what_is_rendered_comes_back(context: str, comment: str, head: str) -> None:
    draft = Draft(
        "prod-eu", "x", {"context": context, "list": [context, 1, True, 0.5], "t": {context: {}}}, comment=comment
    )
    parsed = tomllib.loads(render([draft], comment=head))
    shown = context.encode("utf-8", "replace").decode()
    assert parsed["connections"]["prod-eu"] == {
        "kind": "x",
        "context": shown,
        "list": [shown, 1, True, 0.5],
        "t": {shown: {}},
    }


def test_a_first_file_loads_as_it_was_meant_and_is_ours_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "mlrelease" / "config.toml"
    text = render(
        [
            Draft(
                "registry",
                "mlflow",
                {"url": "https://m", "credential": {"keyring": True}},
                comment="found in a variable",
            ),
            Draft("prod-eu", "kubernetes", {"context": 'a "b" \\ c'}, environment="production"),
        ],
        [DraftBinding("prod-eu/ml/x", "registry/x", "champion", {"error_ratio": 0.01})],
        settings={"state_dir": "state", "ui": {"theme": "mono"}},
        comment="written for a test",
    )
    write_initial(path, text, {})
    config = load(path, {})
    assert config.connections["prod-eu"].options["context"] == 'a "b" \\ c'
    assert config.connections["registry"].credential is not None
    assert config.bindings[0].guard is not None
    assert (config.ui.theme, config.state_dir) == ("mono", path.parent / "state")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["config.toml"]


def test_a_first_file_overwrites_only_by_force(tmp_path: Path) -> None:
    path = written(tmp_path / "config.toml", "# mine\n")
    with pytest.raises(ConfigError, match="exists already") as caught:
        write_initial(path, GOOD, {})
    assert "--force" in caught.value.hint
    assert path.read_text() == "# mine\n"
    write_initial(path, GOOD, {}, force=True)
    assert path.read_text() == GOOD
    assert [entry.name for entry in tmp_path.iterdir()] == ["config.toml"]


def test_a_first_file_that_would_not_load_is_not_written(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    with pytest.raises(ConfigError, match="unknown key"):
        write_initial(path, GOOD.replace("url", "ulr"), {})
    assert not path.exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be written"):
        write_initial(tmp_path / "file" / "config.toml", GOOD, {})
