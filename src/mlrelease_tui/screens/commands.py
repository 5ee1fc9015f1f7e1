"""`:` commands: from a typed line to what is meant. Pure. Words come from the key catalogue, so that help and keys say the same."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from mlrelease_tui.domain.intents import (
    AbortRollout,
    ContinueRollout,
    HoldRollout,
    Intent,
    MoveAlias,
    PromoteVersion,
    RestartEndpoint,
    RetryRollout,
    RollBack,
    ScaleEndpoint,
    SetWeight,
    ShadowVersion,
    SwitchVersions,
)
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint, Verb
from mlrelease_tui.widgets import keys


@dataclass(frozen=True, slots=True)
class Act:
    """Run the Textual action of a catalogue entry."""

    action: str


@dataclass(frozen=True, slots=True)
class Wish:
    """Open the plan of an intent."""

    intent: Intent


@dataclass(frozen=True, slots=True)
class Visit:
    """Open an endpoint."""

    endpoint: EndpointRef


@dataclass(frozen=True, slots=True)
class Narrow:
    """Filter the list by these words."""

    words: str


@dataclass(frozen=True, slots=True)
class Dress:
    """Take this theme."""

    theme: str


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong with the line, and what would be right."""

    text: str


Command = Act | Wish | Visit | Narrow | Dress | Mistake

USAGE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "promote": "promote [ENDPOINT] [VERSION] [WEIGHT%]",
        "promote-full": "promote-full [ENDPOINT] [VERSION]",
        "weight": "weight [ENDPOINT] WEIGHT%",
        "hold": "hold [ENDPOINT]",
        "continue": "continue [ENDPOINT]",
        "abort": "abort [ENDPOINT]",
        "rollback": "rollback [ENDPOINT] [VERSION]",
        "retry": "retry [ENDPOINT]",
        "restart": "restart [ENDPOINT]",
        "scale": "scale [ENDPOINT] REPLICAS",
        "switch": "switch [ENDPOINT]",
        "shadow": "shadow [ENDPOINT] VERSION WEIGHT%",
        "alias": "alias [ENDPOINT] NAME VERSION",
        "filter": "filter WORDS",
        "theme": "theme [NAME]",
    }
)


MOST: Final = 50
"""Endpoints that are proposed at most: what is typed on makes them fewer."""


class _Wrong(Exception):
    pass


def words() -> dict[str, keys.Key]:
    """Every command word with its catalogue entry."""
    return {item.word: item for item in keys.CATALOGUE if item.word}


def parse(  # noqa: PLR0911 - one return a kind of command
    line: str, endpoints: Mapping[EndpointRef, Endpoint], selected: EndpointRef | None
) -> Command | None:
    """What a typed line means; None for an empty one. A name that several endpoints have is a `Mistake` that lists them."""
    parts = line.split()
    if not parts:
        return None
    word, *rest = parts
    found = words().get(word)
    if word == "q":
        return Act("quit")
    try:
        if found is None:
            return Visit(resolve(" ".join(parts), endpoints))
        if found.verb is not None:
            return Wish(_intent(word, rest, endpoints, selected))
    except _Wrong as wrong:
        return Mistake(str(wrong))
    if word == "filter":
        return Narrow(" ".join(rest))
    if word == "theme" and rest:
        return Dress(rest[0])
    if word == "endpoint" and rest:
        try:
            return Visit(resolve(" ".join(rest), endpoints))
        except _Wrong as wrong:
            return Mistake(str(wrong))
    if rest:
        return Mistake(f"{word} takes nothing behind it")
    return Act(found.action)


def resolve(name: str, endpoints: Iterable[EndpointRef]) -> EndpointRef:
    """The endpoint of that id or name. Raises for none or several."""
    known = list(endpoints)
    exact = [ref for ref in known if name == ref.id]
    named = exact or [ref for ref in known if name == ref.name]
    if len(named) == 1:
        return named[0]
    if named:
        raise _Wrong(f"{name} is {', '.join(ref.id for ref in sorted(named))}: say which")
    close = [ref.name for ref in known if name.lower() in ref.name.lower()][:3]
    raise _Wrong(f"{name} is no command and no endpoint" + (f"; did you mean {', '.join(close)}?" if close else ""))


