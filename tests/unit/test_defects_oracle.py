"""Every flag that `find_defects` sets, against a plain NumPy statement of its method."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy import ndimage, stats

from calibkit import Pattern, find_defects, save
from calibkit import flags as fl
from calibkit.io.save import open_result

XTRANS = "GGRGGB/GBGGBR/BRGRBG/GGBGGR/GGRGGB/RBGBRG"
PATTERNS = ["", "GBRG", "RGB/CMY", "CYYM/MGGC/YCCY/GMMG", XTRANS]
COUNT = 11


class Frame:
    """A frame, the channel of each of its pixels, and the tiles that it is cut into."""

    def __init__(self, values: np.ndarray, pattern: str, y0: int, x0: int) -> None:
        self.values = np.where(np.isfinite(values), values, np.nan).astype(float)
        index = Pattern(pattern).index if pattern else np.zeros((1, 1), int)
        self.cell = np.roll(index, (-y0, -x0), (0, 1))
        y, x = np.indices(values.shape)
        self.channel = self.cell[y % self.cell.shape[0], x % self.cell.shape[1]]
        self.tile, self.starts = [], []
        for size, period in zip(values.shape, self.cell.shape, strict=True):
            tile = max(min(size, -(-64 // period) * period) // period, 1) * period
            last = (size - tile) // period * period
            self.tile.append(tile)
            self.starts.append(sorted({*range(0, size - tile + 1, tile), last}))

    def centres(self, axis: int) -> np.ndarray:
        return np.array(self.starts[axis]) + (self.tile[axis] - 1) / 2

    def measure(self, *, shadows: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Level and sigma, (channel, tile row, tile column)."""
        shape = (self.cell.max() + 1, *map(len, self.starts))
        level, sigma = np.full(shape, np.nan), np.full(shape, np.nan)
        for c, i, j in np.ndindex(shape):
            level[c, i, j], sigma[c, i, j] = clipped(self.of_tile(self.values, c, i, j))
        if not shadows:
            steps = [np.zeros(shape), np.zeros(shape)]
            for axis, rise in zip((1, 2), steps, strict=True):
                step = np.nan_to_num(np.diff(level, axis=axis)) ** 2
                one, other = ([slice(None)] * 3 for _ in range(2))
                one[axis], other[axis] = slice(1, None), slice(None, -1)
                rise[tuple(one)] = step
                rise[tuple(other)] = np.maximum(rise[tuple(other)], step)
            steep = sum(steps) / 12 > 0.04 * sigma**2
            py, px = self.cell.shape
            rough = np.full(self.values.shape, np.nan)
            rough[py:-py, px:-px] = self.values[py:-py, px:-px] - 0.5 * (
                self.values[: -2 * py, : -2 * px] + self.values[2 * py :, 2 * px :]
            )
            for c, i, j in np.argwhere(steep):
                found = clipped(self.of_tile(rough, c, i, j, inset=True))[1] / np.sqrt(1.5)
                sigma[c, i, j] = np.fmin(sigma[c, i, j], found)
        for c in range(shape[0]):
            for grid in (level[c], sigma[c]):
                if np.isnan(grid).any():
                    nearest = ndimage.distance_transform_edt(
                        np.isnan(grid), return_distances=False, return_indices=True
                    )
                    grid[...] = grid[tuple(nearest)]
            sigma[c] = ndimage.median_filter(sigma[c], size=3, mode="nearest")
        return level, np.maximum(sigma, 1e-6 * np.abs(level) + 1e-30)

    def of_tile(self, values: np.ndarray, c: int, i: int, j: int, *, inset: bool = False) -> np.ndarray:
        """Finite values of a channel in a tile: row by row, the sites of the pattern after each other."""
        (py, px), found = self.cell.shape, []
        top, left = self.starts[0][i], self.starts[1][j]
        dy, dx = (py, px) if inset else (0, 0)
        for y in range(top + dy, top + self.tile[0] - dy):
            for b in range(px):
                if self.cell[y % py, b] == c:
                    found.append(values[y, left + dx + b : left + self.tile[1] - dx : px])
        joined = np.concatenate(found)
        return joined[np.isfinite(joined)]

    def smooth(self, grid: np.ndarray) -> np.ndarray:
        """A grid between the centres of tiles."""
        out = np.empty(self.values.shape)
        y, x = (np.clip(np.arange(n), *self.centres(a)[[0, -1]]) for a, n in enumerate(out.shape))
        for c, nodes in enumerate(grid):
            across = np.array([np.interp(x, self.centres(1), row) for row in nodes])
            whole = np.array([np.interp(y, self.centres(0), column) for column in across.T]).T
            out[self.channel == c] = whole[self.channel == c]
        return out

    def nearest(self, grid: np.ndarray) -> np.ndarray:
        """A grid at the nearest tile."""
        down, across = (
            np.abs(np.arange(n)[:, None] - self.centres(a)).argmin(axis=1)
            for a, n in enumerate(self.values.shape)
        )
        return np.float32(grid)[self.channel, down[:, None], across]

    def stands(self, level: np.ndarray, sigma: np.ndarray, least: float) -> np.ndarray:
        """By how many sigma each pixel stands out."""
        mean, noise = self.smooth(level), self.smooth(sigma)
        out = np.zeros(self.values.shape)
        single = len(np.unique(self.cell)) == self.cell.size
        sy, sx = self.cell.shape if single else (1, 1)
        reach = 3 if single else 6
        height, width = self.values.shape
        for y, x in np.argwhere(np.abs(self.values - mean) > least * noise):
            v = np.arange(y - reach * sy, y + reach * sy + 1, sy)
            u = np.arange(x - reach * sx, x + reach * sx + 1, sx)
            v, u = v[(v >= 0) & (v < height)], u[(u >= 0) & (u < width)]
            own = (self.channel[np.ix_(v, u)] == self.channel[y, x]) & ((v[:, None] != y) | (u != x))
            beside = self.values[np.ix_(v, u)][own]
            beside = beside[np.isfinite(beside)]
            if beside.size >= 3:
                middle = np.median(beside)
                close = abs(middle - mean[y, x]) < 0.8 * noise[y, x]
                out[y, x] = (self.values[y, x] - (mean[y, x] if close else middle)) / noise[y, x]
        return out


