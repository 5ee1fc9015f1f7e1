"""Times as an operator reads them: ages in one unit, clocks in UTC. Coarse on purpose, so that silence costs no bytes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

FRESH: Final = timedelta(seconds=20)
"""Up to this age a reading is simply fresh: showing each second of it would redraw a screen on which nothing changed."""


def age(at: datetime | None, now: datetime) -> str:
    """ "<1m", "6m", "2h", "9d"; "-" where unknown. A time ahead of us (clock skew) is "<1m".

    By the minutes of the clocks that a screen shows: 03:14Z seen at 03:15Z is "1m". So all ages change with the header's clock, in
    one frame, and between its minutes nothing is sent.
    """
    return "-" if at is None else _coarse(_minute(now) - _minute(at))


def _minute(at: datetime) -> datetime:
    return at.replace(second=0, microsecond=0)


def _coarse(elapsed: timedelta) -> str:
    seconds = elapsed.total_seconds()
    if seconds < 60:
        return "<1m"
    if seconds < 3600:
        return f"{int(seconds // 60)}m"
    if seconds < 48 * 3600:
        return f"{int(seconds // 3600)}h"
    return f"{int(seconds // 86400)}d"


def staleness(at: datetime | None, now: datetime) -> str:
    """ "" while fresh, then "20s", "30s" … by tens, then "1m", "2h", "9d"; "never" where nothing was read."""
    if at is None:
        return "never"
    elapsed = now - at
    if elapsed <= FRESH:
        return ""
    if elapsed < timedelta(minutes=1):
        return f"{int(elapsed.total_seconds() // 10) * 10}s"
    return _coarse(elapsed)


def countdown(until: datetime, now: datetime) -> str:
    """Time left, by tens of seconds under two minutes: "90s", then "14m"; "0s" when it is over."""
    left = max((until - now).total_seconds(), 0.0)
    if left <= 120:
        return f"{int(-(-left // 10)) * 10}s"
    return f"{int(left // 60)}m"


def clock(at: datetime, now: datetime | None = None) -> str:
    """ "01:35Z"; "03-01 01:35Z" where `now` is another day."""
    return f"{at:%H:%M}Z" if now is None or at.date() == now.date() else f"{at:%m-%d %H:%M}Z"


def moment(at: datetime | None) -> str:
    """ "2026-03-01 01:35:10Z", "-" where unknown."""
    return "-" if at is None else f"{at:%Y-%m-%d %H:%M:%S}Z"
