"""Calibrating a band of rows of one frame: subtract, estimate the noise, divide.

All arrays of a band have one shape (row, x); a master that is not there is an empty array. What differs from
channel to channel comes as one row of numbers for each row of the colour pattern, so that the loops along a row
know no channels and compile to vector instructions.
"""

from __future__ import annotations

import math

import numpy as np

from calibkit.flags import BAD, BAD_FLAT, HOT, NO_DATA, REPAIRED, SATURATED
from calibkit.kernels._jit import kernel

_BAD = np.uint16(BAD)
_REPAIRED = np.uint16(REPAIRED)
_NO_DATA = np.uint16(NO_DATA)
_SATURATED = np.uint16(SATURATED)
_HOT_AND_SATURATED = np.uint16(HOT | SATURATED)
_BAD_FLAT = np.uint16(BAD_FLAT)
_NONE = np.uint16(0)
#: A flag of a master that says something of the sensor's pixel goes on into the result as it is.
_OF_THE_PIXEL = np.uint16(BAD & ~(SATURATED | NO_DATA | BAD_FLAT))


@kernel(apart=True)
def _start(light, constant, work):
    for j in range(work.size):
        work[j] = np.float64(light[j]) - constant[j]


@kernel(apart=True)
def _less(work, master):
    for j in range(work.size):
        work[j] -= master[j]


@kernel(apart=True)
def _less_scaled(work, master, scale):
    for j in range(work.size):
        work[j] -= scale * master[j]


@kernel(apart=True)
def _finish(work, light, saturation, out, flags):
    """The difference as float32, NaN where it is no number, and the frame's own flags."""
    for j in range(work.size):
        value = np.float32(work[j])
        finite = abs(value) < np.float32(math.inf)  # never with NaN
        out[j] = value if finite else np.float32(math.nan)
        flag = _SATURATED if light[j] >= saturation else _NONE  # never with an unknown (NaN) level
        flags[j] = flag if finite else flag | _NO_DATA


@kernel(apart=True)
def _add_flags(flags, master, passed):
    for j in range(flags.size):
        flags[j] |= master[j] & passed


@kernel(apart=True)
def _add_dark_flags(flags, dark):
    for j in range(flags.size):
        # saturated by its own thermal charge: it shows nothing of the sky
        full = _HOT_AND_SATURATED if dark[j] & _SATURATED else _NONE
        flags[j] |= (dark[j] & _OF_THE_PIXEL) | full


@kernel
def subtract(
    light, bias, dark, scale, constant, saturation, bias_flags, dark_flags, more_flags, side, net, flags
):
    """``light − bias − scale·dark − constant`` and what is known of every pixel before the flat.

    Parameters
    ----------
    constant : float64 array (py, x)
        What is subtracted, one row for each row of the pattern.
    saturation : float
        Level from which a pixel is saturated; NaN where it is not known.
    side : int
        Columns of *net* before the first and after the last of the frame, which become NaN.
    net : float32 array (row, side + x + side)
        Filled.
    flags : uint16 array (row, x)
        Filled.
    """
    width = flags.shape[1]
    work = np.empty(width, np.float64)
    for i in range(flags.shape[0]):
        _start(light[i], constant[i % constant.shape[0]], work)
        if bias.size > 0:
            _less(work, bias[i])
        if dark.size > 0:
            _less_scaled(work, dark[i], scale)
        net[i, :side] = math.nan
        net[i, side + width :] = math.nan
        _finish(work, light[i], saturation, net[i, side : side + width], flags[i])
        if bias_flags.size > 0:
            _add_flags(flags[i], bias_flags[i], _OF_THE_PIXEL)
        if dark_flags.size > 0:
            _add_dark_flags(flags[i], dark_flags[i])
        if more_flags.size > 0:
            _add_flags(flags[i], more_flags[i], _BAD)


