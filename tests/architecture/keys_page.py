"""docs/keys.md, made from the catalogue of keys: `make docs` writes it, `test_docs.py` compares it."""

from __future__ import annotations

from mlrelease_tui.widgets.keys import CATALOGUE, PRESETS, SCOPES, Key, display

_HEAD = f"""\
# Keys

<!-- Made from src/mlrelease_tui/widgets/keys.py by `make docs`; edit there. -->

Every key leads to a look or to a plan. A plan is sent by one key alone, on the plan that is shown, while writes are armed.

`[ui.keymap]` in the configuration chooses a preset ({", ".join(f"`{name}`" for name in PRESETS)}) and remaps single actions by
their id:

```toml
[ui.keymap]
preset = "k9s"
remap = {{ "endpoint.rollback" = "ctrl+r" }}
```

The key that sends may be another letter; Enter, Space, a key that moves about or a chord is refused. In a terminal of less than 40
columns, or too few lines to read a plan, no plan is sent.

What the column *preset* does not name is as by default. *Command* is what to type after `:`.
"""


def page() -> str:
    """The whole page as text."""
    return _HEAD + "".join(_section(scope, title) for scope, title in SCOPES.items())


def _section(scope: str, title: str) -> str:
    rows = [_row(item) for item in CATALOGUE if item.scope == scope]
    if not rows:
        return ""
    head = "| keys | does | command | id | preset |\n|---|---|---|---|---|\n"
    return f"\n## {title}\n\n{head}" + "".join(rows)


def _row(item: Key) -> str:
    presets = [f"{name}: {_keys(keys)}" for name, keys in (("k9s", item.k9s), ("lazygit", item.lazygit)) if keys]
    text = item.text + (" (opens a plan)" if item.verb else "") + (" (the only key that sends)" if item.sends else "")
    cells = (_keys(item.keys), text, f"`:{item.word}`" if item.word else "", f"`{item.id}`", "; ".join(presets))
    return f"| {' | '.join(cells)} |\n"


def _keys(keys: tuple[str, ...]) -> str:
    return " ".join(f"`{display(key)}`" for key in keys) or "–"


if __name__ == "__main__":
    print(page(), end="")
