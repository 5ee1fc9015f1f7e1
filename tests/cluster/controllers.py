"""Controllers that run beside the control plane: each installed, started, stopped, frozen and started again by tests."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.cluster import build, definitions
from tests.cluster.api import CANARIES, Api, Json
from tests.cluster.catalogue import ARGO_ROLLOUTS, FLAGGER
from tests.cluster.control_plane import CONTROLLERS, ControlPlane, answers
from tests.cluster.processes import Program

_START_S: Final = 60.0
_LOOP_S: Final = 0.25
"""How often Flagger looks whether a Canary's interval is another."""


class Controller:
    """One controller of releases, started as often as a test wants to."""

    def __init__(self, control_plane: ControlPlane, program: Program, ready: Callable[[], bool]) -> None:
        self.control_plane = control_plane
        self.program = program
        self._ready = ready

    def start(self) -> None:
        """Start it; returns when it says that it is ready. Nothing happens if it runs."""
        if not self.program.running:
            self.program.start()
            self.program.wait_ready(self._ready, within_s=_START_S)

    def stop(self) -> None:
        """SIGTERM; returns when it is gone."""
        self.program.stop()

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self.program.kill()

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Not running for the block, running after it."""
        self.stop()
        try:
            yield
        finally:
            self.start()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOPped for the block: its process is there, nothing is reconciled."""
        with self.program.frozen():
            yield


def argo_rollouts(control_plane: ControlPlane, *, name: str = "argo-rollouts", flags: Sequence[str] = ()) -> Controller:
    """The controller of Argo Rollouts, its definitions applied; not started yet.

    More `flags` (`--instance-id=other`) go with another `name`.
    """
    control_plane.kubectl.crds(build.module_folder(ARGO_ROLLOUTS) / "manifests" / "crds")
    metrics, health = control_plane.free_ports(2)
    return controller(
        control_plane,
        name,
        [
            build.ensure(ARGO_ROLLOUTS) / "rollouts-controller",
            f"--kubeconfig={control_plane.kubeconfig_of(CONTROLLERS)}",
            "--leader-elect=false",
            f"--metricsPort={metrics}",
            f"--healthzPort={health}",
            "--qps=200",
            "--burst=400",
            *flags,
        ],
        health=f"http://127.0.0.1:{health}/healthz",
    )


def argo_plugin() -> Path:
    """kubectl's plugin for Argo Rollouts: the native tool that our verbs are compared with."""
    return build.ensure(ARGO_ROLLOUTS) / "kubectl-argo-rollouts"


def flagger(
    control_plane: ControlPlane,
    *,
    metrics_server: str = "http://127.0.0.1:1",
    name: str = "flagger",
    namespace: str = "",
    flags: Sequence[str] = (),
) -> Controller:
    """Flagger, its definitions and Gateway API's applied; not started yet. A Canary with the provider "kubernetes" needs no route.

    An analysis without metrics needs no `metrics_server`. A canary's interval is 10 s at least, whatever it says (Flagger's floor).
    """
    definitions.gateway_api(control_plane.kubectl)
    definitions.flagger(control_plane.kubectl)
    (port,) = control_plane.free_ports(1)
    return controller(
        control_plane,
        name,
        [
            build.ensure(FLAGGER) / "flagger",
            f"-kubeconfig={control_plane.kubeconfig_of(CONTROLLERS)}",
            "-mesh-provider=gatewayapi:v1",
            f"-metrics-server={metrics_server}",
            f"-namespace={namespace}",
            f"-port={port}",
            f"-control-loop-interval={_LOOP_S}s",
            "-log-level=info",
            "-kubeconfig-qps=400",
            "-kubeconfig-burst=800",
            *flags,
        ],
        health=f"http://127.0.0.1:{port}/healthz",
    )


def flagger_tick(api: Api, namespace: str, name: str) -> None:
    """Make Flagger look at a Canary at once instead of within its interval: another interval restarts its clock."""
    interval = api.get(CANARIES, namespace, name)["spec"]["analysis"]["interval"]
    other = {"10s": "11s"}.get(interval, "10s")
    api.patch(CANARIES, namespace, name, {"spec": {"analysis": {"interval": other}}}, manager="kubectl")


def flagger_until(
    api: Api, namespace: str, name: str, condition: Callable[[Json], object], *, within_s: float = 60.0
) -> Json:
    """The Canary once `condition` holds, its clock pushed on until then. AssertionError with its last state after `within_s`."""
    deadline = time.monotonic() + within_s
    while True:
        flagger_tick(api, namespace, name)
        left = deadline - time.monotonic()
        try:
            # Two looks of Flagger's loop: a second push within one would be seen as none.
            return api.wait(CANARIES, namespace, name, condition, within_s=min(left, 2 * _LOOP_S))
        except AssertionError:
            if left <= 0:
                raise


def controller(
    control_plane: ControlPlane,
    name: str,
    argv: Sequence[str | Path],
    *,
    health: str,
    environ: Mapping[str, str] | None = None,
) -> Controller:
    """A program of the control plane that says at an address whether it is ready."""
    program = control_plane.add(name, argv, environ=environ)
    return Controller(control_plane, program, lambda: answers(health))
