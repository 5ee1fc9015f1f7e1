"""Endpoints, their variants, and the rollouts that move them. Weights are basis points: 10,000 is all traffic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from mlrelease_tui.domain.refs import EndpointRef, ModelRef
from mlrelease_tui.domain.text import SafeText

ALL_TRAFFIC_BP: Final = 10_000


class Role(StrEnum):
    STABLE = "stable"
    CANARY = "canary"
    SHADOW = "shadow"
    PREVIEW = "preview"


class Strategy(StrEnum):
    """How the endpoint moves from one version to another. NONE: nothing but replacement is known of it."""

    NONE = "none"
    ROLLING = "rolling"
    CANARY = "canary"
    BLUE_GREEN = "blue_green"
    SHADOW = "shadow"
    AB = "ab"


class Phase(StrEnum):
    """Where a rollout is. HELD: a person stopped it. WAITING: it stopped by itself and waits for a person."""

    PROGRESSING = "progressing"
    HELD = "held"
    WAITING = "waiting"
    ABORTING = "aborting"
    DEGRADED = "degraded"
    COMPLETE = "complete"
    UNKNOWN = "unknown"


class Verb(StrEnum):
    """What an operator can ask for. The same words on keys, commands, plans and audit records."""

    PROMOTE = "promote"
    WEIGHT = "weight"
    HOLD = "hold"
    CONTINUE = "continue"
    ABORT = "abort"
    ROLLBACK = "rollback"
    RETRY = "retry"
    RESTART = "restart"
    SCALE = "scale"
    SWITCH = "switch"
    SHADOW = "shadow"
    ALIAS = "alias"


@dataclass(frozen=True, slots=True)
class VerbSupport:
    """Whether this endpoint's backend can do a verb, in its own words.

    `native` is what the backend calls it ("spec.paused", "weight in routes.json"); `reason` says why not, where it cannot, and
    `hint` what to do then, where the backend knows.
    """

    verb: Verb
    available: bool
    native: SafeText = field(default_factory=SafeText)
    reason: SafeText = field(default_factory=SafeText)
    hint: SafeText = field(default_factory=SafeText)


@dataclass(frozen=True, slots=True)
class SeriesSelector:
    """How a metrics source finds one variant: the preset that knows the server's names, and the labels that pick the series.

    `url` is set where the series is scraped from the variant itself, "" where it comes from a configured target.
    """

    preset: str
    labels: tuple[tuple[str, str], ...] = ()
    url: str = ""


@dataclass(frozen=True, slots=True)
class Variant:
    """One deployed version. `weight_bp` is what the router is configured to send, None where the backend has no weights.

    `name` is the backend's own name (service, revision, ReplicaSet); `ready`/`desired` count replicas, None where unknown.
    """

    name: str
    role: Role
    version: str
    weight_bp: int | None = None
    digest: str = ""
    ready: int | None = None
    desired: int | None = None
    address: str = ""
    message: SafeText = field(default_factory=SafeText)
    series: tuple[SeriesSelector, ...] = ()
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a rollout: a weight to reach, or (weight None) a pause or an analysis, as `label` says."""

    index: int
    weight_bp: int | None
    label: SafeText = field(default_factory=SafeText)


@dataclass(frozen=True, slots=True)
class Hold:
    """Who holds a rollout and why, as the backend itself records it."""

    by: SafeText
    why: SafeText
    at: datetime | None = None
    intent_id: str = ""


@dataclass(frozen=True, slots=True)
class Stamp:
    """The last intent that wrote here, as the backend itself records it. An independent witness of the audit."""

    intent_id: str
    verb: str
    by: SafeText
    why: SafeText
    at: datetime | None = None


