"""What the tests of Flagger share: Canaries in a given state, many at once, Flagger's clock, and the ends that two ways came to.

A Canary here is looked at every ten minutes, which is longer than a test: every look is asked for, by another interval, so that a
Canary stands still where a test wants it to. Flagger takes up ten such changes a second, of all Canaries together: more than that
wait in a queue.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.cluster.api import CANARIES, DEPLOYMENTS, HTTP_ROUTES, REPLICA_SETS, Api, Json, Kubectl, wait_for
from tests.cluster.manifests import PODS_BEHAVE, canary, deployment, gateway

LOOK_S: Final = 0.7
"""Seconds between two looks that are asked for: more than two rounds of Flagger's loop."""
LONG_S: Final = 120.0
_INTERVALS: Final = {"600s": "601s"}


class _Queue:
    """Flagger's own, of changes that it has yet to take up: none of ours is to wait there, or two would count as none."""

    def __init__(self, at_once: int = 40, a_second: float = 9.5) -> None:
        self._free, self._most, self._a_second = float(at_once), float(at_once), a_second
        self._seen, self._lock = time.monotonic(), threading.Lock()

    def enter(self) -> None:
        """Wait until there is room."""
        with self._lock:
            now = time.monotonic()
            self._free = min(self._most, self._free + (now - self._seen) * self._a_second) - 1
            self._seen = now
            behind = max(0.0, -self._free / self._a_second)
        time.sleep(behind)


_QUEUE: Final = _Queue()


def image(version: str) -> str:
    return f"registry.example/fraud:{version}"


def phase(item: Json) -> str:
    return str(item.get("status", {}).get("phase", ""))


def version_of(item: Json) -> str:
    """The version in a Deployment's template, by its image."""
    return str(item["spec"]["template"]["spec"]["containers"][0]["image"]).rpartition(":")[2]


