"""`score`: a learner's calibrated frame against the truth that the simulator knows."""

from __future__ import annotations

import os
from dataclasses import dataclass
from html import escape

import numpy as np
import xarray as xr

from calibkit.cfa import Pattern
from calibkit.errors import SettingError
from calibkit.simulate import session_truth

#: A hot pixel counts as left over when it stands this many of its stated errors above the truth.
LEFT_SIGMA = 5.0
#: Marks of a good calibration: error of the level over the sky, spread of the pulls, hot pixels left.
LEVEL, PULL, HOT_LEFT, COLOUR, EVEN = 0.01, 0.05, 0.02, 0.02, 0.01
#: Evenness is judged on this many regions along each side.
_REGIONS = 8


@dataclass(frozen=True)
class Score:
    """How close a calibrated frame comes to the truth.

    Attributes
    ----------
    level_error : dict of str to float
        Channel → median of result minus truth, as a fraction of the sky's level.
    noise_ratio : float
        True scatter over the noise that the result states; 1 when it states the truth. NaN without a variance.
    noise_cost : float
        True scatter over that of perfect calibration of the same frame; 1 is the best there can be.
    unevenness : float
        Scatter of the brightest channel's error from region to region, 8 × 8 of them, as a fraction of the sky's
        level: shading or glow that is left.
    colour_error : float
        Largest error of the ratio of two channels' sky levels, by the names that the result gives its channels;
        0 for one channel.
    hot_left : float
        Share of the truly hot pixels that still stand out by 5 σ and carry no flag.
    """

    level_error: dict[str, float]
    noise_ratio: float
    noise_cost: float
    unevenness: float
    colour_error: float
    hot_left: float

    @property
    def rows(self) -> list[tuple[str, str, bool, str]]:
        """What was measured, the number, whether it is good, and what to look for when it is not."""
        worst = max(self.level_error.values(), key=abs)
        rows = [
            (
                "level",
                f"{worst:+.2%} of the sky",
                abs(worst) <= LEVEL,
                "something is still in the image or was taken off twice: which bias, which dark?",
            ),
            (
                "evenness",
                f"{self.unevenness:.2%} of the sky from region to region",
                self.unevenness <= EVEN,
                "shading or glow is left: does the flat hold an offset? is the dark as warm and as long as the light?",
            ),
            (
                "noise stated",
                "not stated" if np.isnan(self.noise_ratio) else f"{self.noise_ratio:.2f} × what is stated",
                bool(abs(self.noise_ratio - 1) <= PULL),
                "the stated variance does not hold all the noise: is a pattern left, or a master forgotten?",
            ),
            (
                "noise added",
                f"{self.noise_cost:.2f} × perfect calibration",
                self.noise_cost <= 1.15,
                "the masters add noise: more frames in them, or a flat with more light",
            ),
            (
                "hot pixels",
                f"{self.hot_left:.1%} are left",
                self.hot_left <= HOT_LEFT,
                "a dark of the same temperature and exposure takes most of them; find_defects and repair the rest",
            ),
        ]
        if len(self.level_error) > 1:
            rows.insert(
                1,
                (
                    "colour",
                    f"{self.colour_error:.2%} off" if self.colour_error < 1 else "channels confused",
                    self.colour_error <= COLOUR,
                    "the channels do not fit: is the pattern the right one, and each channel's flat its own?",
                ),
            )
        return [(what, text.replace("-", "−"), good, why) for what, text, good, why in rows]

    @property
    def good(self) -> bool:
        """Whether everything is as good as it should be."""
        return all(good for _what, _text, good, _why in self.rows)

    def __str__(self) -> str:
        lines = []
        for what, text, good, why in self.rows:
            lines.append(f"{'✓' if good else '✗'} {what:13} {text}{'' if good else ' — ' + why}")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        cells = "".join(
            f'<tr><td style="color:{"#009E73" if good else "#D55E00"}"><b>{"✓" if good else "✗"}</b></td>'
            f'<td style="text-align:left">{escape(what)}</td><td style="text-align:left">{escape(text)}</td>'
            f'<td style="text-align:left">{"" if good else escape(why)}</td></tr>'
            for what, text, good, why in self.rows
        )
        return f"<table>{cells}</table>"


