"""Which model and version a pod template runs, how another one is put there, and what ails its pods."""

from __future__ import annotations

from typing import Any

import pytest

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes.patching import value_at
from mlrelease_tui.connectors.kubernetes.pod_states import ailments
from mlrelease_tui.connectors.kubernetes.pods import Image, deploy_ops, identity_of
from mlrelease_tui.connectors.kubernetes.selecting import text_of
from mlrelease_tui.domain.rollout import BindingSource
from mlrelease_tui.errors import Refused

Json = dict[str, Any]
DIGEST = "sha256:" + "ab" * 32


def template(image: str = "registry.example:5000/team/fraud:7", **container: Any) -> Json:
    return {
        "metadata": {"labels": {"app": "fraud"}},
        "spec": {"containers": [{"name": "m", "image": image, **container}]},
    }


def owner(pods: Json, **annotations: str) -> Json:
    marks = {f"mlrelease.dev/{key}": value for key, value in annotations.items()}
    return {"metadata": {"name": "fraud", "annotations": marks}, "spec": {"template": pods}}


@pytest.mark.parametrize(
    ("reference", "parts"),
    [
        ("fraud", ("fraud", "", "")),
        ("registry.example:5000/team/fraud", ("registry.example:5000/team/fraud", "", "")),
        ("registry.example:5000/team/fraud:7", ("registry.example:5000/team/fraud", "7", "")),
        (f"fraud:7@{DIGEST}", ("fraud", "7", DIGEST)),
        (f"fraud@{DIGEST}", ("fraud", "", DIGEST)),
    ],
)
def test_an_image_reference_in_parts(reference: str, parts: tuple[str, str, str]) -> None:
    image = Image.parse(reference)
    assert (image.repository, image.tag, image.digest) == parts
    assert str(image) == reference


def test_labels_and_annotations_win_over_a_uri_that_wins_over_the_image() -> None:
    pods = template(env=[{"name": "MODEL", "value": "models:/iris/3"}])
    found = identity_of(pods, owner(pods))
    assert (found.model, found.version, found.source) == ("iris", "3", BindingSource.STORAGE_URI)
    pods["metadata"]["annotations"] = {"mlrelease.dev/version": "4"}
    found = identity_of(pods, owner(pods, model="registry/fraud"))
    assert (found.model, found.version, found.source) == ("registry/fraud", "4", BindingSource.ANNOTATION)
    bare = template()
    assert identity_of(bare, owner(bare)).version == "7"
    assert identity_of(bare, owner(bare)).source is BindingSource.NONE


def test_a_digest_alone_is_the_version_in_short() -> None:
    pods = template(f"fraud@{DIGEST}")
    found = identity_of(pods, owner(pods))
    assert (found.version, found.digest, found.source) == ("abababababab", DIGEST, BindingSource.DIGEST)


def test_a_uri_with_an_alias_names_no_version_that_anybody_could_say() -> None:
    pods = template(args=["--model-uri=models:/fraud@champion"])
    found = identity_of(pods, owner(pods))
    assert (found.model, found.version, found.source) == ("fraud", "@champion", BindingSource.STORAGE_URI)
    ops = deploy_ops(owner(pods), Artifact("8", "models:/fraud/8"))
    assert ops[-1] == {
        "op": "replace",
        "path": "/spec/template/spec/containers/0/args/0",
        "value": "--model-uri=models:/fraud/8",
    }


def test_another_version_is_put_where_the_running_one_is_named() -> None:
    pods = template(env=[{"name": "A", "value": "x"}, {"name": "MODEL", "value": "models:/iris/3"}])
    item = owner(pods)
    ops = deploy_ops(item, Artifact("4", "models:/iris/4"))
    assert [op["op"] for op in ops] == ["test", "replace"]
    assert value_at(item, ops[0]["path"]) == ops[0]["value"] == "models:/iris/3"
    tagged = owner(template(f"fraud:7@{DIGEST}"))
    other = "sha256:" + "cd" * 32
    assert deploy_ops(tagged, Artifact("8", digest=other))[-1]["value"] == f"fraud:8@{other}"
    assert deploy_ops(owner(template(), image="registry.example/scorer:v{version}"), Artifact("8"))[-1][
        "value"
    ].endswith("scorer:v8")


def test_the_version_that_a_template_says_of_itself_follows() -> None:
    pods = template(image="fraud:7")
    pods["metadata"]["labels"]["mlrelease.dev/version"] = "7"
    ops = deploy_ops(owner(pods), Artifact("8"))
    assert ops[-1] == {"op": "add", "path": "/spec/template/metadata/labels/mlrelease.dev~1version", "value": "8"}


def test_a_template_that_names_its_version_nowhere_is_left_alone() -> None:
    with pytest.raises(Refused, match="names its version nowhere"):
        deploy_ops(owner(template(f"fraud@{DIGEST}")), Artifact("8"))


def pod(**container: Any) -> Json:
    conditions = [
        {
            "type": "Ready",
            "status": "False",
            "reason": "ContainersNotReady",
            "message": "containers with unready status: [m]",
        }
    ]
    return {
        "metadata": {"name": "fraud-1"},
        "status": {"phase": "Running", "conditions": conditions, "containerStatuses": [container]},
    }


@pytest.mark.parametrize(
    ("container", "told"),
    [
        (
            {
                "restartCount": 4,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
            },
            "2 pods CrashLoopBackOff (4 restarts, last OOMKilled 137)",
        ),
        ({"restartCount": 0, "state": {"waiting": {"reason": "ImagePullBackOff"}}}, "2 pods ImagePullBackOff"),
        ({"restartCount": 0, "state": {"terminated": {"exitCode": 3, "reason": "Error"}}}, "2 pods Error 3"),
        (
            {"restartCount": 0, "state": {"waiting": {"reason": "ContainerCreating"}}},
            "2 pods not ready: containers with unready status: [m]",
        ),
        ({"restartCount": 1, "ready": False, "state": {"running": {}}}, "2 pods not ready (1 restart)"),
    ],
)
def test_what_ails_pods_in_one_line(container: Json, told: str) -> None:
    assert ailments([pod(**container), pod(**container)]) == told


def test_pods_that_are_ready_done_or_on_their_way_out_are_not_ill() -> None:
    ready = {"metadata": {}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    done = {"metadata": {}, "status": {"phase": "Succeeded"}}
    leaving = pod(restartCount=9, state={"waiting": {"reason": "CrashLoopBackOff"}})
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert ailments([ready, done, leaving]) == ""


def test_a_pod_that_no_node_takes_says_why() -> None:
    waiting = {
        "metadata": {},
        "status": {
            "phase": "Pending",
            "conditions": [
                {
                    "type": "PodScheduled",
                    "status": "False",
                    "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
                }
            ],
        },
    }
    assert ailments([waiting]) == "1 pod not placed: 0/3 nodes are available: 3 Insufficient nvidia.com/gpu."


def test_a_selector_as_the_text_of_a_query() -> None:
    rules = [
        {"key": "tier", "operator": "In", "values": ["a", "b"]},
        {"key": "old", "operator": "DoesNotExist"},
        {"key": "kept", "operator": "Exists"},
        {"key": "zone", "operator": "NotIn", "values": ["x"]},
    ]
    assert (
        text_of({"matchLabels": {"app": "fraud"}, "matchExpressions": rules})
        == "app=fraud,tier in (a,b),!old,kept,zone notin (x)"
    )
