"""A cooled CCD's own figures, from its frames: read noise, gain, dark current, and what calibration leaves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import calibkit
from calibkit import flags as fl
from calibkit.noise import measure_gain, measure_read_noise


@pytest.fixture(scope="module")
def frames(shared_data: Callable[[str], Path]) -> Callable[[str, str], xr.DataArray]:
    folder = shared_data("stl1001e")

    def opened(pattern: str, kind: str) -> xr.DataArray:
        return calibkit.open_stack(sorted(folder.glob(pattern)), kind=kind)

    return opened


def test_read_noise_and_gain(frames: Callable) -> None:
    biases = frames("neg5/bias*", "bias")
    assert measure_read_noise(biases).value == pytest.approx(6.70, rel=0.03)
    gain = measure_gain(frames("neg5/flat*", "flat"), biases)
    assert gain.value == pytest.approx(1.94, rel=0.03)
    assert gain.error < 0.01


def test_predicted_noise_is_the_measured_one(frames: Callable) -> None:
    """Darks taken for lights: two calibrated ones differ by as much as their variances say."""
    bias = calibkit.master_bias(frames("neg5/bias*", "bias"))
    darks = frames("neg5/darks-expos1-*", "dark")
    master = calibkit.master_dark(darks.isel(frame=slice(2, None)), bias=bias)
    lights = darks.isel(frame=slice(0, 2)).load()
    options = {"gain": 1.94, "read_noise": 6.70 * 1.94}
    result = calibkit.calibrate(lights, bias=bias, dark=master, **options)
    good = (result["flags"] == 0).all("frame").values
    difference = (result["signal"][0] - result["signal"][1]).values[good]
    # what is common to both, the masters, does not show in their difference
    common = master["variance"].values[good] + 0 * difference
    predicted = (result["variance"].sum("frame").values[good] - 2 * common).mean()
    clipped = difference[np.abs(difference - np.median(difference)) < 6 * np.sqrt(predicted)]
    assert clipped.var() == pytest.approx(predicted, rel=0.10)


def test_scaled_dark_fits_another_exposure(frames: Callable) -> None:
    bias = calibkit.master_bias(frames("neg5/bias*", "bias"))
    dark = calibkit.master_dark(frames("neg5/darks-expos1-*", "dark"), bias=bias)
    light = frames("neg5/darks-expos300s*", "dark").isel(frame=0).load()
    result = calibkit.calibrate(
        light, bias=bias, dark=dark, dark_scale="exposure", gain=1.94, read_noise=13.0
    )
    assert abs(float(result["signal"].median())) < 0.05 * 0.352 * 300
    hot = (dark["flags"].values & fl.HOT) != 0
    raw = light.values - bias["signal"].values
    assert np.median(raw[hot]) > 2 * np.median(raw)
    assert abs(np.median(result["signal"].values[hot]) - float(result["signal"].median())) < 1


def test_hot_pixels_are_those_of_the_other_temperature(frames: Callable) -> None:
    """Found at −5 °C with 60 s, they stand out at 0 °C with 300 s as well."""
    bias = calibkit.master_bias(frames("neg5/bias*", "bias"))
    dark = calibkit.master_dark(frames("neg5/darks-expos1-*", "dark"), bias=bias, hot_sigma=None)
    found = calibkit.find_defects(dark=dark, sigma=8).mask
    warm = frames("zero/dark_series_0c_5m*", "dark").isel(frame=0).values.astype(float)
    above = warm > np.median(warm) + 5 * 1.4826 * np.median(np.abs(warm - np.median(warm)))
    assert above[found].mean() > 0.95


def test_many_pixels_of_an_old_ccd_are_warm_and_truly_so(frames: Callable) -> None:
    """Above 5 sigma are 2 % of them: no noise, since they are warm at another temperature, too."""
    bias = calibkit.master_bias(frames("neg5/bias*", "bias"))
    dark = calibkit.master_dark(frames("neg5/darks-expos1-*", "dark"), bias=bias, hot_sigma=None)
    shares = [calibkit.find_defects(dark=dark, sigma=sigma).mask.mean() for sigma in (5, 10)]
    assert 0.018 < shares[0] < 0.026
    assert 0.013 < shares[1] < 0.017
    found = calibkit.find_defects(dark=dark).mask
    warm = frames("zero/dark_series_0c_5m*", "dark").isel(frame=0).values.astype(float)
    above = warm > np.median(warm) + 3 * 1.4826 * np.median(np.abs(warm - np.median(warm)))
    assert above[found].mean() > 0.98
    assert above[~found].mean() < 0.04


def test_flat_is_relative_and_known_to_a_fraction_of_a_percent(frames: Callable) -> None:
    bias = calibkit.master_bias(frames("neg5/bias*", "bias"))
    flat = calibkit.master_flat(frames("neg5/flat*", "flat"), bias=bias)
    assert flat.attrs["channel_level"]["L"] == pytest.approx(19_600, rel=0.08)
    assert float(flat["signal"].mean()) == pytest.approx(1, abs=2e-3)
    # photon noise of ten flats of some 19 000 ADU at 1.94 electrons each
    expected = 1 / np.sqrt(10 * flat.attrs["channel_level"]["L"] * 1.94)
    assert float(np.sqrt(flat["variance"].median())) == pytest.approx(expected, rel=0.15)
