"""KServe 0.17 on the control plane: Standard mode by itself, Knative mode where Knative Serving runs too."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Sequence
from typing import Any, Final

from tests.cluster import build, definitions
from tests.cluster.api import CONFIG_MAPS, NAMESPACES, Json, Kind
from tests.cluster.catalogue import KSERVE
from tests.cluster.control_plane import CONTROLLERS, ControlPlane, answers
from tests.cluster.controllers import Controller

NAMESPACE: Final = "kserve"
MUTATING: Final = Kind("admissionregistration.k8s.io/v1", "mutatingwebhookconfigurations", namespaced=False)
VALIDATING: Final = Kind("admissionregistration.k8s.io/v1", "validatingwebhookconfigurations", namespaced=False)

_WEBHOOKS: Final = "mlrelease-test-kserve"
_ISVC: Final = ("serving.kserve.io", "v1beta1", "inferenceservices", ("CREATE", "UPDATE"))
_GRAPH: Final = ("serving.kserve.io", "v1alpha1", "inferencegraphs", ("CREATE", "UPDATE"))
_POD: Final = ("", "v1", "pods", ("CREATE",))
# All four quantities are wanted, or the manager refuses the whole map.
_SIDECAR: Final = {"cpuRequest": "10m", "cpuLimit": "100m", "memoryRequest": "16Mi", "memoryLimit": "64Mi"}
_INGRESS: Final = {
    "enableGatewayApi": False,
    "disableIngressCreation": True,
    "disableIstioVirtualHost": True,
    "ingressGateway": "knative-serving/knative-ingress-gateway",
    "localGateway": "knative-serving/knative-local-gateway",
    "localGatewayService": "gateway.istio-system.svc.cluster.local",
    "ingressDomain": "example.com",
    "ingressClassName": "none",
    "domainTemplate": "{{ .Name }}-{{ .Namespace }}.{{ .IngressDomain }}",
    "urlScheme": "http",
}
_CONFIG: Final[dict[str, Json]] = {
    "storageInitializer": {"image": "registry.example/storage-initializer:1", **_SIDECAR},
    "logger": {"image": "registry.example/agent:1", "defaultUrl": "http://logs.example", **_SIDECAR},
    "batcher": {"image": "registry.example/agent:1", "maxBatchSize": "32", "maxLatency": "5000", **_SIDECAR},
    "agent": {"image": "registry.example/agent:1", **_SIDECAR},
    "router": {"image": "registry.example/router:1", **_SIDECAR},
    "inferenceService": {
        "resource": {"cpuLimit": "1", "memoryLimit": "2Gi", "cpuRequest": "10m", "memoryRequest": "16Mi"}
    },
    "security": {"autoMountServiceAccountToken": True},
    "deploy": {"defaultDeploymentMode": "Standard"},
    "ingress": _INGRESS,
}


class KServe(Controller):
    """KServe's manager. Its webhooks are registered: while it does not run, writes to InferenceServices are refused with 500."""

    def remove_webhooks(self) -> None:
        """As on clusters whose webhooks were never installed: a stopped manager lets every write through and does nothing."""
        for kind in (MUTATING, VALIDATING):
            self.control_plane.api.delete(kind, "", _WEBHOOKS)

    def register_webhooks(self) -> None:
        """Let the API server ask the manager about InferenceServices, graphs and their pods (again)."""
        self.remove_webhooks()
        mutating = [
            self._webhook("defaulter", "/mutate-serving-kserve-io-v1beta1-inferenceservice", *_ISVC),
            self._webhook("pod-mutator", "/mutate-pods", *_POD, objectSelector=_of_an_inference_service()),
        ]
        validating = [
            self._webhook("validator", "/validate-serving-kserve-io-v1beta1-inferenceservice", *_ISVC),
            self._webhook("graph", "/validate-serving-kserve-io-v1alpha1-inferencegraph", *_GRAPH),
        ]
        for kind, webhooks in ((MUTATING, mutating), (VALIDATING, validating)):
            self.control_plane.api.create(kind, "", {"metadata": {"name": _WEBHOOKS}, "webhooks": webhooks})

    def configure(self, part: str, **values: Any) -> None:
        """Change a part of `inferenceservice-config`: `configure("deploy", defaultDeploymentMode="Knative")`. The ingress mode
        alone is read only when the manager starts.
        """
        text = json.dumps({**_CONFIG[part], **values})
        self.control_plane.api.patch(CONFIG_MAPS, NAMESPACE, "inferenceservice-config", {"data": {part: text}})

    @property
    def webhook_port(self) -> int:
        return int(next(word for word in self.program.argv if word.startswith("--webhook-port=")).partition("=")[2])

    def _webhook(
        self, name: str, path: str, group: str, version: str, plural: str, operations: Sequence[str], **more: Any
    ) -> Json:
        return {
            "name": f"{name}.kserve.mlrelease.test",
            "clientConfig": {
                "url": f"https://127.0.0.1:{self.webhook_port}{path}",
                "caBundle": self.control_plane.authority.bundle_base64,
            },
            "rules": [
                {
                    "apiGroups": [group],
                    "apiVersions": [version],
                    "operations": list(operations),
                    "resources": [plural],
                }
            ],
            "admissionReviewVersions": ["v1", "v1beta1"],
            "sideEffects": "None",
            "failurePolicy": "Fail",
            "timeoutSeconds": 5,
            **more,
        }


