"""Who wrote to an object last, by our stamp and by the server's record of field managers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from mlrelease_tui.connectors.kubernetes.marks import (
    HISTORY,
    HOLD,
    STAMP,
    history_of,
    hold_of,
    last_writer,
    stamp_of,
    writer_key,
)
from mlrelease_tui.connectors.kubernetes.workloads import deployment_standing as deployments
from mlrelease_tui.connectors.kubernetes.workloads import flagger_standing as canaries
from mlrelease_tui.connectors.kubernetes.workloads.flagger_standing import HELD
from mlrelease_tui.connectors.kubernetes.workloads.pair_standing import WHOLE, Pair
from mlrelease_tui.connectors.kubernetes.workloads.steps import STEPS, steps_of

OURS = {"intent": "i-1", "verb": "rollback", "by": "ana", "why": "p99", "at": "2026-03-01T11:00:00.400000+00:00"}


def item(*writers: tuple[str, str], stamp: bool = True) -> dict[str, Any]:
    fields = [{"manager": manager, "time": f"2026-03-01T{at}Z"} for manager, at in writers]
    notes = {STAMP: json.dumps(OURS)} if stamp else {}
    return {"metadata": {"name": "fraud", "annotations": notes, "managedFields": fields}}


@pytest.mark.parametrize(
    ("writers", "by"),
    [
        ((("mlrelease", "11:00:00"),), "ana"),
        ((("mlrelease", "11:00:00"), ("kubectl-edit", "10:59:59")), "ana"),
        ((("mlrelease", "11:00:00"), ("kubectl-edit", "11:00:00")), "ana"),
        ((("mlrelease", "11:00:00"), ("kubectl-edit", "11:00:01")), "kubectl-edit"),
        ((("mlrelease", "11:00:00"), ("kubectl-edit", "11:00:05"), ("argocd", "11:00:05")), "argocd or kubectl-edit"),
        ((("mlrelease", "11:00:00"), ("kubectl-edit", "11:00:05"), ("argocd", "11:00:04")), "kubectl-edit"),
        ((("mlrelease", "11:00:00"), ("kube-controller-manager", "11:00:09")), "ana"),
    ],
)
def test_whoever_wrote_last_is_named_and_nobody_where_a_second_holds_two(
    writers: tuple[tuple[str, str], ...], by: str
) -> None:
    stamp = last_writer(item(*writers))
    assert stamp is not None
    assert str(stamp.by) == by
    assert (stamp.intent_id == "i-1") is (by == "ana")


def test_two_of_one_second_are_another_last_write_than_one_of_them() -> None:
    one = item(("kubectl-edit", "11:00:05"), stamp=False)
    both = item(("kubectl-edit", "11:00:05"), ("argocd", "11:00:05"), stamp=False)
    assert writer_key(one) != writer_key(both)


def test_of_two_of_one_second_the_one_that_was_known_before_is_not_meant() -> None:
    before = writer_key(item(("kubectl", "11:00:05"), stamp=False))
    stamp = last_writer(item(("kubectl", "11:00:05"), ("pipeline", "11:00:05"), stamp=False), known=before)
    assert stamp is not None
    assert str(stamp.by) == "pipeline"


BROKEN = (
    "[" * 4000,
    "{" * 4000,
    "[1e999, -1e999, NaN, 25]",
    "nonsense",
    "null",
    '"text"',
    "9" * 5000,
    "[" + "1," * 5000 + "1]",
)


@pytest.mark.parametrize("value", BROKEN, ids=lambda value: value[:12])
def test_a_note_of_ours_that_anybody_broke_says_nothing_and_stops_nothing(value: str) -> None:
    """Whoever may annotate one object must not blind us to all others."""
    keys = (STAMP, HOLD, HISTORY, STEPS, HELD, WHOLE)
    broken = {"metadata": {"annotations": dict.fromkeys(keys, value)}, "spec": {"suspend": True}}
    assert (stamp_of(broken), hold_of(broken)) == (None, None)
    assert steps_of(broken) == ((2500,) if "25]" in value else ())
    assert all(isinstance(one, str) for one in history_of(broken))
    assert canaries.Standing(broken, None, None, None).noted == {}
    half = deployments.Standing(broken, ())
    assert Pair({}, half, half).whole == 2
