"""Choosing a rejection: ``reject="auto"``."""

from __future__ import annotations

import numpy as np

from calibkit.combining.reading import StackReader

#: Rows at the top of the stack that tell whether the numbers are coarse.
_SAMPLE_ROWS = 8
_SAMPLE_FRAMES = 16
_SAMPLE_PIXELS = 6000
#: Noise in steps of whole numbers below which equal samples are common and one step looks like an outlier.
_COARSE = 1.0


def choose_rejection(
    method: str, n: int, *, noise_known: bool, coarse: bool = False, limits: bool = False
) -> tuple[str, str]:
    """Name of the rejection for *n* frames, and why.

    Where *limits* are given it is one whose limits are standard deviations, or it says that they are not used.

    Parameters
    ----------
    method : str
        How the kept samples are combined.
    noise_known : bool
        Gain, read noise and offset level are known, so that a sample's noise can be computed.
    coarse : bool
        The frames are whole numbers and their noise is below one, see `is_coarse`.
    limits : bool
        Limits are given, in standard deviations.
    """
    name, why = _choose(method, n, noise_known=noise_known, coarse=coarse, limits=limits)
    return name, f"{why}; low and high are not used" if limits and name == "none" else why


def _choose(method: str, n: int, *, noise_known: bool, coarse: bool, limits: bool) -> tuple[str, str]:
    if method == "median":
        return "none", "a median is hardly moved by outliers as it is"
    if method in ("minimum", "maximum"):
        return "none", f"a {method} is asked for, and rejection would change what that means"
    if n < 3:
        return "none", f"{n} frame{'s' if n > 1 else ''} cannot tell which sample is astray"
    if noise_known:
        return (
            "noise_model",
            "gain and read noise are known, and give the noise of every sample from 3 frames on",
        )
    if coarse:
        return (
            "none",
            "the noise of these whole numbers is below one step, so that many samples are equal and the next number "
            + "would pass for an outlier; give gain= and read_noise= to reject by the noise model",
        )
    if n < 4:
        return "none", "3 frames do not tell an outlier from noise unless gain and read noise are known"
    if n < 7 and limits:
        return (
            "mad" if n == 4 else "winsorized",
            f"low and high are given, and of the methods that take limits in σ this one costs least with {n} frames",
        )
    if n < 7:
        return (
            "gesd",
            f"with {n} frames only a test that knows how few they are leaves good samples alone: it costs 2 % of noise, "
            + "the same limit in σ for any number 5 to 20 %",
        )
    if n < 30:
        return (
            "winsorized",
            f"with {n} frames the spread has to be shielded from outliers while it is measured",
        )
    return (
        "sigma",
        f"with {n} frames a few outliers hardly stretch the standard deviation, and little is lost",
    )


def is_coarse(reader: StackReader) -> bool:
    """Whether the frames are whole numbers whose scatter from frame to frame is below one step."""
    n, height, width = reader.shape
    if reader.dtype.kind not in "iu" or n < 2:
        return False
    chosen = np.unique(np.linspace(0, n - 1, min(n, _SAMPLE_FRAMES)).astype(int))
    step = max(1, min(_SAMPLE_ROWS, height) * width // _SAMPLE_PIXELS)
    rows = [
        reader.read_strips(int(i), [(0, min(_SAMPLE_ROWS, height))])[0].ravel()[::step].astype(np.float64)
        for i in chosen
    ]
    level = [np.nanmedian(row) if np.isfinite(row).any() else 0.0 for row in rows]
    moved = np.array(rows) - np.array(level)[:, None]  # frames of another level, such as flats
    scatter = np.std(moved[:, np.isfinite(moved).all(axis=0)], axis=0, ddof=1)
    return bool(scatter.size and np.median(scatter) < _COARSE)
