"""Which workloads are shown of kinds that mostly serve no model."""

from __future__ import annotations

from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.marks import MODEL, VERSION, said
from mlrelease_tui.connectors.kubernetes.objects import name, namespace, owner_uid, table
from mlrelease_tui.connectors.kubernetes.pods import TEMPLATE, identity_of
from mlrelease_tui.connectors.kubernetes.workloads.api import World
from mlrelease_tui.domain.rollout import BindingSource


def shown(item: Object, world: World, *, at: tuple[str, ...] = TEMPLATE) -> bool:
    """Whether it is an endpoint: nobody else controls it, and it says that it serves a model, or configuration does, or all are.

    `at` is where it keeps its pod template.
    """
    if owner_uid(item):
        return False
    if world.choice.everything or (namespace(item), name(item)) in world.choice.bound:
        return True
    return serves_model(item, at=at)


def serves_model(item: Object, *, at: tuple[str, ...] = TEMPLATE) -> bool:
    """Whether its marks, or a model URI in its containers, say that it serves a model."""
    template = table(item, *at)
    if any(said(found, key) for found in (item, template) for key in (MODEL, VERSION)):
        return True
    return identity_of(template, item).source is BindingSource.STORAGE_URI
