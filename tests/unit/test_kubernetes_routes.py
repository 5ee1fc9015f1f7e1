"""Routes as read: backends as variants, weights as shares, and one patch that says what it was planned from."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mlrelease_tui.connectors.api import Artifact
from mlrelease_tui.connectors.kubernetes.api import Resource
from mlrelease_tui.connectors.kubernetes.discovery import Served
from mlrelease_tui.connectors.kubernetes.workloads.api import Choice, Frame, Reading, World
from mlrelease_tui.connectors.kubernetes.workloads.argo import ArgoRollouts
from mlrelease_tui.connectors.kubernetes.workloads.routes import HttpRoutes, Routes, VirtualServices
from mlrelease_tui.connectors.kubernetes.workloads.routes_driver import RouteDriver
from mlrelease_tui.connectors.kubernetes.workloads.routes_splits import http_split, of_hundred, proportional
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import Hold, Phase, Role, Verb
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Refused

Json = dict[str, Any]

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
FRAME = Frame("k8s", "staging", "lab", "", NOW)
ROUTES = Resource("gateway.networking.k8s.io", "v1", "httproutes", "HTTPRoute")
MESHES = Resource("networking.istio.io", "v1", "virtualservices", "VirtualService")
SUBSETS = Resource("networking.istio.io", "v1", "destinationrules", "DestinationRule")
DEPLOYMENTS = Resource("apps", "v1", "deployments", "Deployment")
SETS = Resource("apps", "v1", "replicasets", "ReplicaSet")
SERVICES = Resource("", "v1", "services", "Service")
ROLLOUTS = Resource("argoproj.io", "v1alpha1", "rollouts", "Rollout")
KINDS = (ROUTES, MESHES, SUBSETS, DEPLOYMENTS, SETS, SERVICES, ROLLOUTS)
SERVED = Served({(one.group, one.plural): one for one in KINDS})
OK = ("True", "True")


def meta(name: str, **more: Any) -> Json:
    return {"namespace": "shop", "name": name, "uid": f"u-{name}", "generation": 3, **more}


def service(name: str, **selector: str) -> Json:
    return {"metadata": meta(name), "spec": {"selector": selector or {"app": name}}}


def deployed(name: str, version: str, *, ready: int = 2, day: int = 1, marked: Json | None = None) -> tuple[Json, Json]:
    """A Deployment that is rolled out, and its ReplicaSet."""
    template = {
        "metadata": {"labels": marked or {"app": name}},
        "spec": {"containers": [{"name": "model", "image": f"registry.example/scorer:{version}"}]},
    }
    progress = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
    item = {
        "metadata": meta(name, annotations={"deployment.kubernetes.io/revision": "1"}),
        "spec": {"replicas": 2, "template": template},
        "status": {"observedGeneration": 3, "availableReplicas": ready, "conditions": [progress]},
    }
    own = {
        "metadata": meta(
            f"{name}-1",
            creationTimestamp=f"2026-11-{day:02}T00:00:00Z",
            annotations={"deployment.kubernetes.io/revision": "1"},
            ownerReferences=[{"controller": True, "uid": f"u-{name}"}],
        ),
        "spec": {"replicas": 2, "template": template},
        "status": {"replicas": 2, "availableReplicas": ready},
    }
    return item, own


def ref(name: str, weight: int | None = None, **more: Any) -> Json:
    return {"name": name, "port": 8080, **({} if weight is None else {"weight": weight}), **more}


def parent(name: str, accepted: str, resolved: str, generation: int = 3) -> Json:
    conditions = [
        {"type": kind, "status": status, "reason": "Said", "message": "as asked", "observedGeneration": generation}
        for kind, status in (("Accepted", accepted), ("ResolvedRefs", resolved))
    ]
    return {"parentRef": {"name": name}, "controllerName": "example.com/gateway", "conditions": conditions}


def http_route(
    *rules: Json, parents: list[Json] | None = None, gateways: tuple[str, ...] = ("public",), **more: Any
) -> Json:
    """As in the Gateway API's guide to traffic splitting."""
    spec = {"parentRefs": [{"name": one} for one in gateways], "hostnames": ["foo.example.com"], "rules": list(rules)}
    said = [parent(one, *OK) for one in gateways] if parents is None else parents
    return {"metadata": meta("foo", **more), "spec": spec, "status": {"parents": said}}


