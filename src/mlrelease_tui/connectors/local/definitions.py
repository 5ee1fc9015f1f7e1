"""What an endpoint is: its name, model, steps, and the command that starts a version of it. Written once, by whoever sets it up."""

from __future__ import annotations

import hashlib
import math
import string
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any
from uuid import uuid4

from mlrelease_tui.connectors.local.documents import locked, read_json, way_back, write_json
from mlrelease_tui.connectors.local.layout import Layout
from mlrelease_tui.domain.refs import ModelRef
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP
from mlrelease_tui.errors import ConfigError, UnexpectedAnswer
from mlrelease_tui.routing.api import is_safe_name

FORMAT = 1
DEFAULT_NAMESPACE = "local"
DEFAULT_STEPS_BP = (1_000, 2_500, 5_000, 10_000)
PLACEHOLDERS = frozenset({"version", "model", "port", "artifact"})
_LOCK_S = 5.0


@dataclass(frozen=True, slots=True)
class EndpointDefinition:
    """One endpoint. `command` is an argument list; `{version}`, `{model}`, `{port}` and `{artifact}` in it, and in the values
    of `env`, are filled in for each process; a literal brace is doubled. `model` is `connection/name` of the registry.

    `steps_bp`: the weights of a rollout, in basis points. Times in seconds: `start_timeout_s` until the health check must
    pass, `grace_s` between SIGTERM and SIGKILL. `uid` is given at definition and identifies this endpoint, not its name.
    """

    name: str
    command: tuple[str, ...]
    namespace: str = DEFAULT_NAMESPACE
    model: str = ""
    alias: str = ""
    environment: str = ""
    steps_bp: tuple[int, ...] = DEFAULT_STEPS_BP
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    health_path: str = "/health"
    metrics_path: str = "/metrics"
    start_timeout_s: float = 60.0
    grace_s: float = 10.0
    uid: str = ""

    @property
    def key(self) -> str:
        """How the documents name it: `namespace/name`."""
        return f"{self.namespace}/{self.name}"

    @property
    def route(self) -> str:
        """The router's name for it: the plain name in the default namespace, for users see it in the address."""
        return self.name if self.namespace == DEFAULT_NAMESPACE else f"{self.namespace}.{self.name}"

    def filled(self, *, version: str, port: int, artifact: str) -> tuple[tuple[str, ...], dict[str, str]]:
        """The arguments and the additional environment of one process."""
        values = {"version": version, "port": str(port), "artifact": artifact, "model": self.model.partition("/")[2]}
        command = tuple(part.format_map(values) for part in self.command)
        return command, {key: value.format_map(values) for key, value in self.env.items()}


def variant_name(version: str) -> str:
    """The router's name of a version: `v7` for 7; a name that can't stand in a route is spelt by what can, and a digest."""
    plain = f"v{version}"
    if is_safe_name(plain):
        return plain
    kept = "".join(char if char.isascii() and char.isalnum() else "-" for char in plain)
    while "--" in kept:
        kept = kept.replace("--", "-")
    return f"{kept[:40].strip('-')}-{hashlib.sha256(version.encode()).hexdigest()[:10]}"


def define_endpoint(directory: Path, definition: EndpointDefinition) -> EndpointDefinition:
    """Add an endpoint to the directory, or change the definition of the one of that name. Returns it with its `uid`.

    ConfigError where the definition can't be. Nothing runs by it: `deploy` starts the first version.
    """
    _check(definition)
    layout = Layout(directory)
    layout.make()
    with locked(layout.endpoints, _LOCK_S):
        known = read_definitions(layout)
        other = next((d for d in known.values() if d.route == definition.route and d.key != definition.key), None)
        if other is not None:
            raise ConfigError(f"endpoint {definition.key} would share the route {definition.route} with {other.key}")
        before = known.get(definition.key)
        uid = before.uid if before else definition.uid or uuid4().hex
        complete = replace(definition, uid=uid)
        shapes = {key: asdict(value) for key, value in (known | {complete.key: complete}).items()}
        write_json(layout.endpoints, {"format": FORMAT, "endpoints": shapes}, keep=True)
    return complete


