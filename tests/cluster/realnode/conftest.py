"""Fixtures of the real node. A node runs for one module's tests, and leaves the machine as it found it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.cluster.control_plane import ControlPlane
from tests.cluster.fixtures import Cluster
from tests.cluster.realnode import host
from tests.cluster.realnode.bench import Stage
from tests.cluster.realnode.host import Traces
from tests.cluster.realnode.node import RealNode
from tests.cluster.realnode.observing import Observer
from tests.cluster.realnode.traffic import Prometheus, Router


@pytest.fixture(scope="session")
def able(control_plane: ControlPlane) -> None:
    """A machine that can be a node. One that can't is skipped everywhere; what is missing on one that can fails where CI is set."""
    host.require()


@pytest.fixture(scope="module")
def machine(able: None) -> Iterator[None]:
    """This machine for the tests of one module alone."""
    with host.alone():
        if host.occupied():
            pytest.skip("this machine runs pods already")
        yield


@pytest.fixture(scope="module")
def real_node(
    machine: None, control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RealNode]:
    """This machine as a node."""
    before = Traces.now()
    with RealNode(control_plane, tmp_path_factory.mktemp("real-node")) as node:
        yield node
    host.untouched(before)


@pytest.fixture(scope="module")
def router(able: None, control_plane: ControlPlane) -> Iterator[Router]:
    """Traefik."""
    started = Router(control_plane)
    started.start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def prometheus(router: Router, control_plane: ControlPlane) -> Iterator[Prometheus]:
    """Prometheus, which scrapes Traefik each second."""
    started = Prometheus(control_plane, router.metrics_target)
    started.start()
    yield started
    started.stop()


@pytest.fixture
async def observer(router: Router) -> AsyncIterator[Observer]:
    """What our tool reads of Traefik's metrics."""
    found = Observer(router)
    yield found
    await found.close()


@pytest.fixture
def stage(real_node: RealNode, router: Router, rollouts: Cluster, namespace: str, tmp_path: Path) -> Stage:
    """A namespace for a Rollout of real pods."""
    return Stage(rollouts, namespace, router, tmp_path)
