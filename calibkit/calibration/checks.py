"""Whether a master belongs to a frame, and the part of it that covers the frame."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from calibkit.cfa import channel_index, pattern_of
from calibkit.errors import MismatchError, SettingError
from calibkit.meta import known


def check_frame(light: object, who: str) -> xr.DataArray:
    """*light* as it has to be: one raw frame or a stack."""
    if isinstance(light, xr.Dataset):
        msg = (
            f"{who} takes a raw frame (a DataArray in ADU, from calibkit.open_stack), not a result: what is "
            "subtracted and divided is told in one call, so that the noise comes out right"
        )
        raise SettingError(msg)
    if not isinstance(light, xr.DataArray):
        msg = f"{who} takes an xarray.DataArray as calibkit.open_stack gives it, found {type(light).__name__}"
        raise SettingError(msg)
    if light.dims not in (("y", "x"), ("frame", "y", "x")):
        msg = f"{who} takes dimensions ('y', 'x') or ('frame', 'y', 'x'), found {light.dims}"
        raise MismatchError(msg)
    if 0 in light.shape:
        msg = f"{who} was given an empty frame, shape {light.shape}"
        raise MismatchError(msg)
    if light.dtype.kind not in "iuf":
        msg = f"{who} takes whole or floating point numbers, found type {light.dtype}"
        raise SettingError(msg)
    return light


def check_size(frame: xr.DataArray | xr.Dataset, who: str, *, pixels: int = 1) -> None:
    """Refuse a frame without one whole cell of its pattern, or with fewer *pixels* than so many in some channel."""
    cell, channels = channel_index(frame)
    height, width = frame.sizes["y"], frame.sizes["x"]
    (py, px), found = cell.shape, (height // cell.shape[0]) * (width // cell.shape[1])
    fewest = min(int((cell == number).sum()) * found for number in range(len(channels)))
    if fewest < max(pixels, 1):
        cells = (
            f"whole cells of {px} × {py} pixels of the pattern {pattern_of(frame)}"
            if len(channels) > 1
            else "pixels"
        )
        msg = (
            f"{who}: the frame measures {width} × {height} pixels, which hold {found} {cells}; {max(pixels, 1)} pixels of every "
            "channel at least are wanted. Take a larger part of the frame"
        )
        raise MismatchError(msg)


def check_master(master: object, name: str) -> xr.Dataset:
    """*master* as it has to be: one combined frame with its signal."""
    if not isinstance(master, xr.Dataset) or "signal" not in master:
        msg = (
            f"{name}= takes a master, a Dataset with 'signal' as calibkit.master_{name} or calibkit.open_result "
            f"gives it, found {type(master).__name__}; a single frame becomes one with "
            f"calibkit.master_{name}(calibkit.open_stack(path))"
        )
        raise SettingError(msg)
    if master["signal"].dims != ("y", "x"):
        msg = f"{name}= takes one frame with dimensions ('y', 'x'), found {master['signal'].dims}"
        raise MismatchError(msg)
    return master


def cover(master: xr.Dataset, light: xr.DataArray, name: str, subject: str = "light") -> xr.Dataset:
    """The part of *master* that lies on the sensor pixels of *light*.

    Raises
    ------
    MismatchError
        If it does not cover all of them.
    """
    cuts = {}
    for dim in ("y", "x"):
        have, want = _numbers(master["signal"], dim), _numbers(light, dim)
        start = np.flatnonzero(have == want[0])
        part = slice(int(start[0]), int(start[0]) + want.size) if start.size else slice(0, 0)
        if not np.array_equal(have[part], want):
            msg = (
                f"the {name} does not cover the {subject}: {name} {_extent(master['signal'])}, "
                f"{subject} {_extent(light)} (sensor pixels). Take a {name} of the same size and place, "
                "or crop both by their y and x coordinates"
            )
            raise MismatchError(msg)
        if part.stop - part.start < have.size:
            cuts[dim] = part
    return master.isel(cuts) if cuts else master


def _numbers(frame: xr.DataArray, dim: str) -> np.ndarray:
    return np.asarray(frame.coords[dim].values if dim in frame.coords else np.arange(frame.sizes[dim]))


def _extent(frame: xr.DataArray) -> str:
    x, y = _numbers(frame, "x"), _numbers(frame, "y")
    return f"{x.size} × {y.size} at x {x[0]}–{x[-1]}, y {y[0]}–{y[-1]}"


def values_of(obj: xr.DataArray | xr.Dataset, name: str) -> np.ndarray:
    """What is known of *name* for the frames of *obj*, each value once."""
    if name in obj.coords:
        values = np.atleast_1d(obj.coords[name].values)
        return np.unique(np.array([v for v in values.tolist() if known(v)]))
    value = obj.attrs.get(name)
    return np.array([value]) if known(value) else np.array([])


def check_camera(
    master: xr.Dataset, light: xr.DataArray, name: str, *, subject: str = "light", gain: bool = True
) -> list[str]:
    """Refuse another camera, binning, pattern or gain; give what could not be compared, in words."""
    unknown: list[str] = []
    if pattern_of(master).text != pattern_of(light).text:
        _differ("colour pattern", name, pattern_of(master), subject, pattern_of(light))
    _same(master, light, "binning", name, subject, unknown, lambda v: tuple(v), "{0[1]} × {0[0]}")
    _same(master, light, "camera", name, subject, unknown, lambda v: " ".join(v.casefold().split()), "{!r}")
    _same(master, light, "roworder", name, subject, [], str, "{}")
    if name != "flat":
        _same_overscan(master, light, name, subject)
    if gain:
        have, want = values_of(master, "gain_setting"), values_of(light, "gain_setting")
        if have.size and want.size:
            if have.size > 1 or want.size > 1 or have[0] != want[0]:
                _differ("gain setting (ISO)", name, _list(have), subject, _list(want))
        else:
            have, want = values_of(master, "gain"), values_of(light, "gain")
            if have.size and want.size and not np.allclose(want, have[0], rtol=0.01):
                _differ("gain", name, f"{have[0]:.4g} e⁻/ADU", subject, f"{_list(want)} e⁻/ADU")
            if not have.size or not want.size:
                unknown.append("gain")
    return unknown


def check_temperature(
    master: xr.Dataset, light: xr.DataArray, name: str, *, subject: str, tolerance: float
) -> list[str]:
    """Refuse a master taken at another temperature."""
    have, want = values_of(master, "temperature"), values_of(light, "temperature")
    if not have.size or not want.size:
        return ["temperature"]
    worst = want[np.argmax(np.abs(want - have[0]))]
    if abs(worst - have[0]) > tolerance + 1e-9:
        msg = (
            f"the {name} was taken at {have[0]:g} °C and the {subject} at {worst:g} °C: more than "
            f"{tolerance:g} °C apart. Dark current doubles every 5 to 7 °C; take a {name} of the same temperature, "
            "measure its scale with calibkit.measure_dark_scale and give dark_scale=that, or widen "
            "temperature_tolerance"
        )
        raise MismatchError(msg)
    return []


def check_tolerance(tolerance: float) -> None:
    """Refuse what is no temperature difference."""
    if not (isinstance(tolerance, int | float) and tolerance >= 0):
        msg = f"temperature_tolerance={tolerance!r}: a number of °C ≥ 0 is wanted (math.inf allows any)"
        raise SettingError(msg)


def _same(
    master: xr.Dataset,
    light: xr.DataArray,
    attr: str,
    name: str,
    subject: str,
    unknown: list[str],
    key: Callable[[Any], object],
    form: str,
) -> None:
    have, want = master.attrs.get(attr), light.attrs.get(attr)
    if not _said(have) or not _said(want):
        unknown.append(attr)
    elif key(have) != key(want):
        _differ(attr, name, form.format(have), subject, form.format(want))


def _same_overscan(master: xr.Dataset, light: xr.DataArray, name: str, subject: str) -> None:
    """Offsets cancel only where the overscan was subtracted from both or from none."""
    if master.attrs.get("bias_subtracted", False) or light.attrs.get("bias_subtracted", False):
        return
    have, want = (bool(obj.attrs.get("overscan_subtracted", False)) for obj in (master, light))
    if have != want:
        there, not_there = (name, subject) if have else (subject, name)
        msg = (
            f"the overscan was subtracted from the {there} and not from the {not_there}: their offsets differ. Treat the "
            "frames of both with calibkit.subtract_overscan, or of none"
        )
        raise MismatchError(msg)


def _said(value: object) -> bool:
    return value is not None and not (isinstance(value, str) and not value)


def _differ(what: str, name: str, have: object, subject: str, want: object) -> None:
    msg = f"the {name} does not belong to the {subject}: {what} {have or 'none'}, the {subject} has {want or 'none'}"
    raise MismatchError(msg)


def _list(values: np.ndarray) -> str:
    return ", ".join(
        f"{v:g}" if isinstance(v, float) and math.isfinite(v) else str(v) for v in values.tolist()
    )
