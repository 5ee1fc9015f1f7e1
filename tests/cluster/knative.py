"""Knative Serving 0.48 on the control plane: webhook, controller, autoscaler, and a script that plays the ingress.

The programs are built unchanged. Controller and autoscaler both insist on port 8080, so each has a network namespace of its own.
"""

from __future__ import annotations

import contextlib
import socket
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tests.cluster import build, definitions
from tests.cluster.api import CONFIG_MAPS, LEASES, NAMESPACES, Json
from tests.cluster.catalogue import KNATIVE
from tests.cluster.control_plane import CONTROLLERS, ControlPlane
from tests.cluster.kserve import MUTATING, VALIDATING
from tests.cluster.processes import Program

NAMESPACE: Final = "knative-serving"
INGRESS_CLASS: Final = "fake.ingress.networking.knative.dev"

_START_S: Final = 60.0
_CONTROLLER_LEASES: Final = tuple(
    f"controller.knative.dev.serving.pkg.reconciler.{name}.reconciler."
    for name in ("configuration", "revision", "route", "serverlessservice", "service")
)
_AUTOSCALER_LEASE: Final = "autoscaler-bucket-"
_WEBHOOKS: Final = (
    (MUTATING, "webhook.serving.knative.dev"),
    (VALIDATING, "validation.webhook.serving.knative.dev"),
    (VALIDATING, "config.webhook.serving.knative.dev"),
)
_CONFIG: Final[dict[str, dict[str, str]]] = {
    "config-deployment": {
        "queue-sidecar-image": "registry.example/queue:1",
        "registries-skipping-tag-resolving": "registry.example,index.docker.io,kind.local,ko.local,dev.local",
    },
    "config-network": {"ingress-class": INGRESS_CLASS},
    "config-domain": {"example.com": ""},
    "config-autoscaler": {"min-scale": "1", "enable-scale-to-zero": "false"},
    # Its scrapes of pods without a network fail twice a second and revision.
    "config-logging": {"loglevel.autoscaler": "fatal"},
    # So that a successor of a killed program need not wait a minute.
    "config-leader-election": {"lease-duration": "6s", "renew-deadline": "4s", "retry-period": "1s"},
}


class Knative:
    """The programs of Knative Serving, started and stopped together or one by one."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self.control_plane = control_plane
        self._port = control_plane.free_ports(1)[0]
        self._install()
        binaries = build.ensure(KNATIVE)
        token = control_plane.folder / "ingress-player.token"
        token.touch(mode=0o600)
        token.write_text(control_plane.token(CONTROLLERS))
        here, python = Path(__file__).parent, (sys.executable, "-S", "-E")
        apart = (*python, here / "isolated.py", str(control_plane.port))
        player = (*python, here / "ingress_player.py", control_plane.url)
        self.webhook = self._program("webhook", binaries / "webhook")
        self.controller = self._program("controller", *apart, binaries / "controller")
        self.autoscaler = self._program("autoscaler", *apart, binaries / "autoscaler")
        self.ingress: Program = control_plane.add(
            "knative-ingress", [*player, control_plane.authority.bundle, token, INGRESS_CLASS]
        )

    def start(self) -> None:
        """Start what does not run; returns when the webhook answers and the controllers lead."""
        if not self.webhook.running:
            self.webhook.start()
            self.webhook.wait_ready(self._webhook_answers, within_s=_START_S)
        for program in (self.controller, self.autoscaler, self.ingress):
            if not program.running:
                program.start()
        self.controller.wait_ready(lambda: self._leads(self.controller, *_CONTROLLER_LEASES), within_s=_START_S)
        self.autoscaler.wait_ready(lambda: self._leads(self.autoscaler, _AUTOSCALER_LEASE), within_s=_START_S)

    def stop(self) -> None:
        """SIGTERM to all, SIGKILL to those who drain: the webhook takes 45 s for it."""
        for program in (self.controller, self.autoscaler, self.ingress):
            program.stop()
        self.webhook.stop(grace_s=1.0)

    @contextlib.contextmanager
    def stopped(self, *programs: Program) -> Iterator[None]:
        """These programs (the controller by default) not running for the block, running after it."""
        for program in programs or (self.controller,):
            program.stop(grace_s=2.0)
        try:
            yield
        finally:
            self.start()

    def configure(self, name: str, **data: str) -> None:
        """Change a ConfigMap of knative-serving."""
        self.control_plane.api.patch(CONFIG_MAPS, NAMESPACE, name, {"data": data})

    def _install(self) -> None:
        api, kubectl = self.control_plane.api, self.control_plane.kubectl
        definitions.knative(kubectl)
        if api.find(NAMESPACES, "", NAMESPACE) is None:
            api.create(NAMESPACES, "", {"metadata": {"name": NAMESPACE}})
        core = build.module_folder(KNATIVE) / "config" / "core"
        kubectl.apply(
            *sorted((core / "configmaps").glob("*.yaml")),
            build.module_folder(KNATIVE, "knative.dev/networking") / "config" / "config-network.yaml",
        )
        for name, data in _CONFIG.items():
            api.patch(CONFIG_MAPS, NAMESPACE, name, {"data": data})
        # The API server reaches the webhook by the Service's external name, so no address has to lead to a pod.
        service = {"type": "ExternalName", "externalName": "localhost"}
        meta = {"name": "webhook", "namespace": NAMESPACE}
        kubectl.apply({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": service})
        kubectl.apply(*sorted((core / "webhooks").glob("*.yaml")))
        for kind, name in _WEBHOOKS:
            patch = [{"op": "add", "path": "/webhooks/0/clientConfig/service/port", "value": self._port}]
            api.patch(kind, "", name, patch, how="json")

    def _program(self, name: str, *argv: str | Path) -> Program:
        return self.control_plane.add(
            f"knative-{name}",
            argv,
            environ={
                "KUBECONFIG": str(self.control_plane.kubeconfig_of(CONTROLLERS)),
                "SYSTEM_NAMESPACE": NAMESPACE,
                "CONFIG_LOGGING_NAME": "config-logging",
                "CONFIG_OBSERVABILITY_NAME": "config-observability",
                "CONFIG_LEADERELECTION_NAME": "config-leader-election",
                "POD_NAME": f"{name}-0",
                # Any address but a loopback one, which ends the autoscaler.
                "POD_IP": "10.99.99.98",
                "WEBHOOK_NAME": "webhook",
                "WEBHOOK_PORT": str(self._port),
                "PROFILING_PORT": "0",
            },
        )

    def _webhook_answers(self) -> bool:
        api = self.control_plane.api
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", self._port)):
                return False
        return all(_trusted(api.get(kind, "", name)) for kind, name in _WEBHOOKS)

    def _leads(self, program: Program, *names: str) -> bool:
        """Whether a program has renewed leases of these names since it was started."""
        renewed = [
            str(lease["metadata"]["name"])
            for lease in self.control_plane.api.items(LEASES, NAMESPACE)
            if datetime.fromisoformat(lease["spec"]["renewTime"]) > program.started
        ]
        return all(any(lease.startswith(name) for lease in renewed) for name in names)


def _trusted(configuration: Json) -> bool:
    hooks: list[Any] = configuration["webhooks"]
    return all(hook["clientConfig"].get("caBundle") for hook in hooks)
