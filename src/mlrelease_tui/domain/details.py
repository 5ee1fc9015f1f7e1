"""What a backend knows of an endpoint beneath its variants: its replicas, what happened to them, what else bears on it.

Read when somebody looks at it, never with every reading of the fleet, and kept no longer than it is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.text import EMPTY, SafeText


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that the backend says happened, `count` times up to `at`. `about` names what it happened to: "Pod fraud-x"."""

    at: datetime | None
    warning: bool
    reason: SafeText
    about: SafeText
    text: SafeText
    count: int = 1
    by: SafeText = EMPTY


@dataclass(frozen=True, slots=True)
class Replica:
    """One process, container or pod of a variant. `state` is the backend's word; `why` how it ended before, where it began anew."""

    name: SafeText
    variant: str
    ready: bool
    state: SafeText
    restarts: int = 0
    why: SafeText = EMPTY
    node: SafeText = EMPTY
    image: SafeText = EMPTY
    asks: SafeText = EMPTY
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Details:
    """All of it, or why there is none (`error`, and what helps in `hint`).

    `happenings` are newest first. `bearings` are other objects that bear on it, by a word of ours ("scaled by", "budget"). `notes`
    say what could not be read.
    """

    endpoint: EndpointRef
    at: datetime
    replicas: tuple[Replica, ...] = ()
    happenings: tuple[Happening, ...] = ()
    bearings: tuple[tuple[str, SafeText], ...] = ()
    notes: tuple[SafeText, ...] = ()
    error: SafeText = EMPTY
    hint: SafeText = EMPTY
