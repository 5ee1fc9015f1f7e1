"""Rollouts of local endpoints as users feel them: real processes, a real Traefik, POSTs without a break."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from pathlib import Path

import pytest
from tests.connectors.load import Connection, send_many, steady_load
from tests.connectors.local_host import LocalHost, alive, definition, listening, local_host, stamp, until

from mlrelease_tui.connectors.api import Artifact, capabilities
from mlrelease_tui.connectors.local import connect
from mlrelease_tui.connectors.plugins import load
from mlrelease_tui.domain.connection import LinkState
from mlrelease_tui.domain.refs import EndpointRef, ModelRef
from mlrelease_tui.domain.rollout import Hold, Phase, Role, Verb
from mlrelease_tui.domain.status import known_good_of
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Conflict, NotFound, Refused, Rejected

pytestmark = pytest.mark.real


async def test_a_rollout_from_its_first_step_to_its_end_costs_no_request(tmp_path: Path) -> None:
    async with local_host(tmp_path / "site") as host:
        await host.serve("1")
        here = host.connector
        async with steady_load(await host.url(), clients=4) as tally:
            started = time.monotonic()
            await host.send(here.start(await host.read(), Artifact("2", "models:/iris/2"), None))
            at_ten = await host.read()
            assert (at_ten.rollout.phase, at_ten.rollout.step_index) == (Phase.WAITING, 0)
            assert str(at_ten.rollout.message) == "at 10%, step 1 of 4"
            assert [(v.name, v.role, v.weight_bp, v.ready) for v in at_ten.variants] == [
                ("v1", Role.STABLE, 9_000, 1),
                ("v2", Role.CANARY, 1_000, 1),
            ]
            assert known_good_of(at_ten) == "1"
            await host.send(here.advance(at_ten))
            assert await host.weights() == {"v1": 7_500, "v2": 2_500}
            mark = stamp("hold", by="berta", why="latency looks odd")
            await host.send(here.hold(await host.read(), Hold(SafeText("berta"), SafeText(""))), mark)
            held = await host.read()
            assert held.rollout.phase is Phase.HELD
            assert held.rollout.hold is not None
            assert (held.rollout.hold.by, held.rollout.hold.why) == ("berta", "latency looks odd")
            assert held.rollout.hold.intent_id == mark.intent_id
            assert not held.support(Verb.PROMOTE).available
            assert "held by berta: latency looks odd" in held.support(Verb.PROMOTE).reason
            for refused in (here.advance, here.complete):
                with pytest.raises(Refused, match="held by berta"):
                    refused(held)
            with pytest.raises(Refused, match="held by berta"):
                here.set_weight(held, 3_000)
            await host.send(here.set_weight(held, 500))
            assert (await host.read()).rollout.hold is not None
            await host.send(here.resume(await host.read()))
            assert (await host.read()).rollout.phase is Phase.WAITING
            old = host.pid("v1")
            port = int((await host.read()).variants[0].address.rpartition(":")[2])
            await host.send(here.complete(await host.read()), stamp("promote", by="anna"))
            rate = tally.sent / (time.monotonic() - started)
            tally.by_name.clear()
            await until(lambda: _reached(lambda: tally.by_name["2"] > 50))
            assert tally.by_name["1"] == 0
        assert tally.failed == {}
        assert rate > 20
        done = await host.read()
        assert (done.rollout.phase, done.rollout.in_flight) == (Phase.COMPLETE, False)
        assert [(v.name, v.role, v.weight_bp) for v in done.variants] == [("v2", Role.STABLE, 10_000)]
        assert done.previous_version == "1"
        assert done.stamp is not None
        assert done.stamp.by == "anna"
        assert not alive(old)
        assert not listening(port)


async def test_a_rollback_under_load_waits_for_the_slow_request_and_costs_none(tmp_path: Path) -> None:
    async with local_host(tmp_path / "site") as host:
        await host.serve("1")
        await host.serve("2", weight_bp=5_000)
        base, old = await host.url(), host.pid("v2")
        async with steady_load(base, clients=4) as tally:
            await until(lambda: _reached(lambda: tally.by_name["2"] > 20))
            held = tmp_path / "held"
            held.touch()
            # So many that each variant has some: the router takes turns among these and the steady ones.
            slow = [asyncio.create_task(_slow(base, held)) for _ in range(24)]
            await until(lambda: _in_flight(host, 24))
            writes = host.connector.roll_back(await host.read(), Artifact("1"))
            assert [write.operation for write in writes] == ["route", "drain", "route", "processes"]
            assert [write.mutates for write in writes] == [True, False, True, True]
            mark = stamp("rollback", by="anna", why="p99")
            await host.send(writes[:1], mark)
            back = await host.read()
            assert await host.weights() == {"v1": 10_000, "v2": 0}
            assert back.rollout.phase is Phase.ABORTING
            assert "rollback by anna" in back.rollout.message
            tally.by_name.clear()
            drain = asyncio.create_task(host.send(writes[1:2], mark))
            await asyncio.sleep(0.5)
            assert not drain.done()
            held.unlink()
            assert "no request in flight" in (await drain)[0].detail
            assert alive(old)
            assert {await task for task in slow} == {(200, "1"), (200, "2")}
            await host.send(writes[2:], mark)
        assert tally.failed == {}
        # A request or two may have left the router just before its write came into force.
        assert tally.by_name["2"] <= 4
        assert tally.by_name["1"] > 20
        assert not alive(old)
        end = await host.read()
        assert [v.name for v in end.variants] == ["v1"]
        assert (end.rollout.phase, end.previous_version) == (Phase.COMPLETE, "")


async def _in_flight(host: LocalHost, at_least: int) -> bool:
    found = 0
    for variant in (await host.read()).variants:
        connection = Connection(variant.address)
        try:
            text = (await connection.send("/metrics", method="GET")).body
        finally:
            connection.close()
        found += int(text.partition("\nmodel_requests_in_flight ")[2].split()[0])
    return found >= at_least


async def _slow(base: str, held: Path) -> tuple[int, str]:
    connection = Connection(base)
    try:
        answer = await connection.send(headers={"X-Held-While": str(held)})
    finally:
        connection.close()
    return answer.status, answer.body


async def _reached(condition: object) -> bool:
    assert callable(condition)
    return bool(condition())


async def test_after_a_completed_promote_the_version_before_is_one_plan_away(tmp_path: Path) -> None:
    async with local_host(tmp_path / "site") as host:
        here = host.connector
        await host.serve("1", artifact="models:/iris/1")
        for version in ("2", "3"):
            writes = here.start(await host.read(), Artifact(version, f"models:/iris/{version}"), 10_000)
            await host.send(writes)
        end = await host.read()
        assert (end.previous_version, known_good_of(end)) == ("2", "2")
        # The registry is down: the artifact comes from what the route itself remembers.
        async with steady_load(await host.url(), clients=4) as tally:
            writes = here.roll_back(end, Artifact("2"))
            assert [write.operation for write in writes] == [
                "processes", "await_ready", "route", "drain", "route", "processes",
            ]  # fmt: skip
            assert json.loads(writes[0].payload)["add"]["v2"]["artifact"] == "models:/iris/2"
            await host.send(writes, stamp("rollback"))
            tally.by_name.clear()
            await until(lambda: _reached(lambda: tally.by_name.total() > 20))
            assert set(tally.by_name) == {"2"}
        assert tally.failed == {}
        back = await host.read()
        assert [(v.name, v.role) for v in back.variants] == [("v2", Role.STABLE)]
        # Not to the version that was just left, but to the one before.
        assert back.previous_version == "1"


async def test_a_rollback_past_a_burning_canary_takes_its_traffic_away_first(tmp_path: Path) -> None:
    async with local_host(tmp_path / "site") as host:
        here = host.connector
        await host.serve("2")
        await host.serve("3", weight_bp=5_000)
        writes = here.roll_back(await host.read(), Artifact("1", "late:0.3"))
        assert [write.operation for write in writes] == [
            "route", "processes", "await_ready", "route", "drain", "drain", "route", "processes",
        ]  # fmt: skip
        await host.send(writes[:1])
        assert await host.weights() == {"v2": 10_000, "v3": 0}
        await host.send(writes[1:])
        end = await host.read()
        assert [(v.name, v.role, v.weight_bp) for v in end.variants] == [("v1", Role.STABLE, 10_000)]
        assert end.rollout.phase is Phase.COMPLETE


async def test_an_abort_moves_weights_alone_and_a_promote_goes_on_from_there(tmp_path: Path) -> None:
    async with local_host(tmp_path / "site") as host:
        here = host.connector
        await host.serve("1")
        await host.serve("2", weight_bp=2_500)
        await host.send(here.abort(await host.read()), stamp("abort", by="berta"))
        aborted = await host.read()
        assert await host.weights() == {"v1": 10_000, "v2": 0}
        assert aborted.rollout.phase is Phase.WAITING
        assert "aborted by berta" in aborted.rollout.message
        assert alive(host.pid("v2"))
        assert not aborted.support(Verb.ABORT).available
        await host.send(here.advance(aborted))
        assert await host.weights() == {"v1": 9_000, "v2": 1_000}
        assert "aborted" not in (await host.read()).rollout.message


async def test_a_shadow_gets_its_share_and_users_never_hear_of_it(tmp_path: Path) -> None:
    async with local_host(tmp_path / "site") as host:
        here = host.connector
        await host.serve("1")
        with pytest.raises(Refused, match="whole percentages"):
            here.shadow(await host.read(), Artifact("2"), 1_050)
        await host.send(here.shadow(await host.read(), Artifact("2", "models:/iris/2"), 5_000))
        mirrored = await host.read()
        shadow = mirrored.variant(Role.SHADOW)
        assert shadow is not None
        assert (shadow.version, shadow.weight_bp) == ("2", 5_000)
        assert dict(shadow.series[0].labels) == {"service": "iris--v2--shadow@file"}
        assert mirrored.rollout.in_flight is False
        tally = await send_many(await host.url(), 200)
        assert (tally.failed, dict(tally.by_name)) == ({}, {"1": 200})
        await host.send(here.shadow(mirrored, Artifact("2"), 0))
        assert [v.name for v in (await host.read()).variants] == ["v1"]


async def test_a_restart_replaces_the_process_and_keeps_the_address(tmp_path: Path) -> None:
    async with local_host(tmp_path / "site") as host:
        before = await host.serve("1")
        old = host.pid("v1")
        await host.send(host.connector.restart(before))
        after = await host.read()
        assert host.pid("v1") not in (0, old)
        assert not alive(old)
        assert after.variants[0].address == before.variants[0].address
        assert (await send_many(await host.url(), 50)).failed == {}


async def test_the_same_write_again_changes_nothing_and_says_so(tmp_path: Path) -> None:
    async with local_host(tmp_path / "site") as host:
        here = host.connector
        await host.serve("1")
        mark = stamp()
        writes = here.start(await host.read(), Artifact("2", "models:/iris/2"), 1_000)
        await host.send(writes, mark)
        for write in (writes[0], writes[2]):
            receipt = await here.perform(write, mark)
            assert "already" in receipt.detail
            with pytest.raises(Conflict):
                await here.perform(write, stamp(by="somebody else"))
        assert (await host.read()).revision == "route 2, processes 2"


async def test_the_shell_line_of_a_rollback_does_it_without_this_tool(tmp_path: Path) -> None:
    async with local_host(tmp_path / "site") as host:
        await host.serve("1")
        await host.serve("2", weight_bp=5_000)
        base = await host.url()
        line = host.connector.roll_back(await host.read(), Artifact("1"))[0].shell
        subprocess.run(["sh", "-ec", line], check=True, timeout=10)

        async def all_to_stable() -> bool:
            return dict((await send_many(base, 20)).by_name) == {"1": 20}

        await until(all_to_stable)
        foreign = await host.read()
        assert any("another hand" in problem for problem in foreign.problems)
        assert foreign.rollout.phase is Phase.UNKNOWN
        assert all(variant.weight_bp is None for variant in foreign.variants)
        assert "another hand" in foreign.support(Verb.ROLLBACK).reason


async def test_what_the_connector_says_of_itself(tmp_path: Path) -> None:
    site = tmp_path / "site"
    two = definition("iris", namespace="lab", environment="staging", labels={"team": "flowers\x1b[31m"})
    async with local_host(site, definition(), two) as host:
        assert load("local") is connect
        health = await host.connector.probe()
        assert (health.state, health.error) == (LinkState.OK, "")
        assert set(capabilities(host.connector)) == {
            "endpoints", "watch", "promote", "weight", "hold", "abort", "rollback", "restart", "shadow", "rehearse", "write",
            "logs",
        }  # fmt: skip
        everything = await host.connector.endpoints()
        assert [endpoint.ref.id for endpoint in everything] == ["here/lab/iris", "here/local/iris"]
        lab = everything[0]
        assert (lab.environment, lab.model, lab.alias) == ("staging", ModelRef("registry", "iris"), "champion")
        assert lab.labels["team"] == "flowers\\e[31m"
        assert (lab.variants, lab.rollout.phase) == ((), Phase.UNKNOWN)
        assert lab.url.endswith("/endpoints/lab.iris/invocations")
        with pytest.raises(NotFound):
            await host.connector.endpoint(EndpointRef("here", "local", "rose"))


async def test_a_watcher_hears_which_endpoint_moved(tmp_path: Path) -> None:
    async with local_host(tmp_path / "site", definition("iris"), definition("wine")) as host:
        await host.serve("1", name="iris")
        await host.serve("1", name="wine")
        hints = host.connector.changed()
        hint = asyncio.ensure_future(anext(hints))
        await asyncio.sleep(0.1)
        await host.send(host.connector.restart(await host.read("wine")))
        assert await asyncio.wait_for(hint, 5) == host.ref("wine")
        await hints.aclose()  # type: ignore[attr-defined]


async def test_a_version_that_never_gets_healthy_gets_no_traffic(tmp_path: Path) -> None:
    broken = "broken:OSError: cannot load models:/iris/2\x1b]52;c;aGk=\x07"
    async with local_host(tmp_path / "site") as host:
        await host.serve("1")
        writes = host.connector.start(await host.read(), Artifact("2", broken), 1_000)
        await host.send(writes[:1])
        with pytest.raises(Rejected, match="failed 3 times: ended by itself, exit code 3: OSError: cannot load") as no:
            await host.connector.perform(writes[1], stamp())
        assert "\x1b" not in str(no.value)
        looping = await host.read()
        assert looping.rollout.phase is Phase.DEGRADED
        assert "v2 keeps crashing" in looping.rollout.message
        assert "cannot load models:/iris/2\\e]52" in looping.rollout.message
        canary = looping.serving("2")
        assert canary is not None
        assert (canary.ready, canary.desired, canary.weight_bp) == (0, 1, None)
        assert await host.weights() == {"v1": 10_000}
        await host.send(host.connector.roll_back(looping, Artifact("1")))
        clean = await host.read()
        assert (clean.rollout.phase, [v.name for v in clean.variants]) == (Phase.COMPLETE, ["v1"])
