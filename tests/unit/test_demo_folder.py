"""The demo before its parts start and after they ended: its folder, its environment, impatient signals. No part is started."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from mlrelease_tui.connectors._network import proxy_for
from mlrelease_tui.demo import running
from mlrelease_tui.demo.environment import DemoEnvironment, DemoReport, new_folder
from mlrelease_tui.demo.processes import child_environment
from mlrelease_tui.demo.registry_server import RegistryServer
from mlrelease_tui.errors import ConfigError, UsageError

REPORT = DemoReport(Path("config.toml"), Path(), "", "", "", (), 0.0)


class Started(Exception):
    """The first part would be started now."""


@pytest.fixture
def nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def launch(_: object) -> None:
        raise Started

    monkeypatch.setattr(RegistryServer, "launch", launch)


def demo_in(folder: Path, **environ: str) -> DemoEnvironment:
    return DemoEnvironment(folder, environ=environ)


@pytest.mark.usefixtures("nothing_starts")
async def test_a_folder_serves_one_demo_once(tmp_path: Path) -> None:
    with pytest.raises(Started):
        await demo_in(tmp_path / "new" / "deep").start()
    (tmp_path / "empty").mkdir(mode=0o755)
    with pytest.raises(Started):
        await demo_in(tmp_path / "empty").start()
    assert (tmp_path / "empty").stat().st_mode & 0o777 == 0o700
    for taken in (tmp_path / "empty", tmp_path / "new" / "deep"):
        with pytest.raises(UsageError, match="not empty"):
            await demo_in(taken).start()


@pytest.mark.usefixtures("nothing_starts")
async def test_what_lies_in_a_folder_already_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("# mine")
    for _ in range(2):
        with pytest.raises(UsageError, match="not empty"):
            await demo_in(tmp_path).start()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("config.toml", "# mine")]


@pytest.mark.usefixtures("nothing_starts")
async def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(ConfigError, match="another user"):
        await demo_in(tmp_path).start()
    assert list(tmp_path.iterdir()) == []


async def test_a_folder_that_can_not_be_is_a_clear_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"can't be set up in .*: Not a directory") as refused:
        await demo_in(tmp_path / "file" / "demo").start()
    assert "--folder" in refused.value.hint

    def none(**_: object) -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(tempfile, "mkdtemp", none)
    with pytest.raises(ConfigError, match="No usable temporary directory"):
        new_folder()


def test_a_relative_folder_is_the_same_for_every_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    demo = demo_in(Path("here"))
    assert demo.folder == tmp_path / "here"
    assert demo._registry.folder.is_absolute()
    assert demo._zygote.socket.is_absolute()


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
def test_no_proxy_stands_between_the_parts(tmp_path: Path, name: str) -> None:
    environ = {"http_proxy": "http://proxy.example:3128", "ALL_PROXY": "socks5://proxy.example", name: "example"}
    assert proxy_for("http://127.0.0.1:5000", environ) != ""
    given = demo_in(tmp_path, **environ)._settings("registry", "mlflow", {}).environ
    assert proxy_for("http://127.0.0.1:5000", given) == ""
    assert proxy_for("http://127.0.0.1:5000", child_environment(environ, tmp_path)) == ""


class Impatient:
    """A demo whose operator presses Ctrl-C again while the last of it is being put away."""

    def __init__(self, folder: Path, *, environ: Mapping[str, str], progress: object) -> None:
        self.stops = 0

    async def start(self) -> DemoReport:
        return REPORT

    def stop(self) -> None:
        self.stops += 1
        if self.stops > 1:
            os.kill(os.getpid(), signal.SIGINT)


def test_a_second_ctrl_c_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mlrelease-demo-x"
    folder.mkdir()
    monkeypatch.setattr(running, "DemoEnvironment", Impatient)
    monkeypatch.setattr(running, "new_folder", lambda: folder)

    async def ready(_: DemoReport) -> int:
        return 7

    try:
        assert running.run(ready, progress=lambda _: None, environ={}) == 7
    except KeyboardInterrupt:
        pytest.fail("it was disturbed while it put all away")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not folder.exists()
