"""What is known of a connection itself: does it answer, as whom, how fast, and what it can do."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from mlrelease_tui.domain.text import SafeText


class LinkState(StrEnum):
    """OK answers · SLOW answers late · DOWN refuses or is silent · AUTH does not accept our credential ·
    BROKEN the connector itself failed · UNKNOWN was not asked yet."""

    OK = "ok"
    SLOW = "slow"
    DOWN = "down"
    AUTH = "auth"
    BROKEN = "broken"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class ConnectionHealth:
    """One look at a connection. `latency_s` in seconds; `identity` is what the server calls us, "" where it does not say;
    `credential_source` names where the credential came from ("env", "command"), never its value; `capabilities` are the
    words of the connector api; `warnings` are facts an operator should know (no authentication on the server, clock skew).
    """

    name: str
    kind: str
    state: LinkState
    environment: str = ""
    error_code: str = ""
    error: SafeText = field(default_factory=SafeText)
    hint: SafeText = field(default_factory=SafeText)
    latency_s: float | None = None
    identity: SafeText = field(default_factory=SafeText)
    server: SafeText = field(default_factory=SafeText)
    address: SafeText = field(default_factory=SafeText)
    credential_source: str = ""
    capabilities: tuple[str, ...] = ()
    warnings: tuple[SafeText, ...] = ()
    observed_at: datetime | None = None
