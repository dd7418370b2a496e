"""Planes and mosaic are the same pixels, whatever the pattern, crop, size, type and chunks."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import example, given, settings
from hypothesis import strategies as st

from calibkit.cfa import Pattern, channel_index
from calibkit.cfa.neighbours import neighbour_taps, reach_of
from calibkit.errors import SettingError

XTRANS = "GGRGGB/GGBGGR/BRGRBG/GGBGGR/GGRGGB/RBGBRG"
#: A red filter that has no other within its reach.
LONE = "/".join(["GGGGGG", "GGRGGG", *["GGGGGG"] * 4])
TEXTS = ["", "RGGB", "BGGR", "GRBG", "GBRG", "GMYC", "CYYM", "YC/GM/YC/MG", XTRANS]
DTYPES = [
    "uint8",
    "uint16",
    "int16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float32",
    "float64",
    ">u2",
    ">f4",
    "bool",
]


@st.composite
def frames(draw: st.DrawFn, texts: list[str] = TEXTS, least: int = 1) -> xr.DataArray:
    """A crop of a sensor, from any first pixel, of any size, perhaps a stack, perhaps dask."""
    text = draw(st.sampled_from(texts))
    y0, x0 = draw(st.integers(0, 13)), draw(st.integers(0, 13))
    ny, nx = draw(st.integers(least, 15)), draw(st.integers(least, 15))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = (*draw(st.sampled_from([(), (1,), (3,)])), ny, nx)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    data = rng.integers(0, 256, shape).astype(dtype)
    if dtype.kind == "f":
        data[rng.random(shape) < 0.1] = np.nan
    dims = ("frame", "y", "x")[-len(shape) :]
    frame = xr.DataArray(
        data,
        dims=dims,
        coords={"y": ("y", np.arange(y0, y0 + ny), {"long_name": "row"}), "x": np.arange(x0, x0 + nx)},
        attrs={"cfa": text, "units": "adu"},
        name=draw(st.sampled_from([None, "signal"])),
    )
    if len(shape) == 3:
        frame = frame.assign_coords(exposure=("frame", np.arange(shape[0]) * 2.0))
    chunk = draw(st.sampled_from([None, 1, 3, 4]))
    return frame if chunk is None else frame.chunk({"y": chunk, "x": draw(st.sampled_from([-1, 5]))})


def same(one: xr.DataArray, other: xr.DataArray) -> None:
    assert one.dtype == other.dtype
    xr.testing.assert_identical(one.compute(), other.compute())


@settings(max_examples=80)
@given(frames())
def test_mosaic_of_planes_is_the_frame(frame: xr.DataArray) -> None:
    planes = frame.cfa.planes()
    assert (planes.chunks is None) == (frame.chunks is None), "lazy stays lazy, numpy stays numpy"
    same(planes.cfa.mosaic(), frame)
    same(planes.isel(channel=slice(None, None, -1)).cfa.mosaic(), frame)


@settings(max_examples=40)
@given(frames())
def test_every_pixel_is_in_the_plane_of_its_own_filter(frame: xr.DataArray) -> None:
    """Oracle: the definition, letters[y % py][x % px], pixel by pixel."""
    text = frame.attrs["cfa"] or "L"
    rows = text.split("/") if len(text) != 4 else [text[:2], text[2:]]
    planes = frame.cfa.planes().compute()
    frame = frame.compute()
    found = np.zeros(frame.shape[-2:], dtype=int)
    for plane in planes.transpose("channel", ...):
        for i, y in enumerate((plane.y + plane.dy).values):
            for j, x in enumerate((plane.x + plane.dx).values):
                value = plane[..., i, j]
                if y not in frame.y or x not in frame.x:
                    assert plane.dtype.kind == "f"
                    assert np.isnan(value).all()
                    continue
                assert rows[y % len(rows)][x % len(rows[0])] == plane.colour
                np.testing.assert_array_equal(value, frame.sel(y=y, x=x))
                found[y - int(frame.y[0]), x - int(frame.x[0])] += 1
    assert (found == 1).all(), "every pixel is in exactly one plane"


@settings(max_examples=40)
@given(frames())
def test_one_channel_is_a_view_of_its_pixels(frame: xr.DataArray) -> None:
    pattern = frame.cfa.pattern
    for (sy, sx), name in zip(pattern.sites, pattern.site_names, strict=True):
        one = frame.cfa[name]
        inside_y = [y for y in frame.y.values if y % pattern.period[0] == sy]
        inside_x = [x for x in frame.x.values if x % pattern.period[1] == sx]
        assert one.y.values.tolist() == inside_y
        assert one.x.values.tolist() == inside_x
        np.testing.assert_array_equal(one, frame.sel(y=inside_y, x=inside_x))
        assert one.channel == name
        assert one.cfa.pattern.is_mono
        if frame.chunks is None and one.size:
            assert np.shares_memory(one.values, frame.values)
        else:
            assert (one.chunks is None) == (frame.chunks is None)


@settings(max_examples=40)
@given(frames())
def test_masks_and_cell_agree_with_the_labels(frame: xr.DataArray) -> None:
    pattern = frame.cfa.pattern
    labels = np.array([[pattern.label(y, x) for x in frame.x.values] for y in frame.y.values])
    cell, channels = channel_index(frame)
    assert cell.dtype == np.uint8
    py, px = cell.shape
    tiled = np.array(
        [[channels[cell[i % py, j % px]] for j in range(labels.shape[1])] for i in range(len(labels))]
    )
    np.testing.assert_array_equal(tiled, labels)
    for name in channels:
        np.testing.assert_array_equal(frame.cfa.channel_mask(name), labels == name)


@given(st.sampled_from(TEXTS), st.integers(-7, 7), st.integers(-7, 7))
def test_shifting_a_pattern_never_renames_a_pixel(text: str, dy: int, dx: int) -> None:
    pattern = Pattern(text)
    shifted = pattern.shifted(dy, dx)
    assert shifted.channels == pattern.channels
    for y in range(6):
        for x in range(6):
            assert shifted.label(y, x) == pattern.label(y + dy, x + dx)
    assert shifted.shifted(-dy, -dx) == pattern


@given(st.text(max_size=12) | st.text(alphabet="RGBX/ ", max_size=40))
def test_any_text_is_a_pattern_or_refused(text: str) -> None:
    try:
        pattern = Pattern(text)
    except SettingError:
        return
    assert Pattern(pattern.text) == pattern
    assert hash(Pattern(pattern.text)) == hash(pattern)
    assert set(np.unique(pattern.labels)) == set(pattern.channels)


@settings(max_examples=30)
@given(frames(texts=["RGGB", "GMYC"], least=5))
def test_cropped_planes_give_the_cropped_mosaic(frame: xr.DataArray) -> None:
    planes = frame.cfa.planes().isel(y=slice(1, 2), x=slice(1, 2))
    back = planes.cfa.mosaic(dtype="float64")
    expected = frame.isel(y=slice(2, 4), x=slice(2, 4)).astype("float64")
    same(back, expected)


def test_a_dataset_and_its_flags() -> None:
    ny, nx = 7, 5
    ds = xr.Dataset(
        {
            "signal": (("y", "x"), np.random.default_rng(1).normal(size=(ny, nx)).astype("f4")),
            "variance": (("y", "x"), np.ones((ny, nx), "f4")),
            "flags": (("y", "x"), np.arange(ny * nx, dtype="u2").reshape(ny, nx)),
            "rejected_fraction": ("frame", [0.1, 0.2]),
        },
        coords={"y": np.arange(3, 3 + ny), "x": np.arange(8, 8 + nx)},
        attrs={"cfa": "GBRG", "units": "adu"},
    )
    planes = ds.cfa.planes()
    assert planes.flags.dtype == np.uint16, "flags keep their type: the padding is flagged as no data"
    assert planes.sizes == {"channel": 4, "y": 4, "x": 3, "frame": 2}
    beyond = (planes.y + planes.dy > 9) | (planes.x + planes.dx > 12)
    assert (
        planes.flags.where(beyond, drop=True).values[np.isfinite(planes.flags.where(beyond, drop=True))] == 1
    ).all()
    xr.testing.assert_identical(planes.cfa.mosaic(), ds)
    assert planes.cfa.mosaic().flags.dtype == np.uint16
    assert np.shares_memory(ds.cfa["B"].flags.values, ds.flags.values)


@pytest.mark.parametrize("text", ["RGGB", XTRANS])
def test_a_write_to_the_view_reaches_the_mosaic(text: str) -> None:
    frame = xr.DataArray(
        np.zeros((7, 9)), coords={"y": range(1, 8), "x": range(1, 10)}, dims=("y", "x"), attrs={"cfa": text}
    )
    name = Pattern(text).site_names[-1]
    frame.cfa[name].values[...] = 1
    np.testing.assert_array_equal(frame.values == 1, frame.cfa.channel_mask(name))


@settings(max_examples=15)
@example(LONE, 0, 0)
@given(st.sampled_from([*TEXTS, "RGB/GBR/BRG", LONE]), st.integers(0, 12), st.integers(0, 12))
def test_neighbours_are_of_the_same_channel_and_complete(cfa: str, y0: int, x0: int) -> None:
    """Against a search through the pattern, pixel by pixel."""
    pattern = Pattern(cfa)
    frame = xr.DataArray(
        np.zeros((3, 3)),
        dims=("y", "x"),
        coords={"y": y0 + np.arange(3), "x": x0 + np.arange(3)},
        attrs={"cfa": cfa},
    )
    cell, _ = channel_index(frame)
    taps, rings = neighbour_taps(cell, (1, 2))
    step = 1 if not cfa else 2
    assert reach_of(taps) == 2 * step
    for a in range(cell.shape[0]):
        for b in range(cell.shape[1]):
            at = (a % taps.shape[0], b % taps.shape[1])
            own = pattern.label(y0 + a, x0 + b)
            for ring, reach in enumerate((step, 2 * step)):
                found = {tuple(tap) for tap in taps[at][: rings[at][ring]].tolist()}
                expected = {
                    (dy, dx)
                    for dy in range(-reach, reach + 1)
                    for dx in range(-reach, reach + 1)
                    if (dy or dx) and pattern.label(y0 + a + dy, x0 + b + dx) == own
                }
                assert found == expected
