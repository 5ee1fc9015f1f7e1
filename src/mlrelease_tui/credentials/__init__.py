"""Where a connection's secret comes from: one configured source each, never a guess, never shown.

`wallet` finds, keeps and describes credentials · `sources`, `keyring_source`, `mlflow_client` are the places to look ·
`command` runs a credential command · `answer` reads what a source gave. `domain.secret` and `domain.redaction` keep it from being
shown.
"""

from __future__ import annotations

from mlrelease_tui.credentials.command import CommandOutput, Runner, run_command
from mlrelease_tui.credentials.wallet import Keyring, Prompt, SourceDescription, Wallet, resolve

__all__ = ["CommandOutput", "Keyring", "Prompt", "Runner", "SourceDescription", "Wallet", "resolve", "run_command"]
