"""Scripted states with a fixed clock: what each screen is drawn from in tests. Plain values, no server."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final

from mlrelease_tui.domain.action import AuditEntry
from mlrelease_tui.domain.connection import ConnectionHealth, LinkState
from mlrelease_tui.domain.metrics import Coverage, Histogram, VariantSample
from mlrelease_tui.domain.models import AliasStamp, Model, ModelVersion, Readiness
from mlrelease_tui.domain.refs import EndpointRef, ModelRef, VersionRef
from mlrelease_tui.domain.rollout import (
    BindingSource,
    Endpoint,
    Hold,
    Native,
    Phase,
    Role,
    Rollout,
    Stamp,
    Step,
    Strategy,
    Variant,
    Verb,
    VerbSupport,
)
from mlrelease_tui.domain.status import Binding, Guard
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.domain.verdict import Metric, Verdict, VerdictKind
from mlrelease_tui.store.state import Freshness, State

NOW: Final = datetime(2026, 3, 1, 1, 35, 12, tzinfo=UTC)
BOUNDS: Final = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
STEPS: Final = tuple(Step(index, weight) for index, weight in enumerate((1000, 2500, 5000, 10_000)))

_ALL_VERBS: Final = tuple(
    VerbSupport(verb, True, SafeText("weight in routes.json"))
    for verb in Verb
    if verb.value in {"promote", "weight", "hold", "continue", "abort", "rollback"}
)
_MISSING: Final = (
    VerbSupport(Verb.SCALE, False, reason=SafeText("one process a variant: nothing to scale")),
    VerbSupport(Verb.SWITCH, False, reason=SafeText("no blue-green here")),
)


def ref(name: str, connection: str = "prod-eu", namespace: str = "ml") -> EndpointRef:
    return EndpointRef(connection, namespace, name)


def readings(
    endpoint: EndpointRef,
    variant: str,
    *,
    rate: float = 200.0,
    errors: Sequence[float] = (0.002,),
    slow: Sequence[float] = (0.01,),
    count: int = 60,
    every_s: float = 5.0,
    now: datetime = NOW,
    coverage: Coverage = Coverage.OK,
) -> tuple[VariantSample, ...]:
    """Cumulative readings up to `now`. `errors` and `slow` (shares that fail, shares above 400 ms) are spread over time."""
    found: list[VariantSample] = []
    total = failed = 0.0
    counts = [0.0] * (len(BOUNDS) + 1)
    for index in range(count):
        share = index * len(errors) // count
        wave = 1 + 0.2 * ((index * 7) % 5 - 2) / 2
        requests = rate * every_s * wave
        total += requests
        failed += requests * errors[share]
        late = requests * slow[index * len(slow) // count]
        fast = requests - late
        for bound, part in enumerate((0.55, 0.85, 0.97, 1.0)):
            counts[bound] += fast * part
        counts[4] += fast + late * 0.6
        counts[5] += fast + late
        counts[6] += fast + late
        at = now - timedelta(seconds=every_s * (count - 1 - index))
        found.append(
            VariantSample(
                endpoint,
                variant,
                at,
                every_s * index,
                total,
                failed,
                Histogram(BOUNDS, tuple(counts)),
                3.0,
                coverage if index == count - 1 else Coverage.OK,
            )
        )
    return tuple(found)


def endpoint(
    name: str,
    stable: str,
    canary: str = "",
    *,
    weight_bp: int = 2500,
    connection: str = "prod-eu",
    environment: str = "production",
    phase: Phase | None = None,
    hold: Hold | None = None,
    by: str = "ci",
    ago: timedelta = timedelta(days=3),
    verb: str = "promote",
    problems: tuple[str, ...] = (),
    ready: tuple[int, int] = (3, 3),
    previous: str = "",
    verbs: tuple[VerbSupport, ...] = (*_ALL_VERBS, *_MISSING),
    step: int = 1,
    alias: str = "champion",
) -> Endpoint:
    variants = [
        Variant(
            f"{name}-v{stable}",
            Role.STABLE,
            stable,
            10_000 - (weight_bp if canary else 0),
            "sha256:9f3c11",
            *ready,
            address="http://127.0.0.1:4101",
            started_at=NOW - timedelta(days=3),
        )
    ]
    if canary:
        variants.append(
            Variant(
                f"{name}-v{canary}",
                Role.CANARY,
                canary,
                weight_bp,
                "sha256:77ab02",
                1,
                1,
                address="http://127.0.0.1:4102",
                started_at=NOW - ago,
            )
        )
    rollout = Rollout(
        Strategy.CANARY,
        phase or (Phase.PROGRESSING if canary else Phase.COMPLETE),
        stable,
        canary or stable,
        step_index=step if canary else None,
        steps=STEPS if canary else (),
        hold=hold,
        started_at=NOW - ago,
    )
    where = EndpointRef(connection, "ml", name)
    return Endpoint(
        where,
        f"uid-{name}",
        f"r-{name}-7",
        tuple(variants),
        rollout,
        Native(SafeText("traefik route"), SafeText("generation 7")),
        NOW - timedelta(seconds=2),
        environment,
        ModelRef("registry", name),
        BindingSource.BINDING,
        alias,
        previous,
        True,
        Stamp(f"0199-{name}", verb, SafeText(by), SafeText("weekly release"), NOW - ago),
        verbs=verbs,
        problems=tuple(SafeText(item) for item in problems),
        url=f"http://127.0.0.1:4100/{name}",
    )


def model(name: str, champion: str, versions: int = 3) -> Model:
    return Model(
        ModelRef("registry", name),
        MappingProxyType({"champion": champion}),
        SafeText(f"{name}: what it predicts, and for whom"),
        latest_version=str(max(int(champion), versions)),
        version_count=versions,
        stamps=MappingProxyType(
            {
                "champion": AliasStamp(
                    "champion",
                    champion,
                    str(int(champion) - 1),
                    SafeText("ci"),
                    SafeText("weekly release"),
                    "0199",
                    NOW,
                )
            }
        ),
        observed_at=NOW - timedelta(seconds=3),
    )


def version(
    name: str, number: str, readiness: Readiness = Readiness.READY, aliases: tuple[str, ...] = ()
) -> ModelVersion:
    return ModelVersion(
        VersionRef(ModelRef("registry", name), number),
        readiness,
        source=SafeText(f"models:/{name}/{number}"),
        digest=f"sha256:{int(number):064x}",
        run_id=f"run{number}",
        aliases=aliases,
        created_at=NOW - timedelta(days=50 - int(number)),
        created_by=SafeText("ci"),
    )


def health(name: str, kind: str, state: LinkState = LinkState.OK, **more: object) -> ConnectionHealth:
    return ConnectionHealth(
        name,
        kind,
        state,
        latency_s=0.012,
        observed_at=NOW - timedelta(seconds=2),
        **more,  # type: ignore[arg-type]
    )


def entry(
    seq: int, minutes: int, verb: str, target: str, result: str, actor: str = "bob", summary: str = ""
) -> AuditEntry:
    return AuditEntry(
        f"0199-{seq}",
        "bastion/1000",
        seq,
        "outcome",
        NOW - timedelta(minutes=minutes),
        SafeText(actor),
        verb,
        SafeText(target),
        SafeText(summary),
        SafeText("weekly release"),
        result,
        f"0199-{seq}",
        "ab" * 32,
        "cd" * 32,
    )


AUDIT: Final = (
    entry(1, 4000, "promote", "prod-eu/ml/churn", "applied", "ci", "v6 > v7, all traffic"),
    entry(2, 130, "promote", "prod-eu/ml/ranker", "applied", "cj", "v10 at 10%"),
    entry(3, 125, "hold", "prod-eu/ml/ranker", "applied", "cj", "wait for the weekend numbers"),
    entry(4, 6, "promote", "prod-eu/ml/fraud-scorer", "applied", "bob", "v42 10% > 25%"),
)


def healthy(now: datetime = NOW) -> State:
    """Three endpoints, nothing to do."""
    items = (endpoint("churn", "7", previous="6"), endpoint("embed-small", "3"), endpoint("ranker", "10", previous="9"))
    return _state(items, now=now)


def degraded(now: datetime = NOW) -> State:
    """Three in the morning: one canary hurts users, one release is held, one waits, one link is down."""
    fraud = endpoint("fraud-scorer", "41", "42", by="bob", ago=timedelta(minutes=6))
    items = (
        fraud,
        endpoint(
            "ranker",
            "9",
            "10",
            weight_bp=1000,
            phase=Phase.HELD,
            by="cj",
            ago=timedelta(hours=2),
            step=0,
            hold=Hold(SafeText("cj"), SafeText("wait for the weekend numbers"), NOW - timedelta(hours=2)),
        ),
        endpoint("search", "18", "19", weight_bp=5000, phase=Phase.WAITING, by="ci", ago=timedelta(minutes=40), step=2),
        endpoint("embed-small", "3", ago=timedelta(days=9), problems=("replica 2 restarted 4 times in an hour",)),
        endpoint("vision-edge", "17", connection="edge", ago=timedelta(days=1), previous="16"),
        endpoint("churn", "7", previous="6"),
        endpoint("recommend", "5", connection="prod-us", environment="production", previous="4"),
    )
    series = {
        fraud.ref: {
            "fraud-scorer-v41": readings(fraud.ref, "fraud-scorer-v41", rate=150, errors=(0.002, 0.003, 0.002)),
            "fraud-scorer-v42": readings(
                fraud.ref, "fraud-scorer-v42", rate=50, errors=(0.004, 0.01, 0.03, 0.041), slow=(0.02, 0.2, 0.3, 0.35)
            ),
        }
    }
    state = _state(items, series=series, now=now)
    connections = {
        **state.connections,
        "edge": health(
            "edge", "docker", LinkState.DOWN, error=SafeText("connection refused"), error_code="unreachable"
        ),
    }
    freshness = {
        **state.freshness,
        "edge": Freshness(NOW - timedelta(minutes=4), NOW - timedelta(minutes=4), "unreachable", "connection refused"),
    }
    verdict = Verdict(
        VerdictKind.HARM, "canary 42 fails 4.1% of requests, stable 0.2%: harm", 3012, 3012, 0.0, Metric.ERRORS
    )
    return _replace(state, connections=connections, freshness=freshness, verdicts={fraud.ref: verdict})


def stale(now: datetime = NOW) -> State:
    """The first paint: all from the last run, nothing read yet."""
    state = degraded(now)
    return _replace(
        state,
        connections={},
        freshness={},
        series={},
        verdicts={},
        from_cache=frozenset({"prod-eu", "prod-us", "edge", "registry"}),
    )


NAMES: Final = (
    "\x1b]52;c;ZXZpbA==\x07clip",
    "[@click=app.quit]press me[/]",
    "[/] [TODO] $x",
    "bidi\u202egnp.exe",
    "zero\u200bwidth",
    "line\nbreak\ttab",
    "日本語のモデル名がとても長い",
    "e\u0301\u0301\u0301\u0301\u0301\u0301\u0301marks",
    "n" * 10_000,
    "",
)
"""Names that try to drive the terminal, bind a click, break a line or an alignment."""


def hostile(now: datetime = NOW) -> State:
    items = []
    for index, name in enumerate(NAMES):
        shown = SafeText(name)
        base = endpoint(f"endpoint-{index}", "7", "8" if index % 2 else "", by="[red]bob[/red]")
        where = EndpointRef("prod-eu", "ml", shown)
        items.append(_renamed(base, where, SafeText(name)))
    return _state(tuple(items), now=now)


def many(count: int, now: datetime = NOW) -> State:
    return _state(
        tuple(endpoint(f"endpoint-{index:05d}", "7", previous="6") for index in range(count)), now=now, quiet=True
    )


def empty(now: datetime = NOW) -> State:
    """Connections answer and serve nothing."""
    return _state((), now=now)


def loading() -> State:
    """Nothing was ever read."""
    return State()


def _renamed(item: Endpoint, where: EndpointRef, problem: SafeText) -> Endpoint:
    from dataclasses import replace

    return replace(item, ref=where, problems=(problem,))


def _state(
    items: tuple[Endpoint, ...],
    *,
    series: Mapping[EndpointRef, Mapping[str, tuple[VariantSample, ...]]] | None = None,
    now: datetime = NOW,
    quiet: bool = False,
) -> State:
    found: dict[EndpointRef, Mapping[str, tuple[VariantSample, ...]]] = {}
    if not quiet:
        for item in items:
            found[item.ref] = {
                variant.name: readings(item.ref, variant.name, rate=200.0 * (variant.weight_bp or 0) / 10_000, now=now)
                for variant in item.variants
            }
    found.update(series or {})
    connections = {
        "prod-eu": health("prod-eu", "kubernetes", environment="production"),
        "prod-us": health("prod-us", "kubernetes", environment="production"),
        "edge": health("edge", "docker"),
        "registry": health("registry", "mlflow"),
    }
    fresh = {name: Freshness(now - timedelta(seconds=3)) for name in connections}
    models = {}
    bindings = {}
    for item in items:
        stable = item.variants[0].version
        if item.model is not None:
            models[item.model] = model(item.model.name, stable)
            bindings[item.ref] = Binding(item.ref, item.model, "champion", Guard(0.01, 0.4))
    return State(
        connections=MappingProxyType(connections),
        freshness=MappingProxyType(fresh),
        endpoints=MappingProxyType({item.ref: item for item in items}),
        models=MappingProxyType(models),
        series=MappingProxyType(found),
        bindings=MappingProxyType(bindings),
        audit=AUDIT if items else (),
    )


def _replace(state: State, **changes: object) -> State:
    from dataclasses import replace

    frozen = {key: MappingProxyType(value) if isinstance(value, dict) else value for key, value in changes.items()}
    return replace(state, **frozen)  # type: ignore[arg-type]


SCENES: Final[Mapping[str, Callable[[datetime], State]]] = {
    "healthy": healthy,
    "degraded": degraded,
    "stale": stale,
    "hostile": hostile,
    "empty": empty,
    "loading": lambda now: loading(),
    "many": lambda now: many(10_000, now),
}
