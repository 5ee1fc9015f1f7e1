"""How a route splits its requests: rules with several backends, their weights, and the pods that they mirror to.

Weights of an HTTPRoute are proportions: one that is not said is 1, and 0 is none. Those of a VirtualService are percents that make
100 together (Istio 1.31's API calls them proportions; its webhooks before refused any other sum), and one that is not said is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.mirror import Key
from mlrelease_tui.connectors.kubernetes.objects import at, count, items, namespace, table, text
from mlrelease_tui.connectors.kubernetes.patching import Op, pointer, test
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP

_NO_SERVICE: Final[Key] = ("", "")


@dataclass(frozen=True, slots=True)
class Backend:
    """Where requests may go. `name` tells it from the others of its rule; `service` is the Service, ("", "") where it is something
    else; `subset` is Istio's name for some of its pods."""

    name: str
    service: Key = _NO_SERVICE
    subset: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A backend in a rule: its weight (None where none is said), what that counts as, where it stands, and what must still stand
    there for its weight to be this one's."""

    backend: Backend
    weight: int | None
    counts: int
    pointer: str
    named: tuple[Op, ...]


Rule = tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Mirrored:
    """A backend that gets a copy of some requests, in basis points; nobody sees its answers."""

    backend: Backend
    weight_bp: int


@dataclass(frozen=True)
class Split:
    """The rules of one route that split requests between the same backends. `others` counts rules that split between others;
    `alone` names backends of this split to which some rule sends everything that it matches; `home` is the route's namespace."""

    rules: tuple[Rule, ...]
    mirrors: tuple[Mirrored, ...] = ()
    others: int = 0
    alone: tuple[str, ...] = ()
    home: str = ""

    @property
    def backends(self) -> tuple[Backend, ...]:
        return tuple(entry.backend for entry in self.rules[0])

    @property
    def shares(self) -> Mapping[str, int]:
        """Basis points by backend, as its first rule has them. All 0 where nobody gets anything."""
        return _shares(self.rules[0])

    @property
    def agrees(self) -> bool:
        """Whether all its rules split alike."""
        return all(_shares(rule) == self.shares for rule in self.rules)

    @property
    def total(self) -> int:
        """The sum of the weights of its first rule."""
        return sum(entry.counts for entry in self.rules[0])


def _shares(rule: Rule) -> Mapping[str, int]:
    total = sum(entry.counts for entry in rule)
    return {entry.backend.name: round(ALL_TRAFFIC_BP * entry.counts / total) if total else 0 for entry in rule}


# --- Gateway API


def http_split(item: Object) -> Split | None:
    """The split of an HTTPRoute, None where no rule has two backends."""
    rules = [_http_rule(item, index, rule) for index, rule in enumerate(items(item, "spec", "rules"))]
    return _split(rules, tuple(_http_mirrors(item)), namespace(item))


def _http_rule(item: Object, index: int, rule: Object) -> Rule:
    found = []
    for place, ref in enumerate(items(rule, "backendRefs")):
        path = pointer("spec", "rules", str(index), "backendRefs", str(place))
        weight = at(ref, "weight")
        known = weight if isinstance(weight, int) else None
        named: tuple[Op, ...] = (test(f"{path}/name", text(ref, "name")),)
        if at(ref, "namespace") is not None:
            named += (test(f"{path}/namespace", text(ref, "namespace")),)
        found.append(Entry(_http_backend(item, ref), known, 1 if known is None else known, path, named))
    return _told_apart(found, [count(ref, "port") for ref in items(rule, "backendRefs")])


def _http_backend(item: Object, ref: Object) -> Backend:
    place, name = text(ref, "namespace") or namespace(item), text(ref, "name")
    is_service = (text(ref, "kind") or "Service") == "Service" and not text(ref, "group")
    shown = name if place == namespace(item) else f"{place}/{name}"
    return Backend(shown, (place, name) if is_service else _NO_SERVICE)


def _http_mirrors(item: Object) -> Iterator[Mirrored]:
    for rule in items(item, "spec", "rules"):
        for one in items(rule, "filters"):
            mirror = table(one, "requestMirror")
            if mirror:
                yield Mirrored(_http_backend(item, table(mirror, "backendRef")), _mirrored_bp(mirror))


def _mirrored_bp(mirror: Object) -> int:
    """Basis points; without a percent or fraction every request is mirrored. Both at once are refused by the server."""
    percent = at(mirror, "percent")
    if isinstance(percent, int):
        return percent * 100
    if fraction := table(mirror, "fraction"):
        below = count(fraction, "denominator") or 100
        return round(ALL_TRAFFIC_BP * count(fraction, "numerator") / below)
    return ALL_TRAFFIC_BP