def score(
    result: xr.Dataset, night: str | os.PathLike[str], file: str | os.PathLike[str] | None = None
) -> Score:
    """Hold a calibrated frame of a simulated session against the truth.

    Parameters
    ----------
    result : xarray.Dataset
        One calibrated light with dims ``(y, x)``, as `calibkit.calibrate` gives it, in ADU.
    night : path
        Folder of the simulated session.
    file : path, optional
        Which light it was, as a path below *night*; the result's own ``file`` when it has one, the first light
        otherwise.

    Returns
    -------
    Score
        Level, colour, noise stated, noise added and hot pixels left, each with what to look for.

    Raises
    ------
    SettingError
        Not one calibrated frame, not in ADU, or of another size than the session's frames.
    FrameFileError
        *night* is no simulated session.

    Notes
    -----
    Pixels that saturate, that respond weakly or that jump between levels in truth are left out. Levels are medians and
    scatter is half the distance of the 16th and the 84th percentile, so that stars do not count.

    Examples
    --------
    >>> score(calibrated.isel(frame=0), night)  # doctest: +SKIP
    """
    if not isinstance(result, xr.Dataset) or "signal" not in result or result.signal.dims != ("y", "x"):
        found = getattr(getattr(result, "signal", result), "dims", type(result).__name__)
        msg = (
            "score needs one calibrated frame, a Dataset with signal (y, x); "
            f"found {found}; take one with .isel(frame=0)"
        )
        raise SettingError(msg)
    units = result.attrs.get("units", result.signal.attrs.get("units"))
    if units != "adu":
        msg = f"score compares in adu, found {units!r}; calibrate without converting to electrons"
        raise SettingError(msg)
    if file is None and "file" in result.coords:
        file = str(result.coords["file"].values)
    truth = session_truth(night, file)
    if not (set(result.y.values) <= set(truth.y.values) and set(result.x.values) <= set(truth.x.values)):
        msg = (
            f"the frame covers rows {result.y.values[0]}–{result.y.values[-1]} and columns {result.x.values[0]}–"
            f"{result.x.values[-1]}; the session's frames are {truth.sizes['y']} × {truth.sizes['x']} pixels"
        )
        raise SettingError(msg)
    truth = truth.sel(y=result.y, x=result.x)
    return _scored(result, truth)


def _scored(result: xr.Dataset, truth: xr.Dataset) -> Score:
    signal = result.signal.values.astype(np.float64)
    error = signal - truth.signal.values
    usable = ~(truth.saturated | truth.unstable | truth.weak).values & np.isfinite(error)
    flagged = result["flags"].values != 0 if "flags" in result else np.zeros(signal.shape, bool)
    hot = truth.hot_rate.values > 0
    plain = usable & ~hot & ~flagged
    # The camera's own pattern, not the one that the header says: a swapped pattern has to show.
    pattern = Pattern(truth.attrs.get("cfa", ""))
    here = _labels(pattern, result)
    sky = {channel: np.median(truth.signal.values[plain & (here == channel)]) for channel in pattern.channels}
    levels = {c: float(np.median(error[plain & (here == c)]) / sky[c]) for c in pattern.channels}
    bright = plain & (here == max(sky, key=sky.__getitem__))
    pull = np.full(signal.shape, np.nan)
    stated = np.sqrt(result["variance"].values.astype(np.float64)) if "variance" in result else None
    ideal = np.sqrt(truth.variance.values)
    if stated is not None:
        np.divide(error, stated, out=pull, where=stated > 0)
    scale = ideal if stated is None else np.maximum(stated, ideal)
    left = usable & hot & ~flagged & (error > LEFT_SIGMA * scale)
    return Score(
        levels,
        _spread(pull[plain]),
        _spread((error / ideal)[plain]),
        _unevenness(*(np.where(bright, each, np.nan) for each in (error, truth.signal.values))),
        _colour(result, truth.signal.values, error, plain, here, pattern),
        float(left.sum() / max((usable & hot).sum(), 1)),
    )


def _spread(values: np.ndarray) -> float:
    values = values[np.isfinite(values)]
    if not values.size:
        return float("nan")
    low, high = np.quantile(values, [0.1587, 0.8413])
    return float(high - low) / 2


def _labels(pattern: Pattern, frame: xr.Dataset) -> np.ndarray:
    """Name of every pixel's channel."""
    labels = np.asarray(pattern.labels)
    py, px = labels.shape
    return labels[np.ix_(frame.y.values % py, frame.x.values % px)]


def _unevenness(error: np.ndarray, sky: np.ndarray) -> float:
    rows, columns = (np.array_split(np.arange(n), _REGIONS) for n in error.shape)
    if not (len(rows[-1]) and len(columns[-1])):
        return float("nan")
    parts = [
        np.nanmedian(error[np.ix_(y, x)]) / np.nanmedian(sky[np.ix_(y, x)]) for y in rows for x in columns
    ]
    return float(np.std(parts))


def _colour(
    result: xr.Dataset,
    sky: np.ndarray,
    error: np.ndarray,
    plain: np.ndarray,
    here: np.ndarray,
    pattern: Pattern,
) -> float:
    """Largest error of a channel's ratio to the brightest one, under the names that the result has for them."""
    own = _labels(Pattern(result.attrs.get("cfa", "")), result)
    true, found = {}, {}
    for channel in pattern.channels:
        true[channel] = np.median(sky[plain & (here == channel)])
        named = plain & (own == channel)
        if not named.any():
            return float("nan")  # a pattern of another kind: the channels do not even have these names
        found[channel] = np.median(sky[named]) + np.median(error[named])
    brightest = max(true, key=true.__getitem__)
    return float(
        max(abs((found[c] / found[brightest]) / (true[c] / true[brightest]) - 1) for c in pattern.channels)
    )
