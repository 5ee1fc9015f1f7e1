"""A real Kubernetes control plane for tests, without containers and root: etcd, the API server, its controllers, KWOK nodes.

Facts behind the flags: with etcd 3.4 a streaming list (WatchList) never ends, so it is off; KWOK's leases conflict with the node
life cycle controller now and then, and nodes that flip to NotReady would never get their pods Ready again, so that controller and
the one that evicts are off. API server, controllers and scheduler bind with SO_REUSEPORT to ports that this process keeps.
"""

from __future__ import annotations

import contextlib
import shutil
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

import httpx
from tests.cluster import build, users
from tests.cluster.api import NODES, Api, Json, Kubectl, holds
from tests.cluster.audit import AuditLog, Request
from tests.cluster.catalogue import ALL, KUBERNETES, KWOK
from tests.cluster.certificates import Authority, TokenSigner
from tests.cluster.processes import Ports, Program, StartError
from tests.cluster.users import ADMIN, CONTROLLERS, NOBODY, READER, TENANT, TESTS

_START_S: Final = 90.0
_CONTROLLERS_OFF: Final = (
    "node-ipam-controller",
    "cloud-node-lifecycle-controller",
    "persistentvolume-binder-controller",
    "persistentvolume-attach-detach-controller",
    "node-lifecycle-controller",
    "taint-eviction-controller",
)


