"""Append to the audit, durably, or say that it can't be done.

One chain per host and user, so that two sessions of one user continue each other: each append takes the folder's lock, looks
whether the tail moved, writes one line with one `write(2)` and syncs it before it returns.

After a sync that failed nothing more is written: the kernel may have dropped the pages and forgotten the error, so a second
sync that succeeds would say nothing (fsync(2), "EIO"; the finding of PostgreSQL's developers in 2018).
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from mlrelease_tui.audit.clock import Clock, SystemClock, rfc3339
from mlrelease_tui.audit.folder import TORN_PREFIX, ChainFolder, SyncFailed, segment_name
from mlrelease_tui.audit.identity import Identity
from mlrelease_tui.audit.read import read, records
from mlrelease_tui.audit.record import (
    GENESIS,
    KINDS,
    MAX_LINE_BYTES,
    VERSION,
    AuditRecord,
    canonical_line,
    clean_body,
    line_hash,
    shrink,
)
from mlrelease_tui.audit.redact import Json, clean_text
from mlrelease_tui.audit.syscalls import Syscalls
from mlrelease_tui.audit.tail import Tail, find_tail, tail_of
from mlrelease_tui.audit.uuid7 import Uuid7
from mlrelease_tui.errors import NotDurable

SEGMENT_BYTES: Final = 16 * 1024 * 1024
RESERVE_BYTES: Final = 64 * 1024
LOCK_TIMEOUT_S: Final = 5.0

_DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_BLOCK_BYTES: Final = 4096
_CLOCK_STEP_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a chain: what to write down elsewhere, to find out later that the chain was cut or rewritten."""

    chain: str
    seq: int
    sha256: str


