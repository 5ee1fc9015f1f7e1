"""Traefik before the pods, as a program of this machine, and a steady stream of requests through it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

import httpx
from tests.cluster import build, definitions
from tests.cluster.api import Json, Kind, wait_for
from tests.cluster.catalogue import PARTS
from tests.cluster.control_plane import CONTROLLERS, ControlPlane, answers

from mlrelease_tui.routing.traefik_process import find_traefik

INGRESS_ROUTES: Final = Kind("traefik.io/v1alpha1", "ingressroutes")
TRAEFIK_SERVICES: Final = Kind("traefik.io/v1alpha1", "traefikservices")
_START_S: Final = 60.0
_SAMPLE: Final = re.compile(r"traefik_service_requests_total\{(?P<labels>[^}]*)\} (?P<value>\S+)")
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')


class Router:
    """Traefik with the provider of its own resources, on 127.0.0.1."""

    def __init__(self, control_plane: ControlPlane, *, name: str = "traefik", empty: bool = True) -> None:
        """`empty`: whether a Service that has no pod is kept. Otherwise what it is a part of is gone, and everybody gets 404."""
        definitions.traefik(control_plane.kubectl)
        web, control = control_plane.free_ports(2)
        self.url = f"http://127.0.0.1:{web}"
        self.metrics_target = f"127.0.0.1:{control}"
        self._program = control_plane.add(
            name,
            [
                find_traefik(),
                f"--entrypoints.web.address=127.0.0.1:{web}",
                f"--entrypoints.control.address=127.0.0.1:{control}",
                "--providers.kubernetescrd=true",
                f"--providers.kubernetescrd.allowemptyservices={str(empty).lower()}",
                "--metrics.prometheus=true",
                "--metrics.prometheus.entrypoint=control",
                "--ping=true",
                "--ping.entrypoint=control",
                "--global.checknewversion=false",
                "--global.sendanonymoususage=false",
                "--log.level=INFO",
            ],
            environ={"KUBECONFIG": str(control_plane.kubeconfig_of(CONTROLLERS))},
        )

    def start(self) -> None:
        self._program.start()
        self._program.wait_ready(lambda: answers(f"http://{self.metrics_target}/ping"), within_s=_START_S)

    def stop(self) -> None:
        self._program.kill()

    def counted(self, namespace: str) -> Counter[tuple[str, str]]:
        """Requests so far by Service and status code, of the Services of one namespace."""
        found: Counter[tuple[str, str]] = Counter()
        text = httpx.get(f"http://{self.metrics_target}/metrics", trust_env=False).raise_for_status().text
        for sample in _SAMPLE.finditer(text):
            labels = dict(_LABEL.findall(sample["labels"]))
            service, _, provider = labels["service"].partition("@")
            # Traefik calls one "<namespace>-<name>-<port>@kubernetescrd".
            if provider == "kubernetescrd" and service.startswith(f"{namespace}-"):
                name = service.removeprefix(f"{namespace}-").rpartition("-")[0]
                found[name, labels["code"]] += int(float(sample["value"]))
        return found

    def share(self, namespace: str, service: str, *, of: int) -> float:
        """Which share of the next `of` requests a Service gets, by Traefik's own counters."""
        before = self.counted(namespace)
        now = wait_for(
            lambda: seen if (seen := self.counted(namespace)).total() - before.total() >= of else None,
            otherwise=lambda: f"{before} became {self.counted(namespace)}",
        )
        gone = now - before
        return sum(count for (name, _), count in gone.items() if name == service) / gone.total()


class Prometheus:
    """Debian's Prometheus, which scrapes one address each second."""

    def __init__(self, control_plane: ControlPlane, target: str) -> None:
        folder = control_plane.folder / "prometheus-of-traffic"
        folder.mkdir(exist_ok=True)
        (port,) = control_plane.free_ports(1)
        self.url = f"http://127.0.0.1:{port}"
        config = {
            "global": {"scrape_interval": "1s"},
            "scrape_configs": [{"job_name": "router", "static_configs": [{"targets": [target]}]}],
        }
        (folder / "prometheus.json").write_text(json.dumps(config))
        self._program = control_plane.add(
            "prometheus-of-traffic",
            [
                shutil.which("prometheus") or "prometheus",
                f"--config.file={folder / 'prometheus.json'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=warn",
            ],
        )

    def start(self) -> None:
        self._program.start()
        self._program.wait_ready(lambda: answers(f"{self.url}/-/ready"), within_s=_START_S)

    def stop(self) -> None:
        self._program.kill()


def routed(name: str, host: str, shares: dict[str, int]) -> tuple[Json, Json]:
    """An IngressRoute for a Host header, and the TraefikService behind it with a weight for each Service."""
    weighted = [{"name": service, "port": 80, "weight": weight} for service, weight in shares.items()]
    return (
        {
            "apiVersion": TRAEFIK_SERVICES.group_version,
            "kind": "TraefikService",
            "metadata": {"name": name},
            "spec": {"weighted": {"services": weighted}},
        },
        {
            "apiVersion": INGRESS_ROUTES.group_version,
            "kind": "IngressRoute",
            "metadata": {"name": name},
            "spec": {
                "entryPoints": ["web"],
                "routes": [
                    {
                        "kind": "Rule",
                        "match": f"Host(`{host}`)",
                        "services": [{"kind": "TraefikService", "name": name}],
                    }
                ],
            },
        },
    )


@dataclass(frozen=True, slots=True)
class Sums:
    """What came of the requests so far."""

    sent: int
    failed: int
    served: dict[str, int]
    """By the version that answered."""
    reasons: dict[str, int]
    """Of what failed, by what was seen of it."""


class Load:
    """A steady stream of requests from a process of its own, as a context manager; ended after `for_s` seconds at the latest."""

    def __init__(self, url: str, host: str, folder: Path, *, rate: int = 200, for_s: float = 180.0) -> None:
        self._argv = [
            str(build.ensure(PARTS) / "load"),
            f"-url={url}/invocations",
            f"-host={host}",
            f"-rate={rate}",
            f"-for={for_s:g}s",
        ]
        self._errors = folder / "load.err"
        self._sums = Sums(0, 0, {}, {})

    def __enter__(self) -> Load:
        with self._errors.open("ab") as errors:
            self._child = subprocess.Popen(
                self._argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={"PATH": os.environ["PATH"]},
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    @property
    def sums(self) -> Sums:
        """As they were told last: each second."""
        return self._sums

    def end(self) -> Sums:
        """Send no more, wait for the answers that are owed; the sums of all."""
        if self._child.stdin is not None and not self._child.stdin.closed:
            self._child.stdin.close()
        self._child.wait(30)
        self._reader.join()
        return self._sums

    def _read(self) -> None:
        for line in self._child.stdout or ():
            told = json.loads(line)
            self._sums = Sums(told["sent"], told["failed"], told["served"], told["reasons"])
