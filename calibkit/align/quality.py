"""How good each light is, and which are not worth combining."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from calibkit.align.lights import Lights
from calibkit.align.stars import Stars, find_stars
from calibkit.errors import SettingError
from calibkit.progress import Progress, silent

if TYPE_CHECKING:
    import pandas as pd


def score(stars: Stars) -> float:
    """What a frame is worth as the reference: its stars, over the area of their images."""
    if len(stars) == 0:
        return 0.0
    return len(stars) * max(stars.detected, 1) ** 0.25 / float(np.median(stars.fwhm)) ** 2


def measure_quality(
    lights: Lights,
    *,
    stars: Sequence[Stars] | None = None,
    widest: float = 1.6,
    fewest: float = 0.4,
    brightest_sky: float = 3.0,
    roundest: float = 0.8,
    progress: Progress = silent,
) -> pd.DataFrame:
    """Measure sharpness, stars, sky and noise of every light, and say which ones had better be left out.

    Parameters
    ----------
    lights : Dataset, DataArray or sequence of them
        Calibrated lights, as for `register`.
    stars : list of Stars, optional
        From `find_stars`, so that the pixels are not read again.
    widest : float
        A frame whose stars are wider than this many times the median of the frames is not usable.
    fewest : float
        Nor one with fewer than this share of the median number of stars: clouds.
    brightest_sky : float
        Nor one whose noise is above this many times the median: twilight, the moon, a lamp.
    roundest : float
        Nor one whose stars have a median eccentricity above this, if the others have not: a bumped mount.
    progress : callable
        ``progress(done, total, what)``; may raise `Cancelled`.

    Returns
    -------
    pandas.DataFrame
        A row for every light: ``file``, ``stars`` (how many were found), ``measured``, ``fwhm`` (pixels), ``eccentricity``,
        ``sky`` and ``noise`` of a pixel (unit of the signal, of the commonest colour), ``usable`` and ``reason``.

    Raises
    ------
    MismatchError
        The lights do not lie on the same pixels.
    SettingError
        A setting that cannot work.

    Notes
    -----
    Widths are those of fitted Gaussians without the pixel's own width. Frames are only compared among themselves: a
    whole night of bad seeing is all usable.

    References
    ----------
    Howell, S. B. 2006, Handbook of CCD Astronomy, 2nd ed., ch. 5 (widths of stellar images, sky and noise).

    Examples
    --------
    >>> import calibkit
    >>> camera = calibkit.Camera(shape=(200, 300), offset=100.0)
    >>> sky = calibkit.Sky(n_stars=60, star_flux=20_000.0, drift=(2.0, -3.0))
    >>> raw = calibkit.simulate_stack(camera, 3, exposure=30.0, sky=sky)
    >>> lights = calibkit.calibrate(raw, bias=calibkit.constant_bias(raw, level=100.0))
    >>> quality = calibkit.measure_quality(lights)
    >>> quality[["stars", "usable"]].shape
    (3, 2)
    """
    import pandas as pd

    for name, value, least in (
        ("widest", widest, 1.0), ("fewest", fewest, 0.0), ("brightest_sky", brightest_sky, 1.0), ("roundest", roundest, 0.0),
    ):  # fmt: skip
        if not value >= least:
            msg = f"{name}={value!r}: at least {least} is allowed"
            raise SettingError(msg)
    stars = find_stars(lights, progress=progress) if stars is None else list(stars)
    table = pd.DataFrame(
        {
            "file": [Path(s.name).name for s in stars],
            "stars": [s.detected for s in stars],
            "measured": [len(s) for s in stars],
            "fwhm": [_median(s.fwhm) for s in stars],
            "eccentricity": [_median(s.eccentricity) for s in stars],
            "sky": [s.sky for s in stars],
            "noise": [s.noise for s in stars],
        }
    )
    typical = {name: _median(table[name].to_numpy()) for name in ("stars", "fwhm", "noise", "eccentricity")}
    reasons = []
    for row in table.itertuples():
        why = []
        if row.measured == 0:
            why.append("no star can be measured")
        elif row.stars < fewest * typical["stars"]:
            why.append(f"{row.stars} stars where frames have {typical['stars']:.0f}")
        if row.fwhm > widest * typical["fwhm"]:
            why.append(f"its stars are {row.fwhm:.2f} pixels wide where frames have {typical['fwhm']:.2f}")
        if row.noise > brightest_sky * typical["noise"]:
            why.append(f"its noise is {row.noise:.3g} where frames have {typical['noise']:.3g}")
        if row.eccentricity > roundest > typical["eccentricity"]:
            why.append(f"its stars are drawn out (eccentricity {row.eccentricity:.2f})")
        reasons.append("; ".join(why))
    table["usable"] = [not reason for reason in reasons]
    table["reason"] = reasons
    return table


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)] if len(values) else values
    return float(np.median(known)) if len(known) else float("nan")
