"""The fake connector itself: every protocol of `connectors/api.py` over a `FakeBackend`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mlrelease_tui.connectors.api import Artifact, ModelPage, Receipt, Settings, link_state
from mlrelease_tui.connectors.fake.backend import (
    OPERATIONS,
    FakeBackend,
    canonical,
    changed,
    described,
    next_revision,
    split,
    variant_name,
)
from mlrelease_tui.connectors.fake.faults import FaultKind, strike
from mlrelease_tui.domain.connection import ConnectionHealth, LinkState
from mlrelease_tui.domain.expectation import AliasExpectation, expectation_of, percent
from mlrelease_tui.domain.logs import LogTail, LogWish, bounded, line_of
from mlrelease_tui.domain.metrics import VariantSample
from mlrelease_tui.domain.models import Lineage, Model, ModelVersion, VersionPage
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.refs import EndpointRef, ModelRef, VersionRef
from mlrelease_tui.domain.rollout import (
    ALL_TRAFFIC_BP,
    Endpoint,
    Hold,
    Phase,
    Role,
    Stamp,
    Variant,
    Verb,
    VerbSupport,
)
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import NotFound, OutcomeUnknown, Refused, ReleaseError, TimedOut

_VERBS = tuple(VerbSupport(verb, True, native=SafeText(f"fake {verb}")) for verb in Verb)


class FakeConnector:
    """A registry, a target and a metrics source in one, over a backend in memory."""

    kind = "fake"

    def __init__(self, settings: Settings, backend: FakeBackend) -> None:
        self.name = settings.name
        self.backend = backend
        self._settings = settings
        self._touched = asyncio.Event()

    async def _ask(self, operation: str) -> None:
        await strike(self.backend.faults.take(operation), self.name, self._settings.timeout_s)

    # --- connector ----------------------------------------------------------------------------------------------------

    async def probe(self) -> ConnectionHealth:
        health = ConnectionHealth(
            self.name,
            self.kind,
            LinkState.OK,
            environment=self._settings.environment,
            latency_s=0.0,
            server=SafeText("fake"),
            observed_at=self._settings.now(),
        )
        try:
            await self._ask("probe")
        except ReleaseError as error:
            return replace(
                health,
                state=link_state(error),
                error_code=error.code,
                error=SafeText(error.message),
                hint=SafeText(error.hint),
                latency_s=None,
            )
        return health

    async def close(self) -> None:
        return None

    # --- registry -----------------------------------------------------------------------------------------------------

    async def models(self, *, query: str = "", limit: int = 200, page_token: str = "") -> ModelPage:
        await self._ask("models")
        found = [self._seen(model) for ref, model in sorted(self.backend.models.items()) if query in ref.name]
        start = int(page_token or 0)
        following = str(start + limit) if start + limit < len(found) else ""
        return ModelPage(tuple(found[start : start + limit]), following)

    async def model(self, ref: ModelRef) -> Model:
        await self._ask("model")
        return self._seen(self.backend.model(ref))

    async def versions(self, ref: ModelRef, *, limit: int = 200, page_token: str = "") -> VersionPage:
        await self._ask("versions")
        model = self.backend.model(ref)
        found = [item for item in self.backend.versions.values() if item.ref.model == ref]
        found.sort(key=lambda item: (len(item.ref.version), item.ref.version), reverse=True)
        start = int(page_token or 0)
        page = tuple(replace(item, aliases=_aliases(model, item.ref.version)) for item in found[start : start + limit])
        return VersionPage(page, str(start + limit) if start + limit < len(found) else "")

    async def version(self, ref: VersionRef) -> ModelVersion:
        await self._ask("version")
        found = self.backend.versions.get(ref)
        if found is None:
            raise NotFound(f"there is no version {ref}", hint="`mlrelease versions` lists them")
        return replace(found, aliases=_aliases(self.backend.model(ref.model), ref.version))

    async def lineage(self, version: ModelVersion) -> Lineage:
        await self._ask("lineage")
        return self.backend.lineages.get(version.ref, Lineage(SafeText(version.run_id)))

    def artifact(self, ref: VersionRef) -> str:
        return f"fake:/{ref.model.name}/{ref.version}"

    def move_alias(self, model: Model, alias: str, version: str) -> tuple[Write, ...]:
        before = model.aliases.get(alias, "")
        payload = {"op": "alias", "model": model.ref.id, "alias": alias, "version": version, "expected": before}
        return (
            Write(
                self.name,
                "alias",
                f"{model.ref.name}@{alias}",
                f"set alias {alias} of {model.ref.name} to {version}",
                canonical(payload),
                before or "nothing",
                f"alias {alias} points at {version}",
                f"alias {alias} still points at {before or 'nothing'}",
                f"alias {alias} back to {before}" if before else f"remove alias {alias}",
                AliasExpectation(model.ref, alias, before),
                AliasExpectation(model.ref, alias, version),
                shell=f"# set alias {alias} of {model.ref.name} to {version}",
                best_effort=True,
                settle_s=1.0,
            ),
        )

    def _seen(self, model: Model) -> Model:
        return replace(model, observed_at=self._settings.now())

    # --- target -------------------------------------------------------------------------------------------------------

    async def endpoints(self) -> tuple[Endpoint, ...]:
        await self._ask("endpoints")
        return tuple(self._shown(endpoint) for _, endpoint in sorted(self.backend.endpoints.items()))

    async def endpoint(self, ref: EndpointRef) -> Endpoint:
        await self._ask("endpoint")
        return self._shown(self.backend.endpoint(ref))

    async def logs(self, endpoint: Endpoint, wish: LogWish) -> tuple[LogTail, ...]:
        await self._ask("logs")
        known = self.backend.endpoint(endpoint.ref)
        if all(variant.name != wish.variant for variant in known.variants):
            raise NotFound(f"{endpoint.ref} has no variant {SafeText(wish.variant)}", hint="look at the endpoint again")
        printed = self.backend.logs.get((endpoint.ref, wish.variant, wish.previous), ())
        lines = tuple(line_of(text.encode("utf-8", "surrogatepass")) for text in printed)
        note = SafeText("" if printed else "the script lets it print nothing")
        return bounded((LogTail(SafeText(f"fake/{wish.variant}"), lines, note=note),), wish)

    async def changed(self) -> AsyncIterator[EndpointRef | None]:
        while True:
            await self._ask("changed")
            await self._touched.wait()
            self._touched.clear()
            yield None

    def driver(self, endpoint: Endpoint) -> object:
        return self

    def _shown(self, endpoint: Endpoint) -> Endpoint:
        return replace(endpoint, observed_at=self._settings.now(), verbs=endpoint.verbs or _VERBS)

    # --- verbs --------------------------------------------------------------------------------------------------------

    def start(self, endpoint: Endpoint, artifact: Artifact, weight_bp: int | None) -> tuple[Write, ...]:
        stable = _stable(endpoint)
        steps = endpoint.rollout.steps
        first = steps[0].weight_bp if steps else None
        weight = weight_bp if weight_bp is not None else first if first is not None else 1000
        phase = Phase.WAITING if weight < ALL_TRAFFIC_BP else Phase.PROGRESSING
        variants = split(stable.version, artifact.version, weight)
        return self._write(endpoint, variants, phase, 0 if steps else None)

    def advance(self, endpoint: Endpoint) -> tuple[Write, ...]:
        step = endpoint.rollout.next_step
        canary = _canary(endpoint)
        if step is None or step.weight_bp is None:
            raise Refused(f"{endpoint.ref.name} has no further step", hint="finish it with --full")
        variants = split(_stable(endpoint).version, canary.version, step.weight_bp)
        return self._write(endpoint, variants, Phase.WAITING, step.index)

    def complete(self, endpoint: Endpoint) -> tuple[Write, ...]:
        canary = _canary(endpoint)
        variants = described([(canary.version, Role.STABLE, ALL_TRAFFIC_BP)])
        done = len(endpoint.rollout.steps) or None
        return self._write(endpoint, variants, Phase.COMPLETE, done, previous=_stable(endpoint).version)

    def set_weight(self, endpoint: Endpoint, weight_bp: int) -> tuple[Write, ...]:
        canary = _canary(endpoint)
        if canary.weight_bp == weight_bp:
            return ()
        variants = split(_stable(endpoint).version, canary.version, weight_bp)
        return self._write(endpoint, variants, endpoint.rollout.phase, endpoint.rollout.step_index)

    def hold(self, endpoint: Endpoint, hold: Hold) -> tuple[Write, ...]:
        if endpoint.rollout.hold is not None:
            return ()
        return (self._planned(endpoint, {"op": "hold", "by": str(hold.by)}, f"hold {endpoint.ref.name}"),)

    def resume(self, endpoint: Endpoint) -> tuple[Write, ...]:
        if endpoint.rollout.hold is None:
            raise Refused(f"{endpoint.ref.name} is not held", hint="nothing to continue")
        return (self._planned(endpoint, {"op": "resume"}, f"continue {endpoint.ref.name}"),)

    def abort(self, endpoint: Endpoint) -> tuple[Write, ...]:
        canary = _canary(endpoint)
        if not canary.weight_bp:
            return ()
        variants = split(_stable(endpoint).version, canary.version, 0)
        return self._write(endpoint, variants, Phase.ABORTING, endpoint.rollout.step_index)

    def roll_back(self, endpoint: Endpoint, artifact: Artifact) -> tuple[Write, ...]:
        """Traffic first, then the variant goes: two writes, so that a death between them is seen."""
        stable = _stable(endpoint)
        others = [item.version for item in endpoint.variants if item.version != artifact.version]
        first = described(
            [(artifact.version, Role.STABLE, ALL_TRAFFIC_BP), *((version, Role.CANARY, 0) for version in others)]
        )
        last = described([(artifact.version, Role.STABLE, ALL_TRAFFIC_BP)])
        previous = stable.version if stable.version != artifact.version else endpoint.previous_version
        back = self._planned(
            endpoint, _variants(first, Phase.ABORTING, None, endpoint.previous_version), "traffic back"
        )
        gone = tuple(variant_name(version) for version in others)
        retired = _variants(last, Phase.COMPLETE, None, previous)
        if [(item.version, item.weight_bp) for item in endpoint.variants if item.weight_bp] == [
            (artifact.version, ALL_TRAFFIC_BP)
        ]:
            return (self._planned(endpoint, retired, "retire", absent=gone),) if others else ()
        between = replace(_after(endpoint, back), revision=next_revision(endpoint.revision))
        return (back, self._planned(between, retired, "retire", absent=gone))

    def retry(self, endpoint: Endpoint) -> tuple[Write, ...]:
        return (self._planned(endpoint, {"op": "retry"}, f"retry {endpoint.ref.name}"),)

    def restart(self, endpoint: Endpoint) -> tuple[Write, ...]:
        return (self._planned(endpoint, {"op": "restart"}, f"restart {endpoint.ref.name}"),)

    def scale(self, endpoint: Endpoint, replicas: int) -> tuple[Write, ...]:
        return (self._planned(endpoint, {"op": "scale", "replicas": replicas}, f"scale to {replicas}"),)

    def switch(self, endpoint: Endpoint) -> tuple[Write, ...]:
        preview = endpoint.variant(Role.PREVIEW)
        if preview is None:
            raise Refused(f"{endpoint.ref.name} has nothing to switch to", hint="promote a version first")
        variants = described([(preview.version, Role.STABLE, ALL_TRAFFIC_BP)])
        return self._write(endpoint, variants, Phase.COMPLETE, None, previous=_stable(endpoint).version)

    def shadow(self, endpoint: Endpoint, artifact: Artifact, weight_bp: int) -> tuple[Write, ...]:
        kept: list[tuple[str, Role, int | None]] = [
            (item.version, item.role, item.weight_bp) for item in endpoint.variants if item.role is not Role.SHADOW
        ]
        if weight_bp:
            kept.append((artifact.version, Role.SHADOW, weight_bp))
        return self._write(endpoint, described(kept), endpoint.rollout.phase, endpoint.rollout.step_index)

    def _write(
        self,
        endpoint: Endpoint,
        variants: list[dict[str, Any]],
        phase: Phase,
        step_index: int | None,
        *,
        previous: str | None = None,
    ) -> tuple[Write, ...]:
        kept = endpoint.previous_version if previous is None else previous
        return (self._planned(endpoint, _variants(variants, phase, step_index, kept), f"write {endpoint.ref.name}"),)

    def _planned(
        self, endpoint: Endpoint, payload: Mapping[str, Any], what: str, *, absent: tuple[str, ...] = ()
    ) -> Write:
        full = {**payload, "endpoint": endpoint.ref.id, "revision": endpoint.revision}
        after = changed(endpoint, full)
        return Write(
            self.name,
            payload["op"],
            endpoint.ref.name,
            f"{what} at revision {endpoint.revision}",
            canonical(full),
            _shares(endpoint),
            _shares(after),
            f"{endpoint.ref.name} is still at revision {endpoint.revision}",
            f"back to {_shares(endpoint)}",
            expectation_of(endpoint),
            expectation_of(after, absent=absent),
            shell=f"# {what}",
            settle_s=1.0,
        )

    # --- writing ------------------------------------------------------------------------------------------------------

    async def perform(self, write: Write, stamp: Stamp) -> Receipt:
        payload = _content(write)
        fault = self.backend.faults.take(write.operation)
        self.backend.written.append(payload)
        try:
            await strike(fault, self.name, self._settings.timeout_s)
        except TimedOut as error:
            raise OutcomeUnknown(error.message, hint=error.hint) from error
        if fault is not None and fault.kind is FaultKind.IGNORED:
            return Receipt(SafeText("accepted"))
        revision = self.backend.apply(payload, stamp)
        self._touched.set()
        if fault is not None and fault.kind is FaultKind.LOST_AFTER:
            raise OutcomeUnknown(f"{self.name} closed the connection before it answered")
        return Receipt(SafeText("done"), revision)

    # --- metrics ------------------------------------------------------------------------------------------------------

    async def samples(self, endpoints: Sequence[Endpoint]) -> tuple[VariantSample, ...]:
        await self._ask("samples")
        return tuple(sample for endpoint in endpoints for sample in self.backend.samples.get(endpoint.ref, ()))


def _content(write: Write) -> Mapping[str, Any]:
    """The write's payload. Refused where nobody here planned it."""
    try:
        payload = json.loads(write.payload)
    except ValueError:
        payload = None
    if not isinstance(payload, dict) or payload.get("op") != write.operation or write.operation not in OPERATIONS:
        raise Refused(f"{write.operation} is no write that this connector planned", hint="plan again")
    return payload


def _stable(endpoint: Endpoint) -> Variant:
    if endpoint.stable is None:
        raise Refused(f"{endpoint.ref.name} has no stable variant", hint="look at the backend")
    return endpoint.stable


def _canary(endpoint: Endpoint) -> Variant:
    if endpoint.canary is None:
        raise Refused(f"{endpoint.ref.name} has no canary", hint="start one with promote")
    return endpoint.canary


def _variants(variants: list[dict[str, Any]], phase: Phase, step_index: int | None, previous: str) -> dict[str, Any]:
    return {
        "op": "variants",
        "variants": variants,
        "phase": str(phase),
        "step_index": step_index,
        "previous": previous,
    }


def _after(endpoint: Endpoint, write: Write) -> Endpoint:
    return changed(endpoint, json.loads(write.payload))


def _shares(endpoint: Endpoint) -> str:
    return ", ".join(f"{item.version} {percent(item.weight_bp)}" for item in endpoint.variants)


def _aliases(model: Model, version: str) -> tuple[str, ...]:
    return tuple(sorted(alias for alias, target in model.aliases.items() if target == version))
