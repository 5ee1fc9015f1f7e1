"""What the demo shows: which versions serve where, with which share, and how much its users ask. Plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mlrelease_tui.domain.status import Guard

GUARD: Final = Guard(error_ratio=0.02, p99_s=0.25)


@dataclass(frozen=True, slots=True)
class Scene:
    """One endpoint of the demo. `rate` is requests a second; `alias_leads`: a pipeline moved the alias to the canary already."""

    endpoint: str
    model: str
    stable: str
    canary: str = ""
    weight_bp: int = 1000
    rate: float = 20.0
    alias_leads: bool = False
    guard: Guard = GUARD


SCENES: Final = (
    Scene("iris", "iris-classifier", "3", rate=8.0),
    Scene("wine", "wine-cultivar", "2", canary="3", rate=10.0),
    Scene("diabetes", "diabetes-risk", "2", canary="3", alias_leads=True),
)

REGISTRY: Final = "registry"
TARGET: Final = "local"
METRICS: Final = "metrics"
ENVIRONMENT: Final = "demo"
PIPELINE: Final = "ci"
"""Who released, as the stamps in registry and router say."""
