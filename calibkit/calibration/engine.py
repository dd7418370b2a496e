"""`calibrate`: subtract bias and dark, divide by the flat, replace bad pixels, and say how noisy it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from calibkit import meta
from calibkit.calibration.bands import reader_of, run_lazily, run_made, run_now
from calibkit.calibration.checks import (
    check_camera,
    check_frame,
    check_master,
    check_tolerance,
    cover,
    values_of,
)
from calibkit.calibration.dark import dark_scales, same_bias
from calibkit.calibration.noise_terms import noise_terms
from calibkit.calibration.recipe import REPAIR_REACHES, SMOOTH_REACHES, Recipe
from calibkit.calibration.rows import maker_for
from calibkit.cfa import channel_index
from calibkit.cfa.neighbours import neighbour_taps
from calibkit.errors import MismatchError, SettingError
from calibkit.flags import FLAG_DTYPE
from calibkit.io.result_file import rows_of
from calibkit.makers import tell_maker
from calibkit.progress import Progress, silent
from calibkit.session.grouping import filter_key
from calibkit.session.tolerances import Tolerances
from calibkit.warned import warn

#: °C between dark and light: the session's own tolerance. Dark current doubles every 5 to 7 °C.
TEMPERATURE_TOLERANCE = Tolerances().dark_temperature


def calibrate(
    light: xr.DataArray,
    *,
    bias: xr.Dataset | None = None,
    dark: xr.Dataset | None = None,
    flat: xr.Dataset | None = None,
    dark_scale: float | str | None = None,
    gain: float | Mapping[str, float] | None = None,
    read_noise: float | Mapping[str, float] | None = None,
    defects: Any = None,
    repair: bool = True,
    temperature_tolerance: float = TEMPERATURE_TOLERANCE,
    progress: Progress = silent,
) -> xr.Dataset:
    """Calibrate a frame or a stack: (light − bias − k · dark) / flat, with variance and flags.

    Parameters
    ----------
    light : xarray.DataArray
        Raw frame ``(y, x)`` or stack ``(frame, y, x)`` in ADU, from `calibkit.open_stack`.
    bias : xarray.Dataset, optional
        Master from `master_bias` or `constant_bias`, ADU.
    dark : xarray.Dataset, optional
        Master from `master_dark`, ADU. If it still holds its bias it has the light's exposure, and no bias is
        given besides. If its bias was subtracted, *bias* is given as well.
    flat : xarray.Dataset, optional
        Master from `master_flat`, unit 1.
    dark_scale : float or "exposure", optional
        Factor k of a dark whose bias was subtracted: a number, for instance from `measure_dark_scale`, or the
        ratio of the exposures. Without it the exposures have to agree.
    gain : float or mapping of channel to float, optional
        Electrons per ADU; by default what the frames say.
    read_noise : float or mapping of channel to float, optional
        Electrons; by default what the frames say, or else what the frames of the master bias showed.
    defects : DefectMap or xarray.DataArray, optional
        More bad pixels, from `find_defects`: flags ``(y, x)``.
    repair : bool
        Replace hot, cold, unstable, struck and flatless pixels by the mean of their good neighbours of the same
        channel; see `calibkit.repair`.
    temperature_tolerance : float
        °C by which the dark's temperature may differ from the light's. A number as *dark_scale* says that the
        difference is taken care of.
    progress : callable
        ``progress(done, total, what)``, for a light that is in memory.

    Returns
    -------
    xarray.Dataset
        ``signal`` (float32, ADU, negatives kept), ``variance`` (float32, ADU²) and ``flags`` (uint16), with the
        coordinates of *light*. Lazy where *light* is: nothing is read before it is computed or saved.

    Raises
    ------
    MismatchError
        A master does not belong to the light: size or place on the sensor, pattern, camera, binning, gain,
        exposure, temperature, filter; or bias would be subtracted twice or not at all from what is divided.
    SettingError
        A setting that cannot work.

    Warns
    -----
    CalibkitWarning
        The noise cannot be known (variance NaN), or the offset stays in what is divided by the flat.

    Notes
    -----
    With gain g in electrons per ADU, readout noise R in electrons, electrons L (of light and dark current) in a
    pixel, and k the scale of the dark,

    .. math:: \\sigma^2 = \\frac{L/g^2 + R^2/g^2 + 1/12 + (1-k)^2 \\sigma_B^2 + k^2 \\sigma_D^2}{F^2}
              + C^2 \\frac{\\sigma_F^2}{F^2}

    where B is the bias, D the dark with its bias in it, F the flat and C the result; 1/12 is the rounding to
    whole numbers [1]_. The bias that was subtracted from the dark enters light and dark with opposite signs,
    hence (1 − k)²; if it is another one than *bias*, both are added in full. The masters' variance is common to
    all lights calibrated with them and does not average down over frames that lie on the same pixels.

    L is not the pixel's own noisy value, whose use would bias weights and significances at low levels, but the
    mean of those pixels of its channel within two steps that agree with it to 3 σ [2]_, plus the pixel's own dark
    current. Where an exact dark still holds its bias, its dark current is not known; the noise of its frames,
    measured when it was made, then stands for readout and dark current together.

    References
    ----------
    .. [1] EMVA Standard 1288, release 4.0, 2021, eq. 12 (quantisation).
    .. [2] Lee, J.-S. 1983, "Digital image smoothing and the sigma filter", Computer Vision, Graphics, and Image
       Processing 24, 255.

    Examples
    --------
    >>> import calibkit
    >>> lights = calibkit.open_stack("lights/*.fit")  # doctest: +SKIP
    >>> calibkit.calibrate(lights, bias=bias, dark=dark, flat=flat, dark_scale="exposure")  # doctest: +SKIP
    """
    light = check_frame(light, "calibrate")
    check_tolerance(temperature_tolerance)
    cell, channels = channel_index(light)
    stack = light if "frame" in light.dims else light.expand_dims("frame")
    steps: list[dict[str, Any]] = []
    unknown: dict[str, list[str]] = {}
    saved_bias, saved_dark = bias, dark
    if bias is not None:
        bias, unknown["bias"] = _fitting(bias, light, "bias")
    if dark is not None:
        dark, unknown["dark"] = _fitting(dark, light, "dark")
    _refuse_twice(light, bias, dark, flat)
    scale, more = dark_scales(
        light, dark, bias is not None, dark_scale, temperature_tolerance=temperature_tolerance
    )
    unknown.setdefault("dark", []).extend(more)
    if flat is not None:
        flat, unknown["flat"] = _fitting(flat, light, "flat")
        _check_flat(flat, light, has_offset=bias is None and dark is None)
    common = bias is not None and dark is not None and same_bias(saved_bias, saved_dark)
    arrays = _arrays(bias, dark, flat, _defect_flags(defects, light))
    noise = noise_terms(light, channels, bias=bias, dark=dark, scale=scale, gain=gain, read_noise=read_noise)
    if noise is not None and not _know_their_noise(arrays):
        noise = None
    smooth, _ = neighbour_taps(cell, SMOOTH_REACHES)
    taps, rings = neighbour_taps(cell, REPAIR_REACHES)
    recipe = Recipe(
        cell=cell,
        scale=scale,
        constant=np.full(len(channels), _pedestal(light) - _pedestal(bias, dark, default=light)),
        bias_share=1.0 - 2.0 * scale if common else np.ones_like(scale),
        saturation=_saturation(light),
        noise=noise,
        smooth=smooth,
        taps=taps,
        rings=rings,
        repair=bool(repair),
    )
    for name, master in (("bias", bias), ("dark", dark), ("flat", flat)):
        if master is not None:
            steps.append(_step(name, master, scale if name == "dark" else None, unknown[name]))
    if repair:
        steps.append({"step": "repair", "method": "mean of good neighbours of the same channel"})
    data = stack.data
    maker = maker_for(recipe, reader_of(stack), arrays) if hasattr(data, "dask") else None
    if maker is not None:
        run = run_made(maker)
    elif hasattr(data, "dask"):
        run = run_lazily(data, arrays, recipe)
    else:
        run = run_now(data, arrays, recipe, progress)
    result = _result(light, run, bias, dark, flat)
    if maker is not None and "frame" in light.dims:
        tell_maker(result, maker)
    first = {"step": "calibrate", "inputs": _files(light)}
    if noise is not None:
        first["noise"] = noise.note
    return result.assign_attrs(provenance=[*light.attrs.get("provenance", []), first, *steps])


def _fitting(master: object, light: xr.DataArray, name: str) -> tuple[xr.Dataset, list[str]]:
    """The part of *master* on the light's pixels, and what could not be compared."""
    master = check_master(master, name)
    unknown = check_camera(master, light, name, gain=name != "flat")
    return cover(master, light, name), unknown


