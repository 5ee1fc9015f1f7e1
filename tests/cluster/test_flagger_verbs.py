"""Each verb on a Canary ends where kubectl by hand ends, on the real Flagger, seen by reading."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.argo_bench import seated
from tests.cluster.control_plane import ControlPlane
from tests.cluster.controllers import Controller
from tests.cluster.fixtures import Cluster
from tests.cluster.flagger_bench import Bench, image
from tests.cluster.verb_table import Row, VerbTable

from mlrelease_tui.domain.intents import (
    AbortRollout,
    ContinueRollout,
    HoldRollout,
    Intent,
    PromoteVersion,
    RestartEndpoint,
    RetryRollout,
    RollBack,
    ScaleEndpoint,
    SetWeight,
)
from mlrelease_tui.domain.refs import EndpointRef

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(400)]

CANARY = "Flagger Canary"
BLUE_GREEN = "Flagger Canary, blue-green"
PLAIN: dict[str, Any] = {"analysis": {}}
ITERATIONS: dict[str, Any] = {"provider": "kubernetes", "analysis": {"iterations": 1}}
EAGER: dict[str, Any] = {"analysis": {"canaryReadyThreshold": 0}}
QUICK: dict[str, Any] = {"analysis": {"stepWeight": 50, "maxWeight": 50}}
THROUGH = frozenset({"promote VERSION", "retry", "rollback, being promoted", "rollback VERSION, promoted"})
"""Cases that end with a release that Flagger takes through: in one step."""


@dataclass(frozen=True)
class Case:
    """One verb in one state: what leads there, our wish, what is done by hand, and where both end."""

    label: str
    states: tuple[str, ...]
    wish: Callable[[EndpointRef], Intent]
    by_hand: Callable[[Bench, str], None]
    native: str
    end: str
    writes: str
    workload: str = CANARY
    still: bool = False
    """Whether the end is seen without another look of Flagger's."""

    @property
    def name(self) -> str:
        words = f"{'bg ' if self.workload == BLUE_GREEN else ''}{self.label}"
        return "".join(letter if letter.isalnum() else "-" for letter in words.lower()).strip("-").replace("--", "-")

    @property
    def spec(self) -> dict[str, Any]:
        if self.workload == BLUE_GREEN:
            return ITERATIONS
        if self.label in THROUGH:
            return QUICK
        return EAGER if "broken" in self.states else PLAIN


def _spec(**values: object) -> Callable[[Bench, str], None]:
    return lambda bench, name: bench.patch(name, {"spec": values})


def _kubectl(*commands: str) -> Callable[[Bench, str], None]:
    def run(bench: Bench, name: str) -> None:
        for command in commands:
            bench.on_deployment(*command.format(name=name).split())

    return run


def _both(*steps: Callable[[Bench, str], None]) -> Callable[[Bench, str], None]:
    def run(bench: Bench, name: str) -> None:
        for step in steps:
            step(bench, name)

    return run


def _failed(bench: Bench, name: str) -> None:
    bench.failed(name)


def _promoted(bench: Bench, name: str) -> None:
    bench.promoted(name)


def _weighed(percent: int) -> Callable[[Bench, str], None]:
    return lambda bench, name: bench.weigh(name, percent)


def _succeeded(bench: Bench, name: str) -> None:
    bench.reach("Succeeded", name)


def _to_zero(bench: Bench, name: str) -> None:
    bench.on_deployment("scale", f"deployment/{name}", "--replicas=0")


