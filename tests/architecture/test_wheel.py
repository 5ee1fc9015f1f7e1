"""The built wheel, installed with locked packages where nothing of this checkout is: `make wheel-test`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from email import message_from_string
from pathlib import Path

import pytest

from mlrelease_tui import __version__

pytestmark = [pytest.mark.wheel, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"
UV = Path(sys.executable).with_name("uv")
EXTRAS = ("mlflow", "docker", "kubernetes", "sklearn", "pytest")

_IMPORT_ALL = """
import importlib, sys
failed = []
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except BaseException as error:
        failed.append(f"{name}: {type(error).__name__}: {error}")
print("\\n".join(failed))
sys.exit(bool(failed))
"""


@dataclass(frozen=True)
class Installed:
    """A throw-away environment; `folder` is an empty place to run in."""

    python: Path
    folder: Path

    def environ(self) -> Mapping[str, str]:
        """Nothing of ours: no PYTHONPATH, and a home of its own."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "XDG_", "MLRELEASE_"))
        }
        return {**kept, "HOME": str(self.folder), "VIRTUAL_ENV": str(self.python.parents[1])}

    def run(self, *arguments: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [str(item) for item in arguments],
            cwd=self.folder,
            env=dict(self.environ()),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        if check and done.returncode:
            pytest.fail(
                f"{' '.join(map(str, arguments[:3]))} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return done

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(self.python.with_name("mlrelease"), *arguments)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from this checkout by the locked hatchling, without the network."""
    target = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(target)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        timeout=120,
    )
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """The bare install: no extras, every package at its locked version and hash."""
    folder = tmp_path_factory.mktemp("bare")
    place = Installed(folder / "venv" / "bin" / "python", tmp_path_factory.mktemp("elsewhere"))
    place.run(UV, "venv", "--quiet", "--python", sys.executable, folder / "venv")
    place.run(UV, "pip", "install", "--quiet", "--python", place.python, "-c", ROOT / "requirements.lock", wheel)
    return place


def modules() -> list[str]:
    names = []
    for path in sorted((SOURCE / "mlrelease_tui").rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def kit() -> list[str]:
    """The conformance kit is for test runs: it may want pytest."""
    return [name for name in modules() if name.startswith("mlrelease_tui.connectors.conformance")]


def test_every_file_of_the_package_is_in_it(wheel: Path) -> None:
    expected = {
        str(path.relative_to(SOURCE))
        for path in (SOURCE / "mlrelease_tui").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert names == expected
    kinds = {Path(name).suffix for name in names}
    assert {".py", ".tcss", ".json"} <= kinds, "styles and JSON Schemas"
    assert "mlrelease_tui/py.typed" in names


def test_its_metadata_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = next(name.partition("/")[0] for name in archive.namelist() if ".dist-info/" in name)
        metadata = message_from_string(archive.read(f"{info}/METADATA").decode())
        entries = archive.read(f"{info}/entry_points.txt").decode()
        licence = archive.read(f"{info}/licenses/LICENSE").decode()
    assert metadata["Version"] == __version__
    assert metadata["License-Expression"] == "Apache-2.0" and "Apache License" in licence
    assert set(metadata.get_all("Provides-Extra") or ()) == {"mlflow", "docker", "kubernetes", "demo", "all"}
    assert "mlrelease = mlrelease_tui.cli:main" in entries
    assert "[mlrelease_tui.connectors]" in entries


def test_a_bare_install_brings_no_sdk(installed: Installed) -> None:
    script = "import importlib.util as u, sys; print([n for n in sys.argv[1:] if u.find_spec(n)])"
    assert installed.run(installed.python, "-c", script, *EXTRAS).stdout.strip() == "[]"
    assert not installed.python.with_name("traefik").exists()


def test_every_module_can_be_imported_without_extras(installed: Installed) -> None:
    wanted = [name for name in modules() if name not in kit()]
    done = installed.run(installed.python, "-c", _IMPORT_ALL, *wanted, check=False)
    assert (done.stdout.strip(), done.returncode) == ("", 0), done.stderr


def test_it_runs_from_where_it_was_installed(installed: Installed) -> None:
    found = installed.run(installed.python, "-c", "import mlrelease_tui; print(mlrelease_tui.__file__)").stdout
    assert Path(found.strip()).is_relative_to(installed.python.parents[1])


def test_the_command_says_its_version_and_helps(installed: Installed) -> None:
    assert re.search(rf"\b{re.escape(__version__)}\b", installed.command("--version").stdout)
    helped = installed.command("--help").stdout
    for word in ("demo", "status", "rollback", "audit"):
        assert re.search(rf"\b{word}\b", helped), word


def test_every_connector_on_offer_loads(installed: Installed) -> None:
    script = "from mlrelease_tui.connectors import plugins; print([plugins.load(n) and n for n in plugins.names()])"
    assert (
        installed.run(installed.python, "-c", script).stdout.strip()
        == "['fake', 'kubernetes', 'local', 'mlflow', 'scrape']"
    )


def test_the_conformance_kit_is_there_for_authors(installed: Installed) -> None:
    assert kit(), "the kit ships in the package"
    installed.run(
        UV,
        "pip",
        "install",
        "--quiet",
        "--python",
        installed.python,
        "-c",
        ROOT / "requirements.lock",
        "pytest",
        "pytest-asyncio",
    )
    done = installed.run(installed.python, "-c", _IMPORT_ALL, *kit(), check=False)
    assert (done.stdout.strip(), done.returncode) == ("", 0), done.stderr
