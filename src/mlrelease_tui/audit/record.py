"""The shape of one line of the audit, and the only way from fields to bytes and back.

A line is one JSON object in RFC 8785 canonical form, UTF-8, ended by a newline. Its fields:

    v id chain seq prev kind time       always; `prev` is the SHA-256 (hex) of the bytes of the line before, without its newline;
                                        64 zeros for the first line of a chain
    actor where process                 always; who, on which host and tool version, in which process
    target model action why policy      given by the caller, plain JSON
    confirm approvals result
    log                                 what the log did to itself (recovered, segment_close)
    redacted                            what was masked, capped or dropped: [{field, why, …}]

Any other field that a caller gives is dropped and named in `redacted`. `action.intent_id` ties records to their intent;
the intent's own id counts where it gives none.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import rfc8785

from mlrelease_tui.audit.redact import MASK, MAX_SAFE_INTEGER, Json, Redactions, clean_text, plain

VERSION: Final = 1
GENESIS: Final = "0" * 64
"""`prev` of the first record of a chain."""

MAX_LINE_BYTES: Final = 256 * 1024
"""A longer record loses its largest sections, which `redacted` then names with their hash."""

KINDS: Final = frozenset(
    {
        "session",
        "denied",
        "intent",
        "sent",
        "step",
        "outcome",
        "reconciled",
        "acknowledged",
        "approval",
        "break_glass",
        "checkpoint",
        "recovered",
        "segment_close",
    }
)
"""The kinds that this version writes. A reader accepts others: the list only grows."""

BODY_FIELDS: Final = frozenset(
    {
        "actor",
        "where",
        "target",
        "model",
        "action",
        "why",
        "policy",
        "confirm",
        "approvals",
        "result",
        "log",
        "redacted",
    }
)
TOP_FIELDS: Final = BODY_FIELDS | {"v", "id", "chain", "seq", "prev", "kind", "time", "process"}

_MAX_REDACTIONS: Final = 100
_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 9998
"""A moment nearer to the ends of the calendar can't be told in every zone."""
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_KIND: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One line: its exact bytes (without newline), their SHA-256, and what they say. `at` is aware, UTC."""

    line: bytes
    sha256: str
    id: str
    chain: str
    seq: int
    prev: str
    kind: str
    at: datetime
    fields: Mapping[str, Json]

    @classmethod
    def parse(cls, line: bytes) -> AuditRecord:
        """Read one line. ValueError says what is wrong with it; a record that isn't canonical still parses."""
        fields = strict_object(line)
        unknown = fields.keys() - TOP_FIELDS
        if unknown:
            raise ValueError(f"unknown field {min(unknown)!r}")
        version, seq, when = fields.get("v"), fields.get("seq"), fields.get("time")
        if version != VERSION or isinstance(version, (bool, float)):
            raise ValueError(f"record version {version!r} is not {VERSION}")
        if not isinstance(seq, int) or isinstance(seq, bool) or seq < 1:
            raise ValueError("seq is not a positive integer")
        if not isinstance(when, dict):
            raise ValueError("time is not an object")
        prev, kind = _string(fields, "prev"), _string(fields, "kind")
        if not _HASH.fullmatch(prev):
            raise ValueError("prev is not a SHA-256 in hex")
        if not _KIND.fullmatch(kind):
            raise ValueError("kind is not a lower-case word")
        return cls(
            line=line,
            sha256=line_hash(line),
            id=_string(fields, "id"),
            chain=_string(fields, "chain"),
            seq=seq,
            prev=prev,
            kind=kind,
            at=_instant(_string(when, "utc")),
            fields=fields,
        )

    def section(self, name: str) -> Mapping[str, Json]:
        """The object under `name`; empty where the record has none."""
        value = self.fields.get(name)
        return value if isinstance(value, dict) else {}

    @property
    def intent_id(self) -> str:
        """The intent that this record belongs to; "" where it belongs to none."""
        value = self.section("action").get("intent_id")
        if isinstance(value, str) and value:
            return value
        return self.id if self.kind == "intent" else ""

    @property
    def endpoint(self) -> str:
        """`target.endpoint`, as `connection/namespace/name`; "" where none is named."""
        value = self.section("target").get("endpoint")
        return value if isinstance(value, str) else ""


