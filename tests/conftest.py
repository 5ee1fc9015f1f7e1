"""Where the pictures of the screens are kept: `snapshots/<test module>/<test>.svg`, beside the tests, not among them."""

from __future__ import annotations

from pathlib import Path

from pytest_textual_snapshot import SVGImageExtension  # type: ignore[import-untyped]
from syrupy.location import PyTestLocation

_SNAPSHOTS = Path(__file__).parents[1] / "snapshots"


def _dirname(cls: type[SVGImageExtension], *, test_location: PyTestLocation) -> str:
    return str(_SNAPSHOTS / test_location.basename)


# The plugin hard-codes its own folder and offers no setting for it; its extension has the name of an older syrupy.
SVGImageExtension.file_extension = "svg"
SVGImageExtension.dirname = classmethod(_dirname)
