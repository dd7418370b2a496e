"""calibkit's own masters and calibration come to the truth of simulated sessions, in every channel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import calibkit
from calibkit.cfa import channel_index
from calibkit.simulate import (
    X_TRANS,
    Camera,
    FrameSet,
    Lamp,
    Optics,
    Sky,
    random_dust,
    sample_session,
    session_truth,
    write_session,
)


def frames(folder: Path, kind: str) -> xr.DataArray:
    return calibkit.open_stack(sorted((folder / kind).glob("*.fits")))


def calibrated_lights(folder: Path, crop: dict[str, slice]) -> list[xr.Dataset]:
    """Every light calibrated, cropped to *crop* before anything is done."""
    cut = {kind: frames(folder, kind).isel(crop) for kind in ("darks", "flats", "flat darks", "lights")}
    dark = calibkit.master_dark(cut["darks"])
    flat = calibkit.master_flat(cut["flats"], dark=calibkit.master_dark(cut["flat darks"]))
    lights = cut["lights"]
    return [
        calibkit.calibrate(lights.isel(frame=i), dark=dark, flat=flat).compute()
        for i in range(lights.sizes["frame"])
    ]


def closes(folder: Path, crop: dict[str, slice] | None = None) -> None:
    """Mean within 1 % of the sky and pulls of deviation 1 ± 0.03, per channel."""
    crop = crop or {}
    perfect = session_truth(folder).isel(crop)
    results = calibrated_lights(folder, crop)
    cell, channels = channel_index(perfect)
    py, px = cell.shape
    rows, columns = np.indices(perfect.signal.shape)
    number = cell[rows % py, columns % px]
    # The perfect flat has mean 1 over the whole sensor, that of a crop over the crop.
    for i, channel in enumerate(channels):
        mine = (number == i) & ~perfect.saturated.values
        level = perfect.flat.values[mine & ~perfect.weak.values].mean(dtype=float)
        errors, pulls = [], []
        for result in results:
            good = mine & (result.flags.values == 0)
            assert good.sum() > 0.97 * mine.sum()
            errors.append((result.signal.values - perfect.signal.values * level)[good])
            pulls.append(errors[-1] / np.sqrt(result.variance.values[good]))
        sky = float(perfect.signal.values[mine & ~perfect.weak.values].mean())
        assert abs(np.concatenate(errors).mean()) < 0.01 * sky, channel
        assert np.concatenate(pulls).std() == pytest.approx(1, abs=0.03), channel


def test_ccd_sample_closes(tmp_path: Path) -> None:
    closes(sample_session("ccd", folder=tmp_path / "s", shape=(240, 320)))


def test_dslr_sample_closes_and_its_empty_channels_are_warned_of(tmp_path: Path) -> None:
    with pytest.warns(calibkit.CalibkitWarning, match="weakly exposed"):
        closes(sample_session("dslr", folder=tmp_path / "s", shape=(240, 320)))


@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GRBG", "GBRG", "GMCY", X_TRANS])
def test_colour_session_closes_also_when_it_is_cropped_at_odd_places(pattern: str, tmp_path: Path) -> None:
    camera = Camera(
        shape=(181, 240), pattern=pattern, bit_depth=14, gain=1.4, offset=512, dark_current=0.4, dark_spread=0.15,
        reference_temperature=20.0, hot_fraction=0.003, hot_rate=4.0, glow_rate=0.5, seed=2,
    )  # fmt: skip
    optics = Optics(vignetting=0.35, dust=random_dust(4, camera.shape, depth=0.15))
    sky = Sky(background=25.0, gradient=0.2, h_alpha=20.0, o_iii=20.0)
    night = (
        FrameSet(kind="flat", count=8, exposure=1.0),
        FrameSet(kind="flat dark", count=8, exposure=1.0),
        FrameSet(kind="dark", count=8, exposure=60.0),
        FrameSet(kind="light", count=3, exposure=60.0),
    )
    folder = write_session(
        tmp_path / "s", camera, night, optics=optics, sky=sky, lamp=Lamp(rate=60_000), seed=6
    )
    closes(folder, {"y": slice(7, None), "x": slice(5, 236)})
