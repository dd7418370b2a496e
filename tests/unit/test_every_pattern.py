"""Every public function on every kind of colour filter array, at odd sizes, cropped at odd places.

Each either gives what the simulated truth says, in every channel under its own name, or refuses with the reason.
"""

from __future__ import annotations

import inspect
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import calibkit as ck
from calibkit.align import Transform, Transforms
from calibkit.errors import CalibkitError, CalibkitWarning
from calibkit.simulate import (
    X_TRANS,
    Camera,
    FrameSet,
    Lamp,
    Optics,
    Sky,
    simulate_stack,
    truth,
    write_session,
)

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


@pytest.fixture(scope="module", params=PATTERNS)
def scene(request: pytest.FixtureRequest) -> Scene:
    return Scene(PATTERNS[request.param])


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


def find_defects(s: Scene) -> None:
    found = ck.find_defects(dark=s.dark, flat=s.flat)
    hot = s.perfect.hot_rate.values > 0
    assert found.mask[hot].mean() > 0.99
    told = {name: kinds.get("hot", 0) for name, kinds in found.counts().items()}
    same(told, {c: float((hot & (s.names == c)).sum()) for c in s.channels}, rel=0.15, abs=2)
    in_lights = ck.find_defects(lights=s.lights)
    assert in_lights.flags.shape == hot.shape


def repair(s: Scene) -> None:
    raw = ck.calibrate(s.lights[0], dark=s.dark, flat=s.flat, repair=False)
    mended = ck.repair(raw)
    touched = (mended.flags.values & ck.flags.REPAIRED) != 0
    assert touched.sum() > 50
    np.testing.assert_allclose(mended.signal.values, s.frame.signal.values, rtol=1e-6)
    away = np.abs(mended.signal.values - s.perfect.signal.values)[touched]
    assert np.median(away) < 0.1 * np.median(s.perfect.signal.values)


def defect_map(s: Scene) -> None:
    empty = ck.DefectMap.empty(s.frame)
    x, y = int(s.frame.x[7]), int(s.frame.y[4])
    told = empty.add(points=[(x, y)]).counts()
    assert {name for name, kinds in told.items() if kinds} == {s.names[4, 7]}


def find_cosmic_rays(s: Scene) -> None:
    found = ck.find_cosmic_rays(s.frame)
    assert int(((found.flags.values & ck.flags.COSMIC_RAY) != 0).sum()) < 20


def channel_worth(s: Scene) -> None:
    worth = ck.channel_worth(s.flat, light=s.frame)
    lamp, most = s.lamp, max(s.lamp.values())
    found = dict(zip(worth.channel.values, worth.response.values, strict=True))
    same(found, {c: lamp[c] / most for c in s.channels}, rel=0.01)


def lamp_colour(s: Scene) -> None:
    lamp, most = s.lamp, max(s.lamp.values())
    found = ck.lamp_colour(s.flats, bias=s.bias)
    same(found.ratios, {c: lamp[c] / most for c in s.channels}, rel=0.01)


def converted(method: str) -> Callable[[Scene], None]:
    def check(s: Scene) -> None:
        colour = ck.debayer(s.frame, method=method)
        found = {c: float(colour.signal.sel(channel=c).median()) for c in "RGB"}
        same(found, s.colours, rel=0.03)

    return check


def convert_too_early(s: Scene) -> None:
    colour = ck.convert_too_early(s.lights[0], dark=s.dark, flat=s.flat, method="superpixel")
    same({c: float(colour.signal.sel(channel=c).median()) for c in "RGB"}, s.colours, rel=0.03)


def extract_line(s: Scene) -> None:
    for size in ("half", "full"):
        made = ck.extract_line(s.frame, "Ha", size=size)
        assert float(made.signal.median()) == pytest.approx(s.colours["R"], rel=0.03)
    weights = ck.channel_worth(s.flat, light=s.frame)
    made = ck.extract_line(s.frame, "OIII", worth=weights)
    assert made.sizes["y"] < s.frame.sizes["y"]


