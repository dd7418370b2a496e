"""A simulated warm DSLR of every pattern, calibrated and cut at an odd place, against what is behind its frames."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import calibkit
from calibkit.simulate import X_TRANS, Lamp, simulate_stack, truth
from calibkit.simulate.samples import dslr_night
from tests.every_pattern.scene import names_of

NIGHT = dslr_night((301, 403))
LAMP = Lamp(rate=30_000.0, spectrum="rgb led with 660 nm")
CROP = {"y": slice(3, None), "x": slice(5, 400)}
LIGHT = {"kind": "light", "exposure": 300.0, "sky": NIGHT.sky, "optics": NIGHT.optics}


@pytest.mark.parametrize("pattern", ["RGGB", "BGGR", "GRBG", "GBRG", X_TRANS])
def test_every_channel_is_the_truth_within_its_stated_noise(pattern: str) -> None:
    """Stars, glow, hot pixels, interference, dust and all; what is flagged does not count."""
    camera = replace(NIGHT.camera, pattern=pattern)

    def take(count: int, first: int, **settings: object):
        return simulate_stack(camera, count, frame_index=first, seed=9, temperature=28.0, **settings)

    dark = calibkit.master_dark(take(11, 0, kind="dark", exposure=300.0))
    flat_dark = calibkit.master_dark(take(10, 20, kind="flat dark", exposure=1.0))
    flats = take(10, 40, kind="flat", exposure=1.0, lamp=LAMP, optics=NIGHT.optics)
    flat = calibkit.master_flat(flats, dark=flat_dark)
    done = calibkit.calibrate(take(2, 60, **LIGHT).isel(CROP), dark=dark, flat=flat)
    pulls: dict[str, list[np.ndarray]] = {}
    for i in range(2):
        perfect = truth(camera, temperature=28.0, frame_index=60 + i, **LIGHT)
        names = names_of(pattern, perfect.y.values, perfect.x.values)
        level = {c: float(perfect.flat.values[names == c].mean()) for c in np.unique(names)}
        expected = (perfect.signal * np.vectorize(level.get)(names)).isel(CROP).values
        here, full, frame = (
            names[CROP["y"], CROP["x"]],
            perfect.saturated.isel(CROP).values,
            done.isel(frame=i),
        )
        for c in level:
            use = (frame.flags.values == 0) & ~full & (here == c)
            away = (frame.signal.values - expected)[use] / np.sqrt(frame.variance.values[use])
            pulls.setdefault(str(c), []).append(away)
    assert sorted(pulls) == (["B", "G", "R"] if pattern == X_TRANS else ["B", "G1", "G2", "R"])
    for channel, values in pulls.items():
        away = np.concatenate(values)
        assert away.std() == pytest.approx(1.0, abs=0.03), channel
        assert abs(away.mean()) < 0.03, channel
