"""Lines, differences and frames: what is drawn where, to the cell."""

from __future__ import annotations

import pyte
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual._compositor import LayoutUpdate
from textual.color import Color
from textual.geometry import Region
from textual.strip import Strip

from mlrelease_tui.presentation import inspect, labels
from mlrelease_tui.presentation.lines import Line, Span, clip, cut, fit, plain, spread, width, width_of, wrap
from mlrelease_tui.screens.pulse import FASTEST_S, SLOWEST_S, Pulse
from mlrelease_tui.widgets.canvas import changed_cells
from mlrelease_tui.widgets.clipboard import MAX_ENCODED, sequence
from mlrelease_tui.widgets.frame import Frame
from mlrelease_tui.widgets.line_filter import SafeOutput

TEXT = st.text(alphabet=st.sampled_from("ab 日本e\u0301-…"), max_size=40)


@given(TEXT, st.integers(0, 30), st.booleans())
def test_fit_is_exact(text: str, cells: int, right: bool) -> None:
    assert width(fit(text, cells, right=right)) == cells


@given(TEXT, st.integers(0, 30))
def test_cut_never_grows(text: str, cells: int) -> None:
    assert width(cut(text, cells)) <= cells


@given(st.lists(TEXT, max_size=4), st.integers(0, 30))
def test_clip_and_spread_keep_to_their_cells(texts: list[str], cells: int) -> None:
    content: Line = tuple(Span(text) for text in texts)
    assert width_of(clip(content, cells)) <= cells
    assert width_of(spread(content, content, cells)) <= cells


@given(TEXT, st.integers(2, 20))
def test_wrap_keeps_every_letter(text: str, cells: int) -> None:
    rows = wrap(text, cells)
    assert all(width(row) <= cells for row in rows)
    assert "".join(rows).replace(" ", "") == text.replace(" ", "")


@given(st.lists(st.tuples(st.text("abc", min_size=3, max_size=3), st.text("abc", min_size=3, max_size=3)), max_size=8))
def test_every_changed_cell_is_redrawn(pairs: list[tuple[str, str]]) -> None:
    before: Line = tuple(Span(old) for old, _ in pairs)
    after: Line = tuple(Span(new) for _, new in pairs)
    drawn = list(plain(before))
    for x, cells in changed_cells(before, after, len(drawn)):
        drawn[x : x + cells] = plain(after)[x : x + cells]
    assert "".join(drawn) == plain(after)


def test_equal_lines_cost_nothing() -> None:
    same: Line = (Span("a"), Span("b"))
    assert list(changed_cells(same, same, 2)) == []


def _layout(rows: list[list[Segment]], columns: int) -> LayoutUpdate:
    return LayoutUpdate([[Strip(row)] for row in rows], Region(0, 0, columns, len(rows)))


STYLES = st.sampled_from(
    [
        Style(),
        Style(bold=True),
        Style(dim=True),
        Style(bold=True, dim=True, color="green"),
        Style(color="red"),
        Style(bgcolor="blue"),
        Style(bgcolor="blue", color="red", italic=True),
        Style(underline=True),
        Style(underline2=True),
        Style(reverse=True, color="#ff8800"),
    ]
)
ROWS = st.lists(
    st.lists(st.tuples(st.text(st.sampled_from("ab 日"), max_size=6), STYLES), max_size=4), min_size=3, max_size=3
)


def _visible(screen: pyte.Screen) -> list[list[object]]:
    """Every cell as a person sees it: of a blank one that nothing is drawn through, the ground alone."""
    seen: list[list[object]] = []
    for y in range(screen.lines):
        row: list[object] = []
        for x in range(screen.columns):
            cell = screen.buffer[y][x]
            bare = cell.data == " " and not (cell.reverse or cell.underscore or cell.strikethrough)
            row.append((" ", cell.bg) if bare else cell)
        seen.append(row)
    return seen


@given(st.lists(ROWS, min_size=1, max_size=4))
def test_frames_by_difference_end_on_the_same_screen(frames: list[list[list[tuple[str, Style]]]]) -> None:
    """A terminal that gets only differences shows what one shows that gets the last frame whole, each piece styled by itself."""
    columns = 24
    seen = pyte.Screen(columns, 3)
    stream = pyte.Stream(seen)
    frame = Frame(columns, 3)
    update = None
    padded: list[list[Segment]] = []
    for rows in frames:
        padded = [
            list(Strip([Segment(text, style) for text, style in row]).adjust_cell_length(columns, Style()))
            for row in rows
        ]
        update = _layout(padded, columns)
        stream.feed(frame.update(update, ColorSystem.TRUECOLOR))
    assert update is not None
    whole = pyte.Screen(columns, 3)
    written = pyte.Stream(whole)
    for y, segments in enumerate(padded):
        written.feed(f"\x1b[{y + 1};1H")
        for text, style, _ in segments:
            written.feed((style or Style()).render(text, color_system=ColorSystem.TRUECOLOR))
    assert seen.display == whole.display
    assert _visible(seen) == _visible(whole)
    assert frame.update(update, ColorSystem.TRUECOLOR) == ""


