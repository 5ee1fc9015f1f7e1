"""What the tests of KServe and Knative Services share: services in a given state, and the ends that two ways came to."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.cluster.api import (
    DEPLOYMENTS,
    INFERENCE_SERVICES,
    KNATIVE_REVISIONS,
    KNATIVE_SERVICES,
    Api,
    Json,
    Kind,
    holds,
    wait_for,
)
from tests.cluster.fixtures import Cluster
from tests.cluster.manifests import inference_service, knative_service

SOURCE: Final = "internal.serving.kserve.io/storage-initializer-sourceuri"
_READY_S: Final = 90.0


def uri(version: str) -> str:
    return f"s3://models/fraud/{version}"


def predictor(item: Json) -> Json:
    found: Json = item.get("status", {}).get("components", {}).get("predictor", {})
    return found


@dataclass
class Bench:
    """Services of one namespace, driven by kubectl alone."""

    cluster: Cluster
    namespace: str
    kind: Kind

    @property
    def api(self) -> Api:
        return self.cluster.api

    def get(self, name: str) -> Json:
        return self.api.get(self.kind, self.namespace, name)

    def wait(self, name: str, condition: Callable[[Json], object]) -> Json:
        return self.api.wait(self.kind, self.namespace, name, condition, within_s=_READY_S)

    def patch(self, name: str, body: Json) -> None:
        resource = f"{self.kind.plural}.{self.kind.group_version.partition('/')[0]}"
        self.cluster.kubectl("patch", resource, name, "-n", self.namespace, "--type=merge", "-p", json.dumps(body))

    def same_end(self, ours: str, native: str, end: Callable[[str], str]) -> str:
        """The end that both came to. AssertionError with both where they differ, or are still on their way."""
        seen: list[str] = []

        def look() -> str | None:
            seen[:] = [end(ours), end(native)]
            return seen[0] if seen[0] == seen[1] and not seen[0].startswith("not ") else None

        return wait_for(look, within_s=_READY_S, otherwise=lambda: " | ".join(seen))


class KnativeMode(Bench):
    """InferenceServices in Knative mode."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        super().__init__(cluster, namespace, INFERENCE_SERVICES)

    def revision(self, name: str) -> Json:
        return self.api.get(KNATIVE_REVISIONS, self.namespace, name)

    def at_rest(self, *names: str) -> None:
        self.cluster.kubectl.apply(
            *(inference_service(name, uri("1"), mode="Knative") for name in names), namespace=self.namespace
        )
        for name in names:
            self.wait(name, serves("1"))

    def in_canary(self, *names: str) -> None:
        self.at_rest(*names)
        for name in names:
            self.patch(name, spec(canaryTrafficPercent=10, model={"storageUri": uri("2")}))
        for name in names:
            self.wait(name, lambda item: settled(item) and weights(item) == [10, 90])

    def aborted(self, *names: str) -> None:
        self.in_canary(*names)
        for name in names:
            self.patch(name, spec(canaryTrafficPercent=0))
        for name in names:
            self.wait(name, lambda item: weights(item) == [0, 100])

    def promoted(self, *names: str) -> None:
        self.in_canary(*names)
        for name in names:
            self.patch(name, spec(canaryTrafficPercent=None))
        for name in names:
            self.wait(name, serves("2"))

    def promoted_twice(self, *names: str) -> None:
        self.promoted(*names)
        for name in names:
            self.patch(name, spec(model={"storageUri": uri("3")}))
        for name in names:
            self.wait(name, serves("3"))

    def back_by_kubectl(self, name: str, version: str = "1") -> None:
        """The way back by hand: nothing for the bad one, the old model, wait, the percent away."""
        self.patch(name, spec(canaryTrafficPercent=0))
        self.wait(name, lambda item: weights(item)[:1] == [0] and holds(item, "RoutesReady"))
        bad = predictor(self.get(name))["latestCreatedRevision"]
        self.patch(name, spec(model={"storageUri": uri(version)}))
        self.wait(name, lambda item: settled(item) and predictor(item)["latestCreatedRevision"] != bad)
        self.patch(name, spec(canaryTrafficPercent=None))
        self.wait(name, serves(version))

    def end(self, name: str) -> str:
        """What counts of the end, in words: what serves with which share, and what the spec says."""
        item = self.get(name)
        shares: dict[str, int] = {}
        for entry in predictor(item).get("traffic", ()):
            version = self.version(entry["revisionName"])
            shares[version] = shares.get(version, 0) + entry.get("percent", 0)
        told = " + ".join(f"{version} {share}%" for version, share in sorted(shares.items()))
        stable = self.version(predictor(item)["latestRolledoutRevision"])
        wanted = item["spec"]["predictor"]
        percent = f", canaryTrafficPercent {wanted['canaryTrafficPercent']}" if "canaryTrafficPercent" in wanted else ""
        ready = "Ready" if settled(item) and holds(item, "Ready") else "not Ready"
        newest = self.revision(predictor(item)["latestCreatedRevision"])
        least = newest["metadata"]["annotations"].get("autoscaling.knative.dev/min-scale")
        model = wanted["model"]["storageUri"].rpartition("/")[2]
        extra = f", at least {least} pods" if least != "1" else ""
        return f"{ready}, {told}, stable {stable}, model {model} in the spec{percent}{extra}"

    def version(self, revision: str) -> str:
        """The version of a Revision, by what it fetches."""
        found: str = self.revision(revision)["metadata"]["annotations"][SOURCE]
        return found.rpartition("/")[2]

    def revisions(self, name: str) -> int:
        return len(
            self.api.items(KNATIVE_REVISIONS, self.namespace, selector=f"serving.kserve.io/inferenceservice={name}")
        )


