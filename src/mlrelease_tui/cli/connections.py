"""`connections list|test|login`: what is configured, whether it answers, and where its secret comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from mlrelease_tui.cli.options import CONNECTION, Entry, LazyGroup, command, options_of

if TYPE_CHECKING:
    from mlrelease_tui.bootstrap import Program
    from mlrelease_tui.cli.output import Output
    from mlrelease_tui.cli.shapes import Shape
    from mlrelease_tui.config.model import Config
    from mlrelease_tui.domain.connection import ConnectionHealth
    from mlrelease_tui.domain.secret import Secret

_HERE: Final = "mlrelease_tui.cli.connections"
PATIENCE_S: Final = 20.0
"""Seconds that a connector gets beyond its own deadline before it counts as broken: it should have given up long before."""


def _list(ctx: click.Context) -> int:
    from mlrelease_tui.cli.session import output_of, with_program

    options = options_of(ctx)
    output = output_of(options)

    async def work(program: Program) -> int:
        from mlrelease_tui.connectors.api import capabilities
        from mlrelease_tui.domain.connection import ConnectionHealth, LinkState

        rows = []
        for name, connection in program.config.connections.items():
            connector = program.connectors.get(name)
            broken = program.store.state.connections.get(name) if connector is None else None
            offered = capabilities(connector) if connector is not None else ()
            rows.append(
                broken
                or ConnectionHealth(
                    name, connection.kind, LinkState.UNKNOWN, environment=connection.environment, capabilities=offered
                )
            )
        _tell(program, output, rows)
        return 0

    return with_program(options, work, asking=())


def _test(ctx: click.Context, names: tuple[str, ...]) -> int:
    from mlrelease_tui.cli.session import output_of, with_program

    options = options_of(ctx)
    output = output_of(options)

    async def work(program: Program) -> int:
        from mlrelease_tui.domain.connection import LinkState

        for name in names:
            _known(program.config, name)
        rows = await probe_all(program, names or tuple(program.config.connections))
        _tell(program, output, rows)
        return 0 if all(row.state in {LinkState.OK, LinkState.SLOW} for row in rows) else 3

    return with_program(options, work, asking=names or None)


async def probe_all(program: Program, names: tuple[str, ...]) -> list[ConnectionHealth]:
    """Ask each connection who it is, all at the same time. A broken connector is an answer."""
    import asyncio

    return list(await asyncio.gather(*(_probe(program, name) for name in names)))


async def _probe(program: Program, name: str) -> ConnectionHealth:
    import asyncio
    from dataclasses import replace
    from datetime import UTC, datetime

    from mlrelease_tui.connectors.api import capabilities
    from mlrelease_tui.domain.connection import ConnectionHealth, LinkState
    from mlrelease_tui.domain.text import SafeText
    from mlrelease_tui.errors import ReleaseError

    connector = program.connectors.get(name)
    if connector is None:
        return program.store.state.connections[name]
    configured = program.config.connections[name]
    base = ConnectionHealth(name, configured.kind, LinkState.BROKEN)
    own_s = configured.options.get("timeout_s")
    within_s = PATIENCE_S + (own_s if isinstance(own_s, int | float) else 0.0)
    try:
        async with asyncio.timeout(within_s):
            base = replace(base, capabilities=capabilities(connector))
            health = await connector.probe()
            if not isinstance(health, ConnectionHealth):
                raise TypeError
    except ReleaseError as error:
        health = replace(
            base,
            state=LinkState.DOWN,
            error_code=error.code,
            error=SafeText(error.message),
            hint=SafeText(error.hint),
        )
    except TimeoutError:
        health = replace(base, error_code="broken", error=SafeText(f"the connector said nothing within {within_s:g} s"))
    except (Exception, SystemExit) as error:
        health = replace(base, error_code="broken", error=SafeText(f"the connector failed: {type(error).__name__}"))
    return replace(
        health,
        capabilities=health.capabilities or base.capabilities,
        observed_at=health.observed_at or datetime.now(UTC),
    )


def _known(config: Config, name: str) -> None:
    """UnknownName where no connection is called that."""
    from difflib import get_close_matches

    from mlrelease_tui.domain.text import SafeText
    from mlrelease_tui.errors import UnknownName

    connections = config.connections
    if name not in connections:
        near = get_close_matches(name, connections, 1)
        hint = f"did you mean {near[0]}?" if near else f"configured: {', '.join(sorted(connections)) or 'none'}"
        raise UnknownName(f"no connection is called {SafeText(name)}", hint=hint)


def _tell(program: Program, output: Output, rows: list[ConnectionHealth]) -> None:
    from mlrelease_tui.cli.output import Cell, table
    from mlrelease_tui.cli.shapes import CONNECTIONS
    from mlrelease_tui.presentation.glyphs import LINK_ROLES
    from mlrelease_tui.presentation.lines import Role, Span

    if output.as_json:
        output.document({"schema": CONNECTIONS, "connections": [_shape(program, row) for row in rows]})
        return
    if not rows:
        output.line("no connection is configured")
        return
    cells: list[list[Cell]] = [
        [
            row.name,
            row.kind,
            row.environment or "-",
            Span("-" if row.state == "unknown" else row.state.upper(), LINK_ROLES[row.state]),
            "-" if row.latency_s is None else f"{row.latency_s * 1000:.0f} ms",
            program.wallet.describe(row.name).badge,
            str(row.identity) or "-",
            ", ".join(row.capabilities) or "-",
        ]
        for row in rows
    ]
    header = ("CONNECTION", "KIND", "ENVIRONMENT", "STATE", "LATENCY", "CREDENTIAL", "AS", "OFFERS")
    output.lines(table(header, cells, right=frozenset({4})))
    for row in rows:
        if row.error:
            output.line((Span(f"  {row.name}: ", Role.STRONG), Span(str(row.error), Role.CRIT)))
            if row.hint:
                output.line((Span(f"    {row.hint}", Role.MUTED),))
        for warning in row.warnings:
            output.line((Span(f"  {row.name}: ", Role.STRONG), Span(str(warning), Role.WARN)))


def _shape(program: Program, row: ConnectionHealth) -> Shape:
    from mlrelease_tui.cli.serving_shapes import connection_shape
    from mlrelease_tui.cli.shapes import known

    source = program.wallet.describe(row.name)
    credential = known(source=source.badge, detail=source.detail, held=source.held, expires_at=source.expires_at)
    return connection_shape(row) | {"credential": credential}


def _login(ctx: click.Context, name: str, from_stdin: bool) -> int:
    from mlrelease_tui.cli.session import config_of, output_of, with_program

    options = options_of(ctx)
    output = output_of(options)
    _known(config_of(options), name)
    secret = _read_secret(name, from_stdin=from_stdin)

    async def work(program: Program) -> int:
        import asyncio

        from mlrelease_tui.cli.shapes import CONNECTIONS, known

        where = await asyncio.to_thread(program.wallet.login, name, secret)
        if output.as_json:
            output.document(
                {
                    "schema": CONNECTIONS,
                    "connections": [known(name=name, kind=program.config.connections[name].kind, stored_in=where)],
                }
            )
        else:
            output.line(f"the credential of {name} is in the {where} now; `mlrelease connections test {name}` tries it")
        return 0

    return with_program(options, work, asking=())


def _read_secret(name: str, *, from_stdin: bool) -> Secret:
    import sys

    from mlrelease_tui.cli.session import ask_secret
    from mlrelease_tui.domain.secret import Secret
    from mlrelease_tui.errors import UsageError

    if from_stdin:
        typed = sys.stdin.readline(65_536).rstrip("\r\n")
        secret = Secret(typed) if typed else None
    elif sys.stdin.isatty() and sys.stderr.isatty():
        secret = ask_secret(name)
    else:
        raise UsageError("there is no terminal to ask for the credential at", hint="pipe it in with --stdin")
    if secret is None:
        raise UsageError("no credential was given; nothing was stored")
    return secret


list_ = command(
    "list",
    _list,
    [],
    help="What is configured, what each offers, and where its credential comes from. Asks no backend.",
    example="mlrelease connections list",
)

test = command(
    "test",
    _test,
    [click.Argument(["names"], metavar="[NAME]...", nargs=-1, type=CONNECTION)],
    help="Ask each backend who it is and who we are there.\n\nExit code 0 all answer, 3 one does not.",
    example="mlrelease connections test registry",
)

login = command(
    "login",
    _login,
    [
        click.Argument(["name"], metavar="NAME", type=CONNECTION),
        click.Option(["--stdin", "from_stdin"], is_flag=True, help="Read the secret from stdin (its first line)."),
    ],
    help="Store the credential of a connection that is configured with `keyring = true`. It is asked for, never an argument.",
    example="mlrelease connections login registry",
)

connections = LazyGroup(
    "connections",
    entries={
        "list": Entry(_HERE, "list_", "What is configured; asks no backend."),
        "test": Entry(_HERE, "test", "Whether each backend answers, and as whom."),
        "login": Entry(_HERE, "login", "Store a credential in the keyring."),
    },
    help="The configured instances of connectors: registries, hosts, clusters, metrics servers.",
    example="mlrelease connections test",
)