def refs(*backends: Json, **more: Any) -> Json:
    return {"backendRefs": list(backends), **more}


def mesh(*rules: Json, status: Json | None = None, **more: Any) -> Json:
    """As in Istio's task of traffic shifting."""
    return {"metadata": meta("foo", **more), "spec": {"hosts": ["foo"], "http": list(rules)}, "status": status or {}}


def to(subset: str, weight: int | None = None, host: str = "foo") -> Json:
    entry: Json = {"destination": {"host": host, "subset": subset}}
    return entry if weight is None else {**entry, "weight": weight}


def subsets(**labels: str) -> Json:
    found = [{"name": name, "labels": {"version": label}} for name, label in labels.items()]
    return {"metadata": meta("foo"), "spec": {"host": "foo.shop.svc.cluster.local", "subsets": found}}


def world(*items: tuple[Resource, Json], everything: bool = True) -> World:
    found: dict[Resource, dict[tuple[str, str], Json]] = {}
    for resource, item in items:
        found.setdefault(resource, {})[item["metadata"]["namespace"], item["metadata"]["name"]] = item
    return World(found, Choice(everything))


def pods(*pairs: tuple[Json, Json]) -> list[tuple[Resource, Json]]:
    return [(kind, one) for pair in pairs for kind, one in zip((DEPLOYMENTS, SETS), pair, strict=True)]


TWO = (deployed("foo-v1", "1", day=1), deployed("foo-v2", "2", day=2))
FRONTS = [(SERVICES, service("foo-v1")), (SERVICES, service("foo-v2"))]


def reading(workload: Routes, seen: World) -> Reading:
    (found,) = workload.sightings(seen, SERVED)
    return workload.read(found, seen, SERVED, FRAME)


def http(*rules: Json, behind: tuple[tuple[Json, Json], ...] = TWO, **more: Any) -> Reading:
    return reading(HttpRoutes(), world((ROUTES, http_route(*rules, **more)), *FRONTS, *pods(*behind)))


def split(first: int | None, second: int | None, **more: Any) -> Reading:
    return http(refs(ref("foo-v1", first), ref("foo-v2", second)), **more)


def istio(*rules: Json, rule: Json | None = None, **more: Any) -> Reading:
    both = (
        deployed("foo-v1", "1", marked={"app": "foo", "version": "v1"}),
        deployed("foo-v2", "2", day=2, marked={"app": "foo", "version": "v2"}),
    )
    kept = subsets(v1="v1", v2="v2") if rule is None else rule
    return reading(
        VirtualServices(),
        world((MESHES, mesh(*rules, **more)), (SUBSETS, kept), (SERVICES, service("foo", app="foo")), *pods(*both)),
    )


def driver(found: Reading) -> RouteDriver:
    assert isinstance(found.driver, RouteDriver)
    return found.driver


def weights_in(write: Write) -> dict[str, int]:
    return {op["path"]: op["value"] for op in json.loads(write.payload)["patch"] if op["op"] == "add"}


def guards_in(write: Write) -> dict[str, Any]:
    return {op["path"]: op["value"] for op in json.loads(write.payload)["patch"] if op["op"] == "test"}


def shares(found: Reading) -> dict[str, int | None]:
    return {one.version: one.weight_bp for one in found.endpoint.variants}


# --- what is read


