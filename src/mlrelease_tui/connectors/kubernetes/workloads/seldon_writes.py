"""What all writes to Seldon's objects share."""

from __future__ import annotations

from typing import Final

from mlrelease_tui.connectors.kubernetes.workloads import noting

SETTLE_S: Final = 600.0
"""A model may have to be fetched and loaded first, in seconds."""
ADVISORY: Final = "annotation, advisory: Seldon has no pause"


class Writing(noting.Writing):
    """Makes writes for one of Seldon's objects from the object of one read."""

    pauseless = "Seldon has no pause"
