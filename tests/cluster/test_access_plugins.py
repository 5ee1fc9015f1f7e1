"""Exec plugins of kubeconfigs, on a real API server: run by us with pipes and a deadline, renewed, and never gone around."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.control_plane import ADMIN, READER, ControlPlane
from tests.cluster.reaching import connector, opened

from mlrelease_tui.connectors.kubernetes import exec_plugin
from mlrelease_tui.connectors.kubernetes.connector import KubernetesConnector
from mlrelease_tui.domain.connection import ConnectionHealth, LinkState

V1 = "client.authentication.k8s.io/v1"
V1BETA1 = "client.authentication.k8s.io/v1beta1"


class Plugin:
    """A program in a folder of its own that does what a test says and notes each time that it is run, and how."""

    def __init__(self, folder: Path, control_plane: ControlPlane) -> None:
        self.folder = folder
        self.control_plane = control_plane
        self.program = folder / "get-token"
        self.notes = folder / "notes"

    def does(self, body: str) -> None:
        note = (
            "import json, os, sys, time\n"
            f"with open({str(self.notes)!r}, 'a') as notes:\n"
            "    said = {'env': dict(os.environ), 'tty': [os.isatty(n) for n in (0, 1, 2)], 'stdin': sys.stdin.read()}\n"
            "    notes.write(json.dumps(said) + '\\n')\n"
        )
        self.program.write_text(f"#!{sys.executable}\n{note}{body}\n")
        self.program.chmod(0o700)

    def gives(self, *, version: str = V1, **status: Any) -> None:
        answer = {"apiVersion": version, "kind": "ExecCredential", "status": status}
        self.does(f"print({json.dumps(answer)!r})")

    @property
    def runs(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.notes.read_text().splitlines()] if self.notes.exists() else []

    def kubeconfig(self, *, version: str = V1, **entry: Any) -> Path:
        described = {"apiVersion": version, "command": str(self.program), "interactiveMode": "Never", **entry}
        return self.control_plane.write_kubeconfig("plugin", {"exec": described}, folder=self.folder)


@pytest.fixture
def plugin(control_plane: ControlPlane, tmp_path: Path) -> Plugin:
    return Plugin(tmp_path, control_plane)


def health_of(config: Path, *, probes: int = 1, **wish: Any) -> ConnectionHealth:
    async def whole(found: KubernetesConnector) -> ConnectionHealth:
        async with opened(found):
            for _ in range(probes):
                health = await found.probe()
            return health

    return asyncio.run(whole(connector(config, environ=wish.pop("environ", dict(os.environ)), **wish)))


@pytest.mark.parametrize("version", [V1, V1BETA1])
def test_a_plugin_gives_a_token(plugin: Plugin, version: str) -> None:
    plugin.gives(version=version, token=plugin.control_plane.token(READER))
    health = health_of(plugin.kubeconfig(version=version), probes=3)
    assert (health.state, health.identity, health.credential_source) == (LinkState.OK, READER, "exec plugin")
    assert len(plugin.runs) == 1, "a credential without an end is asked for once"


def test_a_plugin_gives_a_client_certificate(plugin: Plugin) -> None:
    pair = plugin.control_plane.authority.client("gina", ("system:masters",))
    plugin.gives(clientCertificateData=pair.certificate.read_text(), clientKeyData=pair.key.read_text())
    assert health_of(plugin.kubeconfig()).identity == "gina"


def test_another_certificate_opens_the_link_anew(plugin: Plugin) -> None:
    def given(name: str, valid_s: float) -> None:
        pair = plugin.control_plane.authority.client(name, ("system:masters",))
        end = (datetime.now(UTC) + timedelta(seconds=valid_s)).isoformat().replace("+00:00", "Z")
        plugin.gives(
            clientCertificateData=pair.certificate.read_text(),
            clientKeyData=pair.key.read_text(),
            expirationTimestamp=end,
        )

    async def whole() -> list[str]:
        moment = [datetime.now(UTC)]
        given("hanna", 60)
        found = connector(plugin.kubeconfig(), environ=dict(os.environ), now=lambda: moment[0])
        async with opened(found):
            names = [str((await found.probe()).identity)]
            given("ines", 600)
            moment[0] += timedelta(seconds=58)
            found.session.forget()
            names.append(str((await found.probe()).identity))
            return names

    assert asyncio.run(whole()) == ["hanna", "ines"]


def test_it_has_no_terminal_its_own_environment_and_no_secret_of_ours(plugin: Plugin) -> None:
    plugin.gives(token=plugin.control_plane.token(READER))
    environ = {
        **os.environ,
        "AWS_SECRET_ACCESS_KEY": "its cloud's",
        "MLFLOW_TRACKING_PASSWORD": "another backend's",
        "CORP_TOKEN": "named",
        "HARMLESS": "yes",
    }
    entry: dict[str, Any] = {"env": [{"name": "OWN", "value": "set"}], "provideClusterInfo": True}
    assert health_of(plugin.kubeconfig(**entry), environ=environ, pass_env=["CORP_TOKEN"]).state is LinkState.OK
    (run,) = plugin.runs
    assert run["tty"] == [False, False, False]
    assert run["stdin"] == ""
    seen = run["env"]
    assert (seen["OWN"], seen["HARMLESS"]) == ("set", "yes")
    assert (seen["AWS_SECRET_ACCESS_KEY"], seen["CORP_TOKEN"]) == ("its cloud's", "named")
    assert "MLFLOW_TRACKING_PASSWORD" not in seen
    told = json.loads(seen["KUBERNETES_EXEC_INFO"])
    assert told["apiVersion"] == V1
    assert told["spec"]["interactive"] is False
    assert told["spec"]["cluster"]["server"] == plugin.control_plane.url


def test_what_ends_is_asked_for_again(plugin: Plugin) -> None:
    moment = [datetime.now(UTC)]
    end = (moment[0] + timedelta(seconds=60)).isoformat().replace("+00:00", "Z")
    plugin.gives(token=plugin.control_plane.token(READER), expirationTimestamp=end)

    async def whole() -> None:
        found = connector(plugin.kubeconfig(), environ=dict(os.environ), now=lambda: moment[0])
        async with opened(found):
            await found.probe()
            await found.probe()
            assert len(plugin.runs) == 1
            moment[0] += timedelta(seconds=58)
            assert (await found.probe()).state is LinkState.OK
            assert len(plugin.runs) >= 2

    asyncio.run(whole())


def test_a_token_that_the_server_does_not_accept_any_more_is_renewed_once(plugin: Plugin) -> None:
    plugin.does(
        f"runs = sum(1 for line in open({str(plugin.notes)!r}))\n"
        f"token = 'ended' if runs == 1 else {plugin.control_plane.token(ADMIN)!r}\n"
        f"print(json.dumps({{'apiVersion': {V1!r}, 'kind': 'ExecCredential', 'status': {{'token': token}}}}))"
    )
    assert health_of(plugin.kubeconfig()).state is LinkState.OK
    assert len(plugin.runs) == 2


def test_a_token_that_is_never_accepted_is_asked_for_twice_for_a_request(plugin: Plugin) -> None:
    plugin.gives(token="nobody's")
    health = health_of(plugin.kubeconfig())
    assert (health.state, health.error_code) == (LinkState.AUTH, "unauthenticated")
    assert len(plugin.runs) == 2


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (
            "sys.stderr.write('\\x1b]52;c;aGk=\\x07session ended, token=abcdef1234567890abcdef\\n'); sys.exit(255)",
            "ended with 255",
        ),
        ("time.sleep(60)", "gave nothing within 1 s"),
        ("print('hello')", "no JSON"),
        ("print('{}')", "no ExecCredential"),
        ("print('x' * 1_000_000)", "more than"),
        (
            f"print(json.dumps({{'apiVersion': {V1BETA1!r}, 'kind': 'ExecCredential', 'status': {{'token': 'a'}}}}))",
            "speaks",
        ),
        (f"print(json.dumps({{'apiVersion': {V1!r}, 'kind': 'ExecCredential', 'status': {{}}}}))", "neither"),
    ],
    ids=["fails", "hangs", "no JSON", "another kind", "floods", "another version", "nothing"],
)
def test_a_plugin_that_fails_is_a_login_that_is_needed_and_never_an_anonymous_request(
    plugin: Plugin, monkeypatch: pytest.MonkeyPatch, body: str, said: str
) -> None:
    monkeypatch.setattr(exec_plugin, "DEADLINE_S", 1.0)
    plugin.does(body)
    mark = plugin.control_plane.audit_mark()
    health = health_of(plugin.kubeconfig())
    assert (health.state, health.error_code) == (LinkState.AUTH, "credential")
    assert "login needed" in health.error
    assert said in health.error
    assert "\x1b" not in health.error + health.hint
    assert "abcdef1234567890" not in health.error
    assert not plugin.control_plane.requests(mark, user="system:anonymous")


def test_a_plugin_that_leaves_somebody_behind_holding_its_output_is_heard(plugin: Plugin) -> None:
    answer = {"apiVersion": V1, "kind": "ExecCredential", "status": {"token": plugin.control_plane.token(READER)}}
    plugin.does(f"import subprocess\nprint({json.dumps(answer)!r}, flush=True)\nsubprocess.Popen(['sleep', '5'])\n")
    assert health_of(plugin.kubeconfig()).identity == READER


def test_a_plugin_that_is_not_installed_says_so(plugin: Plugin) -> None:
    config = plugin.kubeconfig(command="no-such-plugin-anywhere", installHint="install it from your cloud")
    health = health_of(config)
    assert "not installed" in health.error
    assert health.hint == "install it from your cloud"


def test_a_relative_plugin_begins_at_the_kubeconfigs_folder(plugin: Plugin) -> None:
    plugin.gives(token=plugin.control_plane.token(READER))
    assert health_of(plugin.kubeconfig(command="./get-token")).identity == READER