def test_backends_are_the_variants_and_versions_are_those_of_the_deployments_behind() -> None:
    endpoint = split(90, 10).endpoint
    assert [(one.name, one.role, one.version, one.weight_bp, one.ready, one.desired) for one in endpoint.variants] == [
        ("foo-v1", Role.STABLE, "1", 9000, 2, 2),
        ("foo-v2", Role.CANARY, "2", 1000, 2, 2),
    ]
    assert (endpoint.native.kind, endpoint.rollout.phase, endpoint.url) == (
        "HTTPRoute",
        Phase.WAITING,
        "foo.example.com",
    )


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        (9, 1, {"1": 9000, "2": 1000}),
        (None, None, {"1": 5000, "2": 5000}),
        (None, 0, {"1": 10_000, "2": 0}),
        (999_999, 1, {"1": 10_000, "2": 0}),
        (2, 1, {"1": 6667, "2": 3333}),
    ],
)
def test_weights_of_an_http_route_are_proportions_where_unsaid_is_one(
    first: int | None, second: int | None, found: dict[str, int]
) -> None:
    assert shares(split(first, second)) == found


def test_subsets_of_a_virtual_service_are_the_deployments_with_their_labels() -> None:
    found = istio({"route": [to("v1", 75), to("v2", 25)]})
    assert [(one.name, one.version, one.weight_bp) for one in found.endpoint.variants] == [
        ("foo:v1", "1", 7500),
        ("foo:v2", "2", 2500),
    ]


def test_a_route_with_one_backend_splits_nothing_and_is_no_endpoint() -> None:
    seen = world((ROUTES, http_route(refs(ref("foo-v1")))), *FRONTS, *pods(*TWO))
    assert list(HttpRoutes().sightings(seen, SERVED)) == []


def test_the_route_stands_for_its_services_and_their_deployments() -> None:
    seen = world((ROUTES, http_route(refs(ref("foo-v1", 9), ref("foo-v2", 1)))), *FRONTS, *pods(*TWO))
    (found,) = HttpRoutes().sightings(seen, SERVED)
    assert found.claims == {"u-foo", "u-foo-v1", "u-foo-v2"}


def test_a_route_before_no_model_is_passed_over() -> None:
    seen = world((ROUTES, http_route(refs(ref("foo-v1", 9), ref("foo-v2", 1)))), *FRONTS, *pods(*TWO), everything=False)
    assert list(HttpRoutes().sightings(seen, SERVED)) == []
    assert HttpRoutes().passed_over(seen, SERVED) == 1
    told = http_route(refs(ref("foo-v1", 9), ref("foo-v2", 1)), annotations={"mlrelease.dev/model": "registry/scorer"})
    assert len(list(HttpRoutes().sightings(world((ROUTES, told), everything=False), SERVED))) == 1


def test_a_route_that_kserve_made_is_no_endpoint() -> None:
    owner = [{"kind": "InferenceService", "apiVersion": "serving.kserve.io/v1beta1", "controller": True, "uid": "x"}]
    seen = world((ROUTES, http_route(refs(ref("foo-v1", 9), ref("foo-v2", 1)), ownerReferences=owner)))
    assert list(HttpRoutes().sightings(seen, SERVED)) == []


# --- whether it is in force


def test_no_status_at_all_is_a_state_of_its_own() -> None:
    endpoint = split(90, 10, parents=[]).endpoint
    assert (endpoint.rollout.phase, [one.weight_bp for one in endpoint.variants]) == (Phase.UNKNOWN, [None, None])
    assert endpoint.rollout.message == "no gateway controller has looked at it: does it run?"
    assert endpoint.support(Verb.ABORT).available
    assert not endpoint.support(Verb.PROMOTE).available


def test_every_parent_must_say_it_of_the_newest_generation() -> None:
    for parents in ([parent("a", *OK), parent("b", *OK, 2)], [parent("a", *OK)]):
        endpoint = split(90, 10, gateways=("a", "b"), parents=parents).endpoint
        assert endpoint.variants[0].weight_bp is None, parents
    assert shares(split(90, 10, gateways=("a", "b"))) == {"1": 9000, "2": 1000}


