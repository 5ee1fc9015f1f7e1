"""Moving an alias: what may be asked, what is written, what a look at the registry means. Pure.

MLflow has no compare-and-set: `POST registered-models/alias` is an unconditional last-writer-wins and leaves no history. A move
therefore reads, claims, reads again, writes, reads back:

1. read the model; another version behind the alias than the plan saw is a Conflict;
2. claim: one tag `mlrelease.alias.<alias>` on the registered model says where the alias goes, whence, who, why, by which intent;
3. read again: a moved alias or another's claim is a Conflict, and the alias was not touched;
4. move the alias, once;
5. read back.

Of two who claim, the tag holds the later one's. Both reach step 4 only if the second passed step 3 before the first's step 4,
so the first's read-back (5) always finds a foreign claim: at least one of two racers is told.

The claim is also the stamp, and takes the place of the one before it: a tag has one value, the audit has the rest. Should the
process die, or the move be refused, between 2 and 4, then the stamp names a version where the alias is not, and `previous` is
where it still is: `stamps_in_force` leaves such a stamp out. A stamp is believed of a version only where the alias names that
version. A claim that can't be written (no right, too long a key) does not stop the move: an alias moved without a stamp is better
than users hurt for want of a note.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from mlrelease_tui.domain.models import AliasStamp, Model
from mlrelease_tui.domain.rollout import Stamp
from mlrelease_tui.domain.text import SafeText, raw
from mlrelease_tui.errors import Conflict, Refused

OPERATION: Final = "mlflow.alias"
TAG_PREFIX: Final = "mlrelease.alias."
_MAX_WORDS: Final = 2000
_ALIAS: Final = re.compile(r"[\w-]{1,255}")
_VERSION_ALIAS: Final = re.compile(r"[vV]\d+")
_VERSION: Final = re.compile(r"[1-9]\d{0,17}", re.ASCII)


@dataclass(frozen=True, slots=True)
class AliasMove:
    """The whole of one alias write. `expected` is the version that the plan saw, "" where the alias did not exist."""

    model: str
    alias: str
    version: str
    expected: str

    def payload(self) -> str:
        """Canonical JSON."""
        content = {"alias": self.alias, "expected": self.expected, "model": self.model, "version": self.version}
        return json.dumps(content, sort_keys=True, separators=(",", ":"))

    @classmethod
    def parse(cls, payload: str) -> AliasMove:
        """Read what `payload` gave; Refused where it is anything else."""
        try:
            content = json.loads(payload)
            fields = [content[key] for key in ("model", "alias", "version", "expected")]
        except (ValueError, KeyError, TypeError) as error:
            raise Refused("this write is no alias move", hint="make a new plan") from error
        if not all(isinstance(field, str) for field in fields):
            raise Refused("this write is no alias move", hint="make a new plan")
        return cls(*fields)


def planned(model: Model, alias: str, version: str) -> AliasMove:
    """The move of `alias` to `version`; Refused with what to do where MLflow, or good sense, would not have it.

    Whether the version is READY is not known here: `connector.perform` looks, and the planner does before it.
    """
    name = model.ref.name
    wanted, target = raw(alias), raw(version)
    if not _ALIAS.fullmatch(wanted):
        raise Refused(
            f"{SafeText(alias)!r} can't be an alias", hint="letters, digits, _ and - only, at most 255 of them"
        )
    if wanted.lower() == "latest" or _VERSION_ALIAS.fullmatch(wanted):
        raise Refused(
            f"the alias {wanted} is reserved by MLflow", hint="latest and v<number> name versions; choose another"
        )
    if not _VERSION.fullmatch(target):
        raise Refused(f"{SafeText(version)!r} is no version of {name}", hint="versions are numbers: 1, 2, 3 …")
    if model.latest_version.isdigit() and int(target) > int(model.latest_version):
        raise Refused(
            f"{name} has no version {target}: the newest is {model.latest_version}",
            hint="refresh, if it was registered a moment ago",
        )
    twins = sorted(other for other in model.aliases if other != wanted and other.lower() == wanted.lower())
    if twins:
        raise Refused(
            f"{name} has the aliases {wanted} and {', '.join(twins)}, which differ only in case",
            hint="remove one of them in MLflow first",
        )
    current = model.aliases.get(wanted, "")
    if current and not _VERSION.fullmatch(current):
        raise Refused(
            f"the registry says that alias {wanted} points at {current}", hint="mend the alias in MLflow first"
        )
    if current == target:
        raise Refused(f"alias {wanted} of {name} points at {target} already", hint="there is nothing to do")
    return AliasMove(raw(name), wanted, target, current)


def body_text(name: str, alias: str, version: str) -> str:
    """The request's JSON: it keeps every odd character as an escape, so nothing in it acts on a terminal."""
    return json.dumps({"name": name, "alias": alias, "version": version})


