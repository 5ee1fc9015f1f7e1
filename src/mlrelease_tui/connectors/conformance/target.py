"""What a target does that serves endpoints."""

# ruff: noqa: S101 - a test asserts

from __future__ import annotations

from typing import Final

import pytest

from mlrelease_tui.connectors.api import (
    CAPABILITIES,
    Connector,
    EndpointSource,
    Performer,
)
from mlrelease_tui.connectors.conformance.connector import ConnectorConformance
from mlrelease_tui.connectors.conformance.looking import assert_no_secret, assert_safe, aware, no_io, same_time
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP, Endpoint, Role, Verb
from mlrelease_tui.errors import NotFound

_CAPABILITY: Final = {
    Verb.PROMOTE: "promote",
    Verb.WEIGHT: "weight",
    Verb.HOLD: "hold",
    Verb.CONTINUE: "hold",
    Verb.ABORT: "abort",
    Verb.ROLLBACK: "rollback",
    Verb.RETRY: "retry",
    Verb.RESTART: "restart",
    Verb.SCALE: "scale",
    Verb.SWITCH: "switch",
    Verb.SHADOW: "shadow",
}


class TargetConformance(ConnectorConformance):
    """Fixture besides those of a connector: `endpoint`, one that serves a stable version and a canary."""

    @pytest.fixture
    def endpoint(self) -> EndpointRef:
        raise NotImplementedError("give an endpoint that serves a stable version and a canary")

    @pytest.fixture
    def target(self, connector: Connector) -> EndpointSource:
        assert isinstance(connector, EndpointSource)
        return connector

    async def test_endpoints_are_listed_once_and_say_the_same_when_read(
        self, target: EndpointSource, endpoint: EndpointRef
    ) -> None:
        listed = await target.endpoints()
        refs = [item.ref for item in listed]
        assert len(refs) == len(set(refs))
        assert endpoint in refs
        for item in listed:
            assert same_time(await target.endpoint(item.ref)) == same_time(item)

    async def test_an_endpoint_is_whole(
        self, target: EndpointSource, connector: Connector, endpoint: EndpointRef
    ) -> None:
        found = await target.endpoint(endpoint)
        assert found.ref == endpoint
        assert found.ref.connection == connector.name
        assert found.uid, "without an identity a recreated object looks like the old one"
        assert found.revision, "without a revision nothing can be compared and set"
        assert found.native.kind
        assert aware(found.observed_at)
        names = [item.name for item in found.variants]
        assert len(names) == len(set(names))
        assert found.stable is not None
        assert found.canary is not None
        assert found.rollout.from_version == found.stable.version
        assert found.rollout.to_version == found.canary.version
        assert_weighs_all(found)

    async def test_a_revision_stays_while_nobody_writes(self, target: EndpointSource, endpoint: EndpointRef) -> None:
        assert (await target.endpoint(endpoint)).revision == (await target.endpoint(endpoint)).revision

    async def test_what_is_not_there_is_not_found(self, target: EndpointSource, endpoint: EndpointRef) -> None:
        with pytest.raises(NotFound):
            await target.endpoint(EndpointRef(endpoint.connection, endpoint.namespace, "no-such-endpoint"))
        with pytest.raises(NotFound):
            await target.endpoint(EndpointRef(endpoint.connection, "no-such-namespace", endpoint.name))

    async def test_what_it_says_it_can_do_its_driver_can(
        self, target: EndpointSource, connector: Connector, endpoint: EndpointRef
    ) -> None:
        found = await target.endpoint(endpoint)
        with no_io():
            driver = target.driver(found)
        offered = {item.verb for item in found.verbs if item.available}
        for verb in offered & _CAPABILITY.keys():
            assert isinstance(driver, CAPABILITIES[_CAPABILITY[verb]]), f"{verb} is offered, and the driver has it not"
        if offered:
            assert isinstance(connector, Performer)
        for item in found.verbs:
            assert item.available or item.reason, f"{item.verb} is missing without a reason"

    async def test_text_from_outside_is_made_safe(
        self, target: EndpointSource, endpoint: EndpointRef, secrets: tuple[str, ...]
    ) -> None:
        for found in await target.endpoints():
            assert_safe(found)
            assert_no_secret(secrets, found)


def assert_weighs_all(endpoint: Endpoint) -> None:
    """The weights of what users reach are all traffic, unless the backend has no weights."""
    weights = [
        item.weight_bp for item in endpoint.variants if item.role is not Role.SHADOW and item.weight_bp is not None
    ]
    assert not weights or sum(weights) == ALL_TRAFFIC_BP
    assert all(0 <= weight <= ALL_TRAFFIC_BP for weight in weights)
