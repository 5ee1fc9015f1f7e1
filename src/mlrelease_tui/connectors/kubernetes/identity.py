"""As whom requests are made: what a kubeconfig's user or the connection's own credential says, honoured or refused, never ignored.

Source: the authentication and impersonation pages of the Kubernetes documentation, and client-go where they are silent: a token
file wins over a token, a token over an exec plugin. A way of signing in that fails is an error: a request is never sent
anonymously in its place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote

from mlrelease_tui.connectors.api import Credential, Settings
from mlrelease_tui.connectors.kubernetes.exec_plugin import Issued, Plugin, plugin_of
from mlrelease_tui.connectors.kubernetes.kubeconfig import Context, Named
from mlrelease_tui.domain.secret import Secret
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import ConfigError, CredentialError

_REFUSED: Final = {
    "auth-provider": "auth-provider left Kubernetes with 1.26: use an exec plugin",
    "username": "basic authentication left Kubernetes with 1.19: use a token or a certificate",
    "password": "basic authentication left Kubernetes with 1.19: use a token or a certificate",
}
_EXEC_SOURCE: Final = "exec plugin"
_MARGIN: Final = timedelta(seconds=3)
"""What expires so soon would expire on its way."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a request carries. `certificate` and `key` are what a plugin gave, shown by TLS; `own` says that a credential of the
    connection takes the place of all that the kubeconfig has. Equal grants open the door no second time."""

    token: Secret | None = None
    certificate: bytes = b""
    key: Secret | None = None
    own: bool = False

    def __repr__(self) -> str:
        return f"Grant(token={self.token!r}, certificate={bool(self.certificate)})"

    def headers(self) -> list[tuple[str, str]]:
        return [("Authorization", f"Bearer {self.token.reveal()}")] if self.token is not None else []


class Identity:
    """The user of one context. `source` says for people where the credential comes from."""

    def __init__(self, context: Context, settings: Settings) -> None:
        self._user = context.user
        for key, why in _REFUSED.items():
            if self._user.values.get(key):
                raise ConfigError(f"user of context {SafeText(context.name)} has {key}", hint=why)
        self.impersonation = _impersonation(self._user)
        self._now: Callable[[], datetime] = settings.now
        self._credential, self._renew = settings.credential, settings.renew
        self._plugin = self._plugin_of(context, settings)
        self._issued: Issued | None = None
        self._running: asyncio.Task[Issued] | None = None
        self._own: Credential | None = None
        self.source = self._source()

    def __repr__(self) -> str:
        return f"Identity({self.source})"

    def _plugin_of(self, context: Context, settings: Settings) -> Plugin | None:
        if self._user.values.get("tokenFile") or self._user.values.get("token"):
            return None
        passed = settings.options.get("pass_env", ())
        return plugin_of(context, settings.environ, pass_env=[str(name) for name in passed])

    def _source(self) -> str:
        user = self._user
        if user.values.get("tokenFile"):
            return "token file"
        if user.values.get("token"):
            return "kubeconfig token"
        if self._plugin is not None:
            return _EXEC_SOURCE
        if user.values.get("client-certificate") or user.values.get("client-certificate-data"):
            return "client certificate"
        return "none"

    async def grant(self) -> Grant:
        """What the next request carries. CredentialError where the configured source gives nothing. The token file is read each
        time: the kubelet and others rotate it in place."""
        self._own = await self._credential()
        if self._own is not None:
            self.source = self._own.source
            return Grant(_bearer(self._own), own=True)
        file = self._user.path("tokenFile")
        if file is not None:
            try:
                token = file.read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                why = getattr(error, "strerror", None) or "it is no UTF-8"
                raise CredentialError(
                    f"token file {SafeText(file)} can't be read: {why}", hint="correct the kubeconfig, or wait for it"
                ) from error
            if not token:
                raise CredentialError(f"token file {SafeText(file)} is empty", hint="whoever fills it has not yet")
            return Grant(_carried(token, "the token file"))
        if token := self._user.text("token"):
            return Grant(_carried(token, "the kubeconfig"))
        if self._plugin is not None:
            issued = await self._from_plugin(self._plugin)
            return Grant(issued.token, issued.certificate, issued.key)
        return Grant()

    async def renewed(self, used: Grant) -> Grant | None:
        """Another grant than the one that the server did not accept; None where there is no other."""
        if used.own:
            fresh = await self._renew()
            found = Grant(_bearer(fresh), own=True) if fresh is not None else None
        else:
            if self._issued is not None and (self._issued.token, self._issued.certificate) == (
                used.token,
                used.certificate,
            ):
                self._issued = None
            found = await self.grant()
        return found if found != used else None

    async def _from_plugin(self, plugin: Plugin) -> Issued:
        """What it gave last while that is good, else what it gives now. Of many that ask at once, one runs it, and whoever gives up
        waiting ends it for nobody."""
        issued = self._issued
        if issued is not None and (
            issued.expires_at is None or issued.expires_at - _MARGIN > self._now().astimezone(UTC)
        ):
            return issued
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(plugin.run())
            self._running.add_done_callback(_heard)
        self._issued = await asyncio.shield(self._running)
        return self._issued

    async def close(self) -> None:
        running, self._running = self._running, None
        if running is not None and not running.done():
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def headers(self, grant: Grant) -> list[tuple[str, str]]:
        """Authorization and impersonation. A header may stand more than once."""
        return [*grant.headers(), *self.impersonation]


def _heard(task: asyncio.Task[Issued]) -> None:
    # Whoever waited has it; where nobody did, the next request runs the plugin again.
    if not task.cancelled():
        task.exception()


def _bearer(credential: Credential) -> Secret:
    if credential.scheme != "bearer":
        raise CredentialError(
            "Kubernetes takes no user and password",
            hint="give the connection's `credential` as a bearer token: without `user`",
        )
    return _carried(credential.secret.reveal(), f"the credential from {credential.source}")


def _carried(token: str, where: str) -> Secret:
    if not token or not token.isascii() or not token.isprintable():
        raise CredentialError(
            f"{where} is empty or holds characters that no request can carry",
            hint="it must be one line, the token alone",
        )
    return Secret(token)


def _impersonation(user: Named) -> tuple[tuple[str, str], ...]:
    """As whom we act, where the kubeconfig names another than the credential's owner."""
    name, extra = user.text("as"), user.mapping("as-user-extra")
    groups = user.values.get("as-groups") or []
    if not name:
        if groups or extra or user.values.get("as-uid"):
            raise ConfigError("the kubeconfig impersonates groups without a user", hint="add `as`, or remove the rest")
        return ()
    found = [("Impersonate-User", name)]
    if uid := user.text("as-uid"):
        found.append(("Impersonate-Uid", uid))
    found += [("Impersonate-Group", group) for group in _texts(groups, "as-groups")]
    for key, values in (extra.values if extra else {}).items():
        found += [(f"Impersonate-Extra-{quote(str(key), safe='')}", value) for value in _texts(values, "as-user-extra")]
    return tuple(found)


def _texts(values: object, key: str) -> Sequence[str]:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ConfigError(f"kubeconfig: {key} holds something that is no list of texts", hint="correct the file")
    return values
