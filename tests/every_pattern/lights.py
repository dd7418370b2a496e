"""Stars, alignment and stacking, results on disk, and a whole session."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import calibkit as ck
from calibkit.align import Transform, Transforms
from calibkit.simulate import FrameSet, simulate_stack, write_session
from tests.every_pattern.scene import FAR_APART, LAMP, OPTICS, RGB_ONLY, SKY, Scene, Work, pulls, same


def placed(s: Scene) -> Transforms:
    """The true transforms of the lights."""
    frames = []
    for i in range(s.lights.sizes["frame"]):
        dy, dx = (a - b for a, b in zip(SKY.shift(50), SKY.shift(50 + i), strict=True))
        frames.append(Transform(f"{i}", np.array([[1, 0, dx], [0, 1, dy], [0, 0, 1.0]]), 0.0, 0.0, 9, True))
    origin = (int(s.lights.y[0]), int(s.lights.x[0]))
    return Transforms(tuple(frames), 0, "translation", s.lights.shape[1:], origin)


def apart() -> list[tuple[float, ...]]:
    """Twenty stars, one in each part of the frame: rows, columns and light."""
    rng = np.random.default_rng(3)
    y, x = np.divmod(np.arange(20), 5)
    places = 14 + 24 * y + rng.uniform(-6, 6, 20), 14 + 21 * x + rng.uniform(-5, 5, 20)
    return list(zip(*places, rng.uniform(9000, 20_000, 20), strict=True))


STARS = replace(SKY, n_stars=0, stars=apart())


def clear(s: Scene) -> xr.Dataset:
    """Lights of stars that stand apart."""
    stack = simulate_stack(s.camera, 3, exposure=20.0, sky=STARS, seed=5).isel(s.crop)
    return ck.calibrate(stack, bias=ck.constant_bias(stack, 300.0), dark=None)


def stars(s: Scene) -> None:
    lights = clear(s)
    found = ck.find_stars(lights)[1]
    truth = STARS.star_list(s.camera.shape)[:, :2] + STARS.shift(1)
    apart = np.hypot(found.y[:, None] - truth[:, 0], found.x[:, None] - truth[:, 1]).min(axis=1)
    assert len(found) >= 8  # there are hot pixels among them
    assert np.median(apart) < 0.1
    assert (apart < 0.5).mean() > 0.85
    table = ck.measure_quality(lights)
    np.testing.assert_allclose(table.fwhm, SKY.fwhm, rtol=0.05)


def register(s: Scene) -> None:
    frame = ck.register(clear(s), reference=0)[2]
    x, y, _ = frame.matrix @ [60.0, 50.0, 1.0]
    assert (x, y) == pytest.approx((61.4, 47.4), abs=0.1)


def resample(s: Scene) -> None:
    made = ck.resample(s.frame, placed(s)[1])
    assert made.attrs["cfa"] == s.camera.pattern
    same(s.means(made.signal.values, made.flags.values == 0), s.sky, rel=0.03)


def stacked(channels: str) -> Callable[[Scene], None]:
    def check(s: Scene) -> None:
        lights = ck.calibrate(s.lights, dark=s.dark, flat=s.flat)
        made = ck.stack_lights(lights, placed(s), channels=channels, normalise="none")
        if channels == "mosaic":
            same(s.means(made.signal.values, made.flags.values == 0), s.sky, rel=0.03)
        elif "channel" in made.dims:
            found = {str(c): float(made.signal.sel(channel=c).median()) for c in made.channel.values}
            same(found, s.colours, rel=0.03)
        else:
            assert float(made.signal.median()) == pytest.approx(s.colours["L"], rel=0.03)

    return check


def saved(s: Scene) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ck.save(s.plain, Path(folder) / "a.fits")
        back = ck.open_result(Path(folder) / "a.fits").compute()
    assert back.attrs["cfa"] == s.camera.pattern
    np.testing.assert_array_equal(back.signal, s.plain.signal)
    np.testing.assert_array_equal(back.x, s.plain.x)
    np.testing.assert_array_equal(back.y, s.plain.y)


def diagnose(s: Scene) -> None:
    found = ck.diagnose(light=s.lights, bias=s.biases, dark=s.darks, flat=s.flats)
    assert found.findings
    assert not found.faults, str(found)


def session(s: Scene) -> None:
    """A folder of files of an odd size, from scan to calibrated lights."""
    camera = replace(s.camera, shape=(59, 73))
    sets = (
        FrameSet(kind="bias", count=4),
        FrameSet(kind="dark", count=4, exposure=60.0),
        FrameSet(kind="flat", count=4, exposure=1.0),
        FrameSet(kind="light", count=1, exposure=60.0),
    )
    with tempfile.TemporaryDirectory() as folder:
        night = write_session(Path(folder) / "n", camera, sets, optics=OPTICS, sky=SKY, lamp=LAMP, seed=1)
        result = ck.calibrate_session(ck.scan(night), Path(folder) / "o", report=False)
        assert result.ok, str(result)
        made = ck.open_result(next((Path(folder) / "o" / "lights").rglob("*.fits"))).compute()
        perfect = ck.session_truth(night)
    assert made.attrs["cfa"] == camera.pattern
    assert pulls(made, perfect.signal.values, ~perfect.saturated.values) == pytest.approx(1, abs=0.1)


WORK: Work = {
    "find_stars": (stars, {}),
    "measure_quality": (stars, {}),
    "register": (register, {}),
    "resample": (resample, FAR_APART),
    "stack_lights planes": (stacked("planes"), FAR_APART),
    "stack_lights mosaic": (stacked("mosaic"), FAR_APART),
    "stack_lights debayer": (stacked("debayer"), {"GMYC": RGB_ONLY, "RGBW": RGB_ONLY, **FAR_APART}),
    "stack_lights drizzle": (stacked("drizzle"), {}),
    "save": (saved, {}),
    "diagnose": (diagnose, {}),
    "calibrate_session": (session, {}),
}
