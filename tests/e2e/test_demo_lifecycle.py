"""The demo as a whole: ready in time and in memory, and gone without a trace whenever and however it is ended."""

from __future__ import annotations

import signal
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from tests.e2e.demo_host import HeadlessDemo, nothing_left, processes_in

pytestmark = [pytest.mark.real, pytest.mark.e2e, pytest.mark.slow]

MEMORY = 1.5e9
READY_S = 60.0


def listens(url: str) -> bool:
    parts = urlsplit(url)
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((parts.hostname, parts.port)) == 0


def test_is_ready_within_a_minute_and_in_less_than_1_5_gb(demo: HeadlessDemo) -> None:
    assert demo.ready["started_in_s"] < READY_S
    whole = [psutil.Process(demo.process.pid), *psutil.Process(demo.process.pid).children(recursive=True)]
    assert sum(process.memory_full_info().pss for process in whole) < MEMORY


def test_users_of_the_good_endpoints_see_no_error_and_those_of_the_bad_canary_do(demo: HeadlessDemo) -> None:
    deadline = time.monotonic() + 30
    while not (users := demo.users())["diabetes"]["failed"] and time.monotonic() < deadline:
        time.sleep(0.2)
    assert users["diabetes"]["failed"] > 0
    assert users["iris"]["failed"] == users["wine"]["failed"] == 0
    assert users["iris"]["ok"] > 0


@pytest.mark.parametrize("after_s", [0.0, 0.7, 3.0, 6.0])
def test_ctrl_c_while_it_starts_leaves_no_process(tmp_path: Path, after_s: float) -> None:
    demo = HeadlessDemo(tmp_path / "home").launch()
    time.sleep(after_s)
    code = demo.stop(signal.SIGINT)
    assert demo.process.stdout is not None
    demo.process.stdout.close()
    # Before Python has come far enough to listen for it, the signal ends the process by itself.
    assert code in {130, -signal.SIGINT}
    assert nothing_left(demo.home) == []
    assert [path.name for path in demo.home.iterdir() if path.name.startswith("mlrelease-demo-")] == []


def test_sigterm_leaves_no_process_no_port_and_no_file(tmp_path: Path) -> None:
    with HeadlessDemo(tmp_path / "home") as demo:
        ports = [str(demo.ready[name]) for name in ("router", "registry", "metrics")]
        assert all(listens(url) for url in ports)
        assert demo.stop(signal.SIGTERM) == 0
        assert "ended by SIGTERM" in demo.log.read_text()
        assert nothing_left(demo.home) == []
        assert not any(listens(url) for url in ports)
        assert not demo.config.parent.exists()


def test_sigkill_takes_every_process_along(tmp_path: Path) -> None:
    with HeadlessDemo(tmp_path / "home") as demo:
        assert processes_in(demo.home)
        demo.stop(signal.SIGKILL)
        assert nothing_left(demo.home) == []