@dataclass
class Bench:
    """Canaries of one namespace, driven by kubectl alone."""

    api: Api
    kubectl: Kubectl
    namespace: str

    # --- Flagger's clock

    def look(self, *names: str) -> None:
        """Flagger looks once at each of them, soon."""
        for name in names:
            _QUEUE.enter()
            spec = self.get(name)["spec"]["analysis"]
            other = _INTERVALS.get(spec["interval"], "600s")
            # Under its own name: nobody is to be taken for another hand on the Canary.
            body = {"spec": {"analysis": {"interval": other}}}
            self.api.patch(CANARIES, self.namespace, name, body, manager="flagger")

    def until(self, condition: Callable[[Json], object], *names: str) -> None:
        """Flagger looks at each of them until its Canary is so."""
        deadline = time.monotonic() + LONG_S
        left = list(names)
        while left := [name for name in left if not condition(self.get(name))]:
            assert time.monotonic() < deadline, [(name, self.get(name).get("status")) for name in left]
            self.look(*left)
            self._wait(condition, left)

    def _wait(self, condition: Callable[[Json], object], names: list[str]) -> None:
        deadline = time.monotonic() + LOOK_S
        while time.monotonic() < deadline and not all(condition(self.get(name)) for name in names):
            time.sleep(0.1)

    def reach(self, wanted: str, *names: str) -> None:
        self.until(lambda item: phase(item) == wanted, *names)

    @contextlib.contextmanager
    def looking(self, *names: str) -> Iterator[None]:
        """Flagger looks at them again and again for the block."""
        over = threading.Event()

        def look() -> None:
            while not over.wait(LOOK_S):
                self.look(*names)

        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(30)

    # --- objects

    def get(self, name: str) -> Json:
        return self.api.get(CANARIES, self.namespace, name)

    def deployment(self, name: str) -> Json:
        return self.api.get(DEPLOYMENTS, self.namespace, name)

    def route(self, name: str) -> Json | None:
        return self.api.find(HTTP_ROUTES, self.namespace, name)

    def weight(self, name: str) -> int:
        """The canary's weight in the route."""
        route = self.route(name)
        assert route is not None
        return int(route["spec"]["rules"][0]["backendRefs"][1]["weight"])

    def patch(self, name: str, body: object, *, sub: str = "") -> None:
        words = ["patch", "canaries.flagger.app", name, "-n", self.namespace, "--type=merge", "-p", json.dumps(body)]
        self.kubectl(*words, *([f"--subresource={sub}"] if sub else []))

    def weigh(self, name: str, percent: int) -> None:
        """The route by hand."""
        ops = [
            {"op": "replace", "path": f"/spec/rules/0/backendRefs/{index}/weight", "value": weight}
            for index, weight in enumerate((100 - percent, percent))
        ]
        self.kubectl("patch", "httproutes", name, "-n", self.namespace, "--type=json", "-p", json.dumps(ops))

    def on_deployment(self, *words: str) -> None:
        """kubectl on a Deployment: `rollout undo deployment/fraud`, `set image …`."""
        self.kubectl(*words, "-n", self.namespace)

    def release(self, *names: str, version: str = "2", **template: Any) -> None:
        for name in names:
            self.on_deployment("set", "image", f"deployment/{name}", f"model={image(version)}")

    # --- states

    def made(self, *names: str, replicas: int = 1, **spec: Any) -> None:
        """Canaries that Flagger has yet to look at."""
        analysis = {"interval": "600s", **spec.pop("analysis", {})}
        found: list[Mapping[str, Any]] = [gateway()]
        for name in names:
            target = deployment(name, image("1"), replicas=replicas, annotations={"mlrelease.dev/model": "fraud"})
            definition = canary(name, analysis=analysis, **spec)
            if "iterations" in analysis:
                for step in ("stepWeight", "maxWeight"):
                    definition["spec"]["analysis"].pop(step, None)
            found += [target, definition]
        self.kubectl.apply(*found, namespace=self.namespace)

    def at_rest(self, *names: str, **spec: Any) -> None:
        self.made(*names, **spec)
        self.reach("Initialized", *names)

    def released(self, *names: str, version: str = "2") -> None:
        """At 20 % of a new version; where there are iterations, in the first of them."""
        self.release(*names, version=version)
        self.until(begun, *names)

    def held(self, *names: str) -> None:
        for name in names:
            self.patch(name, {"spec": {"suspend": True}})

    def failed(self, *names: str) -> None:
        for name in names:
            self.patch(name, {"status": {"failedChecks": 1000}}, sub="status")
        self.reach("Failed", *names)

    def promoted(self, *names: str) -> None:
        for name in names:
            self.patch(name, {"spec": {"skipAnalysis": True}})
        self.reach("Succeeded", *names)
        for name in names:
            self.patch(name, {"spec": {"skipAnalysis": None}})
        for name in names:
            self.rolled_out(f"{name}-primary")

    def promoting(self, *names: str) -> None:
        self.reach("Promoting", *names)

    def broken(self, *names: str) -> None:
        """A promotion to version 2 whose primary never gets ready: 1.44 sends everything to the canary. Of Canaries that do not
        wait for their target (`canaryReadyThreshold` 0)."""
        template = {"metadata": {"labels": {PODS_BEHAVE: "never-ready"}}}
        for name in names:
            body = {
                "spec": {"template": {**template, "spec": {"containers": [{"name": "model", "image": image("2")}]}}}
            }
            self.on_deployment("patch", "deployment", name, "-p", json.dumps(body))
        self.promoting(*names)
        for name in names:
            short = {"spec": {"progressDeadlineSeconds": 1}}
            self.api.patch(DEPLOYMENTS, self.namespace, f"{name}-primary", short, manager="flagger")
        self.reach("Failed", *names)

    def rolled_out(self, name: str) -> Json:
        def condition(item: Json) -> bool:
            status, wanted = item.get("status", {}), item["spec"]["replicas"]
            numbers = {status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")}
            return bool(status.get("observedGeneration") == item["metadata"]["generation"] and numbers == {wanted})

        return self.api.wait(DEPLOYMENTS, self.namespace, name, condition, within_s=LONG_S)

    # --- ends

    def end(self, name: str) -> str:
        """What counts of the end, in words: what serves with which share, and what is left."""
        item, target, primary = self.get(name), self.deployment(name), self.deployment(f"{name}-primary")
        ready = primary["status"].get("availableReplicas", 0)
        rolled = primary["status"].get("updatedReplicas") == primary["status"].get("replicas") == ready
        told = [phase(item)]
        route = self.route(name)
        shares = [f"{version_of(primary)} {100 - self.weight(name)}%" if route else version_of(primary)]
        if route and self.weight(name):
            shares.append(f"{version_of(target)} {self.weight(name)}%")
        told.append(" + ".join(shares) if rolled else "not rolled out")
        told.append(f"{ready} pod{'s' if ready != 1 else ''} in the primary")
        told.append(f"{version_of(target)} in the target")
        told += [
            word for word, key in (("suspended", "suspend"), ("unjudged", "skipAnalysis")) if item["spec"].get(key)
        ]
        return ", ".join(told)

    def same_end(self, ours: str, native: str, end: str) -> None:
        """AssertionError with both where they are not at this end."""
        seen: list[str] = []

        def look() -> bool:
            seen[:] = [self.end(ours), self.end(native)]
            return seen == [end, end]

        wait_for(look, within_s=LONG_S, otherwise=lambda: f"{seen}, not {end}")

    def sets(self, name: str) -> list[Json]:
        """The ReplicaSets of a target."""
        return self.api.items(REPLICA_SETS, self.namespace, selector=f"app={name}")


def begun(item: Json) -> bool:
    status = item.get("status", {})
    return phase(item) == "Progressing" and (status.get("canaryWeight", 0) >= 20 or status.get("iterations", 0) >= 1)
