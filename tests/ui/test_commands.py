"""`:` commands: what a typed line means, and what is said where it means nothing."""

from __future__ import annotations

import random

import pytest
from tests.ui import scenes

from mlrelease_tui.domain.intents import (
    HoldRollout,
    Intent,
    MoveAlias,
    PromoteVersion,
    RollBack,
    ScaleEndpoint,
    SetWeight,
    ShadowVersion,
)
from mlrelease_tui.domain.refs import ModelRef
from mlrelease_tui.screens import commands
from mlrelease_tui.widgets import keys

STATE = scenes.degraded()
FRAUD = scenes.ref("fraud-scorer")
CHURN = scenes.ref("churn")


@pytest.mark.parametrize(
    ("line", "intent"),
    [
        ("rollback", RollBack(FRAUD)),
        ("rollback churn", RollBack(CHURN)),
        ("rollback prod-eu/ml/churn v6", RollBack(CHURN, "6")),
        ("rollback churn 6", RollBack(CHURN, "6")),
        ("promote", PromoteVersion(FRAUD)),
        ("promote churn v8", PromoteVersion(CHURN, "8")),
        ("promote churn 8 5%", PromoteVersion(CHURN, "8", 500)),
        ("promote 43 2.5%", PromoteVersion(FRAUD, "43", 250)),
        ("promote-full", PromoteVersion(FRAUD, full=True)),
        ("weight 30%", SetWeight(FRAUD, 3000)),
        ("weight 0", SetWeight(FRAUD, 0)),
        ("weight fraud-scorer 100%", SetWeight(FRAUD, 10_000)),
        ("hold", HoldRollout(FRAUD)),
        ("scale 4", ScaleEndpoint(FRAUD, 4)),
        ("shadow 43 5%", ShadowVersion(FRAUD, "43", 500)),
        ("alias champion v41", MoveAlias(ModelRef("registry", "fraud-scorer"), "champion", "41")),
    ],
)
def test_wishes(line: str, intent: Intent) -> None:
    assert commands.parse(line, STATE.endpoints, FRAUD) == commands.Wish(intent)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("weight 101%", "no weight"),
        ("weight -1%", "no weight"),
        ("weight 1e2", "no weight"),
        ("weight 33.333%", "no weight"),
        ("weight ٣%", "no weight"),
        ("weight", "say the canary's weight"),
        ("promote churn", "say which version"),
        ("rollback churn 6 7", "not understood"),
        ("hold now", "not understood"),
        ("scale many", "how many replicas"),
        ("fraud", "did you mean fraud-scorer"),
        ("xyzzy", "no command and no endpoint"),
        ("freeze 1", "takes nothing"),
    ],
)
def test_mistakes_say_what_would_be_right(line: str, said: str) -> None:
    found = commands.parse(line, STATE.endpoints, FRAUD)
    assert isinstance(found, commands.Mistake)
    assert said in found.text


def test_a_name_of_two_endpoints_is_refused() -> None:
    twin = scenes.endpoint("churn", "7", connection="prod-us")
    found = commands.parse("rollback churn", {**STATE.endpoints, twin.ref: twin}, FRAUD)
    assert isinstance(found, commands.Mistake)
    assert "prod-eu/ml/churn" in found.text
    assert "prod-us/ml/churn" in found.text


def test_without_a_selection_the_endpoint_must_be_said() -> None:
    found = commands.parse("hold", STATE.endpoints, None)
    assert isinstance(found, commands.Mistake)
    assert "hold [ENDPOINT]" in found.text


def test_other_words() -> None:
    assert commands.parse("", STATE.endpoints, None) is None
    assert commands.parse("q", STATE.endpoints, None) == commands.Act("quit")
    assert commands.parse("fleet", STATE.endpoints, None) == commands.Act("view('fleet')")
    assert commands.parse("filter a b", STATE.endpoints, None) == commands.Narrow("a b")
    assert commands.parse("theme light", STATE.endpoints, None) == commands.Dress("light")
    assert commands.parse("churn", STATE.endpoints, None) == commands.Visit(CHURN)


def test_every_verb_has_usage_and_a_builder() -> None:
    for word, item in commands.words().items():
        if item.verb is not None:
            assert word in commands.USAGE


def test_completions_lead_to_lines_that_parse() -> None:
    for typed in ("", "p", "roll", "endpoint ch", "chur"):
        for line, _ in commands.completions(typed, STATE.endpoints, ("dark",)):
            assert (
                not isinstance(commands.parse(line, STATE.endpoints, FRAUD), commands.Mistake) or line in commands.USAGE
            )
    assert commands.completions("endpoint ch", STATE.endpoints, ())[0][0] == "endpoint churn"
    assert ("rollback churn", commands.USAGE["rollback"]) in commands.completions("rollback ch", STATE.endpoints, ())
    assert [line for line, _ in commands.everything("roll back", ())] == ["rollback"]


def test_notes_name_the_keys_that_are_in_force() -> None:
    mine = keys.keymap("default", {"endpoint.actions": "A", "menu.hold": "H", "endpoint.explain": "E"})
    assert ("hold", "hold the rollout where it is  (A then H)") in commands.everything("hold", (), mine)
    assert ("explain", "explain: why this state  (E)") in commands.completions("expl", (), (), mine)


def test_of_ten_thousand_endpoints_the_first_are_proposed_in_order() -> None:
    refs = [scenes.ref(f"endpoint-{number:05d}") for number in range(10_000)]
    shuffled = random.Random(7).sample(refs, len(refs))
    wanted = [f"hold {ref.name}" for ref in refs[: commands.MOST]]
    assert [line for line, _ in commands.completions("hold end", shuffled, ())] == wanted
    assert [line for line, _ in commands.everything("endpoint-", shuffled)][-1] == refs[commands.MOST - 1].id
