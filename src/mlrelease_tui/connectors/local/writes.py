"""Building a plan's writes one after another, each on the state that the one before leaves. Pure.

Generations follow from that: the k-th write of the route expects the generation that the plan was read at plus k, so that
a plan which was overtaken fails at its next write, whoever overtook it.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from mlrelease_tui.connectors.local.definitions import DEFAULT_NAMESPACE
from mlrelease_tui.connectors.local.desired import WantedProcess
from mlrelease_tui.connectors.local.documents import canonical
from mlrelease_tui.connectors.local.layout import Layout
from mlrelease_tui.domain.expectation import EndpointExpectation, percent
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP, Endpoint, Role, Variant
from mlrelease_tui.domain.text import SafeText, raw
from mlrelease_tui.errors import Refused
from mlrelease_tui.routing.traefik_directory import FILE_NAME

ROUTE: Final = "route"
PROCESSES: Final = "processes"
AWAIT_READY: Final = "await_ready"
DRAIN: Final = "drain"

READY_WAIT_S: Final = 120.0
"""How long a step waits for a new process to be healthy, at most."""
DRAIN_WAIT_S: Final = 75.0
"""How long a step waits for requests in flight: longer than the router lets any request last."""
_ROUTE_SETTLE_S: Final = 5.0
_PROCESS_SETTLE_S: Final = 30.0

_REVISION = re.compile(r"route (\d+), processes (\d+)")
Mirror = tuple[str, int]
"""Variant name, and the whole percentage of requests that is mirrored to it."""


def revision_of(route_generation: int, process_generation: int) -> str:
    return f"route {route_generation}, processes {process_generation}"


def artifact_label(version: str) -> str:
    """The label by which an endpoint says where a version is loaded from."""
    return f"artifact/{version}"


@dataclass(frozen=True, slots=True)
class Split:
    """Who gets what: weights in basis points by variant name, in order."""

    weights: tuple[tuple[str, int], ...]
    mirror: Mirror | None = None

    def words(self) -> str:
        """ "v2 90% + v3 10%"; versions without traffic are not named, unless none has any."""
        shown = [f"{name} {percent(weight)}" for name, weight in self.weights if weight]
        mirrored = f", {self.mirror[0]} mirrored {self.mirror[1]}%" if self.mirror else ""
        return (" + ".join(shown) or "no route") + mirrored

    def expected(self) -> tuple[tuple[str, int], ...]:
        """As an endpoint shows it: a shadow's weight is the share that is mirrored to it."""
        shadow = dict([self.mirror]) if self.mirror else {}
        return tuple((name, shadow[name] * 100 if name in shadow else weight) for name, weight in self.weights)


