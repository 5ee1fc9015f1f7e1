"""The example of `docs/writing-a-connector.md` is whole: taken from the page, it passes the kit and is found by its entry point."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "writing-a-connector.md"
_MLRELEASE = "from mlrelease_tui.cli import main; main()"


def _files() -> dict[str, str]:
    found = dict(re.findall(r"^```python file=(\S+)\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S))
    assert set(found) == {"weightfiles.py", "test_weightfiles.py"}
    return found


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """The example as an author would have it: its module, its test, its installed metadata."""
    for name, content in _files().items():
        (tmp_path / name).write_text(content, "utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_mode = auto\n", "utf-8")
    entry = re.search(r'^\[project\.entry-points\."(.+)"\]\n(\w+) = "(.+)"$', PAGE.read_text("utf-8"), re.M)
    assert entry
    metadata = tmp_path / "weightfiles-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: weightfiles\nVersion: 1.0\n", "utf-8")
    (metadata / "entry_points.txt").write_text(f"[{entry[1]}]\n{entry[2]} = {entry[3]}\n", "utf-8")
    return tmp_path


def run(package: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *command],
        cwd=package,
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(package),
            "PYTHONPATH": str(package),
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_the_example_passes_the_kit(package: Path) -> None:
    found = run(package, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_weightfiles.py")
    assert found.returncode == 0, found.stdout + found.stderr
    passed = re.search(r"(\d+) passed", found.stdout)
    assert passed
    assert int(passed[1]) > 30
    assert "skipped" not in found.stdout


def test_the_example_is_found_by_its_entry_point_and_configured(package: Path) -> None:
    table = re.search(r"^```toml\n(\[connections\.edge\].*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
    assert table
    content = {"uid": "u-1", "revision": 1, "stable": "6", "canary": "7", "weight_bp": 1000}
    (package / "weights").mkdir()
    (package / "weights" / "fraud.json").write_text(json.dumps(content), "utf-8")
    (package / "config.toml").write_text(table[1], "utf-8")
    found = run(package, "-c", _MLRELEASE, "status", "--config", "config.toml", "--json")
    assert "edge/files/fraud" in found.stdout, found.stdout + found.stderr
    listed = run(package, "-c", _MLRELEASE, "connections", "list", "--config", "config.toml", "--json")
    assert "weightfiles" in listed.stdout, listed.stdout + listed.stderr
    assert '"weight"' in listed.stdout


def test_the_example_is_checked_like_the_project(package: Path) -> None:
    found = run(
        package, "-m", "ruff", "check", "--config", str(ROOT / "pyproject.toml"), "--ignore", "S", "weightfiles.py"
    )
    assert found.returncode == 0, found.stdout


def test_the_page_names_every_class_of_the_kit() -> None:
    from mlrelease_tui.connectors import conformance

    page = PAGE.read_text("utf-8")
    assert [name for name in conformance.__all__ if f"`{name}`" not in page and f"conformance.{name}" not in page] == []
