"""Rows of a calibrated frame against a slow NumPy version in double precision, for every shape of frame and pattern."""

from __future__ import annotations

import numpy as np
import pytest

from calibkit import flags as fl
from calibkit.calibration.noise_terms import NoiseTerms
from calibkit.calibration.recipe import ENOUGH, REPAIRABLE, Recipe, Rows, _square, calibrate_rows
from calibkit.cfa.neighbours import neighbour_taps
from calibkit.kernels.repair import repair_rows

CELLS = {
    "mono": np.zeros((1, 1), np.uint8),
    "Bayer": np.array([[0, 1], [2, 3]], np.uint8),
    "X-Trans": np.array(
        [
            [1, 1, 0, 1, 1, 2],
            [1, 1, 2, 1, 1, 0],
            [2, 0, 1, 0, 2, 1],
            [1, 1, 2, 1, 1, 0],
            [1, 1, 0, 1, 1, 2],
            [0, 2, 1, 2, 0, 1],
        ],
        np.uint8,
    ),
    # A filter that is so far from its next that no neighbour tells what a pixel of it should be.
    "lone": np.pad(np.ones((1, 1), np.uint8), (3, 4)),
}
MASTERS = ("bias", "dark", "flat")


def recipe_for(cell: np.ndarray, *, saturation: float = 1900.0, floor_has_dark: bool = False) -> Recipe:
    channels = int(cell.max()) + 1
    smooth, _ = neighbour_taps(cell, (2,))
    taps, rings = neighbour_taps(cell, (1, 2, 3))
    gain = 1.2 + 0.3 * np.arange(channels)
    noise = NoiseTerms(
        (1 / gain)[None], (5.0 / gain)[None] ** 2, 3.0 + np.arange(channels), floor_has_dark, {}
    )
    shift = 0.5 * np.arange(channels)
    return Recipe(
        cell, np.array([1.7]), shift, np.array([0.6]), saturation, noise, smooth, taps, rings, repair=False
    )


def masters_for(rng: np.random.Generator, shape: tuple[int, int], names: tuple[str, ...]) -> Rows:
    """With every flag somewhere, and some values that are none."""
    level = {"bias": 300.0, "dark": 20.0, "flat": 1.0}
    bits = [0, *(flag.value for flag in fl.FLAGS), fl.REPAIRED | fl.HOT, fl.SATURATED | fl.UNSTABLE]
    found: Rows = {}
    for name in names:
        values = rng.normal(level[name], 0.05 * level[name], shape).astype(np.float32)
        values[rng.random(shape) < 0.02] = rng.choice([np.nan, np.inf, 0.0, -1.0])
        found[name] = values
        found[f"{name} variance"] = rng.uniform(0.5, 1.5, shape).astype(np.float32) * 1e-3 * level[name]
        found[f"{name} flags"] = np.where(rng.random(shape) < 0.2, rng.choice(bits, shape), 0).astype(
            np.uint16
        )
    found["defects"] = np.where(rng.random(shape) < 0.1, rng.choice(bits, shape), 0).astype(np.uint16)
    return found


@np.errstate(all="ignore")
def slowly(recipe: Recipe, y0: int, light: np.ndarray, masters: Rows) -> tuple[np.ndarray, ...]:
    """The whole of the rows, pixel by pixel, as the docstrings of `calibkit.calibrate` and its kernels say."""
    (height, width), (py, px) = light.shape, recipe.cell.shape
    channel = recipe.cell[(y0 + np.arange(height)) % py][:, np.arange(width) % px]
    zero = np.zeros(light.shape)
    get = {name: np.asarray(masters.get(name, zero), np.float64) for name in MASTERS}
    spread = {name: np.asarray(masters.get(f"{name} variance", zero), np.float64) for name in MASTERS}
    flag = {name: masters.get(f"{name} flags", zero.astype(np.uint16)) for name in MASTERS}
    flat = get["flat"] if "flat" in masters else zero + 1.0
    scale = recipe.scale[0] if "dark" in masters else 1.0
    net = light.astype(np.float64) - recipe.constant[channel] - get["bias"] - scale * get["dark"]
    net[~np.isfinite(net)] = np.nan
    own = fl.BAD & ~(fl.SATURATED | fl.NO_DATA | fl.BAD_FLAT)
    flags = np.where(light >= recipe.saturation, fl.SATURATED, 0) | np.where(np.isnan(net), fl.NO_DATA, 0)
    flags |= ((flag["bias"] | flag["dark"] | flag["flat"]) & own) | (masters["defects"] & fl.BAD)
    flags |= np.where(flag["dark"] & fl.SATURATED, fl.HOT | fl.SATURATED, 0)
    unusable = ~((flat > 0) & np.isfinite(flat)) | ~fl.usable(flag["flat"])
    flags |= np.where(unusable, fl.BAD_FLAT, 0)
    signal = np.where(unusable, np.nan, net / flat)
    noise = recipe.noise
    per_adu, floor, level = noise.per_adu[0][channel], noise.floor[0][channel], noise.dark_level[channel]
    more = scale * (get["dark"] - level)
    limit = 18 * (floor + np.maximum(net + more, 0) * per_adu)
    ty, tx = recipe.smooth.shape[:2]
    mean = np.full(light.shape, np.nan)
    for y, x in np.ndindex(light.shape):
        taps = recipe.smooth[(y0 + y) % ty, x % tx]
        places = [(y + dy, x + dx) for dy, dx in [(0, 0), *taps[(taps != 0).any(axis=1)].tolist()]]
        near = [net[v, u] for v, u in places if 0 <= v < height and 0 <= u < width]
        mean[y, x] = np.mean([v for v in near if (v - net[y, x]) ** 2 <= limit[y, x]] or np.nan)
    counted = mean + more
    if not noise.floor_has_dark:
        little = counted**2 < 4 * (0.04 * floor + scale**2 * spread["dark"])
        counted = np.where((counted >= 0) | little, counted, 0)
    variance = np.maximum(floor + counted * per_adu, 0.5 * floor)
    variance += recipe.bias_share[0] * spread["bias"] + scale**2 * spread["dark"]
    variance = variance / flat**2 + (signal / flat) ** 2 * spread["flat"]
    variance[np.isnan(signal)] = np.nan
    return signal, variance, flags


