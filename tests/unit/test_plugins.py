"""Finding connectors: a rogue package costs its own connections and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ROGUES = {
    "raises": "raise ZeroDivisionError('oh\\x1b[31m')",
    "exits": "import sys; sys.exit(7)",
    "missing": "import no_such_package_at_all",
    "broken": "def (",
    "strange": "connect = object()",
    "nothing": "",
}


def offered(folder: Path, name: str, entries: str, code: str = "") -> None:
    """A distribution that offers connectors, as an installer would leave it."""
    (folder / f"{name}_module.py").write_text(code, "utf-8")
    metadata = folder / f"{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", "utf-8")
    (metadata / "entry_points.txt").write_text(f"[mlrelease_tui.connectors]\n{entries}\n", "utf-8")


def run(folder: Path, program: str) -> str:
    """What a fresh interpreter prints that has `folder` installed."""
    found = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


LOAD_ALL = """
import json
from mlrelease_tui.connectors import plugins
from mlrelease_tui.errors import ConfigError
found = {}
for name in plugins.names():
    try:
        plugins.load(name)
        found[name] = "ok"
    except ConfigError as error:
        found[name] = [str(error.message), error.hint]
print(json.dumps(found))
"""


def test_rogue_packages_are_isolated(tmp_path: Path) -> None:
    for name, code in ROGUES.items():
        offered(tmp_path, name, f"{name} = {name}_module:connect", code)
    found = json.loads(run(tmp_path, LOAD_ALL))
    for name in ROGUES:
        message, hint = found[name]
        assert name in message
        assert hint, "it does not say what to do"
    assert "ZeroDivisionError" in found["raises"][0]
    assert "no_such_package_at_all" in found["missing"][0]
    for own in ("fake", "local", "mlflow", "scrape"):
        assert found[own] == "ok"


def test_listing_imports_nobody(tmp_path: Path) -> None:
    offered(tmp_path, "loud", "loud = loud_module:connect", "print('imported')")
    program = "from mlrelease_tui.connectors import plugins\nprint(*plugins.names())\n"
    assert "imported" not in run(tmp_path, program)
    assert "loud" in run(tmp_path, program).split()


def test_our_own_kinds_cannot_be_shadowed(tmp_path: Path) -> None:
    offered(tmp_path, "aaa", "fake = aaa_module:connect\nmlflow = aaa_module:connect", "raise SystemExit('shadowed')")
    found = json.loads(run(tmp_path, LOAD_ALL))
    assert (found["fake"], found["mlflow"]) == ("ok", "ok")
    program = (
        "from mlrelease_tui.connectors import plugins\n"
        "print(*(item.distribution for item in plugins.plugins() if item.kind == 'fake'))"
    )
    assert run(tmp_path, program).split() == ["mlrelease-tui"]


def test_where_each_comes_from_is_known(tmp_path: Path) -> None:
    offered(tmp_path, "theirs", "theirs = theirs_module:connect")
    program = (
        "from mlrelease_tui.connectors import plugins\n"
        "for item in plugins.plugins(): print(item.kind, item.distribution, item.version, item.is_own)"
    )
    lines = run(tmp_path, program).splitlines()
    assert "theirs theirs 1.0 False" in lines
    assert sum(line.endswith(" True") for line in lines) == 5


@pytest.mark.parametrize("kind", ["", "no-such-kind", "mlflow.evil"])
def test_an_unknown_kind_is_told_with_those_that_are_known(kind: str) -> None:
    from mlrelease_tui.connectors import plugins
    from mlrelease_tui.errors import ConfigError

    with pytest.raises(ConfigError) as caught:
        plugins.load(kind)
    assert "mlflow" in caught.value.hint


@pytest.mark.parametrize("fault", [RuntimeError("no disk"), SystemExit(3)])
def test_a_factory_that_fails_breaks_its_own_connection_only(
    fault: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlrelease_tui.connectors import plugins
    from mlrelease_tui.connectors.api import Connector, ConnectorFactory, Settings
    from mlrelease_tui.errors import ConfigError

    def build(_: Settings) -> Connector:
        raise fault

    monkeypatch.setattr(plugins, "load", lambda _kind: ConnectorFactory(build))
    with pytest.raises(ConfigError, match="failed to start for 'edge'"):
        plugins.connect("rogue", Settings("edge", "rogue"))


def test_what_is_no_connector_is_a_broken_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlrelease_tui.connectors import plugins
    from mlrelease_tui.connectors.api import ConnectorFactory, Settings
    from mlrelease_tui.errors import ConfigError

    monkeypatch.setattr(plugins, "load", lambda _kind: ConnectorFactory(lambda _: None))  # type: ignore[arg-type, return-value]
    with pytest.raises(ConfigError, match="made NoneType, which is no connector"):
        plugins.connect("rogue", Settings("edge", "rogue"))


@pytest.mark.parametrize(
    "entries",
    [
        b"[mlrelease_tui.connectors]\nnothing\n",
        b"[mlrelease_tui.connectors]\nodd = \xff\n",
    ],
)
def test_a_package_with_a_damaged_description_costs_nobody_else_anything(tmp_path: Path, entries: bytes) -> None:
    offered(tmp_path, "theirs", "theirs = theirs_module:connect")
    offered(tmp_path, "damaged", "")
    (tmp_path / "damaged-1.0.dist-info" / "entry_points.txt").write_bytes(entries)
    found = json.loads(run(tmp_path, LOAD_ALL))
    assert {"fake", "kubernetes", "local", "mlflow", "scrape", "theirs"} <= found.keys()
    assert found["fake"] == "ok"
    own = "from mlrelease_tui.connectors import plugins\nprint(sum(item.is_own for item in plugins.plugins()))"
    assert run(tmp_path, own).split() == ["5"]


def test_a_package_without_a_name_is_of_nobody(tmp_path: Path) -> None:
    offered(tmp_path, "nameless", "nameless = nameless_module:connect\nfake = nameless_module:connect")
    (tmp_path / "nameless-1.0.dist-info" / "METADATA").unlink()
    program = (
        "from mlrelease_tui.connectors import plugins\n"
        "print(*(f'{item.kind}:{item.distribution}' for item in plugins.plugins() if item.kind in {'fake', 'nameless'}))"
    )
    assert run(tmp_path, program).split() == ["fake:mlrelease-tui", "nameless:"]


def test_where_a_damaged_description_is_can_be_told(tmp_path: Path) -> None:
    offered(tmp_path, "damaged", "nothing")
    told = run(tmp_path, "from mlrelease_tui.connectors import plugins\nprint(plugins.unreadable())")
    assert str(tmp_path) in told
