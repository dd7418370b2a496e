"""Scatter of many short rows against astropy's sigma clipping and NumPy, and the tiles that the rows come from."""

from __future__ import annotations

import math

import numpy as np
import pytest
import xarray as xr
from astropy.stats import sigma_clip

from calibkit.calibration.checks import check_size
from calibkit.calibration.pairs import band_slices, pair_noise, tile_shape, tiles
from calibkit.errors import MismatchError
from calibkit.kernels.scatter import measure_pairs, ratio_variances, sum_tiles, variances

#: Four rows by two columns: a cell that is no square.
TALL = "YC/GM/YC/MG"


def clipped(row: np.ndarray, limit: float, rounds: int) -> np.ndarray:
    """Values of a row that stay, by astropy."""
    row = row[np.isfinite(row)]
    return row[~sigma_clip(row, sigma=limit, maxiters=rounds, cenfunc="mean", stdfunc="std").mask]


def variance_by_astropy(row: np.ndarray, limit: float, rounds: int, least: int) -> float:
    if np.isfinite(row).sum() < least:
        return math.nan
    return float(clipped(row, limit, rounds).var(ddof=1))


def rows_with_outliers(shape: tuple[int, ...], dtype: str = "f8") -> np.ndarray:
    """Normal values, outliers of every size, and values that are none."""
    rng = np.random.default_rng(len(shape))
    values = rng.normal(300, 5, shape)
    values += np.where(rng.random(shape) < 0.1, rng.choice([20, -40, 150, 4000], shape), 0)
    if dtype.startswith("f"):
        values[rng.random(shape) < 0.05] = np.nan
        values[rng.random(shape) < 0.02] = rng.choice([np.inf, -np.inf])
    return values.astype(dtype)


@pytest.mark.parametrize("dtype", ["f8", "f4", "u2"])
@pytest.mark.parametrize(("limit", "rounds"), [(4.0, 6), (2.5, 1), (2.0, 2), (3.0, 50)])
def test_variance_is_that_of_astropys_clipped_values(dtype: str, limit: float, rounds: int) -> None:
    values = rows_with_outliers((60, 70), dtype)
    found = np.empty(60)
    variances(values, limit, rounds, 10, found)
    expected = [variance_by_astropy(row.astype(float), limit, rounds, 10) for row in values]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_few_values_have_no_variance() -> None:
    values = np.tile([np.nan, 3.0, 5.0, 10.0], (3, 1))
    values[1, 1] = np.inf
    values[2, 0] = 7.0
    found = np.empty(3)
    variances(values, 4.0, 6, 3, found)
    np.testing.assert_allclose(found, [13.0, math.nan, np.var([7, 3, 5, 10], ddof=1)])


def test_what_lies_just_at_the_limit_stays() -> None:
    found = np.empty(1)
    variances(np.array([[-1.0, 1.0, 1.0, -1.0]]), 1.0, 6, 3, found)
    assert found[0] == pytest.approx(4 / 3)


