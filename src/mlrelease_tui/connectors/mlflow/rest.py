"""A tracking server over HTTP: MLflow's REST API, version 2.0, called without the `mlflow` package."""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import quote

from mlrelease_tui.connectors import _network
from mlrelease_tui.connectors.api import Credential
from mlrelease_tui.connectors.mlflow import alias as aliasing
from mlrelease_tui.connectors.mlflow import answers
from mlrelease_tui.connectors.mlflow.registry import Deadline, Greeting, Payload
from mlrelease_tui.connectors.mlflow.transport import Transport
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import ReleaseError

API: Final = "/api/2.0/mlflow"
LARGE: Final = 512 * 1024
"""From this many bytes on an answer takes so long to read that a key would wait for it: it is read in a thread."""
_SET_ALIAS: Final = f"{API}/registered-models/alias"
_SET_TAG: Final = f"{API}/registered-models/set-tag"


class RestRegistry:
    """The registry of a tracking server. `warnings` are facts about the link, told by `greet`."""

    def __init__(self, transport: Transport, *, warnings: tuple[str, ...] = ()) -> None:
        self._transport = transport
        self._warnings = warnings

    @property
    def address(self) -> str:
        return _network.without_userinfo(self._transport.url)

    @property
    def credential(self) -> Credential | None:
        return self._transport.credential

    async def ready(self) -> None:
        await self._transport.open()

    async def greet(self, deadline: Deadline) -> Greeting:
        search, one = f"{API}/registered-models/search", {"max_results": "1"}
        loop = asyncio.get_running_loop()
        started = loop.time()
        known = await self._transport.read("a look at the registry", search, one, deadline)
        answers.json_object(known)
        latency = loop.time() - started
        stranger, version, user = await asyncio.gather(
            self._transport.read("a look without credential", search, one, deadline, anonymous=True),
            self._transport.read("its version", "/version", {}, deadline),
            self._transport.read("who we are", f"{API}/users/current", {}, deadline),
            return_exceptions=True,
        )
        return Greeting(
            latency_s=latency,
            version=_version(version),
            identity=_identity(user),
            anonymous=isinstance(stranger, answers.Answer) and stranger.status == 200,
            warnings=self._warnings,
        )

    async def search_models(self, filter_string: str, limit: int, token: str, deadline: Deadline) -> Payload:
        query = {"max_results": str(limit), "order_by": "name ASC"}
        if filter_string:
            query["filter"] = filter_string
        if token:
            query["page_token"] = token
        return await self._get("the list of models", "/registered-models/search", query, deadline)

    async def get_model(self, name: str, deadline: Deadline) -> Payload:
        return await self._get(f"model {SafeText(name)}", "/registered-models/get", {"name": name}, deadline)

    async def search_versions(self, filter_string: str, limit: int, deadline: Deadline) -> Payload:
        query = {"filter": filter_string, "max_results": str(limit), "order_by": "version_number DESC"}
        return await self._get("the list of versions", "/model-versions/search", query, deadline)

    async def get_version(self, name: str, version: str, deadline: Deadline) -> Payload:
        asked = f"version {SafeText(version)} of {SafeText(name)}"
        return await self._get(asked, "/model-versions/get", {"name": name, "version": version}, deadline)

    async def get_run(self, run_id: str, deadline: Deadline) -> Payload:
        return await self._get(f"run {SafeText(run_id)}", "/runs/get", {"run_id": run_id}, deadline)

    async def get_logged_model(self, model_id: str, deadline: Deadline) -> Payload:
        return await self._get(
            f"logged model {SafeText(model_id)}", f"/logged-models/{quote(model_id, safe='')}", {}, deadline
        )

    async def get_artifact_text(self, name: str, version: str, path: str, deadline: Deadline) -> str:
        query = {"name": name, "version": version, "path": path}
        asked = f"file {SafeText(path)} of {SafeText(name)} {SafeText(version)}"
        return answers.text(await self._transport.read(asked, "/model-versions/get-artifact", query, deadline))

    async def set_alias(self, name: str, alias: str, version: str, intent_id: str, deadline: Deadline) -> None:
        body = {"name": name, "alias": alias, "version": version}
        asked = f"moving alias {SafeText(alias)} of {SafeText(name)} to {SafeText(version)}"
        answers.accepted(await self._transport.write(asked, _SET_ALIAS, body, intent_id, deadline))

    async def set_model_tag(self, name: str, key: str, value: str, intent_id: str, deadline: Deadline) -> None:
        body = {"name": name, "key": key, "value": value}
        asked = f"tag {SafeText(key)} of {SafeText(name)}"
        answers.accepted(await self._transport.write(asked, _SET_TAG, body, intent_id, deadline))

    def shell_of_alias(self, name: str, alias: str, version: str) -> str:
        return aliasing.curl(_SET_ALIAS, aliasing.body_text(name, alias, version))

    def call_of_alias(self, name: str, alias: str, version: str) -> str:
        return f"POST {_SET_ALIAS} {aliasing.body_text(name, alias, version)}"

    async def close(self) -> None:
        await self._transport.close()

    async def _get(self, asked: str, path: str, query: dict[str, str], deadline: Deadline) -> Payload:
        answer = await self._transport.read(asked, API + path, query, deadline)
        if len(answer.body) > LARGE:
            return await asyncio.to_thread(answers.json_object, answer)
        return answers.json_object(answer)


def _version(answer: answers.Answer | BaseException) -> str:
    """The text of `/version`; a server that answers a page there is of another version, or no MLflow."""
    if not isinstance(answer, answers.Answer) or answer.status != 200 or len(answer.body) > 40:
        return ""
    return answer.body.decode("utf-8", errors="replace").strip()


def _identity(answer: answers.Answer | BaseException) -> str:
    """The user's name, where the server has MLflow's own basic authentication and is new enough to say it."""
    if not isinstance(answer, answers.Answer):
        return ""
    try:
        content = answers.json_object(answer)
    except ReleaseError:
        return ""
    user = content.get("user")
    name = (user if isinstance(user, dict) else content).get("username")
    return name if isinstance(name, str) else ""
