"""Operators of a cluster who die at a given step of a way back: a script of `tests.e2e.dying`.

Each job has `root` (the audit), `kubeconfig`, `namespace`, `endpoint`, `version` to return to, `registry` (the address of an
MLflow server, "" for none), `at` (where to die: a step of the protocol, or "before request 1", "during request 1", "after
request 1" for the requests that write to the cluster), `seed` (of its ids).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.connectors.mlflow_server import connector_to
from tests.e2e.dying import Doomed, Fate, die, fork_each
from tests.unit.audit_parts import Unsynced, seeded
from tests.unit.release_parts import named

from mlrelease_tui.actions.desk import Desk
from mlrelease_tui.actions.executor import Pace
from mlrelease_tui.audit.clock import SystemClock
from mlrelease_tui.audit.log import AuditLog
from mlrelease_tui.connectors.api import Connector, Settings
from mlrelease_tui.connectors.kubernetes import api
from mlrelease_tui.connectors.kubernetes.connector import KubernetesConnector
from mlrelease_tui.domain.intents import RollBack
from mlrelease_tui.domain.plan import Outcome, Plan
from mlrelease_tui.domain.policy import Access
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.store.facts import AccessChanged
from mlrelease_tui.store.store import Store

CONNECTION = "k8s"


def log_at(root: Path, *, seed: int) -> AuditLog:
    """An audit on the clock of this machine: what left a moment ago may still arrive."""
    return AuditLog(
        root, identity=named("ana"), clock=SystemClock(), entropy=seeded(seed), syscalls=Unsynced(), reserve_bytes=4096
    )


class ClusterFate(Fate):
    def during(self, step: str) -> bool:
        return self._at == f"during {step}"


@dataclass
class _Mark(api._Mark):
    """Dies as soon as the request has left, with its answer on the way."""

    fatal: bool = False

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        await super().trace(event, info)
        if self.fatal and event.endswith("send_request_body.complete"):
            die()


def doom(connector: KubernetesConnector, fate: ClusterFate) -> None:
    """Let the connector's operator die at its requests that write."""
    write = connector._api.write

    async def fatal(*args: Any, dry_run: bool = False, **kwargs: Any) -> Any:
        if dry_run:
            return await write(*args, dry_run=True, **kwargs)
        step = fate.before("request")
        api._Mark = lambda: _Mark(fatal=fate.during(step))  # type: ignore[assignment,misc]
        answer = await write(*args, **kwargs)
        fate.after(step)
        return answer

    connector._api.write = fatal  # type: ignore[method-assign]


async def roll_back(job: Mapping[str, Any]) -> str:
    fate = ClusterFate(job["at"])
    options = {"kubeconfig": job["kubeconfig"], "namespaces": [job["namespace"]]}
    connector = KubernetesConnector(Settings(CONNECTION, "kubernetes", options))
    doom(connector, fate)
    connectors: dict[str, Connector] = {CONNECTION: connector}
    if job["registry"]:
        connectors["registry"] = connector_to(job["registry"])
    store, pace = Store(), Pace()
    desk = Desk(store, connectors, Doomed(log_at(Path(job["root"]), seed=job["seed"]), fate=fate), pace=pace)
    store.emit(AccessChanged(Access(armed_until=pace.now().replace(year=2999))))
    target = EndpointRef(CONNECTION, job["namespace"], job["endpoint"])
    plan = await desk.prepare(RollBack(target, job["version"]))
    assert isinstance(plan, Plan), plan
    outcome = await desk.submit(plan, why="the canary hurts", typed=str(target.name))
    assert isinstance(outcome, Outcome), outcome
    return str(outcome.kind)


if __name__ == "__main__":
    fork_each(roll_back)
