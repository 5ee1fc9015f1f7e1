"""The MLflow connector: what a registry offers, over either carrier."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from types import MappingProxyType
from typing import Final

from mlrelease_tui.connectors.api import ModelPage, Receipt, Settings, capabilities
from mlrelease_tui.connectors.mlflow import alias as aliasing
from mlrelease_tui.connectors.mlflow import filters, parse, signature
from mlrelease_tui.connectors.mlflow.alias import AliasMove, Look
from mlrelease_tui.connectors.mlflow.registry import Deadline, Payload, Registry, TooLarge
from mlrelease_tui.domain.connection import ConnectionHealth, LinkState
from mlrelease_tui.domain.expectation import AliasExpectation
from mlrelease_tui.domain.models import Lineage, Model, ModelVersion, Readiness, VersionPage
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.refs import ModelRef, VersionRef
from mlrelease_tui.domain.rollout import Stamp
from mlrelease_tui.domain.text import SafeText, raw
from mlrelease_tui.errors import (
    BackendError,
    CredentialError,
    Forbidden,
    NotFound,
    OutcomeUnknown,
    Refused,
    Rejected,
    ReleaseError,
    TimedOut,
    Unauthenticated,
    Unreachable,
    Unsupported,
)

SLOW_S: Final = 2.0
MAX_MODELS: Final = 1000
"""More than this in one page, and MLflow answers with an error."""

MAX_VERSIONS: Final = 1000
_CLAIM_SHARE: Final = 0.25
_SIFTED_PAGES: Final = 5
_SMALLER: Final = 10
_LOGGED_MODEL: Final = "models:/m-"


class MlflowConnector:
    """One MLflow registry: versions, lineage, aliases. `registry` is the carrier, chosen by the url's scheme."""

    kind: Final = "mlflow"

    def __init__(self, settings: Settings, registry: Registry, *, timeout_s: float) -> None:
        self.name = settings.name
        self._settings = settings
        self._registry = registry
        self._timeout_s = timeout_s

    async def probe(self) -> ConnectionHealth:
        """One authenticated look, then three more that may fail. A server that is down is an answer, not an error."""
        now = self._settings.now()
        try:
            greeting = await self._registry.greet(await self._deadline())
        except ReleaseError as error:
            return self._health(
                _link_state(error), now, error_code=error.code, error=SafeText(error.message), hint=SafeText(error.hint)
            )
        warnings = [SafeText(text) for text in greeting.warnings]
        if greeting.anonymous:
            warnings.append(SafeText("the server asks nobody who they are: whoever reaches it can move aliases"))
        return self._health(
            LinkState.SLOW if greeting.latency_s > SLOW_S else LinkState.OK,
            now,
            latency_s=greeting.latency_s,
            identity=SafeText(greeting.identity),
            server=SafeText(f"MLflow {greeting.version}".rstrip()),
            warnings=tuple(warnings),
        )

    async def close(self) -> None:
        await self._registry.close()

    # --- reading ------------------------------------------------------------------------------------------------------

    async def models(self, *, query: str = "", limit: int = 200, page_token: str = "") -> ModelPage:
        """By name; the token is the server's offset, so rows may show twice where others write meanwhile: keep one by `ref`."""
        wanted = raw(query)
        deadline = await self._deadline()
        payload = await self._registry.search_models(
            filters.models_containing(wanted), max(1, min(limit, MAX_MODELS)), page_token, deadline
        )
        found = parse.models(payload, self.name, self._settings.now())
        matching = tuple(model for model in found if wanted.lower() in raw(model.ref.name).lower())
        return ModelPage(matching, raw(parse.text_of(payload, "next_page_token")))

    async def model(self, ref: ModelRef) -> Model:
        return self._model(await self._registry.get_model(raw(ref.name), await self._deadline()), ref)

    async def versions(self, ref: ModelRef, *, limit: int = 200, page_token: str = "") -> VersionPage:
        """Newest first. The token is the last version number of the page before, not MLflow's offset: nothing is shown twice
        or skipped when a version is registered between two pages. Aliases come from the model, read at the same time."""
        below = int(page_token) if page_token.isdecimal() else None
        size = max(1, min(limit, MAX_VERSIONS))
        deadline = await self._deadline()
        payload, (found, token) = await asyncio.gather(
            self._registry.get_model(raw(ref.name), deadline), self._versions(ref, size, below, deadline)
        )
        aliases = self._model(payload, ref).aliases
        named = parse.versions({"model_versions": list(found)}, ref, aliases, self._settings.now())
        return VersionPage(named, token)

    async def version(self, ref: VersionRef) -> ModelVersion:
        name, number = raw(ref.model.name), raw(ref.version)
        if not number.isdecimal():
            raise NotFound(
                f"{ref.model.name} has no version {SafeText(ref.version)}", hint="versions are numbers: 1, 2, 3 …"
            )
        payload = await self._registry.get_version(name, number, await self._deadline())
        return parse.version_of(payload, ref.model, self._settings.now())

    def artifact(self, ref: VersionRef) -> str:
        return f"models:/{raw(ref.model.name)}/{raw(ref.version)}"

    async def lineage(self, version: ModelVersion) -> Lineage:
        """The run behind the version and the model's signature. What the registry no longer has stays empty; a registry that
        does not answer raises."""
        deadline = await self._deadline()
        name, number = raw(version.ref.model.name), raw(version.ref.version)
        (run_id, run), mlmodel = await asyncio.gather(
            self._run_of(version, deadline), self._artifact_text(name, number, deadline)
        )
        info, data = (parse.object_of(run, "info"), parse.part_of(run, "data")) if run else ({}, {})
        tags = parse.tags_of(data)
        known = signature.from_mlmodel(mlmodel)
        if known == signature.NO_SIGNATURE:
            history = raw(tags.get(SafeText("mlflow.log-model.history"), SafeText()))
            known = signature.from_history(history, raw(version.source))
        return Lineage(
            run_id=SafeText(run_id),
            run_name=parse.text_of(info, "run_name") or tags.get(SafeText("mlflow.runName"), SafeText()),
            params=MappingProxyType(parse.params_of(data)),
            metrics=MappingProxyType(parse.metrics_of(data)),
            datasets=parse.datasets_of(run),
            signature_inputs=known.inputs,
            signature_outputs=known.outputs,
            user=tags.get(SafeText("mlflow.user"), SafeText()) or parse.text_of(info, "user_id"),
            started_at=parse.moment_of(info.get("start_time")),
        )

    # --- moving an alias ----------------------------------------------------------------------------------------------

    def move_alias(self, model: Model, alias: str, version: str) -> tuple[Write, ...]:
        """One write. See `mlrelease_tui.connectors.mlflow.alias` for what MLflow can and can't promise of it."""
        move = aliasing.planned(model, alias, version)
        before = f"alias {move.alias} points at {move.expected or 'nothing'}"
        return (
            Write(
                connection=self.name,
                operation=aliasing.OPERATION,
                target=model.ref.id,
                call=self._registry.call_of_alias(move.model, move.alias, move.version),
                payload=move.payload(),
                before=before,
                after=f"alias {move.alias} points at {move.version}",
                precondition=f"alias {move.alias} still points at {move.expected or 'nothing'} "
                "(best effort: MLflow has no compare-and-set, so it is read, written and read back)",
                undo=f"point alias {move.alias} back at {move.expected}"
                if move.expected
                else f"delete alias {move.alias}",
                assumes=AliasExpectation(model.ref, move.alias, move.expected),
                expects=AliasExpectation(model.ref, move.alias, move.version),
                shell=self._registry.shell_of_alias(move.model, move.alias, move.version),
                best_effort=True,
            ),
        )

    async def perform(self, write: Write, stamp: Stamp) -> Receipt:
        """Read, claim, read, move, read back. The move itself is sent at most once; the claim is a note, and failing to leave it
        does not stop the move."""
        if write.operation != aliasing.OPERATION:
            raise Unsupported(f"{self.name} knows no write {SafeText(write.operation)}", hint="make a new plan")
        move = AliasMove.parse(write.payload)
        deadline = await self._deadline()
        with _not_sent(move):
            (before, _), _ = await asyncio.gather(self._look(move, deadline), self._require_ready(move, deadline))
        aliasing.check(move, before)
        claim = aliasing.stamp_text(move, stamp, self._settings.now())
        await self._claim(move, claim, stamp.intent_id, deadline)
        with _not_sent(move):
            look, _ = await self._look(move, deadline)
        aliasing.check_claim(move, before, look, claim)
        await self._registry.set_alias(move.model, move.alias, move.version, stamp.intent_id, deadline)
        try:
            after, revision = await self._look(move, deadline)
        except ReleaseError as error:
            return Receipt(SafeText(f"accepted; reading it back failed: {error.message}"))
        stands, remark = aliasing.afterthought(move, before, after, claim)
        if not stands:
            raise OutcomeUnknown(remark, hint="someone else moves this alias too: agree with them, then look again")
        return Receipt(SafeText(remark or f"alias {move.alias} points at {move.version}"), revision)

    async def _look(self, move: AliasMove, deadline: Deadline) -> tuple[Look, str]:
        payload = await self._registry.get_model(move.model, deadline)
        look = parse.look(payload, move.alias)
        return look, f"{move.alias}={look.version}"

    async def _require_ready(self, move: AliasMove, deadline: Deadline) -> None:
        """Refused where the version is not READY: MLflow itself would point an alias at one that failed to register."""
        payload = await self._registry.get_version(move.model, move.version, deadline)
        version = parse.version_of(payload, ModelRef(self.name, SafeText(move.model)), self._settings.now())
        if version.readiness is not Readiness.READY:
            said = f": {version.readiness_message}" if version.readiness_message else ""
            raise Refused(
                f"version {version.ref.version} of {version.ref.model.name} is {version.readiness}, not ready{said}",
                hint="wait until it is registered, or choose another version",
            )

    async def _claim(self, move: AliasMove, claim: str, intent_id: str, deadline: Deadline) -> None:
        try:
            await self._registry.set_model_tag(
                move.model, aliasing.tag_key(move.alias), claim, intent_id, deadline.share(_CLAIM_SHARE)
            )
        except (BackendError, Rejected, OutcomeUnknown):
            # What became of the note shows in the read that follows.
            return

    # --- parts --------------------------------------------------------------------------------------------------------

    async def _deadline(self) -> Deadline:
        await self._registry.ready()
        return Deadline.after(self._timeout_s, self.name)

    def _model(self, payload: Payload, ref: ModelRef) -> Model:
        model = parse.model_of(parse.object_of(payload, "registered_model"), self.name, self._settings.now())
        if raw(model.ref.name) != raw(ref.name):
            raise parse.unexpected("another model than was asked for")
        return model

    async def _versions(
        self, ref: ModelRef, size: int, below: int | None, deadline: Deadline
    ) -> tuple[tuple[Payload, ...], str]:
        """One page of version objects and the token of the next. A name that no filter can say exactly may match others' versions
        too: pages without any of ours are skipped, a few at most."""
        name = raw(ref.name)
        for _ in range(_SIFTED_PAGES):
            try:
                payload = await self._registry.search_versions(filters.versions_of(name, below), size, deadline)
            except TooLarge:
                # A version can carry any number of tags of 100 KB.
                size = max(size // _SMALLER, 1)
                payload = await self._registry.search_versions(filters.versions_of(name, below), size, deadline)
            rows, lowest = parse.lowest_number(payload)
            more = rows >= size and (below is None or lowest < below)
            if not filters.is_exact(name) and (below is None or lowest + 1 < below):
                # The page may have ended between two models' versions of the same number.
                lowest += 1
            items = payload.get("model_versions") or []
            ours = tuple(item for item in items if raw(parse.name_of(item)) == name)
            if ours or not more:
                break
            below = lowest
        return ours, str(lowest) if more and lowest > 1 else ""

    async def _run_of(self, version: ModelVersion, deadline: Deadline) -> tuple[str, Payload]:
        """The run that made the version: its own, else that of the logged model which is its source."""
        run_id = raw(version.run_id)
        if not run_id and raw(version.source).startswith(_LOGGED_MODEL):
            model_id = raw(version.source).removeprefix("models:/").partition("/")[0]
            try:
                logged = parse.object_of(await self._registry.get_logged_model(model_id, deadline), "model")
            except (NotFound, Forbidden):
                return "", {}
            run_id = raw(parse.text_of(parse.object_of(logged, "info"), "source_run_id"))
        if not run_id:
            return "", {}
        try:
            return run_id, parse.object_of(await self._registry.get_run(run_id, deadline), "run")
        except (NotFound, Forbidden):
            return run_id, {}

    async def _artifact_text(self, name: str, number: str, deadline: Deadline) -> str:
        """The `MLmodel` file, "" where it can't be had: the server may have no way to the artifacts."""
        try:
            return await self._registry.get_artifact_text(name, number, "MLmodel", deadline.share(0.8))
        except BackendError:
            return ""

    def _health(
        self,
        state: LinkState,
        now: datetime,
        *,
        error_code: str = "",
        error: SafeText | None = None,
        hint: SafeText | None = None,
        latency_s: float | None = None,
        identity: SafeText | None = None,
        server: SafeText | None = None,
        warnings: tuple[SafeText, ...] = (),
    ) -> ConnectionHealth:
        credential = self._registry.credential
        address = SafeText(self._registry.address)
        # What the server's own pages call themselves; a store that is no server has none.
        pages = f"{address}/#/models/{{model}}" if address.startswith(("http://", "https://")) else ""
        return ConnectionHealth(
            name=self.name,
            kind=self.kind,
            state=state,
            environment=self._settings.environment,
            error_code=error_code,
            error=error or SafeText(),
            hint=hint or SafeText(),
            latency_s=latency_s,
            identity=identity or SafeText(),
            server=server or SafeText(),
            address=address,
            credential_source=credential.source if credential else "",
            capabilities=capabilities(self),
            warnings=warnings,
            model_page=pages,
            version_page=f"{pages}/versions/{{version}}" if pages else "",
            observed_at=now,
        )


@contextmanager
def _not_sent(move: AliasMove) -> Iterator[None]:
    """Around reads before the move: where one fails, that the alias was left alone is certain, and nobody repeats the move."""
    try:
        yield
    except BackendError as error:
        hint = f"alias {move.alias} was not touched; plan again once the registry answers"
        # Silence before the move was sent is no unknown outcome.
        known = Unreachable(error.message, hint=hint) if isinstance(error, TimedOut) else error
        known.hint = hint
        raise known from error.__cause__


def _link_state(error: ReleaseError) -> LinkState:
    if isinstance(error, Unauthenticated | Forbidden | CredentialError):
        return LinkState.AUTH
    return LinkState.DOWN if isinstance(error, BackendError) else LinkState.BROKEN
