"""The table of verbs in docs/kubernetes.md, made from the rows that the cluster tests recorded: `make docs` writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.cluster.verb_table import page_section

PAGE: Final = Path(__file__).parents[2] / "docs" / "kubernetes.md"
_BEGIN: Final = "<!-- verbs: begin -->\n"
_END: Final = "<!-- verbs: end -->\n"


def page() -> str:
    """The whole page, its table made anew."""
    text = PAGE.read_text(encoding="utf-8")
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    return f"{before}{begin}{page_section()}{end}{after}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
