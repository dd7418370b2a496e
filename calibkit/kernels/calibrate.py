"""Calibrating a band of rows of one frame: subtract, estimate the noise, divide.

All arrays of a band have one shape (row, x); a master that is not there is an empty array. ``cell`` is
the number of the channel on pixel ``[i % py, j % px]`` of the band, and constants come one per channel.
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
_HOT = np.uint16(HOT)
_BAD_FLAT = np.uint16(BAD_FLAT)
#: A flag of a master that says something of the sensor's pixel goes on into the result as it is.
_OF_THE_PIXEL = np.uint16(BAD & ~(SATURATED | NO_DATA | BAD_FLAT))


@kernel
def subtract(light, bias, dark, scale, constant, cell, out):
    """``light − bias − scale·dark − constant[channel]`` into *out*, float32."""
    has_bias = bias.size > 0
    has_dark = dark.size > 0
    py, px = cell.shape
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            value = np.float64(light[i, j]) - constant[cell[i % py, j % px]]
            if has_bias:
                value -= bias[i, j]
            if has_dark:
                value -= scale * dark[i, j]
            out[i, j] = value if math.isfinite(value) else math.nan


@kernel
def flag_pixels(light, saturation, bias_flags, dark_flags, more_flags, net, out):
    """What is known of every pixel before the flat: its own saturation, and flags of bias, dark and map."""
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            flag = np.uint16(0)
            if light[i, j] >= saturation:  # never with an unknown (NaN) level
                flag |= _SATURATED
            if math.isnan(net[i, j]):
                flag |= _NO_DATA
            if bias_flags.size > 0:
                flag |= bias_flags[i, j] & _OF_THE_PIXEL
            if dark_flags.size > 0:
                flag |= dark_flags[i, j] & _OF_THE_PIXEL
                if dark_flags[i, j] & _SATURATED:  # by its own thermal charge: it shows nothing of the sky
                    flag |= _HOT | _SATURATED
            if more_flags.size > 0:
                flag |= more_flags[i, j] & _BAD
            out[i, j] = flag


@kernel
def _gather(own, other, width2, total, count):
    """Add those of *other* that agree with *own*. Plain slices, so that it compiles to vector instructions."""
    for j in range(own.size):
        d = other[j] - own[j]
        agrees = d * d <= width2[j]
        total[j] += other[j] if agrees else np.float32(0.0)
        count[j] += np.float32(1.0) if agrees else np.float32(0.0)


@kernel
def expect(net, width2, taps, top, out):
    """Mean of a pixel and those of its channel around it whose values agree with its own (sigma filter).

    ``width2`` is the square of the largest difference that counts as agreement. ``taps[a, b]`` holds the
    offsets (dy, dx) of one channel's neighbours for the pixels of phase (a, b); a tap (0, 0) ends the list.
    *net* begins *top* rows above the first row of *out*.
    """
    height, width = net.shape
    py, px = taps.shape[:2]
    total = np.empty(width, np.float32)
    count = np.empty(width, np.float32)
    for i in range(out.shape[0]):
        y = i + top
        own = net[y]
        for j in range(width):
            total[j] = own[j]
            count[j] = 1.0
        for b in range(px):
            for k in range(taps.shape[2]):
                dy, dx = taps[y % py, b, k, 0], taps[y % py, b, k, 1]
                if dy == 0 and dx == 0:
                    break
                if y + dy < 0 or y + dy >= height:
                    continue
                start = b if b + dx >= 0 else b + (-dx - b + px - 1) // px * px
                stop = width - max(dx, 0)
                if start >= stop:
                    continue
                here = slice(start, stop, px)
                if px == 1:
                    _gather(
                        own[start:stop],
                        net[y + dy, start + dx : stop + dx],
                        width2[i, start:stop],
                        total[start:stop],
                        count[start:stop],
                    )
                else:
                    _gather(
                        own[here],
                        net[y + dy, start + dx : stop + dx : px],
                        width2[i, here],
                        total[here],
                        count[here],
                    )
        for j in range(width):
            out[i, j] = total[j] / count[j]


@kernel
def noise(
    expected,
    dark,
    bias_variance,
    dark_variance,
    scale,
    bias_share,
    dark_share,
    per_adu,
    floor,
    dark_level,
    cell,
    with_dark,
    out,
):
    """Variance of the subtracted frame, ADU²: photons, dark current, readout, and the masters' own.

    Parameters
    ----------
    expected : array
        Expected photoelectrons in ADU.
    scale, bias_share, dark_share : float
        Factor of the dark, and of the variances of bias and dark.
    per_adu, floor, dark_level : arrays, one value per channel
        1/gain; the variance that does not come with the electrons counted here; the level, of the dark or else
        of the frame, from which they are counted.
    with_dark : bool
        The floor holds the mean dark current, so that pixels with less of it come out below zero rightly.
    """
    py, px = cell.shape
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            c = cell[i % py, j % px]
            electrons = np.float64(expected[i, j])
            if dark.size > 0:
                electrons += scale * (dark[i, j] - dark_level[c])
            else:
                electrons -= dark_level[c]
            # The mean of some 25 pixels may fall below zero by noise, and cutting it off there would make the
            # variance too large on average; what is far below zero is an error of the masters, not noise.
            if electrons < 0.0 and not with_dark:
                own = 0.04 * floor[c]
                if dark_variance.size > 0:
                    own += scale * scale * dark_variance[i, j]
                electrons = electrons if electrons * electrons < 4.0 * own else 0.0
            value = max(floor[c] + electrons * per_adu[c], 0.5 * floor[c])
            if bias_variance.size > 0:
                value += bias_share * bias_variance[i, j]
            if dark_variance.size > 0:
                value += dark_share * dark_variance[i, j]
            out[i, j] = value


@kernel
def first_guess(net, dark, scale, per_adu, floor, dark_level, cell, out):
    """Square of the difference up to which two pixels agree: 18 times a pixel's variance from its own value."""
    py, px = cell.shape
    for i in range(out.shape[0]):
        for j in range(out.shape[1]):
            c = cell[i % py, j % px]
            electrons = np.float64(net[i, j])
            if dark.size > 0:
                electrons += scale * (dark[i, j] - dark_level[c])
            else:
                electrons -= dark_level[c]
            # (3 σ)² of the difference of two pixels
            out[i, j] = 18.0 * (floor[c] + max(electrons, 0.0) * per_adu[c])


@kernel
def divide(net, variance, flat, flat_variance, flat_flags, flags):
    """Divide *net* and its *variance* by *flat* in place; pixels without a usable flat become NaN."""
    for i in range(net.shape[0]):
        for j in range(net.shape[1]):
            f = np.float64(flat[i, j])
            bad = not (f > 0.0 and math.isfinite(f))
            if flat_flags.size > 0:
                flag = flat_flags[i, j]
                bad |= (flag & _BAD) != 0 and ((flag & _REPAIRED) == 0 or (flag & _NO_DATA) != 0)
                flags[i, j] |= flag & _OF_THE_PIXEL
            if bad:
                net[i, j] = math.nan
                variance[i, j] = math.nan
                flags[i, j] |= _BAD_FLAT
                continue
            value = net[i, j] / f
            spread = variance[i, j] / (f * f)
            if flat_variance.size > 0:
                spread += value * value * flat_variance[i, j] / (f * f)
            net[i, j] = value
            variance[i, j] = spread
