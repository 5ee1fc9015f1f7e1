"""Local endpoints: model servers as supervised processes behind a Traefik of their own. The embedded default.

A directory holds everything: who defined the endpoints (`endpoints.json`), which processes shall run (`desired.json`), which
run (`observed.json`), and who gets which traffic (`routes/`). See `setup` for making one, `supervisor` for what keeps it.
"""

from __future__ import annotations

from mlrelease_tui.connectors.api import Connector, ConnectorFactory, Option, Settings


def _build(settings: Settings) -> Connector:
    from mlrelease_tui.connectors.local.connector import LocalConnector

    return LocalConnector(settings)


connect = ConnectorFactory(
    _build,
    {
        "directory": Option(
            (str,), "the directory of the local endpoints and their supervisor", required=True, path=True
        )
    },
    ("mlrelease_tui.connectors.local.connector",),
)
"""The factory that the entry point `local` names."""
