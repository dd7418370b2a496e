"""Stars of a light: found on one colour, binned, and measured on the samples of that colour alone."""

from __future__ import annotations

import itertools
import math
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from calibkit.align.lights import Light, Lights, lights_of, place_of
from calibkit.cfa import Pattern, channel_index, pattern_of
from calibkit.combining.normalise import Levels, levels_in
from calibkit.errors import Cancelled, SettingError
from calibkit.flags import named_counts
from calibkit.memory import Scratch, worker_count
from calibkit.progress import Progress, silent

#: Frames without filters larger than this are searched in blocks of 2 × 2 pixels.
_LARGE = 8_000_000
_FWHM = math.sqrt(8 * math.log(2))
#: Frames that are measured at a time: each is held as a whole, 4 bytes a pixel and as much again while it is searched.
_AT_ONCE = 2
#: With fewer stars than this in a colour, the others are searched, too, and then all with the finer background; not with
#: more, because the search that shows most may owe it to hot pixels.
_ENOUGH = 12
#: Tiles of the background in binned pixels: wide ones, and those that follow the filaments of a nebula.
_TILES = (64, 16)
_THRESHOLD, _MOST = 5.0, 300
#: Pixels of objects that SEP may have come upon and not yet ended, and who may say so: it is a setting of the process.
_STACK = 2**15
_one_extracts = threading.Lock()
_scratch = Scratch()


