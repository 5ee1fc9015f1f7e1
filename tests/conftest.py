"""Where the pictures of the screens are kept (`snapshots/<test module>/<test>.svg`), and which tests share a process."""

from __future__ import annotations

from pathlib import Path

import pytest
from pytest_textual_snapshot import SVGImageExtension  # type: ignore[import-untyped]
from syrupy.location import PyTestLocation
from tests.cluster.fixtures import (
    argo,
    argo_started,
    cluster,
    control_plane,
    flagger,
    flagger_started,
    gate,
    gateway_api,
    istio,
    knative,
    knative_started,
    kserve,
    kserve_started,
    metrics,
    namespace,
    rollouts,
    seldon,
)
from tests.cluster.verb_table import VerbTable

__all__ = [
    "argo",
    "argo_started",
    "cluster",
    "control_plane",
    "flagger",
    "flagger_started",
    "gate",
    "gateway_api",
    "istio",
    "knative",
    "knative_started",
    "kserve",
    "kserve_started",
    "metrics",
    "namespace",
    "rollouts",
    "seldon",
]

_SNAPSHOTS = Path(__file__).parents[1] / "snapshots"


@pytest.fixture(scope="session")
def verb_table() -> VerbTable:
    """Takes what tests saw each verb do: the rows of the table in docs/kubernetes.md."""
    return VerbTable()


def _dirname(cls: type[SVGImageExtension], *, test_location: PyTestLocation) -> str:
    return str(_SNAPSHOTS / test_location.basename)


# The plugin hard-codes its own folder and offers no setting for it; its extension has the name of an older syrupy.
SVGImageExtension.file_extension = "svg"
SVGImageExtension.dirname = classmethod(_dirname)

_SHARED = ("guarded", "tracking")
"""Fixtures of the whole session that cost seconds and memory: the tests that use one run in one process, one after another."""
_LIGHT = ("test_cli_confirm", "test_cli_fake", "test_kill_matrix")
"""End-to-end modules that start no demo. Of the others one runs at a time: a demo fills a core while it starts."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread whole modules over the processes of pytest-xdist, and keep together what shares a server."""
    for item in items:
        used = getattr(item, "fixturenames", ())
        if "cluster" in used:
            item.add_marker(pytest.mark.kubernetes)
        module = item.path.stem
        shared = next((name for name in _SHARED if name in used), "")
        if item.path.parent.name == "realnode":
            # A machine is one node at a time.
            shared = "real-node"
        elif not {"kserve", "knative"}.isdisjoint(used):
            shared = "kserve"
        demo = item.path.parent.name == "e2e" and module not in _LIGHT
        item.add_marker(pytest.mark.xdist_group("demo" if demo else shared or module))
