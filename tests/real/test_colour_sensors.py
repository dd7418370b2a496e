"""Colour sensors, warm sensors and cosmic rays in frames that others took."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import calibkit
from calibkit import flags as fl
from calibkit import io
from calibkit.errors import SettingError
from calibkit.io.makernotes import camera_temperature
from calibkit.statistics import channel_levels, measure_noise

Shared = Callable[[str], Path]
RGB = (
    "sony_a7r3_rggb.ARW",
    "canon_d30_rggb.CRW",
    "canon_550d_margins_rggb.dng",
    "blackmagic_gbrg.dng",
    "kodak_dc50_é_grbg.KDC",
)
#: Linear sRGB to XYZ (IEC 61966-2-1).
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


@pytest.mark.parametrize("name", RGB)
def test_white_balance_and_matrix_are_those_of_libraw(shared_data: Shared, name: str) -> None:
    import rawpy

    path = shared_data("raw") / name
    info = io.read_info(path)
    with rawpy.imread(str(path)) as raw:
        daylight = np.array(raw.daylight_whitebalance[:3])
        stated, to_camera = raw.color_matrix[:, :3], raw.rgb_xyz_matrix[:3]
    assert [info.white_balance[c] for c in "RGB"] == pytest.approx(
        (daylight / daylight[1]).tolist(), rel=1e-5
    )
    matrix = np.array(info.camera_matrix)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, atol=1e-5)
    if stated.any():
        np.testing.assert_allclose(matrix, stated, atol=1e-5)
    if to_camera.any():  # balanced camera colours of sRGB's primaries go back to these
        seen = to_camera @ TO_XYZ
        np.testing.assert_allclose(matrix @ (seen / seen.sum(axis=1, keepdims=True)), np.eye(3), atol=2e-3)


def test_other_filters_and_none_have_no_white_balance(shared_data: Shared) -> None:
    info = io.read_info(shared_data("raw") / "canon_g1_gmcy.CRW")
    assert info.white_balance is None
    assert info.camera_matrix is None


@pytest.mark.parametrize("name", [*RGB, "canon_g1_gmcy.CRW"])
def test_levels_by_channel_are_those_of_libraw_s_colours(shared_data: Shared, name: str) -> None:
    """Also after a crop at odd places, and after calibration with the file's own black level."""
    import rawpy

    path = shared_data("raw") / name
    with rawpy.imread(str(path)) as raw:
        image, numbers = raw.raw_image_visible.astype(float), raw.raw_colors_visible
        letters, pattern = raw.color_desc.decode(), raw.raw_pattern
        if pattern.shape == (2, 2) and "R" in letters:
            red_row = int(np.argwhere(pattern == letters.index("R"))[0, 0])
            row = np.arange(image.shape[0])[:, None] % 2 == red_row
            green = np.char.array(list(letters))[numbers] == "G"
            named = {"R": numbers == 0, "G1": green & row, "G2": green & ~row, "B": numbers == 2}
        else:
            named = {letter: numbers == i for i, letter in enumerate(letters)}
    frame = calibkit.open_stack(path)[0].compute()
    black = frame.attrs["black"]
    for part in (slice(0, 1400), slice(5, 505)):
        crop = frame[part, part]
        found = channel_levels(crop)
        assert set(found) == set(named)
        calibrated = calibkit.calibrate(
            crop, bias=calibkit.constant_bias(crop), gain=1.0, read_noise=5.0, repair=False
        )
        for channel, levels in found.items():
            values = image[part, part][named[channel][part, part]]
            assert levels.mean == pytest.approx(values.mean(), rel=1e-9), channel
            assert (levels.minimum, levels.maximum) == (values.min(), values.max())
            y, x = (int(i[0]) for i in np.nonzero(named[channel][part, part]))
            assert float(calibrated.signal[y, x]) == pytest.approx(image[part, part][y, x] - black[channel])


def test_raw_frame_to_colours(shared_data: Shared) -> None:
    """Levels, white balance and matrix come along from the file to the picture, and are used once."""
    folder = shared_data("imx296")
    lights = calibkit.open_stack(sorted(folder.glob("level77_*.dng"))[:4], kind="flat")
    darks = calibkit.open_stack(sorted(folder.glob("dark_*.dng")), kind="dark")
    dark = calibkit.master_dark(darks)
    calibrated = calibkit.calibrate(lights.compute(), dark=dark, gain=10.4, read_noise=12.0)
    mean = calibkit.combine(calibrated)
    assert mean.attrs["white_balance"] == lights.attrs["white_balance"]
    colour = calibkit.debayer(mean, method="superpixel")
    balanced = calibkit.white_balance(colour)
    ratio = (balanced.signal / colour.signal).median(("y", "x")).values
    assert ratio.tolist() == pytest.approx([2.5629, 1.0, 2.0825], rel=1e-3)
    picture = calibkit.colour_matrix(balanced)
    grey = balanced.copy()
    grey["signal"] = xr.ones_like(balanced.signal)
    np.testing.assert_allclose(calibkit.colour_matrix(grey).signal, 1.0, atol=1e-5)
    for again in (calibkit.white_balance, calibkit.colour_matrix):
        with pytest.raises(SettingError, match="holds none"):
            again(picture)


