"""From the arguments of `combine` to a plan: everything is checked, measured and chosen here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from calibkit import meta
from calibkit.cfa import channel_index
from calibkit.combining.choose import choose_rejection, is_coarse
from calibkit.combining.efficiency import efficiency, tabled
from calibkit.combining.noise_model import detector_of, sample_noise
from calibkit.combining.normalise import BY_KIND, Levels, check_normalisation, coefficients, measure, workable
from calibkit.combining.plan import METHODS, Noise, Plan
from calibkit.combining.reach import can_reject, limits_of, rejection_named
from calibkit.combining.reading import StackReader
from calibkit.combining.rejections import REJECTIONS, Rejection
from calibkit.combining.threads import run
from calibkit.combining.weights import by_noise, frame_weights
from calibkit.errors import SettingError
from calibkit.progress import Progress

#: Factors of the variance are looked up for at most so many numbers of samples, and interpolated.
_FACTOR_COUNTS = 64


@dataclass
class Prepared:
    """The plan of a combination and what there is to say about it."""

    plan: Plan
    step: dict[str, Any]  # for the provenance
    message: str  # about the rejection
    warnings: list[str] = field(default_factory=list)


def prepare(
    reader: StackReader,
    stack: xr.DataArray | xr.Dataset,
    *,
    method: str,
    reject: str,
    low: float | None,
    high: float | None,
    normalise: str,
    weights: str | np.ndarray | None,
    progress: Progress,
    max_iterations: int | None = None,
    keep: int | None = None,
    gain: float | Mapping[str, float] | None = None,
    read_noise: float | Mapping[str, float] | None = None,
    levels: Levels | None = None,
) -> Prepared:
    """Check the arguments of `combine`, measure the frames where that is needed, and decide."""
    n = reader.shape[0]
    if method not in METHODS:
        msg = f"method={method!r} is not known; allowed are {', '.join(map(repr, METHODS))}"
        raise SettingError(msg)
    if weights is not None and method != "mean":
        msg = f"weights go with method='mean', found method={method!r}; leave weights out"
        raise SettingError(msg)
    if max_iterations is not None and max_iterations < 1:
        msg = f"max_iterations={max_iterations}: at least 1, or reject='none'"
        raise SettingError(msg)
    if n > np.iinfo(np.uint16).max:
        msg = f"{n} frames are more than combine can count per pixel (65535); combine them in groups"
        raise SettingError(msg)
    cell, channels = channel_index(stack)
    automatic = normalise == "auto"
    normalise = normalisation_of(normalise, stack)
    detector = detector_of(stack, gain=gain, read_noise=read_noise)
    notes: list[str] = []
    if reject == "auto":
        # a median rejects nothing in any case, and need not look at the frames for that
        coarse = method in ("mean", "sum") and is_coarse(reader)
        given = low is not None or high is not None
        name, why = choose_rejection(method, n, noise_known=detector.complete, coarse=coarse, limits=given)
        rejection = REJECTIONS[name]
    else:
        rejection, why = rejection_named(reject), ""
    low, high, keep = limits_of(rejection, low, high, keep)

    scale = zero = None
    if levels is not None and levels.location.shape != (n, len(channels)):
        msg = f"levels= of {levels.location.shape} frames and channels for a stack of {(n, len(channels))}"
        raise SettingError(msg)
    if levels is None and (normalise != "none" or by_noise(weights)):
        levels = measure(
            reader,
            cell,
            noise=by_noise(weights),
            run=lambda function, count, what: run(function, count, what, progress),
        )
    if automatic:
        normalise, simpler = workable(normalise, levels) if levels else (normalise, "")
        notes += [simpler] if simpler else []
    if normalise != "none":
        scale, zero = coefficients(normalise, levels, reader.name)
    weight, relative = frame_weights(
        weights,
        stack,
        noise=None if levels is None else levels.noise,
        scale=scale,
        channels=int(cell.max()) + 1,
    )
    noise = sample_noise(detector, stack, cell, scale=scale, zero=zero)
    if rejection.name == "noise_model":
        notes += detector.require()
    iterations = rejection.iterations if max_iterations is None else max_iterations
    message = f"{rejection.title}: {why}." if why else ""
    if rejection.name != "none":
        reach = can_reject(rejection.name, n, low, high, keep=keep)
        message = f"{message} {reach.message}".strip()
        if not reach.can and reject != "auto":
            notes.append(f"combine(reject={reject!r}): {reach.message}")
    factors = _variance_factors(
        method, rejection, n, low, high, iterations, keep, reader, cell, noise, scale, zero
    )
    plan = Plan(
        method=method,
        rejection=rejection,
        low=low,
        high=high,
        iterations=iterations,
        keep=keep,
        n_frames=n,
        cell=cell,
        scale=scale,
        zero=zero,
        weight=weight,
        relative=relative,
        noise=noise,
        scatter_factor=factors[0],
        carried_factor=factors[1],
        saturation=_saturation(stack, scale, zero),
    )
    step = {
        "step": "combine",
        "method": method,
        "reject": rejection.name,
        "low": low,
        "high": high,
        "max_iterations": max_iterations,
        "keep": keep,
        "normalise": normalise,
        "weights": weights
        if weights is None or isinstance(weights, str)
        else [float(w) for w in np.asarray(weights)],
        "chosen_because": why,
        "n_frames": n,
        "inputs": [str(f) for f in np.atleast_1d(stack.coords["file"].values)]
        if "file" in stack.coords
        else [],
    }
    if rejection.name == "noise_model":
        step |= {
            "gain": _plain(detector.gain, channels),
            "read_noise": _plain(detector.read_noise[None], channels),
        }
    return Prepared(plan, step, message, notes)


def _plain(values: np.ndarray, channels: tuple[str, ...]) -> float | dict[str, float] | list[float]:
    """(frame, channel) as one number, one for every channel, or the channels' mean for every frame."""
    if (values == values[0, 0]).all():
        return float(values[0, 0])
    if (values == values[0]).all():
        return dict(zip(channels, values[0].tolist(), strict=True))
    return values.mean(axis=1).tolist()


