"""`combine`: from a stack of frames to one frame, with its variance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from calibkit.combining.bands import OUTPUTS
from calibkit.combining.normalise import Levels
from calibkit.combining.prepare import prepare
from calibkit.combining.reading import StackReader
from calibkit.combining.result import make_result
from calibkit.combining.threads import run, run_bands
from calibkit.progress import Progress, silent
from calibkit.warned import warn


def combine(
    stack: xr.DataArray | xr.Dataset,
    *,
    method: str = "mean",
    reject: str = "auto",
    low: float | None = None,
    high: float | None = None,
    normalise: str = "auto",
    weights: str | np.ndarray | None = None,
    max_iterations: int | None = None,
    keep: int | None = None,
    gain: float | Mapping[str, float] | None = None,
    read_noise: float | Mapping[str, float] | None = None,
    levels: Levels | None = None,
    progress: Progress = silent,
    client: Any = None,
) -> xr.Dataset:
    """Combine the frames of a stack into one, without outliers, and say how sure the result is.

    Parameters
    ----------
    stack : DataArray or Dataset
        Dimensions ``(frame, y, x)``. A Dataset has ``signal`` and may have ``variance`` and ``flags``. Samples
        that are not finite or carry a bad flag are left out. 1 to 10 000 frames, lazy or in memory.
    method : {"mean", "median", "sum", "minimum", "maximum"}
        How the samples that are kept are combined. A sum is the mean times the number of frames, so that a
        pixel that lost a sample keeps its level.
    reject : str
        How outliers are found, see the table in Notes; ``"auto"`` chooses by the number of frames and by what
        is known of the noise, and writes what and why into ``attrs["rejection"]`` and the provenance.
    low, high : float, optional
        Limits below and above, in the unit of the rejection method; its defaults when left out. With
        ``reject="auto"`` they are σ, and only methods whose limits are σ are chosen: MAD for 4 frames and winsorized
        for 5 and 6 instead of the generalised ESD test.
    normalise : {"auto", "none", "additive", "multiplicative", "additive_scaling", "multiplicative_scaling"}
        How frames are brought to the median level (and spread) of all before outliers are looked for, each
        colour channel by itself. ``"auto"`` multiplies flats, shifts and scales lights (or only shifts
        them, with a warning, where most pixels of one are equal), and leaves others alone.
    weights : {"exposure", "noise"} or array of shape (frame,), optional
        For the mean: by exposure time, by the inverse of the measured noise variance, or as given.
    max_iterations : int, optional
        Rejection is repeated at most so often.
    keep : int, optional
        So many samples of a pixel always stay.
    gain : float or mapping of channel to float, optional
        Electrons per ADU; taken from the stack when left out. For ``reject="noise_model"``.
    read_noise : float or mapping of channel to float, optional
        Electrons; taken from the stack when left out.
    levels : Levels, optional
        What `calibkit.combining.measure_levels` found of the whole frames, where *stack* is only a part of them;
        measured on *stack* when left out.
    progress : callable
        ``progress(done, total, what)``; may raise `Cancelled`.
    client : dask.distributed.Client, optional
        Do the work on this cluster; its workers must see the same files.

    Returns
    -------
    Dataset
        ``signal`` and ``variance`` (float32, unit and unit squared), ``flags`` (those that all kept samples carry;
        saturated where at least half of the samples are), ``n_kept``, ``rejected_low`` and ``rejected_high`` per
        pixel, and ``rejected_fraction`` per frame. A pixel without a usable sample gets the median of its
        flagged ones and the flag *rejected_all* (*saturated* where all of them are), or NaN and *no_data*; its variance is
        NaN.

    Raises
    ------
    MismatchError
        The stack is not one, or its frames cannot be brought together.
    SettingError
        A setting that cannot work.
    Cancelled
        The progress callback asked to stop.

    Warns
    -----
    CalibkitWarning
        The rejection cannot reject anything with so few frames; the variance is not known.

    Notes
    -----
    Rejection methods, with what *low* and *high* are (x̃ is the median of the samples still in, limits in σ are
    one-sided, and every method but those marked 1 is repeated until nothing more is rejected):

    ================ ========== ==================================================================
    ``none``
    ``minmax``       1 / 1      the so many lowest and highest samples (1)
    ``percentile``   0.2 / 0.1  fractions of a positive median below and above it (1)
    ``sigma``        3 / 3      σ about x̃, standard deviation with divisor n − 1
    ``mean_sigma``   3 / 3      the same about the mean
    ``mad``          3 / 3      σ about x̃, σ = 1.4826 × median absolute deviation (1)
    ``winsorized``   3 / 3      σ about x̃; σ from the samples pulled in to x̃ ± 1.5 σ, × 1.134, until it stands
    ``linear_fit``   5 / 5      mean absolute residuals from the line through the sorted samples
    ``gesd``         0.3 / 0.05 largest fraction of outliers / significance; all steps of Rosner's test (1)
    ``noise_model``  3 / 3      σ about x̃ from gain and read noise
    ``averaged_sigma`` 3 / 3    σ about x̃, σ² proportional to the level along each row
    ``leave_one_out`` 3 / 3     σ of the other samples about their mean (1)
    ================ ========== ==================================================================

    ``percentile`` and ``averaged_sigma`` leave pixels alone whose level is not above zero. Where more than
    half of the samples are equal, ``mad`` takes the mean absolute deviation instead.

    ``sigma``, ``winsorized`` and ``linear_fit`` are as in Siril, and give the same but for this: when only *keep*
    samples may stay the most deviant go first, while Siril takes the frames in order and counts those that went
    in earlier rounds twice; the line is fitted afresh in each round, while Siril 1.0.6 keeps the mean and variance
    of the first round's ranks; samples of 16 bits are not rounded while they are pulled in. ``gesd`` is Rosner's
    test; Siril's drops samples even where no step of the test passes.

    The variance is that of the *method*: the scatter of the kept samples over their number, times what
    the rejection and the combination cost, which a simulation has measured (a median of many samples costs
    π/2; see `calibkit.combining.efficiency`). Where the samples have variances of their own these are used
    instead of the scatter. A single sample without a variance has noise from gain and read noise, or NaN.

    Frames are read once, in bands of rows; before normalisation, strips of rows of every frame are measured.
    For a compressed file that is another pass through it.

    References
    ----------
    Rosner, B. 1983, Technometrics 25, 165. Huber, P. J. 1981, Robust Statistics. Samuelson, P. A. 1968, J. Am.
    Stat. Assoc. 63, 1522. Every method's source is in `calibkit.combining.REJECTIONS`.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from calibkit import combine
    >>> frames = np.random.default_rng(1).normal(100, 5, (12, 4, 6)).astype("f4")
    >>> frames[3, 1, 2] = 5000  # a cosmic ray
    >>> result = combine(xr.DataArray(frames, dims=("frame", "y", "x")), reject="winsorized")
    >>> int(result.rejected_high[1, 2]), bool(abs(result.signal[1, 2] - 100) < 10)
    (1, True)
    """
    settings = {
        "method": method,
        "reject": reject,
        "low": low,
        "high": high,
        "normalise": normalise,
        "weights": weights,
        "max_iterations": max_iterations,
        "keep": keep,
        "gain": gain,
        "read_noise": read_noise,
        "levels": levels,
    }
    return combine_into(tuple(OUTPUTS), stack, settings, progress=progress, client=client)


def combine_into(
    wanted: Sequence[str],
    stack: xr.DataArray | xr.Dataset,
    settings: Mapping[str, Any],
    *,
    progress: Progress,
    client: Any,
) -> xr.Dataset:
    """What `combine` gives with these *settings*, but only the variables that are *wanted*.

    Of `calibkit.combining.bands.OUTPUTS` those that count rejected samples can be left out, and take no memory then.
    """
    reader = StackReader(stack)
    if client is None:
        reader.decode(lambda function, count, what: run(function, count, what, progress))
    prepared = prepare(reader, stack, **settings, progress=progress)
    for message in prepared.warnings:
        warn(message, stacklevel=3)
    if client is None:
        outputs, tally = run_bands(reader, prepared.plan, progress, wanted)
    else:
        from calibkit.combining.cluster import run_on_cluster

        outputs, tally = run_on_cluster(reader, prepared.plan, progress, wanted, client)
    result, unknown = make_result(stack, prepared, outputs, tally)
    if unknown:
        warn(unknown, stacklevel=3)
    return result
