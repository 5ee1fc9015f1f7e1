"""What the workload modules share: which verbs an endpoint has, and which model it is tied to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from mlrelease_tui.connectors.kubernetes.patching import only_asking
from mlrelease_tui.connectors.kubernetes.pods import Identity
from mlrelease_tui.connectors.kubernetes.workloads.api import Frame
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.refs import ModelRef
from mlrelease_tui.domain.rollout import BindingSource, Endpoint, Verb, VerbSupport
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Refused


class Tried(Protocol):
    """A driver that says what it would try for each verb, so that keys and plans agree."""

    def attempts(self) -> Mapping[Verb, Callable[[], tuple[Write, ...]]]: ...

    def native(self) -> Mapping[Verb, str]: ...

    def never(self) -> Mapping[Verb, str]: ...


def verbs_of(endpoint: Endpoint, driver: Tried) -> Endpoint:
    """The endpoint with what can be done to it as it is: each verb's planner is asked."""
    native = driver.native()
    found = []
    with only_asking():
        for verb, attempt in driver.attempts().items():
            word = SafeText(native.get(verb, ""))
            try:
                attempt()
            except Refused as no:
                found.append(VerbSupport(verb, False, word, _short(no.message, endpoint), SafeText(no.hint)))
            else:
                found.append(VerbSupport(verb, True, word))
    found += [VerbSupport(verb, False, reason=SafeText(reason)) for verb, reason in driver.never().items()]
    return replace(endpoint, verbs=tuple(found))


def _short(reason: str, endpoint: Endpoint) -> SafeText:
    """A refusal where it stands beside its endpoint: without that one's name, which takes the room of what to do."""
    name = str(endpoint.ref.name)
    for lead in (f"{name}: ", f"{name} "):
        if reason.startswith(lead):
            return SafeText(reason.removeprefix(lead))
    return SafeText(reason)


def model_ref(model: str, identity: Identity | None, frame: Frame) -> dict[str, Any]:
    """`model` and `model_source` of an endpoint. A model without a registry is looked for in the connection's own one."""
    if not model:
        return {"model": None, "model_source": BindingSource.NONE}
    registry, slash, rest = model.partition("/")
    ref = ModelRef(SafeText(registry), SafeText(rest)) if slash else ModelRef(frame.registry, SafeText(model))
    source = identity.source if identity else BindingSource.LABEL
    return {"model": ref if ref.connection else None, "model_source": source if ref.connection else BindingSource.NONE}
