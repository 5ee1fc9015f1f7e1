"""The desk: what it reads for a plan, arming, and what it does with a registry that hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from tests.unit.release_parts import FRAUD, FRAUD_MODEL, WINE, VirtualClock, bench, connector_of

from mlrelease_tui.actions import desk
from mlrelease_tui.actions.desk import Rules
from mlrelease_tui.connectors.api import Connector, Settings
from mlrelease_tui.connectors.fake.backend import FakeBackend
from mlrelease_tui.connectors.fake.connector import FakeConnector
from mlrelease_tui.connectors.fake.faults import Fault, FaultKind
from mlrelease_tui.domain.intents import HoldRollout, MoveAlias, PromoteVersion, RollBack, SetWeight
from mlrelease_tui.domain.models import Lineage
from mlrelease_tui.domain.plan import CheckStatus, Level, Plan, Refusal
from mlrelease_tui.domain.refs import EndpointRef, ModelRef, VersionRef
from mlrelease_tui.domain.status import Binding
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.store.facts import AccessChanged, BindingsConfigured, EndpointObserved


async def test_a_plan_is_made_from_reads_of_now_not_from_what_the_store_remembers(tmp_path: Path) -> None:
    seat = bench(tmp_path)
    old = replace(seat.endpoint, observed_at=seat.clock.now(), revision="0")
    seat.store.emit(EndpointObserved(old))
    plan = await seat.planned(SetWeight(FRAUD, 2500))
    assert plan.read_from[0].revision == "1"
    assert seat.store.state.endpoints[FRAUD].revision == "1", "the store is told what was read"


@pytest.mark.parametrize(
    ("intent", "words"),
    [
        (HoldRollout(EndpointRef("world", "ml", "nobody")), "no endpoint world/ml/nobody"),
        (HoldRollout(EndpointRef("nowhere", "ml", "fraud")), "no connection is called 'nowhere'"),
        (MoveAlias(ModelRef("world", "nobody"), "a", "1"), "no model world/nobody"),
        (MoveAlias(ModelRef("nowhere", "fraud"), "a", "1"), "no registry is called 'nowhere'"),
    ],
)
async def test_what_is_not_there_is_refused_with_what_to_do(
    tmp_path: Path, intent: HoldRollout | MoveAlias, words: str
) -> None:
    refusal = await bench(tmp_path).refused(intent)
    assert words in refusal.reason
    assert refusal.hint


@pytest.mark.parametrize("kind", [item for item in FaultKind if item.value not in {"slow", "ignored", "lost_after"}])
async def test_a_target_that_fails_in_any_way_gives_a_refusal(tmp_path: Path, kind: FaultKind) -> None:
    seat = bench(tmp_path)
    seat.backend.faults.add(Fault(kind, "endpoint"))
    refusal = await seat.refused(SetWeight(FRAUD, 2500))
    assert refusal.reason
    assert seat.backend.written == []


@pytest.mark.parametrize("operation", ["model", "version", "lineage"])
@pytest.mark.parametrize("kind", [item for item in FaultKind if item.value not in {"slow", "ignored", "lost_after"}])
async def test_a_registry_that_fails_in_any_way_stops_a_promote_and_no_rollback(
    tmp_path: Path, kind: FaultKind, operation: str
) -> None:
    seat = bench(tmp_path)
    seat.backend.faults.add(Fault(kind, operation))
    refusal = await seat.refused(PromoteVersion(FRAUD))
    assert refusal.code == "version_unknown"
    back = await seat.planned(RollBack(FRAUD))
    if operation == "model":
        assert [step.operation for step in back.steps] == ["variants", "variants"]
        assert any("alias champion is not part of this plan" in text for text in back.warnings)


class _Hanging(FakeConnector):
    async def model(self, ref: ModelRef) -> object:  # type: ignore[override]
        return await asyncio.Event().wait()


async def test_a_rollback_does_not_wait_for_a_registry_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "REGISTRY_PATIENCE_S", 0.05)

    def connectors(backend: FakeBackend, clock: VirtualClock) -> Mapping[str, Connector]:
        return {"world": _Hanging(Settings("world", "fake", now=clock.now), backend)}

    seat = bench(tmp_path, connectors=connectors)
    async with asyncio.timeout(2):
        plan = await seat.planned(RollBack(FRAUD))
        refusal = await seat.refused(PromoteVersion(FRAUD))
    assert any("did not answer within 0.05 s" in text for text in plan.warnings)
    assert "did not answer" in refusal.reason


async def test_another_template_of_a_version_is_looked_up_as_that_version(tmp_path: Path) -> None:
    seat = bench(tmp_path)
    endpoint = seat.backend.endpoints[FRAUD]
    stable, canary = endpoint.variants
    seat.backend.endpoints[FRAUD] = replace(
        endpoint,
        variants=(stable, replace(canary, version=SafeText("3+7d9"))),
        rollout=replace(endpoint.rollout, to_version=SafeText("3+7d9")),
    )
    plan = await seat.planned(PromoteVersion(FRAUD, full=True))
    assert "3 is ready in the registry; 3+7d9 is another template of it" in [check.text for check in plan.checks]


async def test_the_lineage_of_what_is_promoted_is_read(tmp_path: Path) -> None:
    seat = bench(tmp_path)
    bad = Lineage(SafeText("run"), metrics=MappingProxyType({"auc": float("nan")}))
    seat.backend.lineages[VersionRef(FRAUD_MODEL, "3")] = bad
    assert (await seat.refused(PromoteVersion(FRAUD))).code == "bad_metric"
    assert isinstance(await seat.desk.prepare(RollBack(FRAUD)), Plan)


async def test_a_configured_binding_wins_over_what_the_backend_says(tmp_path: Path) -> None:
    seat = bench(tmp_path)
    seat.store.emit(BindingsConfigured((Binding(FRAUD, ModelRef("elsewhere", "fraud"), "prod"),)))
    refusal = await seat.refused(PromoteVersion(FRAUD))
    assert "no registry is called 'elsewhere'" in refusal.reason


async def test_an_endpoint_without_a_model_can_be_moved_and_says_that_nothing_was_checked(tmp_path: Path) -> None:
    seat = bench(tmp_path)
    seat.backend.endpoints[FRAUD] = replace(seat.endpoint, model=None, alias="")
    plan = await seat.planned(PromoteVersion(FRAUD))
    assert [check.status for check in plan.checks if check.name == "version"] == [CheckStatus.UNKNOWN]


async def test_an_alias_alone_is_as_grave_as_the_gravest_endpoint_that_follows_it(tmp_path: Path) -> None:
    rules = Rules(floor=lambda environment, _verb: Level.NAME if environment == "production" else Level.READ)
    seat = bench(tmp_path, rules=rules)
    seat.store.emit(EndpointObserved(seat.endpoint))
    seat.store.emit(EndpointObserved(seat.backend.endpoints[WINE]))
    fraud = await seat.planned(MoveAlias(FRAUD_MODEL, "champion", "2"))
    wine = await seat.planned(MoveAlias(ModelRef("world", "wine"), "champion", "2"))
    assert (fraud.environment, fraud.level) == ("production", Level.NAME)
    assert (wine.environment, wine.level) == ("staging", Level.PLAN)


async def test_writes_are_armed_for_a_while_and_that_is_recorded(tmp_path: Path) -> None:
    seat = bench(tmp_path, armed=False)
    plan = await seat.planned(SetWeight(FRAUD, 2500))
    assert await seat.desk.open() == ()
    assert await seat.desk.arm(1) is None
    assert [record.section("action")["verb"] for record in seat.log.read()] == ["arm"]
    await seat.clock.sleep(59)
    await seat.submitted(plan)
    await seat.clock.sleep(1)
    refusal = await seat.desk.submit(await seat.planned(SetWeight(FRAUD, 500)), why="a test")
    assert isinstance(refusal, Refusal)
    assert refusal.code == "read_only"


async def test_disarming_is_at_once(tmp_path: Path) -> None:
    seat = bench(tmp_path)
    await seat.desk.disarm()
    refusal = await seat.desk.submit(await seat.planned(SetWeight(FRAUD, 2500)), why="a test")
    assert isinstance(refusal, Refusal)
    assert refusal.code == "read_only"


async def test_arming_that_cannot_be_recorded_is_refused(tmp_path: Path) -> None:
    (tmp_path / "audit").write_text("not a folder")
    seat = bench(tmp_path / "audit", armed=False)
    refusal = await seat.desk.arm(5)
    assert refusal is not None
    assert refusal.code == "not_durable"
    assert seat.store.state.access.armed_until is None


async def test_an_audit_that_cannot_be_read_does_not_undo_an_action(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seat = bench(tmp_path)

    def fails(**_: object) -> object:
        raise PermissionError(13, "no")

    monkeypatch.setattr(seat.log, "records", fails)
    assert (await seat.done(SetWeight(FRAUD, 2500))).kind == "applied"


def test_read_only_is_how_it_starts(tmp_path: Path) -> None:
    seat = bench(tmp_path, armed=False)
    assert seat.store.state.access.may_write(seat.clock.now()) is not None
    assert not [fact for fact in seat.facts if isinstance(fact, AccessChanged)]
    assert connector_of(seat.backend, seat.clock).name == "world"
