"""Metrics by scraping Prometheus exposition from the servers themselves: no metrics server needed.

    [connections.metrics]
    kind = "scrape"
    targets = ["http://127.0.0.1:8082/metrics"]

`targets` are asked for the series of every endpoint that names no address of its own; variants that do are asked too.
"""

from __future__ import annotations

from mlrelease_tui.connectors.api import Connector, ConnectorFactory, Option, Settings


def _build(settings: Settings) -> Connector:
    from mlrelease_tui.connectors.scrape.connector import ScrapeConnector

    return ScrapeConnector(settings)


connect = ConnectorFactory(
    _build,
    {"targets": Option((list, dict), "addresses to scrape, each a full URL ending in /metrics", required=True)},
    ("mlrelease_tui.connectors.scrape.connector",),
)
