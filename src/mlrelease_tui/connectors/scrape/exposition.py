"""One scrape of a target, kept small: only the series that a preset reads, found again by their labels.

Format: Prometheus text exposition 0.0.4, parsed by `prometheus-client`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from mlrelease_tui.connectors.scrape.presets import Preset
from mlrelease_tui.domain.metrics import Histogram
from mlrelease_tui.errors import UnexpectedAnswer

Labels = Mapping[str, str]
Samples = tuple[tuple[Labels, float], ...]

START_TIME: Final = "process_start_time_seconds"
"""What the official Prometheus client libraries call the start of the process."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one set of labels counts: cumulative requests and errors (5xx), latency in seconds, requests in flight.

    `epoch` is when the process that counts began, in seconds since 1970.
    """

    requests: float | None = None
    errors: float | None = None
    latency: Histogram | None = None
    in_flight: float | None = None
    epoch: float | None = None


@dataclass(frozen=True, slots=True)
class Scrape:
    """The samples of one target: name → (labels, value) pairs. To be read by one thread at a time."""

    samples: Mapping[str, Samples] = field(default_factory=dict)
    _by_label: dict[tuple[str, str], dict[str, list[tuple[Labels, float]]]] = field(
        default_factory=dict, repr=False, compare=False
    )
    """The samples of a name by the value of one label, for each label that was asked for: a router's page holds the series of
    hundreds of variants, and looking through all of them for each would take longer than the time between two scrapes."""

    def read(self, preset: Preset, wanted: Iterable[tuple[str, str]]) -> Reading:
        """Sum what matches `wanted`. None stays None where no series matches: that is not zero."""
        labels = tuple(wanted)
        counted = tuple(self._matching(preset.requests, labels))
        requests = _total(value for _, value in counted)
        codes = [found.get(preset.code_label) for found, _ in counted]
        errors: float | None = None
        # A counter that does not say how requests ended says nothing of errors.
        if requests is not None and None not in codes:
            errors = sum(value for code, (_, value) in zip(codes, counted, strict=True) if (code or "").startswith("5"))
        in_flight = _total(value for _, value in self._matching(preset.in_flight, labels))
        began = [value for _, value in self.samples.get(START_TIME, ())]
        epoch = _total(began) if len(began) == 1 else None
        return Reading(requests, errors, self._histogram(preset, labels), in_flight, epoch)

    def _histogram(self, preset: Preset, labels: tuple[tuple[str, str], ...]) -> Histogram | None:
        """The series of a variant put together; None where they are no histogram, or not of the same buckets."""
        if not preset.duration:
            return None
        buckets: dict[float, list[float]] = {}
        for found, value in self._matching(f"{preset.duration}_bucket", labels):
            bound = _number(found.get("le", ""))
            if bound is not None:
                buckets.setdefault(bound, []).append(value)
        if math.inf not in buckets or len({len(values) for values in buckets.values()}) > 1:
            return None
        bounds = sorted(bound for bound in buckets if not math.isinf(bound))
        counts = [_total(buckets[bound]) for bound in (*bounds, math.inf)]
        known = tuple(count for count in counts if count is not None)
        # Each bucket counts those before it, too.
        if len(known) != len(counts) or any(after < before for before, after in pairwise(known)):
            return None
        return Histogram(tuple(bound * preset.unit_s for bound in bounds), known)

    def _matching(self, name: str, labels: tuple[tuple[str, str], ...]) -> Iterable[tuple[Labels, float]]:
        candidates: Sequence[tuple[Labels, float]] = self.samples.get(name, ())
        for key, text in labels:
            having = self._having(name, key).get(text, ())
            if len(having) < len(candidates):
                candidates = having
        for found, value in candidates:
            if all(found.get(key) == text for key, text in labels):
                yield found, value

    def _having(self, name: str, key: str) -> Mapping[str, Sequence[tuple[Labels, float]]]:
        known = self._by_label.get((name, key))
        if known is None:
            known = self._by_label[name, key] = {}
            for sample in self.samples.get(name, ()):
                if key in sample[0]:
                    known.setdefault(sample[0][key], []).append(sample)
        return known


def parse(text: str, names: frozenset[str], target: str) -> Scrape:
    """Keep the samples called one of `names`. UnexpectedAnswer where `text` is no exposition."""
    from prometheus_client.parser import text_string_to_metric_families

    kept: dict[str, list[tuple[Labels, float]]] = {}
    families = 0
    try:
        for family in text_string_to_metric_families(text):
            families += 1
            for sample in family.samples:
                if sample.name in names or sample.name == START_TIME:
                    kept.setdefault(sample.name, []).append((sample.labels, sample.value))
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise UnexpectedAnswer(
            f"{target} did not answer in the Prometheus text format", hint="does the address end in /metrics?"
        ) from error
    if text.strip() and not families:
        raise UnexpectedAnswer(f"{target} answered no metrics", hint="does the address end in /metrics?")
    return Scrape({name: tuple(samples) for name, samples in kept.items()})


def _total(values: Iterable[float]) -> float | None:
    """The sum; None where there is nothing to sum, or where one of them (NaN, infinite, negative) is no count: a part of a sum
    that is not known leaves the whole unknown."""
    found = tuple(values)
    total = sum(found) if found and all(0 <= value < math.inf for value in found) else math.inf
    return total if math.isfinite(total) else None


def _number(text: str) -> float | None:
    """The upper bound of a bucket; None where it is none."""
    try:
        bound = float(text)
    except ValueError:
        return None
    return None if math.isnan(bound) or bound == -math.inf else bound
