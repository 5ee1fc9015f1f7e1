"""The catalogue of keys: data only. Bindings, the help, the palette, `:` commands and docs/keys.md are made from it.

An entry is remapped by its id (`list.down`). No entry but `plan.send` leads to a write, and that one works only on a plan that is
shown; `menu.*` and `endpoint.rollback` open plans.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from textual.binding import Binding, BindingType

from mlrelease_tui.domain.rollout import Verb


@dataclass(frozen=True, slots=True)
class Key:
    """One action. `keys` are Textual's names; `call` is the Textual action that it runs (its name, unless said); `word` is the
    `:` command that does it, "" for none; `hint` is the footer's word for it, "" where the footer does not name it; `verb` is
    set where it opens a plan."""

    scope: str
    name: str
    keys: tuple[str, ...]
    text: str
    word: str = ""
    hint: str = ""
    verb: Verb | None = None
    sends: bool = False
    k9s: tuple[str, ...] = ()
    lazygit: tuple[str, ...] = ()
    call: str = ""

    @property
    def id(self) -> str:
        return f"{self.scope}.{self.name}"

    @property
    def action(self) -> str:
        return self.call or self.name


SCOPES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "app": "Everywhere",
        "list": "In a list",
        "sheet": "In a text",
        "rows": "Screens with a list",
        "endpoint": "On an endpoint",
        "item": "On a selected row",
        "thing": "What is known of it",
        "page": "In a page",
        "versions": "On a version",
        "audit": "In the audit",
        "menu": "Actions menu (after a)",
        "plan": "In a plan",
        "dialog": "In a menu",
        "prompt": "In a prompt",
    }
)
"""Where keys are valid, and how the help calls that."""

_MOTION: Final = (
    ("down", ("j", "down"), "down"),
    ("up", ("k", "up"), "up"),
    ("top", ("g", "home"), "to the first"),
    ("end", ("G", "end"), "to the last"),
    ("half_down", ("ctrl+d",), "half a page down"),
    ("half_up", ("ctrl+u",), "half a page up"),
    ("page_down", ("pagedown", "ctrl+f"), "a page down"),
    ("page_up", ("pageup",), "a page up"),
)

CATALOGUE: Final[tuple[Key, ...]] = (
    Key("app", "help", ("question_mark",), "keys that are valid here", "help", "help"),
    Key("app", "command", ("colon",), "command line", hint="cmd"),
    Key("app", "palette", ("ctrl+p",), "find any action or endpoint"),
    Key("app", "view_fleet", ("1",), "fleet: all endpoints, worst first", "fleet", call="view('fleet')"),
    Key("app", "view_models", ("2",), "models and their versions", "models", call="view('models')"),
    Key("app", "view_endpoint", ("3",), "the selected endpoint", "endpoint", call="view('endpoint')"),
    Key("app", "view_rollouts", ("4",), "rollouts under way", "rollouts", call="view('rollouts')"),
    Key("app", "view_audit", ("6",), "audit: who did what, and why", "audit", call="view('audit')"),
    Key(
        "app",
        "view_connections",
        ("7",),
        "connections and their health",
        "connections",
        k9s=("7", "circumflex_accent"),
        call="view('connections')",
    ),
    Key("app", "everything", ("0",), "look at all connections and environments again", "all"),
    Key("app", "connection", ("at",), "look at one connection or environment alone", "only", "only"),
    Key("app", "last_view", ("minus",), "the view before this one", "last"),
    Key("app", "arm", ("W",), "arm writes for a while, or disarm", "arm", "arm"),
    Key("app", "freeze", ("f",), "freeze what is shown, or let it go on", "freeze"),
    Key("app", "refetch", ("r",), "read everything again now", "refetch", "read again", lazygit=("R", "r")),
    Key("app", "repaint", ("ctrl+l",), "draw the whole screen again", "repaint"),
    Key("app", "zoom", ("z",), "zoom the list, or the detail beside it", "zoom", "zoom", lazygit=("plus", "z")),
    Key("app", "theme", (), "next theme", "theme"),
    Key("app", "back", ("escape", "h"), "close, clear the filter, go back", "back", "back"),
    Key("app", "leave", ("q",), "back; at the root asks to quit"),
    Key("app", "quit", ("ctrl+q",), "quit", "quit"),
    *(Key("list", action, keys, text) for action, keys, text in _MOTION),
    Key("list", "open", ("enter", "l"), "open", hint="open"),
    Key("list", "mark", ("space",), "mark, or unmark", hint="mark"),
    Key("list", "mark_range", ("v",), "mark from the last mark to here"),
    Key("list", "unmark", ("u",), "unmark all", "unmark"),
    *(Key("sheet", action, keys, text) for action, keys, text in _MOTION),
    Key("rows", "filter", ("slash",), "filter", "filter", "filter"),
    Key("rows", "next", ("n",), "next row that matches the last filter"),
    Key("rows", "previous", ("N",), "previous row that matches the last filter"),
    Key("rows", "sort", ("s",), "choose what to sort by", "sort"),
    Key("rows", "reverse", ("S",), "reverse the order", "reverse"),
    Key("rows", "problems", ("exclamation_mark",), "only problems, or all", "problems", "problems"),
    Key("rows", "wide", ("w",), "whole names, fewer columns", "wide"),
    Key("endpoint", "actions", ("a",), "actions menu", "actions", "actions", lazygit=("a", "x")),
    Key("endpoint", "rollback", ("B",), "open the plan to roll back", hint="roll back", verb=Verb.ROLLBACK),
    Key("endpoint", "explain", ("x",), "explain: why this state", "explain", "explain", lazygit=("i",)),
    Key("endpoint", "metrics", ("m",), "metrics: every number of every variant", "metrics", "metrics"),
    Key("endpoint", "events", ("e",), "events: what happened here", "events", "events"),
    Key("endpoint", "logs", ("L",), "logs: what its processes print", "logs"),
    Key("endpoint", "copy_name", ("c",), "copy the name, or the marked ones'", "copy"),
    Key("endpoint", "copy_command", ("C",), "copy the equivalent command", "copy-command"),
    Key("thing", "describe", ("d",), "describe: all that is known of it", "describe", "describe"),
    Key("thing", "raw", ("y",), "the value as JSON", "raw"),
    Key("thing", "url", ("o",), "show its address and copy it", "url"),
    Key("page", "next_tab", ("right_square_bracket", "right"), "next page"),
    Key("page", "previous_tab", ("left_square_bracket", "left"), "previous page"),
    Key("page", "copy", ("c",), "copy the page"),
    Key("page", "variant", ("v",), "logs: of the next variant"),
    Key("page", "previous_run", ("p",), "logs: of the run before, or of this one again"),
    Key("item", "copy_name", ("c",), "copy the name"),
    Key("item", "copy_command", ("C",), "copy the equivalent command", hint="copy command"),
    Key("versions", "move_alias", ("a",), "open the plan to point an alias here", hint="alias", verb=Verb.ALIAS),
    Key("versions", "diff", ("D",), "compare the two marked versions", hint="diff"),
    Key("audit", "only", ("t",), "only this target, or all", hint="only this"),
    Key("audit", "raw", ("y",), "the records as the log has them, or what they say", hint="raw"),
    Key("audit", "verify", ("V",), "verify the whole log", hint="verify"),
    Key(
        "menu",
        "promote",
        ("p",),
        "promote: the next step, or start a canary",
        "promote",
        verb=Verb.PROMOTE,
        call="verb('promote')",
    ),
    Key("menu", "full", ("f",), "promote fully: all traffic", "promote-full", verb=Verb.PROMOTE),
    Key("menu", "weight", ("w",), "set the canary's weight", "weight", verb=Verb.WEIGHT, call="verb('weight')"),
    Key("menu", "hold", ("h",), "hold the rollout where it is", "hold", verb=Verb.HOLD, call="verb('hold')"),
    Key("menu", "continue", ("c",), "continue a held rollout", "continue", verb=Verb.CONTINUE, call="verb('continue')"),
    Key("menu", "abort", ("x",), "abort: traffic back to stable now", "abort", verb=Verb.ABORT, call="verb('abort')"),
    Key(
        "menu",
        "rollback",
        ("b",),
        "roll back to the known good version",
        "rollback",
        verb=Verb.ROLLBACK,
        call="verb('rollback')",
    ),
    Key("menu", "retry", ("r",), "retry the rollout", "retry", verb=Verb.RETRY, call="verb('retry')"),
    Key("menu", "restart", ("t",), "restart", "restart", verb=Verb.RESTART, call="verb('restart')"),
    Key("menu", "scale", ("s",), "scale", "scale", verb=Verb.SCALE, call="verb('scale')"),
    Key("menu", "switch", ("v",), "switch versions (blue-green)", "switch", verb=Verb.SWITCH, call="verb('switch')"),
    Key("menu", "shadow", ("m",), "mirror traffic to a version", "shadow", verb=Verb.SHADOW, call="verb('shadow')"),
    Key("menu", "alias", ("a",), "move the registry alias alone", "alias", verb=Verb.ALIAS, call="verb('alias')"),
    Key("dialog", "close", ("escape", "q"), "close the menu"),
    Key("plan", "send", ("y",), "send the plan", hint="send", sends=True),
    Key("plan", "arm", ("W",), "arm writes", hint="arm"),
    Key("plan", "reason", ("i",), "give a reason", hint="reason"),
    Key("plan", "shell", ("e",), "the same as shell commands, and back", hint="shell"),
    Key("plan", "copy", ("C",), "copy the shell commands", hint="copy"),
    Key("plan", "more", ("j", "down", "ctrl+d"), "scroll the plan down"),
    Key("plan", "less", ("k", "up", "ctrl+u"), "scroll the plan up"),
    Key("plan", "cancel", ("escape", "q", "enter"), "cancel, or close when it is done", hint="cancel"),
    Key("prompt", "leave", ("escape",), "leave the prompt"),
    Key("prompt", "complete", ("tab",), "complete"),
    Key("prompt", "choice_down", ("down",), "next suggestion"),
    Key("prompt", "choice_up", ("up",), "previous suggestion"),
)

RESERVED: Final = frozenset(
    {
        "ctrl+a",
        "ctrl+b",
        "ctrl+c",
        "ctrl+e",
        "ctrl+k",
        "ctrl+v",
        "ctrl+w",
        "ctrl+x",
        "ctrl+s",
        "ctrl+z",
        "ctrl+h",
        "ctrl+i",
        "ctrl+j",
        "ctrl+m",
        "ctrl+space",
        "ctrl+at",
        "ctrl+backslash",
        "ctrl+left_square_bracket",
        "tilde",
        "f1",
        "f10",
        "f11",
    }
)
"""Keys that a terminal, a multiplexer, ssh or a text field takes for itself; alt+anything too."""

_THOUGHTLESS: Final = frozenset(
    {"enter", "return", "space", "escape", "tab", "backspace", "delete", "insert"}
    | {"up", "down", "left", "right", "home", "end", "pageup", "pagedown"}
)
"""Keys that never send, whatever the operator's own keys are."""

