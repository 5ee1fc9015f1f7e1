"""The end of a variant's log as lines: where it was read, what was printed, broken at the edge as a terminal does. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.cells import get_character_cell_size

from mlrelease_tui.domain.logs import LogTail, LogWish, VariantLog
from mlrelease_tui.domain.rollout import Endpoint, Role, Variant
from mlrelease_tui.presentation import words
from mlrelease_tui.presentation.lines import EMPTY, Line, Span, line, spread, width_of, wrapped
from mlrelease_tui.presentation.lines import Role as Look
from mlrelease_tui.presentation.times import moment


def first_to_read(endpoint: Endpoint) -> Variant | None:
    """Whose log is most likely wanted: what has something to say of itself or is not whole, else the canary, else stable."""
    ailing = [
        item
        for item in endpoint.variants
        if item.message or (item.ready is not None and item.desired is not None and item.ready < item.desired)
    ]
    return next(iter(ailing), None) or endpoint.canary or endpoint.stable or next(iter(endpoint.variants), None)


def called(variant: Variant) -> str:
    """ "canary v42"."""
    return f"{variant.role} {words.version(variant.version)}"


def heading(
    variant: Variant, previous: bool, keys: Sequence[tuple[str, str]], cells: int, *, followed: bool = False
) -> Line:
    """Whose output it is, of which run, whether it comes by itself, and the keys that ask for another one."""
    role = {Role.CANARY: Look.CANARY, Role.STABLE: Look.STABLE}.get(variant.role, Look.STRONG)
    run = "the run before" if previous else "this run, as it comes" if followed else "this run"
    named = line(*(part for key, word in keys for part in (Span(f" {key}", Look.KEY), Span(f" {word} ", Look.MUTED))))
    told = line(Span(f" {called(variant)}", role), Span(f"  {run}", Look.STRONG))
    name = Span(f"  {variant.name}", Look.MUTED)
    fits = width_of((*told, name)) + width_of(named) < cells
    return spread((*told, name) if fits else told, named, cells)


def rows(log: VariantLog, cells: int) -> list[Line]:
    """All of an answer, oldest line first; an output behind another where there are several."""
    if log.error:
        found = wrapped(str(log.error), cells, Look.WARN, indent=" ")
        return found + (wrapped(str(log.hint), cells, Look.TEXT, indent=" ") if log.hint else [])
    if not log.tails:
        return [line(Span(" the backend has no output of it", Look.MUTED))]
    found = []
    for tail in log.tails:
        if found:
            found.append(EMPTY)
        found += _tail(tail, cells)
    return found


def _tail(tail: LogTail, cells: int) -> list[Line]:
    when = f", last written {moment(tail.written_at)}" if tail.written_at is not None else ""
    found = [*wrapped(f"{tail.source}{when}", cells, Look.MUTED, indent=" ")]
    if tail.earlier:
        found.append(line(Span(" what was printed before is not read", Look.MUTED)))
    for text in tail.lines:
        found += [line(" ", piece) for piece in pieces(text, cells - 2)]
    if tail.note:
        found += wrapped(str(tail.note), cells, Look.STALE, indent=" ")
    return found


def pieces(text: str, cells: int) -> Iterator[str]:
    """`text` cut at every `cells` cells; at least one piece. Linear in its length: a log may hold any line."""
    cells = max(cells, 2)
    if text.isascii():
        for start in range(0, max(len(text), 1), cells):
            yield text[start : start + cells]
        return
    start = taken = 0
    for index, char in enumerate(text):
        wide = get_character_cell_size(char)
        if taken + wide > cells:
            yield text[start:index]
            start, taken = index, 0
        taken += wide
    yield text[start:]


def not_offered(endpoint: Endpoint, cells: int) -> list[Line]:
    """Why there are no logs, and where the processes are."""
    told = f"{endpoint.ref.connection} reads no logs: its connector does not offer them for a {endpoint.native.kind}."
    found = wrapped(told, cells, Look.WARN, indent=" ")
    for variant in endpoint.variants:
        where = f" at {variant.address}" if variant.address else ""
        found += wrapped(f"{called(variant)}: {variant.name}{where}", cells, indent=" ")
        if variant.message:
            found += wrapped(str(variant.message), cells, Look.WARN, indent="   ")
    return found


def reading(wish: LogWish, variant: Variant) -> list[Line]:
    """While the answer is awaited."""
    run = " of the run before" if wish.previous else ""
    return [line(Span(f" reading the log of {called(variant)}{run} ...", Look.MUTED))]
