"""As whom and how far a cluster is reached: tokens, certificates, impersonation, rights, other clusters. On a real API server."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.cluster.api import NAMESPACES, Json
from tests.cluster.control_plane import ADMIN, NOBODY, READER, TENANT, ControlPlane
from tests.cluster.manifests import deployment
from tests.cluster.reaching import Watching, connector, fails, opened

from mlrelease_tui.connectors.kubernetes import incluster, mirror
from mlrelease_tui.connectors.kubernetes.connector import KubernetesConnector
from mlrelease_tui.domain.connection import ConnectionHealth, LinkState
from mlrelease_tui.domain.rollout import Stamp
from mlrelease_tui.domain.secret import Credential, Secret
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Conflict, CredentialError, Forbidden, Unauthenticated


def health_of(found: KubernetesConnector) -> ConnectionHealth:
    async def whole() -> ConnectionHealth:
        async with opened(found):
            return await found.probe()

    return asyncio.run(whole())


def read(found: KubernetesConnector) -> tuple[list[str], ConnectionHealth]:
    """The names of the endpoints, and the connection's health after that."""

    async def whole() -> tuple[list[str], ConnectionHealth]:
        async with opened(found):
            endpoints = await found.endpoints()
            return [item.ref.name for item in endpoints], await found.probe()

    return asyncio.run(whole())


def changed(config: Path, **cluster: Any) -> Path:
    """The kubeconfig with other words for its cluster; None takes one away."""
    content = json.loads(config.read_text())
    values = {**content["clusters"][0]["cluster"], **cluster}
    content["clusters"][0]["cluster"] = {key: value for key, value in values.items() if value is not None}
    config.write_text(json.dumps(content))
    return config


def test_a_token_of_the_kubeconfig(control_plane: ControlPlane) -> None:
    health = health_of(connector(control_plane.kubeconfig))
    assert health.state is LinkState.OK, health.error
    assert (health.identity, health.credential_source) == (ADMIN, "kubeconfig token")
    assert health.server.startswith("Kubernetes v1.")


def test_a_client_certificate(control_plane: ControlPlane) -> None:
    health = health_of(connector(control_plane.certificate_kubeconfig("carla", "system:masters")))
    assert (health.state, health.identity, health.credential_source) == (LinkState.OK, "carla", "client certificate")


def test_certificates_within_the_kubeconfig(control_plane: ControlPlane, tmp_path: Path) -> None:
    pair = control_plane.authority.client("dora", ("system:masters",))
    user = {
        "client-certificate-data": base64.b64encode(pair.certificate.read_bytes()).decode(),
        "client-key-data": base64.b64encode(pair.key.read_bytes()).decode(),
    }
    assert health_of(connector(control_plane.write_kubeconfig("dora", user, folder=tmp_path))).identity == "dora"


