"""An admission webhook of the tests: a small HTTPS server in this process that the API server asks before it writes."""

from __future__ import annotations

import base64
import contextlib
import json
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, Final

from tests.cluster.api import ApiError, Json, Kind, wait_for
from tests.cluster.control_plane import ControlPlane
from tests.cluster.kserve import MUTATING, VALIDATING

HOOK: Final = "guard.mlrelease.test"
Judge = Callable[[Json], Json]
"""Takes the `request` of an AdmissionReview, gives its `response` less the uid."""


def allowed(request: Json) -> Json:
    return {"allowed": True}


def denied(words: str, *, dry_runs: bool = True, code: int = 403) -> Judge:
    """Says no in these words; to dry runs too, unless told otherwise."""

    def judge(request: Json) -> Json:
        if request.get("dryRun") and not dry_runs:
            return allowed(request)
        return {"allowed": False, "status": {"message": words, "code": code}}

    return judge


def patched(*ops: Json) -> Judge:
    """Lets it through with a JSON Patch of its own."""
    patch = base64.b64encode(json.dumps(list(ops)).encode()).decode()
    return lambda request: {"allowed": True, "patchType": "JSONPatch", "patch": patch}


@dataclass
class Admission:
    """The webhook, asked for one kind in one namespace. Its words are `judge`'s, which may be set anew at any time."""

    control_plane: ControlPlane
    namespace: str
    group: str
    plural: str
    judge: Judge = allowed
    asked: list[Json] = field(default_factory=list)
    """The requests so far, the last one last."""

    @contextlib.contextmanager
    def running(self, *, mutating: bool = False) -> Iterator[Admission]:
        """Registered and in force, with failurePolicy Fail."""
        server = self._server()
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        kind = MUTATING if mutating else VALIDATING
        called = f"tests-{self.namespace}"
        rules = [{
            "apiGroups": [self.group], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"],
            "resources": [self.plural], "scope": "Namespaced",
        }]  # fmt: skip
        hook = {
            "name": HOOK,
            "clientConfig": {
                "url": f"https://127.0.0.1:{server.server_address[1]}/review",
                "caBundle": self.control_plane.authority.bundle_base64,
            },
            "rules": rules,
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": self.namespace}},
            "failurePolicy": "Fail",
            "sideEffects": "None",
            "timeoutSeconds": 3,
            "admissionReviewVersions": ["v1"],
        }
        api = self.control_plane.api
        api.create(kind, "", {"metadata": {"name": called}, "webhooks": [hook]})
        try:
            yield self
        finally:
            api.delete(kind, "", called)
            server.shutdown()
            server.server_close()
            thread.join()

    def wait_in_force(self, kind: Kind, name: str) -> None:
        """Wait until the server asks: it learns of a webhook a moment after that was made."""

        def look() -> bool:
            note = {"metadata": {"annotations": {"tests/asked": "1"}}}
            path, merge = kind.path(self.namespace, name), "application/merge-patch+json"
            try:
                self.control_plane.api.call("PATCH", path, note, content_type=merge, dryRun="All")
            except ApiError as no:
                return HOOK in no.body
            return bool(self.asked)

        wait_for(look)

    def _server(self) -> ThreadingHTTPServer:
        admission = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                review: dict[str, Any] = json.loads(self.rfile.read(length))
                request = review["request"]
                admission.asked.append(request)
                review["response"] = {"uid": request["uid"], **admission.judge(request)}
                del review["request"]
                body = json.dumps(review).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                return

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        pair = self.control_plane.authority.server(f"webhook-{self.namespace}")
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(pair.certificate, pair.key)
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        return server
