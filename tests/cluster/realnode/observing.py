"""Traefik's metrics as our own tool reads them: what each version of an endpoint is really sent, and what of it fails."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.api import Json
from tests.cluster.realnode.bench import NAME, Stage
from tests.cluster.realnode.traffic import Router
from tests.cluster.test_main_job_on_kubernetes import configured
from tests.e2e.demo_host import MLRELEASE

from mlrelease_tui.connectors.api import Settings
from mlrelease_tui.connectors.scrape.connector import ScrapeConnector
from mlrelease_tui.domain.metrics import Coverage
from mlrelease_tui.domain.rollout import Endpoint


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests, and how many of them ended in an error."""

    requests: float
    errors: float


def told_by_the_command(stage: Stage, folder: Path, *, window_s: float) -> Json:
    """What `mlrelease endpoint --json` says with two connections: the cluster, and the router's metrics."""
    config, environment = configured(folder, stage.cluster, stage.namespace)
    target = f"http://{stage.router.metrics_target}/metrics"
    with config.open("a", encoding="utf-8") as file:
        file.write(f'[connections.traffic]\nkind = "scrape"\ntargets = ["{target}"]\n')
    words = ["--config", str(config), "endpoint", NAME, "--window", f"{window_s:g}", "--json"]
    done = subprocess.run(
        [str(MLRELEASE), *words], env=environment, capture_output=True, text=True, check=False, timeout=90
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    answer: Json = json.loads(done.stdout)
    return answer


class Observer:
    """Our tool's own reading of Traefik's metrics: the counts of each version of an endpoint."""

    def __init__(self, router: Router) -> None:
        target = f"http://{router.metrics_target}/metrics"
        self._connector = ScrapeConnector(Settings("traffic", "scrape", {"targets": [target]}))

    async def close(self) -> None:
        await self._connector.close()

    async def counts(self, endpoint: Endpoint) -> dict[str, Counts]:
        """Since the router's start, by version."""
        samples = {item.variant: item for item in await self._connector.samples((endpoint,))}
        assert all(sample.coverage is Coverage.OK for sample in samples.values()), samples
        return {
            item.version: Counts(samples[item.name].requests or 0.0, samples[item.name].errors or 0.0)
            for item in endpoint.variants
        }
