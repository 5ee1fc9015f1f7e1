"""What the cluster tests build: which Go module pins which programs, and which folders carry custom resource definitions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

MODULES: Final = Path(__file__).parent / "programs"
"""One folder a Go module, with go.mod, go.sum and tools.go."""

_KUBERNETES: Final = "1.36.3"


@dataclass(frozen=True, slots=True)
class Programs:
    """The programs of one Go module."""

    name: str
    """The folder under `programs/`."""
    source: str
    """The module that is built from, as `go list -m` names it."""
    packages: tuple[str, ...]
    """Packages of commands. A binary has the name of its package's last part."""
    link: str = "-s -w"
    """Flags of the linker."""
    tags: tuple[str, ...] = ()
    """Build tags."""
    minutes: int = 1
    """How long a cold build takes on two cores, in minutes: said before it begins."""
    modules: Path = MODULES
    """The folder that has the module's folder."""

    @property
    def own(self) -> bool:
        """Whether the source is this repository's."""
        return self.source.startswith("mlrelease.dev/")

    @property
    def folder(self) -> Path:
        return self.modules / self.name

    @property
    def binaries(self) -> tuple[str, ...]:
        return tuple(package.rpartition("/")[2] for package in self.packages)


def _versioned(package: str, version: str) -> str:
    # Without it the server reports v0.0.0, and clients that ask for a minimum refuse it.
    major, minor, _ = version.split(".")
    values = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor}
    return " ".join(["-s -w", *(f"-X {package}.{name}={value}" for name, value in values.items())])


KUBERNETES: Final = Programs(
    name="kubernetes",
    source="k8s.io/kubernetes",
    packages=tuple(
        f"k8s.io/kubernetes/cmd/{name}"
        for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
    ),
    link=_versioned("k8s.io/component-base/version", _KUBERNETES),
    minutes=5,
)
KWOK: Final = Programs(name="kwok", source="sigs.k8s.io/kwok", packages=("sigs.k8s.io/kwok/cmd/kwok",))
ARGO_ROLLOUTS: Final = Programs(
    name="argo-rollouts",
    source="github.com/argoproj/argo-rollouts",
    packages=(
        "github.com/argoproj/argo-rollouts/cmd/rollouts-controller",
        "github.com/argoproj/argo-rollouts/cmd/kubectl-argo-rollouts",
    ),
    minutes=3,
)
FLAGGER: Final = Programs(
    name="flagger",
    source="github.com/fluxcd/flagger",
    packages=("github.com/fluxcd/flagger/cmd/flagger",),
    minutes=2,
)
KSERVE: Final = Programs(
    name="kserve",
    source="github.com/kserve/kserve",
    packages=("github.com/kserve/kserve/cmd/manager",),
    minutes=3,
)
KNATIVE: Final = Programs(
    name="knative",
    source="knative.dev/serving",
    packages=tuple(f"knative.dev/serving/cmd/{name}" for name in ("controller", "webhook", "autoscaler")),
    minutes=3,
)
DEFINITIONS: Final = Programs(name="definitions", source="sigs.k8s.io/gateway-api", packages=())
"""Modules of which only the custom resource definitions are used; nothing is compiled."""

NODE: Final = Programs(
    name="node",
    source="k8s.io/kubernetes",
    packages=("k8s.io/kubernetes/cmd/kubelet",),
    link=_versioned("k8s.io/component-base/version", _KUBERNETES),
    minutes=1,
)
CONTAINERD: Final = Programs(
    name="containerd",
    source="github.com/containerd/containerd/v2",
    packages=tuple(
        f"github.com/containerd/containerd/v2/cmd/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")
    ),
    # Snapshotters that want libraries in C, and that a node on overlayfs does not need.
    tags=("no_btrfs", "no_devmapper", "no_zfs"),
    minutes=1,
)
PARTS: Final = Programs(
    name="parts",
    source="mlrelease.dev/tests/cluster/parts",
    packages=tuple(f"mlrelease.dev/tests/cluster/parts/{name}" for name in ("modelserver", "pause", "load")),
)
"""What runs in the containers of the real node, and the clients that ask it: this repository's own, Go's standard library alone."""
TRAEFIK: Final = Programs(name="traefik", source="github.com/traefik/traefik/v3", packages=())
"""Only its custom resource definitions: the program comes with the Python packages."""

ALL: Final = (KUBERNETES, KWOK, ARGO_ROLLOUTS, FLAGGER, KSERVE, KNATIVE)
"""What a control plane and its controllers want, in the order in which it is built."""
REAL_NODE: Final = (NODE, CONTAINERD, PARTS)
"""What a machine wants beside that to be a node; built where it can be one (`tests.cluster.realnode.host`)."""