class AuditLog:
    """The audit of one user on one host, under `directory`. Opening touches nothing; threads may share it, forks may not.

    `segment_bytes`: a segment that has grown past it is closed. `reserve_bytes` of disk are kept for outcomes. `lock_timeout_s`:
    seconds to wait for another session of the same user.
    """

    def __init__(
        self,
        directory: Path,
        *,
        identity: Identity,
        clock: Clock | None = None,
        entropy: Callable[[int], bytes] = os.urandom,
        syscalls: Syscalls | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        reserve_bytes: int = RESERVE_BYTES,
        lock_timeout_s: float = LOCK_TIMEOUT_S,
        allow_network_folder: bool = False,
    ) -> None:
        self.directory = directory
        self.identity = identity
        self._clock = clock or SystemClock()
        self._new_id = Uuid7(self._clock, entropy)
        self._syscalls = syscalls or Syscalls()
        self._segment_bytes = segment_bytes
        self._reserve_bytes = reserve_bytes
        self._lock_timeout_s = lock_timeout_s
        self._allow_network_folder = allow_network_folder
        self._pid = os.getpid()
        self._mutex = threading.Lock()
        self._folder: ChainFolder | None = None
        self._tail: Tail | None = None
        self._held = Head(identity.chain, 0, GENESIS)
        self._dead = ""
        self._last_clocks: tuple[int, int] | None = None
        own = identity.sections()
        self._own: dict[str, dict[str, Json]] = {name: own[name] for name in ("actor", "where")}
        self._fixed: dict[str, Json] = {"v": VERSION, "chain": identity.chain, **own}

    # --- writing

    def prepare(self) -> None:
        """Open the folder, mend a torn tail and set the reserve aside. NotDurable says why writes must stay locked.

        On a full disk a part of the reserve will do: it is enough for a way back to safety.
        """
        with self._durably():
            self._current()
            try:
                self._keep_reserve()
            except OSError as error:
                if error.errno not in _DISK_FULL or self._opened().reserved() < self._reserve_bytes // 4:
                    raise

    def append(
        self,
        kind: str,
        body: Mapping[str, object],
        *,
        use_reserve: bool = False,
        record_id: str = "",
    ) -> AuditRecord:
        """Write one record; when this returns, it is on disk.

        `body` holds the sections of record.py as plain JSON; secrets are masked, long text is cut, and `redacted` says so.
        `use_reserve` gives up kept bytes when the disk is full: for what must be said after something was sent, and for what
        leads back to safety. Any other `intent` wants the whole reserve in place, so that its outcome will fit. `record_id` is
        for an id that was needed before.

        NotDurable: it is not known to be on disk, so whatever it was to announce must not be done.
        """
        if kind not in KINDS:
            raise ValueError(f"no such kind of record: {kind!r}")
        with self._durably():
            try:
                return self._append(kind, body, record_id)
            except OSError as error:
                if not use_reserve or error.errno not in _DISK_FULL:
                    raise
            # The first try may have closed the segment already: the tail is looked up anew.
            self._drop_tail()
            kept = self._opened().reserved()
            self._opened().release_reserve()
            record = self._append(kind, body, record_id, keep=False)
            self._keep_rest(kept - (len(record.line) // _BLOCK_BYTES + 1) * _BLOCK_BYTES)
            return record

    def new_id(self) -> str:
        """An id for a record that is yet to be written (`record_id`), to stamp into a backend or a plan."""
        return self._new_id()

    def head(self) -> Head:
        """The end of the chain as it is now; `seq` 0 where nothing was written yet."""
        with self._durably():
            tail = self._current()
            return Head(self.identity.chain, tail.seq, tail.sha256)

    def close(self) -> None:
        with self._mutex:
            self._close()

    # --- reading

    def read(self) -> Iterator[AuditRecord]:
        """Every record of this chain, oldest first, streamed; lines that are no record are left out (see verify)."""
        return read(self.directory, chain=self.identity.chain)

    def records(
        self,
        *,
        limit: int | None = 100,
        since: datetime | None = None,
        kind: str | None = None,
        endpoint: str | None = None,
        intent_id: str | None = None,
    ) -> tuple[AuditRecord, ...]:
        """The newest records that fit, newest first. See `read.records`."""
        return records(
            self.directory,
            chain=self.identity.chain,
            limit=limit,
            since=since,
            kind=kind,
            endpoint=endpoint,
            intent_id=intent_id,
        )

    # --- beneath

    @contextmanager
    def _durably(self) -> Iterator[None]:
        """Hold both locks; whatever fails inside becomes NotDurable, and the tail is looked up anew afterwards."""
        if not self._mutex.acquire(timeout=self._lock_timeout_s):
            raise NotDurable(
                f"the audit log has been busy in this process for {self._lock_timeout_s:g} s",
                hint="the disk may hang; try again",
            )
        try:
            self._refuse_if_dead()
            folder = self._opened()
            folder.lock(self._lock_timeout_s)
            try:
                if folder.moved():
                    raise self._changed("moved")
                yield
            except BaseException:
                self._drop_tail()
                raise
            finally:
                if self._folder is not None:
                    folder.unlock()
        except SyncFailed as error:
            self._die(f"a sync failed: {error}")
            raise NotDurable(
                f"the audit could not be synced to disk: {error}",
                hint="check the disk, then start again; nothing more is written until then",
            ) from error
        except OSError as error:
            if error.errno == errno.EIO:
                self._die(f"the disk failed: {error.strerror}")
            raise NotDurable(
                f"the audit could not be written under {self.directory}: {error.strerror or error}",
                hint=_hint(error),
            ) from error
        finally:
            self._mutex.release()

    def _opened(self) -> ChainFolder:
        if self._folder is None:
            self._folder = ChainFolder.open(
                self.directory, self.identity.chain, self._syscalls, allow_network=self._allow_network_folder
            )
        return self._folder

    def _refuse_if_dead(self) -> None:
        if self._dead:
            raise NotDurable(f"the audit log is closed: {self._dead}", hint="check the disk, then start again")
        if os.getpid() != self._pid:
            raise NotDurable("the audit log was opened by another process", hint="open one per process")

    def _die(self, why: str) -> None:
        self._dead = why
        self._close()

    def _close(self) -> None:
        self._drop_tail()
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    def _drop_tail(self) -> None:
        if self._tail is not None:
            os.close(self._tail.fd)
            self._tail = None

    def _append(self, kind: str, body: Mapping[str, object], record_id: str, *, keep: bool = True) -> AuditRecord:
        tail = self._current()
        if tail.offset >= self._segment_bytes:
            log = {"closed": segment_name(tail.number), "next": segment_name(tail.number + 1)}
            self._put("segment_close", {"log": log}, "")
            tail = self._next_segment(tail)
        if kind == "intent" and keep:
            self._keep_reserve()
        return self._put(kind, body, record_id)

    def _keep_reserve(self) -> None:
        if self._reserve_bytes > 0:
            self._opened().keep_reserve(self._reserve_bytes)

    def _keep_rest(self, length: int) -> None:
        """Set aside again what a record left of the reserve, before another program takes it. That it can't be fails nothing."""
        if length > 0:
            with suppress(OSError):
                self._opened().keep_reserve(length)

    def _put(self, kind: str, body: Mapping[str, object], record_id: str) -> AuditRecord:
        """One line at the tail, durable. The caller holds the lock and has seen the tail."""
        tail = self._tail
        if tail is None:
            raise AssertionError("no tail")
        now = self._clock.now()
        sections, redactions = clean_body(body, self._own)
        given: dict[str, Json] = {
            "id": clean_text(record_id)[:64] or self._new_id(),
            "seq": tail.seq + 1,
            "prev": tail.sha256,
            "kind": kind,
            "time": self._time(now),
        }
        fields = {**self._fixed, **sections, **given}
        line = canonical_line(fields, floats_or_wide_keys=redactions.floats_or_wide_keys)
        if len(line) > MAX_LINE_BYTES:
            fields = {**self._fixed, **shrink(sections, self._own, redactions), **given}
            line = canonical_line(fields, floats_or_wide_keys=redactions.floats_or_wide_keys)
        record = AuditRecord(
            line=line,
            sha256=line_hash(line),
            id=str(given["id"]),
            chain=self.identity.chain,
            seq=tail.seq + 1,
            prev=tail.sha256,
            kind=kind,
            at=now,
            fields=fields,
        )
        self._write(tail, line + b"\n")
        tail.offset += len(line) + 1
        tail.seq, tail.sha256 = record.seq, record.sha256
        self._held = Head(self.identity.chain, record.seq, record.sha256)
        return record

    def _write(self, tail: Tail, data: bytes) -> None:
        written = self._syscalls.write(tail.fd, data)
        if written != len(data):
            # If this fails too, the torn line stays for the next one to move aside.
            self._syscalls.ftruncate(tail.fd, tail.offset)
            raise OSError(errno.ENOSPC, f"only {written} of {len(data)} bytes were written")
        try:
            self._syscalls.fdatasync(tail.fd)
        except OSError as error:
            raise SyncFailed(segment_name(tail.number), error) from error

    def _time(self, now: datetime) -> Json:
        monotonic = self._clock.monotonic_ns()
        wall = int(now.timestamp() * 1_000_000) * 1000
        time: dict[str, Json] = {
            "utc": rfc3339(now),
            "monotonic_ns": str(monotonic),
            "boot_id": self.identity.process.boot_id,
        }
        synchronized = self._clock.synchronized()
        if synchronized is not None:
            time["synchronized"] = synchronized
        if self._last_clocks is not None:
            step = (wall - self._last_clocks[0]) - (monotonic - self._last_clocks[1])
            if abs(step) >= _CLOCK_STEP_NS:
                time["stepped_ms"] = step // 1_000_000
        self._last_clocks = (wall, monotonic)
        return time

    def _current(self) -> Tail:
        """The tail as it is on disk now. Cheap where nobody else wrote: one stat."""
        tail = self._tail
        if tail is not None:
            try:
                found = self._opened().stat_segment(tail.number)
            except FileNotFoundError:
                raise self._changed("removed") from None
            if (found.st_dev, found.st_ino) != tail.inode:
                raise self._changed("replaced")
            if found.st_size == tail.offset:
                return tail
            if found.st_size < tail.offset:
                raise self._changed("cut")
            self._drop_tail()
        tail = self._tail = find_tail(self._opened(), self.identity.chain, self._syscalls)
        if tail.seq < self._held.seq or (tail.seq == self._held.seq and tail.sha256 != self._held.sha256):
            raise self._changed("cut or rewritten")
        if tail.closed:
            tail = self._next_segment(tail)
        self._record_torn()
        return tail

    def _next_segment(self, closed: Tail) -> Tail:
        """A new segment that goes on from the closing record of the last one: `prev` and `seq` carry over."""
        number = closed.number + 1
        fd = self._opened().open_segment(number, create=True)
        os.close(closed.fd)
        self._tail = tail_of(number, fd, 0, closed.seq, closed.sha256)
        return self._tail

    def _record_torn(self) -> None:
        """Name every torn tail that was moved aside. One that a crash left unnamed is named now."""
        folder = self._opened()
        for pending in folder.pending_torn():
            fragment = folder.read_torn(pending)
            digest = hashlib.sha256(fragment).hexdigest()
            name = f"{TORN_PREFIX}{digest}"
            self._put("recovered", {"log": {"torn": name, "sha256": digest, "bytes": len(fragment)}}, "")
            folder.rename(pending, name)

    def _changed(self, how: str) -> NotDurable:
        held = self._held
        self._die(f"the file was {how} by another program")
        return NotDurable(
            f"the audit log in {self.directory} was {how} by another program while it was open",
            hint=f"keep this: record {held.seq} was {held.sha256}; then: mlrelease audit verify --expect-head {held.sha256}",
        )


def _hint(error: OSError) -> str:
    if error.errno in _DISK_FULL:
        return "the disk or the quota is full: make room"
    if error.errno in {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT}:
        return "the state folder must be a place that this user can write"
    return "check the state folder"
