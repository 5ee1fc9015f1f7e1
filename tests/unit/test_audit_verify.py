"""Whatever is done to a log afterwards is found, and where nothing can find it, the test says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import rfc8785
from tests.unit.audit_parts import CHAIN, body, make_log, segment, write_some

from mlrelease_tui.audit.record import line_hash
from mlrelease_tui.audit.verify import INCOMPLETE, OK, TAMPERED, UNANCHORED, Verification, verify

RECORDS = 50


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[bytes]]:
    root = tmp_path_factory.mktemp("whole")
    return root, write_some(root, RECORDS, short=True)


@pytest.fixture
def copy(tmp_path: Path, written: tuple[Path, list[bytes]]) -> tuple[Path, list[bytes], str]:
    """A copy to spoil, its lines, and its head."""
    root = tmp_path / "audit"
    shutil.copytree(written[0], root)
    return root, list(written[1]), line_hash(written[1][-1])


def put(root: Path, lines: list[bytes]) -> None:
    segment(root).write_bytes(b"".join(line + b"\n" for line in lines))


def places(found: Verification) -> set[int]:
    return {item.line for item in found.breaks}


def test_a_whole_log_is_ok(copy: tuple[Path, list[bytes], str]) -> None:
    root, lines, head = copy
    for found in (verify(root), verify(root, expect_head=head)):
        assert found.ok
        assert found.exit_code == OK
        assert found.records == RECORDS
        assert [(chain.chain, chain.head, chain.first_seq, chain.last_seq) for chain in found.chains] == [
            (CHAIN, head, 1, RECORDS)
        ]
    assert verify(root).as_dict()["ok"] is True
    assert json.loads(json.dumps(verify(root).as_dict()))["breaks"] == []
    assert len(lines) == RECORDS


@pytest.mark.parametrize("parity", [0, 1])
def test_every_flipped_byte_is_found_at_its_line(copy: tuple[Path, list[bytes], str], parity: int) -> None:
    """Every byte of every record: the same offset in every second record at once, so that each has whole neighbours."""
    root, lines, head = copy
    for offset in range(max(map(len, lines))):
        spoiled = list(lines)
        flipped: set[int] = set()
        for index in range(parity, RECORDS, 2):
            if offset < len(lines[index]):
                line = bytearray(lines[index])
                line[offset] ^= 1 << ((offset + index) % 8)
                if 0x0A not in line:  # a new line end moves the numbers of all that follow; tried below
                    spoiled[index] = bytes(line)
                    flipped.add(index + 1)
        put(root, spoiled)
        found = verify(root, expect_head=head)
        assert found.exit_code == TAMPERED
        assert flipped - {RECORDS} <= places(found), (offset, flipped - places(found))


def test_every_flipped_line_end_is_found(copy: tuple[Path, list[bytes], str]) -> None:
    root, lines, head = copy
    position = -1
    for line in lines:
        position += len(line) + 1
        whole = bytearray(b"".join(each + b"\n" for each in lines))
        whole[position] ^= 1 << (position % 8)
        segment(root).write_bytes(whole)
        assert not verify(root).ok
        assert verify(root, expect_head=head).exit_code == TAMPERED


def test_a_line_end_in_the_middle_of_each_line_is_found(copy: tuple[Path, list[bytes], str]) -> None:
    root, lines, _ = copy
    for index, line in enumerate(lines):
        middle = len(line) // 2
        put(root, [*lines[:index], line[:middle], line[middle + 1 :], *lines[index + 1 :]])
        found = verify(root)
        assert found.exit_code == TAMPERED
        assert index + 1 in places(found)


def test_every_bit_of_one_line_between_two_others(tmp_path: Path) -> None:
    root = tmp_path / "small"
    lines = write_some(root, 3, short=True)
    path = segment(root)
    before, after = lines[0] + b"\n", b"\n" + lines[2] + b"\n"
    for offset in range(len(lines[1])):
        for bit in range(8) if offset % 32 == 0 else (offset % 8,):
            flipped = bytearray(lines[1])
            flipped[offset] ^= 1 << bit
            path.write_bytes(before + bytes(flipped) + after)
            found = verify(root)
            assert found.exit_code == TAMPERED
            assert 2 in places(found), (offset, bit, found.breaks)


def test_each_line_deleted(copy: tuple[Path, list[bytes], str]) -> None:
    root, lines, head = copy
    for index in range(RECORDS):
        put(root, lines[:index] + lines[index + 1 :])
        assert verify(root, expect_head=head).exit_code == TAMPERED
        if index < RECORDS - 1:
            found = verify(root)
            assert found.exit_code == TAMPERED
            assert places(found) == {index + 1}
            assert "missing" in found.breaks[0].reason


def test_each_line_swapped_with_the_next(copy: tuple[Path, list[bytes], str]) -> None:
    root, lines, head = copy
    for index in range(RECORDS - 1):
        swapped = list(lines)
        swapped[index], swapped[index + 1] = swapped[index + 1], swapped[index]
        put(root, swapped)
        found = verify(root)
        assert found.exit_code == TAMPERED
        assert index + 1 in places(found)
        assert verify(root, expect_head=head).exit_code == TAMPERED


def test_each_line_duplicated(copy: tuple[Path, list[bytes], str]) -> None:
    root, lines, head = copy
    for index in range(RECORDS):
        put(root, lines[: index + 1] + lines[index:])
        found = verify(root, expect_head=head)
        assert found.exit_code == TAMPERED
        assert any(item.line == index + 2 and "fork" in item.reason for item in found.breaks)


def test_cut_at_each_line(copy: tuple[Path, list[bytes], str]) -> None:
    """Level L0 says it openly: without an anchor nobody can see that whole records are missing from the end."""
    root, lines, head = copy
    for count in range(1, RECORDS):
        put(root, lines[:count])
        assert verify(root).exit_code == OK
        assert verify(root, expect_head=head).exit_code == TAMPERED
    put(root, [])
    assert verify(root).exit_code == INCOMPLETE
    assert verify(root, expect_head=head).exit_code == TAMPERED


def test_cut_inside_the_last_line(copy: tuple[Path, list[bytes], str]) -> None:
    root, lines, head = copy
    whole = segment(root).read_bytes()
    for cut in range(1, len(lines[-1]) + 1, 11):
        segment(root).write_bytes(whole[:-cut])
        assert verify(root).exit_code == INCOMPLETE
        assert verify(root, expect_head=head).exit_code == TAMPERED


def test_records_after_the_anchor_are_named(copy: tuple[Path, list[bytes], str]) -> None:
    root, lines, _ = copy
    found = verify(root, expect_head=line_hash(lines[30]))
    assert found.ok
    assert found.exit_code == UNANCHORED
    assert found.unanchored == RECORDS - 31


def test_an_unknown_head_is_tampering(copy: tuple[Path, list[bytes], str]) -> None:
    assert verify(copy[0], expect_head="f" * 64).exit_code == TAMPERED


def test_rewriting_the_whole_tail_is_seen_only_by_the_anchor(copy: tuple[Path, list[bytes], str]) -> None:
    root, lines, head = copy
    prev = line_hash(lines[19])
    forged = list(lines[:20])
    for line in lines[20:]:
        fields = json.loads(line)
        fields["prev"] = prev
        fields["why"] = {"reason": "forged"}
        forged.append(rfc8785.dumps(fields))
        prev = line_hash(forged[-1])
    put(root, forged)
    assert verify(root).exit_code == OK
    assert verify(root, expect_head=head).exit_code == TAMPERED


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda line: line.replace(b'"v":1', b'"v":1,"v":1'), "twice"),
        (lambda line: line.replace(b'"seq":', b'"seq": '), "canonical"),
        (lambda line: line.replace(b"bastion", b"b\\u0061stion"), "canonical"),
        (lambda line: line.replace(b'"v":1', b'"v":1.0'), "version"),
        (lambda line: line.replace(b'"v":1', b'"v":1,"zz":2'), "unknown field"),
        (lambda line: line + b"\r", "canonical"),
        (lambda line: line.replace(b"bastion", b"basti\xff"), "UTF-8"),
        (lambda line: b"", "not JSON"),
        (lambda line: b"[" * 100_000, "JSON|deep"),
        (lambda line: b"7", "object"),
        (lambda line: line.replace(b'"canary_bp":0', b'"canary_bp":NaN'), "NaN"),
        (lambda line: line.replace(CHAIN.encode(), b"0" * 32), "another chain"),
    ],
)
def test_a_last_line_that_no_writer_made(tmp_path: Path, spoil: object, reason: str) -> None:
    """The last line has no successor that names it: its own form must give it away."""
    assert callable(spoil)
    lines = write_some(tmp_path, 1)
    spoiled = spoil(lines[0])
    assert spoiled != lines[0]
    put(tmp_path, [spoiled])
    found = verify(tmp_path)
    assert found.exit_code == TAMPERED
    assert any(part in found.breaks[0].reason for part in reason.split("|")), found.breaks


def rotated(root: Path) -> str:
    log = make_log(root, segment_bytes=2500)
    for number in range(20):
        log.append("session", body(number))
    return log.head().sha256


def test_segments_carry_the_chain_over(tmp_path: Path) -> None:
    head = rotated(tmp_path)
    found = verify(tmp_path, expect_head=head)
    assert found.exit_code == OK, found.breaks
    assert found.chains[0].segments > 4
    assert found.records == 20 + found.chains[0].segments - 1


def test_a_missing_segment(tmp_path: Path) -> None:
    rotated(tmp_path / "kept")
    count = verify(tmp_path / "kept").chains[0].segments
    for number in range(1, count + 1):
        root = tmp_path / f"without-{number}"
        shutil.copytree(tmp_path / "kept", root)
        segment(root, number).unlink()
        found = verify(root)
        assert found.exit_code == (TAMPERED if 1 < number < count else INCOMPLETE), (number, found.breaks)


def test_a_line_after_the_close_and_a_missing_close(tmp_path: Path) -> None:
    rotated(tmp_path)
    first = segment(tmp_path, 1)
    lines = first.read_bytes().splitlines(keepends=True)
    first.write_bytes(b"".join([*lines, lines[-1]]))
    assert any("after the segment was closed" in item.reason for item in verify(tmp_path).breaks)
    first.write_bytes(b"".join(lines[:-1]))
    assert verify(tmp_path).exit_code == TAMPERED


def test_a_symbolic_link_is_no_segment(tmp_path: Path) -> None:
    root = tmp_path / "audit"
    write_some(root, 3)
    moved = tmp_path / "elsewhere"
    segment(root).rename(moved)
    segment(root).symlink_to(moved)
    assert verify(root).exit_code == TAMPERED


def test_nothing_to_verify(tmp_path: Path) -> None:
    assert verify(tmp_path / "none").exit_code == INCOMPLETE
    assert verify(tmp_path / "none", expect_head="a" * 64).exit_code == TAMPERED


def test_a_torn_file_that_was_altered(tmp_path: Path) -> None:
    write_some(tmp_path, 2)
    with segment(tmp_path).open("ab") as file:
        file.write(b'{"torn')
    log = make_log(tmp_path)
    log.append("session", body())
    assert verify(tmp_path).ok
    torn = next((tmp_path / CHAIN).glob("torn-*"))
    torn.write_bytes(b'{"other')
    assert verify(tmp_path).exit_code == TAMPERED
    torn.unlink()
    assert verify(tmp_path).ok
