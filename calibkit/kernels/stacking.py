"""From a band of frames to one value per pixel: loading samples and combining the ones that are kept.

The working arrays are ``x`` (samples, pixels), float32 or float64, and ``state`` of the same shape,
uint8: `KEPT`, rejected as `LOW` or as `HIGH`, or `MISSING` (not finite, or flagged as bad).
Missing samples are +inf in ``x``, so that they sort last.
"""

from __future__ import annotations

import numpy as np

from calibkit.kernels._jit import kernel

KEPT, LOW, HIGH, MISSING = 0, 1, 2, 3


@kernel
def load(band, x, state):
    """Copy *band* (samples, pixels) into *x*; samples that are not finite are missing."""
    for f in range(band.shape[0]):
        source = band[f]
        target = x[f]
        mark = state[f]
        for i in range(source.size):
            value = target.dtype.type(source[i])
            good = np.isfinite(value)
            target[i] = value if good else np.inf
            mark[i] = 0 if good else 3


@kernel
def load_scaled(band, scale, offset, channel, x, state):
    """`load`, with each sample times ``scale[frame, channel]`` plus ``offset[frame, channel]``."""
    for f in range(band.shape[0]):
        source = band[f]
        target = x[f]
        mark = state[f]
        for i in range(source.size):
            c = channel[i]
            value = target.dtype.type(source[i] * scale[f, c] + offset[f, c])
            good = np.isfinite(value)
            target[i] = value if good else np.inf
            mark[i] = 0 if good else 3


@kernel
def drop_flagged(flags, bad, repaired, no_data, x, state):
    """Make samples whose flags say that they are no measurement missing."""
    for f in range(flags.shape[0]):
        for i in range(flags.shape[1]):
            flag = flags[f, i]
            if (flag & bad) != 0 and ((flag & repaired) == 0 or (flag & no_data) != 0):
                x[f, i] = np.inf
                state[f, i] = 3


@kernel
def count_states(state, kept, low, high, frames):
    """Count what became of the samples: per pixel into *kept*, *low*, *high*; per frame added to *frames*.

    ``frames`` has the columns rejected low, rejected high, missing.
    """
    kept[:] = 0
    low[:] = 0
    high[:] = 0
    for f in range(state.shape[0]):
        n_low = 0
        n_high = 0
        n_missing = 0
        for i in range(state.shape[1]):
            s = state[f, i]
            kept[i] += np.uint16(s == 0)
            low[i] += np.uint16(s == 1)
            high[i] += np.uint16(s == 2)
            n_low += s == 1
            n_high += s == 2
            n_missing += s == 3
        frames[f, 0] += n_low
        frames[f, 1] += n_high
        frames[f, 2] += n_missing


@kernel
def mean_and_scatter(x, state, kept, mean, scatter):
    """Mean of the kept samples and their sample variance (divisor k − 1); NaN where it has no value."""
    for i in range(mean.size):
        mean[i] = 0.0
        scatter[i] = 0.0
    for f in range(x.shape[0]):
        for i in range(mean.size):
            mean[i] += x[f, i] if state[f, i] == 0 else 0.0
    for i in range(mean.size):
        mean[i] /= kept[i]
    for f in range(x.shape[0]):
        for i in range(mean.size):
            d = x[f, i] - mean[i] if state[f, i] == 0 else 0.0
            scatter[i] += d * d
    for i in range(mean.size):
        scatter[i] = scatter[i] / (kept[i] - 1) if kept[i] > 1 else np.nan