def _intent(
    word: str, rest: Sequence[str], endpoints: Mapping[EndpointRef, Endpoint], selected: EndpointRef | None
) -> Intent:
    args = list(rest)
    target = selected
    if args and any(args[0] in {ref.id, ref.name} for ref in endpoints):
        target = resolve(args.pop(0), endpoints)
    if target is None:
        raise _Wrong(f"no endpoint is selected: {USAGE[word]}")
    if target not in endpoints:
        raise _Wrong(f"{target.id} is not there any more")
    return _BUILDERS[word](target, args, endpoints)


def _none(make: Callable[[EndpointRef], Intent], word: str) -> Callable[..., Intent]:
    def build(target: EndpointRef, args: list[str], endpoints: Mapping[EndpointRef, Endpoint]) -> Intent:
        if args:
            raise _Wrong(f"{args[0]} is not understood: {USAGE[word]}")
        return make(target)

    return build


def _promote(target: EndpointRef, args: list[str], endpoints: Mapping[EndpointRef, Endpoint]) -> Intent:
    weight = percent(args.pop()) if args and args[-1].endswith("%") else None
    version = args.pop(0) if args else ""
    if args:
        raise _Wrong(f"{args[0]} is not understood: {USAGE['promote']}")
    if not version and not endpoints[target].rollout.in_flight:
        raise _Wrong(f"{target.name} has no rollout under way: say which version. {USAGE['promote']}")
    return PromoteVersion(target, bare(version), weight)


def _full(target: EndpointRef, args: list[str], endpoints: Mapping[EndpointRef, Endpoint]) -> Intent:
    version = args.pop(0) if args else ""
    if not version and not endpoints[target].rollout.in_flight:
        raise _Wrong(f"{target.name} has no rollout under way: say which version. {USAGE['promote-full']}")
    return PromoteVersion(target, bare(version), None, full=True)


def _weight(target: EndpointRef, args: list[str], endpoints: Mapping[EndpointRef, Endpoint]) -> Intent:
    if len(args) != 1:
        raise _Wrong(f"say the canary's weight: {USAGE['weight']}")
    return SetWeight(target, percent(args[0]))


def _rollback(target: EndpointRef, args: list[str], endpoints: Mapping[EndpointRef, Endpoint]) -> Intent:
    if len(args) > 1:
        raise _Wrong(f"{args[1]} is not understood: {USAGE['rollback']}")
    return RollBack(target, bare(args[0]) if args else "")


def _scale(target: EndpointRef, args: list[str], endpoints: Mapping[EndpointRef, Endpoint]) -> Intent:
    if len(args) != 1 or not (args[0].isascii() and args[0].isdigit()):
        raise _Wrong(f"say how many replicas: {USAGE['scale']}")
    return ScaleEndpoint(target, int(args[0]))


def _shadow(target: EndpointRef, args: list[str], endpoints: Mapping[EndpointRef, Endpoint]) -> Intent:
    if len(args) != 2:
        raise _Wrong(f"say version and weight: {USAGE['shadow']}")
    return ShadowVersion(target, bare(args[0]), percent(args[1]))


def _alias(target: EndpointRef, args: list[str], endpoints: Mapping[EndpointRef, Endpoint]) -> Intent:
    model = endpoints[target].model
    if model is None:
        raise _Wrong(f"{target.name} is bound to no model")
    if len(args) != 2:
        raise _Wrong(f"say alias and version: {USAGE['alias']}")
    return MoveAlias(model, args[0], bare(args[1]))


_BUILDERS: Final[Mapping[str, Callable[..., Intent]]] = MappingProxyType(
    {
        "promote": _promote,
        "promote-full": _full,
        "weight": _weight,
        "rollback": _rollback,
        "scale": _scale,
        "shadow": _shadow,
        "alias": _alias,
        "hold": _none(HoldRollout, "hold"),
        "continue": _none(ContinueRollout, "continue"),
        "abort": _none(AbortRollout, "abort"),
        "retry": _none(RetryRollout, "retry"),
        "restart": _none(RestartEndpoint, "restart"),
        "switch": _none(SwitchVersions, "switch"),
    }
)


def bare(version: str) -> str:
    """A version as the registry says it: the "v" that we show before a number is ours."""
    return version[1:] if len(version) > 1 and version[0] == "v" and version[1:].isdigit() else version


def percent(text: str) -> int:
    """ "25%" or "25" as basis points. Raises for anything that is not 0–100 with at most two decimals."""
    number = text.removesuffix("%")
    whole, dot, part = number.partition(".")
    good = whole.isascii() and whole.isdigit() and (not dot or (part.isascii() and part.isdigit() and len(part) <= 2))
    if good:
        value = int(whole) * 100 + int(part.ljust(2, "0") if part else 0)
        if value <= 10_000:
            return value
    raise _Wrong(f"{text} is no weight: 0% to 100%, at most two decimals")


