"""The parts of the command line that need no process: arguments, names, shapes, what is found on a host."""

from __future__ import annotations

import json
import math
import re
import shlex
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import MappingProxyType

import click
import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.e2e.cli_host import schema

import mlrelease_tui
from mlrelease_tui.cli import text
from mlrelease_tui.cli.discovering import discover, kube_contexts
from mlrelease_tui.cli.entry import COMMANDS, root
from mlrelease_tui.cli.finding import match
from mlrelease_tui.cli.home import outset_for_app
from mlrelease_tui.cli.known import known_names
from mlrelease_tui.cli.options import WEIGHT, LazyGroup, options_of
from mlrelease_tui.cli.output import text_of
from mlrelease_tui.cli.reading import exit_code
from mlrelease_tui.cli.serving_shapes import detail_shape, endpoint_shape, status_shape, variant_shape
from mlrelease_tui.cli.shapes import known, plain
from mlrelease_tui.config.initial import render
from mlrelease_tui.config.reading import parse
from mlrelease_tui.domain.connection import ConnectionHealth, LinkState
from mlrelease_tui.domain.metrics import Coverage, VariantMetrics
from mlrelease_tui.domain.refs import EndpointRef, ModelRef
from mlrelease_tui.domain.rollout import (
    Endpoint,
    Gate,
    GateResult,
    Native,
    Phase,
    Role,
    Rollout,
    Strategy,
    Variant,
    Verb,
    VerbSupport,
)
from mlrelease_tui.domain.status import EndpointStatus, Reason, Severity
from mlrelease_tui.domain.text import SafeText
from mlrelease_tui.domain.verdict import Verdict, VerdictKind
from mlrelease_tui.errors import AmbiguousName, UnknownName, Unreachable
from mlrelease_tui.presentation.glyphs import ASCII

AT = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)


# --- arguments --------------------------------------------------------------------------------------------------------


def test_every_command_that_the_program_speaks_of_exists() -> None:
    sources = Path(mlrelease_tui.__file__).parent.rglob("*.py")
    spoken = {word for path in sources for word in re.findall(r"`mlrelease ([a-z]+)", path.read_text("utf-8"))}
    assert spoken >= {"status", "audit", "connections"}
    assert spoken <= set(COMMANDS)


@pytest.mark.parametrize(("line", "slow"), [("--slow", True), ("", False)])
def test_the_app_can_be_told_that_its_link_is_slow(line: str, slow: bool, tmp_path: Path) -> None:
    with root.make_context("mlrelease", shlex.split(line)) as ctx:
        outset = outset_for_app(replace(options_of(ctx), config=written(tmp_path)), {"HOME": str(tmp_path)})
    assert outset.config.ui.slow is slow


def written(folder: Path) -> Path:
    path = folder / "config.toml"
    path.write_text("")
    path.chmod(0o600)
    return path


def test_one_reason_is_said_once_with_all_verbs_that_it_bars() -> None:
    reason = SafeText("route iris was edited by another hand")
    barred = tuple(VerbSupport(verb, False, reason=reason) for verb in (Verb.PROMOTE, Verb.HOLD, Verb.ROLLBACK))
    verbs = (
        *barred,
        VerbSupport(Verb.RETRY, False, reason=SafeText("it does so itself")),
        VerbSupport(Verb.SCALE, True),
    )
    ref = EndpointRef("local", SafeText("local"), SafeText("iris"))
    rollout = Rollout(Strategy.CANARY, Phase.UNKNOWN, "", "")
    found = Endpoint(ref, "1", "1", (), rollout, Native(SafeText("route")), AT, verbs=verbs)
    said = [text_of(item) for item in text.detail(EndpointStatus(found, Severity.UNKNOWN), ASCII, AT)]
    assert sum(str(reason) in item for item in said) == 1
    assert f"  - promote, hold, rollback: {reason}" in said
    assert "  - retry: it does so itself" in said
    assert "  + scale:" in said


@pytest.mark.parametrize(
    ("text", "weight_bp"),
    [
        ("10%", 1000),
        ("10", 1000),
        ("0", 0),
        ("100%", 10_000),
        ("2.5%", 250),
        ("0.25", 25),
        ("33.33%", 3333),
        ("05 %", 500),
    ],
)
def test_a_weight_is_per_cent_with_two_decimals_at_most(text: str, weight_bp: int) -> None:
    assert WEIGHT.convert(text, None, None) == weight_bp


