"""What a registry knows: models, versions, aliases, lineage. Times are aware datetimes in UTC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from mlrelease_tui.domain.refs import ModelRef, VersionRef
from mlrelease_tui.domain.text import SafeText

NO_TAGS: Final[Mapping[str, SafeText]] = MappingProxyType({})


class Readiness(StrEnum):
    """Whether a version can be served, as the registry says. Anything it does not say is UNKNOWN, which blocks a promote."""

    READY = "ready"
    PENDING = "pending"
    FAILED = "failed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Dataset:
    """A data set that a run read: its name and the digest that the registry recorded."""

    name: SafeText
    digest: SafeText
    context: SafeText = field(default_factory=SafeText)


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a version comes from. A metric is a float or, where a float would lie (NaN, Inf, "12"), the text that was stored."""

    run_id: SafeText
    run_name: SafeText = field(default_factory=SafeText)
    params: Mapping[str, SafeText] = field(default_factory=lambda: NO_TAGS)
    metrics: Mapping[str, float | SafeText] = field(default_factory=lambda: MappingProxyType({}))
    datasets: tuple[Dataset, ...] = ()
    signature_inputs: SafeText = field(default_factory=SafeText)
    signature_outputs: SafeText = field(default_factory=SafeText)
    user: SafeText = field(default_factory=SafeText)
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AliasStamp:
    """What we wrote beside an alias when it last moved: who, why, from where, by which intent.

    `version` is where that move put the alias. Where the alias now names another version, someone moved it without us.
    """

    alias: str
    version: str
    previous: str
    by: SafeText
    why: SafeText
    intent_id: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Model:
    """A registered model. `aliases` maps alias → version as the registry has it now. Equal where all but `observed_at` is."""

    ref: ModelRef
    aliases: Mapping[str, str]
    description: SafeText = field(default_factory=SafeText)
    tags: Mapping[str, SafeText] = field(default_factory=lambda: NO_TAGS)
    latest_version: str = ""
    version_count: int | None = None
    stamps: Mapping[str, AliasStamp] = field(default_factory=lambda: MappingProxyType({}))
    updated_at: datetime | None = None
    observed_at: datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One version. `digest` identifies the artifact ("" where the registry keeps none); `lineage` is None until it was read."""

    ref: VersionRef
    readiness: Readiness
    readiness_message: SafeText = field(default_factory=SafeText)
    source: SafeText = field(default_factory=SafeText)
    digest: str = ""
    run_id: str = ""
    description: SafeText = field(default_factory=SafeText)
    tags: Mapping[str, SafeText] = field(default_factory=lambda: NO_TAGS)
    aliases: tuple[str, ...] = ()
    created_at: datetime | None = None
    created_by: SafeText = field(default_factory=SafeText)
    lineage: Lineage | None = None
    observed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class VersionPage:
    """One page of a model's versions, newest first; `next_token` is "" on the last page."""

    versions: tuple[ModelVersion, ...]
    next_token: str = ""
