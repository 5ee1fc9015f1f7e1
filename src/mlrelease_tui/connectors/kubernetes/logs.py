"""What the containers of a variant print, read from its end: one output for each container of each pod.

Source: core/v1 `pods/log` (`tailLines`, `previous`, `timestamps`, `follow`). `limitBytes` is of no use here: it keeps the first
bytes of the tail, and what was printed last is what is wanted. So the end is kept as it comes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import KubeApi, Resource
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.objects import at, condition, items, name, table, text, when
from mlrelease_tui.connectors.kubernetes.pods_of import pods_of_variant
from mlrelease_tui.domain.logs import LogTail, LogWish, line_of
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.domain.text import SafeText, raw
from mlrelease_tui.errors import Forbidden, NotFound, ReleaseError, Unauthenticated

OUTPUTS: Final = 8
"""Outputs that are read at once: of more pods those are left out that are well."""
_LONGEST_LINE: Final = 1_048_576
"""Bytes of a line without an end that are held until its end comes; what is longer is cut before it."""
_SIDECARS: Final = frozenset({"istio-proxy", "istio-init", "linkerd-proxy", "linkerd-init", "queue-proxy"})
"""Containers that others put beside the model."""
_AT_ONCE: Final = 4
_STAMP_BYTES: Final = 40
_ASKED: Final = "read its log"


@dataclass(frozen=True, slots=True)
class Output:
    """One container of one pod. `ill` orders them: what is well, then what is not ready, then what ended badly."""

    pod: str
    container: str
    ill: int
    began: str

    @property
    def source(self) -> SafeText:
        return SafeText(f"{self.pod}/{self.container}")


def outputs_of(pods: list[Object]) -> list[Output]:
    """The outputs of these pods, those of whom one wants to know most at the end: pods that ail, then the newest."""
    found = [output for pod in pods for output in _of_pod(pod)]
    found.sort(key=lambda one: (one.container not in _SIDECARS, one.ill, one.began, one.pod))
    return found


def _of_pod(pod: Object) -> Iterator[Output]:
    began = text(pod, "metadata", "creationTimestamp")
    ready = condition(pod, "Ready").get("status") == "True" or text(pod, "status", "phase") == "Succeeded"
    states = {
        str(state.get("name")): state
        for key in ("initContainerStatuses", "containerStatuses")
        for state in items(pod, "status", key)
        if isinstance(state, Mapping)
    }
    for key in ("initContainers", "containers"):
        for container in items(pod, "spec", key):
            called = text(container, "name")
            state = states.get(called, {})
            done = at(state, "state", "terminated", "exitCode") == 0
            if key == "initContainers" and done and ready:
                continue
            yield Output(name(pod), called, 0 if ready else 2 if _failed(state) else 1, began)


def _failed(state: Mapping[str, Any]) -> bool:
    ended = table(state, "state", "terminated") or table(state, "lastState", "terminated")
    return bool(ended) and ended.get("exitCode") != 0


@dataclass(slots=True)
class Ring:
    """The last lines of a stream within a bound of bytes: what came before is dropped and said so."""

    lines: int
    size: int
    kept: deque[tuple[datetime | None, SafeText]] = field(default_factory=deque)
    held: int = 0
    earlier: bool = False
    _open: bytes = b""

    def feed(self, chunk: bytes) -> None:
        *whole, last = (self._open + chunk).split(b"\n")
        for line in whole:
            self._put(line)
        self._open = last[:_LONGEST_LINE]

    def end(self) -> None:
        """What is left without a line end is a line too."""
        if self._open:
            self._put(self._open)
            self._open = b""

    def _put(self, data: bytes) -> None:
        written, line = _stamped(data)
        kept = line_of(line)
        self.kept.append((written, kept))
        self.held += len(kept.raw) + 1
        while len(self.kept) > 1 and (len(self.kept) > self.lines or self.held > self.size):
            _, gone = self.kept.popleft()
            self.held -= len(gone.raw) + 1
            self.earlier = True

    def tail(self, source: SafeText, note: str = "") -> LogTail:
        written = next((moment for moment, _ in reversed(self.kept) if moment is not None), None)
        said = note or ("" if self.kept else "nothing was printed yet")
        return LogTail(source, tuple(line for _, line in self.kept), self.earlier, SafeText(said), written)


def _stamped(data: bytes) -> tuple[datetime | None, bytes]:
    """When a line was printed, and the line: the server puts the time before it."""
    stamp, space, rest = data.partition(b" ")
    if not space or len(stamp) > _STAMP_BYTES:
        return None, data
    moment = when(_micro(stamp.decode("ascii", "replace")))
    return (moment, rest) if moment is not None else (None, data)


def _micro(stamp: str) -> str:
    """RFC 3339 with at most six digits of a second, as Python reads it."""
    head, dot, rest = stamp.partition(".")
    digits = rest.rstrip("Z")
    return f"{head}.{digits[:6]}+00:00" if dot and digits.isdigit() else stamp


class PodLogs:
    """Reads the logs of one cluster. Nothing is kept between two reads."""

    def __init__(self, api: KubeApi, timeout_s: float) -> None:
        self._api = api
        self._timeout_s = timeout_s
        self._turn = asyncio.Semaphore(_AT_ONCE)

    async def read(self, served: Served, endpoint: Endpoint, wish: LogWish) -> tuple[LogTail, ...]:
        """As `connectors.api.LogSource.logs` says; Forbidden where we may not read logs."""
        chosen, left_out = await self.outputs(served, endpoint, wish)
        pods = served.find("", "pods")
        if pods is None or not chosen:
            return (LogTail(SafeText(raw(wish.variant)), note=SafeText("no pod of it is there")),)
        rings = [self.ring(wish, len(chosen)) for _ in chosen]
        tails = await asyncio.gather(
            *(self._one(pods, endpoint, wish, one, ring) for one, ring in zip(chosen, rings, strict=True))
        )
        return self.with_left_out(tuple(tails), left_out, wish)

    async def outputs(self, served: Served, endpoint: Endpoint, wish: LogWish) -> tuple[list[Output], int]:
        """The outputs of a variant as they are read, and how many there are besides. NotFound where there is no such variant."""
        variant = next((item for item in endpoint.variants if raw(item.name) == raw(wish.variant)), None)
        if variant is None:
            raise NotFound(f"{endpoint.ref} has no {SafeText(wish.variant)}", hint="it may be gone by now")
        found = outputs_of(await pods_of_variant(self._api, served, endpoint, variant))
        return found[-OUTPUTS:], max(len(found) - OUTPUTS, 0)

    def ring(self, wish: LogWish, outputs: int) -> Ring:
        """What one of so many outputs may take of the wish's limits."""
        return Ring(max(wish.lines // outputs, 1), max(wish.bytes // outputs, 1))

    def with_left_out(self, tails: tuple[LogTail, ...], left_out: int, wish: LogWish) -> tuple[LogTail, ...]:
        """The tails, with a word on how many outputs are not read."""
        if not left_out:
            return tails
        told = f"{left_out} other outputs of it are not read"
        return (LogTail(SafeText(raw(wish.variant)), note=SafeText(told)), *tails)

    async def _one(self, pods: Resource, endpoint: Endpoint, wish: LogWish, output: Output, ring: Ring) -> LogTail:
        note = ""
        try:
            async with self._turn, asyncio.timeout(self._timeout_s):
                async for chunk in self.chunks(pods, endpoint, wish, output, ring.lines + 1):
                    ring.feed(chunk)
        except (Forbidden, Unauthenticated):
            raise
        except TimeoutError:
            note = f"its end did not come within {self._timeout_s:g} s"
        except ReleaseError as error:
            note = why(error, previous=wish.previous)
        ring.end()
        return ring.tail(output.source, note)

    def chunks(
        self, pods: Resource, endpoint: Endpoint, wish: LogWish, output: Output, lines: int, *, follow: bool = False
    ) -> AsyncIterator[bytes]:
        """An output's last lines as the server sends them, each with its time before it."""
        params = {"container": output.container, "tailLines": str(lines), "timestamps": "true"}
        if wish.previous:
            params["previous"] = "true"
        if follow:
            params["follow"] = "true"
        path = pods.path(raw(endpoint.ref.namespace), output.pod, "log")
        return self._api.stream(path, params, asked=_ASKED)


def why(error: ReleaseError, *, previous: bool) -> str:
    """Why an output can't be read, in the server's words."""
    told = error.message.partition(f": {_ASKED}: ")[2] or error.message
    if previous and "previous terminated container" in told:
        return "no run before this one is known"
    return told
