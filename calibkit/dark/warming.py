"""`measure_warming`: how the sensor's temperature changed through a session, from the frames themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from calibkit.calibration.checks import check_camera, check_frame, check_master, cover, values_of
from calibkit.cfa import channel_index
from calibkit.dark.hot_pixels import LEAST, LIGHT_SIGMA, SIGMA, HotPixels, fit_strength, too_few, watch
from calibkit.defects.defect_map import DefectMap
from calibkit.errors import CalibkitError, SettingError
from calibkit.meta import frame_value
from calibkit.progress import Progress, silent
from calibkit.warned import warn

#: Pixels above this share of saturation are not linear any more.
_LINEAR = 0.8
#: A pixel that is hot in some frames only was struck or is unstable: the least over the largest charge.
_LASTING = 0.1
#: A drift is told from here on.
_SEEN_SIGMA, _SEEN_DEGREES = 4.0, 0.5
#: Temperatures that are stated have to differ by this much to tell a doubling.
_LEAST_SPAN = 2.0


@dataclass(frozen=True)
class Warming:
    """What `measure_warming` found.

    Attributes
    ----------
    table : xarray.Dataset
        Along ``frame``: ``time``, ``hours`` since the first frame, ``exposure``, ``temperature`` (as the frames say),
        ``camera_temperature`` (from maker notes), ``strength`` of the hot pixels per second over the reference's with
        ``strength_error``, and ``change`` of temperature against the reference in °C with ``change_error``. Along
        ``(channel, frame)``: ``level`` (ADU, of darks or of the shielded part of lights) and ``saturated`` (pixels that
        thermal charge alone fills).
    drift, drift_error : float
        °C from the first frame to the last, by a straight line in time.
    hours : float
        Between them; NaN where times are not known.
    reference : str
        What strengths and changes are measured against.
    doubling : float
        Temperature step in °C over which the charge doubles, as assumed.
    pixels : int
        Hot pixels that were watched.
    """

    table: xr.Dataset
    drift: float
    drift_error: float
    hours: float
    reference: str
    doubling: float
    pixels: int

    @property
    def seen(self) -> bool:
        """Whether the sensor's temperature drifted: by 4 sigma and half a degree at least."""
        return abs(self.drift) > max(_SEEN_SIGMA * self.drift_error, _SEEN_DEGREES)

    @property
    def stated_doubling(self) -> float:
        """Temperature step in °C over which the charge doubles if the frames' own temperatures are right.

        NaN where they are not known, or not 2 °C apart. It makes the scale of `change` that of the frames.
        """
        celsius, strength = self.table["temperature"].values, self.table["strength"].values
        use = np.isfinite(celsius) & (strength > 0)
        if use.sum() < 2 or np.ptp(celsius[use]) < _LEAST_SPAN:
            return math.nan
        slope = float(np.polyfit(celsius[use], np.log2(strength[use]), 1)[0])
        return 1 / slope if slope > 0 else math.nan

    @property
    def spread(self) -> float:
        """°C between the coldest and the warmest frame."""
        change = self.table["change"].values
        return float(np.nanmax(change) - np.nanmin(change)) if np.isfinite(change).any() else math.nan

    def __str__(self) -> str:
        span = f" in {self.hours:.2g} h" if math.isfinite(self.hours) else ""
        error = float(np.nanmax(self.table["change_error"].values, initial=0.0))
        if self.seen:
            how = "warmed up" if self.drift > 0 else "cooled down"
            text = f"the sensor {how} by {abs(self.drift):.2f} ± {self.drift_error:.2f} °C{span}"
        elif self.spread > max(2 * _SEEN_SIGMA * error, _SEEN_DEGREES):
            text = f"the sensor's temperature went up and down by {self.spread:.2f} °C{span}"
        else:
            text = f"no drift of temperature: {self.drift:+.2f} ± {self.drift_error:.2f} °C{span}"
        return f"{text}, by {self.pixels} hot pixels whose charge doubles every {self.doubling:g} °C"


