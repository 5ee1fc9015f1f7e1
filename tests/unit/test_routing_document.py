"""The routes document as text: built, read back, and never mistaken."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrelease_tui.routing.api import Drifted, HeaderRule, Mirror, RoutedVersion, TrafficPlan
from mlrelease_tui.routing.traefik_document import (
    Document,
    RouteEntry,
    TraefikSettings,
    build_fragment,
    live_generation,
    route_path,
    service_name,
    unlike_live,
)

PLAN = TrafficPlan(
    "fraud",
    "v6",
    (RoutedVersion("v6", "http://127.0.0.1:8001", 9_000), RoutedVersion("v7", "http://127.0.0.1:8002", 1_000)),
    mirror=Mirror("v7", 5),
    header_rule=HeaderRule("X-Release", "canary", "v7"),
    sticky_cookie="release",
    state={"hold": {"who": "ana"}},
    generation=4,
)
ENTRY = RouteEntry(PLAN, TraefikSettings(longest_request_s=30), {"v7": datetime(2026, 1, 1, tzinfo=UTC)})
OTHER = RouteEntry(replace(PLAN, route="churn", mirror=None))


def test_an_entry_comes_back_as_it_was_stored() -> None:
    document = Document().with_entry(ENTRY).with_entry(OTHER)
    read = Document.parse(document.text())
    assert read.entry("fraud") == ENTRY and read.entry("churn") == OTHER
    assert read.entry("absent") is None
    assert read.routes() == ("churn", "fraud")


def test_no_file_and_no_routes_are_no_drift() -> None:
    assert Document.parse(None).routes() == () == Document.parse("{}").routes()
    assert Document().text() == "{}"


@pytest.mark.parametrize("text", ["", "  \n", "http:\n  routers: {}\n", "[]", "null", "3", '{"tcp": {}}'])
def test_what_this_program_cannot_have_written_is_drift(text: str) -> None:
    with pytest.raises(Drifted):
        Document.parse(text)


def test_deep_nesting_and_odd_shapes_are_drift_not_a_crash() -> None:
    for text in ("[" * 100_000, '{"http": []}', '{"http": {"routers": []}}', '{"http": {"x": {}}}', '{"http": NaN}'):
        with pytest.raises(Drifted):
            Document.parse(text)


def test_a_document_cut_anywhere_is_never_mistaken_for_a_whole_one() -> None:
    text = Document().with_entry(ENTRY).text()
    for length in range(len(text)):
        with pytest.raises(Drifted):
            Document.parse(text[:length])


@pytest.mark.parametrize(
    "garbled", [None, 3, "x", "{}", '{"format": 2}', '{"format": 1, "plan": {}}', '{"format": 1, "plan": 7}']
)
def test_a_garbled_state_is_drift(garbled: object) -> None:
    outer = json.loads(Document().with_entry(ENTRY).text())
    outer["http"]["middlewares"]["fraud--state"]["headers"]["customResponseHeaders"]["X-Release-State"] = garbled
    with pytest.raises(Drifted):
        Document.parse(json.dumps(outer)).entry("fraud")


def test_every_leaf_that_is_changed_by_hand_is_seen() -> None:
    whole = json.loads(Document().with_entry(ENTRY).text())
    paths = list(_leaves(whole))
    assert len(paths) > 40
    for path in paths:
        edited = copy.deepcopy(whole)
        holder: Any = edited
        for key in path[:-1]:
            holder = holder[key]
        holder[path[-1]] = "edited"
        with pytest.raises(Drifted):
            Document.parse(json.dumps(edited)).entry("fraud")


def test_writing_one_route_leaves_all_other_entries_alone() -> None:
    outer = json.loads(Document().with_entry(OTHER).text())
    outer["http"]["routers"]["theirs"] = {"rule": "Path(`/é🚀`)"}
    outer["http"]["routers"]["fraudulent"] = {"rule": "Path(`/f`)"}
    document = Document.parse(json.dumps(outer)).with_entry(ENTRY)
    read = Document.parse(document.text())
    assert read.entry("churn") == OTHER and read.entry("fraud") == ENTRY
    assert read.sections["routers"]["theirs"] == outer["http"]["routers"]["theirs"]
    assert "fraudulent" in read.sections["routers"]


def test_the_last_good_copy_takes_no_damage_from_a_write_to_another_route() -> None:
    good = Document().with_entry(ENTRY)
    outer = json.loads(good.text())
    outer["http"]["services"]["fraud"]["weighted"]["services"][0]["weight"] = 1
    outer["http"]["routers"]["theirs"] = {"rule": "Path(`/theirs`)"}
    damaged = Document.parse(json.dumps(outer))

    kept = damaged.last_good_after(good, OTHER)
    lost = damaged.last_good_after(Document(), OTHER)

    assert kept.entry("fraud") == ENTRY and kept.entry("churn") == OTHER
    assert "theirs" in kept.sections["routers"]
    assert lost.entry("fraud") is None and lost.entry("churn") == OTHER
    assert Document().with_entry(ENTRY).last_good_after(Document(), OTHER).entry("fraud") == ENTRY


@given(st.text(), st.text())
def test_no_text_reaches_the_template_engine_or_breaks_yaml(key: str, why: str) -> None:
    entry = replace(ENTRY, plan=replace(PLAN, state={"a" + key: [{"why": why, "more": "{{" + why + "}}"}]}))
    text = Document().with_entry(entry).text()
    assert "{{" not in text
    assert text.isascii() and not any(char < " " for char in text.replace("\n", ""))
    assert Document.parse(text).entry("fraud") == entry


_names = st.from_regex(r"[A-Za-z0-9](?:[A-Za-z0-9._]|-(?!-)){0,6}[A-Za-z0-9]", fullmatch=True)


@given(_names, _names, _names, _names, st.booleans(), st.booleans())
def test_service_names_tell_every_route_and_version_apart(
    route: str, version: str, other_route: str, other_version: str, mirrored: bool, other_mirrored: bool
) -> None:
    one = service_name(route, version, mirrored=mirrored)
    two = service_name(other_route, other_version, mirrored=other_mirrored)
    assert (one == two) == ((route, version, mirrored) == (other_route, other_version, other_mirrored))


def test_names_that_others_rely_on() -> None:
    assert service_name("fraud", "7") == "fraud--7@file"
    assert service_name("fraud", "7", mirrored=True) == "fraud--7--shadow@file"
    assert route_path("fraud") == "/endpoints/fraud"
    assert set(build_fragment(ENTRY)["services"]) == {
        "fraud",
        "fraud--v6",
        "fraud--v7",
        "fraud--v7--shadow",
        "fraud--v7--mirror",
    }


def test_a_version_named_as_a_part_of_ours_cannot_take_its_place() -> None:
    for name in ("mirror", "shadow", "state", "header"):
        versions = (PLAN.versions[0], replace(PLAN.versions[1], name=name))
        plan = replace(PLAN, versions=versions, mirror=Mirror(name, 5), header_rule=None)
        services = build_fragment(RouteEntry(plan))["services"]
        assert len(services) == 5, name


def test_without_health_paths_there_are_no_health_checks_at_all() -> None:
    versions = (replace(PLAN.versions[0], health_path=""), PLAN.versions[1])
    services = build_fragment(RouteEntry(replace(PLAN, versions=versions)))["services"]
    assert "healthCheck" not in services["fraud"]["weighted"]
    assert "healthCheck" not in services["fraud--v6"]["loadBalancer"]
    assert "healthCheck" in services["fraud--v7"]["loadBalancer"]


def test_what_the_router_runs_is_compared_with_what_is_written() -> None:
    live = _live(ENTRY)
    assert unlike_live(ENTRY, live) == "" and live_generation("fraud", live) == 4
    assert "knows nothing" in unlike_live(ENTRY, {})
    assert "runs generation 3" in unlike_live(ENTRY, _live(replace(ENTRY, plan=replace(PLAN, generation=3))))
    moved = replace(ENTRY, plan=PLAN.with_weights(v6=5_000, v7=5_000))
    assert "service fraud otherwise" in unlike_live(ENTRY, _live(moved))
    disabled = _live(ENTRY)
    disabled["services"]["fraud--v7@file"] = {"status": "disabled", "error": ["no such\x1b thing"]}
    assert "fraud--v7 as 'disabled'" in unlike_live(ENTRY, disabled)
    assert "\x1b" not in unlike_live(ENTRY, disabled)
    for section in ("services", "routers", "middlewares"):
        assert unlike_live(ENTRY, {**_live(ENTRY), section: ["odd"]})


def _live(entry: RouteEntry) -> dict[str, Any]:
    """As Traefik 3.7 shows a document in /api/rawdata."""
    fragment = build_fragment(entry)
    return {
        section: {f"{name}@file": {**shape, "status": "enabled"} for name, shape in fragment[section].items()}
        for section in ("routers", "services", "middlewares")
    }


def _leaves(shape: object, path: tuple[Any, ...] = ()) -> Any:
    inner = shape.items() if isinstance(shape, dict) else enumerate(shape) if isinstance(shape, list) else None
    if inner is None:
        yield path
        return
    for key, value in inner:
        yield from _leaves(value, (*path, key))
