"""One demo for the whole session: starting it costs some ten seconds of two cores."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.e2e.demo_host import HeadlessDemo


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HeadlessDemo]:
    """A running demo. Whoever changes it puts it back: `diabetes` has version 3 as a canary at 10 %."""
    with HeadlessDemo(tmp_path_factory.mktemp("demo")) as running:
        yield running
