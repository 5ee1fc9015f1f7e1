"""Where a release stands among its steps: a bar of the canary's weight, and the steps with the one being taken marked."""

from __future__ import annotations

from mlrelease_tui.domain.rollout import Phase
from mlrelease_tui.domain.status import EndpointStatus
from mlrelease_tui.presentation import glyphs as symbols
from mlrelease_tui.presentation import words
from mlrelease_tui.presentation.glyphs import Glyphs
from mlrelease_tui.presentation.lines import Line, Role, Span, line
from mlrelease_tui.presentation.lines import width as cells_of


def known(text: str, status: EndpointStatus, width: int = 0) -> Span:
    """A value of an endpoint, as wide as asked for; with `~` where it is what was last known."""
    if status.stale_since is None or text == words.UNKNOWN:
        return Span(f"{text:<{width}}")
    return Span(f"{f'~{text}':<{width}}", Role.STALE)


def steps(status: EndpointStatus, glyphs: Glyphs, width: int) -> list[Line]:
    """A bar of the canary's weight and the steps with the one being taken marked."""
    rollout = status.endpoint.rollout
    canary = status.endpoint.canary
    weight = canary.weight_bp if canary else None
    after = rollout.next_step
    tail = f" {known(words.weight(weight), status).text}"
    if after is not None:
        tail += f"  next {words.weight(after.weight_bp)}" if after.weight_bp is not None else f"  next {after.label}"
    if rollout.phase in {Phase.WAITING, Phase.HELD}:
        tail += "  needs: a person"
    room = max(min(width - cells_of(tail) - 5, 60), 10)
    rows = [line(" [", Span(symbols.bar((weight or 0) / 10_000, room, glyphs), Role.BAR), "]", Span(tail, Role.STRONG))]
    if rollout.steps:
        shown: list[Span | str] = [Span(" steps ", Role.MUTED)]
        for item in rollout.steps:
            text = words.weight(item.weight_bp) if item.weight_bp is not None else str(item.label)
            here = rollout.step_index == item.index
            done = rollout.step_index is not None and item.index < rollout.step_index
            role = Role.CANARY if here else Role.TEXT if done else Role.MUTED
            shown.append(Span(f"[{text}] " if here else f"{text} ", role))
        rows.append(line(*shown))
    return rows
