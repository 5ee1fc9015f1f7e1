"""The jury: which evidence belongs to which canary, and what is no evidence at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from tests.unit.release_parts import FRAUD, START, VirtualClock, world

from mlrelease_tui.domain.metrics import Coverage, Histogram, VariantSample
from mlrelease_tui.domain.rollout import Endpoint, Hold, Phase
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.domain.verdict import Verdict, VerdictKind
from mlrelease_tui.judgement.jury import Jury

MOVING = world(VirtualClock()).endpoints[FRAUD]


class Traffic:
    """Both variants' counters, scraped every five seconds. The judge wants five minutes to warm up, then six of its minutes."""

    def __init__(self, jury: Jury, endpoint: Endpoint = MOVING) -> None:
        self.jury, self.endpoint = jury, endpoint
        self.second = 0.0
        self.counts = {"v2": [0.0, 0.0], "v3": [0.0, 0.0]}

    def reading(self, name: str, *, epoch: float | None = 1.0, known: bool = True) -> VariantSample:
        requests, errors = self.counts[name]
        latency = Histogram((0.25, 1.0), (requests, requests, requests))
        return VariantSample(
            FRAUD,
            name,
            START + timedelta(seconds=self.second),
            self.second,
            requests,
            errors if known else None,
            latency,
            epoch=epoch,
        )

    def go(
        self, times: int = 1, *, stable: tuple[int, int] = (90, 0), canary: tuple[int, int] = (30, 0)
    ) -> Verdict | None:
        found = None
        for _ in range(times):
            self.second += 5
            for name, (requests, errors) in (("v2", stable), ("v3", canary)):
                self.counts[name][0] += requests
                self.counts[name][1] += errors
            found = self.jury.hear(self.endpoint, (self.reading("v2"), self.reading("v3")))
        return found


def harmed(times: int = 150) -> Traffic:
    traffic = Traffic(Jury())
    traffic.go()
    traffic.go(times, stable=(90, 1), canary=(30, 12))
    return traffic


def kind(verdict: Verdict | None) -> VerdictKind:
    assert verdict is not None
    return verdict.kind


def test_a_canary_that_hurts_is_found() -> None:
    assert kind(harmed().go(canary=(30, 12))) is VerdictKind.HARM


def test_a_canary_that_does_not_is_not_accused() -> None:
    traffic = Traffic(Jury())
    assert kind(traffic.go(150, stable=(90, 1), canary=(30, 0))) is not VerdictKind.HARM


@pytest.mark.parametrize(
    "endpoint",
    [
        replace(MOVING, variants=MOVING.variants[:1]),
        replace(MOVING, variants=MOVING.variants[1:]),
        replace(MOVING, rollout=replace(MOVING.rollout, phase=Phase.COMPLETE)),
    ],
    ids=["no canary", "no stable", "complete"],
)
def test_where_there_is_nothing_to_judge_nothing_is_said(endpoint: Endpoint) -> None:
    traffic = Traffic(Jury(), endpoint)
    assert traffic.go(3) is None


def test_evidence_outlives_a_change_of_weight_and_a_hold() -> None:
    traffic = harmed()
    before = traffic.go(canary=(30, 12))
    assert before is not None
    held = replace(MOVING.rollout, hold=Hold(SafeText("ana"), SafeText("x")), phase=Phase.HELD)
    variants = tuple(replace(item, weight_bp=5000) for item in MOVING.variants)
    traffic.endpoint = replace(MOVING, variants=variants, rollout=held, revision="9")
    after = traffic.go(canary=(30, 12))
    assert after is not None
    assert after.kind is VerdictKind.HARM
    assert after.n >= before.n > 0


def test_another_canary_begins_anew() -> None:
    traffic = harmed()
    assert kind(traffic.go(canary=(30, 12))) is VerdictKind.HARM
    stable, canary = MOVING.variants
    traffic.endpoint = replace(MOVING, variants=(stable, replace(canary, version="4")))
    found = traffic.go(2)
    assert kind(found) is not VerdictKind.HARM


def test_the_same_canary_after_a_rollback_begins_anew() -> None:
    traffic = harmed()
    traffic.endpoint = replace(MOVING, variants=MOVING.variants[:1])
    assert traffic.go() is None
    traffic.endpoint = MOVING
    assert kind(traffic.go(2)) is not VerdictKind.HARM


def test_errors_that_are_not_known_are_no_evidence() -> None:
    """A server that does not say how requests ended must not clear a canary."""
    jury = Jury()
    traffic = Traffic(jury)
    traffic.go()
    found = None
    for _ in range(200):
        traffic.second += 5
        for name in traffic.counts:
            traffic.counts[name][0] += 1000
        found = jury.hear(MOVING, (traffic.reading("v2", known=False), traffic.reading("v3", known=False)))
    assert kind(found) in {VerdictKind.NOT_ENOUGH_DATA, VerdictKind.NOT_JUDGED}


def test_missing_scrapes_are_no_evidence() -> None:
    jury = Jury()
    found = None
    for tick in range(50):
        at = START + timedelta(seconds=tick)
        gone = tuple(VariantSample(FRAUD, name, at, float(tick), coverage=Coverage.NO_TARGET) for name in ("v2", "v3"))
        found = jury.hear(MOVING, gone)
    assert kind(found) in {VerdictKind.NOT_ENOUGH_DATA, VerdictKind.NOT_JUDGED}
    assert kind(jury.hear(MOVING, ())) in {VerdictKind.NOT_ENOUGH_DATA, VerdictKind.NOT_JUDGED}


