"""What rejection costs, what it can do, and whether the variance that is stated is the one that is there."""

from __future__ import annotations

import importlib
import math
import warnings
from functools import lru_cache

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from calibkit import SettingError, can_reject, combine
from calibkit.combining import REJECTIONS, make_efficiency
from calibkit.combining.efficiency import COUNTS, LIMITS, efficiency, simulate, table
from calibkit.combining.plan import METHODS

SIGMAS = [r for r in REJECTIONS.values() if r.low_is.startswith("standard")]

#: Noise of the mean after rejection over that of the plain mean, for normal samples: published by others,
#: from simulations with about 0.5 % of error (5, 10, 11, 20, 50 frames).
KNOWN_NOISE = {
    "mean_sigma": (1.00, 1.00, 1.01, 1.01, 1.01),
    "sigma": (1.00, 1.00, 1.01, 1.01, 1.01),
    "mad": (1.11, 1.07, 1.08, 1.05, 1.03),
    "winsorized": (1.04, 1.04, 1.05, 1.03, 1.02),
    "linear_fit": (1.00, 1.00, 1.01, 1.02, 1.06),
    "gesd": (1.02, 1.04, 1.04, 1.03, 1.01),
    "leave_one_out": (1.14, 1.06, 1.06, 1.04, 1.02),
    "noise_model": (1.03, 1.02, 1.02, 1.02, 1.02),
}
#: The same source: percentage of +50 σ samples that are found.
KNOWN_HITS = {
    "mean_sigma": (0, 0, None, 100, 100),  # with n for divisor there, which lets 11 frames reach further
    "sigma": (0, 100, 100, 100, 100),
    "mad": (100, 100, 100, 100, 100),
    "winsorized": (99.7, 100, 100, 100, 100),
    "linear_fit": (0, 0, 0, 100, 100),
    "gesd": (100, 100, 100, 100, 100),
    "leave_one_out": (100, 100, 100, 100, 100),
    "noise_model": (100, 100, 100, 100, 100),
}
KNOWN_COUNTS = (5, 10, 11, 20, 50)


def normal(n: int, pixels: int, seed: int = 99) -> np.ndarray:
    return np.random.default_rng(seed).normal(1000, 10, (n, 1, pixels)).astype("f4")


def moments_of_rank(rank: int, n: int) -> tuple[float, float]:
    """Variance and kurtosis of the sample of that rank, from 1, among *n* of a normal distribution."""
    x, step = np.linspace(-10, 10, 20_001, retstep=True)
    density = stats.beta.pdf(stats.norm.cdf(x), rank, n - rank + 1) * stats.norm.pdf(x) * step
    away = x - density @ x
    variance = density @ away**2
    return float(variance), float(density @ away**4 / variance**2)


def run(values: np.ndarray | xr.Dataset, **options: object) -> xr.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stack = values
        if isinstance(values, np.ndarray):
            stack = xr.DataArray(values, dims=("frame", "y", "x"))
        stack = stack.assign_attrs(pedestal=1000.0)
        if options.get("reject") == "noise_model":
            options |= {"gain": 1e9, "read_noise": 1e10}
        return combine(stack, **options)


