"""Writes as data: a JSON Patch with its own tests, what it stands for in words, and what may be shown of it.

A payload names what changes and what must hold, never a whole template: that holds environments, and payloads go into the audit.
"""

from __future__ import annotations

import dataclasses
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.marks import HOLD, STAMP, of_spec, writer_key
from mlrelease_tui.connectors.kubernetes.objects import at, name, namespace, table, uid
from mlrelease_tui.domain.expectation import EndpointExpectation
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint, Phase
from mlrelease_tui.domain.text import SafeText, escape_hidden

PATCH: Final = "patch"
AWAIT: Final = "await"
LOOKED_AT: Final = tuple(phase for phase in Phase if phase is not Phase.UNKNOWN)
"""Phases in which a controller has looked at what was written: the server's answer alone proves nothing."""

Op = Mapping[str, Any]


def test(path: str, value: object) -> Op:
    return {"op": "test", "path": path, "value": value}


def add(path: str, value: object) -> Op:
    """Sets the value, whether it was there or not. What is above it must exist."""
    return {"op": "add", "path": path, "value": value}


def replace(path: str, value: object) -> Op:
    return {"op": "replace", "path": path, "value": value}


def remove(path: str) -> Op:
    return {"op": "remove", "path": path}


def copy(source: str, path: str) -> Op:
    """What stands at `source` stands at `path` too: so that a payload need not hold it."""
    return {"op": "copy", "from": source, "path": path}


def pointer(*parts: str) -> str:
    """A JSON pointer; `/` and `~` in keys are escaped (RFC 6901)."""
    return "".join("/" + part.replace("~", "~0").replace("/", "~1") for part in parts)


def same_hold(item: Object, root: str = "metadata") -> Op:
    """That the same hand holds it as was read, or nobody does: of two that hold it at once one is told, and nobody takes a hold
    away that he did not see. `root` is where its notes are. A test below a table that is not there fails, whatever it asks."""
    noted = table(item, root, "annotations")
    if not noted:
        return test(pointer(root, "annotations"), at(item, root, "annotations"))
    return test(pointer(root, "annotations", HOLD), noted.get(HOLD))


@dataclass(frozen=True, slots=True)
class Template:
    """A pod template that a write restores: the one of this ReplicaSet, less the label that its controller put on it."""

    resource: Resource
    name: str
    uid: str
    without_label: str


@dataclass(frozen=True, slots=True)
class Patch:
    """One JSON Patch on one object. `hold` True writes down who holds it, False takes that away. `notes` are annotations.
    `follows`: it builds on what the write before it brings about, so that nobody can try it beforehand.
    `marked_at` is where who, why and `notes` go: "metadata", or "status" for objects whose annotations their controller copies into
    pod templates, where each of them would make a new revision; "" for an object that bears no mark of ours, because another write
    of the plan leaves them. `spec_only`: whoever wrote the status is nobody that moved it."""

    resource: Resource
    item: Object
    ops: tuple[Op, ...]
    subresource: str = ""
    template: Template | None = None
    hold: bool | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
    follows: bool = False
    marked_at: str = "metadata"
    spec_only: bool = False

    def payload(self) -> str:
        """Canonical JSON, as `performing` reads it."""
        found: dict[str, Any] = {
            "resource": _address(self.resource),
            "namespace": namespace(self.item),
            "name": name(self.item),
            "uid": uid(self.item),
            "subresource": self.subresource,
            "patch": list(self.ops),
            "seen": writer_key(of_spec(self.item) if self.spec_only else self.item),
        }
        if self.template is not None:
            found["template"] = {
                "resource": _address(self.template.resource),
                "name": self.template.name,
                "uid": self.template.uid,
                "without_label": self.template.without_label,
            }
        if self.follows:
            found["follows"] = True
        if self.hold is not None:
            found["hold"] = self.hold
        if self.notes:
            found["notes"] = dict(self.notes)
        if self.marked_at != "metadata":
            found["marked_at"] = self.marked_at
        if self.spec_only:
            found["spec_only"] = True
        return json.dumps(found, sort_keys=True, separators=(",", ":"))

    def call(self) -> str:
        """As a person reads it: what changes, and on what condition."""
        where = f"/{self.subresource}" if self.subresource else ""
        done = [_told(op) for op in self.ops if op["op"] != "test"]
        if self.template is not None:
            done.insert(0, f"spec.template ← {SafeText(self.template.name)}")
        if self.hold is not None and not done:
            done.append("who holds it, and why" if self.hold else "nobody holds it")
        return f"PATCH {self.resource.plural}/{SafeText(name(self.item))}{where}: {', '.join(done)}"

    def precondition(self) -> str:
        """What must hold, in words."""
        return " and ".join(_held(op) for op in self.ops if op["op"] == "test")

    def shell(self, context: str) -> str:
        """The same with kubectl, where that can be said."""
        if self.template is not None:
            return ""
        words = ["kubectl", "--context", context, "-n", namespace(self.item), "patch"]
        words += [f"{self.resource.plural}.{self.resource.group}".rstrip("."), name(self.item)]
        if self.subresource:
            words.append(f"--subresource={self.subresource}")
        return shlex.join([*words, "--type=json", "-p", json.dumps(list(self.ops), separators=(",", ":"))])


@dataclass(frozen=True, slots=True)
class Effect:
    """A patch in words: what is so before and after it, and how it is undone."""

    before: str
    after: str
    undo: str
    expects: EndpointExpectation
    settle_s: float = 60.0


