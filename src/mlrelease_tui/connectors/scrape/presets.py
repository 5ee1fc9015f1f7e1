"""Which series a server counts its requests in, and in which unit. Each preset names its source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final


@dataclass(frozen=True, slots=True)
class Preset:
    """`requests` is a counter with the answer's status in `code_label`; `duration` the base name of a histogram in
    units of `unit_s` seconds; `in_flight` a gauge. "" where the server has none.
    """

    requests: str = ""
    code_label: str = "code"
    duration: str = ""
    unit_s: float = 1.0
    in_flight: str = ""

    @property
    def names(self) -> frozenset[str]:
        """Every sample name that this preset reads."""
        found = {self.requests, self.in_flight}
        if self.duration:
            found.add(f"{self.duration}_bucket")
        return frozenset(found - {""})


PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        # Traefik 3, docs "Metrics / Prometheus"; checked on the binary. The mirror has a series of its own.
        "traefik": Preset("traefik_service_requests_total", "code", "traefik_service_request_duration_seconds"),
        # This project's own model server (demo/scoring.py), and any server that counts as it does.
        "model_server": Preset(
            "model_server_requests_total",
            "code",
            "model_server_request_duration_seconds",
            in_flight="model_server_requests_in_flight",
        ),
    }
)
