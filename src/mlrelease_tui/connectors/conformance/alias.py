"""What a registry does whose aliases can be moved."""

# ruff: noqa: S101 - a test asserts

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from mlrelease_tui.connectors.api import AliasMovable, Connector, Performer, VersionSource
from mlrelease_tui.connectors.conformance.looking import HOSTILE, assert_no_secret, assert_safe, no_io, settled, stamp
from mlrelease_tui.connectors.conformance.planning import assert_well_planned
from mlrelease_tui.domain.expectation import AliasExpectation, alias_mismatches
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.refs import ModelRef
from mlrelease_tui.errors import Conflict, ReleaseError


class _AliasRegistry(VersionSource, AliasMovable, Performer, Connector):
    """What these tests need of a connector, in one type."""


class AliasConformance:
    """Fixtures: `connector`; `model`, with two versions or more; `alias`, one that the model has; `secrets`. The model is written
    to: give each test one of its own."""

    @pytest.fixture
    def connector(self) -> Connector:
        raise NotImplementedError("give a connector whose backend is up")

    @pytest.fixture
    def model(self) -> ModelRef:
        raise NotImplementedError("give a model with two versions and an alias, that may be written to")

    @pytest.fixture
    def alias(self) -> str:
        raise NotImplementedError("give the alias that the model has")

    @pytest.fixture
    def secrets(self) -> tuple[str, ...]:
        return ()

    @pytest.fixture
    def movable(self, connector: Connector) -> _AliasRegistry:
        for needed in (VersionSource, AliasMovable, Performer):
            assert isinstance(connector, needed), f"it is no {needed.__name__}"
        return cast(_AliasRegistry, connector)

    async def test_planning_a_move_is_pure_and_says_what_it_does(
        self, movable: _AliasRegistry, model: ModelRef, alias: str, secrets: tuple[str, ...]
    ) -> None:
        found = await movable.model(model)
        before, after = found.aliases[alias], await _another(movable, model, alias)
        with no_io():
            writes = movable.move_alias(found, alias, after)
            assert movable.move_alias(found, alias, after) == writes
        assert_well_planned(writes, movable.name, secrets)
        (write,) = writes
        assert write.assumes == AliasExpectation(model, alias, before)
        assert write.expects == AliasExpectation(model, alias, after)
        assert alias_mismatches(write.assumes, found) == ()
        assert alias_mismatches(write.expects, found) != ()

    async def test_a_move_is_seen_and_carries_its_stamp(
        self, movable: _AliasRegistry, model: ModelRef, alias: str
    ) -> None:
        before = (await movable.model(model)).aliases[alias]
        write = await _planned(movable, model, alias)
        mark = stamp(verb="alias", why="errors doubled")
        receipt = await movable.perform(write, mark)
        assert_safe(receipt)
        assert await settled(movable, write.expects, write.settle_s) == ()
        left = (await movable.model(model)).stamps.get(alias)
        assert left is not None, "it leaves no stamp"
        assert (left.intent_id, left.by, left.why, left.previous) == (mark.intent_id, mark.by, mark.why, before)

    async def test_a_move_planned_from_what_is_no_longer_so_is_a_conflict(
        self, movable: _AliasRegistry, model: ModelRef, alias: str
    ) -> None:
        write = await _planned(movable, model, alias)
        await movable.perform(write, stamp(verb="alias"))
        assert await settled(movable, write.expects, write.settle_s) == ()
        now = dict((await movable.model(model)).aliases)
        with pytest.raises(Conflict):
            await movable.perform(write, stamp("0190c000-0000-7000-8000-000000000002", verb="alias"))
        after = await movable.model(model)
        assert dict(after.aliases) == now
        assert after.stamps[alias].intent_id == stamp().intent_id

    async def test_an_alias_can_be_new(self, movable: _AliasRegistry, model: ModelRef, alias: str) -> None:
        found = await movable.model(model)
        (write,) = movable.move_alias(found, "conformance", found.aliases[alias])
        assert write.assumes == AliasExpectation(model, "conformance", "")
        await movable.perform(write, stamp(verb="alias"))
        assert await settled(movable, write.expects, write.settle_s) == ()
        assert (await movable.model(model)).aliases[alias] == found.aliases[alias], "another alias moved"

    async def test_a_hostile_reason_is_read_back_safe(
        self, movable: _AliasRegistry, model: ModelRef, alias: str
    ) -> None:
        await movable.perform(await _planned(movable, model, alias), stamp(verb="alias", why=HOSTILE))
        assert_safe(await movable.model(model))

    async def test_a_write_that_nobody_planned_is_refused(
        self, movable: _AliasRegistry, model: ModelRef, alias: str, secrets: tuple[str, ...]
    ) -> None:
        before = dict((await movable.model(model)).aliases)
        for broken in _broken(await _planned(movable, model, alias)):
            with pytest.raises(ReleaseError) as caught:
                await movable.perform(broken, stamp(verb="alias"))
            assert_no_secret(secrets, caught.value)
        assert dict((await movable.model(model)).aliases) == before


def _broken(write: Write) -> tuple[Write, ...]:
    return (
        replace(write, operation="no.such.operation"),
        replace(write, payload="{}"),
        replace(write, payload="not JSON"),
    )


async def _another(registry: VersionSource, model: ModelRef, alias: str) -> str:
    """A version where the alias does not point."""
    now = (await registry.model(model)).aliases[alias]
    return next(item.ref.version for item in (await registry.versions(model)).versions if item.ref.version != now)


async def _planned(movable: _AliasRegistry, model: ModelRef, alias: str) -> Write:
    (write,) = movable.move_alias(await movable.model(model), alias, await _another(movable, model, alias))
    return write
