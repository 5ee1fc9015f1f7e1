"""Reading a script for the fake: JSON with `models`, `endpoints` and `faults`.

{"models": [{"name": "iris", "aliases": {"champion": "2"}, "versions": [{"version": "1"}, {"version": "2"}]}],
 "endpoints": [{"namespace": "ml", "name": "iris", "model": "registry/iris", "alias": "champion",
                "environment": "production", "variants": [{"version": "2", "role": "stable", "weight_bp": 9000},
                                                          {"version": "3", "role": "canary", "weight_bp": 1000,
                                                           "logs": ["a line"], "previous_logs": []}],
                "steps": [1000, 5000, 10000]}],
 "faults": [{"kind": "silent", "operation": "endpoints"}]}
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mlrelease_tui.connectors.fake.backend import FakeBackend, variant_name
from mlrelease_tui.connectors.fake.faults import Fault, FaultKind, Faults
from mlrelease_tui.domain.models import Model, ModelVersion, Readiness
from mlrelease_tui.domain.refs import EndpointRef, ModelRef, VersionRef
from mlrelease_tui.domain.rollout import (
    BindingSource,
    Endpoint,
    Native,
    Phase,
    Role,
    Rollout,
    Step,
    Strategy,
    Variant,
)
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import ConfigError


def read_script(path: Path, connection: str, now: Callable[[], datetime]) -> FakeBackend:
    """The backend that the script at `path` describes. ConfigError names what is wrong with it."""
    try:
        script = json.loads(path.read_text("utf-8"))
        return backend_of(script, connection, now())
    except OSError as error:
        raise ConfigError(f"the fake's script can't be read: {error.strerror}", path=str(path)) from error
    except json.JSONDecodeError as error:
        raise ConfigError(f"the fake's script is no JSON: {error.msg}", path=str(path), line=error.lineno) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"the fake's script is not as described: {type(error).__name__}: {error}", path=str(path)
        ) from error


def backend_of(script: Mapping[str, Any], connection: str, now: datetime) -> FakeBackend:
    """The backend that a script, already parsed, describes."""
    backend = FakeBackend(faults=Faults(tuple(_fault(item) for item in script.get("faults", ()))))
    for item in script.get("models", ()):
        ref = ModelRef(connection, SafeText(item["name"]))
        versions = [_version(ref, one, now) for one in item.get("versions", ())]
        backend.versions.update((one.ref, one) for one in versions)
        backend.models[ref] = Model(
            ref,
            MappingProxyType(dict(item.get("aliases", {}))),
            description=SafeText(item.get("description", "")),
            latest_version=versions[-1].ref.version if versions else "",
            version_count=len(versions),
            observed_at=now,
        )
    for item in script.get("endpoints", ()):
        endpoint = _endpoint(connection, item, now)
        backend.endpoints[endpoint.ref] = endpoint
        for one in item["variants"]:
            for key, previous in (("logs", False), ("previous_logs", True)):
                if key in one:
                    name = variant_name(str(one["version"]))
                    backend.logs[endpoint.ref, name, previous] = tuple(str(text) for text in one[key])
    return backend


def _fault(item: Mapping[str, Any]) -> Fault:
    return Fault(FaultKind(item["kind"]), item.get("operation", "*"), item.get("times"), float(item.get("delay_s", 0)))


def _version(model: ModelRef, item: Mapping[str, Any], now: datetime) -> ModelVersion:
    return ModelVersion(
        VersionRef(model, str(item["version"])),
        Readiness(item.get("readiness", "ready")),
        source=SafeText(item.get("source", "")),
        digest=item.get("digest", ""),
        run_id=item.get("run_id", ""),
        description=SafeText(item.get("description", "")),
        created_at=now,
        observed_at=now,
    )


def _endpoint(connection: str, item: Mapping[str, Any], now: datetime) -> Endpoint:
    variants = tuple(
        Variant(
            variant_name(str(one["version"])),
            Role(one["role"]),
            str(one["version"]),
            one.get("weight_bp"),
            ready=one.get("ready", 1),
            desired=one.get("desired", 1),
            message=SafeText(one.get("message", "")),
        )
        for one in item["variants"]
    )
    stable = next((one.version for one in variants if one.role is Role.STABLE), "")
    moving = next((one.version for one in variants if one.role in {Role.CANARY, Role.PREVIEW}), stable)
    steps = tuple(Step(index, weight) for index, weight in enumerate(item.get("steps", ())))
    phase = Phase(item.get("phase", "waiting" if moving != stable else "complete"))
    rollout = Rollout(
        Strategy(item.get("strategy", "canary")),
        phase,
        stable,
        moving,
        item.get("step_index", 0 if steps else None),
        steps,
        message=SafeText(item.get("message", "")),
    )
    return Endpoint(
        EndpointRef(connection, item.get("namespace", "default"), SafeText(item["name"])),
        uid=item.get("uid", f"uid-{item['name']}"),
        revision=str(item.get("revision", 1)),
        variants=variants,
        rollout=rollout,
        native=Native(SafeText("fake")),
        observed_at=now,
        environment=item.get("environment", ""),
        model=ModelRef.parse(item["model"]) if "model" in item else None,
        model_source=BindingSource.LABEL if "model" in item else BindingSource.NONE,
        alias=item.get("alias", ""),
        previous_version=item.get("previous_version", ""),
        owner=SafeText(item.get("owner", "")),
    )
