"""What a driver does that plans writes: pure, consistent, and nothing left out."""

# ruff: noqa: S101 - a test asserts

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast

import pytest

from mlrelease_tui.connectors.api import (
    Abortable,
    Artifact,
    Connector,
    EndpointSource,
    Holdable,
    Promotable,
    Restartable,
    Retryable,
    Returnable,
    Scalable,
    Shadowable,
    Switchable,
    Weighable,
)
from mlrelease_tui.connectors.conformance.looking import assert_no_secret, assert_safe, no_io
from mlrelease_tui.domain.expectation import AliasExpectation, EndpointExpectation, endpoint_mismatches, subject_of
from mlrelease_tui.domain.plan import Write
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP, Endpoint, Hold, Role, Verb
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.errors import Refused, ReleaseError, Unsupported

Planning = Callable[[object, Endpoint, Artifact], tuple[Write, ...]]

_HOLD: Final = Hold(SafeText("conformance"), SafeText("a test"))


def _canary_half(driver: object, endpoint: Endpoint, _: Artifact) -> tuple[Write, ...]:
    canary = endpoint.canary
    weight = (canary.weight_bp or 0) if canary else 0
    return cast(Weighable, driver).set_weight(endpoint, 5000 if weight != 5000 else 2500)


def _back(driver: object, endpoint: Endpoint, artifact: Artifact) -> tuple[Write, ...]:
    stable = endpoint.stable
    version = stable.version if endpoint.rollout.in_flight and stable is not None else endpoint.previous_version
    return cast(Returnable, driver).roll_back(endpoint, Artifact(version or artifact.version))


def _forward(driver: object, endpoint: Endpoint, artifact: Artifact) -> tuple[Write, ...]:
    promotable = cast(Promotable, driver)
    return promotable.advance(endpoint) if endpoint.rollout.in_flight else promotable.start(endpoint, artifact, None)


WAYS: Final[Mapping[str, tuple[Verb, Planning]]] = {
    "promote": (Verb.PROMOTE, _forward),
    "promote to 25%": (
        Verb.PROMOTE,
        lambda driver, endpoint, artifact: cast(Promotable, driver).start(endpoint, artifact, 2500),
    ),
    "promote --full": (Verb.PROMOTE, lambda driver, endpoint, _: cast(Promotable, driver).complete(endpoint)),
    "weight": (Verb.WEIGHT, _canary_half),
    "weight 0": (Verb.WEIGHT, lambda driver, endpoint, _: cast(Weighable, driver).set_weight(endpoint, 0)),
    "hold": (Verb.HOLD, lambda driver, endpoint, _: cast(Holdable, driver).hold(endpoint, _HOLD)),
    "continue": (Verb.CONTINUE, lambda driver, endpoint, _: cast(Holdable, driver).resume(endpoint)),
    "abort": (Verb.ABORT, lambda driver, endpoint, _: cast(Abortable, driver).abort(endpoint)),
    "rollback": (Verb.ROLLBACK, _back),
    "retry": (Verb.RETRY, lambda driver, endpoint, _: cast(Retryable, driver).retry(endpoint)),
    "restart": (Verb.RESTART, lambda driver, endpoint, _: cast(Restartable, driver).restart(endpoint)),
    "scale": (Verb.SCALE, lambda driver, endpoint, _: cast(Scalable, driver).scale(endpoint, 3)),
    "switch": (Verb.SWITCH, lambda driver, endpoint, _: cast(Switchable, driver).switch(endpoint)),
    "shadow": (
        Verb.SHADOW,
        lambda driver, endpoint, artifact: cast(Shadowable, driver).shadow(endpoint, artifact, 500),
    ),
}
"""Each way in which the core asks a driver for writes."""

_MAY_LOOK_THE_SAME: Final = {Verb.RETRY, Verb.RESTART, Verb.SCALE, Verb.SHADOW}