def test_a_counter_that_began_anew_is_not_counted_backwards() -> None:
    traffic = Traffic(Jury())
    before = traffic.go(100)
    assert before is not None
    traffic.second += 5
    traffic.counts = {"v2": [90.0, 0.0], "v3": [20.0, 0.0]}
    samples = (traffic.reading("v2", epoch=2.0), traffic.reading("v3", epoch=2.0))
    after = traffic.jury.hear(MOVING, samples)
    assert after is not None
    assert before.n <= after.n <= before.n + 20


def test_a_reset_that_overtook_does_not_invent_errors() -> None:
    """Fewer requests than errors since the last reading: only the epoch tells."""
    traffic = Traffic(Jury())
    traffic.go(100, canary=(30, 1))
    traffic.second += 5
    traffic.counts["v3"] = [traffic.counts["v3"][0] + 1, traffic.counts["v3"][1] + 1]
    found = traffic.jury.hear(MOVING, (traffic.reading("v2"), traffic.reading("v3", epoch=2.0)))
    assert kind(found) is not VerdictKind.HARM


def test_what_another_process_counted_before_is_no_evidence() -> None:
    """Behind one address there may be many processes, and a scrape meets now this one, now that: none of them began anew."""
    traffic = Traffic(Jury())
    traffic.go(100, stable=(90, 1))
    found = None
    for tick in range(100):
        traffic.second += 5
        other = tick % 2 == 0
        canary = replace(traffic.reading("v3"), requests=9e6, errors=8e6, epoch=2.0) if other else traffic.reading("v3")
        found = traffic.jury.hear(MOVING, (traffic.reading("v2"), canary))
    assert kind(found) is not VerdictKind.HARM
    assert found is not None
    assert found.n < 4_000, "its history was counted"


def test_a_process_that_began_since_the_last_reading_is_counted_from_its_beginning() -> None:
    traffic = Traffic(Jury())
    before = traffic.go(100)
    assert before is not None
    began = (START + timedelta(seconds=traffic.second + 1)).timestamp()
    for tick in range(1, 25):
        traffic.second += 5
        traffic.counts["v2"][0] += 90
        traffic.counts["v3"] = [20.0 * tick, 0.0]
        after = traffic.jury.hear(MOVING, (traffic.reading("v2"), traffic.reading("v3", epoch=began)))
    assert after is not None
    # 24 ticks, of which a last block that is not full yet is not told of.
    assert before.n + 20 * 12 <= after.n <= before.n + 20 * 24 + 30 * 12


def test_an_epoch_that_is_told_no_more_is_no_beginning() -> None:
    traffic = Traffic(Jury())
    traffic.go(100, stable=(90, 1), canary=(30, 12))
    jury = Jury()
    traffic.jury = jury
    found = None
    for tick in range(250):
        traffic.second += 5
        traffic.counts["v2"][0] += 9_000
        traffic.counts["v3"][0] += 30
        epoch = 1.0 if tick % 2 else None
        found = jury.hear(MOVING, (traffic.reading("v2"), traffic.reading("v3", epoch=epoch)))
    assert kind(found) is not VerdictKind.HARM


def with_slow(sample: VariantSample, bounds: tuple[float, ...], fast: float) -> VariantSample:
    """The same with buckets that hold `fast` answers each, and all the others beyond the last."""
    assert sample.requests is not None
    return replace(sample, latency=Histogram(bounds, (*(fast for _ in bounds), sample.requests)))


def test_buckets_that_change_do_not_make_old_answers_slow_again() -> None:
    """The canary was slow when it was young; since then each answer is fast, whatever buckets it is counted in."""
    traffic = Traffic(Jury())
    traffic.counts["v3"] = [50_000.0, 0.0]
    found = None
    for tick in range(200):
        traffic.second += 5
        traffic.counts["v2"][0] += 90
        traffic.counts["v3"][0] += 30
        bounds = (0.25, 1.0) if tick % 2 else (0.25, 0.5, 1.0)
        canary = with_slow(traffic.reading("v3"), bounds, traffic.counts["v3"][0] - 50_000)
        found = traffic.jury.hear(MOVING, (traffic.reading("v2"), canary))
    assert kind(found) is not VerdictKind.HARM


def test_coarser_buckets_make_no_better_canary() -> None:
    """Half of all answers of either take 0.6 s; the canary's buckets only know a second."""
    traffic = Traffic(Jury())
    found = None
    for _ in range(400):
        traffic.second += 5
        for name in traffic.counts:
            traffic.counts[name][0] += 90
        stable = with_slow(traffic.reading("v2"), (0.25,), traffic.counts["v2"][0] / 2)
        canary = with_slow(traffic.reading("v3"), (1.0,), traffic.counts["v3"][0])
        found = traffic.jury.hear(MOVING, (stable, canary))
    assert found is not None
    assert found.kind is not VerdictKind.BETTER
    assert "slow" not in found.reason


def test_a_stable_that_was_never_counted_is_told() -> None:
    traffic = Traffic(Jury())
    found = None
    for _ in range(150):
        traffic.second += 5
        traffic.counts["v3"][0] += 30
        gone = replace(traffic.reading("v2"), requests=None, errors=None, latency=None, coverage=Coverage.NO_TARGET)
        found = traffic.jury.hear(MOVING, (gone, traffic.reading("v3")))
    assert found is not None
    assert found.kind is VerdictKind.NOT_ENOUGH_DATA
    assert "no counts of both" in found.reason


def test_each_endpoint_has_its_own_latency_objective() -> None:
    asked: list[str] = []

    def slow_s(ref: object) -> float:
        asked.append(str(ref))
        return 0.5

    Traffic(Jury(slow_s)).go(2)
    assert set(asked) == {FRAUD.id}
