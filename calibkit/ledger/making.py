"""`noise_ledger`: predicted variance by source, after each step, beside the measured one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from calibkit.calibration.engine import TEMPERATURE_TOLERANCE
from calibkit.calibration.levels import per_channel
from calibkit.errors import CalibkitError
from calibkit.ledger.book import COMPARISONS, SOURCES, STEPS, NoiseLedger
from calibkit.ledger.sample import blocks_of, read_blocks
from calibkit.ledger.sources import OF_A_FRAME
from calibkit.ledger.tally import Tally, tally_block
from calibkit.ledger.task import Task, make_task
from calibkit.meta import frame_value
from calibkit.progress import Progress, silent
from calibkit.warned import collected

#: Photons that lie above the sky by less than the rest are the sky's: its gradient, the noise of its level.
_ALL_SKY = 0.98


def noise_ledger(
    lights: xr.DataArray,
    *,
    bias: xr.Dataset | None = None,
    dark: xr.Dataset | None = None,
    flat: xr.Dataset | None = None,
    dark_scale: float | str | None = None,
    gain: float | Mapping[str, float] | None = None,
    read_noise: float | Mapping[str, float] | None = None,
    defects: Any = None,
    temperature_tolerance: float = TEMPERATURE_TOLERANCE,
    dithered: bool = False,
    sky: float | Mapping[str, float] | None = None,
    progress: Progress = silent,
) -> NoiseLedger:
    """Where the noise of an image comes from, step by step, predicted and measured.

    Parameters
    ----------
    lights : xarray.DataArray
        Raw frames ``(frame, y, x)`` of one exposure, or one frame ``(y, x)``, in ADU, lazy or in memory. A crop to
        some part of the field makes a ledger of that part.
    bias, dark, flat : xarray.Dataset, optional
        Masters, as they are given to `calibrate`.
    dark_scale : float or "exposure", optional
        As for `calibrate`.
    gain : float or mapping of channel to float, optional
        Electrons per ADU; by default what the frames say.
    read_noise : float or mapping of channel to float, optional
        Electrons; by default what the frames say, or else what the frames of the master bias showed.
    defects : DefectMap or xarray.DataArray, optional
        More bad pixels to leave out, as for `calibrate`.
    temperature_tolerance : float
        °C by which the dark's temperature may differ from the light's.
    dithered : bool
        The sky lay on other pixels in every frame. Only then does the noise of the masters average down with
        the number of lights; otherwise it is the same in all of them.
    sky : float or mapping of channel to float, optional
        Level of the empty sky in the calibrated frame, ADU; the median of what is looked at by default. The
        photons above it are the object's.
    progress : callable
        ``progress(done, total, what)``.

    Returns
    -------
    NoiseLedger
        ``table`` has all the numbers; printed, it is a text, and a table in a notebook. ``limits`` tells what
        limits the image and ``buys`` what more frames or a longer exposure would gain.

    Raises
    ------
    CalibkitError
        The noise cannot be predicted, because a gain, read noise or master's variance is not known; or there
        are too few typical pixels to see it.
    MismatchError
        Lights of several exposures, or masters that do not belong to them.
    SettingError
        A setting that cannot work.

    Warns
    -----
    CalibkitWarning
        What `calibrate` would warn of.

    Notes
    -----
    The prediction is the variance of `calibrate` itself, taken apart [1]_; both are the same for every pixel.
    It is an average over typical pixels: those with a flag, stars and edges, and pixels whose response or dark
    current is far from that of most in their tile of 48 × 48 pixels are left out. A large frame is sampled: some
    500 000 pixels of it, in blocks that are spread evenly.

    It is measured in two ways. *Between frames*: half the variance of the difference of two frames [2]_, which
    holds what is new in every frame, since the masters and the pattern of the sensor are common and drop out.
    *Between pixels*: a sixth of the variance of a − 2b + c for diagonal neighbours of one colour, which holds
    everything, with the noise of the masters and the pattern that is not gone yet. That pattern is not predicted
    but measured on the masters that will take it out, less their own noise. Both leave out differences beyond
    4 σ and correct for that. What is not in the ledger, such as interference, shows in the ratio.

    The last step, "combined", is the plain mean of the frames, on the same pixels. If they are dithered, it is
    that of the calibrated frames shifted against each other by whole cells of the pattern, so that the masters'
    noise averages as it does when stars are aligned. Rejection of outliers costs a little more; see `can_reject`.

    Errors are standard errors from the scatter between tiles; those of gain and read noise are not in them.

    References
    ----------
    .. [1] Newberry, M. V. 1991, "Signal-to-noise considerations for sky-subtracted CCD data", PASP 103, 122.
    .. [2] Janesick, J. R. 2001, Scientific Charge-Coupled Devices, SPIE, chapter 5.

    Examples
    --------
    >>> import calibkit
    >>> from calibkit.simulate import Camera, Sky, simulate_stack
    >>> camera = Camera(shape=(192, 192), hot_fraction=0, sensitivity_spread=0)
    >>> lights = simulate_stack(camera, 4, exposure=60, sky=Sky(background=10))
    >>> biases = simulate_stack(camera, 20, kind="bias", frame_index=10)
    >>> ledger = noise_ledger(lights, bias=calibkit.master_bias(biases))
    >>> ledger.limits["L"].source
    'sky'
    """
    options = {
        "dark_scale": dark_scale,
        "gain": gain,
        "read_noise": read_noise,
        "defects": defects,
        "temperature_tolerance": temperature_tolerance,
    }
    task = make_task(lights, bias=bias, dark=dark, flat=flat, dithered=dithered, **options)
    grid = blocks_of(task.lights.shape, task.layout.tile, task.rim)
    total, done = sum(map(len, grid)), 0
    tallies: list[list[Tally]] = [[] for _ in task.channels]
    progress(0, total, "noise ledger")
    with collected():  # make_task gave those of `calibrate`, once for all blocks
        for row in grid:
            for block, pixels in zip(row, read_blocks(task.lights, row), strict=True):
                for kept, tally in zip(tallies, tally_block(task, block, pixels), strict=True):
                    kept.append(tally)
                done += 1
                progress(done, total, "noise ledger")
    joined = [{key: np.concatenate([part[key] for part in parts]) for key in parts[0]} for parts in tallies]
    return NoiseLedger(_table(task, joined, _sky_levels(task, joined, sky), bias, dark, flat))


def _sky_levels(task: Task, tallies: list[Tally], sky: float | Mapping[str, float] | None) -> np.ndarray:
    """Level of the sky after the last step that is done to a frame, per channel; NaN for an empty channel."""
    known = [_known(tally[_last(tally), "level"]) for tally in tallies]
    if not any(level.size for level in known):
        msg = (
            f"noise_ledger: no tile of {task.layout.tile[0]} × {task.layout.tile[1]} pixels has half of them typical "
            "(no flag, no star, response and dark current like the others'); take a larger part of the frame, or "
            "look at the flags of a calibrated frame with calibkit.flags.count_flags"
        )
        raise CalibkitError(msg)
    if sky is not None:
        return per_channel(sky, task.channels, "sky", least=-math.inf)
    return np.array([np.median(level) if level.size else math.nan for level in known])


def _known(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]


def _mean(values: np.ndarray) -> float:
    """Mean over the tiles that have a value, NaN when none has."""
    known = _known(values)
    return float(known.mean()) if known.size else math.nan


def _last(tally: Tally) -> str:
    """The last step that is done to a single frame."""
    return [step for step in STEPS if step != "combined" and (step, "level") in tally][-1]


def _table(
    task: Task,
    tallies: list[Tally],
    sky: np.ndarray,
    bias: xr.Dataset | None,
    dark: xr.Dataset | None,
    flat: xr.Dataset | None,
) -> xr.Dataset:
    steps = [step for step in STEPS if (step, "level") in tallies[0]]
    shape = (len(steps), len(task.channels))
    variance = np.zeros((*shape, len(SOURCES)))
    level = np.full(shape, math.nan)
    compared = {
        name: np.full((*shape, len(COMPARISONS)), math.nan)
        for name in ("predicted", "measured", "ratio", "ratio_error")
    }
    per_adu = task.close_terms.per_adu.mean(axis=0)
    frames = task.lights.sizes["frame"]
    for i, step in enumerate(steps):
        for c, tally in enumerate(tallies):
            sources = _sources(task, tally, step, frames, sky[c] * per_adu[c])
            for s, name in enumerate(SOURCES):
                variance[i, c, s] = _mean(sources[name])
            level[i, c] = _mean(tally[step, "level"])
            everything = np.sum([sources[name] for name in SOURCES], axis=0)
            differing = [*OF_A_FRAME[:-1], "sky", "object"]
            new = np.sum([sources[name] for name in differing], axis=0)
            for k, (what, predicted) in enumerate((("frames", new), ("pixels", everything))):
                compared["predicted"][i, c, k] = _mean(predicted)
                measured = tally.get((step, f"measured {what}"))
                if measured is not None:
                    found = _ratio(predicted, measured)
                    for name, value in zip(("measured", "ratio", "ratio_error"), found, strict=True):
                        compared[name][i, c, k] = value
    units = {"predicted": "adu2", "measured": "adu2", "ratio": "1", "ratio_error": "1"}
    pair = ("step", "channel", "comparison")
    table = xr.Dataset(
        {
            "variance": (("step", "channel", "source"), variance, {"units": "adu2"}),
            "level": (("step", "channel"), level, {"units": "adu"}),
            **{name: (pair, values, {"units": units[name]}) for name, values in compared.items()},
            "gain": ("channel", 1.0 / per_adu, {"units": "electron/adu"}),
            "sky_level": ("channel", sky, {"units": "adu"}),
            "pixels": ("channel", [float(np.nansum(t["raw", "pixels"])) for t in tallies], {"units": "1"}),
        },
        coords={
            "step": steps,
            "channel": list(task.channels),
            "source": list(SOURCES),
            "comparison": list(COMPARISONS),
        },
    )
    return table.assign_attrs(_facts(task, bias, dark, flat))


def _sources(task: Task, tally: Tally, step: str, frames: int, sky: float) -> dict[str, np.ndarray]:
    """Variance of every source in every tile; *sky* is the variance of its photons at a response of 1."""
    nothing = np.zeros_like(tally["raw", "level"])
    found = {name: tally.get((step, name), nothing) for name in SOURCES}
    photons = tally[step, "photons"]
    divided = (step == "flat" or step == "combined") and task.masters.flat is not None
    response = tally["raw", "inverse response" if divided else "response"]
    # Shares of a mean: what is not known of single tiles is not made of noise.
    expected = _mean(sky * response) / (frames if step == "combined" else 1)
    mean = _mean(photons)
    share = min(1.0, max(0.0, expected / mean)) if mean > 0 else 1.0
    share = 1.0 if share > _ALL_SKY else share
    return found | {"sky": share * photons, "object": (1.0 - share) * photons}


def _ratio(predicted: np.ndarray, measured: np.ndarray) -> tuple[float, float, float]:
    """(measured variance, predicted over measured, its standard error) from numbers per tile."""
    good = np.isfinite(predicted) & np.isfinite(measured)
    p, m = predicted[good], measured[good]
    if not m.size or not m.sum() > 0:
        return math.nan, math.nan, math.nan
    ratio = p.sum() / m.sum()
    error = np.std(p - ratio * m, ddof=1) / m.mean() / math.sqrt(m.size) if m.size > 1 else math.nan
    return float(m.mean()), float(ratio), float(error)


def _facts(
    task: Task, bias: xr.Dataset | None, dark: xr.Dataset | None, flat: xr.Dataset | None
) -> dict[str, Any]:
    """What else the ledger tells: counts, exposure, where the noise model's numbers come from."""
    note = task.terms.note
    facts: dict[str, Any] = {
        "lights": task.lights.sizes["frame"],
        "exposure": float(frame_value(task.lights, "exposure", math.nan)),
        "dark_scale": float(task.scale.mean()) if dark is not None else math.nan,
        "dithered": task.dithered,
        "gain_from": _source_in_words(note["gain_from"]),
        "floor_from": _source_in_words(note["floor_from"]),
        "readout_holds_dark_current": not task.close_floor.split,
        "saturation": float(task.lights.attrs.get("saturation", math.nan)),
    }
    for name, master in (("bias", bias), ("dark", dark), ("flat", flat)):
        facts[f"{name}_frames"] = 0 if master is None else int(master.attrs.get("n_frames", 1))
    return facts


def _source_in_words(source: object) -> str:
    """Where a number of the noise model comes from: an option, the frames, or the scatter of some frames."""
    text = str(source)
    return f"what was given as {text[:-1]}" if text.endswith("=") else text
