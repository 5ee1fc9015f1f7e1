"""The catalogue of keys: no clash, nothing reserved, nothing that changes anything by one key."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from mlrelease_tui.app import MlreleaseApp
from mlrelease_tui.cli.entry import root
from mlrelease_tui.cli.home import outset_for_app
from mlrelease_tui.cli.options import options_of
from mlrelease_tui.domain.rollout import Verb
from mlrelease_tui.errors import ConfigError
from mlrelease_tui.screens.overlay import PageScreen
from mlrelease_tui.screens.views import VIEWS
from mlrelease_tui.widgets import keys
from mlrelease_tui.widgets.diff_table import DiffTable
from mlrelease_tui.widgets.plan_panel import PlanPanel
from mlrelease_tui.widgets.prompt import Prompt
from mlrelease_tui.widgets.sheet import Sheet


def together() -> list[tuple[str, ...]]:
    """Scopes that are valid at one time: each screen's own with those that are valid everywhere, and the docked ones alone."""
    found = [("app", *load().SCOPES) for load in VIEWS.values()]
    return [*found, ("plan",), ("menu", "dialog"), ("prompt",), ("page", "dialog", "sheet", "thing")]


@pytest.mark.parametrize("preset", keys.PRESETS)
@pytest.mark.parametrize("scopes", together(), ids="+".join)
def test_no_key_means_two_things(scopes: tuple[str, ...], preset: str) -> None:
    mapped = keys.keymap(preset)
    used = Counter(key for scope in scopes for item in keys.of(scope) for key in keys.keys_of(item.id, mapped))
    assert {key: count for key, count in used.items() if count > 1} == {}


@pytest.mark.parametrize("preset", keys.PRESETS)
def test_nothing_is_reserved(preset: str) -> None:
    mapped = keys.keymap(preset)
    for item in keys.CATALOGUE:
        for key in keys.keys_of(item.id, mapped):
            assert key not in keys.RESERVED, item.id
            assert not key.startswith(("alt+", "ctrl+shift+")), item.id


@pytest.mark.parametrize("preset", keys.PRESETS)
def test_only_one_key_sends_and_only_in_a_plan(preset: str) -> None:
    sending = [item for item in keys.CATALOGUE if item.sends]
    assert [item.id for item in sending] == ["plan.send"]
    pressed = keys.keys_of("plan.send", keys.keymap(preset))
    assert not {key for key in pressed if key == "enter" or key.startswith("ctrl+")}


def test_ids_and_words_are_unique() -> None:
    assert max(Counter(item.id for item in keys.CATALOGUE).values()) == 1
    words = Counter(item.word for item in keys.CATALOGUE if item.word)
    assert {word for word, count in words.items() if count > 1} == set()


def test_every_scope_is_named() -> None:
    assert {item.scope for item in keys.CATALOGUE} == keys.SCOPES.keys()


def test_every_verb_has_a_key_in_the_menu() -> None:
    assert {item.verb for item in keys.of("menu")} == set(Verb)


def test_every_action_exists() -> None:
    homes: dict[str, tuple[type, ...]] = {
        "app": (MlreleaseApp,),
        "list": (DiffTable,),
        "sheet": (Sheet,),
        "plan": (PlanPanel,),
        "prompt": (Prompt,),
        "page": (PageScreen,),
    }
    for item in keys.CATALOGUE:
        method = f"action_{item.action.partition('(')[0]}"
        if item.scope in homes:
            assert any(hasattr(home, method) for home in homes[item.scope]), item.id
        elif item.scope not in {"menu", "dialog"}:
            screens = [load() for load in VIEWS.values() if item.scope in load().SCOPES]
            assert screens, f"no screen is in the scope {item.scope}"
            assert all(hasattr(screen, method) for screen in screens), item.id


def test_remapping_is_by_id() -> None:
    mapped = keys.keymap("default", {"list.down": "J"})
    assert keys.keys_of("list.down", mapped) == ("J",)
    with pytest.raises(ValueError, match=r"no action 'list\.fly'"):
        keys.keymap("default", {"list.fly": "x"})
    with pytest.raises(ValueError, match="no key preset 'emacs'"):
        keys.keymap("emacs")


@pytest.mark.parametrize("pressed", ["enter", "space", "ctrl+y", "y,enter", "q", "down"])
def test_no_key_that_is_pressed_without_a_thought_sends(pressed: str) -> None:
    with pytest.raises(ValueError, match=r"plan\.send"):
        keys.keymap("default", {"plan.send": pressed})


def test_the_key_that_sends_is_no_other_key_of_the_plan() -> None:
    with pytest.raises(ValueError, match=r"y can't be both plan\.send and plan\.cancel"):
        keys.keymap("default", {"plan.cancel": "escape,y"})
    assert keys.keys_of("plan.send", keys.keymap("default", {"plan.send": "Y"})) == ("Y",)


def test_a_key_that_must_not_send_is_an_error_of_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text('[ui.keymap.remap]\n"plan.send" = "enter"\n')
    path.chmod(0o600)
    with root.make_context("mlrelease", []) as ctx, pytest.raises(ConfigError, match="enter may not do that") as found:
        outset_for_app(replace(options_of(ctx), config=path), {"HOME": str(tmp_path)})
    assert found.value.line == 2


def test_views_have_neighbouring_numbers() -> None:
    numbers = [int(item.keys[0]) for item in keys.of("app") if item.name.startswith("view_")]
    assert numbers == sorted(numbers)
    assert all(later > earlier for earlier, later in pairwise(numbers))
