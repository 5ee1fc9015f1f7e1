"""`init`: a first configuration from what this host has. Never overwrites unless it is told to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mlrelease_tui.cli.options import command, options_of

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from mlrelease_tui.cli.discovering import Found


def _init(ctx: click.Context, force: bool, to_stdout: bool) -> int:
    import os

    from mlrelease_tui.cli.discovering import discover
    from mlrelease_tui.cli.session import output_of
    from mlrelease_tui.cli.shapes import INIT, known
    from mlrelease_tui.config.initial import render, write_initial
    from mlrelease_tui.config.reading import config_path
    from mlrelease_tui.connectors.plugins import names

    options = options_of(ctx)
    output = output_of(options)
    path = config_path(options.config, os.environ)
    installed = set(names())
    found = [_judged(item, installed, path) for item in discover(os.environ)]
    usable = [item for item in found if not item.problem]
    unusable = [item for item in found if item.problem]
    text = render([item.draft for item in usable], comment="\n".join(_left_out(item) for item in unusable))
    shape = {
        "schema": INIT,
        "config": str(path),
        "connections": [_shape(item) for item in usable],
        "left_out": [_shape(item) | known(reason=_left_out(item)) for item in unusable],
    }
    if to_stdout:
        if output.as_json:
            output.document(shape | {"text": text})
        else:
            output.lines(text.splitlines())
        return 0
    write_initial(path, text, os.environ, force=force)
    if output.as_json:
        output.document(shape)
        return 0
    output.line(f"wrote {path}")
    for item in usable:
        output.line(f"  [connections.{item.draft.name}] {item.draft.kind}: {item.draft.comment}")
    for item in unusable:
        output.line(f"  left out: {_left_out(item)}")
    if not usable:
        output.line("  nothing to connect to was found here: write connections into it, or try `mlrelease demo`")
    output.line("`mlrelease connections test` asks each of them; `mlrelease doctor` shows the rest")
    return 0


def _judged(item: Found, installed: Collection[str], path: Path) -> Found:
    """`item` with what keeps it out of a configuration: one that can't be loaded must not cost the others theirs."""
    import os
    from dataclasses import replace

    from mlrelease_tui.config.initial import render
    from mlrelease_tui.config.reading import parse
    from mlrelease_tui.errors import ConfigError

    if item.problem:
        return item
    if item.draft.kind not in installed:
        return replace(item, problem=f"no connector of kind {item.draft.kind!r} is installed")
    try:
        parse(render([item.draft]), path, os.environ)
    except ConfigError as error:
        return replace(item, problem=error.message.removeprefix(f"{error.path}:{error.line}: "))
    return item


def _left_out(item: Found) -> str:
    return f"{item.where}: {item.problem}"


def _shape(item: Found) -> dict[str, object]:
    from mlrelease_tui.cli.shapes import known

    return known(name=item.draft.name, kind=item.draft.kind, environment=item.draft.environment, found_in=item.where)


init = command(
    "init",
    _init,
    [
        click.Option(["--force"], is_flag=True, help="Write it anew where there is one."),
        click.Option(["--print", "to_stdout"], is_flag=True, help="Print it; write nothing."),
    ],
    help=(
        "Write a configuration from MLFLOW_TRACKING_URI, the Docker contexts and the kubeconfig found here. "
        "It holds no secrets, and an existing one is kept."
    ),
    example="mlrelease init --print",
)