def read_definitions(layout: Layout) -> dict[str, EndpointDefinition]:
    """All definitions by key; empty where there is no such document. UnexpectedAnswer where it is damaged, or edited so that
    one of them can't be: half a definition would end what runs by the whole one."""
    shape = read_json(layout.endpoints)
    if shape is None:
        return {}
    try:
        if shape["format"] != FORMAT:
            raise ValueError(f"format {shape['format']!r}")
        return {key: _definition(key, value) for key, value in shape["endpoints"].items()}
    except (KeyError, TypeError, ValueError, AttributeError, ConfigError) as failure:
        raise UnexpectedAnswer(
            f"{layout.endpoints} holds no definitions of endpoints: {failure}", hint=way_back(layout.endpoints)
        ) from failure


def _definition(key: str, shape: Mapping[str, Any]) -> EndpointDefinition:
    for name in ("command", "steps_bp"):
        if not isinstance(shape[name], list):
            raise TypeError(f"{name} of {key} is no list")
    lists = {"command": tuple(shape["command"]), "steps_bp": tuple(shape["steps_bp"])}
    found = EndpointDefinition(**(dict(shape) | lists))
    _check(found)
    if found.key != key:
        raise ValueError(f"{key} is named {found.key}")
    return found


def _check(definition: EndpointDefinition) -> None:
    """ConfigError names the first thing that is wrong. Of a document that a hand edited, a value may be of any type."""
    problem = next(chain(_type_problems(definition), _problems(definition)), None)
    if problem is not None:
        raise ConfigError(f"endpoint {definition.key}: {problem}")


def _type_problems(definition: EndpointDefinition) -> Iterator[str]:
    for name in ("name", "namespace", "model", "alias", "environment", "health_path", "metrics_path", "uid"):
        if not isinstance(getattr(definition, name), str):
            yield f"its {name} is no text"
    if not all(isinstance(part, str) for part in definition.command):
        yield "its command is no list of texts"
    for name in ("env", "labels"):
        found = getattr(definition, name)
        if not isinstance(found, Mapping) or not all(isinstance(part, str) for pair in found.items() for part in pair):
            yield f"its {name} are no texts by name"
    for seconds in (definition.start_timeout_s, definition.grace_s):
        if type(seconds) not in {int, float} or not math.isfinite(seconds):
            yield "its time-outs are no times"


def _problems(definition: EndpointDefinition) -> Iterator[str]:
    if not all(is_safe_name(name) for name in (definition.name, definition.namespace, definition.route)):
        yield "name and namespace may hold letters, digits, '.', '_' and single hyphens"
    yield from _command_problems(definition)
    steps = definition.steps_bp
    if any(type(s) is not int or not 0 < s <= ALL_TRAFFIC_BP for s in steps) or list(steps) != sorted(set(steps)):
        yield f"steps {list(steps)} are not ascending weights of 1 to {ALL_TRAFFIC_BP} basis points"
    if definition.model:
        try:
            ModelRef.parse(definition.model)
        except ValueError as failure:
            yield str(failure)
    if definition.start_timeout_s <= 0 or definition.grace_s < 0:
        yield "its time-outs are no times"


def _command_problems(definition: EndpointDefinition) -> Iterator[str]:
    if not definition.command:
        yield "there is no command that starts a version"
    named: set[str] = set()
    for text in (*definition.command, *definition.env.values()):
        try:
            fields = [field for field in string.Formatter().parse(text) if field[1] is not None]
        except ValueError as failure:
            yield f"{text!r}: {failure}; a literal brace is doubled"
            return
        for _, name, form, conversion in fields:
            if name not in PLACEHOLDERS:
                yield f"{text!r} wants {{{name}}}; there are {{{'}, {'.join(sorted(PLACEHOLDERS))}}}"
            if form or conversion:
                yield f"{text!r} wants {{{name}}} in a form of its own; it is filled in as it is"
            named.add(str(name))
    if "port" not in named:
        yield "nothing tells the server its {port}"
