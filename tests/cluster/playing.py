"""Playing a controller that does not run: while a test goes on, somebody writes what that controller would write."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import httpx
from tests.cluster.api import ApiError

_PAUSE_S: Final = 0.1


@contextmanager
def playing(turn: Callable[[], None], name: str) -> Iterator[None]:
    """For the block, `turn` again and again in a thread. What it meets that is no race of two writers fails the test."""
    over = threading.Event()
    problems: list[Exception] = []

    def play() -> None:
        while not over.wait(_PAUSE_S):
            try:
                turn()
            except httpx.TransportError:
                # The API server is away for a moment: asked again.
                continue
            except ApiError as problem:
                if problem.code not in {404, 409}:
                    problems.append(problem)
                    return

    player = threading.Thread(target=play, name=name, daemon=True)
    player.start()
    try:
        yield
    finally:
        over.set()
        player.join()
    assert not problems, problems
