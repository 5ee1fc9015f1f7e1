"""Which writes each verb comes to on a local endpoint. Pure: from the endpoint as read, nothing else.

Forward, the process comes first and traffic last; back, traffic comes first, then the drain, then the process goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.local.definitions import variant_name
from mlrelease_tui.connectors.local.desired import WantedProcess
from mlrelease_tui.connectors.local.layout import Layout
from mlrelease_tui.connectors.local.writes import PlanBuilder, all_to, artifact_label, ready
from mlrelease_tui.domain.expectation import percent
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP, Endpoint, Hold, Role, Variant
from mlrelease_tui.domain.text import SafeText, raw
from mlrelease_tui.errors import Refused

_AT_REST: Final[Mapping[str, Any]] = {
    "canary": "",
    "step_index": None,
    "retiring": [],
    "held": False,
    "aborted": False,
    "begins": False,
}


def start(layout: Layout, endpoint: Endpoint, artifact: Artifact, weight_bp: int | None) -> tuple[Write, ...]:
    """The first version of an endpoint, a canary, or (at 10,000) a whole replacement."""
    plan = PlanBuilder(layout, endpoint)
    artifact = _as_the_registry_says(artifact)
    name = variant_name(artifact.version)
    canary, stable = endpoint.canary, endpoint.stable
    if canary is not None:
        raise Refused(
            f"a rollout of {endpoint.ref.name} to {canary.version} is under way",
            hint="complete it or roll it back first",
        )
    if stable is not None and stable.name == name:
        raise Refused(f"{endpoint.ref.name} already runs {SafeText(artifact.version)}", hint="name another version")
    _no_shadow(endpoint, name)
    steps = _steps(endpoint)
    weight = _in_range(weight_bp if weight_bp is not None else steps[0] if steps else ALL_TRAFFIC_BP)
    others = [item.name for item in _leftovers(endpoint) if item.name != name]
    _bring_up(plan, artifact, name)
    if stable is None:
        plan.write_route(
            {name: ALL_TRAFFIC_BP}, {**_AT_REST, "uid": endpoint.uid, "steps_bp": list(steps)}, stable=name
        )
    elif weight == ALL_TRAFFIC_BP:
        others = _all_but(plan, name)
        _succeed(plan, name)
    else:
        _admit(plan, name, weight, steps)
    _retire(plan, others)
    return plan.writes


def advance(layout: Layout, endpoint: Endpoint) -> tuple[Write, ...]:
    """To the next step's weight; past the last step the rollout is completed."""
    _not_held(endpoint)
    canary, steps = endpoint.canary, _steps(endpoint)
    if canary is None:
        candidate = _candidate(endpoint)
        if candidate is None:
            return complete(layout, endpoint)
        return set_weight(layout, endpoint, steps[0] if steps else ALL_TRAFFIC_BP)
    now = canary.weight_bp or 0
    following = next((weight for weight in steps if weight > now), None)
    if following is None:
        return complete(layout, endpoint)
    return set_weight(layout, endpoint, following)


def complete(layout: Layout, endpoint: Endpoint) -> tuple[Write, ...]:
    """The canary gets all traffic and becomes stable; the version before it is drained and stopped, and remembered."""
    _not_held(endpoint)
    plan = PlanBuilder(layout, endpoint)
    canary = endpoint.canary or _candidate(endpoint)
    if canary is None:
        others = [item.name for item in _leftovers(endpoint)]
        if not others:
            raise _nothing_under_way(endpoint)
        _retire(plan, others)
        return plan.writes
    if not ready(canary):
        raise Refused(
            f"{canary.version} of {endpoint.ref.name} is not healthy"
            + (f": {canary.message}" if canary.message else ""),
            hint="wait until it is, or roll back",
        )
    others = _all_but(plan, canary.name)
    _succeed(plan, canary.name)
    _retire(plan, others)
    return plan.writes


