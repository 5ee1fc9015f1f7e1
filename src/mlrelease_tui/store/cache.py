"""The last known fleet, kept for the first paint of the next start.

A cache only: it may be lost, and everything that comes from it is shown as stale until its connection answers. Codec:
msgspec, which checks the types, so that a damaged or foreign file is as good as none.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from types import MappingProxyType, NoneType
from typing import Any, Final, TypeVar, cast

from mlrelease_tui.domain.connection import ConnectionHealth, LinkState
from mlrelease_tui.domain.metrics import VariantSample
from mlrelease_tui.domain.models import Model
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint, VerbSupport
from mlrelease_tui.domain.text import MAX_LENGTH, SafeText
from mlrelease_tui.store.select import since
from mlrelease_tui.store.state import Freshness, Series, State

VERSION: Final = 3
MAX_BYTES: Final = 64 * 1024 * 1024
SAMPLES_MAX_AGE: Final = timedelta(minutes=5)
MAX_MODELS: Final = 2_000
"""Models kept: those of the fleet are wanted at once, the rest is read when its screen is opened."""

_HARMLESS: Final = frozenset({SafeText, NoneType, bool, int, float, datetime})
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LastKnown:
    """What is kept, and of when. `config` is the configuration file it belongs to.

    `samples` are each variant's last reading: the next command's window opens there. Their monotonic times mean something
    only in the boot that `boot_id` names. What backends say of verbs is much the same for all their endpoints, and most of what is
    said of one: `verbs` holds each set once, `verbs_of` its index by endpoint, and the endpoints themselves none.
    """

    version: int
    config: str
    saved_at: datetime
    endpoints: tuple[Endpoint, ...]
    models: tuple[Model, ...]
    connections: tuple[ConnectionHealth, ...]
    samples: tuple[VariantSample, ...]
    boot_id: str
    verbs: tuple[tuple[VerbSupport, ...], ...]
    verbs_of: tuple[int, ...]


def save(path: Path, state: State, *, config: str, now: datetime) -> None:
    """Write the state's fleet to `path`, whole or not at all, readable by its owner only. OSError where it can't be."""
    import msgspec

    bound = {endpoint.model for endpoint in state.endpoints.values()}
    sets: dict[tuple[VerbSupport, ...], int] = {}
    seen = [item for ref in state.endpoints if (item := state.seen(ref)) is not None]
    verbs_of = tuple(sets.setdefault(item.verbs, len(sets)) for item in seen)
    models = sorted(state.models.values(), key=lambda model: (model.ref not in bound, model.ref))[:MAX_MODELS]
    kept = LastKnown(
        VERSION,
        config,
        now,
        tuple(replace(item, verbs=()) for item in seen),
        tuple(models),
        tuple(state.connections.values()),
        tuple(_last_readings(state)),
        _boot_id(),
        tuple(sets),
        verbs_of,
    )
    content = msgspec.json.encode(kept, enc_hook=_encode)
    # Each by itself: `parents` would give those above the mode that the umask leaves, which may be everybody's.
    for folder in (*reversed(path.parent.parents), path.parent):
        folder.mkdir(mode=0o700, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _last_readings(state: State) -> Iterator[VariantSample]:
    """Each variant's last reading, where it was taken since the weights are as they are: a window may open there."""
    for ref, variants in state.series.items():
        for readings in variants.values():
            yield from since(readings[-1:], state.split_at.get(ref))


def load(path: Path, *, config: str, now: datetime) -> State:
    """The state of the last run with this configuration; an empty one where there is none that can be trusted."""
    import msgspec

    try:
        with os.fdopen(_open(path), "rb") as file:
            kept = _harmless(msgspec.json.decode(file.read(MAX_BYTES), type=LastKnown, dec_hook=_decode))
    except (OSError, msgspec.MsgspecError, ValueError, TypeError, RecursionError):
        return State()
    if kept.version != VERSION or kept.config != config:
        return State()
    try:
        endpoints = [
            replace(item, verbs=kept.verbs[index]) for item, index in zip(kept.endpoints, kept.verbs_of, strict=True)
        ]
    except (IndexError, ValueError):
        return State()
    return State(
        connections=MappingProxyType({item.name: _unasked(item) for item in kept.connections}),
        freshness=MappingProxyType({name: Freshness(read_at=kept.saved_at) for name in _names(kept)}),
        endpoints=MappingProxyType({item.ref: item for item in endpoints}),
        models=MappingProxyType({item.ref: item for item in kept.models}),
        series=_series(kept, now),
        from_cache=_names(kept),
    )


def _harmless(value: T) -> T:
    """`value` with its plain texts (names in references, versions) as safe as they were before they were written."""
    found: Any = value
    kind: type[Any] = type(found)
    if kind in _HARMLESS:
        return value
    if isinstance(value, str):
        if len(value) > MAX_LENGTH or not (value.isascii() and value.isprintable()):
            safe = SafeText(value)
            found = value if str(safe) == value else safe
    elif isinstance(value, tuple):
        items = tuple(_harmless(item) for item in value)
        found = value if all(new is old for new, old in zip(items, value, strict=True)) else items
    elif names := _names_of(cast(Hashable, kind)):
        new = {name: safe for name in names if (safe := _harmless(old := getattr(value, name))) is not old}
        if new:
            found = replace(found, **new)
    elif isinstance(value, Mapping):
        found = MappingProxyType({_harmless(key): _harmless(item) for key, item in value.items()})
    return cast(T, found)


@cache
def _names_of(kind: Any) -> tuple[str, ...]:
    return tuple(item.name for item in fields(kind)) if is_dataclass(kind) else ()


def _series(kept: LastKnown, now: datetime) -> Mapping[EndpointRef, Mapping[str, Series]]:
    """The last readings, where they are of this boot and young enough to open a window."""
    found: dict[EndpointRef, dict[str, Series]] = {}
    if kept.boot_id and kept.boot_id == _boot_id():
        for sample in kept.samples:
            if timedelta(0) <= now - sample.at <= SAMPLES_MAX_AGE:
                found.setdefault(sample.endpoint, {})[sample.variant] = (sample,)
    return MappingProxyType({ref: MappingProxyType(variants) for ref, variants in found.items()})


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def _names(kept: LastKnown) -> frozenset[str]:
    return frozenset({item.ref.connection for item in kept.endpoints} | {item.ref.connection for item in kept.models})


def _unasked(health: ConnectionHealth) -> ConnectionHealth:
    return replace(health, state=LinkState.UNKNOWN, latency_s=None)


def _open(path: Path) -> int:
    """A file that only its owner can have written. OSError otherwise."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    found = os.fstat(handle)
    if found.st_uid != os.getuid() or found.st_mode & 0o022:
        os.close(handle)
        raise PermissionError(f"{path} can be written by others")
    return handle


def _encode(value: object) -> Any:
    if isinstance(value, SafeText):
        return value.raw
    if isinstance(value, MappingProxyType):
        return dict(value)
    raise NotImplementedError(type(value).__name__)


def _decode(wanted: type, value: object) -> object:
    if wanted is SafeText and isinstance(value, str):
        return SafeText(value)
    raise NotImplementedError(wanted.__name__)
