"""What Flagger checks before it goes on, as far as its status tells: failed checks, iterations, the webhook that it waits for.

It keeps no result of a single metric: a metric's gate says whether it is being measured, and within which bounds it must be.
Gates of webhooks hold the traffic, not the judgement: metrics go on counting against a canary that waits for one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.objects import at, count, items, table, text
from mlrelease_tui.connectors.kubernetes.workloads.flagger_standing import PROMOTED, Standing
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP, Gate, GateResult, Step, Strategy
from mlrelease_tui.domain.text import SafeText

_ORDER: Final = (
    "confirm-rollout",
    "pre-rollout",
    "rollout",
    "confirm-traffic-increase",
    "confirm-promotion",
    "rollback",
)
_OVER: Final = {**dict.fromkeys(PROMOTED, GateResult.PASSED), "Succeeded": GateResult.PASSED}


def gates_of(standing: Standing) -> tuple[Gate, ...]:
    """The gates of the release under way, () where none is and none failed."""
    running = standing.native in {"Waiting", "Progressing", "WaitingPromotion", *PROMOTED}
    if not running and standing.native != "Failed":
        return ()
    if standing.native == "Failed" and standing.same and not standing.broken:
        return ()
    return tuple(_found(standing))


def _found(standing: Standing) -> Iterator[Gate]:
    analysis, native = standing.analysis, standing.native
    yield _checks(standing)
    if standing.strategy is not Strategy.CANARY and native != "Failed":
        done, wanted = max(0, count(standing.item, "status", "iterations")), count(analysis, "iterations")
        result = _OVER.get(native, GateResult.RUNNING if native != "Waiting" else GateResult.PENDING)
        yield Gate(SafeText("iterations"), result, SafeText(f"{min(done, wanted)} of {wanted}"))
    for metric in items(analysis, "metrics"):
        yield Gate(SafeText(text(metric, "name")), _measuring(standing), message=SafeText(_bounds(metric)))
    for kind in _ORDER:
        for hook in items(analysis, "webhooks"):
            if (text(hook, "type") or "rollout") == kind:
                label = SafeText(f"{kind} {text(hook, 'name')}")
                yield Gate(label, _hook(standing, kind), message=SafeText(_said(standing, kind)))


def _checks(standing: Standing) -> Gate:
    """The counter by which Flagger rolls back. It is set back to 0 when it has, and kept when a release succeeded."""
    failed, most = standing.failed_checks, standing.threshold
    if standing.native == "Failed":
        return Gate(SafeText("checks"), GateResult.FAILED, message=SafeText(_last_words(standing.item)))
    result = _OVER.get(standing.native, GateResult.FAILED if standing.aborting else GateResult.RUNNING)
    if standing.native == "Waiting":
        result = GateResult.PENDING
    return Gate(SafeText("checks"), result, SafeText(f"{failed} of {most} failed"))


def _last_words(item: Object) -> str:
    return next((text(found, "message") for found in items(item, "status", "conditions")), "")


def _measuring(standing: Standing) -> GateResult:
    native = standing.native
    if native in _OVER:
        return _OVER[native]
    if native == "Failed":
        return GateResult.TERMINATED
    begun = bool(standing.weight_bp) or count(standing.item, "status", "iterations") > 0
    return GateResult.RUNNING if begun and not standing.suspended else GateResult.PENDING


def _bounds(metric: Object) -> str:
    found: Mapping[str, object] = table(metric, "thresholdRange")
    told = [f"{word} {found[word]}" for word in ("min", "max") if word in found]
    if not told and (most := at(metric, "threshold")) is not None:
        told = [f"threshold {most}"]
    return "wanted: " + ", ".join(told) if told else ""


def _hook(standing: Standing, kind: str) -> GateResult:
    native = standing.native
    begun = GateResult.PENDING if native == "Waiting" else GateResult.RUNNING
    results: dict[str, GateResult] = {
        "confirm-rollout": GateResult.RUNNING if native == "Waiting" else GateResult.PASSED,
        "pre-rollout": GateResult.PASSED if standing.weight_bp else begun,
        "confirm-promotion": GateResult.RUNNING if native == "WaitingPromotion" else GateResult.PENDING,
        "rollback": GateResult.PENDING,
    }
    if native == "Failed":
        return GateResult.TERMINATED
    if native in _OVER and kind != "rollback":
        return _OVER[native]
    return results.get(kind, begun)


def _said(standing: Standing, kind: str) -> str:
    """What a person should know of a gate that is waited for."""
    waits = {"confirm-rollout": "Waiting", "confirm-promotion": "WaitingPromotion"}
    if waits.get(kind) != standing.native:
        return ""
    if kind == "confirm-rollout":
        return "shut: Flagger asks it at each look, with the checksum of the release before"
    return "shut: Flagger asks it at each look, and goes on measuring"


def steps_of(standing: Standing) -> tuple[Step, ...]:
    """The weights that it goes through, or its iterations."""
    if standing.strategy is Strategy.CANARY:
        return tuple(Step(index, min(weight * 100, ALL_TRAFFIC_BP)) for index, weight in enumerate(standing.steps))
    wanted = count(standing.analysis, "iterations")
    return tuple(Step(index, None, SafeText(f"iteration {index + 1}")) for index in range(wanted))


def step_index(standing: Standing) -> int | None:
    """The step being taken; all of them once it is being promoted, None at rest or where there are no steps."""
    steps = steps_of(standing)
    if not steps or standing.native not in {"Waiting", "Progressing", "WaitingPromotion", *PROMOTED}:
        return None
    if standing.native in PROMOTED:
        return len(steps)
    if standing.strategy is not Strategy.CANARY:
        return min(max(0, count(standing.item, "status", "iterations")), len(steps) - 1)
    now = standing.weight_bp or 0
    reached = [step.index for step in steps if (step.weight_bp or 0) <= now]
    return reached[-1] if reached else 0
