"""What ails pods, in one line: the reason that the kubelet gives, how often it began anew, and how it ended before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.objects import at, condition, count, items, table, text
from mlrelease_tui.domain.text import SafeText

_WORST: Final = 3
_LONGEST: Final = 160


def ailments(pods: Iterable[Object]) -> str:
    """ "2 pods CrashLoopBackOff (4 restarts, last OOMKilled 137)"; "" where nothing ails them that is known. Pods that are on their
    way out are not counted."""
    living = [pod for pod in pods if not text(pod, "metadata", "deletionTimestamp")]
    seen = Counter(found for pod in living if (found := _ailment(pod)))
    told = [f"{number} pod{'s' if number > 1 else ''} {what}" for what, number in seen.most_common(_WORST)]
    return "; ".join(told)


def _ailment(pod: Object) -> str:
    if text(pod, "status", "phase") in {"Succeeded"} or condition(pod, "Ready").get("status") == "True":
        return ""
    for container in _containers(pod):
        if found := _of_container(container):
            return found
    for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready"):
        holds = condition(pod, kind)
        if holds.get("status") == "False":
            why = str(holds.get("message") or holds.get("reason") or "not ready")
            return f"{_WORDS[kind]}: {SafeText(why, limit=_LONGEST)}"
    return ""


_WORDS: Final[Mapping[str, str]] = {
    "PodScheduled": "not placed",
    "Initialized": "not initialised",
    "ContainersReady": "not ready",
    "Ready": "not ready",
}


def _containers(pod: Object) -> Iterator[Mapping[str, Any]]:
    for key in ("initContainerStatuses", "containerStatuses"):
        for found in items(pod, "status", key):
            if isinstance(found, Mapping):
                yield found


def _of_container(container: Mapping[str, Any]) -> str:
    waiting, ended = table(container, "state", "waiting"), table(container, "state", "terminated")
    reason = waiting.get("reason") or ""
    if reason and reason not in {"PodInitializing", "ContainerCreating"}:
        return f"{SafeText(reason)}{_history(container)}"
    if ended and at(ended, "exitCode") != 0:
        return f"{SafeText(ended.get('reason') or 'ended')} {count(ended, 'exitCode')}"
    restarts = count(container, "restartCount")
    if restarts and container.get("ready") is not True:
        return f"not ready{_history(container)}"
    return ""


def _history(container: Mapping[str, Any]) -> str:
    restarts = count(container, "restartCount")
    if not restarts:
        return ""
    told = f"{restarts} restart{'s' if restarts > 1 else ''}"
    last = table(container, "lastState", "terminated")
    if last:
        told += f", last {SafeText(last.get('reason') or 'ended')} {count(last, 'exitCode')}"
    return f" ({told})"
