"""What clients see through a real Traefik while weights move."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from tests.connectors.backends import Backend, two_backends
from tests.connectors.load import Connection, Tally, send_many, steady_load
from tests.connectors.traefik_host import (
    QUICK,
    TraefikHost,
    between,
    readings,
    split,
    traefik_host,
    until,
    without_health_checks,
)

from mlrelease_tui.domain.metrics import Coverage
from mlrelease_tui.errors import Rejected
from mlrelease_tui.routing.api import HeaderRule, Health, Mirror
from mlrelease_tui.routing.traefik_document import STATE_HEADER, service_name

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def host(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TraefikHost]:
    async with traefik_host(tmp_path_factory.mktemp("traefik")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def pair() -> AsyncIterator[tuple[Backend, Backend]]:
    async with two_backends() as backends:
        yield backends


@pytest.mark.parametrize(("canary_bp", "expected"), [(100, 20), (1_000, 200), (5_000, 1_000)])
async def test_the_split_of_2000_requests_is_exact(
    host: TraefikHost, pair: tuple[Backend, Backend], canary_bp: int, expected: int
) -> None:
    route = f"exact-{canary_bp}"
    await host.serve(split(route, *pair, canary_bp))

    tally = await send_many(host.url(route), 2_000)

    assert tally.by_name == {"stable": 2_000 - expected, "canary": expected}
    assert not tally.failed


async def test_model_servers_see_the_path_below_the_endpoint(host: TraefikHost, pair: tuple[Backend, Backend]) -> None:
    await host.serve(split("paths", *pair, 0))

    await Connection(host.url("paths")).send("/invocations")

    assert pair[0].paths == {"/invocations"}


async def test_fifty_weight_changes_under_post_load_fail_no_request(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    plan = (await host.serve(split("fifty", *pair, 0))).plan
    async with steady_load(host.url("fifty")) as tally:
        for change in range(50):
            weights = {"v1": 10_000 - change * 200, "v2": change * 200} if change else {"v1": 0, "v2": 10_000}
            plan = (await host.router.apply(plan.with_weight_map(weights), plan.generation)).plan

    assert plan.generation == 51
    assert tally.sent > 200
    assert not tally.failed


async def test_no_old_answer_after_apply_has_returned(host: TraefikHost, pair: tuple[Backend, Backend]) -> None:
    plan = (await host.serve(split("flips", *pair, 0))).plan
    for canary_bp, answering in ((10_000, "canary"), (0, "stable"), (10_000, "canary"), (0, "stable")):
        weights = {"v1": 10_000 - canary_bp, "v2": canary_bp}
        plan = (await host.router.apply(plan.with_weight_map(weights), plan.generation)).plan
        assert set((await send_many(host.url("flips"), 40)).by_name) == {answering}


async def test_five_changes_in_a_row_do_not_wait_for_the_default_throttle(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    plan = (await host.serve(split("throttle", *pair, 0))).plan
    effects = []
    for canary_bp in (1_000, 2_000, 3_000, 4_000, 0):
        weights = {"v1": 10_000 - canary_bp, "v2": canary_bp}
        applied = await host.router.apply(plan.with_weight_map(weights), plan.generation)
        plan = applied.plan
        effects.append(applied.effect_s)

    # With Traefik's default of 2 s between reloads these five take 8 s or more.
    assert sum(effects) < 5


async def test_slow_requests_finish_before_their_version_is_removed(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    stable, canary = pair
    canary.delay_s = 1.0
    plan = (await host.serve(split("drain", stable, canary, 10_000))).plan
    tally = Tally()
    connections = [Connection(host.url("drain")) for _ in range(8)]
    slow = [asyncio.create_task(tally.one(connection)) for connection in connections]
    await until(lambda: _is(canary.in_flight, 8))

    async with steady_load(host.url("drain"), clients=2) as others:
        back = plan.with_weights(v1=10_000, v2=0)
        plan = (await host.router.apply(back, plan.generation)).plan
        only_stable = replace(plan, versions=plan.versions[:1])
        with pytest.raises(Rejected, match="may still have requests in flight"):
            await host.router.apply(only_stable, plan.generation)
        early = await host.router.drained("drain", "v2", 0.05, canary.gauge)
        report = await host.router.drained("drain", "v2", 5.0, canary.gauge)
        in_flight_then = canary.in_flight
        removed = await host.router.apply(only_stable, plan.generation)
        await canary.crash()
    await asyncio.gather(*slow)

    assert not early.drained and early.in_flight is not None and early.in_flight >= 8
    assert report.drained and in_flight_then == 0
    assert removed.plan.version("v2") is None
    assert tally.by_name == {"canary": 8} and not tally.failed
    assert others.sent and not others.failed


async def test_without_a_gauge_a_drain_waits_for_the_longest_request(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    short = replace(QUICK, longest_request_s=0.6)
    router = host.another_router(settings=short)
    plan = (await router.apply(split("longest", *pair, 5_000), 0)).plan
    plan = (await router.apply(plan.with_weights(v1=10_000, v2=0), plan.generation)).plan

    too_short = await router.drained("longest", "v2", 0.05)
    report = await router.drained("longest", "v2", 5.0)

    assert not too_short.drained and too_short.in_flight is None
    assert report.drained and report.in_flight is None
    await router.aclose()


async def test_a_version_with_weight_cannot_be_removed_or_drained(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    plan = (await host.serve(split("weighty", *pair, 1_000))).plan
    alone = replace(plan, versions=(replace(plan.versions[0], weight_bp=10_000),))

    with pytest.raises(Rejected, match="still receives requests"):
        await host.router.apply(alone, plan.generation)
    with pytest.raises(Rejected, match="still receives requests"):
        await host.router.drained("weighty", "v2", 1.0, pair[1].gauge)

    assert (await host.router.read("weighty")).generation == plan.generation


@pytest.mark.parametrize(("percent", "expected"), [(10, 100), (100, 1_000)])
async def test_the_mirror_gets_its_share_of_1000_requests_and_answers_nobody(
    host: TraefikHost, pair: tuple[Backend, Backend], percent: int, expected: int
) -> None:
    stable, shadow = pair
    route = f"mirror-{percent}"
    await host.serve(replace(split(route, stable, shadow, 0), mirror=Mirror("v2", percent)))

    tally = await send_many(host.url(route), 1_000)

    assert tally.by_name == {"stable": 1_000}
    await until(lambda: _is(shadow.hits >= expected, True))
    assert shadow.hits == expected


async def test_a_dead_shadow_costs_clients_nothing(host: TraefikHost, pair: tuple[Backend, Backend]) -> None:
    stable, shadow = pair
    await host.serve(replace(split("dead-shadow", stable, shadow, 0), mirror=Mirror("v2", 100)))
    await shadow.crash()

    tally = await send_many(host.url("dead-shadow"), 500)

    assert tally.by_name == {"stable": 500} and not tally.failed


async def test_a_slow_failing_shadow_does_not_slow_clients(host: TraefikHost, pair: tuple[Backend, Backend]) -> None:
    stable, shadow = pair
    shadow.delay_s, shadow.fail_every = 1.0, 2
    await host.serve(replace(split("slow-shadow", stable, shadow, 0), mirror=Mirror("v2", 100)))

    async with asyncio.timeout(2.0):
        # One after another these would take 100 s if clients waited for the shadow.
        tally = await send_many(host.url("slow-shadow"), 100, clients=1)

    assert tally.by_name == {"stable": 100} and not tally.failed


async def test_sticky_clients_stay_and_move_when_their_version_loses_its_weight(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    plan = replace(split("sticky", *pair, 5_000), sticky_cookie="release")
    plan = (await host.serve(plan)).plan
    connection = Connection(host.url("sticky"))
    cookie = ""
    while True:
        answer = await connection.send()
        if answer.body == "canary":
            cookie = answer.headers["set-cookie"].split(";")[0]
            break

    pinned = [(await connection.send(headers={"Cookie": cookie})).body for _ in range(200)]
    await host.router.apply(plan.with_weights(v1=10_000, v2=0), plan.generation)
    moved = [(await connection.send(headers={"Cookie": cookie})).body for _ in range(200)]

    assert pinned == ["canary"] * 200
    assert moved == ["stable"] * 200


async def test_a_header_chooses_a_version_whatever_the_weights_say(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    rule = HeaderRule("X-Release", "canary", "v2")
    await host.serve(replace(split("header", *pair, 0), header_rule=rule))
    connection = Connection(host.url("header"))

    chosen = [(await connection.send(headers={"X-Release": "canary"})).body for _ in range(200)]
    others = [(await connection.send()).body for _ in range(20)]

    assert chosen == ["canary"] * 200
    assert others == ["stable"] * 20


async def test_a_canary_that_crashes_at_half_the_traffic_is_passed_over_then_rolled_back(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    stable, canary = pair
    plan = (await host.serve(split("crash", stable, canary, 5_000))).plan
    async with steady_load(host.url("crash")) as during:
        await until(lambda: _is(canary.hits > 20, True))
        await canary.crash()

        async def seen_down() -> bool:
            return (await host.router.read("crash")).health["v2"] is Health.DOWN

        await until(seen_down)
    passed_over = await send_many(host.url("crash"), 200)
    back = await host.router.apply(plan.with_weights(v1=10_000, v2=0), plan.generation)
    after = await send_many(host.url("crash"), 200)

    # Eight were in flight; some more met the dead address on each of their tries before a health check saw it. Without tries it
    # would be every second one for as long as that took.
    assert during.failed.total() <= 8 + during.sent // 4
    assert passed_over.by_name == {"stable": 200} and not passed_over.failed
    assert back.changed and after.by_name == {"stable": 200} and not after.failed


async def test_what_has_reached_a_server_is_never_sent_twice(host: TraefikHost, pair: tuple[Backend, Backend]) -> None:
    stable, _ = pair
    await host.serve(without_health_checks(split("twice", *pair, 0)))
    stable.hang_up = True
    connection = Connection(host.url("twice"))

    statuses = [(await connection.send(method=method)).status for method in ("POST", "GET") * 5]

    assert statuses == [502] * 10
    assert stable.hits == 10


async def test_a_refused_connection_is_tried_again_elsewhere_even_without_health_checks(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    stable, canary = pair
    await host.serve(without_health_checks(split("refused", stable, canary, 5_000)))
    await canary.crash()

    tally = await send_many(host.url("refused"), 60, clients=1)

    assert tally.by_name == {"stable": 60} and not tally.failed


async def test_a_body_beyond_the_limit_of_the_mirror_reaches_users_version_only(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    stable, shadow = pair
    small = replace(QUICK, mirror_max_body_bytes=100)
    router = host.another_router(settings=small)
    await router.apply(replace(split("bodies", stable, shadow, 0), mirror=Mirror("v2", 100)), 0)

    tally = await send_many(host.url("bodies"), 20)
    await Connection(host.url("bodies")).send(method="GET")
    await until(lambda: _is(shadow.hits > 0, True))

    assert tally.by_name == {"stable": 20} and not tally.failed
    assert shadow.hits == 1
    await router.aclose()


async def test_a_dial_into_a_black_hole_ends_after_the_dial_timeout(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    async with _black_hole() as url:
        plan = without_health_checks(split("hole", *pair, 0))
        router = host.another_router(probe=None)
        hole = replace(plan, versions=(replace(plan.versions[0], url=url), plan.versions[1]))
        await router.apply(hole, 0)

        async with asyncio.timeout(3.0):
            answer = await Connection(host.url("hole")).send()

    assert answer.status in (502, 504)
    await router.aclose()


async def test_every_answer_and_the_api_carry_the_generation_and_the_api_the_state(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    state = {"hold": {"who": "ana", "why": "p99"}, "steps": [100, 1_000], "step": 0, "intent": {"intent_id": "i-1"}}
    plan = (await host.serve(split("marked", *pair, 1_000, state=state))).plan

    answer = await Connection(host.url("marked")).send()
    middlewares = (await host.api.snapshot())["middlewares"]
    stored = middlewares["marked--state@file"]["headers"]["customResponseHeaders"][STATE_HEADER]

    assert answer.headers["x-release-generation"] == str(plan.generation)
    assert STATE_HEADER.lower() not in answer.headers
    assert json.loads(stored)["plan"]["state"] == state
    assert (await host.router.read("marked")).plan == plan


async def test_hostile_text_in_the_state_is_stored_not_executed(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    why = '{{ env "HOME" }} {{{{ end }} "quoted"\n\x1b]52;c;x\x07 \x7f \u202e \ud800 🚀 `tick` ${HOME} %s \\u007b'
    plan = split("hostile", *pair, 0, state={"hold": {"why": why}, "{{ key }}": [why]})

    await host.serve(plan)
    found = await host.router.read("hostile")

    assert found.plan is not None and found.plan.state == plan.state
    live = (await host.api.snapshot())["middlewares"]["hostile--state@file"]
    stored = json.loads(live["headers"]["customResponseHeaders"][STATE_HEADER])
    assert stored["plan"]["state"]["hold"]["why"] == why


async def test_counters_per_version_match_what_clients_saw_and_leave_mirrored_copies_out(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    stable, canary = pair
    canary.fail_every = 5
    plan = split("counted", stable, canary, 2_000)
    await host.serve(replace(plan, mirror=Mirror("v2", 50)))
    assert {item.coverage for item in (await readings(host, "counted")).values()} == {Coverage.NO_SERIES}
    await send_many(host.url("counted"), 10)
    await until(lambda: _is(canary.hits, 7))
    before = await readings(host, "counted")
    tally = await send_many(host.url("counted"), 500)
    seen = between(before, await readings(host, "counted"))

    assert (seen["v2"].requests, seen["v2"].observed_share) == (100, 0.2)
    assert seen["v2"].errors == tally.failed["500"] > 0
    assert seen["v1"].requests == tally.by_name["stable"] == 400
    assert seen["v1"].errors == 0
    text = await host.api.metrics_text()
    assert f'service="{service_name("counted", "v2", mirrored=True)}"' in text
    assert host.router.metric_labels("counted", "v2") == {"service": "counted--v2@file"}
    assert 'traefik_service_request_duration_seconds_bucket{code="200",method="POST",protocol="http",service="' in text


async def test_round_robin_starts_anew_at_each_reload_so_only_observed_counts_are_true(
    host: TraefikHost, pair: tuple[Backend, Backend]
) -> None:
    stable, canary = pair
    plan = (await host.serve(split("anew", stable, canary, 1_000))).plan
    await send_many(host.url("anew"), 3)
    before = await readings(host, "anew")
    for reload in range(5):
        changed = replace(plan, state={"reload": reload})
        plan = (await host.router.apply(changed, plan.generation)).plan
        await send_many(host.url("anew"), 4)
    seen = between(before, await readings(host, "anew"))
    assert seen["v1"].requests == 20
    assert canary.hits == 0
    assert seen["v2"].coverage is Coverage.NO_SERIES

    again = await host.router.apply(plan, plan.generation)
    await send_many(host.url("anew"), 6)

    assert not again.changed
    assert canary.hits == 1


async def _is(found: object, wanted: object) -> bool:
    return found == wanted


class _black_hole:
    """A listener whose queue is full, so that the kernel drops every further SYN."""

    async def __aenter__(self) -> str:
        import socket

        self._sockets = [socket.socket()]
        self._sockets[0].bind(("127.0.0.1", 0))
        self._sockets[0].listen(0)
        address = self._sockets[0].getsockname()
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(address)
            self._sockets.append(filler)
        return f"http://127.0.0.1:{address[1]}"

    async def __aexit__(self, *_: object) -> None:
        for opened in self._sockets:
            opened.close()
