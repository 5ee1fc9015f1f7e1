"""The sentence of a verdict: what was found, on how many requests, never more than the counts say."""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True)
class Finding:
    """What is to be put into words. `metric` is `None` where every metric says the same; times in seconds."""

    kind: VerdictKind
    metric: Metric | None
    question: Question
    elapsed_s: float
    stale_s: float
    traffic: bool


def describe(finding: Finding, since: float | None, settings: JudgeSettings) -> Verdict:
    question = finding.question
    n, needed, eta_s = question.total.canary_n, None, None
    if finding.traffic and finding.kind is VerdictKind.NOT_ENOUGH_DATA:
        needed, eta_s = forecast(question, finding.elapsed_s, settings)
    reason = _reason(finding, n, needed, settings)
    return Verdict(finding.kind, reason, n, needed, eta_s, finding.metric, since)


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


def _reason(finding: Finding, n: int, needed: int | None, settings: JudgeSettings) -> str:
    question, total = finding.question, finding.question.total
    what = "slow requests" if finding.metric is Metric.LATENCY else "errors"
    every = "errors or slow requests" if finding.metric is None else what
    # Harm may be said by the severe process before the warm-up ends, when only the other total has counts.
    shown = total if total.canary_n else question.seen_total
    match finding.kind:
        case VerdictKind.HARM:
            return f"more {every} than stable: {_rates(shown)} in {_requests(shown.canary_n)}"
        case VerdictKind.WATCH:
            return f"perhaps more {every} than stable: {_rates(shown)} in {_requests(shown.canary_n)}; not yet sure"
        case VerdictKind.BETTER:
            return f"fewer {every} than stable: {_rates(total)} in {_requests(n)}"
        case VerdictKind.NO_EVIDENCE_OF_HARM:
            return f"no harm {_bound(question, settings)} in {_requests(n)} ({every})"
        case _:
            return _undecided(finding, n, needed, settings)


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


def _bound(question: Question, settings: JudgeSettings) -> str:
    if question.ruled_out.log_e >= question.below_floor.log_e:
        return f">= {settings.interest_ratio:g}x"
    return f">= +{settings.interest_points * 100:g} points"


def _rates(table: Table) -> str:
    return f"{_percent(table.canary_bad, table.canary_n)} against {_percent(table.stable_bad, table.stable_n)}"


def _percent(bad: int, n: int) -> str:
    return f"{100.0 * bad / n:.3g} %" if n else "unknown"


def _requests(n: int) -> str:
    return f"{n:,} canary requests"