def test_a_write_of_a_moment_ago_is_only_on_its_way() -> None:
    managers = [{"manager": "kubectl", "time": (NOW - timedelta(seconds=2)).isoformat()}]
    endpoint = split(90, 10, parents=[parent("public", *OK, 2)], managedFields=managers).endpoint
    assert endpoint.rollout.phase is Phase.PROGRESSING


@pytest.mark.parametrize(("accepted", "resolved", "weight"), [("False", "True", None), ("True", "False", 1000)])
def test_a_refused_parent_or_reference_is_degraded(accepted: str, resolved: str, weight: int | None) -> None:
    endpoint = split(90, 10, parents=[parent("public", accepted, resolved)]).endpoint
    assert (endpoint.rollout.phase, endpoint.variants[1].weight_bp) == (Phase.DEGRADED, weight)
    assert "Said: as asked" in endpoint.problems[0]


def test_a_virtual_service_without_status_says_that_only_the_traffic_knows() -> None:
    endpoint = istio({"route": [to("v1", 90), to("v2", 10)]}).endpoint
    assert (endpoint.rollout.phase, endpoint.native.phase) == (Phase.WAITING, "no status")
    assert "look at the traffic" in endpoint.rollout.message


@pytest.mark.parametrize(
    ("status", "phase"),
    [
        ({"observedGeneration": 3}, Phase.WAITING),
        ({"observedGeneration": "3"}, Phase.WAITING),
        ({"observedGeneration": "2"}, Phase.UNKNOWN),
        ({"validationMessages": [{"level": "ERROR", "type": {"code": "IST0101"}}]}, Phase.DEGRADED),
        ({"validationMessages": [{"level": "WARNING", "type": {"code": "IST0102"}}]}, Phase.WAITING),
    ],
)
def test_the_status_of_a_virtual_service_counts_where_istio_writes_one(status: Json, phase: Phase) -> None:
    assert istio({"route": [to("v1", 90), to("v2", 10)]}, status=status).endpoint.rollout.phase is phase


def test_a_backend_that_gets_requests_and_has_no_pod_is_degraded() -> None:
    found = split(90, 10, behind=(TWO[0], deployed("foo-v2", "2", ready=0, day=2)))
    assert found.endpoint.rollout.phase is Phase.DEGRADED
    assert "foo-v2 gets requests and has no ready pod" in found.endpoint.problems
    with pytest.raises(Refused, match="no pod of foo-v2 is ready"):
        driver(found).complete(found.endpoint)
    assert found.endpoint.support(Verb.ROLLBACK).available


def test_a_subset_that_nothing_defines_is_told_before_it_gets_requests() -> None:
    found = istio({"route": [to("v1", 100), to("v3", 0)]})
    with pytest.raises(Refused, match="no DestinationRule defines the subset v3"):
        driver(found).set_weight(found.endpoint, 1000)


def test_all_weights_zero_is_no_rest() -> None:
    endpoint = split(0, 0).endpoint
    assert (endpoint.rollout.phase, endpoint.rollout.message) == (
        Phase.DEGRADED,
        "no backend gets anything: every request fails",
    )
    assert endpoint.support(Verb.ROLLBACK).available


# --- which one is stable


def test_past_the_half_the_older_one_is_still_the_stable_one() -> None:
    assert split(30, 70).endpoint.rollout.from_version == "1"
    back = (deployed("foo-v1", "3", day=5), TWO[1])
    assert split(10, 90, behind=back).endpoint.rollout.from_version == "2"


