"""`find_defects`: bad pixels from a dark, a bias, a flat, or from lights alone."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import special

from calibkit import flags as fl
from calibkit import meta
from calibkit.calibration.checks import check_camera, check_master, cover
from calibkit.defects.defect_map import POINT, DefectMap
from calibkit.defects.from_lights import find_in_lights
from calibkit.defects.rows import Rows, rows_in
from calibkit.defects.surroundings import (
    TILE,
    Comparison,
    Standing,
    Surroundings,
    TileLevels,
    bands_of,
    measure_surroundings,
)
from calibkit.errors import SettingError
from calibkit.progress import Progress, silent
from calibkit.threads import in_threads

#: Chance that the frames of a good pixel scatter as much as an unstable one's.
_UNSTABLE_CHANCE = 1e-6
#: Fewer frames than this do not tell an unstable pixel.
_UNSTABLE_FRAMES = 7
#: The limit lies below what is asked for by so many times the noise of what is measured.
MARGIN = 1.15
#: A pixel of a flat stands out by this many sigma, as the spread of the pixels' response goes.
_FLAT_SIGMA = 8.0


def find_defects(
    *,
    dark: xr.Dataset | None = None,
    bias: xr.Dataset | None = None,
    flat: xr.Dataset | None = None,
    lights: xr.DataArray | None = None,
    sigma: float = 5.0,
    cold_sigma: float = 5.0,
    rate: float | None = None,
    gain: float | None = None,
    response: float = 0.2,
    line_sigma: float = 3.0,
    persistence: float = 0.8,
    progress: Progress = silent,
) -> DefectMap:
    """Find hot, cold, unstable and dead pixels, and bad rows and columns.

    Parameters
    ----------
    dark, bias, flat : xarray.Dataset, optional
        Masters of one sensor, from `master_dark` and its like.
    lights : xarray.DataArray, optional
        Three or more raw lights ``(frame, y, x)`` that are shifted against each other (dithered), for what
        stays hot without a dark.
    sigma : float
        Hot are pixels whose dark lies truly so many sigma above its surroundings of the same channel: what is
        measured may be less by 1.15 times the noise of the master, see Notes.
    cold_sigma : float
        A pixel is cold that lies so many sigma below it, in dark or bias.
    rate : float, optional
        A pixel whose dark current is above so many electrons per second is hot, whatever its neighbours do. Needs
        a dark whose bias was subtracted, its exposure and the gain.
    gain : float, optional
        Electrons per ADU; by default what the dark says.
    response : float
        A pixel is cold in the flat (dead, weak) if it lies by this fraction below the median of its neighbours, and a
        bad flat (a hot pixel in it) if so much above. It must stand out by 8 sigma besides.
    line_sigma : float
        A row or column is bad where more than half of its pixels stand out by so many sigma to one side.
    persistence : float
        Share of the lights in which a hot pixel has to stand out.
    progress : callable
        ``progress(done, total, what)`` over the lights.

    Returns
    -------
    DefectMap

    Raises
    ------
    SettingError
        Nothing is given, or a threshold that cannot work.
    MismatchError
        The frames are not of one sensor, or too few lights.

    Notes
    -----
    Sigma is that of good pixels: measured in tiles of some 64 pixels, per channel, as the standard deviation of
    what lies within 4 sigma of the mean, or where the level rises within a tile, of the pixels' differences from those
    beside them, so that neither hot pixels nor glow raise it. It holds the spread of the
    pixels' dark current and the noise of the master. The reference of a pixel is the smooth level between tiles, or
    where they differ the median of up to 48 neighbours of its channel, which is what Siril's cosmetic correction
    compares with [1]_. The limit for a measured excess is *sigma* less 1.15 times the share of the master's noise in
    it, so that of the pixels at *sigma* itself seven of eight are found, and of all above it nearly all. Where sigma is
    noise alone, 6 of 100 000 good pixels are taken for hot at the default.

    Hot is not the same as lost: a dark takes a warm pixel's charge away and leaves its photon noise. Dark current has a
    long tail, so that 5 sigma may be many pixels: 2.3 % of a KAF-1001E at −5 °C (σ = 4.7 ADU), the same ones at all
    temperatures, 1.6 % still above 10 sigma. Repair replaces each by its neighbours; to give up only what the dark
    leaves noisy, ask for more (``sigma=30``) or for a *rate* whose noise √(rate × exposure) exceeds the readout noise.

    A pixel is unstable if the scatter of its frames, as the master's variance holds it, is above that of its
    tile by more than chance makes it (χ², one in a million), photon noise of its dark current allowed for.

    In lights a pixel counts as hot in a frame if it stands out by *sigma* and the pixels beside it, of whatever
    colour, do not stand out by half as much: a star covers them as well. One that does so in *persistence* of the
    frames is hot. Frames that lie on the same pixels of the sky cannot tell a star on one pixel from a hot pixel.

    References
    ----------
    .. [1] Siril documentation, "Cosmetic correction".

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = np.random.default_rng(0).normal(100, 5, (64, 64)).astype("f4")
    >>> frames[10, 20] += 500
    >>> dark = xr.Dataset({"signal": (("y", "x"), frames)}, coords={"y": range(64), "x": range(64)})
    >>> find_defects(dark=dark)
    <DefectMap 64 × 64: 1 hot>
    """
    for name, value in {"sigma": sigma, "cold_sigma": cold_sigma, "line_sigma": line_sigma}.items():
        if not value > 0:
            msg = f"find_defects: {name}={value!r}; a number above 0 is wanted (math.inf finds none)"
            raise SettingError(msg)
    if not (0 < persistence <= 1 and 0 < response < 1):
        msg = f"find_defects: persistence={persistence!r} and response={response!r} are fractions between 0 and 1"
        raise SettingError(msg)
    masters = {
        name: check_master(master, name)
        for name, master in (("dark", dark), ("bias", bias), ("flat", flat))
        if master is not None
    }
    frames = [*masters.values(), *([lights] if lights is not None else [])]
    if not frames:
        msg = "find_defects was given nothing to look at; give dark=, bias=, flat= or lights="
        raise SettingError(msg)
    sensor = DefectMap.empty(frames[0])
    found: list[DefectMap] = []
    for name, master in masters.items():
        master = _on(sensor, master, name)
        if name == "flat":
            found.append(_in_flat(master, response))
        else:
            found.append(_in_dark(master, sigma, cold_sigma, line_sigma, gain))
    if rate is not None:
        found.append(_above_rate(masters.get("dark"), rate, gain))
    result = functools.reduce(DefectMap.merge, found or [sensor])
    if lights is not None:
        result |= find_in_lights(
            lights, result, sigma - MARGIN if sigma > 2 * MARGIN else 0.5 * sigma, persistence, progress
        )
    return result


def _on(sensor: DefectMap, master: xr.Dataset, name: str) -> xr.Dataset:
    check_camera(master, sensor.flags, name, subject="defect map", gain=False)
    return cover(master, sensor.flags, name, "defect map")


def _judged(frame: xr.Dataset, judge: Callable[[int, int, np.ndarray], Standing]) -> DefectMap:
    """A map of what ``judge(y0, y1, flags)`` flags in rows of *frame*; it gives back what stands out in them."""
    found = DefectMap.empty(frame)
    width = frame.sizes["x"]

    def points(band: tuple[int, int]) -> np.ndarray:
        values = found.flags.values[slice(*band)]
        here = judge(*band, values)
        marked = values.reshape(-1)[here.place] != 0
        y, x = np.divmod(here.place[marked], width)
        points = np.empty(y.size, POINT)
        points["y"], points["x"] = found.flags.y.values[band[0] + y], found.flags.x.values[x]
        points["sigma"] = here.stands[marked]
        return points[points["sigma"] != 0]

    return DefectMap(found.flags, np.concatenate(in_threads(points, bands_of(frame.sizes["y"]))))


def _in_dark(
    dark: xr.Dataset, sigma: float, cold_sigma: float, line_sigma: float, gain: float | None
) -> DefectMap:
    from calibkit.kernels import defects as kernels

    around = measure_surroundings(dark)
    scatter = measure_surroundings(dark, variable="variance") if "variance" in dark else None
    compared = Comparison(dark, around, least=0.5 * min(sigma, cold_sigma, line_sigma))
    limit, share = limit_of(scatter, around, sigma), noise_share(scatter, around)
    n_kept = rows_in(dark, "n_kept") if "n_kept" in dark else None
    unstable = None if scatter is None else _Unstable.of(dark, around, scatter, gain)
    frames = int(dark.attrs.get("n_frames", 1))
    # A mean of fewer frames is noisier, and where frames were rejected it is often off.
    kept = np.arange(frames + 1, dtype=np.float32) / frames
    noisier = np.sqrt(1 + np.float32(share**2) * (1 / np.clip(kept, 1e-3, 1) - 1))

    def judge(y0: int, y1: int, flags: np.ndarray) -> Standing:
        here = compared.rows(y0, y1)
        if n_kept is not None:
            kernels.allow_for_lost(here.place, here.stands, n_kept(y0, y1), noisier)
        limits = (np.float32(limit), np.uint16(fl.HOT), np.float32(-cold_sigma), np.uint16(fl.COLD))
        kernels.mark_outstanding(here.place, here.stands, *limits, flags)
        if here.flags is not None:  # saturated by thermal charge alone
            kernels.mark_flagged(here.flags, np.uint16(fl.SATURATED), np.uint16(fl.HOT | fl.SATURATED), flags)
        if unstable is not None:
            flags.reshape(-1)[unstable.among(here, y0, y1)] |= fl.UNSTABLE
        _mark_bad_lines(here, line_sigma, flags)
        return here

    return _judged(dark, judge)


def limit_of(scatter: Surroundings | None, around: Surroundings, sigma: float) -> float:
    """Measured excess, in sigma, above which the true one is *sigma* in most cases."""
    return max(sigma - MARGIN * noise_share(scatter, around), 0.5 * sigma)


def noise_share(scatter: Surroundings | None, around: Surroundings) -> float:
    """The master's noise over sigma; 1 where it is not known."""
    if scatter is None:
        return 1.0
    share = float(np.median(np.sqrt(np.maximum(scatter.level, 0)) / around.sigma))
    return min(share, 1.0) if share > 0 else 1.0


