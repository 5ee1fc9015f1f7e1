"""What each verb takes on the command line, and the intent that it makes of it.

One table for all of them; the planner alone decides whether a backend can do it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from mlrelease_tui.cli.options import ENDPOINT, MODEL, WEIGHT, WORD

if TYPE_CHECKING:
    from mlrelease_tui.bootstrap import Program
    from mlrelease_tui.domain.intents import Intent

Wish = Callable[["Program", Mapping[str, Any]], Awaitable["Intent"]]
"""Makes the intent from the arguments, finding the names on the way."""


@dataclass(frozen=True, slots=True)
class VerbSpec:
    """One verb. `params` makes fresh click parameters; `forward`: what hurts is measured before going on with it."""

    word: str
    params: Callable[[], list[click.Parameter]]
    wish: Wish
    help: str
    example: str
    forward: bool = False


def _endpoint() -> click.Argument:
    return click.Argument(["endpoint"], metavar="ENDPOINT", type=ENDPOINT)


def _only_endpoint() -> list[click.Parameter]:
    return [_endpoint()]


def _version(*, required: bool) -> click.Argument:
    return click.Argument(["version"], metavar="VERSION" if required else "[VERSION]", type=WORD, required=required)


def _simple(kind: str) -> Wish:
    """The wish of a verb that takes an endpoint and nothing else; `kind` is the intent's class."""

    async def wish(program: Program, given: Mapping[str, Any]) -> Intent:
        from mlrelease_tui.cli.finding import find_endpoint
        from mlrelease_tui.domain import intents

        found: Intent = getattr(intents, kind)(await find_endpoint(program, given["endpoint"]))
        return found

    return wish


async def _promote(program: Program, given: Mapping[str, Any]) -> Intent:
    from mlrelease_tui.cli.finding import find_endpoint
    from mlrelease_tui.domain.intents import PromoteVersion
    from mlrelease_tui.errors import UsageError

    if given["full"] and given["weight"] is not None:
        raise UsageError("--full is all traffic, --weight a part of it", hint="give one of them")
    ref = await find_endpoint(program, given["endpoint"])
    return PromoteVersion(ref, version=given["version"] or "", weight_bp=given["weight"], full=given["full"])


async def _weight(program: Program, given: Mapping[str, Any]) -> Intent:
    from mlrelease_tui.cli.finding import find_endpoint
    from mlrelease_tui.domain.intents import SetWeight

    return SetWeight(await find_endpoint(program, given["endpoint"]), weight_bp=given["weight"])


async def _rollback(program: Program, given: Mapping[str, Any]) -> Intent:
    from mlrelease_tui.cli.finding import find_endpoint
    from mlrelease_tui.domain.intents import RollBack

    return RollBack(await find_endpoint(program, given["endpoint"]), version=given["to"] or "")


async def _scale(program: Program, given: Mapping[str, Any]) -> Intent:
    from mlrelease_tui.cli.finding import find_endpoint
    from mlrelease_tui.domain.intents import ScaleEndpoint

    return ScaleEndpoint(await find_endpoint(program, given["endpoint"]), replicas=given["replicas"])


async def _shadow(program: Program, given: Mapping[str, Any]) -> Intent:
    from mlrelease_tui.cli.finding import find_endpoint
    from mlrelease_tui.domain.intents import ShadowVersion

    ref = await find_endpoint(program, given["endpoint"])
    return ShadowVersion(ref, version=given["version"], weight_bp=given["weight"])


async def _alias(program: Program, given: Mapping[str, Any]) -> Intent:
    from mlrelease_tui.cli.finding import find_model, read_endpoints
    from mlrelease_tui.domain.intents import MoveAlias

    # Where an alias is followed decides how hard confirming is, so the endpoints must be known.
    await read_endpoints(program)
    return MoveAlias(await find_model(program, given["model"]), given["alias"], given["version"])


