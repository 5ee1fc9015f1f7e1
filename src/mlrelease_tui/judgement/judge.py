"""The judge of one rollout: scrape after scrape in, a verdict out at any time.

Everything is a value: `observe` returns a new state of constant size, so a caller may keep, store and replay it and
get the same verdict. Evidence is never reset by a change of share or by reading it; only a new revision restarts it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from mlrelease_tui.domain.verdict import Metric, Verdict, VerdictKind
from mlrelease_tui.judgement.evidence import Table
from mlrelease_tui.judgement.question import Question
from mlrelease_tui.judgement.settings import DEFAULT_SETTINGS, JudgeSettings
from mlrelease_tui.judgement.wording import Finding, describe

_MOST = 10**12
_UNASKED = Question()


@dataclass(frozen=True, slots=True)
class Counts:
    """What one variant did since its previous scrape, counter resets already taken out.

    `errors` and `slow` are parts of `requests`; `slow` counts those above the latency objective's bucket and is `None`
    where there is no histogram. After a missed scrape the next counts are expected to span the gap.
    """

    requests: int
    errors: int = 0
    slow: int | None = None


@dataclass(frozen=True, slots=True)
class Scrape:
    """One tick at `at` seconds (any clock that never goes back); `None` where that variant was not scraped."""

    at: float
    stable: Counts | None
    canary: Counts | None


@dataclass(frozen=True, slots=True)
class Judge:
    """The judge's whole memory. `revision` is `None` where there is no canary to judge.

    `began`: when the canary's first request may have come. `last_at`: latest scrape. `paired_at`: latest scrape of both
    variants. `block_from`: when the block that is being filled began. `kind`, `since`: the standing verdict. Seconds.
    """

    revision: str | None = None
    settings: JudgeSettings = DEFAULT_SETTINGS
    began: float | None = None
    last_at: float | None = None
    paired_at: float | None = None
    block_from: float = 0.0
    errors: Question = _UNASKED
    latency: Question = _UNASKED
    kind: VerdictKind = VerdictKind.NOT_JUDGED
    metric: Metric | None = None
    since: float | None = None


def start(revision: str | None, settings: JudgeSettings = DEFAULT_SETTINGS) -> Judge:
    """A judge without evidence; `revision` names the canary's revision, `None` that there is no canary."""
    kind = VerdictKind.NOT_JUDGED if revision is None else VerdictKind.NOT_ENOUGH_DATA
    return Judge(revision=revision, settings=settings, kind=kind)


def restart(state: Judge, revision: str | None) -> Judge:
    """The state to go on with for `revision`: `state` itself if it is the same one, else a fresh one."""
    return state if state.revision == revision else start(revision, state.settings)


def observe(state: Judge, scrape: Scrape) -> Judge:
    """Take in one tick. Never raises: impossible counts are treated as a missing scrape, late ticks as of now."""
    if state.revision is None or not math.isfinite(scrape.at):
        return state
    at = scrape.at if state.last_at is None else max(scrape.at, state.last_at)
    stable, canary = _plausible(scrape.stable), _plausible(scrape.canary)
    began, block_from, paired_at = state.began, state.block_from, state.paired_at
    errors, latency = state.errors, state.latency
    if began is None and canary is not None and canary.requests:
        began = block_from = at if state.last_at is None else max(state.last_at, at - state.settings.block_s)
    if began is not None:
        paired = stable is not None and canary is not None
        errors = errors.take(_table(stable, canary, slow=False), paired)
        if _has_slow(stable, canary):
            latency = latency.take(_table(stable, canary, slow=True), paired)
        if paired:
            paired_at = at
            if at >= _block_end(began, block_from, state.settings):
                warm = block_from >= began + state.settings.warm_up_s
                errors = errors.close_block(warm, state.settings)
                if latency.measured:
                    latency = latency.close_block(warm, state.settings)
                block_from = at
    kind, metric = _release(errors, latency, state.settings)
    if _is_reassuring(kind) and _is_stale(at, paired_at, state.settings):
        kind, metric = VerdictKind.NOT_ENOUGH_DATA, None
    since = state.since if kind is state.kind and state.since is not None else at
    return Judge(
        state.revision,
        state.settings,
        began,
        at,
        paired_at,
        block_from,
        errors,
        latency,
        kind,
        metric,
        since,
    )


