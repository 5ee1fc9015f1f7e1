"""A connection that configuration calls read-only is never written to: the planner says so, and the executor asks again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mlrelease_tui.actions.desk import Desk
from mlrelease_tui.actions.journal import Journal
from mlrelease_tui.audit.identity import this_identity
from mlrelease_tui.audit.log import AuditLog
from mlrelease_tui.connectors.api import Settings
from mlrelease_tui.connectors.fake.connector import FakeConnector
from mlrelease_tui.connectors.fake.script import backend_of
from mlrelease_tui.domain.intents import RollBack
from mlrelease_tui.domain.plan import Plan, Refusal
from mlrelease_tui.domain.policy import Access
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.store.facts import AccessChanged
from mlrelease_tui.store.store import Store

IRIS = EndpointRef("edge", "ml", "iris")
SCRIPT = {
    "models": [{"name": "iris", "versions": [{"version": "1"}, {"version": "2"}]}],
    "endpoints": [
        {
            "namespace": "ml",
            "name": "iris",
            "model": "edge/iris",
            "variants": [
                {"version": "1", "role": "stable", "weight_bp": 9000},
                {"version": "2", "role": "canary", "weight_bp": 1000},
            ],
        }
    ],
}


async def test_planner_and_executor_both_refuse(tmp_path: Path) -> None:
    backend = backend_of(SCRIPT, "edge", datetime.now(UTC))
    store = Store()
    log = AuditLog(tmp_path, identity=this_identity(tool_version="0", environ={}))
    desk = Desk(store, {"edge": FakeConnector(Settings("edge", "fake"), backend)}, Journal(log))
    armed = Access(armed_until=datetime.now(UTC) + timedelta(minutes=5))
    store.emit(AccessChanged(armed))
    plan = await desk.prepare(RollBack(IRIS))
    assert isinstance(plan, Plan)

    store.emit(AccessChanged(replace(armed, read_only=frozenset({"edge"}))))
    refused = await desk.prepare(RollBack(IRIS))
    assert isinstance(refused, Refusal)
    assert refused.code == "read_only"
    assert "edge" in refused.reason

    # A plan made before the connection was barred does not slip through either.
    denied = await desk.submit(plan, why="errors")
    assert isinstance(denied, Refusal)
    assert denied.code == "read_only"
    assert backend.written == []
