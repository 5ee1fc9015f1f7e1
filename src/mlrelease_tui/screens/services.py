"""What the app and its screens are given. The composition root builds the real ones, tests script them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mlrelease_tui.domain.action import ActionProgress, AuditCheck
    from mlrelease_tui.domain.intents import Intent
    from mlrelease_tui.domain.logs import LogWish
    from mlrelease_tui.domain.plan import Outcome, Plan, Refusal
    from mlrelease_tui.domain.refs import EndpointRef, ModelRef, VersionRef
    from mlrelease_tui.store.store import Store


class Reader(Protocol):
    """Who reads the backends. Requests return at once; answers come as facts."""

    def refresh(self, connection: str | None = None) -> None:
        """Read this connection again now, None for all."""
        ...

    def want_versions(self, model: ModelRef) -> None: ...

    def want_more_versions(self, model: ModelRef) -> None: ...

    def want_lineage(self, version: VersionRef) -> None: ...

    def want_log(self, wish: LogWish) -> None: ...

    def close_logs(self, endpoint: EndpointRef) -> None:
        """Nobody looks at the logs of this endpoint any more: forget them."""
        ...

    def want_details(self, endpoint: EndpointRef) -> None: ...

    def close_details(self, endpoint: EndpointRef) -> None:
        """Nobody looks at what is beneath this endpoint any more: forget it."""
        ...


class ActionDesk(Protocol):
    """Who makes plans and carries them out. It owns what is under way: cancelling who awaits it stops nothing."""

    async def prepare(self, intent: Intent) -> Plan | Refusal: ...

    async def submit(self, plan: Plan, *, why: str, typed: str = "") -> Outcome | Refusal: ...

    async def arm(self, minutes: int) -> Refusal | None: ...

    async def disarm(self) -> None: ...

    @property
    def busy(self) -> tuple[ActionProgress, ...]: ...


class Auditing(Protocol):
    """Who looks after the audit. What it finds in the log comes as facts; the verification is its answer."""

    async def look_again(self) -> None:
        """Read the log's end anew and judge again what was left open."""
        ...

    async def verify(self) -> AuditCheck:
        """Check every record and link. Takes as long as the log is long; never on the event loop's thread."""
        ...


@dataclass(frozen=True, slots=True)
class Appearance:
    """How it looks and answers. `theme` "" takes what fits the terminal. `mouse` None: off over SSH, on otherwise. `bell`: ring and
    set the title when something begins to burn. `slow`: draw as for a slow link from the start."""

    theme: str = ""
    ascii: bool = False
    key_preset: str = "default"
    keys: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    arm_minutes: int = 15
    mouse: bool | None = None
    bell: bool = True
    slow: bool = False


@dataclass(frozen=True, slots=True)
class Services:
    """`now` is the clock (UTC); `crash_dir` is where a crash is written down, None for nowhere; `audit` is None in
    tests that need none."""

    store: Store
    reader: Reader
    desk: ActionDesk
    operator: str
    now: Callable[[], datetime]
    appearance: Appearance = field(default_factory=Appearance)
    crash_dir: Path | None = None
    monotonic: Callable[[], float] = time.monotonic
    audit: Auditing | None = None
