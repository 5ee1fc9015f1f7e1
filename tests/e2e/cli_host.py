"""Commands as a shell runs them, on a scripted backend or on none, and their answers checked against the shipped schemas."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
from tests.e2e.demo_host import MLRELEASE, clean_environment

Script = dict[str, Any]

CALM: Script = {
    "models": [
        {
            "name": "iris",
            "aliases": {"champion": "2"},
            "versions": [{"version": "1"}, {"version": "2"}, {"version": "3"}, {"version": "4", "readiness": "failed"}],
        }
    ],
    "endpoints": [
        {
            "namespace": "ml",
            "name": "iris",
            "model": "cluster/iris",
            "alias": "champion",
            "environment": "staging",
            "variants": [{"version": "2", "role": "stable", "weight_bp": 10000}],
            "steps": [1000, 5000, 10000],
            "previous_version": "1",
        }
    ],
}
"""One endpoint at rest: version 2 serves, version 1 came before, 3 is ready, 4 is not."""


def moving(**changes: Any) -> Script:
    """The same endpoint with version 3 as a canary at 10 %."""
    script: Script = json.loads(json.dumps(CALM))
    script["endpoints"][0] |= {
        "variants": [
            {"version": "2", "role": "stable", "weight_bp": 9000},
            {"version": "3", "role": "canary", "weight_bp": 1000},
        ],
        **changes,
    }
    return script


def with_fault(script: Script, kind: str, operation: str = "*", **more: Any) -> Script:
    return {**script, "faults": [*script.get("faults", ()), {"kind": kind, "operation": operation, **more}]}


@cache
def schema(name: str) -> Mapping[str, Any]:
    """The shipped schema that a document's own `schema` names: "mlrelease.status/v1" → status.v1.json."""
    path = files("mlrelease_tui") / "schemas" / f"{name.removeprefix('mlrelease.').replace('/', '.')}.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(found)
    return found


def valid(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The document, checked against the schema that it names; a plan inside it too."""
    jsonschema.Draft202012Validator(schema(document["schema"])).validate(document)
    if "plan" in document:
        valid(document["plan"])
    return document


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Mapping[str, Any]:
        """The one object on stdout, valid."""
        lines = self.out.splitlines()
        assert len(lines) == 1, f"not one line on stdout:\n{self.out}\n{self.err}"
        return valid(json.loads(lines[0]))

    @property
    def error(self) -> Mapping[str, Any]:
        assert self.document["schema"] == "mlrelease.error/v1"
        assert self.document["exit_code"] == self.code
        found: Mapping[str, Any] = self.document["error"]
        return found


@dataclass
class Shell:
    """A person's shell with a configuration of its own below `home`."""

    home: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        self.environment = clean_environment(self.home) | self.environment

    @property
    def config(self) -> Path:
        return self.home / "config.toml"

    def configure(self, text: str) -> None:
        self.config.write_text(text)
        self.config.chmod(0o600)

    def script(self, name: str, script: Script) -> str:
        """Write a script of the fake; the table of the connection that plays it."""
        path = self.home / f"{name}.json"
        path.write_text(json.dumps(script))
        return f'[connections.{name}]\nkind = "fake"\nscript = "{path}"\n'

    def play(self, **scripts: Script) -> Shell:
        """Configure one fake connection for each script."""
        folders = f'state_dir = "{self.home}/state"\naudit_dir = "{self.home}/audit"\n'
        self.configure(folders + "".join(self.script(name, script) for name, script in scripts.items()))
        return self

    def arguments(self, *arguments: str) -> Sequence[str]:
        return [str(MLRELEASE), "--config", str(self.config), *arguments]

    def run(self, *arguments: str, stdin: str | None = None, within_s: float = 60.0, bare: bool = False) -> Answer:
        """One command; `bare` without `--config`."""
        done = subprocess.run(
            [str(MLRELEASE), *arguments] if bare else self.arguments(*arguments),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            env=self.environment,
            cwd=self.home,
            timeout=within_s,
            check=False,
            encoding="utf-8",
        )
        return Answer(done.returncode, done.stdout, done.stderr)