def test_a_label_says_better_which_one_is_stable() -> None:
    newer = deployed("foo-v1", "1", day=9)
    newer[0]["metadata"]["labels"] = {"mlrelease.dev/role": "stable"}
    assert split(30, 70, behind=(newer, TWO[1])).endpoint.rollout.from_version == "1"
    second = deployed("foo-v2", "2", day=1)
    second[0]["metadata"]["labels"] = {"mlrelease.dev/role": "canary"}
    assert split(30, 70, behind=(newer, second)).endpoint.rollout.from_version == "1"


def test_our_own_note_says_which_one_was_stable() -> None:
    same_day = (deployed("foo-v1", "1"), deployed("foo-v2", "2"))
    assert split(30, 70, behind=same_day).endpoint.rollout.from_version == "2"
    noted = split(30, 70, behind=same_day, annotations={"mlrelease.dev/history": '["1"]'})
    assert noted.endpoint.rollout.from_version == "1"


def test_with_everything_at_one_backend_that_one_is_stable_and_the_older_one_is_the_previous() -> None:
    endpoint = split(0, 100).endpoint
    assert (endpoint.rollout.phase, endpoint.rollout.from_version) == (Phase.COMPLETE, "2")
    assert endpoint.previous_version == "1"
    assert split(100, 0).endpoint.previous_version == ""


# --- what is not the split


@pytest.mark.parametrize(
    ("more", "weight"),
    [
        ({}, 10_000),
        ({"percent": 20}, 2000),
        ({"fraction": {"numerator": 1, "denominator": 8}}, 1250),
        ({"fraction": {"numerator": 5}}, 500),
    ],
)
def test_a_mirror_is_a_shadow_and_one_without_percent_gets_everything(more: Json, weight: int) -> None:
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": ref("foo-v3"), **more}}
    found = http(refs(ref("foo-v1", 90), ref("foo-v2", 10), filters=[mirror]))
    shadow = found.endpoint.variant(Role.SHADOW)
    assert shadow is not None
    assert (shadow.name, shadow.weight_bp) == ("foo-v3 (mirror)", weight)


def test_istio_mirrors_by_percentage() -> None:
    rule = {
        "route": [to("v1", 90), to("v2", 10)],
        "mirror": {"host": "foo", "subset": "v2"},
        "mirrorPercentage": {"value": 12.5},
    }
    shadow = istio(rule).endpoint.variant(Role.SHADOW)
    assert shadow is not None
    assert (shadow.version, shadow.weight_bp) == ("2", 1250)


def test_a_rule_that_sends_to_one_backend_alone_is_told_with_the_plan() -> None:
    header = refs(ref("foo-v2"), matches=[{"headers": [{"name": "x-canary", "value": "yes"}]}])
    found = http(header, refs(ref("foo-v1", 90), ref("foo-v2", 10)))
    assert "a rule sends all that it matches to foo-v2, whatever the weights say" in found.endpoint.problems
    (write,) = driver(found).abort(found.endpoint)
    assert write.after == "1 gets everything; a rule without weights still sends to foo-v2"
    assert weights_in(write) == {"/spec/rules/1/backendRefs/0/weight": 100, "/spec/rules/1/backendRefs/1/weight": 0}


def test_every_rule_of_the_same_split_is_moved_and_others_are_told() -> None:
    found = http(
        refs(ref("foo-v1", 9), ref("foo-v2", 1)),
        refs(ref("foo-v2", 50), ref("foo-v1", 50)),
        refs(ref("bar", 1), ref("baz", 1)),
    )
    assert [one.weight_bp for one in found.endpoint.variants] == [None, None]
    assert "its rules split differently: a weight sets them all alike" in found.endpoint.problems
    assert "1 of its rules split between other backends: they are not moved" in found.endpoint.problems
    (write,) = driver(found).set_weight(found.endpoint, 2000)
    assert weights_in(write) == {
        "/spec/rules/0/backendRefs/0/weight": 8,
        "/spec/rules/0/backendRefs/1/weight": 2,
        "/spec/rules/1/backendRefs/0/weight": 2,
        "/spec/rules/1/backendRefs/1/weight": 8,
    }


