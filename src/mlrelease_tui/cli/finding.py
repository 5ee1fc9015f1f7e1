"""From what was typed to what is meant. One match or a refusal that names the candidates; never a guess."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, TypeVar

from mlrelease_tui.cli.reading import broken, why_broken
from mlrelease_tui.connectors.api import EndpointSource, VersionSource
from mlrelease_tui.domain.refs import EndpointRef, ModelRef
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import AmbiguousName, ReleaseError, TimedOut, UnexpectedAnswer, UnknownName, Unreachable
from mlrelease_tui.store.facts import EndpointsObserved, ReadFailed

if TYPE_CHECKING:
    from mlrelease_tui.bootstrap import Program

PATIENCE_S: Final = 5.0
"""Seconds that finding a name waits for one backend; after that its last known endpoints count."""
_SHOWN: Final = 8

Ref = TypeVar("Ref", EndpointRef, ModelRef)
Answer = TypeVar("Answer")


def match(name: str, refs: Iterable[Ref], *, what: str, silent: Collection[str] = ()) -> Ref:
    """The one of `refs` that is called `name`: its whole id, or any end of it after a slash.

    AmbiguousName and UnknownName say what there is. `silent` are connections that could not be asked: where they might
    have had it, that is said and the error is Unreachable.
    """
    known = sorted(refs)
    exact = [ref for ref in known if ref.id == name]
    found = exact or [ref for ref in known if ref.id.endswith(f"/{name}")]
    twins = [ref for ref in known if ref.name.partition(".")[2] == name]
    if not found and len(twins) > 1:
        # Where several kinds have a name their addresses hold the kind before it.
        found = twins
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(ref.id for ref in found[:_SHOWN])
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        raise AmbiguousName(
            f"{SafeText(name)} names {len(found)} {what}s: {ids}{more}", hint="give the whole id of one"
        )
    near = _nearest(name, known)
    if silent:
        why = "`mlrelease connections test` says why"
        raise Unreachable(
            f"no {what} is called {SafeText(name)} where it could be asked; no answer from {', '.join(sorted(silent))}",
            hint=f"{near} {why}" if near else why,
        )
    hint = near or _there_are(known, what)
    raise UnknownName(f"no {what} is called {SafeText(name) or '(nothing)'}", hint=hint)


def _nearest(name: str, known: Sequence[EndpointRef | ModelRef]) -> str:
    by_word = {word: ref.id for ref in known for word in (str(ref.name), ref.id)}
    near = list(dict.fromkeys(by_word[word] for word in get_close_matches(name, by_word, 3)))
    return f"did you mean {' or '.join(near)}?" if near else ""


def _there_are(known: Sequence[EndpointRef | ModelRef], what: str) -> str:
    if not known:
        return f"no {what} is known at all: `mlrelease connections test` shows who answers"
    shown = ", ".join(ref.id for ref in known[:_SHOWN])
    return f"there are {shown}" + (" …" if len(known) > _SHOWN else "")


async def find_endpoint(program: Program, name: str) -> EndpointRef:
    """The endpoint that `name` means. A whole id is not looked up: whoever acts on it reads it.

    Unreachable where its connection has no connector, which is not the same as there being none of that name.
    """
    if (ref := whole_endpoint(program, name)) is not None:
        if ref.connection not in program.connectors:
            raise why_broken(program, ref.connection)
        return ref
    silent = await read_endpoints(program)
    return match(name, program.store.state.endpoints, what="endpoint", silent=silent)


def whole_endpoint(program: Program, name: str) -> EndpointRef | None:
    try:
        ref = EndpointRef.parse(name)
    except ValueError:
        return None
    return ref if ref.connection in program.config.connections else None


async def read_endpoints(program: Program) -> frozenset[str]:
    """Ask every target at the same time for its endpoints; those that did not answer keep their last known ones.

    The names of those that did not, and of those that can't be asked at all.
    """

    async def ask(name: str, source: EndpointSource) -> str:
        try:
            endpoints = await answered(name, source.endpoints(), within_s=PATIENCE_S)
        except ReleaseError as failure:
            program.store.emit(ReadFailed(name, "endpoints", failure.code, failure.message, datetime.now(UTC)))
            return name
        program.store.emit(EndpointsObserved(name, endpoints, datetime.now(UTC)))
        return ""

    asked = [ask(name, source) for name, source in program.connectors.items() if isinstance(source, EndpointSource)]
    return frozenset(await asyncio.gather(*asked)) - {""} | broken(program, "endpoints").keys()


async def answered(connection: str, call: Awaitable[Answer], *, within_s: float | None = None) -> Answer:
    """What a connector answers. Whatever it does wrong instead (another error, asking to exit, silence) is one of our errors: a
    fault of one connector costs nobody else his answer."""
    try:
        async with asyncio.timeout(within_s):
            return await call
    except ReleaseError:
        raise
    except TimeoutError:
        within = f" within {within_s:g} s" if within_s is not None else ""
        raise TimedOut(f"{connection} did not answer{within}", hint="ask again later") from None
    except (Exception, SystemExit) as error:
        raise UnexpectedAnswer(
            f"the connector of {connection} failed: {type(error).__name__}",
            hint="this is a fault of the connector; its author wants to know",
        ) from error


async def find_model(program: Program, name: str) -> ModelRef:
    """The model that `name` means: `connection/name`, or the name alone where one registry has it."""
    connection, slash, rest = name.partition("/")
    if slash and rest and isinstance(program.connectors.get(connection), VersionSource):
        return ModelRef(connection, rest)
    unasked = broken(program, "versions")
    if slash and rest and connection in unasked:
        raise unasked[connection]
    registries = {key: source for key, source in program.connectors.items() if isinstance(source, VersionSource)}
    found, silent = await _models_called(registries, name)
    if not any(ref.name == name for ref in found):
        everything, silent = await _models_called(registries, "")
        found |= everything
    whole = [ref for ref in found if ref.name == name]
    if len(whole) == 1:
        return whole[0]
    return match(name, found, what="model", silent=silent | unasked.keys())


async def _models_called(registries: Mapping[str, VersionSource], query: str) -> tuple[set[ModelRef], frozenset[str]]:
    async def ask(name: str, source: VersionSource) -> tuple[set[ModelRef], str]:
        try:
            page = await answered(name, source.models(query=query, limit=200), within_s=PATIENCE_S)
        except ReleaseError:
            return set(), name
        return {model.ref for model in page.models}, ""

    answers = await asyncio.gather(*(ask(name, source) for name, source in registries.items()))
    found = {ref for refs, _ in answers for ref in refs}
    return found, frozenset(name for _, name in answers) - {""}
