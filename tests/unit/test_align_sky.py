"""The sky behind the stars against that of SEP, whose method it is."""

from __future__ import annotations

import numpy as np
import pytest
import sep

from calibkit.align.sky import subtract_sky


def picture(shape: tuple[int, int], level: float = 800.0, noise: float = 6.0, stars: int = 0) -> np.ndarray:
    """A sky that is brighter in a corner, with stars."""
    rng = np.random.default_rng(11)
    y, x = np.indices(shape)
    sky = level + 0.02 * x - 0.01 * y + 30.0 * np.exp(-((y - 40.0) ** 2 + (x - 60.0) ** 2) / 20_000.0)
    for flux, py, px in zip(
        rng.pareto(1.2, stars) * 400,
        rng.uniform(0, shape[0], stars),
        rng.uniform(0, shape[1], stars),
        strict=True,
    ):
        sky += flux * np.exp(-((y - py) ** 2 + (x - px) ** 2) / 4.0)
    return rng.normal(sky, noise).astype(np.float32)


def by_sep(plane: np.ndarray, tile: int) -> tuple[np.ndarray, float, float]:
    missing = np.isnan(plane)
    left = np.where(missing, np.float32(0), plane)
    background = sep.Background(left, mask=missing if missing.any() else None, bw=tile, bh=tile)
    background.subfrom(left)
    return left, background.globalback, background.globalrms


@pytest.mark.parametrize(
    (
        "shape",
        "tile",
        "within",
    ),  # a tile of 64 × 64 shows its level to 0.03 of the noise, one of 16 × 16 to 0.12
    [
        ((640, 832), 64, 0.02),
        ((201, 333), 64, 0.02),
        ((300, 310), 100, 0.02),
        ((150, 170), 16, 0.04),
        ((480, 512), 16, 0.04),
    ],
)
@pytest.mark.parametrize("stars", [0, 1])
def test_it_is_that_of_sep(shape: tuple[int, int], tile: int, within: float, stars: int) -> None:
    plane = picture(shape, stars=stars * shape[0] * shape[1] // 2000)
    left, level, noise = by_sep(plane, tile)
    found = plane.copy()
    own = subtract_sky(found, tile)
    assert own[0] == pytest.approx(level, abs=within * noise)
    assert own[1] == pytest.approx(noise, rel=0.002)
    difference = (found - left) / noise
    assert difference.std() < within
    assert np.abs(difference).max() < 10 * within


def test_missing_pixels_and_tiles() -> None:
    plane = picture((400, 420))
    plane[::7, ::3] = np.nan
    plane[100:230, 150:300] = np.nan
    left, level, noise = by_sep(plane, 64)
    found, missing = plane.copy(), np.isnan(plane)
    assert subtract_sky(found, 64) == pytest.approx((level, noise), abs=0.05 * noise)
    assert np.abs(found - left)[~missing].max() < 0.3 * noise
    assert (found[missing] == 0).all()


def test_a_picture_that_is_mostly_missing_stays_as_it_is() -> None:
    plane = picture((100, 100))
    plane[:60] = np.nan
    found = plane.copy()
    assert np.isnan(subtract_sky(found, 32)).all()
    np.testing.assert_array_equal(found, plane)


@pytest.mark.parametrize("shape", [(8, 8), (9, 40), (70, 8)])
def test_small_and_even_pictures(shape: tuple[int, int]) -> None:
    flat = np.full(shape, 37.0, np.float32)
    assert subtract_sky(flat, 8) == (37.0, 0.0)
    np.testing.assert_array_equal(flat, 0.0)
    noisy = np.random.default_rng(1).normal(1000, 5, shape).astype(np.float32)
    level, noise = subtract_sky(noisy, 8)
    assert level == pytest.approx(1000, abs=5)
    assert noise == pytest.approx(5, rel=0.5)
    assert np.isfinite(noisy).all()
