"""The end of a pod's log as it is cut here, and which outputs come first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from mlrelease_tui.connectors.kubernetes.logs import Ring, outputs_of
from mlrelease_tui.domain.logs import LINE_BYTES
from mlrelease_tui.domain.text import SafeText

SOURCE = SafeText("pod/model")


def pod(name: str, *, ready: bool = True, at: str = "2026-03-01T10:00:00Z", **state: Any) -> dict[str, Any]:
    statuses = [{"name": "model", **state}] if state else []
    return {
        "metadata": {"name": name, "creationTimestamp": at},
        "spec": {"initContainers": [{"name": "fetch"}], "containers": [{"name": "istio-proxy"}, {"name": "model"}]},
        "status": {
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": statuses,
            "initContainerStatuses": [{"name": "fetch", "state": {"terminated": {"exitCode": 0}}}],
        },
    }


def test_sidecars_come_first_and_what_failed_last() -> None:
    crashed: dict[str, Any] = {"lastState": {"terminated": {"exitCode": 137}}}
    found = outputs_of([pod("b", ready=False, **crashed), pod("c", ready=False), pod("a")])
    named = [f"{one.pod}/{one.container}" for one in found]
    assert named == [
        *("a/istio-proxy", "b/istio-proxy", "c/istio-proxy"),
        *("a/model", "b/fetch", "c/fetch", "c/model", "b/model"),
    ]


def test_a_download_that_ended_well_is_not_read_once_its_pod_serves() -> None:
    assert [one.container for one in outputs_of([pod("a")])] == ["istio-proxy", "model"]
    assert "fetch" in [one.container for one in outputs_of([pod("a", ready=False)])]


def fed(*chunks: bytes, lines: int = 10, size: int = 10_000) -> Ring:
    ring = Ring(lines, size)
    for chunk in chunks:
        ring.feed(chunk)
    ring.end()
    return ring


@pytest.mark.parametrize("cut", [1, 7, 31, 200])
def test_lines_are_whole_however_they_come(cut: int) -> None:
    data = b"2026-03-01T10:00:00.123456789Z one\n2026-03-01T10:00:01Z two words\n2026-03-01T10:00:02.5Z \n"
    tail = fed(*(data[start : start + cut] for start in range(0, len(data), cut))).tail(SOURCE)
    assert [str(line) for line in tail.lines] == ["one", "two words", ""]
    assert tail.written_at == datetime(2026, 3, 1, 10, 0, 2, 500_000, UTC)
    assert not tail.earlier


def test_the_end_is_kept_within_lines_and_bytes() -> None:
    tail = fed(b"".join(b"line %d\n" % number for number in range(50)), lines=3).tail(SOURCE)
    assert [str(line) for line in tail.lines] == ["line 47", "line 48", "line 49"]
    assert tail.earlier
    small = fed(b"a" * 100 + b"\n" + b"b" * 100 + b"\nc\n", size=110).tail(SOURCE)
    assert [str(line)[:1] for line in small.lines] == ["b", "c"]


def test_a_line_without_end_is_bounded_and_harmless() -> None:
    ring = Ring(5, 100_000)
    for _ in range(40):
        ring.feed(b"\x1b[2J" + b"x" * 65_536)
    assert len(ring._open) <= 1_048_576
    ring.end()
    (line,) = ring.tail(SOURCE).lines
    assert "\x1b" not in line
    assert len(line.raw) < LINE_BYTES + 100


def test_what_has_no_time_before_it_is_shown_whole() -> None:
    assert [str(line) for line in fed(b"no time here\nword\n").tail(SOURCE).lines] == ["no time here", "word"]
    assert fed().tail(SOURCE).note == "nothing was printed yet"