def curl(path: str, body: str) -> str:
    """The POST as a shell command."""
    return f'curl -fsS -X POST "$MLFLOW_TRACKING_URI{path}" -H "Content-Type: application/json" -d {shlex.quote(body)}'


# --- the stamp --------------------------------------------------------------------------------------------------------


def tag_key(alias: str) -> str:
    return TAG_PREFIX + alias


def stamp_text(move: AliasMove, stamp: Stamp, now: datetime) -> str:
    """The tag's value: compact JSON."""
    content = {
        "version": move.version,
        "previous": move.expected,
        "by": raw(stamp.by)[:_MAX_WORDS],
        "why": raw(stamp.why)[:_MAX_WORDS],
        "intent": stamp.intent_id,
        "verb": stamp.verb,
        "at": (stamp.at or now).astimezone(UTC).isoformat(timespec="milliseconds"),
    }
    return json.dumps(content, separators=(",", ":"))


def parse_stamp(alias: str, text: str) -> AliasStamp | None:
    """What a tag's value says, None where it is not a stamp. Anyone can write tags: nothing in it is trusted to be well-formed."""
    try:
        content: Any = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict) or not all(isinstance(content.get(key), str) for key in ("version", "intent")):
        return None

    def word(key: str) -> SafeText:
        value = content.get(key)
        return SafeText(value if isinstance(value, str) else "")

    return AliasStamp(
        alias=alias,
        version=word("version"),
        previous=word("previous"),
        by=word("by"),
        why=word("why"),
        intent_id=word("intent"),
        at=_moment(raw(word("at"))),
    )


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        return None


def stamps_in_force(tags: Mapping[str, str], aliases: Mapping[str, str]) -> dict[str, AliasStamp]:
    """Stamps by alias, without those that tell only of an attempt: the alias is still where the attempt found it."""
    found: dict[str, AliasStamp] = {}
    for key, value in tags.items():
        if not raw(key).startswith(TAG_PREFIX):
            continue
        alias = SafeText(raw(key).removeprefix(TAG_PREFIX))
        stamp = parse_stamp(alias, raw(value))
        if stamp is None:
            continue
        now = aliases.get(alias, "")
        if stamp.version != now and stamp.previous == now:
            continue
        found[alias] = stamp
    return found


# --- what a look at the registry means --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Look:
    """The alias and its tag, as one read showed them: `version` and `tag` are "" where there is none."""

    version: str
    tag: str


def check(move: AliasMove, look: Look, claim: str = "") -> None:
    """Conflict where the alias is not where the plan saw it. `claim` is our own, where it was written already."""
    if look.version != move.expected:
        raise Conflict(
            f"alias {move.alias} of {SafeText(move.model)} points at {look.version or 'nothing'} now, "
            f"not at {move.expected or 'nothing'}{_mover(move, look, claim)}",
            hint="look at what changed, then make a new plan",
        )


def check_claim(move: AliasMove, before: Look, look: Look, claim: str) -> None:
    """Conflict where, since `before`, the alias moved or someone else claimed it."""
    check(move, look, claim)
    if look.tag not in {claim, before.tag}:
        raise Conflict(
            f"alias {move.alias} of {SafeText(move.model)} is being moved by someone else at this moment{_claimer(move, look)}; "
            "it was not touched",
            hint="look again in a few seconds, then make a new plan",
        )


def afterthought(move: AliasMove, before: Look, look: Look, claim: str) -> tuple[bool, str]:
    """Whether the move stands by the read-back, and what to say of it ("" where all is as it should be)."""
    if look.version != move.version:
        where = look.version or "nothing"
        return False, f"accepted, but alias {move.alias} points at {where} now{_mover(move, look, claim)}"
    if look.tag not in {claim, before.tag}:
        return (
            False,
            f"alias {move.alias} points at {move.version}, but another move is under way{_claimer(move, look)}",
        )
    if look.tag != claim:
        return True, f"alias {move.alias} points at {move.version}; who and why could not be noted in the registry"
    return True, ""


def _mover(move: AliasMove, look: Look, claim: str) -> str:
    """ ", moved there by …", where the stamp is of the very version that the alias names."""
    if claim and look.tag == claim:
        # Our own claim may have covered the other's.
        return " (it was moved at this very moment)"
    stamp = parse_stamp(move.alias, look.tag)
    if stamp is None or stamp.version != look.version:
        return ", moved there without this tool" if look.version else ""
    return f", moved there by {stamp.by or 'someone'}{_details(stamp)}"


def _claimer(move: AliasMove, look: Look) -> str:
    stamp = parse_stamp(move.alias, look.tag)
    if stamp is None:
        return ""
    return f": {stamp.by or 'someone'} moves it to {stamp.version}{_details(stamp)}"


def _details(stamp: AliasStamp) -> str:
    said = [f"at {stamp.at:%H:%M:%S}Z" if stamp.at else "", f'because "{stamp.why}"' if stamp.why else ""]
    told = ", ".join(part for part in said if part)
    return f" ({told})" if told else ""
