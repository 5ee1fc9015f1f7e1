"""Ten thousand versions: the first page is quick, all pages are whole, memory stays with the page."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from tests.connectors.mlflow_server import Tracking, ref

from mlrelease_tui.connectors.api import Settings, no_credential
from mlrelease_tui.connectors.mlflow.connector import MlflowConnector
from mlrelease_tui.connectors.mlflow.rest import RestRegistry
from mlrelease_tui.connectors.mlflow.transport import Transport

pytestmark = pytest.mark.real
pytest_plugins = ["tests.connectors.mlflow_fixtures"]

MANY = 10_000


@pytest.fixture(scope="module")
def crowded(tracking: Tracking) -> str:
    name = tracking.model("crowded")
    tracking.many_versions(name, MANY)
    tracking.alias(name, "champion", "5")
    return name


async def test_the_first_page_of_ten_thousand_versions_is_quick(registry: MlflowConnector, crowded: str) -> None:
    await registry.model(ref(crowded))
    started = time.monotonic()
    page = await registry.versions(ref(crowded))
    # A second or so; all ten thousand would take minutes.
    assert time.monotonic() - started < 20
    assert [version.ref.version for version in page.versions[:2]] == ["10000", "9999"]
    assert len(page.versions) == 200


async def test_every_version_comes_once_and_memory_stays_with_the_page(registry: MlflowConnector, crowded: str) -> None:
    seen = 0
    expected = MANY
    token = ""
    champions: list[str] = []
    await registry.versions(ref(crowded), limit=1000)
    tracemalloc.start()
    try:
        while True:
            page = await registry.versions(ref(crowded), limit=1000, page_token=token)
            for version in page.versions:
                assert version.ref.version == str(expected)
                expected -= 1
                seen += 1
                champions += [version.ref.version] if "champion" in version.aliases else []
            token = page.next_token
            if not token:
                break
            del page
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert seen == MANY
    assert champions == ["5"]
    assert peak < 60 * 2**20


async def test_versions_too_fat_for_one_answer_come_in_smaller_pages(tracking: Tracking) -> None:
    name = tracking.model(versions=12)
    settings = Settings("registry", "mlflow")
    transport = Transport("registry", tracking.url, credential=no_credential, environ={}, max_bytes=4096)
    registry = MlflowConnector(settings, RestRegistry(transport), timeout_s=10)
    seen: list[str] = []
    token = ""
    while True:
        page = await registry.versions(ref(name), limit=12, page_token=token)
        seen += [version.ref.version for version in page.versions]
        token = page.next_token
        if not token:
            break
    await registry.close()
    assert seen == [str(number) for number in range(12, 0, -1)]
