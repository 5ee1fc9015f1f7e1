"""Answers that get lost between us and the API server: the write is called unknown, and reading settles it."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.cluster.argo_bench import Bench, paused_at, seated
from tests.cluster.fixtures import Cluster
from tests.cluster.processes import Ports, Program
from tests.connectors.fault_proxy import FaultProxy, Reset, Says, Silent

from mlrelease_tui.domain.intents import PromoteVersion, RollBack
from mlrelease_tui.domain.plan import OutcomeKind
from mlrelease_tui.domain.rollout import Stamp
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import OutcomeUnknown

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]

NAME = "fraud"
STATUS = f"/rollouts/{NAME}/status?"
_TIMED_OUT = {"kind": "Status", "status": "Failure", "message": "Timeout: request did not complete", "code": 504}
GATEWAY_TIMEOUT = Says(504, json.dumps(_TIMED_OUT).encode(), after_apply=True)


@pytest.fixture
def plain(rollouts: Cluster, tmp_path: Path) -> Iterator[int]:
    """The cluster at a port without TLS, by `kubectl proxy`: what stands between can then see and break requests."""
    (port,) = Ports().free(1)
    kubectl = rollouts.kubectl
    words: list[str | Path] = [
        kubectl.program,
        f"--kubeconfig={kubectl.kubeconfig}",
        "proxy",
        f"--port={port}",
        "--address=127.0.0.1",
    ]
    proxy = Program("kubectl-proxy", words, log=tmp_path / "proxy.log")
    proxy.start()
    try:
        proxy.wait_ready(lambda: _open(port), within_s=30)
        yield port
    finally:
        proxy.kill()


def _open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.asynccontextmanager
async def _between(port: int, folder: Path) -> AsyncIterator[tuple[FaultProxy, Path]]:
    async with FaultProxy("127.0.0.1", port) as proxy:
        kubeconfig = folder / "through-a-proxy.kubeconfig"
        kubeconfig.write_text(
            json.dumps(
                {
                    "current-context": "c",
                    "clusters": [{"name": "c", "cluster": {"server": proxy.url}}],
                    "users": [{"name": "c", "user": {}}],
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
                }
            )
        )
        yield proxy, kubeconfig


@pytest.mark.parametrize(
    "fault", [GATEWAY_TIMEOUT, Reset(after_apply=True), Silent(after_apply=True)], ids=["504", "reset", "silence"]
)
async def test_a_promotion_whose_answer_is_lost_is_unknown_and_reading_shows_it_applied(
    rollouts: Cluster, namespace: str, tmp_path: Path, plain: int, fault: Says | Reset | Silent
) -> None:
    bench = Bench(rollouts, namespace)
    bench.at_pause(NAME)
    async with (
        _between(plain, tmp_path) as (proxy, kubeconfig),
        seated(kubeconfig, namespace, tmp_path / "audit", timeout_s=4.0) as seat,
    ):
        plan = await seat.plan(PromoteVersion(seat.ref(NAME)))
        proxy.on(fault, method="PATCH", path=STATUS, times=1)
        outcome = await seat.submit(plan)
        assert outcome.kind is OutcomeKind.APPLIED, outcome
        assert "a read shows it applied" in str(outcome.steps[0].detail)
        really = [
            one for one in proxy.requests if one.method == "PATCH" and STATUS in one.path and "dryRun" not in one.path
        ]
        assert len(really) == 1
        bench.wait(NAME, paused_at(3))


async def test_a_write_that_never_arrived_is_unknown_and_reading_shows_that_nothing_happened(
    rollouts: Cluster, namespace: str, tmp_path: Path, plain: int
) -> None:
    bench = Bench(rollouts, namespace)
    bench.at_pause(NAME)
    async with (
        _between(plain, tmp_path) as (proxy, kubeconfig),
        seated(kubeconfig, namespace, tmp_path / "audit", timeout_s=4.0) as seat,
    ):
        (write,) = (await seat.plan(RollBack(seat.ref(NAME)))).steps
        proxy.on(Reset(), method="PATCH", times=1)
        stamp = Stamp("an-intent", "rollback", SafeText("ana"), SafeText("p99"))
        with pytest.raises(OutcomeUnknown):
            await seat.connector.perform(write, stamp)
        assert bench.get(NAME)["status"]["currentStepIndex"] == 1
        await seat.do(RollBack(seat.ref(NAME)))
