"""From options to an open program and back: what every command that talks to backends begins and ends with."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlrelease_tui.bootstrap import Program
    from mlrelease_tui.cli.options import Options
    from mlrelease_tui.cli.output import Output
    from mlrelease_tui.config.model import Config
    from mlrelease_tui.domain.secret import Secret


class Detached(Exception):
    """The operator stopped waiting for an action under way: leave at once, closing nothing that it still needs."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


def output_of(options: Options, *, plain: bool = False) -> Output:
    from mlrelease_tui.cli.output import Output

    return Output.of_process(as_json=options.as_json, no_color=options.no_color, plain=plain)


def config_of(options: Options, env: Mapping[str, str] = os.environ) -> Config:
    """The configuration with `--timeout` put in place of each connection's own."""
    from mlrelease_tui.bootstrap import load_config

    with stdout_to_ourselves():
        config = load_config(options.config, env)
    if options.timeout_s is None:
        return config
    changed = {
        name: replace(connection, options=MappingProxyType({**connection.options, "timeout_s": options.timeout_s}))
        for name, connection in config.connections.items()
    }
    return replace(config, connections=MappingProxyType(changed))


def with_program(
    options: Options,
    work: Callable[[Program], Awaitable[int]],
    *,
    env: Mapping[str, str] = os.environ,
    asking: Collection[str] | None = None,
) -> int:
    """Build the program, run `work` on it, close it; the exit code of `work`.

    At a terminal the secrets of the connections in `asking` (None: of all) that are configured to ask are asked for first.
    """
    from mlrelease_tui.bootstrap import build
    from mlrelease_tui.cli.loop import Loop
    from mlrelease_tui.hardening import harden_process

    config = config_of(options, env)
    harden_process()
    secrets = asked_secrets(config, asking) if sys.stdin.isatty() and sys.stderr.isatty() else {}

    async def run() -> int:
        program = build(config, environ=env, secrets=secrets)
        try:
            code = await work(program)
        except Detached as detached:
            return detached.exit_code
        except BaseException:
            await program.close()
            raise
        await program.close()
        return code

    with stdout_to_ourselves(), asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(run())


@contextmanager
def stdout_to_ourselves() -> Iterator[None]:
    """What a plugin prints goes to stderr meanwhile: stdout is for the answer, which an `Output` made before still writes."""
    with redirect_stdout(sys.stderr):
        yield


def asked_secrets(config: Config, names: Collection[str] | None = None) -> Mapping[str, Secret]:
    """What the operator types for the connections (of all, or of `names`) that are configured to ask, by name.

    One after another, before anything runs: two questions at once would show what is typed for the second, or give it to the
    other server; and a question asked beside the event loop would outlive Ctrl-C.
    """
    found: dict[str, Secret] = {}
    for connection in config.connections.values():
        asks = connection.credential is not None and connection.credential.kind == "prompt"
        if asks and (names is None or connection.name in names):
            secret = ask_secret(connection.name)
            if secret is not None:
                found[connection.name] = secret
    return MappingProxyType(found)


def ask_secret(name: str) -> Secret | None:
    """A secret typed at the terminal without echo; None where nothing was typed."""
    import getpass

    from mlrelease_tui.domain.secret import Secret
    from mlrelease_tui.domain.text import escape_hidden

    try:
        with _terminated_politely():
            typed = getpass.getpass(f"credential for {escape_hidden(name)}: ", stream=sys.stderr)
    except EOFError:
        return None
    return Secret(typed) if typed else None


@contextmanager
def _terminated_politely() -> Iterator[None]:
    """SIGTERM leaves by way of whoever turned the terminal's echo off: dying at once would leave it off in the shell."""
    import signal

    import click

    def leave(number: int, _frame: object) -> None:
        raise click.exceptions.Exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
