"""Check an audit offline: every line, every link, every segment. Hashes are taken over the bytes as they are.

What it finds, and the exit code: 0 everything holds · 1 something was altered, removed, moved or added · 2 something is missing
that a crash or an archive explains as well as an attacker does · 3 everything holds, and records follow the anchor that no
anchor covers. Without an anchor (`expect_head`), cutting whole records off the end of a chain can't be seen by anyone.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Literal

from mlrelease_tui.audit.folder import TORN_PREFIX
from mlrelease_tui.audit.read import LONGEST_LINE, chains, open_segment, segments
from mlrelease_tui.audit.record import GENESIS, AuditRecord, canonical, line_hash

Severity = Literal["tampered", "incomplete"]

OK: Final = 0
TAMPERED: Final = 1
INCOMPLETE: Final = 2
UNANCHORED: Final = 3


@dataclass(frozen=True, slots=True)
class Break:
    """One thing that doesn't hold. `file` is relative to the root; `line` is 1-based, 0 for the file as a whole."""

    file: str
    line: int
    seq: int | None
    reason: str
    severity: Severity = "tampered"


@dataclass(frozen=True, slots=True)
class ChainSummary:
    """One chain. `head` is the SHA-256 of its last line; `first_at` and `last_at` are as the records say, RFC 3339."""

    chain: str
    segments: int
    records: int
    first_seq: int
    last_seq: int
    head: str
    first_at: str
    last_at: str


@dataclass(frozen=True, slots=True)
class Verification:
    """`unanchored` counts records after the expected head; None where no head was expected."""

    records: int
    chains: tuple[ChainSummary, ...]
    breaks: tuple[Break, ...]
    unanchored: int | None = None

    @property
    def ok(self) -> bool:
        """Nothing contradicts the chain, and nothing is missing."""
        return not self.breaks

    @property
    def exit_code(self) -> int:
        if any(item.severity == "tampered" for item in self.breaks):
            return TAMPERED
        if self.breaks:
            return INCOMPLETE
        return UNANCHORED if self.unanchored else OK

    def as_dict(self) -> dict[str, object]:
        """Plain JSON: `ok`, `records`, `chains[]`, `breaks[]`, `exit_code`, and `unanchored` where an anchor was given."""
        out: dict[str, object] = {
            "ok": self.ok,
            "exit_code": self.exit_code,
            "records": self.records,
            "chains": [asdict(item) for item in self.chains],
            "breaks": [
                {name: value for name, value in asdict(item).items() if value is not None} for item in self.breaks
            ],
        }
        if self.unanchored is not None:
            out["unanchored"] = self.unanchored
        return out


def verify(root: Path, *, expect_head: str | None = None) -> Verification:
    """Check every chain under `root`. `expect_head` is the SHA-256 of a record that somebody else wrote down."""
    walks = [_Walk(root, name, expect_head) for name in chains(root)]
    for walk in walks:
        walk.run()
    breaks = [item for walk in walks for item in walk.breaks]
    unanchored: int | None = None
    if expect_head is not None:
        anchored = [walk for walk in walks if walk.after_anchor is not None]
        unanchored = sum(walk.after_anchor or 0 for walk in anchored)
        if not anchored:
            breaks.append(Break(".", 0, None, f"no record has the expected head {expect_head}: cut or rewritten"))
    elif not walks:
        breaks.append(Break(".", 0, None, "there is no audit here", "incomplete"))
    return Verification(
        records=sum(walk.records for walk in walks),
        chains=tuple(walk.summary() for walk in walks),
        breaks=tuple(breaks),
        unanchored=unanchored,
    )


