"""The way in of a program that runs in a pod of the cluster itself: its service account.

Source: "Accessing the Kubernetes API from a Pod" of the Kubernetes documentation. The token is rotated in place by the kubelet.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mlrelease_tui.connectors.kubernetes.kubeconfig import Context, Named
from mlrelease_tui.errors import ConfigError

NAME: Final = "in-cluster"
FOLDER: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def is_inside(environ: Mapping[str, str]) -> bool:
    """Whether this program runs in a pod that has a service account."""
    return bool(environ.get("KUBERNETES_SERVICE_HOST")) and (FOLDER / "token").is_file()


def context(environ: Mapping[str, str]) -> Context:
    """The context of the pod's service account. ConfigError outside of a pod."""
    host, port = environ.get("KUBERNETES_SERVICE_HOST", ""), environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host or not (FOLDER / "token").is_file():
        raise ConfigError("this is no pod of a cluster with a service account", hint="name a `kubeconfig` instead")
    try:
        namespace = (FOLDER / "namespace").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        namespace = ""
    server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    cluster = Named({"server": server, "certificate-authority": "ca.crt"}, FOLDER)
    return Context(NAME, namespace, cluster, Named({"tokenFile": "token"}, FOLDER))
