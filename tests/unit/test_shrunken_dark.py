"""The shrunken dark against simulated truth, and against darks that it has not seen."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import calibkit
from calibkit.errors import MismatchError, SettingError


def half(truth: np.ndarray, noise: float, seed: int, **attrs: object) -> xr.Dataset:
    signal = np.random.default_rng(seed).normal(truth, noise).astype(np.float32)
    data = xr.DataArray(signal, {"y": np.arange(len(truth)), "x": np.arange(truth.shape[1])}, ("y", "x"))
    flags = xr.zeros_like(data, dtype=np.uint16)
    fixed = {"cfa": "", "bias_subtracted": True, "n_frames": 5, "units": "adu"}
    return xr.Dataset({"signal": data, "variance": data * 0 + noise**2, "flags": flags}, attrs=fixed | attrs)


@pytest.mark.parametrize(("spread", "least"), [(0.0, 15.0), (0.3, 5.0), (3.0, 1.15)])
@pytest.mark.parametrize("cfa", ["", "RGGB"])
def test_closer_to_the_truth_with_its_hot_pixels(spread: float, least: float, cfa: str) -> None:
    """*least*: by how much the mean squared error shrinks; the noise of the mean is 2 ADU."""
    rng = np.random.default_rng(5)
    truth = 10 + spread * rng.normal(size=(300, 400))
    if cfa:
        truth[0::2, 0::2] += 20
    hot = rng.random(truth.shape) < 0.002
    truth[hot] += 60
    a, b = (half(truth, 2 * np.sqrt(2), seed, cfa=cfa) for seed in (1, 2))
    found = calibkit.shrink_dark(a, b)
    plain = (a.signal + b.signal) / 2
    error = (found.signal - truth).where(~hot)
    assert float((plain - truth).where(~hot).var() / (error**2).mean()) > least
    assert abs(float((found.signal - truth).where(hot).mean())) < 0.6  # their own mean is known to 0.13
    stated = float(found.variance.where(~hot).mean())
    assert float((error**2).mean()) == pytest.approx(stated, rel=0.25, abs=0.08)


def test_better_for_darks_that_it_has_not_seen(shared_data) -> None:
    """Real darks of a cooled CCD: closer to the mean of other darks than the plain mean of the same ones."""
    files = sorted((shared_data("stl1001e") / "neg5").glob("darks-expos1-*"))
    darks = calibkit.open_stack(files)
    a, b, other = (
        calibkit.master_dark(darks.isel(frame=part)) for part in (slice(0, 3), slice(3, 6), slice(6, 11))
    )
    found = calibkit.shrink_dark(a, b)
    cool = (found.flags == 0) & (other.flags == 0)
    plain = float(((a.signal + b.signal) / 2 - other.signal).where(cool).var())
    shrunk = float((found.signal - other.signal).where(cool).var())
    assert shrunk < plain


def test_halves_that_do_not_fit_are_refused() -> None:
    truth = np.full((60, 60), 10.0)
    a, b = half(truth, 2, 1), half(truth, 2, 2)
    with pytest.raises(MismatchError, match="different pixels"):
        calibkit.shrink_dark(a, b.isel(y=slice(10)))
    with pytest.raises(MismatchError, match="holds its bias"):
        calibkit.shrink_dark(a, b.assign_attrs(bias_subtracted=False))
    with pytest.raises(SettingError, match="1000 at least"):
        calibkit.shrink_dark(a.isel(y=slice(5)), b.isel(y=slice(5)))
