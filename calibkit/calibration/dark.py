"""Whether a dark fits the exposure and temperature of a frame, and by what factor it is scaled."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from calibkit.calibration.checks import check_temperature
from calibkit.errors import MismatchError, SettingError
from calibkit.meta import frame_value
from calibkit.session.tolerances import Tolerances

_TOLERANCES = Tolerances()


def dark_scales(
    light: xr.DataArray,
    dark: xr.Dataset | None,
    has_bias: bool,
    wanted: float | str | None,
    *,
    temperature_tolerance: float,
    subject: str = "light",
    name: str = "dark",
) -> tuple[np.ndarray, list[str]]:
    """Factor of the dark for every frame, and what could not be compared."""
    frames = light.sizes.get("frame", 1)
    number = _checked(wanted)
    if dark is None:
        if wanted is not None:
            msg = f"dark_scale={wanted!r} is given, but no dark; give dark= as well, or leave dark_scale= out"
            raise SettingError(msg)
        return np.ones(frames), []
    bias_free = bool(dark.attrs.get("bias_subtracted", False))
    if not bias_free and wanted is not None:
        msg = (
            f"dark_scale={wanted!r}, but the {name} still holds its bias, and scaling would scale the bias too. "
            "Make it with master_dark(stack, bias=bias) and give the bias to both, or leave dark_scale= out"
        )
        raise MismatchError(msg)
    if bias_free and not has_bias and not light.attrs.get("bias_subtracted", False):
        msg = (
            f"the bias was subtracted from the {name} but not from the {subject}: give bias=, or a {name} that still "
            "holds its bias and has the same exposure"
        )
        raise MismatchError(msg)
    unknown = []
    if number is None:
        unknown += check_temperature(dark, light, name, subject=subject, tolerance=temperature_tolerance)
    if number is not None:
        return np.full(frames, number), unknown
    have, want = frame_value(dark, "exposure"), _exposures(light)
    if have is None or want is None:
        if wanted == "exposure":
            msg = (
                f"dark_scale='exposure', but the exposure of the {name if have is None else subject} is not known; "
                "give the factor as a number"
            )
            raise MismatchError(msg)
        return np.ones(frames), [*unknown, "exposure"]
    if wanted == "exposure":
        if have <= 0:
            msg = f"dark_scale='exposure', but the {name} was exposed for {have:g} s"
            raise MismatchError(msg)
        return want / have, unknown
    off = [t for t in want.tolist() if not _TOLERANCES.same_exposure(t, float(have))]
    if off:
        do = (
            "give dark_scale='exposure' to scale it"
            if bias_free
            else "to scale it, make it with master_dark(stack, bias=bias), and give bias= and dark_scale='exposure'"
        )
        longer = (
            f"the {name} is longer than the {subject}: " if have > max(off) and name == "flat dark" else ""
        )
        msg = f"{longer}the {name} was exposed for {have:g} s and the {subject} for {off[0]:g} s; {do}"
        raise MismatchError(msg)
    return np.ones(frames), unknown


def _checked(wanted: float | str | None) -> float | None:
    """The factor, if it is given as a number."""
    if wanted is None or wanted == "exposure":
        return None
    number = math.nan if isinstance(wanted, str | bool) else float(wanted)
    if not (number >= 0 and math.isfinite(number)):
        msg = f"dark_scale={wanted!r}: allowed are a number ≥ 0, 'exposure' (the ratio of the exposures) or None"
        raise SettingError(msg)
    return number


def _exposures(light: xr.DataArray) -> np.ndarray | None:
    """Exposure of every frame in seconds, or None where one is not known."""
    found = light.coords["exposure"].values if "exposure" in light.coords else light.attrs.get("exposure")
    if found is None:
        return None
    values = np.broadcast_to(np.asarray(found, np.float64), (light.sizes.get("frame", 1),))
    return values if np.isfinite(values).all() else None


def fingerprint(master: xr.Dataset) -> str:
    """Short hash of the pixels of a master on 16 rows in its middle, to know it again."""
    import hashlib

    signal = master["signal"]
    middle = signal.sizes["y"] // 2
    values = np.ascontiguousarray(signal.data[max(0, middle - 8) : middle + 8], dtype="<f4")
    return hashlib.sha256(values.tobytes()).hexdigest()[:16]


def same_bias(bias: xr.Dataset, dark: xr.Dataset) -> bool:
    """Whether *bias* is the one that was subtracted when *dark* was made."""
    for step in dark.attrs.get("provenance", []):
        if step.get("step") == "subtract bias" and "fingerprint" in step:
            return step["fingerprint"] == fingerprint(bias)
    return False