def clipped(values: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation of what lies within four sigma."""
    if values.size < 4:
        return np.nan, np.nan
    part = values[:: max(1, values.size // 200)]
    centre = np.median(part)
    spread = 1.4826 * np.median(np.abs(part - centre))
    if spread == 0:
        spread = 1.2533 * np.abs(values - centre).mean()
    for _ in range(5):
        good = values[np.abs(values - centre) <= 4 * spread]
        before, centre, spread = spread, good.mean(), good.std()
        if abs(before - spread) <= 1e-3 * spread:
            break
    return centre, spread


def bad_lines(far: np.ndarray) -> np.ndarray:
    """Pieces of 64 pixels of a row or column of which more than half lie *far* to one side."""
    bad = np.zeros(far.shape, bool)
    for here, out in ((far, bad), (far.T, bad.T)):
        length = len(here)
        for start in {*range(0, length - 63, 64), max(0, length - 64)}:
            out[start : start + 64, here[start : start + 64].mean(axis=0) > 0.5] = True
    return bad


def flags_of_dark(dark: xr.Dataset, pattern: str, gain: float | None) -> np.ndarray:
    y0, x0 = int(dark.y[0]), int(dark.x[0])
    known = dark.flags.values
    frame = Frame(dark.signal.values, pattern, y0, x0)
    level, sigma = frame.measure()
    scatter, _ = Frame(dark.variance.values, pattern, y0, x0).measure()
    used = Frame(np.where(known & fl.NO_DATA, np.nan, dark.signal.values), pattern, y0, x0)
    share = min(np.median(np.sqrt(np.maximum(scatter, 0)) / sigma), 1.0)
    stands = used.stands(level, sigma, 1.5)
    stands /= np.sqrt(1 + share**2 * (1 / np.clip(dark.n_kept.values / COUNT, 1e-3, 1) - 1))
    found = np.where(stands > max(5 - 1.15 * share, 2.5), fl.HOT, 0) | np.where(stands < -5, fl.COLD, 0)
    found |= np.where(known & fl.SATURATED, fl.HOT | fl.SATURATED, 0)
    limit = stats.chi2.isf(1e-6, COUNT - 1) / (COUNT - 1)
    expected, variance = frame.nearest(scatter), dark.variance.values
    if gain:
        charge = np.where(stands != 0, np.maximum(frame.values - frame.nearest(level), 0), 0)
        unstable = variance > limit * (expected + charge / gain / COUNT)
    else:
        unstable = (variance > limit * expected) & (stands == 0)
    found |= np.where(unstable, fl.UNSTABLE, 0)
    return found | np.where(bad_lines(stands > 3) | bad_lines(stands < -3), fl.BAD_LINE, 0)


def flags_of_flat(flat: xr.Dataset, pattern: str) -> np.ndarray:
    y0, x0 = int(flat.y[0]), int(flat.x[0])
    known = flat.flags.values
    frame = Frame(flat.signal.values, pattern, y0, x0)
    level, sigma = frame.measure(shadows=True)
    used = Frame(np.where(known & fl.NO_DATA, np.nan, flat.signal.values), pattern, y0, x0)
    stands = used.stands(level, sigma, 8.0)
    excess = flat.signal.values / frame.nearest(level) - 1
    cold, bad = (stands < -8) & (excess < -0.2), (stands > 8) & (excess > 0.2)
    return np.where(cold, fl.COLD, 0) | np.where(bad, fl.BAD_FLAT, 0) | (known & fl.BAD_FLAT)


def master(shape: tuple[int, int], pattern: str, seed: int, *, flat: bool = False) -> xr.Dataset:
    """A master with glow, channels of different levels, bad pixels and lines of every kind, and missing data."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    y0, x0 = rng.integers(0, 12, 2).tolist()
    level = 100 + 150 * np.exp(-np.hypot(y - shape[0], x) / 40)
    if pattern:
        index = Pattern(pattern).index
        level += 40 * index[(y + y0) % index.shape[0], (x + x0) % index.shape[1]]
    signal = level + rng.normal(0, 4, shape)
    odd = rng.random(shape)
    signal[odd < 0.01] += 10 ** rng.uniform(0.8, 4, shape)[odd < 0.01]
    signal[odd > 0.995] *= 0.5
    signal[:, shape[1] // 3] += 25
    signal[shape[0] // 2 :, shape[1] // 4] -= 25
    signal[shape[0] // 5] += 25
    signal[rng.random(shape) < 0.01] = np.nan
    signal[3:9, 4:30] = np.nan
    signal[rng.random(shape) < 0.001] = np.inf
    variance = 16 * rng.chisquare(COUNT - 1, shape) / (COUNT - 1)
    variance[rng.random(shape) < 0.004] *= 12
    variance[rng.random(shape) < 0.01] = np.nan
    flags = np.where(rng.random(shape) < 0.01, fl.NO_DATA, 0)
    flags |= np.where(rng.random(shape) < 0.002, fl.SATURATED, 0)
    flags |= np.where(rng.random(shape) < 0.002, fl.BAD_FLAT, 0)
    flags[-6:, :20] |= fl.NO_DATA
    kept = np.minimum(COUNT, rng.integers(3, 3 * COUNT, shape))
    dims = ("y", "x")
    data = {
        "signal": (dims, (signal / 100 if flat else signal).astype("f4")),
        "variance": (dims, variance.astype("f4")),
        "flags": (dims, flags.astype("u2")),
        "n_kept": (dims, kept.astype("u2")),
    }
    attrs = {"cfa": pattern, "units": "1" if flat else "adu", "n_frames": COUNT, "kind": "dark"}
    coords = {"y": y0 + np.arange(shape[0]), "x": x0 + np.arange(shape[1])}
    return xr.Dataset(data, coords=coords, attrs=attrs)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("shape", [(193, 131), (64, 90), (53, 201)])
def test_a_dark(pattern: str, shape: tuple[int, int]) -> None:
    dark = master(shape, pattern, sum(shape))
    for gain in (None, 0.7):
        found = find_defects(dark=dark, gain=gain).flags.values
        np.testing.assert_array_equal(found, flags_of_dark(dark, pattern, gain))
    for flag in (fl.HOT, fl.COLD, fl.SATURATED, fl.UNSTABLE, fl.BAD_LINE):
        assert (found & flag).any(), fl.flag_names(flag)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_flat(pattern: str) -> None:
    flat = master((193, 131), pattern, 5, flat=True)
    found = find_defects(flat=flat).flags.values
    np.testing.assert_array_equal(found, flags_of_flat(flat, pattern))
    assert (found & fl.COLD).any()
    assert (found & fl.BAD_FLAT).any()


def test_whole_numbers_of_which_most_are_equal() -> None:
    dark = master((130, 140), "GBRG", 9)
    rng = np.random.default_rng(9)
    values = rng.choice([100.0, 101.0], (130, 140), p=[0.9, 0.1])
    values[rng.random(values.shape) < 0.004] = 130
    dark["signal"] = (("y", "x"), values.astype("f4"))
    found = find_defects(dark=dark).flags.values
    np.testing.assert_array_equal(found, flags_of_dark(dark, "GBRG", None))


def test_from_a_file_and_with_any_number_of_threads(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path_factory.mktemp("masters") / "dark.fits"
    dark = master((193, 131), "GBRG", 3)
    save(dark, path)
    found = find_defects(dark=dark)
    for workers in (1, 3):
        monkeypatch.setattr("calibkit.threads.worker_count", lambda count=workers: count)
        again = find_defects(dark=open_result(path))
        np.testing.assert_array_equal(again.flags, found.flags)
        np.testing.assert_array_equal(again.points, found.points)
