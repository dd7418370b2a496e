"""Views: exact values, planes, lazy frames and refusals."""

from __future__ import annotations

import tracemalloc

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from calibkit import flags
from calibkit.display.view import FrameView, View, view_of
from calibkit.errors import SettingError


def frame(pixels: np.ndarray, **attrs: object) -> xr.DataArray:
    height, width = pixels.shape
    coords = {"y": np.arange(height), "x": np.arange(width)}
    return xr.DataArray(pixels, coords, ("y", "x"), attrs={"units": "adu", **attrs})


def test_zoomed_in_a_view_holds_the_pixels_themselves() -> None:
    pixels = np.random.default_rng(0).integers(0, 65535, (40, 60)).astype(np.uint16)
    view = view_of(frame(pixels), (9.6, 20.4, 4.6, 7.4), 500, 500)
    assert view.block == 1
    assert view.extent == (9.5, 20.5, 4.5, 7.5)
    np.testing.assert_array_equal(view.values[0], pixels[5:8, 10:21])


def test_a_hot_pixel_survives_in_the_largest_and_not_in_the_mean() -> None:
    pixels = np.full((600, 900), 100, np.uint16)
    pixels[311, 512] = 50_000
    assert view_of(frame(pixels), width=90, height=60, reduce="max").values.max() == 50_000
    assert view_of(frame(pixels), width=90, height=60).values.max() < 700


def test_colour_of_a_bayer_grid() -> None:
    """A grid of flat colours is shown as exactly those colours at every zoom, whatever the crop."""
    cell = np.array([[10, 20], [30, 80]], np.uint16)  # R G / G B
    pixels = np.tile(cell, (50, 50))
    whole = frame(pixels, cfa="RGGB")
    for crop in (whole, whole[1:, :], whole[3:, 5:]):
        for size in (3, 17, 200):
            view = view_of(crop, width=size, height=size, channel="colour")
            assert view.planes == ("R", "G", "B")
            inner = view.values[:, 1:-1, 1:-1]
            for plane, value in zip(inner, (10, 25, 80), strict=True):
                np.testing.assert_array_equal(plane, value)


def test_one_plane_of_a_sensor_keeps_its_place() -> None:
    pixels = np.arange(80, dtype=np.float32).reshape(8, 10)
    blue = frame(pixels)[1::2, 1::2]
    source = FrameView(blue)
    assert source.extent == (0.0, 10.0, 0.0, 8.0)
    assert source.pixel(3, 5)["value"] == pixels[3, 5]
    view = source.view((2.5, 4.5, 2.5, 4.5))
    assert pixels[3, 3] in view.values


def test_exact_value_with_noise_and_flags() -> None:
    signal = frame(np.array([[1.5, 2.5], [3.5, 4.5]], np.float32), cfa="RGGB")
    variance = signal.copy(data=np.array([[4.0, 9.0], [np.nan, 0.0]], np.float32))
    marks = signal.copy(data=np.array([[0, flags.HOT | flags.REPAIRED], [0, 0]], np.uint16))
    result = xr.Dataset({"signal": signal, "variance": variance, "flags": marks}, attrs={"units": "adu"})
    for data in (result, result.chunk()):
        source = FrameView(data, cache_bytes=0)
        assert source.pixel(0.2, 0.9) == {
            "y": 0.0,
            "x": 1.0,
            "value": 2.5,
            "units": "adu",
            "channel": "G1",
            "sigma": 3.0,
            "flags": ["hot", "repaired"],
        }
        assert source.pixel(1, 0)["sigma"] is None
        assert source.pixel(1, 1)["sigma"] == 0.0
        assert source.pixel(2, 0) is None


def test_rows_run_downward_unless_the_file_is_fits() -> None:
    pixels = np.zeros((4, 4))
    assert not FrameView(pixels).rows_upward
    assert not FrameView(frame(pixels, roworder="TOP-DOWN")).rows_upward
    assert FrameView(frame(pixels, roworder="BOTTOM-UP")).rows_upward
    assert FrameView(frame(pixels, roworder="")).rows_upward


