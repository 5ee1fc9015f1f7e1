"""Each verb on Seldon's objects ends where kubectl by hand ends, on stand-ins of its definitions; the status is the test's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from tests.cluster.api import Json
from tests.cluster.argo_bench import seated
from tests.cluster.fixtures import Cluster
from tests.cluster.seldon_bench import (
    CRASHES,
    DEPLOYMENTS,
    EXPERIMENTS,
    MODELS,
    Bench,
    followed,
    loaded,
    model,
    operators,
    predictor,
    uri,
)
from tests.cluster.verb_table import Row, VerbTable

from mlrelease_tui.domain.intents import (
    AbortRollout,
    ContinueRollout,
    HoldRollout,
    Intent,
    PromoteVersion,
    RollBack,
    ScaleEndpoint,
    SetWeight,
    ShadowVersion,
)
from mlrelease_tui.domain.refs import EndpointRef

pytestmark = [pytest.mark.kubernetes, pytest.mark.real, pytest.mark.usefixtures("seldon")]

FIRST: Final = "SeldonDeployment (Seldon Core 1)"
SPLIT: Final = "Experiment (Seldon Core 2)"
ALONE: Final = "Model (Seldon Core 2)"
NOTHING: Final = "none: Seldon has no pause"


@dataclass(frozen=True, slots=True)
class Case:
    """One verb: the versions with their shares before, our wish, what is done by hand (None: there is nothing for it), the end."""

    label: str
    before: tuple[tuple[str, int], ...]
    wish: Callable[[EndpointRef], Intent]
    by_hand: Callable[[Bench, str], None] | None
    native: str
    end: str
    writes: str
    held: bool = False


@pytest.fixture(scope="module")
def bench(cluster: Cluster) -> Iterator[Bench]:
    """A namespace where Seldon's objects get their status from the test."""
    with cluster.namespace() as namespace, operators(cluster.api, namespace):
        yield Bench(cluster, namespace)


def _predictors(*shares: tuple[str, int], **more: Json) -> Callable[[Bench, str], None]:
    """All predictors written by hand: the list is one field."""

    def done(bench: Bench, name: str) -> None:
        found = [predictor(f"p{number}", number, share) for number, share in shares]
        bench.patch(DEPLOYMENTS, name, {"spec": {"predictors": [*found, *more.values()]}})
        bench.wait(DEPLOYMENTS, name, followed)

    return done


SHADOW: Final = predictor("mirror", "2", 100, shadow=True)
FIRST_CASES: Final = (
    Case("promote VERSION", (("1", 100),), lambda ref: PromoteVersion(ref, "2"), _predictors(("1", 90), ("2", 10)),
         "the list of predictors", "Available, 1 90% + 2 10%",
         "2 JSON Patches: a copied predictor of the version at 0; once it is ready, the traffic"),
    Case("promote VERSION, which stands by", (("1", 100), ("2", 0)), lambda ref: PromoteVersion(ref, "2"),
         _predictors(("1", 90), ("2", 10)), "the list of predictors", "Available, 1 90% + 2 10%", "1 JSON Patch: traffic"),
    Case("weight 50%", (("1", 90), ("2", 10)), lambda ref: SetWeight(ref, 5000), _predictors(("1", 50), ("2", 50)),
         "the list of predictors", "Available, 1 50% + 2 50%", "1 JSON Patch: traffic"),
    Case("promote --full", (("1", 90), ("2", 10)), lambda ref: PromoteVersion(ref, full=True), _predictors(("1", 0), ("2", 100)),
         "the list of predictors", "Available, 2 100%, 1 stands by", "1 JSON Patch: traffic"),
    Case("hold", (("1", 90), ("2", 10)), HoldRollout, None, NOTHING, "Available, 1 90% + 2 10%",
         "1 JSON Patch: an annotation; nothing but this tool keeps to it"),
    Case("continue", (("1", 90), ("2", 10)), ContinueRollout, None, NOTHING, "Available, 1 90% + 2 10%",
         "1 JSON Patch: the annotation removed", held=True),
    Case("abort", (("1", 90), ("2", 10)), AbortRollout, _predictors(("1", 100), ("2", 0)), "the list of predictors",
         "Available, 1 100%, 2 stands by", "1 JSON Patch: traffic"),
    Case("rollback, in canary", (("1", 90), ("2", 10)), RollBack, _predictors(("1", 100)), "the list of predictors",
         "Available, 1 100%", "1 JSON Patch: traffic, the predictor removed"),
    Case("rollback, canary that crashes", (("1", 90), (f"2-{CRASHES}", 10)), RollBack, _predictors(("1", 100)),
         "the list of predictors", "Available, 1 100%", "1 JSON Patch: traffic, the predictor removed"),
    Case("rollback VERSION, promoted", (("1", 0), ("2", 100)), lambda ref: RollBack(ref, "1"), _predictors(("1", 100)),
         "the list of predictors", "Available, 1 100%", "1 JSON Patch: traffic, the predictor removed"),
    Case("rollback VERSION, only a version that crashes", ((f"2-{CRASHES}", 100),), lambda ref: RollBack(ref, "1"),
         _predictors(("1", 100)), "the list of predictors", "Available, 1 100%",
         "2 JSON Patches: a copied predictor of the version; once it is ready, everything to it and the other removed"),
    Case("shadow VERSION", (("1", 100),), lambda ref: ShadowVersion(ref, "2", 10_000), _predictors(("1", 100), mirror=SHADOW),
         "the list of predictors", "Available, 1 100%, 2 mirrored", "1 JSON Patch: a copied predictor with shadow"),
)  # fmt: skip


