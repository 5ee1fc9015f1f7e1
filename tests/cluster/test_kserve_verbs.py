"""Each verb on an InferenceService and on a Knative Service ends where kubectl by hand ends, on the real controllers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.argo_bench import seated
from tests.cluster.fixtures import Cluster
from tests.cluster.kserve_bench import KnativeMode, Services, StandardMode, spec, split, template, uri
from tests.cluster.verb_table import Row, VerbTable

from mlrelease_tui.domain.intents import (
    AbortRollout,
    Intent,
    PromoteVersion,
    RestartEndpoint,
    RollBack,
    ScaleEndpoint,
    SetWeight,
)
from mlrelease_tui.domain.refs import EndpointRef

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]

KNATIVE = "KServe InferenceService, Knative mode"
STANDARD = "KServe InferenceService, Standard mode"
SERVICE = "Knative Service"
BENCHES: dict[str, Any] = {KNATIVE: KnativeMode, STANDARD: StandardMode, SERVICE: Services}


@dataclass(frozen=True)
class Case:
    """One verb in one state: what leads there, our wish, what is done by hand, and where both end."""

    workload: str
    label: str
    state: str
    wish: Callable[[EndpointRef], Intent]
    by_hand: Callable[[Any], None]
    native: str
    end: str
    writes: str


def _patched(**values: object) -> Callable[[Any], None]:
    return lambda bench: bench.patch("native", spec(**values))


def _traffic(percent: int) -> Callable[[Any], None]:
    return lambda bench: bench.patch("native", {"spec": {"traffic": split("native-00001", "native-00002", percent)}})


def _all_to(number: int) -> Callable[[Any], None]:
    traffic = [{"revisionName": f"native-0000{number}", "percent": 100}]
    return lambda bench: bench.patch("native", {"spec": {"traffic": traffic}})


ANNOTATION = {"annotations": {"mlrelease.dev/restarted-at": "2026-01-01T00:00:00Z"}}
PINNED = "by hand: canaryTrafficPercent 0; old storageUri; wait; canaryTrafficPercent null"
CASES = (
    Case(KNATIVE, "promote VERSION", "at_rest", lambda ref: PromoteVersion(ref, "2"),
         _patched(canaryTrafficPercent=10, model={"storageUri": uri("2")}), "patch: storageUri, canaryTrafficPercent 10",
         "Ready, 1 90% + 2 10%, stable 1, model 2 in the spec, canaryTrafficPercent 10",
         "1 JSON Patch: storageUri and canaryTrafficPercent together"),
    Case(KNATIVE, "weight 50%", "in_canary", lambda ref: SetWeight(ref, 5000),
         _patched(canaryTrafficPercent=50), "patch: canaryTrafficPercent 50",
         "Ready, 1 50% + 2 50%, stable 1, model 2 in the spec, canaryTrafficPercent 50", "1 JSON Patch: canaryTrafficPercent"),
    Case(KNATIVE, "promote --full", "in_canary", lambda ref: PromoteVersion(ref, full=True),
         _patched(canaryTrafficPercent=None), "patch: canaryTrafficPercent null",
         "Ready, 2 100%, stable 2, model 2 in the spec", "1 JSON Patch: canaryTrafficPercent removed"),
    Case(KNATIVE, "abort", "in_canary", AbortRollout, _patched(canaryTrafficPercent=0), "patch: canaryTrafficPercent 0",
         "Ready, 1 100% + 2 0%, stable 1, model 2 in the spec, canaryTrafficPercent 0", "1 JSON Patch: canaryTrafficPercent 0"),
    Case(KNATIVE, "rollback, in canary", "in_canary", RollBack, lambda bench: bench.back_by_kubectl("native"), PINNED,
         "Ready, 1 100%, stable 1, model 1 in the spec",
         "3 JSON Patches: canaryTrafficPercent 0; storageUri; canaryTrafficPercent removed"),
    Case(KNATIVE, "rollback, aborted", "aborted", RollBack, lambda bench: bench.back_by_kubectl("native"), PINNED,
         "Ready, 1 100%, stable 1, model 1 in the spec", "2 JSON Patches: storageUri; canaryTrafficPercent removed"),
    Case(KNATIVE, "rollback, promoted", "promoted", RollBack, lambda bench: bench.back_by_kubectl("native"), PINNED,
         "Ready, 1 100%, stable 1, model 1 in the spec",
         "3 JSON Patches: canaryTrafficPercent 0; storageUri; canaryTrafficPercent removed"),
    Case(KNATIVE, "rollback VERSION, two versions back", "promoted_twice", lambda ref: RollBack(ref, "1"),
         lambda bench: bench.patch("native", spec(model={"storageUri": uri("1")})), "patch: old storageUri",
         "Ready, 1 100%, stable 1, model 1 in the spec",
         "2 JSON Patches: storageUri and canaryTrafficPercent 0; canaryTrafficPercent removed"),
    Case(KNATIVE, "restart", "at_rest", RestartEndpoint, _patched(**ANNOTATION), "patch: an annotation of the predictor",
         "Ready, 1 100%, stable 1, model 1 in the spec", "1 JSON Patch: an annotation of the predictor"),
    Case(KNATIVE, "scale 2", "at_rest", lambda ref: ScaleEndpoint(ref, 2), _patched(minReplicas=2), "patch: minReplicas 2",
         "Ready, 1 100%, stable 1, model 1 in the spec, at least 2 pods", "1 JSON Patch: minReplicas"),
    Case(STANDARD, "promote VERSION", "at_rest", lambda ref: PromoteVersion(ref, "2"),
         _patched(model={"storageUri": uri("2")}), "patch: storageUri",
         "Ready, 1 of 1 pods on 2, model 2 in the spec", "1 JSON Patch: storageUri"),
    Case(STANDARD, "rollback", "promoted", RollBack, _patched(model={"storageUri": uri("1")}), "patch: old storageUri",
         "Ready, 1 of 1 pods on 1, model 1 in the spec", "1 JSON Patch: storageUri"),
    Case(STANDARD, "restart", "at_rest", RestartEndpoint, _patched(**ANNOTATION), "patch: an annotation of the predictor",
         "Ready, 1 of 1 pods on 1, model 1 in the spec", "1 JSON Patch: an annotation of the predictor"),
    Case(STANDARD, "scale 2", "at_rest", lambda ref: ScaleEndpoint(ref, 2), _patched(minReplicas=2), "patch: minReplicas 2",
         "Ready, pods on 1, model 1 in the spec, at least 2 pods", "1 JSON Patch: minReplicas"),
    Case(SERVICE, "promote VERSION", "at_rest", lambda ref: PromoteVersion(ref, "2"),
         lambda bench: bench.patch("native", {"spec": {**template("2"), "traffic": split("native-00001", "", 10, latest=True)}}),
         "patch: image, traffic with the running Revision pinned", "Ready, 1 90% + 2 10%", "1 JSON Patch: image and traffic"),
    Case(SERVICE, "weight 50%", "in_canary", lambda ref: SetWeight(ref, 5000), _traffic(50), "patch: traffic",
         "Ready, 1 50% + 2 50%", "1 JSON Patch: traffic"),
    Case(SERVICE, "promote --full", "in_canary", lambda ref: PromoteVersion(ref, full=True), _all_to(2), "patch: traffic",
         "Ready, 2 100%", "1 JSON Patch: traffic"),
    Case(SERVICE, "abort", "in_canary", AbortRollout, _traffic(0), "patch: traffic", "Ready, 1 100%", "1 JSON Patch: traffic"),
    Case(SERVICE, "rollback, in canary", "in_canary", RollBack, _all_to(1), "patch: traffic",
         "Ready, 1 100%", "1 JSON Patch: traffic"),
    Case(SERVICE, "rollback VERSION, promoted", "promoted", lambda ref: RollBack(ref, "1"), _all_to(1), "patch: traffic",
         "Ready, 1 100%", "1 JSON Patch: traffic"),
)  # fmt: skip


@pytest.mark.usefixtures("knative", "kserve")
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.workload.split()[-2]}-{case.label}".replace(" ", "-"))
async def test_each_verb_ends_where_kubectl_by_hand_ends(
    cluster: Cluster, namespace: str, tmp_path: Path, verb_table: VerbTable, case: Case
) -> None:
    bench = BENCHES[case.workload](cluster, namespace)
    getattr(bench, case.state)("ours", "native")
    case.by_hand(bench)
    async with seated(cluster.kubeconfig, namespace, tmp_path) as seat:
        await seat.do(case.wish(seat.ref("ours")))
        assert bench.same_end("ours", "native", bench.end) == case.end
        endpoint = await seat.look("ours")
        assert endpoint.stamp is not None
        assert str(endpoint.stamp.by) == "ana"
    verb_table.record(Row(case.workload, case.label, case.writes, f"`kubectl` {case.native}", case.end))
