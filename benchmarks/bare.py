"""The baseline of the screens: a Textual app that does nothing but show a stock table, and a stock modal on `m`.

`python -m benchmarks.bare --rows 20 --change 1 --every 2` updates one cell with `DataTable.update_cell` every two seconds.
"""

from __future__ import annotations

import argparse
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import Grid
from textual.screen import ModalScreen
from textual.widgets import Button, DataTable, Footer, Header, Label

COLUMNS = ("ST", "ENDPOINT", "CTX", "VERSION", "CANARY", "ERR%", "P99", "BY")


class Confirm(ModalScreen[None]):
    """The dialog of Textual's guide: a dimmed background, a question, two buttons."""

    CSS = """
    Confirm { align: center middle; }
    #dialog { grid-size: 2; grid-gutter: 1 2; grid-rows: 1fr 3; padding: 0 1; width: 60; height: 11;
              border: thick $background 80%; background: $surface; }
    #question { column-span: 2; height: 1fr; width: 1fr; content-align: center middle; }
    Button { width: 100%; }
    """

    def compose(self) -> ComposeResult:
        yield Grid(
            Label("Are you sure you want to roll back?", id="question"),
            Button("Roll back", variant="error", id="yes"),
            Button("Cancel", variant="primary", id="no"),
            id="dialog",
        )


class BareApp(App[None]):
    BINDINGS: ClassVar[list[BindingType]] = [("m", "confirm", "Confirm")]

    def __init__(self, rows: int, change: int, every_s: float) -> None:
        super().__init__()
        self._rows = rows
        self._change = change
        self._every_s = every_s
        self._beat = 0

    def compose(self) -> ComposeResult:
        yield Header()
        yield DataTable(cursor_type="row")
        yield Footer()

    def on_mount(self) -> None:
        table = self.query_one(DataTable)
        for name in COLUMNS:
            table.add_column(name, key=name)
        for number in range(self._rows):
            name = f"scorer-{number:05}"
            table.add_row("+OK", name, "prod", "v41", "10%", "0.21", "140", "ana", key=name)
        table.focus()
        if self._change:
            self.set_interval(self._every_s, self._move)

    def _move(self) -> None:
        self._beat += 1
        table = self.query_one(DataTable)
        for number in range(self._change):
            table.update_cell(f"scorer-{number:05}", "CANARY", f"{10 + self._beat % 80}%")

    def action_confirm(self) -> None:
        self.push_screen(Confirm())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20)
    parser.add_argument("--change", type=int, default=0, help="cells to update at each beat")
    parser.add_argument("--every", type=float, default=1.0, help="seconds between beats")
    chosen = parser.parse_args()
    BareApp(chosen.rows, chosen.change, chosen.every).run()


if __name__ == "__main__":
    main()
