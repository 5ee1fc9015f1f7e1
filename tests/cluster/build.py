"""Builds the programs of the cluster tests, once per version, into a cache folder outside the repository.

`python -m tests.cluster.build [NAME ...]` builds what is missing and says what it does meanwhile; without a name everything, the
programs of a real node only where this machine can be one. A cache entry's name holds the
hash of everything that decides what comes out (go.mod, go.sum, tools.go, Go's version, flags), so another version is another entry,
and a folder under its final name is always whole: it is filled under another name and renamed. A lock file makes a second process
wait.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from tests.cluster.catalogue import ALL, REAL_NODE, Programs

CACHE_VARIABLE: Final = "MLRELEASE_TEST_CACHE"
"""The environment variable that names another cache folder than `~/.cache/mlrelease-tests`."""

_FLAGS: Final = ("-mod=readonly", "-trimpath", "-buildvcs=false")
_HEARTBEAT_S: Final = 30.0
_TAIL_LINES: Final = 25


class BuildError(RuntimeError):
    """A program can't be built; the message says why and what to do."""


def cache_folder() -> Path:
    """Where built programs are kept."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else Path.home() / ".cache" / "mlrelease-tests"


def go_command() -> str:
    """The Go tool's path. BuildError where there is none."""
    found = shutil.which("go")
    if found is None:
        raise BuildError(
            "Go is not on the PATH: the programs of the cluster tests are built from source (Go 1.26 or later)"
        )
    return found


def entry(programs: Programs) -> Path:
    """The cache entry of these programs, built or not. BuildError without Go."""
    version = subprocess.run(
        [go_command(), "env", "GOVERSION", "GOOS", "GOARCH"],
        cwd=programs.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if version.returncode:
        raise BuildError(f"Go can't work on {programs.name}: {version.stderr.strip()}")
    parts = [
        version.stdout.split(),
        _FLAGS,
        programs.link,
        programs.packages,
        *([programs.tags] if programs.tags else ()),
    ]
    digest = hashlib.sha256(repr(tuple(parts)).encode())
    for path in (*(programs.folder / name for name in ("go.mod", "go.sum", "tools.go")), *_sources(programs)):
        digest.update(path.read_bytes())
    return cache_folder() / f"{programs.name}-{digest.hexdigest()[:16]}"


def built(programs: Programs) -> Path | None:
    """The folder with the binaries, None while it is not built."""
    folder = entry(programs)
    return folder if folder.is_dir() else None


def ensure(programs: Programs, *, say: Callable[[str], None] = print) -> Path:
    """The folder with the binaries, built now if it is missing. BuildError with the end of the compiler's words."""
    folder = entry(programs)
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_suffix(".lock"), programs, say):
        if folder.is_dir():
            return folder
        # Under the lock nobody else builds this: what carries the mark of a partial build is a killed one's.
        for dead in folder.parent.glob(f".{folder.name}.*"):
            shutil.rmtree(dead, ignore_errors=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            _compile(programs, partial, say)
            partial.chmod(0o755)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return folder


def module_folder(programs: Programs, module: str = "") -> Path:
    """The source folder of a module that these programs pin (their own by default), downloaded if it is missing."""
    go, module = go_command(), module or programs.source
    done = subprocess.run(
        [go, "mod", "download", "-json", module],
        cwd=programs.folder,
        env=_environ(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BuildError(f"the source of {module} is not to be had: {done.stderr.strip() or done.stdout.strip()}")
    return Path(str(json.loads(done.stdout)["Dir"]))


def _sources(programs: Programs) -> list[Path]:
    return sorted(programs.folder.glob("*/*.go")) if programs.own else []


def _environ() -> dict[str, str]:
    return {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": " ".join(_FLAGS)}


@contextlib.contextmanager
def _locked(path: Path, programs: Programs, say: Callable[[str], None]) -> Iterator[None]:
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{programs.name}: another process builds it, waiting")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _compile(programs: Programs, target: Path, say: Callable[[str], None]) -> None:
    say(f"{programs.name}: building {', '.join(programs.binaries)} (about {programs.minutes} min on two cores)")
    began = time.monotonic()
    for package, binary in zip(programs.packages, programs.binaries, strict=True):
        _compile_one(programs, package, target / binary, began, say)
    say(f"{programs.name}: built in {time.monotonic() - began:.0f} s")


def _compile_one(programs: Programs, package: str, output: Path, began: float, say: Callable[[str], None]) -> None:
    # -v names each package as it is compiled, which is the only sign of life that the compiler gives.
    tags = ["-tags", ",".join(programs.tags)] if programs.tags else []
    command = [go_command(), "build", "-v", *tags, "-ldflags", programs.link, "-o", str(output), package]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as words:
        child = subprocess.Popen(command, cwd=programs.folder, env=_environ(), stdout=words, stderr=words)
        try:
            while True:
                try:
                    code = child.wait(_HEARTBEAT_S)
                    break
                except subprocess.TimeoutExpired:
                    say(
                        f"{programs.name}: {output.name}, {_progress(words.fileno())}, {time.monotonic() - began:.0f} s"
                    )
        finally:
            if child.poll() is None:
                child.terminate()
                child.wait()
        if code:
            words.seek(0)
            tail = "".join(words.readlines()[-_TAIL_LINES:])
            raise BuildError(f"{programs.name}: {package} can't be built (exit code {code}):\n{tail}")


def _progress(descriptor: int) -> str:
    text = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    loaded = text.count(b"go: downloading")
    compiled = text.count(b"\n") - loaded
    return f"{compiled} packages compiled" if compiled else f"{loaded} modules downloaded"


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what is named, all by default. Exit code 1 where something can't be built."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.build", description=__doc__)
    known = {programs.name: programs for programs in (*ALL, *REAL_NODE)}
    parser.add_argument("names", nargs="*", choices=[[], *known], help="what to build; all without a name")
    parser.add_argument("--check", action="store_true", help="build nothing; exit code 1 if something is not built")
    options = parser.parse_args(arguments)
    chosen = [known[name] for name in options.names] or [*ALL, *_of_this_machine()]
    try:
        if options.check:
            missing = [programs.name for programs in chosen if built(programs) is None]
            if missing:
                print(f"not built: {', '.join(missing)}")
            return 1 if missing else 0
        for programs in chosen:
            print(f"{programs.name}: {ensure(programs, say=_say)}", flush=True)
    except BuildError as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def _of_this_machine() -> tuple[Programs, ...]:
    from tests.cluster.realnode.host import unfit

    why = unfit()
    if why:
        _say(f"no real node is built: {why}")
    return () if why else REAL_NODE


def _say(words: str) -> None:
    print(words, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
