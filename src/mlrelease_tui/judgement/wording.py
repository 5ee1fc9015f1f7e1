"""The sentence of a verdict: what was found, on how many requests, never more than the counts say."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mlrelease_tui.domain.verdict import Metric, Verdict, VerdictKind
from mlrelease_tui.judgement.evidence import Table
from mlrelease_tui.judgement.question import Question, smoothed_rate
from mlrelease_tui.judgement.sample_size import (
    eta_from_start_s,
    needed_for_harm,
    needed_to_rule_out,
    relative_harm_of_interest,
)
from mlrelease_tui.judgement.settings import JudgeSettings

WORDS = {Metric.ERRORS: "errors", Metric.LATENCY: "slow requests"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What is to be put into words: `questions` are those that the verdict speaks of, at least one; times in seconds."""

    kind: VerdictKind
    questions: tuple[tuple[Metric, Question], ...]
    elapsed_s: float
    stale_s: float
    traffic: bool


def describe(finding: Finding, since: float | None, settings: JudgeSettings) -> Verdict:
    metric = finding.questions[0][0] if len(finding.questions) == 1 else None
    n = min(_shown(finding.kind, question).canary_n for _, question in finding.questions)
    needed: int | None = None
    eta_s: float | None = None
    if finding.traffic and not finding.stale_s and finding.kind is VerdictKind.NOT_ENOUGH_DATA:
        # The slowest question decides when all is said; one without a forecast leaves the whole without one.
        forecasts = [forecast(question, finding.elapsed_s, settings) for _, question in finding.questions]
        if all(number is not None for number, _ in forecasts):
            needed, eta_s = max(forecasts, key=lambda pair: pair[0] or 0)
    return Verdict(finding.kind, _reason(finding, n, needed, settings), n, needed, eta_s, metric, since)


def forecast(question: Question, elapsed_s: float, settings: JudgeSettings) -> tuple[int | None, float | None]:
    """Canary requests at which a verdict is expected, and seconds from now until then.

    First the number that would show harm of interest; once that has come without harm, the number that would rule it
    out; `None` when even that has come.
    """
    seen = question.seen_total
    if not seen.canary_n or not seen.stable_n or elapsed_s <= 0.0:
        return None, None
    base = smoothed_rate(seen.stable_bad, seen.stable_n)
    share = seen.canary_n / (seen.canary_n + seen.stable_n)
    phi, n = question.dispersion.phi, question.total.canary_n
    ratio = relative_harm_of_interest(base, settings)
    candidates = (
        needed_for_harm(base, ratio, share, phi, settings),
        needed_to_rule_out(base, share, phi, settings),
    )
    needed = next((number for number in candidates if number is not None and number > n), None)
    if needed is None:
        return None, None
    total_s = eta_from_start_s(needed, seen.canary_n / elapsed_s, settings)
    return needed, None if total_s is None else max(0.0, total_s - elapsed_s)


def _shown(kind: VerdictKind, question: Question) -> Table:
    """Harm may be said by the severe process before the warm-up ends, when only the other total has counts."""
    early = kind in (VerdictKind.HARM, VerdictKind.WATCH) and not question.total.canary_n
    return question.seen_total if early else question.total


def _reason(finding: Finding, n: int, needed: int | None, settings: JudgeSettings) -> str:
    match finding.kind:
        case VerdictKind.HARM:
            return f"more than stable in {_requests(n)}: {_comparison(finding)}"
        case VerdictKind.WATCH:
            return f"perhaps more than stable, not yet sure, in {_requests(n)}: {_comparison(finding)}"
        case VerdictKind.BETTER:
            return f"fewer than stable in {_requests(n)}: {_comparison(finding)}"
        case VerdictKind.NO_EVIDENCE_OF_HARM:
            return f"no harm {_bounds(finding, settings)} in {_requests(n)}"
        case _:
            return _undecided(finding, n, needed, settings)


def _comparison(finding: Finding) -> str:
    parts = []
    for metric, question in finding.questions:
        table = _shown(finding.kind, question)
        canary, stable = _percent(table.canary_bad, table.canary_n), _percent(table.stable_bad, table.stable_n)
        parts.append(f"{WORDS[metric]} {canary} against {stable}")
    return "; ".join(parts)


def _undecided(finding: Finding, n: int, needed: int | None, settings: JudgeSettings) -> str:
    if not finding.traffic:
        return "the canary has had no requests yet"
    if finding.stale_s:
        return f"no counts of both variants for {round(finding.stale_s)} s; older evidence is not shown as current"
    if finding.elapsed_s < settings.warm_up_s:
        left = round(settings.warm_up_s - finding.elapsed_s)
        return f"warming up: only severe harm is judged for another {left} s"
    if needed is None:
        return f"undecided after {_requests(n)}"
    return f"{n:,} of about {needed:,} canary requests needed"


def _bounds(finding: Finding, settings: JudgeSettings) -> str:
    """What was ruled out, for each metric by itself: ">= 2x (errors), >= +0.5 points (slow requests)"."""
    twice: list[str] = []
    points: list[str] = []
    for metric, question in finding.questions:
        relative = question.ruled_out.log_e >= math.log(settings.ruled_out_e)
        (twice if relative else points).append(WORDS[metric])
    parts = []
    if twice:
        parts.append(f">= {settings.interest_ratio:g}x ({' or '.join(twice)})")
    if points:
        parts.append(f">= +{settings.interest_points * 100:g} points ({' or '.join(points)})")
    return ", ".join(parts)


def _percent(bad: int, n: int) -> str:
    return f"{100.0 * bad / n:.3g} %" if n else "unknown"


def _requests(n: int) -> str:
    return f"{n:,} canary requests"
