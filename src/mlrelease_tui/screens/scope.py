"""Which part of the fleet is looked at: all, one connection, or one environment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from mlrelease_tui.domain.rollout import Endpoint


@dataclass(frozen=True, slots=True)
class Scope:
    """Only what is of this connection, only what is of this environment; "" asks for nothing."""

    connection: str = ""
    environment: str = ""

    def holds(self, endpoint: Endpoint) -> bool:
        return self.connection in {"", endpoint.ref.connection} and self.environment in {"", endpoint.environment}

    def __str__(self) -> str:
        return f"@{self.connection or self.environment}" if self.connection or self.environment else ""

    @property
    def id(self) -> str:
        """What it is chosen by."""
        if self.connection:
            return f"connection {self.connection}"
        return f"environment {self.environment}" if self.environment else "everything"


EVERYTHING: Final = Scope()


def _endpoints(count: int) -> str:
    return f"{count} endpoint{'s' if count != 1 else ''}"


def choices(connections: Iterable[str], endpoints: Iterable[Endpoint]) -> list[tuple[Scope, str]]:
    """What can be looked at alone, with a few words about it: everything, each environment, each connection that has endpoints."""
    known = list(endpoints)
    found = [(EVERYTHING, f"everything: {_endpoints(len(known))}")]
    for name in sorted({endpoint.environment for endpoint in known} - {""}):
        scope = Scope(environment=name)
        found.append((scope, f"environment {name}: {_endpoints(sum(map(scope.holds, known)))}"))
    for name in sorted({*connections, *(endpoint.ref.connection for endpoint in known)}):
        scope = Scope(connection=name)
        if count := sum(map(scope.holds, known)):
            found.append((scope, f"connection {name}: {_endpoints(count)}"))
    return found
