"""`audit list|show|verify|export`: reads the files alone; no backend is asked."""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import click

from mlrelease_tui.cli.options import ENDPOINT, WORD, Entry, LazyGroup, Options, command, options_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from mlrelease_tui.audit.record import AuditRecord
    from mlrelease_tui.audit.verify import Verification
    from mlrelease_tui.cli.output import Output

_HERE: Final = "mlrelease_tui.cli.audit"
_FORMS: Final = ("jsonl", "cloudevents", "ocsf", "csv")
_SHORTEST_PREFIX: Final = 6


class _When(click.ParamType[datetime]):
    """A moment (RFC 3339; without an offset it is UTC) or how long ago: 90s, 15m, 6h, 2d."""

    name = "when"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        from datetime import UTC, timedelta

        if isinstance(value, datetime):
            return value
        text = str(value).strip()
        seconds = {"s": 1, "m": 60, "h": 3600, "d": 86_400}.get(text[-1:])
        try:
            if seconds is not None and text[:-1].isascii() and text[:-1].isdigit() and len(text) < 10:
                return datetime.now(UTC) - timedelta(seconds=int(text[:-1]) * seconds)
            moment = datetime.fromisoformat(text)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is no moment: give 2026-03-01T09:30:00Z, or 15m, 6h, 2d for how long ago", param, ctx)
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _root(options: Options) -> Path:
    """Where the audit is. Without a configuration the default folder: the past can be read even then.

    A configuration that was named and is not there is an error: it had another audit, maybe.
    """
    import os

    from mlrelease_tui.cli.session import config_of
    from mlrelease_tui.config.reading import empty, is_unnamed_and_missing

    if is_unnamed_and_missing(options.config, os.environ):
        return empty(os.environ).audit_dir
    return config_of(options).audit_dir


def _found(
    root: Path,
    *,
    limit: int | None,
    since: datetime | None = None,
    kind: str | None = None,
    endpoint: str | None = None,
    intent: str | None = None,
) -> tuple[AuditRecord, ...]:
    """Newest first. `endpoint` is a whole id or the end of one."""
    from mlrelease_tui.audit.read import records

    whole = endpoint is None or endpoint.count("/") == 2
    found = records(
        root,
        limit=limit if whole else None,
        since=since,
        kind=kind,
        endpoint=endpoint if whole else None,
        intent_id=intent,
    )
    if whole:
        return found
    return tuple(record for record in found if f"/{record.endpoint}".endswith(f"/{endpoint}"))[:limit]


@contextmanager
def _reading(root: Path) -> Iterator[None]:
    """A folder that can't be read is no answer about what is in it; least of all that it was altered, which exit code 1 says."""
    from mlrelease_tui.errors import UsageError

    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(
            f"the audit in {root} can't be read: {error.strerror or error}",
            hint="`audit_dir` in the configuration says where it is",
        ) from error


def _list(
    ctx: click.Context,
    limit: int,
    since: datetime | None,
    kind: str | None,
    endpoint: str | None,
    intent: str | None,
    every: bool,
) -> int:
    from mlrelease_tui.actions.journal import entry_of
    from mlrelease_tui.cli import text
    from mlrelease_tui.cli.action_shapes import entry_shape
    from mlrelease_tui.cli.session import output_of
    from mlrelease_tui.cli.shapes import AUDIT_LIST

    options = options_of(ctx)
    output = output_of(options)
    unfiltered = kind is None and intent is None and not every
    root = _root(options)
    with _reading(root):
        found = _found(
            root,
            limit=None if unfiltered else limit,
            since=since,
            kind=kind,
            endpoint=endpoint,
            intent=intent,
        )
    if unfiltered:
        found = tuple(record for record in found if record.kind not in _DETAILS)[:limit]
    if not found and kind is not None:
        _must_be_kind(kind)
    entries = [entry_of(record) for record in found]
    if output.as_json:
        output.document({"schema": AUDIT_LIST, "records": [entry_shape(entry) for entry in entries]})
    elif entries:
        output.lines(text.entries(entries))
    else:
        output.line("no record fits")
    return 0


