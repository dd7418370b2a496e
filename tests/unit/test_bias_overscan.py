"""Overscan: levels, amplifiers, what calibration makes of such frames, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import calibkit
from calibkit.errors import MismatchError, SettingError

TAPS = [((0, 16), (16, 56)), ((96, 112), (56, 96))]
TRUE = 400.0


def raw_stack(
    frames: int = 3, *, seed: int = 1, light: float = TRUE, noise: float = 3.0
) -> tuple[xr.DataArray, np.ndarray]:
    """Two amplifiers side by side, a third and fourth below row 30, and an offset that differs from row to row."""
    rng = np.random.default_rng(seed)
    offset = np.where(np.arange(112) < 56, 1000.0, 1100.0) + np.where(np.arange(60) < 30, 0.0, 40.0)[:, None]
    offset = offset + rng.normal(0, 2.0, (frames, 60, 1))
    signal = offset + rng.normal(0, noise, (frames, 60, 112))
    signal[:, :, 16:96] += light
    data = np.rint(signal).astype("u2")
    coords = {"y": np.arange(60), "x": np.arange(112) - 16, "exposure": ("frame", np.full(frames, 10.0))}
    return xr.DataArray(
        data, dims=("frame", "y", "x"), coords=coords, attrs={"saturation": 65535.0, "units": "adu"}
    ), offset


def test_each_row_of_each_amplifier_loses_its_level() -> None:
    stack, _ = raw_stack()
    result = calibkit.subtract_overscan(stack, columns=TAPS)
    assert result.dtype == np.float32
    assert result.shape == (3, 60, 80)
    np.testing.assert_array_equal(result["x"], np.arange(80))
    np.testing.assert_array_equal(result["exposure"], stack["exposure"])
    # The mean of 40 pixels and of 16 overscan pixels: noise 3 √(1/40 + 1/16) in every row.
    halves = result.values.reshape(3, 60, 2, 40).mean(axis=3)
    assert abs(halves.mean() - TRUE) < 0.15
    assert halves.std() == pytest.approx(3 * np.sqrt(1 / 40 + 1 / 16), rel=0.1)
    assert result.attrs["overscan_subtracted"] is True
    assert result.attrs["pedestal"] == 0.0
    assert result.attrs["provenance"][-1]["columns"] == [[0, 16], [96, 112]]
    assert stack.attrs == {"saturation": 65535.0, "units": "adu"}


def test_smoothing_takes_noise_and_stops_at_the_break() -> None:
    rng = np.random.default_rng(3)
    raw = np.rint(np.where(np.arange(400) < 200, 1000, 1050)[:, None] + rng.normal(0, 5, (400, 64))).astype(
        "u2"
    )
    frame = xr.DataArray(raw, dims=("y", "x"), coords={"y": np.arange(400), "x": np.arange(64)})
    plain = calibkit.subtract_overscan(frame, columns=(0, 10))
    smooth = calibkit.subtract_overscan(frame, columns=(0, 10), smooth=21, row_breaks=[200])
    wrong = calibkit.subtract_overscan(frame, columns=(0, 10), smooth=21)
    spread = [result.mean("x").values.std() for result in (plain, smooth)]
    assert spread[0] == pytest.approx(5 * np.sqrt(1 / 54 + 1 / 10), rel=0.1)
    assert spread[1] == pytest.approx(5 * np.sqrt(1 / 54 + 1 / 210), rel=0.15)
    near = slice(196, 204)
    assert abs(smooth.mean("x").values[near]).max() < 4 * spread[1]
    assert abs(wrong.mean("x").values[near]).max() > 15
    # The running mean against one written out.
    rows = np.array([raw[y, :10].mean() for y in range(400)])
    level = [rows[max(0, y - 10) : min(200, y + 11)].mean() for y in range(200)]
    expected = raw[:200, 10:] - np.array(level)[:, None]
    assert abs(smooth.values[:200] - expected).mean() < 0.05  # a few pixels beyond 4 sigma were clipped


def test_constant_level_of_each_part() -> None:
    stack, offset = raw_stack(frames=4, noise=1.0)
    result = calibkit.subtract_overscan(stack, columns=TAPS, level="constant", row_breaks=[30])
    left = stack.values[:, :30, 16:56] - result.values[:, :30, :40]
    for frame in range(4):
        assert np.ptp(left[frame]) < 1e-3
        assert left[frame].mean() == pytest.approx(offset[frame, :30, 0].mean(), abs=0.2)


@pytest.mark.parametrize(
    "options", [{}, {"smooth": 7, "row_breaks": [30]}, {"level": "constant", "row_breaks": [30]}]
)
def test_lazy_is_the_same_and_reads_nothing_before(options: dict) -> None:
    stack, _ = raw_stack()
    expected = calibkit.subtract_overscan(stack, columns=TAPS, **options)
    lazy = calibkit.subtract_overscan(stack.chunk({"frame": 1, "y": 17}), columns=TAPS, **options)
    assert hasattr(lazy.data, "dask")
    assert lazy.chunks[1] == (17, 17, 17, 9)
    np.testing.assert_allclose(lazy.values, expected.values, atol=1e-3)
    np.testing.assert_allclose(lazy[1, 20:40].values, expected[1, 20:40].values, atol=1e-3)


def test_one_frame() -> None:
    stack, _ = raw_stack()
    single = calibkit.subtract_overscan(stack[0], columns=TAPS)
    assert single.dims == ("y", "x")
    np.testing.assert_array_equal(single, calibkit.subtract_overscan(stack, columns=TAPS)[0])


def test_header_names_overscan_and_active_area(tmp_path) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    stack, _ = raw_stack(1)
    hdu = fits.PrimaryHDU(stack.values[0, :, :96])
    hdu.header["BIASSEC"], hdu.header["TRIMSEC"] = "[1:14, 1:60]", "[17:56, 3:60]"
    hdu.writeto(tmp_path / "frame.fits")
    full = calibkit.open_stack(tmp_path / "frame.fits", area="full")
    result = calibkit.subtract_overscan(full)
    assert result.shape == (1, 58, 40)
    assert abs(float(result.mean()) - TRUE) < 1.0
    assert result.attrs["provenance"][-1]["columns"] == [[0, 14]]
    active = calibkit.open_stack(tmp_path / "frame.fits")
    np.testing.assert_array_equal(result["x"], active["x"])
    np.testing.assert_array_equal(result["y"], active["y"])
    with pytest.raises(MismatchError, match="open it with open_stack"):
        calibkit.subtract_overscan(active)


def test_wild_pixels_do_not_count() -> None:
    stack, _ = raw_stack()
    wild = stack.copy(deep=True)
    wild[:, ::5, 5] = 60_000
    here, there = (calibkit.subtract_overscan(s, columns=TAPS) for s in (stack, wild))
    assert float(abs(here - there).max()) < 3.0


def test_saturated_samples_stay_saturated() -> None:
    stack, _ = raw_stack()
    stack[0, 5, 40] = stack[0, 50, 90] = 65535
    result = calibkit.subtract_overscan(stack, columns=TAPS)
    level = result.attrs["saturation"]
    assert 64_000 < level < 65_535 - 1100
    assert (result.values >= level).sum() == 2
    done = calibkit.calibrate(
        result[0], bias=calibkit.constant_bias(result), gain=2.0, read_noise=5.0, repair=False
    )
    assert int((done["flags"] & 2 != 0).sum()) == 2


def test_calibration_knows_the_offset_is_gone() -> None:
    """No warning of an offset, and the variance counts electrons from 0 ADU."""
    light, _ = raw_stack()
    flat, _ = raw_stack(4, seed=9, light=20_000.0)
    light = calibkit.subtract_overscan(light, columns=TAPS)
    flat = calibkit.subtract_overscan(flat, columns=TAPS)
    master = calibkit.master_flat(flat)
    done = calibkit.calibrate(light, flat=master, gain=2.0, read_noise=6.0)
    assert float(done["signal"].mean()) == pytest.approx(TRUE, rel=0.01)
    assert float(done["variance"].median()) == pytest.approx(TRUE / 2 + 9 + 1 / 12, rel=0.03)
    combined = calibkit.combine(light, reject="noise_model", gain=2.0, read_noise=6.0)
    assert combined.attrs["overscan_subtracted"] is True
    assert float(calibkit.constant_bias(light)["signal"].max()) == 0.0


def test_masters_of_frames_treated_otherwise_are_refused() -> None:
    light, _ = raw_stack()
    biases, _ = raw_stack(4, seed=5, light=0.0)
    treated, plain = calibkit.subtract_overscan(light, columns=TAPS), light[:, :, 16:96]
    with pytest.raises(MismatchError, match="overscan was subtracted from the light and not from the bias"):
        calibkit.calibrate(treated, bias=calibkit.master_bias(biases[:, :, 16:96]), gain=2.0, read_noise=6.0)
    bias = calibkit.master_bias(calibkit.subtract_overscan(biases, columns=TAPS))
    with pytest.raises(MismatchError, match="overscan was subtracted from the bias and not from the light"):
        calibkit.calibrate(plain, bias=bias, gain=2.0, read_noise=6.0)
    done = calibkit.calibrate(treated, bias=bias, gain=2.0, read_noise=6.0)
    assert float(done["signal"].mean()) == pytest.approx(TRUE, abs=0.3)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, MismatchError, "its header has no BIASSEC"),
        ({"columns": (0, 20)}, SettingError, "column 16, 17, 18, 19 differ by up to 4.. ADU"),
        ({"columns": (0, 3)}, SettingError, "narrower than 4"),
        ({"columns": (20, 40)}, SettingError, "neither edge"),
        ({"columns": (5, 200)}, SettingError, "within 0 to 112"),
        ({"columns": [((0, 16), (10, 56))]}, SettingError, "inside the active columns"),
        ({"columns": [((0, 16), (16, 50)), ((96, 112), (56, 96))]}, SettingError, "without gap"),
        ({"columns": (0, 16), "active": (0, 60, 16, 200)}, SettingError, "active="),
        ({"columns": TAPS, "smooth": 4}, SettingError, "odd number"),
        ({"columns": TAPS, "smooth": 61}, SettingError, "odd number"),
        ({"columns": TAPS, "row_breaks": [60]}, SettingError, "rows between 0 and 60"),
        ({"columns": TAPS, "level": "median"}, SettingError, "allowed are 'rows' and 'constant'"),
    ],
)
def test_refusals(options: dict, error: type[Exception], message: str) -> None:
    stack, _ = raw_stack()
    with pytest.raises(error, match=message):
        calibkit.subtract_overscan(stack, **options)


def test_light_in_the_overscan_of_a_later_frame_is_refused() -> None:
    """The first frame is dark; what lies under the columns shows in the second."""
    stack, _ = raw_stack()
    dark, _ = raw_stack(1, light=0.0)
    both = xr.concat([dark, stack[:1]], "frame").chunk({"frame": 1})
    lazy = calibkit.subtract_overscan(both, columns=[((0, 20), (20, 56)), ((96, 112), (56, 96))])
    with pytest.raises(SettingError, match="hold light"):
        lazy.compute()
    with pytest.raises(MismatchError, match="subtracted from these frames already"):
        calibkit.subtract_overscan(calibkit.subtract_overscan(stack, columns=TAPS), columns=TAPS)
