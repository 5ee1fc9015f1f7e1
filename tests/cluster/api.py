"""The tests' own way to a cluster: small calls on the Kubernetes API, kubectl, and waiting for a condition.

Nothing of the product is used here, so that a test sees the cluster with other eyes than the code under test.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import httpx

Json = dict[str, Any]
"""An object of the API."""

_PATCHES: Final = {
    "merge": "application/merge-patch+json",
    "json": "application/json-patch+json",
    "strategic": "application/strategic-merge-patch+json",
}
_POLL_S: Final = 0.1
_DEADLINE_S: Final = 30.0
_Seen = TypeVar("_Seen")


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object and where the API has it."""

    group_version: str
    """ "v1", "apps/v1", "argoproj.io/v1alpha1"."""
    plural: str
    namespaced: bool = True

    def path(self, namespace: str = "", name: str = "", sub: str = "") -> str:
        """ "/apis/apps/v1/namespaces/a/deployments/b/scale"; without a name the collection."""
        root = f"/apis/{self.group_version}" if "/" in self.group_version else f"/api/{self.group_version}"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return "/".join(part for part in (f"{root}{scope}", self.plural, name, sub) if part)


NAMESPACES: Final = Kind("v1", "namespaces", namespaced=False)
NODES: Final = Kind("v1", "nodes", namespaced=False)
PODS: Final = Kind("v1", "pods")
SERVICES: Final = Kind("v1", "services")
EVENTS: Final = Kind("v1", "events")
CONFIG_MAPS: Final = Kind("v1", "configmaps")
SECRETS: Final = Kind("v1", "secrets")
SERVICE_ACCOUNTS: Final = Kind("v1", "serviceaccounts")
DEPLOYMENTS: Final = Kind("apps/v1", "deployments")
REPLICA_SETS: Final = Kind("apps/v1", "replicasets")
ENDPOINT_SLICES: Final = Kind("discovery.k8s.io/v1", "endpointslices")
JOBS: Final = Kind("batch/v1", "jobs")
CRON_JOBS: Final = Kind("batch/v1", "cronjobs")
LEASES: Final = Kind("coordination.k8s.io/v1", "leases")
ROLES: Final = Kind("rbac.authorization.k8s.io/v1", "roles")
ROLE_BINDINGS: Final = Kind("rbac.authorization.k8s.io/v1", "rolebindings")
CRDS: Final = Kind("apiextensions.k8s.io/v1", "customresourcedefinitions", namespaced=False)
ROLLOUTS: Final = Kind("argoproj.io/v1alpha1", "rollouts")
ANALYSIS_RUNS: Final = Kind("argoproj.io/v1alpha1", "analysisruns")
ANALYSIS_TEMPLATES: Final = Kind("argoproj.io/v1alpha1", "analysistemplates")
EXPERIMENTS: Final = Kind("argoproj.io/v1alpha1", "experiments")
CANARIES: Final = Kind("flagger.app/v1beta1", "canaries")
HTTP_ROUTES: Final = Kind("gateway.networking.k8s.io/v1", "httproutes")
INFERENCE_SERVICES: Final = Kind("serving.kserve.io/v1beta1", "inferenceservices")
KNATIVE_SERVICES: Final = Kind("serving.knative.dev/v1", "services")
KNATIVE_REVISIONS: Final = Kind("serving.knative.dev/v1", "revisions")
VIRTUAL_SERVICES: Final = Kind("networking.istio.io/v1", "virtualservices")


class ApiError(AssertionError):
    """The API server refused; the message holds its words. An assertion: a test that did not expect it has failed."""

    def __init__(self, request: str, code: int, body: str) -> None:
        super().__init__(f"{request}: {code} {body[:2000]}")
        self.code = code
        self.body = body


class Api:
    """Calls on one API server, each with a deadline."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client

    def close(self) -> None:
        self.client.close()

    def call(
        self, method: str, path: str, body: object = None, *, content_type: str = "", **query: str
    ) -> httpx.Response:
        """One request. ApiError from 400 on; what httpx raises when the server can't be reached."""
        response = self.client.request(
            method,
            path,
            params=query or None,
            content=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": content_type or "application/json"},
        )
        if response.status_code >= 400:
            raise ApiError(f"{method} {path}", response.status_code, response.text)
        return response

    def get(self, kind: Kind, namespace: str, name: str, sub: str = "") -> Json:
        """The object. ApiError 404 where it is not."""
        return _object(self.call("GET", kind.path(namespace, name, sub)))

    def find(self, kind: Kind, namespace: str, name: str) -> Json | None:
        """The object, None where it is not."""
        try:
            return self.get(kind, namespace, name)
        except ApiError as problem:
            if problem.code == 404:
                return None
            raise

    def items(self, kind: Kind, namespace: str = "", *, selector: str = "") -> list[Json]:
        """All objects of a kind in a namespace (everywhere without one) that a label selector takes."""
        query = {"labelSelector": selector} if selector else {}
        items: list[Json] = _object(self.call("GET", kind.path(namespace), **query))["items"]
        return items

    def create(self, kind: Kind, namespace: str, body: Json, name: str = "", sub: str = "") -> Json:
        return _object(self.call("POST", kind.path(namespace, name, sub), body))

    def patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        body: object,
        *,
        sub: str = "",
        how: Literal["merge", "json", "strategic"] = "merge",
        manager: str = "",
    ) -> Json:
        """Patch the object or its subresource (`sub="status"`), as a field manager's own where one is named."""
        query = {"fieldManager": manager} if manager else {}
        path = kind.path(namespace, name, sub)
        return _object(self.call("PATCH", path, body, content_type=_PATCHES[how], **query))

    def delete(self, kind: Kind, namespace: str, name: str) -> None:
        """Delete in the background; nothing happens where it is not."""
        try:
            self.call("DELETE", kind.path(namespace, name), {"propagationPolicy": "Background"})
        except ApiError as problem:
            if problem.code != 404:
                raise

    def wait(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        condition: Callable[[Json], object],
        *,
        within_s: float = _DEADLINE_S,
    ) -> Json:
        """The object once `condition(object)` holds. AssertionError with the object's last state after `within_s`."""
        last: Json | None = None

        def look() -> Json | None:
            nonlocal last
            last = self.find(kind, namespace, name)
            return last if last is not None and condition(last) else None

        return wait_for(
            look,
            within_s=within_s,
            otherwise=lambda: f"{kind.plural} {namespace}/{name}: {_short(last)}",
        )

    def gone(self, kind: Kind, namespace: str, name: str, *, within_s: float = _DEADLINE_S) -> None:
        """Wait until the object is not there."""
        wait_for(
            lambda: self.find(kind, namespace, name) is None,
            within_s=within_s,
            otherwise=lambda: f"{kind.plural} {namespace}/{name} is still there",
        )


