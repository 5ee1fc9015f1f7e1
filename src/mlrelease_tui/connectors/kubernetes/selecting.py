"""Asking for objects by a label selector, and for what may be seen only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import KubeApi, Resource
from mlrelease_tui.connectors.kubernetes.objects import items, table, text
from mlrelease_tui.errors import Forbidden

_OPERATORS: Final[Mapping[str, str]] = {"In": "in", "NotIn": "notin"}


def text_of(selector: Object) -> str:
    """A label selector as a query's text: `app=fraud,tier in (a,b),!old`. An empty one picks all."""
    parts = [f"{key}={value}" for key, value in table(selector, "matchLabels").items()]
    for rule in items(selector, "matchExpressions"):
        parts.append(_rule(rule))
    return ",".join(parts)


def _rule(rule: Mapping[str, Any]) -> str:
    key, operator = text(rule, "key"), text(rule, "operator")
    if operator in _OPERATORS:
        return f"{key} {_OPERATORS[operator]} ({','.join(str(value) for value in items(rule, 'values'))})"
    return key if operator == "Exists" else f"!{key}"


async def some(api: KubeApi, resource: Resource, namespace: str, *, labels: str = "") -> list[Object]:
    """The objects, none where we may not see them."""
    try:
        return list((await api.list(resource, namespace, labels=labels)).items)
    except Forbidden:
        return []


async def pods_of(api: KubeApi, pods: Resource, namespace: str, labels: str) -> list[Object]:
    """The pods that a selector picks, none where we may not see them; without a selector none are asked for."""
    return await some(api, pods, namespace, labels=labels) if labels else []
