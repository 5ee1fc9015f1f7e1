"""The short way through an exposition finds what the official parser finds, or leaves the page to it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlrelease_tui.connectors.scrape import exposition
from mlrelease_tui.errors import UnexpectedAnswer

WANTED = frozenset({"m_total", "m_bucket", "process_start_time_seconds"})

names = st.sampled_from(["m_total", "m_bucket", "process_start_time_seconds", "other", "m:total", "9m", ""])
texts = st.text(st.sampled_from(list('ab1.@/ ={},#"\\n\\é\t')), max_size=6)
labels = st.dictionaries(st.sampled_from(["le", "code", "service", "_x", "9", "a-b"]), texts, max_size=3)
values = st.one_of(
    st.floats().map(repr),
    st.integers(-5, 10**20).map(str),
    st.sampled_from(["+Inf", "-Inf", "NaN", "1_0", "0x1", ".5", "5.", "1e400", ""]),
)


def written(name: str, given_labels: dict[str, str], value: str, gap: str, ending: str, comma: str) -> str:
    inside = ",".join(f'{key}="{text}"' for key, text in given_labels.items())
    return f"{name}{{{inside}{comma}}}{gap}{value}{ending}" if inside or comma else f"{name}{gap}{value}{ending}"


lines = st.one_of(
    st.builds(
        written,
        names,
        labels,
        values,
        st.sampled_from([" ", " ", " ", "  ", "\t", ""]),
        st.sampled_from(["", "", "", " 1700000000000", " 1.5", "\r", " ", ' # {trace="x"} 0.67']),
        st.sampled_from(["", "", ","]),
    ),
    st.sampled_from(
        ["", "# HELP m_total x", "# TYPE m_total counter", "# EOF", "<html>", 'm_total{code="1",code="2"} 5']
    ),
)


@given(st.lists(lines, max_size=5))
def test_the_short_way_finds_what_the_long_way_finds(page: list[str]) -> None:
    text = "\n".join(page)
    plain = exposition._plainly(text, WANTED)
    if plain is not None:
        assert repr(plain_floats(plain)) == repr(plain_floats(exposition._thoroughly(text, WANTED, "t")))


def plain_floats(
    found: dict[str, list[tuple[exposition.Labels, float]]],
) -> dict[str, list[tuple[dict[str, str], float]]]:
    """NaN equals NaN in its repr; the official parser gives whole numbers as int."""
    return {
        name: [(dict(sorted(one.items())), float(value)) for one, value in samples]
        for name, samples in sorted(found.items())
    }


@pytest.mark.parametrize(
    "text",
    [
        'm_total{code="200"} 5\n',
        '# HELP m_total x\n# TYPE m_total counter\nm_total{code="200",service="a@file"} 5.0\n',
        'm_total{code="200",} 5 1700000000000\nother 1e-05\n',
        "process_start_time_seconds 1.7e+09\nm_total NaN\n",
    ],
)
def test_what_client_libraries_write_goes_the_short_way(text: str) -> None:
    assert exposition._plainly(text, WANTED) is not None


@pytest.mark.parametrize("text", ["<html></html>", "m_total", "# nothing but words", 'm_total{code="200"'])
def test_what_is_no_exposition_is_refused(text: str) -> None:
    with pytest.raises(UnexpectedAnswer):
        exposition.parse(text, WANTED, "t")


def test_what_is_escaped_is_read_as_it_was_meant() -> None:
    scrape = exposition.parse('m_total{code="a\\"b\\n"} 5\n', WANTED, "t")
    assert scrape.samples == {"m_total": (({"code": 'a"b\n'}, 5),)}