class StandardMode(Bench):
    """InferenceServices in Standard mode."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        super().__init__(cluster, namespace, INFERENCE_SERVICES)

    def at_rest(self, *names: str) -> None:
        self.cluster.kubectl.apply(*(inference_service(name, uri("1")) for name in names), namespace=self.namespace)
        for name in names:
            self.rolled_out(name, "1")

    def promoted(self, *names: str) -> None:
        self.at_rest(*names)
        for name in names:
            self.patch(name, spec(model={"storageUri": uri("2")}))
        for name in names:
            self.rolled_out(name, "2")

    def rolled_out(self, name: str, version: str) -> None:
        def condition(item: Json) -> bool:
            status = item.get("status", {})
            template = item["spec"]["template"]["metadata"]["annotations"]
            numbers = {status.get(key) for key in ("replicas", "updatedReplicas", "availableReplicas")}
            seen = status.get("observedGeneration") == item["metadata"]["generation"]
            return bool(seen and template.get(SOURCE) == uri(version) and numbers == {item["spec"]["replicas"]})

        self.api.wait(DEPLOYMENTS, self.namespace, f"{name}-predictor", condition, within_s=_READY_S)

    def end(self, name: str) -> str:
        item = self.get(name)
        deployment = self.api.get(DEPLOYMENTS, self.namespace, f"{name}-predictor")
        status, template = deployment["status"], deployment["spec"]["template"]["metadata"]["annotations"]
        wanted = item["spec"]["predictor"]
        model = wanted["model"]["storageUri"].rpartition("/")[2]
        counts = f"{status.get('availableReplicas', 0)} of {status.get('replicas', 0)} pods"
        least = f", at least {wanted['minReplicas']} pods" if wanted["minReplicas"] != 1 else ""
        if least:
            # The autoscaler raises them a quarter of a minute later.
            counts = "pods"
        ready = "Ready" if holds(item, "Ready") else "not Ready"
        return f"{ready}, {counts} on {template[SOURCE].rpartition('/')[2]}, model {model} in the spec{least}"


class Services(Bench):
    """Knative Services."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        super().__init__(cluster, namespace, KNATIVE_SERVICES)

    def at_rest(self, *names: str) -> None:
        self.cluster.kubectl.apply(*(knative_service(name) for name in names), namespace=self.namespace)
        for name in names:
            self.wait(name, lambda item: up(item) and shares(item) == [100])

    def in_canary(self, *names: str) -> None:
        self.at_rest(*names)
        for name in names:
            self.patch(
                name, {"spec": {**template("2"), "traffic": split(f"{name}-00001", f"{name}-00002", 10, latest=True)}}
            )
        for name in names:
            self.wait(name, lambda item: up(item) and shares(item) == [90, 10] and latest(item).endswith("-00002"))

    def promoted(self, *names: str) -> None:
        self.in_canary(*names)
        for name in names:
            self.patch(name, {"spec": {"traffic": [{"revisionName": f"{name}-00002", "percent": 100}]}})
        for name in names:
            self.wait(name, lambda item: up(item) and shares(item) == [100])

    def end(self, name: str) -> str:
        item = self.get(name)
        found: dict[str, int] = {}
        for entry in item["status"].get("traffic", ()):
            number = str(int(entry["revisionName"].rpartition("-")[2]))
            found[number] = found.get(number, 0) + entry.get("percent", 0)
        told = " + ".join(f"{number} {share}%" for number, share in sorted(found.items()) if share)
        return f"{'Ready' if up(item) else 'not Ready'}, {told}"


def spec(**values: object) -> Json:
    return {"spec": {"predictor": values}}


def template(version: str) -> Json:
    return {"template": {"spec": {"containers": [{"image": f"registry.example/fraud:{version}"}]}}}


def split(stable: str, canary: str, percent: int, *, latest: bool = False) -> list[Json]:
    second: Json = {"latestRevision": True} if latest else {"revisionName": canary}
    return [
        {"revisionName": stable, "percent": 100 - percent, "tag": "stable"},
        {**second, "percent": percent, "tag": "canary"},
    ]


def settled(item: Json) -> bool:
    return bool(predictor(item).get("latestCreatedRevision") == predictor(item).get("latestReadyRevision"))


def weights(item: Json) -> list[int]:
    return [entry.get("percent", 0) for entry in predictor(item).get("traffic", ())]


def serves(version: str) -> Callable[[Json], bool]:
    """Whether it is Ready and at rest, with this model in its spec and a new enough revision serving everything."""

    def condition(item: Json) -> bool:
        found = predictor(item)
        return (
            holds(item, "Ready")
            and settled(item)
            and weights(item) == [100]
            and found.get("latestRolledoutRevision") == found.get("latestReadyRevision")
            and int(found["latestReadyRevision"].rpartition("-")[2]) >= int(version)
            and item["spec"]["predictor"]["model"]["storageUri"] == uri(version)
        )

    return condition


def up(item: Json) -> bool:
    status = item.get("status", {})
    return bool(status.get("observedGeneration") == item["metadata"]["generation"] and holds(item, "Ready"))


def shares(item: Json) -> list[int]:
    return [entry.get("percent", 0) for entry in item.get("status", {}).get("traffic", ())]


def latest(item: Json) -> str:
    return str(item.get("status", {}).get("latestReadyRevisionName", ""))