class TestTable:
    @pytest.mark.parametrize("reject", KNOWN_NOISE)
    def test_noise_is_what_others_found(self, reject: str) -> None:
        default = REJECTIONS[reject]
        ours = [efficiency(reject, n, default.low, default.high).mean for n in KNOWN_COUNTS]
        np.testing.assert_allclose(ours, KNOWN_NOISE[reject], atol=0.0125)

    def test_median_is_what_others_found(self) -> None:
        ours = [efficiency("none", n, 0, 0).median for n in KNOWN_COUNTS]
        np.testing.assert_allclose(ours, (1.19, 1.17, 1.23, 1.21, 1.24), atol=0.0125)
        assert efficiency("none", 100_001, 0, 0).median == pytest.approx(math.sqrt(math.pi / 2), rel=0.01)

    @pytest.mark.parametrize("reject", KNOWN_HITS)
    @pytest.mark.parametrize("at", range(5))
    def test_stray_samples_are_found_as_others_found(self, reject: str, at: int) -> None:
        n, known = KNOWN_COUNTS[at], KNOWN_HITS[reject][at]
        if known is None:
            return
        values = normal(n, 2000)
        values[n // 2] += 500
        found = run(values, reject=reject, normalise="none")
        assert 100 * float(found.rejected_fraction[n // 2]) == pytest.approx(known, abs=0.5)

    @pytest.mark.parametrize("n", [n for n in COUNTS if n > 3])
    @pytest.mark.parametrize("reject", ["none", "minmax"])
    def test_order_statistics_are_what_their_integrals_say(self, reject: str, n: int) -> None:
        """Nothing or the outermost samples left out: each result is a sample of known rank; within 4 sigma."""
        default = REJECTIONS[reject]
        kept, dropped = table()[reject, default.low, default.high][n], int(default.low)
        ranks = {"minimum": 1 + dropped, "maximum": n - dropped} | ({"median": n // 2 + 1} if n % 2 else {})
        pixels = min(make_efficiency.PIXELS, make_efficiency.SAMPLES // n)
        for name, rank in ranks.items():
            variance, kurtosis = moments_of_rank(rank, n)
            error = math.sqrt((kurtosis - 1) / pixels) / 2
            assert getattr(kept, name) == pytest.approx(math.sqrt(n * variance), rel=4 * error)

    def test_holds_every_method_limit_and_count(self) -> None:
        for rejection in REJECTIONS.values():
            if rejection.name == "percentile":
                continue
            assert set(table()[rejection.name, rejection.low, rejection.high]) == set(COUNTS)
        for rejection in SIGMAS:
            assert all((rejection.name, limit, limit) in table() for limit in LIMITS)

    @pytest.mark.parametrize("reject", ["sigma", "winsorized", "gesd"])
    def test_is_what_the_script_makes(self, reject: str) -> None:
        r = REJECTIONS[reject]
        now = simulate(r, 12, r.low, r.high, pixels=60_000, seed=5)
        kept = table()[reject, r.low, r.high][12]
        assert now.false == pytest.approx(kept.false, rel=0.1, abs=1e-4)
        assert now.mean == pytest.approx(kept.mean, abs=0.003)
        assert now.scatter == pytest.approx(kept.scatter, abs=0.003)
        assert now.count == pytest.approx(kept.count, abs=0.002)

    @pytest.mark.parametrize("reject", ["sigma", "winsorized"])
    @pytest.mark.parametrize(("n", "limit"), [(18, 3.0), (12, 2.6), (70, 3.2)])
    def test_between_its_entries_it_is_close(self, reject: str, n: int, limit: float) -> None:
        there = efficiency(reject, n, limit, limit)
        now = simulate(REJECTIONS[reject], n, limit, limit, pixels=60_000, seed=6)
        assert there.mean == pytest.approx(now.mean, abs=0.004)
        assert there.scatter == pytest.approx(now.scatter, abs=0.006)
        assert there.false == pytest.approx(now.false, rel=0.12)


@lru_cache(maxsize=1)
def normal_frames(n: int) -> tuple[np.ndarray, float]:
    """Frames of a noise of 10, and by how much chance has taken the variance of their mean from σ²/n."""
    values = normal(n, 150_000)
    return values, float(values.mean(axis=0, dtype=float).var() / (100 / n))


def check_stated(found: xr.Dataset, chance: float) -> None:
    """The mean of the stated variances is the variance of the results."""
    scatter = float(found.signal.var(dtype=float)) / chance
    assert float(found.variance.mean(dtype=float)) == pytest.approx(scatter, rel=0.02)


@pytest.mark.parametrize("n", [5, 10, 20, 50])
@pytest.mark.parametrize("reject", REJECTIONS)
@pytest.mark.parametrize("method", METHODS)
def test_stated_variance_is_the_scatter(method: str, reject: str, n: int) -> None:
    values, chance = normal_frames(n)
    check_stated(run(values, method=method, reject=reject, normalise="none"), chance)


@pytest.mark.parametrize("n", [5, 10, 20, 50])
@pytest.mark.parametrize("reject", REJECTIONS)
@pytest.mark.parametrize("method", METHODS)
def test_carried_variance_is_the_scatter(method: str, reject: str, n: int) -> None:
    values, chance = normal_frames(n)
    variance = (("frame", "y", "x"), np.full_like(values, 100))
    stack = xr.Dataset({"signal": (("frame", "y", "x"), values), "variance": variance})
    check_stated(run(stack, method=method, reject=reject, normalise="none"), chance)


@pytest.mark.parametrize(
    ("reject", "low", "high", "options"),
    [
        ("sigma", 2.0, 3.5, {}),
        ("winsorized", 2.2, 2.2, {"max_iterations": 1}),
        ("mad", 2.4, 2.4, {"keep": 6}),
        ("minmax", 0, 2, {}),
        ("percentile", 0.02, 0.025, {}),  # 2 and 2.5 σ of these frames
    ],
)
def test_stated_variance_of_unusual_settings(
    reject: str, low: float, high: float, options: dict[str, int]
) -> None:
    values = normal(12, 60_000)
    found = run(values, reject=reject, low=low, high=high, **options)
    chance = values.mean(axis=0, dtype=float).var() / (100 / 12)
    assert float(found.variance.mean(dtype=float)) == pytest.approx(
        float(found.signal.var(dtype=float)) / chance, rel=0.02
    )


def test_stated_variance_where_samples_are_missing() -> None:
    values = normal(20, 60_000)
    values[5:, :, ::2] = np.nan  # 5 samples in every other pixel
    found = run(values, reject="leave_one_out").isel(y=0)
    for half in (slice(0, None, 2), slice(1, None, 2)):
        part = found.isel(x=half)
        assert float(part.variance.mean(dtype=float)) == pytest.approx(
            float(part.signal.var(dtype=float)), rel=0.03
        )


class TestCanReject:
    @pytest.mark.parametrize("n", [4, 6, 9, 10, 11, 30])
    @pytest.mark.parametrize("reject", ["sigma", "mean_sigma", "linear_fit"])
    def test_the_largest_deviation_is_where_rejection_begins(self, reject: str, n: int) -> None:
        largest = can_reject(reject, n, 1, 1).largest
        values = np.full((n, 1, 1), 100.0)
        values[0] = 200.0
        for limit, rejects in ((largest * 1.001, False), (largest * 0.999, True)):
            assert can_reject(reject, n, limit, limit, keep=1).can == rejects
            found = run(values, reject=reject, low=limit, high=limit, keep=1, max_iterations=1)
            assert bool(found.rejected_high.sum() == 1) == rejects

    def test_no_sample_can_lie_further_out(self) -> None:
        values = np.random.default_rng(0).standard_cauchy((9, 20_000))
        deviation = np.abs(values - values.mean(axis=0)) / values.std(axis=0, ddof=1)
        assert deviation.max() <= can_reject("mean_sigma", 9).largest == pytest.approx(8 / 3)
        values = np.random.default_rng(0).normal(size=(9, 20_000))
        values[4] = 1e9
        about_median = (1e9 - np.median(values, axis=0)) / values.std(axis=0, ddof=1)
        np.testing.assert_allclose(about_median, can_reject("sigma", 9).largest, rtol=1e-6)

    @pytest.mark.parametrize(
        ("reject", "minimum"),
        [("mean_sigma", 11), ("sigma", 10), ("linear_fit", 14), ("gesd", 4), ("mad", 4)],
    )
    def test_the_least_number_of_frames(self, reject: str, minimum: int) -> None:
        assert can_reject(reject, 5).minimum == minimum
        assert can_reject(reject, minimum)
        assert not can_reject(reject, minimum - 1)

    def test_each_side_by_itself(self) -> None:
        reach = can_reject("mean_sigma", 10, 2.5, 3)
        assert (reach.can_low, reach.can_high, reach.can) == (True, False, True)
        assert "low samples only" in reach.message
        assert reach.minimum == 11

    def test_what_nothing_can_reject(self) -> None:
        assert not can_reject("none", 100)
        assert can_reject("gesd", 100, 0.0, 0.05).minimum is None
        assert not can_reject("noise_model", 2)
        assert not can_reject("winsorized", 30, keep=30)
        assert "always keeps 30" in can_reject("winsorized", 30, keep=30).message

    def test_cost_is_told(self) -> None:
        reach = can_reject("mad", 10)
        assert reach.efficiency == pytest.approx(1 / 1.07**2, abs=0.02)
        assert 0.01 < reach.false_rejection < 0.05
        assert math.isnan(can_reject("percentile", 5).efficiency)

    def test_nonsense_is_refused(self) -> None:
        with pytest.raises(SettingError, match="allowed are 'none', 'minmax'"):
            can_reject("sigmas", 10)
        with pytest.raises(SettingError, match="at least 1 frame"):
            can_reject("sigma", 0)


def test_many_frames_are_simulated_as_the_most_that_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """An even number stays even, and an odd one odd: their medians differ."""
    module = importlib.import_module("calibkit.combining.efficiency")
    monkeypatch.setattr(module, "_live", lambda _reject, n, *_options: n)
    counts = [efficiency("sigma", n, 2.7, 3.1, iterations=3) for n in (40, 41, 501, 5000, 5001)]
    assert counts == [40, 41, 501, 500, 501]
