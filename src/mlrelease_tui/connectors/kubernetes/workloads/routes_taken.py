"""Whether a route is in force, as what carries it out says.

An HTTPRoute says so by parent: `Accepted` and `ResolvedRefs`, each with the generation that it is about. Where no controller runs
it has no status at all: that is a state of its own, no failure. A VirtualService mostly says nothing: then the traffic alone knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.objects import count, items, namespace, table, text
from mlrelease_tui.domain.rollout import Phase

SLOW_S: Final = 10.0
UNSAID: Final = "Istio says nothing of its proxies: the weights are those that were asked for; look at the traffic"


@dataclass(frozen=True, slots=True)
class Taken:
    """`in_force`: the weights in the spec are those that requests meet, as far as anybody says. `phase` is what it comes to where
    it is not well, None where it is. `told` False: nobody says anything either way."""

    in_force: bool
    phase: Phase | None = None
    message: str = ""
    told: bool = True


def http_taken(item: Object, silent_s: float | None) -> Taken:
    """What the gateways of an HTTPRoute say. `silent_s`: seconds since somebody wrote its spec, None where nobody knows."""
    wanted = [_parent_of(item, ref) for ref in items(item, "spec", "parentRefs")]
    said = {_parent_of(item, table(one, "parentRef")): one for one in items(item, "status", "parents")}
    if not wanted:
        return Taken(False, Phase.DEGRADED, "it is attached to no gateway: it has no parentRefs")
    absent = [parent for parent in wanted if parent not in said]
    if len(absent) == len(wanted):
        return Taken(False, Phase.UNKNOWN, f"no gateway controller has looked at it{_question(silent_s)}")
    if absent:
        told = f"the controller of {absent[0][1]} has not looked at it{_question(silent_s)}"
        return Taken(False, _waiting(silent_s), told)
    generation = count(item, "metadata", "generation")
    refused: dict[str, str] = {}
    for parent in wanted:
        for kind in ("Accepted", "ResolvedRefs"):
            found = _condition(said[parent], kind)
            if not found or count(found, "observedGeneration") < generation:
                told = f"{parent[1]} has not looked at the newest spec{_question(silent_s)}"
                return Taken(False, _waiting(silent_s), told)
            if found.get("status") != "True":
                refused.setdefault(kind, f"{parent[1]}: {kind} is {found.get('status')}, {_why(found)}")
    if not refused:
        return Taken(True)
    return Taken("Accepted" not in refused, Phase.DEGRADED, "; ".join(refused.values()))


def mesh_taken(item: Object, silent_s: float | None) -> Taken:
    """What Istio says of a VirtualService, where it was told to write a status."""
    for message in _errors(item):
        return Taken(True, Phase.DEGRADED, message)
    observed = text(item, "status", "observedGeneration")
    if not observed.isdigit():
        return Taken(True, told=False)
    if int(observed) < count(item, "metadata", "generation"):
        return Taken(False, _waiting(silent_s), f"Istio has not looked at the newest spec{_question(silent_s)}")
    return Taken(True)


def _errors(item: Object) -> Iterator[str]:
    for one in items(item, "status", "validationMessages"):
        if one.get("level") == "ERROR":
            code, what = text(one, "type", "code"), text(one, "type", "name")
            yield " ".join(part for part in ("Istio finds an error:", code, what) if part)


def _waiting(silent_s: float | None) -> Phase:
    return Phase.PROGRESSING if silent_s is not None and silent_s < SLOW_S else Phase.UNKNOWN


def _question(silent_s: float | None) -> str:
    return "" if _waiting(silent_s) is Phase.PROGRESSING else ": does it run?"


def _parent_of(item: Object, ref: Object) -> tuple[str, str, str, str]:
    """A parent as spec and status both name it: namespace, name, and which listener of it."""
    place = text(ref, "namespace") or namespace(item)
    return (place, text(ref, "name"), text(ref, "sectionName"), text(ref, "port"))


def _condition(parent: Object, kind: str) -> Object:
    return next((one for one in items(parent, "conditions") if one.get("type") == kind), {})


def _why(found: Object) -> str:
    return ": ".join(part for part in (text(found, "reason"), text(found, "message")) if part)