def test_imx296_levels_and_lamp(shared_data: Shared) -> None:
    """About 10 to 11 electrons per ADU: the noise of the two light levels is that of their photons."""
    folder = shared_data("imx296")
    brighter, fainter = (
        calibkit.open_stack(sorted(folder.glob(f"level{level}_*.dng")), kind="flat") for level in (77, 73)
    )
    dark = calibkit.combine(calibkit.open_stack(sorted(folder.glob("dark_*.dng")), kind="dark"))
    readout = calibkit.measure_read_noise(
        calibkit.open_stack(sorted(folder.glob("dark_*.dng")), kind="dark")
    ).values
    found = {}
    for name, stack in (("brighter", brighter), ("fainter", fainter)):
        found[name] = calibkit.lamp_colour(stack, bias=dark)
        level, noise = found[name].table.level.values, found[name].table.noise.values
        photons = (noise * level) ** 2 - np.array([readout[c] for c in found[name].ratios]) ** 2
        gain = level / photons
        assert ((gain > 9.9) & (gain < 11.1)).all(), gain
        assert abs(level[1] / level[2] - 1) < 0.01
    ratios = [np.array(list(found[name].ratios.values())) for name in found]
    np.testing.assert_allclose(ratios[0], ratios[1], rtol=0.03)  # one lamp


def test_seestar_channels(shared_data: Shared) -> None:
    """The diagonals of green agree in level and noise, and keep their names in a crop."""
    stack = calibkit.open_stack(sorted(shared_data("seestar").glob("*.fit*")))
    frame = stack[0].compute()
    noise = measure_noise(frame)
    assert list(noise) == ["R", "G1", "G2", "B"]
    assert noise["G1"].level == pytest.approx(noise["G2"].level, rel=0.01)
    # The differences are whole ADU, and even ones: 2 × 1.4826/√2 is the step of what is measured.
    assert noise["G1"].measured == pytest.approx(noise["G2"].measured, abs=2.1)
    assert abs(noise["R"].level / noise["G1"].level - 1) > 0.02
    crop = measure_noise(frame[7:, 5:-3])
    for channel in noise:
        assert crop[channel].level == pytest.approx(noise[channel].level, rel=0.01), channel
        assert crop[channel].measured == pytest.approx(noise[channel].measured, rel=0.03), channel
    plane = frame.values[0::2, 0::2]  # GRBG, without ROWORDER: green first
    assert noise["G1"].level == pytest.approx(np.median(plane), abs=2)


def test_canon_s_own_temperature(shared_data: Shared) -> None:
    folder = shared_data("robust")  # cut off, but their notes are at the beginning
    assert camera_temperature(folder / "CanonRaw.cr3") == 38.0
    assert np.isnan(camera_temperature(folder / "CanonRaw.cr2"))  # a 350D, which does not tell
    assert np.isnan(camera_temperature(folder / "Nikon.nef"))


def test_temperature_from_hot_pixels(shared_data: Shared) -> None:
    """Darks at four temperatures, two years apart: hot pixels tell them apart to half a degree."""
    folder = shared_data("stl1001e")
    names = (
        "neg10/darks-expos300s*",
        "neg5/darks-expos300s*",
        "zero/dark_series_0c_4m*",
        "zero/dark_series_0c_5m*",
        "plus10/dark*",
    )
    darks = calibkit.open_stack([next(folder.glob(name)) for name in names], kind="dark")
    found = calibkit.measure_warming(darks)
    assert found.pixels > 500
    assert (
        8.5 < found.stated_doubling < 10.5
    )  # hot pixels: depletion current; all pixels double every 4.6 to 5.1 °C
    scaled = calibkit.measure_warming(darks, doubling=found.stated_doubling).table
    change = scaled.change - scaled.change.mean()
    stated = scaled.temperature - scaled.temperature.mean()
    np.testing.assert_allclose(change, stated, atol=0.6)
    assert float(abs(change[2] - change[3])) < 0.15  # both at 0 °C, of 240 and 300 s


def test_cosmic_rays_in_real_darks(shared_data: Shared) -> None:
    """What stands out in one of ten darks only is found from that one alone."""
    paths = sorted(shared_data("stl1001e").glob("neg5/darks-expos1-*"))
    darks = calibkit.open_stack(paths, kind="dark").compute()
    number = 1
    others = darks.isel(frame=[i for i in range(len(paths)) if i != number])
    frame = calibkit.calibrate(darks.isel(frame=number), dark=calibkit.master_dark(others))
    found = (calibkit.find_cosmic_rays(frame).flags.values & fl.COSMIC_RAY) != 0
    middle = np.median(others.values, axis=0)
    scatter = 1.4826 * np.median(np.abs(others.values - middle), axis=0)
    noise = np.maximum(np.maximum(np.sqrt(frame.variance.values), scatter), 6.9)
    alone = (darks.values[number] - middle > 12 * noise) & (frame.flags.values == 0)
    alone[:6] = alone[-6:] = alone[:, :6] = alone[:, -6:] = False
    assert alone.sum() > 20
    assert found[alone].mean() > 0.97
    assert found.mean() < 2e-4