def test_a_frame_larger_than_its_memory_is_read_by_bands() -> None:
    rows, columns = 4000, 6000
    lazy = da.map_blocks(
        lambda block_info=None: np.full((100, columns), block_info[None]["chunk-location"][0], np.float32),
        chunks=((100,) * (rows // 100), (columns,)),
        dtype=np.float32,
        meta=np.empty((0, 0), np.float32),
    )
    source = FrameView(xr.DataArray(lazy, dims=("y", "x")), cache_bytes=1_000_000)
    FrameView(xr.DataArray(lazy[:8, :8], dims=("y", "x")), cache_bytes=0).view(width=2, height=2)  # compiled
    tracemalloc.start()
    view = source.view(width=600, height=400)
    zoomed = source.view((100, 200, 1000, 1100))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert view.shape == (400, 600)
    np.testing.assert_array_equal(view.values[0, :, 7], np.arange(400) // 10)
    assert zoomed.block == 1
    # The reduced copy, its weights, and bands in turn; never the 96 MB of the frame.
    assert peak < 0.75 * rows * columns * 4


def test_release_gives_memory_back_and_the_picture_stays() -> None:
    calls = []

    def load(block: np.ndarray) -> np.ndarray:
        calls.append(1)
        return block + 1

    data = da.ones((50, 60), chunks=(50, 60)).map_blocks(load, dtype=float, meta=np.empty((0, 0)))
    source = FrameView(xr.DataArray(data, dims=("y", "x")))
    first = source.view(width=20, height=20)
    source.view(width=60, height=60)
    assert len(calls) == 1
    source.release()
    np.testing.assert_array_equal(source.view(width=20, height=20).values, first.values)
    assert len(calls) == 2


def test_onto_another_grid() -> None:
    mono = frame(np.arange(100.0).reshape(10, 10))
    coarse = FrameView(mono).view(block=2)
    fine = FrameView(mono[2:6, 3:7]).view()
    moved = fine.onto(coarse)
    assert moved.extent == coarse.extent
    assert moved.values.shape == coarse.values.shape
    assert np.isnan(moved.values[0, 0, 0])
    assert np.isfinite(moved.values).sum() == 4
    colour = View(np.ones((3, 2, 2), np.float32), ("R", "G", "B"), (0, 2, 0, 2), 1, "mean")
    assert View(np.full((1, 2, 2), 7.0), ("mosaic",), (0, 2, 0, 2), 1, "mean").onto(colour).values.shape == (
        3,
        2,
        2,
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FrameView(np.zeros((2, 3, 4))), r"two dimensions \(y, x\).*\(2, 3, 4\)"),
        (lambda: FrameView(xr.DataArray(np.zeros((2, 3, 4)), dims=("frame", "y", "x"))), r"isel\(frame=0\)"),
        (lambda: FrameView(np.zeros((0, 4))), "no pixels"),
        (lambda: FrameView(np.zeros((2, 2), complex)), "real numbers; these are complex128"),
        (lambda: FrameView(xr.Dataset({"other": ("y", [1])})), "'signal'; this one has other"),
        (lambda: FrameView(frame(np.zeros((3, 3))).assign_coords(x=[0, 1, 3])), "rise evenly"),
        (lambda: FrameView(frame(np.zeros((4, 4)))[::2]), "square"),
        (lambda: view_of(np.zeros((4, 4)), channel="R"), r"channel 'R': this frame \(mono\) has mosaic"),
        (lambda: view_of(np.zeros((4, 4)), reduce="median"), "allowed are 'mean' and 'max'"),
        (lambda: view_of(np.zeros((4, 4)), width=0), "1 or more"),
        (lambda: view_of(np.zeros((4, 4)), (0, 1, 2)), "four numbers"),
        (lambda: view_of(np.zeros((4, 4)), (0, 1, 2, float("nan"))), "four numbers"),
    ],
)
def test_refusals(make: object, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        make()
