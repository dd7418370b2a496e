"""Hot pixels of simulated sensors: how many of those above 5 sigma are found, and how many good ones are taken for hot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

import calibkit
from calibkit import flags as fl
from calibkit.simulate import X_TRANS, Camera, Lamp, simulate_stack, truth
from calibkit.simulate.samples import ccd_night, dslr_night

SHAPE = (480, 640)
CCD, DSLR = (replace(night(SHAPE).camera, blooming=False) for night in (ccd_night, dslr_night))
FRAMES = (3, 5, 11)


class Standing:
    """What every pixel of a dark really stands out by, with neither noise nor the level of its surroundings."""

    def __init__(self, camera: Camera, temperature: float, exposure: float) -> None:
        settings = {"kind": "dark", "exposure": exposure, "temperature": temperature}
        perfect = truth(camera, **settings)
        even = truth(replace(camera, hot_fraction=0.0, dark_spread=0.0), **settings).dark.values
        self.hot = perfect.hot_rate.values > 0
        self.excess = (perfect.bias - perfect.bias.median() + perfect.dark - even).values
        usual = np.where(self.hot, 0.0, self.excess)
        self.excess = self.excess - usual.mean()
        self.spread = ndimage.uniform_filter((usual - usual.mean()) ** 2, 65)
        self.glow = (even - np.median(even)) / camera.gain  # its photon noise, ADU²

    def in_sigma(self, dark: xr.Dataset) -> np.ndarray:
        """The excess in sigma of good pixels: their spread, and the noise of this master."""
        noise = np.mean(list(dark.attrs["frame_noise"].values()))
        return self.excess / np.sqrt(self.spread + (noise**2 + self.glow) / dark.attrs["n_frames"])


def hot_in(dark: xr.Dataset) -> np.ndarray:
    return (dark.flags.values & fl.HOT) != 0


@pytest.mark.parametrize(
    ("camera", "temperature", "exposure"),
    [
        *((CCD, t, 240.0) for t in (-46.0, -32.0, -20.0)),
        *((DSLR, t, 300.0) for t in (7.0, 18.0, 28.0)),
        (replace(DSLR, pattern=X_TRANS), 18.0, 300.0),
    ],
    ids=lambda value: value.name + " " + value.pattern[:6] if isinstance(value, Camera) else f"{value:g}",
)
def test_found_above_five_sigma_and_false(camera: Camera, temperature: float, exposure: float) -> None:
    """From 3 to 11 darks, on three specimens, beside the glow of an amplifier as well."""
    seen, wrong = [], []
    for seed in (1, 2, 3):
        specimen = replace(camera, seed=seed)
        real = Standing(specimen, temperature, exposure)
        settings = {"kind": "dark", "exposure": exposure, "temperature": temperature, "seed": seed}
        stack = simulate_stack(specimen, max(FRAMES), **settings)
        for count in FRAMES:
            dark = calibkit.master_dark(stack[:count])
            sigma = real.in_sigma(dark)
            seen.append(hot_in(dark)[real.hot & (sigma > 5)])
            wrong.append(hot_in(dark)[~real.hot & (sigma < 5)])  # a good one may truly lie above
    assert np.concatenate(seen).mean() >= 0.995
    assert np.concatenate(wrong).mean() < 1e-4


def test_glow_hides_no_hot_pixels() -> None:
    """A rise of the level within a tile is no noise: nearly as many are found in the glow as away from it."""
    camera = replace(DSLR, hot_fraction=0.02)
    assert camera.glow_corner == "top right"
    real = Standing(camera, 7.0, 300.0)
    dark = calibkit.master_dark(
        simulate_stack(camera, 9, kind="dark", exposure=300.0, temperature=7.0, seed=4)
    )
    above = real.hot & (real.in_sigma(dark) > 5)
    corner = np.zeros(SHAPE, bool)
    corner[:160, -160:] = True
    assert above[corner].sum() > 200
    assert hot_in(dark)[corner & above].mean() > 0.98
    assert hot_in(dark)[corner & ~real.hot].mean() < 4e-4


@pytest.mark.parametrize("pattern", ["", "GBRG", X_TRANS])
def test_weak_pixels_columns_and_hot_pixels_of_a_flat(pattern: str) -> None:
    """Whatever responds with less than 75 %, and whatever is a third too bright by thermal charge; dust is neither."""
    night = dslr_night(SHAPE)
    changes = {
        "weak_fraction": 2e-3,
        "bad_columns": 2,
        "hot_fraction": 5e-4,
        "hot_rate": 3e3,
        "full_well": 1e5,
    }
    camera = replace(night.camera, pattern=pattern, bit_depth=16, **changes)
    lamp = Lamp(rate=60_000.0 if pattern else 12_000.0, spectrum="rgb led with 660 nm")
    optics = replace(night.optics, vignetting=0.1)
    settings = {"kind": "flat", "exposure": 1.0, "temperature": 28.0, "lamp": lamp, "optics": optics}
    perfect = truth(camera, **settings)
    sound = truth(replace(camera, weak_fraction=0.0, bad_columns=0), **settings).flat.values
    response = perfect.flat.values / sound
    flats = simulate_stack(camera, 6, **settings)
    flat = calibkit.master_flat(flats, bias=calibkit.constant_bias(flats, camera.offset))
    flags = calibkit.find_defects(flat=flat).flags.values
    weak = response < 0.75
    hot = ~weak & (perfect.hot_rate.values / camera.gain > 0.33 * perfect.light.values)
    good = (perfect.hot_rate.values == 0) & (response > 0.95)
    assert weak.sum() > 500
    assert hot.sum() > 50
    assert ((flags & fl.COLD) != 0)[weak].mean() > 0.99
    assert ((flags & fl.BAD_FLAT) != 0)[hot].mean() > 0.97
    assert ((flags & fl.BAD) != 0)[good].mean() < 1e-4