class PlanBuilder:
    """The endpoint as it will be after the writes so far, and these writes. Refused where the endpoint can't be read."""

    def __init__(self, layout: Layout, endpoint: Endpoint) -> None:
        found = _REVISION.fullmatch(endpoint.revision)
        if found is None:
            problem = "; ".join(endpoint.problems) or endpoint.revision
            raise Refused(
                f"{endpoint.ref.name} can't be changed while its route can't be read: {problem}",
                hint="mend what the problem names, then read again",
            )
        self._layout = layout
        self.endpoint = endpoint
        self.route_generation, self.process_generation = int(found[1]), int(found[2])
        if self.route_generation and endpoint.stable and endpoint.stable.weight_bp is None:
            raise Refused(
                f"{endpoint.ref.name} can't be changed while the router does not show what it runs: "
                + "; ".join(endpoint.problems),
                hint="look at the router; read again once it answers",
            )
        self.versions = {variant.name: raw(variant.version) for variant in endpoint.variants}
        self.split = _split_of(endpoint)
        self.running = [variant.name for variant in endpoint.variants if variant.desired]
        self.stable = endpoint.stable.name if endpoint.stable else ""
        self.canary = endpoint.canary.name if endpoint.canary else ""
        self.step_index = endpoint.rollout.step_index
        self.held = endpoint.rollout.hold is not None
        self._sources: dict[str, WantedProcess] = {}
        self._writes: list[Write] = []

    @property
    def writes(self) -> tuple[Write, ...]:
        return tuple(self._writes)

    @property
    def routed(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.split.weights)

    def weight(self, name: str) -> int:
        return dict(self.split.weights).get(name, 0)

    def start_process(self, name: str, wanted: WantedProcess) -> None:
        # A turn of its own tells it apart from a process of this name that ran before, and may still be the last that was seen.
        wanted = replace(wanted, turn=self.process_generation + 1)
        source = f" from {SafeText(wanted.artifact)}" if wanted.artifact else ""
        self.versions[name] = wanted.version
        self._sources[name] = wanted
        self._processes(
            {"add": {name: asdict(wanted)}},
            f"add process {name} (version {SafeText(wanted.version)}{source})",
            after=[*self.running, name],
            undo=f"remove process {name}",
            program=f".endpoints[$key].processes[{json.dumps(name)}] = {json.dumps(asdict(wanted))}",
        )

    def stop_processes(self, names: Sequence[str]) -> None:
        self._processes(
            {"remove": sorted(names)},
            f"remove {_listed('process', names)}",
            after=[name for name in self.running if name not in names],
            undo=f"start {_listed('version', [SafeText(self.versions[name]) for name in names])} again",
            program="; ".join(f"del(.endpoints[$key].processes[{json.dumps(name)}])" for name in names).replace(
                "; ", " | "
            ),
        )

    def restart_process(self, name: str) -> None:
        self._processes(
            {"restart": [name]},
            f"restart process {name}",
            after=self.running,
            undo="",
            note="; its requests fail until it is healthy" if self.weight(name) else "",
            program=f".endpoints[$key].processes[{json.dumps(name)}].turn += 1",
        )

    def await_ready(self, name: str) -> None:
        self._wait(
            AWAIT_READY,
            {"name": name},
            call=f"wait until process {name} passes its health check",
            before=f"{name} starts",
            after=f"{name} is healthy",
            precondition=f"process {name} is wanted",
            settle_s=READY_WAIT_S,
            healthy=(SafeText(self.versions[name]),),
        )

    def drain(self, name: str) -> None:
        pages = [item.url for v in self.endpoint.variants if v.name == name for item in v.series if item.url]
        self._wait(
            DRAIN,
            {"name": name, "route": self._route},
            call=f"wait until {name} has no request in flight",
            before=f"{name} may have requests in flight",
            after=f"{name} has none",
            precondition=f"the router sends {name} no requests",
            settle_s=DRAIN_WAIT_S,
            shell=f"curl -fsS {shlex.quote(pages[0])} | grep in_flight" if pages else "",
        )

    def write_route(
        self,
        weights: Mapping[str, int],
        change: Mapping[str, Any],
        *,
        stable: str = "",
        mirror: Mirror | None = None,
        words: str = "",
    ) -> None:
        """One write of the route. `weights` names every version that it shall have; `change` is what becomes of the shared
        state (see `ReleaseState.changed`); `mirror` None ends a shadow; `words` say what the weights don't."""
        before, assumes = self.split, self._expectation()
        generation = self.route_generation
        after = Split(tuple(weights.items()), mirror)
        stable = stable or self.stable
        payload = {
            **self._identity(),
            "route": self._route,
            "expect": generation,
            "stable": stable,
            "weights": [list(pair) for pair in after.weights],
            "mirror": list(mirror) if mirror else None,
            "versions": {name: self._known(name) for name in weights},
            "before": before.words(),
            "change": dict(change),
        }
        self.split, self.stable, self.route_generation = after, stable, generation + 1
        self.canary = change.get("canary", self.canary)
        self.step_index = change.get("step_index", self.step_index)
        self.held = change.get("held", self.held)
        note = f" ({words})" if words else ""
        self._writes.append(
            Write(
                connection=self.endpoint.ref.connection,
                operation=ROUTE,
                target=f"route {self._route}",
                call=f"write route {self._route} in {FILE_NAME}: {after.words()}{note}, "
                f"generation {generation} → {generation + 1}",
                payload=canonical(payload),
                before=before.words(),
                after=after.words() + note,
                precondition=f"route {self._route} is at generation {generation}"
                if generation
                else f"there is no route {self._route}",
                undo=f"write {before.words()} back" if before.weights else "",
                assumes=assumes,
                expects=self._expectation(),
                shell=self._route_shell(before, after),
                settle_s=_ROUTE_SETTLE_S,
            )
        )

    @property
    def _route(self) -> str:
        ref = self.endpoint.ref
        name, namespace = raw(ref.name), raw(ref.namespace)
        return name if namespace == DEFAULT_NAMESPACE else f"{namespace}.{name}"

    def _identity(self) -> dict[str, Any]:
        ref = self.endpoint.ref
        return {"endpoint": f"{raw(ref.namespace)}/{raw(ref.name)}", "uid": self.endpoint.uid}

    def _known(self, name: str) -> dict[str, str]:
        version = self.versions[name]
        if started := self._sources.get(name):
            return {"version": version, "artifact": started.artifact, "digest": started.digest}
        variant = next((item for item in self.endpoint.variants if item.name == name), None)
        source = self.endpoint.labels.get(artifact_label(version), "")
        return {"version": version, "artifact": raw(source), "digest": variant.digest if variant else ""}

    def _expectation(self) -> EndpointExpectation:
        version = SafeText(self.versions.get(self.stable, "none"))
        return EndpointExpectation(
            endpoint=self.endpoint.ref,
            uid=self.endpoint.uid,
            weights=self.split.expected() or None,
            present=tuple(sorted({*self.running, *self.routed})),
            stable_version=version if self.split.weights else None,
            held=self.held,
            step_index=self.step_index if self.canary else None,
        )

    def _processes(
        self, payload: Mapping[str, Any], words: str, *, after: Sequence[str], undo: str, program: str, note: str = ""
    ) -> None:
        assumes, generation = self._expectation(), self.process_generation
        before = list(self.running)
        gone = tuple(sorted(set(before) - set(after)))
        self.running, self.process_generation = list(after), generation + 1
        expects = self._expectation()
        if gone:
            expects = replace(expects, absent=gone)
        key = self._identity()["endpoint"]
        program += " | .endpoints[$key].generation += 1"
        self._writes.append(
            Write(
                connection=self.endpoint.ref.connection,
                operation=PROCESSES,
                target=f"processes of {key}",
                call=f"{words} of {key} in {self._layout.desired.name}, generation {generation} → {generation + 1}{note}",
                payload=canonical({**self._identity(), "expect": generation, **payload}),
                before=_listed("process", before),
                after=_listed("process", list(after)),
                precondition=f"the processes of {key} are at generation {generation}",
                undo=undo,
                assumes=assumes,
                expects=expects,
                shell=_edit(str(self._layout.desired), program, f"--arg key {shlex.quote(key)}"),
                settle_s=_PROCESS_SETTLE_S,
            )
        )

    def _wait(
        self,
        operation: str,
        payload: Mapping[str, Any],
        *,
        call: str,
        before: str,
        after: str,
        precondition: str,
        settle_s: float,
        healthy: tuple[str, ...] = (),
        shell: str = "",
    ) -> None:
        now = self._expectation()
        self._writes.append(
            Write(
                connection=self.endpoint.ref.connection,
                operation=operation,
                target=self._identity()["endpoint"],
                call=call,
                payload=canonical({**self._identity(), **payload}),
                before=before,
                after=after,
                precondition=precondition,
                undo="",
                assumes=now,
                expects=replace(now, ready=healthy),
                shell=shell,
                mutates=False,
                settle_s=settle_s,
            )
        )

    def _route_shell(self, before: Split, after: Split) -> str:
        """The weights alone: what counts in an emergency. The tool will call it an edit by another hand, which it is."""
        if not before.weights:
            return ""
        wanted = {f"{self._route}--{name}": weight for name, weight in after.weights}
        program = (
            f".http.services[{json.dumps(self._route)}].weighted.services |= "
            f"map(.weight = ({json.dumps(wanted)}[.name] // 0))"
        )
        return _edit(str(self._layout.routes / FILE_NAME), program, "")


