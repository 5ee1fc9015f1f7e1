"""The Kubernetes API over HTTP: JSON in, JSON out, exact time-outs, no hidden retries, errors as ours.

Objects stay the dictionaries that the server sent: a fleet of thousands is read without building a model of each.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from mlrelease_tui.connectors.api import Settings
from mlrelease_tui.connectors.kubernetes.answers import Gone, Object, refusal_of
from mlrelease_tui.connectors.kubernetes.kubeconfig import Context
from mlrelease_tui.connectors.kubernetes.link import CONNECT_S, FIELD_MANAGER, Link
from mlrelease_tui.connectors.kubernetes.listing import Page, Raw, decoded, event_of, page_of
from mlrelease_tui.errors import (
    OutcomeUnknown,
    ReleaseError,
    TimedOut,
    Unauthenticated,
    UnexpectedAnswer,
)

if TYPE_CHECKING:
    import httpx

    from mlrelease_tui.connectors.kubernetes.identity import Grant, Identity

__all__ = ["FIELD_MANAGER", "JSON_PATCH", "MERGE_PATCH", "STRATEGIC_MERGE", "KubeApi", "Page", "Raw", "Resource"]

JSON_PATCH: Final = "application/json-patch+json"
MERGE_PATCH: Final = "application/merge-patch+json"
STRATEGIC_MERGE: Final = "application/strategic-merge-patch+json"
PAGE: Final = 250
"""Objects to a page: about a megabyte, parsed in ten milliseconds, during which nothing else of the program runs."""
_AT_ONCE: Final = 8
_IN_THREAD: Final = 65_536
WATCH_SILENCE_S: Final = 90.0
"""A watch that says nothing for so long may have lost its link: a server whose store tells of progress (kubeadm's does so each
5 s) sends a bookmark about every minute."""


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


@dataclass(slots=True)
class _Mark:
    """Whether a request's first byte may have left: httpcore tells before it writes the header."""

    sent: bool = False

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        request = info.get("request")
        if event.endswith("send_request_headers.started") and getattr(request, "method", b"") != b"CONNECT":
            self.sent = True


@dataclass(slots=True)
class Traffic:
    """Requests that were sent, for whoever counts them: watches once, when they begin."""

    requests: int = 0
    bytes_read: int = field(default=0)


