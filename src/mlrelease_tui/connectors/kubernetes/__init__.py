"""Kubernetes: endpoints are the workloads of a cluster, each recognised by the module that knows its controller.

`kubeconfig` and `identity` say which cluster and as whom, `api` talks to it, `mirror` holds what it serves, `workloads` read that
as endpoints and plan writes, `performing` sends them. Spoken over httpx: the reasons stand in ADR 0009.
"""

from __future__ import annotations

from mlrelease_tui.connectors.api import Connector, ConnectorFactory, Option, Settings


def _build(settings: Settings) -> Connector:
    from mlrelease_tui.connectors.kubernetes.connector import KubernetesConnector

    return KubernetesConnector(settings)


connect = ConnectorFactory(
    _build,
    {
        "kubeconfig": Option((str,), "a kubeconfig file; KUBECONFIG and ~/.kube/config where there is none", path=True),
        "context": Option((str,), "the context of the kubeconfig; its current one where there is none"),
        "namespaces": Option((list,), "the namespaces to look at; all of them where there are none"),
        "all": Option((bool,), "whether Deployments and jobs are shown that do not say which model they serve; false"),
        "registry": Option((str,), "the registry connection in which a model is looked for whose name says none"),
        "cluster_uid": Option(
            (str,), "the uid of the namespace kube-system: another cluster at that address is refused"
        ),
        "in_cluster": Option((bool,), "use the service account of the pod that this runs in"),
        "pass_env": Option((list,), "variables holding secrets that the kubeconfig's exec plugin needs"),
    },
    ("httpx", "msgspec", "yaml", "mlrelease_tui.connectors.kubernetes.connector"),
)
"""The factory that the entry point `kubernetes` names."""
