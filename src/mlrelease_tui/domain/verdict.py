"""What the judge says of a canary against its stable variant."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class VerdictKind(StrEnum):
    """Only `HARM` is meant to be acted on by a machine; `WATCH` is for people; none of them means "safe"."""

    BETTER = "better"
    NO_EVIDENCE_OF_HARM = "no_evidence_of_harm"
    WATCH = "watch"
    HARM = "harm"
    NOT_ENOUGH_DATA = "not_enough_data"
    NOT_JUDGED = "not_judged"


class Metric(StrEnum):
    """What was compared: the share of failed requests, or the share slower than the latency objective."""

    ERRORS = "errors"
    LATENCY = "latency"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One judgement, valid at the moment it is read although it is read continuously.

    `n` is the number of canary requests that count (warm-up left out). `needed` is the number at which the verdict
    is expected, `None` where that cannot be said. `eta_s` is seconds from now until `needed`, `None` where unknown;
    its spread is wide: show it as x0.8 to x2. `metric` is the one that decided, `None` where both say the same.
    `since` is when this kind began, in seconds on the clock of the scrapes, `None` before the first scrape.
    """

    kind: VerdictKind
    reason: str
    n: int = 0
    needed: int | None = None
    eta_s: float | None = None
    metric: Metric | None = None
    since: float | None = None