def _refuse_twice(
    light: xr.DataArray, bias: xr.Dataset | None, dark: xr.Dataset | None, flat: xr.Dataset | None
) -> None:
    """Refuse to do to a light what was done to it already, or what its dark does too."""
    for name, master, done in (
        ("bias", bias, "bias_subtracted"),
        ("dark", dark, "dark_subtracted"),
        ("flat", flat, "flat_divided"),
    ):
        if master is not None and light.attrs.get(done, False):
            how = done.replace("_", " ")
            msg = (
                f"{how} twice: the light says that this was done already (attrs[{done!r}]); leave {name}= out"
            )
            raise MismatchError(msg)
    if dark is None or dark.attrs.get("bias_subtracted", False):
        return
    if light.attrs.get("bias_subtracted", False):
        msg = (
            "bias subtracted twice: the bias was subtracted from the light already, and the dark still holds its own; "
            "make the dark with master_dark(stack, bias=bias)"
        )
        raise MismatchError(msg)
    if bias is not None:
        msg = (
            "bias subtracted twice: the dark still holds its bias, which would go once with bias= and once with dark=. "
            "Leave bias= out (the dark then has to have the light's exposure), or make the dark with "
            "master_dark(stack, bias=bias)"
        )
        raise MismatchError(msg)


def _check_flat(flat: xr.Dataset, light: xr.DataArray, *, has_offset: bool) -> None:
    if flat.attrs.get("units") != "1":
        msg = (
            f"the flat is not normalised: its unit is {flat.attrs.get('units')!r}, wanted is '1'. Make it with "
            "calibkit.master_flat, which takes an already combined flat as well"
        )
        raise MismatchError(msg)
    have, want = values_of(flat, "filter"), values_of(light, "filter")
    if have.size and want.size and {filter_key(f) for f in have} != {filter_key(f) for f in want}:
        msg = (
            f"the flat was taken through filter {', '.join(have)} and the light through {', '.join(want)}; dust and "
            "vignetting differ between filters, so take a flat of the same filter"
        )
        raise MismatchError(msg)
    offset_gone = any(light.attrs.get(f"{name}_subtracted", False) for name in ("bias", "dark", "overscan"))
    if has_offset and not offset_gone:
        msg = (
            "neither bias nor dark is given, so the light's offset is divided by the flat as if it were light; "
            "give bias= (calibkit.constant_bias makes one from a known level)"
        )
        warn(msg, stacklevel=3)