def _must_be_kind(kind: str) -> None:
    """UnknownName for a kind that no version writes: that there is no record of it says nothing."""
    from mlrelease_tui.audit.record import KINDS
    from mlrelease_tui.config.sections import suggest
    from mlrelease_tui.domain.text import SafeText
    from mlrelease_tui.errors import UnknownName

    if kind not in KINDS:
        raise UnknownName(f"no record is of the kind {SafeText(kind)}", hint=suggest(kind, KINDS))


_DETAILS: Final = frozenset({"sent", "step", "segment_close", "checkpoint"})
"""Records below an action's intent and outcome: shown where they are asked for."""


def _show(ctx: click.Context, identity: str) -> int:
    from mlrelease_tui.actions.journal import entry_of
    from mlrelease_tui.cli.action_shapes import entry_shape
    from mlrelease_tui.cli.session import output_of
    from mlrelease_tui.cli.shapes import AUDIT_LIST

    options = options_of(ctx)
    output = output_of(options)
    root = _root(options)
    with _reading(root):
        entries = [entry_of(record) for record in _called(root, identity)]
    if output.as_json:
        output.document({"schema": AUDIT_LIST, "records": [entry_shape(entry, detail=True) for entry in entries]})
        return 0
    from mlrelease_tui.cli import text

    for entry in entries:
        output.lines(text.record(entry))
    return 0


def _called(root: Path, identity: str) -> list[AuditRecord]:
    """The record of that id or line hash, or an intent with all that followed it, oldest first. A unique start will do."""
    from mlrelease_tui.audit.read import read
    from mlrelease_tui.domain.text import SafeText
    from mlrelease_tui.errors import AmbiguousName, UnknownName

    if len(identity) < _SHORTEST_PREFIX:
        raise UnknownName(
            f"{SafeText(identity)!s} is too short for an id", hint=f"give at least {_SHORTEST_PREFIX} characters of it"
        )
    records = list(read(root))
    intents = {record.intent_id for record in records if record.intent_id.startswith(identity)}
    single = {record.id for record in records if record.id.startswith(identity) or record.sha256.startswith(identity)}
    if identity in intents:
        intents = {identity}
    if len(intents) == 1:
        chosen = next(iter(intents))
        return [record for record in records if record.intent_id == chosen]
    if len(single) == 1 and not intents:
        return [record for record in records if record.id in single]
    if intents or single:
        some = ", ".join(sorted(intents or single)[:4])
        raise AmbiguousName(f"{SafeText(identity)} is the start of several ids: {some}", hint="give more of it")
    raise UnknownName(f"no record has the id {SafeText(identity)}", hint="`mlrelease audit list --json` has the ids")


def _verify(ctx: click.Context, expect_head: str | None) -> int:
    from mlrelease_tui.audit.verify import verify
    from mlrelease_tui.cli.session import output_of
    from mlrelease_tui.cli.shapes import AUDIT_VERIFY, plain
    from mlrelease_tui.domain.text import SafeText
    from mlrelease_tui.errors import UsageError

    options = options_of(ctx)
    output = output_of(options)
    if expect_head is not None:
        expect_head = expect_head.strip().lower()
        if not re.fullmatch(r"[0-9a-f]{64}", expect_head):
            # A slip of the pen must not raise the alarm that somebody cut the audit.
            raise UsageError(
                f"{SafeText(expect_head)} is no head: it has 64 digits, 0 to f",
                hint="`mlrelease audit verify` prints it",
            )
    root = _root(options)
    with _reading(root):
        found = verify(root, expect_head=expect_head)
    if output.as_json:
        output.document(
            {"schema": AUDIT_VERIFY, "directory": str(root), **{k: plain(v) for k, v in found.as_dict().items()}}
        )
    else:
        _tell(output, root, found)
    return found.exit_code


def _tell(output: Output, root: Path, found: Verification) -> None:
    from mlrelease_tui.presentation.lines import Role, Span, line

    words = {0: ("ok", Role.OK), 1: ("TAMPERED", Role.CRIT), 2: ("INCOMPLETE", Role.WARN), 3: ("UNANCHORED", Role.WARN)}
    word, role = words[found.exit_code]
    output.line(line(Span(word, role), f": {found.records} records in {len(found.chains)} chains under {root}"))
    for chain in found.chains:
        output.line(f"  chain {chain.chain}: records {chain.first_seq} to {chain.last_seq}, {chain.last_at}")
        output.line(f"  head  {chain.head}")
    for item in found.breaks:
        place = f"{item.file}:{item.line}" if item.line else item.file
        output.line(line(Span(f"  {item.severity} ", Role.CRIT), f"{place}: {item.reason}"))
    if found.unanchored:
        output.line(f"  {found.unanchored} records follow the expected head: only the chain vouches for them")


