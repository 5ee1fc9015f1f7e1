"""The configuration: one TOML file without secrets, read into frozen values.

`reading` finds, trusts and parses the file · `sections` checks its tables · `schema` has the types and the keys of each kind ·
`lines` knows on which line a key stands · `model` is what comes out · `initial` writes a first file.
"""

from __future__ import annotations

from mlrelease_tui.config.model import (
    KEYMAP_PRESETS,
    KNOWN_ENVIRONMENTS,
    THEMES,
    Binding,
    Config,
    ConnectionConfig,
    CredentialConfig,
    EnvironmentConfig,
    Guard,
    Keymap,
    PolicyConfig,
    SourceKind,
    UiConfig,
)
from mlrelease_tui.config.reading import config_path, empty, load, parse
from mlrelease_tui.config.schema import BUILT_IN_KEYS, TYPES, Declared, KnownKeys

__all__ = [
    "BUILT_IN_KEYS",
    "KEYMAP_PRESETS",
    "KNOWN_ENVIRONMENTS",
    "THEMES",
    "TYPES",
    "Binding",
    "Config",
    "ConnectionConfig",
    "CredentialConfig",
    "Declared",
    "EnvironmentConfig",
    "Guard",
    "Keymap",
    "KnownKeys",
    "PolicyConfig",
    "SourceKind",
    "UiConfig",
    "config_path",
    "empty",
    "load",
    "parse",
]
