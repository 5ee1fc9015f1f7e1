"""What an independent read must show: before a write (what it assumes) and after it (what it brought about).

The same value serves the executor's last look, the verification, and the reconciling of what a dead process left open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mlrelease_tui.domain.models import Model
from mlrelease_tui.domain.refs import EndpointRef, ModelRef
from mlrelease_tui.domain.rollout import Endpoint, Phase, Role, weights_of


@dataclass(frozen=True, slots=True)
class EndpointExpectation:
    """What should hold of an endpoint. None or empty means: not asked.

    `uid` pins the object's identity, `weights` are basis points by variant name, `present` and `absent` are variant
    names, `stable_version` is the version in the stable role, `held` whether a person holds the rollout.

    Some backends name a variant only once it exists (a ReplicaSet's hash, a revision's number), and some run on by
    themselves after a write. For them: `version_weights` are basis points by version, summed over the variants that run it;
    `ready` are versions of which every wanted replica is ready; `step_reached` is a step that the rollout is at or past;
    `labels` are labels of the endpoint with their values, for what else a backend says of itself (when it was restarted last).

    What ends the wait before all of it holds: `failed` are phases in which the backend says that it did not work, and `toward` is
    the version that the endpoint is on its way to as long as nobody wrote over it.
    """

    endpoint: EndpointRef
    uid: str = ""
    weights: tuple[tuple[str, int], ...] | None = None
    present: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    stable_version: str | None = None
    held: bool | None = None
    step_index: int | None = None
    phases: tuple[Phase, ...] = ()
    version_weights: tuple[tuple[str, int], ...] | None = None
    ready: tuple[str, ...] = ()
    step_reached: int | None = None
    labels: tuple[tuple[str, str], ...] = ()
    failed: tuple[Phase, ...] = ()
    toward: str = ""


@dataclass(frozen=True, slots=True)
class AliasExpectation:
    """Where a registry alias should point; `version` "" means that the alias should not exist."""

    model: ModelRef
    alias: str
    version: str


Expectation = EndpointExpectation | AliasExpectation


def subject_of(expectation: Expectation) -> str:
    """The one object that it speaks of, in words."""
    if isinstance(expectation, AliasExpectation):
        return f"alias {expectation.alias} of {expectation.model}"
    return expectation.endpoint.id


def expectation_of(endpoint: Endpoint, *, absent: tuple[str, ...] = ()) -> EndpointExpectation:
    """Everything of `endpoint`, as it is, that an action can move: what a driver says of the state before or after a write."""
    stable = endpoint.variant(Role.STABLE)
    weights = weights_of(endpoint)
    return EndpointExpectation(
        endpoint.ref,
        uid=endpoint.uid,
        weights=tuple(sorted(weights.items())) if weights else None,
        present=tuple(sorted(variant.name for variant in endpoint.variants)),
        absent=absent,
        stable_version=stable.version if stable else None,
        held=endpoint.rollout.hold is not None,
        step_index=endpoint.rollout.step_index,
    )


def endpoint_mismatches(expected: EndpointExpectation, endpoint: Endpoint | None) -> tuple[str, ...]:
    """What of `expected` does not hold, each as "what is, not what should be"; empty when all holds.

    `endpoint` None means that the backend has no such endpoint.
    """
    if endpoint is None:
        return (f"{expected.endpoint} does not exist",)
    found: list[str] = []
    if expected.uid and endpoint.uid != expected.uid:
        found.append(f"identity is {endpoint.uid}, not {expected.uid}: the object was recreated")
    names = {variant.name for variant in endpoint.variants}
    found += [f"variant {name} is missing" for name in expected.present if name not in names]
    found += [f"variant {name} still exists" for name in expected.absent if name in names]
    if expected.weights is not None:
        actual = weights_of(endpoint)
        for name, weight in expected.weights:
            now = actual.get(name)
            if now != weight:
                found.append(f"{name} weighs {percent(now)}, not {percent(weight)}")
    if expected.stable_version is not None:
        stable = endpoint.variant(Role.STABLE)
        version = stable.version if stable else "none"
        if version != expected.stable_version:
            found.append(f"stable is {version}, not {expected.stable_version}")
    if expected.held is not None and (endpoint.rollout.hold is not None) != expected.held:
        found.append("held" if endpoint.rollout.hold else "not held")
    if expected.step_index is not None and endpoint.rollout.step_index != expected.step_index:
        found.append(f"at step {endpoint.rollout.step_index}, not {expected.step_index}")
    if expected.phases and endpoint.rollout.phase not in expected.phases:
        found.append(f"phase is {endpoint.rollout.phase}, not {' or '.join(expected.phases)}")
    return (*found, *_version_mismatches(expected, endpoint))


def failure_of(expected: EndpointExpectation, endpoint: Endpoint) -> str:
    """Why what is expected will not come, in the backend's own words; "" while the backend does not say that it failed."""
    rollout = endpoint.rollout
    if rollout.phase not in expected.failed:
        return ""
    said = [rollout.message, *(item.message for item in endpoint.variants), *endpoint.problems]
    told = "; ".join(dict.fromkeys(str(text) for text in said if text))
    native = (
        f"{endpoint.native.kind} says {endpoint.native.phase}" if endpoint.native.phase else f"it is {rollout.phase}"
    )
    return f"{native}: {told}" if told else native