@kernel(apart=True)
def _gather_five(own, a, b, c, d, e, width2, total, count):
    """Add those of five neighbours that agree with *own*; slices, since ``row[j + step]`` would not be vectorised."""
    none, one = np.float32(0.0), np.float32(1.0)
    for j in range(own.size):
        mine, limit = own[j], width2[j]
        near_a = (a[j] - mine) * (a[j] - mine) <= limit
        near_b = (b[j] - mine) * (b[j] - mine) <= limit
        near_c = (c[j] - mine) * (c[j] - mine) <= limit
        near_d = (d[j] - mine) * (d[j] - mine) <= limit
        near_e = (e[j] - mine) * (e[j] - mine) <= limit
        sum_ab = (a[j] if near_a else none) + (b[j] if near_b else none)
        sum_de = (d[j] if near_d else none) + (e[j] if near_e else none)
        total[j] += sum_ab + (c[j] if near_c else none) + sum_de
        number_ab = (one if near_a else none) + (one if near_b else none)
        number_de = (one if near_d else none) + (one if near_e else none)
        count[j] += number_ab + (one if near_c else none) + number_de


@kernel
def _gather(own, other, width2, total, count, first, step):
    """Add those of *other* that agree with *own*, at every *step*-th place."""
    for j in range(first, own.size, step):
        d = other[j] - own[j]
        agrees = d * d <= width2[j]
        total[j] += other[j] if agrees else np.float32(0.0)
        count[j] += np.float32(1.0) if agrees else np.float32(0.0)


@kernel
def _expect(net, side, y, phase, width2, taps, square, total, count):
    """Sum and number of the pixels of a row's channels around each pixel that agree with it, itself among them.

    ``square`` is the step between the places of a square of 5 × 5 that the taps make up, (0, 0) for other taps.
    """
    width = total.size
    own = net[y, side : side + width]
    total[:] = 0.0
    count[:] = 0.0
    if square[0] > 0:
        for k in range(-2, 3):
            v = y + k * square[0]
            if 0 <= v < net.shape[0]:
                row, step = net[v, side - 2 * square[1] :], square[1]
                a, b, c = row[:width], row[step : step + width], row[2 * step : 2 * step + width]
                d, e = row[3 * step : 3 * step + width], row[4 * step : 4 * step + width]
                _gather_five(own, a, b, c, d, e, width2, total, count)
        return
    _gather(own, own, width2, total, count, 0, 1)
    px = taps.shape[1]
    for b in range(px):
        for k in range(taps.shape[2]):
            dy, dx = taps[phase, b, k, 0], taps[phase, b, k, 1]
            if dy == 0 and dx == 0:
                break
            if 0 <= y + dy < net.shape[0]:
                other = net[y + dy, side + dx : side + dx + width]
                _gather(own, other, width2, total, count, b, px)


@kernel(apart=True)
def _electrons(net, level, out):
    for j in range(out.size):
        out[j] = np.float64(net[j]) - level[j]


@kernel(apart=True)
def _electrons_over_dark(net, dark, scale, level, out):
    for j in range(out.size):
        out[j] = np.float64(net[j]) + scale * (dark[j] - level[j])


@kernel(apart=True)
def _first_guess(electrons, per_adu, floor, out):
    """Square of the difference up to which two pixels agree: 18 times a pixel's variance from its own value."""
    for j in range(out.size):
        e = electrons[j]
        # (3 σ)² of the difference of two pixels
        out[j] = 18.0 * (floor[j] + max(e, 0.0) * per_adu[j])


@kernel(apart=True)
def _mean(total, count, out):
    for j in range(out.size):
        out[j] = total[j] / count[j]


@kernel(apart=True)
def _cut_off(electrons, floor, own):
    """Electrons far below zero are an error of the masters, not noise, and count as none.

    The mean of some 25 pixels may fall below zero by noise, and cutting it off there would make the variance too
    large on average.
    """
    for j in range(electrons.size):
        e = electrons[j]
        noise = 0.04 * floor[j] + own[j]
        electrons[j] = e if (e >= 0.0) | (e * e < 4.0 * noise) else 0.0


@kernel(apart=True)
def _variance(electrons, per_adu, floor, net, out):
    for j in range(out.size):
        value = floor[j] + electrons[j] * per_adu[j]
        least = 0.5 * floor[j]
        value = max(value, least)
        out[j] = value if net[j] == net[j] else math.nan


@kernel(apart=True)
def _add_scaled(out, master, share):
    for j in range(out.size):
        out[j] += share * master[j]


