"""Whose cluster it is and as whom we are there: asked at the start, asked again now and then, and before each write.

A cluster's name is the uid of its namespace kube-system; whoever may not read that namespace has its own one's. An address that
leads to another cluster than at the start is refused, and so is a server that takes us for nobody.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from mlrelease_tui.connectors.kubernetes.api import KubeApi
from mlrelease_tui.connectors.kubernetes.objects import text
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Conflict, Forbidden, NotFound, Unauthenticated, UnexpectedAnswer

_WHO: Final = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_SYSTEM: Final = "kube-system"
_ANONYMOUS: Final = "system:anonymous"
_ASKED_S: Final = 300.0
"""Seconds after which the server's version and our name there are asked again."""
PULSE_TIMEOUT_S: Final = 5.0


class OtherCluster(UnexpectedAnswer):
    """The address leads to another cluster than it did."""

    code = "other_cluster"


class Session:
    """What is known of one cluster and of us in it. `pinned` is the uid that configuration names, "" for none."""

    def __init__(
        self, api: KubeApi, home: str, pinned: str = "", monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._api = api
        self._monotonic = monotonic
        self._pinned = pinned
        self._places = [_SYSTEM, home] if home != _SYSTEM else [_SYSTEM]
        self._asked_s = float("-inf")
        self._credential = ""
        self.uid = ""
        self.version = ""
        self.user = ""

    async def look(self) -> None:
        """Ask which cluster it is and, where that was long ago, who we are. Raises what is wrong with it."""
        await self._cluster(None)
        if self._monotonic() - self._asked_s < _ASKED_S and self._credential == self._api.identity.source:
            return
        self.version = text(await self._api.get("/version"), "gitVersion")
        self.user = await self._who()
        self._asked_s, self._credential = self._monotonic(), self._api.identity.source

    def forget(self) -> None:
        """Ask for our name anew the next time."""
        self._asked_s = float("-inf")

    async def pulse(self) -> None:
        """The least that shows that the server answers, knows us, and is the one that it was: one small request."""
        await self._cluster(PULSE_TIMEOUT_S)

    async def same_cluster(self) -> None:
        """Before a write. Conflict where the address leads elsewhere; what the question met otherwise. Nothing was sent."""
        try:
            await self._cluster(None)
        except OtherCluster as other:
            raise Conflict(f"{other.message}: nothing was written", hint=other.hint) from other
        if self._pinned and self._places[:1] != [_SYSTEM]:
            raise Conflict(
                f"{self._api.where}: nothing was written, since we can't tell whether it is the cluster {SafeText(self._pinned)}",
                hint=f"ask for the right to get the namespace {_SYSTEM}, or remove `cluster_uid`",
            )

    def notes(self) -> tuple[str, ...]:
        """What a person should know of it."""
        if not self._places:
            return ("the cluster has no name that we may read: that it stays the same one can't be checked",)
        return ()

    async def _who(self) -> str:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = await self._api.create(_WHO, body, asked="who we are")
        user = text(answer, "status", "userInfo", "username")
        if user == _ANONYMOUS:
            raise Unauthenticated(
                f"{self._api.where} takes us for nobody ({_ANONYMOUS})", hint="give the kubeconfig's user a credential"
            )
        return user

    async def _cluster(self, timeout_s: float | None) -> None:
        """Compare the cluster's name with the one that we know; without a name that we may read, that it answers is all."""
        while self._places:
            try:
                answer = await self._api.get(f"/api/v1/namespaces/{self._places[0]}", timeout_s=timeout_s)
            except (Forbidden, NotFound):
                if self.uid:
                    # It was there and could be read: that it can't be now says nothing of which cluster it is.
                    return
                self._places.pop(0)
                continue
            found = text(answer, "metadata", "uid")
            if not found:
                raise UnexpectedAnswer(
                    f"{self._api.where}: what answers is no API server: a namespace without a uid",
                    hint="is it its address?",
                )
            expected = self.uid or (self._pinned if self._places[0] == _SYSTEM else "")
            if expected and found != expected:
                raise OtherCluster(
                    f"{self._api.where} leads to another cluster ({SafeText(found)[:8]}) than before ({expected[:8]})",
                    hint="correct the kubeconfig; start anew if it is meant to be the other one",
                )
            self.uid = found
            return
        await self._api.get("/version", timeout_s=timeout_s)
