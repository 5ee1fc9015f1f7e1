"""What the tests of Seldon share: its objects on permissive stand-ins of its definitions, and one who writes their status.

No Seldon runs. Each object gets the status that its operator would write (as the operator's source has it): a SeldonDeployment is
Available once every predictor's pods are ready and the Deployments of those that are gone are away; a Model is not ready while
another version of it is loaded; an Experiment is active while its Models are ready.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from tests.cluster.api import Api, Json, Kind
from tests.cluster.fixtures import Cluster
from tests.cluster.playing import playing

DEPLOYMENTS: Final = Kind("machinelearning.seldon.io/v1", "seldondeployments")
EXPERIMENTS: Final = Kind("mlops.seldon.io/v1alpha1", "experiments")
MODELS: Final = Kind("mlops.seldon.io/v1alpha1", "models")
_KINDS: Final = {"SeldonDeployment": DEPLOYMENTS, "Experiment": EXPERIMENTS, "Model": MODELS}
CRASHES: Final = "crash"
"""A version with this in its name never gets ready."""


def uri(version: str) -> str:
    return f"gs://models/iris/{version}"


def predictor(name: str, version: str, traffic: int | None = None, **more: Any) -> Json:
    graph = {"name": "classifier", "implementation": "SKLEARN_SERVER", "modelUri": uri(version)}
    found: Json = {"name": name, "replicas": 1, "graph": graph, **more}
    return found if traffic is None else {**found, "traffic": traffic}


def seldon_deployment(name: str, *predictors: Json) -> Json:
    return {
        "apiVersion": DEPLOYMENTS.group_version,
        "kind": "SeldonDeployment",
        "metadata": {"name": name},
        "spec": {"predictors": list(predictors)},
    }


def model(name: str, version: str) -> Json:
    return {
        "apiVersion": MODELS.group_version,
        "kind": "Model",
        "metadata": {"name": name},
        "spec": {"storageUri": uri(version), "requirements": ["sklearn"]},
    }


def experiment(name: str, weights: Mapping[str, int], *, default: str) -> Json:
    candidates = [{"name": one, "weight": weight} for one, weight in weights.items()]
    return {
        "apiVersion": EXPERIMENTS.group_version,
        "kind": "Experiment",
        "metadata": {"name": name},
        "spec": {"default": default, "candidates": candidates},
    }


@dataclass
class _Player:
    """Writes status as Seldon's operators would. `loading`: the generation of each Model that it said is being loaded."""

    api: Api
    namespace: str
    loading: dict[str, int] = field(default_factory=dict)
    loaded: dict[str, int] = field(default_factory=dict)

    def round(self) -> None:
        for item in self.api.items(DEPLOYMENTS, self.namespace):
            self._say(DEPLOYMENTS, item, _deployed(item))
        ready = {}
        for item in self.api.items(MODELS, self.namespace):
            status = self._model(item)
            ready[item["metadata"]["name"]] = status["conditions"][0]["status"] == "True"
            self._say(MODELS, item, status)
        for item in self.api.items(EXPERIMENTS, self.namespace):
            active = all(ready.get(one["name"]) for one in item["spec"]["candidates"])
            before = item.get("status", {}).get("conditions")
            self._say(EXPERIMENTS, item, {"conditions": [_condition("ExperimentReady", active, "", before)]})

    def _model(self, item: Json) -> Json:
        key, before = item["metadata"]["uid"], item.get("status", {}).get("conditions")
        replicas = item["spec"].get("replicas", 1)
        if self.loaded.get(key) != _asked(item):
            # It says that it is being loaded before it says that it is.
            told, self.loading[key] = self.loading.get(key), _asked(item)
            if told != _asked(item) or CRASHES in item["spec"]["storageUri"]:
                why = "failed to load" if CRASHES in item["spec"]["storageUri"] else "ModelProgressing"
                return {"replicas": replicas, "conditions": [_condition("ModelReady", False, why, before)]}
            self.loaded[key] = _asked(item)
        ready = [_condition("ModelReady", True, "", before)]
        return {"replicas": replicas, "availableReplicas": replicas, "conditions": ready}

    def _say(self, kind: Kind, item: Json, status: Json) -> None:
        if item.get("status") == status:
            return
        ops = [{"op": "add", "path": "/status", "value": status}]
        name = item["metadata"]["name"]
        self.api.patch(kind, self.namespace, name, ops, how="json", sub="status", manager="manager")


def _asked(item: Json) -> int:
    """What of a Model's spec makes it load: a note on it does not."""
    return hash(json.dumps(item["spec"], sort_keys=True))


def _condition(kind: str, holds: bool, reason: str, before: Sequence[Json] | None) -> Json:
    """It keeps its time while its status stays."""
    said = before[0] if before else {}
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    since = said["lastTransitionTime"] if said.get("status") == str(holds) else now
    return {"type": kind, "status": str(holds), "reason": reason, "lastTransitionTime": since}