@kernel
def noise(
    net,
    side,
    taps,
    square,
    dark,
    bias_variance,
    dark_variance,
    scale,
    bias_share,
    dark_share,
    per_adu,
    floor,
    dark_level,
    with_dark,
    out,
):
    """Variance of the subtracted frame, ADU²: photons, dark current, readout, and the masters' own.

    Photons are the mean of a pixel and those of its channel around it whose values agree with its own (sigma
    filter).

    Parameters
    ----------
    net : float32 array (row, side + x + side)
        From `subtract`.
    taps : int array (py, px, n, 2)
        Offsets (dy, dx) of one channel's neighbours for the pixels of a phase; a tap (0, 0) ends the list.
    square : (int, int)
        Step between the places where the taps are a square of 5 × 5, else (0, 0).
    scale, bias_share, dark_share : float
        Factor of the dark, and of the variances of bias and dark.
    per_adu, floor, dark_level : float64 arrays (py, x)
        1/gain; the variance that does not come with the electrons counted here; the level, of the dark or else
        of the frame, from which they are counted. One row for each row of the pattern.
    with_dark : bool
        The floor holds the mean dark current, so that pixels with less of it come out below zero rightly.
    """
    width = out.shape[1]
    total, count = np.empty(width, np.float32), np.empty(width, np.float32)
    mean, width2 = np.empty(width, np.float32), np.empty(width, np.float32)
    electrons, own = np.empty(width, np.float64), np.zeros(width, np.float64)
    for i in range(out.shape[0]):
        c = i % floor.shape[0]
        row = net[i, side : side + width]
        if dark.size > 0:
            _electrons_over_dark(row, dark[i], scale, dark_level[c], electrons)
        else:
            _electrons(row, dark_level[c], electrons)
        _first_guess(electrons, per_adu[c], floor[c], width2)
        _expect(net, side, i, i % taps.shape[0], width2, taps, square, total, count)
        _mean(total, count, mean)
        if dark.size > 0:
            _electrons_over_dark(mean, dark[i], scale, dark_level[c], electrons)
        else:
            _electrons(mean, dark_level[c], electrons)
        if not with_dark:
            if dark_variance.size > 0:
                own[:] = 0.0
                _add_scaled(own, dark_variance[i], scale * scale)
            _cut_off(electrons, floor[c], own)
        _variance(electrons, per_adu[c], floor[c], row, out[i])
        if bias_variance.size > 0:
            _add_scaled(out[i], bias_variance[i], bias_share)
        if dark_variance.size > 0:
            _add_scaled(out[i], dark_variance[i], dark_share)


@kernel(apart=True)
def _divide(net, flat, flags, signal):
    for j in range(signal.size):
        f = flat[j]
        usable = (f > np.float32(0.0)) & (f < np.float32(math.inf))
        signal[j] = np.float32(net[j] / f) if usable else np.float32(math.nan)
        flags[j] |= _NONE if usable else _BAD_FLAT


@kernel(apart=True)
def _divide_variance(spread, signal, flat, variance):
    """NaN where the signal is."""
    for j in range(signal.size):
        f = np.float64(flat[j])
        divided = np.float32(np.float64(spread[j]) / (f * f))
        variance[j] = divided if signal[j] == signal[j] else np.float32(math.nan)


@kernel(apart=True)
def _add_flat_noise(signal, flat, flat_variance, variance):
    for j in range(signal.size):
        relative = np.float64(signal[j]) / np.float64(flat[j])
        variance[j] += relative * relative * flat_variance[j]


@kernel(apart=True)
def _add_flat_flags(master, signal, flags):
    for j in range(signal.size):
        flag = master[j]
        mended = (flag & (_REPAIRED | _NO_DATA)) == _REPAIRED
        bad = ((flag & _BAD) != 0) & (not mended)
        flags[j] |= (flag & _OF_THE_PIXEL) | (_BAD_FLAT if bad else _NONE)
        signal[j] = np.float32(math.nan) if bad else signal[j]


@kernel
def divide(net, spread, flat, flat_variance, flat_flags, signal, variance, flags):
    """*net* and its variance *spread* divided by *flat*; pixels without a usable flat become NaN.

    *spread* and *variance* may be empty, when only the signal is wanted.
    """
    for i in range(signal.shape[0]):
        _divide(net[i], flat[i], flags[i], signal[i])
        if flat_flags.size > 0:
            _add_flat_flags(flat_flags[i], signal[i], flags[i])
        if spread.size > 0:
            _divide_variance(spread[i], signal[i], flat[i], variance[i])
            if flat_variance.size > 0:
                _add_flat_noise(signal[i], flat[i], flat_variance[i], variance[i])
