"""Analyses and experiments of Argo Rollouts as gates, judged by the real controller against an address on this machine."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.api import ANALYSIS_RUNS, EXPERIMENTS, Json, wait_for
from tests.cluster.argo_bench import REPLICAS, STEPS, Bench, healthy, in_flight, paused_at, reasons, seated, updated
from tests.cluster.controllers import Controller
from tests.cluster.fixtures import Cluster

from mlrelease_tui.domain.intents import AbortRollout, PromoteVersion, RollBack
from mlrelease_tui.domain.rollout import Endpoint, GateResult, Phase

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(300)]

NAME = "fraud"


class Scores(ThreadingHTTPServer):
    """Answers every question with the same JSON."""

    answer: bytes = b'{"value": 0.9}'
    asked = 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/score"

    def says(self, value: object) -> None:
        self.answer = json.dumps({"value": value}).encode()


class _Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Scores)
        self.server.asked += 1
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(self.server.answer)))
        self.end_headers()
        self.wfile.write(self.server.answer)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def scores() -> Iterator[Scores]:
    server = Scores()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@pytest.fixture
def bench(argo: Controller, rollouts: Cluster, namespace: str) -> Bench:
    # The address that is asked is this machine's: a controller elsewhere would not reach it.
    return Bench(rollouts, namespace)


def _analysed(bench: Bench, *, background: bool = False, **more: Any) -> None:
    judged: Json = {"templates": [{"templateName": "score"}]}
    steps = (
        [{"setWeight": 25}, {"pause": {}}] if background else [{"setWeight": 25}, {"analysis": judged}, {"pause": {}}]
    )
    bench.at_rest(NAME, steps=steps, canary={"analysis": judged} if background else {}, **more)
    bench.release(NAME, "2")


async def _gates(endpoint: Endpoint) -> dict[str, tuple[GateResult, str]]:
    return {str(gate.name): (gate.result, str(gate.measured)) for gate in endpoint.rollout.gates}


async def test_an_inconclusive_analysis_is_shown_and_passed_without_being_run_again(
    bench: Bench, scores: Scores, tmp_path: Path
) -> None:
    scores.says(0.7)
    bench.template_of_analysis("score", scores.url)
    _analysed(bench)
    bench.wait(NAME, lambda item: "InconclusiveAnalysisRun" in reasons(item))
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        endpoint = await seat.look(NAME)
        assert await _gates(endpoint) == {"score": (GateResult.INCONCLUSIVE, "0.7")}
        assert "score inconclusive at 0.7" in endpoint.rollout.message
        await seat.do(PromoteVersion(seat.ref(NAME)))
        bench.wait(NAME, paused_at(2))
        assert len(bench.api.items(ANALYSIS_RUNS, bench.namespace)) == 1


async def test_a_rollback_leaves_a_running_analysis_terminated_never_passed(
    bench: Bench, scores: Scores, tmp_path: Path
) -> None:
    scores.says(0.6)
    bench.template_of_analysis("score", scores.url, count=1000, inconclusiveLimit=1000)
    _analysed(bench)
    bench.wait(NAME, lambda item: item["status"].get("currentStepIndex") == 1 and updated(item))
    wait_for(lambda: scores.asked >= 2)
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        running = await seat.look(NAME)
        assert (await _gates(running))["score"][0] is GateResult.RUNNING
        assert running.rollout.gates[0].step == 1
        assert "takes its steps by itself" not in running.support(PromoteVersion.verb).reason
        await seat.do(AbortRollout(seat.ref(NAME)))
        (run,) = bench.api.items(ANALYSIS_RUNS, bench.namespace)
        bench.api.wait(
            ANALYSIS_RUNS,
            bench.namespace,
            run["metadata"]["name"],
            lambda item: item["status"]["phase"] == "Successful" and item["status"]["message"] == "Run Terminated",
        )
        gates = (await seat.look(NAME)).rollout.gates
        assert [gate.result for gate in gates] == [GateResult.TERMINATED]
        await seat.do(RollBack(seat.ref(NAME)))
        assert bench.end(NAME)["pods"] == {"1": REPLICAS}


async def test_a_rollback_while_an_analysis_runs_ends_healthy(bench: Bench, scores: Scores, tmp_path: Path) -> None:
    bench.template_of_analysis("score", scores.url, count=1000)
    _analysed(bench)
    wait_for(lambda: scores.asked >= 2)
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        await seat.do(RollBack(seat.ref(NAME)))
        item = bench.wait(NAME, healthy)
        assert not in_flight(item)


async def test_a_failed_analysis_aborts_and_says_what_was_measured(
    bench: Bench, scores: Scores, tmp_path: Path
) -> None:
    scores.says(0.2)
    bench.template_of_analysis("score", scores.url)
    _analysed(bench)
    bench.wait(NAME, lambda item: item["status"].get("abortedAt"))
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        endpoint = await seat.look(NAME)
        assert endpoint.rollout.phase is Phase.DEGRADED
        assert await _gates(endpoint) == {"score": (GateResult.FAILED, "0.2")}
        assert any("score failed at 0.2" in str(problem) for problem in endpoint.problems)
        await seat.do(RollBack(seat.ref(NAME)))


async def test_a_metric_without_data_is_an_error_and_no_pass(bench: Bench, scores: Scores, tmp_path: Path) -> None:
    scores.answer = b'{"other": 1}'
    bench.template_of_analysis("score", scores.url, consecutiveErrorLimit=0)
    _analysed(bench)
    bench.wait(NAME, lambda item: item["status"].get("abortedAt"))
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        (gate,) = (await seat.look(NAME)).rollout.gates
        assert gate.result is GateResult.ERROR
        assert "JSONPath" in gate.message


async def test_a_background_analysis_stands_beside_the_steps(bench: Bench, scores: Scores, tmp_path: Path) -> None:
    bench.template_of_analysis("score", scores.url, count=1000)
    _analysed(bench, background=True)
    bench.wait(NAME, paused_at(1))
    wait_for(lambda: scores.asked >= 1)
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        (gate,) = (await seat.look(NAME)).rollout.gates
        assert (gate.result, gate.step) == (GateResult.RUNNING, None)
        held = bench.tool("pause", NAME)
        asked = scores.asked
        # A manual pause does not stop the measuring.
        wait_for(lambda: scores.asked > asked + 1, otherwise=lambda: held)


async def test_a_rollback_during_the_analysis_after_a_cut_over_returns_the_users(
    bench: Bench, scores: Scores, tmp_path: Path
) -> None:
    bench.template_of_analysis("score", scores.url, count=1000)
    bench.previewing(NAME, postPromotionAnalysis={"templates": [{"templateName": "score"}]})
    bench.tool("promote", NAME)
    wait_for(lambda: bench.end(NAME)["active"] == "2" and scores.asked > 0)
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        before = {variant.version: variant.weight_bp for variant in (await seat.look(NAME)).variants}
        assert before == {"1": 0, "2": 10_000}
        await seat.do(RollBack(seat.ref(NAME)))
        assert bench.end(NAME)["active"] == "1"


async def test_an_experiment_is_a_gate(bench: Bench, tmp_path: Path) -> None:
    template = {"name": "candidate", "specRef": "canary", "replicas": 1}
    steps = [{"setWeight": 25}, {"experiment": {"duration": "1h", "templates": [template]}}, {"pause": {}}]
    bench.at_rest(NAME, steps=steps)
    bench.release(NAME, "2")
    bench.wait(NAME, lambda item: item["status"].get("canary", {}).get("currentExperiment"))
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        (found,) = bench.api.items(EXPERIMENTS, bench.namespace)
        name = found["metadata"]["name"]
        bench.api.wait(
            EXPERIMENTS, bench.namespace, name, lambda item: item.get("status", {}).get("phase") == "Running"
        )
        (gate,) = (await seat.look(NAME)).rollout.gates
        assert (str(gate.name), gate.result, str(gate.run)) == ("experiment", GateResult.RUNNING, name)
        bench.api.patch(EXPERIMENTS, bench.namespace, name, {"spec": {"terminate": True}})
        bench.api.wait(EXPERIMENTS, bench.namespace, name, lambda item: item["status"]["phase"] == "Successful")
        (gate,) = (await seat.look(NAME)).rollout.gates
        assert gate.result is GateResult.TERMINATED


async def test_steps_tell_what_they_are(bench: Bench, tmp_path: Path) -> None:
    bench.at_rest(NAME, steps=[*STEPS, {"pause": {"duration": "10m"}}])
    async with seated(bench.cluster.kubeconfig, bench.namespace, tmp_path) as seat:
        steps = (await seat.look(NAME)).rollout.steps
        told = [str(step.label) or f"{step.weight_bp}" for step in steps]
        assert told == ["2500", "pause", "5000", "pause", "pause 10m"]
