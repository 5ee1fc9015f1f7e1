"""The Kubernetes API over HTTP: JSON in, JSON out, exact time-outs, no hidden retries, errors as ours.

Objects stay the dictionaries that the server sent: a fleet of thousands is read without building a model of each.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mlrelease_tui.connectors.kubernetes.answers import Gone, Object, refusal_of
from mlrelease_tui.connectors.kubernetes.identity import Identity, tls_of
from mlrelease_tui.connectors.kubernetes.kubeconfig import Context
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import BackendError, OutcomeUnknown, TimedOut, UnexpectedAnswer, Unreachable

if TYPE_CHECKING:
    import httpx

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_MERGE: Final = "application/strategic-merge-patch+json"
FIELD_MANAGER: Final = "mlrelease"
CONNECT_S: Final = 3.0
PAGE: Final = 500
WATCH_SILENCE_S: Final = 90.0
"""A watch that says nothing for so long is a link that is gone: the server sends a bookmark about every minute."""


@dataclass(frozen=True, slots=True, order=True)
class Resource:
    """A kind as the API addresses it."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def id(self) -> str:
        return f"{self.group}/{self.version}/{self.plural}" if self.group else f"{self.version}/{self.plural}"

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if namespace and self.namespaced else ""
        tail = "".join(f"/{part}" for part in (name, subresource) if part)
        return f"{root}{scope}/{self.plural}{tail}"


@dataclass(frozen=True, slots=True)
class Page:
    """A list and the version of the store that it shows: where a watch goes on."""

    items: tuple[Object, ...]
    resource_version: str


