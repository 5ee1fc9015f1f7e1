"""Opening the app: paint what is known, then wire what reads and acts; close everything at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mlrelease_tui.cli.wiring import LateAuditor, LateDesk, LateReader, Wiring

if TYPE_CHECKING:
    from mlrelease_tui.bootstrap import Program
    from mlrelease_tui.outset import Outset
    from mlrelease_tui.screens.services import Services


def services_of(outset: Outset, wiring: Wiring) -> Services:
    """What the screens are given."""
    from mlrelease_tui.screens.services import Appearance, Services

    ui = outset.config.ui
    return Services(
        store=outset.store,
        reader=LateReader(wiring),
        desk=LateDesk(wiring),
        operator=outset.operator,
        now=lambda: datetime.now(UTC),
        appearance=Appearance(
            theme=ui.theme,
            ascii=bool(ui.ascii),
            key_preset=ui.keymap.preset,
            keys=ui.keymap.remap,
            arm_minutes=outset.config.policy.arm_minutes,
            mouse=ui.mouse,
            bell=ui.bell,
            slow=ui.slow,
        ),
        crash_dir=outset.config.state_dir / "crashes",
        audit=LateAuditor(wiring),
    )


async def run_cockpit(
    outset: Outset, environ: Mapping[str, str], *, when_wired: Callable[[Program], None] = lambda program: None
) -> int:
    """Run the app from `outset` on until the operator leaves, then close the program; the app's exit code."""
    from mlrelease_tui.app import MlreleaseApp, run_app_async
    from mlrelease_tui.screens.ending import end_within

    wiring = Wiring(outset, environ, when_wired=when_wired)
    app = MlreleaseApp(
        services_of(outset, wiring),
        environ,
        when_painted=lambda: wiring.begin(failed=lambda: app.exit(return_code=1)),
    )
    try:
        return await run_app_async(app, environ)
    finally:
        end_within()
        await wiring.close()
