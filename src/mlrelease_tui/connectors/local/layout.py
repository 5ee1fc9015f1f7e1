"""What lies where in the directory of one set of local endpoints."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from mlrelease_tui.errors import ConfigError

_LOG_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths below `directory`. The supervisor writes `observed` and `ports`, connectors `desired` and the routes."""

    directory: Path

    @property
    def endpoints(self) -> Path:
        """The definitions: which endpoints there are and how a version of each is started."""
        return self.directory / "endpoints.json"

    @property
    def desired(self) -> Path:
        """Which processes shall run."""
        return self.directory / "desired.json"

    @property
    def observed(self) -> Path:
        """Which processes run, as the supervisor sees them."""
        return self.directory / "observed.json"

    @property
    def ports(self) -> Path:
        """Who listens where."""
        return self.directory / "ports.json"

    @property
    def supervisor_lock(self) -> Path:
        return self.directory / "supervisor.lock"

    @property
    def supervisor_log(self) -> Path:
        return self.directory / "supervisor.log"

    @property
    def routes(self) -> Path:
        """The directory of the router's document."""
        return self.directory / "routes"

    @property
    def traefik_configuration(self) -> Path:
        return self.directory / "traefik.yml"

    @property
    def traefik_log(self) -> Path:
        return self.directory / "traefik.log"

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    def log_of(self, key: str, name: str) -> Path:
        """The output of one process, since it was started."""
        # No name holds "--": two endpoints never share a file.
        return self.logs / f"{_LOG_UNSAFE.sub('_', key.replace('/', '--'))}--{_LOG_UNSAFE.sub('_', name)}.log"

    def previous_log_of(self, key: str, name: str) -> Path:
        """The output of the run before."""
        return before(self.log_of(key, name))

    def make(self) -> None:
        """Make the directories, for their owner alone.

        ConfigError where they can't be made, or are somebody else's: who writes there decides which programs are started.
        """
        for path in (self.directory, self.routes, self.logs):
            try:
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
                found = path.stat()
                if found.st_uid != os.geteuid():
                    raise ConfigError(f"{path} belongs to another user", hint="name a directory of your own")
                if stat.S_IMODE(found.st_mode) != 0o700:
                    path.chmod(0o700)
            except OSError as failure:
                raise ConfigError(
                    f"{path} can't be made: {failure.strerror or failure}",
                    hint="name a directory that is ours to write",
                ) from failure


def before(log: Path) -> Path:
    """Where the output of the run before a log's own is kept."""
    return log.with_name(f"{log.name}.1")
