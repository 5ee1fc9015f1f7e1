"""Who may do what on the tests' control plane, and the kubeconfigs that say who one is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from tests.cluster.api import Json

ADMIN: Final = "admin"
"""May do everything; what the product is given as an operator's kubeconfig."""
READER: Final = "reader"
"""May get, list and watch everything, and write nothing."""
TENANT: Final = "tenant"
"""May nothing until `ControlPlane.grant` binds it to a namespace."""
NOBODY: Final = "nobody"
"""May nothing but what every authenticated user may: discovery, and asking what it may."""
CONTROLLERS: Final = "controllers"
"""Whom the cluster's own programs act as; not in the audit log."""
TESTS: Final = "tests"
"""Whom the tests' own calls act as; not in the audit log."""

_MASTERS: Final = frozenset({ADMIN, CONTROLLERS, TESTS})
_USERS: Final = (ADMIN, READER, TENANT, NOBODY, CONTROLLERS, TESTS)
_RBAC: Final = "rbac.authorization.k8s.io"
_READS: Final = ["get", "list", "watch"]


def token(user: str) -> str:
    """The static token of one of the users above."""
    return f"token-of-{user}-in-these-tests"


def token_file() -> str:
    """The API server's list of users: token, name, id, groups."""
    lines = [
        f'{token(user)},{user},uid-{user},"{"system:masters" if user in _MASTERS else "people"}"' for user in _USERS
    ]
    return "\n".join(lines) + "\n"


def reading_everything() -> tuple[Json, ...]:
    """The rights of READER."""
    return (
        _role("ClusterRole", "mlrelease-test-reader", _READS),
        _binding("ClusterRole", "mlrelease-test-reader", READER),
    )


def everything_in(namespace: str, user: str) -> tuple[Json, ...]:
    """All rights in one namespace."""
    name = f"mlrelease-test-{user}"
    role, binding = _role("Role", name, ["*"]), _binding("Role", name, user)
    for item in (role, binding):
        item["metadata"]["namespace"] = namespace
    return role, binding


def write_kubeconfig(target: Path, name: str, user: Json, cluster: Json, namespace: str = "") -> Path:
    """A kubeconfig with one context of this name, readable by its owner alone."""
    context = {"cluster": "tests", "user": name, **({"namespace": namespace} if namespace else {})}
    target.touch(mode=0o600)
    # JSON is YAML: no library is needed, and a reader of kubeconfigs has to take it.
    target.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": name,
                "clusters": [{"name": "tests", "cluster": cluster}],
                "users": [{"name": name, "user": user}],
                "contexts": [{"name": name, "context": context}],
            },
            indent=1,
        )
    )
    return target


def _role(kind: str, name: str, verbs: list[str]) -> Json:
    rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": verbs}]
    return {"apiVersion": f"{_RBAC}/v1", "kind": kind, "metadata": {"name": name}, "rules": rules}


def _binding(kind: str, name: str, user: str) -> Json:
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": f"{kind}Binding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": _RBAC, "kind": kind, "name": name},
        "subjects": [{"apiGroup": _RBAC, "kind": "User", "name": user}],
    }
