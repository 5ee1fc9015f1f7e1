"""`status`, `endpoint` and `watch`: what serves where, once or at every change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from mlrelease_tui.cli.options import ENDPOINT, Options, Seconds, command, options_of

if TYPE_CHECKING:
    from mlrelease_tui.bootstrap import Program
    from mlrelease_tui.cli.output import Output
    from mlrelease_tui.domain.status import EndpointStatus

_WINDOW: Final = (
    "Seconds that the readings span at least, from which rates are made; 0 reads once and waits for nothing."
)


def _window() -> click.Option:
    return click.Option(["--window", "window_s"], type=Seconds(0, 3600), default=2.0, show_default=True, help=_WINDOW)


def _status(ctx: click.Context, name: str | None, watching: bool, plain: bool, problems: bool, window_s: float) -> int:
    options = options_of(ctx)
    return run_status(options, name=name, watching=watching, plain=plain, problems=problems, window_s=window_s)


def run_status(
    options: Options,
    *,
    name: str | None = None,
    watching: bool = False,
    plain: bool = False,
    problems: bool = False,
    window_s: float = 2.0,
) -> int:
    """What `mlrelease status` does; also what stands in for the app where there is no terminal for it."""
    from mlrelease_tui.cli.session import output_of, with_program

    output = output_of(options, plain=plain)

    async def work(program: Program) -> int:
        if watching:
            from mlrelease_tui.cli.watching import watch_changes

            return await watch_changes(program, output, name=name, problems=problems)
        return await _once(program, output, name=name, plain=plain, problems=problems, window_s=window_s)

    return with_program(options, work)


async def _once(
    program: Program, output: Output, *, name: str | None, plain: bool, problems: bool, window_s: float
) -> int:
    from datetime import UTC, datetime

    from mlrelease_tui.cli import reading, text
    from mlrelease_tui.cli.serving_shapes import status_shape
    from mlrelease_tui.store.select import fleet

    await reading.read_fleet(program, window_s)
    now = datetime.now(UTC)
    state = program.store.state
    if name is None:
        statuses = fleet(state, now)
        missing = reading.not_answering(state)
        links = tuple(state.connections[key] for key in sorted(state.connections))
    else:
        status = _one(program, name)
        statuses = (status,)
        needed = reading.needed_by(program, status)
        missing = reading.not_answering(state, needed)
        links = tuple(state.connections[key] for key in sorted(needed & set(state.connections)))
    code = reading.exit_code(statuses, missing)
    shown = tuple(status for status in statuses if not problems or status.severity in reading.PROBLEMS)
    if output.as_json:
        output.document(status_shape(shown, links, at=now, window_s=window_s))
    elif plain:
        output.lines(text.sentence(status) for status in shown)
        output.lines(f"{health.state.upper()} connection {health.name}: {health.error}" for health in missing)
    else:
        if shown:
            output.lines(text.fleet(shown, output.glyphs))
        elif not statuses:
            output.line("no endpoint is known")
        else:
            output.line(f"no problem on {len(statuses)} endpoint{'s' if len(statuses) != 1 else ''}")
        output.lines(text.troubled_links(missing, output.glyphs))
    return code


def _one(program: Program, name: str) -> EndpointStatus:
    """The status of the endpoint that `name` means, after a read of the fleet."""
    from mlrelease_tui.cli import reading
    from mlrelease_tui.cli.finding import match

    state = program.store.state
    silent = {health.name for health in reading.not_answering(state) if "endpoints" in health.capabilities}
    ref = match(name, state.endpoints, what="endpoint", silent=silent | reading.broken(program, "endpoints").keys())
    status = reading.status_now(program, ref)
    if status is None:
        raise LookupError(ref.id)
    return status


def _endpoint(ctx: click.Context, name: str, window_s: float) -> int:
    from mlrelease_tui.cli.session import output_of, with_program

    options = options_of(ctx)
    output = output_of(options)

    async def work(program: Program) -> int:
        from datetime import UTC, datetime

        from mlrelease_tui.cli import reading, text
        from mlrelease_tui.cli.serving_shapes import detail_shape

        await reading.read_fleet(program, window_s)
        now = datetime.now(UTC)
        status = _one(program, name)
        state = program.store.state
        needed = reading.needed_by(program, status)
        missing = reading.not_answering(state, needed)
        if output.as_json:
            links = (state.connections[key] for key in sorted(needed & set(state.connections)))
            output.document(detail_shape(status, links, at=now))
        else:
            output.lines(text.detail(status, output.glyphs, now))
            output.lines(text.troubled_links(missing, output.glyphs))
        return reading.exit_code([status], missing)

    return with_program(options, work)


def _watch(ctx: click.Context, name: str) -> int:
    return run_status(options_of(ctx), name=name, watching=True)


def _name(required: bool, **more: Any) -> click.Argument:
    return click.Argument(["name"], metavar="ENDPOINT", type=ENDPOINT, required=required, **more)


status = command(
    "status",
    _status,
    [
        _name(False),
        click.Option(["--watch", "watching"], is_flag=True, help="Print a line at every change, until Ctrl-C."),
        click.Option(["--plain"], is_flag=True, help="Sentences in ASCII, without table and colours."),
        click.Option(["--problems"], is_flag=True, help="Only what is critical or warned about."),
        _window(),
    ],
    help=(
        "What serves where and what it does to users, worst first.\n\n"
        "Exit code 0 healthy, 1 a problem was found, 3 a needed backend does not answer."
    ),
    example="mlrelease status --problems\nmlrelease status fraud-scorer --json",
)

endpoint = command(
    "endpoint",
    _endpoint,
    [_name(True), _window()],
    help="Everything known of one endpoint: versions, weights, rates, rollout, verbs in the backend's own words.",
    example="mlrelease endpoint prod-eu/ml/fraud-scorer --window 10",
)

watch = command(
    "watch",
    _watch,
    [_name(True)],
    help="A line each time something changes on an endpoint, until Ctrl-C: versions, weights, phase, verdict, alarms.",
    example="mlrelease watch fraud-scorer --json",
)
