"""Fixtures of the cluster tests. `tests/conftest.py` makes them known to every test.

A test that asks for `cluster` runs on the control plane that it starts, or on the cluster that `MLRELEASE_TEST_KUBECONFIG` names. A
test that asks for `control_plane`, for a controller or for definitions of kinds wants power over the server and is skipped on
somebody's cluster.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NoReturn

import httpx
import pytest
from tests.cluster import control_plane as planes
from tests.cluster import controllers, definitions
from tests.cluster import kserve as kserves
from tests.cluster.api import NAMESPACES, Api, Kubectl
from tests.cluster.control_plane import ControlPlane
from tests.cluster.controllers import Controller
from tests.cluster.knative import Knative
from tests.cluster.kserve import KServe
from tests.cluster.listeners import Gate, Metrics
from tests.cluster.processes import Program

KUBECONFIG_VARIABLE: Final = "MLRELEASE_TEST_KUBECONFIG"
"""Names the kubeconfig of a cluster to test on, in namespaces of the tests' own."""
_PROXY_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class Cluster:
    """The cluster that the tests run on."""

    kubeconfig: Path
    """What the product is given."""
    kubectl: Kubectl
    api: Api
    own: ControlPlane | None
    """The control plane that the tests started, None on somebody's cluster."""

    @contextlib.contextmanager
    def namespace(self, prefix: str = "mlrelease-test") -> Iterator[str]:
        """A new namespace, deleted after the block without waiting for its end."""
        name = f"{prefix}-{uuid.uuid4().hex[:8]}"
        self.api.create(NAMESPACES, "", {"metadata": {"name": name, "labels": {"mlrelease.test/namespace": "true"}}})
        try:
            yield name
        finally:
            self.api.delete(NAMESPACES, "", name)

    def require(self, crd: str) -> None:
        """Skip the test on a cluster that does not serve a custom resource definition ("rollouts.argoproj.io")."""
        if self.kubectl.run("get", "crd", crd).returncode:
            pytest.skip(f"the cluster of {KUBECONFIG_VARIABLE} has no {crd}")


@contextlib.contextmanager
def foreign(kubeconfig: Path, folder: Path, kubectl_program: str | None = None) -> Iterator[Cluster]:
    """The cluster that somebody's kubeconfig names, reached through `kubectl proxy` on a socket that only this user can open."""
    program = kubectl_program or shutil.which("kubectl")
    if program is None:
        unavailable(f"{KUBECONFIG_VARIABLE} is set and kubectl is not on the PATH")
    kubectl = Kubectl(Path(program), kubeconfig, cache=folder / "kubectl-cache")
    socket = folder / "api.sock"
    words = [program, f"--kubeconfig={kubeconfig}", "proxy", f"--unix-socket={socket}"]
    proxy = Program("kubectl-proxy", words, log=folder / "kubectl-proxy.log", environ=dict(os.environ))
    proxy.start()
    transport = httpx.HTTPTransport(uds=str(socket))
    api = Api(httpx.Client(base_url="http://localhost", transport=transport, trust_env=False, timeout=60.0))
    try:
        proxy.wait_ready(socket.exists, within_s=_PROXY_S)
        yield Cluster(kubeconfig, kubectl, api, None)
    finally:
        api.close()
        proxy.kill()


