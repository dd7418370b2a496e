"""`repair`: bad pixels replaced from good neighbours of the same channel."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import xarray as xr

from calibkit import meta
from calibkit.calibration.checks import cover
from calibkit.calibration.recipe import ENOUGH, REPAIR_REACHES, REPAIRABLE
from calibkit.cfa import channel_index
from calibkit.cfa.neighbours import neighbour_taps, reach_of
from calibkit.defects.defect_map import DefectMap
from calibkit.errors import SettingError
from calibkit.flags import BAD, FLAG_DTYPE


def repair(ds: xr.Dataset, defects: DefectMap | None = None) -> xr.Dataset:
    """Replace bad pixels by the mean of their good neighbours of the same channel.

    Parameters
    ----------
    ds : xarray.Dataset
        Calibrated frame or stack: ``signal``, ``variance`` and ``flags``, ``(y, x)`` or ``(frame, y, x)``.
    defects : DefectMap, optional
        More bad pixels than ``flags`` says.

    Returns
    -------
    xarray.Dataset
        The same with the pixels flagged hot, cold, unstable, struck by a cosmic ray, bad in the flat or on a bad line
        replaced, and flagged repaired besides. Lazy where *ds* is.

    Raises
    ------
    SettingError
        A Dataset that is not a calibrated frame.
    MismatchError
        A defect map that does not cover the frame.

    Notes
    -----
    Neighbours are the pixels of the same channel in a square of one step around the pixel (in a Bayer sensor
    3 × 3 pixels of its own channel), then of two and three steps, until four are good: finite, without a bad flag
    and not repaired themselves. A pixel with none is left as it is, and so is one among whose nearest
    neighbours more are saturated than good.

    The variance is that of the mean of the n neighbours used, Σσ²/n², plus their scatter s² where that is above
    what their noise makes of it (3 σ of χ²): the pixel then lies on structure, and may have any value in it.
    A repaired pixel is correlated with those neighbours, with covariance σᵢ²/n for each: it adds no information.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> dims = ("y", "x")
    >>> frame = xr.Dataset(
    ...     {
    ...         "signal": (dims, np.full((5, 5), 10.0, "f4")),
    ...         "variance": (dims, np.full((5, 5), 4.0, "f4")),
    ...         "flags": (dims, np.zeros((5, 5), "u2")),
    ...     },
    ...     coords={"y": range(5), "x": range(5)},
    ... )
    >>> frame.signal[2, 2] = 999
    >>> bad = DefectMap.empty(frame).add(points=[(2, 2)])
    >>> mended = repair(frame, bad)
    >>> float(mended.signal[2, 2]), float(mended.variance[2, 2])
    (10.0, 0.5)
    """
    missing = [name for name in ("signal", "variance", "flags") if name not in ds]
    if missing or ds["signal"].dims not in (("y", "x"), ("frame", "y", "x")):
        found = ds["signal"].dims if "signal" in ds else tuple(ds.data_vars)
        msg = (
            "repair takes a calibrated frame with signal, variance and flags, dimensions (y, x) or (frame, y, x), "
            f"found {found}"
        )
        raise SettingError(msg)
    more = (
        None
        if defects is None
        else cover(defects.flags.to_dataset(name="signal"), ds["signal"], "defect map")
    )
    cell, _ = channel_index(ds)
    taps, rings = neighbour_taps(cell, REPAIR_REACHES)
    dims = ds["signal"].dims
    parts = [ds[name].transpose(*dims).data for name in ("signal", "variance", "flags")]
    single = "frame" not in dims
    if single:
        parts = [part[None] for part in parts]
    mask = None if more is None else more["signal"].data & FLAG_DTYPE(BAD)
    if any(hasattr(part, "dask") for part in parts):
        made = _lazily(parts, mask, taps, rings)
    else:
        made = tuple(
            np.stack(planes)
            for planes in zip(
                *(_mend(*frame, mask, 0, taps, rings) for frame in zip(*parts, strict=True)), strict=True
            )
        )
    arrays = [array[0] if single else array for array in made]
    result = ds.assign(
        {
            name: ds[name].transpose(*dims).copy(data=array)
            for name, array in zip(("signal", "variance", "flags"), arrays, strict=True)
        }
    )
    return meta.add_step(result, "repair", method="mean of good neighbours of the same channel", inputs=[])


def _mend(
    signal: np.ndarray,
    variance: np.ndarray,
    flags: np.ndarray,
    mask: np.ndarray | None,
    y0: int,
    taps: np.ndarray,
    rings: np.ndarray,
    top: int = 0,
    count: int | None = None,
) -> tuple[np.ndarray, ...]:
    """Rows *top* to *top* + *count* of one frame, of which *signal* begins with row *y0*."""
    from calibkit.kernels.repair import repair_rows

    count = len(signal) if count is None else count
    if mask is not None:
        flags = flags | mask
    made = (np.array(signal, np.float32), np.array(variance, np.float32), np.array(flags, FLAG_DTYPE))
    tables = (np.roll(table, -y0, axis=0) for table in (taps, rings))
    repair_rows(*made, np.uint16(REPAIRABLE), *tables, ENOUGH, top, top + count)
    return tuple(array[top : top + count] for array in made)


def _lazily(
    parts: list[Any], mask: np.ndarray | None, taps: np.ndarray, rings: np.ndarray
) -> tuple[Any, ...]:
    import dask
    import dask.array as da

    height, width = parts[0].shape[1:]
    halo = reach_of(taps)
    chunks = next(part.chunks[1] for part in parts if hasattr(part, "dask"))
    ends = np.cumsum((0, *chunks)).tolist()
    work = dask.delayed(_mend, pure=False, nout=3)
    frames = []
    for frame in range(parts[0].shape[0]):
        bands: list[list[Any]] = [[], [], []]
        for y0, y1 in itertools.pairwise(ends):
            above, below = max(0, y0 - halo), min(height, y1 + halo)
            rows = [part[frame, above:below] for part in parts]
            under = None if mask is None else mask[above:below]
            made = work(*rows, under, above, taps, rings, y0 - above, y1 - y0)
            for band, array, dtype in zip(bands, made, (np.float32, np.float32, FLAG_DTYPE), strict=True):
                band.append(da.from_delayed(array, (y1 - y0, width), dtype))
        frames.append([da.concatenate(band) for band in bands])
    return tuple(da.stack(planes) for planes in zip(*frames, strict=True))
