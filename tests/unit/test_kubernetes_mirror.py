"""Objects kept small, and what a change to one of them touches."""

from __future__ import annotations

from typing import Any

from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.mirror import Scope
from mlrelease_tui.connectors.kubernetes.namespace_world import NamespaceWorld
from mlrelease_tui.connectors.kubernetes.shelf import CAME_OR_WENT, Key, Packed, packed, unpacked
from mlrelease_tui.connectors.kubernetes.workloads.api import Choice

THINGS = Resource("example.org", "v1", "things", "Thing")
PARTS = Resource("example.org", "v1", "parts", "Part")


def thing(name: str, *, owner: str = "", namespace: str = "ml", **rest: Any) -> dict[str, Any]:
    meta: dict[str, Any] = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "resourceVersion": "7"}
    if owner:
        meta["ownerReferences"] = [{"uid": owner, "controller": True}]
    return {"metadata": meta | rest.pop("metadata", {}), **rest}


def shelves(*things: dict[str, Any], parts: tuple[dict[str, Any], ...] = ()) -> Any:
    found: dict[Resource, dict[str, dict[Key, Packed]]] = {THINGS: {}, PARTS: {}}
    for resource, items in ((THINGS, things), (PARTS, parts)):
        for item in items:
            key, kept = packed(item)
            found[resource].setdefault(key[0], {})[key] = kept
    return found


def test_what_nobody_reads_is_not_kept_and_makes_no_change() -> None:
    scope = Scope(THINGS, "")
    one = thing(
        "a", spec={"x": 1}, metadata={"annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}
    )
    assert CAME_OR_WENT in scope.put(*packed(one))
    again = thing("a", spec={"x": 1}, metadata={"resourceVersion": "8", "annotations": {}})
    assert scope.put(*packed(again)) == set()
    other = scope.put(*packed(thing("a", spec={"x": 2})))
    assert ("uid", "uid-a") in other
    assert CAME_OR_WENT not in other


def test_an_object_that_is_gone_is_a_change_once() -> None:
    scope = Scope(THINGS, "")
    key, kept = packed(thing("a", owner="uid-b"))
    scope.put(key, kept)
    assert {("uid", "uid-a"), ("uid", "uid-b"), CAME_OR_WENT} <= scope.put(key, None)
    assert scope.put(key, None) == set()


def test_objects_are_opened_as_they_were() -> None:
    item = thing("a", spec={"replicas": 0, "text": "ü\u202e"}, status=None)
    _, kept = packed(item)
    found = unpacked(kept)
    assert found["spec"] == item["spec"]
    assert "resourceVersion" not in found["metadata"]


def test_what_a_reading_looked_at_is_noted() -> None:
    world = NamespaceWorld(shelves(thing("a"), thing("b"), parts=(thing("p", owner="uid-a"),)), "ml", Choice())
    assert [part["metadata"]["name"] for part in world.owned(PARTS, "uid-a")] == ["p"]
    assert world.take_touched() == {("uid", "uid-a")}
    assert world.of(THINGS).get(("ml", "b")) is not None
    assert world.of(THINGS).get(("ml", "not there")) is None
    assert world.take_touched() == {
        ("key", "example.org/v1/things", "ml", "b"),
        ("key", "example.org/v1/things", "ml", "not there"),
    }
    assert len(list(world.of(THINGS).values())) == 2
    assert ("kind", "example.org/v1/things", "ml") in world.take_touched()


def test_whoever_uses_an_index_depends_on_what_it_was_made_of() -> None:
    world = NamespaceWorld(shelves(thing("a")), "ml", Choice())
    for _ in range(2):
        world.index("all", lambda: dict(world.of(THINGS)))
        assert ("kind", "example.org/v1/things", "ml") in world.take_touched()


def test_another_namespaces_objects_are_found_by_name_and_not_listed() -> None:
    world = NamespaceWorld(shelves(thing("a"), thing("b", namespace="other")), "ml", Choice())
    assert list(world.of(THINGS)) == [("ml", "a")]
    assert world.of(THINGS)["other", "b"]["metadata"]["name"] == "b"
