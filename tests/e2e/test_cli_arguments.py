"""What is typed wrongly is told as that, and never as something about the fleet or the audit; what is printed can be pasted."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import click
import pytest
from tests.e2e.cli_host import CALM, Shell, moving, with_fault

from mlrelease_tui import errors
from mlrelease_tui.cli.acting import refusal_exit
from mlrelease_tui.cli.options import Seconds
from mlrelease_tui.domain.plan import Refusal
from mlrelease_tui.errors import BackendError, NotFound

pytestmark = pytest.mark.e2e

OF_BACKENDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, BackendError)]
"""Those of the tree itself: what a connector makes of them for its own use is no refusal."""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "home")


@pytest.fixture
def acted(shell: Shell) -> Shell:
    """A shell in which one rollback was done."""
    assert shell.play(cluster=moving()).run("rollback", "iris", "--yes", "--reason", "INC-1").code == 0
    return shell


# --- exit codes -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", OF_BACKENDS, ids=lambda kind: kind.code)
def test_a_refusal_has_the_exit_code_that_its_error_has(kind: type[BackendError]) -> None:
    """But for what an action is to be done to: that it is not there is a precondition that fails, the backend did answer."""
    wanted = 4 if kind is NotFound else kind.exit_code
    assert refusal_exit(Refusal(kind.code, "because", "")) == wanted


def test_an_action_on_an_endpoint_that_is_not_there_is_refused(shell: Shell) -> None:
    shell.play(cluster=CALM)
    answer = shell.run("hold", "cluster/ml/irsi", "--yes", "--json")
    assert (answer.code, answer.error["code"]) == (4, "not_found")
    assert shell.run("plan", "hold", "cluster/ml/irsi", "--json").code == 4


# --- numbers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["nan", "-nan", "inf", "1e999", "", "1,5"])
def test_seconds_are_a_number(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Seconds(0, 3600).convert(text, None, None)


def test_seconds_that_are_no_number_are_a_usage_error(shell: Shell) -> None:
    shell.play(cluster=with_fault(CALM, "silent"))
    for arguments in (
        ("--timeout", "nan", "status"),
        ("status", "--window", "nan"),
        ("promote", "iris", "--window", "nan"),
    ):
        answer = shell.run(*arguments, "--json")
        assert (answer.code, answer.error["code"]) == (2, "usage"), arguments


# --- audit ------------------------------------------------------------------------------------------------------------


def test_a_head_may_be_written_in_capitals_and_a_misspelt_one_is_no_alarm(acted: Shell) -> None:
    head = acted.run("audit", "verify", "--json").document["chains"][0]["head"]
    assert acted.run("audit", "verify", "--expect-head", f" {head.upper()}\n").code == 0
    for misspelt in ("abc", head[:-1], f"{head}0", "g" * 64, ""):
        answer = acted.run("audit", "verify", "--json", "--expect-head", misspelt)
        assert (answer.code, answer.error["code"]) == (2, "usage")
    assert acted.run("audit", "verify", "--expect-head", "0" * 64).code == 1, "one that nobody has is"


def test_a_kind_of_record_that_there_is_not_is_told_with_the_nearest(acted: Shell) -> None:
    answer = acted.run("audit", "list", "--kind", "intents", "--json")
    assert (answer.code, answer.error["code"]) == (2, "unknown_name")
    assert "`intent`" in answer.error["hint"]
    none = acted.run("audit", "list", "--kind", "break_glass", "--json")
    assert (none.code, none.document["records"]) == (0, [])


def test_a_copy_of_the_audit_is_as_private_as_the_audit(acted: Shell) -> None:
    target = acted.home / "copy.jsonl"
    done = acted.run("audit", "export", "-o", str(target))
    assert done.code == 0
    assert target.stat().st_mode & 0o777 == 0o600
    assert target.read_text() == acted.run("audit", "export").out


def test_of_a_copy_that_can_not_be_whole_nothing_is_left(acted: Shell) -> None:
    from mlrelease_tui.cli.audit import _put

    def lines() -> object:
        yield "one"
        raise OSError(28, "No space left on device")

    target = acted.home / "copy.jsonl"
    with pytest.raises(OSError, match="No space"):
        _put(target, lines())  # type: ignore[arg-type]
    assert not target.exists()
    answer = acted.run("audit", "export", "-o", str(acted.home / "nowhere" / "copy.jsonl"), "--json")
    assert (answer.code, answer.error["code"]) == (2, "usage")


# --- what is printed --------------------------------------------------------------------------------------------------


def test_init_prints_an_object_where_one_is_wanted(shell: Shell) -> None:
    answer = shell.run("init", "--print", "--json")
    assert answer.code == 0
    assert answer.document["text"] == shell.run("init", "--print").out
    assert not Path(answer.document["config"]).exists()


def test_a_name_from_outside_is_no_command_where_it_is_pasted(shell: Shell) -> None:
    """Whoever copies what is asked for into a shell must not run what somebody put into a name."""
    name = "iris; touch pasted #"
    script = moving(environment="production")
    script["endpoints"][0]["name"] = name
    shell.play(cluster=json.loads(json.dumps(script)))
    verb = ("promote", f"cluster/ml/{name}", "--full", "--window", "0")
    refused = shell.run(*verb, "--yes", "--json")
    assert (refused.code, refused.error["code"]) == (4, "not_confirmed")
    planned = shell.run("plan", *verb).out
    asked = [refused.error["hint"], next(line for line in planned.splitlines() if "--confirm" in line)]
    asked.append(shell.run(*verb, "--json").error["hint"])
    for text in asked:
        words = shlex.split(text.replace(",", ""), comments=True)
        assert words[words.index("--confirm") + 1] == name, text


# --- doctor -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ui", "over_ssh", "mouse", "symbols"),
    [
        ("", False, "local: mouse on", "Unicode symbols"),
        ("", True, "over SSH: mouse off", "Unicode symbols"),
        ("mouse = false\nascii = true", False, "local: mouse off (configured)", "ASCII symbols (configured)"),
        ("mouse = true", True, "over SSH: mouse on (configured)", "Unicode symbols"),
    ],
)
def test_doctor_tells_what_was_decided_where_the_configuration_decides(
    shell: Shell, ui: str, over_ssh: bool, mouse: str, symbols: str
) -> None:
    shell.configure(f'state_dir = "state"\n[ui]\n{ui}\n')
    shell.environment |= {"SSH_CONNECTION": "1 2 3 4"} if over_ssh else {}
    if not over_ssh:
        shell.environment.pop("SSH_CONNECTION", None)
    shell.environment |= {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "utf-8"}
    checks = {check["name"]: check["text"] for check in shell.run("doctor", "--offline", "--json").document["checks"]}
    assert checks["link"].startswith(mouse)
    assert checks["encoding"].endswith(symbols)


# --- what a script did not set ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        ("promote", "iris", ""),
        ("promote", "iris", " "),
        ("rollback", "iris", "--to", ""),
        ("hold", "iris", "--plan-hash", ""),
        ("alias", "iris", "", "3"),
        ("alias", "iris", "champion", ""),
        ("shadow", "iris", ""),
        ("hold", ""),
    ],
)
def test_an_empty_argument_is_not_one_that_was_left_out(shell: Shell, arguments: tuple[str, ...]) -> None:
    """`promote iris "$VERSION"` without VERSION must not take the next step, nor `--plan-hash "$HASH"` check nothing."""
    answer = shell.play(cluster=moving()).run(*arguments, "--yes", "--json")
    assert (answer.code, answer.error["code"]) == (2, "usage")
    assert "it is empty" in answer.error["message"]
    assert shell.run("audit", "list", "--json").document["records"] == []


@pytest.mark.parametrize(
    "arguments", [("alias", "iris", "champion"), ("shadow", "iris"), ("alias",), ("scale", "iris")]
)
def test_a_missing_argument_is_a_usage_error_that_names_it(shell: Shell, arguments: tuple[str, ...]) -> None:
    for words in (("plan", *arguments), (*arguments, "--yes")):
        answer = shell.play(cluster=moving()).run(*words, "--json")
        assert (answer.code, answer.error["code"]) == (2, "usage"), words
        assert answer.error["message"].startswith("Missing argument")


@pytest.mark.parametrize("filter_", ["--endpoint", "--intent"])
def test_an_empty_filter_of_the_audit_is_not_everything(acted: Shell, filter_: str) -> None:
    answer = acted.run("audit", "list", filter_, "", "--json")
    assert (answer.code, answer.error["code"]) == (2, "usage")


# --- an audit that can't be read --------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["file", "loop"])
def test_an_audit_that_can_not_be_read_is_not_called_tampered(shell: Shell, what: str) -> None:
    shell.play(cluster=CALM)
    folder = shell.home / "audit"
    if what == "file":
        folder.write_text("not a folder")
    else:
        folder.symlink_to("audit")
    for arguments in (("verify",), ("list",), ("show", "01981e2c"), ("export",), ("list", "--endpoint", "iris")):
        answer = shell.run("audit", *arguments, "--json")
        assert (answer.code, answer.error["code"]) == (2, "usage"), arguments
        assert str(folder) in answer.error["message"]


@pytest.mark.parametrize("what", ["is not a folder", "is a symbolic link"])
def test_doctor_tells_of_a_folder_that_the_audit_refuses(shell: Shell, what: str) -> None:
    """The same that keeps an action from being sent."""
    shell.play(cluster=moving())
    folder = shell.home / "audit"
    if "link" in what:
        (shell.home / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to("elsewhere")
    else:
        folder.write_text("")
    assert shell.run("hold", "iris", "--yes").code == 4
    answer = shell.run("doctor", "--offline", "--json")
    (check,) = (check for check in answer.document["checks"] if check["name"] == "audit")
    assert (answer.code, check["status"]) == (1, "fail")
    assert what in check["text"]


@pytest.mark.parametrize("verb", [("hold", "iris"), ("rollback", "iris"), ("promote", "iris", "--window", "0")])
def test_a_name_that_is_not_the_targets_confirms_nothing_at_any_level(shell: Shell, verb: tuple[str, ...]) -> None:
    shell.play(cluster=moving())
    answer = shell.run(*verb, "--yes", "--confirm", "wine", "--json")
    assert (answer.code, answer.error["code"]) == (4, "not_confirmed")
    assert "wine" in answer.error["message"]
    assert shell.run("audit", "list", "--kind", "intent", "--json").document["records"] == []
    assert shell.run(*verb, "--yes", "--confirm", "iris", "--json").code == 0
