"""What the connector asks of an MLflow registry, whoever carries it: the REST endpoints or the `mlflow` client.

Both carriers give the same payloads: the JSON objects of MLflow's REST API (`/api/2.0/mlflow/…`), so that one parser reads both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mlrelease_tui.connectors.api import Credential
from mlrelease_tui.errors import TimedOut, UnexpectedAnswer

Payload = Mapping[str, Any]
"""A JSON object as MLflow's REST API gives it."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """The moment by which a call of the connector ends, whatever number of requests it makes. `at` is the event loop's time."""

    at: float
    connection: str

    @classmethod
    def after(cls, seconds: float, connection: str) -> Deadline:
        return cls(asyncio.get_running_loop().time() + seconds, connection)

    def left(self) -> float:
        """Seconds left; TimedOut where there are none."""
        left = self.at - asyncio.get_running_loop().time()
        if left <= 0:
            raise silent(self.connection)
        return left

    def share(self, part: float) -> Deadline:
        """A deadline that ends when `part` (0–1) of what is left is over."""
        now = asyncio.get_running_loop().time()
        return Deadline(now + max(self.at - now, 0.0) * part, self.connection)


class TooLarge(UnexpectedAnswer):
    """An answer beyond what is read at once: ask for less."""


def silent(connection: str) -> TimedOut:
    return TimedOut(
        f"{connection} accepted the connection but did not answer in time",
        hint="the server is silent or overloaded; try again later",
    )


@dataclass(frozen=True, slots=True)
class Greeting:
    """What a registry says of itself: `version` of MLflow and `identity` as it calls us, both "" where it does not say.

    `latency_s`: how long one authenticated look took, in seconds.
    `anonymous`: it answers without any credential. `warnings` are facts about the link.
    """

    latency_s: float
    version: str = ""
    identity: str = ""
    anonymous: bool = False
    warnings: tuple[str, ...] = ()


class Registry(Protocol):
    """One MLflow registry. Reads may be repeated; each `set_…` sends exactly one mutating request.

    Reads raise BackendError. Writes raise Rejected (it said no), OutcomeUnknown (sent, no telling), or a BackendError that
    was met before anything was sent.
    """

    @property
    def address(self) -> str:
        """Where it is, without any secret."""
        ...

    @property
    def credential(self) -> Credential | None:
        """The credential in use, None where there is none or none was needed yet."""
        ...

    async def ready(self) -> None:
        """Local work before the first call, on a clock of its own."""
        ...

    async def greet(self, deadline: Deadline) -> Greeting: ...

    async def search_models(self, filter_string: str, limit: int, token: str, deadline: Deadline) -> Payload: ...

    async def get_model(self, name: str, deadline: Deadline) -> Payload: ...

    async def search_versions(self, filter_string: str, limit: int, deadline: Deadline) -> Payload:
        """Newest first: ordered by version number, descending. TooLarge where the carrier won't take so much at once."""
        ...

    async def get_version(self, name: str, version: str, deadline: Deadline) -> Payload: ...

    async def get_run(self, run_id: str, deadline: Deadline) -> Payload: ...

    async def get_logged_model(self, model_id: str, deadline: Deadline) -> Payload: ...

    async def get_artifact_text(self, name: str, version: str, path: str, deadline: Deadline) -> str:
        """A small text file of the version's artifacts."""
        ...

    async def set_alias(self, name: str, alias: str, version: str, intent_id: str, deadline: Deadline) -> None: ...

    async def set_model_tag(self, name: str, key: str, value: str, intent_id: str, deadline: Deadline) -> None: ...

    def shell_of_alias(self, name: str, alias: str, version: str) -> str:
        """A command that moves the alias without this tool; the address comes from `MLFLOW_TRACKING_URI`, no secret is in it."""
        ...

    def call_of_alias(self, name: str, alias: str, version: str) -> str:
        """The exact call that `set_alias` makes, for people."""
        ...

    async def close(self) -> None: ...