@pytest.mark.parametrize("text", ["100.01", "150%", "-1", "1e1", "1000bp", "33.333", "", "%", "ten", "٣"])
def test_anything_else_is_no_weight(text: str) -> None:
    with pytest.raises(click.BadParameter, match="is no weight"):
        WEIGHT.convert(text, None, None)


@given(st.integers(0, 10_000))
def test_every_weight_survives_being_written_and_read(weight_bp: int) -> None:
    assert WEIGHT.convert(f"{weight_bp / 100:g}%", None, None) == weight_bp


def commands(group: LazyGroup, path: str = "mlrelease") -> Iterator[tuple[str, click.Command]]:
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None, name
        yield f"{path} {name}", command
        if isinstance(command, LazyGroup):
            yield from commands(command, f"{path} {name}")


ALL = dict(commands(root))


@pytest.mark.parametrize("path", ALL)
def test_every_command_explains_itself_with_an_example(path: str) -> None:
    command = ALL[path]
    text = command.get_help(click.Context(command, info_name=path))
    assert command.help
    assert path in text.partition("Example:")[2]
    assert "--json" in text


def examples() -> Iterator[str]:
    for command in (root, *ALL.values()):
        for line in (command.epilog or "").splitlines()[2:]:
            if line.strip().startswith("mlrelease "):
                yield line.strip().partition(" > ")[0]


@pytest.mark.parametrize("line", sorted(set(examples())))
def test_every_example_is_a_command_line_that_it_takes(line: str) -> None:
    command: click.Command = root
    words = shlex.split(line)[1:]
    while isinstance(command, LazyGroup) and words:
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None
        command = found
    command.make_context(line, words)


# --- names ------------------------------------------------------------------------------------------------------------

REFS = [EndpointRef("eu", "ml", "fraud"), EndpointRef("us", "ml", "fraud"), EndpointRef("eu", "ml", "churn")]


@pytest.mark.parametrize("name", ["churn", "ml/churn", "eu/ml/churn"])
def test_any_unique_end_of_an_id_is_a_name(name: str) -> None:
    assert match(name, REFS, what="endpoint") == REFS[2]


def test_a_part_of_a_word_is_no_name() -> None:
    with pytest.raises(UnknownName, match="no endpoint is called hurn"):
        match("hurn", REFS, what="endpoint")


def test_two_matches_are_named() -> None:
    with pytest.raises(AmbiguousName) as caught:
        match("fraud", REFS, what="endpoint")
    assert "eu/ml/fraud, us/ml/fraud" in caught.value.message
    assert caught.value.exit_code == 2


def test_a_whole_id_wins_over_another_ones_end() -> None:
    refs = [ModelRef("a", "x"), ModelRef("b", "a/x")]
    assert match("a/x", refs, what="model") == refs[0]


def test_the_nearest_is_suggested() -> None:
    with pytest.raises(UnknownName) as caught:
        match("chrun", REFS, what="endpoint")
    assert caught.value.hint == "did you mean eu/ml/churn?"


def test_where_somebody_did_not_answer_a_missing_name_is_no_mistake_of_ours() -> None:
    with pytest.raises(Unreachable, match="edge"):
        match("vision", REFS, what="endpoint", silent={"edge"})


def write_known(folder: Path, names: list[str]) -> Path:
    config = folder / "config.toml"
    config.write_text('state_dir = "state"\n[connections.eu]\nkind = "fake"\n')
    endpoints = [{"ref": {"connection": "eu", "namespace": "ml", "name": name}} for name in names]
    (folder / "state").mkdir(exist_ok=True)
    (folder / "state" / "last-known.json").write_text(json.dumps({"config": str(config), "endpoints": endpoints}))
    return config


def test_completion_knows_whole_and_short_names(tmp_path: Path) -> None:
    config = write_known(tmp_path, ["fraud", "churn"])
    assert known_names("endpoints", config, {}) == ["churn", "eu/ml/churn", "eu/ml/fraud", "fraud"]
    assert known_names("connections", config, {}) == ["eu"]


