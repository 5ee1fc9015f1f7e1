"""The views by name. Each module is imported when its view is first opened: only the fleet is needed for the first paint."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from mlrelease_tui.screens.base import ReleaseScreen


def _fleet() -> type[ReleaseScreen]:
    from mlrelease_tui.screens.fleet import FleetScreen

    return FleetScreen


def _models() -> type[ReleaseScreen]:
    from mlrelease_tui.screens.models import ModelsScreen

    return ModelsScreen


def _versions() -> type[ReleaseScreen]:
    from mlrelease_tui.screens.versions import VersionsScreen

    return VersionsScreen


def _endpoint() -> type[ReleaseScreen]:
    from mlrelease_tui.screens.endpoint import EndpointScreen

    return EndpointScreen


def _rollouts() -> type[ReleaseScreen]:
    from mlrelease_tui.screens.rollouts import RolloutsScreen

    return RolloutsScreen


def _audit() -> type[ReleaseScreen]:
    from mlrelease_tui.screens.audit import AuditScreen

    return AuditScreen


def _connections() -> type[ReleaseScreen]:
    from mlrelease_tui.screens.connections import ConnectionsScreen

    return ConnectionsScreen


VIEWS: Final[Mapping[str, Callable[[], type[ReleaseScreen]]]] = MappingProxyType(
    {
        "fleet": _fleet,
        "endpoint": _endpoint,
        "rollouts": _rollouts,
        "models": _models,
        "versions": _versions,
        "audit": _audit,
        "connections": _connections,
    }
)
HOME: Final = "fleet"