# --- Istio


def mesh_split(item: Object) -> Split | None:
    """The split of a VirtualService's HTTP routes, None where none has two destinations."""
    rules = [_mesh_rule(item, index, rule) for index, rule in enumerate(items(item, "spec", "http"))]
    return _split(rules, tuple(_mesh_mirrors(item)), namespace(item))


def _mesh_rule(item: Object, index: int, rule: Object) -> Rule:
    found, ports = [], []
    for place, entry in enumerate(items(rule, "route")):
        path = pointer("spec", "http", str(index), "route", str(place))
        destination = table(entry, "destination")
        weight = at(entry, "weight")
        known = weight if isinstance(weight, int) else None
        named = (test(f"{path}/destination", dict(destination)),)
        found.append(Entry(_mesh_backend(item, destination), known, known or 0, path, named))
        ports.append(count(destination, "port", "number"))
    return _told_apart(found, ports)


def _mesh_backend(item: Object, destination: Object) -> Backend:
    key, subset = host_key(text(destination, "host"), namespace(item)), text(destination, "subset")
    shown = key[1] if key[0] == namespace(item) else f"{key[0]}/{key[1]}" if key[0] else text(destination, "host")
    return Backend(f"{shown}:{subset}" if subset else shown, key, subset)


def host_key(host: str, home: str) -> Key:
    """The Service that a host means in the namespace `home`: `reviews`, `reviews.prod`, `reviews.prod.svc.cluster.local`;
    ("", "") for a name outside the cluster."""
    parts = host.split(".")
    if len(parts) == 1:
        return (home, host) if host else _NO_SERVICE
    return (parts[1], parts[0]) if len(parts) == 2 or parts[2] == "svc" else _NO_SERVICE


def _mesh_mirrors(item: Object) -> Iterator[Mirrored]:
    for rule in items(item, "spec", "http"):
        if mirror := table(rule, "mirror"):
            yield Mirrored(_mesh_backend(item, mirror), _percentage_bp(at(rule, "mirrorPercentage", "value")))
        for one in items(rule, "mirrors"):
            yield Mirrored(
                _mesh_backend(item, table(one, "destination")), _percentage_bp(at(one, "percentage", "value"))
            )


def _percentage_bp(percent: Any) -> int:
    return round(percent * 100) if isinstance(percent, int | float) else ALL_TRAFFIC_BP


# --- both


def _told_apart(rule: list[Entry], ports: list[int]) -> Rule:
    """One Service may stand in a rule with two ports: then the port is part of the name."""
    names = [entry.backend.name for entry in rule]
    if len(set(names)) == len(names):
        return tuple(rule)
    return tuple(
        Entry(
            Backend(f"{entry.backend.name}:{port}", entry.backend.service, entry.backend.subset),
            entry.weight,
            entry.counts,
            entry.pointer,
            entry.named,
        )
        for entry, port in zip(rule, ports, strict=True)
    )


def _split(rules: list[Rule], mirrors: tuple[Mirrored, ...], home: str) -> Split | None:
    """The first rule with several backends, and all that split between the same ones."""
    several = [rule for rule in rules if len({entry.backend.name for entry in rule}) > 1]
    if not several:
        return None
    wanted = _names(several[0])
    same = tuple(rule for rule in several if _names(rule) == wanted)
    alone = {rule[0].backend.name for rule in rules if len(rule) == 1} & wanted
    return Split(same, mirrors, len(several) - len(same), tuple(sorted(alone)), home)


def _names(rule: Iterable[Entry]) -> frozenset[str]:
    return frozenset(entry.backend.name for entry in rule)


Numbers = Callable[[int, int], tuple[int, int] | None]
"""A share in basis points and the sum of the weights now; the weights of the two that share, None where no numbers make it."""


def proportional(weight_bp: int, total: int) -> tuple[int, int] | None:
    """Of the sum that is there, where that makes the share exactly; else of 100, else of 10,000."""
    for whole in (total, 100, ALL_TRAFFIC_BP):
        if whole and weight_bp * whole % ALL_TRAFFIC_BP == 0:
            part = weight_bp * whole // ALL_TRAFFIC_BP
            return part, whole - part
    return None


def of_hundred(weight_bp: int, total: int) -> tuple[int, int] | None:
    """Whole percents."""
    del total
    return None if weight_bp % 100 else (weight_bp // 100, 100 - weight_bp // 100)
