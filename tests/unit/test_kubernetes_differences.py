"""What a plan says that a write would change on the server: every field, no secret."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest

from mlrelease_tui.connectors.kubernetes.differences import LIMIT, changes_of, dry_run
from mlrelease_tui.domain.plan import CheckStatus, FieldChange

TARGET = "Deployment ml/fraud"
SECRET = "ghp_abcdefghijklmnopqrstuvwxyz0123456789"


def deployment(**container: Any) -> dict[str, Any]:
    """A Deployment as the API has it, with what must never be shown in every place that may hold it."""
    found = {
        "name": "model",
        "image": "reg/fraud:41",
        "env": [{"name": "MODEL_TOKEN", "value": SECRET}, {"name": "MODE", "value": "hush-hush"}],
        "args": ["--password=hunter2"],
        "resources": {"requests": {"cpu": "1"}},
        **container,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "fraud",
            "resourceVersion": "7",
            "generation": 3,
            "managedFields": [{"manager": "kubectl"}],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": SECRET},
        },
        "spec": {
            "replicas": 3,
            "template": {"metadata": {"labels": {"app": "fraud"}}, "spec": {"containers": [found]}},
        },
        "status": {"readyReplicas": 3},
    }


def told(changes: tuple[FieldChange, ...]) -> list[tuple[str, str, str]]:
    return [(item.path, item.before, item.after) for item in changes]


def test_what_the_server_keeps_by_itself_is_no_change() -> None:
    after = deployment()
    after["metadata"] |= {"resourceVersion": "8", "generation": 4, "managedFields": []}
    after["metadata"]["annotations"] = {}
    after["status"] = {"readyReplicas": 0}
    assert changes_of(deployment(), after, TARGET) == ()


def test_a_field_of_the_spec_is_told_with_both_values() -> None:
    after = deployment()
    after["spec"] |= {"replicas": 5, "paused": True}
    assert told(changes_of(deployment(), after, TARGET, asked=["/spec/paused", "/spec/replicas"])) == [
        ("spec.paused", "", "true"),
        ("spec.replicas", "3", "5"),
    ]


def test_of_a_template_the_image_is_quoted_and_the_environment_only_named() -> None:
    changed = deployment(
        image="reg/fraud:42",
        env=[{"name": "MODE", "value": "other-hush"}, {"name": "NEW", "value": "newly-hushed"}],
        args=["--password=hunter3"],
        resources={"requests": {"cpu": "2"}},
    )
    found = changes_of(deployment(), changed, TARGET, asked=["/spec/template"])
    root = "spec.template.spec.containers[model]"
    assert told(found) == [
        (f"{root}.image", "reg/fraud:41", "reg/fraud:42"),
        (f"{root}.args", "(not shown)", "(another value, not shown)"),
        (f"{root}.env[MODEL_TOKEN]", "(not shown)", ""),
        (f"{root}.env[MODE]", "(not shown)", "(another value, not shown)"),
        (f"{root}.env[NEW]", "", "(not shown)"),
        (f"{root}.resources.requests.cpu", "1", "2"),
    ]
    assert all(item.asked for item in found), "what lies below what is named is named"


_ENV = [{"name": "A", "value": SECRET}]


@pytest.mark.parametrize(
    "place",
    [
        ("spec", {"template": {"spec": {"containers": [{"name": "sidecar", "image": "x", "env": _ENV}]}}}),
        ("spec", {"predictor": {"model": {"env": _ENV, "args": [SECRET]}}}),
        ("spec", {"predictor": {"containers": [{"env": _ENV}]}}),
        ("spec", {"jobTemplate": {"spec": {"template": {"spec": {"volumes": [{"inline": SECRET}]}}}}}),
        ("spec", {"http": [{"headers": {"request": {"set": {"x": SECRET}}}}]}),
        ("spec", {"apiKey": SECRET, "password": "hunter2"}),
        ("spec", {"webhook": f"https://user:{SECRET}@host/hook?sig={SECRET}"}),
        ("spec", {"note": f"the token is {SECRET}"}),
        ("spec", {"rules": [{"template": {"args": ["hunter2", SECRET]}}, {"name": "b"}]}),
        ("data", {"anything": SECRET}),
    ],
)
def test_no_secret_is_quoted_whatever_holds_it(place: tuple[str, dict[str, Any]]) -> None:
    key, value = place
    for before, after in (({}, {key: value}), ({key: value}, {}), ({key: value}, {key: _others(value)})):
        found = changes_of(before, after, TARGET)
        assert found, "that something changes is told"
        said = repr(found) + json.dumps(told(found))
        assert SECRET not in said
        assert "hunter2" not in said
        assert SECRET not in "".join(getattr(part, "raw", part) for item in told(found) for part in item)


def _others(value: Any) -> Any:
    """The same with other texts in it, names kept."""
    return json.loads(json.dumps(value).replace(SECRET, SECRET[:-1] + "x").replace("hunter2", "hunter2+"))


def test_what_the_plan_does_not_name_is_marked() -> None:
    after = deepcopy(deployment())
    after["spec"] |= {"paused": True, "revisionHistoryLimit": 10}
    after["metadata"]["annotations"]["serving.knative.dev/lastModifier"] = "anna"
    found = changes_of(deployment(), after, TARGET, asked=["/spec/paused"])
    assert [(item.path, item.asked) for item in found] == [
        ("metadata.annotations[serving.knative.dev/lastModifier]", False),
        ("spec.paused", True),
        ("spec.revisionHistoryLimit", False),
    ]
    check = dry_run(found)
    assert check.status is CheckStatus.PASS
    assert check.text == "the server would take it: 3 fields would change, 2 of them beside what the plan names"
    assert check.changes == found


def test_a_status_patch_changes_the_status_and_a_scale_the_count() -> None:
    before = {"spec": {"replicas": 3}, "status": {"currentStepIndex": 1, "pauseConditions": [{"reason": "P"}]}}
    after = {"spec": {"replicas": 9}, "status": {"currentStepIndex": 2}}
    assert told(changes_of(before, after, TARGET, subresource="status")) == [
        ("status.currentStepIndex", "1", "2"),
        ("status.pauseConditions", '[{"reason":"P"}]', ""),
    ]
    scale = {"kind": "Scale", "spec": {"replicas": 4}, "status": {"replicas": 3}}
    assert told(changes_of(deployment(), scale, TARGET, subresource="scale")) == [("spec.replicas", "3", "4")]


def test_lists_are_compared_by_name_or_place() -> None:
    before = {"spec": {"hosts": ["a"], "http": [{"route": [{"weight": 90}, {"weight": 10}]}]}}
    after = {"spec": {"hosts": ["a", "b"], "http": [{"route": [{"weight": 100}, {"weight": 0}]}]}}
    found = changes_of(before, after, "VirtualService ml/f", asked=["/spec/http/0/route/0/weight"])
    assert told(found) == [
        ("spec.hosts", '["a"]', '["a","b"]'),
        ("spec.http[0].route[0].weight", "90", "100"),
        ("spec.http[0].route[1].weight", "10", "0"),
    ]
    assert [item.asked for item in found] == [False, True, True]


def test_hostile_and_long_values_are_harmless_and_short() -> None:
    after = {"metadata": {"labels": {"x\x1b[2J": "\x1b]0;t\x07" + "y" * 500}}, "spec": None}
    (found,) = changes_of({}, after, TARGET)
    assert "\x1b" not in found.path + found.after
    assert len(found.after) < 100


def test_more_than_can_be_read_is_counted() -> None:
    after = {"spec": {f"field{number}": number for number in range(LIMIT + 6)}}
    check = dry_run(changes_of({}, after, TARGET, asked=["/spec"]))
    assert len(check.changes) == LIMIT
    assert f"{LIMIT + 6} fields would change" in check.text
    assert "no field would change" in dry_run(()).text


def test_a_default_written_down_is_no_change_and_the_image_is_told_first() -> None:
    plain = deployment()
    full = deployment(image="reg/fraud:42", terminationMessagePolicy="File", imagePullPolicy="IfNotPresent")
    full["spec"]["paused"] = False
    full["spec"]["template"]["spec"] |= {"dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler"}
    assert [item.path for item in changes_of(plain, full, TARGET)] == [
        "spec.template.spec.containers[model].image",
        "spec.paused",
    ]
    other = deployment()
    other["spec"]["template"]["spec"]["dnsPolicy"] = "None"
    assert told(changes_of(plain, other, TARGET)) == [("spec.template.spec.dnsPolicy", "", "(not shown)")]
