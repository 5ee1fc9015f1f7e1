"""What an API server's no means, and what its answer to a write shows to be other than was written."""

from __future__ import annotations

import json

import pytest

from mlrelease_tui.connectors.kubernetes.answers import FailedTest, Undryable, refusal_of
from mlrelease_tui.connectors.kubernetes.patching import add, altered, replace
from mlrelease_tui.errors import Forbidden, Rejected, ReleaseError, UnexpectedAnswer

DENIED = 'admission webhook "guard.example" denied the request: frozen'
UNDRYABLE = 'admission webhook "guard.example" does not support dry run'
DOWN = 'Internal error occurred: failed calling webhook "guard.example": connection refused'


def said(status: int, message: str, *, writing: bool = True) -> ReleaseError:
    body = json.dumps({"kind": "Status", "code": status, "message": message}).encode()
    return refusal_of("context lab", status, body, "patch Deployment shop/fraud", writing=writing)


@pytest.mark.parametrize(
    ("status", "message", "kind"),
    [
        (403, DENIED, Rejected),
        (400, DENIED, Rejected),
        (422, DENIED, Rejected),
        (500, DENIED, Rejected),
        (500, DOWN, Rejected),
        (400, UNDRYABLE, Undryable),
        (403, 'deployments.apps "fraud" is forbidden: User "eve" cannot patch', Forbidden),
        (422, "the server rejected our request due to an error in our request", FailedTest),
        (500, "etcdserver: request timed out", UnexpectedAnswer),
    ],
)
def test_a_webhooks_no_is_a_no_whatever_its_status(status: int, message: str, kind: type[ReleaseError]) -> None:
    met = said(status, message)
    assert type(met) is kind
    assert message in met.message


def test_a_refused_read_is_no_webhooks_no() -> None:
    assert type(said(403, DENIED, writing=False)) is Forbidden


PATCH = [
    {"op": "test", "path": "/metadata/uid", "value": "v"},
    add("/metadata/annotations/mlrelease.dev~1stamp", "who and why"),
    replace("/spec/template", {"metadata": {"annotations": {}}, "spec": {"containers": [{"image": "fraud:1"}]}}),
    replace("/spec/replicas", 3),
]


def answer(image: str = "fraud:1", replicas: int = 3, stamp: str = "who and why") -> dict[str, object]:
    container = {"image": image, "imagePullPolicy": "Always", "env": [{"name": "TOKEN", "value": "hunter2"}]}
    sidecar = {"image": "mesh:1"}
    return {
        "metadata": {"uid": "u", "annotations": {"mlrelease.dev/stamp": stamp, "seen": "1"}},
        "spec": {"replicas": replicas, "template": {"metadata": {}, "spec": {"containers": [container, sidecar]}}},
    }


def test_what_a_server_adds_beside_is_not_another_value() -> None:
    assert altered(answer(), PATCH) == ()


def test_another_image_and_another_number_are_told_with_both() -> None:
    assert altered(answer(image="fraud:9", replicas=1), PATCH) == (
        'spec.template.spec.containers.0.image = "fraud:9" instead of "fraud:1"',
        "spec.replicas = 1 instead of 3",
    )


def test_what_may_be_a_secret_is_told_by_its_place_alone() -> None:
    environment = [replace("/spec/template/spec/containers/0/env/0/value", "correct horse")]
    (told,) = altered(answer(), environment)
    assert told == "another spec.template.spec.containers.0.env.0.value"
    assert altered(answer(stamp="other"), PATCH) == ("another metadata.annotations.mlrelease.dev/stamp",)
