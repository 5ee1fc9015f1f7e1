"""Starting, confining and ending a real Traefik."""

from __future__ import annotations

import asyncio
import socket
import stat
from pathlib import Path

import httpx
import psutil
import pytest
from tests.connectors.backends import two_backends
from tests.connectors.load import Connection
from tests.connectors.traefik_host import split, traefik_host, until

from mlrelease_tui.errors import ConfigError, TimedOut, Unreachable
from mlrelease_tui.routing.api import Router
from mlrelease_tui.routing.traefik import TraefikRouter
from mlrelease_tui.routing.traefik_process import LATENCY_BUCKETS_S, TraefikProcess, find_traefik

pytestmark = pytest.mark.real


async def test_it_listens_on_loopback_writes_in_its_folder_and_inherits_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "s3cret")
    monkeypatch.setenv("TRAEFIK_LOG_LEVEL", "DEBUG")
    async with traefik_host(tmp_path / "data") as host:
        process = psutil.Process(host.process.pid)
        listening = {c.laddr for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
        environment = process.environ()
        talking = [c for c in process.net_connections("inet") if c.status == psutil.CONN_ESTABLISHED]

        assert {address[0] for address in listening} == {"127.0.0.1"}
        assert {a[1] for a in listening} == {
            host.process.addresses.traffic_port,
            host.process.addresses.api_port,
        }
        assert "s3cret" not in str(environment) and set(environment) == {"PATH", "HOME", "TZ"}
        assert {c.raddr[0] for c in talking} <= {"127.0.0.1"}
        for folder in (host.process.data_dir, host.process.routes_directory):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {path.name for path in host.process.data_dir.iterdir()} <= {"routes", "traefik.log", "traefik.yml"}


async def test_the_api_cannot_write_and_is_not_on_the_traffic_port(tmp_path: Path) -> None:
    async with traefik_host(tmp_path) as host, httpx.AsyncClient(trust_env=False) as client:
        addresses = host.process.addresses
        put = await client.put(f"{addresses.api_url}/api/http/services/x@file", json={})
        outside = [
            (await client.get(addresses.traffic_url + path)).status_code for path in ("/api/rawdata", "/metrics")
        ]

    assert put.status_code == 405
    assert outside == [404, 404]


async def test_histograms_have_the_buckets_of_model_objectives(tmp_path: Path) -> None:
    async with traefik_host(tmp_path) as host, two_backends() as (stable, canary):
        await host.serve(split("buckets", stable, canary, 0))
        await Connection(host.url("buckets")).send()
        text = await host.api.metrics_text()

    bounds = [
        float(line.split('le="')[1].split('"')[0])
        for line in text.splitlines()
        if line.startswith("traefik_service_request_duration_seconds_bucket") and "buckets--v1@file" in line
    ]
    assert tuple(bounds[:-1]) == LATENCY_BUCKETS_S and bounds[-1] == float("inf")


async def test_stop_lets_requests_in_flight_finish_and_leaves_no_process_and_no_port(tmp_path: Path) -> None:
    async with traefik_host(tmp_path) as host, two_backends() as (stable, canary):
        await host.serve(split("stop", stable, canary, 0))
        stable.delay_s = 0.5
        pid, port = host.process.pid, host.process.addresses.traffic_port
        slow = asyncio.create_task(Connection(host.url("stop")).send())

        async def arrived() -> bool:
            return stable.in_flight == 1

        await until(arrived)
        await host.process.stop()
        answer = await slow

        assert answer.status == 200
        assert pid and not psutil.pid_exists(pid)
        assert not host.process.running
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0


async def test_a_start_of_what_runs_already_starts_nothing(tmp_path: Path) -> None:
    async with traefik_host(tmp_path) as host:
        pid = host.process.pid
        assert await host.process.start() == host.process.addresses
        assert host.process.pid == pid


async def test_a_taken_port_is_an_error_with_the_way_to_the_log(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = TraefikProcess(tmp_path, traffic_port=taken.getsockname()[1])
        with pytest.raises(Unreachable) as raised:
            await process.start()

    assert str(process.log_file) in raised.value.hint
    assert "address already in use" in process.log_tail()
    assert not process.running


async def test_a_binary_that_never_answers_is_ended_after_the_deadline(tmp_path: Path) -> None:
    mute = tmp_path / "mute"
    mute.write_text("#!/bin/sh\nexec sleep 60\n")
    mute.chmod(0o755)
    process = TraefikProcess(tmp_path / "data", binary=mute, start_s=0.3)

    with pytest.raises(TimedOut, match=r"0\.3 s"):
        await process.start()

    assert not process.running


def test_without_a_binary_the_error_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        find_traefik(prefix=tmp_path, search_path=str(tmp_path))
    assert "mlrelease-tui[demo]" in raised.value.hint


def test_a_binary_on_the_path_is_found_where_none_is_beside_python(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    binary = tmp_path / "bin" / "traefik"
    binary.touch(mode=0o755)
    assert find_traefik(prefix=tmp_path, search_path=str(tmp_path / "bin")) == binary
    assert find_traefik().name == "traefik"


async def test_the_driver_is_a_router(tmp_path: Path) -> None:
    async with traefik_host(tmp_path) as host:
        router: Router = host.router
        assert isinstance(host.router, TraefikRouter)
        assert router.capabilities().exact_split and not router.capabilities().native_cas
        unknown = await router.read("unknown")
        assert (unknown.plan, unknown.generation, unknown.drift, unknown.error) == (None, 0, "", "")
