"""Opening the app on a program: paint what is known, then begin to read; close everything at the end."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlrelease_tui.bootstrap import Program
    from mlrelease_tui.screens.services import Services


def services_of(program: Program) -> Services:
    """What the screens are given of a program."""
    from mlrelease_tui.actions.auditing import Auditor
    from mlrelease_tui.screens.services import Appearance, Services

    ui = program.config.ui
    return Services(
        store=program.store,
        reader=program.poller,
        desk=program.desk,
        operator=program.operator,
        now=lambda: datetime.now(UTC),
        appearance=Appearance(
            theme=ui.theme,
            ascii=bool(ui.ascii),
            key_preset=ui.keymap.preset,
            keys=ui.keymap.remap,
            arm_minutes=program.config.policy.arm_minutes,
            mouse=ui.mouse,
            bell=ui.bell,
            slow=ui.slow,
        ),
        crash_dir=program.config.state_dir / "crashes",
        audit=Auditor(program.desk, program.config.audit_dir),
    )


async def run_cockpit(program: Program, environ: Mapping[str, str]) -> int:
    """Run the app on `program` until the operator leaves, then close the program; the app's exit code."""
    from mlrelease_tui.app import MlreleaseApp, run_app_async

    opening: list[asyncio.Task[object]] = []

    def begin() -> None:
        # What was loaded until now stays to the end: no collection needs to walk through it, which would stop the keys.
        gc.freeze()
        gc.enable()
        program.poller.start()
        opening.append(asyncio.create_task(program.desk.open()))

    app = MlreleaseApp(services_of(program), environ, when_painted=begin)
    try:
        return await run_app_async(app, environ)
    finally:
        for task in opening:
            task.cancel()
        await asyncio.gather(*opening, return_exceptions=True)
        await program.close()