class KubeApi:
    """One cluster as one user. Nothing is imported or opened before the first request."""

    def __init__(self, context: Context, *, timeout_s: float) -> None:
        self.context = context
        self.identity = Identity(context)
        self._timeout_s = timeout_s
        self._client: httpx.AsyncClient | None = None
        self._opening = asyncio.Lock()

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    # --- reading

    async def get(
        self, path: str, params: Mapping[str, str] | None = None, *, accept: str = "application/json"
    ) -> Object:
        return await self._json("GET", path, params or {}, accept=accept)

    async def list(self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = "") -> Page:
        """All objects, page by page. A continuation that expired (410) begins anew, once."""
        try:
            return await self._pages(resource, namespace, labels, fields)
        except Gone:
            return await self._pages(resource, namespace, labels, fields)

    async def _pages(self, resource: Resource, namespace: str, labels: str, fields: str) -> Page:
        params = {"limit": str(PAGE)}
        if labels:
            params["labelSelector"] = labels
        if fields:
            params["fieldSelector"] = fields
        items: list[Object] = []
        while True:
            answer = await self.get(resource.path(namespace), params)
            found = answer.get("items")
            meta = answer.get("metadata") or {}
            if not isinstance(found, list):
                raise UnexpectedAnswer(
                    f"{self._where} lists {resource.plural} without items", hint="is it an API server?"
                )
            items += found
            token = meta.get("continue")
            if not token:
                return Page(tuple(items), str(meta.get("resourceVersion") or ""))
            params["continue"] = str(token)

    async def watch(self, resource: Resource, namespace: str, since: str, *, timeout_s: float) -> AsyncIterator[Object]:
        """Events after `since` until the server ends the watch, by `timeout_s` seconds at the latest. TimedOut where the link went
        silent; Gone where `since` is no longer remembered."""
        params = {
            "watch": "1",
            "resourceVersion": since,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(int(timeout_s)),
        }
        import httpx

        client = await self._opened()
        limits = httpx.Timeout(WATCH_SILENCE_S, connect=CONNECT_S)
        headers = await self.identity.headers()
        url = resource.path(namespace)
        try:
            async with client.stream("GET", url, params=params, headers=headers, timeout=limits) as response:
                if response.status_code != 200:
                    raise refusal_of(
                        self._where, response.status_code, await response.aread(), f"watch {resource.plural}"
                    )
                async for text in response.aiter_lines():
                    if text:
                        yield self._event(text, resource)
        except httpx.TransportError as error:
            raise self._lost(error, f"watch {resource.plural}") from error

    def _event(self, text: str, resource: Resource) -> Object:
        try:
            event = json.loads(text)
        except ValueError as error:
            raise UnexpectedAnswer(f"{self._where} sent a watch event that is no JSON", hint="read again") from error
        if event.get("type") == "ERROR":
            status = event.get("object") or {}
            raise refusal_of(self._where, int(status.get("code") or 500), status, f"watch {resource.plural}")
        return event  # type: ignore[no-any-return]

    # --- writing

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        body: Sequence[Object] | Object,
        *,
        subresource: str = "",
        content_type: str = JSON_PATCH,
        dry_run: bool = False,
    ) -> Object:
        """Send it once. Conflict: a `test` did not hold (`FailedTest`), or somebody was faster. Rejected: validation
        or a webhook said no. OutcomeUnknown: it was sent and nobody can say."""
        params = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        if dry_run:
            params["dryRun"] = "All"
        path = resource.path(namespace, name, subresource)
        asked = f"patch {resource.kind} {namespace}/{name}"
        return await self._write("PATCH", path, params, body, content_type, asked, dry_run=dry_run)

    async def create(self, path: str, body: Object, *, asked: str) -> Object:
        """POST of a question (a SelfSubjectAccessReview): it changes nothing, so it may be asked as a read is."""
        return await self._json("POST", path, {}, body=body, asked=asked)

    async def _write(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        body: object,
        content_type: str,
        asked: str,
        *,
        dry_run: bool,
    ) -> Object:
        import httpx

        client = await self._opened()
        headers = [*await self.identity.headers(), ("Content-Type", content_type), ("Accept", "application/json")]
        content = json.dumps(body, separators=(",", ":")).encode()
        timeout = httpx.Timeout(self._timeout_s, connect=CONNECT_S)
        try:
            response = await client.request(
                method, path, params=params, content=content, headers=headers, timeout=timeout
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise self._lost(error, asked) from error
        except httpx.TransportError as error:
            if dry_run:
                raise self._lost(error, asked) from error
            raise OutcomeUnknown(
                f"{asked}: sent, and {self._where} did not answer", hint="read it again before anything else"
            ) from error
        if response.status_code in {200, 201}:
            return self._parsed(response.content, asked)
        refusal = refusal_of(self._where, response.status_code, response.content, asked, writing=True)
        # A 500 may be a webhook's no (Rejected, nothing was written) or a store that did not answer in time: then nobody can say.
        if isinstance(refusal, UnexpectedAnswer) and response.status_code >= 500 and not dry_run:
            raise OutcomeUnknown(f"{asked}: {refusal.message}", hint="read it again before anything else")
        raise refusal

    # --- beneath

    @property
    def _where(self) -> str:
        return f"context {SafeText(self.context.name)}"

    async def _json(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        *,
        accept: str = "application/json",
        body: object = None,
        asked: str = "",
    ) -> Object:
        import httpx

        client = await self._opened()
        headers = [*await self.identity.headers(), ("Accept", accept)]
        asked = asked or f"read {path}"
        timeout = httpx.Timeout(self._timeout_s, connect=CONNECT_S)
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await client.request(
                    method, path, params=params, json=body, headers=headers, timeout=timeout
                )
        except TimeoutError as error:
            raise TimedOut(
                f"{self._where}: {asked} took more than {self._timeout_s:g} s", hint="it is slow or overloaded"
            ) from error
        except httpx.TransportError as error:
            raise self._lost(error, asked) from error
        if response.status_code in {200, 201}:
            # A list of thousands of objects takes long to parse: not on the thread that answers keys.
            if len(response.content) > 65_536:
                return await asyncio.to_thread(self._parsed, response.content, asked)
            return self._parsed(response.content, asked)
        raise refusal_of(self._where, response.status_code, response.content, asked)

    def _parsed(self, content: bytes, asked: str) -> Object:
        try:
            found = json.loads(content)
        except ValueError as error:
            raise UnexpectedAnswer(
                f"{self._where}: {asked}: the answer is no JSON", hint="is it an API server?"
            ) from error
        if not isinstance(found, dict):
            raise UnexpectedAnswer(f"{self._where}: {asked}: the answer is no object", hint="is it an API server?")
        return found

    def _lost(self, error: httpx.TransportError, asked: str) -> BackendError:
        import httpx

        if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
            return TimedOut(f"{self._where}: {asked} took too long", hint="it is slow, overloaded or cut off")
        return Unreachable(
            f"{self._where} can't be reached at {SafeText(self.context.server)}: {SafeText(error) or type(error).__name__}",
            hint="is the cluster up, and the way to it open?",
        )

    async def _opened(self) -> httpx.AsyncClient:
        if self._client is None:
            async with self._opening:
                if self._client is None:
                    self._client = await asyncio.to_thread(self._open)
        return self._client

    def _open(self) -> httpx.AsyncClient:
        import httpx

        context = self.context
        return httpx.AsyncClient(
            base_url=context.server,
            verify=tls_of(context) if context.server.startswith("https://") else True,
            proxy=context.cluster.text("proxy-url") or None,
            trust_env=False,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=8),
            headers={"User-Agent": FIELD_MANAGER},
        )
