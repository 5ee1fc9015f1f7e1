"""`mlflow server --app-name basic-auth` in one process, on an inherited socket: `python -m … FOLDER FD PORT`."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from mlrelease_tui.demo.processes import die_with_parent


def main() -> None:
    die_with_parent()
    folder, descriptor, port = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]

    from mlflow.server import constants

    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = f"sqlite:///{folder / 'mlflow.db'}"
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = (folder / "artifacts").as_uri()
    os.environ["MLFLOW_SERVER_ALLOWED_HOSTS"] = f"127.0.0.1:{port}"

    # It guards the forms of its sign-up page; no test asks for that page, but the app does not start without.
    os.environ["MLFLOW_FLASK_SERVER_SECRET_KEY"] = "only for these tests"

    # By this name `mlflow server` tells the factory which kind of application to make.
    os.environ["_MLFLOW_SGI_NAME"] = "uvicorn"

    import uvicorn
    from mlflow.server.auth import create_app

    config = uvicorn.Config(
        create_app(), lifespan="off", access_log=False, log_level="warning", timeout_graceful_shutdown=3
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=descriptor)])


if __name__ == "__main__":
    main()
