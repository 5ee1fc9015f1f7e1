"""Running the program that a kubeconfig names for a credential (`users[].user.exec`): with pipes, never on the terminal.

Source: "Client authentication" in the Kubernetes documentation (ExecCredential v1 and v1beta1). A program that fails is an error:
no request is sent without the credential that it was to give.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from mlrelease_tui.connectors.kubernetes.kubeconfig import Context, Named, doubts_of
from mlrelease_tui.connectors.kubernetes.objects import table, text, when
from mlrelease_tui.domain.redaction import redact_text
from mlrelease_tui.domain.secret import HiddenMapping, Secret
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import ConfigError, CredentialError
from mlrelease_tui.hardening import scrubbed_environment

DEADLINE_S: Final = 15.0
MAX_OUTPUT: Final = 256 * 1024
_MAX_STDERR: Final = 4096
_LAST_WORDS_S: Final = 0.5
_VERSIONS: Final = tuple(f"client.authentication.k8s.io/{version}" for version in ("v1", "v1beta1"))
_CLOUDS: Final = (
    "AWS_",
    "AZURE_",
    "AAD_",
    "ARM_",
    "GOOGLE_",
    "CLOUDSDK_",
    "GCLOUD_",
    "OCI_",
    "IBMCLOUD_",
    "DIGITALOCEAN_",
)
"""Variables of these programs' own clouds: they hold secrets, and are what the programs sign in with."""