def test_a_token_file_is_read_anew_for_each_request(control_plane: ControlPlane, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(control_plane.token(READER) + "\n")
    config = control_plane.write_kubeconfig("rotated", {"tokenFile": "token"}, folder=tmp_path)

    async def whole() -> None:
        async with opened(connector(config)) as found:
            assert (await found.probe()).identity == READER
            file.write_text("not a token of anybody")
            health = await found.probe()
            assert (health.state, health.error_code) == (LinkState.AUTH, "unauthenticated")
            file.unlink()
            health = await found.probe()
            assert (health.state, health.error_code) == (LinkState.AUTH, "credential")
            file.write_text(control_plane.token(ADMIN))
            assert (await found.probe()).state is LinkState.OK

    asyncio.run(whole())


def test_the_connections_own_credential_takes_the_place_of_the_kubeconfigs(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    pair = control_plane.authority.client("dora", ("system:masters",))
    user = {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}
    config = control_plane.write_kubeconfig("dora", user, folder=tmp_path)

    async def own() -> Credential:
        return Credential("bearer", "", Secret(control_plane.token(READER)), "command")

    health = health_of(connector(config, credential=own))
    assert (health.identity, health.credential_source) == (READER, "command")


def test_an_own_credential_that_expired_in_mid_session_is_renewed_once(control_plane: ControlPlane) -> None:
    given: dict[str, Any] = {"token": "expired", "renewals": 0}

    async def credential() -> Credential:
        return Credential("bearer", "", Secret(str(given["token"])), "command")

    async def renew() -> Credential:
        given["renewals"] += 1
        given["token"] = control_plane.token(ADMIN)
        return await credential()

    health = health_of(connector(control_plane.kubeconfig_of(NOBODY), credential=credential, renew=renew))
    assert (health.state, health.identity, given["renewals"]) == (LinkState.OK, ADMIN, 1)


def test_a_user_and_password_are_refused_and_not_sent(control_plane: ControlPlane) -> None:
    async def own() -> Credential:
        return Credential("basic", "anna", Secret("hunter2hunter2"), "file")

    health = health_of(connector(control_plane.kubeconfig, credential=own))
    assert (health.state, health.error_code) == (LinkState.AUTH, "credential")
    assert "hunter2" not in str(health)


@pytest.mark.parametrize("user", [{}, {"token": "of nobody"}], ids=["no credential", "a wrong token"])
def test_nobody_is_refused(control_plane: ControlPlane, tmp_path: Path, user: Json) -> None:
    health = health_of(connector(control_plane.write_kubeconfig("nobody", user, folder=tmp_path)))
    assert (health.state, health.error_code) == (LinkState.AUTH, "unauthenticated")


def test_impersonation_is_honoured(control_plane: ControlPlane, tmp_path: Path) -> None:
    user = {
        "token": control_plane.token(ADMIN),
        "as": "eve",
        "as-uid": "uid-of-eve",
        "as-groups": ["oncall", "system:masters"],
        "as-user-extra": {"example.org/Reason": ["incident", "p99"]},
    }
    config = control_plane.write_kubeconfig("eve", user, folder=tmp_path)
    mark = control_plane.audit_mark()
    health = health_of(connector(config))
    assert (health.state, health.identity) == (LinkState.OK, "eve")
    lines = (control_plane.folder / "audit.log").read_bytes()[mark:].splitlines()
    whom = [json.loads(line) for line in lines if b'"eve"' in line][-1]["impersonatedUser"]
    assert whom["username"] == "eve"
    assert {"oncall", "system:masters"} <= set(whom["groups"])
    assert whom["extra"] == {"example.org/reason": ["incident", "p99"]}


def test_impersonation_without_the_right_to_it_is_no_other_user(control_plane: ControlPlane, tmp_path: Path) -> None:
    user = {"token": control_plane.token(READER), "as": "eve"}
    health = health_of(connector(control_plane.write_kubeconfig("eve", user, folder=tmp_path)))
    assert (health.state, health.error_code) == (LinkState.AUTH, "forbidden")


def test_who_may_not_list_everywhere_sees_the_contexts_namespace_and_is_told(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    control_plane.grant(namespace)
    control_plane.kubectl.apply(deployment("fraud", replicas=0), namespace=namespace)
    user = {"token": control_plane.token(TENANT)}
    config = control_plane.write_kubeconfig("tenant", user, namespace=namespace, folder=tmp_path)
    names, health = read(connector(config))
    assert names == ["fraud"]
    assert any(f"only in {namespace}" in warning and "deployments" in warning for warning in health.warnings), health


def test_who_may_see_nothing_is_told_so(control_plane: ControlPlane) -> None:
    async def whole() -> None:
        async with opened(connector(control_plane.kubeconfig_of(NOBODY))) as found:
            with pytest.raises(Forbidden, match=r"deployments|replicasets|rollouts"):
                await found.endpoints()

    asyncio.run(whole())


def test_a_kind_that_may_not_be_seen_leaves_the_others_alone(
    control_plane: ControlPlane, namespace: str, tmp_path: Path
) -> None:
    rbac, api = "rbac.authorization.k8s.io", control_plane
    rule = {"apiGroups": ["apps"], "resources": ["deployments", "replicasets"], "verbs": ["get", "list", "watch"]}
    role = {"apiVersion": f"{rbac}/v1", "kind": "Role", "metadata": {"name": "few"}, "rules": [rule]}
    binding = {
        "apiVersion": f"{rbac}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "few"},
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "few"},
        "subjects": [{"apiGroup": rbac, "kind": "User", "name": "frida"}],
    }
    api.kubectl.apply(role, binding, deployment("fraud", replicas=0), namespace=namespace)
    pair = control_plane.authority.client("frida", ())
    user = {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}
    config = control_plane.write_kubeconfig("frida", user, namespace=namespace, folder=tmp_path)
    names, health = read(connector(config))
    assert names == ["fraud"]
    assert any("horizontalpodautoscalers" in warning for warning in health.warnings), health.warnings


def test_several_namespaces_are_seen_together(control_plane: ControlPlane) -> None:
    places = ("several-a", "several-b", "several-c")
    for place in places:
        control_plane.api.create(NAMESPACES, "", {"metadata": {"name": place}})
        control_plane.kubectl.apply(deployment("fraud", replicas=0), namespace=place)
    try:
        found, _ = read(connector(control_plane.kubeconfig, namespaces=list(places[:2])))
        assert found == ["fraud", "fraud"]
    finally:
        for place in places:
            control_plane.api.delete(NAMESPACES, "", place)


def stamped() -> Stamp:
    return Stamp("i-1", "scale", SafeText("anna"), SafeText("a test"))


def test_another_cluster_at_the_address_is_found_before_a_write(control_plane: ControlPlane, namespace: str) -> None:
    control_plane.kubectl.apply(deployment("fraud", replicas=1), namespace=namespace)

    async def whole() -> None:
        async with opened(connector(control_plane.kubeconfig, namespaces=[namespace])) as found:
            (endpoint,) = await found.endpoints()
            driver: Any = found.driver(endpoint)
            (write,) = driver.scale(endpoint, 2)
            # What a context that was pointed elsewhere looks like from here: the name of the cluster is another one.
            found.session.uid = "00000000-0000-0000-0000-000000000000"
            mark = control_plane.audit_mark()
            with pytest.raises(Conflict, match="another cluster"):
                await found.perform(write, stamped())
            assert not [item for item in control_plane.requests(mark, user=ADMIN) if item.writes]
            assert (await found.probe()).error_code == "other_cluster"

    asyncio.run(whole())


def test_a_cluster_that_configuration_names_otherwise_is_refused(control_plane: ControlPlane) -> None:
    uid = control_plane.api.get(NAMESPACES, "", "kube-system")["metadata"]["uid"]
    assert health_of(connector(control_plane.kubeconfig, cluster_uid=uid)).state is LinkState.OK
    other = health_of(connector(control_plane.kubeconfig, cluster_uid="00000000-1111"))
    assert (other.state, other.error_code) == (LinkState.DOWN, "other_cluster")


def test_a_context_that_is_switched_in_mid_session_does_not_move_us(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    config = control_plane.write_kubeconfig("first", {"token": control_plane.token(READER)}, folder=tmp_path)

    async def whole() -> None:
        async with opened(connector(config)) as found:
            assert (await found.probe()).identity == READER
            config.write_text(config.read_text().replace(control_plane.token(READER), control_plane.token(ADMIN)))
            health = await found.probe()
            assert health.identity == READER

    asyncio.run(whole())


def test_the_service_account_of_a_pod(
    control_plane: ControlPlane, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text(control_plane.token(READER))
    (folder / "ca.crt").write_bytes(control_plane.authority.bundle.read_bytes())
    (folder / "namespace").write_text(namespace)
    monkeypatch.setattr(incluster, "FOLDER", folder)
    parts = urlsplit(control_plane.url)
    environ = {"KUBERNETES_SERVICE_HOST": str(parts.hostname), "KUBERNETES_SERVICE_PORT": str(parts.port)}
    found = connector(None, environ={**environ, "HOME": str(tmp_path)})
    health = health_of(found)
    assert (health.state, health.identity, health.credential_source) == (LinkState.OK, READER, "token file")


def test_a_server_name_other_than_the_address_is_verified(control_plane: ControlPlane, tmp_path: Path) -> None:
    user = {"token": control_plane.token(ADMIN)}

    def named(name: str) -> Path:
        return changed(control_plane.write_kubeconfig("named", user, folder=tmp_path), **{"tls-server-name": name})

    assert health_of(connector(named("kubernetes.default.svc"))).state is LinkState.OK
    wrong = health_of(connector(named("elsewhere.example")))
    assert wrong.state is LinkState.DOWN
    assert "elsewhere.example" in wrong.error


def test_a_certificate_of_another_authority_is_refused_and_its_fingerprint_shown(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    config = control_plane.write_kubeconfig("strange", {"token": control_plane.token(ADMIN)}, folder=tmp_path)
    health = health_of(connector(changed(config, **{"certificate-authority-data": None})))
    assert health.state is LinkState.DOWN
    assert "not to be trusted" in health.error
    assert "sha256" in health.hint
    unverified = changed(config, **{"insecure-skip-tls-verify": True})
    skipping = health_of(connector(unverified))
    assert skipping.state is LinkState.OK
    assert any("not verified" in warning for warning in skipping.warnings)


def test_a_token_that_ends_in_mid_session_makes_watched_rows_stale(
    control_plane: ControlPlane, tmp_path: Path, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirror, "PULSE_S", 0.3)
    file = tmp_path / "token"
    file.write_text(control_plane.token(ADMIN))
    config = control_plane.write_kubeconfig("ending", {"tokenFile": "token"}, folder=tmp_path)
    control_plane.kubectl.apply(deployment("fraud", replicas=0), namespace=namespace)

    async def whole() -> None:
        async with Watching(connector(config, namespaces=[namespace])) as watching:
            await watching.seen("fraud", lambda item: True)
            # The watches go on: who opened them is not asked again. The pulse finds it.
            file.write_text("a token that ended")
            met = await fails(watching.connector)
            assert isinstance(met, Unauthenticated | CredentialError), met
            file.write_text(control_plane.token(ADMIN))
            await watching.seen("fraud", lambda item: True)

    asyncio.run(whole())
