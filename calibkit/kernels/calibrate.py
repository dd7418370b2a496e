"""Calibrating rows of one frame: subtract, estimate the noise, divide.

All arrays of a band have one shape (row, x); a master that is not there is a row that changes nothing. What differs
from channel to channel comes as one row of numbers for each row of the colour pattern, so that the loops along a row
know no channels and compile to vector instructions. Each row goes through all steps while the processor's cache
holds it, in single precision like the result: twice as many numbers to an instruction.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from calibkit.flags import BAD, BAD_FLAT, HOT, NO_DATA, REPAIRED, SATURATED
from calibkit.kernels._jit import kernel
from calibkit.kernels.parts import row_of

_BAD = np.uint16(BAD)
_REPAIRED = np.uint16(REPAIRED)
_NO_DATA = np.uint16(NO_DATA)
_SATURATED = np.uint16(SATURATED)
_HOT_AND_SATURATED = np.uint16(HOT | SATURATED)
_BAD_FLAT = np.uint16(BAD_FLAT)
_NONE = np.uint16(0)
#: A flag of a master that says something of the sensor's pixel goes on into the result as it is.
_OF_THE_PIXEL = np.uint16(BAD & ~(SATURATED | NO_DATA | BAD_FLAT))

_INF, _NAN = np.float32(math.inf), np.float32(math.nan)
_ZERO, _ONE = np.float32(0.0), np.float32(1.0)


class Masters(NamedTuple):
    """Rows of the masters under those of the light, (row, x) each, or one row for all of them."""

    bias: np.ndarray
    bias_variance: np.ndarray
    bias_flags: np.ndarray
    dark: np.ndarray
    dark_variance: np.ndarray
    dark_flags: np.ndarray
    flat: np.ndarray
    flat_variance: np.ndarray
    flat_flags: np.ndarray
    defects: np.ndarray


class Channels(NamedTuple):
    """What differs between channels, (py, x) each: one row for each row of the pattern.

    ``constant`` is what is subtracted, in the type in which the light is subtracted from; ``per_adu`` is 1/gain;
    ``floor`` the variance that does not come with the electrons counted; ``level`` that of the dark or else of the
    frame, from which they are counted.
    """

    constant: np.ndarray
    per_adu: np.ndarray
    floor: np.ndarray
    level: np.ndarray


class Numbers(NamedTuple):
    """What holds for a whole frame.

    ``saturation`` is the level from which a pixel is saturated, NaN where it is not known; it and ``full_scale``, the
    factor of the dark, have the type of the constant, the others single precision: ``scale``, the factor again, and
    ``bias_share`` and ``dark_share``, the factors of the masters' variances. ``floor_has_dark`` says that the floor
    holds the mean dark current, so that pixels with less of it come out below zero rightly.
    """

    saturation: np.floating
    full_scale: np.floating
    scale: np.float32
    bias_share: np.float32
    dark_share: np.float32
    floor_has_dark: bool


@kernel
def _under(master, y):
    return master[min(y, len(master) - 1)]


@kernel
def _place(y, height, n):
    """Where row *y* lies among the last *n*; behind them where there is no such row."""
    return y % n if 0 <= y < height else n


@kernel(apart=True)
def _subtract(light, constant, bias, dark, scale, saturation, net, flags):
    """The difference as float32, NaN where it is no number, and the frame's own flags."""
    for j in range(light.size):
        level = constant.dtype.type(light[j])
        value = np.float32(level - constant[j] - bias[j] - scale * dark[j])
        finite = abs(value) < _INF  # never with NaN
        net[j] = value if finite else _NAN
        flag = _SATURATED if level >= saturation else _NONE  # never with an unknown (NaN) level
        flags[j] = flag if finite else flag | _NO_DATA


@kernel(apart=True)
def _add_flags(bias, dark, defects, flags):
    for j in range(flags.size):
        # saturated by its own thermal charge: it shows nothing of the sky
        full = _HOT_AND_SATURATED if dark[j] & _SATURATED else _NONE
        flags[j] |= ((bias[j] | dark[j]) & _OF_THE_PIXEL) | full | (defects[j] & _BAD)


@kernel
def _limit(electrons, per_adu, floor):
    """Difference up to which two pixels agree: 3 σ of it, with a pixel's variance from its own electrons."""
    return math.sqrt(np.float32(18.0) * (floor + max(electrons, _ZERO) * per_adu))