def diverted(expected: EndpointExpectation, endpoint: Endpoint) -> bool:
    """Whether the endpoint is on its way to another version than the write put there: somebody wrote over it."""
    rollout = endpoint.rollout
    if not expected.toward or rollout.phase is Phase.UNKNOWN:
        return False
    # Two of one version are told apart by what a backend hangs on.
    return rollout.to_version != expected.toward and not rollout.to_version.startswith(f"{expected.toward}+")


def _version_mismatches(expected: EndpointExpectation, endpoint: Endpoint) -> list[str]:
    """What is asked of versions rather than of variants by name, and of steps that the backend may run past."""
    found: list[str] = []
    for version, weight in expected.version_weights or ():
        known = [item.weight_bp for item in endpoint.variants if item.version == version and item.weight_bp is not None]
        now = sum(known) if known else None
        # A version that is not there gets nothing, which is what 0 asks for.
        if now != weight and not (weight == 0 and endpoint.serving(version) is None):
            found.append(f"version {version} weighs {percent(now)}, not {percent(weight)}")
    for version in expected.ready:
        running = [item for item in endpoint.variants if item.version == version]
        if not any(item.desired and item.ready is not None and item.ready >= item.desired for item in running):
            found.append(f"version {version} is not ready")
    reached, step = expected.step_reached, endpoint.rollout.step_index
    if reached is not None and endpoint.rollout.phase is not Phase.COMPLETE and (step is None or step < reached):
        found.append(f"at step {step}, not yet at {reached}")
    for label, value in expected.labels:
        known_as = endpoint.labels.get(label)
        if known_as != value:
            found.append(f"{label} is {known_as if known_as is not None else 'not said'}, not {value}")
    return found


def alias_mismatches(expected: AliasExpectation, model: Model | None) -> tuple[str, ...]:
    """As `endpoint_mismatches`, for a registry alias."""
    if model is None:
        return (f"{expected.model} does not exist",)
    now = model.aliases.get(expected.alias, "")
    if now == expected.version:
        return ()
    return (f"alias {expected.alias} points at {now or 'nothing'}, not {expected.version or 'nothing'}",)


def percent(weight_bp: int | None) -> str:
    """Basis points as a percentage without needless digits: 1000 → "10%", 25 → "0.25%", None → "-"."""
    if weight_bp is None:
        return "-"
    return f"{weight_bp / 100:g}%"


def to_data(expectation: Expectation) -> dict[str, Any]:
    """JSON-able form, for the audit; `from_data` is its inverse."""
    if isinstance(expectation, AliasExpectation):
        return {
            "kind": "alias",
            "model": expectation.model.id,
            "alias": expectation.alias,
            "version": expectation.version,
        }
    return {
        "kind": "endpoint",
        "endpoint": expectation.endpoint.id,
        "uid": expectation.uid,
        "weights": _pairs(expectation.weights),
        "present": list(expectation.present),
        "absent": list(expectation.absent),
        "stable_version": expectation.stable_version,
        "held": expectation.held,
        "step_index": expectation.step_index,
        "phases": [str(phase) for phase in expectation.phases],
        "version_weights": _pairs(expectation.version_weights),
        "ready": list(expectation.ready),
        "step_reached": expectation.step_reached,
        "labels": [list(pair) for pair in expectation.labels],
        "failed": [str(phase) for phase in expectation.failed],
        "toward": expectation.toward,
    }


def _pairs(weights: tuple[tuple[str, int], ...] | None) -> list[list[str | int]] | None:
    return None if weights is None else [[name, bp] for name, bp in weights]


def _weights(pairs: Any) -> tuple[tuple[str, int], ...] | None:
    return None if pairs is None else tuple((str(name), int(bp)) for name, bp in pairs)


def from_data(data: Mapping[str, Any]) -> Expectation:
    """Read what `to_data` wrote; ValueError or KeyError where it is anything else."""
    if data["kind"] == "alias":
        return AliasExpectation(ModelRef.parse(data["model"]), str(data["alias"]), str(data["version"]))
    return EndpointExpectation(
        EndpointRef.parse(data["endpoint"]),
        uid=str(data["uid"]),
        weights=_weights(data["weights"]),
        present=tuple(data["present"]),
        absent=tuple(data["absent"]),
        stable_version=data["stable_version"],
        held=data["held"],
        step_index=data["step_index"],
        phases=tuple(Phase(phase) for phase in data["phases"]),
        # Absent in records that were written before these could be asked.
        version_weights=_weights(data.get("version_weights")),
        ready=tuple(data.get("ready", ())),
        step_reached=data.get("step_reached"),
        labels=tuple((str(label), str(value)) for label, value in data.get("labels", ())),
        failed=tuple(Phase(phase) for phase in data.get("failed", ())),
        toward=str(data.get("toward", "")),
    )