def _export(ctx: click.Context, form: str, since: datetime | None, endpoint: str | None, target: Path | None) -> int:
    from mlrelease_tui.audit.export import export
    from mlrelease_tui.cli.session import output_of
    from mlrelease_tui.errors import UsageError

    options = options_of(ctx)
    output = output_of(options)
    root = _root(options)
    with _reading(root):
        records = reversed(_found(root, limit=None, since=since, endpoint=endpoint))
    lines = export(records, form)
    if target is not None:
        try:
            _put(target, lines)
        except OSError as error:
            raise UsageError(
                f"{target} can't be written: {error.strerror}", hint="name a file that isn't there"
            ) from error
        return 0
    output.exact(lines)
    return 0


def _put(target: Path, lines: Iterable[str]) -> None:
    """Write a new file that is as private as what it is copied from, whole or not at all. OSError where that can't be."""
    import os

    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)
    except BaseException:
        # Half an audit would pass for a whole one.
        target.unlink(missing_ok=True)
        raise


def _since() -> click.Option:
    return click.Option(["--since"], type=_When(), default=None, help="A moment, or how long ago: 15m, 6h, 2d.")


def _endpoint() -> click.Option:
    return click.Option(["--endpoint"], type=ENDPOINT, default=None, help="Only what was done to this endpoint.")


def _output_file() -> click.Option:
    from pathlib import Path

    return click.Option(
        ["--output", "-o", "target"],
        type=click.Path(path_type=Path, dir_okay=False),
        default=None,
        help="Write there instead of stdout; an existing file is kept.",
    )


list_ = command(
    "list",
    _list,
    [
        click.Option(
            ["--limit"], type=click.IntRange(1, 1_000_000), default=50, show_default=True, help="At most so many."
        ),
        _since(),
        _endpoint(),
        click.Option(["--kind"], default=None, help="Only records of this kind: intent, outcome, reconciled, denied …"),
        click.Option(["--intent"], type=WORD, default=None, metavar="ID", help="An intent with all that followed it."),
        click.Option(["--all", "every"], is_flag=True, help="Also each write that was sent, and its result."),
    ],
    help="What was done, newest first: who, what, why, and how it ended.",
    example="mlrelease audit list --endpoint fraud-scorer --since 2d",
)

show = command(
    "show",
    _show,
    [click.Argument(["identity"], metavar="ID", type=WORD)],
    help="One record, or an intent with all that followed it, whole. ID may be the start of an id or of a line's hash.",
    example="mlrelease audit show 01981e2c-8a",
)

verify_ = command(
    "verify",
    _verify,
    [
        click.Option(
            ["--expect-head", "--anchor", "expect_head"],
            default=None,
            metavar="SHA256",
            help="The head that somebody wrote down earlier: finds what was cut off since.",
        )
    ],
    help=(
        "Check every line and link of the audit, offline.\n\n"
        "Exit code 0 all holds, 1 tampered, 2 something is missing, 3 records follow the expected head."
    ),
    example="mlrelease audit verify --json",
)

export_ = command(
    "export",
    _export,
    [
        click.Option(
            ["--format", "form"], type=click.Choice(_FORMS), default="jsonl", show_default=True, help="Which form."
        ),
        _since(),
        _endpoint(),
        _output_file(),
    ],
    help="The records, oldest first: the exact lines (jsonl), or as CloudEvents, OCSF or CSV.",
    example="mlrelease audit export --format csv --since 30d -o audit.csv",
)

audit = LazyGroup(
    "audit",
    entries={
        "list": Entry(_HERE, "list_", "What was done, newest first."),
        "show": Entry(_HERE, "show", "One record or one action, whole."),
        "verify": Entry(_HERE, "verify_", "Check the chain, offline."),
        "export": Entry(_HERE, "export_", "Records for other systems."),
    },
    help="Who did what, why, on which evidence, and how it ended: an append-only, hash-chained log on this host.",
    example="mlrelease audit verify",
)
