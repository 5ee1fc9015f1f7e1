"""What is known of a connection itself: does it answer, as whom, how fast, and what it can do."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from urllib.parse import quote

from mlrelease_tui.domain.text import SafeText, raw


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
    `model_page` and `version_page` are where a browser shows a model and a version of a registry, with `{model}` and
    `{version}` for their names, "" where there is no such page.
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
    model_page: str = ""
    version_page: str = ""
    observed_at: datetime | None = None


def page_of(template: str, model: str, version: str = "") -> str:
    """A registry's page with the names filled in, percent-encoded (RFC 3986); "" where there is no template."""
    filled = template.replace("{model}", quote(raw(model), safe="", errors="replace"))
    return filled.replace("{version}", quote(raw(version), safe="", errors="replace"))
