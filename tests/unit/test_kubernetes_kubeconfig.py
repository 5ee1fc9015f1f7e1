"""Kubeconfig files: merged as kubectl merges them, and refused with the line where they can't be believed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from mlrelease_tui.connectors.kubernetes import kubeconfig
from mlrelease_tui.connectors.kubernetes.link import warnings_of
from mlrelease_tui.connectors.kubernetes.proxies import proxy_of
from mlrelease_tui.errors import ConfigError

CONFIG = """\
apiVersion: v1
kind: Config
current-context: {current}
clusters:
- name: {name}
  cluster: {{server: "https://{name}.example:6443", certificate-authority: ca.pem}}
users:
- name: {name}
  user: {{token: token-of-{name}}}
contexts:
- name: {name}
  context: {{cluster: {name}, user: {name}, namespace: ml}}
"""


def written(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text)
    path.chmod(0o600)
    return path


def test_of_several_files_the_first_current_context_counts_as_with_kubectl(tmp_path: Path) -> None:
    one = written(tmp_path / "a", "config", CONFIG.format(name="east", current="east"))
    two = written(tmp_path / "b", "config", CONFIG.format(name="west", current="west"))
    environ = {"KUBECONFIG": f"{one}:{tmp_path / 'missing'}:{two}"}
    merged = kubeconfig.load(kubeconfig.paths_of(environ))
    assert merged.current == "east"
    assert list(merged.contexts) == ["east", "west"]
    west = merged.context("west")
    assert west.namespace == "ml"
    assert west.cluster.path("certificate-authority") == tmp_path / "b" / "ca.pem"


def test_of_two_entries_of_one_name_the_first_counts(tmp_path: Path) -> None:
    one = written(tmp_path, "one", CONFIG.format(name="east", current="east"))
    two = written(tmp_path, "two", CONFIG.format(name="east", current="").replace("token-of-east", "another"))
    assert kubeconfig.load((one, two)).context("east").user.text("token") == "token-of-east"


def test_json_is_read_as_what_it_is(tmp_path: Path) -> None:
    document = {
        "current-context": "a",
        "clusters": [{"name": "a", "cluster": {"server": "https://a"}}],
        "contexts": [{"name": "a", "context": {"cluster": "a"}}],
    }
    assert kubeconfig.load((written(tmp_path, "c", json.dumps(document)),)).context().server == "https://a"


@pytest.mark.parametrize(
    ("text", "said", "line"),
    [
        ("clusters: [", "no YAML", 0),
        ("a: 1\nb: 2\na: 3\n", "the key a twice", 3),
        ('{"a": 1, "a": 2}', "the key a twice", 0),
        ("a: &x [1]\nb: *x\n", "an alias", 2),
        ("a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n", "an alias", 2),
        ("a: !!python/object/apply:os.system ['true']\n", "no YAML that can be used", 1),
        ("- a\n", "no table", 0),
        ("users:\n- user: {}\n", "without a name", 0),
        ("a: " + "[" * 200_000, "no YAML|too deep", 0),
    ],
    ids=["broken", "twice", "twice in JSON", "alias", "bomb", "python", "list", "nameless", "deep"],
)
def test_a_file_that_can_not_be_believed_is_refused_with_its_line(
    tmp_path: Path, text: str, said: str, line: int
) -> None:
    path = written(tmp_path, "config", text)
    with pytest.raises(ConfigError, match=said) as refused:
        kubeconfig.load((path,))
    assert refused.value.path == str(path)
    assert refused.value.line == line or not line


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config"
    with path.open("wb") as file:
        file.truncate(50 * 1024 * 1024)
    with pytest.raises(ConfigError, match="larger than"):
        kubeconfig.load((path,))


def test_a_value_of_another_type_is_no_text(tmp_path: Path) -> None:
    # YAML reads `no` as false.
    path = written(tmp_path, "config", CONFIG.format(name="east", current="east").replace("token-of-east", "no"))
    with pytest.raises(ConfigError, match="token is bool"):
        kubeconfig.load((path,)).context().user.text("token")


@pytest.mark.parametrize(("name", "said"), [("other", "no context other"), ("", "no current context")])
def test_a_context_that_is_not_there_is_named_with_those_that_are(tmp_path: Path, name: str, said: str) -> None:
    path = written(tmp_path, "config", CONFIG.format(name="east", current='""'))
    with pytest.raises(ConfigError, match=said) as refused:
        kubeconfig.load((path,)).context(name)
    assert "east" in refused.value.hint


def test_a_file_that_others_can_write_is_warned_of(tmp_path: Path) -> None:
    path = written(tmp_path, "config", CONFIG.format(name="east", current="east"))
    assert not [text for text in warnings_of(kubeconfig.load((path,)).context()) if "written by others" in text]
    path.chmod(0o666)
    assert [text for text in warnings_of(kubeconfig.load((path,)).context()) if "can be written by others" in text]


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    path = written(tmp_path, "config", CONFIG.format(name="east", current="east"))
    assert kubeconfig.load((path,)).current == "east"
    written(tmp_path, "config", CONFIG.format(name="western", current="western"))
    os.utime(path, ns=(1, 1))
    assert kubeconfig.load((path,)).current == "western"


def test_nothing_shows_a_token(tmp_path: Path) -> None:
    path = written(tmp_path, "config", CONFIG.format(name="east", current="east"))
    merged = kubeconfig.load((path,))
    assert "token-of-east" not in repr(merged) + repr(merged.context())


@pytest.mark.parametrize(
    ("server", "environ", "proxy"),
    [
        ("https://east.example", {"HTTPS_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ("https://east.example", {"https_proxy": "proxy:3128"}, "http://proxy:3128"),
        ("https://east.example", {"HTTP_PROXY": "http://proxy:3128"}, ""),
        ("http://east.example", {"HTTP_PROXY": "http://proxy:3128"}, "http://proxy:3128"),
        ("http://east.example", {"HTTP_PROXY": "http://proxy:3128", "REQUEST_METHOD": "GET"}, ""),
        ("https://127.0.0.1:6443", {"HTTPS_PROXY": "http://proxy:3128"}, ""),
        ("https://localhost:6443", {"HTTPS_PROXY": "http://proxy:3128"}, ""),
        ("https://east.example", {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "a, example"}, ""),
        ("https://example", {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": ".example"}, "http://proxy:3128"),
        (
            "https://east.example:6443",
            {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "east.example:443"},
            "http://proxy:3128",
        ),
        ("https://10.1.2.3:6443", {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "10.0.0.0/8"}, ""),
        ("https://10.1.2.3:6443", {"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "*"}, ""),
    ],
)
def test_proxies_of_the_environment_are_taken_as_kubectl_takes_them(
    server: str, environ: dict[str, str], proxy: str
) -> None:
    nothing = kubeconfig.Named({}, Path("/"))
    context = kubeconfig.Context("c", "", kubeconfig.Named({"server": server}, Path("/")), nothing)
    assert proxy_of(context, environ) == proxy


@pytest.mark.parametrize(("url", "said"), [("ftp://proxy", "ftp"), ("socks5://anna:hunter2@proxy:1080", "SOCKS")])
def test_a_proxy_that_can_not_be_used_is_refused(url: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlrelease_tui.connectors.kubernetes.proxies.find_spec", lambda _: None)
    cluster = kubeconfig.Named({"server": "https://east.example", "proxy-url": url}, Path("/"))
    context = kubeconfig.Context("c", "", cluster, kubeconfig.Named({}, Path("/")))
    with pytest.raises(ConfigError, match=said) as refused:
        proxy_of(context, {})
    assert "hunter2" not in str(refused.value)
