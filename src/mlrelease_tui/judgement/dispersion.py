"""How much noisier the errors are than coin flips: φ, by which log evidence is divided.

Bursts and autocorrelation make counts swing more than a binomial does. φ compares the squared *differences* of
successive batch scores with the variance that the counts themselves imply, for batches of 1 to 16 blocks, and takes
the largest: steady or slowly growing harm cancels in a difference, bursts do not. Differences of raw scores, not of
scores conditioned on the error total: conditioning hides the bursts of a lone canary pod.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mlrelease_tui.judgement.settings import JudgeSettings

BATCH_SIZES = (1, 2, 4, 8, 16)
LEAST_VARIANCE = 1e-30
"""Less than any counts give; dividing by less would leave the range of floats."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Running sums for one batch size; `previous` is the score of the last whole batch."""

    blocks: int = 0
    score: float = 0.0
    variance: float = 0.0
    previous: float | None = None
    whole: int = 0
    sum_variance: float = 0.0
    sum_half_squares: float = 0.0

    def add(self, size: int, score: float, variance: float) -> Batch:
        blocks, score, variance = self.blocks + 1, self.score + score, self.variance + variance
        if blocks < size:
            return Batch(blocks, score, variance, self.previous, self.whole, self.sum_variance, self.sum_half_squares)
        step = 0.0 if self.previous is None else score - self.previous
        return Batch(
            0,
            0.0,
            0.0,
            score,
            self.whole + 1,
            self.sum_variance + variance,
            self.sum_half_squares + 0.5 * step * step,
        )

    def ratio(self, settings: JudgeSettings) -> float:
        """Dispersion at this batch size, shrunk towards the prior."""
        if not self.whole or self.sum_variance < LEAST_VARIANCE:
            return settings.prior_phi
        mean = self.sum_variance / self.whole
        prior = settings.prior_phi + settings.prior_slope * mean
        weight = settings.prior_batches
        return (self.sum_half_squares / mean + weight * prior) / (self.whole - 1 + weight)


@dataclass(frozen=True, slots=True)
class Dispersion:
    """φ ≥ 1 learned so far; `batches` follows `BATCH_SIZES`."""

    batches: tuple[Batch, ...] = field(default_factory=lambda: tuple(Batch() for _ in BATCH_SIZES))
    phi: float = 2.0

    def add(self, score: float, variance: float, settings: JudgeSettings) -> Dispersion:
        batches = tuple(batch.add(size, score, variance) for size, batch in zip(BATCH_SIZES, self.batches, strict=True))
        seen = [batch.ratio(settings) for batch in batches if batch.whole > 1]
        phi = max(seen) if seen else batches[0].ratio(settings)
        return Dispersion(batches, max(1.0, phi))
