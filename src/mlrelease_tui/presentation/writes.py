"""Writes in an operator's words: what kind of change each is, from what to what, and what a run of them came to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlrelease_tui.domain.expectation import AliasExpectation, EndpointExpectation, percent
from mlrelease_tui.domain.plan import Plan, StepResult, StepStatus, Write
from mlrelease_tui.domain.rollout import Verb
from mlrelease_tui.presentation import words


@dataclass(frozen=True, slots=True)
class Change:
    """`kind` is one word; `before` is "" where `after` says it all."""

    kind: str
    before: str
    after: str


def change(step: Write) -> Change:
    """What a write does, in as few words as say it. The driver's own words, without what before and after have in common."""
    assumes, expects = step.assumes, step.expects
    if isinstance(assumes, AliasExpectation) and isinstance(expects, AliasExpectation):
        before = words.version(assumes.version) if assumes.version else "nothing"
        after = words.version(expects.version) if expects.version else "nothing"
        return Change("alias", f"{expects.alias} {before}", after)
    if not step.mutates:
        return Change("wait", "", step.call.removeprefix("wait "))
    kind = "write"
    if isinstance(assumes, EndpointExpectation) and isinstance(expects, EndpointExpectation):
        kind = _kind(assumes, expects)
    before, after = step.before, step.after
    if before and after.startswith(before):
        before = ""
    return Change(kind, before, after)


def _kind(assumes: EndpointExpectation, expects: EndpointExpectation) -> str:
    if set(expects.present) - set(assumes.present):
        return "start"
    if set(assumes.present) - set(expects.present) or set(expects.absent) - set(assumes.absent):
        return "retire"
    if _flowing(assumes) != _flowing(expects):
        return "traffic"
    if expects.held is not None and expects.held != assumes.held:
        return "hold" if expects.held else "continue"
    return "route" if assumes.weights != expects.weights else "write"


def _flowing(expectation: EndpointExpectation) -> dict[str, int]:
    """Who gets traffic, in basis points."""
    named = expectation.weights if expectation.weights is not None else expectation.version_weights or ()
    return {name: weight for name, weight in named if weight}


def _split(expects: EndpointExpectation) -> str:
    """Who gets how much. Where one gets all it is the stable version, which people know better than the variant's name."""
    flowing = _flowing(expects)
    if len(flowing) == 1 and expects.stable_version:
        return f"{words.version(expects.stable_version)} 100%"
    return " + ".join(f"{name} {percent(weight)}" for name, weight in flowing.items())


def essence(plan: Plan, results: Sequence[StepResult]) -> list[str]:
    """What the verified steps brought about, most wanted first: who has the users' traffic, who is gone, where aliases point."""
    done = [
        plan.steps[item.index]
        for item in results
        if item.status is StepStatus.VERIFIED and item.index < len(plan.steps) and plan.steps[item.index].mutates
    ]
    traffic, gone, rest, aliases = "", [], [], []
    for step in done:
        assumes, expects = step.assumes, step.expects
        if isinstance(expects, AliasExpectation):
            aliases.append(f"alias {expects.alias} at {words.version(expects.version)}")
            continue
        kind = change(step).kind
        if kind in {"traffic", "route"} and _flowing(expects):
            traffic = _split(expects)
        elif kind == "retire" and isinstance(assumes, EndpointExpectation):
            gone += sorted((set(assumes.present) - set(expects.present)) | set(expects.absent))
        elif kind in {"hold", "continue"}:
            rest.append("held" if kind == "hold" else "no longer held")
        elif kind == "write":
            rest.append(step.after)
    found = []
    if traffic:
        back = plan.verb in {Verb.ROLLBACK, Verb.ABORT}
        found.append(f"users' traffic is {'back: ' if back else ''}{traffic}")
    found += rest
    if gone:
        found.append(f"{', '.join(dict.fromkeys(gone))} retired")
    return found + aliases