def _saturation(light: xr.DataArray) -> float:
    """Level at which a raw value is saturated; the top of a 16-bit number where the frame does not say it."""
    level = float(light.attrs.get("saturation", math.nan))
    if math.isnan(level) and light.dtype.kind == "u" and light.dtype.itemsize <= 2:
        return float(np.iinfo(light.dtype).max)
    return level


def _pedestal(*sources: xr.DataArray | xr.Dataset | None, default: xr.DataArray | None = None) -> float:
    """Known constant in the first source that holds an offset; the default's where there is none."""
    for source in sources:
        if source is not None and not source.attrs.get("bias_subtracted", False):
            return float(source.attrs.get("pedestal", 0.0) or 0.0)
    return float(default.attrs.get("pedestal", 0.0) or 0.0) if default is not None else 0.0


def _defect_flags(defects: Any, light: xr.DataArray) -> Any:
    if defects is None:
        return None
    flags = defects if isinstance(defects, xr.DataArray) else getattr(defects, "flags", None)
    if not isinstance(flags, xr.DataArray) or flags.dims != ("y", "x") or flags.dtype != FLAG_DTYPE:
        msg = (
            "defects= takes what calibkit.find_defects gives, or flags as a uint16 DataArray with dimensions "
            f"('y', 'x'); found {type(defects).__name__}"
        )
        raise SettingError(msg)
    return cover(flags.to_dataset(name="signal"), light, "defect map")["signal"].data


