"""Where there is little room: nothing is cut so that it says something else, and whether one may write is always said."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType

import pytest
from tests.ui import registry_scenes as scenes
from tests.ui.scenes import NOW

from mlrelease_tui.domain.connection import ConnectionHealth, LinkState
from mlrelease_tui.domain.models import Readiness
from mlrelease_tui.domain.policy import Access
from mlrelease_tui.domain.status import Severity
from mlrelease_tui.presentation import connections, fleet, header, models, versions
from mlrelease_tui.presentation.glyphs import UNICODE
from mlrelease_tui.presentation.lines import Role, Span, plain, width_of
from mlrelease_tui.presentation.manual import page
from mlrelease_tui.presentation.table import Column, heading, laid_out, row


@pytest.mark.parametrize("cells", range(24, 160, 3))
@pytest.mark.parametrize("columns", [fleet.COLUMNS, models.COLUMNS, versions.COLUMNS, connections.COLUMNS])
def test_a_column_is_shown_whole_or_not_at_all(columns: tuple[Column, ...], cells: int) -> None:
    shown = laid_out(columns, cells)
    assert len(shown) >= 2
    assert len(shown) == 2 or width_of(heading(shown)) <= cells
    told = {column.key: Span("1234567890"[: column.cells], Role.TEXT) for column in shown}
    assert len(shown) == 2 or width_of(row(shown, told)) <= cells


COUNTS = Counter({Severity.CRIT: 2, Severity.WARN: 1, Severity.HOLD: 1, Severity.WAIT: 3, Severity.STALE: 4})


@pytest.mark.parametrize("cells", range(36, 160))
def test_the_header_always_says_whether_one_may_write_and_what_is_critical(cells: int) -> None:
    said = header.Heading(("Fleet", "fraud-scorer"), "anna", Access(), COUNTS, NOW)
    text = plain(header.first(said, UNICODE, cells))
    assert "[READ-ONLY]" in text
    assert "2 CRIT" in text
    assert text.rstrip().endswith("Z")
    assert width_of(header.first(said, UNICODE, cells)) <= cells
    assert "4 STALE" in text or "+" in text, "what is not named is counted"


def test_half_an_alias_is_no_alias() -> None:
    model = replace(
        scenes.MODELS[0], aliases=MappingProxyType({"champion": "41", "challenger": "42", "candidate": "43"})
    )
    followed = frozenset({"champion"})
    assert models.fewer_aliases(model, followed, 80) == "champion v41, candidate v43, challenger v42"
    assert models.fewer_aliases(model, followed, 32) == "champion v41, candidate v43 +1"
    assert models.fewer_aliases(model, followed, 19) == "champion v41 +2"
    assert models.fewer_aliases(replace(model, aliases=MappingProxyType({})), followed, 19) == ""


def test_what_was_ready_when_it_was_read_last_is_not_green() -> None:
    assert versions.readiness(Readiness.READY, UNICODE).role is Role.OK
    old = versions.readiness(Readiness.READY, UNICODE, stale=True)
    assert (old.text, old.role) == ("~READY", Role.STALE)


def test_what_an_earlier_run_read_is_not_fresh() -> None:
    health = ConnectionHealth("edge", "docker", LinkState.UNKNOWN)
    link = header.Link(health, NOW - timedelta(seconds=2), failing=False, from_cache=True)
    told = connections.cells(link, "", NOW, UNICODE)["age"]
    assert (told.text, told.role) == ("~<1m", Role.STALE)
    now = connections.cells(replace(link, from_cache=False), "", NOW, UNICODE)["age"]
    assert now.text == "fresh"


def test_the_help_cuts_a_text_only_where_it_must() -> None:
    text = "promote: the next step, or start a canary"
    (_, entry, _) = page([("Actions", [("p", text, "promote")])], 80)
    assert plain(entry).rstrip() == f"   p                 {text} :promote"
