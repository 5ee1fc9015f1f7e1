"""Where a Deployment stands: which of its ReplicaSets runs, which ran well before, and which version each of them is.

Facts of kube-controller-manager 1.36: a deadline condition of the rollout before stays for up to half a second after a new
template, and names the ReplicaSet that it is about; while `spec.paused` is set a new template gets no ReplicaSet; nothing remembers
whether a ReplicaSet that was scaled to 0 ever became available, so that the second highest revision may be a bad one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

from mlrelease_tui.connectors.kubernetes import marks
from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.objects import at, condition, count, labels, name, notes, table, text
from mlrelease_tui.connectors.kubernetes.pods import Identity, identity_of
from mlrelease_tui.domain.rollout import Verb

HASH_LABEL: Final = "pod-template-hash"
REVISION: Final = "deployment.kubernetes.io/revision"
_REVISIONS_BEFORE: Final = "deployment.kubernetes.io/revision-history"
RESTARTED: Final = "kubectl.kubernetes.io/restartedAt"


@dataclass(frozen=True)
class Standing:
    """A Deployment with its ReplicaSets, newest revision first."""

    item: Object
    sets: tuple[Object, ...]

    # --- the two that matter

    @cached_property
    def current(self) -> Object | None:
        """The ReplicaSet of the template that stands in the spec; None before its controller made one."""
        template = bare(table(self.item, "spec", "template"))
        for one in self.sets:
            if bare(table(one, "spec", "template")) == template:
                return one
        if self.observed and not self.paused:
            number = text(notes(self.item), REVISION)
            return next((one for one in self.sets if text(notes(one), REVISION) == number), None)
        return None

    @cached_property
    def stable(self) -> Object | None:
        """The ReplicaSet that users can rely on: the current one once it was rolled out or returned to, else the one before it
        that is known to run; None where nothing is known."""
        current = self.current
        if current is not None and (self.rolled_out or self.returning):
            return current
        others = tuple(one for one in self.sets if one is not current)
        return self._running(others) or self._remembered(others) or current

    def _running(self, others: tuple[Object, ...]) -> Object | None:
        """Of those before it, the one with available pods. Where there are two, that which is known to have run well, else the one
        with the most of them."""
        running = [one for one in others if count(one, "status", "availableReplicas")]
        known = marks.history_of(self.item)
        trusted = [one for version in known for one in running if self._plain(one).version == version]
        if trusted:
            return trusted[0]
        return max(running, key=lambda one: count(one, "status", "availableReplicas"), default=None)

    def _remembered(self, others: tuple[Object, ...]) -> Object | None:
        """Where none of them runs any more: what ran well by our own notes, what somebody returned to, the only one there is."""
        for version in marks.history_of(self.item):
            for one in others:
                if self._plain(one).version == version:
                    return one
        returned = [one for one in others if text(notes(one), _REVISIONS_BEFORE)]
        if returned:
            return returned[0]
        return others[0] if len({self._plain(one).version for one in others}) == 1 else None

    # --- its state

    @property
    def paused(self) -> bool:
        return at(self.item, "spec", "paused") is True

    @property
    def observed(self) -> bool:
        return count(self.item, "status", "observedGeneration") >= count(self.item, "metadata", "generation")

    @property
    def wanted(self) -> int:
        """Replicas that the spec asks for; 1 where it does not say."""
        found = at(self.item, "spec", "replicas")
        return found if isinstance(found, int) else 1

    @property
    def replicas(self) -> str:
        """Replicas that its controller sees to; "" before it has looked at the newest spec, where ready pods prove nothing yet."""
        return str(self.wanted) if self.observed else ""

    @property
    def available(self) -> int:
        return count(self.item, "status", "availableReplicas")

    @property
    def rolled_out(self) -> bool:
        """Whether the template in the spec was once rolled out whole, and nothing of another one is left."""
        current = self.current
        if current is None or any(_pods(one) for one in self.sets if one is not current):
            return False
        if self.observed and condition(self.item, "Progressing").get("reason") == "NewReplicaSetAvailable":
            return True
        # A pause takes that reason away, it never comes where no deadline is set, and a spec that nobody has looked at yet may
        # differ in anything.
        available = count(current, "status", "availableReplicas")
        enough = self.wanted if self.observed and not self.paused else min(1, self.wanted)
        return available >= enough

    @property
    def settled(self) -> bool:
        """Whether it is rolled out and every pod that it wants is available."""
        return self.rolled_out and self.available >= self.wanted

    @property
    def returning(self) -> bool:
        """Whether the last hand on it was ours, to roll it back: what it goes to is what is good."""
        stamp = marks.last_writer(self.item)
        return stamp is not None and bool(stamp.intent_id) and stamp.verb == Verb.ROLLBACK

    @property
    def in_flight(self) -> bool:
        return self.current is None or (self.stable is not self.current)

    @property
    def overdue(self) -> bool:
        """Whether the rollout that stands in the spec missed its deadline: a condition about another ReplicaSet is of the rollout
        before."""
        progress = condition(self.item, "Progressing")
        if progress.get("reason") != "ProgressDeadlineExceeded":
            return False
        current = self.current
        return current is not None and f'"{name(current)}"' in str(progress.get("message") or "")

    # --- versions

    @cached_property
    def versions(self) -> Mapping[str, Identity]:
        """What each ReplicaSet runs, by name. Two templates of one version are told apart by their hash, the stable one not."""
        first = [one for one in (self.stable, self.current) if one is not None]
        order = [*first, *(one for one in self.sets if one not in first)]
        known: dict[str, str] = {}
        found: dict[str, Identity] = {}
        for one in order:
            identity, print_ = self._plain(one), fingerprint(table(one, "spec", "template"))
            if known.setdefault(identity.version, print_) != print_:
                identity = replace(identity, version=f"{identity.version}+{text(labels(one), HASH_LABEL) or name(one)}")
            found[name(one)] = identity
        return found

    @cached_property
    def target(self) -> Identity:
        """What the template in the spec is."""
        if self.current is not None:
            return self.versions[name(self.current)]
        template = table(self.item, "spec", "template")
        identity, print_ = identity_of(template, self.item), fingerprint(template)
        for one in self.sets:
            if self._plain(one).version == identity.version and fingerprint(table(one, "spec", "template")) != print_:
                return replace(identity, version=f"{identity.version}+new")
        return identity

    @property
    def source(self) -> Identity:
        """What users can rely on."""
        return self.versions[name(self.stable)] if self.stable is not None else self.target

    @property
    def previous(self) -> str:
        """The version to which a rollback at rest would return, "" where nobody can say which one ran well: by our own notes, else
        what somebody returned to before, else the only other one that is kept."""
        if self.in_flight:
            return ""
        now = self.target.version
        if known := [version for version in marks.history_of(self.item) if version != now]:
            return known[0]
        others = [one for one in self.sets if self.versions[name(one)].version != now]
        returned = [one for one in others if text(notes(one), _REVISIONS_BEFORE)]
        if returned:
            return self.versions[name(returned[0])].version
        kept = {self.versions[name(one)].version for one in others}
        return next(iter(kept)) if len(kept) == 1 else ""

    def running(self, version: str) -> Object | None:
        """The ReplicaSet that holds a version: the newest of its revisions."""
        return next((one for one in self.sets if self.versions[name(one)].version == version), None)

    def _plain(self, one: Object) -> Identity:
        return identity_of(table(one, "spec", "template"), self.item)


def standing_of(item: Object, sets: tuple[Object, ...]) -> Standing:
    """The Deployment with the ReplicaSets that it owns."""
    return Standing(item, tuple(sorted(sets, key=_number, reverse=True)))


def _pods(one: Object) -> int:
    return count(one, "spec", "replicas") or count(one, "status", "replicas")


def _number(one: Object) -> int:
    number = text(notes(one), REVISION)
    return int(number) if number.isdigit() else 0


def bare(template: Mapping[str, Any]) -> Mapping[str, Any]:
    """A pod template without what a controller put on it."""
    meta = dict(table(template, "metadata"))
    meta.pop("creationTimestamp", None)
    kept = {key: value for key, value in table(meta, "labels").items() if key != HASH_LABEL}
    meta["labels"] = kept
    if not meta.get("annotations"):
        meta.pop("annotations", None)
    return {**template, "metadata": meta}


def fingerprint(template: Mapping[str, Any]) -> str:
    """The same for two templates that differ in nothing but when they were restarted."""
    plain = bare(template)
    meta = dict(table(plain, "metadata"))
    meta["annotations"] = {key: value for key, value in table(meta, "annotations").items() if key != RESTARTED}
    return json.dumps({**plain, "metadata": meta}, sort_keys=True, separators=(",", ":"))
