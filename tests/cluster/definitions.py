"""Custom resource definitions that tests apply where no controller of theirs runs, read from the Go modules' folders."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.cluster import build
from tests.cluster.api import Kubectl
from tests.cluster.catalogue import DEFINITIONS, FLAGGER, KNATIVE, KSERVE, TRAEFIK

_GATEWAY: Final = ("gatewayclasses", "gateways", "httproutes", "referencegrants", "grpcroutes")
_KNATIVE_NETWORKING: Final = ("certificate", "domain-claim", "ingress", "serverlessservice")
_KSERVE: Final = (
    "serving.kserve.io_inferenceservices.yaml",
    "serving.kserve.io_clusterservingruntimes.yaml",
    "serving.kserve.io_servingruntimes.yaml",
    "serving.kserve.io_trainedmodels.yaml",
    "serving.kserve.io_inferencegraphs.yaml",
    "clusterstoragecontainer/serving.kserve.io_clusterstoragecontainers.yaml",
)
_OBJECTS: Final = Path(__file__).parent / "objects"


def gateway_api(kubectl: Kubectl) -> None:
    """Gateway API 1.4, standard channel."""
    folder = build.module_folder(DEFINITIONS) / "config" / "crd" / "standard"
    kubectl.crds(*(folder / f"gateway.networking.k8s.io_{name}.yaml" for name in _GATEWAY))


def istio(kubectl: Kubectl) -> None:
    """Istio's: VirtualService, DestinationRule and the others of the API module."""
    kubectl.crds(build.module_folder(DEFINITIONS, "istio.io/api") / "kubernetes" / "customresourcedefinitions.gen.yaml")


def knative(kubectl: Kubectl) -> None:
    """Knative Serving's own, with the networking and caching ones that its programs want."""
    networking = build.module_folder(KNATIVE, "knative.dev/networking") / "config"
    kubectl.crds(
        build.module_folder(KNATIVE) / "config" / "core" / "300-resources",
        *(networking / f"{name}.yaml" for name in _KNATIVE_NETWORKING),
        build.module_folder(KNATIVE, "knative.dev/caching") / "config" / "image.yaml",
    )


def kserve(kubectl: Kubectl) -> None:
    """KServe's."""
    folder = build.module_folder(KSERVE) / "config" / "crd" / "full"
    kubectl.crds(*(folder / name for name in _KSERVE))


def flagger(kubectl: Kubectl) -> None:
    """Flagger's: Canary, MetricTemplate, AlertProvider."""
    kubectl.crds(build.module_folder(FLAGGER) / "artifacts" / "flagger" / "crd.yaml")


def seldon(kubectl: Kubectl) -> None:
    """Permissive stand-ins of this repository for Seldon Core 1 and 2: no Go module carries the real ones."""
    kubectl.crds(_OBJECTS / "seldon.yaml")


def kserve_canary(kubectl: Kubectl) -> bool:
    """The InferenceService with `spec.canary[]`: True with the real definition, which the checkout may have beside it.

    It has the name of 0.17's definition, so it wants a control plane of its own.
    """
    real = Path(__file__).parents[3] / "shared" / "crds" / "kserve-0.20-inferenceservices.yaml"
    at_hand = real.is_file()
    kubectl.crds(real if at_hand else _OBJECTS / "kserve-canary.yaml")
    return at_hand


def traefik(kubectl: Kubectl) -> None:
    """Traefik's: IngressRoute, TraefikService and the others that its provider lists."""
    folder = build.module_folder(TRAEFIK) / "docs" / "content" / "reference" / "dynamic-configuration"
    kubectl.crds(folder / "kubernetes-crd-definition-v1.yml")
