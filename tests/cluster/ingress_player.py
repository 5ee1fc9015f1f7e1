"""`python ingress_player.py URL CA_FILE TOKEN_FILE CLASS`: say of each Knative ingress of a class that it is ready.

Knative Serving leaves routing to an ingress implementation. This one routes nothing: it writes the status that its controller would
write and that a Service needs to be Ready. Only the standard library, so that it starts fast.
"""

from __future__ import annotations

import json
import ssl
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

_PATH: Final = "/apis/networking.internal.knative.dev/v1alpha1"
_CLASS: Final = "networking.knative.dev/ingress.class"
_CONDITIONS: Final = ("LoadBalancerReady", "NetworkConfigured", "Ready")
_BALANCER: Final = {"ingress": [{"domainInternal": "gateway.istio-system.svc.cluster.local"}]}
_WATCH_S: Final = 300
_PAUSE_S: Final = 0.5

Json = dict[str, Any]


class Player:
    """Watches all ingresses, and answers each new generation with a status."""

    def __init__(self, url: str, ca_file: str, token: str, ingress_class: str) -> None:
        self._url = url
        self._context = ssl.create_default_context(cafile=ca_file)
        self._headers = {"Authorization": f"Bearer {token}", "User-Agent": "ingress-player"}
        self._class = ingress_class

    def play(self) -> None:
        """For ever; a server that is away is asked again."""
        while True:
            try:
                self._round()
            except (OSError, ValueError) as problem:
                print(f"again after: {problem}", flush=True)
                time.sleep(_PAUSE_S)

    def _round(self) -> None:
        with self._open(f"{_PATH}/ingresses") as answer:
            found: Json = json.load(answer)
        for item in found["items"]:
            self._answer(item)
        version = found["metadata"]["resourceVersion"]
        query = f"watch=1&resourceVersion={version}&timeoutSeconds={_WATCH_S}"
        with self._open(f"{_PATH}/ingresses?{query}", timeout=_WATCH_S + 10) as lines:
            for line in lines:
                event: Json = json.loads(line)
                if event["type"] in ("ADDED", "MODIFIED"):
                    self._answer(event["object"])
                elif event["type"] == "ERROR":
                    return

    def _answer(self, item: Json) -> None:
        meta = item["metadata"]
        ours = meta.get("annotations", {}).get(_CLASS) == self._class
        seen = item.get("status", {}).get("observedGeneration")
        if not ours or seen == meta["generation"] or "deletionTimestamp" in meta:
            return
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        status = {
            "observedGeneration": meta["generation"],
            "conditions": [{"type": kind, "status": "True", "lastTransitionTime": now} for kind in _CONDITIONS],
            "publicLoadBalancer": _BALANCER,
            "privateLoadBalancer": _BALANCER,
        }
        path = f"{_PATH}/namespaces/{meta['namespace']}/ingresses/{meta['name']}/status"
        try:
            self._open(path, body={"status": status}).close()
        except urllib.error.HTTPError as problem:
            if problem.code not in (404, 409):
                raise

    def _open(self, path: str, *, body: Json | None = None, timeout: float = 30.0) -> Any:
        request = urllib.request.Request(
            self._url + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={**self._headers, **({} if body is None else {"Content-Type": "application/merge-patch+json"})},
            method="GET" if body is None else "PATCH",
        )
        return urllib.request.urlopen(request, timeout=timeout, context=self._context)


if __name__ == "__main__":
    Player(sys.argv[1], sys.argv[2], Path(sys.argv[3]).read_text(encoding="utf-8"), sys.argv[4]).play()
