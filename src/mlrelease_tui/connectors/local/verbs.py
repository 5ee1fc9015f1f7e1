"""What can be done to a local endpoint, in the words of its documents, and why not."""

from __future__ import annotations

from collections.abc import Callable

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.local import planning
from mlrelease_tui.connectors.local.layout import Layout
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import Endpoint, Hold, Verb, VerbSupport
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Refused

_NATIVE = {
    Verb.PROMOTE: "desired.json process + routes.yml weights",
    Verb.WEIGHT: "weights in routes.yml",
    Verb.HOLD: "hold in routes.yml",
    Verb.CONTINUE: "hold in routes.yml",
    Verb.ABORT: "weights in routes.yml",
    Verb.ROLLBACK: "routes.yml weights, then desired.json process",
    Verb.RESTART: "turn in desired.json",
    Verb.SHADOW: "mirroring in routes.yml",
}
_NEVER = {
    Verb.RETRY: "the supervisor starts a crashed process again by itself",
    Verb.SCALE: "each version is one process",
    Verb.SWITCH: "a local rollout is a canary: promote --full moves all traffic at once",
}
_UNHEARD_OF = "0-unheard-of"


def verbs_of(endpoint: Endpoint, layout: Layout) -> tuple[VerbSupport, ...]:
    """What can be done to an endpoint as it is: each verb's planner is asked, so that keys and plans agree."""
    nobody = Hold(SafeText("nobody"), SafeText(""))
    back = Artifact(endpoint.stable.version if endpoint.rollout.in_flight and endpoint.stable else "")
    attempts: dict[Verb, Callable[[], tuple[Write, ...]]] = {
        Verb.PROMOTE: lambda: _promotion(layout, endpoint),
        Verb.WEIGHT: lambda: planning.set_weight(layout, endpoint, 0),
        Verb.HOLD: lambda: planning.hold(layout, endpoint, nobody),
        Verb.CONTINUE: lambda: planning.resume(layout, endpoint),
        Verb.ABORT: lambda: planning.abort(layout, endpoint),
        Verb.ROLLBACK: lambda: planning.roll_back(layout, endpoint, back),
        Verb.RESTART: lambda: planning.restart(layout, endpoint),
        Verb.SHADOW: lambda: planning.shadow(layout, endpoint, Artifact(_UNHEARD_OF), 1_000),
    }
    found = []
    for verb, attempt in attempts.items():
        native = SafeText(_NATIVE[verb])
        try:
            attempt()
        except Refused as no:
            found.append(VerbSupport(verb, False, native, SafeText(no.message)))
        else:
            found.append(VerbSupport(verb, True, native))
    found += [VerbSupport(verb, False, reason=SafeText(reason)) for verb, reason in _NEVER.items()]
    return tuple(found)


def _promotion(layout: Layout, endpoint: Endpoint) -> tuple[Write, ...]:
    if endpoint.rollout.in_flight:
        return planning.advance(layout, endpoint)
    return planning.start(layout, endpoint, Artifact(_UNHEARD_OF), None)