def test_one_service_with_two_ports_is_two_backends() -> None:
    item = http_route(refs(ref("foo-v1", 9), {**ref("foo-v1", 1), "port": 9090}))
    found = http_split(item)
    assert found is not None
    assert [one.name for one in found.backends] == ["foo-v1:8080", "foo-v1:9090"]


# --- the patch


def test_a_weight_is_tested_on_who_stands_where_and_what_each_had() -> None:
    found = split(90, 10)
    (write,) = driver(found).set_weight(found.endpoint, 2500)
    assert guards_in(write) == {
        "/metadata/uid": "u-foo",
        "/spec/rules/0/backendRefs/0/name": "foo-v1",
        "/spec/rules/0/backendRefs/0/weight": 90,
        "/spec/rules/0/backendRefs/1/name": "foo-v2",
        "/spec/rules/0/backendRefs/1/weight": 10,
    }
    assert weights_in(write) == {"/spec/rules/0/backendRefs/0/weight": 75, "/spec/rules/0/backendRefs/1/weight": 25}
    assert write.undo == "foo-v2 10%"


def test_a_weight_of_a_virtual_service_is_tested_on_the_whole_destination() -> None:
    found = istio({"route": [to("v1", 100), to("v2")]})
    (write,) = driver(found).start(found.endpoint, Artifact("2"), None)
    assert guards_in(write)["/spec/http/0/route/1/destination"] == {"host": "foo", "subset": "v2"}
    assert guards_in(write)["/spec/http/0/route/1/weight"] is None
    assert weights_in(write) == {"/spec/http/0/route/0/weight": 90, "/spec/http/0/route/1/weight": 10}


@pytest.mark.parametrize(
    ("weight_bp", "total", "numbers"),
    [
        (1000, 100, (10, 90)),
        (1000, 1, (10, 90)),
        (5000, 2, (1, 1)),
        (1250, 100, (1250, 8750)),
        (10_000, 1, (1, 0)),
        (10_000, 0, (100, 0)),
    ],
)
def test_proportions_make_any_share_exactly(weight_bp: int, total: int, numbers: tuple[int, int]) -> None:
    assert proportional(weight_bp, total) == numbers


def test_istio_knows_whole_percents() -> None:
    assert (of_hundred(1200, 7), of_hundred(1250, 100)) == ((12, 88), None)
    found = istio({"route": [to("v1", 90), to("v2", 10)]})
    with pytest.raises(Refused, match="Istio knows whole percents"):
        driver(found).set_weight(found.endpoint, 1250)


def test_what_is_so_already_is_refused() -> None:
    found = split(90, 10)
    with pytest.raises(Refused, match="gets 10% already"):
        driver(found).set_weight(found.endpoint, 1000)
    resting = split(100, 0)
    with pytest.raises(Refused, match="runs 1, alone"):
        driver(resting).roll_back(resting.endpoint, Artifact("1"))
    with pytest.raises(Refused, match="nothing is under way"):
        driver(resting).abort(resting.endpoint)


def test_a_promotion_notes_the_version_that_was_stable_and_goes_by_the_routes_own_steps() -> None:
    found = split(100, 0, annotations={"mlrelease.dev/steps": "[5, 50]"})
    (write,) = driver(found).start(found.endpoint, Artifact("2"), None)
    assert weights_in(write)["/spec/rules/0/backendRefs/1/weight"] == 5
    assert json.loads(write.payload)["notes"] == {"mlrelease.dev/history": '["1"]', "mlrelease.dev/stable": "foo-v1"}
    going = split(95, 5, annotations={"mlrelease.dev/steps": "[5, 50]"})
    (write,) = driver(going).advance(going.endpoint)
    assert weights_in(write)["/spec/rules/0/backendRefs/1/weight"] == 50


