"""Filters as people type them: words that must all be found; `!word` must not be."""

from __future__ import annotations


def matches(text: str, wanted: str) -> bool:
    """Whether every word of `wanted` is in `text`, and no word behind a "!" is. Case is ignored."""
    lowered = text.lower()
    for word in wanted.lower().split():
        if word.startswith("!") and len(word) > 1:
            if word[1:] in lowered:
                return False
        elif word not in lowered:
            return False
    return True
