"""The conformance kit on a real MLflow tracking server, over REST and through the client on its database."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Final

import pytest
from tests.connectors.fault_proxy import (
    FORBIDDEN,
    INVALID_JSON,
    LOGIN_PAGE,
    UNAUTHORIZED,
    Drip,
    Fault,
    FaultProxy,
    Reset,
    Says,
    Silent,
    Truncated,
    rate_limited,
    redirect,
)
from tests.connectors.mlflow_server import ADMIN, Tracking, connector_to

from mlrelease_tui.connectors.api import Connector, Credential
from mlrelease_tui.connectors.conformance import HOSTILE, AliasConformance, FailureConformance, RegistryConformance
from mlrelease_tui.domain.refs import ModelRef
from mlrelease_tui.domain.secret import Credential as OwnCredential
from mlrelease_tui.domain.secret import Secret

pytestmark = pytest.mark.real
pytest_plugins = ["tests.connectors.mlflow_fixtures"]


def modelled(tracking: Tracking) -> str:
    name = tracking.model(versions=3, tags={"note": HOSTILE})
    tracking.alias(name, "champion", "2")
    return name


_PATIENT_S: Final = 30.0
"""The first call through the client imports it, which takes seconds on a machine that is busy."""


class _Mlflow:
    @pytest.fixture
    def deadline_s(self) -> float:
        return _PATIENT_S

    @pytest.fixture(params=["rest", "client"])
    async def connector(self, request: pytest.FixtureRequest, tracking: Tracking) -> AsyncIterator[Connector]:
        connector = connector_to(tracking.url if request.param == "rest" else tracking.sqlite_uri, timeout_s=_PATIENT_S)
        yield connector
        await connector.close()

    @pytest.fixture
    def model(self, tracking: Tracking) -> ModelRef:
        return ModelRef("registry", modelled(tracking))


class TestRegistry(_Mlflow, RegistryConformance):
    @pytest.fixture
    def a_model_beside_it(self, model: ModelRef, tracking: Tracking) -> ModelRef:
        return ModelRef("registry", tracking.model())


class TestAlias(_Mlflow, AliasConformance):
    @pytest.fixture
    def alias(self) -> str:
        return "champion"


class TestGuarded(RegistryConformance):
    """The same with a credential, which nobody may see."""

    @pytest.fixture
    def secrets(self) -> tuple[str, ...]:
        return (ADMIN[1],)

    @pytest.fixture
    def deadline_s(self) -> float:
        return _PATIENT_S

    @pytest.fixture
    async def connector(self, guarded: Tracking) -> AsyncIterator[Connector]:
        connector = connector_to(guarded.url, credential=_admin, timeout_s=_PATIENT_S)
        yield connector
        await connector.close()

    @pytest.fixture
    def model(self, guarded: Tracking) -> ModelRef:
        return ModelRef("registry", modelled(guarded))

    @pytest.fixture
    def a_model_beside_it(self, model: ModelRef, guarded: Tracking) -> ModelRef:
        return ModelRef("registry", guarded.model())


async def _admin() -> Credential | None:
    return OwnCredential("basic", ADMIN[0], Secret(ADMIN[1]), "command")


_TIMEOUT_S: Final = 0.6

_FAULTS: Final[Mapping[str, Fault | None]] = {
    "refused": None,
    "silent": Silent(),
    "reset": Reset(),
    "dripping": Drip(every_s=0.2),
    "truncated": Truncated(),
    "invalid JSON": INVALID_JSON,
    "a login page": LOGIN_PAGE,
    "unauthenticated": UNAUTHORIZED,
    "forbidden": FORBIDDEN,
    "rate limited": rate_limited("1000000000"),
    "redirected": redirect("http://192.0.2.1/"),
    "failing": Says(500, b"{}"),
    "another shape": Says(200, b"[1, 2]"),
    "nothing": Says(200, b""),
}


class TestFailures(FailureConformance):
    failures = tuple(_FAULTS)

    @pytest.fixture
    def deadline_s(self) -> float:
        return _TIMEOUT_S

    @pytest.fixture
    def secrets(self) -> tuple[str, ...]:
        return (ADMIN[1],)

    @pytest.fixture
    async def failing(self, request: pytest.FixtureRequest, tracking: Tracking) -> AsyncIterator[Connector]:
        async with FaultProxy("127.0.0.1", tracking.port) as proxy:
            fault = _FAULTS[request.param]
            if fault is None:
                await proxy.refuse()
            else:
                proxy.on(fault)
            connector = connector_to(proxy.url, credential=_admin, timeout_s=_TIMEOUT_S)
            yield connector
            await connector.close()
