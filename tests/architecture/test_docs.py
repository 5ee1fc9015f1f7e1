"""Documented or red: commands, settings, options, keys, capabilities, codes, variables. Links resolve; no trace of a machine."""

from __future__ import annotations

import configparser
import dataclasses
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args
from urllib.parse import unquote, urlsplit

import click
import pytest
from tests.architecture import kubernetes_page
from tests.architecture.keys_page import page

from mlrelease_tui import config, errors
from mlrelease_tui.config.schema import COMMON_KEYS
from mlrelease_tui.connectors import plugins
from mlrelease_tui.connectors.api import CAPABILITIES
from mlrelease_tui.connectors.scrape.presets import PRESETS
from mlrelease_tui.domain.plan import Level
from mlrelease_tui.domain.rollout import Verb

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "mlrelease_tui"
DOCS = ROOT / "docs"
OPERATING = (DOCS / "operating.md").read_text(encoding="utf-8")
ARCHITECTURE = (DOCS / "architecture.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def tracked() -> tuple[Path, ...]:
    """Files that git knows, and new ones that it does not ignore; what is deleted but not committed is left out."""
    # A checkout that belongs to another user (a container's mount) is still ours to read.
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    return tuple(path for name in listed.stdout.decode().split("\0") if name and (path := ROOT / name).is_file())


def section(text: str, heading: str) -> str:
    """The part of a page under a heading, up to the next one of the same or a higher level. Fails where there is none."""
    found = re.search(rf"^(#+) {re.escape(heading)}$(.*?)(?=^\1#? |^# |\Z)", text, re.M | re.S)
    if found is None:
        raise AssertionError(f"there is no section {heading!r}")
    level = len(found[1])
    lines = []
    for line in text[found.start(2) :].splitlines():
        other = re.match(r"(#+) ", line)
        if other and len(other[1]) <= level:
            break
        lines.append(line)
    return "\n".join(lines)


def rows(text: str) -> set[str]:
    """What the first cells of a text's tables name in code style."""
    return {
        word for line in text.splitlines() if line.startswith("| `") for word in re.findall(r"`([^`]+)`", cell(line))
    }


def cell(line: str) -> str:
    return line.removeprefix("|").partition(" | ")[0]


# --- keys -------------------------------------------------------------------------------------------------------------


def test_the_verbs_on_kubernetes_are_what_the_cluster_tests_recorded() -> None:
    assert kubernetes_page.PAGE.read_text(encoding="utf-8") == kubernetes_page.page(), "run `make docs`"


def test_the_page_of_keys_is_what_the_catalogue_says() -> None:
    assert (DOCS / "keys.md").read_text(encoding="utf-8") == page(), "run `make docs`"


# --- commands ---------------------------------------------------------------------------------------------------------


def root_command() -> click.Group:
    from mlrelease_tui.cli.entry import root

    return root


def commands(command: click.Command, path: tuple[str, ...] = ("mlrelease",)) -> Iterator[tuple[str, click.Command]]:
    """Every command with its whole path, groups left out where they only hold commands."""
    if isinstance(command, click.Group) and path[1:] == ("plan",):
        # `plan VERB`: one row for all, since its verbs are the commands themselves.
        assert set(command.list_commands(click.Context(command))) <= {str(verb) for verb in Verb}
    elif isinstance(command, click.Group):
        context = click.Context(command, info_name=path[-1])
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None, name
            if not inner.hidden:
                yield from commands(inner, (*path, name))
        if not command.invoke_without_command:
            return
    yield " ".join(path), command


def test_every_command_is_in_the_reference_and_nothing_else_is() -> None:
    known = {path for path, _ in commands(root_command())}
    documented = {
        " ".join(("mlrelease", *re.match(r"[a-z -]*", word.removeprefix("mlrelease"))[0].split()))  # type: ignore[index]
        for word in rows(section(OPERATING, "Commands"))
        if word.startswith("mlrelease")
    }
    assert known - documented == set(), "document them in docs/operating.md, section Commands"
    assert documented - known == set(), "these are documented and do not exist"


def test_the_readme_names_every_command() -> None:
    names = {path.split()[1] for path, _ in commands(root_command()) if " " in path}
    table = section(README, "Commands")
    assert {name for name in names if not re.search(rf"\b{re.escape(name)}\b", table)} == set()


def test_every_command_says_how_it_is_used() -> None:
    for path, command in commands(root_command()):
        assert (command.help or "").strip(), path
        assert command.callback is not None or isinstance(command, click.Group), path


# --- settings ---------------------------------------------------------------------------------------------------------


def fields(kind: type, *less: str) -> set[str]:
    return {item.name for item in dataclasses.fields(kind)} - {"line", "name", *less}


SETTINGS = {
    "The file": {"state_dir", "audit_dir", "connections", "bindings", "environments", "ui", "policy"},
    "[connections.NAME]": {"kind", "environment", "credential", *COMMON_KEYS},
    "credential": {*get_args(config.SourceKind), "user", "scheme", "pass_env"},
    "[[bindings]]": fields(config.Binding),
    "guard": fields(config.Guard),
    "[environments.NAME]": {"confirm", "production"},
    "[ui]": fields(config.UiConfig),
    "[ui.keymap]": fields(config.Keymap),
    "[policy]": fields(config.PolicyConfig),
}


@pytest.mark.parametrize("heading", SETTINGS)
def test_every_setting_is_documented_and_no_other(heading: str) -> None:
    assert rows(section(OPERATING, heading)) == SETTINGS[heading]


def test_the_settings_above_are_those_that_the_reader_knows() -> None:
    """The file's own root keys, read from its refusal of one that is not known."""
    with pytest.raises(errors.ConfigError) as refused:
        config.parse("zzzzzz = 1", Path("/config.toml"), {})
    assert set(refused.value.hint.removeprefix("known: ").split(", ")) == SETTINGS["The file"]


@pytest.mark.parametrize("kind", plugins.names())
def test_every_option_of_a_connector_is_documented_and_no_other(kind: str) -> None:
    accepted = set(config.BUILT_IN_KEYS.get(kind) or {}) | set(plugins.load(kind).options)
    assert rows(section(OPERATING, f"kind `{kind}`")) == accepted - set(COMMON_KEYS)


def test_themes_presets_levels_and_metric_presets_are_named() -> None:
    for word in (*config.THEMES, *config.KEYMAP_PRESETS, *config.KNOWN_ENVIRONMENTS, *PRESETS):
        assert f"`{word}`" in OPERATING, word
    levels = rows(section(OPERATING, "Confirmation"))
    assert levels == {str(int(level)) for level in Level if level is not Level.READ}


def test_every_verb_is_documented() -> None:
    assert rows(section(README, "Verbs")) == {str(verb) for verb in Verb}


# --- codes, variables, capabilities -----------------------------------------------------------------------------------


def tree(kind: type[errors.ReleaseError]) -> Iterator[type[errors.ReleaseError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from tree(child)


def test_every_exit_code_and_error_code_is_documented() -> None:
    part = section(OPERATING, "Exit codes")
    own = [kind for kind in tree(errors.ReleaseError) if kind.__module__ == errors.__name__]
    assert rows(part) == {"0", *(str(kind.exit_code) for kind in own)}
    missing = {kind.code for kind in own if kind is not errors.ReleaseError and f"`{kind.code}`" not in part}
    assert missing == set()


def test_every_environment_variable_that_is_read_is_documented() -> None:
    read: set[str] = set()
    for path in PACKAGE.rglob("*.py"):
        # The demo sets variables for its children; those are nobody's setting.
        if "demo" not in path.relative_to(PACKAGE).parts:
            read |= set(re.findall(r'"((?:MLRELEASE|MLFLOW|XDG)_[A-Z0-9_]+)"', path.read_text(encoding="utf-8")))
    # What the supervisor of local endpoints marks its processes with is nobody's setting, either.
    marks = {"MLRELEASE_SUPERVISED_BY", "MLRELEASE_SUPERVISED_RUN"}
    assert read - marks - rows(section(OPERATING, "Environment variables")) == set()


def test_every_capability_is_documented() -> None:
    part = section(ARCHITECTURE, "Capabilities")
    assert rows(part) == {protocol.__name__ for protocol in CAPABILITIES.values()}
    assert {word for word in CAPABILITIES if f"`{word}`" not in part} == set()


def test_the_map_names_every_room() -> None:
    part = section(ARCHITECTURE, "Rooms")
    there = {
        path.name + "/" * path.is_dir()
        for path in PACKAGE.iterdir()
        if path.name not in {"__pycache__", "__init__.py", "py.typed"} and (path.is_file() or any(path.rglob("*.*")))
    }
    assert there - rows(part) == set(), "document them in docs/architecture.md, section Rooms"
    assert rows(part) - there == set(), "these are documented and do not exist"


# --- pages ------------------------------------------------------------------------------------------------------------


def pages() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".md"]


def anchors(text: str) -> set[str]:
    """As GitHub makes them: lower case, spaces to hyphens, everything else but letters, digits, - and _ dropped."""
    heads = re.findall(r"^#+ (.+)$", text, re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).strip().replace(" ", "-") for head in heads}


def test_links_between_pages_and_pictures_resolve() -> None:
    broken = []
    for path in pages():
        text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.M | re.S)
        for link in re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text):
            if urlsplit(link).scheme:
                continue
            name, _, anchor = link.partition("#")
            target = (path.parent / unquote(name)).resolve() if name else path
            if target not in files():
                broken.append(f"{path.relative_to(ROOT)}: {link}")
            elif anchor and target.suffix == ".md" and anchor not in anchors(target.read_text(encoding="utf-8")):
                broken.append(f"{path.relative_to(ROOT)}: no heading for {link}")
    assert broken == []


