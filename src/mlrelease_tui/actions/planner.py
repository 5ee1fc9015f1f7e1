"""Intent and situation in, plan or refusal out. Pure: no clock, no network, no state of its own."""

from __future__ import annotations

from dataclasses import replace

from mlrelease_tui.actions.checks import No, artifact, capable, freshness, supported
from mlrelease_tui.actions.situation import Situation
from mlrelease_tui.actions.verbs import Draft, Notes, draft, lowers
from mlrelease_tui.connectors.api import AliasMovable
from mlrelease_tui.domain.action import OpenAction, Stage
from mlrelease_tui.domain.expectation import AliasExpectation
from mlrelease_tui.domain.intents import Intent, MoveAlias, PromoteVersion, RollBack
from mlrelease_tui.domain.plan import Direction, Level, Plan, ReadFrom, Refusal
from mlrelease_tui.domain.policy import direction_of, level_of
from mlrelease_tui.domain.rollout import Endpoint, Verb
from mlrelease_tui.errors import Refused, Unsupported


def plan(intent: Intent, situation: Situation) -> Plan | Refusal:
    """The writes that bring about `intent`, or why there are none."""
    notes = Notes()
    try:
        _nothing_else_open(intent, situation, notes)
        if isinstance(intent, MoveAlias):
            drafted = _alias(intent, situation, notes)
            direction, environment = direction_of(intent.verb), situation.environment
        else:
            endpoint = _known(intent, situation)
            supported(endpoint, intent.verb)
            notes.checks.append(freshness(situation, endpoint))
            drafted = draft(intent, situation, endpoint, notes)
            direction = direction_of(intent.verb, lowers_weight=drafted.lowers)
            environment = endpoint.environment
            _warn(endpoint, situation, notes)
        if direction is not Direction.SAFE:
            _nothing_arriving(intent, situation)
        if not drafted.steps:
            raise No("nothing_to_do", f"{intent.target} is already so", "look at it again")
        barred = situation.access.may_touch(step.connection for step in drafted.steps if step.mutates)
        if barred is not None:
            return barred
    except No as no:
        return no.refusal
    except (Refused, Unsupported) as error:
        return Refusal(error.code, error.message, error.hint)
    level = level_of(
        intent.verb,
        direction,
        production=situation.production,
        full=drafted.full,
        harmful=drafted.harmful,
        owned=not isinstance(intent, MoveAlias) and situation.endpoint is not None and bool(situation.endpoint.owner),
        floor=situation.floor,
    )
    return _finish(intent, situation, drafted, direction, level, environment, notes)


def _nothing_else_open(intent: Intent, situation: Situation, notes: Notes) -> None:
    """One action on a target at a time. One that only waits to see its last write take effect, which may be minutes, makes way
    for what gets back to safety."""
    target = intent.target.id
    safe = direction_of(intent.verb, lowers_weight=lowers(intent, situation.endpoint)) is Direction.SAFE
    busy = situation.in_flight
    if busy is not None:
        if not (safe and busy.stage is Stage.VERIFYING):
            raise No("busy", f"{busy.plan.verb} of {target} is under way, by {busy.by}", "wait for its outcome")
        notes.warnings.append(f"{busy.plan.verb} by {busy.by} still waits to be seen: sending this ends that wait")
    for action in situation.open_actions:
        if action.target == target and action.alive:
            reason = f"{action.verb} of {target} is under way in process {action.pid}, by {action.actor}"
            if not safe or not action.sent_steps or action.settling(situation.now):
                raise No("busy", reason, "wait for its outcome")
            notes.warnings.append(f"{reason}: it waits for its answer, or to be seen")


def _nothing_arriving(intent: Intent, situation: Situation) -> None:
    """What a dead process sent a moment ago may still take effect: going on waits for that, getting back to safety does not."""
    for action in situation.open_actions:
        if action.target == intent.target.id and action.settles_at and action.settling(situation.now):
            left_s = (action.settles_at - situation.now).total_seconds()
            reason = (
                f"what {_earlier(action)} sent may still arrive: nobody can say yet what {intent.verb} would start from"
            )
            raise No("unsettled", reason, f"settled in {left_s:.0f} s; rollback, abort and hold need not wait")


def _earlier(action: OpenAction) -> str:
    what = str(action.summary) or action.verb
    return f"an earlier action by {action.actor} ({what})"


def _known(intent: Intent, situation: Situation) -> Endpoint:
    if situation.endpoint is None:
        raise No("unknown_endpoint", f"{intent.target} is not known", "`mlrelease status` lists the endpoints")
    return situation.endpoint


def _alias(intent: MoveAlias, situation: Situation, notes: Notes) -> Draft:
    if situation.model is None:
        why = situation.registry_problem or "the registry has no such model"
        raise No("unknown_model", f"{intent.model} can't be read: {why}", "`mlrelease models` lists the models")
    movable = capable(situation.registry, AliasMovable, Verb.ALIAS)
    now = situation.model.aliases.get(intent.alias, "")
    if now == intent.version:
        raise No(
            "already_there",
            f"alias {intent.alias} of {intent.model} already points at {intent.version}",
            "name another version",
        )
    artifact(situation, intent.version, notes.checks, strict=True)
    steps = movable.move_alias(situation.model, intent.alias, intent.version)
    return Draft(steps, f"alias {intent.alias} of {intent.model.name}: {now or 'nothing'} → {intent.version}")


def _warn(endpoint: Endpoint, situation: Situation, notes: Notes) -> None:
    if endpoint.owner:
        notes.warnings.append(f"{endpoint.owner} owns this endpoint and may revert the change")
    for action in situation.open_actions:
        if action.target == endpoint.ref.id and not action.alive:
            notes.warnings.append(_left_open(action, situation))


def _left_open(action: OpenAction, situation: Situation) -> str:
    text = f"{_earlier(action)} was left without an outcome"
    if action.settling(situation.now):
        text += "; what it sent may still arrive, and voids this plan if it does"
    return text + (f"; seen so far: {action.seen}" if action.seen else "")


def _finish(
    intent: Intent,
    situation: Situation,
    drafted: Draft,
    direction: Direction,
    level: Level,
    environment: str,
    notes: Notes,
) -> Plan:
    steps = drafted.steps
    endpoint, model = situation.endpoint, situation.model
    read: list[ReadFrom] = []
    if endpoint is not None:
        read.append(ReadFrom(endpoint.ref.id, endpoint.revision, endpoint.observed_at))
    if model is not None and any(isinstance(step.expects, AliasExpectation) for step in steps):
        aliases = ",".join(f"{alias}={version}" for alias, version in sorted(model.aliases.items()))
        read.append(ReadFrom(model.ref.id, aliases, model.observed_at or situation.now))
    loose = sorted({step.connection for step in steps if step.best_effort})
    if loose:
        notes.warnings.append(
            f"best effort on {', '.join(loose)}: no compare-and-set there; a race is detected, not prevented"
        )
    if isinstance(intent, PromoteVersion | RollBack) and not intent.version:
        # What is confirmed and recorded names the version, whether or not the wish did.
        intent = replace(intent, version=drafted.version)
    return Plan(
        intent=intent,
        target=intent.target,
        environment=environment,
        direction=direction,
        level=level,
        steps=steps,
        summary=drafted.summary,
        undo="; ".join(dict.fromkeys(step.undo for step in reversed(steps) if step.undo)),
        read_from=tuple(read),
        created_at=situation.now,
        expires_at=situation.now + situation.lifetime,
        checks=tuple(notes.checks),
        warnings=tuple(notes.warnings),
    )