@dataclass(frozen=True, eq=False)
class Stars:
    """Stars of one frame, brightest first.

    ``x`` and ``y`` are sensor pixels, ``error`` is the standard error of the position along one axis, in pixels;
    ``flux`` is in the unit of the signal, of the colour that was used. ``fwhm`` in pixels and ``eccentricity`` are those
    of the image without the pixel's own width. ``sky`` is the median level and ``noise`` the noise of one pixel.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    error: np.ndarray
    fwhm: np.ndarray
    eccentricity: np.ndarray
    sky: float
    noise: float
    detected: int
    colour: str
    shape: tuple[int, int] = field(default=(0, 0))

    def __len__(self) -> int:
        return self.x.size

    def as_dict(self) -> dict[str, Any]:
        """The same in plain numbers and lists, exactly."""
        return {n: v.tolist() if isinstance(v, np.ndarray) else v for n, v in vars(self).items()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Stars:
        """From what `as_dict` gave."""
        lists = {n: np.array(v, float) for n, v in plain.items() if isinstance(v, list) and n != "shape"}
        return cls(**(dict(plain) | lists | {"shape": tuple(plain["shape"])}))

    @property
    def xy(self) -> np.ndarray:
        """Places, shape (star, 2)."""
        return np.column_stack([self.x, self.y])


def find_stars(
    lights: Lights,
    *,
    threshold: float = _THRESHOLD,
    most: int = _MOST,
    progress: Progress = silent,
    client: Any = None,
) -> list[Stars]:
    """Find the stars of every light and measure their places, widths and shapes.

    Parameters
    ----------
    lights : Dataset, DataArray or sequence of them
        Calibrated lights, as for `register`. Each is read once.
    threshold : float
        Least height above the background, in units of the noise of the binned picture.
    most : int
        So many of the brightest stars are measured in each frame.
    progress : callable
        ``progress(done, total, what)``; may raise `Cancelled`.
    client : dask.distributed.Client, optional
        Look for them on this cluster; its workers must see the same files.

    Returns
    -------
    list of Stars

    Raises
    ------
    SettingError
        A setting that cannot work.
    MismatchError
        The lights do not lie on the same pixels.

    Notes
    -----
    The mean of the commonest colour in blocks of the pattern is searched with SEP [1]_, the library form of Source
    Extractor [2]_; nothing is interpolated. Where it shows few stars, as green does behind an Hα filter, the other
    colours are searched, and then all of them on a background that follows the filaments of a nebula; the search that shows
    most is taken. An elliptical Gaussian on a level is then fitted by least squares to the
    samples of that colour at their own places, so that the pattern does not pull on the stars. Stars with a
    saturated or bad pixel near them, and those that are much wider or narrower than most, are left out.

    References
    ----------
    .. [1] Barbary, K. 2016, "SEP: Source Extractor as a library", J. Open Source Software 1, 58.
    .. [2] Bertin, E. & Arnouts, S. 1996, "SExtractor: Software for source extraction", A&A Supplement 117, 393.

    Examples
    --------
    >>> import calibkit
    >>> camera = calibkit.Camera(shape=(200, 300), offset=100.0)
    >>> sky = calibkit.Sky(n_stars=60, star_flux=20_000.0, drift=(2.0, -3.0))
    >>> raw = calibkit.simulate_stack(camera, 3, exposure=30.0, sky=sky)
    >>> lights = calibkit.calibrate(raw, bias=calibkit.constant_bias(raw, level=100.0))
    >>> stars = calibkit.find_stars(lights)
    >>> [len(each) > 20 for each in stars]
    [True, True, True]
    """
    if not threshold > 0 or most < 3:
        msg = f"threshold={threshold!r}, most={most!r}: allowed are a threshold above 0 and 3 stars or more"
        raise SettingError(msg)
    found = lights_of(lights, "find_stars")
    what = f"find stars in {len(found)} frame{'s' if len(found) > 1 else ''}"
    progress(0, len(found), what)
    here = ThreadPoolExecutor(min(_AT_ONCE, worker_count()), thread_name_prefix="calibkit-stars")
    with nullcontext(client) if client is not None else here as pool:
        waiting = [pool.submit(_stars_of, light.sendable(), threshold, most) for light in found]
        stars = []
        try:
            for future in waiting:
                stars.append(future.result())
                progress(len(stars), len(found), what)
        except (Cancelled, KeyboardInterrupt):
            for future in waiting:
                future.cancel()
            raise
    return stars


def survey_light(light: xr.Dataset) -> tuple[Stars, dict[str, int], Levels]:
    """What a stack asks of one calibrated light before its rows, found while it is read once.

    Its stars as `find_stars` gives them, how many pixels carry each flag, and its levels, (1, channel), without the noise.
    """
    (one,) = lights_of(light, "survey_light")
    count = np.zeros(16, np.int64)
    signal = one.whole(out=_scratch.take("signal", one.shape, np.float32), count=count)
    levels = levels_in(signal, channel_index(one.labelled)[0])
    return _search(one, signal, _THRESHOLD, _MOST, _scratch), named_counts(count), levels


def star_colours(pattern: Pattern) -> list[str]:
    """The letters of the pattern, the commonest first: green of Bayer and X-Trans cells."""
    letters = pattern.label_letters.ravel().tolist()
    return sorted(pattern.colours, key=lambda c: (letters.count(c), c in "GW", c == "L"), reverse=True)


def _stars_of(light: Light, threshold: float, most: int) -> Stars:
    return _search(light, light.whole(), threshold, most, Scratch())


def _search(light: Light, signal: np.ndarray, threshold: float, most: int, scratch: Scratch) -> Stars:
    """Stars in the commonest colour; where that shows few, as green does behind an Hα filter, of the search that shows most."""
    pattern = pattern_of(light.labelled)
    best: Stars | None = None
    for tile, colour in itertools.product(_TILES, star_colours(pattern)):
        found = _stars_in(light, signal, pattern, colour, tile, threshold, most, scratch)
        if best is None or len(found) > len(best):
            best = found
        if len(best) >= _ENOUGH:
            break
    return best


def _stars_in(
    light: Light,
    signal: np.ndarray,
    pattern: Pattern,
    colour: str,
    tile: int,
    threshold: float,
    most: int,
    scratch: Scratch,
) -> Stars:
    from calibkit.kernels import stars as kernels

    top, left = place_of(light.labelled)
    use = np.roll(pattern.label_letters == colour, (-top, -left), (0, 1))
    block = _block(pattern, signal.size)
    shape = signal.shape[0] // block, signal.shape[1] // block
    plane = scratch.take("plane", shape, np.float32)
    kernels.bin_colour(signal, use, block, plane)
    share = max(1.0, use.mean() * block * block)
    objects, sky, noise = _detect(plane, tile, threshold)
    empty = Stars(
        light.name, *(np.empty(0) for _ in range(6)), sky, noise * math.sqrt(share), 0, colour, signal.shape
    )
    if objects is None or not len(objects):
        return empty
    order = np.argsort(-objects["flux"])[: 2 * most]
    objects_all, objects = len(objects), objects[order]
    middle = (block - 1) / 2
    guess = np.empty((len(objects), 5))
    guess[:, 0] = objects["x"] * block + middle
    guess[:, 1] = objects["y"] * block + middle
    width = np.sqrt(np.maximum(objects["a"] * objects["b"], 0.1)) * block
    typical = float(np.median(width))
    guess[:, 2] = objects["peak"] * 1.2
    guess[:, 3] = sky
    guess[:, 4] = np.clip(typical, 0.6, 8.0)
    reach = int(np.clip(math.ceil(3.2 * typical), 2 * block + 1, 20))
    table = np.empty((len(guess), 9))
    kernels.fit_stars(signal, use, guess, reach, table)
    good = _like_most(table)[:most]
    if not good.size:
        return empty
    table = table[good]
    large, small = (np.maximum(table[:, c] - 1 / 12, 0.01) for c in (4, 5))
    flux = 2 * np.pi * table[:, 2] * np.sqrt(table[:, 4] * table[:, 5])
    order = np.argsort(-flux)
    measured = [
        table[:, 0] + left,
        table[:, 1] + top,
        flux,
        table[:, 6],
        _FWHM * np.sqrt(np.sqrt(large * small)),
        np.sqrt(1 - np.minimum(small / large, 1)),
    ]
    return Stars(
        light.name,
        *(values[order] for values in measured),
        sky,
        noise * math.sqrt(share),
        objects_all,
        colour,
        signal.shape,
    )


def _block(pattern: Pattern, size: int) -> int:
    if not pattern.is_mono:
        return 2 if max(pattern.period) <= 2 else 3
    return 2 if size > _LARGE else 1


def _detect(plane: np.ndarray, tile: int, threshold: float) -> tuple[Any, float, float]:
    """Objects of SEP, the level and the noise of the binned picture."""
    import sep

    bad = np.isnan(plane)
    if bad.mean() > 0.5 or min(plane.shape) < 8:
        return None, math.nan, math.nan
    mask = bad if bad.any() else None
    if mask is not None:
        plane[bad] = 0.0
    tile = int(min(tile, *plane.shape))
    background = sep.Background(plane, mask=mask, bw=tile, bh=tile)
    background.subfrom(plane)
    noise = float(background.globalrms)
    if not noise > 0:
        return None, float(background.globalback), noise
    # one object for each group of pixels: pairs of stars are no good for aligning, and taking them apart can fail
    extract = partial(
        sep.extract,
        plane,
        threshold,
        err=noise,
        mask=mask,
        minarea=3,
        deblend_nthresh=1,
        deblend_cont=1.0,
        filter_kernel=_SMALL,
    )
    with _one_extracts:
        sep.set_extract_pixstack(_STACK)  # all of this memory is written to, and few frames need more
        try:
            objects = extract()
        except Exception:  # noqa: BLE001 (that it is full, for which SEP has no class of its own)
            sep.set_extract_pixstack(max(300_000, plane.size // 4))
            objects = extract()
    return objects, float(background.globalback), noise


#: Smoothing before the search: little, since binned stars are narrow.
_SMALL = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]], np.float32)


def _like_most(table: np.ndarray) -> np.ndarray:
    """Rows of the stars that were fitted well and look like most of them."""
    good = table[:, 8] == 1
    if not good.any():
        return np.empty(0, int)
    width = np.sqrt(np.maximum(table[:, 4] * table[:, 5], 0)) ** 0.5
    bright = table[:, 2] > 3 * table[:, 7]
    good &= (width > 0.35) & (bright | (table[:, 6] < 0.25)) & (table[:, 6] < 0.5)
    if not good.any():
        return np.empty(0, int)
    typical = np.median(width[good])
    good &= (width > 0.5 * typical) & (width < 1.8 * typical)
    return np.flatnonzero(good)
