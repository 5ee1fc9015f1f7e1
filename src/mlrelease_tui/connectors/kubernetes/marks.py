"""What we leave on an object, and read back from it: annotations under one prefix, values of JSON of at most 4 KiB.

State that operators share lives here, on the object itself: who holds it and why, which intent wrote last, what ran before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import FIELD_MANAGER
from mlrelease_tui.connectors.kubernetes.objects import items, labels, notes, table, text, when
from mlrelease_tui.domain.rollout import Hold, Stamp
from mlrelease_tui.domain.text import SafeText

PREFIX: Final = "mlrelease.dev/"
MODEL: Final = f"{PREFIX}model"
VERSION: Final = f"{PREFIX}version"
ALIAS: Final = f"{PREFIX}alias"
STAMP: Final = f"{PREFIX}stamp"
HOLD: Final = f"{PREFIX}hold"
HISTORY: Final = f"{PREFIX}history"
STABLE: Final = f"{PREFIX}stable"
"""Where several share the requests: which of them was the stable one when we wrote weights last. Versions alone do not tell, where
one is put beside its successor again."""
IMAGE: Final = f"{PREFIX}image"
LIMIT: Final = 4096
_WHY: Final = 1024
_CONTROLLERS: Final = frozenset({"kube-controller-manager", "kube-scheduler", "rollouts-controller", "flagger"})
"""Managers that write what others asked for: never the answer to "who was that?"."""
_REMEMBERED: Final = 10


def said(item: Object, key: str) -> str:
    """What an object says under one of our keys: its annotation, else its label."""
    return str(notes(item).get(key) or labels(item).get(key) or "")


def left(item: Object, key: str) -> Any:
    """What we left on an object, None where nothing: in its annotations, or in its status where a controller copies those."""
    found = notes(item).get(key)
    return found if found is not None else table(item, "status", "annotations").get(key)


def stamp_of(item: Object) -> Stamp | None:
    """The intent that wrote here last, None where there is none or its record can't be read."""
    found = _table(left(item, STAMP))
    if not found.get("intent"):
        return None
    return Stamp(
        str(found["intent"]),
        str(found.get("verb") or ""),
        SafeText(found.get("by") or ""),
        SafeText(found.get("why") or ""),
        when(found.get("at")),
    )


def last_writer(item: Object, *controllers: str, known: str = "") -> Stamp | None:
    """Whoever wrote here last: our stamp, or a newer writer that left none, by the server's own record of field managers.

    `controllers` are managers that only follow what others wrote. The record has whole seconds and forgets removals: where one is
    of the same second as ours, ours counts; of several others of one second nobody can say which was last, and all are named,
    less the one that is `known` from before (a `writer_key`). A stamp without an intent id is one of these.
    """
    stamp = stamp_of(item)
    ours = [moment for manager, moment in _written(item) if manager == FIELD_MANAGER]
    others = [
        (moment, manager)
        for manager, moment in _written(item)
        if manager not in {FIELD_MANAGER, *_CONTROLLERS, *controllers}
    ]
    if not others or (ours and max(others)[0] <= max(ours)) or (stamp is not None and not ours):
        return stamp
    at = max(moment for moment, _ in others)
    tied = sorted({manager for moment, manager in others if moment == at})
    last = [manager for manager in tied if f"{manager} {at}" != known] or tied
    return Stamp("", "edit", SafeText(" or ".join(last)), SafeText("written without a reason"), at)


def writer_key(item: Object) -> str:
    """Tells one last write from another, "" where nobody is known to have written."""
    found = last_writer(item)
    if found is None:
        return ""
    return found.intent_id or f"{found.by.raw} {found.at}"


def of_spec(item: Object) -> Object:
    """The object as if nobody had written its status: for kinds of which only controllers of any name do."""
    meta = dict(table(item, "metadata"))
    meta["managedFields"] = [
        one for one in items(item, "metadata", "managedFields") if one.get("subresource") != "status"
    ]
    return {**item, "metadata": meta}


