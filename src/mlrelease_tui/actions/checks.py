"""What a plan is checked against. Each check refuses, or adds what it saw to the plan's checks."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Final, TypeVar

from mlrelease_tui.actions.situation import Situation
from mlrelease_tui.connectors.api import AliasMovable, Artifact, VersionSource
from mlrelease_tui.domain.expectation import percent
from mlrelease_tui.domain.models import Readiness
from mlrelease_tui.domain.plan import Check, CheckStatus, Direction, Level, Plan, Refusal, Write
from mlrelease_tui.domain.policy import READ_MAX_AGE
from mlrelease_tui.domain.refs import EndpointRef, VersionRef
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP, Endpoint, GateResult, Verb, registered
from mlrelease_tui.domain.verdict import VerdictKind
from mlrelease_tui.store.select import status_of
from mlrelease_tui.store.state import State


class No(Exception):
    """A refusal on its way out of the planner."""

    def __init__(self, code: str, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.refusal = Refusal(code, reason, hint)


def supported(endpoint: Endpoint, verb: Verb) -> None:
    support = endpoint.support(verb)
    if support.available:
        return
    reason = f"{endpoint.ref.name} can't {verb}: {support.reason}"
    if endpoint.rollout.hold is not None and verb in {Verb.PROMOTE, Verb.WEIGHT}:
        raise No("held", reason, "continue it first")
    raise No("unsupported", reason, str(support.hint) or "`mlrelease connections list` shows what each backend can do")


P = TypeVar("P")


def capable(driver: object, protocol: type[P], verb: Verb) -> P:
    if not isinstance(driver, protocol):
        hint = "`mlrelease connections list` shows what each backend can do"
        raise No("unsupported", f"this backend has no {verb}", hint)
    return driver


def weight_in_range(weight_bp: int) -> None:
    if not 0 <= weight_bp <= ALL_TRAFFIC_BP:
        raise No("bad_weight", f"{percent(weight_bp)} is no weight", "give 0% to 100%")


def freshness(situation: Situation, endpoint: Endpoint) -> Check:
    age = situation.now - endpoint.observed_at
    if age > READ_MAX_AGE:
        reason = f"{endpoint.ref} was last read {age.total_seconds():.0f} s ago"
        raise No("stale", reason, "a plan needs a fresh read: is its connection up?")
    if age < -READ_MAX_AGE:
        reason = f"{endpoint.ref} was last read at a time that is still to come: nobody knows how long ago"
        raise No("stale", reason, "was the clock set back? a plan needs a read made since")
    return Check("fresh", CheckStatus.PASS, f"read {max(age.total_seconds(), 0):.0f} s ago")


# What is not known is no pass: only a judge that has seen enough says so.
_UNPASSED: Final = frozenset({GateResult.FAILED, GateResult.ERROR, GateResult.INCONCLUSIVE})
_VERDICT_STATUS: Final = {
    VerdictKind.BETTER: CheckStatus.PASS,
    VerdictKind.NO_EVIDENCE_OF_HARM: CheckStatus.PASS,
    VerdictKind.WATCH: CheckStatus.WARN,
    VerdictKind.HARM: CheckStatus.FAIL,
}


def harm(situation: Situation, checks: list[Check]) -> bool:
    """Whether going on with the canary is known to hurt, or goes past a check that it did not pass: the judge says harm, a guard is
    broken, or a gate of the backend's own failed or could not decide."""
    unpassed = _unpassed(situation)
    checks.extend(Check("gate", CheckStatus.WARN, text) for text in unpassed)
    status = situation.status
    if status is None:
        checks.append(Check("verdict", CheckStatus.UNKNOWN, "no metrics were read"))
        return bool(unpassed)
    verdict = status.verdict
    canary = status.endpoint.canary
    broken = [reason.text for reason in status.reasons if canary and reason.variant == canary.name]
    if verdict is None:
        checks.append(Check("verdict", CheckStatus.UNKNOWN, "not judged yet"))
    else:
        words = f"{verdict.kind.replace('_', ' ')}: {verdict.reason}"
        checks.append(Check("verdict", _VERDICT_STATUS.get(verdict.kind, CheckStatus.UNKNOWN), words))
    checks.extend(Check("guard", CheckStatus.FAIL, text) for text in broken)
    return bool(broken or unpassed) or (verdict is not None and verdict.kind is VerdictKind.HARM)


def hurts_by_now(plan: Plan, state: State, now: datetime) -> Refusal | None:
    """Why a plan that goes on with a canary wants to be confirmed harder than when it was made; None where it does not."""
    if plan.direction is not Direction.FORWARD or plan.level >= Level.NAME or not isinstance(plan.target, EndpointRef):
        return None
    status = status_of(state, plan.target, now)
    if status is None or not status.endpoint.rollout.in_flight:
        return None
    checks: list[Check] = []
    if not harm(Situation(now, "", endpoint=status.endpoint, status=status), checks):
        return None
    seen = "; ".join(check.text for check in checks if check.status in {CheckStatus.FAIL, CheckStatus.WARN})
    return Refusal("hurts", f"{plan.target.name} is seen to do harm since the plan was made: {seen}", "plan again")


