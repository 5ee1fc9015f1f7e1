"""`spec.canary[]` of an InferenceService in Standard mode, on a real API server that knows the field; its controller is played.

The definition is KServe 0.20's where the checkout has it beside it, else this repository's permissive one. No module of a KServe
that has the field can be built yet: a thread does what the definition says that the controller does, on real Deployments and their
pods. That a named predictor's Deployment carries its name is what makes a promotion keep the canary's pods.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from tests.cluster import definitions
from tests.cluster.api import DEPLOYMENTS, INFERENCE_SERVICES, Api, ApiError, Json
from tests.cluster.control_plane import ControlPlane
from tests.cluster.desk import Operator, operated
from tests.cluster.kserve_bench import SOURCE, uri
from tests.cluster.manifests import deployment
from tests.cluster.verb_table import Row, VerbTable

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.domain.rollout import Endpoint, Phase, Verb
from mlrelease_tui.domain.text import raw

pytestmark = [pytest.mark.kubernetes, pytest.mark.real, pytest.mark.timeout(300)]

PLACE: Final = "default"
WORKLOAD: Final = "KServe InferenceService, Standard mode with spec.canary[]"
MODEL: Final = {"modelFormat": {"name": "sklearn"}}
_BEAT_S: Final = 0.2


@pytest.fixture(scope="module")
def plane(control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of its own, since the definition has the name of another version's."""
    assert control_plane.programs
    with ControlPlane(tmp_path_factory.mktemp("listed"), nodes=2) as other:
        definitions.kserve_canary(other.kubectl)
        stop = threading.Event()
        player = threading.Thread(target=_play, args=(other.api, stop), daemon=True)
        player.start()
        yield other
        stop.set()
        player.join(30)


def _play(api: Api, stop: threading.Event) -> None:
    """What KServe's controller does, again and again: a Deployment a predictor, and a status."""
    while not stop.wait(_BEAT_S):
        for item in api.items(INFERENCE_SERVICES):
            # Somebody wrote meanwhile, or it is gone: the next round sees to it.
            with contextlib.suppress(ApiError):
                _reconcile(api, item)


def _reconcile(api: Api, item: Json) -> None:
    name = item["metadata"]["name"]
    owner = {"apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "controller": True}
    owner |= {"name": name, "uid": item["metadata"]["uid"]}
    listed = item["spec"].get("canary") or []
    entries = {
        _called(name, one): one for one in (item["spec"]["predictor"], *(entry["predictor"] for entry in listed))
    }
    ready = {called: _runs(api, called, one["model"]["storageUri"], owner) for called, one in entries.items()}
    for found in api.items(DEPLOYMENTS, PLACE):
        owners = {one["uid"] for one in found["metadata"].get("ownerReferences", ())}
        if item["metadata"]["uid"] in owners and found["metadata"]["name"] not in entries:
            api.delete(DEPLOYMENTS, PLACE, found["metadata"]["name"])
    statuses = [
        {
            "name": entry["predictor"]["name"],
            "ready": ready[_called(name, entry["predictor"])],
            "trafficPercent": entry["trafficPercent"] if ready[_called(name, entry["predictor"])] else 0,
            "modelStatus": {"transitionStatus": "UpToDate"},
        }
        for entry in listed
    ]
    conditions = [{"type": "Ready", "status": str(all(ready.values()))}]
    if listed:
        conditions.append({"type": "CanaryPredictorReady", "status": str(all(one["ready"] for one in statuses))})
    status = {
        "deploymentMode": "Standard",
        "observedGeneration": item["metadata"]["generation"],
        "modelStatus": {"transitionStatus": "UpToDate"},
        "conditions": conditions,
        "canaryStatuses": statuses or None,
    }
    api.patch(INFERENCE_SERVICES, PLACE, name, {"status": status}, sub="status", manager="kserve")


def _called(name: str, predictor: Json) -> str:
    return "-".join(part for part in (name, "predictor", predictor.get("name", "")) if part)


def _runs(api: Api, called: str, source: str, owner: Json) -> bool:
    """Have a Deployment of the model that `source` names; whether its pods are ready."""
    labels = {"serving.kserve.io/inferenceservice": owner["name"], "component": "predictor"}
    body = deployment(called, "registry.example/sklearnserver:1", replicas=1, pod_labels=labels)
    body["metadata"]["labels"] = labels
    body["metadata"]["ownerReferences"] = [owner]
    body["spec"]["template"]["metadata"]["annotations"] = {SOURCE: source}
    found = api.find(DEPLOYMENTS, PLACE, called) or api.create(DEPLOYMENTS, PLACE, body)
    if found["spec"]["template"]["metadata"]["annotations"].get(SOURCE) != source:
        found = api.patch(DEPLOYMENTS, PLACE, called, {"spec": {"template": body["spec"]["template"]}})
    return bool(found.get("status", {}).get("availableReplicas"))


def _at_rest(plane: ControlPlane, name: str) -> None:
    body = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            "name": name,
            "annotations": {"serving.kserve.io/deploymentMode": "Standard", "mlrelease.dev/model": "registry/fraud"},
        },
        "spec": {"predictor": {"model": {**MODEL, "storageUri": uri("1")}}},
    }
    plane.kubectl.apply(body, namespace=PLACE)


