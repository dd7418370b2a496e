"""What a combination costs and what its variance is: a simulated table, and the simulation behind it.

`efficiency.csv` holds, for stacks of n normally distributed samples, what each method does to them. It is
made by ``python -m calibkit.combining.make_efficiency``. Settings that are not in it are simulated when
they are asked for.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields
from functools import lru_cache
from importlib import resources

import numpy as np

from calibkit.combining.plan import Noise, Plan
from calibkit.combining.rejections import REJECTIONS, Rejection

#: Methods of combination that differ in noise; a sum has that of the mean.
SIMULATED = ("mean", "median", "minimum", "maximum")
#: Limits that the table has, for the methods whose limits are standard deviations.
LIMITS = (1.5, 2.0, 2.25, 2.5, 2.75, 3.0, 3.5, 4.0, 5.0)
COUNTS = (*range(2, 17), 20, 21, 30, 31, 50, 51, 100, 101, 500, 501)
#: Samples that an unforeseen setting is simulated with.
LIVE_SAMPLES = 2_000_000
LIVE_MOST = 100_000
_LEVEL = 1000.0


@dataclass(frozen=True)
class Efficiency:
    """What a rejection does to n samples of a normal distribution without outliers.

    ``false`` is the fraction of the samples that it rejects. ``mean`` … ``maximum`` are the standard
    deviations of the combined value, in those of a plain mean. ``scatter`` and ``count`` are the averages
    of (sample variance of the kept)/k and of 1/k, k the number kept, in units of what they are without
    rejection.
    """

    false: float
    mean: float
    median: float
    minimum: float
    maximum: float
    scatter: float
    count: float

    def variance_factors(self, method: str) -> tuple[float, float]:
        """Variance of the result over (scatter/k), and over (variance of a sample)/k."""
        noise = getattr(self, "mean" if method == "sum" else method) ** 2
        return noise / self.scatter, noise / self.count


NAMES = tuple(field.name for field in fields(Efficiency))
_NO_COST = Efficiency(0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)


def simulate(
    rejection: Rejection,
    n: int,
    low: float,
    high: float,
    *,
    iterations: int | None = None,
    keep: int | None = None,
    pixels: int,
    seed: int = 20,
) -> Efficiency:
    """Combine *pixels* stacks of *n* normal samples and see what comes out.

    Noise and scatter are taken relative to those of the plain mean of the same samples, which removes most
    of what chance does.
    """
    from calibkit.combining.bands import OUTPUTS, BandCombiner
    from calibkit.combining.reading import Band

    samples = np.random.default_rng(seed).normal(_LEVEL, 1.0, (n, 1, pixels)).astype(np.float32)
    plain = samples.mean(axis=0, dtype=np.float64)
    plain_scatter = float((samples.var(axis=0, ddof=1, dtype=np.float64) / n).mean())
    band = Band(samples, None, None)
    found: dict[str, float] = {}
    for method in SIMULATED:
        plan = bare_plan(method, rejection, n, low, high, iterations=iterations, keep=keep)
        out = {name: np.zeros((1, pixels), dtype) for name, dtype in OUTPUTS.items()}
        BandCombiner(plan, samples.dtype, pixels, flagged=False).combine(band, 0, out)
        found[method] = float(np.sqrt(out["signal"].var(dtype=np.float64) / plain.var()))
        if method == "mean":
            kept = out["n_kept"].astype(np.float64)
            found["false"] = float(1 - kept.mean() / n)
            found["count"] = float(n * (1 / kept).mean())
            known = out["variance"][kept > 1]  # where a single sample stays there is no scatter
            found["scatter"] = float(known.mean(dtype=np.float64)) / plain_scatter if known.size else 1.0
    return Efficiency(**found)


def bare_plan(
    method: str,
    rejection: Rejection,
    n: int,
    low: float,
    high: float,
    *,
    iterations: int | None = None,
    keep: int | None = None,
) -> Plan:
    """A plan for frames of unit noise that are not normalised, whose variance is scatter/k."""
    one = np.ones((n, 1))
    return Plan(
        method=method,
        rejection=rejection,
        low=low,
        high=high,
        iterations=rejection.iterations if iterations is None else iterations,
        keep=rejection.keep if keep is None else keep,
        n_frames=n,
        cell=np.zeros((1, 1), np.uint8),
        scale=None,
        zero=None,
        weight=None,
        relative=None,
        noise=Noise(one, 0 * one, 0 * one),
        scatter_factor=np.ones(n + 1),
        carried_factor=np.ones(n + 1),
        saturation=float("nan"),
    )


@lru_cache(maxsize=1)
def table() -> dict[tuple[str, float, float], dict[int, Efficiency]]:
    """The table: (rejection, low, high) → number of frames → what it does."""
    found: dict[tuple[str, float, float], dict[int, Efficiency]] = {}
    text = resources.files("calibkit.combining").joinpath("efficiency.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(line for line in text.splitlines() if not line.startswith("#")):
        key = (row["reject"], float(row["low"]), float(row["high"]))
        found.setdefault(key, {})[int(row["n"])] = Efficiency(*(float(row[name]) for name in NAMES))
    return found


def efficiency(
    reject: str,
    n: int,
    low: float,
    high: float,
    *,
    iterations: int | None = None,
    keep: int | None = None,
) -> Efficiency:
    """What the rejection does to *n* good samples: from the table, or simulated for settings not in it."""
    if n < 2:
        return _NO_COST
    if not tabled(reject, low, high, iterations=iterations, keep=keep):
        return _live(reject, min(n, COUNTS[-1] - (n + 1) % 2), float(low), float(high), iterations, keep)
    if (reject, low, high) in table():
        return _between_counts(table()[reject, low, high], n)
    grid = _grid(reject)
    at = int(np.clip(np.searchsorted(grid, low), 1, len(grid) - 1))
    below, above = (_between_counts(table()[reject, g, g], n) for g in grid[at - 1 : at + 1])
    share = (low - grid[at - 1]) / (grid[at] - grid[at - 1])
    return _between_limits(below, above, share, _between_counts(table()["none", 0.0, 0.0], n))


def tabled(
    reject: str, low: float, high: float, *, iterations: int | None = None, keep: int | None = None
) -> bool:
    """Whether the table answers for these settings."""
    rejection = REJECTIONS[reject]
    if iterations not in (None, rejection.iterations) or keep not in (None, rejection.keep):
        return False
    grid = _grid(reject)
    between = low == high and len(grid) > 1 and grid[0] <= low <= grid[-1]
    return between or (reject, low, high) in table()


def _grid(reject: str) -> list[float]:
    """Limits that the table has for a method, the same below and above."""
    return sorted(low for name, low, high in table() if name == reject and low == high)


@lru_cache(maxsize=512)
def _live(
    reject: str, n: int, low: float, high: float, iterations: int | None, keep: int | None
) -> Efficiency:
    pixels = min(LIVE_MOST, LIVE_SAMPLES // n)
    return simulate(REJECTIONS[reject], n, low, high, iterations=iterations, keep=keep, pixels=pixels)


def _between_counts(entries: dict[int, Efficiency], n: int) -> Efficiency:
    """Linear in 1/n between the counts of the table, odd and even apart since their medians differ."""
    if n in entries:
        return entries[n]
    counts = sorted(count for count in entries if count % 2 == n % 2)
    if n > counts[-1]:
        return entries[counts[-1]]
    at = int(np.searchsorted(counts, n))
    a, b = counts[at - 1], counts[at]
    return _mix(entries[a], entries[b], (1 / n - 1 / a) / (1 / b - 1 / a))


def _mix(a: Efficiency, b: Efficiency, share: float) -> Efficiency:
    return Efficiency(*((1 - share) * getattr(a, name) + share * getattr(b, name) for name in NAMES))


def _between_limits(a: Efficiency, b: Efficiency, share: float, none: Efficiency) -> Efficiency:
    """What rejection costs falls steeply with the limit: mix the logarithms of the differences from *none*."""
    mixed = []
    for name in NAMES:
        base = getattr(none, name)
        x, y = getattr(a, name) - base, getattr(b, name) - base
        if x * y > 0:
            mixed.append(base + np.copysign(abs(x) ** (1 - share) * abs(y) ** share, x))
        else:
            mixed.append(base + (1 - share) * x + share * y)
    return Efficiency(*map(float, mixed))
