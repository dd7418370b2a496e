"""The noise of a real CCD, predicted from its own biases, darks and flats, and measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import xarray as xr

import calibkit
from calibkit.noise import Measurement

SharedData = Callable[[str], Path]


@pytest.fixture(scope="module")
def night(shared_data: SharedData) -> dict[str, xr.DataArray]:
    folder = shared_data("stl1001e") / "neg5"
    names = {"bias": "biases*", "dark": "darks-expos1-*", "flat": "flat-*"}
    return {kind: calibkit.open_stack(str(folder / name), kind=kind).load() for kind, name in names.items()}


@pytest.fixture(scope="module")
def bias(night: dict[str, xr.DataArray]) -> xr.Dataset:
    return calibkit.master_bias(night["bias"])


@pytest.fixture(scope="module")
def gain(night: dict[str, xr.DataArray]) -> Measurement:
    return calibkit.measure_gain(night["flat"][:4], night["bias"])


def as_lights(stack: xr.DataArray) -> xr.DataArray:
    """There are no lights in this set: frames of another kind that were not made into the masters take their part."""
    return stack.assign_coords(kind=("frame", ["light"] * stack.sizes["frame"]))


def test_flats_as_lights(night: dict[str, xr.DataArray], bias: xr.Dataset, gain: Measurement) -> None:
    ledger = calibkit.noise_ledger(
        as_lights(night["flat"][5:]),
        bias=bias,
        dark=calibkit.master_dark(night["dark"], bias=bias),
        flat=calibkit.master_flat(night["flat"][:5], bias=bias),
        dark_scale="exposure",
        gain=gain,
    )
    assert float(abs(ledger.table["ratio"] - 1).max()) < 0.10
    between_frames = ledger.table["ratio"].sel(comparison="frames")
    assert float(abs(between_frames - 1).max()) < 0.03
    assert ledger.limits["L"].source == "flat master"
    assert ledger.variance("L", "raw")["readout"] ** 0.5 == pytest.approx(6.70, rel=0.03)


@pytest.mark.parametrize("with_bias", [True, False])
def test_darks_as_lights_of_themselves(
    night: dict[str, xr.DataArray], bias: xr.Dataset, gain: Measurement, with_bias: bool
) -> None:
    given = bias if with_bias else None
    dark = calibkit.master_dark(night["dark"][:5], bias=given)
    ledger = calibkit.noise_ledger(as_lights(night["dark"][5:]), bias=given, dark=dark, gain=gain)
    assert float(abs(ledger.table["ratio"] - 1).max()) < 0.03
    if with_bias:  # 0.352 ADU/s for 60 s
        assert ledger.variance("L", "raw")["dark current"] * gain.value == pytest.approx(0.352 * 60, rel=0.10)
