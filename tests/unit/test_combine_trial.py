"""What a setting does, seen on a part of the frames: it has to be what `combine` does to all of them."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from calibkit import combine
from calibkit.combining import measure_levels, noise_by_count, pixel_samples
from calibkit.combining.trial import first_levels
from calibkit.display.sampling import sample_region
from calibkit.errors import MismatchError, SettingError

NOISE, COUNT = 8.0, 12


@pytest.fixture(scope="module")
def lights() -> xr.DataArray:
    """A gradient, stars, an offset and a gain of its own for every frame, and one cosmic ray."""
    rng = np.random.default_rng(3)
    shape = (160, 240)
    scene = 500 + 0.5 * np.arange(shape[1]) + 400 * (rng.random(shape) > 0.99)
    data = np.stack([scene * (1 + 0.003 * i) + 10 * i + rng.normal(0, NOISE, shape) for i in range(COUNT)])
    data[4, 31, 57] += 900
    coords = {"y": np.arange(160), "x": np.arange(240), "kind": ("frame", ["light"] * COUNT)}
    return xr.DataArray(
        data.astype(np.float32), coords, ("frame", "y", "x"), attrs={"cfa": "RGGB", "units": "adu"}
    )


def test_levels_of_the_whole_make_the_part_equal(lights: xr.DataArray) -> None:
    levels = measure_levels(lights)
    whole = combine(lights, reject="winsorized")
    part = combine(sample_region(lights, most=2000), reject="winsorized", levels=levels)
    for name in ("signal", "n_kept", "rejected_high"):
        assert np.array_equal(part[name], whole[name].sel(y=part.y, x=part.x))
    # Without them the part is normalised by itself, and the result is another.
    corner = lights.isel(y=slice(0, 40), x=slice(0, 40))
    assert not np.array_equal(
        combine(corner, reject="none").signal, combine(corner, reject="none", levels=levels).signal
    )
    few = lights.isel(frame=slice(0, 5))
    same = combine(few, reject="none", levels=first_levels(levels, 5))
    assert np.array_equal(same.signal, combine(few, reject="none").signal)
    with pytest.raises(SettingError, match="levels="):
        combine(few, levels=levels)


@pytest.mark.parametrize(("method", "factor"), [("mean", 1.0), ("median", 1.2), ("sum", 1.0)])
def test_noise_goes_down_as_it_should(lights: xr.DataArray, method: str, factor: float) -> None:
    found = noise_by_count(lights, [4, 8, 12], method=method, reject="none")
    assert found.channel.values.tolist() == ["R", "G1", "G2", "B"]
    # Frames are scaled to the level of the middle one, by a few per cent.
    expected = NOISE / np.sqrt(found["count"])
    assert np.allclose(found["mean"], expected.broadcast_like(found["mean"]), rtol=0.06)
    assert np.allclose(found.ideal, found["mean"], rtol=0.04)
    if method == "median":  # of halves with 2, 4 and 6 frames: 1, 1.09 and 1.14 times the noise of a mean
        ratio = (found.measured / found["mean"]).mean("channel").values
        assert np.allclose(ratio, [1.0, 1.092, 1.135], atol=0.03)
    else:
        assert np.allclose(found.measured / found["mean"], factor, rtol=1e-3)


def test_counts_are_even_and_there(lights: xr.DataArray) -> None:
    for counts in ([3], [14], [0]):
        with pytest.raises(SettingError, match="even numbers from 2 to 12"):
            noise_by_count(lights, counts)
    assert noise_by_count(lights, []).sizes == {"count": 0, "channel": 4}


@pytest.mark.parametrize("reject", ["winsorized", "sigma", "minmax", "none", "averaged_sigma", "gesd"])
def test_every_sample_of_a_pixel_is_accounted_for(lights: xr.DataArray, reject: str) -> None:
    whole = combine(lights, reject=reject)
    for y, x in ((31, 57), (80, 100), (159, 239)):
        found = pixel_samples(lights, y, x, reject=reject)
        here = whole.sel(y=y, x=x)
        assert np.array_equal(found.value, lights.sel(y=y, x=x))
        assert int((found.side < 0).sum()) == int(here.rejected_low)
        assert int((found.side > 0).sum()) == int(here.rejected_high)
        assert found.attrs["result"] == float(here.signal)
        # The result is the mean of those that are said to be kept.
        kept = found.normalised.values[found.side.values == 0]
        assert kept.mean() == pytest.approx(float(here.signal), rel=1e-5)
    if reject in ("winsorized", "gesd"):
        assert pixel_samples(lights, 31, 57, reject=reject).side.values[4] == 1


def test_flagged_samples_are_no_samples(lights: xr.DataArray) -> None:
    flags = xr.zeros_like(lights, dtype=np.uint16)
    flags[2, 10, 10] = 4
    both = xr.Dataset({"signal": lights, "flags": flags}, attrs=lights.attrs)
    found = pixel_samples(both, 10, 10, reject="none")
    assert np.flatnonzero(np.isnan(found.side)).tolist() == [2]
    with pytest.raises(SettingError, match="y=500 is not in this stack"):
        pixel_samples(lights, 500, 0)
    with pytest.raises(MismatchError):
        measure_levels(lights[0])
