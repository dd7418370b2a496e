"""`find_defects`: bad pixels from a dark, a bias, a flat, or from lights alone."""

from __future__ import annotations

import numpy as np
import xarray as xr
from scipy import special

from calibkit import flags as fl
from calibkit import meta
from calibkit.calibration.checks import check_camera, check_master, cover
from calibkit.defects.defect_map import POINT, DefectMap
from calibkit.defects.from_lights import find_in_lights
from calibkit.defects.surroundings import (
    TILE,
    Surroundings,
    level_of_tiles,
    measure_surroundings,
    standing_out,
)
from calibkit.errors import SettingError
from calibkit.progress import Progress, silent
from calibkit.threads import in_threads

#: Chance that the frames of a good pixel scatter as much as an unstable one's.
_UNSTABLE_CHANCE = 1e-6
#: Rows that are judged at a time.
_ROWS = 256
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
    result = DefectMap.empty(frames[0])
    for name, master in masters.items():
        master = _on(result, master, name)
        if name == "flat":
            result |= _in_flat(master, response)
        else:
            result |= _in_dark(master, sigma, cold_sigma, line_sigma, gain)
    if rate is not None:
        result |= _above_rate(masters.get("dark"), rate, gain)
    if lights is not None:
        result |= find_in_lights(
            lights, result, sigma - MARGIN if sigma > 2 * MARGIN else 0.5 * sigma, persistence, progress
        )
    return result


def _on(result: DefectMap, master: xr.Dataset, name: str) -> xr.Dataset:
    check_camera(master, result.flags, name, subject="defect map", gain=False)
    return cover(master, result.flags, name, "defect map").compute()


def _made(
    frame: xr.Dataset | xr.DataArray, values: np.ndarray, stands: np.ndarray | None = None
) -> DefectMap:
    empty = DefectMap.empty(frame)
    points = np.empty(0, POINT)
    if stands is not None:
        y, x = np.nonzero((values != 0) & (stands != 0))
        points = np.empty(y.size, POINT)
        points["y"], points["x"] = empty.flags.y.values[y], empty.flags.x.values[x]
        points["sigma"] = stands[y, x]
    return DefectMap(empty.flags.copy(data=values), points)


def _in_dark(
    dark: xr.Dataset, sigma: float, cold_sigma: float, line_sigma: float, gain: float | None
) -> DefectMap:
    around = measure_surroundings(dark)
    scatter = measure_surroundings(dark, variable="variance") if "variance" in dark else None
    stands = standing_out(dark, around, least=0.5 * min(sigma, cold_sigma, line_sigma))
    limit, share = limit_of(scatter, around, sigma), noise_share(scatter, around)
    values = np.empty(stands.shape, fl.FLAG_DTYPE)

    def judge(y0: int) -> None:
        here = slice(y0, y0 + _ROWS)
        if (
            "n_kept" in dark
        ):  # a mean of fewer frames is noisier, and where frames were rejected it is often off
            kept = np.asarray(dark["n_kept"].data[here], np.float32) / dark.attrs.get("n_frames", 1)
            lost = 1 / np.clip(kept, 1e-3, 1) - 1
            stands[here] /= np.sqrt(1 + np.float32(share**2) * lost)
        found = (stands[here] > limit) * np.uint16(fl.HOT) | (stands[here] < -cold_sigma) * np.uint16(fl.COLD)
        if "flags" in dark:
            saturated = (np.asarray(dark["flags"].data[here]) & fl.SATURATED) != 0
            found[saturated] |= fl.HOT | fl.SATURATED  # by thermal charge alone
        if scatter is not None:
            found[_unstable(dark, stands[here], around, scatter, gain, y0)] |= fl.UNSTABLE
        values[here] = found

    in_threads(judge, range(0, stands.shape[0], _ROWS))
    values[_bad_lines(stands, line_sigma)] |= fl.BAD_LINE
    return _made(dark, values, stands)


