"""Every rejection method against an oracle written for one pixel in plain numpy, or somebody else's code."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr
from astropy.stats import sigma_clip
from scipy import stats

from calibkit import combine

#: Rosner 1983, Technometrics 25, 165: the 54 values of his example, as in the NIST/SEMATECH e-Handbook 1.3.5.17.3.
ROSNER = """
-0.25 0.68 0.94 1.15 1.20 1.26 1.26 1.34 1.38 1.43 1.49 1.49 1.55 1.56 1.58 1.65 1.69 1.70 1.76 1.77 1.81 1.91
1.94 1.96 1.99 2.06 2.09 2.10 2.14 2.15 2.23 2.24 2.26 2.35 2.37 2.40 2.47 2.54 2.62 2.64 2.90 2.92 2.92 2.93
3.21 3.26 3.30 3.59 3.68 4.30 4.64 5.34 5.42 6.01
"""


def samples(n: int, pixels: int = 240, *, dtype: str = "f4", seed: int = 0) -> np.ndarray:
    """Normal noise with one stray sample in a third of the pixels and two in some; some are missing."""
    rng = np.random.default_rng(seed + n)
    values = rng.normal(1000, 20, (n, pixels))
    values[rng.integers(0, n, pixels // 3), np.arange(pixels // 3)] += rng.choice(
        [-300, 90, 400], pixels // 3
    )
    values[rng.integers(0, n, pixels // 9), np.arange(pixels // 9)] += 250
    values = values.astype(dtype)
    if values.dtype.kind == "f":
        values[rng.integers(0, n, 25), rng.integers(0, pixels, 25)] = np.nan
    return values


def run(values: np.ndarray, reject: str, **options: object) -> xr.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that some settings can reject nothing is tested elsewhere
        return combine(xr.DataArray(values[:, None], dims=("frame", "y", "x")), reject=reject, **options)


def check(
    values: np.ndarray, reject: str, oracle: Callable[[np.ndarray], np.ndarray], **options: object
) -> xr.Dataset:
    """Compare with *oracle*, which says of one pixel's samples which are kept."""
    found = run(values, reject, **options)
    for pixel in range(values.shape[1]):
        column = values[:, pixel].astype(float)
        column = column[np.isfinite(column)]
        keep = oracle(column)
        kept = column[keep]
        assert int(found.n_kept[0, pixel]) == len(kept), (pixel, column, kept)
        assert float(found.signal[0, pixel]) == pytest.approx(kept.mean(), rel=3e-7)
        centre = np.median(kept)
        low = int(((column < centre) & ~keep).sum())
        assert (int(found.rejected_low[0, pixel]), int(found.rejected_high[0, pixel])) == (
            low,
            (~keep).sum() - low,
        )
    return found


def clip(
    column: np.ndarray,
    limits: Callable[[np.ndarray], tuple[float, float, float]],
    *,
    low: float,
    high: float,
    keep: int,
    iterations: int = 1000,
) -> np.ndarray:
    """Clip until nothing changes; *limits* gives centre and the units of the two limits."""
    kept = np.ones(len(column), bool)
    for _ in range(iterations):
        if kept.sum() <= max(keep, 2):
            break
        centre, below, above = limits(column[kept])
        excess = np.maximum((centre - column) - low * below, (column - centre) - high * above)
        out = np.flatnonzero(kept & (excess > 0))
        out = out[np.argsort(-excess[out])][: kept.sum() - keep]
        if len(out) == 0:
            break
        kept[out] = False
    return kept


