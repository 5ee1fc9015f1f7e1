"""Finding connectors: entry points in the group `mlrelease_tui.connectors`.

Names are read without importing anything. A plugin that raises or asks to exit while it is imported or built is reported as
broken and takes nothing else with it. One that blocks at import blocks the start: a plugin is code that the operator trusts.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, distributions, entry_points

from mlrelease_tui.connectors.api import GROUP, Connector, ConnectorFactory, Settings
from mlrelease_tui.domain.redaction import unforeseen
from mlrelease_tui.errors import ConfigError

OWN_DISTRIBUTION = "mlrelease-tui"


@dataclass(frozen=True, slots=True)
class Plugin:
    """One offered connector kind: its name, and the distribution that offers it."""

    kind: str
    distribution: str
    version: str

    @property
    def is_own(self) -> bool:
        return self.distribution == OWN_DISTRIBUTION


@cache
def _entries() -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for entry in _offered()[0]:
        # Our own kinds can't be shadowed: a package must not replace the connector behind a known word.
        if entry.name not in found or _origin(entry)[0] == OWN_DISTRIBUTION:
            found[entry.name] = entry
    return found


@cache
def _offered() -> tuple[tuple[EntryPoint, ...], tuple[str, ...]]:
    """Every entry point of the group, and where packages are whose own description can't be read."""
    try:
        return tuple(entry_points(group=GROUP)), ()
    except Exception:
        # One package with a damaged description takes the listing of all with it: each for itself, then.
        found: list[EntryPoint] = []
        broken: list[str] = []
        for distribution in distributions():
            try:
                found += distribution.entry_points.select(group=GROUP)
            except Exception:
                broken.append(str(distribution.locate_file("")))
        return tuple(found), tuple(broken)


def _origin(entry: EntryPoint) -> tuple[str, str]:
    """Name and version of the distribution that an entry point is of; "" where it does not say."""
    try:
        return (entry.dist.name or "", entry.dist.version or "") if entry.dist is not None else ("", "")
    except Exception:
        return "", ""


def unreadable() -> tuple[str, ...]:
    """The folders in which packages are installed whose description can't be read: what they offer is not known."""
    return _offered()[1]


def names() -> tuple[str, ...]:
    """The connector kinds on offer, sorted. Imports no connector."""
    return tuple(sorted(_entries()))


def plugins() -> tuple[Plugin, ...]:
    """The same with the distribution each comes from."""
    return tuple(Plugin(name, *_origin(entry)) for name, entry in sorted(_entries().items()))


def load(kind: str) -> ConnectorFactory:
    """Import the factory of `kind`. ConfigError where there is none, or where its import fails."""
    entry = _entries().get(kind)
    if entry is None:
        raise ConfigError(f"no connector of kind {kind!r} is installed", hint=f"installed kinds: {', '.join(names())}")
    try:
        factory = entry.load()
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"the connector {kind!r} can't be loaded: {unforeseen(error)}",
            hint="reinstall the package that offers it, or remove its connections from the configuration",
        ) from error
    if not isinstance(factory, ConnectorFactory):
        raise ConfigError(f"the connector {kind!r} is no ConnectorFactory", hint="its entry point must name one")
    return factory


def prepare(kind: str) -> None:
    """Import what connections of `kind` will want. ConfigError where it can't be loaded; what else fails, `connect` tells."""
    factory = load(kind)
    with suppress(Exception, SystemExit):
        for name in factory.modules:
            import_module(name)


def connect(kind: str, settings: Settings) -> Connector:
    """A connector of `kind` for one connection. ConfigError for whatever is wrong with it, the factory's own faults included."""
    factory = load(kind)
    try:
        made = factory(settings)
        if not isinstance(made, Connector):
            raise TypeError(f"its factory made {type(made).__name__}, which is no connector")
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:
        raise ConfigError(
            f"the connector {kind!r} failed to start for {settings.name!r}: {unforeseen(error)}",
            hint="this is a fault of the connector; its author wants to know",
        ) from error
    return made