def unavailable(reason: str) -> NoReturn:
    """Skip on a laptop, fail where CI is set: there the set-up has to bring what is missing."""
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster that the tests run on, started once."""
    named = os.environ.get(KUBECONFIG_VARIABLE)
    folder = tmp_path_factory.mktemp("cluster")
    if named:
        with foreign(Path(named), folder) as found:
            yield found
        return
    why = planes.missing()
    if why:
        unavailable(why)
    with ControlPlane(folder) as own:
        yield Cluster(own.kubeconfig, own.kubectl, own.api, own)


@pytest.fixture(scope="session")
def control_plane(cluster: Cluster) -> ControlPlane:
    """The control plane that the tests started: its programs may be killed, frozen and started again."""
    if cluster.own is None:
        pytest.skip(f"wants power over the server, and {KUBECONFIG_VARIABLE} names somebody's cluster")
    return cluster.own


# A kind is asked for by each test that makes objects of it, since its neighbours may run in another process, on another server.


@pytest.fixture(scope="session")
def gateway_api(control_plane: ControlPlane) -> None:
    """The server knows HTTPRoutes."""
    definitions.gateway_api(control_plane.kubectl)


@pytest.fixture(scope="session")
def istio(control_plane: ControlPlane) -> None:
    """The server knows VirtualServices."""
    definitions.istio(control_plane.kubectl)


@pytest.fixture(scope="session")
def seldon(control_plane: ControlPlane) -> None:
    """The server knows SeldonDeployments, Experiments and Models."""
    definitions.seldon(control_plane.kubectl)


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace for one test."""
    with cluster.namespace() as name:
        yield name


@pytest.fixture(scope="session")
def argo_started(cluster: Cluster) -> Controller | None:
    """The controller of Argo Rollouts, None on a cluster that runs its own."""
    if cluster.own is None:
        cluster.require("rollouts.argoproj.io")
        return None
    controller = controllers.argo_rollouts(cluster.own)
    controller.start()
    return controller


@pytest.fixture
def argo(argo_started: Controller | None) -> Controller:
    """The controller of Argo Rollouts, running; a test may stop it, the next one finds it running again."""
    if argo_started is None:
        pytest.skip(f"wants power over the controller, and {KUBECONFIG_VARIABLE} names somebody's cluster")
    argo_started.start()
    return argo_started


@pytest.fixture
def rollouts(argo_started: Controller | None, cluster: Cluster) -> Cluster:
    """A cluster on which Argo Rollouts runs, this test session's or somebody's."""
    if argo_started is not None:
        argo_started.start()
    return cluster


@pytest.fixture(scope="session")
def flagger_started(control_plane: ControlPlane) -> Iterator[tuple[Controller, Metrics]]:
    """Flagger and the Prometheus that it asks."""
    program = shutil.which("prometheus")
    if program is None:
        unavailable("prometheus is not on the PATH: install Debian's prometheus (tests/provision/cluster.sh)")
    metrics = Metrics(control_plane, program=program)
    metrics.start()
    controller = controllers.flagger(control_plane, metrics_server=metrics.url)
    controller.start()
    yield controller, metrics
    metrics.close()


@pytest.fixture
def flagger(flagger_started: tuple[Controller, Metrics]) -> Controller:
    """Flagger, running; a test may stop it, the next one finds it running again."""
    flagger_started[0].start()
    return flagger_started[0]


@pytest.fixture
def metrics(flagger_started: tuple[Controller, Metrics]) -> Metrics:
    """The numbers that Flagger judges by: `metrics.set("canary_ok", 1, target="fraud")`. Names and labels are the test's own."""
    flagger_started[1].start()
    return flagger_started[1]


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A server that Flagger's webhooks and Argo's web provider may ask; each path answers as the test says."""
    with Gate() as opened:
        yield opened


@pytest.fixture(scope="session")
def kserve_started(control_plane: ControlPlane) -> KServe:
    """KServe, with its webhooks."""
    started = kserves.kserve(control_plane)
    started.start()
    started.register_webhooks()
    return started


@pytest.fixture
def kserve(kserve_started: KServe) -> KServe:
    """KServe in Standard mode, running with its webhooks; a test may stop it, the next one finds it running again."""
    kserve_started.start()
    return kserve_started


@pytest.fixture(scope="session")
def knative_started(control_plane: ControlPlane) -> Knative:
    """Knative Serving."""
    started = Knative(control_plane)
    started.start()
    return started


@pytest.fixture
def knative(knative_started: Knative) -> Knative:
    """Knative Serving, running; with `kserve` beside it InferenceServices may have the mode Knative."""
    knative_started.start()
    return knative_started
