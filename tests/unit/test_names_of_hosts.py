"""A resolver that is silent holds up nobody but those who ask it: not what is done in threads meanwhile, not the end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlrelease_tui import hardening
from mlrelease_tui.cli.loop import LOOKUPS, Loop
from mlrelease_tui.cli.options import Options
from mlrelease_tui.cli.session import with_program

DEAD = "dead.invalid"
PATIENCE_S = 30.0
"""Less than the silent names take, far more than anything else does."""


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """No name that begins with DEAD is found, nor found missing, before this is set."""
    over, real = threading.Event(), socket.getaddrinfo

    def lookup(host: str | bytes | None, *rest: object, **more: object) -> object:
        name = host.decode() if isinstance(host, bytes) else host or ""
        if name.startswith(DEAD):
            over.wait(4 * PATIENCE_S)
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return real(host, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    yield over
    over.set()


async def reach(host: str) -> None:
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(0.05):
            await asyncio.open_connection(host, 9)


def test_silent_names_hold_up_no_thread_that_others_want_and_no_end(silent: threading.Event) -> None:
    async def work() -> str:
        await asyncio.gather(*(reach(f"{DEAD}{number % 5}") for number in range(60)))
        async with asyncio.timeout(PATIENCE_S):
            assert (await asyncio.get_running_loop().getaddrinfo("localhost", 9))[0][4][1] == 9
            return await asyncio.to_thread(lambda: threading.current_thread().name)

    with asyncio.Runner(loop_factory=Loop) as runner:
        assert runner.run(work()) != threading.main_thread().name
    assert not silent.is_set(), "the end waited for the resolver"


def test_a_silent_name_holds_few_threads(silent: threading.Event) -> None:
    async def work() -> int:
        for _ in range(5):
            await asyncio.gather(*(reach(DEAD) for _ in range(10)))
        return sum(thread.name.startswith(f"mlrelease-{DEAD}-") for thread in threading.enumerate())

    with asyncio.Runner(loop_factory=Loop) as runner:
        assert runner.run(work()) == LOOKUPS


def test_commands_run_on_it(tmp_path: Path, silent: threading.Event, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry behind a dead resolver costs its own row three seconds, and neither other reads nor the prompt afterwards."""
    # What it forbids to the tests' own process can't be allowed again.
    monkeypatch.setattr(hardening, "harden_process", lambda: None)
    config = tmp_path / "config.toml"
    connections = [
        f'[connections.r{number}]\nkind = "mlflow"\nurl = "http://{DEAD}:5000"\ntimeout_s = 0.3\ncredential = {{ none = true }}\n'
        for number in range(8)
    ]
    config.write_text("".join(connections), encoding="utf-8")
    config.chmod(0o600)

    async def work(program: object) -> int:
        assert isinstance(asyncio.get_running_loop(), Loop)
        poller = program.poller  # type: ignore[attr-defined]
        await poller.once()
        async with asyncio.timeout(PATIENCE_S):
            return await asyncio.to_thread(lambda: 7)

    env = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
    assert with_program(Options(config=config), work, env=env) == 7
    assert not silent.is_set()
