"""Which versions of a model are on the screen, in which order, and which aliases name each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from mlrelease_tui.domain.models import ModelVersion, Readiness
from mlrelease_tui.presentation import versions as view
from mlrelease_tui.presentation.matching import matches


@dataclass(frozen=True, slots=True)
class Listing:
    """What the list is made from; equal means that it need not be made again."""

    versions: tuple[ModelVersion, ...]
    aliases: tuple[tuple[str, str], ...]
    wanted: str
    problems_only: bool
    sorted_by: str
    reversed: bool

    def same_as(self, other: Listing | None) -> bool:
        # Ten thousand versions are the same tuple until a page comes: comparing them one by one would cost each frame.
        return (
            other is not None
            and self.versions is other.versions
            and (self.aliases, self.wanted, self.problems_only, self.sorted_by, self.reversed)
            == (other.aliases, other.wanted, other.problems_only, other.sorted_by, other.reversed)
        )


class ListedVersions:
    """The list, made anew where what it is made from has changed."""

    def __init__(self) -> None:
        self._made_from: Listing | None = None
        self._aliases: dict[str, tuple[str, ...]] = {}
        self._shown: dict[str, ModelVersion] = {}
        self._all: tuple[object, Mapping[str, ModelVersion]] = (None, {})

    @property
    def shown(self) -> Mapping[str, ModelVersion]:
        """Versions by row key, in the order of the rows."""
        return self._shown

    def version(self, key: str) -> ModelVersion | None:
        """The version of that row key, whether a filter shows it or not."""
        versions = self._made_from.versions if self._made_from is not None else ()
        if self._all[0] is not versions:
            self._all = (versions, {version.ref.id: version for version in versions})
        return self._all[1].get(key)

    def forget(self) -> None:
        """The next listing is another model's."""
        self._made_from = None

    def make(self, listing: Listing) -> None:
        if listing.same_as(self._made_from):
            return
        self._made_from = listing
        self._aliases = {}
        for alias, version in listing.aliases:
            self._aliases[version] = (*self._aliases.get(version, ()), alias)
        items = [version for version in listing.versions if self._is_wanted(version, listing)]
        if listing.sorted_by == "readiness":
            items.sort(key=lambda version: view.readiness_rank(version.readiness))
        if listing.reversed:
            items.reverse()
        self._shown = {version.ref.id: version for version in items}

    def aliases_of(self, version: ModelVersion) -> tuple[str, ...]:
        """The aliases that name it now."""
        return self._aliases.get(version.ref.version, ())

    def found(self, wanted: str) -> Sequence[str]:
        """Keys of the rows that match `wanted`, in their order."""
        return [key for key, version in self._shown.items() if self._matches(version, wanted)]

    def older_first(self, keys: Collection[str]) -> list[str]:
        """`keys`, all of them listed, by age and whatever the order of the rows."""
        listed = [version.ref.id for version in (self._made_from.versions if self._made_from else ())]
        return sorted(keys, key=listed.index, reverse=True)

    def _is_wanted(self, version: ModelVersion, listing: Listing) -> bool:
        if listing.problems_only and version.readiness is Readiness.READY:
            return False
        return not listing.wanted or self._matches(version, listing.wanted)

    def _matches(self, version: ModelVersion, wanted: str) -> bool:
        return matches(view.text(version, self.aliases_of(version)), wanted)
