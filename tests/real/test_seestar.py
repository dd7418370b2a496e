"""Frames of a small telescope on an alt-azimuth mount, by others: drift and field rotation."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import calibkit as ck
from calibkit.align import Transforms
from calibkit.errors import CalibkitWarning

# gain and read noise are not known: at the rim, where a single frame reaches, nothing tells the variance
pytestmark = pytest.mark.filterwarnings("ignore:combine. the variance")


@pytest.fixture(scope="module")
def lights(shared_data: Callable[[str], Path]) -> xr.Dataset:
    stack = ck.open_stack(sorted(shared_data("seestar").glob("*.fit*"))).compute()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibkitWarning)  # gain and read noise are not known
        return ck.calibrate(stack)


@pytest.fixture(scope="module")
def transforms(lights: xr.Dataset) -> Transforms:
    return ck.register(lights)


def noise(picture: xr.Dataset) -> float:
    """Pixel noise of green in the middle, from second differences."""
    green = picture.signal.sel(channel="G").values
    y, x = green.shape
    part = green[y // 4 : 3 * y // 4, x // 4 : 3 * x // 4]
    difference = (part[:, :-2] - 2 * part[:, 1:-1] + part[:, 2:]) / np.sqrt(6)
    return float(1.4826 * np.median(np.abs(difference - np.median(difference))))


def test_they_align(transforms: Transforms) -> None:
    assert transforms.ok.all()
    assert (transforms.table.error < 0.05).all()
    others = transforms.table[np.arange(9) != transforms.reference]
    assert (others["stars"] >= 15).all()
    assert np.abs(others["scale"] - 1).max() < 5e-4
    assert np.hypot(others["shift x"], others["shift y"]).max() > 30


def test_noise_falls_as_the_root_of_their_number(lights: xr.Dataset, transforms: Transforms) -> None:
    t = transforms
    found = {}
    for count in (2, 4, 9):
        part = Transforms(t.frames[:count], 0, t.model, t.shape, t.origin)
        made = ck.stack_lights(lights.isel(frame=slice(count)), part, reject="none")
        found[count] = noise(made) * np.sqrt(count)
    assert found[4] == pytest.approx(found[2], rel=0.1)
    assert found[9] == pytest.approx(found[2], rel=0.1)


@pytest.mark.filterwarnings("ignore:stack_lights. the noise")
def test_drizzle_keeps_the_stack_sharp(lights: xr.Dataset, transforms: Transforms) -> None:
    """Stars of the stack are hardly wider than those of the frames, and there are more of them."""
    made = ck.stack_lights(lights, transforms, channels="drizzle", reject="none").sel(channel="G")
    alone, stacked = ck.measure_quality(lights), ck.measure_quality(made)
    # a drop is a pixel wide: √(2.3² + 2.355²/12) of 2.3 pixels
    assert float(stacked.fwhm[0]) < 1.15 * float(alone.fwhm.median())
    assert int(stacked.stars[0]) > 1.5 * int(alone.stars.median())
