"""The directory of local endpoints: whose it is, and what lies where."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mlrelease_tui.connectors.local.definitions import EndpointDefinition, define_endpoint
from mlrelease_tui.connectors.local.layout import Layout
from mlrelease_tui.errors import ConfigError

COMMAND = ("serve", "{port}")


def test_a_directory_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = Layout(tmp_path / "site")
    layout.make()
    monkeypatch.setattr(os, "geteuid", lambda: layout.directory.stat().st_uid + 1)
    with pytest.raises(ConfigError, match="belongs to another user"):
        layout.make()


def test_a_file_in_place_of_the_directory_is_a_clear_refusal(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "site"):
        with pytest.raises(ConfigError, match="can't be made"):
            define_endpoint(path, EndpointDefinition("iris", COMMAND))


def test_no_two_endpoints_share_a_log() -> None:
    layout = Layout(Path("/srv"))
    assert layout.log_of("a_b/c", "v1") != layout.log_of("a/b_c", "v1")


def test_a_supervisor_that_can_not_begin_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    argv = [sys.executable, "-m", "mlrelease_tui.connectors.local.supervisor", str(tmp_path / "file")]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert ended.returncode == ConfigError.exit_code
    assert "can't be made" in ended.stderr
    assert "Traceback" not in ended.stderr