def _edit(path: str, program: str, arguments: str) -> str:
    """One line of shell that edits a JSON document by rename, so that no reader sees half of it."""
    scratch = shlex.quote(f"{path}.new")
    return (
        " ".join(
            part
            for part in ("jq", arguments, shlex.quote(program), shlex.quote(path), ">", scratch, "&& mv", scratch)
            if part
        )
        + f" {shlex.quote(path)}"
    )


def _split_of(endpoint: Endpoint) -> Split:
    weights: list[tuple[str, int]] = []
    mirror: Mirror | None = None
    for variant in endpoint.variants:
        if variant.weight_bp is None:
            continue
        if variant.role is Role.SHADOW:
            weights.append((variant.name, 0))
            mirror = (variant.name, variant.weight_bp // 100)
        else:
            weights.append((variant.name, variant.weight_bp))
    return Split(tuple(weights), mirror)


def all_to(name: str, names: Iterable[str]) -> dict[str, int]:
    """All traffic to one of `names`."""
    return {item: ALL_TRAFFIC_BP if item == name else 0 for item in dict.fromkeys([*names, name])}


def _listed(noun: str, names: Sequence[str]) -> str:
    if not names:
        return f"no {noun}"
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{noun if len(names) == 1 else plural} {', '.join(sorted(names))}"


def ready(variant: Variant) -> bool:
    return bool(variant.ready)
