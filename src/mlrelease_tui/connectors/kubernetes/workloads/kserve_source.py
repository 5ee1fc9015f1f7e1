"""What a storage URI says of the model and version that it holds, and where an InferenceService names it.

KServe fetches `s3://models/fraud/3` and knows no versions. A URI names one in its last or second-last part where that looks like a
number; `mlrelease.dev/source: s3://models/fraud/{version}` on the InferenceService says it better.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.marks import PREFIX, said
from mlrelease_tui.connectors.kubernetes.objects import items, name, notes, table, text
from mlrelease_tui.connectors.kubernetes.patching import pointer
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Refused

PATTERN: Final = f"{PREFIX}source"
"""Annotation: the storage URI of a version, with `{version}` in its place."""
RUNS: Final = "internal.serving.kserve.io/storage-initializer-sourceuri"
"""What KServe writes on every Revision, Deployment, ReplicaSet and pod: the URI that it really fetches."""
_REGISTRY: Final = re.compile(r"models:/+(?P<model>[^/@\s]+)/(?P<version>[^/@\s]+)$")
_VERSION: Final = re.compile(r"[vV]?\d+([._-][0-9A-Za-z]+)*$")
_GENERIC: Final = frozenset({"model", "models", "artifacts", "data", "default"})
_FETCHED: Final = re.compile(r"(gs|s3|pvc|file|https?|hdfs|webhdfs|oci|hf)://\S+$")
_RUN: Final = re.compile(r"[0-9a-f]{32}$")


@dataclass(frozen=True, slots=True)
class Source:
    """A storage URI, the version that it names (never "") and the model, "" where that can't be told."""

    uri: str
    version: str
    model: str = ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an InferenceService names its model: a JSON pointer, and what stands there."""

    pointer: str
    uri: str


def place_of(item: Object) -> Place | None:
    """Where its predictor's storage URI stands, None where it has none (a container with the model in its image)."""
    predictor = table(item, "spec", "predictor")
    for key in ("model", *sorted(predictor)):
        if uri := text(predictor, key, "storageUri"):
            return Place(pointer("spec", "predictor", key, "storageUri"), uri)
    for index, container in enumerate(items(predictor, "containers")):
        for place, entry in enumerate(items(container, "env")):
            if entry.get("name") == "STORAGE_URI" and (uri := text(entry, "value")):
                path = pointer("spec", "predictor", "containers", str(index), "env", str(place), "value")
                return Place(path, uri)
    return None


def source_of(uri: str, pattern: str = "") -> Source:
    """The version that a URI names: by the pattern, by the registry's own scheme, by its last parts."""
    if pattern and (found := _by_pattern(uri, pattern)):
        return Source(uri, found, _model_before(pattern.partition("{version}")[0]))
    if registered := _REGISTRY.match(uri):
        return Source(uri, registered["version"], registered["model"])
    parts = [part for part in uri.partition("://")[2].split("/") if part] or [uri or "unknown"]
    for back in (1, 2):
        if len(parts) > back and _VERSION.match(parts[-back]):
            before = parts[-back - 1]
            return Source(uri, parts[-back], "" if before in _GENERIC else before)
    last = next((part for part in reversed(parts) if part not in _GENERIC), parts[-1])
    return Source(uri, last[:8] if _RUN.match(last) else last)


def sources_of(uris: Iterable[str], pattern: str = "") -> Mapping[str, Source]:
    """Each URI with its version. Two URIs that would have one name are told apart by a hash of theirs."""
    found = {uri: source_of(uri, pattern) for uri in uris}
    named = [source.version for source in found.values()]
    return {
        uri: source
        if named.count(source.version) == 1
        else Source(uri, f"{source.version}~{hashlib.sha256(uri.encode()).hexdigest()[:6]}", source.model)
        for uri, source in found.items()
    }


def uri_for(item: Object, artifact: Artifact, known: Mapping[str, Source], *, server: str = "KServe") -> str:
    """The URI of a version: by the pattern, as it ran here before, as the registry says where KServe can fetch that, or the running
    one with the other version in its place. Refused where none of these can be said. `server` is who would fetch it.

    `models:/fraud/3` is never written: KServe takes it for a path and rolls it out.
    """
    version, place = artifact.version, place_of(item)
    if place is None:
        raise Refused(
            f"{SafeText(name(item))} names its model in no storage URI",
            hint="change its container's image where it is deployed from",
        )
    if pattern := str(notes(item).get(PATTERN) or ""):
        return _fetched(pattern.replace("{version}", version), item, server)
    for source in known.values():
        if source.version == version and source.uri:
            return source.uri
    if _FETCHED.match(artifact.uri):
        return artifact.uri
    now = known.get(place.uri) or source_of(place.uri)
    head, slash, rest = place.uri.rpartition(f"/{now.version}")
    if _VERSION.match(now.version) and slash and (not rest or rest.startswith("/")) and "/" not in version and version:
        return _fetched(f"{head}/{version}{rest}", item, server)
    raise Refused(
        f"nothing says from where {SafeText(name(item))} would fetch version {SafeText(version)}",
        hint=f"annotate it: {PATTERN}=s3://bucket/model/{{version}}",
    )


def _fetched(uri: str, item: Object, server: str) -> str:
    if _FETCHED.match(uri):
        return uri
    raise Refused(
        f"{SafeText(name(item))} would fetch {SafeText(uri)}, which {server} can't: it takes it for a path and rolls it out",
        hint=f"annotate it: {PATTERN}=s3://bucket/model/{{version}}",
    )


def pattern_of(item: Object) -> str:
    return said(item, PATTERN)


def _by_pattern(uri: str, pattern: str) -> str:
    head, mark, tail = pattern.partition("{version}")
    if not mark or not uri.startswith(head) or not uri.endswith(tail) or len(uri) <= len(head) + len(tail):
        return ""
    return uri[len(head) : len(uri) - len(tail)]


def _model_before(head: str) -> str:
    parts = [part for part in head.partition("://")[2].split("/") if part]
    return parts[-1] if head.endswith("/") and len(parts) > 1 and parts[-1] not in _GENERIC else ""
