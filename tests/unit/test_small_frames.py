"""Frames too small for what is asked of them: every public function runs, or refuses in words."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cached_property

import numpy as np
import pytest
import xarray as xr

import calibkit as ck
from calibkit.errors import CalibkitError, CalibkitWarning
from calibkit.simulate import X_TRANS, Camera, Lamp, Sky, simulate_stack

PATTERNS = {"mono": "", "GBRG": "GBRG", "GMYC": "GMYC", "X-Trans": X_TRANS}


class Small:
    """A few frames of each kind."""

    def __init__(self, pattern: str, shape: tuple[int, int], crop: dict[str, slice]) -> None:
        camera = Camera(
            pattern=pattern, shape=shape, gain=1.5, read_noise=6.0, offset=300.0, bit_depth=14, dark_current=0.5,
            reference_temperature=20.0, hot_fraction=0.02,
        )  # fmt: skip

        def take(count: int, first: int, **settings: object) -> xr.DataArray:
            return simulate_stack(camera, count, frame_index=first, seed=5, **settings).isel(crop)

        lamp = Lamp(rate=30_000.0)
        self.biases = take(6, 0, kind="bias")
        self.darks = take(6, 10, kind="dark", exposure=60.0)
        self.both = xr.concat([take(6, 20, kind="dark", exposure=20.0), self.darks], "frame")
        self.flats = take(6, 30, kind="flat", exposure=1.0, lamp=lamp)
        self.levels = xr.concat([take(2, 40, kind="flat", exposure=0.3, lamp=lamp), self.flats], "frame")
        self.lights = take(4, 50, kind="light", exposure=60.0, sky=Sky(background=60.0))

    @cached_property
    def bias(self) -> xr.Dataset:
        return ck.master_bias(self.biases)

    @cached_property
    def dark(self) -> xr.Dataset:
        return ck.master_dark(self.darks)

    @cached_property
    def flat(self) -> xr.Dataset:
        return ck.master_flat(self.flats, bias=ck.constant_bias(self.flats, 300.0))

    @cached_property
    def plain(self) -> xr.Dataset:
        return ck.calibrate(self.lights[0], bias=ck.constant_bias(self.lights, 300.0))


#: What is called; on so few pixels the numbers mean nothing.
CALLS: dict[str, Callable[[Small], object]] = {
    "combine": lambda s: ck.combine(s.darks),
    "master_bias": lambda s: s.bias,
    "master_dark": lambda s: s.dark,
    "master_flat": lambda s: s.flat,
    "constant_bias": lambda s: ck.constant_bias(s.lights, 300.0),
    "calibrate": lambda s: s.plain,
    "measure_gain": lambda s: ck.measure_gain(s.flats, s.biases),
    "measure_read_noise": lambda s: ck.measure_read_noise(s.biases),
    "noise_ledger": lambda s: ck.noise_ledger(s.lights, bias=ck.constant_bias(s.lights, 300.0)),
    "measure_dark_scale": lambda s: ck.measure_dark_scale(
        ck.calibrate(s.lights[0], bias=ck.constant_bias(s.lights, 300.0)),
        *[
            ck.calibrate(frame, bias=ck.constant_bias(s.darks, 300.0), repair=False)
            for frame in (s.darks[0], s.darks[1])
        ],
    ),
    "shrink_dark": lambda s: ck.shrink_dark(ck.master_dark(s.darks[:3]), ck.master_dark(s.darks[3:])),
    "measure_warming": lambda s: ck.measure_warming(s.lights),
    "subtract_overscan": lambda s: ck.subtract_overscan(s.biases, columns=(0, 3)),
    "make_synthetic_bias": lambda s: ck.make_synthetic_bias(s.biases),
    "find_unstable_pixels": lambda s: ck.find_unstable_pixels(s.darks),
    "measure_dark_current": lambda s: ck.measure_dark_current(s.both),
    "measure_fixed_pattern": lambda s: ck.measure_fixed_pattern(s.flats, s.biases),
    "measure_photon_transfer": lambda s: ck.measure_photon_transfer(s.levels, s.biases),
    "measure_sensor": lambda s: ck.measure_sensor(flats=s.levels, biases=s.biases, darks=s.darks),
    "find_interference": lambda s: ck.find_interference(s.biases),
    "line_structure": lambda s: ck.line_structure(s.biases),
    "find_defects": lambda s: ck.find_defects(dark=ck.combine(s.darks)),
    "find_defects lights": lambda s: ck.find_defects(lights=s.lights),
    "DefectMap": lambda s: ck.DefectMap.empty(s.lights[0]).counts(),
    "repair": lambda s: ck.repair(s.plain),
    "find_cosmic_rays": lambda s: ck.find_cosmic_rays(s.plain),
    "channel_worth": lambda s: ck.channel_worth(s.flat),
    "lamp_colour": lambda s: ck.lamp_colour(s.flats),
    "debayer superpixel": lambda s: ck.debayer(s.plain, method="superpixel"),
    "debayer bilinear": lambda s: ck.debayer(s.plain),
    "debayer edge": lambda s: ck.debayer(s.plain, method="edge"),
    "convert_too_early": lambda s: ck.convert_too_early(s.lights[0], dark=ck.combine(s.darks)),
    "extract_line": lambda s: ck.extract_line(s.plain, "Ha"),
    "white_balance": lambda s: ck.white_balance(ck.debayer(s.plain), {"R": 1.0, "G": 1.0, "B": 1.0}),
    "colour_matrix": lambda s: ck.colour_matrix(ck.debayer(s.plain), np.eye(3)),
    "diagnose": lambda s: ck.diagnose(light=s.lights, bias=s.biases, dark=s.darks, flat=s.flats),
}
SMALL = {
    "one pixel": ((1, 1), {}),
    "one row": ((1, 40), {}),
    "one column": ((40, 1), {}),
    "less than X-Trans": ((5, 7), {}),
    "a corner": ((9, 11), {"y": slice(1, None), "x": slice(3, None)}),
}


@pytest.mark.parametrize("size", SMALL)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_frames_that_are_too_small_are_refused_in_words(pattern: str, size: str) -> None:
    """No function fails for lack of pixels in a way of its own: it runs, or says what is missing."""
    small = Small(PATTERNS[pattern], *SMALL[size])
    said = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", CalibkitWarning)
        for work, call in CALLS.items():
            try:
                call(small)
            except CalibkitError as error:
                said[work] = str(error)
    assert all(len(words) > 30 for words in said.values()), said
    assert not {"combine", "constant_bias", "calibrate", "repair", "DefectMap"} & set(said), said
