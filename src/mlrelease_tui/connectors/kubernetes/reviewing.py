"""Asking the server whether we may do something (SelfSubjectAccessReview), before a plan is shown."""

from __future__ import annotations

from typing import Final

from mlrelease_tui.connectors.kubernetes.api import KubeApi, Resource
from mlrelease_tui.connectors.kubernetes.objects import table
from mlrelease_tui.domain.plan import Check, CheckStatus
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import BackendError

_REVIEW: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


async def may(
    api: KubeApi, verb: str, resource: Resource, namespace: str, *, name: str = "", subresource: str = ""
) -> Check:
    """The check "may": PASS, FAIL with the server's reason, UNKNOWN where it can't be asked. Subresources are asked for apart."""
    asked = {"group": resource.group, "resource": resource.plural, "verb": verb, "namespace": namespace}
    asked |= {key: value for key, value in (("name", name), ("subresource", subresource)) if value}
    what = f"{verb} {resource.plural}" + (f"/{subresource}" if subresource else "")
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": asked},
    }
    try:
        answer = await api.create(_REVIEW, body, asked=f"may we {what}")
    except BackendError as error:
        return Check("may", CheckStatus.UNKNOWN, error.message)
    status = table(answer, "status")
    if status.get("allowed") is True:
        return Check("may", CheckStatus.PASS, f"we may {what}")
    why = SafeText(status.get("reason") or "")
    return Check("may", CheckStatus.FAIL, f"we may not {what} in {SafeText(namespace)}" + (f": {why}" if why else ""))
