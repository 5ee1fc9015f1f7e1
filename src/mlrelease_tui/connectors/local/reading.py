"""From the documents of a directory and the router's answer to one endpoint, as the rest of the program knows it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType

from mlrelease_tui.connectors.local.definitions import EndpointDefinition
from mlrelease_tui.connectors.local.desired import Mark, WantedEndpoint
from mlrelease_tui.connectors.local.layout import Layout
from mlrelease_tui.connectors.local.observed import ObservedProcess, ProcessState, Supervision, halted_words
from mlrelease_tui.connectors.local.release_state import (
    KnownVersion,
    ReleaseState,
    hold_of,
    stamp_of,
    state_from_json,
    time_of,
)
from mlrelease_tui.connectors.local.verbs import verbs_of
from mlrelease_tui.connectors.local.writes import artifact_label, revision_of
from mlrelease_tui.domain.expectation import percent
from mlrelease_tui.domain.refs import EndpointRef, ModelRef
from mlrelease_tui.domain.rollout import (
    BindingSource,
    Endpoint,
    Native,
    Phase,
    Role,
    Rollout,
    SeriesSelector,
    Step,
    Strategy,
    Variant,
    Verb,
)
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import UnexpectedAnswer
from mlrelease_tui.routing.api import Observed, TrafficPlan
from mlrelease_tui.routing.traefik_process import TraefikAddresses

MetricLabels = Callable[[str, str, bool], Mapping[str, str]]
"""Route, variant name, whether it is mirrored to → the labels of the router's own series."""


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything that was read of one endpoint. `labels` as the router names its series."""

    connection: str
    environment: str
    definition: EndpointDefinition
    wanted: WantedEndpoint
    supervision: Supervision
    observed: Observed
    addresses: TraefikAddresses | None
    labels: MetricLabels
    now: datetime


def endpoint_of(reading: Reading, layout: Layout) -> Endpoint:
    """The endpoint, with what can be done to it: each verb's planner is asked, so that keys and plans agree."""
    view = _View(reading)
    endpoint = view.endpoint()
    return replace(endpoint, verbs=verbs_of(endpoint, layout))