PRESETS: Final = ("default", "k9s", "lazygit")

_DISPLAY: Final[Mapping[str, str]] = MappingProxyType(
    {
        "question_mark": "?",
        "colon": ":",
        "slash": "/",
        "exclamation_mark": "!",
        "minus": "-",
        "at": "@",
        "right_square_bracket": "]",
        "left_square_bracket": "[",
        "left": "Left",
        "right": "Right",
        "plus": "+",
        "circumflex_accent": "^",
        "escape": "Esc",
        "enter": "Enter",
        "space": "Space",
        "pagedown": "PgDn",
        "pageup": "PgUp",
        "home": "Home",
        "end": "End",
        "up": "Up",
        "down": "Down",
        "tab": "Tab",
    }
)


def display(key: str) -> str:
    """How a key is written for people: "ctrl+d" → "Ctrl-D", "question_mark" → "?"."""
    if key.startswith("ctrl+"):
        return f"Ctrl-{key[5:].upper()}"
    return _DISPLAY.get(key, key)


def of(scope: str) -> tuple[Key, ...]:
    return tuple(entry for entry in CATALOGUE if entry.scope == scope)


def entry(identity: str) -> Key:
    """The entry with this id; KeyError where there is none."""
    for item in CATALOGUE:
        if item.id == identity:
            return item
    raise KeyError(identity)


