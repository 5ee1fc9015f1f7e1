"""What starting costs: the shell waits for `--version`, `--help` and every Tab, so they import next to nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    "textual",
    "rich",
    "httpx",
    "mlflow",
    "docker",
    "kubernetes",
    "keyring",
    "prometheus_client",
    "msgspec",
    "asyncio",
)
"""None of these may be loaded by what a shell waits for."""
NO_SCREEN = ("textual", "httpx", "mlflow", "docker", "kubernetes", "keyring")
"""None of these may be loaded to say that a command line or a configuration is wrong."""

PROBE = """
import json, sys
sys.argv = ["mlrelease", *json.loads(sys.argv[1])]
from mlrelease_tui.cli import main
try:
    main()
finally:
    print("LOADED", json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


def loaded_by(*arguments: str, environment: dict[str, str] | None = None) -> set[str]:
    """Top-level packages in `sys.modules` after one command line, in a fresh interpreter."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps(arguments)],
        capture_output=True,
        env={**os.environ, "MLRELEASE_CONFIG": "/nonexistent/config.toml", **(environment or {})},
        text=True,
        check=False,
        timeout=60,
    )
    told = [line for line in done.stderr.splitlines() if line.startswith("LOADED ")]
    assert told, done.stderr
    return set(json.loads(told[-1].removeprefix("LOADED ")))


def test_the_probe_sees_what_is_loaded() -> None:
    assert {"mlrelease_tui", "sys"} <= loaded_by("--version")
    assert "asyncio" in loaded_by("status", "--json", environment={"MLRELEASE_CONFIG": "/dev/null"})


def test_version_loads_not_even_the_command_line() -> None:
    assert not loaded_by("--version") & {*HEAVY, "click", "dataclasses", "importlib.metadata"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("status", "--help"),
        ("rollback", "--help"),
        ("plan", "--help"),
        ("audit", "--help"),
        ("completion", "bash"),
    ],
    ids=" ".join,
)
def test_help_loads_nothing_heavy(arguments: tuple[str, ...]) -> None:
    assert not loaded_by(*arguments) & {*HEAVY}


@pytest.mark.parametrize(
    "words", ["mlrelease st", "mlrelease status ir", "mlrelease plan rollback ir", "mlrelease promote --"]
)
def test_a_tab_loads_nothing_heavy(tmp_path: Path, words: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'state_dir = "{tmp_path}"\n[connections.a]\nkind = "fake"\n')
    (tmp_path / "last-known.json").write_text(
        json.dumps(
            {"config": str(config), "endpoints": [{"ref": {"connection": "a", "namespace": "ml", "name": "iris"}}]}
        )
    )
    environment = {
        "MLRELEASE_CONFIG": str(config),
        "_MLRELEASE_COMPLETE": "bash_complete",
        "COMP_WORDS": words.replace(" ", "\n"),
        "COMP_CWORD": str(words.count(" ")),
    }
    assert not loaded_by(environment=environment) & {*HEAVY}


@pytest.mark.parametrize(
    "arguments", [("nonsense",), ("status",), ("rollback",), ("weight", "iris", "150%")], ids=" ".join
)
def test_a_mistake_is_told_without_loading_a_backend_or_a_screen(arguments: tuple[str, ...]) -> None:
    assert not loaded_by(*arguments) & {*NO_SCREEN}


def test_looking_at_a_fleet_loads_no_screen_and_no_sdk_of_another_backend(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'state_dir = "{tmp_path}"\n[connections.a]\nkind = "fake"\n')
    assert not loaded_by("status", environment={"MLRELEASE_CONFIG": str(config)}) & {*NO_SCREEN}
