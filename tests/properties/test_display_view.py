"""Views of random frames, crops, patterns and regions, against plain numpy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from calibkit.display.blocks import planes_of
from calibkit.display.codes import NO_VALUE, encode
from calibkit.display.view import FrameView

PATTERNS = ("", "RGGB", "GBRG", "GMYC", "GGRGGB/GGBGGR/BRGRBG/GGBGGR/GGRGGB/RBGBRG")


@st.composite
def frames(draw: st.DrawFn) -> xr.DataArray:
    height, width = draw(st.integers(1, 45)), draw(st.integers(1, 45))
    y0, x0 = draw(st.integers(0, 13)), draw(st.integers(0, 13))
    dtype = draw(st.sampled_from([np.uint16, np.float32, np.float64]))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    pixels = rng.integers(0, 60000, (height, width)).astype(dtype)
    if np.issubdtype(dtype, np.floating) and draw(st.booleans()):
        pixels[rng.random(pixels.shape) < 0.2] = np.nan
    return xr.DataArray(
        pixels,
        coords={"y": y0 + np.arange(height), "x": x0 + np.arange(width)},
        dims=("y", "x"),
        attrs={"cfa": draw(st.sampled_from(PATTERNS)), "units": "adu"},
    )


def regions(frame: xr.DataArray) -> st.SearchStrategy[tuple[float, float, float, float] | None]:
    def edge(dim: str) -> st.SearchStrategy[float]:
        low, high = float(frame[dim][0]) - 4, float(frame[dim][-1]) + 4
        return st.floats(low, high, allow_nan=False, width=32)

    return st.none() | st.tuples(edge("x"), edge("x"), edge("y"), edge("y"))


@given(data=st.data(), frame=frames(), width=st.integers(1, 40), height=st.integers(1, 40))
@settings(max_examples=150)
def test_a_view_covers_the_request_and_is_never_upsampled(
    data: st.DataObject, frame: xr.DataArray, width: int, height: int
) -> None:
    source = FrameView(frame)
    region = data.draw(regions(frame))
    channel = data.draw(st.sampled_from(source.channels))
    view = source.view(region, width, height, channel=channel)
    if view.values.size == 0:
        x0, x1, y0, y1 = source.extent
        nothing = region[0] == region[1] or region[2] == region[3]
        beside = nothing or max(region[:2]) <= x0 or min(region[:2]) >= x1
        assert beside or max(region[2:]) <= y0 or min(region[2:]) >= y1
        return
    rows, columns = view.shape
    across, down = (view.extent[1] - view.extent[0]) / columns, (view.extent[3] - view.extent[2]) / rows
    unit = 1 if channel == "mosaic" else max(planes_of(source.pattern, channel).unit)
    assert across >= 1
    assert down >= 1
    # As many as asked for, but for the blocks that the region's edges cut and the cell that cannot be split.
    period = max(source.pattern.period)
    assert columns <= width + 2 * period
    assert rows <= height + 2 * period
    assert across <= unit * max(
        1, math.ceil((source.shape[1] + 8) / width), math.ceil((source.shape[0] + 8) / height)
    )
    wanted = source.extent if region is None else region
    for low, high, first, last in ((0, 1, 0, 1), (2, 3, 2, 3)):
        start, stop = sorted((wanted[low], wanted[high]))
        start, stop = max(start, source.extent[first]), min(stop, source.extent[last])
        assert view.extent[low] <= start
        assert view.extent[high] >= stop


@given(frame=frames(), width=st.integers(1, 40), height=st.integers(1, 40))
@settings(max_examples=100)
def test_each_value_is_the_mean_of_its_block_of_its_colour(
    frame: xr.DataArray, width: int, height: int
) -> None:
    source = FrameView(frame)
    pattern = source.pattern
    ys, xs = frame.y.values[:, None], frame.x.values[None, :]
    py, px = pattern.period
    labels = pattern.labels[ys % py, xs % px]
    pixels = frame.values.astype(np.float64)
    for channel in source.channels:
        view = source.view(None, width, height, channel=channel)
        x0, _, y0, _ = (round(edge + 0.5) for edge in view.extent)
        rows, columns = view.shape
        size = round((view.extent[1] - view.extent[0]) / columns)
        for plane, name in enumerate(view.planes):
            found = np.full((rows, columns), np.nan)
            for i in range(rows):
                for j in range(columns):
                    if channel == "mosaic":
                        # The value's own site of the cell, over a block of whole cells.
                        a, b = i % py, j % px
                        top, left = y0 + (i - a) * size, x0 + (j - b) * size
                        inside = (ys >= top) & (ys < top + py * size) & (xs >= left) & (xs < left + px * size)
                        inside = inside & (ys % py == a) & (xs % px == b)
                    else:
                        top, left = y0 + i * size, x0 + j * size
                        inside = (ys >= top) & (ys < top + size) & (xs >= left) & (xs < left + size)
                        if channel == "colour":
                            inside = inside & np.char.startswith(labels, name)
                        else:
                            inside = inside & (labels == name)
                    values = pixels[inside]
                    values = values[np.isfinite(values)]
                    if values.size:
                        found[i, j] = values.mean()
            np.testing.assert_allclose(view.values[plane], found, rtol=1e-6)


@given(frame=frames(), data=st.data(), reduce=st.sampled_from(["mean", "max"]))
@settings(max_examples=100)
def test_a_frame_that_is_not_kept_shows_the_same(
    frame: xr.DataArray, data: st.DataObject, reduce: str
) -> None:
    kept = FrameView(frame)
    lazy = FrameView(frame.chunk({"y": 7}), cache_bytes=0)
    assert not lazy.cached
    channel = data.draw(st.sampled_from(kept.channels))
    region = data.draw(regions(frame))
    factor = lazy.block_for(region, 6, 6, channel=channel)
    views = [each.view(region, reduce=reduce, channel=channel, block=factor) for each in (kept, lazy)]
    assert views[0].extent == views[1].extent
    np.testing.assert_allclose(views[1].values, views[0].values, rtol=1e-6)
    for a, b in zip(kept.sample(channel), lazy.sample(channel), strict=True):
        np.testing.assert_array_equal(a, b)


@given(frame=frames())
@settings(max_examples=60)
def test_a_crop_shows_what_the_whole_frame_shows_there(frame: xr.DataArray) -> None:
    """Blocks lie on the sensor, not on the array: cropping changes only the blocks that are cut."""
    source, crop = FrameView(frame), frame.isel(y=slice(1, None), x=slice(1, None))
    if crop.size == 0:
        return
    factor = 2
    whole = source.view(block=factor, channel="mosaic")
    part = FrameView(crop).view(block=factor, channel="mosaic").onto(whole)
    period = max(source.pattern.period)
    inner = np.s_[:, 2 * period :, 2 * period :]
    np.testing.assert_array_equal(part.values[inner], whole.values[inner])


finite = st.floats(-1e6, 1e6, allow_nan=False, width=32)


@given(st.lists(finite | st.just(float("nan")), min_size=1, max_size=200))
def test_codes_come_back(values: list[float]) -> None:
    array = np.array(values, np.float32)
    codes, scale = encode(array)
    back = scale.values(codes)
    good = np.isfinite(array)
    np.testing.assert_array_equal(codes == NO_VALUE, ~good)
    if not good.any():
        return
    centre = np.median(array[good].astype(float))
    sigma = 1.4826022185056018 * np.median(np.abs(array[good] - centre))
    error = np.abs(back[good] - array[good])
    allowed = np.maximum(sigma / 64, np.abs(array[good] - centre) / 1000)
    spread = array[good].astype(float).max() - array[good].astype(float).min()
    if sigma == 0:
        allowed = np.full(error.shape, spread / 65534)
    assert (error <= allowed * (1 + 1e-9) + 1e-9 * spread).all()


@pytest.mark.parametrize("low", [-30000, 0, 1])
@pytest.mark.parametrize("span", [0, 1, 65534])
def test_whole_numbers_come_back_exactly(low: int, span: int) -> None:
    values = low + np.unique(np.linspace(0, span, 5000).astype(int))
    codes, scale = encode(values)
    np.testing.assert_array_equal(scale.values(codes), values)
