"""The conformance kit: what the core relies on, as tests that a connector's author inherits.

Each class stands for one capability and asks for a few fixtures, which it names in its docstring. Inherit those that fit::

    class TestMyRegistry(RegistryConformance):
        @pytest.fixture
        def connector(self) -> Connector: ...
        @pytest.fixture
        def model(self) -> ModelRef: ...

Needs pytest and pytest-asyncio in auto mode (`asyncio_mode = "auto"`). Run it against the real backend wherever one can run.
`docs/writing-a-connector.md` shows a whole example.
"""

# ruff: noqa: E402 - what is imported after this line has its asserts rewritten

from __future__ import annotations

import pytest

# The asserts of the kit say what they saw, as a test's own do.
pytest.register_assert_rewrite(
    *(
        f"{__name__}.{part}"
        for part in (
            "alias",
            "connector",
            "failures",
            "logs",
            "looking",
            "metrics",
            "planning",
            "registry",
            "target",
            "writing",
        )
    )
)

from mlrelease_tui.connectors.conformance.alias import AliasConformance
from mlrelease_tui.connectors.conformance.connector import ConnectorConformance
from mlrelease_tui.connectors.conformance.failures import FailureConformance
from mlrelease_tui.connectors.conformance.logs import LogConformance
from mlrelease_tui.connectors.conformance.looking import HOSTILE
from mlrelease_tui.connectors.conformance.metrics import MetricConformance
from mlrelease_tui.connectors.conformance.planning import PlanningConformance
from mlrelease_tui.connectors.conformance.registry import RegistryConformance
from mlrelease_tui.connectors.conformance.target import TargetConformance
from mlrelease_tui.connectors.conformance.writing import WritingConformance

__all__ = [
    "HOSTILE",
    "AliasConformance",
    "ConnectorConformance",
    "FailureConformance",
    "LogConformance",
    "MetricConformance",
    "PlanningConformance",
    "RegistryConformance",
    "TargetConformance",
    "WritingConformance",
]