def written_by_hand(item: Object, *controllers: str) -> tuple[datetime, ...]:
    """When others than controllers (those that are always, and these) wrote last, each writer once; a status and a scaling do not
    count."""
    others = _CONTROLLERS | set(controllers)
    return tuple(moment for manager, moment in _written(of_spec(item)) if manager not in others)


def _written(item: Object) -> Iterator[tuple[str, datetime]]:
    for entry in items(item, "metadata", "managedFields"):
        moment, manager = when(entry.get("time")), str(entry.get("manager") or "")
        if manager and moment and entry.get("subresource") != "scale":
            yield manager, moment


def hold_of(item: Object) -> Hold | None:
    """Who holds it, as we wrote it down; None where nobody does by us."""
    found = _table(left(item, HOLD))
    if not found:
        return None
    return Hold(
        SafeText(found.get("by") or "somebody"),
        SafeText(found.get("why") or ""),
        when(found.get("at")),
        str(found.get("intent") or ""),
    )


def history_of(item: Object) -> tuple[str, ...]:
    """Versions that ran before, newest first."""
    found = parsed(notes(item).get(HISTORY))
    return tuple(str(version) for version in found) if isinstance(found, list) else ()


def stable_of(item: Object, versions: Mapping[str, str]) -> str:
    """Which of those that share the requests our last write called the stable one, else the one whose version a promotion noted
    before there was such a note; "" where neither says. `versions` are theirs, by name."""
    noted = text(notes(item), STABLE)
    if noted:
        return noted if noted in versions else ""
    history = history_of(item)[:1]
    return next((one for one, version in versions.items() if version in history), "")


def history_text(versions: Iterable[str]) -> str:
    """Versions that ran well, newest first, as the annotation's value; each is in it once."""
    return json.dumps(list(dict.fromkeys(versions))[:_REMEMBERED], separators=(",", ":"))


def parsed(value: object) -> Any:
    """The JSON of a note of ours, as anybody may have changed it; None where it is none, or longer or deeper than ours ever are."""
    if not isinstance(value, str) or len(value) > LIMIT:
        return None
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def stamp_text(stamp: Stamp) -> str:
    """The stamp as the annotation's value."""
    return json.dumps(
        {
            "intent": stamp.intent_id,
            "verb": stamp.verb,
            "by": stamp.by.raw,
            "why": stamp.why.raw[:_WHY],
            "at": stamp.at.isoformat() if stamp.at else "",
        },
        separators=(",", ":"),
    )


def hold_text(stamp: Stamp) -> str:
    """The hold that this stamp's intent makes, as the annotation's value."""
    return json.dumps(
        {
            "by": stamp.by.raw,
            "why": stamp.why.raw[:_WHY],
            "at": stamp.at.isoformat() if stamp.at else "",
            "intent": stamp.intent_id,
        },
        separators=(",", ":"),
    )


def owner_of(item: Object) -> SafeText:
    """The tool that keeps this object's spec as it has it elsewhere, and may revert us: Argo CD, Flux, Helm; "" for none."""
    kept, marks = notes(item), labels(item)
    if tracking := kept.get("argocd.argoproj.io/tracking-id") or marks.get("argocd.argoproj.io/instance"):
        return SafeText(f"Argo CD ({str(tracking).partition(':')[0]})")
    if kustomization := marks.get("kustomize.toolkit.fluxcd.io/name"):
        return SafeText(f"Flux kustomization {kustomization}")
    if release := marks.get("helm.toolkit.fluxcd.io/name"):
        return SafeText(f"Flux Helm release {release}")
    if text(item, "metadata", "labels", "app.kubernetes.io/managed-by") == "Helm":
        return SafeText(f"Helm release {kept.get('meta.helm.sh/release-name') or '?'}")
    return SafeText()


def reconciles(item: Object) -> bool:
    """Whether its owner puts the spec back by itself. Helm writes once, when somebody runs it."""
    return bool(owner := owner_of(item)) and not owner.startswith("Helm ")


def _table(value: Any) -> Mapping[str, Any]:
    found = parsed(value)
    return found if isinstance(found, dict) else {}
