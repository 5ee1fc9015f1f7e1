"""Open the app on a scripted scene, to look at it: `python -m tests.ui.preview degraded [--theme light] [--ascii] [--moving]`."""

from __future__ import annotations

import argparse
import asyncio
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from tests.ui import scenes
from tests.ui.stand_in import services

from mlrelease_tui.app import MlreleaseApp, run_app
from mlrelease_tui.connectors.api import Settings
from mlrelease_tui.connectors.local.connector import LocalConnector
from mlrelease_tui.domain.rollout import Endpoint
from mlrelease_tui.screens.services import Appearance
from mlrelease_tui.store.facts import EndpointObserved
from mlrelease_tui.store.poller import Poller
from mlrelease_tui.store.store import Store


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("scene", choices=sorted(scenes.SCENES))
    parser.add_argument("--theme", default="")
    parser.add_argument("--ascii", action="store_true")
    parser.add_argument("--moving", action="store_true", help="change one weight each second")
    parser.add_argument("--crash-dir", type=Path, help="where a crash is written down")
    parser.add_argument("--crash", action="store_true", help="crash with a secret in a local variable")
    parser.add_argument("--logs", type=Path, help="a folder of local endpoints whose logs are read")
    chosen = parser.parse_args()
    state = scenes.SCENES[chosen.scene](scenes.NOW)
    given = services(state, lambda: scenes.NOW, Appearance(theme=chosen.theme, ascii=chosen.ascii))
    if chosen.logs is not None:
        given = replace(given, reader=log_reader(given.store, chosen.logs))
    app = MlreleaseApp(replace(given, crash_dir=chosen.crash_dir))
    if chosen.moving:

        async def move() -> None:
            step = 0
            while True:
                await asyncio.sleep(1.0)
                step += 1
                given.store.emit(EndpointObserved(_moved(next(iter(state.endpoints.values())), step)))

        tasks: list[asyncio.Task[None]] = []

        def start() -> None:
            tasks.append(asyncio.create_task(move()))

        app.call_later(start)
    if chosen.crash:
        app.call_later(_crash)
    return run_app(app)


def log_reader(store: Store, folder: Path) -> Poller:
    """Reads the logs of every connection from this folder, as the local connector does, and nothing else."""
    names = {ref.connection for ref in store.state.endpoints}
    return Poller(store, {name: LocalConnector(Settings(name, "local", {"directory": str(folder)})) for name in names})


def _crash() -> None:
    token = "token-in-a-local"
    raise RuntimeError(f"what a library says may hold {token}")


def _moved(item: Endpoint, step: int) -> Endpoint:
    stable, *rest = item.variants
    weight = 1000 + 100 * (step % 50)
    variants = (replace(stable, weight_bp=10_000 - weight), *(replace(other, weight_bp=weight) for other in rest[:1]))
    return replace(item, variants=variants, observed_at=item.observed_at + timedelta(seconds=step))


if __name__ == "__main__":
    sys.exit(main())
