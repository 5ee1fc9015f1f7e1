"""Where a Canary stands: what its status, its two Deployments and its route say together.

Facts of Flagger 1.36 and 1.44: the status has no observed generation and nothing that moves while nothing happens; the hashes
in it are of templates as Flagger's program holds them, so that nobody else can compute them; promoting copies the target's
template to the primary under other names. What runs is therefore told by comparing the templates of target and primary,
whatever phase and hashes say; what Flagger has not looked at yet by comparing when the target was touched with when the
status was written.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.api import FIELD_MANAGER
from mlrelease_tui.connectors.kubernetes.objects import at, count, items, table, text, when
from mlrelease_tui.connectors.kubernetes.pods import Identity
from mlrelease_tui.connectors.kubernetes.workloads import deployment_standing as deployments
from mlrelease_tui.connectors.kubernetes.workloads.deployment_standing import RESTARTED
from mlrelease_tui.connectors.kubernetes.workloads.flagger_route import Route
from mlrelease_tui.domain.rollout import ALL_TRAFFIC_BP, Strategy

HELD: Final = f"{marks.PREFIX}held"
"""What was so when it was held: JSON of `template` (a print of the target's) and `canary` (percent, null for none)."""
JUDGED: Final = frozenset({"Progressing", "WaitingPromotion"})
"""Phases in which Flagger heeds `failedChecks` and `skipAnalysis`."""
PROMOTED: Final = frozenset({"Promoting", "Finalising"})
AT_REST: Final = frozenset({"Initialized", "Succeeded", "Failed"})
_FLOOR_S: Final = 10.0
_INTERVAL_S: Final = 60.0
_MOST_S: Final = 86_400.0
_UNIT_S: Final[Mapping[str, float]] = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "ns": 1e-9}
_SLACK_S: Final = 10.0
_ID: Final = "flagger-id"
_OWN_NOTES: Final = frozenset({_ID, RESTARTED})


