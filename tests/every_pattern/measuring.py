"""Masters, calibration, and what is measured of a sensor."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import calibkit as ck
from tests.every_pattern.scene import Scene, Work, everywhere, names_of, pulls, same


def combine(s: Scene) -> None:
    assert pulls(ck.combine(s.darks), (s.perfect.bias + s.perfect.dark).values) == pytest.approx(1, abs=0.1)


def master_bias(s: Scene) -> None:
    same(s.bias.attrs["channel_level"], everywhere(s, 300.0), rel=0.001)
    same(s.bias.attrs["frame_noise"], everywhere(s, np.hypot(4.0, 12**-0.5)), rel=0.06)
    assert pulls(s.bias, s.perfect.bias.values) == pytest.approx(1, abs=0.1)


def master_dark(s: Scene) -> None:
    same(s.dark.attrs["channel_level"], everywhere(s, 320.0), rel=0.005)
    hot = s.perfect.hot_rate.values > 0
    assert ((s.dark.flags.values & ck.flags.HOT) != 0)[hot].mean() > 0.99


def master_flat(s: Scene) -> None:
    same(s.flat.attrs["channel_level"], s.lamp, rel=0.003)
    level = {c: float(s.lamp_light.flat.values[s.names == c].mean()) for c in s.channels}
    scale = np.vectorize(level.get)(s.names)
    assert pulls(s.flat, s.lamp_light.flat.values / scale) == pytest.approx(1, abs=0.1)


def constant_bias(s: Scene) -> None:
    told = {c: 100.0 + i for i, c in enumerate(s.channels)}
    made = ck.constant_bias(s.lights, told).signal.values
    assert (made == np.vectorize(told.get)(s.names)).all()


def calibrate(s: Scene) -> None:
    level = {c: float(s.perfect.flat.values[s.names == c].mean()) for c in s.channels}
    expected = s.perfect.signal.values * np.vectorize(level.get)(s.names)
    assert pulls(s.frame, expected, ~s.perfect.saturated.values) == pytest.approx(1, abs=0.06)
    same(s.means(s.frame.signal.values, s.frame.flags.values == 0), s.sky, rel=0.02)


def measure_gain(s: Scene) -> None:
    same(ck.measure_gain(s.flats, s.biases).values, everywhere(s, 1.5), rel=0.06)


def measure_read_noise(s: Scene) -> None:
    same(ck.measure_read_noise(s.biases, gain=1.5).values, everywhere(s, 6.0), rel=0.06)


def noise_ledger(s: Scene) -> None:
    ledger = ck.noise_ledger(s.lights, dark=s.dark, flat=s.flat)
    light = {c: ledger.rates(c)["sky"] * 60.0 / 1.5 for c in s.channels}
    same(light, s.means(s.perfect.light.values), rel=0.06)


def measure_dark_scale(s: Scene) -> None:
    light = ck.calibrate(s.lights[0], bias=s.bias, repair=False)
    halves = [ck.master_dark(part, bias=s.bias) for part in (s.darks[:3], s.darks[3:])]
    found = ck.measure_dark_scale(light, *halves)
    assert found.scale == pytest.approx(1.0, abs=max(0.02, 4 * found.error))


def shrink_dark(s: Scene) -> None:
    made = ck.shrink_dark(ck.master_dark(s.darks[:3]), ck.master_dark(s.darks[3:]))
    same(s.means(made.signal.values), everywhere(s, 320.0), rel=0.005)


def measure_warming(s: Scene) -> None:
    found = ck.measure_warming(s.lights, dark=s.dark)
    assert not found.seen
    assert list(found.table.channel.values) == list(s.lights.cfa.pattern.channels)


def subtract_overscan(s: Scene) -> None:
    covered = s.flats.copy(deep=True)
    covered.values[:, :, :9] = s.biases.values[:, :, :9]
    made = ck.subtract_overscan(covered, columns=(0, 9))
    assert made.x.values[0] == s.flats.x.values[9]
    part = names_of(s.camera.pattern, made.y.values, made.x.values)
    light = s.lamp_light.light.values[:, 9:]
    found = {c: float(made[0].values[part == c].mean()) for c in s.channels}
    same(found, {c: float(light[part == c].mean()) for c in s.channels}, rel=0.01)
    assert made.cfa.pattern.text == s.camera.pattern


def make_synthetic_bias(s: Scene) -> None:
    same(s.means(ck.make_synthetic_bias(s.biases).signal.values), everywhere(s, 300.0), rel=0.002)


def find_unstable_pixels(s: Scene) -> None:
    found = ck.find_unstable_pixels(s.darks)
    assert set(found.noise) == set(s.channels)
    assert found.share.value < 2e-3


def measure_dark_current(s: Scene) -> None:
    found = ck.measure_dark_current(xr.concat([s.short, s.darks], "frame"), gain=1.5)
    same(found.rates[0][1].values, everywhere(s, 0.5), rel=0.03)


def measure_fixed_pattern(s: Scene) -> None:
    same(ck.measure_fixed_pattern(s.flats, s.biases).prnu.values, everywhere(s, 0.01), rel=0.35)


def measure_photon_transfer(s: Scene) -> None:
    found = ck.measure_photon_transfer(s.levels, s.biases)
    same(found.gain.values, everywhere(s, 1.5), rel=0.12)
    same(found.read_noise.values, everywhere(s, 6.0), rel=0.2)


def measure_sensor(s: Scene) -> None:
    found = ck.measure_sensor(flats=s.levels, biases=s.biases, darks=s.darks)
    same(found.gain.values, everywhere(s, 1.5), rel=0.12)


def find_interference(s: Scene) -> None:
    assert ck.find_interference(s.biases) == []
    disturbed = Scene(s.camera.pattern, crop=s.crop)
    disturbed.camera = replace(
        s.camera, interference=4.0, interference_period=9.0, interference_angle=30.0, shape=s.camera.shape
    )
    found = ck.find_interference(disturbed.biases)
    assert found[0].period == pytest.approx(9.0, rel=0.03)


def line_structure(s: Scene) -> None:
    rows, columns = ck.line_structure(s.biases)
    assert rows.profile.size == s.biases.sizes["y"]
    assert max(rows.sigma, columns.sigma) < 5


WORK: Work = {
    "combine": (combine, {}),
    "master_bias": (master_bias, {}),
    "master_dark": (master_dark, {}),
    "master_flat": (master_flat, {}),
    "constant_bias": (constant_bias, {}),
    "calibrate": (calibrate, {}),
    "measure_gain": (measure_gain, {}),
    "measure_read_noise": (measure_read_noise, {}),
    "noise_ledger": (noise_ledger, {}),
    "measure_dark_scale": (measure_dark_scale, {}),
    "shrink_dark": (shrink_dark, {}),
    "measure_warming": (measure_warming, {}),
    "subtract_overscan": (subtract_overscan, {}),
    "make_synthetic_bias": (make_synthetic_bias, {}),
    "find_unstable_pixels": (find_unstable_pixels, {}),
    "measure_dark_current": (measure_dark_current, {}),
    "measure_fixed_pattern": (measure_fixed_pattern, {}),
    "measure_photon_transfer": (measure_photon_transfer, {}),
    "measure_sensor": (measure_sensor, {}),
    "find_interference": (find_interference, {}),
    "line_structure": (line_structure, {}),
}
