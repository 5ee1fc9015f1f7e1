"""The backend's own checks of a release: what each came to, and what it measured."""

from __future__ import annotations

from typing import Final

from mlrelease_tui.domain.rollout import Gate, GateResult
from mlrelease_tui.domain.status import Severity
from mlrelease_tui.presentation.glyphs import Glyphs
from mlrelease_tui.presentation.lines import Line, Role, Span, clip, line

LIMIT: Final = 4
"""Checks that are shown: the newest. `d` shows all."""
_LOOK: Final = {
    GateResult.PENDING: (Severity.UNKNOWN, Role.MUTED),
    GateResult.RUNNING: (Severity.UNKNOWN, Role.TEXT),
    GateResult.PASSED: (Severity.OK, Role.OK),
    GateResult.FAILED: (Severity.CRIT, Role.CRIT),
    GateResult.ERROR: (Severity.CRIT, Role.CRIT),
    GateResult.INCONCLUSIVE: (Severity.WARN, Role.WARN),
    GateResult.TERMINATED: (Severity.WARN, Role.WARN),
}


def check_lines(gates: tuple[Gate, ...], glyphs: Glyphs, cells: int) -> list[Line]:
    """A line each, oldest first, the newest `LIMIT` of them."""
    rows = [clip(_row(gate, glyphs), cells) for gate in gates[-LIMIT:]]
    left_out = len(gates) - len(rows)
    return [*([line(Span(f" check  {left_out} older: d", Role.MUTED))] if left_out else []), *rows]


def _row(gate: Gate, glyphs: Glyphs) -> Line:
    severity, role = _LOOK[gate.result]
    return line(
        Span(" check  ", Role.MUTED),
        Span(gate.name, Role.STRONG),
        Span(f" {glyphs.states[severity]} {gate.result}", role),
        Span(f"  measured {gate.measured}" if gate.measured else "", Role.TEXT),
        Span(f"  {gate.message}" if gate.message else "", Role.MUTED),
    )
