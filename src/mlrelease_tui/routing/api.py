"""The Router port: one weighted route per endpoint, changed by compare-and-set, proved by reading back.

A driver (Traefik here, others beside it) promises:

1. weights are integers >= 0 that sum to 10,000 basis points; a version with traffic exists; the stable version is defined;
2. `apply` is all-or-nothing: the old plan or the new plan, never a mix;
3. success means *read back from the router*, not *written*; otherwise `Unconfirmed`, and the caller reads again;
4. a stale `expect` changes nothing;
5. the same plan again writes nothing and reloads nothing;
6. `apply` never removes a version that has weight or may have requests in flight;
7. rollback is `apply` of an earlier plan and needs neither registry nor metrics;
8. capabilities are honest: what the router cannot do is refused before anything is written.

Rollback and pause are no methods: rollback applies the previous plan, pause is not calling `apply`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from mlrelease_tui.domain.text import escape_hidden
from mlrelease_tui.errors import Conflict, OutcomeUnknown, Rejected

FULL_WEIGHT_BP = 10_000
MAX_STATE_BYTES = 32_768

# Letters, digits, dot, underscore, single hyphens: "--" is left to drivers as a separator that no name can hold.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._]|-(?!-)){0,61}[A-Za-z0-9]|[A-Za-z0-9]")
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_|~-]{1,64}")
_HEADER_VALUE = re.compile(r"[A-Za-z0-9 ._:/=+@,-]{1,128}")
_HEALTH_PATH = re.compile(r"/[A-Za-z0-9._~/-]{0,128}")


class Health(StrEnum):
    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a router can do. `weight_resolution_bp`: the smallest step of a weight, in basis points.

    `worst_effect_s`: seconds between a write and the last answer by the old plan, at worst; callers choose deadlines by it.
    """

    exact_split: bool
    mirror: bool
    header_match: bool
    sticky: bool
    latency: Literal["histogram", "average"] | None
    durable: bool
    native_cas: bool
    weight_resolution_bp: int
    worst_effect_s: float


@dataclass(frozen=True, slots=True)
class RoutedVersion:
    """One server behind a route: `weight_bp` in basis points, `health_path` "" where it has no health check."""

    name: str
    url: str
    weight_bp: int = 0
    health_path: str = "/health"


@dataclass(frozen=True, slots=True)
class Mirror:
    """`percent` (1-100) of the requests are copied to `version`; its answers are thrown away."""

    version: str
    percent: int


@dataclass(frozen=True, slots=True)
class HeaderRule:
    """Requests whose `header` equals `value` go to `version`, whatever the weights say."""

    header: str
    value: str
    version: str


@dataclass(frozen=True, slots=True)
class Stamp:
    """Who wrote a plan: kept in `state["intent"]`, so that the loser of a race can be told. `at` is RFC 3339 UTC."""

    intent_id: str = ""
    by: str = ""
    why: str = ""
    at: str = ""

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Stamp:
        found = state.get("intent")
        if not isinstance(found, Mapping):
            return cls()
        return cls(**{key: str(found.get(key, "")) for key in ("intent_id", "by", "why", "at")})

    def __str__(self) -> str:
        parts = (("by", self.by), ("at", self.at), ("intent", self.intent_id))
        said = [f"{word} {escape_hidden(text)[:120]}" for word, text in parts if text]
        return ", ".join(said) or "by an unknown hand"


@dataclass(frozen=True, slots=True)
class TrafficPlan:
    """What a route shall do.

    `state` is the caller's: JSON that operators share (hold, steps, step index, intent stamp, previous version). A driver
    stores it in the same document, in the same write, and gives it back unread, except for `state["intent"]` (see `Stamp`).
    `generation` is what the plan was read at, 0 for a plan that was never applied; `apply` gives the next one.
    """

    route: str
    stable: str
    versions: tuple[RoutedVersion, ...]
    mirror: Mirror | None = None
    header_rule: HeaderRule | None = None
    sticky_cookie: str = ""
    state: Mapping[str, Any] = field(default_factory=dict)
    generation: int = 0

    def version(self, name: str) -> RoutedVersion | None:
        return next((version for version in self.versions if version.name == name), None)

    def weight_bp(self, name: str) -> int:
        found = self.version(name)
        return found.weight_bp if found else 0

    def receiving(self) -> frozenset[str]:
        """The names of the versions that requests can reach: by weight, by header rule or by mirror."""
        names = {version.name for version in self.versions if version.weight_bp > 0}
        names |= {self.mirror.version} if self.mirror else set()
        return frozenset(names | ({self.header_rule.version} if self.header_rule else set()))

    def answering(self) -> frozenset[str]:
        """As `receiving`, without the mirror, whose answers reach nobody."""
        return replace(self, mirror=None).receiving()

    def with_weights(self, **weights_bp: int) -> TrafficPlan:
        """The same plan with other weights; versions that are not named keep theirs."""
        return self.with_weight_map(weights_bp)

    def with_weight_map(self, weights_bp: Mapping[str, int]) -> TrafficPlan:
        versions = (replace(v, weight_bp=weights_bp.get(v.name, v.weight_bp)) for v in self.versions)
        return replace(self, versions=tuple(versions))

    def same_as(self, other: TrafficPlan) -> bool:
        """Whether applying one after the other would change nothing: all but the generation is equal."""
        return plan_to_json(replace(self, generation=0)) == plan_to_json(replace(other, generation=0))


