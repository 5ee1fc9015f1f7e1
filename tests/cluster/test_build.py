"""Building the programs of the cluster tests: once, whole or not at all, with words that say what is wrong."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.cluster import build
from tests.cluster.api import wait_for
from tests.cluster.catalogue import ALL, DEFINITIONS, PARTS, REAL_NODE, TRAEFIK, Programs
from tests.cluster.fixtures import unavailable

pytestmark = pytest.mark.kubernetes

REPOSITORY = Path(__file__).parents[2]
GO_MOD = "module example.test/hello\n\ngo 1.21\n"
MAIN = 'package main\n\nimport "os"\n\nfunc main() { os.Stdout.WriteString("hello") }\n'
ENSURE = """
import sys
from dataclasses import replace
from pathlib import Path
from tests.cluster import build
from tests.cluster.catalogue import Programs
programs = Programs("hello", "example.test/hello", ("example.test/hello",), modules=Path(sys.argv[1]))
print(build.ensure(programs, say=lambda words: print(words, flush=True)), flush=True)
"""
# The real compiler, held back until a file is there, each build noted.
SLOW_GO = """#!/bin/sh
if [ "$1" = build ]; then
    echo built >> "{notes}"
    while [ ! -e "{release}" ]; do sleep 0.05; done
fi
exec "{go}" "$@"
"""


@pytest.fixture
def hello(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """A module of one small program, and a cache of its own."""
    if shutil.which("go") is None:
        unavailable("Go is not on the PATH")
    monkeypatch.setenv(build.CACHE_VARIABLE, str(tmp_path / "cache"))
    folder = tmp_path / "modules" / "hello"
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text(GO_MOD)
    (folder / "go.sum").write_text("")
    (folder / "tools.go").write_text(MAIN)
    return Programs("hello", "example.test/hello", ("example.test/hello",), modules=folder.parent)


def _held_back(tmp_path: Path) -> tuple[Path, Path, dict[str, str]]:
    notes, release = tmp_path / "notes", tmp_path / "release"
    shim = tmp_path / "bin" / "go"
    shim.parent.mkdir()
    shim.write_text(SLOW_GO.format(notes=notes, release=release, go=shutil.which("go")))
    shim.chmod(0o755)
    return notes, release, {**os.environ, "PATH": f"{shim.parent}:{os.environ['PATH']}"}


def _start(programs: Programs, environ: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", ENSURE, str(programs.modules)]
    return subprocess.Popen(
        command, cwd=REPOSITORY, env=environ, stdout=subprocess.PIPE, text=True, start_new_session=True
    )


def test_a_program_is_built_once(hello: Programs) -> None:
    words: list[str] = []
    assert build.built(hello) is None
    folder = build.ensure(hello, say=words.append)
    assert subprocess.check_output([folder / "hello"]) == b"hello"
    assert words[0].startswith("hello: building hello (about 1 min")
    assert words[-1].startswith("hello: built in ")
    words.clear()
    assert build.ensure(hello, say=words.append) == folder == build.built(hello)
    assert words == []


@pytest.mark.parametrize("file", ["go.mod", "go.sum", "tools.go"])
def test_another_version_is_another_entry(hello: Programs, file: str) -> None:
    before = build.entry(hello)
    path = hello.folder / file
    path.write_text(path.read_text() + "// other\n")
    assert build.entry(hello) != before


def test_a_killed_build_leaves_nothing_that_is_taken_for_whole(hello: Programs, tmp_path: Path) -> None:
    notes, _, environ = _held_back(tmp_path)
    with _start(hello, environ) as process:
        wait_for(notes.exists)
        os.killpg(process.pid, signal.SIGKILL)
    partial = list(build.cache_folder().glob(".hello-*"))
    assert len(partial) == 1
    assert build.built(hello) is None
    assert (build.ensure(hello) / "hello").is_file()
    assert not partial[0].exists()


def test_a_second_process_waits_for_the_first(hello: Programs, tmp_path: Path) -> None:
    notes, release, environ = _held_back(tmp_path)
    with _start(hello, environ) as first:
        wait_for(notes.exists)
        with _start(hello, environ) as second:
            assert second.stdout is not None
            assert second.stdout.readline() == "hello: another process builds it, waiting\n"
            release.touch()
            folders = {process.communicate()[0].splitlines()[-1] for process in (first, second)}
    assert folders == {str(build.built(hello))}
    assert notes.read_text() == "built\n"


def test_the_compilers_words_are_shown(hello: Programs) -> None:
    (hello.folder / "tools.go").write_text("package main\n\nfunc main() { missing() }\n")
    with pytest.raises(build.BuildError, match="undefined: missing"):
        build.ensure(hello)
    assert list(build.cache_folder().glob("*hello-????????????????")) == []


def test_without_go_the_message_says_so(hello: Programs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(build.BuildError, match="Go is not on the PATH"):
        build.ensure(hello)


def test_a_change_of_our_own_source_is_another_entry(hello: Programs) -> None:
    before = build.entry(hello)
    ours = replace(hello, source="mlrelease.dev/hello")
    assert build.entry(ours) == before
    source = hello.folder / "cmd" / "main.go"
    source.parent.mkdir()
    source.write_text(MAIN)
    assert build.entry(hello) == before
    assert build.entry(ours) != before


def test_build_tags_are_part_of_the_version_and_reach_the_compiler(hello: Programs) -> None:
    tagged = replace(hello, tags=("loud",))
    assert build.entry(tagged) != build.entry(hello)
    (hello.folder / "loud.go").write_text('//go:build loud\n\npackage main\n\nfunc init() { println("loud") }\n')
    done = subprocess.run(
        [build.ensure(tagged, say=lambda _: None) / "hello"], capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("hello", "loud\n")


PINNED = [*ALL, *(programs for programs in REAL_NODE if programs is not PARTS), DEFINITIONS, TRAEFIK]


@pytest.mark.parametrize("programs", PINNED, ids=lambda programs: programs.name)
def test_every_module_is_pinned(programs: Programs) -> None:
    lines = (programs.folder / "go.mod").read_text().splitlines()
    assert any(f"{programs.source} v" in line and "=>" not in line for line in lines)
    sums = (programs.folder / "go.sum").read_text()
    assert f"{programs.source} v" in sums