class PlanningConformance:
    """Fixtures: `connector`; `situations`, endpoints as they were read, by a name of your own: one in flight, one at rest, one
    held, whatever your backend knows; `artifact`, a version that none of them runs; `secrets`."""

    @pytest.fixture
    def connector(self) -> Connector:
        raise NotImplementedError("give a connector")

    @pytest.fixture
    def situations(self) -> Mapping[str, Endpoint]:
        raise NotImplementedError("give endpoints as they were read")

    @pytest.fixture
    def artifact(self) -> Artifact:
        raise NotImplementedError("give a version that can be deployed and runs nowhere yet")

    @pytest.fixture
    def secrets(self) -> tuple[str, ...]:
        return ()

    @pytest.mark.parametrize("way", WAYS)
    def test_plans_are_pure_and_consistent(
        self,
        way: str,
        connector: Connector,
        situations: Mapping[str, Endpoint],
        artifact: Artifact,
        secrets: tuple[str, ...],
    ) -> None:
        verb, ask = WAYS[way]
        for name, endpoint in situations.items():
            writes = planned(connector, ask, verb, endpoint, artifact)
            if not writes:
                continue
            undoable = verb not in _MAY_LOOK_THE_SAME and endpoint.stable is not None
            assert_well_planned(writes, connector.name, secrets, undoable=undoable)
            assert_follows(writes, endpoint, f"{way} of {name}", may_look_the_same=verb in _MAY_LOOK_THE_SAME)
            if verb is not Verb.SHADOW:
                assert_all_traffic(writes, endpoint, f"{way} of {name}")

    def test_what_is_offered_can_be_planned_somewhere(
        self, connector: Connector, situations: Mapping[str, Endpoint], artifact: Artifact
    ) -> None:
        offered = {item.verb for endpoint in situations.values() for item in endpoint.verbs if item.available}
        offered.discard(Verb.ALIAS)
        for verb in offered:
            ways = [ask for known, ask in WAYS.values() if known is verb]
            assert any(
                planned(connector, ask, verb, endpoint, artifact) for ask in ways for endpoint in situations.values()
            ), f"{verb} is offered, and none of the situations has a plan for it"

    def test_a_weight_is_what_was_asked_for(
        self, connector: Connector, situations: Mapping[str, Endpoint], artifact: Artifact
    ) -> None:
        for endpoint in situations.values():
            canary = endpoint.canary
            for weight in (0, 1, 2500, 9999, ALL_TRAFFIC_BP):
                if canary is None or not endpoint.support(Verb.WEIGHT).available or canary.weight_bp == weight:
                    continue
                last = planned(
                    connector,
                    lambda driver, endpoint, _, weight=weight: cast(Weighable, driver).set_weight(endpoint, weight),  # type: ignore[misc]
                    Verb.WEIGHT,
                    endpoint,
                    artifact,
                )
                if last:
                    assert _weight_of(last[-1], canary.name, canary.version) == weight


def planned(
    connector: Connector, ask: Planning, verb: Verb, endpoint: Endpoint, artifact: Artifact
) -> tuple[Write, ...]:
    """What the driver plans, checked to be pure; nothing where the verb is not offered or is refused with what to do."""
    if not endpoint.support(verb).available:
        return ()
    assert isinstance(connector, EndpointSource)
    driver = connector.driver(endpoint)
    try:
        with no_io():
            writes = ask(driver, endpoint, artifact)
            assert ask(driver, endpoint, artifact) == writes, "the same input gave other writes"
    except (Refused, Unsupported) as error:
        assert error.message, "a refusal says why"
        assert error.hint, "a refusal says what to do"
        return ()
    except ReleaseError as error:
        raise AssertionError(f"planning refuses by Refused, not {type(error).__name__}") from error
    assert isinstance(writes, tuple)
    return writes