def measure_warming(
    stack: xr.DataArray,
    *,
    dark: xr.Dataset | None = None,
    doubling: float = 7.0,
    shielded: Mapping[str, slice] | None = None,
    progress: Progress = silent,
) -> Warming:
    """Measure how the sensor's temperature changed from frame to frame, by the charge of its hot pixels.

    Parameters
    ----------
    stack : xarray.DataArray
        Raw darks or lights ``(frame, y, x)``, ADU, of one camera and gain setting, lazy or in memory.
    dark : xarray.Dataset, optional
        Master dark of the same camera, from `master_dark`, with or without its bias: says which pixels are hot, and how
        much; changes are then against its temperature. Without it darks are measured against their own mean, and so
        are lights, whose hot pixels are those that stay while the sky moves (three lights at least).
    doubling : float
        Temperature step in °C over which the charge of hot pixels doubles.
    shielded : mapping of dimension to slice, optional
        Part of the frames that no light reaches, for ``stack.isel``: masked margins of frames opened with
        ``area="full"``. Its level is told for lights.
    progress : callable
        ``progress(done, total, what)``.

    Returns
    -------
    Warming

    Raises
    ------
    SettingError
        A setting that cannot work.
    MismatchError
        Fewer than two frames, frames that do not say their exposure, or a dark that does not belong to them.
    CalibkitError
        Too few hot pixels stand out.

    Warns
    -----
    CalibkitWarning
        A temperature is only known from maker notes.

    Notes
    -----
    The charge of a hot pixel above the median of its good neighbours of the same channel knows neither offset nor sky
    nor amplifier glow, and where the camera subtracts the level of its masked margins from every frame it is all
    that is left of the temperature. In each frame the strength k of d, the same pixels' charge in the reference, is
    fitted robustly, c = k d, with the photon noise of that charge allowed for; its error is a jackknife over
    groups of pixels. The temperature differs by *doubling* · log₂ k, exposures divided out.

    The scale of these degrees is as good as *doubling*: 5 to 6 °C is usual for the charge of all pixels, 7 to 10 °C
    for hot ones, which is depletion current [1]_; `Warming.stated_doubling` tells what it is where the frames state
    their temperature. What a camera writes into its maker notes is the temperature of a sensor near its processor, in
    whole degrees and read at any time; it is told beside but used for nothing.

    References
    ----------
    .. [1] Widenhorn, R. et al. 2002, Proc. SPIE 4669, 193.

    Examples
    --------
    >>> from calibkit.simulate import Camera, simulate_stack
    >>> camera = Camera(shape=(128, 128), hot_fraction=0.02, reference_temperature=20)
    >>> cool, warm = (simulate_stack(camera, 1, kind="dark", exposure=60, temperature=t, frame_index=t) for t in (20, 25))
    >>> found = measure_warming(xr.concat([cool, warm], "frame"))
    >>> 4 < found.drift < 6
    True
    """
    stack = _checked(stack, doubling, shielded)
    exposures = _exposures(stack)
    kinds = values_of(stack, "kind").tolist()
    light = any(kind in ("light", "flat") for kind in kinds)
    found, reference = _hot_pixels(stack, dark, light=light, progress=progress)
    pixels = HotPixels.over(stack, found, sigma=LIGHT_SIGMA if reference is None else SIGMA)
    contrast, top, levels, full = watch(stack, pixels, light=light, shielded=shielded, progress=progress)
    rates = contrast / exposures[:, None]
    lasting = np.ones(pixels.y.size, bool)
    if dark is None:
        charge, name = rates.mean(axis=0), "the mean of these frames"
        lasting = rates.min(axis=0) > _LASTING * rates.max(axis=0)
        seconds = exposures
    else:
        charge = pixels.contrast(np.asarray(reference["signal"].data))
        name, own = "the dark", frame_value(dark, "exposure")
        if not own:
            msg = (
                "measure_warming: the dark does not say its exposure; dark.assign_attrs(exposure=…) tells it"
            )
            raise SettingError(msg)
        seconds = exposures / float(own)
    limit = _LINEAR * float(stack.attrs.get("saturation", math.nan))
    good = lasting & (charge > 0) & ~(top > limit) & np.isfinite(contrast).all(axis=0)
    if good.sum() < LEAST:
        raise CalibkitError(too_few(int(good.sum())))
    gain = frame_value(stack, "gain")
    strength, error = np.array(
        [fit_strength(c[good], charge[good] * s, gain) for c, s in zip(contrast, seconds, strict=True)]
    ).T
    table = _table(stack, exposures, strength, error, doubling, levels, full)
    drift, drift_error, hours = _drift(table)
    return Warming(table, drift, drift_error, hours, name, float(doubling), int(good.sum()))


def _checked(stack: object, doubling: float, shielded: Mapping[str, slice] | None) -> xr.DataArray:
    stack = check_frame(stack, "measure_warming")
    parts = {} if shielded is None else dict(shielded)
    cut = set(parts) <= {"y", "x"} and all(
        isinstance(part, slice) and part.step in (None, 1) for part in parts.values()
    )
    if not cut or 0 in stack.isel(parts).shape:
        msg = (
            f"measure_warming: shielded={shielded!r}; slices of y and x with pixels in them are wanted, such as "
            "{'x': slice(0, 40)}"
        )
        raise SettingError(msg)
    if not (isinstance(doubling, int | float) and math.isfinite(doubling) and doubling > 0):
        msg = f"measure_warming: doubling={doubling!r}; a number of °C above 0 is wanted, such as 7"
        raise SettingError(msg)
    if stack.sizes.get("frame", 1) < 2:
        msg = "measure_warming: two frames at least are needed to see a change, found 1"
        raise SettingError(msg)
    return stack


