"""What a target does that keeps the output of its processes."""

# ruff: noqa: S101 - a test asserts

from __future__ import annotations

from typing import Final

import pytest

from mlrelease_tui.connectors.api import Connector, EndpointSource, LogSource
from mlrelease_tui.connectors.conformance.connector import ConnectorConformance
from mlrelease_tui.connectors.conformance.looking import (
    HOSTILE,
    assert_no_secret,
    assert_safe,
    aware,
    raw_texts,
    within,
)
from mlrelease_tui.domain.logs import LINE_BYTES, LogTail, LogWish
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import NotFound

FEW: Final = 5


class LogConformance(ConnectorConformance):
    """Fixtures of `ConnectorConformance`, `endpoint` and `variant`: the name of a variant that has printed at least twenty lines,
    among the last five of them `conformance.HOSTILE` and one of at least 20,000 characters `x`."""

    @pytest.fixture
    def endpoint(self) -> EndpointRef:
        raise NotImplementedError("give an endpoint with a variant that has printed something")

    @pytest.fixture
    def variant(self) -> str:
        raise NotImplementedError("give the name of that variant")

    @pytest.fixture
    async def seen(self, connector: Connector, endpoint: EndpointRef) -> Endpoint:
        assert isinstance(connector, EndpointSource)
        return await connector.endpoint(endpoint)

    @pytest.fixture
    def source(self, connector: Connector) -> LogSource:
        assert isinstance(connector, LogSource)
        return connector

    async def test_it_gives_the_end_of_what_was_printed(
        self, source: LogSource, seen: Endpoint, variant: str, deadline_s: float, secrets: tuple[str, ...]
    ) -> None:
        tails = await within(deadline_s, source.logs(seen, LogWish(seen.ref, variant)))
        assert tails, "a variant that runs has at least one output"
        assert len(_lines(tails)) >= FEW
        first_line, *_ = HOSTILE.split("\n")
        assert any(first_line in text for text in raw_texts(tails)), "the hostile line is not there: nothing was tested"
        assert_safe(tails)
        assert_no_secret(secrets, tails)
        for tail in tails:
            assert tail.source, "nobody knows where it was read"
            assert tail.written_at is None or aware(tail.written_at)

    async def test_a_few_lines_are_the_last_ones(self, source: LogSource, seen: Endpoint, variant: str) -> None:
        some = await source.logs(seen, LogWish(seen.ref, variant))
        few = await source.logs(seen, LogWish(seen.ref, variant, lines=FEW))
        assert 0 < len(_lines(few)) <= FEW
        assert any(tail.earlier for tail in few)
        if len(some) == len(few) == 1:
            assert few[0].lines == some[0].lines[-len(few[0].lines) :]

    async def test_it_is_bounded_in_bytes(self, source: LogSource, seen: Endpoint, variant: str) -> None:
        limit = 8_192
        tails = await source.logs(seen, LogWish(seen.ref, variant, bytes=limit))
        # What is said of a line that was cut comes on top.
        assert sum(len(line.raw) for line in _lines(tails)) <= limit + 100
        whole = await source.logs(seen, LogWish(seen.ref, variant))
        longest = max(len(line.raw) for line in _lines(whole))
        assert LINE_BYTES // 2 < longest <= LINE_BYTES + 100, "a long line is cut, and said to be"

    async def test_the_run_before_is_another_output_or_says_why_there_is_none(
        self, source: LogSource, seen: Endpoint, variant: str
    ) -> None:
        tails = await source.logs(seen, LogWish(seen.ref, variant, previous=True))
        assert tails
        assert_safe(tails)
        assert all(tail.lines or tail.note for tail in tails)

    async def test_a_variant_that_is_not_there_is_not_found(self, source: LogSource, seen: Endpoint) -> None:
        with pytest.raises(NotFound):
            await source.logs(seen, LogWish(seen.ref, "no-such-variant"))


def _lines(tails: tuple[LogTail, ...]) -> list[SafeText]:
    return [line for tail in tails for line in tail.lines]