def check(recipe: Recipe, y0: int, top: int, count: int, light: np.ndarray, masters: Rows) -> None:
    expected = slowly(recipe, y0, light, masters)
    for variance in (True, False):
        made = calibrate_rows(recipe, 0, y0, top, count, light, masters, variance=variance)
        for name, rows, wanted in zip(("signal", "variance", "flags"), made, expected, strict=True):
            assert rows.shape == (count, light.shape[1])
            if name == "variance" and not variance:
                continue
            np.testing.assert_allclose(rows, wanted[top : top + count], rtol=3e-6, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("width", [1, 2, 5, 31, 127, 128, 129])
@pytest.mark.parametrize("pattern", CELLS)
def test_any_width_and_pattern(pattern: str, width: int) -> None:
    rng = np.random.default_rng(width)
    light = rng.normal(1000, 250, (23, width)).astype(np.uint16)
    check(recipe_for(CELLS[pattern]), 3, 10, 5, light, masters_for(rng, light.shape, MASTERS))


@pytest.mark.parametrize("pattern", CELLS)
@pytest.mark.parametrize(
    ("height", "top", "count"), [(1, 0, 1), (3, 0, 3), (9, 0, 2), (12, 10, 2), (40, 0, 40)]
)
def test_any_rows(pattern: str, height: int, top: int, count: int) -> None:
    """Where the halo is cut off by the edge of the frame, or is higher than it."""
    rng = np.random.default_rng(height)
    light = rng.normal(1000, 250, (height, 21)).astype(np.uint16)
    masters = masters_for(rng, light.shape, MASTERS)
    check(recipe_for(CELLS[pattern], floor_has_dark=True), 7, top, count, light, masters)


@pytest.mark.parametrize("names", [(), ("bias",), ("dark",), ("flat",), ("bias", "flat"), ("dark", "flat")])
def test_masters_that_are_not_there(names: tuple[str, ...]) -> None:
    rng = np.random.default_rng(len(names))
    light = rng.normal(900, 250, (16, 33)).astype(np.uint16)
    recipe = recipe_for(CELLS["Bayer"])
    if "dark" not in names:
        recipe = Recipe(**vars(recipe) | {"scale": np.ones(1)})
    check(recipe, 0, 0, 16, light, masters_for(rng, light.shape, names))


@pytest.mark.parametrize("dtype", ["u2", ">u2", "i4", "f4", "f8"])
def test_any_type_of_light(dtype: str) -> None:
    rng = np.random.default_rng(5)
    light = rng.normal(1000, 250, (16, 33)).astype(dtype)
    if light.dtype.kind == "f":
        light[4, 7:9] = np.nan, np.inf
    check(recipe_for(CELLS["Bayer"]), 1, 2, 9, light, masters_for(rng, light.shape, MASTERS))


@pytest.mark.parametrize("dtype", ["i4", "f8"])
def test_small_differences_of_large_numbers(dtype: str) -> None:
    """Single precision would have lost them."""
    light = np.array([[2_000_000_001, 2_000_000_130, 2_000_000_000]]).astype(dtype)
    bias = np.full(light.shape, 2e9, np.float32)
    made = calibrate_rows(recipe_for(CELLS["mono"]), 0, 0, 0, 1, light, {"bias": bias})
    assert made[0].tolist() == [[1.0, 130.0, 0.0]]


@pytest.mark.parametrize(
    ("dtype", "level"), [("u2", 1000.5), ("f4", 1000.1), ("i4", 2_000_000_001), ("f8", 1000.1)]
)
def test_saturation_begins_at_the_level(dtype: str, level: float) -> None:
    """Also where single precision has no such number."""
    kind = np.dtype(dtype).type
    above = kind(np.ceil(level)) if dtype[0] != "f" else kind(level)
    if above < level:
        above = np.nextafter(above, kind(np.inf))
    below = above - kind(1) if dtype[0] != "f" else np.nextafter(above, kind(0))
    light = np.array([[below, above]])
    recipe = recipe_for(CELLS["mono"], saturation=float(level))
    assert calibrate_rows(recipe, 0, 0, 0, 1, light, {})[2].tolist() == [[0, fl.SATURATED]]


@pytest.mark.parametrize("width", [1, 64, 65, 130, 200])
def test_every_column_is_repaired(width: int) -> None:
    """Pixels are looked for in groups; those next to a group's edge are found as well."""
    rng = np.random.default_rng(width)
    taps, rings = neighbour_taps(CELLS["mono"], (1, 2, 3))
    for x in range(width):
        signal = rng.normal(100, 3, (5, width)).astype(np.float32)
        before, variance = signal.copy(), np.full(signal.shape, 9.0, np.float32)
        flags = np.zeros(signal.shape, np.uint16)
        flags[2, x] = fl.HOT
        repair_rows(signal, variance, flags, np.uint16(REPAIRABLE), taps, rings, ENOUGH, 1, 4)
        around = [
            before[v, u] for v in (1, 2, 3) for u in (x - 1, x, x + 1) if 0 <= u < width and (v, u) != (2, x)
        ]
        if len(around) >= ENOUGH:
            assert signal[2, x] == pytest.approx(np.mean(around), rel=1e-6)
        assert flags[2, x] == fl.HOT | fl.REPAIRED
        same = np.ones(signal.shape, bool)
        same[2, x] = False
        assert (signal[same] == before[same]).all()
        assert (flags[same] == 0).all()


@pytest.mark.parametrize(
    ("pattern", "step"), [("mono", (1, 1)), ("Bayer", (2, 2)), ("X-Trans", (0, 0)), ("lone", (0, 0))]
)
def test_squares_of_neighbours_are_known_as_such(pattern: str, step: tuple[int, int]) -> None:
    """Nothing else is summed up column by column, which is several times as fast."""
    assert _square(neighbour_taps(CELLS[pattern], (2,))[0]) == step
    assert _square(neighbour_taps(CELLS[pattern], (1,))[0]) == (0, 0)


def test_a_pixel_without_neighbours_is_left_as_it_is() -> None:
    taps, rings = neighbour_taps(CELLS["lone"], (1, 2, 3))
    signal = np.random.default_rng(2).normal(100, 3, (16, 16)).astype(np.float32)
    before, variance = signal.copy(), np.full(signal.shape, 9.0, np.float32)
    flags = np.zeros(signal.shape, np.uint16)
    flags[3, 11] = flags[5, 5] = fl.HOT
    repair_rows(signal, variance, flags, np.uint16(REPAIRABLE), taps, rings, ENOUGH, 0, 16)
    assert flags[3, 11] == fl.HOT
    assert flags[5, 5] == fl.HOT | fl.REPAIRED
    around = np.delete(before[3:8, 3:8], [0, 12])  # without itself and the one of another filter
    assert signal[5, 5] == pytest.approx(around.mean(), rel=1e-6)
    signal[5, 5] = before[5, 5]
    np.testing.assert_array_equal(signal, before)


@pytest.mark.parametrize("pattern", CELLS)
@pytest.mark.parametrize("count", [1, 5, 12, 13, 30])
def test_repair_does_not_depend_on_the_rows_that_are_asked_for(pattern: str, count: int) -> None:
    """Pixels at the edges of the wanted rows are repaired from the rows around them."""
    rng = np.random.default_rng(count)
    recipe = Recipe(**vars(recipe_for(CELLS[pattern])) | {"repair": True})
    light = rng.normal(1000, 250, (70, 40)).astype(np.uint16)
    masters = masters_for(rng, light.shape, MASTERS)
    whole = calibrate_rows(recipe, 0, 0, 0, 70, light, masters)
    assert ((whole[2] & fl.REPAIRED) != 0).any()
    for y0 in (0, 3, 22, 70 - count):
        above, below = max(0, y0 - recipe.halo), min(70, y0 + count + recipe.halo)
        under = {name: rows[above:below] for name, rows in masters.items()}
        for variance in (True, False):
            made = calibrate_rows(
                recipe, 0, above, y0 - above, count, light[above:below], under, variance=variance
            )
            for rows, wanted, known in zip(made, whole, (True, variance, True), strict=True):
                if known:
                    np.testing.assert_array_equal(rows, wanted[y0 : y0 + count])
