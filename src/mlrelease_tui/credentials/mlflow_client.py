"""Credentials where MLflow's own client finds them, for connections that name none.

Facts, read in mlflow 3.17 (`utils/credentials.py`, `utils/rest_utils.py`): user and password come from
`MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`, each falling back on the key of the same name in the section `[mlflow]`
of `~/.mlflow/credentials`; with both it sends basic, else with `MLFLOW_TRACKING_TOKEN` bearer, else nothing.
`MLFLOW_TRACKING_AUTH` and `MLFLOW_TRACKING_AWS_SIGV4` name other ways, which need its client.

MLflow's client speaks to one server, so its variables name no host. Here they go to the origin of `MLFLOW_TRACKING_URI`, or,
where that is not set, to the only MLflow server without a credential of its own; a token never goes to a server that it may not
be for.
"""

from __future__ import annotations

import configparser
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from mlrelease_tui.config.model import ConnectionConfig
from mlrelease_tui.credentials.sources import read_private
from mlrelease_tui.domain.secret import Credential, Secret
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import CredentialError

_TOKEN: Final = "MLFLOW_TRACKING_TOKEN"  # noqa: S105 - the name of a variable
_USER: Final = "MLFLOW_TRACKING_USERNAME"
_PASSWORD: Final = "MLFLOW_TRACKING_PASSWORD"  # noqa: S105


def find(
    connection: ConnectionConfig, connections: Iterable[ConnectionConfig], *, env: Mapping[str, str], uid: int
) -> Credential | None:
    """What MLflow's client would send to this connection; None for nothing. `CredentialError` where that is unclear or unsafe."""
    if not speaks_http(connection):
        return None
    found = _found(env, uid, str(connection.name))
    if found is None or _is_meant(connection, connections, env):
        return found
    return None


def speaks_http(connection: ConnectionConfig) -> bool:
    return urlsplit(str(connection.options.get("url", ""))).scheme in {"http", "https"}


def _is_meant(connection: ConnectionConfig, connections: Iterable[ConnectionConfig], env: Mapping[str, str]) -> bool:
    tracking = env.get("MLFLOW_TRACKING_URI", "")
    if tracking:
        try:
            meant = _origin(tracking)
        except ValueError:
            raise CredentialError(
                "MLFLOW_TRACKING_URI is no address, and says for which server MLflow's own credential is meant",
                hint=f"mend or unset it, or give connection {SafeText(connection.name)} a credential of its own",
            ) from None
        return meant == _origin(str(connection.options.get("url", "")))
    others = [
        other.name
        for other in connections
        if other.kind == "mlflow" and other.credential is None and speaks_http(other) and other.name != connection.name
    ]
    if others:
        raise CredentialError(
            "MLflow's own variables or file hold a credential that could be meant for "
            f"{SafeText(connection.name)} or {SafeText(others[0])}",
            hint="set MLFLOW_TRACKING_URI, or give each its credential ({ none = true } for anonymous)",
        )
    return True


def _found(env: Mapping[str, str], uid: int, name: str) -> Credential | None:
    other = next(
        (key for key in ("MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4") if _is_on(env.get(key, ""))), None
    )
    if other is not None:
        raise CredentialError(
            f"{other} asks for a way of authentication that only MLflow's own client has",
            hint=f"give connection {SafeText(name)} a credential of its own, or unset the variable",
        )
    file_user, file_password = _file(env, uid)
    user = env.get(_USER) or file_user
    password = env.get(_PASSWORD) or file_password
    if user and password:
        source = "mlflow env" if env.get(_PASSWORD) else "mlflow file"
        return Credential("basic", user, Secret(password), source)
    if token := env.get(_TOKEN):
        return Credential("bearer", "", Secret(token), "mlflow env")
    return None


def _is_on(value: str) -> bool:
    return value.lower() not in {"", "0", "false"}


def _file(env: Mapping[str, str], uid: int) -> tuple[str, str]:
    home = env.get("HOME", "")
    path = Path(home) / ".mlflow" / "credentials"
    if not home or not _is_there(path):
        return "", ""
    what = "MLflow's credentials file"
    content = read_private(path, what, uid)
    # Interpolating, as its own client does: a literal % is written %%.
    parser = configparser.ConfigParser()
    try:
        parser.read_string(content.decode("utf-8"))
        if "mlflow" not in parser:
            return "", ""
        section = parser["mlflow"]
        return section.get(_USER.lower(), ""), section.get(_PASSWORD.lower(), "")
    except (configparser.Error, UnicodeDecodeError):
        raise CredentialError(
            f"{what} cannot be read: {SafeText(str(path))}", hint="an ini file with [mlflow]; % as %%"
        ) from None


def _is_there(path: Path) -> bool:
    """Whether the file exists; not where the way to it is closed to us (another user's HOME), as MLflow's client has it."""
    try:
        return path.exists()
    except OSError:
        return False


def _origin(url: str) -> tuple[str, str, int | None]:
    split = urlsplit(url)
    try:
        port = split.port
    except ValueError:
        port = None
    return split.scheme, split.hostname or "", port or {"https": 443, "http": 80}.get(split.scheme)