@pytest.mark.parametrize("n", [4, 7, 12, 25, 60])
@pytest.mark.parametrize("dtype", ["f4", "u2", "f8"])
def test_sigma_is_that_of_astropy(n: int, dtype: str) -> None:
    values = samples(n, dtype=dtype)
    found = run(values, "sigma", low=2.5, high=2.0, keep=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy tells of NaN
        theirs = sigma_clip(
            values.astype(float),
            sigma_lower=2.5,
            sigma_upper=2.0,
            maxiters=None,
            cenfunc="median",
            stdfunc=lambda a, axis: np.nanstd(a, axis=axis, ddof=1),
            axis=0,
        )
    np.testing.assert_array_equal(found.n_kept[0], (~theirs.mask).sum(axis=0))
    np.testing.assert_allclose(found.signal[0], theirs.mean(axis=0), rtol=3e-7)


@pytest.mark.parametrize("n", [9, 20, 41])
def test_sigma_where_the_level_is_less_than_the_noise(n: int) -> None:
    """Of pixels that are all there, those are told apart first in which nothing can lie outside."""
    values = (np.nan_to_num(samples(n, 2000), nan=1000) - 1000) / 20
    found = run(values, "sigma", low=2.5, high=2.0, keep=1)
    theirs = sigma_clip(
        values.astype(float),
        sigma_lower=2.5,
        sigma_upper=2.0,
        maxiters=None,
        cenfunc="median",
        stdfunc=lambda a, axis: np.nanstd(a, axis=axis, ddof=1),
        axis=0,
    )
    np.testing.assert_array_equal(found.n_kept[0], (~theirs.mask).sum(axis=0))


def test_sigma_with_an_iteration_limit_is_that_of_astropy() -> None:
    values = samples(15)
    found = run(values, "mean_sigma", low=2.0, high=2.0, keep=1, max_iterations=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = sigma_clip(
            values.astype(float),
            sigma=2.0,
            maxiters=2,
            cenfunc="mean",
            stdfunc=lambda a, axis: np.nanstd(a, axis=axis, ddof=1),
            axis=0,
        )
    np.testing.assert_array_equal(found.n_kept[0], (~theirs.mask).sum(axis=0))
    assert float(found.n_kept.min()) < 13


@pytest.mark.parametrize("n", [5, 12, 31])
@pytest.mark.parametrize("keep", [2, 4, 11])
def test_at_least_so_many_stay_and_the_most_deviant_go_first(n: int, keep: int) -> None:
    def limits(kept: np.ndarray) -> tuple[float, float, float]:
        sigma = kept.std(ddof=1)
        return np.median(kept), sigma, sigma

    check(
        samples(n),
        "sigma",
        lambda c: clip(c, limits, low=0.7, high=0.9, keep=keep),
        low=0.7,
        high=0.9,
        keep=keep,
    )


@pytest.mark.parametrize("n", [3, 6, 11, 24, 75])
@pytest.mark.parametrize("iterations", [1, 100])
def test_mad(n: int, iterations: int) -> None:
    def limits(kept: np.ndarray) -> tuple[float, float, float]:
        sigma = stats.median_abs_deviation(kept, scale="normal")
        return np.median(kept), sigma, sigma

    check(
        samples(n),
        "mad",
        lambda c: clip(c, limits, low=3, high=2.5, keep=3, iterations=iterations),
        low=3,
        high=2.5,
        max_iterations=iterations,
    )


def test_mad_of_samples_that_are_mostly_equal_is_not_zero() -> None:
    values = np.full((11, 2), 100, "u2")
    values[3, 0], values[4, 1] = 101, 400
    found = run(values, "mad", low=5, high=5)
    np.testing.assert_array_equal(found.rejected_high[0], [1, 1])
    values[5:8, 0] = 101  # 4 of 11: no outliers, though the MAD is zero
    assert int(run(values, "mad").rejected_high[0, 0]) == 0


def winsorized(column: np.ndarray, low: float, high: float) -> np.ndarray:
    def limits(kept: np.ndarray) -> tuple[float, float, float]:
        centre, sigma, pulled = np.median(kept), kept.std(ddof=1), kept
        while True:
            before = sigma
            pulled = np.clip(pulled, centre - 1.5 * sigma, centre + 1.5 * sigma)
            sigma = 1.134 * pulled.std(ddof=1)
            if abs(sigma - before) <= 5e-4 * before:
                return centre, sigma, sigma

    return clip(column, limits, low=low, high=high, keep=4)


@pytest.mark.parametrize("n", [5, 8, 20, 51])
@pytest.mark.parametrize("dtype", ["f4", "u2", "f8"])
def test_winsorized(n: int, dtype: str) -> None:
    check(samples(n, dtype=dtype), "winsorized", lambda c: winsorized(c, 3, 2), low=3, high=2)


def winsorized_counts(values: np.ndarray, low: float, high: float, keep: int) -> np.ndarray:
    """Samples kept in each pixel of (samples, pixels) without gaps: the definition, for many pixels at a time."""
    s = np.sort(values.astype(float), axis=0)
    rank = np.arange(len(s))[:, None]
    first, last = np.zeros(s.shape[1], int), np.full(s.shape[1], len(s))
    active = np.arange(s.shape[1])
    while active.size:
        a, b = first[active], last[active]
        inside = (rank >= a) & (rank < b)
        column = s[:, active]
        at = np.arange(active.size)
        centre = 0.5 * (column[(a + b - 1) // 2, at] + column[(a + b) // 2, at])
        pulled = np.where(inside, column - centre, np.nan)
        sigma, going = np.nanstd(pulled, axis=0, ddof=1), np.ones(active.size, bool)
        for _ in range(50):
            now = np.clip(pulled[:, going], -1.5 * sigma[going], 1.5 * sigma[going])
            pulled[:, going] = now
            before = sigma[going]
            sigma[going] = 1.134 * np.nanstd(now, axis=0, ddof=1)
            going[going] = np.abs(sigma[going] - before) > 5e-4 * before
            if not going.any():
                break
        lost = np.zeros(active.size, bool)
        while True:
            under = centre - column[a, at] - low * sigma
            over = column[b - 1, at] - centre - high * sigma
            drop = (np.maximum(under, over) > 0) & (b - a > keep)
            if not drop.any():
                break
            a += drop & (under > over)
            b -= drop & (under <= over)
            lost |= drop
        first[active], last[active] = a, b
        active = active[lost & (b - a > max(keep, 2))]
    return last - first


@pytest.mark.parametrize("dtype", ["u2", "f4"])
@pytest.mark.parametrize(
    ("n", "low", "high", "keep"),
    [(20, 3, 3, 4), (20, 2, 2.5, 6), (9, 1.6, 1.6, 3), (33, 1.8, 2.2, 4), (5, 2.5, 2.5, 4)],
)
def test_winsorized_of_many_pixels(n: int, low: float, high: float, keep: int, dtype: str) -> None:
    rng = np.random.default_rng(n)
    values = rng.normal(3000, 150, (n, 20_000))
    values[rng.random(values.shape) < 0.02] += 900  # several in some pixels, of every size beside the noise
    values[rng.random(values.shape) < 0.01] *= rng.uniform(0.5, 2)
    values = values.round().astype(dtype) if dtype == "u2" else values.astype(dtype)
    found = run(values, "winsorized", low=low, high=high, keep=keep)
    expected = winsorized_counts(values, low, high, keep)
    assert (expected < n).mean() > 0.05
    # in single precision a sample may fall to the other side of a limit that it all but touches
    assert (found.n_kept.values[0] != expected).sum() <= 1


def line_clip(column: np.ndarray, low: float, high: float, *, siril: bool = False) -> np.ndarray:
    """Clip about the line through the sorted samples; as Siril 1.0.6 does with *siril*."""
    order = np.argsort(column, kind="stable")
    kept = list(order)
    rank = np.arange(len(kept))
    lost = 0
    while len(kept) > (3 if siril else 4):
        y = column[kept]
        if not siril:
            rank = np.arange(len(kept))
        x = np.arange(len(kept))
        slope = ((x - rank.mean()) * (y - y.mean())).mean() / rank.var()
        residual = y - (y.mean() - slope * rank.mean()) - slope * x
        spread = np.abs(residual).mean()
        stay = []
        for r, index in zip(residual, kept, strict=True):
            out = (-r > low * spread or r > high * spread) and len(kept) - lost > 4
            lost += out
            if not out:
                stay.append(index)
        if not siril:
            lost = 0
        if len(stay) == len(kept):
            break
        kept = stay
    result = np.zeros(len(column), bool)
    result[kept] = True
    return result


@pytest.mark.parametrize("n", [5, 14, 20, 40])
@pytest.mark.parametrize("limits", [(5, 5), (3, 2)])
def test_linear_fit(n: int, limits: tuple[float, float]) -> None:
    values = samples(n)
    found = run(values, "linear_fit", low=limits[0], high=limits[1])
    for pixel in range(values.shape[1]):
        column = values[:, pixel].astype(float)
        column = column[np.isfinite(column)]
        kept = column[line_clip(column, *limits)]
        assert int(found.n_kept[0, pixel]) == len(kept)
        assert float(found.signal[0, pixel]) == pytest.approx(kept.mean(), rel=3e-7)


def test_a_sample_in_the_middle_can_be_off_the_line() -> None:
    column = np.r_[np.arange(0, 10.0), 30.2, 30.4, 30.6, 30.8, np.arange(31, 41.0)]
    values = np.random.default_rng(0).permutation(column)[:, None].astype("f4")
    found = run(values, "linear_fit", low=1.5, high=1.5)
    kept = column[line_clip(column, 1.5, 1.5)]
    assert 4 <= len(kept) < 24
    assert float(found.signal[0, 0]) == pytest.approx(kept.mean(), rel=1e-6)
    lost = values[found.rejected_fraction.values > 0, 0]
    np.testing.assert_array_equal(np.sort(lost), np.setdiff1d(column, kept).astype("f4"))


def rosner(column: np.ndarray, fraction: float, significance: float) -> np.ndarray:
    n = len(column)
    left = list(range(n))
    removed, outliers = [], 0
    for i in range(1, int(fraction * n + 1e-9) + 1):
        if len(left) <= 2:
            break
        here = column[left]
        worst = int(np.argmax(np.abs(here - here.mean())))
        r = abs(here[worst] - here.mean()) / here.std(ddof=1)
        t = stats.t.ppf(1 - significance / (2 * (n - i + 1)), n - i - 1)
        removed.append(left.pop(worst))
        if r > (n - i) * t / np.sqrt((n - i - 1 + t**2) * (n - i + 1)):
            outliers = i
    keep = np.ones(n, bool)
    keep[removed[:outliers]] = False
    return keep


@pytest.mark.parametrize("n", [4, 7, 20, 45])
@pytest.mark.parametrize("dtype", ["f4", "u2"])
def test_gesd(n: int, dtype: str) -> None:
    check(samples(n, dtype=dtype), "gesd", lambda c: rosner(c, 0.3, 0.05))


def test_rosners_example_has_exactly_three_outliers() -> None:
    values = np.array(ROSNER.split(), float)
    found = run(np.random.default_rng(5).permutation(values)[:, None], "gesd", low=10 / 54, high=0.05)
    assert int(found.rejected_high[0, 0]) == 3
    assert int(found.rejected_low[0, 0]) == 0
    assert float(found.signal[0, 0]) == pytest.approx(values[:-3].mean(), rel=1e-6)


def test_gesd_finds_outliers_that_hide_each_other() -> None:
    values = np.random.default_rng(2).normal(0, 1, (20, 50))
    values[3], values[11], values[12] = 1e9, 1.01e9, -1e9
    found = run(values, "gesd")
    assert (found.n_kept.values <= 17).all()
    assert float(np.abs(found.signal).max()) < 1.5


@pytest.mark.parametrize("n", [4, 9, 30])
def test_leave_one_out(n: int) -> None:
    def oracle(column: np.ndarray) -> np.ndarray:
        if len(column) < 3:
            return np.ones(len(column), bool)
        others = [np.delete(column, i) for i in range(len(column))]
        z = np.array([(x - rest.mean()) / rest.std(ddof=1) for x, rest in zip(column, others, strict=True)])
        out = (z < -3) | (z > 4)
        return ~out

    values = samples(n)
    check(values, "leave_one_out", oracle, low=3, high=4)


@pytest.mark.parametrize(("low", "high"), [(1, 1), (0, 2), (3, 1), (2, 0)])
@pytest.mark.parametrize("dtype", ["f4", "u2"])
def test_minmax(low: int, high: int, dtype: str) -> None:
    def oracle(column: np.ndarray) -> np.ndarray:
        keep = np.ones(len(column), bool)
        order = np.argsort(column)
        keep[order[:low]] = False
        keep[order[len(column) - high :]] = False
        return keep

    values = samples(11, dtype=dtype)
    found = run(values, "minmax", low=low, high=high)
    for pixel in range(values.shape[1]):
        column = values[:, pixel].astype(float)
        column = column[np.isfinite(column)]
        assert float(found.signal[0, pixel]) == pytest.approx(column[oracle(column)].mean(), rel=3e-7)
    assert (found.rejected_low == low).all()
    assert (found.rejected_high == high).all()


def test_of_equal_samples_the_right_number_goes() -> None:
    values = np.array([5, 5, 5, 5, 7, 7, 7, 7], "u2")[:, None]
    found = run(values, "minmax", low=2, high=1)
    assert float(found.signal[0, 0]) == pytest.approx(np.mean([5, 5, 7, 7, 7]))
    assert float(found.rejected_fraction.sum()) == 3


@pytest.mark.parametrize("n", [3, 6])
def test_percentile(n: int) -> None:
    values = samples(n)
    values[:, 0] -= 2000  # a level that is not above zero is left alone

    def oracle(column: np.ndarray) -> np.ndarray:
        m = np.median(column)
        if m <= 0 or len(column) < 3:
            return np.ones(len(column), bool)
        return ~((m - column > 0.2 * m) | (column - m > 0.1 * m))

    check(values, "percentile", oracle)


@pytest.mark.parametrize("n", [3, 8, 30])
def test_noise_model(n: int) -> None:
    gain, read_noise = 2.0, 30.0

    def limits(kept: np.ndarray) -> tuple[float, float, float]:
        centre = np.median(kept)
        sigma = np.sqrt((read_noise / gain) ** 2 + max(centre - 200, 0) / gain)
        return centre, sigma, sigma

    values = samples(n)
    stack = xr.DataArray(values[:, None], dims=("frame", "y", "x"), attrs={"pedestal": 200.0})
    found = combine(stack, reject="noise_model", low=2.5, high=3.5, gain=gain, read_noise=read_noise)
    for pixel in range(values.shape[1]):
        column = values[:, pixel].astype(float)
        column = column[np.isfinite(column)]
        kept = column[clip(column, limits, low=2.5, high=3.5, keep=1)]
        assert int(found.n_kept[0, pixel]) == len(kept)
        assert float(found.signal[0, pixel]) == pytest.approx(kept.mean(), rel=3e-7)


def test_noise_model_of_frames_that_differ_in_level() -> None:
    """Faint flats, scaled up, may scatter more than bright ones."""
    rng = np.random.default_rng(4)
    level = np.array([40000.0] * 6 + [2500.0] * 6)
    values = rng.normal(level[:, None, None], np.sqrt(level)[:, None, None], (12, 120, 130)).astype("f4")
    stack = xr.DataArray(
        values,
        dims=("frame", "y", "x"),
        coords={"kind": ("frame", ["flat"] * 12)},
        attrs={"bias_subtracted": True},
    )
    found = combine(stack, gain=1.0, read_noise=0.0)
    assert found.attrs["provenance"][-1]["reject"] == "noise_model"
    # 2 (1 − Φ(3)) = 0.27 %, and more in the bright frames, whose own noise the median's comes near
    assert found.rejected_fraction.values[:6].mean() == pytest.approx(0.008, abs=0.003)
    assert found.rejected_fraction.values[6:].mean() == pytest.approx(0.003, abs=0.0015)
    counted = (found.rejected_low + found.rejected_high).sum() / found.signal.size
    assert float(counted) == pytest.approx(found.rejected_fraction.values.sum())


def test_averaged_sigma_learns_the_noise_of_each_row() -> None:
    rng = np.random.default_rng(6)
    level = np.linspace(200, 30000, 40)[:, None]
    values = rng.poisson(level, (7, 40, 600)).astype("f4") * 2  # gain 0.5 electrons per ADU
    struck = rng.random(values.shape) < 0.001
    struck[1:] &= ~np.logical_or.accumulate(struck, axis=0)[:-1]  # one sample of a pixel at most
    values[struck] += 8 * 2 * np.sqrt(np.broadcast_to(level, values.shape)[struck])
    stack = xr.DataArray(values, dims=("frame", "y", "x"))
    found = combine(stack, reject="averaged_sigma", low=4, high=4)
    hit = struck.any(axis=0)
    assert (found.rejected_high.values[hit] > 0).mean() > 0.99
    assert ((found.rejected_low + found.rejected_high).values[~hit] > 0).mean() < 0.005