def kserve(control_plane: ControlPlane) -> KServe:
    """KServe with its definitions (and Knative's, or it would never look at Knative Services), configuration and one runtime.

    Not started yet; register its webhooks once it runs. The runtime takes models of the formats sklearn, xgboost and mlflow.
    """
    kubectl = control_plane.kubectl
    definitions.gateway_api(kubectl)
    definitions.knative(kubectl)
    definitions.kserve(kubectl)
    if control_plane.api.find(NAMESPACES, "", NAMESPACE) is None:
        control_plane.api.create(NAMESPACES, "", {"metadata": {"name": NAMESPACE}})
    data = {part: json.dumps(values) for part, values in _CONFIG.items()}
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "inferenceservice-config", "namespace": NAMESPACE},
            "data": data,
        },
        _runtime("mlrelease-test", "sklearn", "xgboost", "mlflow"),
    )
    folder = control_plane.folder / "kserve"
    certificates = folder / "k8s-webhook-server" / "serving-certs"
    certificates.mkdir(parents=True, exist_ok=True)
    pair = control_plane.authority.server("kserve-webhook")
    shutil.copy(pair.certificate, certificates / "tls.crt")
    shutil.copy(pair.key, certificates / "tls.key")
    metrics, health, webhook = control_plane.free_ports(3)
    program = control_plane.add(
        "kserve",
        [
            build.ensure(KSERVE) / "manager",
            f"--metrics-addr=127.0.0.1:{metrics}",
            f"--health-probe-addr=127.0.0.1:{health}",
            f"--webhook-port={webhook}",
        ],
        environ={
            "KUBECONFIG": str(control_plane.kubeconfig_of(CONTROLLERS)),
            "TMPDIR": str(folder),
            "POD_NAMESPACE": NAMESPACE,
        },
    )
    return KServe(control_plane, program, lambda: answers(f"http://127.0.0.1:{health}/healthz") and _listens(webhook))


def _runtime(name: str, *formats: str) -> Json:
    supported = [{"name": kind, "version": "1", "autoSelect": True, "priority": 1} for kind in formats]
    container = {
        "name": "kserve-container",
        "image": "registry.example/model-server:1",
        "args": ["--model_name={{.Name}}", "--model_dir=/mnt/models"],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
    }
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ClusterServingRuntime",
        "metadata": {"name": name},
        "spec": {
            "supportedModelFormats": supported,
            "protocolVersions": ["v1", "v2"],
            "containers": [container],
        },
    }


def _of_an_inference_service() -> Json:
    return {"matchExpressions": [{"key": "serving.kserve.io/inferenceservice", "operator": "Exists"}]}


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
