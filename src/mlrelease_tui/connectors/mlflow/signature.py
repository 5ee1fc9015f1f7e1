"""A model's signature, read from the `MLmodel` file that MLflow writes beside every model, or from the run's own record.

`MLmodel` is YAML, as PyYAML's `safe_dump` lays it out: the two signature entries are JSON in a quoted, folded scalar. Only those
two are read here; a file that looks otherwise gives no signature, which is shown as unknown.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final

from mlrelease_tui.domain.text import SafeText

_BLOCK: Final = re.compile(r"^signature:\n((?:[ ]+.*\n?|\n)*)", re.MULTILINE)
_MAX_COLUMNS: Final = 400


@dataclass(frozen=True, slots=True)
class Signature:
    """Columns or tensors in words ("age: double, name: string?", where ? means optional); "" where unknown."""

    inputs: SafeText = field(default_factory=SafeText)
    outputs: SafeText = field(default_factory=SafeText)


NO_SIGNATURE: Final = Signature()


def from_mlmodel(text: str) -> Signature:
    block = _BLOCK.search(text.replace("\r\n", "\n"))
    if block is None:
        return NO_SIGNATURE
    return Signature(_words(_scalar(block[1], "inputs")), _words(_scalar(block[1], "outputs")))


def from_history(text: str, run_model_path: str = "") -> Signature:
    """From the run tag `mlflow.log-model.history` (MLflow 2): a JSON list of what the run logged, oldest first.

    Where the run logged several models, `run_model_path` (the end of the version's source) says which.
    """
    try:
        entries = json.loads(text)
    except (ValueError, RecursionError):
        return NO_SIGNATURE
    logged = [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []
    named = [entry for entry in logged if run_model_path.endswith(str(entry.get("artifact_path") or "\0"))]
    for entry in reversed(named or (logged if len(logged) == 1 else [])):
        signature = entry.get("signature")
        if isinstance(signature, dict):
            return Signature(_words(signature.get("inputs")), _words(signature.get("outputs")))
    return NO_SIGNATURE


def _scalar(block: str, key: str) -> str:
    """The value of one quoted YAML scalar that may be folded over several lines."""
    single = re.search(rf"^ +{key}: '((?:[^']|'')*)'", block, re.MULTILINE)
    if single is not None:
        return re.sub(r"\n\s*", " ", single[1]).replace("''", "'")
    double = re.search(rf'^ +{key}: ("(?:[^"\\]|\\.|\\\n)*")', block, re.MULTILINE)
    if double is None:
        return ""
    unfolded = re.sub(r"\n\s*", " ", re.sub(r"\\\n\s*\\?", "", double[1]))
    try:
        value = json.loads(unfolded)
    except ValueError:
        return ""
    return value if isinstance(value, str) else ""


def _words(value: object) -> SafeText:
    """MLflow's JSON schema of inputs or outputs in words."""
    if not isinstance(value, str) or not value:
        return SafeText()
    try:
        columns = json.loads(value)
    except (ValueError, RecursionError):
        return SafeText()
    if not isinstance(columns, list):
        return SafeText()
    told = [_column(column) for column in columns[:_MAX_COLUMNS] if isinstance(column, dict)]
    if len(columns) > _MAX_COLUMNS:
        told.append(f"and {len(columns) - _MAX_COLUMNS} more")
    return SafeText(", ".join(told))


def _column(column: dict[str, Any]) -> str:
    kind = str(column.get("type", "?"))
    tensor = column.get("tensor-spec")
    if isinstance(tensor, dict):
        kind = f"{tensor.get('dtype', 'tensor')}{tensor.get('shape', '')}"
    name = column.get("name")
    optional = "?" if column.get("required") is False else ""
    return f"{name}: {kind}{optional}" if name else f"{kind}{optional}"