def set_weight(layout: Layout, endpoint: Endpoint, weight_bp: int) -> tuple[Write, ...]:
    """The canary gets `weight_bp`, stable the rest. While a person holds the rollout, only less is possible."""
    plan = PlanBuilder(layout, endpoint)
    weight, steps = _in_range(weight_bp), _steps(endpoint)
    canary = endpoint.canary
    if canary is None:
        candidate = _candidate(endpoint)
        if candidate is None or not plan.stable:
            raise _nothing_under_way(endpoint)
        _not_held(endpoint)
        if not ready(candidate):
            plan.await_ready(candidate.name)
        _admit(plan, candidate.name, weight, steps)
        return plan.writes
    if weight > (canary.weight_bp or 0):
        _not_held(endpoint)
    plan.write_route(
        {**dict(plan.split.weights), canary.name: weight, plan.stable: ALL_TRAFFIC_BP - weight},
        {"step_index": _step_at(steps, weight), "aborted": False, "retiring": []},
        mirror=plan.split.mirror,
        words=_step_words(steps, weight),
    )
    return plan.writes


def hold(layout: Layout, endpoint: Endpoint, mark: Hold) -> tuple[Write, ...]:
    """Weights stay; the shared state says who holds and why, from the stamp that comes with the write."""
    plan = PlanBuilder(layout, endpoint)
    if endpoint.rollout.hold is not None:
        raise Refused(f"{endpoint.ref.name} is {_held_words(endpoint)} already")
    if endpoint.canary is None:
        raise _nothing_under_way(endpoint)
    plan.write_route(dict(plan.split.weights), {"held": True}, mirror=plan.split.mirror, words=f"held by {mark.by}")
    return plan.writes


def resume(layout: Layout, endpoint: Endpoint) -> tuple[Write, ...]:
    plan = PlanBuilder(layout, endpoint)
    if endpoint.rollout.hold is None:
        raise Refused(f"{endpoint.ref.name} is not held", hint="there is nothing to continue")
    plan.write_route(dict(plan.split.weights), {"held": False}, mirror=plan.split.mirror, words="no longer held")
    return plan.writes


def abort(layout: Layout, endpoint: Endpoint) -> tuple[Write, ...]:
    plan = PlanBuilder(layout, endpoint)
    canary = endpoint.canary
    if canary is None:
        raise _nothing_under_way(endpoint)
    if not canary.weight_bp:
        raise Refused(
            f"{canary.version} of {endpoint.ref.name} has no traffic already", hint="roll back to retire it as well"
        )
    weights = all_to(plan.stable, plan.routed)
    plan.write_route(weights, {"aborted": True}, mirror=plan.split.mirror, words="aborted")
    return plan.writes


def roll_back(layout: Layout, endpoint: Endpoint, artifact: Artifact) -> tuple[Write, ...]:
    """Everything to one version and nothing else left: traffic first, then drain, route, processes."""
    plan = PlanBuilder(layout, endpoint)
    artifact = _as_the_registry_says(artifact)
    name = variant_name(artifact.version)
    if not plan.stable:
        raise Refused(f"{endpoint.ref.name} serves nothing yet", hint="start a version first")
    canary = endpoint.canary
    if name != plan.stable and name not in plan.routed:
        if canary is not None and canary.weight_bp:
            # The target must be started first; until then the stable version is the safer one.
            plan.write_route(all_to(plan.stable, plan.routed), {"aborted": True}, words="traffic off the canary first")
        _bring_up(plan, artifact, name)
    others = _all_but(plan, name)
    leaving = sorted(item for item in others if item in plan.routed)
    wanted = all_to(name, plan.routed)
    if name != plan.stable or plan.split.mirror or dict(plan.split.weights) != wanted:
        change: dict[str, Any] = {"retiring": leaving, "held": False, "aborted": False}
        if name != plan.stable:
            change |= {"returned": artifact.version}
            if name == plan.canary:
                change |= {"canary": "", "step_index": None}
        plan.write_route(wanted, change, stable=name, words=_leaving_words(leaving))
    _retire(plan, others)
    if not plan.writes:
        going = ", ".join(item.name for item in endpoint.variants if item.name != name)
        rest = f"; {going} is being stopped" if going else ", alone"
        raise Refused(
            f"{endpoint.ref.name} already runs {SafeText(artifact.version)}{rest}", hint="name another version"
        )
    return plan.writes


