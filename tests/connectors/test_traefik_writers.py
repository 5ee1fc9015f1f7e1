"""Several writers, dead writers and a dead router: the document changes once, wholly, or not at all."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import textwrap
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio
from tests.connectors.backends import Backend, two_backends
from tests.connectors.load import send_many
from tests.connectors.traefik_host import QUICK, TraefikHost, between, readings, split, traefik_host, until

from mlrelease_tui.domain.metrics import Coverage
from mlrelease_tui.errors import Rejected, TimedOut
from mlrelease_tui.routing.api import Applied, StaleGeneration, Unconfirmed
from mlrelease_tui.routing.probing import Presence
from mlrelease_tui.routing.traefik_directory import RoutesDirectory
from mlrelease_tui.routing.traefik_document import Document

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

RACER = """
    import asyncio, sys
    from dataclasses import replace
    from pathlib import Path
    from mlrelease_tui.errors import Conflict
    from mlrelease_tui.routing.traefik import TraefikRouter
    from mlrelease_tui.routing.traefik_api import TraefikApi
    from mlrelease_tui.routing.traefik_directory import RoutesDirectory

    async def main(directory: str, api: str, me: str, canary_bp: int) -> None:
        router = TraefikRouter(RoutesDirectory(Path(directory)), TraefikApi(api))
        plan = (await router.read("race")).plan
        state = {"intent": {"intent_id": me, "by": me, "why": "race", "at": "2026-01-01T00:00:00Z"}}
        plan = replace(plan.with_weights(v1=10_000 - canary_bp, v2=canary_bp), state=state)
        print("ready", flush=True)
        sys.stdin.readline()
        try:
            applied = await router.apply(plan, plan.generation)
            print("applied", applied.plan.generation, flush=True)
        except Conflict as lost:
            print("conflict", lost, flush=True)
        await router.aclose()

    asyncio.run(main(*sys.argv[1:4], int(sys.argv[4])))
"""

HOLDER = """
    import fcntl, os, sys, time
    fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
    print("held", flush=True)
    time.sleep(60)
