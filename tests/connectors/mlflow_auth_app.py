"""`mlflow server --app-name basic-auth` in one process, on an inherited socket: `python -m … FOLDER FD PORT`."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
import types
from pathlib import Path
from typing import Any

from mlrelease_tui.demo.processes import die_with_parent


def _without_csrf_package() -> None:
    """The auth app guards its sign-up *page* with Flask-WTF, an extra of MLflow's. No test asks for that page; where the package is
    missing, its one class that the module imports stands empty, and all that is tested (who may call the API) is MLflow's own."""
    if importlib.util.find_spec("flask_wtf") is None:

        class CSRFProtect:
            def init_app(self, app: Any) -> None: ...

        package, module = types.ModuleType("flask_wtf"), types.ModuleType("flask_wtf.csrf")
        vars(module)["CSRFProtect"] = CSRFProtect
        sys.modules |= {"flask_wtf": package, "flask_wtf.csrf": module}


def main() -> None:
    die_with_parent()
    folder, descriptor, port = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    _without_csrf_package()

    from mlflow.server import constants

    os.environ[constants.BACKEND_STORE_URI_ENV_VAR] = f"sqlite:///{folder / 'mlflow.db'}"
    os.environ[constants.ARTIFACT_ROOT_ENV_VAR] = (folder / "artifacts").as_uri()
    os.environ["MLFLOW_SERVER_ALLOWED_HOSTS"] = f"127.0.0.1:{port}"

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