def _arrays(bias: Any, dark: Any, flat: Any, defects: Any) -> dict[str, Any]:
    arrays = {}
    for name, master in (("bias", bias), ("dark", dark), ("flat", flat)):
        if master is None:
            continue
        arrays[name] = master["signal"].data
        for part in ("variance", "flags"):
            if part in master:
                arrays[f"{name} {part}"] = master[part].data
    if defects is not None:
        arrays["defects"] = defects
    return arrays


def _know_their_noise(arrays: dict[str, Any]) -> bool:
    """Whether every master says its variance; a warning if one does not."""
    unknown = [
        name
        for name in ("bias", "dark", "flat")
        if name in arrays and _unknown(arrays.get(f"{name} variance"))
    ]
    if unknown:
        msg = (
            f"the variance of the master {' and '.join(unknown)} is not known, and so neither is that of the result "
            "(NaN); make masters of several frames, or of frames whose gain and read noise are known"
        )
        warn(msg, stacklevel=3)
    return not unknown


def _unknown(variance: Any) -> bool:
    if variance is None:
        return True
    height = variance.shape[0]
    y0, y1 = max(0, height // 2 - 8), min(height, height // 2 + 8)
    read = rows_of(variance)  # a slice of a lazy array would read a whole band of it
    return bool(np.isnan(np.asarray(variance[y0:y1] if read is None else read(y0, y1))).all())


def _step(name: str, master: xr.Dataset, scale: np.ndarray | None, unknown: list[str]) -> dict[str, Any]:
    step: dict[str, Any] = {"step": "divide flat" if name == "flat" else f"subtract {name}"}
    step["frames"] = int(master.attrs.get("n_frames", 1))
    made = [each for each in master.attrs.get("provenance", []) if each.get("step") == "combine"]
    if made:
        step["combine"] = {key: made[-1].get(key) for key in ("method", "reject", "low", "high")}
    if scale is not None:
        step["scale"] = float(scale[0]) if (scale == scale[0]).all() else scale.tolist()
        exposure = meta.frame_value(master, "exposure")
        if exposure is not None:
            step["exposure"] = float(exposure)
    if unknown:
        step["not compared"] = list(unknown)
    step["inputs"] = input_files(master)
    return step


def input_files(master: xr.Dataset) -> list[str]:
    """Names of every file that *master* was made from, each once."""
    names = (name for step in master.attrs.get("provenance", []) for name in step.get("inputs", []))
    return list(dict.fromkeys(names))


def _files(light: xr.DataArray) -> list[str]:
    if "file" not in light.coords:
        return []
    return [str(name) for name in np.atleast_1d(light.coords["file"].values) if str(name)]


def _result(
    light: xr.DataArray,
    run: tuple[Any, ...],
    bias: xr.Dataset | None,
    dark: xr.Dataset | None,
    flat: xr.Dataset | None,
) -> xr.Dataset:
    single = "frame" not in light.dims
    data = {
        name: (light.dims, array[0] if single else array)
        for name, array in zip(("signal", "variance", "flags"), run, strict=True)
    }
    attrs = meta.camera_attrs(light)
    attrs["units"] = "adu"
    for name, (_, default) in meta.FRAME_COORDS.items():
        if name not in ("file", "time"):
            attrs[name] = meta.frame_value(light, name, default)
    attrs["n_frames"] = 1
    before = {name: bool(light.attrs.get(name, False)) for name in ("bias_subtracted", "dark_subtracted")}
    attrs["bias_subtracted"] = before["bias_subtracted"] or bias is not None or dark is not None
    attrs["dark_subtracted"] = before["dark_subtracted"] or dark is not None
    attrs["flat_divided"] = flat is not None
    if attrs["bias_subtracted"]:
        attrs["pedestal"] = 0.0
        attrs.pop("black", None)
    result = xr.Dataset(data, coords=light.coords, attrs=attrs)
    result["signal"].attrs["units"] = "adu"
    result["variance"].attrs["units"] = "adu2"
    return result
