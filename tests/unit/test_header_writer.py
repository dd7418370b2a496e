"""Header cards that calibkit writes, beside those of astropy."""

from __future__ import annotations

import warnings

import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from calibkit.io.cards import parse_header
from calibkit.io.header_writer import HeaderWriter

_text = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=300).map(str.rstrip)
_value = st.one_of(
    st.booleans(),
    st.integers(-(10**18), 10**18),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=28).map(str.rstrip),
)
_comment = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40)


@given(st.lists(st.tuples(st.sampled_from(["EXPTIME", "CCD-TEMP", "A", "DATE-OBS"]), _value, _comment)))
def test_cards_are_those_of_astropy(cards: list[tuple[str, object, str]]) -> None:
    ours, theirs = HeaderWriter(), fits.Header()
    with warnings.catch_warnings(action="ignore"):  # astropy says when it cuts a comment off
        for keyword, value, comment in cards:
            ours[keyword] = theirs[keyword] = (value, comment)
        assert ours.to_bytes() == theirs.tostring().encode()


@given(_text.filter(lambda text: "'" not in text))
def test_long_strings_are_continued_as_by_astropy(text: str) -> None:
    ours, theirs = HeaderWriter(), fits.Header()
    ours["OBJECT"] = theirs["OBJECT"] = text
    assert ours.to_bytes() == theirs.tostring().encode()


@given(st.text("a' ", max_size=300).map(str.rstrip))
def test_quotes_come_back_whole_from_strings_of_any_length(text: str) -> None:
    header = HeaderWriter()
    header["OBJECT"] = text
    written = header.to_bytes()
    assert len(written) % 2880 == 0
    assert fits.Header.fromstring(written)["OBJECT"] == text
    assert parse_header(written)["OBJECT"] == text


@given(st.lists(st.tuples(st.booleans(), _text), max_size=40))
def test_lines_are_those_of_astropy(lines: list[tuple[bool, str]]) -> None:
    ours, theirs = HeaderWriter(), fits.Header()
    ours["SIMPLE"] = theirs["SIMPLE"] = True
    for said, text in sorted(lines, key=lambda line: not line[0]):
        for header in (ours, theirs):
            (header.add_comment if said else header.add_history)(text)
    assert ours.to_bytes() == theirs.tostring().encode()


def test_a_header_is_put_behind_another() -> None:
    first, second = HeaderWriter(), HeaderWriter()
    first["NAXIS"] = (2, "axes")
    second["EXTNAME"] = "SIGNAL"
    second.add_history("made")
    first.extend(second)
    header = fits.Header.fromstring(first.to_bytes())
    assert [(card.keyword, card.value) for card in header.cards] == [
        ("NAXIS", 2),
        ("EXTNAME", "SIGNAL"),
        ("HISTORY", "made"),
    ]


def test_only_ascii_is_written() -> None:
    header = HeaderWriter()
    header["OBJECT"] = "β Lyr"
    with pytest.raises(UnicodeEncodeError):
        header.to_bytes()
