"""Scripted states of registries, the audit and the connections, with a desk that plans alias moves. Plain values, no server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final

from tests.ui import scenes
from tests.ui.scenes import NAMES, NOW
from tests.ui.stand_in import ScriptedDesk, ScriptedReader

from mlrelease_tui.domain.action import AuditCheck, AuditEntry, OpenAction
from mlrelease_tui.domain.connection import ConnectionHealth, LinkState
from mlrelease_tui.domain.expectation import AliasExpectation
from mlrelease_tui.domain.intents import Intent, MoveAlias
from mlrelease_tui.domain.models import AliasStamp, Dataset, Lineage, Model, ModelVersion, Readiness
from mlrelease_tui.domain.plan import Check, CheckStatus, Direction, Level, Plan, ReadFrom, Refusal, Write
from mlrelease_tui.domain.refs import ModelRef, VersionRef
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.screens.services import Appearance, Services
from mlrelease_tui.store.state import Freshness, State, VersionList
from mlrelease_tui.store.store import Store

FRAUD: Final = ModelRef("registry", "fraud-scorer")
CAPABLE: Final = ("versions", "lineage", "alias", "write")


def lineage(number: int, **metrics: float | str) -> Lineage:
    """A run's record: what changes with the version's number is what a comparison should show."""
    values: dict[str, float | SafeText] = {
        "accuracy": 0.9 + number / 1000,
        "auc": 0.97,
        "loss": SafeText("NaN") if number == 42 else 0.21,
    }
    values |= {key: value if isinstance(value, float) else SafeText(value) for key, value in metrics.items()}
    extra = ", device: string?" if number >= 42 else ""
    return Lineage(
        SafeText(f"run{number}a7f3c2"),
        SafeText(f"nightly-{number}"),
        MappingProxyType(
            {
                "max_depth": SafeText(str(6 + number % 3)),
                "learning_rate": SafeText("0.05"),
                "features": SafeText("amount, merchant, hour, country, " * 3),
            }
        ),
        MappingProxyType(values),
        (Dataset(SafeText("transactions"), SafeText(f"8f2e{number:04d}"), SafeText("training")),),
        SafeText(f"amount: double, merchant: string, hour: long{extra}"),
        SafeText("score: double"),
        SafeText("ci"),
        NOW - timedelta(days=3),
    )


def version(
    number: int, readiness: Readiness = Readiness.READY, model: ModelRef = FRAUD, **more: object
) -> ModelVersion:
    found = ModelVersion(
        VersionRef(model, str(number)),
        readiness,
        source=SafeText(f"models:/m-{number:08d}"),
        digest=f"sha256:{number:064x}",
        run_id=f"run{number}a7f3c2",
        created_at=NOW - timedelta(hours=6 * (45 - number)),
        created_by=SafeText("ci" if number % 4 else "anna"),
        tags=MappingProxyType({"stage": SafeText("night" if number % 2 else "day")}),
    )
    return replace(found, **more)  # type: ignore[arg-type]


def versions(newest: int, count: int, model: ModelRef = FRAUD) -> tuple[ModelVersion, ...]:
    special = {newest: Readiness.PENDING, newest - 4: Readiness.FAILED}
    return tuple(
        version(number, special.get(number, Readiness.READY), model) for number in range(newest, newest - count, -1)
    )


def model(name: str, aliases: Mapping[str, str], latest: int, *, moved_past_us: bool = False) -> Model:
    stamps = {
        alias: AliasStamp(
            alias,
            str(int(at) - 1) if moved_past_us else at,
            str(int(at) - 2) if moved_past_us else str(int(at) - 1),
            SafeText("ci"),
            SafeText("weekly release"),
            "0199-7",
            NOW - timedelta(days=2),
        )
        for alias, at in aliases.items()
    }
    return Model(
        ModelRef("registry", name),
        MappingProxyType(dict(aliases)),
        SafeText(f"Scores for {name}: what they mean, for whom, and who answers when they are wrong"),
        MappingProxyType({"team": SafeText("risk"), "tier": SafeText("1")}),
        str(latest),
        latest,
        MappingProxyType(stamps),
        NOW - timedelta(days=1),
        NOW - timedelta(seconds=3),
    )


def registry_health(state: LinkState = LinkState.OK, **more: object) -> ConnectionHealth:
    return replace(
        scenes.health("registry", "mlflow", state),
        capabilities=CAPABLE,
        server=SafeText("MLflow 3.4.0"),
        address=SafeText("http://127.0.0.1:5000"),
        credential_source="keyring",
        identity=SafeText("anna"),
        **more,  # type: ignore[arg-type]
    )


def with_models(state: State, models: tuple[Model, ...], health: ConnectionHealth | None = None) -> State:
    return replace(
        state,
        models=MappingProxyType({item.ref: item for item in models}),
        connections=MappingProxyType({**state.connections, "registry": health or registry_health()}),
    )


MODELS: Final = (
    model("churn", {"champion": "7"}, 9),
    model("embed-small", {"champion": "3", "challenger": "5"}, 5),
    model("ranker", {"champion": "10"}, 10),
    model("fraud-scorer", {"champion": "41", "challenger": "42"}, 44),
    model("unused-model", {}, 1),
)


def healthy(now: datetime = NOW) -> State:
    state = with_models(scenes.healthy(now), MODELS)
    known = versions(44, 40)
    return replace(
        state,
        versions=MappingProxyType({FRAUD: VersionList(known, "", now)}),
        lineage=MappingProxyType({item.ref: lineage(int(item.ref.version)) for item in known}),
    )


def degraded(now: datetime = NOW) -> State:
    """An endpoint does not run what the alias says; somebody moved an alias without this tool; a version failed."""
    models = (
        *(item for item in MODELS if item.ref.name not in {"churn", "recommend"}),
        model("churn", {"champion": "9"}, 9),
        model("recommend", {"champion": "5"}, 5, moved_past_us=True),
    )
    state = with_models(scenes.degraded(now), models)
    known = versions(44, 40)
    return replace(
        state,
        versions=MappingProxyType({FRAUD: VersionList(known, "40", now)}),
        lineage=MappingProxyType({item.ref: lineage(int(item.ref.version)) for item in known}),
    )


def stale(now: datetime = NOW) -> State:
    """The registry went silent four minutes ago: what is shown is what it said before."""
    since = now - timedelta(minutes=4)
    down = registry_health(
        LinkState.DOWN,
        error_code="timeout",
        error=SafeText("registry did not answer within 10 s"),
        hint=SafeText("is the server up? `curl http://127.0.0.1:5000/health` says"),
    )
    state = replace(degraded(now), lineage=MappingProxyType({}))
    return replace(
        state,
        connections=MappingProxyType({**state.connections, "registry": replace(down, latency_s=None)}),
        freshness=MappingProxyType(
            {**state.freshness, "registry": Freshness(since, since, "timeout", "registry did not answer within 10 s")}
        ),
    )


def error(now: datetime = NOW) -> State:
    """The registry never answered: it does not take our credential."""
    state = stale(now)
    refused = registry_health(
        LinkState.AUTH,
        error_code="unauthenticated",
        error=SafeText("the server answered 401 to the credential from keyring"),
        hint=SafeText("`mlrelease connections login registry` asks for a new one"),
    )
    return replace(
        state,
        connections=MappingProxyType({**state.connections, "registry": refused}),
        models=MappingProxyType({}),
        versions=MappingProxyType({}),
    )


def hostile(now: datetime = NOW) -> State:
    found: list[Model] = []
    for name in NAMES:
        text = SafeText(name)
        plain = model("x", {"champion": "2"}, 2)
        stamp = replace(plain.stamps["champion"], by=text, why=text)
        found.append(
            replace(
                plain,
                ref=ModelRef("registry", text),
                description=text,
                tags=MappingProxyType({str(text): text}),
                stamps=MappingProxyType({"champion": stamp}),
            )
        )
    state = with_models(scenes.healthy(now), tuple(found))
    bad = ModelRef("registry", SafeText(NAMES[0]))
    told = SafeText(NAMES[0])
    evil = lineage(2, **{str(SafeText(name)): str(SafeText(name)) for name in NAMES})
    evil = replace(
        evil,
        params=MappingProxyType({str(SafeText(name)): SafeText(name) for name in NAMES}),
        datasets=tuple(Dataset(SafeText(name), SafeText(name), SafeText(name)) for name in NAMES),
        signature_inputs=SafeText(", ".join(NAMES)),
    )
    known = tuple(
        version(number, model=bad, source=told, description=told, created_by=told, readiness_message=told)
        for number in (2, 1)
    )
    return replace(
        state,
        versions=MappingProxyType({bad: VersionList(known, "", now)}),
        lineage=MappingProxyType({known[0].ref: evil, known[1].ref: lineage(1)}),
    )


def many(now: datetime = NOW, count: int = 10_000) -> State:
    """One model with ten thousand versions, all read."""
    state = with_models(scenes.healthy(now), (model("fraud-scorer", {"champion": "41"}, count),))
    return replace(state, versions=MappingProxyType({FRAUD: VersionList(versions(count, count), "", now)}))


# --- the audit


def record(seq: int, kind: str, minutes: float, intent_id: str = "", **more: object) -> AuditEntry:
    """One record; `detail` is what the log would hold of it."""
    entry = AuditEntry(
        intent_id if kind == "intent" else f"0199-r{seq}",
        "bastion/1000",
        seq,
        kind,
        NOW - timedelta(minutes=minutes),
        SafeText("bob"),
        intent_id=intent_id,
        plan_hash="ab12cd34ef56" + "0" * 52,
        line_hash=f"{seq:02x}" * 32,
    )
    return replace(entry, **more)  # type: ignore[arg-type]


def action(
    seq: int,
    minutes: float,
    verb: str,
    target: str,
    result: str,
    *,
    actor: str = "bob",
    why: str = "weekly release",
    before: str = "v42 25%, v41 75%",
    after: str = "v42 0%, v41 100%",
) -> tuple[AuditEntry, ...]:
    """The records of one action of one write: intent, sent, step and (unless `result` is "") outcome."""
    key = f"0199a{seq:03d}-7c1d"
    common = {
        "actor": SafeText(actor),
        "verb": verb,
        "target": SafeText(target),
        "summary": SafeText(f"{verb} {target}"),
    }
    call = "replace /srv/traefik/routes.json#fraud-scorer: generation 7 > 8"
    step = {
        "connection": "prod-eu",
        "call": call,
        "before": before,
        "after": after,
        "precondition": "generation is 7",
        "undo": "put generation 7's weights back",
    }
    found = [
        record(
            seq,
            "intent",
            minutes,
            key,
            why=SafeText(why),
            detail=MappingProxyType(
                {"kind": "intent", "action": {"verb": verb, "steps": [step]}, "confirm": {"level": 2, "typed": False}}
            ),
            **common,
        ),
        record(
            seq + 1,
            "sent",
            minutes - 0.01,
            key,
            detail=MappingProxyType({"kind": "sent", "action": {"step": 0, "call": call}}),
            **common,
        ),
    ]
    if result:
        found += [
            record(
                seq + 2,
                "step",
                minutes - 0.02,
                key,
                detail=MappingProxyType(
                    {"kind": "step", "action": {"step": 0}, "result": {"status": "verified", "detail": "generation 8"}}
                ),
                **common,
            ),
            record(
                seq + 3,
                "outcome",
                minutes - 0.03,
                key,
                result=result,
                why=SafeText(why),
                detail=MappingProxyType(
                    {
                        "kind": "outcome",
                        "result": {
                            "status": result,
                            "message": f"{verb} {result}",
                            "duration_ms": 4100,
                            "verified": ["weights 100/0"],
                        },
                    }
                ),
                **common,
            ),
        ]
    return tuple(found)


AUDIT: Final = (
    record(1, "session", 5000, verb="arm", summary=SafeText("writes armed for 15 min"), actor=SafeText("ci")),
    *action(2, 4000, "promote", "prod-eu/ml/churn", "applied", actor="ci", before="v6 100%", after="v7 100%"),
    *action(6, 130, "promote", "prod-eu/ml/ranker", "rejected", actor="cj"),
    *action(10, 125, "hold", "prod-eu/ml/ranker", "applied", actor="cj", why="wait for the weekend numbers"),
    record(
        14,
        "denied",
        20,
        verb="alias",
        target=SafeText("registry/fraud-scorer"),
        result="denied",
        summary=SafeText("move champion of fraud-scorer to v43"),
        why=SafeText("looks better"),
        detail=MappingProxyType(
            {"kind": "denied", "result": {"status": "denied", "code": "stale", "message": "the plan had expired"}}
        ),
    ),
    *action(15, 6, "rollback", "prod-eu/ml/fraud-scorer", "applied", actor="anna", why="INC-4711: users see errors"),
)


def audited(now: datetime = NOW) -> State:
    return replace(scenes.healthy(now), audit=AUDIT)


def left_open(now: datetime = NOW) -> State:
    """One intent whose process died after sending, one that another process is at, and one that nobody can judge."""
    target = SafeText("prod-eu/ml/search")
    mine = action(30, 14, "weight", "prod-eu/ml/search", "", actor="cj", before="v19 10%", after="v19 50%")
    other = action(34, 1, "rollback", "prod-eu/ml/recommend", "", actor="bob")
    opened = (
        OpenAction(
            mine[0].intent_id,
            target,
            "weight",
            SafeText("cj"),
            mine[0].at,
            False,
            4711,
            sent_steps=(0,),
            host="bastion",
        ),
        OpenAction(
            other[0].intent_id,
            SafeText("prod-eu/ml/recommend"),
            "rollback",
            SafeText("bob"),
            other[0].at,
            True,
            5120,
            host="bastion",
        ),
    )
    entries = (*AUDIT, *mine, *action(40, 13, "abort", "prod-eu/ml/search", "unknown"), *other)
    return replace(scenes.degraded(now), audit=entries, open_actions=opened)


def hostile_audit(now: datetime = NOW) -> State:
    found: tuple[AuditEntry, ...] = ()
    for index, name in enumerate(NAMES):
        told = SafeText(name)
        chain = action(index * 4 + 1, 60 - index, "promote", str(told), "applied", actor=str(told), why=str(told))
        evil = {"step": 0, "call": name}
        found += (
            *(replace(entry, actor=told, target=told, summary=told) for entry in chain[:1]),
            replace(chain[1], detail=MappingProxyType({"action": evil, "result": {"observed": [name, {"x": name}]}})),
            *chain[2:],
        )
    return replace(scenes.healthy(now), audit=found)


AUDIT_SCENES: Final[Mapping[str, Callable[[], State]]] = MappingProxyType(
    {
        "loading": scenes.loading,
        "empty": lambda: replace(scenes.healthy(), audit=()),
        "healthy": audited,
        "degraded": left_open,
        "stale": lambda: replace(scenes.stale(), audit=AUDIT),
        "hostile": hostile_audit,
    }
)
BROKEN: Final = AuditCheck(
    NOW - timedelta(minutes=3),
    1204,
    2,
    True,
    3,
    (
        SafeText("bastion/1000/000002.jsonl:41: the line's hash is not what the next line says"),
        SafeText("bastion/1000/000002.jsonl:42: a record is missing before it"),
        SafeText("bastion/1000/000003.jsonl:0: the segment does not begin where the last one ended"),
    ),
)


# --- the connections


def _with_connections(
    state: State, *healths: ConnectionHealth, failing: Mapping[str, Freshness] | None = None
) -> State:
    fresh = {item.name: Freshness(NOW - timedelta(seconds=3)) for item in healths if item.state is not LinkState.BROKEN}
    return replace(
        state,
        connections=MappingProxyType({item.name: item for item in healths}),
        freshness=MappingProxyType({**fresh, **(failing or {})}),
    )


CLUSTER: Final = replace(
    scenes.health("prod-eu", "kubernetes"),
    environment="production",
    server=SafeText("Kubernetes v1.33.2"),
    address=SafeText("https://127.0.0.1:6443"),
    identity=SafeText("system:serviceaccount:ml:release"),
    credential_source="command",
    capabilities=("endpoints", "watch", "promote", "weight", "hold", "abort", "rollback", "write"),
)


def linked(now: datetime = NOW) -> State:
    return _with_connections(
        scenes.healthy(now),
        CLUSTER,
        replace(CLUSTER, name="prod-us", latency_s=0.145, credential_source="env"),
        registry_health(),
        replace(scenes.health("traffic", "scrape"), capabilities=("metrics",), server=SafeText("9 targets")),
    )


def broken_links(now: datetime = NOW) -> State:
    """One of each trouble: silent, unauthenticated, slow, broken plugin, reads that fail behind a probe that answers."""
    since = now - timedelta(minutes=4)
    return _with_connections(
        scenes.healthy(now),
        CLUSTER,
        replace(
            CLUSTER,
            name="edge",
            kind="docker",
            state=LinkState.DOWN,
            latency_s=None,
            error_code="unreachable",
            error=SafeText("127.0.0.1:2375 refused the connection"),
            hint=SafeText("is the daemon up? `docker -H tcp://127.0.0.1:2375 info` says"),
            address=SafeText("tcp://127.0.0.1:2375"),
            server=SafeText(),
            identity=SafeText(),
            credential_source="",
        ),
        registry_health(
            LinkState.AUTH,
            error_code="unauthenticated",
            error=SafeText("the server answered 401 to the credential from keyring"),
            hint=SafeText("`mlrelease connections login registry` asks for a new one"),
        ),
        replace(CLUSTER, name="prod-us", state=LinkState.SLOW, latency_s=2.4),
        ConnectionHealth(
            "seldon",
            "seldon",
            LinkState.BROKEN,
            error_code="plugin",
            error=SafeText(
                "the connector of kind 'seldon' can't be loaded: ModuleNotFoundError: No module named 'seldon_core'"
            ),
            hint=SafeText("install what it needs, or remove [connections.seldon]"),
            observed_at=now,
        ),
        replace(scenes.health("traffic", "scrape"), capabilities=("metrics",)),
        replace(
            registry_health(),
            name="staging-registry",
            credential_source="",
            warnings=(SafeText("the server asks nobody who they are: whoever reaches it can move aliases"),),
        ),
        failing={
            "edge": Freshness(since, since, "unreachable", "127.0.0.1:2375 refused the connection"),
            "registry": Freshness(since, since, "unauthenticated", "the server answered 401"),
            "traffic": Freshness(since, since, "timeout", "2 of 9 targets did not answer within 2 s"),
        },
    )


def hostile_links(now: datetime = NOW) -> State:
    found = []
    for index, name in enumerate(NAMES):
        told = SafeText(name)
        found.append(
            replace(
                registry_health(LinkState.DOWN if index % 2 else LinkState.OK),
                name=str(told),
                error=told if index % 2 else SafeText(),
                hint=told,
                server=told,
                address=told,
                identity=told,
                warnings=(told,),
            )
        )
    return _with_connections(scenes.healthy(now), *found)


CONNECTION_SCENES: Final[Mapping[str, Callable[[], State]]] = MappingProxyType(
    {
        "loading": scenes.loading,
        "healthy": linked,
        "degraded": broken_links,
        "stale": scenes.stale,
        "hostile": hostile_links,
    }
)


SCENES: Final[Mapping[str, Callable[[], State]]] = MappingProxyType(
    {
        "loading": scenes.loading,
        "empty": lambda: with_models(scenes.empty(), ()),
        "healthy": healthy,
        "degraded": degraded,
        "stale": stale,
        "error": error,
        "hostile": hostile,
    }
)


class RegistryDesk(ScriptedDesk):
    """Plans alias moves too."""

    async def prepare(self, intent: Intent) -> Plan | Refusal:
        if not isinstance(intent, MoveAlias):
            return await super().prepare(intent)
        self.prepared.append(intent)
        if self.refuses is not None:
            return self.refuses
        model = self._store.state.models[intent.model]
        before = model.aliases.get(intent.alias, "")
        now = self._now()
        name = intent.model.name
        write = Write(
            intent.model.connection,
            "alias",
            intent.model.id,
            f"POST /api/2.0/mlflow/registered-models/alias name={name} alias={intent.alias} version={intent.version}",
            "{}",
            f"{intent.alias}: v{before}" if before else f"{intent.alias}: nothing",
            f"{intent.alias}: v{intent.version}",
            f"{intent.alias} is v{before}",
            f"move {intent.alias} back to v{before}",
            AliasExpectation(intent.model, intent.alias, before),
            AliasExpectation(intent.model, intent.alias, intent.version),
            shell=f"mlrelease alias {intent.model.id} {intent.alias} {intent.version} --yes",
            best_effort=True,
        )
        return Plan(
            intent,
            intent.model,
            "production",
            Direction.FORWARD,
            Level.PLAN,
            (write,),
            f"move {intent.alias} of {name} to v{intent.version}",
            f"move {intent.alias} back to v{before}",
            (ReadFrom(intent.model.id, f"{intent.alias}={before}", now),),
            now,
            now + timedelta(seconds=120),
            (Check("version", CheckStatus.PASS, f"v{intent.version} is READY"),),
        )


class ScriptedAudit:
    """Answers a verification as `found` says and counts what it was asked."""

    def __init__(self, found: AuditCheck) -> None:
        self.found = found
        self.looked = 0
        self.verified = 0

    async def look_again(self) -> None:
        self.looked += 1

    async def verify(self) -> AuditCheck:
        self.verified += 1
        return self.found


INTACT: Final = AuditCheck(NOW, 1204, 2)


def services(
    state: State,
    now: Callable[[], datetime] = lambda: NOW,
    *,
    check: AuditCheck = INTACT,
    appearance: Appearance | None = None,
) -> Services:
    store = Store(state)
    return Services(
        store,
        ScriptedReader(),
        RegistryDesk(store, now),
        "anna",
        now,
        appearance or Appearance(theme="dark"),
        audit=ScriptedAudit(check),
    )


__all__ = ["AuditEntry", "OpenAction"]
