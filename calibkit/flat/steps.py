"""A flat frame prepared step by step, as the lecture does it, with every picture on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from calibkit.calibration.levels import sites_of
from calibkit.cfa import channel_index
from calibkit.combining import combine
from calibkit.errors import MismatchError
from calibkit.masters import master_dark, master_flat
from calibkit.simulate.samples import PERCENTILES
from calibkit.statistics import Levels, channel_levels
from calibkit.warned import collected

#: What is seen at each step.
STEPS = (
    "one flat",
    "flats combined",
    "one flat dark",
    "flat darks combined",
    "subtract",
    "difference",
    "flat",
)

#: Width of a bin of the relative response where it is narrow, and the most bins where it is not.
_BIN, _MOST_BINS = 0.0004, 600


@dataclass(frozen=True)
class FlatSteps:
    """A flat on its way, from `prepare_flat`.

    Attributes
    ----------
    one_flat, one_dark : xarray.DataArray
        The first frame of each, in ADU; *one_dark* None without flat darks.
    flats, darks : xarray.Dataset
        Combined flats, combined flat darks (None without), in ADU.
    difference : xarray.DataArray
        flats − darks, in ADU.
    flat : xarray.Dataset
        The difference divided by its average, in each channel: the relative response, without unit.
    levels : dict of str to Levels
        Of the first flat, by channel, in ADU.
    spread : dict of str to (float, float)
        Relative response that 0.1 % of the pixels of a channel lie below, and 0.1 % above.
    notes : tuple of str
        What calibkit warns of: saturation, weak exposure, an offset left in.
    """

    one_flat: xr.DataArray
    flats: xr.Dataset
    one_dark: xr.DataArray | None
    darks: xr.Dataset | None
    difference: xr.DataArray
    flat: xr.Dataset
    levels: dict[str, Levels]
    spread: dict[str, tuple[float, float]]
    notes: tuple[str, ...]

    def picture(self, step: str) -> xr.DataArray | xr.Dataset | None:
        """What one of the `STEPS` shows; None where there are no flat darks.

        Parameters
        ----------
        step : str
            One of `STEPS`. "subtract" shows the combined flats, of which "flat darks combined" is about to be taken.
        """
        return {
            "one flat": self.one_flat,
            "flats combined": self.flats,
            "one flat dark": self.one_dark,
            "flat darks combined": self.darks,
            "subtract": self.flats,
            "difference": self.difference,
            "flat": self.flat,
        }[step]


def prepare_flat(
    flats: xr.DataArray,
    darks: xr.DataArray | None = None,
    *,
    method: str = "mean",
    dark_method: str = "median",
) -> FlatSteps:
    """Prepare a flat frame, and keep what every step gives.

    Parameters
    ----------
    flats : xarray.DataArray
        Bright flats ``(frame, y, x)``, raw, ADU.
    darks : xarray.DataArray, optional
        Flat darks: frames of the same exposure without light. Without them the offset stays in the flat.
    method, dark_method : {"mean", "median"}
        How flats and flat darks are combined.

    Returns
    -------
    FlatSteps

    Raises
    ------
    MismatchError
        Frames that do not belong together, or flats without light.

    Notes
    -----
    Combined here is what one sees in the lecture: every frame as it is. The final flat is that of
    ``master_flat(flats, dark=master_dark(darks, method=dark_method), method=method)``, which brings the flats to one level
    and leaves outliers out.

    Examples
    --------
    >>> from calibkit import Camera, simulate_stack
    >>> camera = Camera(shape=(48, 64))
    >>> flats, darks = (simulate_stack(camera, 3, kind=kind, exposure=1.0) for kind in ("flat", "flat dark"))
    >>> done = prepare_flat(flats, darks)
    >>> round(float(done.flat.signal.mean()), 3), sorted(done.spread)
    (1.0, ['L'])
    """
    if "frame" not in flats.dims:
        msg = f"prepare_flat: flats (frame, y, x) are wanted, found {dict(flats.sizes)}"
        raise MismatchError(msg)
    with collected() as notes:
        dark = None if darks is None else master_dark(darks, method=dark_method, hot_sigma=None)
        bright = combine(flats, method=method, reject="none", normalise="none")
        flat = master_flat(flats, dark=dark, method=method, **_reject(flats))
    difference = bright["signal"] if dark is None else bright["signal"] - dark["signal"]
    one = flats.isel(frame=0)
    return FlatSteps(
        one_flat=one,
        flats=bright,
        one_dark=None if darks is None else darks.isel(frame=0),
        darks=dark,
        difference=difference.assign_attrs(flats.attrs | {"units": "adu"}),
        flat=flat,
        levels=channel_levels(one),
        spread=relative_spread(flat),
        notes=tuple(notes),
    )


def response_histograms(flat: xr.Dataset) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Histograms of the relative response, over the range in which nearly all pixels lie.

    Parameters
    ----------
    flat : xarray.Dataset
        Master flat, ``(y, x)``.

    Returns
    -------
    dict of str to (numpy.ndarray, numpy.ndarray)
        Channel → counts and edges; ``""`` for all pixels together. All have the same edges: bins of 0.0004, which are
        300 from 0.94 to 1.06, or wider ones where that would be too many for the pixels that there are, or finer than
        the steps of a weak flat: about half of what D. W. Scott's rule (1979, Biometrika 66, 605) gives for the widest channel.

    Examples
    --------
    >>> flat = xr.Dataset({"signal": (("y", "x"), np.linspace(0.9, 1.1, 1200).reshape(30, 40))}, attrs={"cfa": ""})
    >>> counts, edges = response_histograms(flat)["L"]
    >>> int(counts.sum()), bool(edges[0] < 0.9 < 1.1 < edges[-1])
    (1200, True)
    """
    spread = relative_spread(flat).values()
    low, high = min(low for low, _ in spread), max(high for _, high in spread)
    margin = 0.25 * (high - low) + 0.005
    planes = _planes(flat)
    bins = int(min(_MOST_BINS, np.ceil((high - low + 2 * margin) / _BIN)))
    scott = max(3.49 * float(np.nanstd(plane)) * plane.size ** (-1 / 3) for plane in planes.values())
    width = max(_BIN, (high - low + 2 * margin) / bins, 0.55 * scott)
    bins = int(np.ceil((high - low + 2 * margin) / width))
    edges = low - margin + width * np.arange(bins + 1)
    found = {name: (np.histogram(plane, edges)[0], edges) for name, plane in planes.items()}
    return found | {"": (np.sum([counts for counts, _ in found.values()], axis=0), edges)}


