"""Sending the writes that workloads planned: each once, under its own tests, with our stamp on the object."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

from mlrelease_tui.connectors.api import Receipt
from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import FailedTest, Object, Undryable
from mlrelease_tui.connectors.kubernetes.api import MERGE_PATCH, KubeApi, Resource
from mlrelease_tui.connectors.kubernetes.differences import changes_of, dry_run
from mlrelease_tui.connectors.kubernetes.making import MAKE, Making
from mlrelease_tui.connectors.kubernetes.objects import at, table, text, uid
from mlrelease_tui.connectors.kubernetes.patching import (
    PATCH,
    Op,
    add,
    altered,
    broken_tests,
    pointer,
    remove,
    replace,
    test,
)
from mlrelease_tui.connectors.kubernetes.reviewing import may
from mlrelease_tui.domain.plan import Check, CheckStatus, Write
from mlrelease_tui.domain.rollout import Stamp
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import BackendError, Conflict, NotFound, Refused, ReleaseError

_SIGNATURE_READS: Final = 8
_SIGNATURE_S: Final = 0.15


class Performing:
    """Carries out and rehearses patches on one cluster."""

    def __init__(self, api: KubeApi) -> None:
        self._api = api

    async def perform(self, write: Write, stamp: Stamp) -> Receipt:
        """Conflict, Rejected, OutcomeUnknown as `connectors.api.Performer` says."""
        if write.operation == MAKE:
            return await Making(self._api).perform(write, stamp)
        if write.operation != PATCH:
            raise Refused(
                f"no operation {write.operation!r} is known here", hint="make the plan again with this version"
            )
        payload = json.loads(write.payload)
        resource, item = await self._object(payload)
        ops = await self._ops(payload, item, stamp)
        subresource = payload["subresource"]
        try:
            answer = await self._api.patch(
                resource, payload["namespace"], payload["name"], ops, subresource=subresource
            )
        except FailedTest as no:
            raise await self._moved(payload, no) from no
        except NotFound as gone:
            raise Conflict(f"{write.target} is gone", hint="nothing was written") from gone
        changed = altered(answer, ops)
        detail = "accepted"
        apart = _apart(payload) and bool(_marked_at(payload))
        if apart and not await self._stamped(resource, payload, item, stamp):
            detail += "; who and why could not be written beside it"
        return Receipt(SafeText(detail), text(answer, "metadata", "resourceVersion"), changed)

    async def rehearse(self, write: Write) -> tuple[Check, ...]:
        """Whether we may, and what the server would say: nothing is written."""
        if write.operation == MAKE:
            return await Making(self._api).rehearse(write)
        if write.operation != PATCH:
            return ()
        payload = json.loads(write.payload)
        resource = _resource(payload["resource"])
        checks = [
            await may(
                self._api,
                "patch",
                resource,
                payload["namespace"],
                name=payload["name"],
                subresource=payload["subresource"],
            )
        ]
        if payload.get("follows"):
            later = f"{payload['resource'][3]} {SafeText(payload['name'])}: it builds on the write before it"
            return (*checks, Check("dry run", CheckStatus.UNKNOWN, later))
        try:
            _, item = await self._object(payload)
            ops = await self._ops(payload, item, None)
            subresource = payload["subresource"]
            answer = await self._api.patch(
                resource, payload["namespace"], payload["name"], ops, subresource=subresource, dry_run=True
            )
        except FailedTest:
            checks.append(Check("dry run", CheckStatus.FAIL, await self._why(payload)))
        except (BackendError, Undryable) as unknown:
            checks.append(Check("dry run", CheckStatus.UNKNOWN, unknown.message))
        except ReleaseError as no:
            checks.append(Check("dry run", CheckStatus.FAIL, no.message))
        else:
            asked = [op["path"] for op in ops if op["op"] != "test"]
            checks.append(dry_run(changes_of(item, answer, write.target, subresource=subresource, asked=asked)))
            if changed := altered(answer, ops):
                checks.append(Check("as asked", CheckStatus.WARN, f"the server would write {'; '.join(changed)}"))
        return tuple(checks)

    async def _object(self, payload: Mapping[str, Any]) -> tuple[Resource, Object]:
        resource = _resource(payload["resource"])
        try:
            item = await self._api.get(resource.path(payload["namespace"], payload["name"]))
        except NotFound as gone:
            raise Conflict(f"{resource.kind} {SafeText(payload['name'])} is gone", hint="nothing was written") from gone
        if uid(item) != payload["uid"]:
            raise Conflict(
                f"{resource.kind} {SafeText(payload['name'])} was deleted and made anew since the plan was made",
                hint="nothing was written; read it again and make a new plan",
            )
        return resource, item

    async def _ops(self, payload: Mapping[str, Any], item: Object, stamp: Stamp | None) -> list[Op]:
        """The patch as it is sent: the plan's, the template that it names, and who and why where there is room for it."""
        ops: list[Op] = list(payload["patch"])
        if "template" in payload:
            ops.append(replace("/spec/template", await self._template(payload)))
        if _apart(payload):
            return ops
        root, there = _marked_at(payload), table(item, _marked_at(payload), "annotations")
        kept, gone = _marks(payload, there, stamp)
        if kept and not there:
            # What somebody else notes there meanwhile would be gone.
            path = pointer(root, "annotations")
            ops += [test(path, at(item, root, "annotations")), add(path, {})]
        ops += [add(pointer(root, "annotations", key), value) for key, value in kept.items()]
        ops += [remove(pointer(root, "annotations", key)) for key in gone]
        return ops

    async def _template(self, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        named = payload["template"]
        source = _resource(named["resource"])
        try:
            found = await self._api.get(source.path(payload["namespace"], named["name"]))
        except NotFound as gone:
            raise Conflict(
                f"{source.kind} {SafeText(named['name'])}, whose template was to be restored, is gone",
                hint="nothing was written; name another version",
            ) from gone
        if uid(found) != named["uid"]:
            raise Conflict(f"{source.kind} {SafeText(named['name'])} was made anew", hint="nothing was written")
        template = table(found, "spec", "template")
        meta = dict(table(template, "metadata"))
        meta["labels"] = {key: value for key, value in table(meta, "labels").items() if key != named["without_label"]}
        # The server fills it in where it is absent, and says null of what it was read from.
        meta.pop("creationTimestamp", None)
        return {**template, "metadata": meta}

    async def _stamped(self, resource: Resource, payload: Mapping[str, Any], item: Object, stamp: Stamp) -> bool:
        """Who and why in a patch of its own, where the first one has no room for it. Its failure fails nothing."""
        root = _marked_at(payload)
        kept, gone = _marks(payload, table(item, root, "annotations"), stamp)
        notes_: dict[str, Any] = {**kept, **dict.fromkeys(gone)}
        body: dict[str, Any] = {"metadata": {"uid": payload["uid"]}}
        body.setdefault(root, {})["annotations"] = notes_
        try:
            await self._api.patch(
                resource,
                payload["namespace"],
                payload["name"],
                body,
                subresource="" if root == "metadata" else root,
                content_type=MERGE_PATCH,
            )
        except ReleaseError:
            return False
        return True

    async def _moved(self, payload: Mapping[str, Any], no: FailedTest) -> Conflict:
        return Conflict(await self._why(payload), hint="nothing was written; read it again and make a new plan")

    async def _why(self, payload: Mapping[str, Any]) -> str:
        """What of the plan's conditions does not hold any more, and who wrote last: the server says neither."""
        resource = _resource(payload["resource"])
        called = f"{resource.kind} {SafeText(payload['namespace'])}/{SafeText(payload['name'])}"
        try:
            item = await self._api.get(resource.path(payload["namespace"], payload["name"]))
        except BackendError as error:
            return f"{called} is not as it was planned from, and can't be read: {error.message}"
        broken = broken_tests(item, payload["patch"])
        if not broken:
            return f"{called} changed while the patch was on its way; nothing that the plan tests differs now"
        return f"{called} moved since the plan was made: {'; '.join(broken)}{_by(await self._signed(payload, item), payload)}"

    async def _signed(self, payload: Mapping[str, Any], item: Object) -> Object:
        """The object once whoever changed it has left a name: beside a status that goes in a patch of its own, a moment later."""
        resource = _resource(payload["resource"])
        for _ in range(_SIGNATURE_READS):
            if _other(item, payload) is not None:
                break
            await asyncio.sleep(_SIGNATURE_S)
            try:
                item = await self._api.get(resource.path(payload["namespace"], payload["name"]))
            except BackendError:
                break
        return item


def _marked_at(payload: Mapping[str, Any]) -> str:
    return str(payload.get("marked_at", "metadata"))


def _apart(payload: Mapping[str, Any]) -> bool:
    """Whether the patch can't hold who and why: a status drops annotations of the object, and the object those of its status."""
    return (payload["subresource"] or "metadata") != _marked_at(payload)


def _marks(
    payload: Mapping[str, Any], there: Mapping[str, Any], stamp: Stamp | None
) -> tuple[dict[str, str], list[str]]:
    """The annotations that a write leaves, and those that it takes away."""
    kept = dict(payload.get("notes") or {})
    if stamp is not None:
        kept[marks.STAMP] = marks.stamp_text(stamp)
        if payload.get("hold"):
            kept[marks.HOLD] = marks.hold_text(stamp)
    return kept, [marks.HOLD] if payload.get("hold") is False and marks.HOLD in there else []


def _other(item: Object, payload: Mapping[str, Any]) -> Stamp | None:
    """Who wrote since the plan was made, None while nobody says so."""
    item = marks.of_spec(item) if payload.get("spec_only") else item
    seen = str(payload.get("seen", ""))
    return marks.last_writer(item, known=seen) if marks.writer_key(item) != seen else None


def _by(item: Object, payload: Mapping[str, Any]) -> str:
    found = _other(item, payload)
    return f" (last: {found.verb} by {found.by})" if found is not None else " (whoever wrote left no name)"


def _resource(address: list[str]) -> Resource:
    group, version, plural, kind = address
    return Resource(group, version, plural, kind)
