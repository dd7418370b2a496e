"""A bias frame or master as plots show it: its histogram beside that of pure noise, its rows and its columns."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr

from calibkit.bias.interference import LineStructure, line_structure
from calibkit.calibration.levels import sites_of
from calibkit.cfa import channel_index
from calibkit.display.stretch import histogram
from calibkit.noise import Measurement, measure_read_noise

#: The histogram reaches so many standard deviations of the noise to both sides of the levels.
_REACH = 8.0


@dataclass(frozen=True)
class BiasSummary:
    """What `summarise_bias` found.

    Attributes
    ----------
    level : dict of str to float
        Median of each channel, in ADU.
    read_noise : Measurement
        Of one frame, from differences of frames.
    expected_noise : float
        What is left of it in this picture, in ADU: over √n in a mean of n frames.
    counts, edges : numpy.ndarray
        Histogram of the picture.
    noise_counts : numpy.ndarray
        What the histogram would be if there were nothing but a level for each channel and this noise.
    outside : int
        Pixels beyond the histogram's ends.
    rows, columns : LineStructure
        Of the mean of the frames.
    """

    level: dict[str, float]
    read_noise: Measurement
    expected_noise: float
    counts: np.ndarray
    edges: np.ndarray
    noise_counts: np.ndarray
    outside: int
    rows: LineStructure
    columns: LineStructure


def summarise_bias(picture: xr.DataArray, frames: xr.DataArray, *, combined: int = 1) -> BiasSummary:
    """Histogram, read noise and line profiles of a bias.

    Parameters
    ----------
    picture : xarray.DataArray
        One frame, or the signal of a master, ``(y, x)``, ADU, with the same pixels as *frames*.
    frames : xarray.DataArray
        Two or more bias frames ``(frame, y, x)``, in memory: what the noise is measured on.
    combined : int
        Frames in the picture.

    Returns
    -------
    BiasSummary

    Raises
    ------
    MismatchError
        Fewer than two frames.
    SettingError
        Frames below 32 × 32 pixels.

    Examples
    --------
    >>> frames = xr.DataArray(np.random.default_rng(0).normal(100, 5, (4, 64, 64)), dims=("frame", "y", "x"))
    >>> found = summarise_bias(frames[0], frames)
    >>> round(found.expected_noise), round(found.level["L"]), int(found.counts.sum() + found.outside)
    (5, 100, 4096)
    """
    from scipy.special import ndtr

    noise = measure_read_noise(frames)
    cell, channels = channel_index(frames)
    values = picture.values.astype(np.float64)
    planes = {
        name: np.concatenate([values[site].ravel() for site in sites_of(cell, number)])
        for number, name in enumerate(channels)
    }
    planes = {name: plane[np.isfinite(plane)] for name, plane in planes.items()}
    level = {name: float(np.median(plane)) if plane.size else math.nan for name, plane in planes.items()}
    sigma = {name: noise[name] / math.sqrt(combined) for name in channels}
    widest = max(max(sigma.values()), 0.2)
    low, high = min(level.values()) - _REACH * widest, max(level.values()) + _REACH * widest
    known = np.concatenate(list(planes.values()))
    # The mean of n whole numbers goes in steps of 1/n: bins of so many whole steps, or they would beat with each other.
    steps = combined if frames.dtype.kind in "ui" else 1
    scaled = np.rint(known * steps) if steps > 1 else known
    counts, edges = histogram(scaled, low * steps, high * steps, bins=100)
    edges = edges / steps
    expected = np.zeros(counts.size)
    for name, plane in planes.items():
        cumulative = ndtr((edges - level[name]) / max(sigma[name], 1e-6))
        expected += plane.size * np.diff(cumulative)
    rows, columns = line_structure(frames)
    typical = math.sqrt(sum(s * s for s in sigma.values()) / len(sigma))
    return BiasSummary(
        level, noise, typical, counts, edges, expected, int(known.size - counts.sum()), rows, columns
    )
