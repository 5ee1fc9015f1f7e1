"""One function a verb: which writes the driver is asked for, and which of the registry follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mlrelease_tui.actions.checks import (
    No,
    alias_follows,
    artifact,
    capable,
    harm,
    must_exist,
    weight_in_range,
)
from mlrelease_tui.actions.situation import Situation
from mlrelease_tui.connectors.api import (
    Abortable,
    Finishable,
    Holdable,
    Promotable,
    Restartable,
    Retryable,
    Returnable,
    Scalable,
    Shadowable,
    Switchable,
    Weighable,
)
from mlrelease_tui.domain.expectation import percent
from mlrelease_tui.domain.intents import (
    AbortRollout,
    ContinueRollout,
    HoldRollout,
    Intent,
    PromoteVersion,
    RestartEndpoint,
    RetryRollout,
    RollBack,
    ScaleEndpoint,
    SetWeight,
    ShadowVersion,
    SwitchVersions,
)
from mlrelease_tui.domain.plan import Check, Write
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP, Endpoint, Hold, Verb
from mlrelease_tui.domain.status import known_good_of
from mlrelease_tui.domain.text import SafeText


@dataclass(frozen=True, slots=True)
class Draft:
    """What a verb comes to before it is a plan. `full`: all traffic moves at once. `harmful`: it goes on with what hurts. `version`
    is the one that is meant, where the wish may leave that open."""

    steps: tuple[Write, ...]
    summary: str
    full: bool = False
    harmful: bool = False
    lowers: bool = False
    version: str = ""


@dataclass(slots=True)
class Notes:
    """What is said along the way: grows while a plan is made."""

    checks: list[Check] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def promote(intent: PromoteVersion, situation: Situation, endpoint: Endpoint, notes: Notes) -> Draft:
    driver = capable(situation.driver, Promotable, intent.verb)
    rollout = endpoint.rollout
    name = endpoint.ref.name
    if rollout.hold is not None:
        raise No("held", f"{name} is {held_by(rollout.hold)}", "continue it first")
    if rollout.in_flight and intent.version and intent.version != rollout.to_version:
        reason = f"a rollout of {name} to {rollout.to_version} is under way"
        raise No("rollout_under_way", reason, "finish it or roll it back first")
    version = intent.version or (rollout.to_version if rollout.in_flight else "")
    if not version:
        raise No("no_version", f"nothing is under way on {name}", "name the version to promote")
    if not rollout.in_flight and endpoint.stable is not None and endpoint.stable.version == version:
        raise No("already_there", f"{name} already runs {version}", "name another version")
    if intent.weight_bp is not None:
        weight_in_range(intent.weight_bp)
    deployed = artifact(situation, version, notes.checks, strict=True)
    if rollout.in_flight:
        return _go_on(intent, situation, endpoint, notes)
    if intent.full or intent.weight_bp == ALL_TRAFFIC_BP:
        steps = driver.start(endpoint, deployed, ALL_TRAFFIC_BP)
        steps += alias_follows(situation, version, notes.checks, notes.warnings)
        return Draft(steps, f"start {version} on {name} at 100%", full=True, version=version)
    first = rollout.steps[0].weight_bp if rollout.steps else None
    shown = percent(intent.weight_bp if intent.weight_bp is not None else first)
    return Draft(
        driver.start(endpoint, deployed, intent.weight_bp), f"start {version} on {name} at {shown}", version=version
    )


def _go_on(intent: PromoteVersion, situation: Situation, endpoint: Endpoint, notes: Notes) -> Draft:
    """Promote while a rollout is in flight: to a weight, to its next step, or to its end."""
    driver = capable(situation.driver, Promotable, intent.verb)
    rollout = endpoint.rollout
    name, version = endpoint.ref.name, rollout.to_version
    harmful = harm(situation, notes.checks)
    following = rollout.next_step
    if intent.full or (intent.weight_bp is None and rollout.steps and following is None):
        steps = driver.complete(endpoint) + alias_follows(situation, version, notes.checks, notes.warnings)
        return Draft(steps, f"finish {name}: all traffic to {version}", full=True, harmful=harmful, version=version)
    if intent.weight_bp is not None:
        canary = endpoint.canary
        if canary is not None and canary.weight_bp == intent.weight_bp:
            raise No(
                "already_there", f"{version} already has {percent(intent.weight_bp)} of {name}", "give another weight"
            )
        steps = capable(situation.driver, Weighable, Verb.WEIGHT).set_weight(endpoint, intent.weight_bp)
        full = intent.weight_bp == ALL_TRAFFIC_BP
        summary = f"{name}: {version} to {percent(intent.weight_bp)}"
        return Draft(steps, summary, full=full, harmful=harmful, version=version)
    word = f"{percent(following.weight_bp)} of traffic" if following else "its next step"
    return Draft(driver.advance(endpoint), f"take {name} {version} to {word}", harmful=harmful, version=version)


def weight(intent: SetWeight, situation: Situation, endpoint: Endpoint, notes: Notes) -> Draft:
    weight_in_range(intent.weight_bp)
    name, canary = endpoint.ref.name, endpoint.canary
    if canary is None:
        raise No("no_canary", f"{name} has no canary", "start one with promote")
    if canary.weight_bp == intent.weight_bp:
        reason = f"the canary of {name} already has {percent(intent.weight_bp)}"
        raise No("already_there", reason, "give another weight")
    down = lowers(intent, endpoint)
    hold = endpoint.rollout.hold
    if hold is not None and not down:
        raise No("held", f"{name} is {held_by(hold)}", "continue it first")
    steps = capable(situation.driver, Weighable, intent.verb).set_weight(endpoint, intent.weight_bp)
    summary = f"{name}: {canary.version} {percent(canary.weight_bp)} → {percent(intent.weight_bp)}"
    harmful = not down and harm(situation, notes.checks)
    return Draft(steps, summary, full=intent.weight_bp == ALL_TRAFFIC_BP, harmful=harmful, lowers=down)


def lowers(intent: Intent, endpoint: Endpoint | None) -> bool:
    """Whether the wish is to give the canary less than it is known to have."""
    canary = endpoint.canary if endpoint is not None else None
    if not isinstance(intent, SetWeight) or canary is None or canary.weight_bp is None:
        return False
    return intent.weight_bp < canary.weight_bp


def roll_back(intent: RollBack, situation: Situation, endpoint: Endpoint, notes: Notes) -> Draft:
    name = endpoint.ref.name
    version = intent.version or known_good_of(endpoint)
    if not version:
        raise No("no_known_good", f"no known good version of {name} is recorded", "name the version to return to")
    stable = endpoint.stable
    there = len(endpoint.variants) == 1 and stable is not None and stable.version == version
    if not endpoint.serving(version) and version != endpoint.previous_version:
        must_exist(situation, version)
    # The registry is used only where it answered: an emergency must not wait for it.
    deployed = artifact(situation, version, notes.checks, strict=False)
    if there:
        steps = situation.driver.finish_return(endpoint) if isinstance(situation.driver, Finishable) else ()
    else:
        steps = capable(situation.driver, Returnable, intent.verb).roll_back(endpoint, deployed)
    steps += alias_follows(situation, version, notes.checks, notes.warnings)
    if not steps:
        raise No("already_there", f"{name} already runs {version}, alone", "name another version")
    earlier = situation.unfinished
    if earlier and not intent.version and earlier != version:
        notes.warnings.append(
            f"the rollback before this one wanted {earlier} and did not get there; "
            f"this one goes to {version}: name {earlier} to go there"
        )
    return Draft(steps, f"roll back {name} to {version}", version=version)


def hold(intent: HoldRollout, situation: Situation, endpoint: Endpoint, notes: Notes) -> Draft:
    if endpoint.rollout.hold is not None:
        reason = f"{endpoint.ref.name} is {held_by(endpoint.rollout.hold)} already"
        raise No("already_there", reason, "nothing is to be done; continue lets it go on")
    # The reason is asked for at the confirmation; it reaches the backend with the stamp.
    mark = Hold(SafeText(situation.operator), SafeText(""), situation.now)
    steps = capable(situation.driver, Holdable, intent.verb).hold(endpoint, mark)
    return Draft(steps, f"hold {endpoint.ref.name} where it is")


def go_on(intent: ContinueRollout, situation: Situation, endpoint: Endpoint, notes: Notes) -> Draft:
    steps = capable(situation.driver, Holdable, intent.verb).resume(endpoint)
    mark = endpoint.rollout.hold
    summary = f"continue {endpoint.ref.name}" + (f", {held_by(mark)}" if mark else "")
    return Draft(steps, summary, harmful=harm(situation, notes.checks))


def abort(intent: AbortRollout, situation: Situation, endpoint: Endpoint, notes: Notes) -> Draft:
    steps = capable(situation.driver, Abortable, intent.verb).abort(endpoint)
    stable = endpoint.stable.version if endpoint.stable else "stable"
    return Draft(steps, f"all traffic of {endpoint.ref.name} back to {stable}")


def retry(intent: RetryRollout, situation: Situation, endpoint: Endpoint, notes: Notes) -> Draft:
    steps = capable(situation.driver, Retryable, intent.verb).retry(endpoint)
    return Draft(steps, f"retry the rollout of {endpoint.ref.name}")


def restart(intent: RestartEndpoint, situation: Situation, endpoint: Endpoint, notes: Notes) -> Draft:
    steps = capable(situation.driver, Restartable, intent.verb).restart(endpoint)
    return Draft(steps, f"restart {endpoint.ref.name}")


def scale(intent: ScaleEndpoint, situation: Situation, endpoint: Endpoint, notes: Notes) -> Draft:
    if intent.replicas < 0:
        raise No("bad_replicas", f"{intent.replicas} replicas can't be", "give 0 or more")
    steps = capable(situation.driver, Scalable, intent.verb).scale(endpoint, intent.replicas)
    return Draft(steps, f"scale {endpoint.ref.name} to {intent.replicas}")


def switch(intent: SwitchVersions, situation: Situation, endpoint: Endpoint, notes: Notes) -> Draft:
    steps = capable(situation.driver, Switchable, intent.verb).switch(endpoint)
    return Draft(steps, f"switch {endpoint.ref.name} over", harmful=harm(situation, notes.checks))


def shadow(intent: ShadowVersion, situation: Situation, endpoint: Endpoint, notes: Notes) -> Draft:
    weight_in_range(intent.weight_bp)
    deployed = artifact(situation, intent.version, notes.checks, strict=intent.weight_bp > 0)
    steps = capable(situation.driver, Shadowable, intent.verb).shadow(endpoint, deployed, intent.weight_bp)
    return Draft(steps, f"mirror {percent(intent.weight_bp)} of {endpoint.ref.name} to {intent.version}")


def held_by(mark: Hold) -> str:
    return f"held by {mark.by}" + (f": {mark.why}" if mark.why else "")


def draft(intent: Intent, situation: Situation, endpoint: Endpoint, notes: Notes) -> Draft:
    """The draft for an intent on an endpoint. Raises No, Refused or Unsupported with the reason."""
    function = _BY_INTENT.get(type(intent))
    if function is None:
        raise No("unsupported", f"{intent.verb} is no action on an endpoint")
    return function(intent, situation, endpoint, notes)


_BY_INTENT: dict[type, Callable[[Any, Situation, Endpoint, Notes], Draft]] = {
    PromoteVersion: promote,
    SetWeight: weight,
    RollBack: roll_back,
    HoldRollout: hold,
    ContinueRollout: go_on,
    AbortRollout: abort,
    RetryRollout: retry,
    RestartEndpoint: restart,
    ScaleEndpoint: scale,
    SwitchVersions: switch,
    ShadowVersion: shadow,
}