def assert_well_planned(
    writes: Sequence[Write], connection: str, secrets: Sequence[str] = (), *, undoable: bool = True
) -> None:
    """Each write names itself whole, and none shows a secret or a character that a terminal acts on."""
    assert writes
    assert any(write.mutates for write in writes)
    for write in writes:
        assert write.connection == connection
        for word in ("operation", "target", "call", "before", "after", "precondition"):
            assert getattr(write, word), f"a write without {word}"
        assert write.undo or not (write.mutates and undoable), "a write that does not say how it is undone"
        content = json.loads(write.payload)
        assert json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False) == write.payload or (
            json.dumps(content, sort_keys=True, separators=(",", ":")) == write.payload
        ), "a payload is canonical JSON"
        assert write.settle_s > 0
        assert_safe((write.call, write.before, write.after, write.precondition, write.undo, write.shell))
        assert_no_secret(secrets, write)


def assert_follows(writes: Sequence[Write], endpoint: Endpoint, what: str, *, may_look_the_same: bool = False) -> None:
    """What the first write assumes is so; each next one assumes what the last brought about; the end is another than now."""
    before: dict[str, EndpointExpectation] = {}
    for index, write in enumerate(writes):
        assumes, expects = write.assumes, write.expects
        if isinstance(assumes, AliasExpectation) or isinstance(expects, AliasExpectation):
            continue
        assert assumes.endpoint == expects.endpoint == endpoint.ref
        assert assumes.uid == expects.uid == endpoint.uid, f"{what}: a recreated object must be told"
        earlier = before.get(subject_of(assumes))
        if earlier is None:
            assert endpoint_mismatches(assumes, endpoint) == (), f"{what}: step {index + 1} assumes what is not so"
        else:
            assert contradictions(earlier, assumes) == (), f"{what}: step {index + 1} does not follow"
        before[subject_of(expects)] = expects
    last = before.get(endpoint.ref.id)
    if last is not None and not may_look_the_same:
        assert endpoint_mismatches(last, endpoint) != (), f"{what}: nothing tells that it was done"


def contradictions(earlier: EndpointExpectation, later: EndpointExpectation) -> tuple[str, ...]:
    """What `later` assumes and `earlier` did not leave behind. What either does not speak of contradicts nothing."""
    found = [f"{name} is absent" for name in later.present if name in earlier.absent]
    found += [f"{name} is present" for name in later.absent if name in earlier.present]
    for word in ("weights", "version_weights"):
        left, wanted = getattr(earlier, word), getattr(later, word)
        if left is not None and wanted is not None:
            known = dict(left)
            found += [f"{name} weighs {known[name]}" for name, weight in wanted if known.get(name, weight) != weight]
    for word in ("stable_version", "held", "step_index"):
        left, wanted = getattr(earlier, word), getattr(later, word)
        if left is not None and wanted is not None and left != wanted:
            found.append(f"{word} is {left}, not {wanted}")
    return tuple(found)


def assert_all_traffic(writes: Sequence[Write], endpoint: Endpoint, what: str) -> None:
    """After each write what users reach weighs all traffic; mirrors do not count."""
    shadows = {item.name for item in endpoint.variants if item.role is Role.SHADOW}
    for index, write in enumerate(writes):
        expects = write.expects
        if isinstance(expects, AliasExpectation):
            continue
        by_name = [weight for name, weight in expects.weights or () if name not in shadows]
        by_version = [weight for _, weight in expects.version_weights or ()]
        for weights in (by_name, by_version):
            assert all(0 <= weight <= ALL_TRAFFIC_BP for weight in weights), f"{what}: step {index + 1}"
            assert not weights or sum(weights) == ALL_TRAFFIC_BP, f"{what}: step {index + 1} leaves {sum(weights)}"


def _weight_of(write: Write, name: str, version: str) -> int | None:
    expects = write.expects
    assert isinstance(expects, EndpointExpectation)
    by_name, by_version = dict(expects.weights or ()), dict(expects.version_weights or ())
    return by_name.get(name, by_version.get(version))
