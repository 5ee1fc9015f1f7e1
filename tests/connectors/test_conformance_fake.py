"""The conformance kit on the fake connector, which has every capability and every fault."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.release_parts import FRAUD, FRAUD_MODEL, SCRIPT, START

from mlrelease_tui.connectors.api import Artifact, Connector, Credential, Settings
from mlrelease_tui.connectors.conformance import (
    HOSTILE,
    AliasConformance,
    ConnectorConformance,
    FailureConformance,
    LogConformance,
    MetricConformance,
    PlanningConformance,
    RegistryConformance,
    TargetConformance,
    WritingConformance,
)
from mlrelease_tui.connectors.fake.connector import FakeConnector
from mlrelease_tui.connectors.fake.faults import Fault, FaultKind
from mlrelease_tui.connectors.fake.script import backend_of
from mlrelease_tui.domain.expectation import EndpointExpectation
from mlrelease_tui.domain.logs import LogTail, LogWish
from mlrelease_tui.domain.metrics import Coverage, Histogram, VariantSample
from mlrelease_tui.domain.models import Lineage
from mlrelease_tui.domain.refs import EndpointRef, ModelRef, VersionRef
from mlrelease_tui.domain.rollout import Endpoint, Hold, Phase, Role, Variant
from mlrelease_tui.domain.secret import Credential as OwnCredential
from mlrelease_tui.domain.secret import Secret
from mlrelease_tui.domain.text import SafeText

SECRET = "hunter2-hunter2"


def _script() -> dict[str, Any]:
    models = [dict(item) for item in SCRIPT["models"]]
    models[0]["description"] = HOSTILE
    endpoints = [dict(item) for item in SCRIPT["endpoints"]]
    endpoints[0]["message"] = endpoints[0]["owner"] = HOSTILE
    return {"models": models, "endpoints": endpoints}


async def _credential() -> Credential | None:
    return OwnCredential("bearer", "", Secret(SECRET), "command")


def connector_with(*faults: Fault, timeout_s: float = 0.2) -> FakeConnector:
    backend = backend_of(_script(), "world", START)
    backend.lineages[VersionRef(FRAUD_MODEL, "2")] = Lineage(
        SafeText("run"), metrics={"auc": 0.9, "n": SafeText("NaN")}
    )
    for number, ref in enumerate(item for item in backend.versions if item.model == FRAUD_MODEL):
        backend.versions[ref] = replace(backend.versions[ref], created_at=START + timedelta(hours=number))
    for fault in faults:
        backend.faults.add(fault)
    return FakeConnector(Settings("world", "fake", timeout_s=timeout_s, credential=_credential), backend)


class _Fake:
    @pytest.fixture
    def connector(self) -> Connector:
        return connector_with()

    @pytest.fixture
    def secrets(self) -> tuple[str, ...]:
        return (SECRET,)


class TestRegistry(_Fake, RegistryConformance):
    @pytest.fixture
    def model(self) -> ModelRef:
        return FRAUD_MODEL

    @pytest.fixture
    def a_model_beside_it(self) -> ModelRef:
        return ModelRef("world", "wine")


class TestAlias(_Fake, AliasConformance):
    @pytest.fixture
    def model(self) -> ModelRef:
        return FRAUD_MODEL

    @pytest.fixture
    def alias(self) -> str:
        return "champion"


class TestTarget(_Fake, TargetConformance):
    @pytest.fixture
    def endpoint(self) -> EndpointRef:
        return FRAUD


class TestPlanning(_Fake, PlanningConformance):
    @pytest.fixture
    def situations(self, connector: FakeConnector) -> Mapping[str, Endpoint]:
        found = connector._shown(connector.backend.endpoints[FRAUD])
        stable, canary = found.variants
        alone = (replace(stable, weight_bp=10_000),)
        mark = Hold(SafeText("ana"), SafeText("a test"))
        preview = Variant("v3", Role.PREVIEW, "3", 0, ready=1, desired=1)
        return {
            "in flight": found,
            "at its last step": replace(found, rollout=replace(found.rollout, step_index=2)),
            "held": replace(found, rollout=replace(found.rollout, hold=mark, phase=Phase.HELD)),
            "at rest": replace(
                found, variants=alone, rollout=replace(found.rollout, to_version="2", phase=Phase.COMPLETE)
            ),
            "with a preview": replace(found, variants=(*alone, preview)),
            "aborted": replace(found, variants=(*alone, replace(canary, weight_bp=0))),
        }

    @pytest.fixture
    def artifact(self) -> Artifact:
        return Artifact("5", "fake:/fraud/5")


class TestWriting(_Fake, WritingConformance):
    @pytest.fixture
    def endpoint(self) -> EndpointRef:
        return FRAUD


class TestMetrics(_Fake, MetricConformance):
    @pytest.fixture
    def connector(self) -> Connector:
        connector = connector_with()
        latency = Histogram((0.1, 0.5), (90.0, 99.0, 100.0))
        connector.backend.samples[FRAUD] = tuple(
            VariantSample(FRAUD, name, START, 1.0, 100.0, 2.0, latency, 0.0) for name in ("v2", "v3")
        )
        return connector

    @pytest.fixture
    def counted(self, connector: FakeConnector) -> Sequence[Endpoint]:
        return (connector.backend.endpoints[FRAUD],)

    @pytest.fixture
    def uncounted(self, connector: FakeConnector) -> Sequence[Endpoint]:
        wine = EndpointRef("world", "ml", "wine")
        connector.backend.samples[wine] = (VariantSample(wine, "v1", START, 1.0, coverage=Coverage.NO_SERIES),)
        return (connector.backend.endpoints[wine],)

    @pytest.fixture
    def broken(self) -> Connector:
        return connector_with(Fault(FaultKind.REFUSED, "samples"))


class TestLogs(_Fake, LogConformance):
    @pytest.fixture
    def connector(self) -> Connector:
        connector = connector_with()
        connector.backend.logs[FRAUD, "v2", False] = (*(f"line {n}" for n in range(30)), HOSTILE, "x" * 20_000, "end")
        return connector

    @pytest.fixture
    def endpoint(self) -> EndpointRef:
        return FRAUD

    @pytest.fixture
    def variant(self) -> str:
        return "v2"


class TestFailures(FailureConformance):
    failures = ("refused", "silent", "unauthenticated", "forbidden", "rate_limited", "malformed")

    @pytest.fixture
    def failing(self, request: pytest.FixtureRequest) -> Connector:
        return connector_with(Fault(FaultKind(request.param)), timeout_s=0.1)

    @pytest.fixture
    def deadline_s(self) -> float:
        return 0.1

    @pytest.fixture
    def secrets(self) -> tuple[str, ...]:
        return (SECRET,)


# --- the kit finds what it is for -------------------------------------------------------------------------------------------


class _Lies(FakeConnector):
    """A connector that breaks one promise after another; `lie` says which."""

    lie = ""

    def _planned(self, *args: Any, **kwargs: Any) -> Any:
        write = super()._planned(*args, **kwargs)
        match self.lie:
            case "impure":
                self.backend.written.append({})
                return replace(write, call=f"call {len(self.backend.written)}")
            case "io":
                open("/dev/null").close()  # noqa: PTH123 - the lie
            case "secret":
                return replace(write, call=f"PUT with {SECRET}")
            case "vacuous":
                return replace(write, expects=write.assumes)
            case "control":
                return replace(write, before="\x1b[31m")
            case "not canonical":
                return replace(write, payload=write.payload.replace(",", ", "))
            case "half":
                expects = write.expects
                assert isinstance(expects, EndpointExpectation)
                name, weight = (expects.weights or ())[0]
                return replace(write, expects=replace(expects, weights=((name, weight // 2),)))
        return write


@pytest.mark.parametrize("lie", ["impure", "io", "secret", "vacuous", "control", "not canonical", "half"])
def test_the_kit_finds_a_planner_that_lies(lie: str) -> None:
    honest = connector_with()
    liar = _Lies(honest._settings, honest.backend)
    liar.lie = lie
    endpoint = liar._shown(liar.backend.endpoints[FRAUD])
    kit = PlanningConformance()
    with pytest.raises(AssertionError):
        kit.test_plans_are_pure_and_consistent("weight", liar, {"in flight": endpoint}, Artifact("5"), (SECRET,))
    liar.lie = ""
    kit.test_plans_are_pure_and_consistent("weight", liar, {"in flight": endpoint}, Artifact("5"), (SECRET,))


async def test_the_kit_finds_a_write_that_ignores_its_precondition() -> None:
    class Careless(FakeConnector):
        async def perform(self, write: Any, stamp: Any) -> Any:
            content = write.payload.replace('"revision":"1"', f'"revision":"{self.backend.endpoints[FRAUD].revision}"')
            return await super().perform(replace(write, payload=content), stamp)

    honest = connector_with()
    careless = Careless(honest._settings, honest.backend)
    kit: Any = WritingConformance()
    with pytest.raises(pytest.fail.Exception):
        await kit.test_a_write_planned_from_what_is_no_longer_so_is_a_conflict(careless, FRAUD)


async def test_the_kit_finds_zeros_for_what_is_not_known() -> None:
    connector = connector_with()
    connector.backend.samples[FRAUD] = (VariantSample(FRAUD, "v2", START, 1.0, 0.0, 0.0),)
    kit = MetricConformance()
    with pytest.raises(AssertionError):
        await kit.test_what_has_no_series_is_not_zero(connector, (connector.backend.endpoints[FRAUD],))


async def test_the_kit_finds_a_secret_that_is_shown() -> None:
    class Shows(FakeConnector):
        def __repr__(self) -> str:
            return f"token={SECRET}"

    honest = connector_with()
    with pytest.raises(AssertionError):
        await ConnectorConformance().test_it_shows_no_secret(Shows(honest._settings, honest.backend), (SECRET,))


async def test_the_kit_finds_an_error_that_is_none_of_ours() -> None:
    with pytest.raises(AssertionError, match="none of errors"):
        await FailureConformance().test_every_read_ends_in_time_with_an_error_of_the_tree(
            connector_with(Fault(FaultKind.CRASH)), 0.1, ()
        )


async def test_the_kit_finds_text_that_was_not_made_safe() -> None:
    connector = connector_with()
    model = connector.backend.models[FRAUD_MODEL]
    connector.backend.models[FRAUD_MODEL] = replace(model, latest_version="\x1b[31m3")
    kit = RegistryConformance()
    with pytest.raises(AssertionError):
        await kit.test_text_from_outside_is_made_safe(connector, FRAUD_MODEL, ())


async def test_the_kit_finds_a_log_that_is_not_bounded() -> None:
    connector = connector_with()

    class Everything(FakeConnector):
        async def logs(self, endpoint: Endpoint, wish: LogWish) -> tuple[LogTail, ...]:
            return (LogTail(SafeText("all"), tuple(SafeText(f"line {n}") for n in range(30))),)

    careless = Everything(connector._settings, connector.backend)
    with pytest.raises(AssertionError):
        await LogConformance().test_a_few_lines_are_the_last_ones(careless, connector.backend.endpoints[FRAUD], "v2")