NOTED: Json = {"mlrelease.dev/history": '["1"]', "mlrelease.dev/stable": "foo-v2"}


def test_a_promotion_notes_the_backend_that_is_the_stable_one_from_then_on() -> None:
    found = split(90, 10)
    (write,) = driver(found).complete(found.endpoint)
    assert json.loads(write.payload)["notes"]["mlrelease.dev/stable"] == "foo-v2"
    (write,) = driver(found).abort(found.endpoint)
    assert json.loads(write.payload)["notes"]["mlrelease.dev/stable"] == "foo-v1"


@pytest.mark.parametrize(("first", "second"), [(10, 90), (60, 40)])
def test_a_canary_of_the_version_before_does_not_pass_for_the_stable_one(first: int, second: int) -> None:
    """After 1 → 2, 1 gets some requests again: the last promotion noted 1 as what was stable before, and it is the older one."""
    endpoint = split(first, second, annotations=NOTED).endpoint
    assert (endpoint.rollout.from_version, endpoint.rollout.to_version) == ("2", "1")
    assert endpoint.problems == ()


def test_two_backends_of_one_version_are_told_by_the_note() -> None:
    both = (deployed("foo-v1", "1"), deployed("foo-v2", "1", day=2))
    item = http_route(refs(ref("foo-v1", 40), ref("foo-v2", 60)), annotations=NOTED)
    endpoint = reading(HttpRoutes(), world((ROUTES, item), *FRONTS, *pods(*both))).endpoint
    assert endpoint.stable is not None
    assert endpoint.stable.name == "foo-v2"


@pytest.mark.parametrize(
    ("annotations", "said"), [({}, False), ({"mlrelease.dev/history": '["1"]'}, True), (NOTED, True)]
)
def test_where_nothing_says_which_backend_is_stable_the_guess_is_said_to_be_one(annotations: Json, said: bool) -> None:
    problems = split(90, 10, annotations=annotations).endpoint.problems
    assert any("nothing says which backend" in one and "mlrelease.dev/role" in one for one in problems) is not said


def test_a_version_that_no_backend_runs_is_deployed_on_the_idle_one_before_it_gets_a_request() -> None:
    found = split(100, 0)
    first, second = driver(found).start(found.endpoint, Artifact("3"), 1000)
    assert first.target == "Deployment shop/foo-v2"
    assert "registry.example/scorer:3" in first.payload
    assert second.after == "3 10%"
    assert weights_in(second)["/spec/rules/0/backendRefs/1/weight"] == 10


def test_with_two_idle_backends_nobody_guesses_which_one_gets_a_version() -> None:
    three = refs(ref("foo-v1", 1), ref("foo-v2", 0), ref("foo-v3", 0))
    both = (*TWO, deployed("foo-v3", "9", day=3))
    item = http_route(three)
    seen = world((ROUTES, item), *FRONTS, (SERVICES, service("foo-v3")), *pods(*both))
    found = reading(HttpRoutes(), seen)
    with pytest.raises(Refused, match="none is there to get it"):
        driver(found).start(found.endpoint, Artifact("7"), None)
    (write,) = driver(found).start(found.endpoint, Artifact("9"), None)
    assert weights_in(write)["/spec/rules/0/backendRefs/2/weight"] == 10


def test_a_rollback_to_a_version_that_stands_nowhere_names_the_deployment_as_the_way() -> None:
    found = split(100, 0)
    with pytest.raises(Refused) as refused:
        driver(found).roll_back(found.endpoint, Artifact("0"))
    assert refused.value.hint == "there are: 1, 2; or roll back the Deployment behind it"


# --- routes that somebody else drives


FLAGGERS = {"kind": "Canary", "apiVersion": "flagger.app/v1beta1", "name": "foo", "controller": True, "uid": "c-1"}