def line_hash(line: bytes) -> str:
    """SHA-256, hex, of the exact bytes of a line, without its newline."""
    return hashlib.sha256(line).hexdigest()


def canonical(value: Json) -> bytes:
    """RFC 8785 bytes."""
    return rfc8785.dumps(value)


def canonical_line(fields: Mapping[str, Json], *, floats_or_wide_keys: bool) -> bytes:
    """RFC 8785 bytes of a record.

    Floats, and keys outside ASCII (which RFC 8785 sorts by UTF-16), need the real thing. For the rest the standard library's
    encoder writes the same bytes in a tenth of the time, which would otherwise be as long as the sync to disk.
    """
    return canonical(dict(fields)) if floats_or_wide_keys else _ENCODER.encode(fields).encode("utf-8")


_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, sort_keys=True, separators=(",", ":")
)


def clean_body(body: Mapping[str, object], own: Mapping[str, Mapping[str, Json]]) -> tuple[dict[str, Json], Redactions]:
    """The caller's body as safe sections, `redacted` among them where something was left out.

    `own` are sections that the log fills itself (actor, where): a caller adds to them and can't overwrite.
    """
    redactions = Redactions()
    sections: dict[str, Json] = {}
    for name, value in body.items():
        if name not in BODY_FIELDS:
            redactions.add(clean_text(str(name)), "unknown_field")
        elif name == "redacted":
            given = plain(value, name, redactions)
            redactions.found.extend(given if isinstance(given, list) else [given])
        elif name in own:
            added = plain(value, name, redactions)
            if not isinstance(added, dict):
                redactions.add(name, "type")
                continue
            for key in added.keys() & own[name].keys():
                redactions.add(f"{name}.{key}", "reserved")
            sections[name] = {**added, **own[name]}
        else:
            sections[name] = plain(value, name, redactions)
    _say_redacted(sections, redactions)
    return sections, redactions


def shrink(sections: dict[str, Json], own: Mapping[str, Mapping[str, Json]], redactions: Redactions) -> dict[str, Json]:
    """Leave out the largest sections until the rest fits a line; their size and hash stay in `redacted`."""
    sizes = {name: canonical(value) for name, value in sections.items() if name != "redacted"}
    out = dict(sections)
    while sum(map(len, sizes.values())) > MAX_LINE_BYTES // 2:
        largest = max(sizes, key=lambda name: len(sizes[name]))
        redactions.found.insert(
            0,
            {
                "field": largest,
                "why": "too_large",
                "bytes": len(sizes[largest]),
                "sha256": line_hash(sizes[largest]),
            },
        )
        out[largest] = dict(own[largest]) if largest in own else MASK
        sizes[largest] = canonical(out[largest])
    _say_redacted(out, redactions)
    return out


def _say_redacted(sections: dict[str, Json], redactions: Redactions) -> None:
    if not redactions.found:
        return
    kept = redactions.found[:_MAX_REDACTIONS]
    left = len(redactions.found) - len(kept)
    if left:
        kept.append({"field": "redacted", "why": "capped", "count": left})
    while len(kept) > 1 and len(canonical(list(kept))) > MAX_LINE_BYTES // 4:
        kept = [*kept[: len(kept) // 2], {"field": "redacted", "why": "capped"}] if len(kept) > 2 else kept[:1]
    sections["redacted"] = kept


def strict_object(line: bytes) -> dict[str, Json]:
    """One JSON object. ValueError for duplicate names, for NaN and infinities, and for anything that isn't UTF-8.

    Integers past 2^53 become floats: that is what RFC 8785 holds every number to be.
    """
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8") from error
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_whole)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at column {error.colno}") from error
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def _unique(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("a name appears twice in one object")
    return out


def _no_constant(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


def _whole(digits: str) -> int | float:
    if len(digits) < 16:
        return int(digits)
    number = float(digits)
    return int(digits) if abs(number) <= MAX_SAFE_INTEGER else number


def _string(fields: Mapping[str, Json], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} is not a string")
    return value


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("time.utc has no zone")
    if not _FIRST_YEAR <= at.year <= _LAST_YEAR:
        raise ValueError(f"time.utc is in the year {at.year}")
    return at
