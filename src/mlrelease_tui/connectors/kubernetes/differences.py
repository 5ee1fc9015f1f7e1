"""What a dry run says that a write would leave, field by field: for a person who confirms it, and for the audit.

Of a container only its image and what it asks for are quoted. Its environment is named, never shown; commands, arguments and
whatever else a template holds are said to change, not how.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.marks import PREFIX
from mlrelease_tui.connectors.kubernetes.objects import at, table
from mlrelease_tui.domain.plan import Check, CheckStatus, FieldChange
from mlrelease_tui.domain.redaction import is_secret_name, looks_like_token, redact_url
from mlrelease_tui.domain.text import SafeText

LIMIT: Final = 24
"""Changes that are told of one object; the rest is counted."""
_LONGEST: Final = 72
_NOT_SHOWN: Final = "(not shown)"
_CHANGED: Final = "(another value, not shown)"
_META: Final = ("annotations", "finalizers", "labels", "ownerReferences")
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_RESTARTED: Final = "kubectl.kubernetes.io/restartedAt"
_HIDING: Final = frozenset(
    {"args", "command", "data", "envFrom", "headers", "httpHeaders", "lifecycle", "livenessProbe", "readinessProbe"}
    | {"startupProbe", "stringData", "volumes"}
)
"""Places where what is written may hold a secret."""
_TEMPLATES: Final = frozenset(
    {"componentSpecs", "containers", "explainer", "graph", "initContainers", "jobTemplate", "predictor", "predictors"}
    | {"template", "transformer", "worker"}
)
"""What holds pods, by the words of the kinds that we write."""
_PLAIN: Final = frozenset(
    {
        "image",
        "imagePullPolicy",
        "labels",
        "modelFormat",
        "modelUri",
        "resources",
        "runtime",
        "serviceAccountName",
        "storageUri",
    }
)
"""Texts of a template that may be quoted, with all that is below them."""

_DEFAULTS: Final[Mapping[str, tuple[object, ...]]] = {
    "dnsPolicy": ("ClusterFirst",),
    "failureThreshold": (3,),
    "imagePullPolicy": ("Always", "IfNotPresent"),
    "periodSeconds": (10,),
    "protocol": ("TCP",),
    "restartPolicy": ("Always",),
    "schedulerName": ("default-scheduler",),
    "successThreshold": (1,),
    "terminationGracePeriodSeconds": (30,),
    "terminationMessagePath": ("/dev/termination-log",),
    "terminationMessagePolicy": ("File",),
    "timeoutSeconds": (1,),
}
"""What the server puts into a pod template that says nothing: a template that it has seen is the same with them as without."""

_Path = tuple[str, ...]
_Absent: Final = object()


def dry_run(changes: Sequence[FieldChange]) -> Check:
    """The check of a dry run that the server let through."""
    beside = sum(not change.asked for change in changes)
    many = (
        f"{len(changes)} field{'s' if len(changes) != 1 else ''} would change" if changes else "no field would change"
    )
    more = f", {beside} of them beside what the plan names" if beside else ""
    return Check("dry run", CheckStatus.PASS, f"the server would take it: {many}{more}", tuple(changes[:LIMIT]))


def changes_of(
    before: Object, after: Object, target: str, *, subresource: str = "", asked: Sequence[str] = ()
) -> tuple[FieldChange, ...]:
    """Every field in which `after`, the answer of a dry run on `subresource`, differs from `before`, in the order of their paths.

    `asked` are the JSON pointers that the write names; what lies at, above or below none of them is told as not asked for. What the
    server keeps by itself (versions, owners of fields, the status beside a write of the spec) is left out, and so is what is only a
    default written down.
    """
    named = [_split(pointer) for pointer in asked]
    found: list[FieldChange] = []
    differences = list(_differences(*_compared(before, after, subresource)))
    # The image is what everybody looks for.
    differences.sort(key=lambda one: one[0][-1] != "image")
    for path, old, new in differences:
        told = FieldChange(target, _dotted(path), old, new, any(_touch(path, one) for one in named))
        if told not in found:
            found.append(told)
    return tuple(found)


def _compared(before: Object, after: Object, subresource: str) -> tuple[Object, Object]:
    if subresource == "status":
        return {"status": table(before, "status")}, {"status": table(after, "status")}
    if subresource:
        # The answer is another kind than the object: what both have is the count.
        return (
            {"spec": {"replicas": at(before, "spec", "replicas")}},
            {"spec": {"replicas": at(after, "spec", "replicas")}},
        )
    return _spec(before), _spec(after)


def _spec(item: Object) -> Object:
    kept = {key: value for key, value in item.items() if key not in {"apiVersion", "kind", "metadata", "status"}}
    meta = {key: value for key, value in table(item, "metadata").items() if key in _META}
    if _LAST_APPLIED in table(meta, "annotations"):
        meta["annotations"] = {key: value for key, value in meta["annotations"].items() if key != _LAST_APPLIED}
    return {"metadata": meta, **kept}


def _differences(old: Any, new: Any, path: _Path = ()) -> Iterator[tuple[_Path, str, str]]:
    here = path[-1] if path else ""
    if old == new or _is_default(old, new, path):
        return
    if here == "env":
        yield from _environment(old, new, path)
    elif here in _HIDING:
        yield path, *_unsaid(old, new)
    elif _is(dict, old) and _is(dict, new):
        one, other = old or {}, new or {}
        for key in sorted({*one, *other}):
            yield from _differences(one.get(key), other.get(key), (*path, key))
    elif _is(list, old) and _is(list, new):
        yield from _listed(old or [], new or [], path)
    else:
        yield path, *_values(old, new, path)


def _is_default(old: Any, new: Any, path: _Path) -> bool:
    """Whether only a default of the API was written down, or left out again."""
    pods = any(part.partition("[")[0] in _TEMPLATES for part in path)
    return pods and (old is None or new is None) and (new if old is None else old) in _DEFAULTS.get(path[-1], ())


def _is(kind: type, value: Any) -> bool:
    """Whether it is of this kind, or not there: null is what the API says of a field that is not set."""
    return value is None or isinstance(value, kind)


def _listed(old: list[Any], new: list[Any], path: _Path) -> Iterator[tuple[_Path, str, str]]:
    one, other = _by_name(old), _by_name(new)
    if one is not None and other is not None:
        for key in dict.fromkeys([*one, *other]):
            yield from _differences(one.get(key), other.get(key), (*path[:-1], f"{path[-1]}[{key}]"))
    elif len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from _differences(before, after, (*path[:-1], f"{path[-1]}[{index}]"))
    else:
        yield path, *_values(old or None, new or None, path)


def _by_name(found: list[Any]) -> dict[str, Any] | None:
    """A list of things with names, by name; None where it is none."""
    names = [item.get("name") if isinstance(item, dict) else None for item in found]
    if not all(isinstance(name, str) and name for name in names) or len(set(names)) < len(names):
        return None
    return dict(zip((str(name) for name in names), found, strict=True))


def _environment(old: Any, new: Any, path: _Path) -> Iterator[tuple[_Path, str, str]]:
    """The names of the variables that come, go or get another value."""
    one, other = (_by_name(each or []) if _is(list, each) else None for each in (old, new))
    if one is None or other is None:
        yield path, *_unsaid(old, new)
        return
    for name in dict.fromkeys([*one, *other]):
        if one.get(name) != other.get(name):
            yield (*path[:-1], f"env[{name}]"), *_unsaid(one.get(name), other.get(name))


def _values(old: Any, new: Any, path: _Path) -> tuple[str, str]:
    counts = all(value is None or isinstance(value, bool | int | float) for value in (old, new))
    if not _may_be_quoted(path, counts=counts) or any(_holds_secret(value) for value in (old, new)):
        return _unsaid(old, new)
    return _quoted(old), _quoted(new)


def _unsaid(old: Any, new: Any) -> tuple[str, str]:
    return ("" if old is None else _NOT_SHOWN), ("" if new is None else _NOT_SHOWN if old is None else _CHANGED)


def _may_be_quoted(path: _Path, *, counts: bool) -> bool:
    parts = [part.partition("[")[0] for part in path]
    if any(is_secret_name(part) for part in parts):
        return False
    if any(part in _TEMPLATES for part in parts) and not counts:
        return parts[-1] == _RESTARTED or parts[-1].startswith(PREFIX) or any(part in _PLAIN for part in parts)
    return True


def _holds_secret(value: Any) -> bool:
    """Whether something may hold what must not be quoted."""
    if isinstance(value, Mapping):
        keys = [str(key) for key in value]
        risky = any(key == "env" or key in _HIDING or key in _TEMPLATES or is_secret_name(key) for key in keys)
        return risky or any(_holds_secret(inner) for inner in value.values())
    if isinstance(value, list):
        return any(_holds_secret(inner) for inner in value)
    return isinstance(value, str) and looks_like_token(value)


def _quoted(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return SafeText((redact_url(value) if "://" in value else value) or '""', limit=_LONGEST)
    return SafeText(json.dumps(value, separators=(",", ":")), limit=_LONGEST)


def _split(pointer: str) -> _Path:
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])


def _touch(path: _Path, named: _Path) -> bool:
    """Whether one of both lies at or above the other. A place in a list counts as the list."""
    told = [part.partition("[")[0] for part in path]
    wanted = [part for part in named if not part.isdigit() and part != "-"]
    return all(one == other for one, other in zip(told, wanted, strict=False))


def _dotted(path: _Path) -> str:
    """ "spec.steps[2].weight"; a part that holds a dot itself stands in brackets."""
    told = ""
    for part in path:
        told += f"[{part}]" if "/" in part or "." in part.partition("[")[0] else f".{part}" if told else part
    return SafeText(told, limit=160)