@dataclass(frozen=True)
class Standing:
    """A Canary with its target, its primary and its route, each None where it is not there or can't be read."""

    item: Object
    target: deployments.Standing | None
    primary: deployments.Standing | None
    route: Route | None
    scaler: str = ""
    """What else sets the primary's replicas."""
    primary_item: Object = field(default_factory=dict)
    """The primary as the server has it; in `primary` it is without Flagger's own mark, and with what the target notes of it."""

    # --- what it asks for

    @property
    def analysis(self) -> Mapping[str, Any]:
        return table(self.item, "spec", "analysis") or table(self.item, "spec", "canaryAnalysis")

    @property
    def interval_s(self) -> float:
        """How often Flagger looks, in seconds: 10 at least, whatever the Canary says."""
        return min(max(seconds(text(self.analysis, "interval")) or _INTERVAL_S, _FLOOR_S), _MOST_S)

    @property
    def threshold(self) -> int:
        return count(self.analysis, "threshold") or 1

    @property
    def target_name(self) -> str:
        return text(self.item, "spec", "targetRef", "name")

    @property
    def target_kind(self) -> str:
        return text(self.item, "spec", "targetRef", "kind") or "Deployment"

    @property
    def apex(self) -> str:
        return apex_of(self.item)

    @property
    def strategy(self) -> Strategy:
        iterations = count(self.analysis, "iterations") > 0
        if iterations and items(self.analysis, "match"):
            return Strategy.AB
        blue_green = iterations or text(self.item, "spec", "provider") == "kubernetes"
        return Strategy.BLUE_GREEN if blue_green else Strategy.CANARY

    @property
    def steps(self) -> tuple[int, ...]:
        """The canary's weights in percent, ascending; () where it has iterations instead."""
        if self.strategy is not Strategy.CANARY:
            return ()
        most = count(self.analysis, "maxWeight") or 100
        if given := [weight for weight in items(self.analysis, "stepWeights") if isinstance(weight, int)]:
            return tuple(given)
        step = count(self.analysis, "stepWeight")
        return (*range(step, most, step), most) if step > 0 else ()

    def gates(self, kind: str) -> tuple[str, ...]:
        """The names of its webhooks of this kind."""
        return tuple(text(hook, "name") for hook in items(self.analysis, "webhooks") if text(hook, "type") == kind)

    # --- what its status says

    @property
    def native(self) -> str:
        return text(self.item, "status", "phase")

    @property
    def suspended(self) -> bool:
        return at(self.item, "spec", "suspend") is True

    @property
    def skips(self) -> bool:
        return at(self.item, "spec", "skipAnalysis") is True

    @property
    def failed_checks(self) -> int:
        return count(self.item, "status", "failedChecks")

    @property
    def aborting(self) -> bool:
        """Whether Flagger ends the release at its next look."""
        return self.native in JUDGED and self.failed_checks >= self.threshold

    @property
    def written_at(self) -> datetime | None:
        """When Flagger wrote the status last. While it is Failed that is each interval."""
        return when(text(self.item, "status", "lastTransitionTime"))

    # --- what runs

    @property
    def stable(self) -> Identity | None:
        """What users rely on: what the primary runs; before there is one, what the target does."""
        if self.primary is not None:
            return self.primary.source
        return self.target.target if self.target is not None else None

    @property
    def settled(self) -> bool:
        """Whether the primary is rolled out, every pod of it available."""
        return self.primary is not None and self.primary.settled

    @cached_property
    def same(self) -> bool:
        """Whether the target holds what the primary holds."""
        return self.primary is None or self.target is None or print_of(self.target.item) == print_of(self.primary.item)

    @cached_property
    def wanted(self) -> Identity | None:
        """What the target holds. Of one version with what the primary runs, and yet another template, it is told apart."""
        if self.target is None:
            return self.stable
        found, stable = self.target.target, self.stable
        if stable is None or self.primary is None:
            return found
        if self.same:
            return self.primary.target
        if found.version != stable.version:
            return found
        current = self.target.current
        mark = text(current or {}, "metadata", "labels", deployments.HASH_LABEL) or "new"
        return Identity(found.model, f"{found.version}+{mark}", found.digest, found.source)

    @property
    def weight_bp(self) -> int | None:
        """The canary's share of the traffic, None where requests are split otherwise or not at all."""
        if self.strategy is Strategy.AB:
            return None
        if self.route is not None:
            return self.route.canary_bp
        if self.strategy is Strategy.CANARY and self.native:
            return min(count(self.item, "status", "canaryWeight") * 100, ALL_TRAFFIC_BP)
        return None

    @property
    def broken(self) -> bool:
        """A promotion that failed half way: the canary is all that is well, and the primary keeps the new template."""
        return self.native == "Failed" and self.primary is not None and self.same and not self.settled

    @property
    def stray(self) -> bool:
        """At rest the canary has no pods; a hand gave it traffic, and Flagger will never take it back."""
        return self.native in AT_REST and not self.broken and bool(self.weight_bp)

    # --- what Flagger has not seen yet

    @property
    def newer(self) -> bool:
        """Whether the target's template came after Flagger's last word. In a release that begins it anew from 0, and an abort
        is forgotten with it."""
        if self.native not in JUDGED or self.target is None:
            return False
        if held := self.noted:
            return held.get("template") != print_of(self.target.item)
        made, seen = when(text(self.target.current or {}, "metadata", "creationTimestamp")), self.written_at
        return made is not None and seen is not None and made > seen

    @property
    def owed(self) -> bool:
        """Whether Flagger has yet to notice what the target holds."""
        if self.native in JUDGED:
            return self.newer and not self.suspended
        touched, seen = self.touched_at, self.written_at
        if self.native not in AT_REST or touched is None or seen is None or touched < seen:
            return False
        # While it is Failed it writes its status at each look: also that nothing is to be done.
        return not self.same or self.native == "Failed"

    @property
    def touched_at(self) -> datetime | None:
        """When somebody other than controllers wrote to the target."""
        if self.target is None:
            return None
        found = marks.written_by_hand(self.target.item, *self.flaggers)
        return max(found, default=None)

    @property
    def flaggers(self) -> frozenset[str]:
        """The names under which Flagger writes: its program file's, which anybody may choose. It writes to both the Canary's
        status and the primary that it made."""
        if self.primary is None:
            return frozenset()
        told = {
            str(one.get("manager")) for one in items(self.item, "metadata", "managedFields") if one.get("subresource")
        }
        made = {str(one.get("manager")) for one in items(self.primary.item, "metadata", "managedFields")}
        return frozenset(told & made) - {FIELD_MANAGER}

    @property
    def noted(self) -> Mapping[str, Any]:
        """What was so when we held it; {} where we do not."""
        if not self.suspended:
            return {}
        found = marks.parsed(text(self.item, "metadata", "annotations", HELD))
        return found if isinstance(found, dict) else {}

    @property
    def rerouted(self) -> bool:
        """Whether another hand gave it another weight while we hold it: a step that Flagger was just taking then is in its
        status too."""
        percent, noted = canary_percent(self), self.noted
        known = (noted.get("canary"), count(self.item, "status", "canaryWeight"))
        return bool(noted) and self.native in JUDGED and percent not in known

    @property
    def slow_s(self) -> float:
        """Seconds within which a Flagger that runs has looked."""
        return 2 * self.interval_s + _SLACK_S

    def version(self) -> str:
        found = self.wanted
        return found.version if found else "?"