def limit_of(scatter: Surroundings | None, around: Surroundings, sigma: float) -> float:
    """Measured excess, in sigma, above which the true one is *sigma* in most cases."""
    return max(sigma - MARGIN * noise_share(scatter, around), 0.5 * sigma)


def noise_share(scatter: Surroundings | None, around: Surroundings) -> float:
    """The master's noise over sigma; 1 where it is not known."""
    if scatter is None:
        return 1.0
    share = float(np.median(np.sqrt(np.maximum(scatter.level, 0)) / around.sigma))
    return min(share, 1.0) if share > 0 else 1.0


def _bad_lines(stands: np.ndarray, line_sigma: float) -> np.ndarray:
    """Pieces of rows and columns, a tile long, more than half of whose pixels stand out to one side."""
    bad = np.zeros(stands.shape, bool)
    for side in (stands > line_sigma, stands < -line_sigma):
        if not side.any():
            continue
        for start, stop in _pieces(stands.shape[0]):
            bad[start:stop, side[start:stop].mean(axis=0) > 0.5] = True
        for start, stop in _pieces(stands.shape[1]):
            bad[side[:, start:stop].mean(axis=1) > 0.5, start:stop] = True
    return bad


def _pieces(size: int) -> list[tuple[int, int]]:
    """Pieces of a tile's length; the last one is moved back to fit."""
    starts = [*range(0, size - TILE + 1, TILE), max(0, size - TILE)]
    return [(start, min(start + TILE, size)) for start in starts]


def _unstable(
    dark: xr.Dataset,
    stands: np.ndarray,
    around: Surroundings,
    scatter: Surroundings,
    gain: float | None,
    y0: int,
) -> np.ndarray:
    """Pixels whose frames scatter more than their tile's, photon noise of their own charge allowed for; from row *y0* on."""
    count = int(dark.attrs.get("n_frames", 1))
    if count < _UNSTABLE_FRAMES:
        return np.zeros(stands.shape, bool)
    y1 = y0 + stands.shape[0]
    freedom = count - 1
    limit = special.chdtri(freedom, _UNSTABLE_CHANCE) / freedom
    variance = np.asarray(dark["variance"].data[y0:y1])
    expected = level_of_tiles(scatter, dark, y0, y1)
    unstable = variance > limit * expected
    y, x = np.nonzero(unstable & (stands != 0))
    gain = gain or meta.frame_value(dark, "gain")
    if not gain:
        unstable[y, x] = False  # more charge, more noise: how much is not known
        return unstable
    normal = level_of_tiles(around, dark, y0, y1)[y, x]
    photons = np.maximum(np.asarray(dark["signal"].data[y0:y1])[y, x] - normal, 0) / gain / count
    unstable[y, x] = variance[y, x] > limit * (expected[y, x] + photons)
    return unstable


def _in_flat(flat: xr.Dataset, response: float) -> DefectMap:
    around = measure_surroundings(flat, shadows=True)
    stands = standing_out(flat, around, least=_FLAT_SIGMA)
    values = np.zeros(stands.shape, fl.FLAG_DTYPE)

    def judge(y0: int) -> None:
        here = slice(y0, y0 + _ROWS)
        normal = level_of_tiles(around, flat, y0, min(y0 + _ROWS, stands.shape[0]))
        signal = np.asarray(flat["signal"].data[here])
        excess = np.divide(signal - normal, normal, out=np.zeros_like(signal), where=normal > 0)
        values[here][(stands[here] < -_FLAT_SIGMA) & (excess < -response)] |= fl.COLD
        values[here][(stands[here] > _FLAT_SIGMA) & (excess > response)] |= fl.BAD_FLAT
        if flat.attrs.get("units") == "1" and "flags" in flat:
            values[here] |= np.asarray(flat["flags"].data[here]) & np.uint16(fl.BAD_FLAT)

    in_threads(judge, range(0, stands.shape[0], _ROWS))
    return _made(flat, values, stands)


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
    return _made(dark, hot.astype(fl.FLAG_DTYPE) * np.uint16(fl.HOT))
