"""How straight the signal grows with exposure (EMVA 1288)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import xarray as xr

from calibkit.noise import Measurement
from calibkit.sensor.tile_pairs import TilePair

#: The range of saturation that is fitted, and the levels and their span that make a judgement possible.
RANGE = (0.05, 0.95)
_LEAST_LEVELS, _LEAST_SPAN = 4, 3.0
#: The level of a frame's brighter tiles decides whether it is in range, so that no part of it is saturated.
_BRIGHT_SHARE = 98.0


@dataclass
class Exposures:
    """Levels above the darks of the frames of one exposure, one channel."""

    exposure: float
    levels: list[float] = field(default_factory=list)
    brightest: list[float] = field(default_factory=list)
    photon_error: float = 0.0  # of the mean level of one frame

    def __len__(self) -> int:
        return len(self.levels) // 2

    def add(self, first: float, second: float, signal: np.ndarray, tile: TilePair) -> None:
        """Add a pair: its two levels and what its tiles show."""
        self.levels += [first, second]
        self.brightest.append(float(np.nanpercentile(signal, _BRIGHT_SHARE)))
        self.photon_error = math.sqrt(float(np.nanmean(tile.variance)) / (signal.size * tile.pixels))


@dataclass(frozen=True)
class Linearity:
    """Deviations from a straight line.

    Attributes
    ----------
    error : Measurement
        Linearity error per channel: the mean of the absolute deviations, as a share of the signal (unit 1).
    curve : xarray.Dataset
        Dims ``(channel, exposure)``: ``level`` in ADU above the darks, ``deviation`` from the line as a share of it and
        ``deviation_error``; NaN outside of 5–95 % of saturation.
    """

    error: Measurement
    curve: xr.Dataset

    def __str__(self) -> str:
        return f"linearity error {self.error}"


def fit_linearity(
    exposures: list[list[Exposures]], channels: tuple[str, ...], limits: list[float]
) -> tuple[Linearity | None, str]:
    """Fit a straight line to the levels between 5 and 95 % of saturation.

    Parameters
    ----------
    exposures : list of list of Exposures
        For every channel, by exposure.
    channels : tuple of str
    limits : list of float
        Saturation above the darks, ADU, of every channel; NaN where not known: then nothing is left out at the top.

    Returns
    -------
    Linearity or None
        Of the channels that have enough exposures.
    str
        What channels have not, and why.

    Notes
    -----
    EMVA Standard 1288, release 4.0, chapter 6.9: line a₀ + a₁·t with weights 1/level², that is for least relative
    deviations; the linearity error is the mean of their absolute values. The light has to be constant: a lamp
    that warms up shows as a deviation. Errors come from the scatter of frames of one exposure (pooled over
    exposures), or the photon noise of the means if that is larger. A linearity error below its own error is an
    upper limit: noise alone makes deviations.
    """
    if any(not math.isfinite(e.exposure) for group in exposures for e in group):
        return None, "the exposures of the flats are not known; assign them: flats.assign_coords(exposure=…)"
    times = sorted({e.exposure for group in exposures for e in group})
    values: dict[str, float] = {}
    errors: dict[str, float] = {}
    tables: list[np.ndarray] = []
    lacking: list[str] = []
    pairs = 0
    for name, group, limit in zip(channels, exposures, limits, strict=True):
        low, high = (RANGE[0] * limit, RANGE[1] * limit) if limit > 0 else (0.0, math.inf)
        used = [e for e in group if np.mean(e.levels) >= low and max(e.brightest) <= high]
        t = np.array([e.exposure for e in used])
        if len(used) < _LEAST_LEVELS or t.max() < _LEAST_SPAN * t.min():
            lacking.append(f"{name} ({len(used)})")
            continue
        level = np.array([np.mean(e.levels) for e in used])
        deviation, covariance = _deviations(t, level, _level_errors(used, level))
        values[name] = float(np.mean(np.abs(deviation)))
        sign = np.sign(deviation) / deviation.size
        errors[name] = float(math.sqrt(sign @ covariance @ sign))
        row = np.full((3, len(times)), math.nan)
        row[:, [times.index(value) for value in t.tolist()]] = level, deviation, np.sqrt(np.diag(covariance))
        tables.append(row)
        pairs = max(pairs, sum(len(e) for e in used))
    why = ""
    if lacking:
        why = (
            f"{_LEAST_LEVELS} exposures between 5 and 95 % of saturation are needed, the longest {_LEAST_SPAN:g} times the "
            f"shortest at least; found in channel {', '.join(lacking)}"
        )
    if not tables:
        return None, why
    dims = ("channel", "exposure")
    table = np.stack(tables, axis=1)
    names = ("level", "deviation", "deviation_error")
    curve = xr.Dataset(
        {name: (dims, part) for name, part in zip(names, table, strict=True)},
        coords={"channel": list(values), "exposure": times},
    )
    curve["level"].attrs["units"], curve["exposure"].attrs["units"] = "adu", "s"
    return Linearity(Measurement(values, errors, "1", pairs), curve), why


def _level_errors(used: list[Exposures], level: np.ndarray) -> np.ndarray:
    """Standard error of the mean level of each exposure."""
    freedom = sum(len(e.levels) - 1 for e in used)
    squares = sum(float(np.sum((np.array(e.levels) / m - 1) ** 2)) for e, m in zip(used, level, strict=True))
    relative = math.sqrt(squares / freedom)
    photon = np.array([e.photon_error for e in used])
    return np.maximum(relative * level, photon) / np.sqrt([len(e.levels) for e in used])


def _deviations(t: np.ndarray, level: np.ndarray, sigma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Relative deviations from the weighted line and their covariance."""
    design = np.stack([np.ones_like(t), t], axis=1)
    weight = 1.0 / level**2
    hat = design @ np.linalg.solve(design.T @ (weight[:, None] * design), design.T * weight)
    line = hat @ level
    rest = (np.eye(t.size) - hat) / line[:, None]
    return (level - line) / line, rest @ np.diag(sigma**2) @ rest.T
