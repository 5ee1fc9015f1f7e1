"""What the analyses and experiments of a Rollout came to.

Source: AnalysisRun and Experiment of argoproj.io/v1alpha1. A run that is ended from outside (by hand, by an abort, by a restored
template) ends as `Successful` with the message "Run Terminated", also after failed measurements: that is no pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.objects import at, items, labels, name, text
from mlrelease_tui.connectors.kubernetes.workloads.argo_standing import HASH_LABEL, Standing
from mlrelease_tui.domain.rollout import Gate, GateResult
from mlrelease_tui.domain.text import SafeText

_RESULTS: Final[Mapping[str, GateResult]] = {
    "Pending": GateResult.PENDING,
    "Running": GateResult.RUNNING,
    "Successful": GateResult.PASSED,
    "Failed": GateResult.FAILED,
    "Error": GateResult.ERROR,
    "Inconclusive": GateResult.INCONCLUSIVE,
}
_TERMINATED: Final = ("Run Terminated", "Metric Terminated", "Experiment Terminated")
BAD: Final = frozenset({GateResult.FAILED, GateResult.ERROR, GateResult.INCONCLUSIVE})


def gates_of(standing: Standing) -> tuple[Gate, ...]:
    """The gates of the release that the spec names now, oldest first; of a run that was repeated only the last."""
    found: list[Gate] = []
    for run in _newest(standing.runs, standing.current):
        found += _run_gates(run)
    for experiment in _newest(standing.experiments, standing.current):
        found += _experiment_gates(experiment)
    return tuple(found)


def told(gate: Gate) -> str:
    """A gate in one line: "success-rate inconclusive at 0.7"."""
    value = f" at {gate.measured}" if gate.measured else ""
    why = f": {gate.message}" if gate.message else ""
    return f"{gate.name} {gate.result}{value}{why}"


def _newest(runs: Iterable[Object], current: str) -> list[Object]:
    latest: dict[tuple[str, str], Object] = {}
    ours = [run for run in runs if labels(run).get(HASH_LABEL) == current]
    for run in sorted(ours, key=_age):
        latest[(str(labels(run).get("rollout-type", name(run))), str(labels(run).get("step-index", "")))] = run
    return sorted(latest.values(), key=_age)


def _age(run: Object) -> tuple[str, int, str]:
    # Repeated within one second, a run is told from the one before by the number after its name's last dot.
    base, dot, number = name(run).rpartition(".")
    again = int(number) if dot and number.isdigit() else 0
    return text(run, "metadata", "creationTimestamp"), again, base or name(run)


def _run_gates(run: Object) -> Iterator[Gate]:
    index = text(run, "metadata", "labels", "step-index")
    step = int(index) if index.isdigit() else None
    terminated = at(run, "spec", "terminate") is True or text(run, "status", "message") in _TERMINATED
    results = {text(found, "name"): found for found in items(run, "status", "metricResults")}
    metrics = [text(metric, "name") for metric in items(run, "spec", "metrics")] or list(results)
    if not metrics:
        result = _result(text(run, "status", "phase"), terminated=terminated)
        yield Gate(
            SafeText(name(run)), result, SafeText(), SafeText(text(run, "status", "message")), SafeText(name(run)), step
        )
    for metric in metrics:
        yield _metric_gate(run, metric, results.get(metric, {}), step, terminated=terminated)


def _metric_gate(run: Object, metric: str, found: Mapping[str, Any], step: int | None, *, terminated: bool) -> Gate:
    measured = [one for one in items(found, "measurements") if text(one, "value")]
    value = text(measured[-1], "value") if measured else ""
    messages = [text(found, "message"), *(text(one, "message") for one in reversed(items(found, "measurements")))]
    phase = text(found, "phase") or text(run, "status", "phase")
    label = f"{metric} (dry run)" if at(found, "dryRun") is True else metric
    result = _result(phase, terminated=terminated)
    said = next((message for message in messages if message), "")
    if not said and result in BAD and not value:
        said = text(run, "status", "message")
    return Gate(SafeText(label), result, SafeText(value), SafeText(said), SafeText(name(run)), step)


def _experiment_gates(experiment: Object) -> Iterator[Gate]:
    index = text(experiment, "metadata", "labels", "step-index")
    step = int(index) if index.isdigit() else None
    ended = at(experiment, "spec", "terminate") is True
    run = SafeText(name(experiment))
    phase, message = text(experiment, "status", "phase"), text(experiment, "status", "message")
    yield Gate(SafeText("experiment"), _result(phase, terminated=ended), SafeText(), SafeText(message), run, step)
    for one in items(experiment, "status", "analysisRuns"):
        stopped = ended or text(one, "message") in _TERMINATED
        yield Gate(
            SafeText(text(one, "name")),
            _result(text(one, "phase"), terminated=stopped),
            SafeText(),
            SafeText(text(one, "message")),
            SafeText(text(one, "analysisRun")),
            step,
        )


def _result(phase: str, *, terminated: bool) -> GateResult:
    """Ended from outside it may be bad or undecided, never good."""
    result = _RESULTS.get(phase, GateResult.PENDING)
    return result if not terminated or result in BAD else GateResult.TERMINATED