def _deployed(item: Json) -> Json:
    name, predictors = item["metadata"]["name"], item["spec"]["predictors"]
    said: Json = {}
    for one in predictors:
        ready = CRASHES not in one["graph"]["modelUri"]
        replicas = one.get("replicas", 1)
        counts = {"replicas": replicas, **({"availableReplicas": replicas} if ready else {})}
        said[f"{name}-{one['name']}-0-classifier"] = counts
    available = all("availableReplicas" in one for one in said.values())
    if not available:
        # Those that are gone are taken away only once all others are ready.
        said |= {key: one for key, one in item.get("status", {}).get("deploymentStatus", {}).items() if key not in said}
    return {"state": "Available" if available else "Creating", "description": "", "deploymentStatus": said}


@contextmanager
def operators(api: Api, namespace: str) -> Iterator[None]:
    """For the block, whatever Seldon's operators look at in the namespace gets the status that they would write."""
    with playing(_Player(api, namespace).round, "seldon"):
        yield


@dataclass
class Bench:
    """Seldon's objects of one namespace, driven by kubectl alone."""

    cluster: Cluster
    namespace: str

    @property
    def api(self) -> Api:
        return self.cluster.api

    def apply(self, *manifests: Json) -> None:
        for item in manifests:
            self.api.call("POST", _KINDS[item["kind"]].path(self.namespace), item, fieldManager="kubectl")

    def get(self, kind: Kind, name: str) -> Json:
        return self.api.get(kind, self.namespace, name)

    def patch(self, kind: Kind, name: str, body: Json) -> None:
        """By kubectl, as somebody without our tool would."""
        resource = f"{kind.plural}.{kind.group_version.partition('/')[0]}"
        self.cluster.kubectl("patch", resource, name, "-n", self.namespace, "--type=merge", "-p", json.dumps(body))

    def wait(self, kind: Kind, name: str, condition: Callable[[Json], object]) -> Json:
        return self.api.wait(kind, self.namespace, name, condition, within_s=60.0)

    # --- Seldon Core 1

    def deployed(self, name: str, *predictors: Json) -> None:
        self.apply(seldon_deployment(name, *predictors))
        self.wait(DEPLOYMENTS, name, followed)

    def deployed_end(self, name: str) -> str:
        """Who gets what, and whether Seldon carried it out; names of predictors do not count."""
        item = self.get(DEPLOYMENTS, name)
        predictors = item["spec"]["predictors"]
        sharing = [one for one in predictors if not one.get("shadow")]
        shares = {version(one): one.get("traffic", 0) if len(sharing) > 1 else 100 for one in sharing}
        mirrored = [f"{version(one)} mirrored" for one in predictors if one.get("shadow")]
        idle = [f"{one} stands by" for one, share in shares.items() if not share]
        told = " + ".join(f"{one} {share}%" for one, share in sorted(shares.items()) if share)
        return ", ".join([item["status"]["state"], told, *idle, *mirrored]) if followed(item) else "not followed"

    # --- Seldon Core 2

    def split(self, name: str, first: int, second: int) -> None:
        """An Experiment between the Models NAME-a, version 1, its default, and NAME-b, version 2."""
        weights = {f"{name}-a": first, f"{name}-b": second}
        self.apply(model(f"{name}-a", "1"), model(f"{name}-b", "2"), experiment(name, weights, default=f"{name}-a"))
        self.wait(EXPERIMENTS, name, active)

    def split_end(self, name: str) -> str:
        """Who gets what, and what the Model of the default serves."""
        item = self.get(EXPERIMENTS, name)
        served = {one: self.served(one) for one in (f"{name}-a", f"{name}-b")}
        total = sum(one["weight"] for one in item["spec"]["candidates"])
        shares = [(served[one["name"]], 100 * one["weight"] // total) for one in item["spec"]["candidates"]]
        told = " + ".join(f"{one} {share}%" for one, share in shares if share)
        return f"{told}, {served[f'{name}-a']} on the default" if active(item) else "not active"

    def served(self, name: str) -> str:
        return str(self.get(MODELS, name)["spec"]["storageUri"]).rpartition("/")[2]


def version(item: Json) -> str:
    return str(item["graph"]["modelUri"]).rpartition("/")[2]


def followed(item: Json) -> bool:
    """Whether the status is what Seldon would write of the spec as it is."""
    return bool(item.get("status") == _deployed(item))


def active(item: Json) -> bool:
    conditions = item.get("status", {}).get("conditions") or ()
    return any(one["type"] == "ExperimentReady" and one["status"] == "True" for one in conditions)


def loaded(item: Json) -> bool:
    conditions = item.get("status", {}).get("conditions") or ()
    return any(one["type"] == "ModelReady" and one["status"] == "True" for one in conditions)
