"""What a kubeconfig's user may say: honoured or refused, never ignored."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from mlrelease_tui.connectors.api import Settings
from mlrelease_tui.connectors.kubernetes.identity import Grant, Identity
from mlrelease_tui.connectors.kubernetes.kubeconfig import Context, Named
from mlrelease_tui.domain.secret import Secret
from mlrelease_tui.errors import ConfigError, CredentialError

V1 = "client.authentication.k8s.io/v1"


def identity(user: dict[str, Any], file: Path | None = None) -> Identity:
    cluster = Named({"server": "https://east.example"}, Path("/"))
    return Identity(Context("east", "", cluster, Named(user, Path("/"), file)), Settings("k", "kubernetes", environ={}))


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ({"auth-provider": {"name": "oidc"}}, "auth-provider"),
        ({"username": "anna", "password": "hunter2"}, "username"),
        ({"as-groups": ["oncall"]}, "groups without a user"),
        ({"as": "eve", "as-groups": "oncall"}, "no list of texts"),
        ({"exec": "aws"}, "no table"),
        ({"exec": {"apiVersion": "client.authentication.k8s.io/v1alpha1", "command": "aws"}}, "v1alpha1"),
        ({"exec": {"apiVersion": V1, "command": "aws", "interactiveMode": "Always"}}, "ask on the terminal"),
        ({"exec": {"apiVersion": V1}}, "without a command"),
        ({"exec": {"apiVersion": V1, "command": "aws", "args": "eks"}}, "no list"),
        ({"exec": {"apiVersion": V1, "command": "aws", "env": [{"name": "A"}]}}, "no name and value"),
    ],
)
def test_what_can_not_be_honoured_is_refused(user: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as refused:
        identity(user)
    assert "hunter2" not in str(refused.value)


def test_a_plugin_named_by_a_file_that_others_can_write_is_not_run(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.touch()
    file.chmod(0o666)
    user = {"exec": {"apiVersion": V1, "command": "aws"}}
    with pytest.raises(ConfigError, match="can be written by others"):
        identity(user, file)
    file.chmod(0o600)
    assert identity(user, file).source == "exec plugin"


def test_impersonation_goes_into_every_request() -> None:
    found = identity(
        {"token": "t", "as": "eve", "as-uid": "7", "as-groups": ["a", "b"], "as-user-extra": {"Why/x": ["1", "2"]}}
    )
    assert found.headers(Grant()) == [
        ("Impersonate-User", "eve"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
        ("Impersonate-Extra-Why%2Fx", "1"),
        ("Impersonate-Extra-Why%2Fx", "2"),
    ]


def test_a_token_wins_over_a_plugin_and_a_token_file_over_both(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from the file\n")
    user: dict[str, Any] = {"token": "written", "exec": {"apiVersion": V1, "command": "aws"}}
    assert asyncio.run(identity(user).grant()).headers() == [("Authorization", "Bearer written")]
    user["tokenFile"] = str(tmp_path / "token")
    assert asyncio.run(identity(user).grant()).headers() == [("Authorization", "Bearer from the file")]


@pytest.mark.parametrize("token", ["two\nlines", "naïve"])
def test_a_token_that_no_header_can_carry_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(CredentialError) as refused:
        asyncio.run(identity({"token": token}).grant())
    assert token not in str(refused.value)


def test_no_printer_shows_a_grant() -> None:
    assert "hunter2" not in repr(Grant(Secret("hunter2"), b"hunter2", Secret("hunter2")))