@pytest.mark.parametrize("text", ["\u0301abc", "\u2764\ufe0f love", "\u3164x", "a\u200db", "日\ufe0f本"])
def test_what_has_no_width_of_its_own_moves_no_column(text: str) -> None:
    """What stands behind a text stands where it was laid out, and the last cell of the row is drawn."""
    columns = 24
    screen = pyte.Screen(columns, 1)
    stream = pyte.Stream(screen)
    stream.feed("\x1b[1H" + "#" * columns)
    strip = Strip([Segment(text, Style(bold=True)), Segment("|", Style())]).adjust_cell_length(columns, Style())
    place = cell_len(text)
    shown = strip.apply_filter(SafeOutput(), Color(0, 0, 0))
    stream.feed(Frame(columns, 1).update(LayoutUpdate([[shown]], Region(0, 0, columns, 1)), None))
    assert screen.buffer[0][place].data == "|"
    assert "#" not in screen.display[0], "nothing of what was there before is left"


def test_a_text_of_marks_is_cut_with_an_ellipsis() -> None:
    text = "".join(char + "\u0301" * 4 for char in "abcdefghij" * 10)
    shown = cut(text, 18)
    assert width(shown) == 18
    assert shown.endswith("…")


def test_a_wide_name_takes_its_cells_from_the_value() -> None:
    value = "x" * 100
    described = inspect.describe({"日本語の鍵です": value, "b": "y"}, 60)
    assert max(width_of(row) for row in described) <= 60
    assert "".join(plain(row).split()[-1] for row in described if "x" in plain(row)) == value
    assert plain(labels.pairs({"日本語の鍵です": "v"}, 60)[0]).split() == ["日本語の鍵です", "v"]


def test_a_moved_pointer_costs_its_two_rows_and_few_styles() -> None:
    """Blanks take the style of what stands beside them, bold is ended by itself, a colour is said when it changes."""
    ground, name, text = Style(bgcolor="#101010"), Style(bold=True, color="#ffffff"), Style(color="#c0c0c0")
    row = [
        Segment("  ", ground),
        Segment("scorer", ground + name),
        Segment("   ", ground),
        Segment("v41", ground + text),
    ]
    sent = Frame(14, 1).update(_layout([row], 14), ColorSystem.EIGHT_BIT)
    assert sent == "\x1b[1H\x1b[0;1;38;5;231;48;5;233m  scorer   \x1b[22;38;5;250mv41"


def test_the_next_row_is_reached_by_a_new_line_unless_the_last_cell_was_written() -> None:
    """Behind the last cell a terminal may stand on this row or on the next one: there the cell is named."""
    ground = Style()
    rows = [[Segment("ab", ground)], [Segment("abcd", ground)], [Segment("ab", ground)]]
    sent = Frame(4, 3).update(_layout(rows, 4), None)
    assert sent == "\x1b[1H\x1b[0mab\r\nabcd\x1b[3Hab"


@pytest.mark.parametrize(
    "hostile", ["\x1b]52;c;x\x07", "\x9b31m", "a\u202eb", "z\u200bw", "\r\n\t\x00", "\ufeff", "\U000e0041"]
)
def test_the_last_filter_lets_nothing_act(hostile: str) -> None:
    cleaned = SafeOutput().clean(hostile)
    assert all(char.isprintable() for char in cleaned)


def test_ascii_output_keeps_widths() -> None:
    assert SafeOutput(ascii=True).clean("日本 é…") == "???? ?~"


def test_clipboard_wraps_for_multiplexers_and_has_a_limit() -> None:
    assert sequence("hi", {}) == "\x1b]52;c;aGk=\x07"
    assert sequence("hi", {"TMUX": "1"}) == "\x1bPtmux;\x1b\x1b]52;c;aGk=\x07\x1b\\"
    assert sequence("hi", {"TERM": "screen"}) == "\x1bP\x1b]52;c;aGk=\x07\x1b\\"
    assert sequence("x" * MAX_ENCODED, {}) is None


class _Terminal:
    """A pulse's surroundings, moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waiting: list[tuple[float, object]] = []
        self.backlog = 0
        self.drawn: list[float] = []
        self.pulse = Pulse(lambda: self.drawn.append(self.now), self.later, lambda: self.backlog, lambda: self.now)

    def later(self, delay: float, callback: object) -> None:
        self.waiting.append((self.now + delay, callback))

    def run(self, until: float) -> None:
        while self.waiting:
            self.waiting.sort(key=lambda item: item[0])
            if self.waiting[0][0] > until:
                break
            at, callback = self.waiting.pop(0)
            self.now = max(self.now, at)
            assert callable(callback)
            callback()
        self.now = until


def test_many_changes_are_one_draw_and_at_most_five_a_second() -> None:
    terminal = _Terminal()
    for step in range(100):
        terminal.pulse.changed()
        terminal.run(step / 100)
    assert 1 <= len(terminal.drawn) <= 6
    terminal.run(2.0)
    assert terminal.drawn[-1] >= 0.9, "the last change is drawn"
    terminal.drawn.clear()
    terminal.run(60.0)
    assert terminal.drawn == [], "nothing changed, nothing is drawn"


def test_a_slow_terminal_gets_fewer_frames_and_a_quick_one_more_again() -> None:
    terminal = _Terminal()
    terminal.backlog = 3
    terminal.pulse.changed()
    terminal.run(30.0)
    assert terminal.drawn == []
    assert terminal.pulse.interval == SLOWEST_S
    assert terminal.pulse.slow
    terminal.backlog = 0
    for second in range(31, 91):
        terminal.pulse.changed()
        terminal.run(float(second))
    assert terminal.drawn
    assert terminal.pulse.interval == FASTEST_S
