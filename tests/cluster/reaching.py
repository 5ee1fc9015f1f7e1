"""A connector for the tests of reaching and watching clusters, and objects that a control plane without controllers can have."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from mlrelease_tui.connectors.api import CredentialSource, Settings, no_credential
from mlrelease_tui.connectors.kubernetes.connector import KubernetesConnector
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.errors import ReleaseError

NAME: Final = "lab"


def connector(
    kubeconfig: Path | None,
    *,
    environ: Mapping[str, str] | None = None,
    credential: CredentialSource = no_credential,
    renew: CredentialSource = no_credential,
    timeout_s: float = 10.0,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    **options: Any,
) -> KubernetesConnector:
    chosen = {"kubeconfig": str(kubeconfig) if kubeconfig else None, "all": True, **options}
    return KubernetesConnector(
        Settings(
            NAME,
            "kubernetes",
            {key: value for key, value in chosen.items() if value is not None},
            environ=environ or {},
            credential=credential,
            renew=renew,
            timeout_s=timeout_s,
            now=now,
        )
    )


@contextlib.asynccontextmanager
async def opened(found: KubernetesConnector) -> AsyncIterator[KubernetesConnector]:
    try:
        yield found
    finally:
        await found.close()


class Watching:
    """A connector that is watched as the program's poller does it: each hint is counted, a watch that fails is begun anew."""

    _task: asyncio.Task[None]

    def __init__(self, found: KubernetesConnector) -> None:
        self.connector = found
        self.hints: list[EndpointRef | None] = []

    async def __aenter__(self) -> Watching:
        self._task = asyncio.create_task(self._watch())
        await until(lambda: self.connector.mirror.live or self._task.done(), "every kind is watched")
        if self._task.done():
            self._task.result()
        return self

    async def __aexit__(self, *_: object) -> None:
        failed = self._task.done() and not self._task.cancelled() and self._task.exception()
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self.connector.close()
        assert not failed, failed

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(ReleaseError):
                async for ref in self.connector.changed():
                    self.hints.append(ref)
            await asyncio.sleep(0.2)

    async def seen(self, name: str, holds: Callable[[Endpoint], object], *, within_s: float = 30.0) -> Endpoint:
        """The endpoint of that name once something holds of it, by what the watch told alone."""
        found: list[Endpoint] = []

        async def look() -> bool:
            with contextlib.suppress(ReleaseError):
                found[:] = [item for item in await self.connector.endpoints() if item.ref.name == name]
            return bool(found) and bool(holds(found[0]))

        await until_async(look, lambda: f"{name}: {found}", within_s=within_s)
        return found[0]


async def until(holds: Callable[[], object], otherwise: str, *, within_s: float = 30.0) -> None:
    """Wait until something is so. AssertionError after `within_s` seconds."""

    async def look() -> bool:
        return bool(holds())

    await until_async(look, lambda: otherwise, within_s=within_s)


async def until_async(look: Callable[[], Any], otherwise: Callable[[], str], *, within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not await look():
        assert time.monotonic() < deadline, f"not so after {within_s:g} s: {otherwise()}"
        await asyncio.sleep(0.05)


async def fails(found: KubernetesConnector, *, within_s: float = 30.0) -> ReleaseError:
    """What a read of the endpoints meets, once it meets something."""
    met: list[ReleaseError] = []

    async def look() -> bool:
        try:
            await found.endpoints()
        except ReleaseError as error:
            met.append(error)
        return bool(met)

    await until_async(look, lambda: "every read goes well", within_s=within_s)
    return met[0]
