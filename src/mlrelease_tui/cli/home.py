"""`mlrelease` alone: the app, or plain status where no app can be drawn."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mlrelease_tui.cli.options import Options
    from mlrelease_tui.outset import Outset

SWITCH_S: Final = 0.0002
"""How long a thread may keep the interpreter while another one waits for it. Python's own 5 ms are too long here: frames leave by a
thread of their own, and the first one came up to 50 ms late, behind the loading of the backends' modules. And the loop that answers
keys gives the interpreter up at each system call: nine watches begun beside a thread that reads a cluster cost it 50 ms at 1 ms."""


def open_app_or_status(options: Options, env: Mapping[str, str] = os.environ) -> int:
    """Open the app; without a terminal that can show it, print `status --plain` and its exit code."""
    if options.as_json or not can_draw(env):
        from mlrelease_tui.cli.status import run_status

        return run_status(options, plain=True)
    ready_the_interpreter()
    from mlrelease_tui.cli.cockpit import run_cockpit
    from mlrelease_tui.cli.loop import Loop

    outset = outset_for_app(options, env)
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(run_cockpit(outset, env))


def ready_the_interpreter() -> None:
    """Before the app is loaded. No looking for garbage until all is wired, after the first frame: what comes is there to stay, and
    looking at it again and again takes a tenth of the start. And short turns of threads."""
    gc.disable()
    sys.setswitchinterval(SWITCH_S)


def can_draw(env: Mapping[str, str]) -> bool:
    """Whether an app can be drawn here: a terminal on both sides, and one that knows more than printing."""
    return sys.stdin.isatty() and sys.stdout.isatty() and env.get("TERM", "dumb") not in {"dumb", ""}


def outset_for_app(options: Options, env: Mapping[str, str]) -> Outset:
    """Where the app begins: keys of the configuration checked, secrets that are asked for asked before anything is drawn."""
    from dataclasses import replace

    from mlrelease_tui.cli.session import asked_secrets
    from mlrelease_tui.hardening import harden_process
    from mlrelease_tui.outset import begin, load_config
    from mlrelease_tui.widgets.keys import CATALOGUE, keymap

    config = load_config(options.config, env, action_ids=frozenset(key.id for key in CATALOGUE))
    try:
        keymap(config.ui.keymap.preset, config.ui.keymap.remap)
    except ValueError as problem:
        raise config.error(("ui", "keymap", "remap", "plan.send"), str(problem)) from None
    if options.slow:
        config = replace(config, ui=replace(config.ui, slow=True))
    harden_process()
    return begin(config, secrets=asked_secrets(config))
