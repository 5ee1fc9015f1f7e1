"""How a value becomes JSON in what commands print; `schemas/` describes each shape. What is not known is absent.

Times are RFC 3339 in UTC, durations seconds, weights basis points, shares and ratios 0-1. Shapes only grow. `serving_shapes`,
`registry_shapes` and `action_shapes` have the shapes themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum

Shape = dict[str, object]

STATUS = "mlrelease.status/v1"
ENDPOINT = "mlrelease.endpoint/v1"
MODELS = "mlrelease.models/v1"
VERSIONS = "mlrelease.versions/v1"
PLAN = "mlrelease.plan/v1"
OUTCOME = "mlrelease.outcome/v1"
ERROR = "mlrelease.error/v1"
AUDIT_LIST = "mlrelease.audit-list/v1"
AUDIT_VERIFY = "mlrelease.audit-verify/v1"
CONNECTIONS = "mlrelease.connections/v1"
DOCTOR = "mlrelease.doctor/v1"
INIT = "mlrelease.init/v1"


def known(**fields: object) -> Shape:
    """The fields whose value is known: None, "" and numbers that are none are left out."""
    return {name: plain(value) for name, value in fields.items() if _is_known(value)}


def _is_known(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is not None and value != ""


def plain(value: object) -> object:  # noqa: PLR0911 - one branch a type
    """`value` as JSON has it. A safe text gives its shown form."""
    match value:
        case Enum():
            return plain(value.value)
        case datetime():
            return rfc3339(value)
        case float():
            return round(value, 6) if math.isfinite(value) else str(value)
        case None | bool() | int():
            return value
        case Mapping():
            return {str(key): plain(item) for key, item in value.items()}
        case list() | tuple():
            return [plain(item) for item in value]
        case _:
            return str(value)


def rfc3339(at: datetime) -> str:
    """2026-03-01T09:30:00.123Z"""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