def white_balance(s: Scene) -> None:
    colour = ck.debayer(s.frame, method="superpixel")
    grey = ck.white_balance(colour, {c: s.colours["G"] / s.colours[c] for c in "RGB"})
    same(
        {c: float(grey.signal.sel(channel=c).median()) for c in "RGB"},
        dict.fromkeys("RGB", s.colours["G"]),
        rel=0.03,
    )
    swapped = ck.colour_matrix(colour, [[0, 0, 1], [0, 1, 0], [1, 0, 0]])
    np.testing.assert_allclose(swapped.signal.sel(channel="R"), colour.signal.sel(channel="B"), rtol=1e-6)


def stretch_picture(s: Scene) -> None:
    shown = ck.stretch_picture(s.frame)
    assert shown.shape == s.frame.signal.shape
    assert shown.attrs["clipped"]["L"]["background"] <= 0.01
    weakest = min(s.sky, key=s.sky.get)
    noise = float(np.sqrt(s.frame.variance.values[s.names == weakest].mean()))
    with pytest.raises(CalibkitError, match="cannot turn black"):
        ck.stretch_picture(s.frame, black=s.sky[weakest] + 2 * noise)


def pictures_in_colour(s: Scene) -> None:
    colour = ck.debayer(s.frame, method="superpixel")
    grey = ck.neutralise_background(colour, level=0.0)
    noise = float(np.sqrt(colour.variance.median()))
    assert np.abs(grey.signal.median(("y", "x")).values).max() < 0.3 * noise
    lines = {name: colour.sel(channel=name, drop=True) for name in "RGB"}
    put = ck.combine_channels({"Ha": lines["R"], "OIII": lines["B"]}, "HOO")
    np.testing.assert_array_equal(put.signal.sel(channel="G"), colour.signal.sel(channel="B"))
    whole = ck.combine_channels(lines)
    np.testing.assert_array_equal(whole.signal, colour.signal)


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


FAR_APART = {"X-Trans": "drizzle"}
NOT_MONO, RGB_ONLY = {"mono": "no colour filters|colour sensor"}, "colour matrix|red, green and blue"
COLOURS = {**NOT_MONO, "GMYC": RGB_ONLY, "RGBW": RGB_ONLY}
WORK: dict[str, tuple[Callable[[Scene], None], dict[str, str]]] = {
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
    "find_defects": (find_defects, {}),
    "DefectMap": (defect_map, {}),
    "repair": (repair, {}),
    "find_cosmic_rays": (find_cosmic_rays, dict.fromkeys({*PATTERNS} - {"mono"}, "colour filters")),
    "channel_worth": (channel_worth, NOT_MONO),
    "lamp_colour": (lamp_colour, {}),
    "debayer superpixel": (converted("superpixel"), COLOURS),
    "debayer bilinear": (converted("bilinear"), COLOURS),
    "debayer edge": (converted("edge"), {**COLOURS, "X-Trans": "6 × 6"}),
    "convert_too_early": (convert_too_early, COLOURS),
    "extract_line": (extract_line, COLOURS),
    "white_balance": (white_balance, COLOURS),
    "colour_matrix": (white_balance, COLOURS),
    "stretch_picture": (stretch_picture, {}),
    "neutralise_background": (pictures_in_colour, COLOURS),
    "combine_channels": (pictures_in_colour, COLOURS),
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
#: Public functions that are given no frames, whose frames every row uses, or that their own files test so.
ELSEWHERE = {
    *("can_reject", "fit_dark_current", "plan_exposures"),
    *("open_stack", "scan", "open_result", "sample_session", "deck_pixels"),
    *("simulate_frame", "simulate_stack", "write_session", "truth", "session_truth"),
    *("open_image", "difference", "view_of"),
    *("read_recipe", "write_recipe", "process"),
    *("hyperbolic_curve", "save_picture"),
}


def test_no_public_function_is_forgotten() -> None:
    public = {name for name in ck.__all__ if inspect.isfunction(getattr(ck, name))}
    table = {name.split()[0] for name in WORK}
    assert public - ELSEWHERE <= table, "add a row to WORK for each"
    assert (table | ELSEWHERE) <= set(ck.__all__)


@pytest.mark.parametrize("work", WORK)
def test_odd_sizes_at_odd_places(scene: Scene, work: str) -> None:
    check, refused = WORK[work]
    name = next(name for name, pattern in PATTERNS.items() if pattern == scene.camera.pattern)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", CalibkitWarning)
        if name not in refused:
            check(scene)
            return
        with pytest.raises(CalibkitError, match=refused[name]):
            check(scene)