def needs_words(verb: Verb, endpoint: Endpoint) -> bool:
    """Whether a key alone cannot say what is wanted: a version, a weight or a number is missing."""
    if verb is Verb.PROMOTE:
        return not endpoint.rollout.in_flight
    return verb in {Verb.WEIGHT, Verb.SCALE, Verb.SHADOW, Verb.ALIAS}


def unavailable(  # noqa: PLR0911 - one return a reason
    verb: Verb, endpoint: Endpoint, known_good: str, *, full: bool = False
) -> str:
    """Why a verb can't be asked for now, "" where it can. The backend's own reason first, then what the state says."""
    support = endpoint.support(verb)
    rollout = endpoint.rollout
    if not support.available:
        return str(support.reason) or "the backend cannot do that"
    if verb in {Verb.CONTINUE} and rollout.hold is None and rollout.phase.value not in {"held", "waiting"}:
        return "nothing is held"
    if verb is Verb.HOLD and rollout.hold is not None:
        return f"already held by {rollout.hold.by}"
    if verb in {Verb.HOLD, Verb.ABORT, Verb.WEIGHT} and not rollout.in_flight:
        return "no rollout is under way"
    if verb is Verb.ROLLBACK and not known_good:
        return "no known good version: `:rollback ENDPOINT VERSION` names one"
    if full and not rollout.in_flight:
        return "no rollout is under way: `:promote-full ENDPOINT VERSION`"
    return ""


def completions(
    line: str, endpoints: Iterable[EndpointRef], themes: Sequence[str], keymap: Mapping[str, str] = MappingProxyType({})
) -> list[tuple[str, str]]:
    """(line, note) pairs that Tab may take, best first. `keymap` as for `keys.keys_of`."""
    head, space, tail = line.partition(" ")
    known = words()
    if not space:
        found = [(word, _note(item, keymap)) for word, item in sorted(known.items()) if word.startswith(head)]
        if head:
            wanted = head.lower()
            near = [ref for ref in endpoints if wanted in ref.name.lower()]
            found += [(ref.name, f"open {ref.id}") for ref in heapq.nsmallest(MOST, near, _place)]
        return found
    if head == "theme":
        return [(f"theme {name}", "") for name in themes if name.startswith(tail)]
    item = known.get(head)
    if item is None or (item.verb is None and head != "endpoint"):
        return []
    done, sep, last = tail.rpartition(" ")
    if sep:
        return [(line, USAGE.get(head, ""))] if done else []
    begun = last.lower()
    near = [ref for ref in endpoints if begun in ref.name.lower()]
    best = heapq.nsmallest(MOST, near, lambda ref: (not ref.name.lower().startswith(begun), *_place(ref)))
    return [(f"{head} {ref.name}", USAGE.get(head, ref.id)) for ref in best]


def _note(item: keys.Key, keymap: Mapping[str, str]) -> str:
    pressed = _pressed(item.id, keymap)
    prefix = f"{_pressed('endpoint.actions', keymap)} then " if item.scope == "menu" else ""
    return f"{item.text}" + (f"  ({prefix}{pressed})" if pressed else "")


def _pressed(identity: str, keymap: Mapping[str, str]) -> str:
    return next((keys.display(key) for key in keys.keys_of(identity, keymap)), "")


def everything(
    line: str, endpoints: Iterable[EndpointRef], keymap: Mapping[str, str] = MappingProxyType({})
) -> list[tuple[str, str]]:
    """For the palette: every action and endpoint whose words hold all that is typed, as (command line, note)."""
    wanted = line.lower().split()
    found = [
        (item.word, _note(item, keymap))
        for item in keys.CATALOGUE
        if item.word and all(word in f"{item.word} {item.text}".lower() for word in wanted)
    ]
    near = [ref for ref in endpoints if all(word in ref.id.lower() for word in wanted)]
    found += [(ref.id, "open the endpoint") for ref in heapq.nsmallest(MOST, near, _place)]
    return found


def _place(ref: EndpointRef) -> tuple[str, str, str]:
    """What references are sorted by: themselves, of ten thousand, would hold up the keys for most of a second."""
    return (ref.connection, ref.namespace, ref.name)
