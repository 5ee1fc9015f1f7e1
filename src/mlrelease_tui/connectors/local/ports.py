"""Who listens where in a directory: given out once and kept across every restart, for the router's document names the ports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mlrelease_tui.connectors.local.documents import read_json, way_back, write_json
from mlrelease_tui.connectors.local.layout import Layout
from mlrelease_tui.errors import UnexpectedAnswer
from mlrelease_tui.routing.traefik_process import TraefikAddresses

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Ports:
    """`router` None: not chosen yet. `processes`: by endpoint key and variant name."""

    router: TraefikAddresses | None = None
    processes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)

    def taken(self) -> frozenset[int]:
        own = {self.router.traffic_port, self.router.api_port} if self.router else set()
        return frozenset(own | {port for named in self.processes.values() for port in named.values()})


def read_ports(layout: Layout) -> Ports:
    """UnexpectedAnswer where the document is damaged."""
    shape = read_json(layout.ports)
    if shape is None:
        return Ports()
    try:
        if shape["format"] != FORMAT:
            raise ValueError(f"format {shape['format']!r}")
        router = shape["router"]
        return Ports(
            TraefikAddresses(_port(router["traffic"]), _port(router["api"])),
            {key: {name: _port(port) for name, port in named.items()} for key, named in shape["processes"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as failure:
        raise UnexpectedAnswer(
            f"{layout.ports} does not say who listens where: {failure}", hint=way_back(layout.ports)
        ) from failure


def _port(found: object) -> int:
    if type(found) is not int or not 0 < found < 65_536:
        raise ValueError(f"{found!r} is no port")
    return found


def write_ports(layout: Layout, router: TraefikAddresses, processes: Mapping[str, Mapping[str, int]]) -> None:
    listening = {"traffic": router.traffic_port, "api": router.api_port}
    write_json(layout.ports, {"format": FORMAT, "router": listening, "processes": processes})
