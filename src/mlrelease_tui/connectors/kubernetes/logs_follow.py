"""Logs as they come, while somebody looks: one open request for each output, the end of each kept, told a few times a second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Final

from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.logs import Output, PodLogs, Ring, why
from mlrelease_tui.domain.logs import LogTail, LogWish
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.errors import Forbidden, NotFound, ReleaseError, TimedOut, Unauthenticated

_TOGETHER_S: Final = 0.3
"""What is printed within this time is told at once."""
_FIRST_S: Final = 1.0
"""How long the first answer waits for outputs that have said nothing yet."""
_LOOK_S: Final = 15.0
"""Seconds until it is asked again which pods there are."""
_AGAIN_S: Final = 3.0
"""Seconds until an output that ended is asked for again: its container may have been started anew."""
_FIT: Final = (Forbidden, Unauthenticated)


@dataclass(slots=True)
class _Stream:
    output: Output
    ring: Ring
    task: asyncio.Task[None] | None = None
    note: str = ""
    problem: ReleaseError | None = None

    @property
    def over(self) -> bool:
        return self.task is not None and self.task.done()


@dataclass(slots=True)
class _Round:
    """The outputs of one look at the pods."""

    streams: list[_Stream]
    left_out: int
    told: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def outputs(self) -> list[Output]:
        return [stream.output for stream in self.streams]


class Following:
    """Follows the outputs of one wish."""

    def __init__(self, logs: PodLogs, pods: Resource, served: Served, endpoint: Endpoint, wish: LogWish) -> None:
        self._logs = logs
        self._pods = pods
        self._served = served
        self._endpoint = endpoint
        self._wish = wish

    async def tails(self) -> AsyncGenerator[tuple[LogTail, ...], None]:
        """As `connectors.api.LogFollowable.follow` says."""
        last: tuple[LogTail, ...] = ()
        async for tails in self._all():
            if tails != last:
                last = tails
                yield tails

    async def _all(self) -> AsyncGenerator[tuple[LogTail, ...], None]:
        pause = _AGAIN_S
        while True:
            now = await self._look()
            if not now.streams:
                yield await self._logs.read(self._served, self._endpoint, self._wish)
                await asyncio.sleep(_LOOK_S)
                continue
            for stream in now.streams:
                stream.task = asyncio.create_task(self._fill(stream, now.told))
            try:
                await self._settle(now)
                yield self._seen(now)
                while not await self._is_over(now, pause):
                    if now.told.is_set():
                        await asyncio.sleep(_TOGETHER_S)
                        now.told.clear()
                        pause = _AGAIN_S
                        yield self._seen(now)
                pause = min(pause * 2, _LOOK_S)
            finally:
                tasks = [stream.task for stream in now.streams if stream.task is not None]
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self) -> _Round:
        outputs, left_out = await self._logs.outputs(self._served, self._endpoint, self._wish)
        return _Round([_Stream(output, self._logs.ring(self._wish, len(outputs))) for output in outputs], left_out)

    async def _fill(self, stream: _Stream, told: asyncio.Event) -> None:
        lines = stream.ring.lines + 1
        try:
            async for chunk in self._logs.chunks(
                self._pods, self._endpoint, self._wish, stream.output, lines, follow=True
            ):
                stream.ring.feed(chunk)
                told.set()
        except _FIT as error:
            stream.problem = error
        except TimedOut:
            # It was silent for so long that the link may be gone: asked again, as any that ended.
            pass
        except ReleaseError as error:
            stream.note = why(error, previous=False)
        told.set()

    async def _settle(self, now: _Round) -> None:
        """Wait a moment for what is there already."""
        tasks = [stream.task for stream in now.streams if stream.task is not None]
        try:
            async with asyncio.timeout(_FIRST_S):
                await now.told.wait()
                await asyncio.wait(tasks, timeout=_TOGETHER_S)
        except TimeoutError:
            pass
        now.told.clear()
        for stream in now.streams:
            if stream.problem is not None:
                raise stream.problem

    async def _is_over(self, now: _Round, pause: float) -> bool:
        """Whether to look at the pods anew: an output ended `pause` seconds ago, or pods came and went. False as soon as there is
        something to tell, too."""
        ended = any(stream.over for stream in now.streams)
        try:
            async with asyncio.timeout(pause if ended else _LOOK_S):
                await now.told.wait()
        except TimeoutError:
            if ended:
                return True
            try:
                outputs, _ = await self._logs.outputs(self._served, self._endpoint, self._wish)
            except NotFound:
                return True
            return {one.source for one in outputs} != {one.source for one in now.outputs}
        return False

    def _seen(self, now: _Round) -> tuple[LogTail, ...]:
        tails = tuple(stream.ring.tail(stream.output.source, stream.note) for stream in now.streams)
        return self._logs.with_left_out(tails, now.left_out, self._wish)
