"""A local endpoint without a process: planned writes take effect on documents in memory, and every process is healthy at once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

from mlrelease_tui.connectors.local.definitions import EndpointDefinition
from mlrelease_tui.connectors.local.desired import Mark, WantedEndpoint, WantedProcess
from mlrelease_tui.connectors.local.effects import processes_after, route_after
from mlrelease_tui.connectors.local.layout import Layout
from mlrelease_tui.connectors.local.observed import ObservedProcess, ProcessState, Supervision
from mlrelease_tui.connectors.local.reading import Reading, endpoint_of
from mlrelease_tui.connectors.local.writes import PROCESSES, ROUTE
from mlrelease_tui.domain.expectation import EndpointExpectation, endpoint_mismatches
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.routing.api import Observed, TrafficPlan
from mlrelease_tui.routing.traefik_process import TraefikAddresses

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LAYOUT = Layout(Path("/srv/endpoints"))
DEFINITION = EndpointDefinition(
    name="iris", command=("serve", "{port}"), model="registry/iris", alias="champion", uid="0" * 32
)
MARK = Mark("intent-1", "promote", "anna", "a test", "2026-03-01T12:00:00+00:00", "w")


def running(version: str, port: int = 9_000, **changes: object) -> ObservedProcess:
    process = ObservedProcess(version, ProcessState.READY, pid=port, started=1, port=port, since=NOON.isoformat())
    return replace(process, **changes)  # type: ignore[arg-type]


@dataclass
class LocalModel:
    """`processes` None: each wanted process is healthy. Otherwise exactly these are seen."""

    plan: TrafficPlan | None = None
    wanted: Mapping[str, WantedProcess] = field(default_factory=dict)
    generation: int = 0
    mark: Mark = field(default_factory=Mark)
    processes: Mapping[str, ObservedProcess] | None = None
    alive: bool = True
    drift: str = ""
    error: str = ""
    definition: EndpointDefinition = DEFINITION

    def read(self) -> Endpoint:
        seen = self.processes
        if seen is None:
            seen = {name: running(item.version, turn=item.turn) for name, item in self.wanted.items()}
        generation = self.plan.generation if self.plan else 0
        observed = Observed("iris", self.plan, generation, generation, {}, self.drift, self.error, NOON)
        reading = Reading(
            connection="here",
            environment="staging",
            definition=self.definition,
            wanted=WantedEndpoint(self.generation, self.wanted, self.mark),
            supervision=Supervision(
                self.alive, 1, "", running("", 1), MappingProxyType({self.definition.key: dict(seen)})
            ),
            observed=observed,
            addresses=TraefikAddresses(8_000, 8_001),
            labels=lambda route, name, mirrored: {"service": f"{route}--{name}{'--shadow' * mirrored}@file"},
            now=NOON,
        )
        return endpoint_of(reading, LAYOUT)

    def make(self, write: Write, mark: Mark = MARK) -> None:
        """One write, with what it assumes and expects looked at, and the rules of the router and the supervisor."""
        assert isinstance(write.assumes, EndpointExpectation)
        assert isinstance(write.expects, EndpointExpectation)
        assert endpoint_mismatches(write.assumes, self.read()) == (), write.call
        payload = json.loads(write.payload)
        if write.operation == ROUTE:
            self._write_route(payload, mark)
        elif write.operation == PROCESSES:
            assert payload["expect"] == self.generation
            routed = {version.name for version in self.plan.versions} if self.plan else set()
            assert not routed & set(payload.get("remove", ())), "a routed process is never stopped"
            self.wanted = processes_after(payload, self.wanted)
            self.generation += 1
            self.mark = mark
        else:
            assert not write.mutates
        assert endpoint_mismatches(write.expects, self.read()) == (), write.call

    def make_all(self, writes: tuple[Write, ...], mark: Mark = MARK) -> None:
        for write in writes:
            self.make(write, mark)

    def _write_route(self, payload: Mapping[str, object], mark: Mark) -> None:
        before = self.plan
        generation = before.generation if before else 0
        assert payload["expect"] == generation
        plan = route_after(payload, mark, before, lambda name: f"http://127.0.0.1:{len(name)}", "/health")
        self.plan = replace(plan, generation=generation + 1)
        names = {version.name for version in plan.versions}
        assert sum(version.weight_bp for version in plan.versions) == 10_000
        assert plan.stable in names
        assert plan.receiving() <= set(self.wanted), "requests only reach what runs"
        for version in before.versions if before else ():
            assert version.name in names or version.name not in (before.receiving() if before else ()), "never removed"