def wait_for(
    look: Callable[[], _Seen | None], *, within_s: float = _DEADLINE_S, otherwise: Callable[[], str] = lambda: ""
) -> _Seen:
    """What `look` returns once it is true in the sense of `bool`. AssertionError with `otherwise()` after `within_s`."""
    deadline = time.monotonic() + within_s
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"not so after {within_s:.0f} s: {otherwise()}")
        time.sleep(_POLL_S)


def condition(item: Json, kind: str) -> Json:
    """A condition from an object's status by its type, {} where it has none."""
    conditions: Sequence[Json] = item.get("status", {}).get("conditions") or ()
    return next((entry for entry in conditions if entry.get("type") == kind), {})


def holds(item: Json, kind: str) -> bool:
    """Whether a condition of an object's status is "True"."""
    return condition(item, kind).get("status") == "True"


class Kubectl:
    """kubectl with one kubeconfig, each call with a deadline."""

    def __init__(self, program: Path, kubeconfig: Path, *, cache: Path | None = None) -> None:
        self.program = program
        self.kubeconfig = kubeconfig
        # Not in the home directory: ports come again, and what another server served is none of this one's business.
        self._cache = cache or kubeconfig.parent / "kubectl-cache"

    def __call__(self, *words: str, stdin: str = "", within_s: float = 60.0) -> str:
        """Standard output. AssertionError with both outputs where the exit code is not 0."""
        done = self.run(*words, stdin=stdin, within_s=within_s)
        assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def run(self, *words: str, stdin: str = "", within_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """The ended process, whatever its exit code."""
        return subprocess.run(
            [self.program, *words, f"--cache-dir={self._cache}"],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=within_s,
            env={**os.environ, "KUBECONFIG": str(self.kubeconfig)},
        )

    def apply(self, *manifests: str | Mapping[str, Any] | Path, namespace: str = "", manager: str = "kubectl") -> None:
        """Apply YAML texts, objects or files, server-side; a list of all that went in is one call of kubectl."""
        texts = [_text(manifest) for manifest in manifests if not isinstance(manifest, Path)]
        files = [word for manifest in manifests if isinstance(manifest, Path) for word in ("-f", str(manifest))]
        words = ["apply", "--server-side", "--force-conflicts", f"--field-manager={manager}"]
        if namespace:
            words += ["--namespace", namespace]
        if texts:
            # kubectl takes a stream that begins with a brace for one of JSON objects, and those have no separator.
            self(*words, "-f", "-", stdin="".join(f"---\n{text}\n" for text in texts))
        if files:
            self(*words, *files, within_s=120.0)

    def crds(self, *sources: Path) -> None:
        """Apply the custom resource definitions of these files and folders; returns when the server serves them all."""
        files = [
            file for source in sources for file in ([source] if source.is_file() else sorted(source.glob("*.y*ml")))
        ]
        files = [file for file in files if "kind: CustomResourceDefinition" in file.read_text(encoding="utf-8")]
        assert files, f"no custom resource definition in {', '.join(map(str, sources))}"
        words = [word for file in files for word in ("-f", str(file))]
        self("apply", "--server-side", "--force-conflicts", *words, within_s=120.0)
        # kubectl gives up at once on a definition that the server has not begun to look at.
        established = ("wait", "--for=condition=Established", "--timeout=30s", *words)
        wait_for(lambda: self.run(*established).returncode == 0, otherwise=lambda: self.run(*established).stderr)


def _text(manifest: str | Mapping[str, Any]) -> str:
    return manifest if isinstance(manifest, str) else json.dumps(manifest)


def _object(response: httpx.Response) -> Json:
    value: Json = response.json()
    return value


def _short(item: Json | None) -> str:
    if item is None:
        return "it is not there"
    return json.dumps({"spec": item.get("spec"), "status": item.get("status")}, indent=1)[:6000]
