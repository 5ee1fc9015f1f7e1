"""A server that asks who we are: MLflow's own basic-auth app."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from tests.connectors.mlflow_server import ADMIN, READER, Tracking, connector_to, ref, stamp

from mlrelease_tui.connectors.mlflow.connector import MlflowConnector
from mlrelease_tui.domain.connection import LinkState
from mlrelease_tui.errors import Rejected, Unauthenticated

pytestmark = pytest.mark.real
pytest_plugins = ["tests.connectors.mlflow_fixtures"]


@dataclass(frozen=True, slots=True)
class Login:
    user: str
    password: str
    scheme: str = "basic"
    source: str = "token_file"

    @property
    def secret(self) -> Login:
        return self

    def reveal(self) -> str:
        return self.password


def as_user(tracking: Tracking, user: str, password: str) -> MlflowConnector:
    async def source() -> Login:
        return Login(user, password)

    return connector_to(tracking.url, credential=source, environment="production")


@pytest.fixture
async def admin(guarded: Tracking) -> AsyncIterator[MlflowConnector]:
    connector = as_user(guarded, *ADMIN)
    yield connector
    await connector.close()


@pytest.fixture
async def reader(guarded: Tracking) -> AsyncIterator[MlflowConnector]:
    connector = as_user(guarded, *READER)
    yield connector
    await connector.close()


async def test_the_probe_says_as_whom_and_by_which_source(admin: MlflowConnector, reader: MlflowConnector) -> None:
    for connector, user in ((admin, ADMIN[0]), (reader, READER[0])):
        health = await connector.probe()
        assert health.state in {LinkState.OK, LinkState.SLOW}, "a busy machine takes its time over a password"
        assert health.identity == user
        assert health.credential_source == "token_file"
        assert health.environment == "production"
        assert health.warnings == ()


async def test_a_wrong_password_is_told_and_never_shown(guarded: Tracking) -> None:
    connector = as_user(guarded, ADMIN[0], "hunter2-and-more")
    health = await connector.probe()
    assert health.state is LinkState.AUTH
    assert health.error_code == "unauthenticated"
    assert "hunter2" not in repr(health)
    with pytest.raises(Unauthenticated) as raised:
        await connector.models()
    assert "login" in raised.value.hint
    await connector.close()


async def test_no_credential_is_told(guarded: Tracking) -> None:
    connector = connector_to(guarded.url)
    with pytest.raises(Unauthenticated):
        await connector.models()
    await connector.close()


async def test_who_may_only_read_reads_and_is_rejected_at_the_move(
    guarded: Tracking, admin: MlflowConnector, reader: MlflowConnector
) -> None:
    name = guarded.model(versions=2)
    guarded.alias(name, "champion", "1")
    model = await reader.model(ref(name))
    assert dict(model.aliases) == {"champion": "1"}
    (write,) = reader.move_alias(model, "champion", "2")
    with pytest.raises(Rejected, match="forbids"):
        await reader.perform(write, stamp())
    assert guarded.aliases(name) == {"champion": "1"}
    await admin.perform(write, stamp(by="ana"))
    assert guarded.aliases(name) == {"champion": "2"}
    assert (await reader.model(ref(name))).stamps["champion"].by == "ana"


async def test_lineage_with_its_artifact_is_read_under_authentication(
    guarded: Tracking, reader: MlflowConnector
) -> None:
    name = guarded.model()
    run_id, folder = guarded.run({"acc": 0.5})
    guarded.version(name, source=str(folder), run_id=run_id)
    (version,) = (await reader.versions(ref(name))).versions
    lineage = await reader.lineage(version)
    assert lineage.metrics["acc"] == 0.5
    assert lineage.signature_inputs == "alcohol: double, maker's: string?"
