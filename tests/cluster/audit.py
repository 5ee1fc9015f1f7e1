"""What was asked of the API server, read from its audit log."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster.api import Json

_WRITES: Final = ("create", "update", "patch", "delete")
_REVIEWS: Final = ("accessreviews", "selfsubject", "tokenreviews", "subjectrulesreviews")


@dataclass(frozen=True, slots=True)
class Request:
    """One request that the API server answered."""

    user: str
    verb: str
    """ "get", "list", "watch", "create", "update", "patch", "delete"."""
    uri: str
    """Path and query."""
    code: int
    user_agent: str
    body: object
    """What a writing request sent, None for the others."""
    dry_run: bool

    @property
    def writes(self) -> bool:
        """Whether it was to change an object (reviews of rights are created too, and change nothing)."""
        return self.verb in _WRITES and not self.dry_run and not any(name in self.uri for name in _REVIEWS)


class AuditLog:
    """The log of one API server, without the requests of the users that its policy leaves out."""

    def __init__(self, folder: Path, without: Sequence[str]) -> None:
        self.policy = folder / "audit-policy.json"
        self.file = folder / "audit.log"
        self.file.touch()
        rules: list[Json] = [
            {"level": "None", "users": [*without, "system:apiserver", "system:anonymous"]},
            {"level": "Request", "verbs": list(_WRITES)},
            {"level": "Metadata"},
        ]
        policy = {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived"],
            "rules": rules,
        }
        self.policy.write_text(json.dumps(policy))

    @property
    def flags(self) -> list[str]:
        """What the API server is started with."""
        return [
            f"--audit-policy-file={self.policy}",
            f"--audit-log-path={self.file}",
            "--audit-log-format=json",
        ]

    def mark(self) -> int:
        """Where the log ends now; `requests` reads from there."""
        return self.file.stat().st_size

    def requests(self, mark: int, user: str) -> list[Request]:
        """What a user asked since `mark`, in the order of the answers. A watch counts when it begins."""
        with self.file.open("rb") as log:
            log.seek(mark)
            lines = log.read().split(b"\n")[:-1]
        seen: dict[str, Request] = {}
        for line in lines:
            event: Json = json.loads(line)
            if event["user"].get("username", "") == user:
                seen.setdefault(event["auditID"], _request(event))
        return list(seen.values())


def _request(event: Json) -> Request:
    uri = str(event["requestURI"])
    return Request(
        user=event["user"].get("username", ""),
        verb=event["verb"],
        uri=uri,
        code=int(event.get("responseStatus", {}).get("code", 0)),
        user_agent=event.get("userAgent", ""),
        body=event.get("requestObject"),
        dry_run="dryRun=All" in uri,
    )
