"""Watching a real API server: a change is told, and costs what it touches; nothing is polled."""

from __future__ import annotations

import asyncio
import time

import pytest
from tests.cluster.api import DEPLOYMENTS
from tests.cluster.control_plane import ADMIN, ControlPlane
from tests.cluster.fixtures import Cluster
from tests.cluster.manifests import deployment
from tests.cluster.reaching import Watching, connector, opened, until, until_async

from mlrelease_tui.connectors.kubernetes import connector as module
from mlrelease_tui.connectors.kubernetes.discovery import Served, discover


def available(cluster: Cluster, namespace: str, *names: str, replicas: int = 1) -> None:
    for name in names:
        cluster.kubectl.apply(deployment(name, "registry.example/fraud:1", replicas=replicas), namespace=namespace)
    for name in names:
        cluster.api.wait(DEPLOYMENTS, namespace, name, lambda item: item["status"].get("availableReplicas") == replicas)


def test_a_change_reaches_the_endpoint_that_it_touches_and_no_other_is_read_again(
    cluster: Cluster, namespace: str
) -> None:
    available(cluster, namespace, "fraud", "churn")

    async def whole() -> None:
        async with Watching(connector(cluster.kubeconfig, namespaces=[namespace])) as watching:
            await watching.seen("fraud", lambda item: item.stable and item.stable.ready == 1)
            before = {item.ref.name: item for item in await watching.connector.endpoints()}
            watching.hints.clear()
            cluster.api.patch(DEPLOYMENTS, namespace, "fraud", {"spec": {"replicas": 2}})
            after = await watching.seen("fraud", lambda item: item.stable and item.stable.ready == 2)
            assert after is not before["fraud"]
            now = {item.ref.name: item for item in await watching.connector.endpoints()}
            assert now["churn"] is before["churn"], "an endpoint that nothing touched was read again"
            await until(lambda: before["fraud"].ref in watching.hints, "the change is told")
            assert before["churn"].ref not in watching.hints

    asyncio.run(whole())


def test_endpoints_come_and_go_with_their_objects(cluster: Cluster, namespace: str) -> None:
    available(cluster, namespace, "fraud")

    async def whole() -> None:
        async with Watching(connector(cluster.kubeconfig, namespaces=[namespace])) as watching:
            await asyncio.to_thread(available, cluster, namespace, "late")
            await watching.seen("late", lambda item: item.stable)
            cluster.api.delete(DEPLOYMENTS, namespace, "late")

            async def gone() -> bool:
                return all(item.ref.name != "late" for item in await watching.connector.endpoints())

            await until_async(gone, lambda: "late is still there")

    asyncio.run(whole())


def test_nothing_is_polled_where_a_watch_works(control_plane: ControlPlane, namespace: str, cluster: Cluster) -> None:
    available(cluster, namespace, "fraud")

    async def whole() -> tuple[int, list[str]]:
        async with Watching(connector(cluster.kubeconfig, namespaces=[namespace])) as watching:
            await watching.connector.endpoints()
            mark = control_plane.audit_mark()
            before = watching.connector.requests
            for _ in range(20):
                await watching.connector.endpoints()
                await asyncio.sleep(0.1)
            return watching.connector.requests - before, [item.uri for item in control_plane.requests(mark, user=ADMIN)]

    sent, seen = asyncio.run(whole())
    # A pulse may fall into these two seconds; no kind is listed or watched anew.
    assert sent <= 1
    assert not [uri for uri in seen if "replicasets" in uri or "deployments" in uri]


def test_pods_are_asked_for_where_something_is_not_ready_only(control_plane: ControlPlane, namespace: str) -> None:
    cluster = control_plane
    well = deployment("well", "registry.example/fraud:1", replicas=1)
    ill = deployment("ill", "registry.example/fraud:1", replicas=1, pod_labels={"mlrelease.test/pod": "bad-image"})
    cluster.kubectl.apply(well, ill, namespace=namespace)
    cluster.api.wait(DEPLOYMENTS, namespace, "well", lambda item: item["status"].get("availableReplicas") == 1)
    mark = cluster.audit_mark()

    async def whole() -> str:
        async with opened(connector(cluster.kubeconfig, namespaces=[namespace])) as found:
            endpoints = {item.ref.name: item for item in await found.endpoints()}
            return " ".join([*endpoints["ill"].problems, *(item.message for item in endpoints["ill"].variants)])

    said = asyncio.run(whole())
    assert "ImagePullBackOff" in said or "ErrImagePull" in said, said
    asked = [item.uri for item in cluster.requests(mark, user=ADMIN) if "/pods" in item.uri]
    assert asked
    assert all("ill" in uri for uri in asked), asked


def test_a_kind_that_the_cluster_begins_to_serve_is_seen_without_a_restart(
    control_plane: ControlPlane, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told by the watch's end: whoever watches begins anew, with the kinds that there are then."""
    monkeypatch.setattr(module, "_SERVED_S", 0.5)

    async def whole() -> None:
        async with opened(connector(control_plane.kubeconfig, namespaces=[namespace])) as found:
            served = await discover(found._api)
            fewer = {key: kind for key, kind in served.resources.items() if key != ("batch", "cronjobs")}
            # As the cluster was before: with one kind less.
            found._served, found._served_s = Served(fewer), time.monotonic()
            async with asyncio.timeout(20):
                async for _ in found.changed():
                    pass
            assert found._served.find("batch", "cronjobs") is not None

    asyncio.run(whole())