class KubeApi:
    """One cluster as one user. Nothing is imported or opened before the first request."""

    def __init__(self, context: Context, settings: Settings) -> None:
        self.context = context
        self.traffic = Traffic()
        self._link = Link(context, settings)
        self._timeout_s = settings.timeout_s
        self._turn = asyncio.Semaphore(_AT_ONCE)

    @property
    def identity(self) -> Identity:
        return self._link.identity

    async def close(self) -> None:
        await self._link.close()

    # --- reading

    async def get(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        *,
        accept: str = "application/json",
        timeout_s: float | None = None,
    ) -> Object:
        content = await self._read("GET", path, params or {}, accept=accept, timeout_s=timeout_s)
        return await self._object(content, f"read {path}")

    async def list(self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = "") -> Page:
        """All objects, page by page. A continuation that expired (410) begins anew, once."""
        for attempt in (1, 2):
            items: list[Object] = []
            try:
                async for page in self.pages(resource, namespace, labels=labels, fields=fields):
                    items += [decoded(item) for item in page.items]
                    if page.last:
                        return Page(tuple(items), page.resource_version)
            except Gone:
                if attempt == 2:
                    raise
        raise UnexpectedAnswer(f"{self.where} ends a list without its end", hint="read again")

    async def pages(
        self, resource: Resource, namespace: str = "", *, labels: str = "", fields: str = ""
    ) -> AsyncIterator[Raw]:
        """The list as its pages come. Gone where it took so long that the rest is no longer remembered."""
        params = {"limit": str(PAGE)}
        if labels:
            params["labelSelector"] = labels
        if fields:
            params["fieldSelector"] = fields
        while True:
            content = await self._read("GET", resource.path(namespace), params, asked=f"list {resource.plural}")
            page, token = page_of(content, self.where, resource.plural)
            yield page
            if not token:
                return
            params["continue"] = token

    async def watch(
        self, resource: Resource, namespace: str, since: str, *, timeout_s: float
    ) -> AsyncIterator[Object | None]:
        """None once the server watches, then events after `since` until the server ends it, by `timeout_s` seconds at the latest.
        TimedOut where the link went silent; Gone where `since` is no longer remembered."""
        params = {
            "watch": "1",
            "resourceVersion": since,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(int(timeout_s)),
        }
        import httpx

        asked = f"watch {resource.plural}"
        try:
            async with self._streamed(resource.path(namespace), params, asked) as response:
                yield None
                async for text in response.aiter_lines():
                    if text:
                        yield event_of(text, self.where, resource.plural)
        except (httpx.TransportError, TimeoutError) as error:
            raise await self._lost(error, asked) from error

    async def stream(self, path: str, params: Mapping[str, str], *, asked: str) -> AsyncIterator[bytes]:
        """The body of an answer as it comes, which may be never: whoever reads it has a deadline of his own."""
        import httpx

        try:
            async with self._streamed(path, params, asked) as response:
                async for chunk in response.aiter_bytes():
                    yield chunk
        except (httpx.TransportError, TimeoutError) as error:
            raise await self._lost(error, asked) from error

    @asynccontextmanager
    async def _streamed(self, path: str, params: Mapping[str, str], asked: str) -> AsyncIterator[httpx.Response]:
        """An answer that goes on. A grant that is not accepted is renewed, once."""
        import httpx

        limits = httpx.Timeout(WATCH_SILENCE_S, connect=CONNECT_S)
        grant = await self.identity.grant()
        for attempt in (1, 2):
            client = await self._link.client(grant)
            self.traffic.requests += 1
            request = client.build_request(
                "GET", path, params=params, headers=self.identity.headers(grant), timeout=limits
            )
            async with asyncio.timeout(self._timeout_s):
                response = await client.send(request, stream=True)
            try:
                if response.status_code == 200:
                    yield response
                    return
                async with asyncio.timeout(self._timeout_s):
                    refusal = self._refusal(response, await response.aread(), asked)
            finally:
                await response.aclose()
            fresh = (
                await self.identity.renewed(grant) if isinstance(refusal, Unauthenticated) and attempt == 1 else None
            )
            if fresh is None:
                raise refusal
            grant = fresh

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
        asked = f"patch {resource.kind} {namespace}/{name}"
        path = resource.path(namespace, name, subresource)
        return await self.write("PATCH", path, body, content_type=content_type, asked=asked, dry_run=dry_run)

    async def create(self, path: str, body: Object, *, asked: str) -> Object:
        """POST of a question (a SelfSubjectAccessReview): it changes nothing, so it may be asked as a read is."""
        return await self._object(await self._read("POST", path, {}, body=body, asked=asked), asked)

    async def write(
        self,
        method: str,
        path: str,
        body: object,
        *,
        asked: str,
        content_type: str = "application/json",
        dry_run: bool = False,
    ) -> Object:
        """One request that changes something, sent once whatever comes; errors as `patch`."""
        import httpx

        params = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        if dry_run:
            params["dryRun"] = "All"
        grant = await self.identity.grant()
        client = await self._link.client(grant)
        mark = _Mark()
        request = client.build_request(
            method,
            path,
            params=params,
            content=json.dumps(body, separators=(",", ":")).encode(),
            headers=[*self.identity.headers(grant), ("Content-Type", content_type), ("Accept", "application/json")],
            timeout=httpx.Timeout(self._timeout_s, connect=CONNECT_S),
            extensions={"trace": mark.trace},
        )
        self.traffic.requests += 1
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await client.send(request)
        except (httpx.TransportError, TimeoutError) as error:
            if dry_run or not mark.sent:
                raise await self._lost(error, asked) from error
            raise OutcomeUnknown(
                f"{asked}: sent, and {self.where} did not answer", hint="read it again before anything else"
            ) from error
        if response.status_code in {200, 201}:
            return await self._object(response.content, asked)
        refusal = self._refusal(response, response.content, asked, writing=True)
        # A 500 may be a webhook's no (Rejected, nothing was written) or a store that did not answer in time: then nobody can say.
        if isinstance(refusal, UnexpectedAnswer) and response.status_code >= 500 and not dry_run:
            raise OutcomeUnknown(f"{asked}: {refusal.message}", hint="read it again before anything else")
        raise refusal

    # --- beneath

    @property
    def where(self) -> str:
        return self._link.where

    async def _read(
        self,
        method: str,
        path: str,
        params: Mapping[str, str],
        *,
        accept: str = "application/json",
        body: object = None,
        asked: str = "",
        timeout_s: float | None = None,
    ) -> bytes:
        """The body of a 200. A grant that is not accepted is renewed, once; the deadline covers all of it."""
        asked = asked or f"read {path}"
        limit = self._timeout_s if timeout_s is None else min(timeout_s, self._timeout_s)
        grant = await self.identity.grant()
        for attempt in (1, 2):
            response, content = await self._sent(grant, method, path, params, accept, body, asked, limit)
            if response.status_code in {200, 201}:
                self.traffic.bytes_read += response.num_bytes_downloaded
                return content
            refusal = self._refusal(response, content, asked)
            fresh = (
                await self.identity.renewed(grant) if isinstance(refusal, Unauthenticated) and attempt == 1 else None
            )
            if fresh is None:
                raise refusal
            grant = fresh
        raise Unauthenticated(f"{self.where}: {asked}: no credential is accepted", hint="log in anew")

    async def _sent(
        self,
        grant: Grant,
        method: str,
        path: str,
        params: Mapping[str, str],
        accept: str,
        body: object,
        asked: str,
        limit: float,
    ) -> tuple[httpx.Response, bytes]:
        import httpx

        client = await self._link.client(grant)
        request = client.build_request(
            method,
            path,
            params=params,
            json=body,
            headers=[*self.identity.headers(grant), ("Accept", accept)],
            timeout=httpx.Timeout(limit, connect=CONNECT_S),
        )
        async with self._turn:
            self.traffic.requests += 1
            try:
                async with asyncio.timeout(limit):
                    response = await client.send(request, stream=True)
                    try:
                        # Not kept by the response: that is part of a circle and stays until the collector comes by.
                        return response, b"".join([chunk async for chunk in response.aiter_bytes()])
                    finally:
                        await response.aclose()
            except (httpx.TransportError, TimeoutError) as error:
                raise await self._lost(error, asked) from error

    async def _lost(self, error: Exception, asked: str) -> ReleaseError:
        import httpx

        if isinstance(error, httpx.TransportError):
            return await self._link.lost(error, asked)
        return TimedOut(
            f"{self.where}: {asked} took more than {self._timeout_s:g} s", hint="it is slow, overloaded or cut off"
        )

    def _refusal(self, response: httpx.Response, content: bytes, asked: str, *, writing: bool = False) -> ReleaseError:
        return refusal_of(
            self.where,
            response.status_code,
            content,
            asked,
            writing=writing,
            retry_after=response.headers.get("retry-after", ""),
        )

    async def _object(self, content: bytes, asked: str) -> Object:
        # What is large takes long to parse: not on the thread that answers keys.
        if len(content) > _IN_THREAD:
            return await asyncio.to_thread(self._parsed, content, asked)
        return self._parsed(content, asked)

    def _parsed(self, content: bytes, asked: str) -> Object:
        import msgspec

        try:
            found = msgspec.json.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise UnexpectedAnswer(
                f"{self.where}: {asked}: the answer is no JSON", hint="is it an API server?"
            ) from error
        if not isinstance(found, dict):
            raise UnexpectedAnswer(f"{self.where}: {asked}: the answer is no object", hint="is it an API server?")
        return found