def standing_of(
    item: Object,
    target: deployments.Standing | None,
    primary: deployments.Standing | None,
    route: Route | None,
    scaler: str = "",
) -> Standing:
    """The Canary with what belongs to it. Which versions ran well is noted on the target: promoting takes the notes of the
    primary away."""
    real: Object = primary.item if primary is not None else {}
    if primary is not None:
        primary = deployments.Standing(_plain(primary.item), tuple(_plain(one) for one in primary.sets))
    if target is not None and primary is not None:
        meta = table(primary.item, "metadata")
        known = text(target.item, "metadata", "annotations", marks.HISTORY)
        noted = {**table(meta, "annotations"), **({marks.HISTORY: known} if known else {})}
        primary = deployments.Standing({**primary.item, "metadata": {**meta, "annotations": noted}}, primary.sets)
    return Standing(item, target, primary, route, scaler, real)


def _plain(item: Object) -> Object:
    """Without the mark that each promotion puts into the primary's template: one version promoted twice is one version."""
    spec, template = table(item, "spec"), table(item, "spec", "template")
    meta = table(template, "metadata")
    noted = {key: value for key, value in table(meta, "annotations").items() if key != _ID}
    bare = {key: value for key, value in meta.items() if key != "annotations"} | (
        {"annotations": noted} if noted else {}
    )
    return {**item, "spec": {**spec, "template": {**template, "metadata": bare}}}


def apex_of(item: Object) -> str:
    """The name of the Service that users call; those of the primary and of the canary begin with it, and the route has it."""
    return text(item, "spec", "service", "name") or text(item, "spec", "targetRef", "name")


def print_of(item: Object) -> str:
    """The same for a template and for what Flagger makes of it for the primary: names of configurations and labels in it end
    with "-primary" there. Labels that only select are left out, and when it was restarted."""
    template = table(item, "spec", "template")
    noted = {key: value for key, value in table(template, "metadata", "annotations").items() if key not in _OWN_NOTES}
    noted = {key: value for key, value in noted.items() if "toolkit.fluxcd.io" not in key}
    told = json.dumps([table(template, "spec"), noted], sort_keys=True).replace('-primary"', '"')
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def set_like(one: deployments.Standing, item: Object) -> Object | None:
    """The ReplicaSet of a Deployment that holds what another Deployment, or a ReplicaSet of it, holds: the newest."""
    wanted = print_of(item)
    return next((found for found in one.sets if print_of(found) == wanted), None)


def seconds(duration: str) -> float:
    """A duration as Go writes it ("1m30s"), 0 where it is none."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|us|ns|h|m|s)", duration)
    return sum(float(number) * _UNIT_S[unit] for number, unit in parts)


def canary_percent(standing: Standing) -> int | None:
    """The canary's weight in whole percent, None where it has none."""
    return None if standing.weight_bp is None else round(standing.weight_bp / 100)


def target_replicas(standing: Standing) -> int:
    """Pods that the target is to have."""
    return standing.target.wanted if standing.target is not None else 0
