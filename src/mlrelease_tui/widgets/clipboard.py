"""Copying through the terminal (OSC 52), which works over SSH. Nobody answers, so we can only say "sent".

tmux passes it on only when wrapped (its own manual: passthrough), GNU screen too. Terminals drop what is too long; 74,994 bytes
of base64 is what all known ones take (the limit of hterm and tmux).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final

MAX_ENCODED: Final = 74_994


def sequence(text: str, environ: Mapping[str, str]) -> str | None:
    """The escape sequence that copies `text`, wrapped for the multiplexer that `environ` names; None where it is too long."""
    encoded = base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")
    if len(encoded) > MAX_ENCODED:
        return None
    plain = f"\x1b]52;c;{encoded}\x07"
    if environ.get("TMUX"):
        return "\x1bPtmux;" + plain.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    if environ.get("TERM", "").startswith("screen"):
        return f"\x1bP{plain}\x1b\\"
    return plain
