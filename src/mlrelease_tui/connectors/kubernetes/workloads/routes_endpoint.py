"""A route in our words: its backends as variants, its split as a rollout."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import MappingProxyType

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.objects import at, name, uid
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame
from mlrelease_tui.connectors.kubernetes.workloads.deployment import revision_of
from mlrelease_tui.connectors.kubernetes.workloads.pair_standing import ROLE
from mlrelease_tui.connectors.kubernetes.workloads.routes_standing import Behind, Standing
from mlrelease_tui.connectors.kubernetes.workloads.routes_taken import UNSAID
from mlrelease_tui.connectors.kubernetes.workloads.steps import step_index
from mlrelease_tui.connectors.kubernetes.workloads.support import model_ref
from mlrelease_tui.domain.rollout import (
    BindingSource,
    Endpoint,
    Native,
    Phase,
    Role,
    Rollout,
    Step,
    Strategy,
    Variant,
)
from mlrelease_tui.domain.text import SafeText


def endpoint_of(kind: str, standing: Standing, frame: Frame, hosts: Sequence[str]) -> Endpoint:
    """The endpoint that a route is."""
    item = standing.item
    identity = standing.behind[standing.candidate if standing.in_flight else standing.stable].identity
    if told := marks.said(item, marks.MODEL):
        identity = replace(identity, model=told, source=BindingSource.ANNOTATION)
    deployed = [one.deployed for one in standing.behind.values() if one.deployed is not None]
    alias = marks.said(item, marks.ALIAS) or next(
        (found for one in deployed if (found := marks.said(one.item, marks.ALIAS))), ""
    )
    phase = _phase(standing)
    return Endpoint(
        frame.ref(item),
        uid=uid(item),
        revision=_revision(standing),
        variants=tuple(_variants(standing)),
        rollout=_rollout(standing, phase),
        native=Native(SafeText(kind), SafeText(_said(standing))),
        observed_at=frame.now,
        environment=frame.environment,
        **model_ref(identity.model, identity, frame),
        alias=SafeText(alias),
        previous_version=SafeText(standing.previous),
        stamp=standing.stamp,
        owner=SafeText(standing.driven) or marks.owner_of(item),
        problems=tuple(SafeText(problem) for problem in _problems(standing)),
        url=SafeText(hosts[0]) if hosts else "",
        labels=MappingProxyType({"weights": SafeText(_numbers(standing))}),
    )


def _said(standing: Standing) -> str:
    if not standing.taken.told:
        return "no status"
    return "in force" if standing.taken.in_force else "not in force"


def _numbers(standing: Standing) -> str:
    return ", ".join(f"{entry.backend.name}={entry.counts}" for entry in standing.split.rules[0])


def _revision(standing: Standing) -> str:
    """Everything that a plan depends on, and nothing that a status tick moves."""
    parts = [
        at(standing.item, "metadata", "generation"),
        marks.left(standing.item, marks.HOLD),
        standing.taken.in_force,
        standing.driven,
        standing.stable,
        [
            (one.backend.name, one.empty, one.missing, revision_of(one.deployed) if one.deployed is not None else "")
            for one in standing.behind.values()
        ],
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _variants(standing: Standing) -> Iterator[Variant]:
    known = standing.taken.in_force and standing.split.agrees
    for one, found in standing.behind.items():
        role = Role.STABLE if one == standing.stable else Role.CANARY
        yield _variant(found, role, standing.shares[one] if known else None)
    for mirror in standing.split.mirrors:
        name_ = mirror.backend.name
        found = standing.shadows[name_]
        yield _variant(found, Role.SHADOW, mirror.weight_bp if standing.taken.in_force else None)


def _variant(found: Behind, role: Role, weight_bp: int | None) -> Variant:
    identity = found.identity
    return Variant(
        SafeText(found.backend.name if role is not Role.SHADOW else f"{found.backend.name} (mirror)"),
        role,
        SafeText(identity.version),
        weight_bp=weight_bp,
        digest=identity.digest,
        ready=found.ready,
        desired=found.deployed.wanted if found.deployed is not None else None,
        message=SafeText("; ".join(told for told in (found.missing, found.ill) if told)),
        started_at=found.since,
    )


def _rollout(standing: Standing, phase: Phase) -> Rollout:
    stable = SafeText(standing.versions[standing.stable])
    target = SafeText(standing.versions[standing.candidate]) if standing.in_flight else stable
    return Rollout(
        Strategy.CANARY,
        phase,
        stable,
        target,
        step_index=step_index(standing.steps, standing.weight_bp) if standing.in_flight else None,
        steps=tuple(Step(index, weight) for index, weight in enumerate(standing.steps)),
        hold=marks.hold_of(standing.item),
        message=SafeText(_message(standing)),
    )


def _phase(standing: Standing) -> Phase:
    if standing.taken.phase is not None:
        return standing.taken.phase
    known: tuple[tuple[bool, Phase], ...] = (
        (standing.deserted or bool(standing.empty), Phase.DEGRADED),
        (any(standing.behind[one].missing for one in standing.serving), Phase.DEGRADED),
        (marks.hold_of(standing.item) is not None, Phase.HELD),
        (standing.moving, Phase.PROGRESSING),
        (standing.in_flight, Phase.WAITING),
    )
    return next((phase for holds, phase in known if holds), Phase.COMPLETE)


def _message(standing: Standing) -> str:
    if standing.taken.message:
        return standing.taken.message
    if standing.deserted:
        return "no backend gets anything: every request fails"
    if standing.empty:
        return f"{', '.join(standing.empty)} gets requests and has no ready pod"
    return UNSAID if standing.in_flight and not standing.taken.told else ""


def _problems(standing: Standing) -> Iterator[str]:
    split = standing.split
    if standing.taken.phase in {Phase.DEGRADED, Phase.UNKNOWN}:
        yield standing.taken.message
    if standing.deserted:
        yield "no backend gets anything: every request fails"
    if not split.agrees:
        yield "its rules split differently: a weight sets them all alike"
    if split.others:
        yield f"{split.others} of its rules split between other backends: they are not moved"
    if standing.guessed and not standing.driven:
        told = f"nothing says which backend is the stable one: taken for it is {standing.stable}"
        yield f"{told}; a label {ROLE} on its Service says it"
    for one in split.alone:
        yield f"a rule sends all that it matches to {one}, whatever the weights say"
    for one, found in standing.behind.items():
        if found.missing and one in standing.serving:
            yield f"{one} gets requests, and {found.missing}"
        elif found.empty and one in standing.serving:
            yield f"{one} gets requests and has no ready pod"
        if found.others and found.deployed is not None:
            yield f"{one} is more than {name(found.deployed.item)}: {', '.join(found.others)} as well"