def watched(
    expects: EndpointExpectation, before: Endpoint, *, toward: str = "", sheds: bool = False
) -> EndpointExpectation:
    """The same, given up as soon as the backend says that it failed. Where it said so before already that would be of the release
    before, unless the kind is known to take it back with the write (`sheds`)."""
    said = before.rollout.phase is Phase.DEGRADED and not sheds
    return dataclasses.replace(expects, failed=() if said else (Phase.DEGRADED,), toward=toward)


_SHOWN: Final = frozenset(
    {
        "artifactVersion",
        "canaryTrafficPercent",
        "currentStepIndex",
        "image",
        "modelUri",
        "paused",
        "replicas",
        "storageUri",
        "suspend",
        "traffic",
        "weight",
    }
)
"""Fields whose values may be told: whatever else a template holds may be a secret."""
_asking: ContextVar[bool] = ContextVar("asking", default=False)
_NOWHERE: Final = EndpointExpectation(EndpointRef("", "", ""))
_SKETCH: Final = Write("", PATCH, "", "", "", "", "", "", "", _NOWHERE, _NOWHERE)


@contextmanager
def only_asking() -> Iterator[None]:
    """Within it `written` gives an empty write: for whoever asks only whether something would be refused, thousands of times."""
    token = _asking.set(True)
    try:
        yield
    finally:
        _asking.reset(token)


def written(
    connection: str, context: str, patch: Patch, effect: Effect, assumes: EndpointExpectation, *, shell: str = ""
) -> Write:
    """The write that sends `patch`."""
    if _asking.get():
        return _SKETCH
    return Write(
        connection=connection,
        operation=PATCH,
        target=f"{patch.resource.kind} {SafeText(namespace(patch.item))}/{SafeText(name(patch.item))}",
        call=patch.call(),
        payload=patch.payload(),
        # Versions in them are somebody's annotations.
        before=escape_hidden(effect.before),
        after=escape_hidden(effect.after),
        precondition=patch.precondition(),
        undo=escape_hidden(effect.undo),
        assumes=assumes,
        expects=effect.expects,
        shell=escape_hidden(shell or patch.shell(context)),
        settle_s=effect.settle_s,
    )


def _address(resource: Resource) -> list[str]:
    return [resource.group, resource.version, resource.plural, resource.kind]


def _told(op: Op) -> str:
    path = _dotted(op["path"])
    if op["op"] == "copy":
        return f"{path} as {_dotted(op['from'])}"
    return f"{path} removed" if op["op"] == "remove" else f"{path} = {_short(op['value'])}"


def _held(op: Op) -> str:
    if op["path"] == pointer("metadata", "annotations", STAMP):
        return "no other action wrote to it"
    if op["path"].endswith(pointer(HOLD)):
        return "nobody holds it" if op["value"] is None else "the same hand holds it"
    return f"{_dotted(op['path'])} is {_short(op['value'])}"


def _dotted(path: str) -> str:
    return ".".join(part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:])


def _short(value: object) -> str:
    return SafeText(json.dumps(value, separators=(",", ":")), limit=80)


def value_at(item: Object, path: str) -> Any:
    """What stands at a JSON pointer, None where nothing does."""
    found: Any = item
    for part in path.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, Sequence) and not isinstance(found, str):
            index = int(key) if key.isdigit() else -1
            found = found[index] if 0 <= index < len(found) else None
        elif isinstance(found, Mapping):
            found = found.get(key)
        else:
            return None
    return found


def broken_tests(item: Object, ops: Sequence[Op]) -> tuple[str, ...]:
    """Which tests of a patch do not hold of an object, as "what is, not what should be"."""
    return tuple(
        _broken(op["path"], value_at(item, op["path"]), op["value"])
        for op in ops
        if op["op"] == "test" and value_at(item, op["path"]) != op["value"]
    )


def altered(answer: Object, ops: Sequence[Op]) -> tuple[str, ...]:
    """What the server's answer to a patch shows to be other than the patch wrote it: a webhook changed it on its way. What a server
    adds beside is none of this."""
    found: list[str] = []
    for op in ops:
        if op["op"] in {"add", "replace"} and op["value"] is not None:
            found += _differing(op["path"], op["value"], value_at(answer, op["path"]))
    return tuple(dict.fromkeys(found))


def _differing(path: str, wanted: object, found: object) -> list[str]:
    if wanted == found:
        return []
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return [
            told for key, value in wanted.items() for told in _differing(path + pointer(key), value, found.get(key))
        ]
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) <= len(found):
        pairs = zip(wanted, found, strict=False)
        return [told for at, pair in enumerate(pairs) for told in _differing(f"{path}/{at}", *pair)]
    if wanted in ({}, [], "") and not found:
        return []
    shown = path.rpartition("/")[2] in _SHOWN
    return [f"{_dotted(path)} = {_short(found)} instead of {_short(wanted)}" if shown else f"another {_dotted(path)}"]


def _broken(path: str, found: object, wanted: object) -> str:
    if path == pointer("metadata", "annotations", STAMP):
        return "another action wrote to it"
    if path.endswith(pointer(HOLD)):
        return "nobody holds it any more" if found is None else "it is held by another action"
    return f"{_dotted(path)} is {_short(found)}, not {_short(wanted)}"
