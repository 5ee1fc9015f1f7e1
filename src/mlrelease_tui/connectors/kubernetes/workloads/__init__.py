"""One module for each kind of workload. `api` says what one is; `ALL` names them, those that own others first."""

from __future__ import annotations

from typing import Final

from mlrelease_tui.connectors.kubernetes.workloads.api import Workload
from mlrelease_tui.connectors.kubernetes.workloads.argo import ArgoRollouts
from mlrelease_tui.connectors.kubernetes.workloads.deployment import Deployments
from mlrelease_tui.connectors.kubernetes.workloads.flagger import Canaries
from mlrelease_tui.connectors.kubernetes.workloads.jobs import CronJobs, Jobs
from mlrelease_tui.connectors.kubernetes.workloads.knative import KnativeServices
from mlrelease_tui.connectors.kubernetes.workloads.kserve import InferenceServices
from mlrelease_tui.connectors.kubernetes.workloads.pair import CanaryPairs
from mlrelease_tui.connectors.kubernetes.workloads.routes import HttpRoutes, VirtualServices
from mlrelease_tui.connectors.kubernetes.workloads.seldon import SeldonDeployments
from mlrelease_tui.connectors.kubernetes.workloads.seldon_experiments import SeldonExperiments
from mlrelease_tui.connectors.kubernetes.workloads.seldon_models import SeldonModels

ALL: Final[tuple[Workload, ...]] = (
    Canaries(),
    InferenceServices(),
    KnativeServices(),
    SeldonDeployments(),
    SeldonExperiments(),
    SeldonModels(),
    ArgoRollouts(),
    HttpRoutes(),
    VirtualServices(),
    CanaryPairs(),
    Deployments(),
    CronJobs(),
    Jobs(),
)
