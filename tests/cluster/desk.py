"""An operator of the cluster tests: reads by the connector, plans by its drivers, sends, and looks until the effect is seen."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar, cast

from mlrelease_tui.connectors.api import Settings
from mlrelease_tui.connectors.kubernetes.connector import KubernetesConnector
from mlrelease_tui.domain.expectation import EndpointExpectation, endpoint_mismatches
from mlrelease_tui.domain.plan import CheckStatus, Write
from mlrelease_tui.domain.refs import EndpointRef
from mlrelease_tui.domain.rollout import Endpoint, Stamp, Verb
from mlrelease_tui.domain.text import SafeText

CONNECTION: Final = "lab"
_IDS: Final = itertools.count(1)
_Seen = TypeVar("_Seen")


class Operator:
    """One person at one connection, in one namespace."""

    def __init__(
        self,
        kubeconfig: Path,
        namespace: str,
        *,
        name: str = "anna",
        options: Mapping[str, Any] | None = None,
        bound: str = "",
    ) -> None:
        self.namespace = namespace
        self.name = name
        chosen = {"kubeconfig": str(kubeconfig), "namespaces": [namespace], **(options or {})}
        ties = frozenset({(namespace, bound)}) if bound else frozenset[tuple[str, str]]()
        self.connector = KubernetesConnector(Settings(CONNECTION, "kubernetes", chosen, environ={}, bound=ties))

    def ref(self, name: str) -> EndpointRef:
        return EndpointRef(CONNECTION, self.namespace, name)

    async def read(self, name: str) -> Endpoint:
        return await self.connector.endpoint(self.ref(name))

    async def plan(self, name: str, planned: Callable[[Any, Endpoint], tuple[Write, ...]]) -> tuple[Write, ...]:
        endpoint = await self.read(name)
        return planned(cast(Any, self.connector.driver(endpoint)), endpoint)

    async def send(self, write: Write, verb: Verb | str, why: str = "a test") -> None:
        """One write, after the checks that a plan shows."""
        for check in await self.connector.rehearse(write):
            assert check.status is CheckStatus.PASS, check
        stamp = Stamp(f"i-{next(_IDS)}", str(verb), SafeText(self.name), SafeText(why), datetime.now(UTC))
        await self.connector.perform(write, stamp)

    async def do(self, name: str, verb: Verb | str, planned: Callable[[Any, Endpoint], tuple[Write, ...]]) -> Endpoint:
        """Plan and carry out, each write verified by reading as the executor does; the endpoint as it is then."""
        for write in await self.plan(name, planned):
            await self.send(write, verb)
            await self.seen(write, name)
        return await self.read(name)

    async def seen(self, write: Write, name: str, *, within_s: float = 60.0) -> Endpoint:
        expects = cast(EndpointExpectation, write.expects)
        return await self.until(name, lambda endpoint: not endpoint_mismatches(expects, endpoint), within_s=within_s)

    async def until(self, name: str, holds: Callable[[Endpoint], object], *, within_s: float = 60.0) -> Endpoint:
        """The endpoint once something holds of it. AssertionError with what it is after `within_s`."""
        deadline = time.monotonic() + within_s
        while True:
            endpoint = await self.read(name)
            if holds(endpoint):
                return endpoint
            assert time.monotonic() < deadline, f"not so after {within_s:g} s: {endpoint}"
            await asyncio.sleep(0.1)

    async def close(self) -> None:
        await self.connector.close()


def operated(kubeconfig: Path, namespace: str, work: Callable[[Operator], Awaitable[_Seen]], **wish: Any) -> _Seen:
    """What `work` comes to, with an operator who leaves afterwards."""

    async def whole() -> _Seen:
        operator = Operator(kubeconfig, namespace, **wish)
        try:
            return await work(operator)
        finally:
            await operator.close()

    return asyncio.run(whole())