@kernel
def _variance(
    electrons, per_adu, floor, floor_has_dark, bias_variance, dark_variance, signal, flat, flat_variance
):
    """Of a divided pixel, with that of the masters; NaN where the signal is.

    Electrons far below zero are an error of the masters, not noise, and count as none. The mean of some 25 pixels may
    fall below zero by noise, and cutting it off there would make the variance too large on average.
    """
    noise = np.float32(0.04) * floor + dark_variance
    counts = (electrons >= _ZERO) | (electrons * electrons < np.float32(4.0) * noise) | floor_has_dark
    own = max(floor + (electrons if counts else _ZERO) * per_adu, np.float32(0.5) * floor)
    own = own + bias_variance + dark_variance
    inverse = _ONE / flat
    relative = signal * inverse
    # in this order, so that no step is out of range unless the result is
    value = own * inverse * inverse + relative * flat_variance * relative
    return np.float32(value) if not math.isnan(signal) else _NAN


@kernel
def _gather_five(row, j, step, own, limit, total, count):
    """Add those of five values *step* apart that agree with *own*, as differences from it, and their number."""
    k = j + step
    m = k + step
    n = m + step
    for value in (row[j], row[k], row[m], row[n], row[n + step]):
        d = value - own
        agrees = abs(d) <= limit
        total = total + d if agrees else total
        count = count + _ONE if agrees else count
    return total, count


@kernel(apart=True)
def _estimate_square(
    net, a, b, c, d, e, step, dark, level, per_adu, floor, bias_variance, dark_variance, signal, flat, flat_variance,
    scale, bias_share, dark_share, floor_has_dark, out,
):  # fmt: skip
    """Variance from the mean of those in a square of 5 × 5 places that agree with its middle; *a* to *e* begin at its left.

    Places are unsigned numbers, since negative ones would count from the end, and the loop not be vectorised. All is
    done in one loop, so that masters are waited for while the processor compares pixels.
    """
    for j in range(np.uintp(out.size)):
        own = net[j]
        more = scale * (dark[j] - level[j])
        most = _limit(own + more, per_adu[j], floor[j])
        total, count = _gather_five(a, j, step, own, most, _ZERO, _ZERO)
        total, count = _gather_five(b, j, step, own, most, total, count)
        total, count = _gather_five(c, j, step, own, most, total, count)
        total, count = _gather_five(d, j, step, own, most, total, count)
        total, count = _gather_five(e, j, step, own, most, total, count)
        out[j] = _variance(
            own + total / count + more, per_adu[j], floor[j], floor_has_dark, bias_share * bias_variance[j],
            dark_share * dark_variance[j], signal[j], flat[j], flat_variance[j],
        )  # fmt: skip


@kernel
def _gather(own, other, limit, total, count, first, step):
    """Add those of *other* that agree with *own*, at every *step*-th place."""
    for j in range(first, own.size, step):
        d = other[j] - own[j]
        agrees = abs(d) <= limit[j]
        total[j] += d if agrees else _ZERO
        count[j] += _ONE if agrees else _ZERO


@kernel
def _estimate_taps(
    rows, y, height, side, taps, dark, level, per_adu, floor, bias_variance, dark_variance, signal, flat,
    flat_variance, scale, bias_share, dark_share, floor_has_dark, work, out,
):  # fmt: skip
    """The same from a pixel and those at its channel's *taps* that agree with it."""
    n, width, period = len(rows) - 1, out.size, len(taps)
    own, limit, total, count = rows[y % n, side : side + width], work[0], work[1], work[2]
    for j in range(width):
        limit[j] = _limit(own[j] + scale * (dark[j] - level[j]), per_adu[j], floor[j])
    total[:] = 0.0
    count[:] = 0.0
    _gather(own, own, limit, total, count, 0, 1)
    for b in range(period):
        for k in range(taps.shape[1]):
            dy, dx = taps[b, k, 0], taps[b, k, 1]
            if dy == 0 and dx == 0:
                break
            if 0 <= y + dy < height:
                other = rows[(y + dy) % n, side + dx : side + dx + width]
                _gather(own, other, limit, total, count, b, period)
    for j in range(width):
        electrons = own[j] + total[j] / count[j] + scale * (dark[j] - level[j])
        out[j] = _variance(
            electrons, per_adu[j], floor[j], floor_has_dark, bias_share * bias_variance[j],
            dark_share * dark_variance[j], signal[j], flat[j], flat_variance[j],
        )  # fmt: skip


@kernel(apart=True)
def _divide(net, flat, flat_flags, signal, flags):
    """*net* over the flat; NaN without a usable one."""
    for j in range(signal.size):
        f, flag = flat[j], flat_flags[j]
        mended = (flag & (_REPAIRED | _NO_DATA)) == _REPAIRED
        bad = ((flag & _BAD) != 0) & (not mended)
        usable = (f > _ZERO) & (f < _INF) & (not bad)
        signal[j] = np.float32(net[j] / f) if usable else _NAN
        flags[j] |= (flag & _OF_THE_PIXEL) | (_NONE if usable else _BAD_FLAT)