@pytest.mark.parametrize("frames", [2, 3, 6])
def test_noise_and_level_of_pairs(frames: int) -> None:
    """Pixels that are hot in all frames count for neither."""
    values = rows_with_outliers((frames, 20, 48))
    values[:, 3, 7] += 3000
    values[:, 5, :30] = np.nan
    values[:, 6, :25] = np.nan
    values[:, 8] = np.nan
    level, variance = np.empty(20), np.empty((frames // 2, 20))
    measure_pairs(values, 3.0, 6, level, variance)
    for k in range(20):
        there = np.isfinite(values[:, k])
        count = there.sum(axis=0)
        mean = np.where(there, values[:, k], 0).sum(axis=0) / np.where(count, count, np.nan)
        stays = clipped(mean, 3.0, 6)
        assert level[k] == pytest.approx(stays.mean() if stays.size else math.nan, rel=1e-9, nan_ok=True)
        for pair in range(frames // 2):
            with np.errstate(invalid="ignore"):
                difference = values[2 * pair, k] - values[2 * pair + 1, k]
            difference[~np.isin(mean, stays)] = np.nan
            expected = variance_by_astropy(difference, 3.0, 6, 24)
            assert variance[pair, k] == pytest.approx(expected, rel=1e-9, nan_ok=True)
    assert np.isnan(variance[:, [5, 6, 8]]).all()
    assert np.isfinite(variance).mean() > 0.7


def test_a_pair_needs_three_pixels_of_a_tile() -> None:
    values = np.array([[[1.0, 2.0, 3.0], [1.0, 2.0, np.nan]], [[1.5, 2.0, 3.0], [1.5, 2.0, 3.0]]])
    level, variance = np.empty(2), np.empty((1, 2))
    measure_pairs(values, 4.0, 6, level, variance)
    np.testing.assert_allclose(variance, [[1 / 12, math.nan]])
    np.testing.assert_allclose(level, [6.25 / 3, 6.25 / 3])


@pytest.mark.parametrize("dtype", ["f4", "u2"])
def test_sums_of_what_is_not_saturated(dtype: str) -> None:
    values = rows_with_outliers((3, 5, 40), dtype)
    values[1, 2, :4] = 450
    total, count, above = (np.empty((3, 5)) for _ in range(3))
    sum_tiles(values, 450.0, total, count, above)
    full = values >= 450
    there = ~full & np.isfinite(values)
    np.testing.assert_allclose(total, np.where(there, values, 0).sum(axis=2, dtype=float), rtol=1e-12)
    np.testing.assert_array_equal(count, there.sum(axis=2))
    np.testing.assert_array_equal(above, full.sum(axis=2))


def test_variance_beyond_a_ratio() -> None:
    first, second = rows_with_outliers((2, 30, 50), "f4")
    first[0, :3], second[1, :2] = 450, 450
    found = np.empty(30)
    ratio_variances(first, second, 0.9, 450.0, 3.0, 6, 20, found)
    for k in range(30):
        with np.errstate(invalid="ignore"):
            beyond = first[k].astype(float) - 0.9 * second[k].astype(float)
        beyond[(first[k] >= 450) | (second[k] >= 450)] = np.nan
        assert found[k] == pytest.approx(variance_by_astropy(beyond, 3.0, 6, 20), rel=1e-9, nan_ok=True)


def frames(shape: tuple[int, int, int], cfa: str, values: np.ndarray | None = None) -> xr.DataArray:
    return xr.DataArray(
        np.zeros(shape, "f4") if values is None else values,
        dims=("frame", "y", "x"),
        coords={"y": np.arange(shape[1]), "x": np.arange(shape[2])},
        attrs={"cfa": cfa},
    )


@pytest.mark.parametrize("shape", [(300, 20), (20, 300), (1200, 50), (97, 101)])
@pytest.mark.parametrize("sample", [False, True])
def test_bands_are_whole_tiles(shape: tuple[int, int], sample: bool) -> None:
    """All of them, in turn, or a dozen spread from the first to the last; in frames narrower than a tile too."""
    stack = frames((2, *shape), "RGGB")
    tile = tile_shape(stack, np.zeros((2, 2)))
    bands = band_slices(stack, tile, sample=sample)
    rows = np.concatenate([np.arange(shape[0])[band] for band in bands])
    whole = shape[0] // tile[0] * tile[0]
    assert all(band.start % tile[0] == band.stop % tile[0] == 0 for band in bands)
    assert (rows[0], rows[-1]) == (0, whole - 1)
    if sample and whole // tile[0] > 12:
        assert len(bands) == 12
        assert len(set(rows.tolist())) == 12 * tile[0]
    else:
        np.testing.assert_array_equal(rows, np.arange(whole))


@pytest.mark.parametrize("every", [1, 2])
def test_tiles_are_the_pixels_of_their_channel(every: int) -> None:
    cell = np.array([[0, 1], [2, 3], [0, 1], [3, 2]], np.uint8)
    band = np.arange(2 * 16 * 22).reshape(2, 16, 22)
    found = tiles(band, cell, (8, 6), every=every)
    for channel, values in enumerate(found):
        number = 0
        for top in (0, 8):
            for left in range(0, 18, 6 * every):
                part = band[:, top : top + 8, left : left + 6]
                own = part[:, np.tile(cell, (2, 3)) == channel]
                np.testing.assert_array_equal(np.sort(values[:, number]), np.sort(own))
                number += 1
        assert values.shape == (2, number, 12)


def test_an_infinite_value_spoils_neither_noise_nor_level() -> None:
    values = np.random.default_rng(4).normal(500, 8, (4, 96, 96)).astype("f4")
    plain = pair_noise(frames(values.shape, "", values), sample=False)
    values[1, 30, 40], values[2, 60, 5] = np.inf, -np.inf
    spoilt = pair_noise(frames(values.shape, "", values), sample=False)
    assert spoilt.noise["L"] == pytest.approx(plain.noise["L"], rel=1e-3)
    assert spoilt.level["L"] == pytest.approx(plain.level["L"], rel=1e-4)


def test_one_whole_cell_is_the_least() -> None:
    check_size(frames((1, 4, 2), TALL), "x")
    check_size(frames((1, 4, 2), TALL), "x", pixels=2)
    for shape, pixels in (((3, 9), 1), ((9, 1), 1), ((4, 2), 3)):
        with pytest.raises(MismatchError, match="whole cells of 2 × 4 pixels"):
            check_size(frames((1, *shape), TALL), "x", pixels=pixels)
    with pytest.raises(MismatchError, match="hold 6 pixels; 7 pixels"):
        check_size(frames((1, 2, 3), ""), "x", pixels=7)