@dataclass(slots=True)
class _Walk:
    """One pass over one chain."""

    root: Path
    chain: str
    expect_head: str | None
    breaks: list[Break] = field(default_factory=list)
    records: int = 0
    segments: int = 0
    after_anchor: int | None = None
    _first: AuditRecord | None = None
    _last: AuditRecord | None = None
    _head: str = GENESIS
    _head_at: tuple[str, int, int | None] = ("", 0, None)
    _seen: set[int] = field(default_factory=set)
    _gap: bool = False

    def run(self) -> None:
        folder = self.root / self.chain
        if folder.is_symlink() or not folder.is_dir():
            self._break(folder, 0, None, "is not a folder")
            return
        paths = segments(self.root, self.chain)
        self.segments = len(paths)
        for index, path in enumerate(paths):
            number = int(path.name[:6])
            expected = int(paths[index - 1].name[:6]) + 1 if index else 1
            if number != expected:
                severity: Severity = "tampered" if index else "incomplete"
                self._break(path, 0, None, f"segment {expected:06} is missing before it", severity)
                self._gap = True
            self._segment(path, last=index == len(paths) - 1)
        if not paths or (self._first is None and not self.breaks):
            self._break(folder, 0, None, "there are no records", "incomplete")
        elif self._last is not None and self._last.kind == "segment_close" and self._head == self._last.sha256:
            self._break(paths[-1], 0, self._last.seq, "it is closed, and its successor is missing", "incomplete")
        self._torn_files(folder)

    def summary(self) -> ChainSummary:
        first, last = self._first, self._last
        return ChainSummary(
            chain=self.chain,
            segments=self.segments,
            records=self.records,
            first_seq=first.seq if first else 0,
            last_seq=last.seq if last else 0,
            head=self._head if last else "",
            first_at=str(first.section("time")["utc"]) if first else "",
            last_at=str(last.section("time")["utc"]) if last else "",
        )

    def _segment(self, path: Path, *, last: bool) -> None:
        try:
            file = open_segment(path)
        except OSError as error:
            self._break(path, 0, None, f"can't be read: {error.strerror or error}", "tampered")
            self._gap = True
            return
        number = 0
        closed_at: int | None = None
        with file:
            while raw := file.readline(LONGEST_LINE):
                number += 1
                if not raw.endswith(b"\n"):
                    at_end = len(raw) < LONGEST_LINE
                    if at_end and last:
                        self._break(path, number, None, "a torn line: a write that was cut off", "incomplete")
                    else:
                        self._break(path, number, None, "a line without an end")
                    self._gap = True
                    return
                if closed_at is not None:
                    self._break(path, number, None, "a line after the segment was closed")
                record = self._line(path, number, raw[:-1])
                closed_at = number if record is not None and record.kind == "segment_close" else None
        if closed_at is None and not last and number:
            self._break(path, number, None, "the segment has a successor, but no closing record")

    def _line(self, path: Path, number: int, line: bytes) -> AuditRecord | None:
        digest = line_hash(line)
        self.records += 1
        if self.after_anchor is not None:
            self.after_anchor += 1
        try:
            record = AuditRecord.parse(line)
        except ValueError as error:
            self._break(path, number, None, str(error))
            self._head, self._head_at, self._gap = digest, (self._name(path), number, None), True
            return None
        if digest == self.expect_head:
            self.after_anchor = 0
        self._links(path, number, record)
        try:
            if canonical(dict(record.fields)) != line:
                self._break(path, number, record.seq, "not in canonical form")
        except ValueError as error:
            self._break(path, number, record.seq, f"not in canonical form: {error}")
        self._seen.add(record.seq)
        self._first = self._first or record
        self._last, self._head, self._gap = record, digest, False
        self._head_at = (self._name(path), number, record.seq)
        return record

    def _links(self, path: Path, number: int, record: AuditRecord) -> None:
        """Chain, sequence and hash link of one record to what stands before it."""
        if record.chain != self.chain:
            self._break(path, number, record.seq, "the record belongs to another chain")
        previous = self._last.seq if self._last else 0
        if record.seq in self._seen:
            self._break(
                path, number, record.seq, f"fork: sequence {record.seq} is here twice (a copy, or a restored snapshot)"
            )
        elif record.seq <= previous:
            self._break(path, number, record.seq, f"sequence {record.seq} comes after {previous}: moved")
        elif self._last is None and record.seq != 1 and not self._gap:
            self._break(path, number, record.seq, f"records 1 to {record.seq - 1} are missing")
        elif record.seq != previous + 1 and self._last is not None and not self._gap:
            missing = f"{previous + 1} to {record.seq - 1}" if record.seq > previous + 2 else f"{previous + 1}"
            self._break(path, number, record.seq, f"records {missing} are missing")
        elif record.prev != self._head and not self._gap:
            file, line, seq = self._head_at
            if line:
                reason = f"altered: record {record.seq} was made after another line than this"
                self.breaks.append(Break(file, line, seq, reason))
            else:
                self._break(path, number, record.seq, "the first record names a line before it")

    def _torn_files(self, folder: Path) -> None:
        for path in sorted(folder.glob(f"{TORN_PREFIX}*")):
            digest = path.name.removeprefix(TORN_PREFIX)
            if len(digest) != len(GENESIS):
                continue
            try:
                with open_segment(path) as file:
                    found = line_hash(file.read())
            except OSError:
                found = ""
            if found != digest:
                self._break(path, 0, None, "a torn tail that was moved aside is not what its name says")

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self.root))

    def _break(self, path: Path, line: int, seq: int | None, reason: str, severity: Severity = "tampered") -> None:
        self.breaks.append(Break(self._name(path), line, seq, reason, severity))
