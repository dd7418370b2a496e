"""What has to hold of calibration whatever the sensor, the crop and the chunks."""

from __future__ import annotations

import numpy as np
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from calibkit import Pattern, calibrate, combine, master_flat, repair
from calibkit import flags as fl
from calibkit.cfa import channel_index

DIMS = ("y", "x")
SENSOR = (60, 66)
XTRANS = "GGRGGB/GGBGGR/BRGRBG/GGBGGR/GGRGGB/RBGBRG"
PATTERNS = st.sampled_from(["", "RGGB", "BGGR", "GRBG", "GBRG", "GMYC", XTRANS, "RGB/GBR/BRG"])
EXAMPLES = settings(max_examples=15)


@st.composite
def crops(draw: st.DrawFn) -> dict[str, slice]:
    """Parts of the sensor at any place, odd ones too."""
    y0, x0 = draw(st.integers(0, 20)), draw(st.integers(0, 20))
    return {"y": slice(y0, draw(st.integers(y0 + 15, 60))), "x": slice(x0, draw(st.integers(x0 + 15, 66)))}


def sensor(signal: np.ndarray, cfa: str, flags: np.ndarray | None = None, **attrs: object) -> xr.Dataset:
    """A master of the whole sensor."""
    data = {
        "signal": (DIMS, signal.astype("f4")),
        "variance": (DIMS, np.full(SENSOR, 0.2, "f4")),
        "flags": (DIMS, np.zeros(SENSOR, "u2") if flags is None else flags),
    }
    coords = {"y": np.arange(SENSOR[0]), "x": np.arange(SENSOR[1])}
    return xr.Dataset(
        data, coords=coords, attrs={"cfa": cfa, "units": "adu", "bias_subtracted": False} | attrs
    )


def session(cfa: str, seed: int) -> tuple[xr.DataArray, dict[str, xr.Dataset]]:
    rng = np.random.default_rng(seed)
    flags = np.where(rng.random(SENSOR) < 0.05, fl.HOT, 0).astype("u2")
    masters = {
        "bias": sensor(rng.normal(500, 9, SENSOR), cfa),
        "dark": sensor(rng.normal(30, 9, SENSOR), cfa, flags, bias_subtracted=True),
        "flat": sensor(rng.normal(1, 0.1, SENSOR), cfa, units="1"),
    }
    light = xr.DataArray(
        rng.integers(550, 5000, (2, *SENSOR)).astype("u2"),
        dims=("frame", *DIMS),
        coords={dim: masters["bias"][dim] for dim in DIMS},
        attrs={"cfa": cfa, "saturation": 4900.0, "read_noise": 5.0},
    ).assign_coords(gain=1.5)
    return light, masters


@EXAMPLES
@given(PATTERNS, crops(), st.integers(0, 99))
def test_a_crop_calibrates_like_the_whole(cfa: str, crop: dict[str, slice], seed: int) -> None:
    """Masters are cut to it by sensor pixels, and only its edge sees fewer neighbours."""
    light, masters = session(cfa, seed)
    whole = calibrate(light, **masters, repair=False)
    part = calibrate(light.isel(crop), **masters, repair=False)
    for name in ("signal", "flags"):
        np.testing.assert_array_equal(part[name], whole[name].isel(crop))
    inner = {dim: slice(4, -4) for dim in DIMS}
    np.testing.assert_array_equal(part["variance"].isel(inner), whole["variance"].isel(crop).isel(inner))
    mended = calibrate(light.isel(crop), **masters).isel({dim: slice(10, -10) for dim in DIMS})
    if mended["signal"].size:
        expected = calibrate(light, **masters).sel(y=mended.y, x=mended.x)
        for name in ("signal", "variance", "flags"):
            np.testing.assert_array_equal(mended[name], expected[name])


@EXAMPLES
@given(PATTERNS, crops(), st.integers(5, 40), st.integers(5, 40), st.booleans(), st.integers(0, 99))
def test_chunks_do_not_matter(
    cfa: str, crop: dict[str, slice], rows: int, columns: int, lazy_masters: bool, seed: int
) -> None:
    light, masters = session(cfa, seed)
    light = light.isel(crop)
    if lazy_masters:
        masters = {name: m.chunk(y=columns, x=rows) for name, m in masters.items()}
    xr.testing.assert_identical(
        calibrate(light.chunk(y=rows, x=columns), **masters).compute(), calibrate(light, **masters)
    )


@EXAMPLES
@given(PATTERNS, crops(), st.integers(0, 99))
def test_colours_are_never_mixed(cfa: str, crop: dict[str, slice], seed: int) -> None:
    """One level per channel in light and flat: calibrated and repaired, each channel still has one level."""
    rng = np.random.default_rng(seed)
    pattern = Pattern(cfa)
    levels = {name: 1000 * (i + 1) for i, name in enumerate(pattern.channels)}
    mosaic = np.array([[levels[pattern.label(y, x)] for x in range(SENSOR[1])] for y in range(SENSOR[0])])
    hot = rng.random(SENSOR) < 0.15
    bias = sensor(np.full(SENSOR, 100.0), cfa, np.where(hot, fl.HOT, 0).astype("u2"))
    flat = combine(
        _stack(100 + 3 * mosaic[None], cfa).assign_coords(kind="flat"),
        reject="none",
        gain=100.0,
        read_noise=1.0,
    )
    light = _stack(np.where(hot, 60_000, 100 + mosaic)[None], cfa).isel(crop)
    result = calibrate(light, bias=bias, flat=master_flat(flat, bias=bias), gain=1.0, read_noise=1.0)
    good = fl.usable(result["flags"].values)
    assert good.mean() > 0.95
    for name, level in levels.items():
        values = result["signal"].values[good & result.cfa.channel_mask(name).values]
        np.testing.assert_allclose(values, level, rtol=1e-5)


def _stack(values: np.ndarray, cfa: str) -> xr.DataArray:
    coords = {"y": np.arange(SENSOR[0]), "x": np.arange(SENSOR[1])}
    return xr.DataArray(
        values.astype("u2"), dims=("frame", *DIMS), coords=coords, attrs={"cfa": cfa, "units": "adu"}
    )


@EXAMPLES
@given(PATTERNS, st.floats(0.0, 0.6), st.integers(0, 99))
def test_repair_leaves_good_pixels_and_invents_no_value(cfa: str, share: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    flags = np.where(rng.random(SENSOR) < share, rng.choice([fl.HOT, fl.BAD_LINE, fl.SATURATED], SENSOR), 0)
    light = sensor(rng.normal(100, 30, SENSOR), cfa, flags.astype("u2"))
    mended = repair(light)
    good = flags == 0
    for name in ("signal", "variance", "flags"):
        np.testing.assert_array_equal(mended[name].values[good], light[name].values[good])
    done = (mended["flags"].values & fl.REPAIRED) != 0
    assert not (done & (good | (flags == fl.SATURATED))).any()
    cell, channels = channel_index(light)
    number = np.tile(cell, (60 // cell.shape[0], 66 // cell.shape[1]))
    for c in range(len(channels)):
        pool = light["signal"].values[good & (number == c)]
        values = mended["signal"].values[done & (number == c)]
        assert values.size == 0 or (values.min() >= pool.min() - 1e-4 and values.max() <= pool.max() + 1e-4)
    again = repair(mended)
    np.testing.assert_array_equal(again["signal"].values[done], mended["signal"].values[done])
