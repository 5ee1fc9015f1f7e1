"""A supervisor or a router that somebody stopped (SIGSTOP): alive, silent, and not to be taken at its last word."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.connectors.load import send_many
from tests.connectors.local_host import LocalHost, alive, local_host, stamp, until

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.local.desired import Mark, change_desired, read_desired
from mlrelease_tui.domain.connection import LinkState
from mlrelease_tui.errors import Unreachable

pytestmark = pytest.mark.real


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


async def test_what_a_stopped_supervisor_saw_last_is_not_shown_as_now(tmp_path: Path) -> None:
    async with local_host(tmp_path / "site") as host:
        await host.serve("1")
        pid = host.pid("v1")
        with stopped(host.supervisor.pid):
            os.kill(pid, signal.SIGKILL)

            async def noticed() -> bool:
                return [item.ready for item in (await host.read()).variants] == [0]

            await until(noticed)
            found = await host.read()
            assert "has ended" in found.variants[0].message
            assert any(f"kill -CONT {host.supervisor.pid}" in problem for problem in found.problems)
            health = await host.connector.probe()
            assert health.state is LinkState.DOWN
            assert "was stopped" in health.error
            start = host.connector.start(found, Artifact("2"), 1_000)
            checks = await host.connector.rehearse(start[0])
            assert [(check.name, check.status) for check in checks] == [("may", "pass"), ("start", "fail")]
        await until(lambda: _serves(host, "1"))
        assert (await host.read()).problems == ()


async def _serves(host: LocalHost, version: str) -> bool:
    return dict((await send_many(await host.url(), 10)).by_name) == {version: 10}


async def test_a_new_process_is_never_mistaken_for_the_one_before_of_its_name(tmp_path: Path) -> None:
    async with local_host(tmp_path / "site") as host:
        await host.serve("1")
        start = host.connector.start(await host.read(), Artifact("2", "models:/iris/2"), 1_000)
        await host.send(start[:2])
        generation = _generation(host)
        with stopped(host.supervisor.pid):
            # Two operators: one takes the process away, the other starts it anew from elsewhere; the supervisor saw neither.
            change_desired(
                host.layout,
                "local/iris",
                generation,
                lambda now: {name: item for name, item in now.items() if name != "v2"},
                Mark("intent-x"),
                lock_s=1.0,
            )
            add, ready, _ = host.connector.start(await host.read(), Artifact("2", "late:0.3"), 1_000)
            await host.connector.perform(add, stamp())
            with pytest.raises(Unreachable, match="was stopped"):
                await host.connector.perform(ready, stamp())
        old = host.pid("v2")
        await host.connector.perform(ready, stamp())
        assert host.pid("v2") != old
        assert not alive(old)


def _generation(host: LocalHost) -> int:
    return read_desired(host.layout)["local/iris"].generation
