"""What the app is opened on: a configuration, scripts for the fake connector, and a last known fleet."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
FLEET: Final = "prod"
SILENT: Final[Mapping[str, Any]] = {"faults": [{"kind": "silent"}]}


@dataclass(frozen=True, slots=True)
class World:
    """A folder of its own with a configuration. `endpoints` are served by one connection, `dead` more never answer."""

    folder: Path
    endpoints: int = 20
    dead: int = 0
    registry: str = ""
    """An address of an MLflow server, or a `sqlite:` one; "" for a registry that the fake plays."""

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    def make(self) -> World:
        self.folder.mkdir(mode=0o700, parents=True)
        self._script(FLEET, {"endpoints": [endpoint(number) for number in range(self.endpoints)]})
        lines = ['state_dir = "state"', *_connection(FLEET, 'script = "prod.json"', "staging")]
        if self.registry:
            lines += ["[connections.registry]", 'kind = "mlflow"', f'url = "{self.registry}"']
        else:
            self._script("registry", {"models": [_model(number) for number in range(min(self.endpoints, 200))]})
            lines += _connection("registry", 'script = "registry.json"')
        for number in range(self.dead):
            name = f"dead-{number}"
            self._script(name, {**SILENT, "endpoints": [endpoint(0)]})
            lines += _connection(name, f'script = "{name}.json"')
        self.config.write_text("\n".join(lines) + "\n", "utf-8")
        self.config.chmod(0o600)
        return self

    def learn(self) -> World:
        """Read everything once and leave, so that there is a last known fleet."""
        command = [sys.executable, "-m", "benchmarks.opening", str(self.config), "--learn"]
        subprocess.run(command, check=True, cwd=ROOT, timeout=60)
        return self

    def silence(self) -> World:
        """From now on no backend answers."""
        for name in (FLEET, "registry"):
            self._script(name, SILENT)
        return self

    def _script(self, name: str, script: Mapping[str, Any]) -> None:
        (self.folder / f"{name}.json").write_text(json.dumps(script), "utf-8")

    def command(self, *more: str) -> Sequence[str]:
        """What opens the app on this world. With `more` the benchmark opens it, which can move and watch it."""
        if not more:
            return [str(Path(sys.executable).with_name("mlrelease")), "--config", str(self.config)]
        return [sys.executable, "-m", "benchmarks.opening", str(self.config), *more]

    def prepared(self, *more: str) -> Sequence[str]:
        """The same on backends whose answers were made before: making them would be the fake's time, not the app's."""
        return [sys.executable, "-m", "benchmarks.prepared", str(self.config), *more]


def _connection(name: str, option: str, environment: str = "") -> list[str]:
    lines = [f"[connections.{name}]", 'kind = "fake"', option]
    return [*lines, f'environment = "{environment}"'] if environment else lines


def endpoint(number: int) -> Mapping[str, Any]:
    """How the script describes one. Every second one has a canary.

    None waits for a person, so that the order stands still.
    """
    stable = {"version": "41", "role": "stable", "weight_bp": 10_000}
    described: dict[str, Any] = {
        "namespace": "ml",
        "name": f"scorer-{number:05}",
        "model": f"registry/scorer-{number % 200:05}",
        "alias": "champion",
        "environment": "staging",
        "previous_version": "40",
        "variants": [stable],
    }
    if number % 2 == 0:
        canary = {"version": "42", "role": "canary", "weight_bp": 1_000}
        described["variants"] = [{**stable, "weight_bp": 9_000}, canary]
        described["steps"] = [1_000, 5_000, 10_000]
        described["phase"] = "progressing"
    return described


def _model(number: int) -> Mapping[str, Any]:
    versions = [{"version": "40"}, {"version": "41"}, {"version": "42"}]
    return {"name": f"scorer-{number:05}", "aliases": {"champion": "41"}, "versions": versions}