@pytest.mark.parametrize(
    ("more", "who"),
    [
        ({"ownerReferences": [FLAGGERS]}, "Flagger's Canary foo"),
        ({"labels": {"rollouts.argoproj.io/gatewayapi-canary": "in-progress"}}, "Argo Rollouts"),
        ({"managedFields": [{"manager": "rollouts-controller", "operation": "Update"}]}, "Argo Rollouts"),
        ({"managedFields": [{"manager": "flagger", "operation": "Update"}]}, "Flagger"),
    ],
)
def test_a_route_that_a_release_controller_drives_refuses_every_write_even_a_note(more: Json, who: str) -> None:
    found = split(90, 10, **more)
    assert [one.verb for one in found.endpoint.verbs if one.available] == []
    assert who in found.endpoint.support(Verb.WEIGHT).reason
    with pytest.raises(Refused, match="would put back"):
        driver(found).hold(found.endpoint, Hold(SafeText("ana"), SafeText()))


@pytest.mark.parametrize(
    ("kind", "routing"),
    [
        (ROUTES, {"plugins": {"argoproj-labs/gatewayAPI": {"httpRoute": "foo", "namespace": "shop"}}}),
        (ROUTES, {"plugins": {"argoproj-labs/gatewayAPI": {"httpRoutes": [{"name": "foo"}]}}}),
        (MESHES, {"istio": {"virtualService": {"name": "foo", "routes": ["primary"]}}}),
        (MESHES, {"istio": {"virtualServices": [{"name": "foo.shop"}]}}),
    ],
)
def test_a_route_that_a_rollout_names_is_claimed_by_it(kind: Resource, routing: Json) -> None:
    rollout = {"metadata": meta("scorer"), "spec": {"strategy": {"canary": {"trafficRouting": routing}}}}
    item = (
        http_route(refs(ref("foo-v1", 9), ref("foo-v2", 1)))
        if kind is ROUTES
        else mesh({"route": [to("v1", 90), to("v2", 10)]})
    )
    seen = world((kind, item), (ROLLOUTS, rollout), *FRONTS)
    (claiming,) = ArgoRollouts().sightings(seen, SERVED)
    assert "u-foo" in claiming.claims
    found = reading(HttpRoutes() if kind is ROUTES else VirtualServices(), seen)
    assert "Argo's Rollout scorer drives foo" in found.endpoint.support(Verb.ABORT).reason


def test_what_stands_by_can_be_promoted_although_no_deployment_is_seen_behind_it() -> None:
    seen = world((ROUTES, http_route(refs(ref("foo-v1", 1), ref("foo-v2", 0)))), *FRONTS)
    found = reading(HttpRoutes(), seen)
    assert found.endpoint.support(Verb.PROMOTE).available
    (write,) = driver(found).start(found.endpoint, Artifact("foo-v2"), None)
    assert weights_in(write)["/spec/rules/0/backendRefs/1/weight"] == 10


def test_a_reason_names_no_version_that_nobody_asked_for() -> None:
    same = (deployed("foo-v1", "1", day=1), deployed("foo-v2", "1", ready=0, day=2))
    same[1][0]["spec"]["replicas"] = 0
    found = split(100, 0, behind=same)
    told = " ".join(str(one.reason) for one in found.endpoint.verbs)
    assert "unheard" not in told
    with pytest.raises(Refused, match="no pod of foo-v2 is ready") as refused:
        driver(found).set_weight(found.endpoint, 1000)
    assert refused.value.hint == "scale it first"


def test_weights_of_a_backend_in_another_namespace_are_moved_like_any_other() -> None:
    elsewhere = ref("foo-v2", 1, namespace="prod")
    found = http(refs(ref("foo-v1", 9), elsewhere))
    assert [one.name for one in found.endpoint.variants] == ["foo-v1", "prod/foo-v2"]
    (write,) = driver(found).set_weight(found.endpoint, 2000)
    assert guards_in(write)["/spec/rules/0/backendRefs/1/namespace"] == "prod"
