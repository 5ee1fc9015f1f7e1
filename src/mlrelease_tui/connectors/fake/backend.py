"""The world behind the fake connector: endpoints, models and versions in memory, changed by writes with a revision."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

from mlrelease_tui.connectors.fake.faults import Faults
from mlrelease_tui.domain.metrics import VariantSample
from mlrelease_tui.domain.models import AliasStamp, Lineage, Model, ModelVersion
from mlrelease_tui.domain.refs import EndpointRef, ModelRef, VersionRef
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP, Endpoint, Hold, Phase, Role, Stamp, Variant
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Conflict, NotFound

OPERATIONS: Final = frozenset({"alias", "variants", "hold", "resume", "scale", "restart", "retry"})


@dataclass(slots=True)
class FakeBackend:
    """Everything that the fake knows. `written` holds every payload that arrived, applied or not: what was sent is countable."""

    endpoints: dict[EndpointRef, Endpoint] = field(default_factory=dict)
    models: dict[ModelRef, Model] = field(default_factory=dict)
    versions: dict[VersionRef, ModelVersion] = field(default_factory=dict)
    lineages: dict[VersionRef, Lineage] = field(default_factory=dict)
    samples: dict[EndpointRef, tuple[VariantSample, ...]] = field(default_factory=dict)
    logs: dict[tuple[EndpointRef, str, bool], tuple[str, ...]] = field(default_factory=dict)
    """What was printed, by endpoint, variant name and whether in the run before."""
    faults: Faults = field(default_factory=Faults)
    written: list[Mapping[str, Any]] = field(default_factory=list)

    def endpoint(self, ref: EndpointRef) -> Endpoint:
        found = self.endpoints.get(ref)
        if found is None:
            raise NotFound(f"there is no endpoint {ref}", hint="`mlrelease status` lists them")
        return found

    def model(self, ref: ModelRef) -> Model:
        found = self.models.get(ref)
        if found is None:
            raise NotFound(f"there is no model {ref}", hint="`mlrelease models` lists them")
        return found

    def apply(self, payload: Mapping[str, Any], stamp: Stamp) -> str:
        """Carry one write out if its precondition holds; the new revision. Conflict otherwise."""
        if payload["op"] == "alias":
            return self._move_alias(payload, stamp)
        ref = EndpointRef.parse(payload["endpoint"])
        now = self.endpoint(ref)
        if now.revision != payload["revision"]:
            by = f", last written by {now.stamp.by}" if now.stamp else ""
            raise Conflict(f"{ref} is at revision {now.revision}, not {payload['revision']}{by}", hint="plan again")
        after = changed(now, payload, stamp)
        self.endpoints[ref] = replace(after, revision=next_revision(now.revision), stamp=stamp)
        return self.endpoints[ref].revision

    def _move_alias(self, payload: Mapping[str, Any], stamp: Stamp) -> str:
        ref = ModelRef.parse(payload["model"])
        model = self.model(ref)
        alias, version, expected = str(payload["alias"]), str(payload["version"]), str(payload["expected"])
        current = model.aliases.get(alias, "")
        if current != expected:
            raise Conflict(
                f"alias {alias} of {ref} points at {current or 'nothing'}, not {expected}", hint="plan again"
            )
        mark = AliasStamp(alias, version, current, stamp.by, stamp.why, stamp.intent_id, stamp.at)
        aliases, stamps = {**model.aliases, alias: version}, {**model.stamps, alias: mark}
        self.models[ref] = replace(model, aliases=MappingProxyType(aliases), stamps=MappingProxyType(stamps))
        return version


def next_revision(revision: str) -> str:
    return str(int(revision) + 1)


def variant_name(version: str) -> str:
    return f"v{version}"


def changed(endpoint: Endpoint, payload: Mapping[str, Any], stamp: Stamp | None = None) -> Endpoint:
    """The endpoint after a write, without its new revision. Pure: plans use it to say what a write will bring about."""
    rollout = endpoint.rollout
    match payload["op"]:
        case "variants":
            variants = tuple(_variant(item, endpoint) for item in payload["variants"])
            stable = next((item.version for item in variants if item.role is Role.STABLE), rollout.from_version)
            moving = next((item.version for item in variants if item.role in {Role.CANARY, Role.PREVIEW}), stable)
            rollout = replace(
                rollout,
                from_version=stable,
                to_version=moving,
                phase=Phase(payload["phase"]),
                step_index=payload["step_index"],
                hold=None if moving == stable else rollout.hold,
            )
            return replace(endpoint, variants=variants, rollout=rollout, previous_version=payload["previous"])
        case "hold":
            by, why = (stamp.by, stamp.why) if stamp else (SafeText(payload["by"]), SafeText(""))
            mark = Hold(by, why, stamp.at if stamp else None, stamp.intent_id if stamp else "")
            return replace(endpoint, rollout=replace(rollout, hold=mark, phase=Phase.HELD))
        case "resume":
            return replace(endpoint, rollout=replace(rollout, hold=None, phase=Phase.PROGRESSING))
        case "scale":
            replicas = payload["replicas"]
            variants = tuple(replace(item, ready=replicas, desired=replicas) for item in endpoint.variants)
            return replace(endpoint, variants=variants)
        case "restart" | "retry":
            return replace(endpoint, rollout=replace(rollout, message=SafeText(f"{payload['op']}ed")))
    raise ValueError(f"no such operation: {payload['op']}")


def _variant(item: Mapping[str, Any], endpoint: Endpoint) -> Variant:
    known = next((one for one in endpoint.variants if one.name == item["name"]), None)
    base = known or Variant(item["name"], Role.CANARY, item["version"], ready=1, desired=1)
    return replace(base, role=Role(item["role"]), weight_bp=item["weight_bp"])


def described(variants: Iterable[tuple[str, Role, int | None]]) -> list[dict[str, Any]]:
    """(version, role, weight) triples as the payload's `variants`."""
    return [
        {"name": variant_name(version), "version": version, "role": str(role), "weight_bp": weight}
        for version, role, weight in variants
    ]


def canonical(payload: Mapping[str, Any]) -> str:
    return json.dumps(payload, sort_keys=True, separators=(",", ":"))


def split(stable: str, canary: str, weight_bp: int) -> list[dict[str, Any]]:
    return described([(stable, Role.STABLE, ALL_TRAFFIC_BP - weight_bp), (canary, Role.CANARY, weight_bp)])