def _exposures(stack: xr.DataArray) -> np.ndarray:
    count = stack.sizes["frame"]
    values = stack.coords["exposure"].values if "exposure" in stack.coords else np.nan
    exposures = np.broadcast_to(np.asarray(values, float), (count,))
    if not (np.isfinite(exposures) & (exposures > 0)).all():
        msg = (
            "measure_warming: every frame has to say its exposure, above 0 s; found "
            f"{', '.join(f'{e:g}' for e in np.unique(exposures))}. Assign them: stack.assign_coords(exposure=…)"
        )
        raise SettingError(msg)
    return exposures


def _hot_pixels(
    stack: xr.DataArray, dark: xr.Dataset | None, *, light: bool, progress: Progress
) -> tuple[DefectMap, xr.Dataset | None]:
    """The defects of the sensor, and the master dark that they are known from."""
    from calibkit.combining import combine
    from calibkit.defects import find_defects

    if dark is not None:
        dark = check_master(dark, "dark")
        check_camera(dark, stack, "dark", subject="stack")
        dark = cover(dark, stack, "dark", "stack")
    elif light:
        return find_defects(lights=stack, progress=progress), None
    else:
        dark = combine(stack, normalise="none", reject="none", progress=progress)
    # Without its variance: where the sensor warms up, hot pixels are not as steady as its noise.
    return find_defects(dark=dark.drop_vars("variance", errors="ignore")), dark


def _table(
    stack: xr.DataArray,
    exposures: np.ndarray,
    strength: np.ndarray,
    error: np.ndarray,
    doubling: float,
    levels: np.ndarray,
    full: np.ndarray,
) -> xr.Dataset:
    count = stack.sizes["frame"]
    unknown = np.full(count, np.nan)
    times = (
        np.broadcast_to(stack.coords["time"].values, (count,)).astype("M8[ns]")
        if "time" in stack.coords
        else np.full(count, np.datetime64("NaT", "ns"))
    )
    hours = (times - times.min()) / np.timedelta64(1, "h") if not np.isnat(times).any() else unknown
    stated = stack.coords["temperature"].values if "temperature" in stack.coords else unknown
    stated = np.broadcast_to(np.asarray(stated, float), (count,))
    positive = strength > 0
    change = doubling * np.log2(np.where(positive, strength, np.nan))
    change_error = doubling / math.log(2) * error / np.where(positive, strength, np.nan)
    columns = {
        "time": (times, ""),
        "hours": (hours, "h"),
        "exposure": (exposures, "s"),
        "temperature": (stated, "°C"),
        "camera_temperature": (_from_maker_notes(stack, stated), "°C"),
        "strength": (strength, "1"),
        "strength_error": (error, "1"),
        "change": (change, "°C"),
        "change_error": (change_error, "°C"),
    }
    data = {name: ("frame", values, {"units": unit}) for name, (values, unit) in columns.items()}
    data |= {
        "level": (("channel", "frame"), levels, {"units": "adu"}),
        "saturated": (("channel", "frame"), full, {"units": "pixel"}),
    }
    return xr.Dataset(data, coords={"channel": list(channel_index(stack)[1])})


def _from_maker_notes(stack: xr.DataArray, stated: np.ndarray) -> np.ndarray:
    """What the camera wrote, with a word of warning where nothing better is known."""
    from calibkit.io.makernotes import camera_temperature

    names = stack.coords["file"].values if "file" in stack.coords else ""
    names = np.broadcast_to(names, stated.shape)
    found = np.array([camera_temperature(str(name)) if name else math.nan for name in names])
    if np.isfinite(found).any() and not np.isfinite(stated).all():
        msg = (
            "measure_warming: the only temperature that these files state is from the maker notes: that of a sensor "
            "somewhere in the camera, in whole degrees. It is told in camera_temperature and used for nothing"
        )
        warn(msg, stacklevel=4)
    return found


def _drift(table: xr.Dataset) -> tuple[float, float, float]:
    """°C from the first frame to the last by a weighted straight line, its error, and the hours between."""
    x = table["hours"].values
    timed = bool(np.isfinite(x).all()) and float(np.ptp(x)) > 0
    span = float(np.ptp(x)) if timed else math.nan
    x = x if timed else np.arange(x.size, dtype=float)
    y, sigma = table["change"].values, table["change_error"].values
    use = np.isfinite(y) & np.isfinite(sigma)
    if use.sum() < 2:
        return math.nan, math.nan, span
    x, y, weight = x[use], y[use], 1 / np.maximum(sigma[use], 1e-6) ** 2
    middle = np.average(x, weights=weight)
    spread = float((weight * (x - middle) ** 2).sum())
    slope = float((weight * (x - middle) * y).sum()) / spread
    rest = y - np.average(y, weights=weight) - slope * (x - middle)
    freedom = x.size - 2
    worse = math.sqrt(float((weight * rest**2).sum()) / freedom) if freedom > 0 else 1.0
    reach = float(np.ptp(x))
    return slope * reach, reach * max(1.0, worse) / math.sqrt(spread), span