def _mark_bad_lines(here: Standing, line_sigma: float, flags: np.ndarray) -> None:
    """Flag pieces of rows and columns, a tile long, more than half of whose pixels stand out to one side."""
    height, width = flags.shape
    for far in (here.stands > line_sigma, here.stands < -line_sigma):
        y, x = np.divmod(here.place[far], width)
        for column, start, stop in _full_pieces(x, y, width, height):
            flags[start:stop, column] |= fl.BAD_LINE
        for row, start, stop in _full_pieces(y, x, height, width):
            flags[row, start:stop] |= fl.BAD_LINE


def _full_pieces(
    line: np.ndarray, along: np.ndarray, lines: int, length: int
) -> Iterator[tuple[int, int, int]]:
    """(line, start, stop) of pieces of a tile's length, the last one moved back to fit, that are more than half full.

    *line* and *along* tell the pixels by their line and their place in it.
    """
    size = min(TILE, length)
    last = length - size
    whole = np.bincount(line * (length // size + 1) + along // size, minlength=lines * (length // size + 1))
    for number, piece in np.argwhere(2 * whole.reshape(lines, -1)[:, : length // size] > size).tolist():
        yield number, piece * size, (piece + 1) * size
    for number in np.flatnonzero(2 * np.bincount(line[along >= last], minlength=lines) > size).tolist():
        yield number, last, length


@dataclass(frozen=True)
class _Unstable:
    """Tells pixels whose frames scatter more than their tile's, photon noise of their own charge allowed for."""

    variance: Rows
    normal: TileLevels
    expected: TileLevels
    limit: np.float64  # in units of the tile's variance
    count: int  # of the frames
    gain: float | None

    @classmethod
    def of(
        cls, dark: xr.Dataset, around: Surroundings, scatter: Surroundings, gain: float | None
    ) -> _Unstable | None:
        """None where the frames are too few."""
        count = int(dark.attrs.get("n_frames", 1))
        if count < _UNSTABLE_FRAMES:
            return None
        limit = special.chdtri(count - 1, _UNSTABLE_CHANCE) / (count - 1)
        levels = TileLevels(around, dark), TileLevels(scatter, dark)
        gain = gain or meta.frame_value(dark, "gain")
        return cls(rows_in(dark, "variance"), *levels, limit, count, gain)

    def among(self, here: Standing, y0: int, y1: int) -> np.ndarray:
        """Places of unstable pixels in the flat array of these rows."""
        variance = self.variance(y0, y1)
        place = self.expected.above(variance, self.limit, y0)
        odd = here.has(place)
        if not self.gain:
            return place[~odd]  # more charge, more noise: how much is not known
        y, x = np.divmod(place, variance.shape[1])
        normal, expected = self.normal.at(y0 + y, x), self.expected.at(y0 + y, x)
        charge = np.maximum(here.signal[y, x] - normal, 0)
        photons = np.where(odd, charge / self.gain / self.count, 0)
        return place[variance[y, x] > self.limit * (expected + photons)]


def _in_flat(flat: xr.Dataset, response: float) -> DefectMap:
    from calibkit.kernels import defects as kernels

    around = measure_surroundings(flat, shadows=True)
    compared = Comparison(flat, around, least=_FLAT_SIGMA)
    normal = TileLevels(around, flat)

    def judge(y0: int, y1: int, flags: np.ndarray) -> Standing:
        here = compared.rows(y0, y1)
        y, x = np.divmod(here.place, flags.shape[1])
        level = normal.at(y0 + y, x)
        excess = np.divide(here.signal[y, x] - level, level, out=np.zeros_like(level), where=level > 0)
        values = flags.reshape(-1)
        values[here.place[(here.stands < -_FLAT_SIGMA) & (excess < -response)]] |= fl.COLD
        values[here.place[(here.stands > _FLAT_SIGMA) & (excess > response)]] |= fl.BAD_FLAT
        if flat.attrs.get("units") == "1" and here.flags is not None:
            kernels.mark_flagged(here.flags, np.uint16(fl.BAD_FLAT), np.uint16(fl.BAD_FLAT), flags)
        return here

    return _judged(flat, judge)


def _above_rate(dark: xr.Dataset | None, rate: float, gain: float | None) -> DefectMap:
    """Pixels whose dark current is above *rate* electrons per second."""
    exposure = None if dark is None else meta.frame_value(dark, "exposure")
    gain = gain or (None if dark is None else meta.frame_value(dark, "gain"))
    if dark is None or not dark.attrs.get("bias_subtracted", False) or not exposure or not gain:
        found = [
            text
            for text, lacking in (
                ("a dark", dark is None),
                (
                    "a dark whose bias was subtracted",
                    dark is not None and not dark.attrs.get("bias_subtracted", False),
                ),
                ("the dark's exposure", dark is not None and not exposure),
                ("the gain", not gain),
            )
            if lacking
        ]
        msg = f"find_defects: rate={rate!r} electrons per second needs {', '.join(found)}"
        raise SettingError(msg)
    if not rate > 0:
        msg = f"find_defects: rate={rate!r}; a number of electrons per second above 0 is wanted"
        raise SettingError(msg)
    hot = np.asarray(dark["signal"].data) * (gain / exposure) > rate
    empty = DefectMap.empty(dark)
    return DefectMap(empty.flags.copy(data=hot.astype(fl.FLAG_DTYPE) * np.uint16(fl.HOT)))
