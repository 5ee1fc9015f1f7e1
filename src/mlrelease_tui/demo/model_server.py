"""A small HTTP server for one version of one model, straight from the registry.

    python -m mlrelease_tui.demo.model_server --model NAME --version N --port P --tracking-uri URI [--zygote SOCKET]

* `POST /invocations`: MLflow's scoring JSON (`dataframe_split`, `dataframe_records`, `instances`, `inputs`) → `{"predictions":
  […]}`. 400 for input that is not that or does not fit the model's signature, 413 above the size cap, 500 with the error as
  JSON when the model raises, 503 while loading and when too many requests wait.
* `GET /health`: 200 once the model is loaded, 503 before. `GET /version`: the model's version, not MLflow's.
* `GET /metrics`: Prometheus exposition; every series carries `model` and `version`.

SIGTERM stops accepting, finishes the requests in flight and exits with 0.

Measured on two cores: started alone, a server needs 4.2 s of processor time until it is healthy and 220 MB; forked from the
zygote (module `zygote`) it is healthy after 0.3 s, and 35 MB are its own (72 MB with the 3,600 trees of `diabetes-risk` 3).
Hence `--zygote` in the demo; without it the server runs by itself. uvicorn serves because MLflow brings it along, keeps
connections alive and drains them; each request runs in a small thread pool, so that a slow prediction does not hold up the
health check.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

# The stand-in of a forked server runs this module too, and should stay small: what serves is imported where it is needed.
if TYPE_CHECKING:
    import uvicorn

    from mlrelease_tui.demo.scoring import ModelApp

HOST = "127.0.0.1"


def _load_in_background(app: ModelApp, server: uvicorn.Server) -> None:
    try:
        app.load()
    except BaseException as error:
        print(f"{app.model} {app.version} cannot be loaded: {type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201
        app.load_error = error
        server.should_exit = True


def run(argv: Sequence[str]) -> int:
    """Serve as `argv` says until SIGTERM; 1 if the model cannot be loaded or the port is taken."""
    arguments = _parser().parse_args(argv)
    import os
    import threading

    import mlflow
    import uvicorn

    from mlrelease_tui.demo.scoring import ModelApp

    mlflow.set_tracking_uri(arguments.tracking_uri)
    # MLflow's own would be 7 tries of 120 s: a supervisor learns sooner that the registry is away.
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "2"
    os.environ["MLFLOW_HTTP_REQUEST_TIMEOUT"] = "10"
    app = ModelApp(arguments.model, arguments.version, threads=arguments.threads)
    config = uvicorn.Config(
        app,
        host=HOST,
        port=arguments.port,
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        # Longer than a router keeps an idle connection: the router closes first, so no request meets a closed one.
        timeout_keep_alive=120,
        timeout_graceful_shutdown=arguments.drain_s,
    )

    server = uvicorn.Server(config)

    def leave(_number: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    # uvicorn raises the signal again once it has drained, for the handler that was there before: a drained server has not failed.
    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, leave)
    threading.Thread(target=_load_in_background, args=(app, server), name="load", daemon=True).start()
    server.run()
    return 1 if app.load_error or not server.started else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m mlrelease_tui.demo.model_server")
    parser.add_argument("--model", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tracking-uri", required=True)
    parser.add_argument("--threads", type=int, default=4, help="predictions at the same time")
    parser.add_argument("--drain-s", type=int, default=10, help="seconds that requests in flight get on SIGTERM")
    parser.add_argument(
        "--zygote", type=Path, help="fork from the zygote at this socket instead of importing everything"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Serve here, or in a fork of `--zygote`."""
    given = list(sys.argv[1:] if argv is None else argv)
    zygote: Path | None = _parser().parse_args(given).zygote
    if zygote is None:
        return run(given)
    from mlrelease_tui.demo.standin import delegate

    return delegate(zygote, "mlrelease_tui.demo.model_server", given)


if __name__ == "__main__":
    raise SystemExit(main())
