"""Rows and columns that are shifted as a whole."""

from __future__ import annotations

import math

import numpy as np

from calibkit.diagnosis.evidence import Evidence
from calibkit.diagnosis.finding import Finding, judged, unclear
from calibkit.diagnosis.patterns import level_of, spread_of
from calibkit.diagnosis.sampling import Sample

#: Line to line, per cent of the noise of a pixel.
_TOLERANCE, _GRAVE = 10.0, 25.0
#: Frames that are looked at.
_FRAMES = 4
#: Pixels further out than this many sigma are stars.
_CLIP = 3.5


def banding(ev: Evidence) -> list[Finding]:
    """Rows or columns that are shifted as a whole, in lights or the result."""
    name, unit = "banding", "% of the noise of a pixel"
    sample = ev.get("result") or ev.get("light")
    if sample is None:
        return [unclear(name, ev.where, "there is no light.", unit=unit)]
    found = []
    for axis, lines in ((0, "rows"), (1, "columns")):
        number, error = _line_scatter(ev, sample, axis)
        bad = f"{lines} are shifted against each other by {number:.0f} % of the noise, which the eye sees as stripes."
        advice = (
            "Look for radio-frequency interference (find_interference on the biases) or a weak power supply; what "
            "is the same in every frame goes with bias or dark."
        )
        limits = {"tolerance": _TOLERANCE, "grave": _GRAVE}
        good = f"{lines} are not shifted."
        where = f"{sample.name} ({lines})"
        found.append(judged(name, where, number, error, unit, **limits, good=good, bad=bad, advice=advice))
    return found


def _line_scatter(ev: Evidence, sample: Sample, axis: int) -> tuple[float, float]:
    """Scatter of the offsets of rows (0) or columns (1), per cent of a pixel's noise, and its error.

    A line's mean is taken over two sets of tiles: what the two have in common is the line's, not noise. Neighbours
    are subtracted from each other, so that slopes of the sky drop out.
    """
    frames = sample.frames[:_FRAMES] if sample.raw else [sample.signal]
    offset = ev.offset if sample.kind == "light" and ev.offset is not None else 0.0
    common, power, count = 0.0, 0.0, 0
    for frame in frames:
        values = frame.astype(np.float32) - offset
        values = values - level_of(values)
        scatter = spread_of(values)
        values = np.where(np.abs(values) < _CLIP * scatter, values, 0) / np.where(scatter > 0, scatter, 1)
        first, second = (np.diff(_profile(ev, part, axis), axis=-1) for part in _two_sets(ev, values, axis))
        common += float((first * second).sum())
        power += float((first**2).sum() * (second**2).mean())
        count += first.size
    variance = common / count / 2
    error = 1.5 * math.sqrt(power) / count / 2  # 1.5: differences of neighbours are not independent
    scatter = math.sqrt(max(variance, 0.0))
    return 100 * scatter, 100 * (error / (2 * scatter) if variance > error else math.sqrt(error))


def _two_sets(ev: Evidence, values: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Every other tile of a row (0) or column (1) of tiles, and those between."""
    site, _, height, width = values.shape
    grid = values.reshape(site, ev.grid.rows.size, ev.grid.columns.size, height, width)
    return (grid[:, :, 0::2], grid[:, :, 1::2]) if axis == 0 else (grid[:, 0::2], grid[:, 1::2])


def _profile(ev: Evidence, part: np.ndarray, axis: int) -> np.ndarray:
    """Means of the lines in their order: (row of tiles, row) or (column of tiles, column)."""
    py, px = ev.grid.period
    _, down, across, height, width = part.shape
    cells = part.reshape(py, px, down, across, height, width)
    if axis == 0:
        return cells.mean(axis=(1, 3, 5)).transpose(1, 2, 0).reshape(down, height * py)
    return cells.mean(axis=(0, 2, 4)).transpose(1, 2, 0).reshape(across, width * px)