@pytest.mark.parametrize("case", FIRST_CASES, ids=lambda case: case.label.replace(" ", "-"))
async def test_each_verb_on_a_seldon_deployment_whose_status_the_test_writes_ends_where_kubectl_ends(
    bench: Bench, tmp_path: Path, verb_table: VerbTable, case: Case
) -> None:
    number = FIRST_CASES.index(case)
    ours, native = f"ours-{number}", f"native-{number}"
    for name in (ours, native):
        bench.deployed(name, *(predictor(f"p{version}", version, share) for version, share in case.before))
    if case.by_hand is not None:
        case.by_hand(bench, native)
    await _done(bench, ours, tmp_path, case)
    assert bench.deployed_end(ours) == bench.deployed_end(native) == case.end
    told = f"`kubectl patch sdep`: {case.native}" if case.by_hand else case.native
    verb_table.record(Row(FIRST, case.label, case.writes, told, case.end))


def _weights(first: int, second: int) -> Callable[[Bench, str], None]:
    def done(bench: Bench, name: str) -> None:
        candidates = [{"name": f"{name}-a", "weight": first}, {"name": f"{name}-b", "weight": second}]
        bench.patch(EXPERIMENTS, name, {"spec": {"candidates": candidates}})

    return done


def _model(letter: str, version: str, then: Callable[[Bench, str], None] | None = None) -> Callable[[Bench, str], None]:
    def done(bench: Bench, name: str) -> None:
        bench.patch(MODELS, f"{name}-{letter}", {"spec": {"storageUri": uri(version)}})
        bench.wait(MODELS, f"{name}-{letter}", loaded)
        if then is not None:
            then(bench, name)

    return done


SPLIT_CASES: Final = (
    Case("promote VERSION", (("a", 100), ("b", 0)), lambda ref: PromoteVersion(ref, "2"), _weights(90, 10), "the candidates",
         "1 90% + 2 10%, 1 on the default", "1 JSON Patch: weights"),
    Case("promote VERSION, which nothing serves yet", (("a", 100), ("b", 0)), lambda ref: PromoteVersion(ref, "3"),
         _model("b", "3", _weights(90, 10)), "the idle Model's storageUri; the candidates", "1 90% + 3 10%, 1 on the default",
         "2 JSON Patches: the idle Model's storageUri; once it is loaded, the weights"),
    Case("weight 50%", (("a", 90), ("b", 10)), lambda ref: SetWeight(ref, 5000), _weights(50, 50), "the candidates",
         "1 50% + 2 50%, 1 on the default", "1 JSON Patch: weights"),
    Case("promote --full", (("a", 90), ("b", 10)), lambda ref: PromoteVersion(ref, full=True), _model("a", "2", _weights(100, 0)),
         "the default's storageUri; the candidates", "2 100%, 2 on the default",
         "2 JSON Patches: the default Model's storageUri; once it is loaded, the weights"),
    Case("hold", (("a", 90), ("b", 10)), HoldRollout, None, NOTHING, "1 90% + 2 10%, 1 on the default",
         "1 JSON Patch: an annotation; nothing but this tool keeps to it"),
    Case("continue", (("a", 90), ("b", 10)), ContinueRollout, None, NOTHING, "1 90% + 2 10%, 1 on the default",
         "1 JSON Patch: the annotation removed", held=True),
    Case("abort", (("a", 30), ("b", 70)), AbortRollout, _weights(100, 0), "the candidates", "1 100%, 1 on the default",
         "1 JSON Patch: weights"),
    Case("rollback, in canary", (("a", 30), ("b", 70)), RollBack, _weights(100, 0), "the candidates", "1 100%, 1 on the default",
         "1 JSON Patch: weights"),
    Case("rollback VERSION, which nothing serves any more", (("a", 100), ("b", 0)), lambda ref: RollBack(ref, "0"),
         _model("a", "0"), "the default's storageUri", "0 100%, 0 on the default", "1 JSON Patch: the default Model's storageUri"),
)  # fmt: skip


