"""What a connector does that carries writes out: once, as planned, or not at all."""

# ruff: noqa: S101 - a test asserts

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import cast

import pytest

from mlrelease_tui.connectors.api import Artifact, Connector, EndpointSource, Performer, Receipt, Returnable, Weighable
from mlrelease_tui.connectors.conformance.looking import (
    HOSTILE,
    assert_no_secret,
    assert_safe,
    moved_fields,
    settled,
    stamp,
)
from mlrelease_tui.domain.expectation import EndpointExpectation, endpoint_mismatches
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint, Verb
from mlrelease_tui.errors import Conflict, ReleaseError

_SECOND = "0190c000-0000-7000-8000-000000000002"


class _Target(EndpointSource, Performer, Connector):
    """What these tests need of a connector, in one type."""


class WritingConformance:
    """Fixtures: `connector`; `endpoint`, one with a stable version and a canary, that may be written to (give each test one of its
    own, or one that you put back); `secrets`. Override `moves` where the backend has no weights."""

    @pytest.fixture
    def connector(self) -> Connector:
        raise NotImplementedError("give a connector whose backend is up")

    @pytest.fixture
    def endpoint(self) -> EndpointRef:
        raise NotImplementedError("give an endpoint that may be written to, with a canary")

    @pytest.fixture
    def secrets(self) -> tuple[str, ...]:
        return ()

    @pytest.fixture
    def target(self, connector: Connector) -> _Target:
        assert isinstance(connector, EndpointSource)
        assert isinstance(connector, Performer)
        return cast(_Target, connector)

    def moves(self, driver: object, endpoint: Endpoint, choice: int) -> tuple[Write, ...]:
        """Two ways (`choice` 0 or 1) to change the endpoint that exclude each other."""
        assert isinstance(driver, Weighable)
        weights = [weight for weight in (2500, 4000, 500) if endpoint.canary and endpoint.canary.weight_bp != weight]
        return driver.set_weight(endpoint, weights[choice])

    async def test_a_write_does_what_it_says_and_leaves_its_stamp(self, target: _Target, endpoint: EndpointRef) -> None:
        found = await target.endpoint(endpoint)
        mark = stamp(why="errors doubled")
        for write in self.moves(target.driver(found), found, 0):
            receipt = await target.perform(write, mark)
            assert isinstance(receipt, Receipt)
            assert_safe(receipt)
            assert await settled(target, write.expects, write.settle_s) == ()
        after = await target.endpoint(endpoint)
        assert after.revision != found.revision, "a write that leaves the revision as it was can't be told"
        assert after.stamp is not None, "it leaves no stamp"
        left = after.stamp
        assert (left.intent_id, left.verb, left.by, left.why) == (mark.intent_id, mark.verb, mark.by, mark.why)

    async def test_a_write_planned_from_what_is_no_longer_so_is_a_conflict(
        self, target: _Target, endpoint: EndpointRef
    ) -> None:
        found = await target.endpoint(endpoint)
        driver = target.driver(found)
        first, late = self.moves(driver, found, 0), self.moves(driver, found, 1)
        for write in first:
            await target.perform(write, stamp())
            assert await settled(target, write.expects, write.settle_s) == ()
        now = await target.endpoint(endpoint)
        for stale in (late[0], first[0]):
            with pytest.raises(Conflict):
                await target.perform(stale, stamp(_SECOND))
        after = await target.endpoint(endpoint)
        assert moved_fields(after) == moved_fields(now)
        assert after.revision == now.revision

    async def test_of_two_writes_at_once_one_wins(self, target: _Target, endpoint: EndpointRef) -> None:
        found = await target.endpoint(endpoint)
        if not found.cas:
            return
        driver = target.driver(found)
        both = [self.moves(driver, found, choice)[0] for choice in (0, 1)]
        marks = [stamp(), stamp(_SECOND)]
        results = await asyncio.gather(
            *(target.perform(write, mark) for write, mark in zip(both, marks, strict=True)), return_exceptions=True
        )
        won = [index for index, result in enumerate(results) if isinstance(result, Receipt)]
        lost = [result for result in results if isinstance(result, Conflict)]
        assert (len(won), len(lost)) == (1, 1), results
        assert await settled(target, both[won[0]].expects, both[won[0]].settle_s) == ()
        left = (await target.endpoint(endpoint)).stamp
        assert left is not None
        assert left.intent_id == marks[won[0]].intent_id

    async def test_a_rollback_is_carried_out_step_by_step(self, target: _Target, endpoint: EndpointRef) -> None:
        found = await target.endpoint(endpoint)
        driver = target.driver(found)
        if not found.support(Verb.ROLLBACK).available:
            return
        assert isinstance(driver, Returnable)
        assert found.stable is not None
        version = found.stable.version
        for write in driver.roll_back(found, Artifact(version)):
            assumes = write.assumes
            assert isinstance(assumes, EndpointExpectation)
            assert endpoint_mismatches(assumes, await target.endpoint(endpoint)) == ()
            await target.perform(write, stamp(verb="rollback"))
            assert await settled(target, write.expects, write.settle_s) == ()
        after = await target.endpoint(endpoint)
        assert [item.version for item in after.variants if item.weight_bp] == [version]
        assert after.stable is not None
        assert after.stable.version == version
        assert not after.rollout.in_flight

    async def test_a_hostile_reason_is_read_back_safe(self, target: _Target, endpoint: EndpointRef) -> None:
        found = await target.endpoint(endpoint)
        for write in self.moves(target.driver(found), found, 0):
            await target.perform(write, stamp(why=HOSTILE))
        assert_safe(await target.endpoint(endpoint))

    async def test_a_write_that_nobody_planned_is_refused(
        self, target: _Target, endpoint: EndpointRef, secrets: tuple[str, ...]
    ) -> None:
        found = await target.endpoint(endpoint)
        write = self.moves(target.driver(found), found, 0)[0]
        broken = (
            replace(write, operation="no.such.operation"),
            replace(write, payload="{}"),
            replace(write, payload="not JSON"),
        )
        for item in broken:
            with pytest.raises(ReleaseError) as caught:
                await target.perform(item, stamp())
            assert_no_secret(secrets, caught.value)
        assert moved_fields(await target.endpoint(endpoint)) == moved_fields(found)
