"""Controllers that run beside the control plane: each installed, started, stopped, frozen and started again by tests."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.cluster import build
from tests.cluster.catalogue import ARGO_ROLLOUTS
from tests.cluster.control_plane import CONTROLLERS, ControlPlane, answers
from tests.cluster.processes import Program

_START_S: Final = 60.0


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

    `control_plane.kubectl` has its plugin as `argo_plugin(...)`. Other `flags` (`--instance-id=other`) go with another `name`.
    """
    control_plane.kubectl.crds(build.module_folder(ARGO_ROLLOUTS) / "manifests" / "crds")
    metrics, health = control_plane.free_ports(2)
    return _controller(
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


def _controller(
    control_plane: ControlPlane,
    name: str,
    argv: Sequence[str | Path],
    *,
    health: str,
    environ: Mapping[str, str] | None = None,
) -> Controller:
    program = control_plane.add(name, argv, environ=environ)
    return Controller(control_plane, program, lambda: answers(health))