def bindings(*scopes: str) -> list[BindingType]:
    """Textual bindings of the scopes, carrying the ids by which they are remapped."""
    return [_binding(item) for scope in scopes for item in of(scope) if item.keys]


def binding(identity: str) -> Binding:
    """The one of this entry: for a view on which another scope's key does its own thing. KeyError where there is no such entry."""
    return _binding(entry(identity))


def _binding(item: Key) -> Binding:
    return Binding(",".join(item.keys), item.action, item.text, show=False, id=item.id, priority=item.id == "app.quit")


def keymap(preset: str = "default", overrides: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """Action id → keys (comma-separated), for a preset and then the operator's own. ValueError for what is not known, and for a key
    that must not send."""
    if preset not in PRESETS:
        raise ValueError(f"no key preset {preset!r}: there are {', '.join(PRESETS)}")
    mapped: dict[str, str] = {}
    for item in CATALOGUE:
        chosen = item.k9s if preset == "k9s" else item.lazygit if preset == "lazygit" else ()
        if chosen:
            mapped[item.id] = ",".join(chosen)
    known = {item.id for item in CATALOGUE}
    for identity, keys in overrides.items():
        if identity not in known:
            raise ValueError(f"no action {identity!r} to put a key on")
        mapped[identity] = keys
    for item in CATALOGUE:
        if item.sends:
            _check_sending(item, mapped)
    return mapped


def _check_sending(item: Key, mapped: Mapping[str, str]) -> None:
    """Enter, a chord or a key that moves about is pressed without a thought; and one key can't both send and cancel."""
    others = {key: other.id for other in of(item.scope) if other is not item for key in keys_of(other.id, mapped)}
    for key in keys_of(item.id, mapped):
        if "+" in key or key in _THOUGHTLESS:
            raise ValueError(f"{item.id} sends a plan: {key} may not do that; a letter may")
        if key in others:
            raise ValueError(f"{key} can't be both {item.id} and {others[key]}")


def usual(identity: str) -> str:
    """The key that an action has in the catalogue itself, as it is written for people; "" where it has none."""
    return next((display(key) for key in entry(identity).keys), "")


def keys_of(identity: str, mapped: Mapping[str, str] = MappingProxyType({})) -> tuple[str, ...]:
    """The keys that an action has under a keymap."""
    return tuple(mapped[identity].split(",")) if identity in mapped else entry(identity).keys
