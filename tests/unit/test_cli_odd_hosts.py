"""Hosts as they are: no home folder, variables that are no address, names that no configuration takes, a file that is not there."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.e2e.cli_host import CALM, Answer, Shell

from mlrelease_tui.cli.discovering import discover
from mlrelease_tui.cli.known import known_names
from mlrelease_tui.config.initial import render
from mlrelease_tui.config.reading import config_path, is_unnamed_and_missing, parse
from mlrelease_tui.config.schema import BARE_STORES
from mlrelease_tui.connectors import plugins
from mlrelease_tui.connectors.api import Settings
from mlrelease_tui.errors import ConfigError

WHERE = Path("/etc/mlrelease.toml")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "home")


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """The environment of a container that runs as a number: no HOME, and no user of that number."""

    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(uid)

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    return {}


# --- no home ----------------------------------------------------------------------------------------------------------


def test_without_a_home_it_is_said_what_to_set(nobody: Mapping[str, str]) -> None:
    with pytest.raises(ConfigError, match="no home folder") as caught:
        config_path(None, nobody)
    assert "XDG_CONFIG_HOME" in caught.value.hint
    with pytest.raises(ConfigError, match="no home folder"):
        parse("", WHERE, nobody)


def test_whoever_names_every_folder_needs_no_home(nobody: Mapping[str, str]) -> None:
    named = parse('state_dir = "/var/lib/mlrelease"', WHERE, nobody)
    assert named.audit_dir == Path("/var/lib/mlrelease/audit")
    assert parse("", WHERE, {"XDG_STATE_HOME": "/s"}).state_dir == Path("/s/mlrelease")
    assert config_path(None, {"XDG_CONFIG_HOME": "/c"}) == Path("/c/mlrelease/config.toml")


def test_without_a_home_nothing_is_found_in_it_and_a_tab_is_silent(nobody: Mapping[str, str], tmp_path: Path) -> None:
    assert discover(nobody, socket=tmp_path / "none") == ()
    assert known_names("endpoints", None, nobody) == []
    assert known_names("endpoints", Path("~nobody-is-called-this/config.toml"), nobody) == []


def test_a_home_that_is_not_known_is_a_fault_of_the_configuration(shell: Shell) -> None:
    for arguments in (("--config", "~nobody-is-called-this/x.toml", "status"), ("audit", "list")):
        shell.environment["MLRELEASE_CONFIG"] = "~nobody-is-called-this/x.toml"
        answer = shell.run(*arguments, "--json", bare=True)
        assert (answer.code, answer.error["code"]) == (2, "config")
        assert "home folder that is not known" in answer.error["message"]


# --- a configuration that is not there --------------------------------------------------------------------------------


def test_only_where_nobody_named_a_configuration_the_defaults_are_meant(tmp_path: Path) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path)}
    assert is_unnamed_and_missing(None, env)
    assert not is_unnamed_and_missing(tmp_path / "x.toml", env)
    assert not is_unnamed_and_missing(None, {**env, "MLRELEASE_CONFIG": str(tmp_path / "x.toml")})
    (tmp_path / "mlrelease").mkdir()
    assert is_unnamed_and_missing(None, env)
    (tmp_path / "mlrelease" / "config.toml").symlink_to(tmp_path / "gone.toml")
    assert not is_unnamed_and_missing(None, env), "somebody put it there"


def test_the_audit_of_another_configuration_is_never_shown_instead(shell: Shell) -> None:
    """Somebody acted without MLRELEASE_CONFIG; with a misspelt one their audit must not pass for the one that is meant."""
    shell.environment["XDG_CONFIG_HOME"] = str(shell.home / "xdg")
    shell.environment["XDG_STATE_HOME"] = str(shell.home / "state")
    assert shell.run("audit", "list", bare=True).code == 0, "the past can be read without a configuration"
    shell.environment["MLRELEASE_CONFIG"] = str(shell.home / "misspelt.toml")
    for command in ("list", "verify", "export"):
        answer: Answer = shell.run("audit", command, "--json", bare=True)
        assert (answer.code, answer.error["code"]) == (2, "config")
        assert "misspelt.toml: there is no configuration" in answer.error["message"]


# --- what is found ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "url"),
    [
        *((word, word) for word in sorted(BARE_STORES)),
        ("https://mlflow.internal/api?token=s3cret-canary", "https://mlflow.internal/api"),
        ("https://mlflow.internal/#/models", "https://mlflow.internal/"),
        ("postgresql://db/mlflow?sslmode=require", "postgresql://db/mlflow?sslmode=require"),
        ("postgresql://ann:s3cret-canary@db/mlflow?password=s3cret-canary", "postgresql://db/mlflow"),
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("/srv/mlruns", "file:///srv/mlruns"),
    ],
)
def test_the_address_of_a_registry_is_taken_as_mlflow_takes_it_and_without_secrets(
    address: str, url: str, tmp_path: Path
) -> None:
    env = {"HOME": str(tmp_path), "MLFLOW_TRACKING_URI": address}
    (found,) = discover(env, socket=tmp_path / "none")
    assert found.draft.options == {"url": url}
    config = parse(render([found.draft]), WHERE, env)
    assert "s3cret-canary" not in render([found.draft])
    plugins.connect("mlflow", Settings("registry", "mlflow", config.connections["registry"].options))


def init(shell: Shell) -> tuple[Answer, dict[str, str], dict[str, str]]:
    """`init`; kinds of the connections that it wrote, and reasons of those that it left out, by name."""
    answer = shell.run("init", "--json")
    assert answer.code == 0, answer
    written = {item["name"]: item["kind"] for item in answer.document["connections"]}
    return answer, written, {item["name"]: item["reason"] for item in answer.document["left_out"]}


def test_what_can_be_no_connection_is_left_out_and_costs_the_others_nothing(shell: Shell) -> None:
    folder = shell.home / ".kube"
    folder.mkdir()
    contexts = [
        {"name": "prod-eu"},
        {"name": "_hidden"},
        {"name": "broken", "context": {"namespace": "a\nb"}},
    ]
    (folder / "config").write_text(json.dumps({"contexts": contexts}))
    shell.environment["MLFLOW_TRACKING_URI"] = "http://[no-address"
    _, written, left_out = init(shell)
    assert {name for name, kind in written.items() if kind == "kubernetes"} == {"prod-eu", "hidden"}
    assert left_out["registry"] == "MLFLOW_TRACKING_URI: it is no address"
    assert "without control characters" in left_out["broken"]
    assert str(shell.config) not in left_out["broken"], "that file is not what is wrong"
    assert shell.run("connections", "list").code == 0


def test_init_prints_no_secret(shell: Shell) -> None:
    shell.environment["MLFLOW_TRACKING_URI"] = "https://mlflow.internal/?access_token=s3cret-canary"
    printed = shell.run("init", "--print")
    assert printed.code == 0
    assert 'url = "https://mlflow.internal/"' in printed.out
    assert "s3cret-canary" not in printed.out + printed.err


def test_a_deeply_nested_file_has_nothing_to_find(tmp_path: Path) -> None:
    deep = "[" * 100_000
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text('{"contexts": ' + deep)
    meta = tmp_path / ".docker" / "contexts" / "meta" / "a"
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text(deep)
    assert discover({"HOME": str(tmp_path)}, socket=tmp_path / "none") == ()
    config = tmp_path / "config.toml"
    config.write_text('state_dir = "state"')
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "last-known.json").write_text(deep)
    assert known_names("endpoints", config, {}) == []


# --- what is typed ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("since", ["99999999d", "999999999", "0d ago", "٣d"])
def test_a_moment_that_is_none_is_a_usage_error(shell: Shell, since: str) -> None:
    answer = shell.play(cluster=CALM).run("audit", "list", "--since", since, "--json")
    assert (answer.code, answer.error["code"]) == (2, "usage")
    assert "is no moment" in answer.error["message"]


# --- a file that is wrong ---------------------------------------------------------------------------------------------

TOKEN = "ghp_" + "s3cretcanary" * 3


@pytest.mark.parametrize(
    "text",
    [
        f"{TOKEN} = 1",
        f'[connections.registry]\nkind = "fake"\n{TOKEN} = true',
        f'[connections.registry]\nkind = "fake"\ncredential = {{ {TOKEN} = true }}',
        f"[{TOKEN}]\na = 1",
        f'[connections.registry]\nkind = "{TOKEN}"',
        f'[connections.registry]\nkind = "fake"\nenvironment = "{TOKEN}"',
        f"{TOKEN} = 1\n{TOKEN} = 2",
    ],
)
def test_a_secret_that_was_pasted_where_a_key_belongs_is_not_told(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, WHERE, {"HOME": "/h"})
    assert "s3cret" not in str(caught.value)
    assert caught.value.line > 0


def test_a_number_that_is_too_long_is_told_with_its_line() -> None:
    with pytest.raises(ConfigError, match="a number is too long") as caught:
        parse(f"[policy]\n\narm_minutes = {'9' * 5000}\n", WHERE, {"HOME": "/h"})
    assert caught.value.line == 3


# --- a umask that hides nothing ---------------------------------------------------------------------------------------


def test_whatever_the_umask_nobody_else_can_write_what_is_made(shell: Shell) -> None:
    """The folders above ours too: whoever can write there can put others in the place of ours."""
    shell.environment |= {
        "XDG_CONFIG_HOME": str(shell.home / "x/config"),
        "XDG_STATE_HOME": str(shell.home / "y/state"),
    }
    before = os.umask(0)
    try:
        assert shell.run("init", bare=True).code == 0
        config = shell.home / "x/config/mlrelease/config.toml"
        config.write_text('[connections.cluster]\nkind = "fake"\n')
        assert shell.run("status", "--window", "0", bare=True).code == 0
        assert shell.run("audit", "export", "-o", str(shell.home / "x/copy"), bare=True).code == 0
    finally:
        os.umask(before)
    assert (shell.home / "y/state/mlrelease/last-known.json").exists()
    made = [path for name in ("x", "y") for path in (shell.home / name, *(shell.home / name).rglob("*"))]
    assert {str(path): oct(path.stat().st_mode & 0o777) for path in made if path.stat().st_mode & 0o077} == {}