def relative_spread(flat: xr.Dataset) -> dict[str, tuple[float, float]]:
    """Between which relative responses the pixels of each channel lie, but for 0.1 % at either end.

    Parameters
    ----------
    flat : xarray.Dataset
        Master flat, ``(y, x)``.

    Returns
    -------
    dict of str to (float, float)

    Examples
    --------
    >>> response = np.linspace(0.9, 1.1, 2001, dtype="f4").reshape(3, 667)
    >>> low, high = relative_spread(xr.Dataset({"signal": (("y", "x"), response)}, attrs={"cfa": ""}))["L"]
    >>> round(low, 4), round(high, 4)
    (0.9002, 1.0998)
    """
    found = {}
    for name, plane in _planes(flat).items():
        low, high = np.nanpercentile(plane, PERCENTILES)
        found[name] = (float(low), float(high))
    return found


def _planes(flat: xr.Dataset) -> dict[str, np.ndarray]:
    """The response of every pixel, by channel."""
    cell, channels = channel_index(flat)
    values = flat["signal"].values
    return {
        name: np.concatenate([values[site].ravel() for site in sites_of(cell, number)])
        for number, name in enumerate(channels)
    }


def _reject(stack: xr.DataArray) -> dict[str, Any]:
    """A single frame has nothing to be compared with."""
    return {"reject": "none"} if stack.sizes["frame"] < 2 else {}
