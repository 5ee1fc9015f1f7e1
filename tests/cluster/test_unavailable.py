"""Without the programs of a control plane: a clear skip on a laptop, a failure in CI. Runs anywhere, and starts no cluster."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
TEST = "tests/cluster/test_control_plane.py::test_a_deployment_becomes_ready_on_nodes_without_machines"


@pytest.mark.parametrize(("ci", "code", "verdict"), [("", 0, "1 skipped"), ("true", 1, "1 error")])
def test_without_go_the_cluster_tests_say_what_is_missing(tmp_path: Path, ci: str, code: int, verdict: str) -> None:
    environ = {name: value for name, value in os.environ.items() if name != "MLRELEASE_TEST_KUBECONFIG"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path / 'pytest'}", TEST],
        cwd=REPOSITORY,
        env={**environ, "PATH": str(tmp_path), "CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stdout
    assert verdict in done.stdout
    assert "Go is not on the PATH" in done.stdout