class _View:
    def __init__(self, reading: Reading) -> None:
        self._reading = reading
        self._definition = reading.definition
        self._problems: list[str] = []
        self._plan: TrafficPlan | None = reading.observed.plan
        observed = reading.observed
        # Why no plan can be made from what was read; "" where one can.
        self._unreadable = observed.drift if observed.plan is None else ""
        self._state = self._shared_state()
        # Weights are shown once the router itself says that it runs them: what is only written is not yet so.
        self._in_force = not observed.drift and not observed.error
        if observed.drift:
            self._problems.append(observed.drift)
        if observed.error:
            written = f"; written: {self._written()}" if self._plan else ""
            self._problems.append(f"the router can't be asked what it runs: {observed.error}{written}")
        if not reading.supervision.alive:
            self._problems.append("the supervisor is not running, so no process is: start it for this directory")
        elif reading.supervision.halted:
            self._problems.append(f"{halted_words(reading.supervision)}, so what is shown of processes may be old")
        elif reading.supervision.message:
            self._problems.append(f"supervisor: {reading.supervision.message}")
        router = reading.supervision.router
        if router is not None and router.message:
            self._problems.append(f"router: {router.message}")

    def endpoint(self) -> Endpoint:
        reading, definition = self._reading, self._definition
        ref = EndpointRef(reading.connection, SafeText(definition.namespace), SafeText(definition.name))
        variants = self._variants()
        rollout = self._rollout(variants)
        generation = self._plan.generation if self._plan else 0
        revision = revision_of(generation, reading.wanted.generation)
        previous = self._state.history[0] if self._state.history else ""
        router = reading.supervision.router
        return Endpoint(
            ref=ref,
            uid=definition.uid,
            revision=f"unreadable: {self._unreadable}" if self._unreadable else revision,
            variants=variants,
            rollout=rollout,
            native=Native(SafeText("traefik route"), SafeText(router.state if router else "not running")),
            observed_at=reading.now,
            environment=definition.environment or reading.environment,
            model=ModelRef.parse(definition.model) if definition.model else None,
            model_source=BindingSource.LABEL if definition.model else BindingSource.NONE,
            alias=str(SafeText(definition.alias)),
            previous_version=SafeText(previous),
            stamp=stamp_of(max(self._state.mark, reading.wanted.mark, key=_time_key)),
            problems=tuple(SafeText(problem) for problem in self._problems),
            url=f"{reading.addresses.endpoint_url(definition.route)}/invocations" if reading.addresses else "",
            labels=self._labels(),
        )

    def _shared_state(self) -> ReleaseState:
        if self._plan is None:
            return ReleaseState()
        try:
            state = state_from_json(self._plan.state)
        except UnexpectedAnswer as failure:
            self._problems.append(failure.message)
            self._unreadable = failure.message
            return ReleaseState()
        if state.uid and state.uid != self._definition.uid:
            self._problems.append(f"route {self._plan.route} belongs to an endpoint that was removed and defined anew")
        return state

    def _written(self) -> str:
        if self._plan is None:
            return "nothing"
        shown = [f"{item.name} {percent(item.weight_bp)}" for item in self._plan.versions if item.weight_bp]
        return " + ".join(shown)

    def _variants(self) -> tuple[Variant, ...]:
        processes = self._reading.supervision.endpoints.get(self._definition.key, {})
        routed = [item.name for item in self._plan.versions] if self._plan else []
        names = dict.fromkeys([*routed, *sorted(self._reading.wanted.processes), *sorted(processes)])
        return tuple(self._variant(name, processes.get(name)) for name in names)

    def _variant(self, name: str, process: ObservedProcess | None) -> Variant:
        reading = self._reading
        wanted = reading.wanted.processes.get(name)
        known = self._state.versions.get(name, KnownVersion(""))
        version = wanted.version if wanted else known.version or (process.version if process else name)
        route = self._plan.version(name) if self._plan else None
        runs = process is not None and reading.supervision.alive
        url = f"http://127.0.0.1:{process.port}" if runs and process and process.port else ""
        role = self._role(name)
        if route is not None and wanted is None:
            self._problems.append(f"the route has {name}, but nobody wants its process")
        if route is not None and url and route.url != url and role is not Role.PREVIEW:
            self._problems.append(f"the route sends {name} to {route.url}, but it listens at {url}")
        weight = route.weight_bp if route is not None else None
        if route is not None and role is Role.SHADOW and self._plan is not None and self._plan.mirror is not None:
            weight = self._plan.mirror.percent * 100
        return Variant(
            name=name,
            role=role,
            version=SafeText(version),
            weight_bp=weight if self._in_force else None,
            digest=str(SafeText((wanted.digest if wanted else "") or known.digest)),
            ready=int(bool(runs and process and process.state is ProcessState.READY)),
            desired=int(wanted is not None),
            address=url or (route.url if route else ""),
            message=self._message(process, wanted is not None),
            series=self._series(name, role, url),
            started_at=time_of(process.since) if runs and process else None,
        )

    def _message(self, process: ObservedProcess | None, wanted: bool) -> SafeText:
        if process is None:
            return SafeText("not started yet" if wanted else "")
        if not self._reading.supervision.alive:
            return SafeText("the supervisor is not running")
        if process.state is ProcessState.READY and not process.loops:
            return SafeText("")
        words = process.message or str(process.state)
        return SafeText(f"{words} ({process.restarts} restarts)" if process.restarts else words)

    def _role(self, name: str) -> Role:
        plan = self._plan
        if plan is None:
            return Role.PREVIEW
        if name == plan.stable:
            return Role.STABLE
        if plan.mirror is not None and plan.mirror.version == name:
            return Role.SHADOW
        return Role.CANARY if name == self._state.canary and plan.version(name) else Role.PREVIEW

    def _series(self, name: str, role: Role, url: str) -> tuple[SeriesSelector, ...]:
        found = []
        if self._plan is not None and self._plan.version(name):
            labels = self._reading.labels(self._definition.route, name, role is Role.SHADOW)
            found.append(SeriesSelector("traefik", tuple(sorted(labels.items()))))
        if url:
            found.append(SeriesSelector("model_server", url=url + self._definition.metrics_path))
        return tuple(found)

    def _labels(self) -> Mapping[str, SafeText]:
        labels = {key: SafeText(value) for key, value in self._definition.labels.items()}
        for known in self._state.versions.values():
            labels[artifact_label(known.version)] = SafeText(known.artifact)
        for wanted in self._reading.wanted.processes.values():
            labels[artifact_label(wanted.version)] = SafeText(wanted.artifact)
        return MappingProxyType({key: value for key, value in labels.items() if value})

    def _rollout(self, variants: tuple[Variant, ...]) -> Rollout:
        state = self._state
        steps_bp = state.steps_bp if state.canary else self._definition.steps_bp
        stable = next((item for item in variants if item.role is Role.STABLE), None)
        moving = next((item for item in variants if item.role is Role.CANARY), None)
        previews = [item for item in variants if item.role is Role.PREVIEW]
        source = stable.version if stable else ""
        target = moving.version if moving else source
        retired = next((item for item in previews if item.name in state.retiring), None)
        if moving is None and previews:
            if retired is not None:
                # The traffic has moved, the version before is on its way out: it came from there.
                source = retired.version
            else:
                target = previews[0].version
        phase, message = self._phase(moving, previews, retired, variants)
        return Rollout(
            strategy=Strategy.CANARY,
            phase=phase,
            from_version=source,
            to_version=target,
            step_index=state.step_index if moving else None,
            steps=tuple(Step(index, weight, SafeText(percent(weight))) for index, weight in enumerate(steps_bp)),
            hold=hold_of(state.hold),
            started_at=time_of(state.begun_at),
            message=SafeText(message),
        )

    def _phase(
        self, moving: Variant | None, previews: list[Variant], retired: Variant | None, variants: tuple[Variant, ...]
    ) -> tuple[Phase, str]:
        looping = [item for item in variants if item.desired and self._loops(item.name)]
        if not self._in_force:
            return Phase.UNKNOWN, self._reading.observed.drift or self._reading.observed.error
        if looping:
            said = "; ".join(f"{item.name} keeps crashing: {item.message}" for item in looping)
            return Phase.DEGRADED, said
        if self._plan is None and not previews:
            return Phase.UNKNOWN, "nothing was deployed yet"
        if self._state.hold is not None:
            return Phase.HELD, ""
        return self._phase_of_part(moving, previews, retired)

    def _phase_of_part(
        self, moving: Variant | None, previews: list[Variant], retired: Variant | None
    ) -> tuple[Phase, str]:
        if retired is not None or (moving is not None and moving.name in self._state.retiring):
            return self._phase_of_retirement(moving)
        if moving is not None:
            return self._phase_of_canary(moving)
        return self._phase_of_preview(previews[0]) if previews else (Phase.COMPLETE, "")

    def _phase_of_retirement(self, moving: Variant | None) -> tuple[Phase, str]:
        mark = self._state.mark
        back = moving is not None or mark.verb in {Verb.ROLLBACK, Verb.ABORT}
        names = ", ".join(sorted(self._state.retiring))
        said = f"{names} has no traffic and is being retired, {mark.verb} {mark}"
        return (Phase.ABORTING if back else Phase.PROGRESSING), said

    @staticmethod
    def _phase_of_preview(waiting: Variant) -> tuple[Phase, str]:
        if not waiting.desired:
            return Phase.PROGRESSING, f"{waiting.name} is being stopped"
        if not waiting.ready:
            return Phase.PROGRESSING, f"{waiting.name} starts"
        return Phase.WAITING, f"{waiting.name} runs without traffic: promote it, or roll back to stop it"

    def _phase_of_canary(self, moving: Variant) -> tuple[Phase, str]:
        state = self._state
        if state.aborted is not None and not moving.weight_bp:
            return Phase.WAITING, f"aborted {state.aborted}: {moving.version} has no traffic; roll back to retire it"
        if not moving.ready:
            return Phase.PROGRESSING, f"{moving.name} is not healthy yet" + (
                f": {moving.message}" * bool(moving.message)
            )
        at = f"at {percent(moving.weight_bp)}"
        if state.step_index is None:
            return Phase.WAITING, at
        return Phase.WAITING, f"{at}, step {state.step_index + 1} of {len(state.steps_bp)}"

    def _loops(self, name: str) -> bool:
        process = self._reading.supervision.process(self._definition.key, name)
        return process is not None and process.loops and self._reading.supervision.alive


def _time_key(mark: Mark) -> float:
    found = time_of(mark.at)
    return found.timestamp() if found else 0.0