def verdict(state: Judge) -> Verdict:
    """What can be said now; cheap enough to ask at every repaint."""
    if state.revision is None:
        return Verdict(VerdictKind.NOT_JUDGED, "there is no canary to judge", since=state.since)
    settings = state.settings
    elapsed = 0.0
    if state.began is not None and state.last_at is not None:
        elapsed = state.last_at - state.began
    finding = Finding(
        kind=state.kind,
        questions=_deciding(state),
        elapsed_s=elapsed,
        # Where both were never counted together, that is since the canary began.
        stale_s=_stale_s(state.last_at, state.began if state.paired_at is None else state.paired_at, settings)
        if state.began is not None
        else 0.0,
        traffic=state.began is not None,
    )
    return describe(finding, state.since, settings)


def _deciding(state: Judge) -> tuple[tuple[Metric, Question], ...]:
    """The questions that the verdict speaks of: the one that decided, or all that are measured."""
    errors, latency = (Metric.ERRORS, state.errors), (Metric.LATENCY, state.latency)
    if state.metric is Metric.LATENCY:
        return (latency,)
    if state.metric is Metric.ERRORS or not state.latency.measured:
        return (errors,)
    return errors, latency


def _release(errors: Question, latency: Question, settings: JudgeSettings) -> tuple[VerdictKind, Metric | None]:
    """Errors or latency can condemn alone; to be reassured takes every metric that is measured."""
    if not latency.measured:
        return errors.kind(settings), Metric.ERRORS
    kinds = ((errors.kind(settings), Metric.ERRORS), (latency.kind(settings), Metric.LATENCY))
    for wanted in (VerdictKind.HARM, VerdictKind.WATCH, VerdictKind.NOT_ENOUGH_DATA):
        found = [metric for kind, metric in kinds if kind is wanted]
        if found:
            return wanted, found[0] if len(found) == 1 else None
    better = [metric for kind, metric in kinds if kind is VerdictKind.BETTER]
    if better:
        return VerdictKind.BETTER, better[0] if len(better) == 1 else None
    return VerdictKind.NO_EVIDENCE_OF_HARM, None


def _plausible(counts: Counts | None) -> Counts | None:
    if counts is None or counts.requests < 0 or counts.errors < 0 or (counts.slow or 0) < 0:
        return None
    n = min(counts.requests, _MOST)
    slow = None if counts.slow is None else min(counts.slow, n)
    return Counts(n, min(counts.errors, n), slow)


def _has_slow(stable: Counts | None, canary: Counts | None) -> bool:
    present = [counts for counts in (stable, canary) if counts is not None]
    return bool(present) and all(counts.slow is not None for counts in present)


def _table(stable: Counts | None, canary: Counts | None, *, slow: bool) -> Table:
    stable_n, stable_bad = _n_and_bad(stable, slow)
    canary_n, canary_bad = _n_and_bad(canary, slow)
    return Table(stable_n, stable_bad, canary_n, canary_bad)


def _n_and_bad(counts: Counts | None, slow: bool) -> tuple[int, int]:
    if counts is None:
        return 0, 0
    return counts.requests, (counts.slow or 0) if slow else counts.errors


def _block_end(began: float, block_from: float, settings: JudgeSettings) -> float:
    """Next point of the grid of blocks, or the end of the warm-up where that comes first."""
    whole = math.floor((block_from - began) / settings.block_s + 1e-9) + 1
    end = began + whole * settings.block_s
    warm = began + settings.warm_up_s
    return warm if block_from < warm < end else end


def _is_reassuring(kind: VerdictKind) -> bool:
    return kind in (VerdictKind.BETTER, VerdictKind.NO_EVIDENCE_OF_HARM)


def _stale_s(last_at: float | None, paired_at: float | None, settings: JudgeSettings) -> float:
    """Seconds since both variants were last seen, 0 while that is recent."""
    if last_at is None or paired_at is None:
        return 0.0
    age = last_at - paired_at
    return age if age > settings.stale_blocks * settings.block_s else 0.0


def _is_stale(at: float, paired_at: float | None, settings: JudgeSettings) -> bool:
    return _stale_s(at, paired_at, settings) > 0.0
