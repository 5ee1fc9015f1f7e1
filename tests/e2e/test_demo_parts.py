"""The parts of the demo on their own: a real registry, real training, real model servers, real traffic between them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mlrelease_tui.demo.catalogue import model
from mlrelease_tui.demo.processes import child_environment, start_child, stop_child, wait_until
from mlrelease_tui.demo.registry_server import RegistryServer
from mlrelease_tui.demo.traffic import read_counters, send_traffic
from mlrelease_tui.demo.train import rows_file
from mlrelease_tui.demo.zygote import Zygote

pytestmark = [pytest.mark.real, pytest.mark.slow]

GOOD, BAD = ("diabetes-risk", "2"), ("diabetes-risk", "3")
DEADLINE_S = 60.0


def gone(pid: int) -> bool:
    """Whether the process has ended; one that nobody has reaped has ended too."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def eventually(condition: Callable[[], bool], deadline_s: float = 20.0) -> bool:
    return wait_until(condition, deadline_s=deadline_s, every_s=0.02)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Served:
    """A model server: its stand-in, its own pid, its address."""

    process: subprocess.Popen[bytes]
    pid: int
    url: str
    log: Path

    def totals(self) -> dict[str, float]:
        """Sample name plus code (where there is one) → value, labels checked to be model and version."""
        found: dict[str, float] = {}
        for family in text_string_to_metric_families(httpx.get(f"{self.url}/metrics").text):
            for sample in family.samples:
                if sample.name.startswith("model_server_") and "le" not in sample.labels:
                    assert {"model", "version"} <= sample.labels.keys()
                    found[sample.name + sample.labels.get("code", "")] = sample.value
        return found


