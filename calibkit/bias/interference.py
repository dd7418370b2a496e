"""Patterns in a bias: periodic interference from the power spectrum, rows and columns from their means.

A bias frame should hold an offset and readout noise. A pattern in it means radio-frequency interference or
a readout that differs from row to row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr

from calibkit.cfa import channel_index
from calibkit.errors import SettingError

#: At most this many pixels a side are looked at: a pattern that matters is there in the middle too.
_LARGEST = 1024
_SMALLEST = 32
#: Chance that noise alone shows a line anywhere in the spectrum.
_FALSE_ALARM = 1e-3


@dataclass(frozen=True)
class Wave:
    """One periodic pattern.

    Attributes
    ----------
    period : float
        Distance from crest to crest in pixels.
    direction : float
        Direction in which the wave runs, in degrees from the x axis towards the y axis, −90 to 90: 0 means
        upright stripes.
    amplitude, error : float
        Half the distance from crest to trough, in the frame's unit, averaged over the frames, and its error.
    significance : float
        Power over the mean power of the noise; `find_interference` says what noise alone reaches.
    frequency : tuple of float
        Cycles per pixel along y and x.
    """

    period: float
    direction: float
    amplitude: float
    error: float
    significance: float
    frequency: tuple[float, float]

    def __str__(self) -> str:
        return (
            f"period {self.period:.2f} pixels, direction {self.direction:+.1f}°, "
            f"amplitude {self.amplitude:.3f} ± {self.error:.3f}"
        )


@dataclass(frozen=True)
class LineStructure:
    """How much rows or columns differ from one another beyond noise.

    Attributes
    ----------
    axis : {"rows", "columns"}
    scatter : float
        Standard deviation of the true row (or column) offsets, in the frame's unit: the scatter of the means
        with the part that noise explains taken out; 0 where noise explains it all.
    expected : float
        Scatter of the means that noise alone would show.
    sigma : float
        By how many standard deviations the scatter of the means exceeds what noise explains.
    profile : numpy.ndarray
        Mean of every row or column minus the overall mean of its colour.
    """

    axis: str
    scatter: float
    expected: float
    sigma: float
    profile: np.ndarray


def find_interference(frames: xr.DataArray, *, most: int = 5) -> list[Wave]:
    """Find periodic patterns in bias frames (or darks), strongest first.

    Parameters
    ----------
    frames : xarray.DataArray
        ``(frame, y, x)`` or ``(y, x)``, at least 32 × 32 pixels; the middle 1024 × 1024 are used. The spectra of
        several frames are averaged, not the frames: interference comes with another phase in every frame.
    most : int
        Look for at most this many.

    Returns
    -------
    list of Wave
        Empty where the spectrum shows nothing but noise. The chance that noise shows anything is 0.1 %.

    Raises
    ------
    SettingError
        Frames too small, or *most* below 1.

    Notes
    -----
    The spectrum of white noise has in every bin an exponentially distributed power; the mean over n frames
    follows a gamma distribution, from which the threshold comes for the number of bins looked at. The noise
    floor is the median over the spectrum. Means of colours, rows and columns are taken out first: fixed
    steps are no interference (see `line_structure`). A found wave is located between bins by its
    largest power, fitted in every frame with a phase of its own and taken out before the next is looked for.

    Examples
    --------
    >>> import calibkit
    >>> biases = calibkit.open_stack(calibkit.sample_session("ccd") / "bias/*")
    >>> print(calibkit.find_interference(biases)[0])
    period 9.00 pixels, direction +64.0°, amplitude 1.402 ± 0.004
    """
    if most < 1:
        msg = f"most={most}: a number of waves from 1 is wanted"
        raise SettingError(msg)
    cube = _middle(frames)
    n, height, width = cube.shape
    threshold = _threshold(n, height * width // 2)
    waves: list[Wave] = []
    while len(waves) < most:
        power = np.mean(np.abs(np.fft.rfft2(cube)) ** 2, axis=0)
        power[0, :] = power[:, 0] = 0.0  # rows' and columns' means are gone
        floor = np.median(power[1:, 1:]) / _median_of_mean(n)
        place = np.unravel_index(int(np.argmax(power)), power.shape)
        ratio = float(power[place] / floor) if floor > 0 else 0.0
        if ratio < threshold:
            break
        fy, fx = _refine(cube, place)
        fitted, amplitudes = _fit(cube, fy, fx)
        cube = cube - fitted
        noise = math.sqrt(floor / (height * width))  # of one pixel
        error = noise * math.sqrt(2.0 / (height * width * n))
        # the power of noise adds to the power of the wave
        squared = float(np.mean(amplitudes**2)) - 4 * noise**2 / (height * width)
        if fx < 0 or (fx == 0 and fy < 0):
            fy, fx = -fy, -fx
        waves.append(
            Wave(
                period=1.0 / math.hypot(fy, fx),
                direction=math.degrees(math.atan2(fy, fx)),
                amplitude=math.sqrt(max(0.0, squared)),
                error=error,
                significance=ratio,
                frequency=(fy, fx),
            )
        )
    return sorted(waves, key=lambda wave: -wave.amplitude)


def power_spectrum(frames: xr.DataArray, *, most: int = 256) -> xr.DataArray:
    """Power of a bias by frequency, over that of its noise: a periodic pattern is a bright spot.

    Parameters
    ----------
    frames : xarray.DataArray
        As for `find_interference`, which looks for its waves in this spectrum.
    most : int
        Rows and columns of the result at most. Of the frequencies that share a place the strongest counts, so that no
        line is lost.

    Returns
    -------
    xarray.DataArray
        float32, dims ``(fy, fx)`` in cycles per pixel, from −0.5 to 0.5 and from 0 to 0.5; the mean power of the noise
        is 1.

    Raises
    ------
    SettingError
        Frames too small.

    Examples
    --------
    >>> import numpy as np
    >>> wave = np.sin(2 * np.pi * np.arange(64) / 4) + np.random.default_rng(0).normal(0, 1, (3, 64, 64))
    >>> spectrum = power_spectrum(xr.DataArray(wave + np.arange(64)[:, None] % 2, dims=("frame", "y", "x")))
    >>> spectrum.shape, 0.8 < float(spectrum.median()) < 1.0
    ((64, 33), True)
    """
    cube = _middle(frames)
    power = np.mean(np.abs(np.fft.rfft2(cube)) ** 2, axis=0)
    floor = np.median(power[1:, 1:]) / _median_of_mean(len(cube))
    power = np.fft.fftshift(power / (floor if floor > 0 else 1.0), axes=0)
    fy = np.fft.fftshift(np.fft.fftfreq(cube.shape[1]))
    fx = np.fft.rfftfreq(cube.shape[2])
    by, bx = (-(-n // most) for n in power.shape)
    rows, columns = np.arange(0, power.shape[0], by), np.arange(0, power.shape[1], bx)
    power = np.maximum.reduceat(np.maximum.reduceat(power, rows, axis=0), columns, axis=1)
    coords = {"fy": np.add.reduceat(fy, rows) / np.add.reduceat(np.ones_like(fy), rows)}
    coords["fx"] = np.add.reduceat(fx, columns) / np.add.reduceat(np.ones_like(fx), columns)
    return xr.DataArray(power.astype(np.float32), coords, ("fy", "fx"))


def line_structure(frames: xr.DataArray) -> tuple[LineStructure, LineStructure]:
    """Measure whether rows, and columns, differ by more than noise explains.

    Parameters
    ----------
    frames : xarray.DataArray
        Bias frames ``(frame, y, x)``, averaged first, or one frame or master ``(y, x)``.

    Returns
    -------
    rows, columns : LineStructure

    Raises
    ------
    SettingError
        Frames below 32 × 32 pixels.

    Examples
    --------
    >>> import calibkit
    >>> biases = calibkit.open_stack(calibkit.sample_session("ccd") / "bias/*")
    >>> rows, columns = calibkit.line_structure(biases)
    >>> round(rows.scatter, 1), round(columns.scatter, 1)
    (0.4, 0.7)
    """
    image = _cube(frames, frames.sizes["y"], frames.sizes["x"]).mean(axis=0)
    found = []
    for axis, name in ((1, "rows"), (0, "columns")):
        other = image - image.mean(axis=1 - axis, keepdims=True)  # the other axis' structure is not noise
        profile = image.mean(axis=axis) - image.mean()
        inside = other - other.mean(axis=axis, keepdims=True)
        noise = 1.4826 * np.median(np.abs(inside))
        expected = float(noise / math.sqrt(image.shape[axis]))
        total = float(1.4826 * np.median(np.abs(profile - np.median(profile))))
        scatter = math.sqrt(max(0.0, float(np.var(profile, ddof=1)) - expected**2))
        error = expected * 1.166 / math.sqrt(profile.size)  # of a scale from the median deviation
        sigma = (total - expected) / error if error > 0 else 0.0
        found.append(LineStructure(name, scatter if sigma > 0 else 0.0, expected, sigma, profile))
    return found[0], found[1]


def _middle(frames: xr.DataArray) -> np.ndarray:
    """The middle of the frames, free of the means of colours, rows and columns and of single bright pixels."""
    cube = _cube(frames, _LARGEST, _LARGEST)
    for frame in cube:
        for _ in range(2):
            frame -= np.median(frame, axis=1, keepdims=True)
            frame -= np.median(frame, axis=0, keepdims=True)
        limit = 5 * 1.4826 * np.median(np.abs(frame))
        frame[np.abs(frame) > limit] = 0.0  # hot pixels: white, and much louder than the noise
        frame -= frame.mean(axis=1, keepdims=True)
        frame -= frame.mean(axis=0, keepdims=True)
    return cube


def _cube(frames: xr.DataArray, rows: int, columns: int) -> np.ndarray:
    """(frame, y, x) in float64, each colour free of its own mean."""
    if not {"y", "x"} <= set(frames.dims) or min(frames.sizes["y"], frames.sizes["x"]) < _SMALLEST:
        msg = (
            f"frames with dims (y, x) of at least {_SMALLEST} × {_SMALLEST} pixels are wanted to tell a pattern from noise; "
            f"found {dict(frames.sizes)}"
        )
        raise SettingError(msg)
    height, width = frames.sizes["y"], frames.sizes["x"]
    y0, x0 = max(0, (height - rows) // 2), max(0, (width - columns) // 2)
    part = frames.isel(y=slice(y0, y0 + rows), x=slice(x0, x0 + columns))
    cell, _ = channel_index(part)
    cube = np.array(part.transpose(..., "y", "x").values, dtype=np.float64, ndmin=3)
    py, px = cell.shape
    for i in range(py):
        for j in range(px):
            plane = cube[:, i::py, j::px]
            plane -= np.median(plane, axis=(1, 2), keepdims=True)
    return cube


def _threshold(n: int, bins: int) -> float:
    """Mean power over n frames, in units of its expectation, that noise passes in *bins* bins with a small chance."""
    from scipy import special

    return float(special.gammainccinv(n, _FALSE_ALARM / bins) / n)


def _median_of_mean(n: int) -> float:
    """Median of the mean of n exponential variables of mean 1."""
    from scipy import special

    return float(special.gammaincinv(n, 0.5) / n)


def _refine(cube: np.ndarray, place: tuple[np.intp, ...]) -> tuple[float, float]:
    """Frequency between bins with the largest mean power."""
    from scipy import optimize

    height, width = cube.shape[1:]
    y, x = np.arange(height), np.arange(width)
    bin_y = int(place[0]) if place[0] <= height // 2 else int(place[0]) - height

    def loss(shift: np.ndarray) -> float:
        along_y = _wave((bin_y + shift[0]) / height * y)
        along_x = _wave((int(place[1]) + shift[1]) / width * x)
        norm = np.vdot(along_y, along_y).real * np.vdot(along_x, along_x).real
        # Real sums without BLAS: its threads cost more than they bring for two columns, and much more on a busy machine.
        parts = np.einsum("nyx,xk->nyk", cube, np.stack([along_x.real, along_x.imag], axis=1))
        sums = np.einsum("y,ny->n", along_y, parts[..., 0] + 1j * parts[..., 1])
        return -float(np.mean(np.abs(sums) ** 2) / max(norm, 1e-9))

    best = optimize.minimize(
        loss,
        np.zeros(2),
        method="Nelder-Mead",
        options={"xatol": 1e-4, "initial_simplex": [[0, 0], [0.3, 0], [0, 0.3]]},
    )
    shift = best.x if np.abs(best.x).max() <= 1 else np.zeros(2)
    return (bin_y + float(shift[0])) / height, (int(place[1]) + float(shift[1])) / width


def _wave(cycles: np.ndarray) -> np.ndarray:
    """A wave free of its mean, as the frames are free of the means of rows and columns."""
    wave = np.exp(-2j * np.pi * cycles)
    return wave - wave.mean()


def _fit(cube: np.ndarray, fy: float, fx: float) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares wave of this frequency in every frame, and its amplitude there."""
    height, width = cube.shape[1:]
    wave = np.outer(_wave(fy * np.arange(height)), _wave(fx * np.arange(width))).ravel()
    waves = np.stack([wave.real, wave.imag], axis=1)
    if np.abs(wave.imag).max() < 1e-6:  # the highest frequency along both axes has one phase only
        waves = waves[:, :1]
    weights = np.linalg.lstsq(waves, cube.reshape(len(cube), -1).T, rcond=None)[0]
    return (waves @ weights).T.reshape(cube.shape), np.sqrt(np.sum(weights**2, axis=0))
