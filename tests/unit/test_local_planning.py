"""Which writes the verbs come to on a local endpoint, and what an endpoint is read as. No process is started."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.local_model import LAYOUT, MARK, LocalModel, running

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.local import planning
from mlrelease_tui.connectors.local.definitions import variant_name
from mlrelease_tui.connectors.local.desired import Mark
from mlrelease_tui.connectors.local.documents import canonical
from mlrelease_tui.connectors.local.observed import ProcessState
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import Endpoint, Hold, Phase, Role, Verb, weights_of
from mlrelease_tui.domain.status import known_good_of
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Refused

HOLD = Hold(SafeText("berta"), SafeText("lunch"))


def released(*versions: str) -> LocalModel:
    """An endpoint that went through these versions, each to its end."""
    model = LocalModel()
    for version in versions:
        model.make_all(planning.start(LAYOUT, model.read(), Artifact(version, f"models:/iris/{version}"), 10_000))
    return model


def canary(version: str = "2", weight_bp: int = 1_000) -> LocalModel:
    model = released("1")
    model.make_all(planning.start(LAYOUT, model.read(), Artifact(version, f"models:/iris/{version}"), weight_bp))
    return model


def words(writes: tuple[Write, ...]) -> list[str]:
    return [write.call for write in writes]


def test_a_start_brings_the_process_up_before_it_gets_traffic() -> None:
    writes = planning.start(LAYOUT, released("1").read(), Artifact("2", "models:/iris/2", "sha256:ab"), None)
    assert words(writes) == [
        "add process v2 (version 2 from models:/iris/2) of local/iris in desired.json, generation 1 → 2",
        "wait until process v2 passes its health check",
        "write route iris in routes.yml: v1 90% + v2 10% (step 1 of 4), generation 1 → 2",
    ]
    assert [write.mutates for write in writes] == [True, False, True]
    assert writes[2].precondition == "route iris is at generation 1"
    assert writes[2].before == "v1 100%"
    assert writes[2].undo == "write v1 100% back"
    payload = json.loads(writes[2].payload)
    assert payload["expect"] == 1
    assert payload["weights"] == [["v1", 9_000], ["v2", 1_000]]
    assert payload["versions"]["v2"] == {"version": "2", "artifact": "models:/iris/2", "digest": "sha256:ab"}


def test_a_rollback_takes_traffic_away_in_its_first_write() -> None:
    model = canary(weight_bp=5_000)
    writes = planning.roll_back(LAYOUT, model.read(), Artifact("1"))
    assert words(writes) == [
        "write route iris in routes.yml: v1 100% (v2 to be retired), generation 2 → 3",
        "wait until v2 has no request in flight",
        "write route iris in routes.yml: v1 100% (without v2), generation 3 → 4",
        "remove process v2 of local/iris in desired.json, generation 2 → 3",
    ]
    assert not any(write.best_effort for write in writes)
    assert all(write.shell for write in writes if write.mutates)


def test_plans_are_pure_and_their_payloads_canonical() -> None:
    endpoint = canary().read()
    for _ in range(2):
        writes = planning.roll_back(LAYOUT, endpoint, Artifact("1"))
        assert writes == planning.roll_back(LAYOUT, endpoint, Artifact("1"))
        assert all(canonical(json.loads(write.payload)) == write.payload for write in writes)


def test_the_steps_are_walked_to_the_end() -> None:
    model = canary()
    seen = []
    while model.read().canary:
        seen.append((model.read().rollout.step_index, weights_of(model.read())["v2"]))
        model.make_all(planning.advance(LAYOUT, model.read()))
    assert seen == [(0, 1_000), (1, 2_500), (2, 5_000), (3, 10_000)]
    assert [item.version for item in model.read().variants] == ["2"]
    assert model.read().previous_version == "1"


@pytest.mark.parametrize(
    ("weight_bp", "index", "following"), [(500, 0, 1_000), (1_000, 0, 2_500), (3_000, 1, 5_000), (5_000, 2, 10_000)]
)
def test_the_next_step_follows_the_weight(weight_bp: int, index: int, following: int) -> None:
    model = canary(weight_bp=weight_bp)
    assert model.read().rollout.step_index == index
    model.make_all(planning.advance(LAYOUT, model.read()))
    assert weights_of(model.read())["v2"] == following


def test_a_held_rollout_goes_down_but_not_on() -> None:
    model = canary(weight_bp=2_500)
    model.make_all(planning.hold(LAYOUT, model.read(), HOLD), Mark("i2", "hold", "berta", "lunch", MARK.at, "w"))
    held = model.read()
    assert held.rollout.phase is Phase.HELD
    for refused in (planning.advance, planning.complete):
        with pytest.raises(Refused, match="held by berta: lunch"):
            refused(LAYOUT, held)
    with pytest.raises(Refused, match="held by berta"):
        planning.set_weight(LAYOUT, held, 2_501)
    with pytest.raises(Refused, match="already"):
        planning.hold(LAYOUT, held, HOLD)
    model.make_all(planning.set_weight(LAYOUT, held, 100))
    assert model.read().rollout.hold is not None
    model.make_all(planning.roll_back(LAYOUT, model.read(), Artifact("1")))
    assert model.read().rollout.hold is None


def test_a_rollback_forgets_the_version_that_it_leaves() -> None:
    model = released("1", "2", "3")
    assert known_good_of(model.read()) == "2"
    model.make_all(planning.roll_back(LAYOUT, model.read(), Artifact("2")))
    assert known_good_of(model.read()) == "1"
    model.make_all(planning.roll_back(LAYOUT, model.read(), Artifact("1")))
    assert known_good_of(model.read()) == ""


def test_a_process_that_is_started_again_is_told_apart_from_the_one_before() -> None:
    model, turns = released("1"), []
    for _ in range(3):
        model.make_all(planning.start(LAYOUT, model.read(), Artifact("2", "models:/iris/2"), 1_000))
        turns.append(model.wanted["v2"].turn)
        model.make_all(planning.restart(LAYOUT, model.read()))
        turns.append(model.wanted["v2"].turn)
        model.make_all(planning.roll_back(LAYOUT, model.read(), Artifact("1")))
    assert turns == sorted(set(turns))


def test_the_artifact_of_an_earlier_version_is_remembered() -> None:
    writes = planning.roll_back(LAYOUT, released("1", "2").read(), Artifact("1"))
    assert json.loads(writes[0].payload)["add"]["v1"]["artifact"] == "models:/iris/1"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda e: planning.start(LAYOUT, e, Artifact("1"), None), "already runs 1"),
        (lambda e: planning.start(LAYOUT, e, Artifact("2"), 10_001), "no weight"),
        (lambda e: planning.start(LAYOUT, e, Artifact("2"), -1), "no weight"),
        (lambda e: planning.set_weight(LAYOUT, e, 1_000), "no rollout of iris is under way"),
        (lambda e: planning.advance(LAYOUT, e), "no rollout of iris is under way"),
        (lambda e: planning.complete(LAYOUT, e), "no rollout of iris is under way"),
        (lambda e: planning.abort(LAYOUT, e), "no rollout of iris is under way"),
        (lambda e: planning.hold(LAYOUT, e, HOLD), "no rollout of iris is under way"),
        (lambda e: planning.resume(LAYOUT, e), "not held"),
        (lambda e: planning.roll_back(LAYOUT, e, Artifact("1")), "already runs 1, alone"),
        (lambda e: planning.shadow(LAYOUT, e, Artifact("1"), 1_000), "already answers users"),
        (lambda e: planning.shadow(LAYOUT, e, Artifact("2"), 50), "whole percentages"),
        (lambda e: planning.shadow(LAYOUT, e, Artifact("2"), 0), "mirrors to nothing"),
    ],
)
def test_what_can_not_be_is_refused_with_what_to_do(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(Refused, match=message) as no:
        call(released("1").read())
    assert no.value.hint


def test_another_version_is_refused_while_a_rollout_is_under_way() -> None:
    with pytest.raises(Refused, match="a rollout of iris to 2 is under way"):
        planning.start(LAYOUT, canary().read(), Artifact("3"), None)


def test_a_canary_that_is_not_healthy_is_not_completed() -> None:
    model = canary()
    ill = running("2", state=ProcessState.CRASHED, failures=1, message="exit code 1")
    model.processes = {"v1": running("1"), "v2": ill}
    with pytest.raises(Refused, match="2 of iris is not healthy: exit code 1"):
        planning.complete(LAYOUT, model.read())


def test_nothing_is_planned_on_what_can_not_be_read() -> None:
    model = canary()
    silent = replace(model, error="no answer")
    assert all(variant.weight_bp is None for variant in silent.read().variants)
    assert silent.read().rollout.phase is Phase.UNKNOWN
    assert "written: v1 90% + v2 10%" in silent.read().problems[0]
    lost = replace(model, plan=None, drift="the routes document is damaged")
    for unreadable in (silent.read(), lost.read()):
        with pytest.raises(Refused, match=r"no answer|damaged"):
            planning.roll_back(LAYOUT, unreadable, Artifact("1"))
        assert not any(unreadable.support(verb).available for verb in Verb)
        assert all(unreadable.support(verb).reason for verb in Verb if verb is not Verb.ALIAS)


def test_what_only_the_document_says_is_not_shown_as_running() -> None:
    model = canary()
    model.drift = "the router runs generation 1 of route iris"
    assert weights_of(model.read()) == {}


def test_a_dead_supervisor_leaves_nothing_ready() -> None:
    model = canary()
    model.alive = False
    endpoint = model.read()
    assert [variant.ready for variant in endpoint.variants] == [0, 0]
    assert "supervisor is not running" in endpoint.problems[0]


def test_a_crash_loop_is_a_degraded_rollout_with_its_last_line() -> None:
    model = canary()
    last = "exit code 1: ValueError: \x1b[2Jbad model"
    looping = running("2", state=ProcessState.CRASHED, failures=4, restarts=4, message=last)
    model.processes = {"v1": running("1"), "v2": looping}
    rollout = model.read().rollout
    assert rollout.phase is Phase.DEGRADED
    assert rollout.message == "v2 keeps crashing: exit code 1: ValueError: \\e[2Jbad model (4 restarts)"


def test_a_restart_takes_the_unhealthy_first_and_alone() -> None:
    model = canary()
    assert words(planning.restart(LAYOUT, model.read()))[0::2] == [
        "restart process v2 of local/iris in desired.json, generation 2 → 3; its requests fail until it is healthy",
        "restart process v1 of local/iris in desired.json, generation 3 → 4; its requests fail until it is healthy",
    ]
    model.processes = {"v1": running("1"), "v2": running("2", state=ProcessState.UNREADY)}
    assert len(planning.restart(LAYOUT, model.read())) == 2


@pytest.mark.parametrize("version", ["7", "1.2.0", "sha256:" + "ab" * 32, "a--b", "ü", "x" * 200, "release/7", ""])
def test_variant_names_stand_in_routes(version: str) -> None:
    from mlrelease_tui.routing.api import is_safe_name

    assert is_safe_name(variant_name(version))
    assert variant_name("release/7") != variant_name("release-7")


def test_a_hostile_version_is_shown_harmless_and_sent_as_it_is() -> None:
    hostile = "7\x1b]0;gone\x07"
    model = canary(hostile)
    shown = model.read().canary
    assert shown is not None
    assert "\x1b" not in shown.version
    assert model.wanted[shown.name].version == hostile
    begun = planning.start(LAYOUT, released("1").read(), Artifact(hostile, "\x1b[2J"), None)
    for write in begun + planning.roll_back(LAYOUT, model.read(), Artifact("1")):
        assert "\x1b" not in write.call + write.before + write.after + write.undo + write.shell
    for write in planning.complete(LAYOUT, model.read()):
        assert "\x1b" not in write.call + write.before + write.after + write.undo
        model.make(write)
    end = model.read()
    assert end.stable is not None
    # The name comes back from a screen, and still means the same version.
    with pytest.raises(Refused, match="already runs"):
        planning.start(LAYOUT, end, Artifact(end.stable.version), None)


VERSIONS = st.sampled_from(["1", "2", "3", "4"])
WEIGHTS = st.sampled_from([None, 0, 500, 1_000, 5_000, 10_000])
WISHES = st.one_of(
    st.tuples(st.just("start"), VERSIONS, WEIGHTS),
    st.tuples(st.just("roll_back"), VERSIONS, st.none()),
    st.tuples(st.just("shadow"), VERSIONS, st.sampled_from([0, 1_000])),
    st.tuples(st.just("set_weight"), VERSIONS, st.sampled_from([0, 500, 5_000, 10_000])),
    st.tuples(st.sampled_from(["advance", "complete", "abort", "hold", "resume", "restart"]), VERSIONS, st.none()),
)


def wished(endpoint: Endpoint, verb: str, version: str, weight: int | None) -> tuple[Write, ...]:
    match verb:
        case "start":
            return planning.start(LAYOUT, endpoint, Artifact(version), weight)
        case "roll_back":
            return planning.roll_back(LAYOUT, endpoint, Artifact(version))
        case "shadow":
            return planning.shadow(LAYOUT, endpoint, Artifact(version), weight or 0)
        case "set_weight":
            return planning.set_weight(LAYOUT, endpoint, weight or 0)
        case "hold":
            return planning.hold(LAYOUT, endpoint, HOLD)
        case _:
            plan = getattr(planning, verb)
            return plan(LAYOUT, endpoint)  # type: ignore[no-any-return]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(WISHES, st.integers(0, 9)), max_size=8))
def test_whatever_is_asked_and_wherever_it_is_cut_off_a_rollback_leads_out(
    story: list[tuple[tuple[str, str, int | None], int]],
) -> None:
    """After any verbs, each cut off after any of its writes: the rules hold at every write (see `LocalModel.make`), and one
    rollback leaves the stable version alone, at rest."""
    model = released("1")
    for (verb, version, weight), cut in story:
        with contextlib.suppress(Refused):
            for write in wished(model.read(), verb, version, weight)[:cut]:
                model.make(write)
    endpoint = model.read()
    assert endpoint.stable is not None
    stable = endpoint.stable.version
    if len(endpoint.variants) > 1:
        model.make_all(planning.roll_back(LAYOUT, endpoint, Artifact(stable)))
    end = model.read()
    assert [(item.version, item.role, item.weight_bp) for item in end.variants] == [(stable, Role.STABLE, 10_000)]
    assert (end.rollout.phase, end.rollout.in_flight, end.rollout.hold) == (Phase.COMPLETE, False, None)