def normalisation_of(normalise: str, stack: xr.DataArray | xr.Dataset) -> str:
    """The normalisation that *normalise* stands for with the frames of *stack*."""
    check_normalisation(normalise)
    if stack.sizes["frame"] == 1:
        return "none"
    if normalise == "auto":
        return BY_KIND.get(meta.frame_value(stack, "kind", ""), "none")
    return normalise


def _saturation(stack: xr.DataArray | xr.Dataset, scale: np.ndarray | None, zero: np.ndarray | None) -> float:
    """The lowest value that a saturated sample has after normalisation; NaN when that is not known."""
    level = stack.attrs.get("saturation", np.nan)
    if isinstance(stack, xr.Dataset) or level is None or not np.isfinite(level):
        return float("nan")  # results carry flags, and a calibrated value says nothing about saturation
    return float(level if scale is None else (scale * level + zero).min())


def _variance_factors(
    method: str,
    rejection: Rejection,
    n: int,
    low: float,
    high: float,
    iterations: int,
    keep: int,
    reader: StackReader,
    cell: np.ndarray,
    noise: Noise | None,
    scale: np.ndarray | None,
    zero: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """`Plan.scatter_factor` and `Plan.carried_factor`."""
    name = rejection.name
    if name == "percentile":
        # in units of the noise that the frames have, its limits are those of a clip with known noise
        from calibkit.combining.noise_model import typical_ratio

        ratio = typical_ratio(reader, cell, scale, zero)
        name = "noise_model"
        low, high = (min(limit * ratio, 50.0) if np.isfinite(ratio) else 50.0 for limit in (low, high))
        low, high = round(low, 2), round(high, 2)
        if min(low, high) > 5.0:  # as good as none
            name, low, high, iterations, keep = "none", 0.0, 0.0, 0, 1
    usual = tabled(name, low, high, iterations=iterations, keep=keep)
    known = (
        np.unique(np.linspace(1, n, min(n, _FACTOR_COUNTS)).round().astype(int))
        if usual
        else np.unique([max(1, n // 2), n])
    )
    pairs = np.array(
        [
            efficiency(name, int(k), low, high, iterations=iterations, keep=keep).variance_factors(method)
            for k in known
        ]
    )
    counts = np.arange(n + 1)
    return np.interp(counts, known, pairs[:, 0]), np.interp(counts, known, pairs[:, 1])
