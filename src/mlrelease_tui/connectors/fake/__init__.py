"""A connector without a backend: deterministic, scriptable, with every capability and every fault.

For tests, for plugin authors, and for looking at the screens. A script is JSON (`script.py` says which); nothing in it is
measured, so the screens mark its kind as fake.
"""

from __future__ import annotations

from pathlib import Path

from mlrelease_tui.connectors.api import Connector, ConnectorFactory, Option, Settings


def _build(settings: Settings) -> Connector:
    from mlrelease_tui.connectors.fake.backend import FakeBackend
    from mlrelease_tui.connectors.fake.connector import FakeConnector
    from mlrelease_tui.connectors.fake.script import read_script

    script = settings.options.get("script")
    backend = read_script(Path(str(script)), settings.name, settings.now) if script else FakeBackend()
    return FakeConnector(settings, backend)


connect = ConnectorFactory(_build, {"script": Option((str,), "the script: a JSON file", path=True)})