class GateResult(StrEnum):
    """What a gate came to. TERMINATED: it was ended before it had decided, whatever its backend calls that."""

    PENDING = "pending"
    RUNNING = "running"
    PASSED = "passed"
    FAILED = "failed"
    ERROR = "error"
    INCONCLUSIVE = "inconclusive"
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True)
class Gate:
    """A check of the backend's own that lets a rollout go on or stops it: one metric of an analysis, an experiment, a webhook.

    `measured` is the last value that it saw, as its backend wrote it; `run` the backend's name of that run; `step` the step of the
    rollout that waits for it, None where it runs beside the steps.
    """

    name: SafeText
    result: GateResult
    measured: SafeText = field(default_factory=SafeText)
    message: SafeText = field(default_factory=SafeText)
    run: SafeText = field(default_factory=SafeText)
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Rollout:
    """An endpoint on its way from one version to another, or at rest (`to_version` equal to `from_version`).

    `step_index` is the step being taken (0-based; len(steps) when all are done, None where there are no steps). `gates` are the
    backend's own checks of this release, oldest first.
    """

    strategy: Strategy
    phase: Phase
    from_version: str
    to_version: str
    step_index: int | None = None
    steps: tuple[Step, ...] = ()
    hold: Hold | None = None
    started_at: datetime | None = None
    message: SafeText = field(default_factory=SafeText)
    gates: tuple[Gate, ...] = ()

    @property
    def in_flight(self) -> bool:
        return self.from_version != self.to_version and self.phase is not Phase.COMPLETE

    @property
    def next_step(self) -> Step | None:
        """The step after the current one, None at the end or where there are no steps."""
        if self.step_index is None or self.step_index + 1 >= len(self.steps):
            return None
        return self.steps[self.step_index + 1]


@dataclass(frozen=True, slots=True)
class Native:
    """The backend's own kind and phase, shown beside ours."""

    kind: SafeText
    phase: SafeText = field(default_factory=SafeText)


class BindingSource(StrEnum):
    """Where the tie between endpoint and model was read, strongest first."""

    BINDING = "binding"
    LABEL = "label"
    ANNOTATION = "annotation"
    STORAGE_URI = "storage_uri"
    DIGEST = "digest"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address that users call, as its backend says it is.

    `uid` is the object's identity: a deleted and recreated object has another. `revision` is the opaque token that a
    compare-and-set needs; it changes with anything that the tool could have changed. `cas` is False where the backend
    has none, so that plans say "best effort". `verbs` holds one entry for each verb that the backend was asked about.
    `previous_version` is the version to which the backend itself says it would go back, "" where it does not say. Endpoints that
    differ in `observed_at` alone are equal.
    """

    ref: EndpointRef
    uid: str
    revision: str
    variants: tuple[Variant, ...]
    rollout: Rollout
    native: Native
    observed_at: datetime = field(compare=False)
    environment: str = ""
    model: ModelRef | None = None
    model_source: BindingSource = BindingSource.NONE
    alias: str = ""
    previous_version: str = ""
    cas: bool = True
    stamp: Stamp | None = None
    owner: SafeText = field(default_factory=SafeText)
    verbs: tuple[VerbSupport, ...] = ()
    problems: tuple[SafeText, ...] = ()
    url: str = ""
    labels: Mapping[str, SafeText] = field(default_factory=lambda: MappingProxyType({}))

    def variant(self, role: Role) -> Variant | None:
        """The first variant in that role."""
        return next((variant for variant in self.variants if variant.role is role), None)

    def serving(self, version: str) -> Variant | None:
        """The variant that runs this version, whatever its role."""
        return next((variant for variant in self.variants if variant.version == version), None)

    @property
    def stable(self) -> Variant | None:
        return self.variant(Role.STABLE)

    @property
    def canary(self) -> Variant | None:
        return self.variant(Role.CANARY)

    def support(self, verb: Verb) -> VerbSupport:
        """What the backend says of the verb; unavailable where it says nothing."""
        for entry in self.verbs:
            if entry.verb is verb:
                return entry
        return VerbSupport(verb, False, reason=SafeText(f"{self.native.kind} has no {verb}"))


def spoken(version: str) -> str:
    """A version as people say it: a bare number gets a "v"; "" stays so."""
    return f"v{version}" if version[:1].isdigit() else version


def registered(version: str) -> str:
    """The version as a registry has it: "2" of "2+7d9f", which is how a backend calls one of two templates of version 2."""
    return version.partition("+")[0] or version


def weights_of(endpoint: Endpoint) -> dict[str, int]:
    """Configured weights by variant name, in basis points; variants without a weight are left out."""
    return {item.name: item.weight_bp for item in endpoint.variants if item.weight_bp is not None}
