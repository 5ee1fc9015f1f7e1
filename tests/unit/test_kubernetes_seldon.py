"""Seldon's objects as read, in the shapes of its published examples, and the patches that move them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.marks import stamp_text
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame, Reading, Workload, world_of
from mlrelease_tui.connectors.kubernetes.workloads.seldon import SeldonDeployments
from mlrelease_tui.connectors.kubernetes.workloads.seldon_driver import SeldonDriver
from mlrelease_tui.connectors.kubernetes.workloads.seldon_experiment_driver import ExperimentDriver
from mlrelease_tui.connectors.kubernetes.workloads.seldon_experiments import SeldonExperiments
from mlrelease_tui.connectors.kubernetes.workloads.seldon_models import ModelDriver, SeldonModels
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import Phase, Role, Stamp, Verb
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Refused

Json = dict[str, Any]

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
FRAME = Frame("k8s", "staging", "lab", "", NOW)
FIRST = Resource("machinelearning.seldon.io", "v1", "seldondeployments", "SeldonDeployment")
EXPERIMENTS = Resource("mlops.seldon.io", "v1alpha1", "experiments", "Experiment")
MODELS = Resource("mlops.seldon.io", "v1alpha1", "models", "Model")
SERVED = Served({(one.group, one.plural): one for one in (FIRST, EXPERIMENTS, MODELS)})


def read(workload: Workload, name: str, **kinds: list[Json]) -> Reading:
    known = {"first": FIRST, "experiments": EXPERIMENTS, "models": MODELS}
    world = world_of({known[kind]: items for kind, items in kinds.items()})
    (found,) = (one for one in workload.sightings(world, SERVED) if one.name == name)
    return workload.read(found, world, SERVED, FRAME)


def ops(write: Write) -> list[Json]:
    found: list[Json] = json.loads(write.payload)["patch"]
    return found


def done(write: Write) -> list[tuple[str, str, Any]]:
    return [(op["op"], op["path"], op.get("value", op.get("from"))) for op in ops(write) if op["op"] != "test"]


# --- Seldon Core 1


def image(name: str, version: str, traffic: int | None = None, **more: Any) -> Json:
    """A predictor as in the guide to canaries: a component of its own, a graph of one model."""
    container = {"name": "classifier", "image": f"seldonio/mock_classifier:{version}"}
    found: Json = {
        "name": name,
        "replicas": 1,
        "componentSpecs": [{"spec": {"containers": [container]}}],
        "graph": {"name": "classifier", "type": "MODEL", "children": []},
        **more,
    }
    return found if traffic is None else {**found, "traffic": traffic}


def prepackaged(name: str, version: str, traffic: int | None = None, **more: Any) -> Json:
    """A predictor as in the quickstart: a server that fetches a model."""
    graph = {"name": "classifier", "implementation": "SKLEARN_SERVER", "modelUri": f"gs://models/iris/{version}"}
    found: Json = {"name": name, "replicas": 1, "graph": graph, **more}
    return found if traffic is None else {**found, "traffic": traffic}


def deployment(
    *predictors: Json, state: str = "Available", pods: Json | None = None, status: Json | None = None, **meta: Any
) -> Json:
    counts = {one["name"]: 1 for one in predictors} if pods is None else pods
    said = {
        f"example-{one}-0-classifier": {"replicas": 1, **({"availableReplicas": ready} if ready else {})}
        for one, ready in counts.items()
    }
    found = {"state": state, "deploymentStatus": said} if state else {}
    return {
        "metadata": {"namespace": "ml", "name": "example", "uid": "u-1", "generation": 2, **meta},
        "spec": {"predictors": list(predictors)},
        "status": found if status is None else status,
    }


def first(*predictors: Json, **more: Any) -> tuple[Reading, SeldonDriver]:
    found = read(SeldonDeployments(), "example", first=[deployment(*predictors, **more)])
    assert isinstance(found.driver, SeldonDriver)
    return found, found.driver


def test_predictors_are_the_variants_by_image_or_by_model_uri() -> None:
    for kind in (image, prepackaged):
        endpoint = first(kind("main", "1.0", 75), kind("canary", "1.1", 25))[0].endpoint
        assert [(one.name, one.role, one.version, one.weight_bp, one.ready) for one in endpoint.variants] == [
            ("main", Role.STABLE, "1.0", 7500, 1),
            ("canary", Role.CANARY, "1.1", 2500, 1),
        ]
        assert endpoint.rollout.phase is Phase.WAITING


def test_one_predictor_gets_everything_whatever_it_says() -> None:
    endpoint = first(image("default", "1.0"))[0].endpoint
    assert (endpoint.variants[0].weight_bp, endpoint.rollout.phase) == (10_000, Phase.COMPLETE)


def test_a_shadow_is_no_part_of_the_hundred() -> None:
    endpoint = first(image("main", "1.0", 100), image("copy", "1.1", 20, shadow=True))[0].endpoint
    shadow = endpoint.variant(Role.SHADOW)
    assert shadow is not None
    assert (shadow.name, shadow.weight_bp, endpoint.rollout.phase) == ("copy", 2000, Phase.COMPLETE)
    assert endpoint.problems == ()


def test_deployments_are_known_by_predictor_also_where_one_name_begins_like_another() -> None:
    pods = {"main": 1, "main-2": 0}
    endpoint = first(image("main", "1.0", 50), image("main-2", "1.1", 50), pods=pods, state="Creating")[0].endpoint
    assert {one.name: one.ready for one in endpoint.variants} == {"main": 1, "main-2": 0}


def test_while_a_pod_is_not_ready_no_traffic_moves_and_that_is_said() -> None:
    found, driver = first(
        image("main", "1.0", 90), image("canary", "1.1", 10), pods={"main": 1, "canary": 0}, state="Creating"
    )
    assert [one.weight_bp for one in found.endpoint.variants] == [None, None]
    assert "pods of canary are not ready" in found.endpoint.rollout.message
    with pytest.raises(Refused, match="moves no traffic while pods of canary") as refused:
        driver.abort(found.endpoint)
    assert refused.value.hint == "roll back: that takes the failing predictor away"


def test_a_rollback_takes_the_predictor_away_in_the_same_patch() -> None:
    found, driver = first(
        image("main", "1.0", 90), image("canary", "1.1", 10), pods={"main": 1, "canary": 0}, state="Creating"
    )
    (write,) = driver.roll_back(found.endpoint, Artifact("1.0"))
    assert done(write) == [("add", "/spec/predictors/0/traffic", 100), ("remove", "/spec/predictors/1", None)]
    assert {op["path"]: op["value"] for op in ops(write) if op["op"] == "test"} == {
        "/metadata/uid": "u-1",
        "/spec/predictors/0/name": "main",
        "/spec/predictors/0/traffic": 90,
        "/spec/predictors/1/name": "canary",
        "/spec/predictors/1/traffic": 10,
    }


def test_a_version_gets_a_predictor_that_is_copied_within_the_patch_and_its_share_once_it_is_ready() -> None:
    found, driver = first(prepackaged("default", "1"))
    made, shared = driver.start(found.endpoint, Artifact("2"), 2500)
    assert done(made) == [
        ("copy", "/spec/predictors/1", "/spec/predictors/0"),
        ("add", "/spec/predictors/1/name", "canary"),
        ("add", "/spec/predictors/1/traffic", 0),
        ("replace", "/spec/predictors/1/graph/modelUri", "gs://models/iris/2"),
        ("add", "/spec/predictors/0/traffic", 100),
    ]
    assert "SKLEARN_SERVER" not in made.payload
    assert done(shared) == [("add", "/spec/predictors/1/traffic", 25), ("add", "/spec/predictors/0/traffic", 75)]


def test_an_image_is_put_into_the_copy_and_tested_where_it_was_read() -> None:
    found, driver = first(image("default", "1.0"))
    made, _ = driver.start(found.endpoint, Artifact("1.1"), None)
    path = "componentSpecs/0/spec/containers/0/image"
    assert {"op": "test", "path": f"/spec/predictors/0/{path}", "value": "seldonio/mock_classifier:1.0"} in ops(made)
    assert ("replace", f"/spec/predictors/1/{path}", "seldonio/mock_classifier:1.1") in done(made)


def test_a_predictor_that_stood_by_gives_its_place_to_one_of_another_name() -> None:
    found, driver = first(image("main", "1.0", 0), image("canary", "1.1", 100))
    made, shared = driver.start(found.endpoint, Artifact("1.2"), 1000)
    assert done(made)[-1] == ("remove", "/spec/predictors/0", None)
    assert ("add", "/spec/predictors/2/name", "green") in done(made)
    assert {op["path"]: op["value"] for op in ops(shared) if op["op"] == "test"} == {
        "/metadata/uid": "u-1",
        "/spec/predictors/0/name": "canary",
        "/spec/predictors/0/traffic": 100,
        "/spec/predictors/1/name": "green",
        "/spec/predictors/1/traffic": 0,
    }


def test_a_version_that_stands_by_gets_its_share_in_one_patch() -> None:
    found, driver = first(image("main", "1.0", 100), image("canary", "1.1", 0))
    (write,) = driver.start(found.endpoint, Artifact("1.1"), None)
    assert done(write) == [("add", "/spec/predictors/0/traffic", 90), ("add", "/spec/predictors/1/traffic", 10)]


def test_seldon_knows_whole_percents() -> None:
    found, driver = first(image("main", "1.0", 90), image("canary", "1.1", 10))
    with pytest.raises(Refused, match="whole percents"):
        driver.set_weight(found.endpoint, 1250)


def test_a_rollback_to_a_version_of_before_makes_a_predictor_first_and_takes_the_bad_one_away() -> None:
    noted = {"mlrelease.dev/history": '["1"]'}
    found, driver = first(prepackaged("default", "2"), pods={"default": 0}, state="Creating", annotations=noted)
    assert found.endpoint.previous_version == "1"
    made, moved = driver.roll_back(found.endpoint, Artifact("1"))
    assert ("replace", "/spec/predictors/1/graph/modelUri", "gs://models/iris/1") in done(made)
    assert done(moved) == [("add", "/spec/predictors/1/traffic", 100), ("remove", "/spec/predictors/0", None)]


def stable_noted(write: Write) -> str:
    return str(json.loads(write.payload)["notes"]["mlrelease.dev/stable"])


def test_each_weight_notes_which_predictor_is_the_stable_one() -> None:
    found, driver = first(image("main", "1.0", 90), image("canary", "1.1", 10))
    assert stable_noted(driver.set_weight(found.endpoint, 5000)[0]) == "main"
    assert stable_noted(driver.abort(found.endpoint)[0]) == "main"
    assert stable_noted(driver.complete(found.endpoint)[0]) == "canary"
    assert stable_noted(driver.roll_back(found.endpoint, Artifact("1.0"))[0]) == "main"
    alone, driver = first(image("main", "1.0"))
    assert stable_noted(driver.start(alone.endpoint, Artifact("1.1"), 1000)[1]) == "main"
    assert stable_noted(driver.start(alone.endpoint, Artifact("1.1"), 10_000)[1]) == "canary"


def test_a_canary_of_the_version_before_does_not_pass_for_the_stable_one() -> None:
    """After 1.0 → 1.1, 1.0 gets some requests again: the last promotion noted 1.0 as what was stable before."""
    noted = {"mlrelease.dev/history": '["1.0"]', "mlrelease.dev/stable": "canary"}
    found, _ = first(image("main", "1.0", 10), image("canary", "1.1", 90), annotations=noted)
    assert (found.endpoint.rollout.from_version, found.endpoint.rollout.to_version) == ("1.1", "1.0")


def test_each_weight_of_an_experiment_notes_which_candidate_is_the_stable_one() -> None:
    found, driver = second(("iris", 90), ("iris2", 10))
    assert stable_noted(driver.set_weight(found.endpoint, 5000)[0]) == "iris"
    assert stable_noted(driver.abort(found.endpoint)[0]) == "iris"
    assert stable_noted(driver.roll_back(found.endpoint, Artifact("2"))[0]) == "iris2"


def test_a_second_shadow_is_refused_as_seldon_would_and_zero_takes_one_away() -> None:
    found, driver = first(image("main", "1.0", 100), image("copy", "1.1", 20, shadow=True))
    with pytest.raises(Refused, match="Seldon takes one"):
        driver.shadow(found.endpoint, Artifact("1.2"), 1000)
    (write,) = driver.shadow(found.endpoint, Artifact("1.1"), 0)
    assert done(write) == [("remove", "/spec/predictors/1", None)]
    found, driver = first(image("main", "1.0"))
    (write,) = driver.shadow(found.endpoint, Artifact("1.1"), 10_000)
    assert ("add", "/spec/predictors/1/shadow", True) in done(write)


def test_an_autoscaled_predictor_is_not_scaled_by_hand() -> None:
    auto = image("main", "1.0")
    auto["componentSpecs"][0]["hpaSpec"] = {"maxReplicas": 3}
    found, driver = first(auto)
    with pytest.raises(Refused, match="an autoscaler sets the replicas"):
        driver.scale(found.endpoint, 2)


def test_a_restart_by_annotation_is_not_offered_since_seldon_compares_pod_specs_alone() -> None:
    support = first(image("main", "1.0"))[0].endpoint.support(Verb.RESTART)
    assert not support.available
    assert "compares pod specs alone" in support.reason


@pytest.mark.parametrize(
    ("more", "phase", "message"),
    [
        ({"status": {}}, Phase.UNKNOWN, "is Seldon Core running?"),
        ({"status": {"state": "Failed", "description": "no such server"}}, Phase.DEGRADED, "Failed: no such server"),
        (
            {"pods": {"main": 1, "canary": 1, "old": 1}},
            Phase.UNKNOWN,
            "not followed its predictors yet: is it running?",
        ),
        ({"pods": {"main": 1}}, Phase.UNKNOWN, "not followed its predictors yet: is it running?"),
        ({"pods": {"main": 1, "canary": 0}}, Phase.DEGRADED, "pods of canary are not ready"),
    ],
)
def test_what_seldon_says_or_does_not(more: Json, phase: Phase, message: str) -> None:
    endpoint = first(image("main", "1.0", 90), image("canary", "1.1", 10), **more)[0].endpoint
    assert endpoint.rollout.phase is phase
    assert message in endpoint.rollout.message


# --- Seldon Core 2


def model(name: str, version: str, *, ready: str = "True", reason: str = "", **spec: Any) -> Json:
    said = {"type": "ModelReady", "status": ready, "reason": reason, "lastTransitionTime": "2026-11-21T11:00:00Z"}
    return {
        "metadata": {"namespace": "ml", "name": name, "uid": f"u-{name}", "generation": 1},
        "spec": {"storageUri": f"gs://models/iris/{version}", "requirements": ["sklearn"], **spec},
        "status": {"replicas": 1, "availableReplicas": 1, "conditions": [said]},
    }


def experiment(*candidates: tuple[str, int], default: str = "iris", active: str = "True", **spec: Any) -> Json:
    """As the samples of Seldon Core 2 have it."""
    said = [{"type": "ExperimentReady", "status": active}] if active else []
    return {
        "metadata": {"namespace": "ml", "name": "experiment-sample", "uid": "u-e", "generation": 1},
        "spec": {
            **({"default": default} if default else {}),
            "candidates": [{"name": name, "weight": weight} for name, weight in candidates],
            **spec,
        },
        "status": {"conditions": said},
    }


PAIR = (model("iris", "1"), model("iris2", "2"))


def second(
    *candidates: tuple[str, int], models: tuple[Json, ...] = PAIR, **more: Any
) -> tuple[Reading, ExperimentDriver]:
    item = experiment(*candidates, **more)
    found = read(SeldonExperiments(), "experiment-sample", experiments=[item], models=list(models))
    assert isinstance(found.driver, ExperimentDriver)
    return found, found.driver


def test_candidates_share_by_proportion_and_the_default_is_the_stable_one() -> None:
    endpoint = second(("iris2", 3), ("iris", 1))[0].endpoint
    assert [(one.name, one.role, one.version, one.weight_bp) for one in endpoint.variants] == [
        ("iris2", Role.CANARY, "2", 7500),
        ("iris", Role.STABLE, "1", 2500),
    ]
    assert "x-seldon-route" in endpoint.rollout.message


def test_an_experiment_stands_for_the_models_that_it_splits_between() -> None:
    mirror = {"name": "iris3", "percent": 50}
    items = [*PAIR, model("iris3", "3"), model("other", "9")]
    world = world_of({EXPERIMENTS: [experiment(("iris", 50), ("iris2", 50), mirror=mirror)], MODELS: items})
    (found,) = SeldonExperiments().sightings(world, SERVED)
    assert found.claims == {"u-e", "u-iris", "u-iris2", "u-iris3"}
    shadow = SeldonExperiments().read(found, world, SERVED, FRAME).endpoint.variant(Role.SHADOW)
    assert shadow is not None
    assert (shadow.name, shadow.version, shadow.weight_bp) == ("iris3 (mirror)", "3", 5000)


def test_pipelines_have_weights_and_no_versions_of_their_own() -> None:
    found, driver = second(("add10", 50), ("add20", 50), default="add10", resourceType="pipeline", models=())
    assert [one.version for one in found.endpoint.variants] == ["add10", "add20"]
    with pytest.raises(Refused, match="splits between Pipelines"):
        driver.complete(found.endpoint)
    (write,) = driver.set_weight(found.endpoint, 1000)
    assert done(write) == [("add", "/spec/candidates/0/weight", 90), ("add", "/spec/candidates/1/weight", 10)]


def test_a_promotion_in_full_changes_the_defaults_model_so_that_deleting_the_experiment_brings_nothing_back() -> None:
    found, driver = second(("iris", 50), ("iris2", 50))
    changed, weighed = driver.complete(found.endpoint)
    assert changed.target == "Model ml/iris"
    assert done(changed) == [("add", "/spec/storageUri", "gs://models/iris/2")]
    assert done(weighed) == [("add", "/spec/candidates/0/weight", 100), ("add", "/spec/candidates/1/weight", 0)]


def test_an_abort_gives_everything_to_the_default_as_deleting_the_experiment_would() -> None:
    found, driver = second(("iris", 30), ("iris2", 70))
    (write,) = driver.abort(found.endpoint)
    assert done(write) == [("add", "/spec/candidates/0/weight", 100), ("add", "/spec/candidates/1/weight", 0)]
    assert {op["path"]: op["value"] for op in ops(write) if op["op"] == "test"} == {
        "/metadata/uid": "u-e",
        "/spec/candidates/0/name": "iris",
        "/spec/candidates/0/weight": 30,
        "/spec/candidates/1/name": "iris2",
        "/spec/candidates/1/weight": 70,
    }


def test_a_version_that_no_candidate_serves_is_loaded_by_the_idle_one_first() -> None:
    found, driver = second(("iris", 100), ("iris2", 0))
    loaded, weighed = driver.start(found.endpoint, Artifact("3"), None)
    assert (loaded.target, done(loaded)) == ("Model ml/iris2", [("replace", "/spec/storageUri", "gs://models/iris/3")])
    assert weighed.after == "3 10%"


@pytest.mark.parametrize(
    ("more", "phase"),
    [
        ({"active": ""}, Phase.UNKNOWN),
        ({"active": "False"}, Phase.PROGRESSING),
        ({"models": (PAIR[0], model("iris2", "2", ready="False", reason="no server has room"))}, Phase.DEGRADED),
        ({"models": (PAIR[0], model("iris2", "2", ready="False", reason="ModelProgressing"))}, Phase.PROGRESSING),
        ({}, Phase.WAITING),
    ],
)
def test_an_experiment_is_as_its_candidates_are(more: Json, phase: Phase) -> None:
    assert second(("iris", 50), ("iris2", 50), **more)[0].endpoint.rollout.phase is phase


def test_a_default_that_is_no_candidate_and_a_model_that_is_not_there_are_told() -> None:
    endpoint = second(("iris2", 50), ("iris9", 50))[0].endpoint
    assert set(endpoint.problems) == {"its default iris is none of its candidates", "there is no Model iris9"}


def alone(version: str = "1", **more: Any) -> tuple[Reading, ModelDriver]:
    item = model(
        "iris", version, **{key: more.pop(key) for key in ("ready", "reason", "artifactVersion") if key in more}
    )
    item["metadata"].update(more)
    found = read(SeldonModels(), "iris", models=[item])
    assert isinstance(found.driver, ModelDriver)
    return found, found.driver


def test_a_model_alone_is_an_endpoint_and_another_version_is_another_uri() -> None:
    found, driver = alone(annotations={"mlrelease.dev/model": "registry/iris"})
    assert (found.endpoint.model is not None, found.endpoint.rollout.phase) == (True, Phase.COMPLETE)
    (write,) = driver.start(found.endpoint, Artifact("2"), None)
    assert done(write) == [("replace", "/spec/storageUri", "gs://models/iris/2")]
    assert not found.endpoint.support(Verb.WEIGHT).available


def test_a_model_that_picks_its_version_by_number_keeps_its_uri() -> None:
    found, driver = alone(artifactVersion=3)
    assert found.endpoint.variants[0].version == "3"
    (write,) = driver.start(found.endpoint, Artifact("4"), None)
    assert done(write) == [("replace", "/spec/artifactVersion", 4)]
    with pytest.raises(Refused, match="picks its version by artifactVersion"):
        driver.start(found.endpoint, Artifact("best"), None)


def test_a_condition_older_than_our_write_says_nothing_of_what_we_wrote() -> None:
    for at, phase in ((NOW - timedelta(hours=2), Phase.COMPLETE), (NOW - timedelta(seconds=5), Phase.PROGRESSING)):
        stamp = Stamp("i-1", Verb.PROMOTE, SafeText("ana"), SafeText(""), at)
        endpoint = alone("2", annotations={"mlrelease.dev/stamp": stamp_text(stamp)})[0].endpoint
        assert (endpoint.rollout.phase, endpoint.variants[0].ready) == (phase, 1 if phase is Phase.COMPLETE else 0)
