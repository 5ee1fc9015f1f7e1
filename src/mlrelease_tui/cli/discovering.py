"""What a host has that a configuration could name: MLflow's address, Docker contexts, clusters of a kubeconfig."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from mlrelease_tui.config.initial import Draft, Value
from mlrelease_tui.config.schema import BARE_STORES
from mlrelease_tui.domain.redaction import is_secret_name

_NAME: Final = re.compile(r"[^A-Za-z0-9._-]+")
_PRODUCTION: Final = re.compile(r"(^|[-_.])(prod|production|live)([-_.]|$)", re.IGNORECASE)
_SOCKET: Final = Path("/var/run/docker.sock")
_ITEM: Final = re.compile(r"^(\s*)-\s*(.*)$")
_PAIR: Final = re.compile(r"^(\s*)([A-Za-z0-9_-]+):\s*(.*)$")


@dataclass(frozen=True, slots=True)
class Found:
    """One thing found: the connection that it would be, and where it was found. `problem`: why it can be none, "" where it can."""

    draft: Draft
    where: str
    problem: str = ""


def discover(env: Mapping[str, str], *, socket: Path = _SOCKET) -> tuple[Found, ...]:
    """Everything found, each under a name of its own. Files that can't be read say nothing."""
    named: dict[str, Found] = {}
    for found in (*_mlflow(env), *_docker(env, socket), *_kubernetes(env)):
        name, number = found.draft.name, 2
        while name in named:
            name, number = f"{found.draft.name}-{number}", number + 1
        draft = Draft(name, found.draft.kind, found.draft.options, found.draft.environment, found.draft.comment)
        named[name] = Found(draft, found.where, found.problem)
    return tuple(named.values())


def _draft(name: str, kind: str, options: Mapping[str, Value], comment: str) -> Draft:
    environment = "production" if _PRODUCTION.search(name) else ""
    said = f"{comment}; called production because of its name" if environment else comment
    return Draft(_NAME.sub("-", name).strip("-._")[:60] or kind, kind, options, environment, said)


def _mlflow(env: Mapping[str, str]) -> Iterator[Found]:
    address = env.get("MLFLOW_TRACKING_URI", "").strip()
    if not address:
        return
    said = "from MLFLOW_TRACKING_URI"
    try:
        parts = urlsplit(address)
        if parts.scheme and parts.username is not None:
            address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
            said += ", without the user and password in it: configure a credential"
        if (parts.query or parts.fragment) and (parts.scheme in {"http", "https"} or _holds_secret(parts.query)):
            address = re.split("[?#]", address, maxsplit=1)[0]
            said += ", without what follows the path"
        if not parts.scheme and address not in BARE_STORES:
            address = Path(address).absolute().as_uri()
    except (ValueError, FileNotFoundError):
        # A bad host or port, or a path from a folder that was deleted.
        yield Found(_draft("registry", "mlflow", {}, said), "MLFLOW_TRACKING_URI", "it is no address")
        return
    yield Found(_draft("registry", "mlflow", {"url": address}, said), "MLFLOW_TRACKING_URI")


def _holds_secret(query: str) -> bool:
    return any(is_secret_name(name) for name, _ in parse_qsl(query, keep_blank_values=True))


def _docker(env: Mapping[str, str], socket: Path) -> Iterator[Found]:
    host = env.get("DOCKER_HOST", "").strip()
    if host:
        yield Found(_draft("docker", "docker", {"host": host}, "from DOCKER_HOST"), "DOCKER_HOST")
    elif socket.is_socket():
        yield Found(_draft("docker", "docker", {"host": f"unix://{socket}"}, f"found {socket}"), str(socket))
    folder = (Path(env["DOCKER_CONFIG"]) if env.get("DOCKER_CONFIG") else _home(env) / ".docker") / "contexts" / "meta"
    for path in _sorted(folder.glob("*/meta.json")):
        content = _json(path)
        name = content.get("Name")
        if isinstance(name, str) and name and name != "default":
            yield Found(_draft(name, "docker", {"context": name}, "a Docker context"), f"Docker context {name}")


def _kubernetes(env: Mapping[str, str]) -> Iterator[Found]:
    named = env.get("KUBECONFIG", "")
    paths = [Path(part) for part in named.split(":") if part] or [_home(env) / ".kube" / "config"]
    seen: set[str] = set()
    for path in paths:
        try:
            text = path.read_text("utf-8")[: 4 * 1024 * 1024]
        except (OSError, UnicodeDecodeError):
            continue
        for context, namespace in kube_contexts(text):
            if context in seen:
                # Of several files the first one counts, as with kubectl.
                continue
            seen.add(context)
            options: dict[str, Value] = {"context": context}
            said = f"a context of {path}"
            if named and len(paths) == 1:
                options["kubeconfig"] = str(path.absolute())
            elif named:
                # What a context names may stand in another of the files: all of them are needed.
                said += ", which KUBECONFIG names among others: keep that variable"
            if namespace:
                options["namespaces"] = [namespace]
            yield Found(_draft(context, "kubernetes", options, said), f"context {context} of {path}")


def kube_contexts(text: str) -> list[tuple[str, str]]:
    """(context, its namespace or "") of a kubeconfig, which is JSON or the block YAML that kubectl writes.

    Only names are read, line by line: credentials in the file are never parsed.
    """
    if text.lstrip().startswith("{"):
        try:
            entries: Sequence[Any] = json.loads(text).get("contexts") or ()
            return [(str(item["name"]), str((item.get("context") or {}).get("namespace") or "")) for item in entries]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return []
    found: list[tuple[str, str]] = []
    inside = False
    name = namespace = ""
    for raw in text.splitlines():
        line = raw.split(" #", 1)[0].rstrip()
        if not line or line.lstrip().startswith("#"):
            continue
        item = _ITEM.match(line)
        if item is None and not line[0].isspace():
            inside = line.startswith("contexts:")
            continue
        if not inside:
            continue
        if item is not None:
            if name:
                found.append((name, namespace))
            name = namespace = ""
            line = f"{item.group(1)}  {item.group(2)}"
        pair = _PAIR.match(line)
        if pair is not None and pair.group(2) == "name":
            name = _scalar(pair.group(3))
        elif pair is not None and pair.group(2) == "namespace":
            namespace = _scalar(pair.group(3))
    if name:
        found.append((name, namespace))
    return found


def _scalar(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text


def _home(env: Mapping[str, str]) -> Path:
    try:
        return Path(env.get("HOME") or Path.home())
    except RuntimeError:
        # A container that runs as a number: there is nothing below this.
        return Path(os.devnull)


def _sorted(paths: Iterator[Path]) -> list[Path]:
    try:
        return sorted(paths)
    except OSError:
        return []


def _json(path: Path) -> Mapping[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
