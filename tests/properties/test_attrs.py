"""Any attributes come back from a file exactly, or are refused before anything is written."""

from __future__ import annotations

import datetime as dt
import math
from pathlib import Path, PurePosixPath

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from calibkit.io import plain

DTYPES = st.one_of(
    npst.boolean_dtypes(),
    npst.integer_dtypes(endianness="?"),
    npst.floating_dtypes(endianness="?"),
    npst.complex_number_dtypes(endianness="?", sizes=(64, 128)),
    npst.datetime64_dtypes(endianness="?"),
    npst.timedelta64_dtypes(endianness="?"),
    npst.byte_string_dtypes(),
    npst.unicode_string_dtypes(),
)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.datetimes(),
    st.builds(Path, st.from_regex(r"[a-z/]{1,9}", fullmatch=True)),
    npst.arrays(DTYPES, npst.array_shapes(min_dims=0, max_dims=2, max_side=3, min_side=0)),
    npst.arrays(DTYPES, ()).map(lambda array: array[()]),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(
            st.text(max_size=4) | st.just("$") | st.integers() | st.booleans(), inner, max_size=4
        ),
    ),
    max_leaves=12,
)


def same(one: object, other: object) -> bool:
    """Equal in value and in type, NaN equal to NaN, −0.0 unlike 0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray | np.generic):
        return (
            one.dtype == other.dtype
            and one.shape == other.shape
            and repr(one.tolist()) == repr(other.tolist())
        )
    if isinstance(one, float):
        return (math.isnan(one) and math.isnan(other)) or (one == other and repr(one) == repr(other))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        pairs = zip(one.items(), other.items(), strict=True)
        return len(one) == len(other) and all(same(a, b) and same(v, w) for (a, v), (b, w) in pairs)
    return one == other


@settings(max_examples=300)
@given(VALUES)
@example({"$": "tuple", "v": [1]})
@example({"a": np.array(["NaT", "2024-02-03"], "M8[ns]"), 2: np.float32(0.1), True: b"\xff"})
@example(["\udcff", "é", -0.0, 10**40, dt.datetime(2024, 2, 3, 4, 5, 6, 7)])
@example(np.array([None, "a", 1.5, (1,)], dtype=object))
def test_attributes_come_back(value: object) -> None:
    text = plain.dumps(value)
    assert text.isascii()
    assert same(plain.loads(text), value)


def test_plain_attributes_look_plain() -> None:
    assert plain.dumps({"a": [1, 2.5, "x", None, True]}) == '{"a":[1,2.5,"x",null,true]}'
    assert isinstance(plain.loads(plain.dumps(Path("a/b"))), PurePosixPath | Path)