@dataclass(frozen=True, slots=True)
class Issued:
    """What a plugin gave: a token, a client certificate with its key (PEM), or both. `expires_at` is None where it did not say."""

    token: Secret | None = None
    certificate: bytes = field(default=b"", repr=False)
    key: Secret | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Plugin:
    """One program as the kubeconfig describes it. `argv` begins with "" where it is not installed; `called` is for people."""

    argv: tuple[str, ...] = field(repr=False)
    environ: Mapping[str, str] = field(repr=False)
    version: str
    called: str
    install_hint: str = ""

    async def run(self) -> Issued:
        """Ask for a credential. CredentialError where it gives none: what it printed as an error is in the message, made safe."""
        code, stdout, stderr = await self._ended()
        if code:
            said = redact_text(stderr.decode("utf-8", "replace").strip())
            last = SafeText(" · ".join(line.strip() for line in said.splitlines()[-3:] if line.strip()), limit=300)
            raise self._failed(f"ended with {code}" + (f": {last}" if last else ""))
        return self._issued(stdout)

    async def _ended(self) -> tuple[int, bytes, bytes]:
        if not self.argv[0]:
            raise self._failed("is not installed: it is in no folder of PATH")
        loop = asyncio.get_running_loop()
        try:
            transport, said = await loop.subprocess_exec(
                lambda: _Said(loop),
                *self.argv,
                stdin=asyncio.subprocess.DEVNULL,
                env=dict(self.environ),
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise self._failed(f"can't be started: {why}") from error
        try:
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.wait({said.exited, said.flooded}, return_when=asyncio.FIRST_COMPLETED)
            # What it left running may hold the pipes for ever: what is said by then is all that is heard.
            await asyncio.wait({said.silent, said.flooded}, timeout=_LAST_WORDS_S, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError as error:
            raise self._failed(f"gave nothing within {DEADLINE_S:g} s; it may ask for something") from error
        finally:
            if transport.get_returncode() is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(transport.get_pid(), signal.SIGKILL)
            transport.close()
        if said.flooded.done():
            raise self._failed(f"wrote more than {MAX_OUTPUT // 1024} KiB")
        return transport.get_returncode() or 0, bytes(said.stdout), bytes(said.stderr)

    def _issued(self, stdout: bytes) -> Issued:
        try:
            answer = json.loads(stdout)
        except ValueError:
            raise self._failed("gave no JSON") from None
        if not isinstance(answer, dict) or answer.get("kind") != "ExecCredential":
            raise self._failed("gave no ExecCredential")
        if answer.get("apiVersion") != self.version:
            raise self._failed(f"speaks {SafeText(answer.get('apiVersion'), limit=80)}, not {self.version}")
        status = table(answer, "status")
        token, certificate, key = (text(status, name) for name in ("token", "clientCertificateData", "clientKeyData"))
        if bool(certificate) != bool(key):
            raise self._failed("gave a client certificate without its key, or a key alone")
        if not token and not certificate:
            raise self._failed("gave neither a token nor a certificate")
        if token and not (token.isascii() and token.isprintable() and " " not in token):
            raise self._failed("gave a token with characters that no request can carry")
        said = status.get("expirationTimestamp")
        expires_at = when(said)
        if said is not None and expires_at is None:
            raise self._failed("gave a time of expiry that is none")
        return Issued(Secret(token) if token else None, certificate.encode(), Secret(key) if key else None, expires_at)

    def _failed(self, why: str) -> CredentialError:
        hint = SafeText(self.install_hint.strip(), limit=300) if self.install_hint else ""
        return CredentialError(
            f"login needed: the exec plugin {self.called} {why}",
            hint=hint
            or "log in with it in a shell; a variable that it needs and that holds a secret is named in `pass_env`",
        )


class _Said(asyncio.SubprocessProtocol):
    """What a program printed: its output up to the limit, the end of its errors, and the moments that matter."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.stdout, self.stderr = bytearray(), bytearray()
        self.exited, self.silent, self.flooded = (loop.create_future() for _ in range(3))
        self._open = {1, 2}

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd == 1:
            self.stdout += data[: MAX_OUTPUT - len(self.stdout)]
            _reached(self.flooded, len(self.stdout) >= MAX_OUTPUT)
        else:
            self.stderr += data
            del self.stderr[:-_MAX_STDERR]

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._open.discard(fd)
        _reached(self.silent, not self._open)

    def process_exited(self) -> None:
        _reached(self.exited, True)


def _reached(moment: asyncio.Future[None], so: bool) -> None:
    if so and not moment.done():
        moment.set_result(None)


def plugin_of(context: Context, environ: Mapping[str, str], *, pass_env: Sequence[str] = ()) -> Plugin | None:
    """The plugin of a context's user, None where it has none. ConfigError where it may not or can't be run as it is described."""
    entry = context.user.mapping("exec")
    if entry is None:
        if context.user.values.get("exec"):
            raise _wrong(context, "has an `exec` that is no table")
        return None
    doubt = doubts_of(entry.file) if entry.file is not None else ""
    if doubt:
        raise ConfigError(
            f"context {SafeText(context.name)} runs a program, and {SafeText(entry.file)}, which names it, {doubt}",
            hint="make the file yours alone: chmod go-w",
        )
    version = entry.text("apiVersion")
    if version not in _VERSIONS:
        raise _wrong(
            context, f"has an exec plugin of {SafeText(version) or 'no apiVersion'}: there are {', '.join(_VERSIONS)}"
        )
    if entry.text("interactiveMode") == "Always":
        raise _wrong(context, "has an exec plugin that must ask on the terminal (interactiveMode: Always)")
    own = _own_environment(context, entry)
    inherited = scrubbed_environment(
        environ, keep={name for name in environ if name.startswith(_CLOUDS) or name in pass_env}
    )
    info = json.dumps({"apiVersion": version, "kind": "ExecCredential", "spec": _spec(context, entry)})
    whole = HiddenMapping({**inherited, **own, "KUBERNETES_EXEC_INFO": info})
    command = entry.text("command")
    arguments = entry.values.get("args") or []
    if not isinstance(arguments, list) or not all(isinstance(item, str) for item in arguments):
        raise _wrong(context, "has exec arguments that are no list of texts")
    argv = (_found(context, command, entry.folder, whole), *arguments)
    called = f"{SafeText(Path(command).name, limit=80)} of context {SafeText(context.name)}"
    return Plugin(argv, whole, version, called, entry.text("installHint"))


def _own_environment(context: Context, entry: Named) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in entry.values.get("env") or ():
        if not isinstance(item, Mapping) or not isinstance(item.get("name"), str) or "value" not in item:
            raise _wrong(context, "has an exec environment with an entry that is no name and value")
        found[item["name"]] = str(item["value"])
    return found


def _spec(context: Context, entry: Named) -> dict[str, Any]:
    """What the plugin is told: that nobody can be asked and, where it wants to know, which cluster it is for."""
    spec: dict[str, Any] = {"interactive": False}
    if entry.values.get("provideClusterInfo") is True:
        given = context.cluster
        names = ("server", "tls-server-name", "insecure-skip-tls-verify", "certificate-authority-data", "proxy-url")
        spec["cluster"] = {name: given.values[name] for name in names if given.values.get(name)}
        for extension in given.values.get("extensions") or ():
            if text(extension, "name") == "client.authentication.k8s.io/exec":
                spec["cluster"]["config"] = extension.get("extension")
    return spec


def _found(context: Context, command: str, folder: Path, environ: Mapping[str, str]) -> str:
    """The program's absolute path, "" where there is none: a name is looked for in the absolute folders of PATH, a path begins at
    the kubeconfig's folder."""
    if not command:
        raise _wrong(context, "has an exec plugin without a command")
    if "/" in command:
        return str((folder / Path(command).expanduser()).absolute())
    folders = [place for place in environ.get("PATH", os.defpath).split(os.pathsep) if Path(place).is_absolute()]
    return shutil.which(command, path=os.pathsep.join(folders)) or ""


def _wrong(context: Context, why: str) -> ConfigError:
    return ConfigError(f"the user of context {SafeText(context.name)} {why}", hint="correct the kubeconfig")
