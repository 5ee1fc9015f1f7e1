"""What a registry does that can be read."""

# ruff: noqa: S101 - a test asserts

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from mlrelease_tui.connectors.api import Connector, LineageSource, VersionSource
from mlrelease_tui.connectors.conformance.connector import ConnectorConformance
from mlrelease_tui.connectors.conformance.looking import (
    HOSTILE,
    assert_no_secret,
    assert_safe,
    assert_says,
    no_io,
    same_time,
)
from mlrelease_tui.domain.models import Model, ModelVersion
from mlrelease_tui.domain.refs import ModelRef, VersionRef
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import NotFound


class RegistryConformance(ConnectorConformance):
    """Fixtures besides those of a connector: `model`, one with three versions or more and an alias, whose description or one
    of whose tags is `HOSTILE`; `a_model_beside_it`, another."""

    @pytest.fixture
    def model(self) -> ModelRef:
        raise NotImplementedError("give a model with three versions, an alias and a HOSTILE tag or description")

    @pytest.fixture
    def a_model_beside_it(self) -> ModelRef:
        raise NotImplementedError("give another model of the same registry")

    @pytest.fixture
    def registry(self, connector: Connector) -> VersionSource:
        assert isinstance(connector, VersionSource)
        return connector

    async def test_models_are_listed_once_each_page_by_page(
        self, registry: VersionSource, model: ModelRef, a_model_beside_it: ModelRef
    ) -> None:
        seen: list[ModelRef] = []
        token = ""
        for _ in range(1000):
            page = await registry.models(limit=1, page_token=token)
            assert len(page.models) <= 1
            seen += [item.ref for item in page.models]
            token = page.next_token
            if not token:
                break
        assert len(seen) == len(set(seen))
        assert {model, a_model_beside_it} <= set(seen)

    async def test_models_are_found_by_a_part_of_their_name(self, registry: VersionSource, model: ModelRef) -> None:
        page = await registry.models(query=model.name[1:])
        assert model in {item.ref for item in page.models}
        assert (await registry.models(query="no-model-has-this-in-its-name")).models == ()

    async def test_a_model_says_the_same_listed_and_read(self, registry: VersionSource, model: ModelRef) -> None:
        listed = next(item for item in (await registry.models(query=model.name)).models if item.ref == model)
        found = await registry.model(model)
        assert isinstance(found, Model)
        assert found.aliases, "the model of this kit has an alias"
        assert dict(listed.aliases) == dict(found.aliases)

    async def test_versions_are_newest_first_page_by_page(self, registry: VersionSource, model: ModelRef) -> None:
        whole = (await registry.versions(model)).versions
        assert len(whole) >= 3
        created = [item.created_at for item in whole if item.created_at is not None]
        assert created == sorted(created, reverse=True)
        paged: list[ModelVersion] = []
        token = ""
        while len(paged) < len(whole):
            page = await registry.versions(model, limit=2, page_token=token)
            assert len(page.versions) <= 2
            paged += page.versions
            token = page.next_token
            if not token:
                break
        assert [item.ref for item in paged] == [item.ref for item in whole]
        assert token == ""

    async def test_aliases_agree_from_both_sides(self, registry: VersionSource, model: ModelRef) -> None:
        by_model = dict((await registry.model(model)).aliases)
        versions = (await registry.versions(model)).versions
        assert by_model == {alias: item.ref.version for item in versions for alias in item.aliases}

    async def test_a_version_says_the_same_listed_and_read(self, registry: VersionSource, model: ModelRef) -> None:
        for listed in (await registry.versions(model)).versions[:3]:
            found = await registry.version(listed.ref)
            assert replace(same_time(found), lineage=None) == replace(same_time(listed), lineage=None)

    async def test_what_is_not_there_is_not_found(self, registry: VersionSource, model: ModelRef) -> None:
        nobody = ModelRef(model.connection, "no-such-model")
        with pytest.raises(NotFound):
            await registry.model(nobody)
        for version in ("987654321", "no-such-version"):
            with pytest.raises(NotFound):
                await registry.version(VersionRef(model, version))

    async def test_an_artifact_is_named_without_asking(self, registry: VersionSource, model: ModelRef) -> None:
        refs = [item.ref for item in (await registry.versions(model)).versions]
        with no_io():
            names = [registry.artifact(ref) for ref in refs]
            assert names == [registry.artifact(ref) for ref in refs]
        assert all(names)
        assert len(set(names)) == len(names)

    async def test_text_from_outside_is_made_safe(
        self, registry: VersionSource, model: ModelRef, secrets: tuple[str, ...]
    ) -> None:
        found = await registry.model(model)
        assert_says(found, HOSTILE)
        page = await registry.versions(model)
        for value in (found, await registry.models(), page):
            assert_safe(value)
            assert_no_secret(secrets, value)

    async def test_lineage_holds_numbers_or_says_what_was_stored(
        self, registry: VersionSource, model: ModelRef
    ) -> None:
        if not isinstance(registry, LineageSource):
            return
        for version in (await registry.versions(model)).versions[:3]:
            lineage = await registry.lineage(version)
            assert_safe(lineage)
            for value in lineage.metrics.values():
                assert isinstance(value, SafeText) or math.isfinite(value)