@kernel
def _begin_row(light, i, phase, masters, channels, numbers, net, flags):
    """Subtract, and say what is known of every pixel before the flat."""
    _subtract(
        light, channels.constant[phase], _under(masters.bias, i), _under(masters.dark, i), numbers.full_scale,
        numbers.saturation, net, flags,
    )  # fmt: skip
    bias, dark = _under(masters.bias_flags, i), _under(masters.dark_flags, i)
    _add_flags(bias, dark, _under(masters.defects, i), flags)


@kernel
def _estimate_row(rows, side, y, height, phase, masters, channels, numbers, taps, square, work, signal, out):
    """The variance of a row whose neighbours are in *rows*."""
    n, width = len(rows) - 1, out.size
    level, per_adu, floor = channels.level[phase], channels.per_adu[phase], channels.floor[phase]
    dark, flat, flat_variance = (
        _under(masters.dark, y),
        _under(masters.flat, y),
        _under(masters.flat_variance, y),
    )
    bias_variance, dark_variance = _under(masters.bias_variance, y), _under(masters.dark_variance, y)
    scale, bias_share, dark_share = numbers.scale, numbers.bias_share, numbers.dark_share
    if square[0] > 0:
        left = side - 2 * square[1]
        a = rows[_place(y - 2 * square[0], height, n), left:]
        b = rows[_place(y - square[0], height, n), left:]
        c = rows[y % n, left:]
        d = rows[_place(y + square[0], height, n), left:]
        e = rows[_place(y + 2 * square[0], height, n), left:]
        _estimate_square(
            rows[y % n, side : side + width], a, b, c, d, e, np.uintp(square[1]), dark, level, per_adu, floor,
            bias_variance, dark_variance, signal, flat, flat_variance, scale, bias_share, dark_share,
            numbers.floor_has_dark, out,
        )  # fmt: skip
    else:
        _estimate_taps(
            rows, y, height, side, taps[phase % len(taps)], dark, level, per_adu, floor, bias_variance, dark_variance,
            signal, flat, flat_variance, scale, bias_share, dark_share, numbers.floor_has_dark, work, out,
        )  # fmt: skip


@kernel
def calibrate(light, y0, top, halo, masters, channels, numbers, taps, square, rows, work, made, around):
    """``(light − bias − scale·dark − constant) / flat``, its variance (ADU²), and what is known of every pixel.

    The variance is that of photons, dark current, readout, and the masters' own. Photons are the mean of a pixel and
    those of its channel around it whose values agree with its own (sigma filter).

    Parameters
    ----------
    light : array (row, x)
    y0 : int
        Row of the frame that it begins with.
    top, halo : int
        Rows of the light above those that are wanted, and how many on either side of these are calibrated too.
    masters : Masters
    channels : Channels
    numbers : Numbers
    taps : int array (py, px, n, 2)
        Offsets (dy, dx) of one channel's neighbours for the pixels of a phase; a tap (0, 0) ends the list.
    square : (int, int)
        Step between the places where the taps are a square of 5 × 5, else (0, 0).
    rows : float32 array (n + 1, side + x + side)
        Room for the n rows that the taps span, and for one and *side* columns that are NaN: what lies outside.
    work : float32 array (3, x)
    made, around : Parts
        Wanted rows and the others of the light, filled; without the variance where that is empty.
    """
    height, width = light.shape
    n, side = len(rows) - 1, (rows.shape[1] - width) // 2
    period = len(channels.constant)
    rows[:] = math.nan
    for i in range(height + n // 2):
        if i < height:
            net = rows[i % n, side : side + width]
            flags = row_of(made.flags, around.flags, top, i)
            _begin_row(light[i], i, (y0 + i) % period, masters, channels, numbers, net, flags)
        y = i - n // 2  # the lowest of the rows that its taps reach has just been made
        if max(0, top - halo) <= y < min(height, top + len(made.signal) + halo):
            net = rows[y % n, side : side + width]
            signal = row_of(made.signal, around.signal, top, y)
            flags = row_of(made.flags, around.flags, top, y)
            _divide(net, _under(masters.flat, y), _under(masters.flat_flags, y), signal, flags)
            if made.variance.size > 0:
                _estimate_row(
                    rows, side, y, height, (y0 + y) % period, masters, channels, numbers, taps, square, work,
                    signal, row_of(made.variance, around.variance, top, y),
                )  # fmt: skip