def test_completion_offers_no_name_that_a_shell_would_run(tmp_path: Path) -> None:
    config = write_known(tmp_path, ["$(reboot)", "a b", "a;b", "`x`", "a\nb", "\x1b[31m", "ok-1.2"])
    assert known_names("endpoints", config, {}) == ["eu/ml/ok-1.2", "ok-1.2"]


@pytest.mark.parametrize("content", ["", "[]", '{"config": "other", "endpoints": []}', "\x00", '{"config": 1}'])
def test_completion_survives_any_file(tmp_path: Path, content: str) -> None:
    config = write_known(tmp_path, ["fraud"])
    (tmp_path / "state" / "last-known.json").write_text(content)
    assert known_names("endpoints", config, {}) == []
    config.write_text(content)
    assert known_names("connections", config, {}) == []
    assert known_names("endpoints", tmp_path / "missing.toml", {}) == []


# --- shapes -----------------------------------------------------------------------------------------------------------


def endpoint(**changes: object) -> Endpoint:
    made = Endpoint(
        EndpointRef("eu", "ml", SafeText("fraud\x1b[31m")),
        "uid",
        "1",
        (Variant("v1", Role.STABLE, "1", 9000), Variant("v2", Role.CANARY, "2", 1000)),
        Rollout(Strategy.CANARY, Phase.WAITING, "1", "2"),
        Native(SafeText("kind")),
        AT,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def validate(document: Mapping[str, object]) -> None:
    text = json.dumps(document, allow_nan=False)
    jsonschema.Draft202012Validator(schema(str(document["schema"]))).validate(json.loads(text))


def test_what_is_not_known_is_absent_never_zero() -> None:
    shape = variant_shape(endpoint().variants[0], None)
    assert shape == {"name": "v1", "role": "stable", "version": "1", "weight_bp": 9000}
    silent = VariantMetrics("v1", Coverage.NO_TARGET)
    assert variant_shape(endpoint().variants[0], silent) == {**shape, "coverage": "no_target"}
    assert variant_shape(replace(endpoint().variants[0], weight_bp=0), None)["weight_bp"] == 0


def test_a_number_that_is_none_is_not_known() -> None:
    metrics = VariantMetrics("v1", Coverage.OK, 2.0, rate=math.inf, error_ratio=math.nan, p99_s=0.25)
    shape = variant_shape(endpoint().variants[0], metrics)
    assert "rate" not in shape
    assert "error_ratio" not in shape
    assert shape["p99_s"] == 0.25


def test_a_status_with_everything_and_one_with_nothing_fit_the_schema() -> None:
    metrics = VariantMetrics("v1", Coverage.OK, 2.0, 10, 1, 5.0, 0.1, 0.01, 0.02, 0.03, 1.0, 0.9, AT)
    whole = EndpointStatus(
        endpoint(environment="production", model=ModelRef("registry", "fraud"), previous_version="1"),
        Severity.CRIT,
        (Reason(Severity.CRIT, "burns", "v2"),),
        MappingProxyType({"v1": metrics}),
        Verdict(VerdictKind.HARM, "worse", 100, 200),
        alias="champion",
        alias_version="1",
        mismatch="alias champion says v1",
        known_good="1",
        stale_since=AT,
    )
    bare = EndpointStatus(endpoint(variants=()), Severity.UNKNOWN)
    down = ConnectionHealth("eu", "fake", LinkState.DOWN, error=SafeText("no\x1b"), observed_at=AT)
    document = status_shape(
        [whole, bare], [down, ConnectionHealth("us", "fake", LinkState.UNKNOWN)], at=AT, window_s=2.0
    )
    validate(document)
    assert "\\u001b" not in json.dumps(document)
    row = endpoint_shape(whole)
    assert row["verdict"] == "harm"
    assert row["stale"] is True


def test_the_backends_own_checks_are_told_with_what_they_measured() -> None:
    gates = (
        Gate(
            SafeText("success-rate"), GateResult.FAILED, SafeText("0.93"), SafeText("below 0.95"), SafeText("run-1"), 1
        ),
        Gate(SafeText("smoke"), GateResult.TERMINATED),
    )
    checked = endpoint(rollout=Rollout(Strategy.CANARY, Phase.DEGRADED, "1", "2", gates=gates))
    document = detail_shape(EndpointStatus(checked, Severity.CRIT), [], at=AT)
    validate(document)
    assert json.loads(json.dumps(document))["endpoint"]["rollout"]["gates"] == [
        {
            "name": "success-rate",
            "result": "failed",
            "measured": "0.93",
            "message": "below 0.95",
            "run": "run-1",
            "step": 1,
        },
        {"name": "smoke", "result": "terminated"},
    ]


def test_times_are_utc_and_end_with_z() -> None:
    east = datetime(2026, 3, 1, 10, 30, tzinfo=timezone(timedelta(hours=1)))
    assert plain(east) == plain(AT) == "2026-03-01T09:30:00.000Z"


def test_known_keeps_false_and_zero() -> None:
    assert known(a=False, b=0, c=None, d="", e=0.0) == {"a": False, "b": 0, "e": 0.0}


@pytest.mark.parametrize(
    ("severity", "missing", "code"),
    [
        (Severity.OK, False, 0),
        (Severity.WAIT, False, 0),
        (Severity.HOLD, False, 0),
        (Severity.WARN, False, 1),
        (Severity.CRIT, True, 1),
        (Severity.OK, True, 3),
        (Severity.STALE, True, 3),
    ],
)
def test_exit_codes_of_status(severity: Severity, missing: bool, code: int) -> None:
    down = [ConnectionHealth("eu", "fake", LinkState.DOWN)] if missing else []
    assert exit_code([EndpointStatus(endpoint(), severity)], down) == code


# --- what a host has --------------------------------------------------------------------------------------------------

KUBECONFIG = """\
apiVersion: v1
clusters:
- cluster: {server: https://10.0.0.1}
  name: not-a-context
contexts:
- context:
    cluster: one
    namespace: ml   # where models live
    user: ann
  name: prod-eu
- name: "staging"
  context: {cluster: two}
current-context: prod-eu
users:
- name: ann
  user:
    token: very-secret
"""


def test_contexts_of_a_kubeconfig_are_read_without_its_secrets() -> None:
    assert kube_contexts(KUBECONFIG) == [("prod-eu", "ml"), ("staging", "")]
    as_json = {"contexts": [{"name": "prod-eu", "context": {"namespace": "ml"}}, {"name": "staging"}]}
    assert kube_contexts(json.dumps(as_json)) == [("prod-eu", "ml"), ("staging", "")]


@pytest.mark.parametrize("text", ["", "{", "[]", "contexts: nonsense", '{"contexts": 3}', "- - -", "\x00"])
def test_any_other_file_has_no_contexts(text: str) -> None:
    assert kube_contexts(text) == []


def test_a_host_is_searched_and_what_is_found_can_be_loaded(tmp_path: Path) -> None:
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "config").write_text(KUBECONFIG)
    meta = tmp_path / ".docker" / "contexts" / "meta" / "abc"
    meta.mkdir(parents=True)
    (meta / "meta.json").write_text('{"Name": "edge"}')
    path = tmp_path / "docker.sock"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    environ = {"HOME": str(tmp_path), "MLFLOW_TRACKING_URI": "https://ann:hunter2@mlflow.internal/api"}
    found = {item.draft.name: item.draft for item in discover(environ, socket=path)}
    listening.close()
    assert set(found) == {"registry", "docker", "edge", "prod-eu", "staging"}
    assert found["registry"].options == {"url": "https://mlflow.internal/api"}
    assert found["prod-eu"].environment == "production"
    assert found["staging"].environment == ""
    text = render(list(found.values()))
    assert "hunter2" not in text
    assert "very-secret" not in text
    assert set(parse(text, tmp_path / "config.toml", environ).connections) == set(found)


def test_an_empty_host_has_nothing(tmp_path: Path) -> None:
    assert discover({"HOME": str(tmp_path)}, socket=tmp_path / "none") == ()


def test_two_things_of_one_name_get_two_names(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        meta = tmp_path / ".docker" / "contexts" / "meta" / folder
        meta.mkdir(parents=True)
        (meta / "meta.json").write_text('{"Name": "edge"}')
    names = [item.draft.name for item in discover({"HOME": str(tmp_path)}, socket=tmp_path / "none")]
    assert names == ["edge", "edge-2"]
