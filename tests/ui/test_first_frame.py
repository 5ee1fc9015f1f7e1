"""The first frame on a real terminal: what must not be loaded before it, and keys that come before all is wired."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.ui.pty_harness import Terminal

from mlrelease_tui.bootstrap import build, load_config

pytestmark = pytest.mark.real

LATER = (
    "httpx",
    "importlib.metadata",
    "keyring",
    "mlflow",
    "prometheus_client",
    "psutil",
    "rfc8785",
    "mlrelease_tui.actions",
    "mlrelease_tui.audit",
    "mlrelease_tui.bootstrap",
    "mlrelease_tui.connectors",
    "mlrelease_tui.credentials",
    "mlrelease_tui.judgement",
    "mlrelease_tui.routing",
    "mlrelease_tui.config.initial",
    "mlrelease_tui.domain.action",
    "mlrelease_tui.domain.expectation",
    "mlrelease_tui.domain.intents",
    "mlrelease_tui.domain.plan",
    "mlrelease_tui.presentation.plan",
    "mlrelease_tui.screens.commands",
    "mlrelease_tui.screens.planning",
    "mlrelease_tui.store.facts",
    "mlrelease_tui.store.poller",
    "mlrelease_tui.widgets.plan_panel",
)
"""Not loaded, nor anything of theirs, before the last known fleet is on the screen."""

PROGRAM = """
import json, os, sys, time
from pathlib import Path
from mlrelease_tui.cli import main, wiring

folder = Path(sys.argv.pop(1))
begin, load = wiring.Wiring.begin, wiring.Wiring._load

def beginning(self, *args, **kwargs):
    (folder / "writing").write_text(json.dumps(sorted(sys.modules)))
    (folder / "writing").rename(folder / "loaded")
    begin(self, *args, **kwargs)

def loading(self):
    while not (folder / "may-load").exists():
        time.sleep(0.005)
    load(self)

wiring.Wiring.begin, wiring.Wiring._load = beginning, loading
sys.argv[0] = "mlrelease"
raise SystemExit(main())
"""
"""`mlrelease` that writes down what is loaded when the first frame is out, and wires when it is allowed to."""

PROD = {
    "endpoints": [
        {
            "namespace": "ml",
            "name": "iris",
            "environment": "staging",
            "previous_version": "1",
            "phase": "progressing",
            "steps": [1000, 10000],
            "variants": [
                {"version": "1", "role": "stable", "weight_bp": 9000},
                {"version": "2", "role": "canary", "weight_bp": 1000},
            ],
        }
    ]
}


@pytest.fixture
async def folder(tmp_path: Path) -> Path:
    """A configuration, and the fleet that was last known with it."""
    (tmp_path / "prod.json").write_text(json.dumps(PROD), "utf-8")
    config = tmp_path / "config.toml"
    config.write_text('state_dir = "state"\n[connections.prod]\nkind = "fake"\nscript = "prod.json"\n', "utf-8")
    config.chmod(0o600)
    program = build(load_config(config, {}), environ={})
    await program.poller.once()
    await program.close()
    return tmp_path


@pytest.fixture
def opened(folder: Path) -> Callable[[], Terminal]:
    def open_app() -> Terminal:
        return Terminal([sys.executable, "-c", PROGRAM, str(folder), "--config", str(folder / "config.toml")])

    return open_app


def test_the_last_known_fleet_is_drawn_before_anything_else_is_loaded(
    folder: Path, opened: Callable[[], Terminal]
) -> None:
    with opened() as terminal:
        terminal.wait_for("iris")
        terminal.wait(lambda _: (folder / "loaded").exists(), "the end of the first frame")
        loaded = json.loads((folder / "loaded").read_text("utf-8"))
    assert "mlrelease_tui.screens.fleet" in loaded, "the probe sees nothing"
    early = [name for name in loaded if any(name == later or name.startswith(f"{later}.") for later in LATER)]
    assert early == []


def test_a_key_that_comes_before_all_is_wired_is_answered_after_it(
    folder: Path, opened: Callable[[], Terminal]
) -> None:
    with opened() as terminal:
        terminal.wait_for("iris")
        terminal.send("B")
        terminal.wait_for("roll back iris")
        terminal.pump(0.3)
        assert "READ-ONLY" in terminal.text
        assert "= Roll back iris" not in terminal.text, "there is a plan, and nobody could have made it"
        (folder / "may-load").touch()
        terminal.wait_for("= Roll back iris to v1")


def test_quitting_before_all_is_wired_is_clean(folder: Path, opened: Callable[[], Terminal]) -> None:
    with opened() as terminal:
        terminal.wait_for("iris")
        began = time.monotonic()
        terminal.send("\x11")
        assert terminal.wait_exit(10) == 0
        assert time.monotonic() - began < 5
        assert "Traceback" not in terminal.received.decode("utf-8", "replace")
    assert not (folder / "state" / "crashes").exists()
