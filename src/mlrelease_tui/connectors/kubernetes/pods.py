"""What a pod template says of the model that it serves, and how another version is put there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.marks import IMAGE, MODEL, VERSION, said
from mlrelease_tui.connectors.kubernetes.objects import items, notes, table, text
from mlrelease_tui.connectors.kubernetes.patching import Op, add, pointer, replace, test
from mlrelease_tui.domain.rollout import BindingSource
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Refused

_MODEL_URI: Final = re.compile(r"models:/(?P<name>[^/@\s]+)(?:/(?P<version>[^/@\s]+)|@(?P<alias>[^/@\s]+))$")
_TOLD_APART: Final = re.compile(r"(?P<version>[^+]+)\+[0-9a-z]+$")
"""What we call one of two templates of one version: no registry has it under that name, and no image a tag."""
TEMPLATE: Final = ("spec", "template")
"""Where most workloads keep their pod template."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image reference in parts: `repository[:tag][@digest]`."""

    repository: str
    tag: str = ""
    digest: str = ""

    @classmethod
    def parse(cls, reference: str) -> Image:
        rest, _, digest = reference.partition("@")
        head, slash, last = rest.rpartition("/")
        repository, _, tag = last.partition(":")
        return cls(f"{head}{slash}{repository}", tag, digest)

    def __str__(self) -> str:
        return self.repository + (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")


@dataclass(frozen=True, slots=True)
class Identity:
    """Which model and version a template runs, and where the model was read (NONE where there is none but an image). `version` is
    never ""."""

    model: str
    version: str
    digest: str
    source: BindingSource


def identity_of(template: Object, owner: Object) -> Identity:
    """Labels and annotations first (the template's for the version, the owner's for the model), then a model URI in an argument or
    variable of a container, then the image: its tag, else its digest.

    A URI that names an alias (`models:/fraud@champion`) loads what that pointed at when the pod started: nobody can say which.
    """
    images = [Image.parse(text(container, "image")) for container in items(template, "spec", "containers")]
    image = images[0] if images else Image("")
    uris = [found for value in _texts(template) if (found := _MODEL_URI.search(value))]
    model, source = _model(template, owner, uris)
    if version := said(template, VERSION):
        return Identity(model, version, image.digest, source)
    if uris:
        version = uris[0]["version"] or f"@{uris[0]['alias']}"
        return Identity(model, version, image.digest, source)
    if image.tag:
        return Identity(model, image.tag, image.digest, source)
    version = image.digest.removeprefix("sha256:")[:12] or "unknown"
    return Identity(model, version, image.digest, source if model else BindingSource.DIGEST)


def _model(template: Object, owner: Object, uris: list[re.Match[str]]) -> tuple[str, BindingSource]:
    for item in (owner, template):
        if model := said(item, MODEL):
            return model, BindingSource.ANNOTATION if MODEL in notes(item) else BindingSource.LABEL
    return (uris[0]["name"], BindingSource.STORAGE_URI) if uris else ("", BindingSource.NONE)


def _texts(template: Object) -> Iterator[str]:
    for container in items(template, "spec", "containers"):
        for entry in items(container, "env"):
            yield text(entry, "value")
        for part in (*items(container, "command"), *items(container, "args")):
            yield str(part).partition("=")[2] or str(part)


def deploy_ops(owner: Object, artifact: Artifact, *, at: tuple[str, ...] = TEMPLATE) -> tuple[Op, ...]:
    """The operations that put another version into the pod template `at` this place: where the running one is named, the new one is
    named instead.

    Named by a template of ours in an annotation (`mlrelease.dev/image: registry/scorer:{version}`), by a model URI in the
    environment or arguments, or by the image's tag. Refused where it is named nowhere.
    """
    if told := _TOLD_APART.match(artifact.version):
        raise Refused(
            f"{SafeText(artifact.version)} is another template of {SafeText(told['version'])}, which is not kept any more",
            hint=f"promote {SafeText(told['version'])}",
        )
    template, root = table(owner, *at), pointer(*at)
    found: list[Op] = []
    containers = items(template, "spec", "containers")
    if pattern := said(owner, IMAGE):
        found += _image_ops(root, containers, pattern.replace("{version}", artifact.version))
    else:
        found += _uri_ops(root, containers, artifact)
        if not found:
            found += _tag_ops(root, containers, identity_of(template, owner), artifact)
    if not found:
        raise Refused(
            f"the pod template of {SafeText(text(owner, 'metadata', 'name'))} names its version nowhere that we know",
            hint=f"annotate it: {IMAGE}=registry/image:{{version}}",
        )
    return (*found, *_label_ops(root, template, artifact.version))


def image_tests(owner: Object, *, at: tuple[str, ...] = TEMPLATE) -> tuple[Op, ...]:
    """Tests that its containers run the images that were read."""
    containers = items(table(owner, *at), "spec", "containers")
    return tuple(
        test(pointer(*at, "spec", "containers", str(index), "image"), text(container, "image"))
        for index, container in enumerate(containers)
    )


def _image_ops(root: str, containers: list[Any], image: str) -> list[Op]:
    if not containers:
        return []
    path = f"{root}/spec/containers/0/image"
    return [test(path, text(containers[0], "image")), replace(path, image)]


def _uri_ops(root: str, containers: list[Any], artifact: Artifact) -> list[Op]:
    if not artifact.uri:
        return []
    found: list[Op] = []
    for index, container in enumerate(containers):
        for key, entries in (
            ("env", items(container, "env")),
            ("command", items(container, "command")),
            ("args", items(container, "args")),
        ):
            for place, entry in enumerate(entries):
                value = text(entry, "value") if isinstance(entry, Mapping) else str(entry)
                if not _MODEL_URI.search(value):
                    continue
                path = f"{root}/spec/containers/{index}/{key}/{place}" + ("/value" if key == "env" else "")
                found += [test(path, value), replace(path, _MODEL_URI.sub(lambda _: artifact.uri, value))]
    return found


def _tag_ops(root: str, containers: list[Any], running: Identity, artifact: Artifact) -> list[Op]:
    for index, container in enumerate(containers):
        written = text(container, "image")
        image = Image.parse(written)
        if image.tag and image.tag == running.version:
            other = Image(image.repository, artifact.version, artifact.digest if image.digest else "")
            path = f"{root}/spec/containers/{index}/image"
            return [test(path, written), replace(path, str(other))]
    return []


def _label_ops(root: str, template: Object, version: str) -> list[Op]:
    """The version on the template itself, so that it stays with a ReplicaSet: only where one stands there already."""
    for kind in ("annotations", "labels"):
        if VERSION in table(template, "metadata", kind):
            return [add(f"{root}/metadata/{kind}/{VERSION.replace('/', '~1')}", version)]
    return []
