"""The protocol of an alias move, pure: every interleaving of two racers, every point of death, every hostile stamp."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import combinations

import pytest

from mlrelease_tui.connectors.mlflow import alias as aliasing
from mlrelease_tui.connectors.mlflow import parse
from mlrelease_tui.connectors.mlflow.alias import AliasMove, Look
from mlrelease_tui.domain.models import Model
from mlrelease_tui.domain.refs import ModelRef
from mlrelease_tui.domain.rollout import Stamp
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Conflict, Refused

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
STEPS = 5


def claim_of(move: AliasMove, by: str) -> str:
    return aliasing.stamp_text(move, Stamp(f"i-{by}", "alias", SafeText(by), SafeText("")), NOW)


@dataclass
class Server:
    """One alias and one tag, last writer wins: all that MLflow promises."""

    version: str = "1"
    tag: str = ""

    def look(self) -> Look:
        return Look(self.version, self.tag)


@dataclass
class Racer:
    """The five steps of `MlflowConnector.perform`, one at a time. `claims`: whether its claim can be written."""

    server: Server
    move: AliasMove
    claim: str
    claims: bool = True
    step: int = 0
    told: bool = False
    before: Look = field(default_factory=lambda: Look("", ""))

    def advance(self) -> None:
        if self.told:
            return
        try:
            match self.step:
                case 0:
                    self.before = self.server.look()
                    aliasing.check(self.move, self.before)
                case 1:
                    self.server.tag = self.claim if self.claims else self.server.tag
                case 2:
                    aliasing.check_claim(self.move, self.before, self.server.look(), self.claim)
                case 3:
                    self.server.version = self.move.version
                case _:
                    stands, _ = aliasing.afterthought(self.move, self.before, self.server.look(), self.claim)
                    self.told = not stands
        except Conflict:
            self.told = True
        self.step += 1


def racers(server: Server) -> tuple[Racer, Racer]:
    moves = [AliasMove("m", "champion", version, "1") for version in ("2", "3")]
    one, other = (Racer(server, move, claim_of(move, f"r{move.version}")) for move in moves)
    return one, other


@pytest.mark.parametrize("old_tag", ["", claim_of(AliasMove("m", "champion", "1", "0"), "earlier")])
def test_of_two_racers_at_least_one_is_told_whatever_the_order(old_tag: str) -> None:
    orders = list(combinations(range(2 * STEPS), STEPS))
    assert len(orders) == 252
    for order in orders:
        server = Server(tag=old_tag)
        one, other = racers(server)
        for moment in range(2 * STEPS):
            (one if moment in order else other).advance()
        assert one.told or other.told, order
        if not one.told and server.version != "2":
            assert other.told, order


def test_who_sees_a_foreign_claim_before_the_move_does_not_touch_the_alias() -> None:
    server = Server()
    one, other = racers(server)
    one.advance()
    other.advance()
    one.advance()
    other.advance()
    for _ in range(STEPS):
        one.advance()
    assert one.told
    assert server.version == "1"
    for _ in range(STEPS):
        other.advance()
    assert not other.told
    assert server.version == "3"


def test_a_lone_mover_is_never_told_anything() -> None:
    server = Server()
    one, _ = racers(server)
    for _ in range(STEPS):
        one.advance()
    assert not one.told
    assert server.version == "2"


def test_a_mover_whose_claim_can_not_be_written_still_moves() -> None:
    server = Server()
    one, _ = racers(server)
    one.claims = False
    for _ in range(STEPS):
        one.advance()
    assert not one.told
    assert server.version == "2"
    assert "could not be noted" in aliasing.afterthought(one.move, one.before, server.look(), one.claim)[1]


@pytest.mark.parametrize("died_before", range(STEPS + 1))
def test_wherever_a_mover_dies_no_stamp_is_believed_of_a_version_it_did_not_set(died_before: int) -> None:
    earlier = claim_of(AliasMove("m", "champion", "1", "0"), "earlier")
    server = Server(tag=earlier)
    one, _ = racers(server)
    for _ in range(died_before):
        one.advance()
    stamps = aliasing.stamps_in_force({aliasing.tag_key("champion"): server.tag}, {"champion": server.version})
    if server.version == "2":
        assert stamps["champion"].by == "r2"
    else:
        assert {stamp.by for stamp in stamps.values()} <= {"earlier"}


def test_a_stamp_of_a_move_that_others_overwrote_stays_visible() -> None:
    tag = claim_of(AliasMove("m", "champion", "2", "1"), "ana")
    stamps = aliasing.stamps_in_force({aliasing.tag_key("champion"): tag}, {"champion": "7"})
    assert (stamps["champion"].version, stamps["champion"].by) == ("2", "ana")


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "7", '"x"', "{", '{"version": 2, "intent": "i"}', '{"version": "2"}', "[" * 100_000,
     '{"version": "2", "intent": {"a": 1}}'],
)  # fmt: skip
def test_what_is_no_stamp_is_none(text: str) -> None:
    assert aliasing.parse_stamp("champion", text) is None


def test_a_hostile_stamp_is_shown_harmlessly() -> None:
    text = json.dumps(
        {"version": "2\x1b[2J", "intent": "i", "by": ["x"], "why": "\u202e[@click=x]", "at": "9999-99-99"}
    )
    stamp = aliasing.parse_stamp("champion", text)
    assert stamp is not None
    assert (stamp.version, stamp.by, stamp.why, stamp.at) == ("2\\e[2J", "", "\\u202e[@click=x]", None)


def test_a_stamp_reads_back_as_it_was_written_and_never_grows_without_bound() -> None:
    move = AliasMove("m", "champion", "2", "")
    text = aliasing.stamp_text(move, Stamp("i-1", "rollback", SafeText("a" * 9000), SafeText('"\n\x1b'), NOW), NOW)
    assert len(text) < 20_000
    stamp = aliasing.parse_stamp("champion", text)
    assert stamp is not None
    assert (stamp.version, stamp.previous, stamp.intent_id, stamp.at, stamp.why.raw) == ("2", "", "i-1", NOW, '"\n\x1b')


@pytest.mark.parametrize(
    "payload", ["", "{}", "[]", "null", '{"model": 1, "alias": "a", "version": "2", "expected": ""}']
)
def test_a_payload_of_something_else_is_refused(payload: str) -> None:
    with pytest.raises(Refused):
        AliasMove.parse(payload)


def test_a_payload_reads_back() -> None:
    move = AliasMove("ü/\x1b", "champion", "2", "")
    assert AliasMove.parse(move.payload()) == move
    assert move.payload().isascii()


def model(**aliases: str) -> Model:
    return Model(ModelRef("r", "m"), aliases, latest_version="5")


def test_aliases_that_differ_only_in_case_block_the_move() -> None:
    with pytest.raises(Refused, match="differ only in case"):
        aliasing.planned(model(champion="1", Champion="2"), "champion", "3")


def test_an_alias_listed_twice_is_shown_with_both_and_blocks_the_move() -> None:
    entries = [{"alias": "champion", "version": "1"}, {"alias": "champion", "version": "2"}]
    read = parse.model_of({"name": "m", "aliases": entries}, "r", NOW)
    assert dict(read.aliases) == {"champion": "1, 2"}
    with pytest.raises(Refused, match="points at 1, 2"):
        aliasing.planned(read, "champion", "3")


def test_a_curl_command_holds_nothing_that_acts_on_a_terminal_or_shell() -> None:
    command = aliasing.curl("/api", aliasing.body_text("it's \x1b]52;c;x\x07 $(id) \u202e", "a", "1"))
    assert command.isascii()
    assert command.isprintable()
    assert "'\"'\"'" in command
