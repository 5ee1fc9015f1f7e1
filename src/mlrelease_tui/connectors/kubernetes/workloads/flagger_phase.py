"""How a Canary's state is told: the phase in our words, what it waits for, what is wrong, and whether Flagger is slow or not
running.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.objects import items, text, when
from mlrelease_tui.connectors.kubernetes.workloads.flagger_standing import (
    AT_REST,
    JUDGED,
    PROMOTED,
    Standing,
    canary_percent,
    print_of,
)
from mlrelease_tui.domain.rollout import Phase
from mlrelease_tui.domain.text import SafeText

_NEW_S: Final = 30.0
"""A Canary that nobody has given a status after this many seconds is seen by no Flagger."""


def phase_of(standing: Standing) -> Phase:
    native = standing.native
    known: tuple[tuple[bool, Phase], ...] = (
        (native in {"", "Terminating", "Terminated"}, Phase.UNKNOWN),
        (standing.suspended, Phase.HELD),
        (standing.aborting, Phase.ABORTING),
        (standing.broken, Phase.DEGRADED),
        (standing.owed, Phase.UNKNOWN),
        (native in {"Waiting", "WaitingPromotion"} and not standing.skips, Phase.WAITING),
        (native not in AT_REST, Phase.PROGRESSING),
        (standing.primary is not None and standing.primary.overdue, Phase.DEGRADED),
        (not standing.settled and standing.primary is not None, Phase.PROGRESSING),
        (not standing.same or standing.stray, Phase.DEGRADED),
    )
    return next((phase for holds, phase in known if holds), Phase.COMPLETE)


def message_of(standing: Standing, now: datetime) -> str:
    return _owing(standing, now) or _waiting(standing) or _resting(standing)


def _waiting(standing: Standing) -> str:
    """What a release under way waits for."""
    words = {
        "Waiting": f"waits at its gate {_names(standing, 'confirm-rollout')}: nothing of {standing.version()} serves yet",
        "WaitingPromotion": f"waits at its gate {_names(standing, 'confirm-promotion')}, and goes on being measured",
        "Progressing": f"{standing.failed_checks} of {standing.threshold} checks failed",
    }
    if standing.suspended and standing.aborting:
        return f"an abort waits: {_suspended_by(standing)}; continued, Flagger carries it out at its next look"
    if standing.suspended:
        return "suspended: Flagger neither measures nor moves anything"
    return words.get(standing.native, "")


def _suspended_by(standing: Standing) -> str:
    hold = marks.hold_of(standing.item)
    return f"it is suspended by {hold.by}" if hold is not None else "it is suspended"


def _resting(standing: Standing) -> str:
    """What the last release left."""
    if standing.broken:
        return f"the promotion of {standing.version()} failed: its primary is not well, whatever the message says"
    if standing.native not in AT_REST or (standing.same and standing.native != "Failed"):
        return ""
    return "the release before failed; nothing of it is left" if standing.same else _different(standing)


def _names(standing: Standing, kind: str) -> str:
    return ", ".join(SafeText(name) for name in standing.gates(kind)) or kind


def _different(standing: Standing) -> str:
    if standing.native == "Failed":
        return f"{standing.version()} failed and stays in {SafeText(standing.target_name)}"
    stable = standing.stable.version if standing.stable else "?"
    return (
        f"{SafeText(standing.target_name)} holds {SafeText(standing.version())} and its primary runs {SafeText(stable)}: "
        "Flagger does nothing about it until the target changes"
    )


# --- slow, or not running


def _owing(standing: Standing, now: datetime) -> str:
    """What Flagger has yet to react to, and whether it still may; "" where nothing is owed."""
    found = _debt(standing)
    if found is None:
        return ""
    what, since = found
    waited_s = (now - since).total_seconds() if since is not None else None
    allowed_s = _NEW_S if not standing.native else standing.slow_s
    if waited_s is not None and waited_s <= allowed_s:
        return f"{what}, and Flagger has not looked yet: it does every {standing.interval_s:g} s"
    ago = f" for {waited_s:.0f} s" if waited_s is not None else ""
    return f"{what}, and no Flagger has reacted{ago}: is it running?"


def _debt(standing: Standing) -> tuple[str, datetime | None] | None:
    if not standing.native:
        return "it has no status", when(text(standing.item, "metadata", "creationTimestamp"))
    if standing.suspended:
        return None
    if standing.aborting:
        return "an abort was asked for", _status_written(standing)
    if standing.skips and standing.native in JUDGED:
        return "it is to be promoted without analysis", max(marks.written_by_hand(standing.item), default=None)
    if standing.owed:
        return f"{SafeText(standing.target_name)} was changed", standing.touched_at
    return None


def _status_written(standing: Standing) -> datetime | None:
    """When anybody wrote its status last."""
    found = [
        when(entry.get("time"))
        for entry in items(standing.item, "metadata", "managedFields")
        if entry.get("subresource") == "status"
    ]
    return max((moment for moment in found if moment is not None), default=standing.written_at)


def silent(standing: Standing, now: datetime) -> str:
    """Why Flagger seems not to run, "" where it may. At rest nothing tells; while it is Failed it writes at each look, and in a
    release that waits for nothing it writes with each step."""
    owing = _owing(standing, now)
    if owing:
        return owing if owing.endswith("?") else ""
    if standing.suspended or standing.written_at is None:
        return ""
    quiet_s = (now - standing.written_at).total_seconds()
    if quiet_s <= standing.slow_s + standing.interval_s:
        return ""
    ready = standing.settled and standing.target is not None and standing.target.settled
    waits = standing.route is not None and bool(standing.route.halted)
    gated = any(standing.gates(kind) for kind in ("confirm-traffic-increase", "confirm-promotion", "confirm-rollout"))
    moving = standing.native == "Progressing" and ready and not gated and not waits
    if standing.native == "Failed" or moving or (standing.native in PROMOTED and ready and not waits):
        return (
            f"Flagger wrote nothing for {quiet_s:.0f} s where it does every {standing.interval_s:g} s: is it running?"
        )
    return ""


# --- what is wrong


def problems_of(standing: Standing, now: datetime) -> Iterator[str]:
    if said := silent(standing, now):
        yield said
    yield from _missing(standing)
    target, version = SafeText(standing.target_name), SafeText(standing.version())
    percent = canary_percent(standing)
    if standing.broken:
        where = f", and {percent}% of the traffic goes to {target}" if percent else ""
        yield f"its primary holds {version} and is not well{where}: another release would send everything there"
    if standing.skips:
        yield "skipAnalysis is set: what is put into its target next gets all traffic unjudged"
    if standing.stray:
        yield f"{percent}% of the traffic goes to {target}, which has no pods at rest; Flagger never takes that back"
    if standing.route is not None and standing.route.halted:
        yield f"{SafeText(standing.route.halted)} has not accepted its route: Flagger takes no step, an abort neither"
    if standing.native == "Succeeded" and not standing.same and not standing.owed:
        yield _different(standing)
    yield from _moved_while_held(standing)


def _missing(standing: Standing) -> Iterator[str]:
    if standing.target_kind != "Deployment":
        yield f"its target is a {SafeText(standing.target_kind)}: what that runs is not read here"
    elif standing.target is None:
        yield f"its target {SafeText(standing.target_name)} is not there"
    elif standing.primary is None and standing.native in AT_REST | JUDGED:
        yield f"its primary {SafeText(standing.target_name)}-primary is not there"


def _moved_while_held(standing: Standing) -> Iterator[str]:
    noted = standing.noted
    if not noted or standing.target is None or standing.native not in JUDGED:
        return
    percent = canary_percent(standing)
    if noted.get("template") != print_of(standing.target.item):
        share = f": {percent}% of the traffic meets it, unjudged" if percent else ""
        yield f"{SafeText(standing.target_name)} was changed to {SafeText(standing.version())} while it is held{share}"
    if standing.rerouted:
        yield f"its route was changed while it is held: {percent}%, not {noted.get('canary')}%"
