"""`models` and `versions`: what the registries hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from mlrelease_tui.cli.options import MODEL, command, options_of

if TYPE_CHECKING:
    from mlrelease_tui.bootstrap import Program
    from mlrelease_tui.connectors.api import VersionSource
    from mlrelease_tui.domain.models import Model, ModelVersion
    from mlrelease_tui.domain.refs import ModelRef
    from mlrelease_tui.errors import ReleaseError

_PAGE: Final = 200
_PAGES: Final = 10_000
"""More pages than that are not read of one registry, whatever it says."""


def _models(ctx: click.Context, query: str, limit: int) -> int:
    from mlrelease_tui.cli.session import output_of, with_program

    options = options_of(ctx)
    output = output_of(options)

    async def work(program: Program) -> int:
        from datetime import UTC, datetime

        from mlrelease_tui.cli import text
        from mlrelease_tui.cli.registry_shapes import model_shape
        from mlrelease_tui.cli.shapes import MODELS, known

        found, failed, more = await _read_models(program, query, limit)
        if output.as_json:
            output.document(
                {
                    "schema": MODELS,
                    "models": [model_shape(model) for model in found],
                    "more": more,
                    "failed": [
                        {"connection": name, "error": known(code=error.code, message=error.message, hint=error.hint)}
                        for name, error in failed.items()
                    ],
                }
            )
        else:
            output.lines(text.models(found, datetime.now(UTC)))
            if more:
                output.note(f"there are more than these: --limit {limit * 10}, or a part of the name")
            for name, error in failed.items():
                output.note(f"{name}: {error}")
        return max((error.exit_code for error in failed.values()), default=0)

    return with_program(options, work)


async def _read_models(program: Program, query: str, limit: int) -> tuple[list[Model], dict[str, ReleaseError], bool]:
    """Models of all registries by name, whom it failed for, and whether there are more."""
    import asyncio

    from mlrelease_tui.cli.reading import broken
    from mlrelease_tui.connectors.api import VersionSource

    registries = {name: source for name, source in program.connectors.items() if isinstance(source, VersionSource)}
    answers = await asyncio.gather(*(_pages(name, source, query, limit) for name, source in registries.items()))
    found: list[Model] = []
    failed = broken(program, "versions")
    more = False
    for name, (models, left, error) in zip(registries, answers, strict=True):
        found += models
        more = more or left
        if error is not None:
            failed[name] = error
    found.sort(key=lambda model: model.ref)
    return found[:limit], failed, more or len(found) > limit


async def _pages(
    name: str, source: VersionSource, query: str, limit: int
) -> tuple[list[Model], bool, ReleaseError | None]:
    from mlrelease_tui.cli.finding import answered
    from mlrelease_tui.errors import ReleaseError

    found: list[Model] = []
    tokens = [""]
    try:
        while len(found) < limit:
            left = min(_PAGE, limit - len(found))
            page = await answered(name, source.models(query=query, limit=left, page_token=tokens[-1]))
            found += page.models
            if not _goes_on(name, tokens, page.next_token):
                return found, False, None
    except ReleaseError as error:
        return found, False, error
    return found, True, None


def _goes_on(name: str, tokens: list[str], following: str) -> bool:
    """Whether there is a page after this one; its token is put to those that were there. A page that was there already would come
    for ever: UnexpectedAnswer."""
    from mlrelease_tui.errors import UnexpectedAnswer

    if following and (following in tokens or len(tokens) > _PAGES):
        raise UnexpectedAnswer(f"{name} gives the same pages again and again", hint="is this the right address?")
    tokens.append(following)
    return bool(following)


def _versions(ctx: click.Context, name: str, limit: int, lineage: bool) -> int:
    from mlrelease_tui.cli.session import output_of, with_program

    options = options_of(ctx)
    output = output_of(options)

    async def work(program: Program) -> int:
        from datetime import UTC, datetime

        from mlrelease_tui.cli import text
        from mlrelease_tui.cli.finding import find_model
        from mlrelease_tui.cli.registry_shapes import version_shape
        from mlrelease_tui.cli.shapes import VERSIONS

        ref = await find_model(program, name)
        found, more = await _read_versions(program, ref, limit, lineage=lineage)
        if output.as_json:
            output.document(
                {
                    "schema": VERSIONS,
                    "model": ref.id,
                    "versions": [version_shape(version) for version in found],
                    "more": more,
                }
            )
        else:
            output.lines(text.versions(found, datetime.now(UTC)))
            if lineage:
                output.lines(row for version in found for row in text.lineage(version))
            if more:
                output.note(f"there are older ones: --limit {limit * 10}")
        return 0

    return with_program(options, work)


async def _read_versions(
    program: Program, ref: ModelRef, limit: int, *, lineage: bool
) -> tuple[list[ModelVersion], bool]:
    import asyncio
    from dataclasses import replace

    from mlrelease_tui.cli.finding import answered
    from mlrelease_tui.connectors.api import LineageSource, VersionSource
    from mlrelease_tui.errors import Unreachable

    source: object = program.connectors.get(ref.connection)
    if not isinstance(source, VersionSource):
        raise Unreachable(f"{ref.connection} is no registry that can be read", hint="`mlrelease connections test`")
    found: list[ModelVersion] = []
    tokens = [""]
    more = True
    while more and len(found) < limit:
        left = min(_PAGE, limit - len(found))
        page = await answered(ref.connection, source.versions(ref, limit=left, page_token=tokens[-1]))
        found += page.versions
        more = _goes_on(ref.connection, tokens, page.next_token)
    if lineage and isinstance(source, LineageSource):
        lines = await asyncio.gather(*(answered(ref.connection, source.lineage(version)) for version in found))
        found = [replace(version, lineage=line) for version, line in zip(found, lines, strict=True)]
    return found, more


models = command(
    "models",
    _models,
    [
        click.Argument(["query"], metavar="[PART]", required=False, default=""),
        click.Option(
            ["--limit"], type=click.IntRange(1, 100_000), default=200, show_default=True, help="At most so many."
        ),
    ],
    help="Models of all registries whose name holds PART, with their aliases.",
    example="mlrelease models fraud",
)

versions = command(
    "versions",
    _versions,
    [
        click.Argument(["name"], metavar="MODEL", type=MODEL),
        click.Option(
            ["--limit"], type=click.IntRange(1, 100_000), default=20, show_default=True, help="At most so many."
        ),
        click.Option(
            ["--lineage"], is_flag=True, help="Also where each comes from: run, metrics, data sets, signature."
        ),
    ],
    help="Versions of a model, newest first, with readiness, aliases, digest and source.",
    example="mlrelease versions registry/fraud-scorer --lineage --json",
)
