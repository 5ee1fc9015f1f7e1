"""The rooms of `docs/architecture.md` import only what they may: the contracts in pyproject.toml hold, and would break."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "mlrelease_tui"


def linted(folder: Path, configuration: Path) -> subprocess.CompletedProcess[str]:
    """lint-imports over the package that stands in `folder`."""
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    return subprocess.run(
        [sys.executable, "-c", program, "--no-cache", "--config", str(configuration)],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin", "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_every_room_imports_only_what_it_may() -> None:
    found = linted(PACKAGE.parent, ROOT / "pyproject.toml")
    assert found.returncode == 0, found.stdout + found.stderr
    assert "0 broken" in found.stdout


FORBIDDEN = {
    "domain/status.py": "import rich",
    "domain/refs.py": "from mlrelease_tui.store import state",
    "judgement/judge.py": "from mlrelease_tui.connectors import api",
    "routing/api.py": "from mlrelease_tui.connectors import api",
    "connectors/api.py": "from mlrelease_tui.store import state",
    "connectors/scrape/connector.py": "from mlrelease_tui.connectors.fake import backend",
    "connectors/fake/connector.py": "from mlrelease_tui.actions import planner",
    "store/state.py": "from mlrelease_tui.actions import planner",
    "audit/log.py": "from mlrelease_tui.store import state",
    "actions/planner.py": "from mlrelease_tui.presentation import words",
    "presentation/words.py": "from mlrelease_tui.store import state",
    "widgets/bars.py": "from mlrelease_tui.screens import base",
    "screens/base.py": "from mlrelease_tui.connectors import api",
    "bootstrap.py": "from mlrelease_tui.screens import base",
    "connectors/plugins.py": "from mlrelease_tui.connectors.fake import backend",
}
"""One import for each room that it must not have."""


def test_each_contract_would_break(tmp_path: Path) -> None:
    """All forbidden imports at once, in a copy: each must be named."""
    shutil.copytree(PACKAGE, tmp_path / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    for name, line in FORBIDDEN.items():
        path = tmp_path / PACKAGE.name / name
        path.write_text(f"{path.read_text('utf-8')}\n{line}\n", "utf-8")
    found = linted(tmp_path, ROOT / "pyproject.toml")
    assert found.returncode == 1, found.stdout + found.stderr
    missed = []
    for name, line in FORBIDDEN.items():
        importer = f"{PACKAGE.name}.{name.removesuffix('.py').replace('/', '.')}"
        words = line.split()
        imported = f"{words[1]}.{words[3]}" if words[0] == "from" else words[1]
        if f"{importer} -> {imported}" not in found.stdout:
            missed.append(f"{importer} -> {imported}")
    assert missed == [], found.stdout


@pytest.mark.parametrize("package", ["textual", "mlflow", "pytest", "docker", "kubernetes", "httpx"])
def test_no_connector_api_costs_an_sdk(package: str) -> None:
    """What every command imports loads nothing heavy."""
    program = (
        "import sys, mlrelease_tui.bootstrap, mlrelease_tui.connectors.plugins as plugins\n"
        "for kind in plugins.names(): plugins.load(kind)\n"
        f"sys.exit({package!r} in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert found.returncode == 0, found.stderr.decode()


def test_every_style_sheet_is_beside_its_screen_or_widget() -> None:
    sheets = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.tcss"))
    assert sheets
    assert [name for name in sheets if not (PACKAGE / name).with_suffix(".py").exists()] == []


def test_no_tool_of_tests_is_needed_to_run() -> None:
    """Only the conformance kit imports pytest, and nothing imports the kit."""
    importing = [
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if "import pytest" in path.read_text("utf-8") and "conformance" not in path.parts
    ]
    assert importing == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = [
        *project["dependencies"],
        *(item for extra in project["optional-dependencies"].values() for item in extra),
    ]
    assert not [item for item in needed if item.startswith(("pytest", "hypothesis"))]
