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
    values: Sequence[float], *, jump: float, gap: float = math.inf, fewest: int = 3, span: float = math.inf
) -> list[list[int]]:
    """Indices of *values* in clusters that are parted at their gaps.

    Parameters
    ----------
    values : sequence of float
        NaN is unknown and makes a cluster of its own.
    jump : float
        Two neighbours further apart than this are parted, however few stay on either side.
    gap : float
        Two neighbours further apart than this are parted when the gap stands out and *fewest* or more stay on
        both sides.
    fewest : int
        See *gap*.
    span : float
        A cluster wider than this is parted, however few stay: at a gap that stands out, or in the middle of a
        drift.

    Examples
    --------
    A slow drift stays together, a jump does not:

    >>> by_gap([-22.2, -21.3, -20.4, -10.0], jump=3.0)
    [[0, 1, 2], [3]]
    """
    done: list[list[int]] = []
    waiting = [_order(values)]
    while waiting:
        cluster = waiting.pop()
        cut = _cut([values[i] for i in cluster], jump, gap, fewest, span)
        if cut:
            waiting += [cluster[:cut], cluster[cut:]]
        elif cluster:
            done.append(cluster)
    return sorted(done, key=lambda cluster: values[cluster[0]]) + _unknown(values)


def _cut(ordered: list[float], jump: float, gap: float, fewest: int, span: float) -> int:
    """Where to part these sorted values: index of the first of the upper part, 0 when they stay together."""
    steps = [b - a for a, b in pairwise(ordered)]
    if not steps:
        return 0
    width = ordered[-1] - ordered[0]
    stands_out = 2 * width / len(steps)  # twice the mean step
    largest = max(range(len(steps)), key=lambda i: (steps[i], -i))
    if steps[largest] > jump + 1e-9:
        return largest + 1
    if width > span + 1e-9:
        if steps[largest] > stands_out:
            return largest + 1
        middle = (ordered[0] + ordered[-1]) / 2
        return 1 + min(range(len(steps)), key=lambda i: abs((ordered[i] + ordered[i + 1]) / 2 - middle))
    inner = range(fewest - 1, len(steps) - fewest + 1)
    largest = max(inner, key=lambda i: (steps[i], -i), default=-1)
    return largest + 1 if largest >= 0 and steps[largest] > max(gap, stands_out) + 1e-9 else 0


def by_nearest(values: Sequence[float], anchors: Sequence[float]) -> list[list[int]]:
    """Indices of *values* by the anchor that is nearest; all together when there is no choice.

    >>> by_nearest([20.0, 21.0, 26.0], [19.0, 25.0])
    [[0, 1], [2]]
    """
    clusters: dict[float, list[int]] = {}
    for i, value in enumerate(values):
        nearest = min(anchors, key=lambda anchor: (abs(anchor - value), anchor), default=0.0)
        clusters.setdefault(nearest, []).append(i)
    return [clusters[anchor] for anchor in sorted(clusters)]


def _order(values: Sequence[float]) -> list[int]:
    return sorted(
        (i for i, value in enumerate(values) if not math.isnan(value)), key=lambda i: (values[i], i)
    )


def _unknown(values: Sequence[float]) -> list[list[int]]:
    unknown = [i for i, value in enumerate(values) if math.isnan(value)]
    return [unknown] if unknown else []
