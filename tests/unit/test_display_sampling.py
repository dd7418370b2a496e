"""Samples of real pixels: the right ones, with their sensor numbers and filters, whatever the stack is kept in."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from astropy.io import fits

from calibkit import combine, open_stack
from calibkit.cfa import channel_index, pattern_of
from calibkit.display.sampling import sample_region
from calibkit.display.view import FrameView
from calibkit.errors import Cancelled, SettingError
from calibkit.simulate import X_TRANS

SHAPE = (150, 210)


def frames(cfa: str, origin: tuple[int, int] = (0, 0)) -> xr.DataArray:
    """Every pixel tells its place on the sensor and its frame."""
    y, x = np.arange(SHAPE[0]) + origin[0], np.arange(SHAPE[1]) + origin[1]
    place = y[:, None] * 256 + x
    data = np.stack([place, place + 100_000]).astype(np.float64)
    coords = {"y": y, "x": x, "exposure": ("frame", [1.0, 2.0])}
    return xr.DataArray(data, coords, ("frame", "y", "x"), attrs={"cfa": cfa, "units": "adu"})


@pytest.mark.parametrize("cfa", ["", "RGGB", X_TRANS])
@pytest.mark.parametrize("origin", [(0, 0), (3, 5)])
@pytest.mark.parametrize("most", [40, 700, 10**6])
def test_pixels_are_where_they_say(cfa: str, origin: tuple[int, int], most: int) -> None:
    stack = frames(cfa, origin)
    sample = sample_region(stack, most=most)
    assert sample.sizes["y"] * sample.sizes["x"] <= most
    assert np.array_equal(sample.values[0], sample.y.values[:, None] * 256 + sample.x.values)
    assert np.array_equal(sample.values[1] - sample.values[0], np.full(sample.shape[1:], 100_000.0))
    # The filter of every pixel, from the sensor itself.
    cell, channels = channel_index(sample)
    pattern = pattern_of(stack)
    for i, y in enumerate(sample.y.values.tolist()):
        for j, x in enumerate(sample.x.values.tolist()):
            assert channels[cell[i % cell.shape[0], j % cell.shape[1]]] == pattern.label(y, x)
    assert sample.exposure.values.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("cfa", ["", "RGGB", X_TRANS])
def test_a_sample_is_shown_where_it_lies(cfa: str) -> None:
    sample = sample_region(frames(cfa, (3, 5)), most=500)
    view = FrameView(sample[0])
    y, x = (int(sample[dim].values[7]) for dim in ("y", "x"))
    found = view.pixel(y, x)
    assert (found["y"], found["x"], found["value"]) == (y, x, y * 256 + x)
    if cfa:
        assert found["channel"] == pattern_of(sample).label(y, x)
    if cfa == "RGGB":
        labels = [[pattern_of(sample).label(int(b), int(a)) for a in sample.x] for b in sample.y]
        for channel in pattern_of(sample).channels:
            values = view.view(channel=channel, block=1).values
            wanted = sample[0].values[np.array(labels) == channel]
            assert sorted(values[np.isfinite(values)].tolist()) == sorted(wanted.tolist())


def test_a_region_and_its_edges() -> None:
    sample = sample_region(frames("RGGB"), (10.0, 20.0, 4.0, 8.5))
    assert sample.x.values.tolist() == list(range(10, 21))
    assert sample.y.values.tolist() == [4, 5, 6, 7, 8]
    with pytest.raises(SettingError, match="no pixel"):
        sample_region(frames("RGGB"), (500, 600, 0, 9))
    with pytest.raises(SettingError, match="most=3"):
        sample_region(frames("RGGB"), most=3)


def test_a_combination_of_the_sample_is_the_sample_of_the_combination() -> None:
    stack = frames("RGGB") + np.random.default_rng(1).normal(0, 9, (2, *SHAPE))
    stack.attrs = frames("RGGB").attrs
    whole = combine(stack, reject="none")
    part = combine(sample_region(stack, most=400), reject="none")
    expected = whole.signal.sel(y=part.y, x=part.x)
    assert np.array_equal(part.signal.values, expected.values)


@pytest.mark.parametrize("packed", [False, True])
def test_files_are_read_once(tmp_path: Path, packed: bool) -> None:
    data = np.arange(2 * 150 * 210, dtype=np.uint16).reshape(2, 150, 210)
    paths = []
    for i, frame in enumerate(data):
        path = tmp_path / f"{i}.fits"
        fits.PrimaryHDU(frame).writeto(path)
        if packed:
            path = tmp_path / f"{i}.fits.gz"
            path.write_bytes(gzip.compress((tmp_path / f"{i}.fits").read_bytes()))
        paths.append(path)
    stack = open_stack(paths)
    seen: list[tuple[int, int]] = []
    sample = sample_region(stack, (3, 200, 2, 140), most=900, progress=lambda d, t, _: seen.append((d, t)))
    assert sample.chunks is None
    assert sample.dtype == np.uint16
    assert np.array_equal(sample.values, stack.sel(y=sample.y, x=sample.x).values)
    assert seen == [(0, 2), (1, 2), (2, 2)]
    # A stack whose pixels were changed is computed.
    assert np.array_equal(
        sample_region(stack + 1, most=900).values[:, :4, :4], (stack + 1).values[:, :24:6, :24:6]
    )


def test_cancel_and_datasets(tmp_path: Path) -> None:
    def stop(done: int, total: int, what: str) -> None:
        raise Cancelled(what)

    fits.PrimaryHDU(np.zeros((20, 20), np.int16)).writeto(tmp_path / "a.fits")
    with pytest.raises(Cancelled):
        sample_region(open_stack(tmp_path / "a.fits"), progress=stop)
    signal = frames("")
    both = xr.Dataset({"signal": signal, "flags": signal.astype(np.uint16)}, attrs=signal.attrs)
    part = sample_region(both.chunk({"y": 40}), most=100)
    assert part.signal.chunks is None
    assert part.flags.shape == part.signal.shape
