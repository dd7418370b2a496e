"""Cosmic rays of simulated frames: how many are found, how many are not there, and what replaces them."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr
from scipy import ndimage

import calibkit
from calibkit import flags as fl
from calibkit.errors import CalibkitWarning, SettingError
from calibkit.simulate import EFFECTS, X_TRANS, Camera, Sky, simulate_frame, simulate_stack, truth

CAMERA = Camera(
    shape=(300, 380), gain=2.0, read_noise=8.0, dark_current=0.1, hot_fraction=0.002, cosmic_rays=3.0
)


def scene(fwhm: float) -> dict[str, object]:
    sky = Sky(background=2.0, n_stars=150, star_flux=3000.0, fwhm=fwhm, gradient=0.3, seed=1)
    return {"exposure": 300.0, "sky": sky, "seed": 3}


def calibrated(fwhm: float) -> tuple[xr.Dataset, np.ndarray]:
    """A light and the charge that cosmic rays left in it, in ADU: the same frame with and without them."""
    settings = scene(fwhm)
    light = simulate_frame(CAMERA, **settings)
    without = simulate_frame(CAMERA, effects=set(EFFECTS) - {"cosmic rays"}, **settings)
    quiet = set(EFFECTS) - {"cosmic rays"}
    darks = simulate_stack(CAMERA, 9, kind="dark", exposure=300.0, frame_index=10, seed=3, effects=quiet)
    frame = calibkit.calibrate(light, dark=calibkit.master_dark(darks))
    return frame, light.values.astype(float) - without.values


@pytest.fixture(scope="module")
def struck() -> tuple[xr.Dataset, np.ndarray]:
    return calibrated(2.8)


def lazy(ds: xr.Dataset, rows: int) -> xr.Dataset:
    return ds.assign({n: ds[n].copy(data=da.from_array(ds[n].values, chunks=(rows, -1))) for n in ds})


def marked(ds: xr.Dataset) -> np.ndarray:
    return (ds.flags.values & fl.COSMIC_RAY) != 0


def test_what_is_there_is_found_and_little_else(struck: tuple[xr.Dataset, np.ndarray]) -> None:
    frame, charge = struck
    found = marked(calibkit.find_cosmic_rays(frame))
    sigma = np.sqrt(frame.variance.values)
    inner = np.zeros(found.shape, bool)
    inner[6:-6, 6:-6] = True  # stars that the edge cuts off are sharp
    assert not found[~inner].any()
    real = (charge > 10 * sigma) & inner
    assert real.sum() > 250
    assert found[real].mean() > 0.99
    beside = ndimage.binary_dilation(charge != 0, np.ones((3, 3)))
    false = found & ~beside
    assert false.mean() < 5e-4
    bright = np.zeros(found.shape, bool)  # the cores of the brightest stars are no cosmic rays
    for y, x, _ in sorted(scene(2.8)["sky"].star_list(found.shape), key=lambda star: -star[2])[:20]:
        bright[max(0, int(y) - 1) : int(y) + 2, max(0, int(x) - 1) : int(x) + 2] = True
    assert found[bright & ~beside].mean() < 0.02


def test_struck_pixels_are_replaced_as_their_variance_says(struck: tuple[xr.Dataset, np.ndarray]) -> None:
    frame, _ = struck
    before = frame.copy(deep=True)
    cleaned = calibkit.find_cosmic_rays(frame)
    xr.testing.assert_identical(frame, before)
    found = marked(cleaned)
    assert ((cleaned.flags.values[found] & fl.REPAIRED) != 0).all()
    perfect = truth(CAMERA, **{k: v for k, v in scene(2.8).items() if k != "seed"})
    sky = found & (perfect.signal.values < 1.05 * np.median(perfect.signal.values))
    pull = ((cleaned.signal - perfect.signal) / np.sqrt(cleaned.variance)).values[sky]
    assert np.abs(np.median(pull)) < 0.25
    assert ndimage.standard_deviation(np.clip(pull, -5, 5)) < 1.6  # neighbours below the limit leave a little
    untouched = ~ndimage.binary_dilation(found, np.ones((7, 7)))
    np.testing.assert_array_equal(cleaned.signal.values[untouched], frame.signal.values[untouched])
    assert [step["step"] for step in cleaned.attrs["provenance"]][-2:] == ["find cosmic rays", "repair"]


def test_a_repaired_pixel_beside_a_struck_one_is_repaired_anew() -> None:
    """The first repair averaged the cosmic ray in."""
    rng = np.random.default_rng(1)
    dims = ("y", "x")
    raw = xr.DataArray(
        rng.normal(600, 25, (40, 40)).astype("f4"), dims=dims, coords={"y": range(40), "x": range(40)}
    ).assign_attrs(cfa="", read_noise=5.0)
    raw[20, 20], raw[20, 21] = 9000, 3000
    defects = calibkit.find_defects(
        dark=xr.Dataset({"signal": xr.where(raw > 5000, 500.0, rng.normal(0, 1, raw.shape))})
    )
    frame = calibkit.calibrate(raw, bias=calibkit.constant_bias(raw, 0.0), gain=1.0, defects=defects)
    assert float(frame.signal[20, 20]) > 800
    cleaned = calibkit.find_cosmic_rays(frame)
    names = fl.flag_names(int(cleaned.flags[20, 20]))
    assert names == ["hot", "repaired"]
    assert float(cleaned.signal[20, 20]) == pytest.approx(600, abs=45)
    told = calibkit.find_cosmic_rays(frame, repair=False)
    assert fl.flag_names(int(told.flags[20, 20])) == ["hot"]  # not to be trusted until it is repaired
    assert float(told.signal[20, 21]) == 3000


@pytest.mark.parametrize("rows", [31, 300])
def test_bands_and_stacks_change_nothing(struck: tuple[xr.Dataset, np.ndarray], rows: int) -> None:
    frame, _ = struck
    whole = calibkit.find_cosmic_rays(frame)
    banded = calibkit.find_cosmic_rays(lazy(frame, rows))
    assert banded["flags"].chunks is not None
    xr.testing.assert_identical(banded.compute(), whole)
    pair = xr.concat([frame, frame], "frame")
    xr.testing.assert_equal(calibkit.find_cosmic_rays(pair).isel(frame=1, drop=True).signal, whole.signal)


def test_missing_and_saturated_pixels_are_no_cosmic_rays(struck: tuple[xr.Dataset, np.ndarray]) -> None:
    frame = struck[0].copy(deep=True)
    frame.signal[100:110, 100:140] = np.nan
    frame.flags[100:110, 100:140] = fl.NO_DATA
    frame.signal[200, 200:203] = 1e5
    frame.flags[200, 200:203] = fl.SATURATED
    found = marked(calibkit.find_cosmic_rays(frame))
    reference = marked(calibkit.find_cosmic_rays(struck[0]))
    assert not found[100:110, 100:140].any()
    assert not found[198:203, 198:205].any()
    around = np.zeros(found.shape, bool)
    around[96:114, 96:144] = around[194:207, 194:209] = True
    np.testing.assert_array_equal(found[~around], reference[~around])
    empty = frame.assign(signal=frame.signal * np.nan, flags=frame.flags | fl.FLAG_DTYPE(fl.NO_DATA))
    assert not marked(calibkit.find_cosmic_rays(empty)).any()


def test_stars_on_too_few_pixels_are_told() -> None:
    frame, _ = calibrated(1.2)
    with pytest.warns(CalibkitWarning, match=r"\d[.\d]* % of the pixels of frame 0 look struck.*objlim"):
        calibkit.find_cosmic_rays(frame)


@pytest.mark.parametrize("pattern", ["RGGB", "GMYC", X_TRANS])
def test_colour_mosaics_are_refused_with_the_reason(pattern: str) -> None:
    light = simulate_frame(Camera(shape=(24, 24), pattern=pattern), exposure=10.0)
    frame = calibkit.calibrate(light, bias=calibkit.constant_bias(light, 100.0))
    with pytest.raises(SettingError, match=r"colour filters .*calibkit\.combine reject"):
        calibkit.find_cosmic_rays(frame)


def test_what_cannot_work_is_refused(struck: tuple[xr.Dataset, np.ndarray]) -> None:
    frame = struck[0]
    with pytest.raises(SettingError, match=r"as calibkit\.calibrate gives it"):
        calibkit.find_cosmic_rays(frame.signal)
    with pytest.raises(SettingError, match="colours are interpolated"):
        calibkit.find_cosmic_rays(frame.expand_dims(channel=["R", "G", "B"]))
    with pytest.raises(SettingError, match="variance is not known"):
        calibkit.find_cosmic_rays(frame.assign(variance=frame.variance * np.nan))
    for setting in ({"sigclip": 0.0}, {"objlim": np.nan}, {"niter": 0}, {"niter": 1.5}):
        with pytest.raises(SettingError, match=f"{next(iter(setting))}=.* is wanted"):
            calibkit.find_cosmic_rays(frame, **setting)
