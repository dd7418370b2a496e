"""Master frames: bias, dark and flat from stacks of frames, or a constant bias."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from calibkit import meta
from calibkit.calibration import checks
from calibkit.calibration.dark import dark_scales, fingerprint, same_bias
from calibkit.calibration.engine import TEMPERATURE_TOLERANCE, input_files
from calibkit.calibration.flat import prepare_normalisation, subtracted_stack, warn_of_exposure
from calibkit.calibration.flat_level import add_times, divide_by_level
from calibkit.calibration.levels import per_channel
from calibkit.calibration.pairs import pair_noise
from calibkit.cfa import channel_index
from calibkit.combining import combine
from calibkit.errors import MismatchError, SettingError
from calibkit.flags import FLAG_DTYPE, SATURATED
from calibkit.warned import warn


def master_bias(stack: xr.DataArray, **options: Any) -> xr.Dataset:
    """Combine bias frames into a master bias.

    Parameters
    ----------
    stack : xarray.DataArray
        Bias frames ``(frame, y, x)``, raw, ADU.
    **options
        Passed to `calibkit.combine`: method, reject, low, high, progress …

    Returns
    -------
    xarray.Dataset
        ``signal`` in ADU, ``variance``, ``flags``. ``attrs["frame_noise"]`` is the noise of a single frame and
        ``attrs["channel_level"]`` the level, both in ADU per channel, from differences of frames.

    Raises
    ------
    MismatchError
        The stack is not one of raw frames, or its exposures or temperatures say that it holds no biases.
    SettingError
        An option that cannot work.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frames = np.random.default_rng(0).normal(100, 5, (9, 8, 8)).astype("f4")
    >>> bias = master_bias(xr.DataArray(frames, dims=("frame", "y", "x")))
    >>> round(float(bias.signal.mean())), bias.attrs["n_frames"]
    (100, 9)
    """
    stack = _stack(stack, "master_bias", ("bias",))
    result = combine(stack, **({"normalise": "none"} | options))
    return _with_noise(result, stack, options.get("client")).assign_attrs(kind="bias")


def master_dark(
    stack: xr.DataArray,
    *,
    bias: xr.Dataset | None = None,
    hot_sigma: float | None = 5.0,
    temperature_tolerance: float = TEMPERATURE_TOLERANCE,
    **options: Any,
) -> xr.Dataset:
    """Combine dark frames into a master dark, with its hot pixels flagged.

    Parameters
    ----------
    stack : xarray.DataArray
        Dark frames (or flat darks) of one exposure and temperature, ``(frame, y, x)``, raw, ADU.
    bias : xarray.Dataset, optional
        Master bias to subtract. Only then may the dark be scaled to another exposure.
    hot_sigma : float or None
        Pixels that stand out from their surroundings of the same channel by this many sigma are flagged hot, see
        `find_defects`; None flags none. What is flagged is replaced when a light is calibrated.
    temperature_tolerance : float
        °C by which the frames may differ from each other.
    **options
        Passed to `calibkit.combine`.

    Returns
    -------
    xarray.Dataset
        ``signal`` in ADU, ``variance``, ``flags``; ``attrs["bias_subtracted"]`` says whether the bias is gone.
        ``frame_noise`` and ``channel_level`` as for `master_bias`.

    Raises
    ------
    MismatchError
        The frames differ in exposure or temperature, or the bias does not belong to them.
    SettingError
        An option that cannot work.

    Notes
    -----
    Pixels that are saturated by thermal charge alone in at least half of the frames are flagged saturated and hot.

    Examples
    --------
    >>> import calibkit
    >>> night = calibkit.sample_session("ccd")
    >>> dark = calibkit.master_dark(calibkit.open_stack(night / "darks/*"))
    >>> dark.attrs["kind"], dark.attrs["n_frames"], dark.attrs["bias_subtracted"]
    ('dark', 11, False)
    """
    from calibkit.defects import find_defects

    stack = _stack(stack, "master_dark", ("dark", "flat dark"))
    _one_value(stack, "exposure", "s", 0.05)
    _one_value(stack, "temperature", "°C", temperature_tolerance)
    if bias is not None:
        bias, unknown = _bias_for(bias, stack, "dark")
    result = combine(stack, **({"normalise": "none"} | options))
    result = _with_noise(result, stack, options.get("client"))
    kind = meta.frame_value(stack, "kind", "dark")
    result = result.assign_attrs(
        kind=kind, exposure=_middle(stack, "exposure"), temperature=_middle(stack, "temperature")
    )
    if bias is not None:
        level = bias.attrs.get("channel_level")
        result = _minus(result, bias, unknown)
        if isinstance(level, Mapping) and "channel_level" in result.attrs:
            old = result.attrs["channel_level"]
            result.attrs["channel_level"] = {c: old[c] - float(level[c]) for c in old}
        elif "channel_level" in result.attrs:
            del result.attrs["channel_level"]
    if hot_sigma is None:
        return result
    found = find_defects(dark=result, sigma=hot_sigma).flags
    np.bitwise_or(found.values, np.asarray(result["flags"].data), out=found.values)
    return result.assign(flags=found)


def master_flat(
    stack: xr.DataArray | xr.Dataset,
    *,
    bias: xr.Dataset | None = None,
    dark: xr.Dataset | None = None,
    dark_scale: float | str | None = None,
    temperature_tolerance: float = TEMPERATURE_TOLERANCE,
    **options: Any,
) -> xr.Dataset:
    """Combine flats into a master flat: the response of every pixel, relative to the mean of its channel.

    Parameters
    ----------
    stack : xarray.DataArray or xarray.Dataset
        Flats of one filter, ``(frame, y, x)``, raw, ADU; or an already combined flat ``(y, x)``, from which bias
        and dark are subtracted as given before it is normalised.
    bias : xarray.Dataset, optional
        Master bias to subtract: where *dark* has none in it, or instead of a dark.
    dark : xarray.Dataset, optional
        Master flat dark of the flats' exposure, or a dark whose bias was subtracted, to be scaled.
    dark_scale : float or "exposure", optional
        As for `calibrate`.
    temperature_tolerance : float
        °C by which the dark's temperature may differ.
    **options
        Passed to `calibkit.combine`. Frames are brought to one level by multiplying before outliers are looked for.

    Returns
    -------
    xarray.Dataset
        ``signal`` with unit 1 and mean 1 in every channel, ``variance``, ``flags`` (bad_flat where it is zero,
        negative, saturated or has no data). ``attrs["channel_level"]`` holds the level in ADU that each channel was
        divided by, so that the colour of the lamp can be told.

    Raises
    ------
    MismatchError
        Masters that do not belong to the flats, a flat dark longer than the flats, bias subtracted twice, a
        channel that is saturated as a whole, or flats without any light.
    SettingError
        An option that cannot work.

    Warns
    -----
    CalibkitWarning
        A channel is saturated in part or so weakly exposed that the flat adds more than 1 % of noise; a channel
        without light (a narrowband filter), all of which is flagged bad_flat; no bias and no dark.

    Notes
    -----
    The mean is over good pixels within five robust sigma (1.4826 × the median absolute deviation) of the median.
    One level for each channel, not for each frame, keeps a Bayer sensor's colours as they are in the light.
    Offset that is left in a flat makes its shadows too shallow, and whatever is divided by it wrong there.

    Examples
    --------
    >>> import calibkit
    >>> night = calibkit.sample_session("ccd")
    >>> flat_dark = calibkit.master_dark(calibkit.open_stack(night / "flat darks/*"))
    >>> flat = calibkit.master_flat(calibkit.open_stack(night / "flats/*"), dark=flat_dark)
    >>> [round(float(flat.signal.quantile(part)), 3) for part in (0.001, 0.999)]
    [0.956, 1.038]
    """
    combined = isinstance(stack, xr.Dataset)
    frames = (
        stack["signal"].assign_attrs(stack.attrs) if combined else _stack(stack, "master_flat", ("flat",))
    )
    frames = _with_frame_values(frames, stack) if combined else frames
    checks.check_size(frames, "master_flat")
    checks.check_tolerance(temperature_tolerance)
    _one_filter(frames)
    done = bool(frames.attrs.get("bias_subtracted", False)) or bool(
        frames.attrs.get("dark_subtracted", False)
    )
    unknown: dict[str, list[str]] = {"bias": [], "dark": []}
    whole_bias, whole_dark = bias, dark
    if bias is not None:
        if done:
            _twice("the flat says that its bias was subtracted already")
        bias, unknown["bias"] = _bias_for(bias, frames, "flat")
    if dark is not None:
        if bias is not None and not dark.attrs.get("bias_subtracted", False):
            _twice("the dark still holds its bias, which would go once with bias= and once with dark=")
        dark = checks.check_master(dark, "dark")
        unknown["dark"] = checks.check_camera(dark, frames, "flat dark", subject="flat")
        dark = checks.cover(dark, frames, "flat dark", "flat")
    scale, more = dark_scales(
        frames,
        dark,
        bias is not None,
        dark_scale,
        temperature_tolerance=temperature_tolerance,
        subject="flat",
        name="flat dark",
    )
    unknown["dark"] += more
    if bias is None and dark is None and not done and not frames.attrs.get("overscan_subtracted", False):
        msg = (
            "the flat's offset stays in it, since neither bias nor dark is given: it will correct too little; "
            "give dark= (flat dark) or bias= (calibkit.constant_bias makes one from a known level)"
        )
        warn(msg, stacklevel=2)
    common = bias is not None and dark is not None and same_bias(whole_bias, whole_dark)
    if combined:
        result = _subtract_from_combined(stack, bias, dark, float(scale[0]), common=common)
    else:
        lit = subtracted_stack(frames, bias, dark, scale)
        if "normalise" not in options:
            lit, options["normalise"] = prepare_normalisation(lit)
        result = combine(lit, **options)
        result = _add_master_noise(result, bias, dark, float(scale.mean()), common=common)
    for name, master in (("bias", bias), ("dark", dark)):
        if master is not None:
            step: dict[str, Any] = {"frames": int(master.attrs.get("n_frames", 1))}
            if name == "dark":
                step["scale"] = float(scale.mean())
            if unknown[name]:
                step["not compared"] = unknown[name]
            result = meta.add_step(result, f"subtract {name}", **step, inputs=input_files(master))
    result.attrs |= {
        "kind": "flat",
        "bias_subtracted": done or bias is not None or dark is not None,
        "dark_subtracted": bool(frames.attrs.get("dark_subtracted", False)) or dark is not None,
    }
    result, found = divide_by_level(result)
    warn_of_exposure(result, found, frames)
    return result


def constant_bias(
    stack: xr.DataArray, level: float | Mapping[str, float] | None = None, *, error: float = 0.0
) -> xr.Dataset:
    """A bias that is the same number all over the frame, or in each channel: no noise, no pattern.

    Parameters
    ----------
    stack : xarray.DataArray
        The frames that it is for: size, place on the sensor, camera and gain are taken from them.
    level : float or mapping of channel to float, optional
        ADU; by default the black level per channel that a camera RAW file gives, the frame's pedestal, or 0 where
        the overscan was subtracted.
    error : float
        Standard error of the level, ADU.

    Returns
    -------
    xarray.Dataset
        A master bias, ``(y, x)``.

    Raises
    ------
    SettingError
        No level is given, and the frames say none.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> light = xr.DataArray(np.zeros((4, 4), "u2"), dims=("y", "x"), coords={"y": range(4), "x": range(4)})
    >>> constant_bias(light.assign_attrs(cfa="RGGB"), {"R": 60, "G1": 61, "G2": 61, "B": 62}).signal.values[:2, :2]
    array([[60., 61.],
           [61., 62.]], dtype=float32)
    """
    cell, channels = channel_index(stack)
    source = "level="
    if level is None:
        black, pedestal = stack.attrs.get("black"), float(stack.attrs.get("pedestal", 0.0) or 0.0)
        if black:
            level, source = dict(black), "the black level of the file"
        elif pedestal:
            level, source = pedestal, "the pedestal of the frame"
        elif stack.attrs.get("overscan_subtracted", False):
            level, source = 0.0, "the overscan, which was subtracted"
        else:
            msg = (
                "constant_bias: these frames say neither black level nor pedestal; give level= in ADU, for instance "
                "the median of a bias frame"
            )
            raise SettingError(msg)
    levels = per_channel(level, channels, "level", least=-1e9)
    if not error >= 0:
        msg = f"constant_bias: error={error!r}; a number of ADU ≥ 0 is wanted"
        raise SettingError(msg)
    height, width = stack.sizes["y"], stack.sizes["x"]
    py, px = cell.shape
    tile = levels.astype(np.float32)[cell]
    signal = np.tile(tile, (-(-height // py), -(-width // px)))[:height, :width]
    coords = {name: stack.coords[name].variable for name in ("y", "x") if name in stack.coords}
    result = xr.Dataset(
        {
            "signal": (("y", "x"), np.ascontiguousarray(signal)),
            "variance": (("y", "x"), np.full((height, width), error**2, np.float32)),
            "flags": (("y", "x"), np.zeros((height, width), FLAG_DTYPE)),
        },
        coords=coords,
    )
    values = dict(zip(channels, levels.tolist(), strict=True))
    attrs = meta.camera_attrs(stack) | {"units": "adu", "kind": "bias", "n_frames": 1}
    for name in ("gain", "gain_setting"):
        attrs[name] = meta.frame_value(stack, name, np.nan)
    attrs |= {"exposure": 0.0, "temperature": np.nan, "filter": "", "channel_level": values}
    attrs |= {"bias_subtracted": False, "dark_subtracted": False, "flat_divided": False}
    attrs["provenance"] = [{"step": "constant bias", "level": values, "from": source, "inputs": []}]
    result.attrs = attrs
    result["signal"].attrs["units"] = "adu"
    result["variance"].attrs["units"] = "adu2"
    return result


def _stack(stack: object, who: str, kinds: tuple[str, ...]) -> xr.DataArray:
    stack = checks.check_frame(stack, who)
    found = set(checks.values_of(stack, "kind").tolist()) - set(kinds)
    if found:
        msg = (
            f"{who} was given frames of kind {', '.join(map(repr, sorted(found)))}, wanted are {kinds[0]}s; if their "
            f"header is wrong, open them with open_stack(paths, kind={kinds[0]!r})"
        )
        raise MismatchError(msg)
    return stack if "frame" in stack.dims else stack.expand_dims("frame")


def _with_noise(result: xr.Dataset, stack: xr.DataArray, client: Any = None) -> xr.Dataset:
    """*result* with the noise of a single frame and the level of each channel, where frames can be compared."""
    if stack.sizes["frame"] < 2:
        return result
    found = pair_noise(stack, sample=True, client=client)
    return result.assign_attrs(frame_noise=found.noise, channel_level=found.level)


def _bias_for(bias: xr.Dataset, frames: xr.DataArray, subject: str) -> tuple[xr.Dataset, list[str]]:
    bias = checks.check_master(bias, "bias")
    unknown = checks.check_camera(bias, frames, "bias", subject=subject)
    return checks.cover(bias, frames, "bias", subject), unknown


def _minus(result: xr.Dataset, bias: xr.Dataset, unknown: list[str]) -> xr.Dataset:
    """A combined dark without the bias, in its own memory."""
    step: dict[str, Any] = {"frames": int(bias.attrs.get("n_frames", 1)), "fingerprint": fingerprint(bias)}
    if unknown:
        step["not compared"] = unknown
    pedestal = float(result.attrs.get("pedestal", 0.0) or 0.0) - float(bias.attrs.get("pedestal", 0.0) or 0.0)
    own = {name: np.require(result[name].data, None, ["C", "W"]) for name in ("signal", "variance", "flags")}
    add_times(own["signal"], bias["signal"].data, -1.0)
    own["signal"] -= np.float32(pedestal)
    add_times(own["variance"], bias["variance"].data, 1.0)
    own["flags"] |= np.asarray(bias["flags"].data)
    result = result.assign({name: result[name].copy(data=values) for name, values in own.items()})
    result = meta.add_step(result, "subtract bias", **step, inputs=input_files(bias))
    result.attrs |= {"bias_subtracted": True, "pedestal": 0.0}
    result.attrs.pop("black", None)
    return result


def _one_value(stack: xr.DataArray, name: str, unit: str, tolerance: float) -> None:
    values = checks.values_of(stack, name)
    if values.size > 1 and float(values.max() - values.min()) > tolerance + 1e-9:
        msg = (
            f"the darks differ in {name}: {', '.join(f'{v:g}' for v in values)} {unit}. A dark belongs to one {name}; "
            "combine each group apart"
        )
        raise MismatchError(msg)


def _middle(stack: xr.DataArray, name: str) -> float:
    values = checks.values_of(stack, name)
    return float(np.median(values)) if values.size else float("nan")


def _one_filter(frames: xr.DataArray) -> None:
    found = checks.values_of(frames, "filter")
    if found.size > 1:
        msg = f"the flats were taken through several filters: {', '.join(found)}; combine those of each filter apart"
        raise MismatchError(msg)


def _twice(why: str) -> None:
    msg = (
        f"bias subtracted twice: {why}. Leave bias= out, or make the dark with master_dark(stack, bias=bias)"
    )
    raise MismatchError(msg)


def _with_frame_values(frames: xr.DataArray, master: xr.Dataset) -> xr.DataArray:
    """*frames* with what is known of an already combined flat as coordinates, as a frame has it."""
    values = {name: master.attrs[name] for name in meta.FRAME_COORDS if name in master.attrs}
    return frames.assign_coords(values)


def _subtract_from_combined(
    master: xr.Dataset, bias: xr.Dataset | None, dark: xr.Dataset | None, scale: float, *, common: bool
) -> xr.Dataset:
    result = checks.check_master(master, "flat").copy(deep=False)
    signal = np.array(result["signal"].data, np.float32)
    for part, factor in ((bias, 1.0), (dark, scale)):
        if part is not None:
            signal = signal - np.float32(factor) * np.asarray(part["signal"].data)
    variance = (
        np.array(result["variance"].data, np.float32)
        if "variance" in result
        else np.full(signal.shape, np.nan, np.float32)
    )
    flags = np.asarray(result["flags"].data) if "flags" in result else np.zeros(signal.shape, FLAG_DTYPE)
    saturation = float(master.attrs.get("saturation", np.nan))
    flags = flags | np.where(np.asarray(master["signal"].data) >= saturation, SATURATED, 0).astype(FLAG_DTYPE)
    dims = ("y", "x")
    result = result.assign(signal=(dims, signal), variance=(dims, variance), flags=(dims, flags))
    return _add_master_noise(result, bias, dark, scale, common=common)


def _add_master_noise(
    result: xr.Dataset, bias: xr.Dataset | None, dark: xr.Dataset | None, scale: float, *, common: bool
) -> xr.Dataset:
    """*result* with the variance that the masters bring, which is the same in every frame, added in its own memory."""
    for part, factor in ((bias, 1.0 - 2.0 * scale if common else 1.0), (dark, scale**2)):
        if part is not None and "variance" in part:
            add_times(result["variance"].data, part["variance"].data, factor)
    return result
