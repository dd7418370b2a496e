"""`find_cosmic_rays`: what is sharper than the optics can draw, in single calibrated frames."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import xarray as xr

from calibkit import meta
from calibkit.cfa import pattern_of
from calibkit.errors import SettingError
from calibkit.flags import BAD, COSMIC_RAY, FLAG_DTYPE, NO_DATA, REPAIRED, SATURATED
from calibkit.memory import band_rows
from calibkit.progress import Progress, silent
from calibkit.warned import warn

#: Pixels that one iteration of the search looks away: medians of 5 and 7 pixels, Laplacian, growth.
_REACH = 10
#: Bytes per pixel that the search holds: ten arrays, two of them at twice the scale.
_BYTES = 90
#: Outermost rows and columns in which nothing is looked for: a star that the edge cuts off is sharp there.
_RIM = 6
#: Pixels around saturated ones that are left out: there a star's image ends abruptly.
_BESIDE_SATURATED = 2
#: Squares that a repair looks at, pixels: a pixel that was repaired from a struck one lies no further away.
_REPAIR_REACH = 3
#: A larger share of the pixels than this is no work of cosmic rays.
_MANY = 0.005


def find_cosmic_rays(
    result: xr.Dataset,
    *,
    sigclip: float = 4.5,
    sigfrac: float = 0.3,
    objlim: float = 5.0,
    niter: int = 4,
    repair: bool = True,
    progress: Progress = silent,
) -> xr.Dataset:
    """Flag pixels that cosmic rays struck in calibrated frames of a sensor without filters, and replace them.

    Parameters
    ----------
    result : xarray.Dataset
        From `calibrate`: ``signal``, ``variance`` and ``flags``, ``(y, x)`` or ``(frame, y, x)``, in memory or lazy.
    sigclip : float
        A pixel is struck that stands out by so many sigma in the Laplacian of the frame.
    sigfrac : float
        Its neighbours count as struck too from this fraction of *sigclip* on.
    objlim : float
        And only if the Laplacian is so many times what it is in the frame's fine structure. Raise it where the cores
        of stars are taken for cosmic rays.
    niter : int
        Passes; each takes the pixels that were found before as missing.
    repair : bool
        Replace what was found as `calibkit.repair` does, from good neighbours.
    progress : callable
        ``progress(done, total, what)``, for frames that are in memory.

    Returns
    -------
    xarray.Dataset
        The same with the flag cosmic_ray, and repaired. Lazy where *result* is.

    Raises
    ------
    SettingError
        Frames with colour filters, an image in colour, frames without variance, or a setting that cannot work.

    Warns
    -----
    CalibkitWarning
        More than 0.5 % of the pixels of a frame were found (frames in memory only): those are stars on too few
        pixels, or hot pixels.

    Notes
    -----
    L.A.Cosmic [1]_ as astroscrappy [2]_ does it, with the variance of *result* as the noise and astroscrappy's and
    ccdproc's defaults. It takes for a cosmic ray what is sharper than stars are, so stars have to cover some
    pixels: above about 2 pixels full width at half maximum. In each plane of a colour mosaic a star is half as
    wide and looks like a cosmic ray, hence the refusal; there, and wherever there are several frames, rejection
    when they are combined is the better way.

    Pixels with a bad flag, those within 2 pixels of saturated ones, and the six outermost rows and columns of the
    frame, where stars are cut off, are not looked at. Pixels that were
    repaired before near a struck one are repaired anew, since the struck one may have been among their neighbours.

    References
    ----------
    .. [1] van Dokkum, P. G. 2001, PASP 113, 1420.
    .. [2] McCully, C. et al., astroscrappy, https://doi.org/10.5281/zenodo.1482019

    Examples
    --------
    >>> from calibkit import Camera, Sky, calibrate, constant_bias, simulate_frame
    >>> light = simulate_frame(Camera(shape=(64, 64), cosmic_rays=20), exposure=60, sky=Sky())
    >>> cleaned = find_cosmic_rays(calibrate(light, bias=constant_bias(light, 100)))
    >>> int((cleaned.flags & 32 != 0).sum()) > 5
    True
    """
    options = _checked(result, sigclip=sigclip, sigfrac=sigfrac, objlim=objlim, niter=niter)
    dims = result["signal"].dims
    parts = [result[name].transpose(*dims).data for name in ("signal", "variance", "flags")]
    single = "frame" not in dims
    if single:
        parts = [part[None] for part in parts]
    lazy = any(hasattr(part, "dask") for part in parts)
    flags = _lazily(parts, options) if lazy else _now(parts, options, progress)
    flags = flags[0] if single else flags
    found = result.assign(flags=result["flags"].transpose(*dims).copy(data=flags))
    settings = {"sigclip": sigclip, "sigfrac": sigfrac, "objlim": objlim, "niter": niter}
    found = meta.add_step(found, "find cosmic rays", method="L.A.Cosmic", **settings, inputs=[])
    if not repair:
        return found
    from calibkit.defects.mending import repair as mend

    return mend(found)


def _checked(result: object, **settings: float) -> dict[str, float]:
    """*settings* for astroscrappy, after a look at what cannot work."""
    needed = ("signal", "variance", "flags")
    if not isinstance(result, xr.Dataset) or any(name not in result for name in needed):
        msg = (
            "find_cosmic_rays takes a calibrated frame or stack with signal, variance and flags, as calibkit.calibrate "
            f"gives it; found {tuple(result) if isinstance(result, xr.Dataset) else type(result).__name__}"
        )
        raise SettingError(msg)
    if result["signal"].dims not in (("y", "x"), ("frame", "y", "x")):
        msg = (
            "find_cosmic_rays takes dimensions ('y', 'x') or ('frame', 'y', 'x'), found "
            f"{result['signal'].dims}; colours are interpolated, which spreads a struck pixel over its neighbours"
        )
        raise SettingError(msg)
    pattern = pattern_of(result)
    if not pattern.is_mono:
        msg = (
            f"find_cosmic_rays: the frame has colour filters ({pattern}). The search takes for a cosmic ray what is "
            "sharper than a star; between pixels of different colours every star is, and in the plane of one colour "
            "a star covers too few pixels. Take several frames, and let calibkit.combine reject what is in one only"
        )
        raise SettingError(msg)
    for name, value in settings.items():
        least = 1 if name == "niter" else 0
        if not (math.isfinite(value) and value > 0 and value >= least) or (
            name == "niter" and value != int(value)
        ):
            wanted = "a whole number of at least 1" if name == "niter" else "a number above 0"
            msg = f"find_cosmic_rays: {name}={value!r}; {wanted} is wanted"
            raise SettingError(msg)
    return {**settings, "niter": int(settings["niter"])}


def _now(parts: list[np.ndarray], options: dict[str, float], progress: Progress) -> np.ndarray:
    count, height, width = parts[0].shape
    out = np.empty(parts[2].shape, FLAG_DTYPE)
    bands = _bands(height, width, int(options["niter"]))
    for number in range(count):
        for done, (y0, y1, above, below) in enumerate(bands):
            progress(number * len(bands) + done, count * len(bands), "look for cosmic rays")
            rows = [part[number, above:below] for part in parts]
            out[number, y0:y1] = _search(*rows, y0 - above, y1 - y0, above == 0, below == height, options)
        share = float(np.mean((out[number] & COSMIC_RAY) != 0))
        if share > _MANY:
            msg = (
                f"find_cosmic_rays: {100 * share:.2g} % of the pixels of frame {number} look struck, far more than cosmic "
                "rays hit: stars on too few pixels, or hot pixels that were left. Raise objlim, repair hot pixels first "
                "(calibkit.calibrate with a dark), or reject over several frames instead"
            )
            warn(msg, stacklevel=3)
    progress(count * len(bands), count * len(bands), "look for cosmic rays")
    return out


def _lazily(parts: list[Any], options: dict[str, float]) -> Any:
    import dask
    import dask.array as da

    count, height, width = parts[0].shape
    chunks = next(part.chunks[1] for part in parts if hasattr(part, "dask"))
    edges = np.cumsum((0, *chunks)).tolist()
    work = dask.delayed(_search, pure=True)
    frames = []
    for number in range(count):
        bands = []
        for y0, y1, above, below in _bands(height, width, int(options["niter"]), edges):
            rows = [part[number, above:below] for part in parts]
            made = work(*rows, y0 - above, y1 - y0, above == 0, below == height, options)
            bands.append(da.from_delayed(made, (y1 - y0, width), FLAG_DTYPE))
        frames.append(da.concatenate(bands))
    return da.stack(frames)


def _bands(
    height: int, width: int, niter: int, edges: list[int] | None = None
) -> list[tuple[int, int, int, int]]:
    """(first row, last row, first row read, last row read) of every band."""
    halo = _REACH * niter
    if edges is None:
        rows = max(band_rows(height, width, bytes_per_pixel=_BYTES), 4 * halo)
        edges = [*range(0, height, rows), height]
    return [(y0, y1, max(0, y0 - halo), min(height, y1 + halo)) for y0, y1 in itertools.pairwise(edges)]


def _search(
    signal: np.ndarray,
    variance: np.ndarray,
    flags: np.ndarray,
    top: int,
    count: int,
    first: bool,
    last: bool,
    options: dict[str, float],
) -> np.ndarray:
    """Flags of *count* rows from *top* on, with what was struck and what has to be repaired anew.

    *first* and *last* say whether the band begins or ends with the frame.
    """
    import astroscrappy
    from scipy import ndimage

    flags = np.asarray(flags, FLAG_DTYPE)
    bad = ((flags & BAD) != 0) & ((flags & REPAIRED) == 0)
    unknown = ~(np.isfinite(signal) & (variance > 0))
    usable = np.isfinite(signal) & ~bad
    if usable.any() and unknown[usable].all():
        msg = (
            "find_cosmic_rays: the variance is not known (NaN), and without the noise nothing can be told to stand out "
            "of it; calibrate with gain= and read_noise=, as measured with calibkit.measure_gain and measure_read_noise"
        )
        raise SettingError(msg)
    lost = unknown | (bad & ((flags & SATURATED) == 0))
    fill = lost | ((flags & NO_DATA) != 0)
    values, noise = np.array(signal, np.float32), np.array(variance, np.float32)
    if (
        fill.all() or min(values.shape) <= 2 * _RIM
    ):  # astroscrappy writes beyond frames smaller than its windows
        return flags[top : top + count]
    if fill.any():  # what cannot be used takes its nearest neighbour's number, so that it is no edge
        nearest = tuple(ndimage.distance_transform_edt(fill, return_distances=False, return_indices=True))
        values, noise = values[nearest], noise[nearest]
    square = np.ones((2 * _BESIDE_SATURATED + 1,) * 2, bool)
    ignored = fill | ndimage.binary_dilation((flags & SATURATED) != 0, square)
    rim = np.ones(values.shape, bool)
    rim[_RIM if first else 0 : -_RIM if last else None, _RIM:-_RIM] = False
    # Its medians leave a margin as it is, which would count as sharp.
    pad = [(_REACH, _REACH)] * 2
    inner = tuple(slice(_REACH, _REACH + size) for size in values.shape)
    struck, _ = astroscrappy.detect_cosmics(
        np.pad(values, pad, mode="edge"),
        inmask=np.pad(ignored, pad, mode="edge"),
        invar=np.pad(noise, pad, mode="edge"),
        satlevel=np.inf,
        **options,
    )
    struck = struck[inner] & ~ignored & ~rim
    # What was repaired has no reading of its own that could have been struck; one of its neighbours was.
    own = struck & ((flags & REPAIRED) == 0)
    flags = flags | np.where(own, COSMIC_RAY, 0).astype(FLAG_DTYPE)
    near = ndimage.binary_dilation(struck, np.ones((2 * _REPAIR_REACH + 1,) * 2, bool))
    flags[near] &= FLAG_DTYPE(~REPAIRED & 0xFFFF)
    return flags[top : top + count]
