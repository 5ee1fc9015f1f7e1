"""Routes edited so well that Traefik takes them, and an API that is not Traefik's: never believed."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlrelease_tui.errors import Rejected, ReleaseError
from mlrelease_tui.routing.api import Drifted, RoutedVersion, TrafficPlan, Unconfirmed
from mlrelease_tui.routing.traefik import TraefikRouter
from mlrelease_tui.routing.traefik_api import TraefikApi
from mlrelease_tui.routing.traefik_directory import RoutesDirectory
from mlrelease_tui.routing.traefik_document import STATE_HEADER, Document, RouteEntry

PLAN = TrafficPlan(
    "fraud",
    "v6",
    (RoutedVersion("v6", "http://127.0.0.1:8001", 7_500), RoutedVersion("v7", "http://127.0.0.1:8002", 2_500)),
    generation=1,
)


async def anything(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Another program on the port of the API: it speaks JSON, too."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")
    writer.close()


@pytest.fixture
async def store(tmp_path: Path) -> RoutesDirectory:
    found = RoutesDirectory(tmp_path)
    text = Document().with_entry(RouteEntry(PLAN)).text()
    await found.write(text, text)
    return found


@pytest.fixture
async def router(store: RoutesDirectory) -> AsyncIterator[TraefikRouter]:
    server = await asyncio.start_server(anything, "127.0.0.1", 0)
    api = TraefikApi(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    found = TraefikRouter(store, api, confirm_s=0.1, probe=None)
    yield found
    await found.aclose()
    server.close()


async def test_an_api_that_knows_nothing_puts_nothing_in_force(router: TraefikRouter) -> None:
    found = await router.read("fraud")
    assert (found.plan, found.error) == (PLAN, "")
    assert found.drift == "the router knows nothing of route fraud"


def edited(text: str, change: Callable[[dict[str, Any]], None]) -> str:
    """The document after an edit of its stored state by somebody who keeps its form."""
    outer = json.loads(text)
    headers = outer["http"]["middlewares"]["fraud--state"]["headers"]["customResponseHeaders"]
    state = json.loads(headers[STATE_HEADER])
    change(state)
    headers[STATE_HEADER] = json.dumps(state, separators=(",", ":"), sort_keys=True)
    return json.dumps(outer)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state["settings"].update(dial_timeout_s="1"),
        lambda state: state["settings"].update(dial_timeout_s=float("nan")),
        lambda state: state["settings"].update(longest_request_s=float("inf")),
        lambda state: state["plan"].update(generation="1"),
        lambda state: state["plan"].update(generation=None),
        lambda state: state["plan"].update(stable=["v6"]),
        lambda state: state["plan"]["versions"][0].update(name=["v6"]),
        lambda state: state["plan"]["versions"][0].update(weight_bp="7500"),
        lambda state: state["plan"]["versions"][0].update(weight_bp=7_500.0),
        lambda state: state["plan"]["versions"][0].update(health_path=5),
    ],
)
async def test_a_stored_plan_of_odd_types_is_drift_not_a_crash(
    router: TraefikRouter, store: RoutesDirectory, change: Callable[[dict[str, Any]], None]
) -> None:
    store.file.write_text(edited(store.file.read_text(), change))
    found = await router.read("fraud")
    assert found.plan is None
    assert "edited by another hand" in found.drift
    with pytest.raises(Drifted):
        await router.apply(PLAN, 1)


async def test_weights_changed_wherever_they_stand_must_still_sum_up(
    router: TraefikRouter, store: RoutesDirectory
) -> None:
    # As `sed -i s/2500/3000/` does: the stored plan and what Traefik reads agree, and Traefik takes it.
    text = store.file.read_text().replace("2500", "3000")
    for path in (store.file, store.last_good):
        path.write_text(text)
    found = await router.read("fraud")
    assert found.plan is None
    assert "the weights sum to 10500 basis points" in found.drift


async def test_a_split_that_nobody_applied_is_drift_though_it_is_as_whole_as_ours(
    router: TraefikRouter, store: RoutesDirectory
) -> None:
    theirs = PLAN.with_weights(v6=9_900, v7=100)
    store.file.write_text(Document().with_entry(RouteEntry(theirs)).text())
    found = await router.read("fraud")
    assert "generation 1 was written otherwise" in found.drift
    with pytest.raises(Drifted, match="cp -p"):
        await router.apply(PLAN.with_weights(v6=5_000, v7=5_000), 1)
    assert json.loads(store.file.read_text()) == json.loads(Document().with_entry(RouteEntry(theirs)).text())


async def test_a_copy_that_could_not_be_kept_is_no_drift(router: TraefikRouter, store: RoutesDirectory) -> None:
    # The document was replaced, then the disk was full: the copy is one generation behind.
    following = replace(PLAN.with_weights(v6=5_000, v7=5_000), generation=2)
    store.file.write_text(Document().with_entry(RouteEntry(following)).text())
    assert (await router.read("fraud")).plan == following
    with pytest.raises(Unconfirmed):
        await router.apply(following.with_weights(v6=10_000, v7=0), 2)
    found = (await router.read("fraud")).plan
    assert found is not None
    assert (found.generation, found.weight_bp("v6")) == (3, 10_000)


async def test_a_write_between_a_readers_two_looks_is_no_drift(tmp_path: Path) -> None:
    following = replace(PLAN.with_weights(v6=5_000, v7=5_000), generation=2)

    class Overtaken(RoutesDirectory):
        """Somebody writes as soon as the document was read."""

        async def read(self) -> str | None:
            text = await super().read()
            await self.write(*[Document().with_entry(RouteEntry(following)).text()] * 2)
            return text

    store = Overtaken(tmp_path)
    await store.write(*[Document().with_entry(RouteEntry(PLAN)).text()] * 2)
    router = TraefikRouter(store, TraefikApi("http://127.0.0.1:9"), probe=None)
    assert (await router.read("fraud")).plan == PLAN
    assert (await router.read("fraud")).plan == following
    await router.aclose()


async def test_the_way_back_works_as_it_is_told_and_never_shows_half_a_file(tmp_path: Path) -> None:
    place = tmp_path / "a folder; with $HOME in its name"
    place.mkdir()
    store = RoutesDirectory(place)
    good = Document().with_entry(RouteEntry(PLAN)).text()
    await store.write(good, good)
    router = TraefikRouter(store, TraefikApi("http://127.0.0.1:9"), probe=None)
    for damage in ("{", ""):
        store.file.write_text(damage)
        drift = (await router.read("fraud")).drift
        line = drift.partition("copy back: ")[2].partition("; that gives")[0]
        # Whoever has the damaged file open, as Traefik may, goes on to see that one, not an empty one.
        with store.file.open() as seen:
            subprocess.run(["sh", "-ec", line], check=True)
            assert seen.read() == damage
        assert (await router.read("fraud")).plan == PLAN
    store.file.unlink()
    store.file.mkdir()
    assert "no plain file" in (await router.read("fraud")).drift
    assert "copy back: " in (await router.read("fraud")).drift
    await router.aclose()


async def test_a_document_of_routes_is_begun_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RoutesDirectory(tmp_path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(os, "fsync", full)
        with pytest.raises(Rejected, match="No space left"):
            store.begin()
    assert list(tmp_path.iterdir()) == []
    store.begin()
    assert await store.read() == "{}\n"
    store.file.write_text("mine")
    store.begin()
    assert await store.read() == "mine"


async def test_a_pipe_in_place_of_the_routes_holds_nobody(tmp_path: Path) -> None:
    store = RoutesDirectory(tmp_path)
    os.mkfifo(store.file)
    with pytest.raises(ReleaseError, match="no plain file"):
        await store.read()


def test_what_others_could_write_is_taken_back_with_the_next_write(tmp_path: Path) -> None:
    store = RoutesDirectory(tmp_path)
    store.begin()
    store.file.chmod(0o666)
    asyncio.run(store.write("{}", "{}"))
    assert store.file.stat().st_mode & 0o777 == 0o644