@pytest.mark.parametrize("case", SPLIT_CASES, ids=lambda case: case.label.replace(" ", "-"))
async def test_each_verb_on_an_experiment_whose_status_the_test_writes_ends_where_kubectl_ends(
    bench: Bench, tmp_path: Path, verb_table: VerbTable, case: Case
) -> None:
    number = SPLIT_CASES.index(case)
    ours, native = f"split-ours-{number}", f"split-native-{number}"
    for name in (ours, native):
        bench.split(name, *(share for _, share in case.before))
    if case.by_hand is not None:
        case.by_hand(bench, native)
    await _done(bench, ours, tmp_path, case)
    bench.wait(EXPERIMENTS, native, lambda item: bench.split_end(native) == case.end)
    assert bench.split_end(ours) == bench.split_end(native) == case.end
    told = f"`kubectl patch`: {case.native}" if case.by_hand else case.native
    verb_table.record(Row(SPLIT, case.label, case.writes, told, case.end))


def _served(version: str) -> Callable[[Bench, str], None]:
    return lambda bench, name: bench.patch(MODELS, name, {"spec": {"storageUri": uri(version)}})


ALONE_CASES: Final = (
    Case("promote --full VERSION", (), lambda ref: PromoteVersion(ref, "2", full=True), _served("2"), "storageUri", "2",
         "1 JSON Patch: storageUri"),
    Case("rollback VERSION", (), lambda ref: RollBack(ref, "0"), _served("0"), "storageUri", "0", "1 JSON Patch: storageUri"),
    Case("scale 2", (), lambda ref: ScaleEndpoint(ref, 2), lambda bench, name: bench.patch(MODELS, name, {"spec": {"replicas": 2}}),
         "spec.replicas", "1, 2 replicas asked for", "1 JSON Patch: replicas"),
)  # fmt: skip


@pytest.mark.parametrize("case", ALONE_CASES, ids=lambda case: case.label.replace(" ", "-"))
async def test_each_verb_on_a_model_whose_status_the_test_writes_ends_where_kubectl_ends(
    bench: Bench, tmp_path: Path, verb_table: VerbTable, case: Case
) -> None:
    number = ALONE_CASES.index(case)
    ours, native = f"alone-ours-{number}", f"alone-native-{number}"
    bench.apply(model(ours, "1"), model(native, "1"))
    for name in (ours, native):
        bench.wait(MODELS, name, loaded)
    assert case.by_hand is not None
    case.by_hand(bench, native)
    await _done(bench, ours, tmp_path, case)

    def told(name: str) -> str:
        replicas = bench.get(MODELS, name)["spec"].get("replicas")
        return bench.served(name) + (f", {replicas} replicas asked for" if replicas else "")

    assert told(ours) == told(native) == case.end
    verb_table.record(Row(ALONE, case.label, case.writes, f"`kubectl patch mlm`: {case.native}", case.end))


async def _done(bench: Bench, name: str, root: Path, case: Case) -> None:
    """Our verb, by a desk, until it is seen to have worked."""
    async with seated(bench.cluster.kubeconfig, bench.namespace, root) as seat:
        ref = seat.ref(name)
        if case.held:
            await seat.do(HoldRollout(ref))
        await seat.do(case.wish(ref), "a test")
        endpoint = await seat.look(name)
    assert endpoint.stamp is None or str(endpoint.stamp.by) == "ana"
    assert (endpoint.rollout.hold is not None) == (case.label == "hold")
