"""A source of a credential that hangs: it holds neither the audit, nor another connection, nor the end of the program."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlrelease_tui.bootstrap import Program, build
from mlrelease_tui.config.reading import parse
from mlrelease_tui.connectors import plugins
from mlrelease_tui.connectors.api import Connector, Credential, Settings
from mlrelease_tui.connectors.fake import connect
from mlrelease_tui.credentials.wallet import Wallet

CONNECTIONS = 40
"""More than there are threads in an event loop's own pool."""


@pytest.fixture
def go(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Every connection's source hangs until this is set, but for that of the last one."""
    going = threading.Event()

    def hang(self: Wallet, connection: str) -> Credential | None:
        if connection != f"c{CONNECTIONS - 1}":
            going.wait()
        return None

    monkeypatch.setattr(Wallet, "credential", hang)
    yield going
    going.set()


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> dict[str, Settings]:
    """What each connector was given."""
    found: dict[str, Settings] = {}

    def keep(kind: str, given: Settings) -> Connector:
        found[given.name] = given
        return connect(given)

    monkeypatch.setattr(plugins, "connect", keep)
    return found


def program_in(folder: Path) -> Program:
    tables = "".join(f'[connections.c{number}]\nkind = "fake"\n' for number in range(CONNECTIONS))
    config = parse(f'state_dir = "{folder}"\n{tables}', folder / "config.toml", {})
    return build(config, environ={}, restore=False)


def test_nobody_else_waits_for_it_and_the_program_ends(
    tmp_path: Path, go: threading.Event, settings: dict[str, Settings]
) -> None:
    done: list[str] = []

    async def work() -> None:
        program = program_in(tmp_path)
        waiting = [asyncio.ensure_future(settings[f"c{number}"].credential()) for number in range(CONNECTIONS)]
        await waiting[-1]
        done.append("another connection")
        await asyncio.to_thread(program.journal.prepare)
        done.append("audit")
        assert not any(task.done() for task in waiting[:-1])
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await program.close()

    thread = threading.Thread(target=lambda: asyncio.run(work()), daemon=True)
    thread.start()
    thread.join(30)
    assert not go.is_set()
    assert done == ["another connection", "audit"]
    assert not thread.is_alive(), "it waits for what hangs"
