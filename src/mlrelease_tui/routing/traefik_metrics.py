"""Traefik's counters per version, from its Prometheus exposition."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from mlrelease_tui.errors import UnexpectedAnswer
from mlrelease_tui.routing.counting import RouterCounts, VersionCount

REQUESTS = "traefik_service_requests_total"
DURATION = "traefik_service_request_duration_seconds"
START_TIME = "process_start_time_seconds"


def read_counts(text: str, services: Mapping[str, str], read_at: datetime) -> RouterCounts:
    """`services`: version → its `service` label. Raises `UnexpectedAnswer` on what is no exposition format."""
    from prometheus_client.parser import text_string_to_metric_families

    names = {service: version for version, service in services.items()}
    requests: dict[str, float] = {}
    errors: dict[str, float] = {}
    started_at: float | None = None
    try:
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == START_TIME:
                    started_at = sample.value
                version = names.get(sample.labels.get("service", ""))
                if sample.name == REQUESTS and version is not None:
                    requests[version] = requests.get(version, 0.0) + sample.value
                    failed = sample.labels.get("code", "").startswith("5")
                    errors[version] = errors.get(version, 0.0) + (sample.value if failed else 0.0)
    except (ValueError, KeyError, IndexError) as failure:
        raise UnexpectedAnswer("Traefik's metrics are not in the Prometheus text format") from failure
    counts = {version: VersionCount(int(total), int(errors[version])) for version, total in requests.items()}
    return RouterCounts(counts, started_at, read_at)
