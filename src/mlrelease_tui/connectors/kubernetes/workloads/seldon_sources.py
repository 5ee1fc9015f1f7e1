"""What a part of Seldon's objects serves: a predictor of a SeldonDeployment, a Model; and how another version is put there.

A predictor names its model in `graph…modelUri` (prepackaged servers) or in the image of a component. A Model names it in
`storageUri`, and may pick a folder of it by `artifactVersion`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.objects import at, items, notes, table, text
from mlrelease_tui.connectors.kubernetes.patching import Op, pointer, test
from mlrelease_tui.connectors.kubernetes.patching import replace as put
from mlrelease_tui.connectors.kubernetes.pods import Identity, deploy_ops, identity_of
from mlrelease_tui.connectors.kubernetes.workloads.kserve_source import pattern_of, source_of, sources_of, uri_for
from mlrelease_tui.domain.rollout import BindingSource
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Refused


@dataclass(frozen=True, slots=True)
class Named:
    """A URI and where it stands, as keys and list positions below its object."""

    uri: str
    path: tuple[str, ...]


def uri_in(graph: Object, path: tuple[str, ...] = ("graph",)) -> Named | None:
    """The first model URI of a graph, the root's first; None where images carry the models."""
    if uri := text(graph, "modelUri"):
        return Named(uri, (*path, "modelUri"))
    for place, child in enumerate(items(graph, "children")):
        found = uri_in(child, (*path, "children", str(place)))
        if found is not None:
            return found
    return None


def predictor_identity(predictor: Object, owner: Object) -> Identity:
    """What a predictor serves: its own label or annotation, its model URI, the image of its first component."""
    found = _by_uri(uri_in(table(predictor, "graph")), owner) or _by_image(predictor, owner)
    marked = {**table(predictor, "labels"), **table(predictor, "annotations")}
    version = str(marked.get(marks.VERSION) or found.version)
    return _tied(Identity(found.model, version, found.digest, found.source), owner)


def model_identity(model: Object) -> Identity:
    """What a Model of Seldon Core 2 serves."""
    source = source_of(text(model, "spec", "storageUri"), pattern_of(model))
    version = marks.said(model, marks.VERSION) or text(model, "spec", "artifactVersion") or source.version
    kind = BindingSource.STORAGE_URI if source.model else BindingSource.NONE
    return _tied(Identity(source.model, version, "", kind), model)


def _by_uri(named: Named | None, owner: Object) -> Identity | None:
    if named is None:
        return None
    source = source_of(named.uri, pattern_of(owner))
    kind = BindingSource.STORAGE_URI if source.model else BindingSource.NONE
    return Identity(source.model, source.version, "", kind)


def _by_image(predictor: Object, owner: Object) -> Identity:
    components = items(predictor, "componentSpecs")
    return identity_of(components[0] if components else {}, owner)


def _tied(found: Identity, owner: Object) -> Identity:
    """The model that its object names wins over what a URI looks like."""
    model = marks.said(owner, marks.MODEL)
    if not model:
        return found
    source = BindingSource.ANNOTATION if marks.MODEL in notes(owner) else BindingSource.LABEL
    return Identity(model, found.version, found.digest, source)


def predictor_ops(owner: Object, index: int, artifact: Artifact, *, to: int | None = None) -> tuple[Op, ...]:
    """The operations that have the predictor at `to` (itself by default) serve another version, made of the one at `index`: what
    stands there is tested, what is written goes to the other. Refused where its version is named nowhere that we know."""
    predictor = items(owner, "spec", "predictors")[index]
    named = uri_in(table(predictor, "graph"))
    source, root = ("spec", "predictors", str(index)), pointer("spec", "predictors", str(index if to is None else to))
    if named is not None:
        path = pointer(*source, *named.path)
        ops: tuple[Op, ...] = (test(path, named.uri), put(path, _other(owner, named.uri, artifact, _uris(owner))))
    else:
        ops = _component_ops(owner, predictor, source, artifact)
    marked = [
        put(pointer(*source, kind, marks.VERSION), artifact.version)
        for kind in ("labels", "annotations")
        if marks.VERSION in table(predictor, kind)
    ]
    moved = pointer(*source)
    return tuple(
        op if op["op"] == "test" else {**op, "path": root + str(op["path"]).removeprefix(moved)}
        for op in (*ops, *marked)
    )


def _component_ops(owner: Object, predictor: Object, source: tuple[str, ...], artifact: Artifact) -> tuple[Op, ...]:
    components = items(predictor, "componentSpecs")
    if not components:
        raise Refused(
            f"the predictor {SafeText(text(predictor, 'name'))} names its model nowhere that we know",
            hint="give its graph a modelUri, or a component with an image",
        )
    # Lists are tables by position here: paths are read as keys.
    place = (*source, "componentSpecs", "0")
    nested: Any = components[0]
    for key in reversed(place):
        nested = {key: nested}
    return deploy_ops({"metadata": at(owner, "metadata"), **nested}, artifact, at=place)


def model_ops(model: Object, artifact: Artifact, others: Sequence[Object] = ()) -> tuple[Op, ...]:
    """The operations that have a Model serve another version. `others` may have run it: then their URI is taken."""
    now = at(model, "spec", "artifactVersion")
    if now is not None:
        if not artifact.version.isdigit():
            raise Refused(
                f"{SafeText(text(model, 'metadata', 'name'))} picks its version by artifactVersion, a number",
                hint=f"{SafeText(artifact.version)} is none",
            )
        return (test("/spec/artifactVersion", now), put("/spec/artifactVersion", int(artifact.version)))
    uri = text(model, "spec", "storageUri")
    known = [uri, *(text(one, "spec", "storageUri") for one in others)]
    wanted = _other(model, uri, artifact, known)
    ops: tuple[Op, ...] = (test("/spec/storageUri", uri), put("/spec/storageUri", wanted))
    for kind in ("annotations", "labels"):
        if marks.VERSION in table(model, "metadata", kind):
            ops = (*ops, put(pointer("metadata", kind, marks.VERSION), artifact.version))
    return ops


def _uris(owner: Object) -> list[str]:
    found = [uri_in(table(one, "graph")) for one in items(owner, "spec", "predictors")]
    return [one.uri for one in found if one is not None]


def _other(owner: Object, uri: str, artifact: Artifact, known: Sequence[str]) -> str:
    shaped: Mapping[str, Any] = {
        "metadata": at(owner, "metadata"),
        "spec": {"predictor": {"model": {"storageUri": uri}}},
    }
    return uri_for(shaped, artifact, sources_of(dict.fromkeys(known), pattern_of(owner)), server="Seldon")
