"""What every command takes: the options that may stand before or after its name, and the types of arguments.

Everything here is imported at every Tab: nothing but click.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, Final

import click

_WEIGHT: Final = re.compile(r"([0-9]{1,3})(?:\.([0-9]{1,2}))?\s*%?")
_NUMBER: Final = re.compile(r"[-+]?[0-9]+(?:\.[0-9]+)?\s*%?", re.ASCII)


@dataclass(slots=True)
class Options:
    """The options that all commands share. `timeout_s` is the longest that one call to a backend may take, None as configured.

    `slow` is of those that open the app: draw for a slow link from the start.
    """

    config: Path | None = None
    as_json: bool = False
    no_color: bool = False
    timeout_s: float | None = None
    slow: bool = False


def options_of(ctx: click.Context) -> Options:
    """The shared options of this invocation, wherever on the line they stood."""
    root = ctx.find_root()
    if not isinstance(root.obj, Options):
        root.obj = Options()
    return root.obj


def _keep(field: str, *, flag: bool = False) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(ctx: click.Context, _parameter: click.Parameter, value: Any) -> None:
        # Not given here says nothing: it may have been given before the command's name.
        if value is not None and (value or not flag):
            setattr(options_of(ctx), field, value)

    return callback


def shared_options() -> list[click.Parameter]:
    """Fresh copies of the options that stand on every command."""
    return [
        click.Option(
            ["--config"],
            type=click.Path(path_type=Path),
            expose_value=False,
            is_eager=True,
            callback=_keep("config"),
            help="Configuration file (or MLRELEASE_CONFIG).",
        ),
        click.Option(
            ["--json", "as_json"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_keep("as_json", flag=True),
            help="Print one JSON object (a line an event where it watches).",
        ),
        click.Option(
            ["--no-color", "no_color"],
            is_flag=True,
            expose_value=False,
            is_eager=True,
            callback=_keep("no_color", flag=True),
            help="No colours (or NO_COLOR).",
        ),
        click.Option(
            ["--timeout", "timeout_s"],
            type=Seconds(0.1, 600),
            metavar="SECONDS",
            expose_value=False,
            is_eager=True,
            callback=_keep("timeout_s"),
            help="Longest that one call to a backend may take.",
        ),
    ]


def slow_option() -> click.Option:
    """For the commands that open the app."""
    return click.Option(
        ["--slow"],
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_keep("slow", flag=True),
        help="Draw for a slow link from the start: every 5 s, without charts (or `slow` in [ui]).",
    )


class ReleaseCommand(click.Command):
    """A command with the shared options, and its example below its help."""

    def __init__(self, *args: Any, example: str = "", **kwargs: Any) -> None:
        if example:
            kwargs["epilog"] = "\b\nExample:\n" + "\n".join(f"  {line}" for line in example.splitlines())
        super().__init__(*args, **kwargs)
        self.params.extend(shared_options())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        # "-1" is a number out of range, not an option that nobody knows.
        ctx.ignore_unknown_options = any(arg.startswith("-") and _NUMBER.fullmatch(arg) for arg in args)
        return super().parse_args(ctx, args)


@dataclass(frozen=True, slots=True)
class Entry:
    """One command of a lazy group: where it is defined, and what the group's help says of it."""

    module: str
    attribute: str
    short_help: str
    section: str = "Commands"


class LazyGroup(click.Group):
    """A group that imports a command only when it is run: listing and completing its names import none."""

    def __init__(self, *args: Any, entries: dict[str, Entry], example: str = "", **kwargs: Any) -> None:
        if example:
            kwargs["epilog"] = "\b\nExample:\n" + "\n".join(f"  {line}" for line in example.splitlines())
        super().__init__(*args, **kwargs)
        self.entries = entries
        self.params.extend(shared_options())

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        from importlib import import_module

        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        command = getattr(import_module(entry.module), entry.attribute)
        return command if isinstance(command, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and name not in self.entries and not name.startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(name, self.entries, 1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {name!r}.{meant}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for name, entry in self.entries.items():
            sections.setdefault(entry.section, []).append((name, entry.short_help))
        for section, rows in sections.items():
            with formatter.section(section):
                formatter.write_dl(rows)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        found: list[Any] = [
            CompletionItem(name, help=entry.short_help)
            for name, entry in self.entries.items()
            if name.startswith(incomplete)
        ]
        if incomplete.startswith("-"):
            found += click.Command.shell_complete(self, ctx, incomplete)
        return found


class Word(click.ParamType[str]):
    """Any text but none. An empty one is a variable that a script did not set: taken as "not given" it would ask for something
    else, such as the next step instead of a version."""

    def __init__(self, name: str = "text") -> None:
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value)
        if not text.strip():
            self.fail("it is empty; leave it out where it is not wanted", param, ctx)
        return text


class Name(Word):
    """A name that completes from what was last known, without any network. `kind` is "endpoints", "models" or "connections"."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind.removesuffix("s"))
        self.kind = kind

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        from click.shell_completion import CompletionItem

        from mlrelease_tui.cli.known import known_names

        names = known_names(self.kind, options_of(ctx).config)
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class Seconds(click.FloatRange):
    """A number of seconds from `low` to `high`. No comparison keeps "nan" out of a range, and no clock waits for it."""

    def __init__(self, low: float, high: float) -> None:
        super().__init__(low, high)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number: float = super().convert(value, param, ctx)
        if not isfinite(number):
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return number


class Weight(click.ParamType[int]):
    """A share of traffic in per cent, with or without its sign and at most two decimals; the value is in basis points."""

    name = "percent"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        text = str(value).strip()
        found = _WEIGHT.fullmatch(text)
        if found is None and _NUMBER.fullmatch(text) and not 0 <= float(text.rstrip("% ")) <= 100:
            self.fail(f"{text} is no weight: it is outside 0% to 100%", param, ctx)
        if found is None:
            self.fail(
                f"{value!r} is no weight: give per cent with at most two decimals, such as 10% or 2.5%", param, ctx
            )
        whole, fraction = found.groups()
        weight_bp = int(whole) * 100 + int((fraction or "").ljust(2, "0"))
        if weight_bp > 10_000:
            self.fail(f"{text} is no weight: it is outside 0% to 100%", param, ctx)
        return weight_bp


ENDPOINT: Final = Name("endpoints")
MODEL: Final = Name("models")
CONNECTION: Final = Name("connections")
WEIGHT: Final = Weight()
WORD: Final = Word()


def command(
    name: str, callback: Callable[..., int], params: Sequence[click.Parameter], *, help: str, example: str
) -> ReleaseCommand:
    """A command whose callback takes the click context first and returns the exit code."""
    return ReleaseCommand(name, callback=click.pass_context(callback), params=list(params), help=help, example=example)
