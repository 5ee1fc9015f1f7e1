"""MLflow's JSON payloads → domain values. Nothing in a payload is trusted to be there, or to be of the type it should be.

What names a thing (model, version) must be right, else UnexpectedAnswer; what describes it may be missing.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final

from mlrelease_tui.connectors.mlflow import alias as aliasing
from mlrelease_tui.connectors.mlflow.registry import Payload
from mlrelease_tui.domain.models import Dataset, Model, ModelVersion, Readiness
from mlrelease_tui.domain.refs import ModelRef, VersionRef
from mlrelease_tui.domain.text import SafeText, raw
from mlrelease_tui.errors import UnexpectedAnswer

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_READINESS: Final[Mapping[str, Readiness]] = MappingProxyType(
    {
        "READY": Readiness.READY,
        "PENDING_REGISTRATION": Readiness.PENDING,
        "FAILED_REGISTRATION": Readiness.FAILED,
    }
)


def unexpected(what: str) -> UnexpectedAnswer:
    return UnexpectedAnswer(
        f"the registry answered something that MLflow does not say: {what}",
        hint="is the url that of an MLflow tracking server, and no proxy or login page in front of it?",
    )


# --- models -----------------------------------------------------------------------------------------------------------


def models(payload: Payload, connection: str, now: datetime) -> tuple[Model, ...]:
    """The models of a `registered-models/search` answer, each once: rows move between pages while others write."""
    found: dict[str, Model] = {}
    for item in _objects(payload, "registered_models"):
        model = model_of(item, connection, now)
        found.setdefault(raw(model.ref.name), model)
    return tuple(found.values())


def model_of(item: Payload, connection: str, now: datetime) -> Model:
    """One `RegisteredModel` object."""
    tags = tags_of(item)
    aliases = aliases_of(item)
    return Model(
        ref=ModelRef(connection, name_of(item)),
        aliases=MappingProxyType(aliases),
        description=text_of(item, "description"),
        tags=MappingProxyType(tags),
        latest_version=_newest(_objects(item, "latest_versions")),
        stamps=MappingProxyType(aliasing.stamps_in_force(tags, aliases)),
        updated_at=moment_of(item.get("last_updated_timestamp")),
        observed_at=now,
    )


def aliases_of(item: Payload) -> dict[str, str]:
    """Alias → version. An alias that a faulty server lists twice keeps both versions, "2, 3", which is no version of anything."""
    found: dict[str, str] = {}
    for entry in _objects(item, "aliases"):
        alias, version = text_of(entry, "alias"), text_of(entry, "version")
        if not alias or not version:
            raise unexpected("an alias without name or version")
        known = found.get(alias)
        found[alias] = version if known in {None, version} else SafeText(f"{known}, {version}")
    return found


def tags_of(item: Payload) -> dict[str, SafeText]:
    return {text_of(tag, "key"): text_of(tag, "value") for tag in _objects(item, "tags")}


def look(payload: Payload, alias: str) -> aliasing.Look:
    """Where the alias points and what its tag says, from a `registered-models/get` answer."""
    item = object_of(payload, "registered_model")
    tag = tags_of(item).get(SafeText(aliasing.tag_key(alias)), SafeText())
    return aliasing.Look(aliases_of(item).get(SafeText(alias), SafeText()), raw(tag))


def name_of(item: Payload) -> SafeText:
    name = item.get("name")
    if not isinstance(name, str) or not name:
        raise unexpected("a model without a name")
    return SafeText(name)


def _newest(items: Iterable[Payload]) -> str:
    numbers = [raw(text_of(item, "version")) for item in items]
    return max((number for number in numbers if _is_number(number)), key=int, default="")


# --- versions ---------------------------------------------------------------------------------------------------------


def versions(payload: Payload, ref: ModelRef, aliases: Mapping[str, str], now: datetime) -> tuple[ModelVersion, ...]:
    """The versions of a `model-versions/search` answer that are of `ref`, each once, newest first.

    A search gives no aliases, whatever the versions have: they are filled in from the model's own.
    """
    by_version: dict[str, list[str]] = {}
    for name, version in aliases.items():
        by_version.setdefault(version, []).append(name)
    found: dict[int, ModelVersion] = {}
    for item in _objects(payload, "model_versions"):
        if raw(name_of(item)) != raw(ref.name):
            continue
        number = number_of(item)
        found.setdefault(number, _version(item, ref, tuple(sorted(by_version.get(str(number), ()))), now))
    return tuple(found[number] for number in sorted(found, reverse=True))


def version_of(payload: Payload, ref: ModelRef, now: datetime) -> ModelVersion:
    """The version of a `model-versions/get` answer, with the aliases that it names itself."""
    item = object_of(payload, "model_version")
    if raw(name_of(item)) != raw(ref.name):
        raise unexpected("a version of another model than was asked for")
    names = item.get("aliases")
    aliases = sorted(SafeText(name) for name in names if isinstance(name, str)) if isinstance(names, list) else []
    return _version(item, ref, tuple(aliases), now)


def _version(item: Payload, ref: ModelRef, aliases: tuple[str, ...], now: datetime) -> ModelVersion:
    return ModelVersion(
        ref=VersionRef(ref, str(number_of(item))),
        readiness=_READINESS.get(raw(text_of(item, "status")), Readiness.UNKNOWN),
        readiness_message=text_of(item, "status_message"),
        source=text_of(item, "source"),
        run_id=text_of(item, "run_id"),
        description=text_of(item, "description"),
        tags=MappingProxyType(tags_of(item)),
        aliases=aliases,
        created_at=moment_of(item.get("creation_timestamp")),
        created_by=text_of(item, "user_id"),
        observed_at=now,
    )


def number_of(item: Payload) -> int:
    """The version's number: MLflow counts versions 1, 2, 3 …"""
    value = item.get("version")
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _is_number(text):
        raise unexpected(f"a version that is no number: {SafeText(value, limit=40)}")
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 18


