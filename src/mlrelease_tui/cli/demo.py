"""`demo`: the embedded default, with the app on it or headless."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Final

import click

from mlrelease_tui.cli.options import command, options_of, slow_option

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from mlrelease_tui.cli.options import Options
    from mlrelease_tui.demo.environment import DemoReport

_NEEDED: Final = ("mlflow", "sklearn")


def _demo(ctx: click.Context, headless: bool, folder: Path | None) -> int:
    import os

    from mlrelease_tui.cli.home import can_draw
    from mlrelease_tui.cli.session import output_of
    from mlrelease_tui.errors import UsageError

    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"the demo needs packages that are not installed: {', '.join(missing)}",
            hint="pip install 'mlrelease-tui[demo]'",
        )
    options = options_of(ctx)
    output = output_of(options)
    # All that the demo talks to is on this machine, where no proxy of the operator's leads.
    environ = {**os.environ, "NO_PROXY": "*", "no_proxy": "*"}
    if headless:
        from mlrelease_tui.demo.running import run_headless

        return run_headless(output.line, progress=output.note, as_json=options.as_json, environ=environ, folder=folder)
    if not can_draw(os.environ):
        raise UsageError("the demo opens the app, which wants a terminal", hint="mlrelease demo --headless")
    from mlrelease_tui.demo.running import run

    return run(lambda report: _open_app(report, options, environ), progress=output.note, environ=environ, folder=folder)


async def _open_app(report: DemoReport, options: Options, environ: Mapping[str, str]) -> int:
    from dataclasses import replace

    from mlrelease_tui.cli.cockpit import run_cockpit
    from mlrelease_tui.cli.home import outset_for_app

    outset = outset_for_app(replace(options, config=report.config), environ)
    return await run_cockpit(outset, environ)


def _folder() -> click.Option:
    from pathlib import Path

    return click.Option(
        ["--folder"],
        type=click.Path(path_type=Path, file_okay=False),
        help="A new or empty folder; all stays there (default: a temporary one).",
    )


demo = command(
    "demo",
    _demo,
    [
        click.Option(
            ["--headless"], is_flag=True, help="Without the app: print where the configuration is, run until SIGTERM."
        ),
        _folder(),
        slow_option(),
    ],
    help=(
        "Start a real registry, router, model servers and traffic on this machine, with one canary that hurts users, "
        "and open the app on it. Needs neither network nor cluster nor Docker; leaves nothing behind."
    ),
    example="mlrelease demo\nmlrelease demo --headless --json",
)
