"""A fleet over two clusters and the local demo: what the screens show of Kubernetes. Plain values, no server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from tests.ui import scenes
from tests.ui.scenes import NOW, endpoint, health
from tests.ui.stand_in import ScriptedDesk, ScriptedReader, services

from mlrelease_tui.domain.details import Details, Happening, Replica
from mlrelease_tui.domain.expectation import expectation_of
from mlrelease_tui.domain.intents import Intent
from mlrelease_tui.domain.logs import LogTail, LogWish, VariantLog, line_of
from mlrelease_tui.domain.plan import Check, CheckStatus, FieldChange, Plan, Refusal, Write
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import (
    BindingSource,
    Endpoint,
    Gate,
    GateResult,
    Native,
    Phase,
    Rollout,
    Step,
    Strategy,
    Verb,
    VerbSupport,
)
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.screens.services import Services
from mlrelease_tui.store.facts import DetailsObserved, LogObserved
from mlrelease_tui.store.state import Freshness, State
from mlrelease_tui.store.store import Store

CAPABILITIES: Final = ("endpoints", "watch", "logs", "follow", "details", "rehearse", "write")
FRAUD: Final = scenes.ref("fraud-scorer")
STABLE, CANARY = "fraud-scorer-6dcf76c59", "fraud-scorer-7c8444db66"
AILING: Final = "1 pod CrashLoopBackOff (4 restarts, last OOMKilled 137)"
STEPS: Final = tuple(
    Step(index, weight, SafeText(label))
    for index, (weight, label) in enumerate(
        [(1000, ""), (None, "pause"), (2500, ""), (None, "analysis"), (5000, ""), (None, "pause 10m")]
    )
)
GATES: Final = (
    Gate(SafeText("success-rate"), GateResult.FAILED, SafeText("0.93"), SafeText("0.93 < 0.99, 3 times"), step=3),
    Gate(SafeText("latency"), GateResult.RUNNING, SafeText("0.21")),
)


def fraud() -> Endpoint:
    """A Rollout whose canary is killed for memory, and whose analysis fails."""
    base = endpoint("fraud-scorer", "41", "42", by="bob", ago=timedelta(minutes=6), phase=Phase.WAITING)
    stable, canary = base.variants
    return replace(
        base,
        variants=(
            replace(stable, name=STABLE, digest="sha256:afb874cba3f2aa", ready=3, desired=3, address=""),
            replace(
                canary,
                name=CANARY,
                digest="sha256:cd52b721bd7fbb",
                ready=0,
                desired=1,
                address="",
                message=SafeText(AILING),
            ),
        ),
        rollout=Rollout(
            Strategy.CANARY,
            Phase.WAITING,
            "41",
            "42",
            step_index=3,
            steps=STEPS,
            started_at=NOW - timedelta(minutes=6),
            message=SafeText("its analysis is inconclusive: somebody has to decide"),
            gates=GATES,
        ),
        native=Native(SafeText("Rollout"), SafeText("Paused")),
        model_source=BindingSource.ANNOTATION,
        url="",
        problems=(SafeText("HPA fraud-scorer sets its replicas as well"),),
        verbs=tuple(
            replace(verb, native=SafeText("stable ReplicaSet's template")) if verb.available else verb
            for verb in (*base.verbs, *_REASONS)
        ),
    )


_REASONS: Final = tuple(
    VerbSupport(verb, False, reason=SafeText(reason))
    for verb, reason in [
        (Verb.RETRY, "fraud-scorer was not aborted"),
        (Verb.SHADOW, "mirroring is a step of the Rollout's own: add it to its steps"),
    ]
)


def _of(item: Endpoint, kind: str, phase: str, *, names: tuple[str, ...] = ()) -> Endpoint:
    """An endpoint of a kind of workload, with its own names for its variants."""
    named = names or tuple(variant.name for variant in item.variants)
    variants = tuple(
        replace(variant, name=name, address="") for variant, name in zip(item.variants, named, strict=True)
    )
    return replace(item, native=Native(SafeText(kind), SafeText(phase)), variants=variants, url="")


def mixed() -> State:
    """Two clusters, the local demo, one registry."""
    batch = _of(endpoint("churn-nightly", "8", connection="prod-us"), "CronJob", "Scheduled")
    items = (
        fraud(),
        _of(endpoint("ranker", "9", "10", weight_bp=1000), "InferenceService", "Ready"),
        _of(endpoint("embed-small", "3"), "Service", "Ready"),
        _of(
            endpoint(
                "fraud-scorer",
                "41",
                connection="prod-us",
                ready=(2, 3),
                problems=("1 of 3 pods became available before the deadline",),
            ),
            "Deployment",
            "ProgressDeadlineExceeded",
        ),
        replace(batch, variants=tuple(replace(one, ready=None, desired=None) for one in batch.variants)),
        _of(
            endpoint("search", "18", "19", connection="prod-us", phase=Phase.HELD, weight_bp=5000), "Canary", "Waiting"
        ),
        endpoint("iris", "1", connection="demo", environment="demo", previous=""),
    )
    state = scenes._state(items)
    kinds = {"prod-eu": "kubernetes", "prod-us": "kubernetes", "demo": "local", "registry": "mlflow"}
    connections = {
        name: replace(
            health(name, kind, environment="production" if kind == "kubernetes" else ""),
            capabilities=CAPABILITIES if kind == "kubernetes" else (),
        )
        for name, kind in kinds.items()
    }
    return replace(
        state,
        connections=MappingProxyType(connections),
        freshness=MappingProxyType({name: Freshness(NOW - timedelta(seconds=3)) for name in kinds}),
    )


def _pod(variant: str, suffix: str, node: str, *, ready: bool = True) -> Replica:
    return Replica(
        SafeText(f"{variant}-{suffix}"),
        variant,
        ready,
        SafeText("Ready" if ready else AILING.removeprefix("1 pod ")),
        0 if ready else 4,
        SafeText("" if ready else "OOMKilled 137"),
        SafeText(node),
        SafeText("sha256:afb874cba3f2" if ready else "sha256:cd52b721bd7f"),
        SafeText("cpu 2, memory 4Gi, nvidia.com/gpu 1"),
        NOW - timedelta(minutes=6),
    )


def _event(seconds: int, reason: str, about: str, text: str, *, count: int = 1, warning: bool = False) -> Happening:
    by = "kubelet" if warning else "rollouts-controller"
    at = NOW - timedelta(seconds=seconds)
    return Happening(at, warning, SafeText(reason), SafeText(about), SafeText(text), count, SafeText(by))


DETAILS: Final = Details(
    FRAUD,
    NOW,
    (
        *(_pod(STABLE, suffix, f"gpu-{node}") for node, suffix in enumerate(("f7dcx", "jdd8j", "t24m4"))),
        _pod(CANARY, "7fbst", "gpu-0", ready=False),
    ),
    (
        _event(
            30, "BackOff", f"Pod {CANARY}-7fbst", "Back-off restarting failed container model", count=12, warning=True
        ),
        _event(
            90, "AnalysisRunInconclusive", "Rollout fraud-scorer", "Step Analysis Run: success-rate is inconclusive"
        ),
        _event(300, "ScalingReplicaSet", "Rollout fraud-scorer", f"Scaled up ReplicaSet {CANARY} (revision 2) to 1"),
    ),
    (
        ("scaled by", SafeText("HPA fraud-scorer: 2 to 10, 4 now, 4 wanted")),
        ("budget", SafeText("PDB fraud-scorer: at least 2 stay; 1 may be evicted now (3 healthy, 2 needed)")),
    ),
    (SafeText("context prod-eu: list nodes: nodes is forbidden"),),
)

CHANGES: Final = (
    FieldChange(
        "Rollout ml/fraud-scorer",
        "spec.template.spec.containers[model].image",
        "registry.example/fraud:42",
        "registry.example/fraud:41",
    ),
    FieldChange(
        "Rollout ml/fraud-scorer",
        "spec.template.spec.containers[model].env[MODEL_URI]",
        "(not shown)",
        "(another value, not shown)",
    ),
    FieldChange("Rollout ml/fraud-scorer", "spec.paused", "", "false"),
    FieldChange("Rollout ml/fraud-scorer", "metadata.annotations[policy.example/checked]", "", "anna", asked=False),
)


class ClusterDesk(ScriptedDesk):
    """Plans the roll-back of a Rollout as its driver does, with what a dry run said."""

    changes: tuple[FieldChange, ...] = CHANGES

    async def prepare(self, intent: Intent) -> Plan | Refusal:
        plan = await super().prepare(intent)
        assert isinstance(plan, Plan)
        assumes = expectation_of(fraud())
        write = Write(
            connection="prod-eu",
            operation="patch",
            target="Rollout ml/fraud-scorer",
            call=f"PATCH rollouts/fraud-scorer: spec.template ← {STABLE}, spec.paused = false",
            payload="{}",
            before="41 75% + 42 25%",
            after="41 alone",
            precondition='status.currentPodHash is "7c8444db66" and status.stableRS is "6dcf76c59"',
            undo="promote 42 again",
            assumes=assumes,
            expects=replace(assumes, present=(STABLE,)),
        )
        beside = sum(not change.asked for change in self.changes)
        told = f"the server would take it: {len(self.changes)} fields would change"
        checks = (
            Check("fresh", CheckStatus.PASS, "read 0 s ago"),
            Check("may", CheckStatus.PASS, "we may patch rollouts"),
            Check(
                "dry run",
                CheckStatus.PASS,
                told + (f", {beside} of them beside what the plan names" if beside else ""),
                self.changes,
            ),
        )
        warnings = ("HPA fraud-scorer owns its replicas",)
        return replace(plan, steps=(write,), checks=checks, undo="promote 42 again", warnings=warnings)


class ClusterReader(ScriptedReader):
    """Answers at once."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store
        self.details: Details | None = DETAILS

    def want_details(self, endpoint: EndpointRef) -> None:
        super().want_details(endpoint)
        if self.details is not None:
            self._store.emit(DetailsObserved(self.details))

    def want_log(self, wish: LogWish) -> None:
        super().want_log(wish)
        last = "MemoryError: 4.1 GiB asked for" if wish.variant == CANARY else "scored 12 rows in 40 ms"
        lines = (*(f"INFO request {number} scored in 12 ms" for number in range(30)), last)
        tail = LogTail(SafeText(f"{wish.variant}-7fbst/model"), tuple(line_of(line.encode()) for line in lines), True)
        self._store.emit(LogObserved(VariantLog(wish, NOW, (tail,))))


def serving(state: State, now: Callable[[], datetime]) -> Services:
    """Services on a scripted state of clusters."""
    given = services(state, now)
    return replace(given, reader=ClusterReader(given.store), desk=ClusterDesk(given.store, now))
