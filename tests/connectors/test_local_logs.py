"""Logs of local processes: the end of any file at the same small cost, whatever stands in it, and the run before."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.connectors.local_host import LocalHost, definition, local_host, until

from mlrelease_tui.connectors.local.layout import Layout
from mlrelease_tui.connectors.local.logs import log_tail
from mlrelease_tui.domain.logs import BYTES, LINE_BYTES, LINES, LogTail, LogWish
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.text import is_hidden
from mlrelease_tui.errors import UnexpectedAnswer

REF = EndpointRef("here", "local", "iris")
WISH = LogWish(REF, "v1")
KEY = "local/iris"
GIB = 1 << 30


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path)
    made.make()
    return made


def tail(layout: Layout, wish: LogWish = WISH) -> LogTail:
    return log_tail(layout, KEY, wish)


def printed(layout: Layout, data: bytes) -> LogTail:
    layout.log_of(KEY, "v1").write_bytes(data)
    return tail(layout)


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\r\ntwo", ["one", "two"]),
        (b"\n\n", ["", ""]),
        (b"a\x0bb\x85c\xe2\x80\xa8d\n", ["a\\x0bb�c\\u2028d"]),
        (b"\x1b]52;c;aGk=\x07\x1b[31mred\x00\n", ["\\e]52;c;aGk=\\a\\e[31mred\\0"]),
        (b"\xff\xfe\xc3(\n", ["���("]),
        ("\u202e\u200b宽\x9b2J".encode() + b"\n", ["\\u202e\\u200b宽\\x9b2J"]),
        (b"10%\r20%\r30%\n", ["10%\\r20%\\r30%"]),
    ],
)
def test_lines_are_shown_as_they_are_and_drive_nothing(layout: Layout, data: bytes, lines: list[str]) -> None:
    found = printed(layout, data)
    assert [str(line) for line in found.lines] == lines
    assert not any(is_hidden(char) for line in found.lines for char in line)
    assert not found.earlier
    assert found.written_at is not None


def test_of_many_lines_come_the_last(layout: Layout) -> None:
    found = printed(layout, b"".join(b"line %d\n" % number for number in range(100_000)))
    assert len(found.lines) == LINES
    assert (found.lines[0], found.lines[-1]) == ("line 99600", "line 99999")
    assert found.earlier
    few = tail(layout, LogWish(REF, "v1", lines=3))
    assert few.lines == ("line 99997", "line 99998", "line 99999")


def test_a_line_across_chunks_is_whole(layout: Layout) -> None:
    long = b"y" * 3_000
    found = printed(layout, b"\n".join([long] * 60))
    assert len(found.lines) == BYTES // 3_001
    assert set(found.lines) == {long.decode()}


def test_a_gibibyte_without_a_line_end_costs_nothing(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    pread = os.pread

    def counted(handle: int, size: int, at: int) -> bytes:
        read.append(size)
        return pread(handle, size, at)

    monkeypatch.setattr(os, "pread", counted)
    with layout.log_of(KEY, "v1").open("wb") as file:
        file.truncate(GIB)
        file.seek(GIB)
        file.write(b"its end")
    began = time.process_time()
    found = tail(layout)
    assert time.process_time() - began < 1.0
    assert sum(read) <= BYTES
    (line,) = found.lines
    assert len(line.raw) <= LINE_BYTES
    assert line.endswith("its end")
    assert "this is its end" in found.note
    with layout.log_of(KEY, "v1").open("ab") as file:
        file.write(b"\nnext\n")
    assert tail(layout).lines == ("next",)


def test_a_long_line_is_cut_and_said_to_be(layout: Layout) -> None:
    found = printed(layout, b"z" * 50_000 + b"\nafter\n")
    first, after = found.lines
    assert first == "z" * LINE_BYTES + "… (50000 bytes)"
    assert after == "after"


def test_what_is_not_there_is_said(layout: Layout) -> None:
    assert "nothing was printed yet" in tail(layout).note
    assert "no run before" in tail(layout, LogWish(REF, "v1", previous=True)).note
    found = printed(layout, b"")
    assert found.lines == ()
    assert "it is empty" in found.note
    assert found.written_at is None


def test_a_file_that_is_cut_while_it_is_read_is_said_to_be(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    log = layout.log_of(KEY, "v1")
    pread = os.pread

    def cutting(handle: int, size: int, at: int) -> bytes:
        os.truncate(log, 10)
        return pread(handle, size, at)

    monkeypatch.setattr(os, "pread", cutting)
    found = printed(layout, b"0123456789 a line\n" * 10_000)
    assert "was cut while it was read" in found.note


def test_neither_a_pipe_nor_a_link_is_followed(layout: Layout, tmp_path: Path) -> None:
    log = layout.log_of(KEY, "v1")
    os.mkfifo(log)
    with pytest.raises(UnexpectedAnswer, match="no plain file"):
        tail(layout)
    log.unlink()
    (tmp_path / "secret").write_text("a secret")
    log.symlink_to(tmp_path / "secret")
    with pytest.raises(UnexpectedAnswer) as refused:
        tail(layout)
    assert "a secret" not in str(refused.value)


# --- a supervisor and its processes -----------------------------------------------------------------------------------


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[LocalHost]:
    async with local_host(tmp_path / "site", definition()) as host:
        yield host


@pytest.mark.real
async def test_each_run_has_its_output_and_that_before_is_kept(host: LocalHost) -> None:
    await host.serve("1", artifact="dies:1")
    endpoint = await host.read()

    async def last(*, previous: bool = False) -> LogTail:
        (found,) = await host.connector.logs(endpoint, LogWish(host.ref(), "v1", previous=previous))
        return found

    assert (await last()).lines == ()
    assert (await last(previous=True)).note
    first = host.pid("v1")
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.HTTPError):
            (await client.post(f"{endpoint.variants[0].address}/invocations")).raise_for_status()

    async def restarted() -> bool:
        return host.pid("v1") not in {0, first}

    await until(restarted, deadline_s=20)
    assert (await last(previous=True)).lines == ("out of memory while scoring",)
    assert (await last()).lines == ()