SET_IMAGE = f"set image deployment/{{name}} model={image('2')}"
UNDO = "rollout undo deployment/{name}"
UNDO_PRIMARY = "rollout undo deployment/{name}-primary"
CASES = (
    Case("promote VERSION", ("at_rest",), lambda ref: PromoteVersion(ref, "2"), _kubectl(SET_IMAGE),
         "set image deployment/NAME", "Succeeded, 2 100%, 1 pod in the primary, 2 in the target",
         "1 JSON Patch on the target: image, history"),
    Case("promote VERSION --full", ("at_rest",), lambda ref: PromoteVersion(ref, "2", full=True),
         _both(_spec(skipAnalysis=True), _kubectl(SET_IMAGE), _succeeded, _spec(skipAnalysis=None)),
         "patch: skipAnalysis true; set image deployment/NAME; wait; patch: skipAnalysis null",
         "Succeeded, 2 100%, 1 pod in the primary, 2 in the target",
         "3 JSON Patches: skipAnalysis; image in the target; skipAnalysis removed"),
    Case("promote --full", ("released",), lambda ref: PromoteVersion(ref, full=True), _promoted,
         "patch: skipAnalysis true; wait; patch: skipAnalysis null", "Succeeded, 2 100%, 1 pod in the primary, 2 in the target",
         "2 JSON Patches: skipAnalysis; skipAnalysis removed"),
    Case("weight 50%", ("released",), lambda ref: SetWeight(ref, 5000), _both(_spec(suspend=True), _weighed(50)),
         "patch: suspend true; patch httproute: weights",
         "Progressing, 1 50% + 2 50%, 1 pod in the primary, 2 in the target, suspended",
         "2 JSON Patches: suspend; weights of the route", still=True),
    Case("hold", ("released",), HoldRollout, _spec(suspend=True), "patch: suspend true",
         "Progressing, 1 80% + 2 20%, 1 pod in the primary, 2 in the target, suspended", "1 JSON Patch: suspend, who and why",
         still=True),
    Case("continue", ("released", "held"), ContinueRollout, _spec(suspend=None), "patch: suspend null",
         "Progressing, 1 80% + 2 20%, 1 pod in the primary, 2 in the target", "1 JSON Patch: suspend removed", still=True),
    Case("abort", ("released",), AbortRollout, _failed, "patch --subresource=status: failedChecks 1000",
         "Failed, 1 100%, 1 pod in the primary, 2 in the target", "1 JSON Patch on status: failedChecks"),
    Case("abort, held", ("released", "held"), AbortRollout, _both(_spec(suspend=None), _failed),
         "patch: suspend null; patch --subresource=status: failedChecks 1000",
         "Failed, 1 100%, 1 pod in the primary, 2 in the target", "2 JSON Patches: failedChecks on status; suspend removed"),
    Case("rollback, in canary", ("released",), RollBack, _both(_failed, _kubectl(UNDO)),
         "patch --subresource=status: failedChecks 1000; wait; rollout undo deployment/NAME",
         "Failed, 1 100%, 1 pod in the primary, 1 in the target",
         "2 JSON Patches: failedChecks on status; the target's old template"),
    Case("rollback, held", ("released", "held"), RollBack, _both(_spec(suspend=None), _failed, _kubectl(UNDO)),
         "patch: suspend null; patch --subresource=status: failedChecks 1000; wait; rollout undo deployment/NAME",
         "Failed, 1 100%, 1 pod in the primary, 1 in the target",
         "3 JSON Patches: failedChecks on status; suspend removed; the target's old template"),
    Case("rollback, failed", ("released", "failed"), RollBack, _kubectl(UNDO), "rollout undo deployment/NAME",
         "Failed, 1 100%, 1 pod in the primary, 1 in the target", "1 JSON Patch: the target's old template"),
    Case("rollback, being promoted", ("released", "promoting"), lambda ref: RollBack(ref, "1"),
         _both(_kubectl(UNDO_PRIMARY), _succeeded, _kubectl(UNDO)),
         "rollout undo deployment/NAME-primary; wait; rollout undo deployment/NAME",
         "Succeeded, 1 100%, 1 pod in the primary, 1 in the target", "2 JSON Patches: the primary's old template; the target's"),
    Case("rollback VERSION, promoted", ("released", "promoted"), lambda ref: RollBack(ref, "1"), _kubectl(UNDO_PRIMARY, UNDO),
         "rollout undo deployment/NAME-primary; rollout undo deployment/NAME",
         "Succeeded, 1 100%, 1 pod in the primary, 1 in the target", "2 JSON Patches: the primary's old template; the target's"),
    Case("rollback, failed promotion", ("broken",), RollBack,
         _both(_kubectl(UNDO_PRIMARY), _weighed(0), _kubectl(UNDO), _to_zero),
         "rollout undo deployment/NAME-primary; patch httproute: weights; rollout undo and scale deployment/NAME",
         "Failed, 1 100%, 1 pod in the primary, 1 in the target",
         "3 JSON Patches: the primary's old template; weights of the route; the target's old template, no replicas"),
    Case("retry", ("released", "failed"), RetryRollout, _kubectl("rollout restart deployment/{name}"),
         "rollout restart deployment/NAME", "Succeeded, 2 100%, 1 pod in the primary, 2 in the target",
         "1 JSON Patch: an annotation in the target's template"),
    Case("restart", ("at_rest",), RestartEndpoint, _kubectl("rollout restart deployment/{name}-primary"),
         "rollout restart deployment/NAME-primary", "Initialized, 1 100%, 1 pod in the primary, 1 in the target",
         "1 JSON Patch: an annotation in the primary's template", still=True),
    Case("scale 2", ("at_rest",), lambda ref: ScaleEndpoint(ref, 2), _kubectl("scale deployment/{name}-primary --replicas=2"),
         "scale deployment/NAME-primary --replicas=2", "Initialized, 1 100%, 2 pods in the primary, 1 in the target",
         "1 JSON Patch on scale of the primary: replicas", still=True),
    Case("promote VERSION", ("at_rest",), lambda ref: PromoteVersion(ref, "2"), _kubectl(SET_IMAGE),
         "set image deployment/NAME", "Succeeded, 2, 1 pod in the primary, 2 in the target",
         "1 JSON Patch on the target: image, history", BLUE_GREEN),
    Case("promote --full", ("released",), lambda ref: PromoteVersion(ref, full=True), _promoted,
         "patch: skipAnalysis true; wait; patch: skipAnalysis null", "Succeeded, 2, 1 pod in the primary, 2 in the target",
         "2 JSON Patches: skipAnalysis; skipAnalysis removed", BLUE_GREEN),
    Case("abort", ("released",), AbortRollout, _failed, "patch --subresource=status: failedChecks 1000",
         "Failed, 1, 1 pod in the primary, 2 in the target", "1 JSON Patch on status: failedChecks", BLUE_GREEN),
    Case("rollback, before its promotion", ("released",), RollBack, _both(_failed, _kubectl(UNDO)),
         "patch --subresource=status: failedChecks 1000; wait; rollout undo deployment/NAME",
         "Failed, 1, 1 pod in the primary, 1 in the target", "2 JSON Patches: failedChecks on status; the target's old template",
         BLUE_GREEN),
)  # fmt: skip


