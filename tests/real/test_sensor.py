"""The sensor lab on real frames, against figures measured by others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import calibkit
from calibkit.errors import CalibkitError

Shared = Callable[[str], Path]


def opened(folder: Path, *patterns: str, **options: object) -> xr.DataArray:
    paths = sorted(path for pattern in patterns for path in folder.glob(pattern))
    return calibkit.open_stack(paths, **options)


@pytest.fixture(scope="module")
def ccd(shared_data: Shared) -> dict[str, xr.DataArray]:
    folder = shared_data("stl1001e")
    nights = ("neg10", "neg5", "zero", "plus10")
    return {
        "flats": opened(folder, "neg5/flat*", kind="flat"),
        "biases": opened(folder, "neg5/bias*"),
        "darks": opened(folder, *(f"{night}/dark*" for night in nights), mixed=True),
        "all biases": opened(folder, *(f"{night}/bias*" for night in nights), mixed=True),
    }


def test_gain_and_read_noise_of_a_ccd(ccd: dict[str, xr.DataArray]) -> None:
    """Its header says 2.06 e⁻/ADU."""
    report = calibkit.measure_sensor(flats=ccd["flats"][:6], biases=ccd["biases"][:6])
    assert report.gain.value == pytest.approx(1.94, rel=0.03)
    assert report.profile.quantities["dark_noise"].value == pytest.approx(6.70, rel=0.03)
    assert report.read_noise.value == pytest.approx(6.70 * 1.94, rel=0.04)
    assert report.gain.error < 0.01
    assert "one level only" in report.refused["photon transfer"]
    assert 0.002 < report.pattern.prnu.value < 0.006


def test_dark_current_of_a_ccd(ccd: dict[str, xr.DataArray]) -> None:
    found = calibkit.measure_dark_current(ccd["darks"], ccd["all biases"])
    known = {-10.0: 0.175, -5.0: 0.352, 0.0: 0.697, 10.0: 3.17}
    assert len(found.rates) == len(known)
    for (temperature, rate), (nominal, expected) in zip(found.rates, known.items(), strict=True):
        assert temperature == pytest.approx(nominal, abs=0.4)
        assert rate.value == pytest.approx(expected, rel=0.05)
    fit = found.fits["L"]
    assert 4.6 < fit.doubling < 5.1
    assert fit.doubling_error < 0.3
    assert 0.8 < fit.energy < 1.1  # between depletion (0.55 eV) and diffusion (1.1 eV)


def test_unstable_pixels_of_a_ccd(ccd: dict[str, xr.DataArray]) -> None:
    darks = ccd["darks"]
    sixty = darks.isel(frame=np.flatnonzero((darks["exposure"] == 60) & (abs(darks["temperature"] + 5) < 1)))
    found = calibkit.find_unstable_pixels(sixty[:10], gain=1.94)
    assert found.noise["L"] == pytest.approx(np.sqrt(6.7**2 + 22 / 1.94), rel=0.03)
    assert found.share.value < 1e-4
    one_million = found.flags.size
    assert int((found.flags != 0).sum()) < one_million * 1e-4


def test_overscan_and_led_pair_of_a_four_tap_ccd(shared_data: Shared) -> None:
    folder = shared_data("msfc")
    lit = opened(folder, "*_0480[34].fit.gz", area="full", kind="flat")
    dark = opened(folder, "*_01772.fit.gz", "*_01829.fit.gz", area="full", kind="dark")
    taps = [((1, 50), (50, 1076)), ((2102, 2150), (1076, 2102))]
    flats, darks = (calibkit.subtract_overscan(stack, columns=taps) for stack in (lit, dark))
    # The levels of the amplifiers differ by 80 and 230 ADU; without them the dark is level to an ADU.
    middles = [
        float(np.median(darks[0, rows, half]))
        for rows in (slice(520), slice(520, None))
        for half in (slice(1026), slice(1026, None))
    ]
    assert np.abs(middles).max() < 1.0
    assert calibkit.measure_gain(flats, darks).value == pytest.approx(2.54, rel=0.05)
    curve = calibkit.measure_photon_transfer(flats, darks)
    assert curve.gain.value == pytest.approx(2.54, rel=0.05)
    assert curve.gain.error < 0.02
    levels = lit.isel(frame=0, x=slice(1, 50)).values
    assert np.median(levels[:520]) == pytest.approx(3559, abs=2)
    assert np.median(levels[520:]) == pytest.approx(3649, abs=2)


def test_colour_cmos(shared_data: Shared) -> None:
    folder = shared_data("imx296")
    darks = opened(folder, "dark_*.dng", kind="dark")
    flats = opened(folder, "level77_*.dng", kind="flat")
    found = calibkit.measure_sensor(flats=flats, darks=darks)
    assert set(found.gain.values) == {"R", "G1", "G2", "B"}
    for value in found.gain.values.values():
        assert 9.7 < value < 11.3
    assert found.gain["G1"] == pytest.approx(found.gain["G2"], rel=0.02)
    both = opened(folder, "level7*.dng", kind="flat")
    curve = calibkit.measure_photon_transfer(both, darks)
    for c in curve.gain.values:
        assert 9.7 < curve.gain[c] < 11.3
    assert all("at most" in note for note in curve.notes if "rounding" in note)


def test_bias_of_a_ccd_is_columns_and_rows(ccd: dict[str, xr.DataArray]) -> None:
    bias = calibkit.make_synthetic_bias(ccd["biases"][:6])
    step = bias.attrs["provenance"][-1]
    assert bias.attrs["bias_model"] == "rows and columns"
    assert step["error"] < 0.5
    assert step["error of the mean"] > 2.0
    # Against frames of another temperature that had no part in it: the model predicts them better than the mean does.
    other = ccd["all biases"].isel(frame=slice(0, 5))
    mean = calibkit.master_bias(ccd["biases"][:6])
    rest = {
        name: float(np.std(np.clip((other.mean("frame") - m["signal"]).values, -30, 30)))
        for name, m in (("model", bias), ("mean", mean))
    }
    assert rest["model"] < rest["mean"]


def test_feder_overscan_by_header(shared_data: Shared) -> None:
    stack = opened(shared_data("feder"), "*.fit.gz", area="full", mixed=True)[:2]
    result = calibkit.subtract_overscan(stack)
    assert result.sizes["x"] == 1536
    assert result.attrs["provenance"][-1]["columns"] == [[1537, 1541]]
    with pytest.raises(CalibkitError, match="subtracted from these frames already"):
        calibkit.subtract_overscan(result)
