"""Documents that another hand damaged, emptied or edited: seen, refused, restored; and files that Traefik must never see."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from tests.connectors.backends import Backend, two_backends
from tests.connectors.load import Connection, Tally, send_many, steady_load
from tests.connectors.traefik_host import TraefikHost, split, traefik_host, until

from mlrelease_tui.errors import Rejected, Unauthenticated, UnexpectedAnswer
from mlrelease_tui.routing.api import Drifted, TrafficPlan, Unconfirmed
from mlrelease_tui.routing.traefik import TraefikRouter
from mlrelease_tui.routing.traefik_api import TraefikApi
from mlrelease_tui.routing.traefik_directory import RoutesDirectory
from mlrelease_tui.routing.traefik_document import Document, RouteEntry
from mlrelease_tui.routing.traefik_process import refusal_in

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

Edit = Callable[[dict[str, Any]], None]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TraefikHost]:
    async with traefik_host(tmp_path_factory.mktemp("traefik")) as host:
        yield host


@pytest_asyncio.fixture(loop_scope="module")
async def host(running: TraefikHost) -> AsyncIterator[TraefikHost]:
    """Every test starts from a document without routes."""
    await running.store.write("{}", "{}")
    yield running


@pytest_asyncio.fixture(loop_scope="module")
async def pair() -> AsyncIterator[tuple[Backend, Backend]]:
    async with two_backends() as backends:
        yield backends


async def test_a_truncated_document_is_rejected_by_traefik_and_refused_by_us(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    plan = (await host.serve(split("cut", *pair, 1_000))).plan
    whole = host.store.file.read_bytes()
    async with steady_load(host.url("cut"), clients=2) as tally:
        for part in (1, 2, 3, 5, 9):
            # Renamed: writing in place would show Traefik an empty file first, which it obeys with 404 for all.
            cut = host.store.path / "cut.tmp"
            cut.write_bytes(whole[: len(whole) * part // 10])
            cut.replace(host.store.file)
            await asyncio.sleep(0.15)

    seen = await host.router.read("cut")
    with pytest.raises(Drifted, match="damaged") as refused:
        await host.router.apply(plan, plan.generation)

    assert not tally.failed and tally.by_name["canary"] > 0
    assert seen.plan is None and "damaged" in seen.drift and seen.live_generation == plan.generation
    assert str(host.store.last_good) in refused.value.hint and "cp -p" in refused.value.hint
    assert "gives every route in it the split that was written last (cut: v1 90% + v2 10%)" in refused.value.hint
    await _heals(host, plan)


async def test_an_emptied_document_is_an_outage_that_is_seen_refused_and_restored(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    plan = (await host.serve(split("empty", *pair, 1_000))).plan
    host.store.file.write_bytes(b"")
    connection = Connection(host.url("empty"))

    async def not_found() -> bool:
        return (await connection.send()).status == 404

    await until(not_found)
    assert "is empty" in (await host.router.read("empty")).drift
    with pytest.raises(Drifted, match="is empty"):
        await host.router.apply(plan, plan.generation)
    await _heals(host, plan)


async def test_a_removed_document_is_seen_refused_and_restored(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    plan = (await host.serve(split("removed", *pair, 1_000))).plan
    host.store.file.unlink()

    assert "removed by another hand" in (await host.router.read("removed")).drift
    with pytest.raises(Drifted, match="removed"):
        await host.router.apply(plan, plan.generation)
    await _heals(host, plan)


def _set_weights(http: dict[str, Any]) -> None:
    for child in http["services"]["edited"]["weighted"]["services"]:
        child["weight"] = 5_000


def _negative_weight(http: dict[str, Any]) -> None:
    http["services"]["edited"]["weighted"]["services"][1]["weight"] = -5


def _all_zero(http: dict[str, Any]) -> None:
    for child in http["services"]["edited"]["weighted"]["services"]:
        child["weight"] = 0


def _drop_service(http: dict[str, Any]) -> None:
    del http["services"]["edited--v2"]


def _other_address(http: dict[str, Any]) -> None:
    http["services"]["edited--v2"]["loadBalancer"]["servers"][0]["url"] = "http://127.0.0.1:9"


def _other_generation(http: dict[str, Any]) -> None:
    headers = http["middlewares"]["edited--generation"]["headers"]
    headers["customResponseHeaders"]["X-Release-Generation"] = "99"


def _extra_router(http: dict[str, Any]) -> None:
    http["routers"]["edited--mine"] = dict(http["routers"]["edited"])


def _no_state(http: dict[str, Any]) -> None:
    del http["middlewares"]["edited--state"]


def _no_route(http: dict[str, Any]) -> None:
    for section in http.values():
        for name in [n for n in section if n.startswith("edited")]:
            del section[name]


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (_set_weights, "services.edited is not"),
        (_negative_weight, "services.edited is not"),
        (_all_zero, "services.edited is not"),
        (_drop_service, "services.edited--v2 is not"),
        (_other_address, "services.edited--v2 is not"),
        (_other_generation, "middlewares.edited--generation is not"),
        (_extra_router, "routers.edited--mine is not"),
        (_no_state, "stored state cannot be read"),
        (_no_route, "generation 0 by another hand"),
    ],
)
async def test_an_edit_by_another_hand_is_named_refused_and_restored(
    host: TraefikHost, pair: tuple[Backend, Backend], edit: Edit, named: str
) -> None:
    plan = (await host.serve(split("edited", *pair, 1_000))).plan
    other = (await host.serve(split("other", *pair, 0))).plan
    _edit(host, edit)
    edited = host.store.file.read_bytes()

    assert named in (await host.router.read("edited")).drift
    with pytest.raises(Drifted) as refused:
        await host.router.apply(plan.with_weights(v1=10_000, v2=0), plan.generation)
    assert named in refused.value.message and "cp -p" in refused.value.hint
    assert host.store.file.read_bytes() == edited

    # A quarrel over one route does not bar the rollback of another.
    applied = await host.router.apply(other.with_weights(v1=0, v2=10_000), other.generation)
    assert applied.changed and named in (await host.router.read("edited")).drift
    await _heals(host, plan)


async def test_a_missing_reference_is_a_total_outage_which_no_valid_plan_can_write(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    plan = (await host.serve(split("edited", *pair, 0))).plan
    _edit(host, _drop_service)

    async def outage() -> bool:
        return (await send_many(host.url("edited"), 5)).failed == {"404": 5}

    await until(outage)
    dangling = replace(plan, versions=(replace(plan.versions[0], weight_bp=9_000),))
    with pytest.raises(Rejected, match="sum to 9000"):
        await host.router.apply(dangling, plan.generation)
    await _heals(host, plan)


async def test_an_older_copy_put_back_by_hand_is_drift(host: TraefikHost, pair: tuple[Backend, Backend]) -> None:
    plan = (await host.serve(split("older", *pair, 0))).plan
    older = host.store.file.read_bytes()
    plan = (await host.router.apply(plan.with_weights(v1=9_000, v2=1_000), plan.generation)).plan
    host.store.file.write_bytes(older)

    with pytest.raises(Drifted, match="put back to generation 1"):
        await host.router.apply(plan, 1)
    await _heals(host, plan)


async def test_entries_of_others_survive_our_writes(host: TraefikHost, pair: tuple[Backend, Backend]) -> None:
    plan = (await host.serve(split("mine", *pair, 0))).plan
    theirs = {"rule": "PathPrefix(`/theirs`)", "service": "mine", "entryPoints": ["traffic"]}
    _edit(host, lambda http: http["routers"].update(theirs=theirs))

    await host.router.apply(plan.with_weights(v1=9_000, v2=1_000), plan.generation)

    assert json.loads(host.store.file.read_text())["http"]["routers"]["theirs"] == theirs
    assert await host.router.routes() == ("mine",)


async def test_restore_refuses_what_is_not_damaged(host: TraefikHost, pair: tuple[Backend, Backend]) -> None:
    await host.serve(split("fine", *pair, 0))
    with pytest.raises(Rejected, match="as it was written"):
        await host.router.restore("fine")
    with pytest.raises(Rejected, match="no last good copy"):
        await host.router.restore("unknown")


async def test_a_router_that_runs_something_else_is_drift(host: TraefikHost, pair: tuple[Backend, Backend]) -> None:
    plan = (await host.serve(split("lagging", *pair, 0))).plan
    # Written past Traefik: a file that it passes over, then read as if it were the document.
    elsewhere = RoutesDirectory(host.store.path / "elsewhere")
    elsewhere.path.mkdir(exist_ok=True)
    newer = replace(plan.with_weights(v1=9_000, v2=1_000), generation=plan.generation + 1)
    text = Document().with_entry(RouteEntry(newer)).text()
    await elsewhere.write(text, text)

    seen = await type(host.router)(elsewhere, host.api).read("lagging")

    assert (seen.generation, seen.live_generation) == (2, 1)
    assert "runs generation 1" in seen.drift


async def test_half_written_and_kept_copies_are_files_that_traefik_passes_over(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    await host.serve(split("names", *pair, 0))
    hijack = host.store.file.read_text().replace('"weight": 10000', '"weight": 7')
    for name in (".routes.yml.1.ab.tmp", "aaa.yml"):
        (host.store.path / name).write_text(hijack)
    await host.serve(split("names", *pair, 1_000))

    tally = await send_many(host.url("names"), 100)

    assert tally.by_name == {"stable": 90, "canary": 10}
    assert (await host.router.read("names")).drift == ""


async def test_a_reader_never_sees_half_a_document(tmp_path: Path) -> None:
    store = RoutesDirectory(tmp_path)
    stop, broken, read = threading.Event(), [], []

    def watch() -> None:
        while not stop.is_set():
            try:
                text = store.file.read_text()
            except FileNotFoundError:
                continue
            read.append(len(text))
            if not text.endswith("}"):
                broken.append(text[-40:])

    watcher = threading.Thread(target=watch)
    watcher.start()
    inodes = set()
    for generation in range(1, 60):
        plan = TrafficPlan("r", "v", (), state={"fill": "x" * (generation % 2) * 30_000}, generation=generation)
        text = Document().with_entry(RouteEntry(plan)).text()
        await store.write(text, text)
        inodes.add(store.file.stat().st_ino)
    stop.set()
    watcher.join()

    assert read and not broken
    assert len(inodes) > 1


async def test_a_rename_that_fails_changes_nothing_and_leaves_no_scratch_file(tmp_path: Path) -> None:
    store = RoutesDirectory(tmp_path)
    await store.write("{}", "{}")
    store.file.unlink()
    store.file.mkdir()
    (store.file / "occupied").touch()

    with pytest.raises(Rejected, match="could not be written"):
        await store.write('{"http": {}}', "{}")

    assert [path.suffix for path in tmp_path.iterdir() if path.is_file()] == [".last-good"]


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, b"<html>log in</html>", UnexpectedAnswer),
        (200, b"[1]", UnexpectedAnswer),
        (200, b'{"routers": {', UnexpectedAnswer),
        (500, b"", UnexpectedAnswer),
        (401, b"", Unauthenticated),
    ],
)
async def test_an_api_that_is_not_traefiks_is_an_error_not_a_plan(
    tmp_path: Path, pair: tuple[Backend, Backend], status: int, body: bytes, error: type[Exception]
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    api = TraefikApi(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", credential=("ops", "s3cret"))
    with pytest.raises(error) as raised:
        await api.snapshot()
    assert "s3cret" not in f"{raised.value}{raised.value!r}{api!r}"
    await api.aclose()
    server.close()


def _edit(host: TraefikHost, edit: Edit) -> None:
    outer = json.loads(host.store.file.read_text())
    edit(outer["http"])
    host.store.file.write_text(json.dumps(outer))


async def _heals(host: TraefikHost, plan: TrafficPlan) -> None:
    restored = await host.router.restore(plan.route)

    assert restored.plan.same_as(plan) and restored.plan.generation == plan.generation + 1
    assert (await host.router.read(plan.route)).drift == ""
    tally: Tally = await send_many(host.url(plan.route), 20)
    assert tally.by_name.total() == 20


async def test_what_traefik_has_against_the_document_is_told(host: TraefikHost, pair: tuple[Backend, Backend]) -> None:
    plan = (await host.serve(split("refused", *pair, 1_000))).plan
    log = host.process.log_file
    router = host.another_router(confirm_s=1.0, refusal=lambda: refusal_in(log, host.store.file))
    # An entry of somebody else's, which Traefik does not know: it takes nothing of the document any more.
    outer = json.loads(host.store.file.read_text())
    outer["http"]["middlewares"]["theirs"] = {"nonsense": {}}
    await host.store.write(json.dumps(outer), host.store.last_good.read_text())

    with pytest.raises(Unconfirmed, match="Traefik refuses the document: 'field not found, node: nonsense'"):
        await router.apply(plan.with_weights(v1=5_000, v2=5_000), plan.generation)
    assert "field not found, node: nonsense" in (await router.read("refused")).drift

    outer = json.loads(host.store.file.read_text())
    del outer["http"]["middlewares"]["theirs"]
    await host.store.write(json.dumps(outer), host.store.last_good.read_text())
    await until(lambda: _agrees(router, "refused"))
    assert refusal_in(log, host.store.path / "absent") == ""
    await router.aclose()


async def _agrees(router: TraefikRouter, route: str) -> bool:
    return (await router.read(route)).drift == ""
