"""Every workload is recognised from the examples that its own project publishes, as they stand in the project's Go module.

All that a file holds is applied. Argo Rollouts' controller runs; the others may not, as for an operator who applied the example
before its controller was installed: recognised, of a state that is not known, and nothing invented. Seldon's and Istio's
modules carry no examples: theirs are written anew in the unit tests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest
import yaml
from tests.cluster import build, definitions
from tests.cluster.catalogue import ARGO_ROLLOUTS, DEFINITIONS, FLAGGER, KNATIVE, KSERVE, KUBERNETES, Programs
from tests.cluster.control_plane import ControlPlane
from tests.cluster.desk import Operator, operated
from tests.cluster.fixtures import Cluster

from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.domain.text import raw

pytestmark = [pytest.mark.kubernetes, pytest.mark.real]


@dataclass(frozen=True, slots=True)
class Example:
    """Files of a project's module, and the one endpoint that they make: its name, the backend's kind, the versions that it runs
    (None: that depends on whether its controller has begun by now)."""

    module: Programs
    files: tuple[str, ...]
    name: str
    kind: str
    versions: frozenset[str] | None = frozenset()

    def __str__(self) -> str:
        return f"{self.module.name}: {self.files[-1]}"

    def objects(self) -> Iterator[Mapping[str, Any]]:
        """What is in the files, without the namespaces that some of them name."""
        folder = build.module_folder(self.module)
        for file in self.files:
            for item in yaml.safe_load_all((folder / file).read_text("utf-8")):
                if item:
                    item["metadata"].pop("namespace", None)
                    yield item


def _rollout(name: str, *versions: str, file: str = "", more: tuple[str, ...] = ()) -> Example:
    files = (*more, file or f"{name}.yaml")
    return Example(ARGO_ROLLOUTS, tuple(f"examples/{one}" for one in files), name, "Rollout", frozenset(versions))


def _route(file: str, name: str) -> Example:
    return Example(
        DEFINITIONS,
        (f"examples/standard/traffic-splitting/{file}.yaml",),
        name,
        "HTTPRoute",
        frozenset({"foo-v1", "foo-v2"}),
    )


EXAMPLES: Final = [
    _rollout("rollout-canary", "blue"),
    _rollout("rollout-bluegreen", "blue"),
    _rollout("rollout-background-analysis", "blue", more=("analysis-templates.yaml",)),
    # Invalid until its cluster-wide template is there, which is not for a test to put into a cluster: nothing runs yet.
    _rollout("rollout-analysis-step"),
    _rollout("rollout-experiment-step", "blue"),
    _rollout("rollout-rollingupdate", "blue", file="rollout-rolling-update.yaml"),
    _rollout("rollout-baseline-vs-canary", "blue"),
    _rollout("rollout-canary-preview", "blue"),
    _rollout("istio-subset-split", "1.19-alpine", file="istio/istio-subset-split.yaml"),
    _rollout("rollout-ref-deployment", "blue", file="workload-ref/workload-ref.yaml"),
    Example(
        FLAGGER,
        ("kustomize/podinfo/deployment.yaml", "artifacts/examples/istio-canary.yaml"),
        "podinfo",
        "Canary",
        frozenset({"6.0.0"}),
    ),
    Example(KSERVE, ("test/benchmark/sklearn.yaml",), "sklearn-iris", "InferenceService", None),
    Example(KNATIVE, ("test/test_images/helloworld/service.yaml",), "helloworld-test-image", "Knative Service", None),
    _route("simple-split", "simple-split"),
    _route("traffic-split-2", "foo-route"),
    Example(KUBERNETES, ("test/fixtures/doc-yaml/user-guide/job.yaml",), "pi", "Job", frozenset({"unknown"})),
    Example(KUBERNETES, ("hack/testdata/deployment-revision1.yaml",), "nginx", "Deployment", frozenset({"test-cmd"})),
]


@pytest.fixture(scope="module")
def kinds(control_plane: ControlPlane) -> None:
    """The server knows the kinds whose controllers do not run here."""
    definitions.flagger(control_plane.kubectl)
    definitions.kserve(control_plane.kubectl)
    definitions.knative(control_plane.kubectl)


@pytest.mark.usefixtures("gateway_api", "istio", "kinds")
@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_a_published_example_is_recognised(example: Example, rollouts: Cluster, namespace: str) -> None:
    for item in example.objects():
        rollouts.kubectl.apply(item, namespace=namespace)

    async def look(operator: Operator) -> tuple[tuple[Endpoint, ...], Endpoint]:
        await operator.connector.endpoints()
        one = await operator.until(example.name, lambda endpoint: example.versions in {None, _versions(endpoint)})
        return tuple(await operator.connector.endpoints()), one

    found, one = operated(rollouts.kubeconfig, namespace, look, options={"all": True})
    assert [(raw(item.ref.name), raw(item.native.kind)) for item in found] == [(example.name, example.kind)], (
        "one endpoint, however many objects"
    )
    assert not [support.verb for support in one.verbs if not support.available and not support.reason], (
        "what it cannot do is explained"
    )


def _versions(endpoint: Endpoint) -> frozenset[str]:
    return frozenset(raw(variant.version) for variant in endpoint.variants)