def _begin(driver: Any, endpoint: Endpoint) -> Any:
    return driver.start(endpoint, Artifact("2", uri("2")), 1000)


def _spec(plane: ControlPlane, name: str) -> Json:
    found: Json = plane.api.get(INFERENCE_SERVICES, PLACE, name)["spec"]
    return found


def _by_hand(plane: ControlPlane, *ops: Json) -> None:
    plane.api.patch(INFERENCE_SERVICES, PLACE, "native", list(ops), how="json", manager="kubectl")


CANARY: Final = {
    "trafficPercent": 10,
    "predictor": {"name": "canary-2", "model": {**MODEL, "name": "kserve-container", "storageUri": uri("2")}},
}
BEGUN: Final = {"op": "add", "path": "/spec/canary", "value": [CANARY]}
AT_50: Final = {"op": "replace", "path": "/spec/canary/0/trafficPercent", "value": 50}
AT_0: Final = {**AT_50, "value": 0}
GONE: Final = {"op": "remove", "path": "/spec/canary"}
NAMED: Final = {"op": "add", "path": "/spec/predictor/name", "value": "canary-2"}
TAKEN: Final = {"op": "copy", "from": "/spec/canary/0/predictor/model", "path": "/spec/predictor/model"}

CASES: Final = (
    ("promote VERSION at 10%", Verb.PROMOTE, _begin, (BEGUN,), "1 90% + 2 10%",
     "1 JSON Patch: the list with one entry, a copy of the model with another source"),
    ("weight 50%", Verb.WEIGHT, lambda driver, endpoint: driver.set_weight(endpoint, 5000), (BEGUN, AT_50), "1 50% + 2 50%",
     "1 JSON Patch: trafficPercent"),
    ("abort", Verb.ABORT, lambda driver, endpoint: driver.abort(endpoint), (BEGUN, AT_0), "1 100% + 2 0%",
     "1 JSON Patch: trafficPercent 0"),
    ("promote --full", Verb.PROMOTE, lambda driver, endpoint: driver.complete(endpoint), (BEGUN, NAMED, TAKEN, GONE), "2 alone",
     "1 JSON Patch: the canary's name and model for the predictor's, the list removed"),
    ("rollback", Verb.ROLLBACK, lambda driver, endpoint: driver.roll_back(endpoint, Artifact("1")), (BEGUN, GONE), "1 alone",
     "1 JSON Patch: the list removed"),
)  # fmt: skip


@pytest.mark.parametrize(
    ("label", "verb", "planned", "native", "end", "writes"), CASES, ids=lambda case: str(case)[:24]
)
def test_each_verb_ends_where_a_patch_by_hand_ends_with_the_controller_played(
    plane: ControlPlane,
    verb_table: VerbTable,
    label: str,
    verb: Verb,
    planned: Callable[[Any, Endpoint], Any],
    native: tuple[Json, ...],
    end: str,
    writes: str,
) -> None:
    for name in ("fraud", "native"):
        _at_rest(plane, name)

    async def act(operator: Operator) -> Endpoint:
        await operator.until("fraud", lambda endpoint: endpoint.rollout.phase is Phase.COMPLETE)
        if planned is not _begin:
            await operator.do("fraud", Verb.PROMOTE, _begin)
            await operator.until("fraud", lambda endpoint: endpoint.rollout.phase is Phase.WAITING)
        await operator.do("fraud", verb, planned)
        for op in native:
            _by_hand(plane, op)
        await operator.until("fraud", lambda endpoint: _weights(endpoint) == end)
        await operator.until("native", lambda endpoint: _weights(endpoint) == end)
        return await operator.read("fraud")

    try:
        found = operated(plane.kubeconfig, PLACE, act)
        assert _spec(plane, "fraud") == _spec(plane, "native")
        assert found.rollout.phase in {Phase.WAITING, Phase.COMPLETE}
        verb_table.record(Row(WORKLOAD, label, writes, "kubectl patch --type json", f"Ready, {end}"))
    finally:
        for name in ("fraud", "native"):
            plane.api.delete(INFERENCE_SERVICES, PLACE, name)


def _weights(endpoint: Endpoint) -> str:
    serving = [(raw(one.version), one.weight_bp) for one in endpoint.variants]
    if len(serving) == 1:
        return f"{serving[0][0]} alone"
    return " + ".join(f"{version} {'?' if bp is None else f'{bp // 100}%'}" for version, bp in serving)
