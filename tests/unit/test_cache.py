"""The last known fleet: what is kept comes back the same and stale, and nothing that others may have written is believed."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType

import pytest
from tests.unit.release_parts import FRAUD, FRAUD_MODEL, START, VirtualClock, world

from mlrelease_tui.domain.connection import ConnectionHealth, LinkState
from mlrelease_tui.domain.metrics import Histogram, VariantSample
from mlrelease_tui.domain.models import AliasStamp, Model
from mlrelease_tui.domain.refs import EndpointRef, ModelRef
from mlrelease_tui.domain.rollout import Hold, SeriesSelector, Stamp
from mlrelease_tui.domain.status import Severity
from mlrelease_tui.domain.text import SafeText, is_hidden
from mlrelease_tui.store import cache
from mlrelease_tui.store.facts import ConnectionObserved, EndpointsObserved, ModelsObserved, SamplesObserved
from mlrelease_tui.store.select import status_of
from mlrelease_tui.store.state import State, reduce

HOSTILE = "evil\x1b]52;c;QUJD\x07\u202e"
BACKEND = world(VirtualClock())


def full() -> State:
    endpoint = BACKEND.endpoints[FRAUD]
    rollout = replace(endpoint.rollout, hold=Hold(SafeText(HOSTILE), SafeText("why"), START), message=SafeText(HOSTILE))
    selector = SeriesSelector("traefik", (("service", "fraud"),), "http://127.0.0.1:1/metrics")
    variants = tuple(replace(item, series=(selector,), started_at=START) for item in endpoint.variants)
    stamp = Stamp("intent", "weight", SafeText("ana"), SafeText(HOSTILE), START)
    kept = replace(
        endpoint, rollout=rollout, variants=variants, stamp=stamp, labels=MappingProxyType({"team": SafeText(HOSTILE)})
    )
    model = BACKEND.models[FRAUD_MODEL]
    mark = AliasStamp("champion", "3", "2", SafeText("ana"), SafeText(HOSTILE), "intent", START)
    tagged = replace(
        model, tags=MappingProxyType({"note": SafeText(HOSTILE)}), stamps=MappingProxyType({"champion": mark})
    )
    sample = VariantSample(FRAUD, "v3", START, 5.0, 10.0, 1.0, Histogram((0.1,), (5.0, 10.0)))
    state = State()
    for fact in (
        EndpointsObserved("world", (kept,), START),
        ModelsObserved("world", (tagged,), START),
        SamplesObserved("world", (sample,), START),
        ConnectionObserved(ConnectionHealth("world", "fake", LinkState.OK, latency_s=0.1, error=SafeText(HOSTILE))),
    ):
        state = reduce(state, fact)
    return state


def saved(folder: Path, state: State | None = None) -> Path:
    path = folder / "state" / "last-known.json"
    cache.save(path, state or full(), config="/etc/mlrelease.toml", now=START)
    return path


def loaded(path: Path, *, config: str = "/etc/mlrelease.toml", later_s: float = 1) -> State:
    return cache.load(path, config=config, now=START + timedelta(seconds=later_s))


def test_what_was_known_comes_back(tmp_path: Path) -> None:
    before, after = full(), loaded(saved(tmp_path))
    assert dict(after.endpoints) == dict(before.endpoints)
    assert dict(after.models) == dict(before.models)
    endpoint = after.endpoints[FRAUD]
    assert endpoint.rollout.message.raw == HOSTILE, "what goes back to the backend was lost"
    assert endpoint.labels["team"].raw == HOSTILE
    assert isinstance(after.models[FRAUD_MODEL].tags["note"], SafeText)
    assert after.series[FRAUD]["v3"] == before.series[FRAUD]["v3"]


def test_a_reading_from_before_the_weights_changed_opens_no_window(tmp_path: Path) -> None:
    state = full()
    endpoint = state.endpoints[FRAUD]
    variants = tuple(replace(item, weight_bp=5_000) for item in endpoint.variants)
    moved = replace(endpoint, variants=variants, observed_at=START + timedelta(seconds=1))
    after = loaded(saved(tmp_path, reduce(state, EndpointsObserved("world", (moved,), moved.observed_at))))
    assert FRAUD in after.endpoints
    assert after.series == {}


def test_it_is_shown_as_old(tmp_path: Path) -> None:
    state = loaded(saved(tmp_path), later_s=3600)
    status = status_of(state, FRAUD, START + timedelta(hours=1))
    assert status is not None
    assert (status.severity, status.stale_since) == (Severity.STALE, START)
    health = state.connections["world"]
    assert (health.state, health.latency_s) == (LinkState.UNKNOWN, None)
    assert state.series == {}, "readings of an hour ago open no window"


def test_a_hostile_name_stays_harmless(tmp_path: Path) -> None:
    """A reference holds its name as plain text: what comes back must be the safe form, equal to what the backend gives."""
    ref, model = EndpointRef("world", "ml", SafeText(HOSTILE)), ModelRef("world", SafeText(HOSTILE))
    endpoint = replace(BACKEND.endpoints[FRAUD], ref=ref, model=model)
    state = reduce(State(), EndpointsObserved("world", (endpoint,), START))
    state = reduce(state, ModelsObserved("world", (Model(model, MappingProxyType({})),), START))
    after = loaded(saved(tmp_path, state))
    assert ref in after.endpoints
    assert model in after.models
    for name in (*(item.id for item in after.endpoints), *(item.id for item in after.models)):
        assert not any(is_hidden(char) for char in name)
    kept = after.endpoints[ref].ref.name
    assert isinstance(kept, SafeText)
    assert kept.raw == HOSTILE


def test_another_configuration_has_another_fleet(tmp_path: Path) -> None:
    assert loaded(saved(tmp_path), config="/home/ana/other.toml") == State()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"version": 999}',
        b"\xff\xfe",
        b"{" * 100_000,
        b'{"x": ' + b"[" * 100_000,
        b'{"version":"1"}',
    ],
)
def test_a_damaged_file_is_as_good_as_none(tmp_path: Path, content: bytes) -> None:
    path = saved(tmp_path)
    path.write_bytes(content)
    assert loaded(path) == State()


def test_every_prefix_of_a_file_is_as_good_as_none(tmp_path: Path) -> None:
    path = saved(tmp_path)
    whole = path.read_bytes()
    for cut in range(0, len(whole) - 1, 97):
        path.write_bytes(whole[:cut])
        assert loaded(path) == State()


def test_no_file_is_an_empty_start(tmp_path: Path) -> None:
    assert loaded(tmp_path / "nothing.json") == State()


@pytest.mark.parametrize("mode", [0o666, 0o620, 0o602])
def test_what_others_may_write_is_not_believed(tmp_path: Path, mode: int) -> None:
    path = saved(tmp_path)
    path.chmod(mode)
    assert loaded(path) == State()


def test_a_link_and_a_pipe_are_not_followed(tmp_path: Path) -> None:
    path = saved(tmp_path)
    link = tmp_path / "link.json"
    link.symlink_to(path)
    assert loaded(link) == State()
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe, 0o600)
    assert loaded(pipe) == State()


def test_it_is_for_its_owner_alone_and_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "umask", os.umask)
    before = os.umask(0)
    try:
        path = saved(tmp_path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(OSError, match=r"."):
        saved(tmp_path)


def test_many_models_are_cut_to_those_that_endpoints_want(tmp_path: Path) -> None:
    state = full()
    many = tuple(Model(ModelRef("world", f"a{number:05}"), MappingProxyType({})) for number in range(2500))
    state = reduce(state, ModelsObserved("world", many, START, complete=False))
    after = loaded(saved(tmp_path, state))
    assert len(after.models) == cache.MAX_MODELS
    assert FRAUD_MODEL in after.models