def files() -> set[Path]:
    """Tracked files and the folders that hold them."""
    known = set(tracked())
    return known | {folder for path in known for folder in path.parents if folder.is_relative_to(ROOT)}


def test_decisions_are_numbered_and_on_the_map() -> None:
    records = sorted(path.name for path in (DOCS / "adr").glob("*.md"))
    assert [int(name[:4]) for name in records] == list(range(1, len(records) + 1))
    assert [name for name in records if f"(adr/{name})" not in ARCHITECTURE] == []


def test_set_up_takes_exactly_two_commands() -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", section(README, "Set up"), re.M | re.S)
    lines = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    assert [line for line in lines if line] == ["make demo", "make test"]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    assert {"demo", "test"} <= targets


# --- no trace of a machine --------------------------------------------------------------------------------------------

_HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("proxy", "golang", "org"),
        ("crates", "io"),
        ("anaconda", "org"),
        ("deb", "debian", "org"),
    )
)
"""Package registries, spelt so that this file does not hold their names."""

_FOLDERS = re.compile(rb"(?<![\w./-])/(?:Users|root|work|workspace|builds?)/[\w.-]+")
"""Absolute paths that only one machine has. Homes of made-up users are test data."""


def own_hosts() -> set[str]:
    """The hosts from which this machine has its packages, as its environment and pip's configuration name them."""
    said = [
        os.environ.get(name, "")
        for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "UV_INDEX_URL", "UV_DEFAULT_INDEX")
    ]
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False, timeout=60
    )
    said += re.findall(r"https?://[^\s']+", listed.stdout)
    for path in (Path.home() / ".config/pip/pip.conf", Path("/etc/pip.conf")):
        parser = configparser.RawConfigParser(strict=False)
        if path.is_file():
            parser.read(path, encoding="utf-8")
            said += [value for name in parser.sections() for value in dict(parser[name]).values()]
    hosts = {urlsplit(word).hostname for text in said for word in text.split() if "://" in word}
    return {host for host in hosts if host}


def test_no_file_names_a_package_registry_or_a_folder_of_one_machine() -> None:
    names = [name.encode() for name in (*_HOSTS, *own_hosts())]
    found = []
    for path in tracked():
        content = path.read_bytes()
        where = str(path.relative_to(ROOT))
        found += [f"{where}: {name.decode()}" for name in names if name in content]
        found += [f"{where}: {match.decode(errors='replace')}" for match in set(_FOLDERS.findall(content))]
        if str(ROOT).encode() in content and len(ROOT.parts) > 2:
            found.append(f"{where}: the folder of this checkout")
    assert found == []