class ControlPlane:
    """A control plane in a folder of its own, as a context manager: everything runs on entry, nothing is left on exit."""

    def __init__(self, folder: Path, *, nodes: int = 10, environ: Mapping[str, str] | None = None) -> None:
        self.folder = folder
        self.programs: dict[str, Program] = {}
        """By name, in the order of their start."""
        self._environ = dict(environ or {})
        self._nodes = nodes
        self._ports = Ports()
        self._binaries = _binaries()
        self._started: dict[str, float] = {}

    # -- life -------------------------------------------------------------------------------------------------

    def __enter__(self) -> ControlPlane:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every program, the last started first, and remove the data; logs stay in the folder until that goes."""
        for program in reversed(self.programs.values()):
            program.kill()
        api = getattr(self, "api", None)
        if isinstance(api, Api):
            api.close()
        self._ports.release()
        shutil.rmtree(self.folder / "etcd", ignore_errors=True)

    def _start(self) -> None:
        began = time.monotonic()
        self.authority = Authority(self.folder / "pki")
        self.port = self._ports.hold()
        self.url = f"https://127.0.0.1:{self.port}"
        self.tokens = TokenSigner(self.folder / "pki", issuer="https://kubernetes.default.svc")
        (self.folder / "users.csv").write_text(users.token_file())
        context = ssl.create_default_context(cafile=str(self.authority.bundle))
        self.api = Api(
            httpx.Client(
                base_url=self.url,
                verify=context,
                trust_env=False,
                timeout=30.0,
                headers={"Authorization": f"Bearer {self.token(TESTS)}", "User-Agent": "mlrelease-tests"},
            )
        )
        self.kubeconfig = self.kubeconfig_of(ADMIN)
        self.kubectl = Kubectl(self._binaries / "kubectl", self.kubeconfig_of(TESTS))
        self._start_etcd()
        self._start_api_server()
        self._lap("api server", began)
        self._start_controllers()
        self._lap("control plane", began)

    def _lap(self, name: str, began: float) -> None:
        self._started[name] = time.monotonic() - began

    @property
    def laps(self) -> dict[str, float]:
        """Seconds from nothing until a part was ready."""
        return dict(self._started)

    def _start_etcd(self) -> None:
        etcd = shutil.which("etcd")
        if etcd is None:
            raise build.BuildError("etcd is not on the PATH: install Debian's etcd-server (tests/provision/cluster.sh)")
        client, peer = (f"http://127.0.0.1:{port}" for port in self._ports.free(2))
        self._etcd = client
        program = self.add(
            "etcd",
            [
                etcd,
                "--name=tests",
                f"--data-dir={self.folder / 'etcd'}",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=tests={peer}",
                "--unsafe-no-fsync",
                # As kubeadm sets it: without it the API server sends no bookmarks of a kind that is quiet.
                "--experimental-watch-progress-notify-interval=5s",
                "--log-level=warn",
                "--logger=zap",
            ],
        )
        program.start()
        program.wait_ready(lambda: answers(f"{client}/health"), within_s=_START_S)

    def _start_api_server(self) -> None:
        serving = self.authority.server("apiserver", ("localhost", "kubernetes.default.svc", "127.0.0.1", "10.96.0.1"))
        to_nodes = self.authority.client("kube-apiserver-of-tests")
        self._audit = AuditLog(self.folder, without=(CONTROLLERS, TESTS))
        self.add(
            "kube-apiserver",
            [
                self._binaries / "kube-apiserver",
                f"--etcd-servers={self._etcd}",
                "--bind-address=127.0.0.1",
                f"--secure-port={self.port}",
                "--permit-port-sharing=true",
                f"--cert-dir={self.folder / 'pki'}",
                f"--tls-cert-file={serving.certificate}",
                f"--tls-private-key-file={serving.key}",
                f"--client-ca-file={self.authority.bundle}",
                "--service-cluster-ip-range=10.96.0.0/16",
                f"--service-account-issuer={self.tokens.issuer}",
                f"--service-account-key-file={self.tokens.key}",
                f"--service-account-signing-key-file={self.tokens.key}",
                f"--token-auth-file={self.folder / 'users.csv'}",
                "--authorization-mode=RBAC",
                "--kubelet-preferred-address-types=InternalIP",
                f"--kubelet-client-certificate={to_nodes.certificate}",
                f"--kubelet-client-key={to_nodes.key}",
                "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
                "--feature-gates=WatchList=false",
                *self._audit.flags,
                "--profiling=false",
            ],
        )
        self.start_api_server()
        group = "/apis/rbac.authorization.k8s.io/v1"
        for body in users.reading_everything():
            self.api.call("POST", f"{group}/{body['kind'].lower()}s", body)

    def _start_controllers(self) -> None:
        kubeconfig = self.kubeconfig_of(CONTROLLERS)
        health: dict[str, str] = {}
        common = [f"--kubeconfig={kubeconfig}", "--leader-elect=false", "--bind-address=127.0.0.1"]
        common += ["--permit-port-sharing=true", "--kube-api-qps=200", "--kube-api-burst=400", "--profiling=false"]
        more = {
            "kube-controller-manager": [
                f"--controllers={','.join(['*', *(f'-{name}' for name in _CONTROLLERS_OFF)])}",
                f"--service-account-private-key-file={self.tokens.key}",
                f"--root-ca-file={self.authority.bundle}",
            ],
            "kube-scheduler": [],
        }
        for name, flags in more.items():
            port = self._ports.hold()
            health[name] = f"https://127.0.0.1:{port}/healthz"
            self.add(name, [self._binaries / name, *common, f"--secure-port={port}", *flags]).start()
        self._start_kwok(kubeconfig)
        for number in range(self._nodes):
            self.api.create(NODES, "", _node(f"node-{number}"))
        for name, url in health.items():
            self.programs[name].wait_ready(lambda url=url: answers(url), within_s=_START_S)  # type: ignore[misc]
        self.programs["kwok"].wait_ready(
            lambda: all(holds(node, "Ready") for node in self.api.items(NODES)), within_s=_START_S
        )

    def _start_kwok(self, kubeconfig: Path) -> None:
        source = build.module_folder(KWOK) / "kustomize"
        stages = source / "stage" / "node"
        self.kubectl.crds(source / "crd" / "bases" / "kwok.x-k8s.io_logs.yaml")
        serving = self.authority.server("kwok")
        (port,) = self._ports.free(1)
        files = [
            stages / "fast" / "node-initialize.yaml",
            stages / "heartbeat-with-lease" / "node-heartbeat-with-lease.yaml",
            Path(__file__).parent / "objects" / "pods.yaml",
        ]
        self.add(
            "kwok",
            [
                build.ensure(KWOK) / "kwok",
                f"--kubeconfig={kubeconfig}",
                # A real node may be beside its own: it would overwrite what that one says of its pods.
                "--manage-all-nodes=false",
                "--manage-nodes-with-label-selector=type=kwok",
                "--node-lease-duration-seconds=40",
                "--enable-crds=Logs",
                f"--server-address=127.0.0.1:{port}",
                "--node-ip=127.0.0.1",
                f"--node-port={port}",
                f"--tls-cert-file={serving.certificate}",
                f"--tls-private-key-file={serving.key}",
                *(f"--config={file}" for file in files),
            ],
        ).start()

    # -- programs ---------------------------------------------------------------------------------------------

    def add(
        self,
        name: str,
        argv: Sequence[str | Path],
        *,
        environ: Mapping[str, str] | None = None,
        inherit: Sequence[int] = (),
        within: Callable[[], None] | None = None,
    ) -> Program:
        """A program that ends with this control plane, not started yet. Its log is `<folder>/<name>.log`."""
        program = Program(
            name,
            argv,
            log=self.folder / f"{name}.log",
            environ={**self._environ, **(environ or {})},
            inherit=inherit,
            within=within,
        )
        self.programs[name] = program
        return program

    def hold_port(self) -> int:
        """A port for a program that binds with SO_REUSEPORT; nobody else gets it while the control plane lives."""
        return self._ports.hold()

    def free_ports(self, count: int) -> list[int]:
        """Ports that are free now."""
        return self._ports.free(count)

    @property
    def api_server(self) -> Program:
        """The API server: `kill()` it, then `start_api_server()`; or `with api_server.frozen():`."""
        return self.programs["kube-apiserver"]

    def start_api_server(self) -> None:
        """Start the API server, at the same address each time; returns when it is ready."""
        self.api_server.start()
        self.wait_api_server()

    def restart_api_server(self) -> None:
        """SIGKILL it and start it again."""
        self.api_server.kill()
        self.start_api_server()

    def wait_api_server(self) -> None:
        """Wait until the API server says that it is ready."""

        def ready() -> bool:
            with contextlib.suppress(httpx.HTTPError):
                return self.api.client.get("/readyz").status_code == 200
            return False

        self.api_server.wait_ready(ready, within_s=_START_S)

    # -- users ------------------------------------------------------------------------------------------------

    def token(self, user: str) -> str:
        """The static token of a user of `tests.cluster.users`."""
        return users.token(user)

    def kubeconfig_of(self, user: str) -> Path:
        """The kubeconfig of a user of `tests.cluster.users`."""
        return self.write_kubeconfig(user, {"token": self.token(user)})

    def certificate_kubeconfig(self, user: str, *groups: str, valid_s: float = 86_400.0) -> Path:
        """A kubeconfig with a client certificate that is valid for `valid_s` seconds."""
        pair = self.authority.client(user, groups, valid_s=valid_s)
        return self.write_kubeconfig(
            f"certificate-{user}", {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}
        )

    def write_kubeconfig(
        self, name: str, user: Json, *, server: str = "", namespace: str = "", folder: Path | None = None
    ) -> Path:
        """A kubeconfig with one context of this name; `user` is what stands under `users[].user`, `server` another address."""
        cluster = {"server": server or self.url, "certificate-authority-data": self.authority.bundle_base64}
        return users.write_kubeconfig((folder or self.folder) / f"{name}.kubeconfig", name, user, cluster, namespace)

    def grant(self, namespace: str, user: str = TENANT) -> None:
        """Let a user do everything in one namespace, and nothing elsewhere."""
        self.kubectl.apply(*users.everything_in(namespace, user))

    # -- what was asked of it ---------------------------------------------------------------------------------

    def audit_mark(self) -> int:
        """Where the audit log ends now; `requests` reads from there."""
        return self._audit.mark()

    def requests(self, mark: int = 0, *, user: str = ADMIN) -> list[Request]:
        """What a user asked since `mark`, in the order of the answers. A watch counts when it begins."""
        return self._audit.requests(mark, user)


def answers(url: str) -> bool:
    """Whether a health address on this machine says 200. The certificate is not looked at: it is the program's own."""
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(url, verify=False, trust_env=False, timeout=2.0).status_code == 200
    return False


def missing() -> str:
    """Why no control plane can be started here, "" if one can. Nothing is ever built inside a test, whose time is short."""
    try:
        not_built = [programs.name for programs in ALL if build.built(programs) is None]
    except build.BuildError as problem:
        return str(problem)
    if not_built:
        return f"not built yet: {', '.join(not_built)}; `make test-kubernetes` builds what is missing (20 minutes the first time)"
    if shutil.which("etcd") is None:
        return "etcd is not on the PATH: install Debian's etcd-server (tests/provision/cluster.sh does it as root)"
    return ""


def _binaries() -> Path:
    why = missing()
    if why:
        raise StartError(why)
    return build.ensure(KUBERNETES)


def _node(name: str) -> Json:
    room = {"cpu": "256", "memory": "2Ti", "pods": "2000", "nvidia.com/gpu": "16"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "type": "kwok"}},
        "status": {"allocatable": room, "capacity": room},
    }


__all__ = [
    "ADMIN",
    "CONTROLLERS",
    "NOBODY",
    "READER",
    "TENANT",
    "TESTS",
    "ControlPlane",
    "Request",
    "answers",
    "missing",
]