@pytest.fixture(scope="module")
def bench(cluster: Cluster, control_plane: ControlPlane, flagger_started: tuple[Controller, Any]) -> Iterator[Bench]:
    """The Canaries of all cases, each twice and in the state of its case: Flagger takes them there all at once."""
    flagger_started[0].start()
    with cluster.namespace() as place:
        made = Bench(control_plane.api, control_plane.kubectl, place)
        pairs = {case.name: (f"{case.name}-ours", f"{case.name}-native") for case in CASES}
        kinds: defaultdict[str, list[str]] = defaultdict(list)
        wanted: defaultdict[str, list[str]] = defaultdict(list)
        for case in CASES:
            kinds[json.dumps(case.spec)] += pairs[case.name]
            for state in case.states:
                wanted[state] += pairs[case.name]
        for spec, names in kinds.items():
            made.made(*names, **json.loads(spec))
        made.reach("Initialized", *(name for names in kinds.values() for name in names))
        for state in ("released", "held", "failed", "promoting", "promoted", "broken"):
            getattr(made, state)(*wanted[state])
        yield made


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_each_verb_ends_where_kubectl_by_hand_ends(
    bench: Bench, control_plane: ControlPlane, tmp_path: Path, verb_table: VerbTable, case: Case
) -> None:
    ours, native = f"{case.name}-ours", f"{case.name}-native"
    case.by_hand(bench, native)
    async with seated(control_plane.kubeconfig, bench.namespace, tmp_path) as seat:
        with bench.looking(*(() if case.still else (ours, native))):
            plan = await seat.plan(case.wish(seat.ref(ours)))
            assert len(plan.steps) == int(case.writes[0])
            outcome = await seat.submit(plan)
            assert outcome.kind == "applied", outcome
            bench.same_end(ours, native, case.end)
        endpoint = await seat.look(ours)
        assert endpoint.stamp is not None
        assert str(endpoint.stamp.by) == "ana"
    verb_table.record(Row(case.workload, case.label, case.writes, f"`kubectl` {case.native}", case.end))