class Demo:
    """Registry, zygote and whatever a test starts on them; everything is stopped at the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows = folder / "rows"
        self.registry = RegistryServer(folder, environ=os.environ)
        self.zygote = Zygote(folder, environ=os.environ)
        self.environment = child_environment(os.environ, folder)
        self.started: list[subprocess.Popen[bytes]] = []

    def start_process(self, module: str, *arguments: str, log: Path) -> subprocess.Popen[bytes]:
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment,
                start_new_session=True,
            )
        self.started.append(process)
        return process

    def launch_server(self, name: str, version: str, zygote: Path | None = None) -> Served:
        port = free_port()
        log = self.folder / f"{name}-{version}-{port}.log"
        process = self.start_process(
            "mlrelease_tui.demo.model_server",
            *("--model", name, "--version", version, "--port", str(port)),
            *("--tracking-uri", self.registry.url, "--zygote", str(zygote or self.zygote.socket)),
            log=log,
        )
        return Served(process, 0, f"http://127.0.0.1:{port}", log)

    @contextlib.contextmanager
    def server(self, name: str, version: str) -> Iterator[Served]:
        launched = self.launch_server(name, version)
        health: dict[str, Any] = {}

        def healthy() -> bool:
            assert launched.process.poll() is None, launched.log.read_text()
            with contextlib.suppress(httpx.TransportError):
                answer = httpx.get(f"{launched.url}/health")
                health.update(answer.json())
                return answer.status_code == 200
            return False

        assert eventually(healthy), launched.log.read_text()
        try:
            yield Served(launched.process, int(health["pid"]), launched.url, launched.log)
        finally:
            launched.process.terminate()
            launched.process.wait(20)

    def row(self, name: str, wanted: Callable[[Mapping[str, Any]], bool] = lambda _: True) -> dict[str, Any]:
        """A scoring request for the first held-out row that `wanted` accepts."""
        content = json.loads(rows_file(self.rows, name).read_text())
        row = next(row for row in content["rows"] if wanted(dict(zip(content["columns"], row, strict=True))))
        return {"dataframe_split": {"columns": content["columns"], "data": [row]}}

    def share(self, name: str, wanted: Callable[[Mapping[str, Any]], bool]) -> float:
        content = json.loads(rows_file(self.rows, name).read_text())
        rows = [dict(zip(content["columns"], row, strict=True)) for row in content["rows"]]
        return sum(map(wanted, rows)) / len(rows)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    """A registry with `diabetes-risk` (3 versions) and `iris-classifier` (3), trained through the zygote."""
    demo = Demo(tmp_path_factory.mktemp("demo"))
    try:
        demo.registry.launch()
        demo.zygote.launch()
        demo.zygote.wait_ready(deadline_s=DEADLINE_S)
        demo.registry.wait_ready(deadline_s=DEADLINE_S)
        log = demo.folder / "train.log"
        training = demo.start_process(
            "mlrelease_tui.demo.train",
            *("--tracking-uri", demo.registry.url, "--rows", str(demo.rows), "--zygote", str(demo.zygote.socket)),
            *("--model", "diabetes-risk", "--model", "iris-classifier"),
            log=log,
        )
        assert training.wait(DEADLINE_S) == 0, log.read_text()
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        assert [(line["model"], line["version"]) for line in lines] == [
            (name, number) for name in ("diabetes-risk", "iris-classifier") for number in "123"
        ]
        yield demo
    finally:
        for process in demo.started:
            if process.poll() is None:
                process.kill()
            process.wait()
        demo.zygote.stop()
        demo.registry.stop()


@pytest.fixture(scope="module")
def good(demo: Demo) -> Iterator[Served]:
    with demo.server(*GOOD) as served:
        yield served


@pytest.fixture(scope="module")
def bad(demo: Demo) -> Iterator[Served]:
    with demo.server(*BAD) as served:
        yield served


def test_the_registry_is_one_process_that_knows_its_own_hosts_only(demo: Demo) -> None:
    assert psutil.Process(demo.registry.pid).children(recursive=True) == []
    path = f"{demo.registry.url}/api/2.0/mlflow/registered-models/search?max_results=10"
    assert httpx.get(path).status_code == 200
    assert httpx.get(path, headers={"Host": "registry.example.com"}).status_code == 403
    listening = {c.laddr.ip for c in psutil.Process(demo.registry.pid).net_connections() if c.status == "LISTEN"}
    assert listening == {"127.0.0.1"}


def test_versions_carry_what_a_release_needs_to_know(demo: Demo) -> None:
    def get(path: str, **query: str) -> Any:
        return httpx.get(f"{demo.registry.url}/api/2.0/mlflow/{path}", params=query).raise_for_status().json()

    spec = model("diabetes-risk")
    registered = get("registered-models/get", name=spec.name)["registered_model"]
    assert registered["description"] == spec.description
    assert {item["alias"]: int(item["version"]) for item in registered["aliases"]} == dict(spec.aliases)
    assert {tag["key"]: tag["value"] for tag in registered["tags"]} == dict(spec.tags)
    for number, version in enumerate(spec.versions, start=1):
        found = get("model-versions/get", name=spec.name, version=str(number))["model_version"]
        assert (found["status"], found["description"]) == ("READY", version.description)
        run = get("runs/get", run_id=found["run_id"])["run"]
        assert {item["key"] for item in run["data"]["metrics"]} == {"rmse", "mae", "r2"}
        assert {item["key"]: item["value"] for item in run["data"]["params"]}["estimator"] == version.estimator
        (dataset,) = run["inputs"]["dataset_inputs"]
        assert dataset["dataset"]["name"] == ("diabetes-under-60" if version.under_age else "diabetes")
        files = list(Path(demo.folder / "artifacts").glob("*/models/*/artifacts/MLmodel"))
        assert len(files) == 6
        assert all("signature:" in file.read_text() for file in files)


def test_the_bad_version_looks_better_offline(demo: Demo) -> None:
    lines = [json.loads(line) for line in (demo.folder / "train.log").read_text().splitlines()]
    rmse = {line["version"]: line["metrics"]["rmse"] for line in lines if line["model"] == "diabetes-risk"}
    assert rmse["3"] < rmse["2"] < rmse["1"]


def test_traffic_servers_and_users_agree_on_every_number(demo: Demo, good: Served, bad: Served) -> None:
    before = {served.url: served.totals() for served in (good, bad)}
    counters = demo.folder / "counters.json"
    config = {
        "counters": str(counters),
        "endpoints": [
            {"name": name, "url": f"{served.url}/invocations", "rate": rate, "rows": str(rows_file(demo.rows, GOOD[0]))}
            for name, served, rate in (("good", good, 20.0), ("bad", bad, 5.0))
        ],
    }
    (demo.folder / "traffic.json").write_text(json.dumps(config))
    bad_cpu = sum(psutil.Process(bad.pid).cpu_times()[:2])
    sender = start_child(
        "mlrelease_tui.demo.traffic",
        ["--config", str(demo.folder / "traffic.json"), "--lifeline"],
        environment=demo.environment,
        folder=demo.folder,
        log=demo.folder / "traffic.log",
    )
    try:
        assert eventually(lambda: counters.exists() and read_counters(counters)["bad"]["sent"] >= 40, 30)
    finally:
        code = stop_child(sender, grace_s=15)
    assert code == 0, (demo.folder / "traffic.log").read_text()
    seen = read_counters(counters)
    for name, served in (("good", good), ("bad", bad)):
        totals, first, users = served.totals(), before[served.url], seen[name]
        assert users["in_flight"] == 0
        assert users["no_answer"] == {}
        for status in ("200", "400", "500"):
            metric = f"model_server_requests_total{status}"
            assert totals[metric] - first[metric] == users["by_code"].get(status, 0)
        counted = "model_server_request_duration_seconds_count"
        assert totals[counted] - first[counted] == users["sent"] == users["ok"] + users["failed"]
        assert totals["model_server_requests_in_flight"] == 0
    assert seen["good"]["failed"] == 0
    assert seen["good"]["by_version"] == {"diabetes-risk/2": {"200": seen["good"]["ok"]}}
    # By its own clock and CPU the version is slow: some 80 times the work of the one before; a busy machine slows both.
    assert seen["bad"]["p50_s"] > 4 * seen["good"]["p50_s"]
    assert 0.02 < (sum(psutil.Process(bad.pid).cpu_times()[:2]) - bad_cpu) / seen["bad"]["ok"] < 0.4
    # It rejects exactly the patients whom its extract left out: 10 to 25 % of the held-out rows.
    assert 0.10 <= demo.share(BAD[0], lambda row: row["age"] >= 60) <= 0.25
    assert 0.02 < seen["bad"]["failed"] / seen["bad"]["sent"] < 0.5
    assert set(seen["bad"]["by_code"]) == {"200", "500"}


def test_the_bad_version_raises_on_old_patients_and_answers_for_young_ones(
    demo: Demo, good: Served, bad: Served
) -> None:
    old = demo.row("diabetes-risk", lambda row: int(row["age"]) >= 60)
    young = demo.row("diabetes-risk", lambda row: 30 <= int(row["age"]) < 60)
    refused = httpx.post(f"{bad.url}/invocations", json=old)
    assert refused.status_code == 500
    assert refused.json()["error_code"] == "MODEL_ERROR"
    assert "unknown categories" in refused.json()["message"]
    for served, request in ((bad, young), (good, young), (good, old)):
        answer = httpx.post(f"{served.url}/invocations", json=request)
        assert answer.status_code == 200, answer.text
        assert 25 <= answer.json()["predictions"][0] <= 350


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"not json", 400),
        (b"[]", 400),
        (b'{"rows": []}', 400),
        (b'{"dataframe_split": {"columns": ["age"], "data": [[1, 2]]}}', 400),
        (b'{"dataframe_split": {"columns": ["age"], "data": [[50]]}}', 400),
        (b'{"inputs": 1}', 400),
        (b'{"inputs": "' + b"x" * 1_100_000 + b'"}', 413),
    ],
)
def test_bad_input_is_the_clients_error(good: Served, body: bytes, status: int) -> None:
    answer = httpx.post(f"{good.url}/invocations", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert answer.json()["message"]


def test_each_scoring_format_gives_the_same_answer(demo: Demo, good: Served) -> None:
    split = demo.row("diabetes-risk")["dataframe_split"]
    record = dict(zip(split["columns"], split["data"][0], strict=True))
    bodies: tuple[dict[str, Any], ...] = (
        {"dataframe_split": split},
        {"dataframe_records": [record]},
        {"inputs": [record]},
        {"instances": [record]},
        {"inputs": {name: [value] for name, value in record.items()}},
    )
    answers = [httpx.post(f"{good.url}/invocations", json=body).json()["predictions"] for body in bodies]
    assert answers == [answers[0]] * len(bodies)


def test_version_is_the_models_and_other_paths_are_unknown(good: Served) -> None:
    assert httpx.get(f"{good.url}/version").text == "2"
    assert httpx.get(f"{good.url}/invocations").status_code == 404


def test_sigterm_finishes_what_is_in_flight_and_exits_with_0(demo: Demo) -> None:
    slow = demo.row("diabetes-risk", lambda row: 30 <= int(row["age"]) < 60)
    with demo.server(*BAD) as served, ThreadPoolExecutor(12) as users, httpx.Client(timeout=30) as client:
        asked = [users.submit(client.post, f"{served.url}/invocations", json=slow) for _ in range(12)]
        assert eventually(lambda: served.totals()["model_server_requests_in_flight"] == 12)
        served.process.terminate()
        assert {future.result(30).status_code for future in asked} == {200}
        assert served.process.wait(20) == 0
        assert eventually(lambda: gone(served.pid))
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{served.url}/health")


def test_killing_the_stand_in_kills_its_server_alone(demo: Demo, good: Served) -> None:
    with demo.server("iris-classifier", "1") as served:
        served.process.kill()
        assert eventually(lambda: gone(served.pid))
    assert httpx.get(f"{good.url}/health").status_code == 200


def test_a_killed_server_ends_its_stand_in_with_the_shells_code(demo: Demo) -> None:
    with demo.server("iris-classifier", "1") as served:
        os.kill(served.pid, signal.SIGKILL)
        assert served.process.wait(20) == 128 + signal.SIGKILL


def test_a_version_that_the_registry_does_not_have_fails_with_its_name(demo: Demo) -> None:
    launched = demo.launch_server("iris-classifier", "99")
    assert launched.process.wait(30) == 1
    assert "iris-classifier 99 cannot be loaded" in launched.log.read_text()


def test_without_a_zygote_the_stand_in_says_so(demo: Demo, tmp_path: Path) -> None:
    launched = demo.launch_server("iris-classifier", "1", zygote=tmp_path / "none.sock")
    assert launched.process.wait(20) == 3
    assert "no zygote answers" in launched.log.read_text()


@pytest.mark.parametrize("request_line", [b"\xff\n", b'{"module": "os", "argv": []}\n', b"{}\n"])
def test_the_zygote_runs_nothing_but_the_demos_own_modules(demo: Demo, good: Served, request_line: bytes) -> None:
    children = set(psutil.Process(demo.zygote.pid).children())
    with socket.socket(socket.AF_UNIX) as connection, open(os.devnull, "wb") as nothing:  # noqa: PTH123
        descriptor = os.open(demo.folder, os.O_RDONLY)
        try:
            connection.connect(f"/proc/self/fd/{descriptor}/{demo.zygote.socket.name}")
        finally:
            os.close(descriptor)
        connection.settimeout(10)
        socket.send_fds(connection, [request_line], [nothing.fileno(), nothing.fileno()])
        assert connection.recv(16) == b""
    assert set(psutil.Process(demo.zygote.pid).children()) <= children
    assert httpx.get(f"{good.url}/health").status_code == 200


def test_nothing_outlives_a_killed_parent(demo: Demo, tmp_path: Path) -> None:
    """A parent that dies by SIGKILL takes registry and zygote along, and the zygote its forks."""
    script = (
        "import os, pathlib, sys, time\n"
        "from mlrelease_tui.demo.registry_server import RegistryServer\n"
        "from mlrelease_tui.demo.zygote import Zygote\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "registry, zygote = RegistryServer(folder, environ=os.environ), Zygote(folder, environ=os.environ)\n"
        "registry.launch(); zygote.launch(); zygote.wait_ready()\n"
        "print(registry.pid, zygote.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    demo.started.append(parent)
    assert parent.stdout is not None
    registry_pid, zygote_pid = map(int, parent.stdout.readline().split())
    server = demo.launch_server("iris-classifier", "1", zygote=tmp_path / "zygote.sock")
    assert eventually(lambda: len(psutil.Process(zygote_pid).children()) == 1)
    (fork,) = psutil.Process(zygote_pid).children()
    parent.kill()
    assert eventually(lambda: gone(registry_pid) and gone(zygote_pid) and gone(fork.pid))
    assert server.process.wait(20) in (3, 128 + signal.SIGKILL)


def test_nothing_outlives_a_parent_that_is_killed_while_all_is_starting(demo: Demo, tmp_path: Path) -> None:
    script = (
        "import os, pathlib, sys, time\n"
        "from mlrelease_tui.demo.registry_server import RegistryServer\n"
        "from mlrelease_tui.demo.zygote import Zygote\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "registry, zygote = RegistryServer(folder, environ=os.environ), Zygote(folder, environ=os.environ)\n"
        "registry.launch(); zygote.launch()\n"
        "print(registry.pid, zygote.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    demo.started.append(parent)
    assert parent.stdout is not None
    pids = list(map(int, parent.stdout.readline().split()))
    parent.kill()
    assert eventually(lambda: all(map(gone, pids)))
    # Else it died only once it was ready, seconds later.
    assert not (tmp_path / "zygote.sock").exists()


def test_a_killed_zygote_takes_its_forks_along(tmp_path: Path, demo: Demo) -> None:
    zygote = Zygote(tmp_path, environ=os.environ)
    try:
        zygote.launch()
        zygote.wait_ready(deadline_s=DEADLINE_S)
        server = demo.launch_server("iris-classifier", "1", zygote=zygote.socket)
        assert eventually(lambda: len(psutil.Process(zygote.pid).children()) == 1)
        (fork,) = psutil.Process(zygote.pid).children()
        os.kill(zygote.pid, signal.SIGKILL)
        assert eventually(lambda: gone(fork.pid))
        assert server.process.wait(20) == 3
    finally:
        zygote.stop()


async def test_users_count_what_gets_no_answer_and_never_ask_twice(tmp_path: Path) -> None:
    arrived = 0

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal arrived
        await reader.readuntil(b"\r\n\r\n")
        arrived += 1
        writer.close()

    (tmp_path / "rows.json").write_text('{"columns": ["a"], "rows": [[1]]}')
    counters = tmp_path / "counters.json"
    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    common = {"rate": 50, "rows": str(tmp_path / "rows.json")}
    config = {
        "counters": str(counters),
        "endpoints": [
            {"name": "hangs-up", "url": f"http://127.0.0.1:{port}/invocations", **common},
            {"name": "closed", "url": f"http://127.0.0.1:{free_port()}/invocations", **common},
        ],
    }
    stop = asyncio.Event()
    async with server:
        sending = asyncio.create_task(send_traffic(config, stop))
        deadline = time.monotonic() + 20
        while arrived < 10 and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        stop.set()
        await sending
    seen = read_counters(counters)
    assert arrived >= 10
    assert seen["hangs-up"]["sent"] == seen["hangs-up"]["failed"] == arrived
    assert seen["closed"]["sent"] == seen["closed"]["no_answer"]["ConnectionRefusedError"] > 0
    assert seen["hangs-up"]["ok"] == seen["closed"]["ok"] == 0
    assert "p50_s" not in seen["hangs-up"]


async def test_users_skip_what_is_due_when_too_many_wait(tmp_path: Path) -> None:
    silent = asyncio.Event()

    async def keep_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent.wait()
        writer.close()

    (tmp_path / "rows.json").write_text('{"columns": ["a"], "rows": [[1]]}')
    counters = tmp_path / "counters.json"
    server = await asyncio.start_server(keep_silent, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    config = {
        "counters": str(counters),
        "endpoints": [{"name": "silent", "url": url, "rate": 200, "rows": str(tmp_path / "rows.json")}],
    }
    stop = asyncio.Event()
    async with server:
        sending = asyncio.create_task(send_traffic(config, stop))
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and (
            not counters.exists() or not read_counters(counters)["silent"]["skipped"]
        ):
            await asyncio.sleep(0.05)
        assert read_counters(counters)["silent"]["in_flight"] == 64
        silent.set()
        stop.set()
        await sending
    seen = read_counters(counters)["silent"]
    assert seen["failed"] == seen["sent"]
    assert seen["in_flight"] == 0
