"""Levels and noise of a frame against numpy."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from astropy.io import fits

from calibkit.cfa import channel_index
from calibkit.errors import SettingError
from calibkit.flags import HOT, REPAIRED
from calibkit.frames import open_stack
from calibkit.statistics import channel_levels, measure_noise, sample_strips

XTRANS = "GGRGGB/GGBGGR/BRGRBG/GGBGGR/GGRGGB/RBGBRG"


def bayer(
    height: int = 400, width: int = 600, *, y0: int = 0, x0: int = 0
) -> tuple[xr.DataArray, np.ndarray]:
    """Noise of another level and size in each channel of a GBRG sensor; and which channel each pixel is."""
    y, x = np.arange(y0, y0 + height), np.arange(x0, x0 + width)
    site = (y[:, None] % 2) * 2 + x[None, :] % 2  # G1? B R G2: sites of the cell, row by row
    level, sigma = np.array([100.0, 300.0, 500.0, 900.0])[site], np.array([2.0, 4.0, 8.0, 16.0])[site]
    data = np.random.default_rng(4).normal(level, sigma)
    return xr.DataArray(data, {"y": y, "x": x}, ("y", "x"), attrs={"cfa": "GBRG"}), site


#: Channel of each site of GBRG: greens are numbered by whether red is in their row.
NAMES = ("G2", "B", "R", "G1")


@pytest.mark.parametrize("corner", [(0, 0), (1, 0), (3, 5)])
@pytest.mark.parametrize("lazy", [False, True])
def test_each_channel_has_its_own_noise(corner: tuple[int, int], lazy: bool) -> None:
    frame, _ = bayer(y0=corner[0], x0=corner[1])
    found = measure_noise(frame.chunk({"y": 37}) if lazy else frame)
    for site, name in enumerate(NAMES):
        assert found[name].level == pytest.approx((100.0, 300.0, 500.0, 900.0)[site], abs=0.3)
        assert found[name].measured == pytest.approx((2.0, 4.0, 8.0, 16.0)[site], rel=0.02)
        assert np.isnan(found[name].predicted)


def by_numpy(
    values: np.ndarray, variance: np.ndarray, sites: np.ndarray, period: tuple[int, int]
) -> list[tuple[float, float, float]]:
    """Level, noise from neighbours and predicted noise of each channel; *sites* has the channel of each pixel."""
    found = []
    py, px = period
    for number in range(int(sites.max()) + 1):
        own, steps, spread = [], [], []
        for dy, dx in zip(*np.nonzero(sites[:py, :px] == number), strict=True):
            here, beside = values[dy::py, dx::px], variance[dy::py, dx::px]
            own.append(here.ravel())
            steps.append(np.diff(here, axis=1).ravel())
            spread.append(np.where(np.isnan(here), np.nan, beside).ravel())
        step = np.concatenate(steps)
        mad = np.nanmedian(np.abs(step - np.nanmedian(step)))
        found.append(
            (
                np.nanmedian(np.concatenate(own)),
                1.4826022185056018 * mad / np.sqrt(2),
                np.sqrt(np.nanmedian(np.concatenate(spread))),
            )
        )
    return found


@pytest.mark.parametrize("dtype", [np.uint16, np.uint8, np.int32, np.float32, np.float64, ">f4", ">i2"])
@pytest.mark.parametrize("cfa", ["RGGB", XTRANS, ""])
def test_medians_are_those_of_numpy(dtype: str, cfa: str) -> None:
    rng = np.random.default_rng(5)
    data = rng.normal(60, 6, (241, 307)).astype(dtype)
    data[::17, ::5] = 120
    variance = rng.uniform(30, 40, data.shape).astype(np.float32)
    flags = np.where(rng.random(data.shape) < 0.03, HOT, 0).astype(np.uint16)
    frame = xr.Dataset(
        {n: (("y", "x"), v) for n, v in (("signal", data), ("variance", variance), ("flags", flags))},
        coords={"y": np.arange(4, 245), "x": np.arange(3, 310)},
        attrs={"cfa": cfa},
    )
    cell, channels = channel_index(frame)
    sites = np.tile(cell, data.shape)[: data.shape[0], : data.shape[1]]
    want = by_numpy(np.where(flags, np.nan, data.astype(float)), variance, sites, cell.shape)
    for found in measure_noise(frame), measure_noise(frame.chunk({"y": 50})):
        assert tuple(found) == channels
        for each, expected in zip(found.values(), want, strict=True):
            assert (each.level, each.measured, each.predicted) == pytest.approx(expected, rel=2e-7)


def test_a_stack_of_one_frame_is_that_frame(tmp_path: Path) -> None:
    frame, _ = bayer()
    raw = frame.round().astype(np.uint16)
    path = tmp_path / "frame.fits"
    fits.writeto(path, raw.values)
    expected = measure_noise(raw)
    for stack in raw.expand_dims("frame"), open_stack([path], kind="light", cfa="GBRG"):
        for name, found in measure_noise(stack).items():
            assert (found.level, found.measured) == (expected[name].level, expected[name].measured)


def test_slopes_stars_and_flagged_pixels_do_not_count() -> None:
    rng = np.random.default_rng(8)
    data = rng.normal(0.0, 5.0, (600, 800)) + np.linspace(0, 400, 800)[None, :]
    for y, x in rng.integers(10, 590, (150, 2)):
        data[y - 2 : y + 3, x - 2 : x + 3] += 300.0
    flags = np.zeros(data.shape, np.uint16)
    flags[:, ::3], data[:, ::3] = HOT | REPAIRED, -50.0
    variance = np.where(flags, np.nan, 26.0)
    frame = xr.Dataset(
        {
            name: (("y", "x"), values)
            for name, values in (("signal", data), ("variance", variance), ("flags", flags))
        }
    )
    found = measure_noise(frame)["L"]
    assert found.measured == pytest.approx(5.0, rel=0.05)
    assert found.predicted == pytest.approx(np.sqrt(26.0))


def test_a_large_frame_is_sampled_all_over() -> None:
    frame = xr.DataArray(da.zeros((6000, 8000), chunks=(500, 8000)), dims=("y", "x"), attrs={"cfa": XTRANS})
    frame = frame.assign_coords(y=np.arange(6000), x=np.arange(8000))
    strips = list(sample_strips(frame))
    rows = np.concatenate([np.arange(strip.start, strip.stop) for strip in strips])
    assert rows.size == np.unique(rows).size
    assert rows.size * 8000 == pytest.approx(1_000_000, rel=0.2)
    assert rows.min() == 0
    assert rows.max() > 5980
    assert all(strip.start % 6 == 0 for strip in strips)
    assert set(measure_noise(frame)) == {"R", "G", "B"}


def test_levels_are_exact() -> None:
    frame, site = bayer(333, 501, y0=1, x0=2)
    data = frame.values.copy()
    data[5:9, 7:12] = np.nan
    frame = frame.copy(data=data).assign_attrs(saturation=910.0)
    for number, name in enumerate(NAMES):
        values = data[(site == number) & np.isfinite(data)]
        found = channel_levels(frame.chunk({"y": 50}))[name]
        assert found.pixels == values.size
        assert (found.minimum, found.maximum) == (values.min(), values.max())
        assert found.mean == pytest.approx(values.mean())
        assert found.sigma == pytest.approx(values.std())
        assert found.saturated == (values >= 910.0).sum()


def test_levels_of_many_bands_are_those_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    frame, _ = bayer(101, 77)
    whole = channel_levels(frame)
    monkeypatch.setattr("calibkit.memory.BAND_BYTES", 77 * 32 * 4)
    for name, found in channel_levels(frame).items():
        assert found.sigma == pytest.approx(whole[name].sigma, rel=1e-9)
        assert found.mean == pytest.approx(whole[name].mean, rel=1e-12)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (2, 3)])
def test_the_smallest_frames(shape: tuple[int, int]) -> None:
    frame = xr.DataArray(np.full(shape, 7.0), dims=("y", "x"))
    assert measure_noise(frame)["L"].level == 7.0
    assert channel_levels(frame)["L"].pixels == shape[0] * shape[1]
    empty = channel_levels(frame * np.nan)["L"]
    assert empty.pixels == 0
    assert np.isnan(empty.mean)


def test_a_stack_is_refused() -> None:
    with pytest.raises(SettingError, match="one frame"):
        measure_noise(xr.DataArray(np.zeros((2, 3, 4)), dims=("frame", "y", "x")))