"""

WRITER = """
    import asyncio, itertools, sys
    from pathlib import Path
    from mlrelease_tui.routing.api import RoutedVersion, TrafficPlan
    from mlrelease_tui.routing.traefik_directory import RoutesDirectory
    from mlrelease_tui.routing.traefik_document import Document, RouteEntry

    async def main() -> None:
        store = RoutesDirectory(Path(sys.argv[1]))
        for generation in itertools.count(1):
            plan = TrafficPlan("r", "v", (RoutedVersion("v", "http://127.0.0.1:1", 10_000),),
                               state={"fill": "x" * 20_000}, generation=generation)
            async with store.locked(5):
                text = Document().with_entry(RouteEntry(plan)).text()
                await store.write(text, text)
            if generation == 1:
                print("writing", flush=True)

    asyncio.run(main())
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TraefikHost]:
    async with traefik_host(tmp_path_factory.mktemp("traefik")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def own_host(tmp_path: Path) -> AsyncIterator[TraefikHost]:
    """A Traefik that a test may stop."""
    async with traefik_host(tmp_path) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def pair() -> AsyncIterator[tuple[Backend, Backend]]:
    async with two_backends() as backends:
        yield backends


async def test_a_stale_writer_changes_nothing_and_is_told_who_was_first(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    intent = {"intent_id": "i-7", "by": "ana", "why": "p99 is up", "at": "2026-01-01T03:00:00Z"}
    first = (await host.serve(split("stale", *pair, 1_000))).plan
    await host.router.apply(replace(first, state={"intent": intent}), first.generation)
    before = _document(host)

    with pytest.raises(StaleGeneration) as told:
        await host.router.apply(first.with_weights(v1=5_000, v2=5_000), first.generation)

    assert _document(host) == before
    assert told.value.generation == first.generation + 1
    assert all(word in str(told.value) for word in ("ana", "2026-01-01T03:00:00Z", "i-7", "generation 2"))


async def test_a_plan_for_a_route_that_is_not_there_is_stale(host: TraefikHost, pair: tuple[Backend, Backend]) -> None:
    with pytest.raises(StaleGeneration, match="does not exist"):
        await host.router.apply(split("nowhere", *pair, 0), 3)


async def test_of_two_racing_processes_one_wins_and_the_other_is_told(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    plan = (await host.serve(split("race", *pair, 0))).plan
    weights = {"ana": 1_000, "ben": 2_000}
    racers = [
        await _python(RACER, str(host.store.path), host.process.addresses.api_url, name, str(canary_bp))
        for name, canary_bp in weights.items()
    ]
    for racer in racers:
        assert await _line(racer) == "ready"
    for racer in racers:
        assert racer.stdin
        racer.stdin.write(b"\n")
    said = dict(zip(weights, [await _line(racer) for racer in racers], strict=True))
    for racer in racers:
        await racer.wait()

    [winner] = [name for name, line in said.items() if line.startswith("applied")]
    [loser] = [name for name, line in said.items() if line.startswith("conflict")]
    assert f"by {winner}" in said[loser]
    found = (await host.router.read("race")).plan
    assert found is not None and found.generation == plan.generation + 1
    assert found.weight_bp("v2") == weights[winner] and found.state["intent"]["by"] == winner


async def test_of_eight_racing_tasks_one_wins(host: TraefikHost, pair: tuple[Backend, Backend]) -> None:
    plan = (await host.serve(split("tasks", *pair, 0))).plan
    routers = [host.another_router() for _ in range(8)]
    outcomes = await asyncio.gather(
        *(
            router.apply(plan.with_weights(v1=10_000 - n * 100, v2=n * 100), plan.generation)
            for n, router in enumerate(routers, start=1)
        ),
        return_exceptions=True,
    )
    for router in routers:
        await router.aclose()

    assert [type(outcome) for outcome in outcomes].count(Applied) == 1
    assert [type(outcome) for outcome in outcomes].count(StaleGeneration) == 7


async def test_writers_of_two_routes_do_not_disturb_each_other(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    other = host.another_router()
    results = await asyncio.gather(
        host.router.apply(split("left", *pair, 1_000), 0), other.apply(split("right", *pair, 2_000), 0)
    )
    await other.aclose()

    assert [result.plan.generation for result in results] == [1, 1]
    assert {"left", "right"} <= set(await host.router.routes())
    assert (await host.router.read("left")).drift == (await host.router.read("right")).drift == ""


async def test_the_same_plan_again_writes_nothing_and_reloads_nothing(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    plan = (await host.serve(split("again", *pair, 1_000, state={"steps": [1, 2]}))).plan
    before, reloads = host.store.file.stat(), await _reloads(host)

    applied = await host.router.apply(replace(plan, generation=0), plan.generation)

    after = host.store.file.stat()
    assert not applied.changed and applied.plan == plan
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert await _reloads(host) == reloads


async def test_an_invalid_plan_is_rejected_before_anything_is_written(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    before = _document(host)
    for canary_bp in (-5, 10_001):
        with pytest.raises(Rejected, match="weight"):
            await host.router.apply(split("invalid", *pair, canary_bp), 0)
    assert _document(host) == before


async def test_a_backend_that_is_missing_gets_no_traffic(host: TraefikHost, pair: tuple[Backend, Backend]) -> None:
    stable, canary = pair
    plan = (await host.serve(split("missing", stable, canary, 0))).plan
    await canary.crash()

    with pytest.raises(Rejected, match="nothing answers at"):
        await host.router.apply(plan.with_weights(v1=9_000, v2=1_000), plan.generation)

    tally = await send_many(host.url("missing"), 50)
    assert tally.by_name == {"stable": 50} and not tally.failed


async def test_a_backend_that_is_not_ready_gets_no_traffic_but_the_way_back_to_stable_stays_open(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    stable, canary = pair
    plan = (await host.serve(split("unready", stable, canary, 5_000))).plan
    stable.ready = canary.ready = False

    with pytest.raises(Rejected, match="not ready"):
        await host.router.apply(plan.with_weights(v1=4_000, v2=6_000), plan.generation)
    back = await host.router.apply(plan.with_weights(v1=10_000, v2=0), plan.generation)

    assert back.changed


async def test_health_checks_are_asked_only_of_versions_that_gain_traffic(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    asked: list[str] = []

    async def probe(url: str, path: str, timeout_s: float) -> Presence:
        asked.append(url)
        return Presence.READY

    router = host.another_router(probe=probe)
    plan = (await router.apply(split("asked", *pair, 1_000), 0)).plan
    asked.clear()
    await router.apply(plan.with_weights(v1=8_000, v2=2_000), plan.generation)
    await router.aclose()

    assert asked == [pair[1].url]


async def test_with_traefik_down_a_change_is_unconfirmed_and_comes_into_force_at_its_start(
    own_host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    plan = (await own_host.serve(split("down", *pair, 5_000))).plan
    router = own_host.another_router(confirm_s=0.2)
    await own_host.process.stop()

    with pytest.raises(Unconfirmed, match="not seen in force"):
        await router.apply(plan.with_weights(v1=10_000, v2=0), plan.generation)
    blind = await router.read("down")
    await own_host.process.start()
    seen = await router.read("down")
    tally = await send_many(own_host.url("down"), 100)
    await router.aclose()

    assert blind.generation == 2 and blind.live_generation is None and "does not answer" in blind.error
    assert (seen.generation, seen.live_generation, seen.drift, seen.error) == (2, 2, "", "")
    assert tally.by_name == {"stable": 100}


async def test_a_restart_of_traefik_keeps_the_split_and_is_seen_as_a_counter_reset(
    own_host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    plan = (await own_host.serve(split("restart", *pair, 1_000))).plan
    await send_many(own_host.url("restart"), 100)
    before = await readings(own_host, "restart")
    await own_host.process.stop()
    await own_host.process.start()

    tally = await send_many(own_host.url("restart"), 500)
    after = await readings(own_host, "restart")

    assert tally.by_name == {"stable": 450, "canary": 50} and not tally.failed
    assert (await own_host.router.read("restart")).plan == plan
    # The new counters have overtaken the old ones: only the start time tells that they began anew.
    assert (before["v1"].requests or 0) < (after["v1"].requests or 0)
    assert {item.coverage for item in between(before, after).values()} == {Coverage.RESET}


async def test_rollback_is_the_previous_plan_from_the_document_itself(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    good = (await host.serve(split("back", *pair, 0))).plan
    await host.router.apply(good.with_weights(v1=5_000, v2=5_000), good.generation)
    another_operator = host.another_router()
    found = await another_operator.read("back")
    assert found.plan is not None

    await another_operator.apply(found.plan.with_weights(v1=10_000, v2=0), found.generation)

    assert (await send_many(host.url("back"), 50)).by_name == {"stable": 50}
    await another_operator.aclose()


async def test_a_stopped_process_that_holds_the_lock_is_named_and_its_death_frees_the_lock(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    plan = (await host.serve(split("lock", *pair, 0))).plan
    holder = await _python(HOLDER, str(host.store.path))
    assert await _line(holder) == "held"
    os.kill(holder.pid, signal.SIGSTOP)
    impatient = host.another_router(lock_s=0.1)

    with pytest.raises(TimedOut, match=f"process {holder.pid}"):
        await impatient.apply(plan.with_weights(v1=9_000, v2=1_000), plan.generation)
    holder.kill()
    await holder.wait()
    applied = await impatient.apply(plan.with_weights(v1=9_000, v2=1_000), plan.generation)

    assert applied.changed
    await impatient.aclose()


async def test_a_writer_killed_at_any_moment_leaves_a_whole_document(tmp_path: Path) -> None:
    store = RoutesDirectory(tmp_path)
    for _ in range(4):
        writer = await _python(WRITER, str(tmp_path))
        assert await _line(writer) == "writing"
        seen: set[int] = set()
        async with asyncio.timeout(10):
            while len(seen) < 15:
                # Traefik reads at any moment, too, and takes no lock.
                entry = Document.parse(await store.read()).entry("r")
                assert entry is not None
                seen.add(entry.plan.generation)
        writer.kill()
        await writer.wait()

        entry = Document.parse(await store.read()).entry("r")
        assert entry is not None
        async with store.locked(1.0):
            pass
    assert {path.suffix for path in tmp_path.iterdir()} <= {".yml", ".last-good", ".tmp"}


async def test_a_change_of_settings_is_no_drift_and_is_applied_with_the_next_plan(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    plan = (await host.serve(split("settings", *pair, 0))).plan
    newer = host.another_router(settings=replace(QUICK, longest_request_s=5.0))

    assert (await newer.read("settings")).drift == ""
    applied = await newer.apply(plan, plan.generation)

    assert applied.changed and applied.plan.generation == plan.generation + 1
    assert (await host.router.read("settings")).drift == ""
    await newer.aclose()


async def test_a_cancelled_apply_leaves_the_old_plan_or_the_new_one_and_frees_the_lock(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    plan = (await host.serve(split("cancelled", *pair, 0))).plan
    for delay_s in (0.0, 0.002, 0.005, 0.01, 0.05):
        task = asyncio.create_task(
            host.router.apply(plan.with_weights(v1=9_000, v2=1_000), plan.generation), name=f"after {delay_s}"
        )
        await asyncio.sleep(delay_s)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        found = await host.router.read("cancelled")
        assert found.plan is not None
        assert found.plan.weight_bp("v2") in (0, 1_000)
        plan = found.plan
        async with host.store.locked(0.5):
            pass

        async def agrees() -> bool:
            return (await host.router.read("cancelled")).drift == ""

        await until(agrees)


async def test_a_directory_that_is_not_there_is_a_clear_refusal(
    host: TraefikHost, pair: tuple[Backend, Backend], tmp_path: Path
) -> None:
    router = type(host.router)(RoutesDirectory(tmp_path / "gone"), host.api)
    with pytest.raises(Rejected, match="cannot be opened"):
        await router.apply(split("gone", *pair, 0), 0)


def _document(host: TraefikHost) -> bytes:
    return host.store.file.read_bytes()


async def _reloads(host: TraefikHost) -> str:
    text = await host.api.metrics_text()
    return next(line for line in text.splitlines() if line.startswith("traefik_config_reloads_total"))


async def _python(source: str, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        textwrap.dedent(source),
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )


async def _line(process: asyncio.subprocess.Process) -> str:
    assert process.stdout
    return (await asyncio.wait_for(process.stdout.readline(), 20)).decode().strip()