@dataclass(frozen=True, slots=True)
class Observed:
    """What a route does, as far as can be seen. What is not known is None or `Health.UNKNOWN`, never zero.

    `plan` and `generation`: the stored document (None and 0: there is no such route). `live_generation`: what the router
    itself says it runs. `drift`: how document and router differ, or who meddled with the document; "" when all agrees.
    `error`: why the router could not be asked.
    """

    route: str
    plan: TrafficPlan | None
    generation: int
    live_generation: int | None
    health: Mapping[str, Health]
    drift: str
    error: str
    observed_at: datetime


@dataclass(frozen=True, slots=True)
class Applied:
    """`changed` is False where the plan was in force already. `effect_s`: seconds from the write to the read-back."""

    plan: TrafficPlan
    changed: bool
    effect_s: float


@dataclass(frozen=True, slots=True)
class DrainReport:
    """`in_flight` is the last count that the server gave, None where it gave none. `reason` is for people."""

    route: str
    version: str
    drained: bool
    in_flight: int | None
    waited_s: float
    reason: str


class Unconfirmed(OutcomeUnknown):
    """Written, but the router did not show it before the deadline. Read the route again; do not repeat blindly."""


class StaleGeneration(Conflict):
    """Somebody else wrote the route since the plan was made; nothing was changed."""

    def __init__(self, route: str, expected: int, generation: int, stamp: Stamp) -> None:
        if generation:
            message = f"route {route} is at generation {generation}, written {stamp}, not at {expected}"
        else:
            message = f"route {route} does not exist, so it is not at generation {expected}"
        super().__init__(message, hint="nothing was changed; read the route again and make a new plan")
        self.generation = generation
        self.stamp = stamp


class Drifted(Conflict):
    """The stored document is not what this program wrote: damaged, emptied, or edited by another hand."""


InFlight = Callable[[], Awaitable[int | None]]
"""Asks the model server how many requests it is working on; None where it cannot say."""


class Router(Protocol):
    def capabilities(self) -> Capabilities: ...

    def metric_labels(self, route: str, version: str, *, mirrored: bool = False) -> Mapping[str, str]:
        """The labels by which the router's own metrics name a version; mirrored copies have a series of their own."""
        ...

    async def routes(self) -> tuple[str, ...]:
        """The names of all routes in the document."""
        ...

    async def read(self, route: str) -> Observed:
        """Never raises for a router that is down or a document that is damaged: `error` and `drift` say so."""
        ...

    async def apply(self, plan: TrafficPlan, expect: int) -> Applied:
        """Raises `StaleGeneration`, `Drifted`, `Rejected` (nothing changed) or `Unconfirmed` (written, not seen)."""
        ...

    async def drained(
        self, route: str, version: str, timeout_s: float, in_flight: InFlight | None = None
    ) -> DrainReport:
        """Waits until a version that has no traffic any more has finished what it had."""
        ...


def check_plan(plan: TrafficPlan, capabilities: Capabilities) -> None:
    """Raises `Rejected`, naming the first thing that is wrong, before anything is written."""
    problem = next(_problems(plan, capabilities), None)
    if problem:
        raise Rejected(f"plan for route {_shown(plan.route)}: {problem}", hint="nothing was changed")


def plan_to_json(plan: TrafficPlan) -> dict[str, Any]:
    """A plan as plain JSON; what is unset is absent. Equal plans give equal JSON."""
    shape: dict[str, Any] = {
        "route": plan.route,
        "stable": plan.stable,
        "generation": plan.generation,
        "versions": [
            {"name": v.name, "url": v.url, "weight_bp": v.weight_bp, "health_path": v.health_path}
            for v in plan.versions
        ],
        "state": json.loads(json.dumps(plan.state, allow_nan=False)),
    }
    if plan.mirror:
        shape["mirror"] = {"version": plan.mirror.version, "percent": plan.mirror.percent}
    if plan.header_rule:
        rule = plan.header_rule
        shape["header_rule"] = {"header": rule.header, "value": rule.value, "version": rule.version}
    if plan.sticky_cookie:
        shape["sticky_cookie"] = plan.sticky_cookie
    return shape


