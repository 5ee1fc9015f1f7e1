"""Reading the dictionaries of the API: absent keys are what they mean there (a count of 0, no text)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from mlrelease_tui.connectors.kubernetes.answers import Object

_NOTHING: Final[Mapping[str, Any]] = {}
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"


def at(item: Object, *path: str) -> Any:
    """What stands under this path, None where any part of it is missing."""
    found: Any = item
    for key in path:
        if not isinstance(found, Mapping):
            return None
        found = found.get(key)
    return found


def table(item: Object, *path: str) -> Mapping[str, Any]:
    """The table under this path, an empty one where there is none."""
    found = at(item, *path)
    return found if isinstance(found, Mapping) else _NOTHING


def items(item: Object, *path: str) -> list[Any]:
    """The list under this path, an empty one where there is none."""
    found = at(item, *path)
    return found if isinstance(found, list) else []


def text(item: Object, *path: str) -> str:
    """The text under this path, "" where there is none. Some controllers keep numbers as text, some text as numbers."""
    found = at(item, *path)
    return "" if found is None or isinstance(found, Mapping | list) else str(found)


def count(item: Object, *path: str) -> int:
    """The number under this path; the API leaves 0 out."""
    found = at(item, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) else 0


def name(item: Object) -> str:
    return text(item, "metadata", "name")


def namespace(item: Object) -> str:
    return text(item, "metadata", "namespace")


def uid(item: Object) -> str:
    return text(item, "metadata", "uid")


def notes(item: Object) -> Mapping[str, Any]:
    """Its annotations."""
    return table(item, "metadata", "annotations")


def labels(item: Object) -> Mapping[str, Any]:
    return table(item, "metadata", "labels")


def owner_uid(item: Object) -> str:
    """The uid of the controller that owns it, "" where none does."""
    for owner in items(item, "metadata", "ownerReferences"):
        if isinstance(owner, Mapping) and owner.get("controller"):
            return str(owner.get("uid") or "")
    return ""


def condition(item: Object, kind: str) -> Mapping[str, Any]:
    """The condition of that type, an empty table where there is none."""
    for found in items(item, "status", "conditions"):
        if isinstance(found, Mapping) and found.get("type") == kind:
            return found
    return _NOTHING


def when(moment: object) -> datetime | None:
    """An RFC 3339 time; None where there is none or it can't be read."""
    if not isinstance(moment, str):
        return None
    try:
        found = datetime.fromisoformat(moment)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def selects(selector: Object, marks: Mapping[str, Any]) -> bool:
    """Whether a label selector (`matchLabels` and `matchExpressions`) picks something with these labels. An empty one picks all."""
    for key, value in table(selector, "matchLabels").items():
        if marks.get(key) != value:
            return False
    return all(_holds(rule, marks) for rule in items(selector, "matchExpressions"))


def _holds(rule: Object, marks: Mapping[str, Any]) -> bool:
    key, values = text(rule, "key"), items(rule, "values")
    match rule.get("operator"):
        case "In":
            return marks.get(key) in values
        case "NotIn":
            return marks.get(key) not in values
        case "Exists":
            return key in marks
        case "DoesNotExist":
            return key not in marks
    return False


def trimmed(item: Object) -> Object:
    """Without what is never read and is half of an object's size: who owns which field, and what was applied last."""
    meta = table(item, "metadata")
    slim = dict(meta)
    if managers := meta.get("managedFields"):
        slim["managedFields"] = [{key: entry[key] for key in entry if key != "fieldsV1"} for entry in managers]
    if _LAST_APPLIED in notes(item):
        slim["annotations"] = {key: value for key, value in notes(item).items() if key != _LAST_APPLIED}
    return {**item, "metadata": slim}


def by_key(found: Iterable[Object]) -> dict[tuple[str, str], Object]:
    """Objects by namespace and name."""
    return {(namespace(item), name(item)): item for item in found}
