"""The colour of simulated lamps as a sensor sees it, and whether the exposures that are advised hold what they say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import calibkit
from calibkit.errors import CalibkitWarning, MismatchError, SettingError
from calibkit.simulate import X_TRANS, Camera, Lamp, Optics, simulate_frame, simulate_stack
from calibkit.simulate.spectrum import ORIGINAL_GLASS

CAMERA = Camera(
    shape=(150, 180), pattern="GBRG", gain=1.4, offset=512.0, bit_depth=14, read_noise=7.0, full_well=60_000.0,
    glass=ORIGINAL_GLASS,
)  # fmt: skip


def flats(lamp: str, filter: str = "", *, count: int = 6, exposure: float = 2.0, camera: Camera = CAMERA):
    return simulate_stack(
        camera, count, kind="flat", exposure=exposure, filter=filter, lamp=Lamp(rate=25_000, spectrum=lamp),
        optics=Optics(vignetting=0.3), seed=4,
    )  # fmt: skip


def measured(stack: xr.DataArray, **options: float) -> calibkit.colour.LampColour:
    return calibkit.lamp_colour(stack, bias=calibkit.constant_bias(stack, CAMERA.offset), **options)


#: (lamp, filter) → verdict: white and RGB boxes, and the RGB one with and without the red LED that CLS lets through.
LAMPS = {
    ("white led", ""): "even",
    ("white led", "CLS"): "uneven",
    ("rgb led", ""): "even",
    ("rgb led", "CLS"): "lopsided",
    ("rgb led with 660 nm", "CLS"): "even",
    ("rgb led with 660 nm", "Ha"): "lopsided",
    ("white led", "OIII"): "lopsided",
    ("rgb led", "Ha"): "no light",
}


@pytest.mark.parametrize(("lamp", "filter"), LAMPS)
def test_ratios_are_those_of_lamp_filter_and_sensor(lamp: str, filter: str) -> None:
    found = measured(flats(lamp, filter))
    assert found.verdict == LAMPS[lamp, filter], str(found)
    assert found.filter == filter
    shares = CAMERA.shares(lamp, filter)
    if found.verdict == "no light":
        assert max(shares.values()) < 1e-6
        assert set(found.ratios.values()) == {0.0}
        return
    for channel, ratio in found.ratios.items():
        expected = shares[channel[0]] / max(shares.values())
        assert ratio == pytest.approx(expected, abs=0.004), channel


@pytest.mark.parametrize("pattern", ["RGGB", "GMYC", X_TRANS, ""])
def test_every_kind_of_sensor(pattern: str) -> None:
    camera = replace(CAMERA, pattern=pattern, shape=(149, 151))
    found = measured(flats("white led", camera=camera).isel(y=slice(3, None), x=slice(1, None)))
    shares = camera.shares("white led")
    for channel, ratio in found.ratios.items():
        assert ratio == pytest.approx(shares[channel[0]] / max(shares.values()), rel=0.02)


def test_noise_is_that_of_photons_and_readout() -> None:
    """Master and raw frames say the same, and it is what electrons and read noise make."""
    stack = flats("white led", "CLS")
    bias = calibkit.constant_bias(stack, CAMERA.offset)
    raw = calibkit.lamp_colour(stack, bias=bias)
    with pytest.warns(CalibkitWarning, match="channel R is weakly exposed"):
        flat = calibkit.master_flat(stack, bias=bias)
    master = calibkit.lamp_colour(flat, saturation=CAMERA.saturation - CAMERA.offset)
    level = raw.table.level.values
    expected = np.sqrt(level / 1.4 + (7.0 / 1.4) ** 2 + 1 / 12) / level
    for found in (raw, master):
        assert found.frames == 6
        np.testing.assert_allclose(found.table.noise, expected, rtol=0.04)
        np.testing.assert_allclose(found.table.flat_noise, expected / np.sqrt(6), rtol=0.04)
        np.testing.assert_allclose(found.table.level, level, rtol=0.01)
        np.testing.assert_allclose(found.table.exposure, raw.table.exposure, rtol=0.01)
        assert found.factor == pytest.approx(raw.factor, rel=0.02)
    single = calibkit.lamp_colour(stack.isel(frame=0), bias=bias)
    np.testing.assert_allclose(single.table.noise, expected, rtol=0.01)
    unknown = stack.isel(frame=0).assign_coords(gain=np.nan)
    rough = calibkit.lamp_colour(unknown, bias=bias)  # from neighbours, whose sensitivity differs by 1 %
    np.testing.assert_allclose(rough.table.noise, np.hypot(expected, 0.01), rtol=0.1)


def test_the_advised_exposure_does_what_is_promised() -> None:
    told = measured(flats("rgb led", "CLS"), wanted=0.6)
    assert told.exposure == pytest.approx(2.0 * told.factor)
    again = measured(flats("rgb led", "CLS", exposure=told.exposure), wanted=0.6)
    np.testing.assert_allclose(again.table.fill, told.table.fill_common, rtol=0.02)
    np.testing.assert_allclose(again.table.noise, told.table.noise_common, rtol=0.05)
    assert float(again.table.fill.max()) == pytest.approx(0.6, rel=0.02)
    assert float(again.table.saturated.max()) == 0.0
    assert again.factor == pytest.approx(1.0, rel=0.02)
    one = again.table.noise.values / np.sqrt(again.table.frames_common.values)
    assert (one <= 0.003).all()
    assert (one > 0.0025).all()
    red = float(told.table.exposure.sel(channel="R"))
    own = measured(flats("rgb led", "CLS", exposure=red), wanted=0.6)
    assert float(own.table.fill.sel(channel="R")) == pytest.approx(0.6, rel=0.02)
    assert own.verdict == "saturated"  # the others are, at the exposure that red alone wants
    assert "measure again" in own.advice


def test_bright_corners_do_not_saturate() -> None:
    """Where a part of the frame is much brighter than its mean, that part limits the exposure."""
    stack = flats("white led", exposure=1.0)
    bright = stack.copy(deep=True)
    part = bright.values[:, :10, :40].astype(float) - CAMERA.offset
    bright.values[:, :10, :40] = (CAMERA.offset + 3 * part).astype("u2")
    found = measured(bright)
    assert found.factor < 0.9 * measured(stack).factor
    top = np.percentile(bright.isel(frame=0).cfa["G1"].values - CAMERA.offset, 99.9)
    assert top * found.factor == pytest.approx(0.9 * (CAMERA.saturation - CAMERA.offset), rel=0.03)


def test_offset_comes_from_where_it_is_known() -> None:
    stack = flats("white led")
    expected = measured(stack).ratios
    darks = simulate_stack(CAMERA, 5, kind="flat dark", exposure=2.0, frame_index=20, seed=4)
    for found in (
        calibkit.lamp_colour(stack, dark=calibkit.master_dark(darks)),
        calibkit.lamp_colour(stack.assign_attrs(pedestal=512.0)),
        calibkit.lamp_colour(stack.assign_attrs(black=dict.fromkeys(("R", "G1", "G2", "B"), 512.0))),
    ):
        assert found.ratios == pytest.approx(expected, abs=1e-3)
    with pytest.warns(CalibkitWarning, match="offset of the flats is not known"):
        assert calibkit.lamp_colour(stack).ratios["B"] > expected["B"]


def test_exposures_need_a_saturation_level() -> None:
    found = measured(flats("white led").assign_attrs(saturation=np.nan))
    assert np.isnan(found.exposure)
    assert "give saturation=" in str(found)
    timeless = measured(flats("white led").drop_vars("exposure"))
    assert np.isnan(timeless.exposure)
    assert "times this exposure" in timeless.advice


def test_what_cannot_work_is_refused() -> None:
    stack = flats("white led", count=2)
    bias = calibkit.constant_bias(stack, 512.0)
    master = calibkit.master_flat(stack, bias=bias)
    with pytest.raises(SettingError, match="offset taken out already"):
        calibkit.lamp_colour(master, bias=bias)
    with pytest.raises(SettingError, match="channel_level"):
        calibkit.lamp_colour(bias)
    with pytest.raises(MismatchError, match="subtracted twice"):
        calibkit.lamp_colour(stack, bias=bias, dark=bias)
    with pytest.raises(MismatchError, match="colour pattern"):
        calibkit.lamp_colour(stack, bias=bias.assign_attrs(cfa="RGGB"))
    for options in ({"wanted": 0.0}, {"wanted": 2.0}, {"noise_goal": -1.0}, {"saturation": np.nan}):
        with pytest.raises(SettingError, match=f"{next(iter(options))}=.* is wanted"):
            calibkit.lamp_colour(stack, bias=bias, **options)


def test_lazy_frames(tmp_path) -> None:
    from calibkit.simulate import FrameSet, write_session

    night = [FrameSet(kind="flat", count=3, exposure=2.0)]
    folder = write_session(tmp_path / "s", CAMERA, night, lamp=Lamp(rate=25_000, spectrum="white led"))
    stack = calibkit.open_stack(str(folder / "flats" / "*.fits"))
    found = measured(stack)
    assert found.verdict == "even"
    frame = simulate_frame(CAMERA, kind="flat", exposure=2.0, lamp=Lamp(rate=25_000, spectrum="white led"))
    assert found.ratios == pytest.approx(measured(frame).ratios, abs=2e-3)