def _unpassed(situation: Situation) -> tuple[str, ...]:
    """The backend's own gates that this release did not pass. What the backend only tries out decides nothing."""
    gates = situation.endpoint.rollout.gates if situation.endpoint is not None else ()
    return tuple(
        f"{gate.name} {gate.result}" + (f" at {gate.measured}" if gate.measured else "")
        for gate in gates
        if gate.result in _UNPASSED and not gate.name.endswith("(dry run)")
    )


def artifact(situation: Situation, version: str, checks: list[Check], *, strict: bool) -> Artifact:
    """The version to deploy, checked against the registry.

    `strict` (moving forward): what is not known blocks. Otherwise (moving to safety) it is only said.
    """
    record = situation.version
    problem = ""
    code = "version_unknown"
    known = _in_registry(situation, version)
    if record is None or not known:
        if situation.registry is None and not situation.registry_problem:
            checks.append(Check("version", CheckStatus.UNKNOWN, "no registry is bound to this endpoint"))
            return Artifact(version)
        problem = situation.registry_problem or _unknown(situation, version)
    elif record.readiness is not Readiness.READY:
        code = "not_ready"
        problem = f"version {version} is {record.readiness}"
        if record.readiness_message:
            problem += f": {record.readiness_message}"
    elif strict and record.lineage is not None:
        code = "bad_metric"
        broken = [key for key, value in record.lineage.metrics.items() if not _finite(value)]
        problem = f"version {version} has metrics that are no numbers: {', '.join(sorted(broken))}" if broken else ""
    if problem and strict:
        raise No(code, problem, "`mlrelease versions MODEL` lists them with their readiness")
    if problem:
        checks.append(Check("version", CheckStatus.WARN, problem))
    else:
        told = f"{known} is ready in the registry"
        if known != version:
            told += f"; {version} is another template of it"
        checks.append(Check("version", CheckStatus.PASS, told))
    uri = ""
    if situation.model is not None and isinstance(situation.registry, VersionSource):
        uri = situation.registry.artifact(VersionRef(situation.model.ref, known or version))
    return Artifact(version, uri, record.digest if record is not None and known else "")


def _in_registry(situation: Situation, version: str) -> str:
    """What the registry that answered calls a version, "" where it has none: where an endpoint tells two templates of one version
    apart ("2+7d9f"), that version."""
    record, endpoint = situation.version, situation.endpoint
    if record is None:
        return ""
    found = record.ref.version
    if found == version:
        return found
    told = {item.version for item in endpoint.variants} | {endpoint.previous_version} if endpoint is not None else set()
    return found if version in told and found == registered(version) else ""


def _unknown(situation: Situation, version: str) -> str:
    record = situation.version
    told = f"the registry has no version {version}"
    if record is not None and record.ref.version == registered(version):
        told += f": an endpoint calls another template of {record.ref.version} so"
    return told


def must_exist(situation: Situation, version: str) -> None:
    """Refuses a version that the registry was asked for and does not have. A registry that did not answer says nothing."""
    known = situation.version is not None and situation.version.ref.version == version
    if situation.model is not None and not known:
        reason = f"{situation.model.ref.name} has no version {version}"
        raise No("version_unknown", reason, "`mlrelease versions MODEL` lists them with their readiness")


def _finite(value: object) -> bool:
    return isinstance(value, float | int) and math.isfinite(value)


def alias_follows(situation: Situation, version: str, checks: list[Check], warnings: list[str]) -> tuple[Write, ...]:
    """The write that makes the endpoint's alias agree with what will run; none where it does, or can't be known."""
    alias = situation.alias
    if not alias:
        return ()
    if situation.model is None or not isinstance(situation.registry, AliasMovable):
        why = situation.registry_problem or "its registry has no aliases to move"
        checks.append(Check("alias", CheckStatus.UNKNOWN, f"alias {alias} stays as it is: {why}"))
        warnings.append(f"alias {alias} is not part of this plan ({why}); move it later with `mlrelease alias`")
        return ()
    now, known = situation.model.aliases.get(alias, ""), _in_registry(situation, version)
    if now == (known or version):
        checks.append(Check("alias", CheckStatus.PASS, f"alias {alias} already points at {now}"))
        return ()
    if not known:
        checks.append(Check("alias", CheckStatus.UNKNOWN, f"alias {alias} stays at {now or 'nothing'}"))
        warnings.append(f"alias {alias} is not part of this plan: {_unknown(situation, version)}")
        return ()
    return situation.registry.move_alias(situation.model, alias, known)
