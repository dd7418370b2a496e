"""Combination against numpy on arrays that hypothesis makes."""

from __future__ import annotations

import warnings

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from calibkit import combine
from calibkit.combining import REJECTIONS, reading
from calibkit.combining.plan import METHODS

DTYPES = ("uint8", "uint16", "int16", "int32", "uint32", "int64", "float32", "float64", ">f4", ">u2")
SLOW = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def stacks(draw: st.DrawFn) -> np.ndarray:
    """A stack of any type with few or many different values, and NaN where the type has it."""
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = (draw(st.integers(1, 65)), draw(st.integers(1, 6)), draw(st.integers(1, 9)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    coarse = draw(st.booleans())
    if dtype.kind == "f":
        values = rng.integers(-4, 5, shape) if coarse else rng.normal(0, 10.0 ** rng.integers(-3, 6), shape)
        values = values.astype(dtype)
        share = draw(st.sampled_from((0.0, 0.1, 0.7, 1.0)))
        values[rng.random(shape) < share] = np.nan
        return values
    info = np.iinfo(dtype)
    low, high = (max(info.min, -3), min(info.max, 4)) if coarse else (info.min // 4, info.max // 4)
    return rng.integers(low, high, shape, dtype=dtype.newbyteorder("="), endpoint=True).astype(dtype)


def labelled(values: np.ndarray, lazy: int = 0) -> xr.DataArray:
    data = da.from_array(values, chunks=(-1, lazy, -1)) if lazy else values
    return xr.DataArray(data, dims=("frame", "y", "x"))


def quietly(stack: xr.DataArray, **options: object) -> xr.Dataset:
    """`combine`, whose warnings about a single frame are not what is tested here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return combine(stack, **options)


def numpy_says(function: object, values: np.ndarray) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # all-NaN columns are meant
        return function(values.astype(values.dtype.newbyteorder("=")), axis=0)


@SLOW
@given(values=stacks(), lazy=st.integers(0, 3), band=st.sampled_from((1, 4000, 2**23)))
def test_median_is_that_of_numpy_to_the_bit(
    values: np.ndarray, lazy: int, band: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "DIRECT_BYTES", band)
    found = quietly(labelled(values, lazy), method="median", reject="none")
    expected = numpy_says(np.nanmedian, values).astype(np.float32)
    np.testing.assert_array_equal(found.signal.values, expected)
    np.testing.assert_array_equal(found.n_kept.values, np.isfinite(values).sum(axis=0))


@SLOW
@given(values=stacks(), method=st.sampled_from(("mean", "minimum", "maximum", "sum")))
def test_other_methods_are_those_of_numpy(values: np.ndarray, method: str) -> None:
    found = quietly(labelled(values), method=method, reject="none").signal.values
    wide = values.astype(np.float64)
    oracle = {"mean": np.nanmean, "minimum": np.nanmin, "maximum": np.nanmax}.get(method)
    expected = numpy_says(np.nanmean, wide) * len(wide) if oracle is None else numpy_says(oracle, wide)
    scale = np.nanmax(np.abs(wide), initial=1e-30)
    np.testing.assert_allclose(
        found, expected, rtol=3e-7, atol=scale * len(wide) * 1e-6 if method == "sum" else scale * 1e-6
    )


@SLOW
@given(values=stacks(), seed=st.integers(0, 100))
def test_the_order_of_frames_makes_no_difference(values: np.ndarray, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(values))
    for reject in ("winsorized", "gesd", "linear_fit"):
        one = quietly(labelled(values), reject=reject)
        other = quietly(labelled(values[order]), reject=reject)
        np.testing.assert_array_equal(one.n_kept, other.n_kept)
        np.testing.assert_allclose(
            one.signal,
            other.signal,
            rtol=1e-6,
            atol=np.nanmax(np.abs(values.astype(float)), initial=0) * 1e-6,
        )


@SLOW
@given(
    values=stacks(),
    reject=st.sampled_from(
        ("minmax", "percentile", "sigma", "mad", "winsorized", "linear_fit", "gesd", "leave_one_out")
    ),
)
def test_what_is_counted_adds_up(values: np.ndarray, reject: str) -> None:
    found = quietly(labelled(values), reject=reject)
    there = np.isfinite(values.astype(np.float64)).sum(axis=0)
    rejected = found.rejected_low + found.rejected_high
    np.testing.assert_array_equal(found.n_kept + rejected, there)
    per_frame = found.rejected_fraction.values * np.maximum(
        np.isfinite(values.astype(np.float64)).sum(axis=(1, 2)), 1
    )
    assert per_frame.sum() == pytest.approx(float(rejected.sum()))
    wide = values.astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        low, high = np.nanmin(wide, axis=0), np.nanmax(wide, axis=0)
    slack = np.nanmax(np.abs(wide), initial=0) * 1e-6
    inside = (found.signal.values >= low - slack) & (found.signal.values <= high + slack)
    assert (inside | (there == 0)).all()


@settings(max_examples=100)
@given(
    n=st.integers(1, 45),
    method=st.sampled_from(METHODS),
    low=st.none() | st.floats(0.5, 8.0),
    high=st.none() | st.floats(0.5, 8.0),
    noise=st.booleans(),
)
def test_auto_takes_any_limits_as_standard_deviations(
    n: int, method: str, low: float | None, high: float | None, noise: bool
) -> None:
    values = np.random.default_rng(n).normal(500, 10, (n, 4, 4)).astype("f4")
    stack = labelled(values).assign_attrs(bias_subtracted=True)
    known = {"gain": 1.5, "read_noise": 4.0} if noise else {}
    step = quietly(stack, method=method, low=low, high=high, **known).attrs["provenance"][-1]
    rejection = REJECTIONS[step["reject"]]
    if low is not None or high is not None:
        assert rejection.name == "none" or rejection.low_is.startswith("standard deviations")
        assert step["low"] == (rejection.low if low is None else low)
        assert step["high"] == (rejection.high if high is None else high)