def lowest_number(payload: Payload) -> tuple[int, int]:
    """How many rows an answer of `model-versions/search` has, and their lowest version number (0 where it has none)."""
    numbers = [number_of(item) for item in _objects(payload, "model_versions")]
    return len(numbers), min(numbers, default=0)


# --- runs -------------------------------------------------------------------------------------------------------------


def metrics_of(data: Payload) -> dict[str, float | SafeText]:
    """The latest value of each metric: a float, or the text that was stored where a float would lie.

    MLflow's SQL store keeps an infinity as the largest float there is (`sqlalchemy_store.py`), so that one is told as what it was.
    """
    found: dict[str, float | SafeText] = {}
    for entry in _objects(data, "metrics"):
        key, value = text_of(entry, "key"), entry.get("value")
        if isinstance(value, bool) or not isinstance(value, int | float):
            found[key] = SafeText("" if value is None else value)
        elif not math.isfinite(value) or abs(value) >= sys.float_info.max:
            found[key] = SafeText("NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity")
        else:
            found[key] = float(value)
    return found


def params_of(data: Payload) -> dict[str, SafeText]:
    return {text_of(entry, "key"): text_of(entry, "value") for entry in _objects(data, "params")}


def datasets_of(run: Payload) -> tuple[Dataset, ...]:
    """The data sets of `inputs.dataset_inputs`, with what the run used each for."""
    inputs = run.get("inputs")
    found: list[Dataset] = []
    for entry in _objects(inputs, "dataset_inputs") if isinstance(inputs, dict) else ():
        dataset = object_of(entry, "dataset")
        context = tags_of(entry).get(SafeText("mlflow.data.context"), SafeText())
        found.append(Dataset(text_of(dataset, "name"), text_of(dataset, "digest"), context))
    return tuple(found)


# --- JSON -------------------------------------------------------------------------------------------------------------


def object_of(payload: Payload, key: str) -> Payload:
    value = payload.get(key)
    if not isinstance(value, dict):
        raise unexpected(f"no {key}")
    return value


def part_of(payload: Payload, key: str) -> Payload:
    """An object that may be missing."""
    return {} if payload.get(key) is None else object_of(payload, key)


def _objects(payload: Payload, key: str) -> tuple[Payload, ...]:
    """The objects of a list that may be missing, as protobuf's JSON leaves out what is empty."""
    value: Any = payload.get(key)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise unexpected(f"{key} is no list of objects")
    return tuple(value)


def text_of(payload: Payload, key: str) -> SafeText:
    """Text, safe to show; "" where it is missing; a number as its digits."""
    value = payload.get(key)
    if value is None or isinstance(value, dict | list):
        return SafeText()
    return SafeText(value)


def moment_of(value: object) -> datetime | None:
    """Milliseconds since 1970 in UTC, None where there are none or where they are no moment."""
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        value = int(value[:20])
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    try:
        return _EPOCH + timedelta(milliseconds=value)
    except OverflowError:
        return None
