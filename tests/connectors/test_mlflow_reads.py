"""Reading a real registry: what both carriers show of the same data."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest
from tests.connectors.mlflow_server import Tracking, ref

from mlrelease_tui.connectors.api import AliasMovable, LineageSource, Performer, VersionSource
from mlrelease_tui.connectors.mlflow.connector import MlflowConnector
from mlrelease_tui.domain.connection import LinkState
from mlrelease_tui.domain.models import Dataset, Readiness
from mlrelease_tui.domain.refs import VersionRef
from mlrelease_tui.domain.text import SafeText, raw
from mlrelease_tui.errors import NotFound

pytestmark = pytest.mark.real
pytest_plugins = ["tests.connectors.mlflow_fixtures"]

HOSTILE = 'it\'s "h"\\ \x1b]52;c;QUJD\x07 \u202eevil\u202c [@click=app.quit]x[TODO] $x'


def test_offers_its_capabilities(registry: MlflowConnector) -> None:
    for capability in (VersionSource, LineageSource, AliasMovable, Performer):
        assert isinstance(registry, capability)


async def test_probe_names_the_server_and_warns_that_it_asks_nobody(registry: MlflowConnector) -> None:
    health = await registry.probe()
    assert health.state in {LinkState.OK, LinkState.SLOW}
    assert health.server.startswith("MLflow 3.")
    assert health.latency_s is not None and health.latency_s > 0
    assert health.address
    if health.address.startswith("http"):
        assert any("asks nobody" in warning for warning in health.warnings)


async def test_a_model_shows_aliases_tags_and_its_newest_version(registry: MlflowConnector, tracking: Tracking) -> None:
    name = tracking.model(versions=3, tags={"team": "risk"})
    tracking.call("PATCH", "registered-models/update", {"name": name, "description": "scores loans"})
    tracking.alias(name, "champion", "2")
    model = await registry.model(ref(name))
    assert dict(model.aliases) == {"champion": "2"}
    assert model.tags["team"] == "risk"
    assert model.description == "scores loans"
    assert model.latest_version == "3"
    assert model.observed_at is not None


async def test_an_alias_moved_by_others_is_seen_although_no_timestamp_moves(
    registry: MlflowConnector, tracking: Tracking
) -> None:
    name = tracking.model(versions=2)
    tracking.alias(name, "champion", "1")
    before = await registry.model(ref(name))
    tracking.alias(name, "champion", "2")
    after = await registry.model(ref(name))
    assert (before.aliases["champion"], after.aliases["champion"]) == ("1", "2")
    assert before.updated_at == after.updated_at


async def test_a_deleted_version_takes_its_aliases_along(registry: MlflowConnector, tracking: Tracking) -> None:
    name = tracking.model(versions=2)
    tracking.alias(name, "champion", "2")
    tracking.call("DELETE", "model-versions/delete", {"name": name, "version": "2"})
    assert dict((await registry.model(ref(name))).aliases) == {}


async def test_unknown_things_are_not_found(registry: MlflowConnector, tracking: Tracking) -> None:
    name = tracking.model(versions=1)
    for wanted in ("9", "one", "-1", ""):
        with pytest.raises(NotFound):
            await registry.version(VersionRef(ref(name), wanted))
    with pytest.raises(NotFound):
        await registry.model(ref("no-such-model"))
    with pytest.raises(NotFound):
        await registry.versions(ref("no-such-model"))


async def test_search_finds_part_of_a_name_and_takes_wildcards_literally(
    registry: MlflowConnector, tracking: Tracking
) -> None:
    one, other = tracking.model("find_Me"), tracking.model("findXme")
    names = {str(model.ref.name) for model in (await registry.models(query="FIND_me")).models}
    assert one in names
    assert other not in names
    assert (await registry.models(query="'; DROP \"")).models == ()


async def test_models_come_in_pages(registry: MlflowConnector, tracking: Tracking) -> None:
    stem = f"paged-{uuid.uuid4().hex}"
    made = {tracking.model(stem) for _ in range(5)}
    found: list[str] = []
    token = ""
    for _ in range(20):
        page = await registry.models(query=stem, limit=2, page_token=token)
        assert len(page.models) <= 2
        found += [model.ref.name for model in page.models]
        token = page.next_token
        if not token:
            break
    assert made <= set(found)
    assert len(found) == len(set(found))


async def test_versions_newest_first_with_aliases_that_the_search_leaves_out(
    registry: MlflowConnector, tracking: Tracking
) -> None:
    name = tracking.model(versions=3)
    tracking.alias(name, "champion", "2")
    tracking.alias(name, "shadow", "2")
    page = await registry.versions(ref(name))
    assert [version.ref.version for version in page.versions] == ["3", "2", "1"]
    assert [version.aliases for version in page.versions] == [(), ("champion", "shadow"), ()]
    assert page.next_token == ""
    assert (await registry.version(VersionRef(ref(name), "2"))).aliases == ("champion", "shadow")


async def test_a_version_registered_between_two_pages_shifts_nothing(
    registry: MlflowConnector, tracking: Tracking
) -> None:
    name = tracking.model(versions=5)
    first = await registry.versions(ref(name), limit=2)
    tracking.version(name)
    tracking.version(name)
    second = await registry.versions(ref(name), limit=2, page_token=first.next_token)
    third = await registry.versions(ref(name), limit=2, page_token=second.next_token)
    seen = [version.ref.version for page in (first, second, third) for version in page.versions]
    assert seen == ["5", "4", "3", "2", "1"]
    assert third.next_token == ""


@pytest.mark.parametrize(
    ("status", "readiness"),
    [
        ("READY", Readiness.READY),
        ("PENDING_REGISTRATION", Readiness.PENDING),
        ("FAILED_REGISTRATION", Readiness.FAILED),
    ],
)
async def test_readiness_is_told(
    registry: MlflowConnector, tracking: Tracking, status: str, readiness: Readiness
) -> None:
    name = tracking.model(versions=1)
    tracking.set_status(name, "1", status)
    assert (await registry.version(VersionRef(ref(name), "1"))).readiness is readiness
    assert (await registry.versions(ref(name))).versions[0].readiness is readiness


async def test_lineage_from_run_data_set_and_signature(registry: MlflowConnector, tracking: Tracking) -> None:
    name = tracking.model()
    run_id, folder = tracking.run(
        {"acc": 0.9, "auc": "NaN", "loss": "Infinity", "gain": "-Infinity"}, params={"depth": "3"}
    )
    number = tracking.version(name, source=str(folder), run_id=run_id)
    lineage = await registry.lineage(await registry.version(VersionRef(ref(name), number)))
    assert lineage.run_id == run_id
    assert lineage.run_name == "nightly"
    assert lineage.user == "ana"
    assert lineage.started_at == datetime.fromtimestamp(1_750_000_000, UTC)
    assert dict(lineage.params) == {"depth": "3"}
    assert dict(lineage.metrics) == {"acc": 0.9, "auc": "NaN", "loss": "Infinity", "gain": "-Infinity"}
    assert not isinstance(lineage.metrics["auc"], float)
    assert lineage.datasets == (Dataset(SafeText("wine"), SafeText("abc123"), SafeText("training")),)
    assert lineage.signature_inputs == "alcohol: double, maker's: string?"
    assert lineage.signature_outputs == "float64[-1]"


async def test_a_deleted_run_leaves_an_empty_lineage(registry: MlflowConnector, tracking: Tracking) -> None:
    name = tracking.model(versions=1)
    lineage = await registry.lineage(await registry.version(VersionRef(ref(name), "1")))
    assert lineage.run_id == ""
    assert dict(lineage.metrics) == {}
    assert lineage.signature_inputs == ""


async def test_a_hostile_name_is_found_shown_harmlessly_and_sent_back_whole(
    registry: MlflowConnector, tracking: Tracking
) -> None:
    name = tracking.model(HOSTILE)
    decoy = tracking.model(HOSTILE.replace("'", "x"))
    for owner in (name, decoy):
        for _ in range(3):
            tracking.version(owner)
    tracking.alias(name, "champion", "2")
    found = [model for model in (await registry.models(query=name)).models if raw(model.ref.name) == name]
    assert len(found) == 1
    shown = found[0].ref.name
    assert not set(shown) & {"\x1b", "\x07", "\u202e", "\u202c"}
    assert "\\e]52" in shown
    seen: list[str] = []
    token = ""
    for _ in range(9):
        page = await registry.versions(found[0].ref, limit=2, page_token=token)
        seen += [version.ref.version for version in page.versions]
        token = page.next_token
        if not token:
            break
    assert sorted(set(seen)) == ["1", "2", "3"]
    assert registry.artifact(VersionRef(found[0].ref, "2")) == f"models:/{name}/2"


@pytest.mark.parametrize("name", ["модель-π", "a.b.c", "with space", "100%_sure", "semi;colon -- #", "日本🙂"])
async def test_unusual_names(registry: MlflowConnector, tracking: Tracking, name: str) -> None:
    made = tracking.model(name, versions=2)
    assert [item.ref.version for item in (await registry.versions(ref(made))).versions] == ["2", "1"]
    assert [model.ref.name for model in (await registry.models(query=made)).models] == [made]


async def test_hostile_and_huge_tags(registry: MlflowConnector, tracking: Tracking) -> None:
    name = tracking.model(
        versions=1, tags={"note": "\x1b[2J[@click=app.quit]\u202e", "mlrelease.alias.champion": '{"version": 1'}
    )
    tracking.call(
        "POST", "model-versions/set-tag", {"name": name, "version": "1", "key": "log", "value": "x" * 100_000}
    )
    model = await registry.model(ref(name))
    assert model.tags["note"] == "\\e[2J[@click=app.quit]\\u202e"
    assert dict(model.stamps) == {}
    tag = (await registry.versions(ref(name))).versions[0].tags["log"]
    assert len(tag) < 5000
    assert tag.endswith("(100000 characters)")
    assert len(raw(tag)) == 100_000