def plan_from_json(shape: Mapping[str, Any]) -> TrafficPlan:
    """The inverse of `plan_to_json`. Raises KeyError, TypeError or ValueError on anything else."""
    mirror, rule = shape.get("mirror"), shape.get("header_rule")
    state = shape["state"]
    if not isinstance(state, dict):
        raise TypeError("state is no mapping")
    return TrafficPlan(
        route=shape["route"],
        stable=shape["stable"],
        versions=tuple(RoutedVersion(**version) for version in shape["versions"]),
        mirror=Mirror(**mirror) if mirror else None,
        header_rule=HeaderRule(**rule) if rule else None,
        sticky_cookie=shape.get("sticky_cookie", ""),
        state=state,
        generation=shape["generation"],
    )


def is_safe_name(name: object) -> bool:
    """Whether a route or version name can stand in a URL path, a metric label and a router's rule as it is."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def _problems(plan: TrafficPlan, capabilities: Capabilities) -> Iterator[str]:
    if not is_safe_name(plan.route):
        yield "the route's name may hold letters, digits, '.', '_' and single hyphens, 63 characters at most"
    yield from _version_problems(plan, capabilities)
    yield from _extra_problems(plan, capabilities)
    yield from _state_problems(plan)


def _version_problems(plan: TrafficPlan, capabilities: Capabilities) -> Iterator[str]:
    names = [version.name for version in plan.versions]
    for version in plan.versions:
        shown = _shown(version.name)
        if not is_safe_name(version.name):
            yield f"version name {shown} may hold letters, digits, '.', '_' and single hyphens, 63 at most"
        if type(version.weight_bp) is not int or version.weight_bp < 0:
            yield f"the weight of version {shown} is {version.weight_bp!r}, not an integer of 0 or more basis points"
        elif version.weight_bp % capabilities.weight_resolution_bp:
            yield f"the weight of version {shown} is finer than the router's {capabilities.weight_resolution_bp} bp"
        if trouble := _url_problem(version.url):
            yield f"the address of version {shown} {trouble}"
        if version.health_path and not _HEALTH_PATH.fullmatch(version.health_path):
            yield f"the health path of version {shown} is not a plain URL path"
    if len(set(names)) != len(names):
        yield "a version is named twice"
    if plan.stable not in names:
        yield f"the stable version {_shown(plan.stable)} is not among the versions"
    total = sum(version.weight_bp for version in plan.versions)
    if total != FULL_WEIGHT_BP:
        yield f"the weights sum to {total} basis points, not {FULL_WEIGHT_BP}"


def _extra_problems(plan: TrafficPlan, capabilities: Capabilities) -> Iterator[str]:
    names = {version.name for version in plan.versions}
    if plan.mirror:
        if not capabilities.mirror:
            yield "this router cannot mirror requests, so there is no shadow"
        if plan.mirror.version not in names:
            yield f"the mirror names version {_shown(plan.mirror.version)}, which has no address"
        if type(plan.mirror.percent) is not int or not 1 <= plan.mirror.percent <= 100:
            yield f"the mirror's share is {plan.mirror.percent!r}, not a whole percentage of 1 to 100"
    if plan.header_rule:
        if not capabilities.header_match:
            yield "this router cannot choose a version by header"
        if plan.header_rule.version not in names:
            yield f"the header rule names version {_shown(plan.header_rule.version)}, which has no address"
        if not _TOKEN.fullmatch(plan.header_rule.header) or not _HEADER_VALUE.fullmatch(plan.header_rule.value):
            yield "the header rule's name or value holds characters that a rule cannot"
    if plan.sticky_cookie:
        if not capabilities.sticky:
            yield "this router cannot keep a client on one version"
        if not _TOKEN.fullmatch(plan.sticky_cookie):
            yield "the sticky cookie's name holds characters that a cookie name cannot"


def _state_problems(plan: TrafficPlan) -> Iterator[str]:
    try:
        size = len(json.dumps(plan.state, allow_nan=False))
    except (TypeError, ValueError) as failure:
        yield f"the shared state is not JSON: {failure}"
        return
    if size > MAX_STATE_BYTES:
        yield f"the shared state is {size} bytes, more than {MAX_STATE_BYTES}"


def _url_problem(url: object) -> str:
    if not isinstance(url, str) or not url.isascii() or not url.isprintable() or " " in url:
        return "is not a plain URL"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme not in {"http", "https"} or not parts.hostname or port == 0:
        return "is not an http or https URL"
    if url.rstrip("/") != f"{parts.scheme}://{parts.netloc}" or "@" in url or set(url) & set("`{}\"'\\<>"):
        return "holds more than scheme, host and port"
    return ""


def _shown(name: object) -> str:
    text = ascii(name)
    return text if len(text) <= 80 else f"{text[:77]}..."