def _weight_option(default: int | None, help: str) -> click.Option:
    return click.Option(["--weight"], type=WEIGHT, default=default, metavar="PERCENT", help=help)


SPECS: Final[dict[str, VerbSpec]] = {
    spec.word: spec
    for spec in (
        VerbSpec(
            "promote",
            lambda: [
                _endpoint(),
                _version(required=False),
                _weight_option(None, "Share of traffic to give it (default: the endpoint's own first or next step)."),
                click.Option(["--full"], is_flag=True, help="All traffic, and make it the stable version."),
            ],
            _promote,
            "Start a canary of VERSION; without VERSION take the next step of the rollout under way.",
            "mlrelease promote fraud-scorer 42 --weight 10% --yes\nmlrelease promote fraud-scorer --full --yes",
            forward=True,
        ),
        VerbSpec(
            "weight",
            lambda: [_endpoint(), click.Argument(["weight"], metavar="PERCENT", type=WEIGHT)],
            _weight,
            "Give the canary PERCENT of traffic and stable the rest.",
            "mlrelease weight fraud-scorer 25% --yes",
            forward=True,
        ),
        VerbSpec(
            "hold",
            _only_endpoint,
            _simple("HoldRollout"),
            "Pause the rollout where it is; who holds it and why is kept in the backend.",
            "mlrelease hold fraud-scorer --reason 'waiting for risk team' --yes",
        ),
        VerbSpec(
            "continue",
            _only_endpoint,
            _simple("ContinueRollout"),
            "Go on with a rollout that is held.",
            "mlrelease continue fraud-scorer --yes",
            forward=True,
        ),
        VerbSpec(
            "abort",
            _only_endpoint,
            _simple("AbortRollout"),
            "All traffic back to the stable version, now; nothing else changes.",
            "mlrelease abort fraud-scorer --yes",
        ),
        VerbSpec(
            "rollback",
            lambda: [
                _endpoint(),
                click.Option(
                    ["--to"], type=WORD, metavar="VERSION", help="Version to return to (default: the last known good)."
                ),
            ],
            _rollback,
            "Return to a good version whole: traffic first, then what ran, then the alias.",
            "mlrelease rollback fraud-scorer --yes --reason INC-1234",
        ),
        VerbSpec(
            "alias",
            lambda: [
                click.Argument(["model"], metavar="MODEL", type=MODEL),
                click.Argument(["alias"], metavar="ALIAS", type=WORD),
                _version(required=True),
            ],
            _alias,
            "Point ALIAS of MODEL at VERSION in the registry, alone: nothing that serves is touched.",
            "mlrelease alias registry/fraud-scorer champion 41 --yes",
        ),
        VerbSpec(
            "retry",
            _only_endpoint,
            _simple("RetryRollout"),
            "Retry a rollout that failed, as its backend does it.",
            "mlrelease retry fraud-scorer --yes",
        ),
        VerbSpec(
            "restart",
            _only_endpoint,
            _simple("RestartEndpoint"),
            "Restart what serves the endpoint, as its backend does it.",
            "mlrelease restart fraud-scorer --yes",
        ),
        VerbSpec(
            "scale",
            lambda: [_endpoint(), click.Argument(["replicas"], metavar="REPLICAS", type=click.IntRange(0, 100_000))],
            _scale,
            "Set the number of replicas.",
            "mlrelease scale fraud-scorer 6 --yes",
        ),
        VerbSpec(
            "switch",
            _only_endpoint,
            _simple("SwitchVersions"),
            "Cut over from the running version to the preview.",
            "mlrelease switch fraud-scorer --yes",
            forward=True,
        ),
        VerbSpec(
            "shadow",
            lambda: [
                _endpoint(),
                _version(required=True),
                _weight_option(10_000, "Share of the requests to mirror; 0 ends the shadow (default: all)."),
            ],
            _shadow,
            "Mirror requests to VERSION, whose answers nobody sees.",
            "mlrelease shadow fraud-scorer 42 --weight 5% --yes",
        ),
    )
}
