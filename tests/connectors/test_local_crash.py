"""Deaths and collisions on a local host: operators, supervisor, router, model servers; and damaged documents."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from tests.connectors.load import send_many
from tests.connectors.local_host import (
    LocalHost,
    alive,
    connector_for,
    definition,
    listening,
    local_host,
    stamp,
    until,
)

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.local.definitions import define_endpoint
from mlrelease_tui.connectors.local.documents import last_good
from mlrelease_tui.connectors.local.layout import Layout
from mlrelease_tui.connectors.local.observed import read_observed
from mlrelease_tui.connectors.local.processes import leftovers
from mlrelease_tui.connectors.local.setup import start_supervisor
from mlrelease_tui.domain.connection import LinkState
from mlrelease_tui.domain.rollout import Phase, Role, Verb
from mlrelease_tui.errors import Conflict, Refused, UnexpectedAnswer

pytestmark = pytest.mark.real


def operator(host: LocalHost, by: str, verb: str, argument: str, *options: str) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "tests.connectors.local_operator", str(host.directory), by, verb, argument, *options]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "planned\n"
    return process


def go(*operators: subprocess.Popen[str]) -> list[str]:
    """Lets them all act at once; what each said at its end."""
    for process in operators:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [process.communicate(timeout=30)[0].strip() for process in operators]


async def test_an_operator_killed_between_any_two_writes_of_a_rollback_leaves_the_old_or_the_new_split(
    tmp_path: Path,
) -> None:
    async with local_host(tmp_path / "site") as host:
        await host.serve("1")
        for killed_after in range(5):
            await host.serve("2", weight_bp=5_000)
            process = await asyncio.to_thread(
                operator, host, "anna", "rollback", "1", "--kill-after", str(killed_after)
            )
            said = await asyncio.to_thread(go, process)
            now = await host.read()
            if killed_after == 4:
                # There are four writes: nobody was left to kill.
                assert (said, process.returncode) == (["done 4"], 0)
            else:
                assert (said, process.returncode) == ([""], -signal.SIGKILL)
            old, new = {"v1": 5_000, "v2": 5_000}, {"v1": 10_000, "v2": 0}
            expected = (old, new, new, {"v1": 10_000}, {"v1": 10_000})[killed_after]
            assert await host.weights() == expected
            assert now.stable is not None
            assert now.stable.version == "1"
            if killed_after == 0:
                assert now.rollout.phase is Phase.WAITING
            elif killed_after < 3:
                assert now.rollout.phase is Phase.ABORTING
                assert "v2 has no traffic and is being retired, rollback by anna" in now.rollout.message
            elif killed_after == 3:
                assert (now.rollout.phase, now.rollout.to_version) == (Phase.WAITING, "2")
                assert "v2 runs without traffic" in now.rollout.message
            if killed_after < 4:
                assert (await send_many(await host.url(), 40)).failed == {}
                await host.send(host.connector.roll_back(now, Artifact("1")), stamp("rollback", by="berta"))
            await until(lambda: _alone(host))
            end = await host.read()
            assert ([v.name for v in end.variants], end.rollout.phase) == (["v1"], Phase.COMPLETE)


async def test_an_operator_killed_in_the_middle_of_a_write_leaves_the_old_or_the_new_split(tmp_path: Path) -> None:
    async with local_host(tmp_path / "site") as host:
        await host.serve("1")
        for delay_ms in ("1", "4", "15", "60", "260"):
            await host.serve("2", weight_bp=5_000)
            process = await asyncio.to_thread(operator, host, "anna", "rollback", "1", "--kill-after-ms", delay_ms)
            await asyncio.to_thread(go, process)
            # A write that was made just before the kill may take the router a moment yet.
            await until(lambda: _weights_are(host, {"v1": 5_000, "v2": 5_000}, {"v1": 10_000, "v2": 0}, {"v1": 10_000}))
            assert (await send_many(await host.url(), 40)).failed == {}
            now = await host.read()
            # Where all was written and the process is only on its way out, there is nothing left to send.
            if any(item.desired for item in now.variants if item.name != "v1"):
                await host.send(host.connector.roll_back(now, Artifact("1")), stamp("rollback", by="berta"))
            await until(lambda: _alone(host))
            assert (await host.read()).rollout.phase is Phase.COMPLETE


async def _weights_are(host: LocalHost, *expected: dict[str, int]) -> bool:
    return await host.weights() in expected


async def _alone(host: LocalHost) -> bool:
    return len((await host.read()).variants) == 1


async def test_a_promote_killed_halfway_can_be_gone_on_with_or_taken_back(tmp_path: Path) -> None:
    async with local_host(tmp_path / "site") as host:
        await host.serve("1")
        starting = await asyncio.to_thread(operator, host, "anna", "start", "2", "--kill-after", "1")
        await asyncio.to_thread(go, starting)
        await until(lambda: _ready(host, "2"))
        begun = await host.read()
        assert (begun.rollout.phase, begun.rollout.to_version, begun.canary) == (Phase.WAITING, "2", None)
        await host.send(host.connector.advance(begun))
        assert await host.weights() == {"v1": 9_000, "v2": 1_000}
        finishing = await asyncio.to_thread(operator, host, "anna", "complete", "", "--kill-after", "1")
        await asyncio.to_thread(go, finishing)
        moved = await host.read()
        assert (moved.rollout.phase, moved.stable and moved.stable.version) == (Phase.PROGRESSING, "2")
        assert "v1 has no traffic and is being retired" in moved.rollout.message
        # The version before still runs: the way back is one write, at once.
        back = host.connector.roll_back(moved, Artifact("1"))
        assert back[0].after.startswith("v1 100%")
        await host.send(host.connector.complete(moved))
        done = await host.read()
        assert ([v.name for v in done.variants], done.previous_version) == (["v2"], "1")


async def _ready(host: LocalHost, version: str) -> bool:
    found = (await host.read()).serving(version)
    return found is not None and found.ready == 1


async def test_of_two_operators_one_wins_and_the_other_is_told_who_and_what(tmp_path: Path) -> None:
    async with local_host(tmp_path / "site") as host:
        await host.serve("1")
        await host.serve("2", weight_bp=1_000)
        for _ in range(3):
            pair = {
                "anna": await asyncio.to_thread(operator, host, "anna", "weight", "2500"),
                "berta": await asyncio.to_thread(operator, host, "berta", "weight", "5000"),
            }
            before = await host.read()
            said = dict(zip(pair, await asyncio.to_thread(go, *pair.values()), strict=True))
            winners = [by for by, words in said.items() if words == "done 1"]
            assert len(winners) == 1, said
            loser = next(words for by, words in said.items() if by not in winners)
            weight = {"anna": 2_500, "berta": 5_000}[winners[0]]
            assert loser.startswith("conflict route iris is at generation")
            assert f"weight by {winners[0]}" in loser
            assert f"it is v1 {(10_000 - weight) / 100:g}% + v2 {weight / 100:g}%" in loser
            now = await host.read()
            assert await host.weights() == {"v1": 10_000 - weight, "v2": weight}
            assert now.stamp is not None
            assert now.stamp.by == winners[0]
            assert now.revision != before.revision
            await host.send(host.connector.set_weight(now, 1_000))


async def test_of_two_rollouts_one_starts(tmp_path: Path) -> None:
    async with local_host(tmp_path / "site") as host:
        await host.serve("1")
        first = await asyncio.to_thread(operator, host, "anna", "start", "2")
        second = await asyncio.to_thread(operator, host, "berta", "start", "3")
        said = await asyncio.to_thread(go, first, second)
        assert sorted(words.split(" ")[0] for words in said) == ["conflict", "done"]
        loser = next(words for words in said if words.startswith("conflict"))
        assert f"by {'berta' if said[0] == loser else 'anna'}" in loser
        assert len((await host.read()).variants) == 2


async def test_a_process_that_the_route_names_is_never_stopped(tmp_path: Path) -> None:
    async with local_host(tmp_path / "site") as host:
        await host.serve("1")
        await host.serve("2", weight_bp=1_000)
        *_, stop = host.connector.roll_back(await host.read(), Artifact("1"))
        with pytest.raises(Conflict, match="v2 can't be stopped: the route of local/iris has v2"):
            await host.connector.perform(stop, stamp())
        assert alive(host.pid("v2"))


async def test_the_supervisor_is_killed_and_its_successor_finds_the_same_split(tmp_path: Path) -> None:
    async with local_host(tmp_path / "site") as host:
        await host.serve("1", artifact="stubborn:")
        await host.serve("2", weight_bp=5_000)
        base, ports = await host.url(), host.ports()
        marked = [process.pid for process in leftovers(host.directory.resolve())]
        assert len(marked) == 4  # traefik, two servers, and the child of one of them
        await host.kill_supervisor()
        dead = await host.read()
        assert any("supervisor is not running" in problem for problem in dead.problems)
        assert [variant.ready for variant in dead.variants] == [0, 0]
        assert (await host.connector.probe()).state is LinkState.DOWN
        await host.start()
        assert not any(alive(pid) for pid in marked)
        await until(lambda: _all_ready(host))
        assert host.ports() == ports
        assert await host.url() == base

        async def splits() -> bool:
            return dict((await send_many(base, 100)).by_name) == {"1": 50, "2": 50}

        await until(splits)
        await until(lambda: _all_ready(host))
        assert await host.weights() == {"v1": 5_000, "v2": 5_000}
        await host.send(host.connector.roll_back(await host.read(), Artifact("1")))


async def _all_ready(host: LocalHost) -> bool:
    return all(variant.ready for variant in (await host.read()).variants)


async def test_the_router_crashes_and_comes_back_with_the_same_split(tmp_path: Path) -> None:
    async with local_host(tmp_path / "site") as host:
        await host.serve("1")
        await host.serve("2", weight_bp=2_500)
        base = await host.url()
        router = host.supervision().router
        assert router is not None
        os.kill(router.pid, signal.SIGKILL)

        async def back() -> bool:
            found = host.supervision().router
            return found is not None and found.restarts == 1 and await host.weights() == {"v1": 7_500, "v2": 2_500}

        await until(back)
        tally = await send_many(base, 200)
        assert (tally.failed, tally.by_name["2"]) == ({}, 50)


async def test_a_canary_that_dies_of_requests_is_seen_as_what_it_is(tmp_path: Path) -> None:
    async with local_host(tmp_path / "site") as host:
        await host.serve("1")
        await host.serve("2", artifact="dies:4", weight_bp=5_000)
        base = await host.url()

        async def degraded() -> bool:
            await send_many(base, 20)
            return (await host.read()).rollout.phase is Phase.DEGRADED

        await until(degraded, deadline_s=20)
        found = await host.read()
        assert found.canary is not None
        await until(lambda: _says(host, "exit code 7: out of memory while scoring"))
        assert found.rollout.in_flight
        await host.send(host.connector.roll_back(await host.read(), Artifact("1")))
        clean = await host.read()
        assert (clean.rollout.phase, [v.name for v in clean.variants]) == (Phase.COMPLETE, ["v1"])
        assert (await send_many(base, 50)).failed == {}


async def _says(host: LocalHost, words: str) -> bool:
    canary = (await host.read()).canary
    return canary is not None and words in canary.message


async def test_stopping_leaves_no_process_and_no_port(tmp_path: Path) -> None:
    async with local_host(tmp_path / "site") as host:
        await host.serve("1", artifact="stubborn:")
        await host.serve("2", weight_bp=1_000)
        ports = host.ports()
        marked = [process.pid for process in leftovers(host.directory.resolve())]
        assert all(listening(port) for port in ports)
        assert await host.stop() == 0
        assert not any(alive(pid) for pid in marked)
        assert not any(listening(port) for port in ports)
        # The whole comes back as it was.
        await host.start()
        await until(lambda: _all_ready(host))

        async def same_split() -> bool:
            return await host.weights() == {"v1": 9_000, "v2": 1_000}

        await until(same_split)


async def test_a_supervisor_whose_parent_was_killed_ends_in_order(tmp_path: Path) -> None:
    site = tmp_path / "site"
    define_endpoint(site, definition())
    program = (
        "import os, sys, time; from pathlib import Path\n"
        "from mlrelease_tui.connectors.local.setup import start_supervisor\n"
        "print(start_supervisor(Path(sys.argv[1]), dict(os.environ)).pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(site)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    supervisor = psutil.Process(int(await asyncio.to_thread(parent.stdout.readline)))
    connector = connector_for(site)

    async def up() -> bool:
        return (await connector.probe()).state is LinkState.OK

    await until(up, deadline_s=20)
    parent.kill()
    await asyncio.to_thread(parent.wait)

    async def gone() -> bool:
        return not alive(supervisor.pid) and not leftovers(site.resolve())

    await until(gone)
    await connector.close()
    assert not read_observed(Layout(site)).alive


async def test_a_plan_is_rehearsed_before_it_is_sent(tmp_path: Path) -> None:
    nowhere = definition("wine", command=("/nowhere/serve", "{port}"))
    async with local_host(tmp_path / "site", definition(), nowhere) as host:
        await host.serve("1")
        writes = host.connector.start(await host.read(), Artifact("2"), 1_000)
        checks = [check for write in writes for check in await host.connector.rehearse(write)]
        assert [(check.name, check.status) for check in checks] == [("may", "pass"), ("start", "pass"), ("may", "pass")]
        first = host.connector.start(await host.read("wine"), Artifact("1"), None)[0]
        assert [check.status for check in await host.connector.rehearse(first)] == ["pass", "fail"]
        await host.stop()
        assert "no supervisor" in (await host.connector.rehearse(writes[0]))[1].text


async def test_one_directory_has_one_supervisor(tmp_path: Path) -> None:
    async with local_host(tmp_path / "site") as host:
        await host.serve("1")
        second = start_supervisor(host.directory, dict(os.environ))
        assert await asyncio.to_thread(second.wait, 15) == 4
        assert "another supervisor has" in host.layout.supervisor_log.read_text()
        assert (await send_many(await host.url(), 20)).failed == {}


async def _reports(host: LocalHost, words: str) -> bool:
    message = host.supervision().message
    return words in message if words else message == ""


async def test_damaged_documents_stop_nothing_that_runs(tmp_path: Path) -> None:
    async with local_host(tmp_path / "site") as host:
        await host.serve("1")
        base, pid = await host.url(), host.pid("v1")
        good = host.layout.desired.read_text()
        for document in (host.layout.desired, host.layout.endpoints):
            for text, words in (('{"format": 1, "endpoints": {"local/iris":', "damaged"), (None, "removed")):
                document.unlink() if text is None else document.write_text(text)
                with pytest.raises(UnexpectedAnswer, match=rf"{document.name} (is|was) {words}") as found:
                    await host.read()
                await until(lambda words=words: _reports(host, words))  # type: ignore[misc]
                assert host.pid("v1") == pid
                assert (await send_many(base, 20)).failed == {}
                line = found.value.hint.partition(": ")[2]
                subprocess.run(["sh", "-ec", line], check=True)
                await until(lambda: _reports(host, ""))
        assert host.layout.desired.read_text() == good
        assert host.pid("v1") == pid


async def test_an_edit_by_another_hand_is_named_and_nothing_is_planned_on_it(tmp_path: Path) -> None:
    async with local_host(tmp_path / "site") as host:
        await host.serve("1")
        document = host.layout.routes / "routes.yml"
        text = document.read_text()
        for damaged, words in ((text.replace('"weight": 10000', '"weight": 9'), "another hand"), ("", "is empty")):
            document.write_text(damaged)
            found = await host.read()
            assert any(words in problem for problem in found.problems), found.problems
            assert found.rollout.phase is Phase.UNKNOWN
            assert [(v.name, v.role, v.ready) for v in found.variants] == [("v1", Role.PREVIEW, 1)]
            assert not found.support(Verb.PROMOTE).available
            with pytest.raises(Refused, match=words):
                host.connector.roll_back(found, Artifact("1"))
        document.write_text(text)
        assert (await host.read()).problems == ()


async def test_an_endpoint_defined_anew_is_another_one(tmp_path: Path) -> None:
    async with local_host(tmp_path / "site") as host:
        await host.serve("1")
        writes = host.connector.start(await host.read(), Artifact("2"), 1_000)
        before = (await host.read()).uid
        assert define_endpoint(host.directory, definition(alias="other")).uid == before
        host.layout.endpoints.unlink()
        last_good(host.layout.endpoints).unlink()
        assert define_endpoint(host.directory, definition()).uid != before
        with pytest.raises(Conflict, match="removed and defined anew"):
            await host.connector.perform(writes[0], stamp())


async def test_a_router_whose_port_is_taken_says_so(tmp_path: Path) -> None:
    async with local_host(tmp_path / "site") as host:
        await host.serve("1")
        assert await host.stop() == 0
        url = await host.url()
        taken = next(port for port in host.ports() if f":{port}/" in url)
        with socket.create_server(("127.0.0.1", taken)):
            host.supervisor = start_supervisor(host.directory, host.environ)

            async def told() -> bool:
                return any("address already in use" in problem for problem in (await host.read()).problems)

            await until(told, deadline_s=20)
        await until(lambda: _answers(host), deadline_s=20)


async def _answers(host: LocalHost) -> bool:
    return (await send_many(await host.url(), 5)).failed == {}