def restart(layout: Layout, endpoint: Endpoint) -> tuple[Write, ...]:
    """The processes that are not healthy; where all are, each in turn, the one without traffic first."""
    plan = PlanBuilder(layout, endpoint)
    running = [item for item in endpoint.variants if item.desired]
    chosen = [item for item in running if not ready(item)] or sorted(running, key=lambda item: item.weight_bp or 0)
    if not chosen:
        raise Refused(f"{endpoint.ref.name} has no process to restart", hint="start a version first")
    for item in chosen:
        plan.restart_process(item.name)
        plan.await_ready(item.name)
    return plan.writes


def shadow(layout: Layout, endpoint: Endpoint, artifact: Artifact, weight_bp: int) -> tuple[Write, ...]:
    """Mirror a share to a version, change the share, or (0) end it: mirror off, drain, route, process."""
    plan = PlanBuilder(layout, endpoint)
    artifact = _as_the_registry_says(artifact)
    name = variant_name(artifact.version)
    weight = _in_range(weight_bp)
    now = endpoint.variant(Role.SHADOW)
    if weight % 100:
        raise Refused(f"{percent(weight)} can't be mirrored", hint="the router mirrors whole percentages")
    if not plan.stable:
        raise Refused(f"{endpoint.ref.name} serves nothing yet", hint="start a version first")
    if now is not None and now.name != name and (weight or artifact.version):
        raise Refused(f"{endpoint.ref.name} mirrors to {now.version} already", hint="end that shadow first")
    if weight == 0:
        if now is None:
            raise Refused(f"{endpoint.ref.name} mirrors to nothing", hint="there is no shadow to end")
        plan.write_route(dict(plan.split.weights), {"retiring": [now.name]}, words="shadow ended")
        _retire(plan, [now.name])
        return plan.writes
    if now is None:
        if name in plan.routed:
            raise Refused(
                f"{SafeText(artifact.version)} already answers users of {endpoint.ref.name}",
                hint="name another version",
            )
        _bring_up(plan, artifact, name)
    plan.write_route(dict(plan.split.weights) | {name: 0}, {}, mirror=(name, weight // 100))
    return plan.writes


def _as_the_registry_says(artifact: Artifact) -> Artifact:
    """Not as a screen shows it: these names go into documents and commands."""
    return Artifact(raw(artifact.version), raw(artifact.uri), raw(artifact.digest))


def _bring_up(plan: PlanBuilder, artifact: Artifact, name: str) -> None:
    """The process of a version, started and healthy, if it does not run already."""
    endpoint = plan.endpoint
    source = artifact.uri or raw(endpoint.labels.get(artifact_label(artifact.version), ""))
    there = next((item for item in endpoint.variants if item.name == name and item.desired), None)
    if there is None:
        plan.start_process(name, WantedProcess(artifact.version, source, artifact.digest))
    else:
        known = raw(endpoint.labels.get(artifact_label(artifact.version), ""))
        if artifact.uri and known and artifact.uri != known:
            shown, other, wanted = SafeText(artifact.version), SafeText(known), SafeText(artifact.uri)
            raise Refused(
                f"{shown} of {endpoint.ref.name} runs from {other}, not from {wanted}",
                hint="roll back to stop it, then start it anew",
            )
    if there is None or not ready(there):
        plan.await_ready(name)


def _admit(plan: PlanBuilder, name: str, weight: int, steps: Sequence[int]) -> None:
    weights = {**dict(plan.split.weights), plan.stable: ALL_TRAFFIC_BP - weight, name: weight}
    change = {
        **_AT_REST,
        "canary": name,
        "step_index": _step_at(steps, weight),
        "steps_bp": list(steps),
        "begins": True,
    }
    plan.write_route(weights, change, mirror=plan.split.mirror, words=_step_words(steps, weight))


def _succeed(plan: PlanBuilder, name: str) -> None:
    """All traffic to a new stable version; the one before is remembered."""
    leaving = sorted(item for item in plan.routed if item != name)
    change = {**_AT_REST, "retiring": leaving, "succeeded": plan.versions[plan.stable], "begins": True}
    plan.write_route(all_to(name, plan.routed), change, stable=name, words=f"{name} becomes stable")


def _retire(plan: PlanBuilder, names: Sequence[str]) -> None:
    """Drain what the route still has of `names`, take it out of the route, then stop the processes."""
    routed = [name for name in names if name in plan.routed]
    for name in routed:
        plan.drain(name)
    if routed:
        weights = {name: weight for name, weight in plan.split.weights if name not in routed}
        keeps_canary = bool(plan.canary) and plan.canary not in routed
        change = {"retiring": []} if keeps_canary else dict(_AT_REST)
        plan.write_route(weights, change, mirror=plan.split.mirror, words=f"without {', '.join(sorted(routed))}")
    running = [name for name in names if name in plan.running]
    if running:
        plan.stop_processes(running)


def _all_but(plan: PlanBuilder, name: str) -> list[str]:
    return [item for item in dict.fromkeys([*plan.routed, *plan.running]) if item != name]


def _leftovers(endpoint: Endpoint) -> list[Variant]:
    """What runs or is routed without a part in the release: a version being retired, or started and never admitted."""
    return [item for item in endpoint.variants if item.role is Role.PREVIEW]


def _candidate(endpoint: Endpoint) -> Variant | None:
    """A version that was started for a rollout and has no place in the route yet."""
    rollout = endpoint.rollout
    if not rollout.in_flight:
        return None
    return next((v for v in _leftovers(endpoint) if v.version == rollout.to_version and v.weight_bp is None), None)


def _steps(endpoint: Endpoint) -> tuple[int, ...]:
    return tuple(step.weight_bp for step in endpoint.rollout.steps if step.weight_bp is not None)


def _step_at(steps: Sequence[int], weight: int) -> int | None:
    """The step whose weight is reached; the first where none is."""
    if not steps:
        return None
    return max((index for index, step in enumerate(steps) if step <= weight), default=0)


def _step_words(steps: Sequence[int], weight: int) -> str:
    return f"step {steps.index(weight) + 1} of {len(steps)}" if weight in steps else ""


def _leaving_words(names: Sequence[str]) -> str:
    return f"{', '.join(names)} to be retired" if names else ""


def _in_range(weight_bp: int) -> int:
    if not 0 <= weight_bp <= ALL_TRAFFIC_BP:
        raise Refused(f"{percent(weight_bp)} is no weight", hint="give 0% to 100%")
    return weight_bp


def _not_held(endpoint: Endpoint) -> None:
    if endpoint.rollout.hold is not None:
        raise Refused(f"{endpoint.ref.name} is {_held_words(endpoint)}", hint="continue it first")


def _held_words(endpoint: Endpoint) -> str:
    mark = endpoint.rollout.hold
    return f"held by {mark.by}" + (f": {mark.why}" if mark.why else "") if mark else "not held"


def _no_shadow(endpoint: Endpoint, name: str) -> None:
    now = endpoint.variant(Role.SHADOW)
    if now is not None and now.name == name:
        raise Refused(f"{now.version} of {endpoint.ref.name} is its shadow", hint="end the shadow first")


def _nothing_under_way(endpoint: Endpoint) -> Refused:
    return Refused(f"no rollout of {endpoint.ref.name} is under way", hint="promote a version to start one")
