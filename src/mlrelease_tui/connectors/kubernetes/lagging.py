"""Whether a watch went silent by itself: a look at the server shows what the watch has not told for a while.

A link that is cut is found by a pulse. One watch that is swallowed on its way, its connection open and all others well, says
nothing for a minute as a healthy one does; whoever acts looks at the server all the same, and that costs nothing more.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import Any, Final

from mlrelease_tui.connectors.kubernetes.answers import Object
from mlrelease_tui.connectors.kubernetes.shelf import Key, Packed, opened, packed

BEHIND_S: Final = 5.0
"""Seconds by which a watch may be behind a look at the server."""
_NAMED_IN_LISTS: Final = ("apiVersion", "kind")
"""What an object in a list does not say of itself, and the same object alone does."""


@dataclass(slots=True)
class Lag:
    """Of one watch: the objects that it is behind with, since when, and as what it has them."""

    behind: dict[Key, tuple[float, bytes]] = field(default_factory=dict)

    def lost(self, key: Key, kept: Packed | None, item: Object, now_s: float) -> bool:
        """Whether it is certain by now that the watch has lost something; `kept` is what it has of the object, `item` what the
        server has, `now_s` monotonic."""
        if kept is not None and _plain(kept) == _plain(packed(item)[1]):
            self.behind.pop(key, None)
            return False
        mark = kept.data if kept is not None else b""
        since_s, then = self.behind.setdefault(key, (now_s, mark))
        if then != mark:
            # It told something meanwhile: it is slow, not silent.
            self.behind[key] = (now_s, mark)
            return False
        if now_s - since_s < BEHIND_S:
            return False
        self.behind.clear()
        return True


def _plain(item: Packed) -> dict[str, Any]:
    return {key: value for key, value in opened(zlib.decompress(item.data)).items() if key not in _NAMED_IN_LISTS}
