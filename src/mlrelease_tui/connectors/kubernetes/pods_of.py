"""The pods of a variant, whatever that is: a ReplicaSet, a Deployment, a revision, a run, a Service in front of pods."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import KubeApi, Resource
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.objects import items, labels, name, owner_uid, table, text, uid
from mlrelease_tui.connectors.kubernetes.selecting import text_of
from mlrelease_tui.connectors.kubernetes.workloads.api import addressed
from mlrelease_tui.connectors.kubernetes.workloads.routes_splits import host_key
from mlrelease_tui.domain.rollout import Endpoint, Variant
from mlrelease_tui.domain.text import raw
from mlrelease_tui.errors import Forbidden, NotFound

_RUNS: Final = (("batch", "jobs"), ("batch", "cronjobs"))
_SETS: Final = (("apps", "replicasets"), ("apps", "deployments"), ("apps", "statefulsets"))
_FRONTS: Final = (("serving.knative.dev", "revisions"), ("", "services"))
_RULES: Final = ("networking.istio.io", "destinationrules")
_MIRROR: Final = " (mirror)"
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_FIRST: Final = {
    "CronJob": (*_RUNS, *_SETS, *_FRONTS),
    "Job": (*_RUNS, *_SETS, *_FRONTS),
    "HTTPRoute": (*_FRONTS, *_SETS),
    "VirtualService": (*_FRONTS, *_SETS),
}
"""Where one name is that of several objects, by the endpoint's own kind: which of them is meant."""
_LAST_RUNS: Final = 2
"""Runs of a schedule whose pods are looked for: the newest."""
_BY_ENDPOINT: Final = "serving.kserve.io/inferenceservice"
"""A label with the endpoint's own name, where nothing has the variant's."""
_SELDON: Final = "SeldonDeployment"
_PODLESS: Final = frozenset({"Seldon Experiment", "Seldon Model"})
"""Kinds whose models are loaded into pods of others: what has a model's name is something else."""
_OF_SELDON: Final = "seldon-deployment-id"
_OF_PREDICTOR: Final = "seldon-app"


@dataclass(frozen=True, slots=True)
class Found:
    """What a variant's name stands for: the object, and the label selector of its pods ("" where it has none)."""

    resource: Resource
    item: Object
    labels: str


async def pods_of_variant(api: KubeApi, served: Served, endpoint: Endpoint, variant: Variant) -> list[Object]:
    """The pods of a variant, ended ones too; none where nothing tells which they are. Forbidden where we may not see them."""
    pods = served.find("", "pods")
    if pods is None:
        return []
    place, own = raw(endpoint.ref.namespace), own_name(endpoint)
    # A backend of a route is named with its port or subset behind it, one that is only mirrored to is said to be so.
    wanted, _, part = raw(variant.name).removesuffix(_MIRROR).partition(":")
    if not _NAME.fullmatch(wanted) or endpoint.native.kind in _PODLESS:
        return []
    if endpoint.native.kind == _SELDON:
        listed = (await api.list(pods, place, labels=f"{_OF_SELDON}={own}")).items
        return predictor_pods(listed, own, wanted, [raw(one.name) for one in endpoint.variants])
    found = await _named(api, served, endpoint, wanted)
    if found is not None and part and not part.isdigit():
        found = await _subset(api, served, place, found, part)
    if found is not None and found.labels:
        return list((await api.list(pods, place, labels=found.labels)).items)
    if found is None and len(endpoint.variants) == 1:
        return list((await api.list(pods, place, labels=f"{_BY_ENDPOINT}={own}")).items)
    return []


def own_name(endpoint: Endpoint) -> str:
    """What the endpoint's object is called, also where its address says its kind as well."""
    address = raw(endpoint.ref.name)
    own = address.partition(".")[2]
    return own if own and addressed(raw(endpoint.native.kind), own) == address else address


def stem_of(endpoint: Endpoint, variant: Variant) -> str:
    """What the objects of a variant are called, or begin with: a predictor's name is that of nothing."""
    name_ = raw(variant.name)
    return f"{own_name(endpoint)}-{name_}" if endpoint.native.kind == _SELDON else name_


def predictor_pods(pods: Iterable[Object], own: str, wanted: str, predictors: Sequence[str]) -> list[Object]:
    """Those of a SeldonDeployment's pods that are one predictor's; all of them where it is the only one.

    Source: Seldon Core 1's operator. The pods with the orchestrator are labelled `seldon-app: NAME-PREDICTOR`; every pod has its
    Deployment's name as label `app`, NAME-PREDICTOR-NUMBER-CONTAINERS. A name of more than 63 characters is a hash: then nobody can
    say.
    """
    if len(predictors) == 1:
        return list(pods)
    return [pod for pod in pods if _predictor_of(pod, own, predictors) == wanted]


def _predictor_of(pod: Object, own: str, predictors: Sequence[str]) -> str:
    marked = labels(pod)
    for one in predictors:
        if marked.get(_OF_PREDICTOR) == f"{own}-{one}":
            return one
    called = str(marked.get("app") or "")
    fits = [one for one in predictors if re.match(rf"{re.escape(f'{own}-{one}')}-(\d+-|svc-orch$)", called)]
    # Of "main" and "main-0" both fit "fraud-main-0-1-scorer": the longer name is meant.
    return max(fits, key=len, default="")


async def _subset(api: KubeApi, served: Served, place: str, found: Found, subset: str) -> Found | None:
    """The part of a Service's pods that a DestinationRule calls so; None where none does."""
    rules = served.find(*_RULES)
    for rule in (await api.list(rules, place)).items if rules is not None else ():
        if host_key(text(rule, "spec", "host"), place) != (place, name(found.item)):
            continue
        for one in items(rule, "spec", "subsets"):
            if text(one, "name") == subset:
                more = text_of({"matchLabels": table(one, "labels")})
                return Found(found.resource, found.item, ",".join(part for part in (found.labels, more) if part))
    return None


async def _named(api: KubeApi, served: Served, endpoint: Endpoint, wanted: str) -> Found | None:
    """The object with the variant's name that has pods: all that it may be are asked for at once."""
    order = _FIRST.get(str(endpoint.native.kind), (*_SETS, *_RUNS, *_FRONTS))
    kinds = [resource for resource in (served.find(*kind) for kind in order) if resource is not None]
    place = raw(endpoint.ref.namespace)
    answers = await asyncio.gather(
        *(api.get(resource.path(place, wanted)) for resource in kinds), return_exceptions=True
    )
    refused: BaseException | None = None
    for resource, answer in zip(kinds, answers, strict=True):
        if isinstance(answer, Mapping):
            labels = await _labels_of(api, served, resource, answer, place)
            if labels:
                return Found(resource, answer, labels)
        elif isinstance(answer, Forbidden):
            refused = refused or answer
        elif not isinstance(answer, NotFound):
            raise answer
    if refused is not None:
        raise refused
    return None


async def _labels_of(api: KubeApi, served: Served, resource: Resource, item: Object, place: str) -> str:
    match resource.plural:
        case "revisions":
            return f"serving.knative.dev/revision={name(item)}"
        case "services":
            return text_of({"matchLabels": table(item, "spec", "selector")})
        case "cronjobs":
            jobs = served.find("batch", "jobs")
            listed = (await api.list(jobs, place)).items if jobs is not None else ()
            mine = [job for job in listed if owner_uid(job) == uid(item)]
            mine.sort(key=lambda job: text(job, "metadata", "creationTimestamp"), reverse=True)
            return f"job-name in ({','.join(name(job) for job in mine[:_LAST_RUNS])})" if mine else ""
    return text_of(table(item, "spec", "selector"))
