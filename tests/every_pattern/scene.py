"""Frames of one camera with any colour pattern, at an odd size and cropped at an odd place, and what is behind them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

import numpy as np
import pytest
import xarray as xr

import calibkit as ck
from calibkit.simulate import X_TRANS, Camera, Lamp, Optics, Sky, simulate_stack, truth

PATTERNS = {
    "mono": "",
    **{pattern: pattern for pattern in ("RGGB", "BGGR", "GRBG", "GBRG", "GMYC", "RGBW")},
    "X-Trans": X_TRANS,
}
OPTICS, LAMP = Optics(vignetting=0.2), Lamp(rate=30_000.0)
SKY = Sky(background=60.0, gradient=0.1, n_stars=20, star_flux=3000.0, drift=(1.3, -0.7))
CAMERA = Camera(
    gain=1.5, read_noise=6.0, offset=300.0, bit_depth=14, dark_current=0.5, dark_spread=0.0, reference_temperature=20.0,
    hot_fraction=0.01, hot_rate=40.0, hot_spread=0.5, seed=2,
)  # fmt: skip
CROP = {"y": slice(3, None), "x": slice(5, 112)}


def names_of(pattern: str, ys: np.ndarray, xs: np.ndarray) -> np.ndarray:
    """The channel of every pixel, found without calibkit: greens in red rows are G1, the others G2."""
    if not pattern:
        return np.full((ys.size, xs.size), "L")
    rows = pattern.split("/") if "/" in pattern else [pattern[:2], pattern[2:]]
    py, px = len(rows), len(rows[0])
    cell = np.array([list(row) for row in rows], dtype="U2")
    if py == 2 and sorted(pattern) == ["B", "G", "G", "R"]:
        red_row = next(i for i, row in enumerate(rows) if "R" in row)
        for i, j in zip(*np.nonzero(cell == "G"), strict=True):
            cell[i, j] = "G1" if i == red_row else "G2"
    return cell[np.ix_(ys % py, xs % px)]


#: Name → its check, and the patterns that are refused, with what is said then.
Work = dict[str, tuple[Callable[["Scene"], None], dict[str, str]]]
FAR_APART = {"X-Trans": "drizzle"}
NOT_MONO, RGB_ONLY = {"mono": "no colour filters|colour sensor"}, "colour matrix|red, green and blue"
COLOURS = {**NOT_MONO, "GMYC": RGB_ONLY, "RGBW": RGB_ONLY}


class Scene:
    """Frames of one camera, and what is behind them."""

    def __init__(self, pattern: str, shape: tuple[int, int] = (101, 117), crop: dict | None = None) -> None:
        self.camera = replace(CAMERA, pattern=pattern, shape=shape)
        self.crop = CROP if crop is None else crop

    def take(self, count: int, first: int, **settings: object) -> xr.DataArray:
        stack = simulate_stack(self.camera, count, frame_index=first, seed=5, optics=OPTICS, **settings)
        return stack.isel(self.crop)

    @cached_property
    def biases(self) -> xr.DataArray:
        return self.take(6, 0, kind="bias")

    @cached_property
    def short(self) -> xr.DataArray:
        return self.take(6, 10, kind="dark", exposure=20.0)

    @cached_property
    def darks(self) -> xr.DataArray:
        return self.take(6, 20, kind="dark", exposure=60.0)

    @cached_property
    def flats(self) -> xr.DataArray:
        return self.take(6, 30, kind="flat", exposure=1.0, lamp=LAMP)

    @cached_property
    def levels(self) -> xr.DataArray:
        faint = [
            self.take(2, 40 + 2 * i, kind="flat", exposure=t, lamp=LAMP)
            for i, t in enumerate((0.1, 0.3, 0.6))
        ]
        return xr.concat([*faint, self.flats], "frame")

    @cached_property
    def lights(self) -> xr.DataArray:
        return self.take(4, 50, kind="light", exposure=60.0, sky=SKY)

    @cached_property
    def perfect(self) -> xr.Dataset:
        settings = {"kind": "light", "exposure": 60.0, "sky": SKY, "optics": OPTICS, "frame_index": 50}
        return truth(self.camera, **settings).isel(self.crop)

    @cached_property
    def lamp_light(self) -> xr.Dataset:
        return truth(self.camera, kind="flat", exposure=1.0, lamp=LAMP, optics=OPTICS).isel(self.crop)

    @cached_property
    def bias(self) -> xr.Dataset:
        return ck.master_bias(self.biases)

    @cached_property
    def dark(self) -> xr.Dataset:
        return ck.master_dark(self.darks)

    @cached_property
    def flat(self) -> xr.Dataset:
        return ck.master_flat(self.flats, bias=self.bias)

    @cached_property
    def frame(self) -> xr.Dataset:
        return ck.calibrate(self.lights[0], dark=self.dark, flat=self.flat)

    @cached_property
    def plain(self) -> xr.Dataset:
        """A light without its offset, whatever its size."""
        return ck.calibrate(self.lights[0], bias=ck.constant_bias(self.lights, 300.0))

    @cached_property
    def names(self) -> np.ndarray:
        return names_of(self.camera.pattern, self.lights.y.values, self.lights.x.values)

    @cached_property
    def channels(self) -> list[str]:
        return sorted(set(self.names.ravel().tolist()))

    def means(self, image: np.ndarray, use: np.ndarray | None = None) -> dict[str, float]:
        """Median of every channel of a mosaic."""
        use = np.isfinite(image) if use is None else use & np.isfinite(image)
        return {c: float(np.median(image[use & (self.names == c)])) for c in self.channels}

    @property
    def sky(self) -> dict[str, float]:
        """Light per channel in a perfect calibrated frame, scaled as the flat of the crop has it."""
        flat, light = self.perfect.flat.values, self.perfect.light.values
        level = {c: float(flat[self.names == c].mean()) for c in self.channels}
        return {c: float(np.median((light / flat)[self.names == c])) * level[c] for c in self.channels}

    @property
    def colours(self) -> dict[str, float]:
        """The same by letter."""
        found: dict[str, list[float]] = {}
        for channel, value in self.sky.items():
            found.setdefault(channel[0], []).append(value)
        return {letter: float(np.mean(values)) for letter, values in found.items()}

    @property
    def lamp(self) -> dict[str, float]:
        """Light of a flat per channel, ADU."""
        light = self.lamp_light.light.values
        return {c: float(light[self.names == c].mean()) for c in self.channels}


def same(found: dict[str, float], expected: dict[str, float], *, rel: float, abs: float = 0.0) -> None:
    """The same channels by name, and the same numbers."""
    found = {str(name): float(value) for name, value in dict(found).items()}
    assert found == pytest.approx(expected, rel=rel, abs=abs)


def everywhere(scene: Scene, value: float) -> dict[str, float]:
    return dict.fromkeys(scene.channels, value)


def pulls(image: xr.Dataset, expected: np.ndarray, good: np.ndarray | None = None) -> float:
    """Deviation over stated noise, both as root mean squares."""
    use = (image.flags.values == 0) if good is None else good & (image.flags.values == 0)
    away = (image.signal.values - expected)[use].astype(float)
    return float(np.sqrt(np.mean(away**2) / np.mean(image.variance.values[use], dtype=float)))
