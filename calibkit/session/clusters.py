"""Numbers into clusters: exposures, gains and temperatures that count as one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise


def by_tolerance(values: Sequence[float], tolerance: Callable[[float], float]) -> list[list[int]]:
    """Indices of *values* in clusters no wider than the tolerance of their smallest member.

    Unknown values (NaN) make a cluster of their own, the last one.

    >>> by_tolerance([30.0, 60.0, 30.02, float("nan")], lambda value: 0.05)
    [[0, 2], [1], [3]]
    """
    clusters: list[list[int]] = []
    for i in _order(values):
        start = values[clusters[-1][0]] if clusters else math.nan
        if clusters and values[i] - start <= tolerance(start) + 1e-9:
            clusters[-1].append(i)
        else:
            clusters.append([i])
    return clusters + _unknown(values)


def by_gap(
    values: Sequence[float], *, gap: float, span: float = math.inf, fewest: int = 1
) -> list[list[int]]:
    """Indices of *values* in clusters that are parted at their gaps.

    Parameters
    ----------
    values : sequence of float
        NaN is unknown and makes a cluster of its own.
    gap : float
        Two neighbours further apart than this begin a new cluster, when on both sides stay *fewest* or more.
    span : float
        A cluster wider than this is parted however few stay: at its largest gap, or in the middle of a drift
        that has no gap.

    Examples
    --------
    A slow drift stays together, a jump does not:

    >>> by_gap([-22.2, -21.3, -20.4, -10.0], gap=1.0)
    [[0, 1, 2], [3]]
    """
    done: list[list[int]] = []
    waiting = [_order(values)]
    while waiting:
        cluster = waiting.pop()
        steps = [values[b] - values[a] for a, b in pairwise(cluster)]
        if not steps:
            done += [cluster] if cluster else []
            continue
        wide = values[cluster[-1]] - values[cluster[0]] > span + 1e-9
        at = range(len(steps)) if wide else range(fewest - 1, len(steps) - fewest + 1)
        cut = max(at, key=lambda i: (steps[i], -i), default=None)
        clear = cut is not None and steps[cut] > gap + 1e-9
        if wide and not clear:
            middle = (values[cluster[0]] + values[cluster[-1]]) / 2
            cut = min(at, key=lambda i: abs((values[cluster[i]] + values[cluster[i + 1]]) / 2 - middle))
        if cut is None or not (wide or clear):
            done.append(cluster)
        else:
            waiting += [cluster[: cut + 1], cluster[cut + 1 :]]
    return sorted(done, key=lambda cluster: values[cluster[0]]) + _unknown(values)


def _order(values: Sequence[float]) -> list[int]:
    return sorted(
        (i for i, value in enumerate(values) if not math.isnan(value)), key=lambda i: (values[i], i)
    )


def _unknown(values: Sequence[float]) -> list[list[int]]:
    unknown = [i for i, value in enumerate(values) if math.isnan(value)]
    return [unknown] if unknown else []
