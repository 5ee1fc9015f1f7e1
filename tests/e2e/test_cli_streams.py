"""Standard streams as cron, daemons, full disks and careless plugins leave them: the answer, the exit code and the audit hold."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tests.e2e.cli_host import CALM, Answer, Shell, moving, valid, with_fault

from mlrelease_tui import __version__

pytestmark = pytest.mark.e2e


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "home")


def redirected(shell: Shell, redirection: str, *arguments: str) -> Answer:
    """A command as `sh` starts it with a redirection such as `2>&-`."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirection}', "sh", *shell.arguments(*arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=shell.environment,
        timeout=60,
        check=False,
        encoding="utf-8",
    )
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_was_closed_before_the_start_is_only_silent(shell: Shell, closed: str) -> None:
    shell.play(cluster=moving())
    looked = redirected(shell, closed, "status", "--window", "0")
    assert (looked.code, looked.err) == (0, "")
    assert looked.out == "" if ">&-" in closed.split() else "cluster/ml/iris" in looked.out
    acted = redirected(shell, closed, "hold", "iris", "--yes", "--reason", "because")
    assert acted.code == 0, acted
    kinds = [record["kind"] for record in shell.run("audit", "list", "--json").document["records"]]
    assert kinds.count("intent") == kinds.count("outcome") == 1
    assert shell.run("audit", "verify").code == 0, "nothing else was written into the audit"


@pytest.mark.parametrize("arguments", [("status",), ("status", "--json"), ("models",), ("audit", "export")])
def test_an_answer_that_can_not_be_written_is_said_on_stderr(shell: Shell, arguments: tuple[str, ...]) -> None:
    shell.play(cluster=CALM)
    assert shell.run("hold", "iris", "--yes").code in {0, 4}, "something is in the audit"
    answer = redirected(shell, "> /dev/full", *arguments)
    assert answer.code == 2
    assert answer.err == "mlrelease: the answer can't be written to stdout: No space left on device\n"


def test_the_version_on_a_full_disk_is_no_traceback(shell: Shell) -> None:
    done = redirected(shell, ">&1", "--version")
    assert (done.code, done.out) == (0, f"mlrelease {__version__}\n")
    full = subprocess.run(
        ["sh", "-c", '"$0" --version > /dev/full', shell.arguments()[0]],
        capture_output=True,
        env=shell.environment,
        timeout=60,
        check=False,
        encoding="utf-8",
    )
    assert full.returncode != 0
    assert "Traceback" not in full.stderr
    assert "Exception ignored" not in full.stderr


@pytest.mark.parametrize(
    ("fault", "code", "outcome"), [("", 0, "applied"), ("rejected", 1, "rejected"), ("ignored", 5, "unknown")]
)
def test_what_an_action_came_to_is_its_exit_code_although_it_can_not_be_written(
    shell: Shell, fault: str, code: int, outcome: str
) -> None:
    shell.play(cluster=with_fault(moving(), fault, "hold") if fault else moving())
    answer = redirected(shell, "> /dev/full", "--timeout", "1", "hold", "iris", "--yes", "--json")
    assert answer.code == code
    assert outcome in answer.err
    assert "mlrelease audit show " in answer.err
    assert "Traceback" not in answer.err
    (record,) = shell.run("audit", "list", "--kind", "outcome", "--json").document["records"]
    assert record["result"] == outcome
    assert record["intent_id"] in answer.err


def test_what_a_plugin_prints_is_no_part_of_the_answer(shell: Shell) -> None:
    """At its import, when it is built, and while it answers."""
    folder = shell.home / "installed"
    metadata = folder / "loud-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: loud\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[mlrelease_tui.connectors]\nloud = loud_module:connect\n")
    (folder / "loud_module.py").write_text(
        "from mlrelease_tui.connectors.api import ConnectorFactory\n"
        "from mlrelease_tui.connectors.fake import connect as fake\n"
        "print('at import')\n"
        "def build(settings):\n"
        "    print('at build')\n"
        "    made = fake(settings)\n"
        "    probe = made.probe\n"
        "    async def loudly():\n"
        "        print('at work')\n"
        "        return await probe()\n"
        "    made.probe = loudly\n"
        "    return made\n"
        "connect = ConnectorFactory(build, fake.options)\n"
    )
    shell.environment["PYTHONPATH"] = str(folder)
    shell.play(cluster=CALM)
    shell.configure(shell.config.read_text().replace('"fake"', '"loud"'))
    for arguments in (("status", "--window", "0"), ("connections", "test"), ("doctor",)):
        answer = shell.run(*arguments, "--json")
        assert answer.code == 0, answer
        assert answer.document, "one line, and it is the answer"
        assert "at import" in answer.err
        assert "at work" in answer.err
    assert shell.run("audit", "list", "--json").document["records"] == []


def test_under_nohup_a_lost_session_ends_no_action(shell: Shell) -> None:
    """The write takes longer than a command that was told to stop would wait for it."""
    shell.play(cluster=with_fault(moving(), "slow", "hold", delay_s=6.0))
    process = subprocess.Popen(
        ["nohup", *shell.arguments("hold", "iris", "--yes")],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=shell.environment,
        text=True,
    )
    assert process.stderr is not None
    assert any("sending" in line for line in process.stderr)
    process.send_signal(signal.SIGHUP)
    out, said = process.communicate(timeout=60)
    assert "stopped waiting" not in said
    assert process.returncode == 0
    assert "APPLIED" in out


def test_a_group_without_a_command_shows_its_help_as_help(shell: Shell) -> None:
    for group in ("audit", "connections", "plan"):
        answer = shell.run(group, bare=True)
        assert (answer.code, answer.out) == (2, "")
        assert f"\n\nUsage: mlrelease {group} " in f"\n\n{answer.err}"
        assert "\\n" not in answer.err
        told = valid(json.loads(shell.run(group, "--json").out))
        assert told["error"]["code"] == "usage"


def test_ctrl_c_while_the_program_is_still_loaded_is_no_traceback(shell: Shell) -> None:
    program = (
        "import sys\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'mlrelease_tui.cli.entry': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "from mlrelease_tui.cli import main\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "status"],
        env=shell.environment,
        capture_output=True,
        timeout=60,
        check=False,
        encoding="utf-8",
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
