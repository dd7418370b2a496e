"""Rejection with Huber's winsorized standard deviation. The arrays are those of `calibkit.kernels.rejection`.

One step of Huber's iteration turns σ into g(σ) = 1.134 × (standard deviation of the samples pulled in to the
median ± 1.5 σ). Pulling in further never raises a variance, so g grows with σ. Hence

- where g(b) > b, no σ that begins above b ever falls below it,
- where g(σ) < σ, every following σ is smaller than g(σ).

For most pixels this tells at once which samples are out, without waiting until σ stands.
"""

from __future__ import annotations

import numpy as np

from calibkit.kernels._jit import kernel
from calibkit.kernels.rejection import trim
from calibkit.kernels.tiles import fewest, load_windows, pixels_above, tile_width

#: Where samples are pulled in to, in σ, and how much of σ that costs (Huber 1981; PixInsight, Siril).
WINSOR_LIMIT = 1.5
WINSOR_CORRECTION = 1.134
#: σ stands when it changes by less than this part of itself.
WINSOR_TOLERANCE = 5e-4
WINSOR_STEPS = 50
#: What is nearer to a bound than this part of it is not told by it, because of rounding.
LESS = np.float32(1.0 - 1e-4)
#: Steps after which σ is most often low enough to tell.
QUICK_STEPS = 4
#: Rows of the table of a batch of columns: how many samples; σ; the σ below which the outermost sample is out,
#: and those for the next two; g of each of these; results, and three rows to work in.
NUMBER, SIGMA, BOUND, BOUND_STEP, NEXT, NEXT_STEP, AFTER, AFTER_STEP, STEP, RESULT = range(10)
LOW_OUT, HIGH_OUT, LIMIT, TOTAL, SQUARE = range(10, 15)


@kernel(apart=True)
def add_pulled(a, b, c, d, centre, limit, width, total, square):
    """Add four rows' differences from *centre*, pulled in to *limit*, and their squares to the sums."""
    number = centre.dtype.type
    for i in range(width):
        z = centre[i]
        top = limit[i]
        p = np.float32(number(a[i]) - z)
        q = np.float32(number(b[i]) - z)
        r = np.float32(number(c[i]) - z)
        s = np.float32(number(d[i]) - z)
        p = -top if p < -top else p  # noqa: FURB136 (one vector instruction, and so below)
        q = -top if q < -top else q  # noqa: FURB136
        r = -top if r < -top else r  # noqa: FURB136
        s = -top if s < -top else s  # noqa: FURB136
        p = top if p > top else p  # noqa: FURB136
        q = top if q > top else q  # noqa: FURB136
        r = top if r > top else r  # noqa: FURB136
        s = top if s > top else s  # noqa: FURB136
        total[i] += (p + q) + (r + s)
        square[i] += (p * p + q * q) + (r * r + s * s)


@kernel(apart=True)
def add_pulled_one(row, centre, limit, width, total, square):
    """`add_pulled` of a single row: four of which three add nothing would cost four times as much."""
    number = centre.dtype.type
    for i in range(width):
        top = limit[i]
        p = np.float32(number(row[i]) - centre[i])
        p = -top if p < -top else p  # noqa: FURB136 (one vector instruction, and so below)
        p = top if p > top else p  # noqa: FURB136
        total[i] += p
        square[i] += p * p


@kernel(apart=True)
def finish_step(total, square, number, width, result):
    """σ from the sums over pulled-in samples."""
    for i in range(width):
        k = number[i]
        rest = square[i] - total[i] * total[i] / k
        rest = rest if rest > 0.0 else np.float32(0.0)
        result[i] = np.float32(WINSOR_CORRECTION) * np.sqrt(rest / (k - np.float32(1.0)))


@kernel
def step_from(rows, start, width, centre, table, sigma, out):
    """g of the row *sigma* of *table* for *width* columns of *rows* from *start* on, which are left as they are."""
    n = rows.shape[0]
    end = start + width
    limit, total, square = table[LIMIT], table[TOTAL], table[SQUARE]
    limit[:width] = np.float32(WINSOR_LIMIT) * table[sigma, :width]
    total[:width] = 0.0
    square[:width] = 0.0
    whole = n // 4 * 4
    for j in range(0, whole, 4):
        a, b, c, d = (
            rows[j, start:end],
            rows[j + 1, start:end],
            rows[j + 2, start:end],
            rows[j + 3, start:end],
        )
        add_pulled(a, b, c, d, centre, limit, width, total, square)
    for j in range(whole, n):
        add_pulled_one(rows[j, start:end], centre, limit, width, total, square)
    finish_step(total, square, table[NUMBER], width, table[out])


@kernel(apart=True)
def pull_in(row, limit, width, total, square):
    """Pull a row of differences in to *limit*, and add it and its squares to the sums."""
    for i in range(width):
        d = row[i]
        d = -limit[i] if d < -limit[i] else d  # noqa: FURB136 (one vector instruction)
        d = limit[i] if d > limit[i] else d  # noqa: FURB136
        row[i] = d
        total[i] += d
        square[i] += d * d


@kernel
def winsorize(tile, width, table, place, on):
    """Huber's winsorized σ of *width* columns of *tile*, in place: pull samples in, and again, until it stands.

    Column i holds ``number[i]`` differences from the median and zeros. Most columns need some steps and a
    few need many, so now and then those that go on are moved together; ``place`` is where they began.
    """
    n = tile.shape[0]
    number, sigma, limit = table[NUMBER], table[SIGMA], table[LIMIT]
    total, square, new_sigma = table[TOTAL], table[SQUARE], table[STEP]
    result = table[RESULT]
    done = np.float32(np.inf)
    for i in range(width):
        place[i] = i
        limit[i] = WINSOR_LIMIT * sigma[i]
    pack_at = 2
    for step in range(1, WINSOR_STEPS + 1):
        for i in range(width):
            total[i] = 0.0
            square[i] = 0.0
        for j in range(n):
            pull_in(tile[j], limit, width, total, square)
        finish_step(total, square, number, width, new_sigma)
        for i in range(width):
            before = sigma[i]
            new = new_sigma[i]
            going = limit[i] < done  # a σ that stands is left alone while its neighbours go on
            moved = np.abs(new - before) > np.float32(WINSOR_TOLERANCE) * before
            sigma[i] = new if going else before
            limit[i] = np.float32(WINSOR_LIMIT) * new if going and moved else done
        if step in (pack_at, WINSOR_STEPS):
            pack_at += 2
            kept = 0
            for i in range(width):
                result[place[i]] = sigma[i]
                on[kept] = i
                kept += limit[i] < done
            for j in range(n):
                row = tile[j]
                for i in range(kept):
                    row[i] = row[on[i]]
            for i in range(kept):
                place[i] = place[on[i]]
                number[i] = number[on[i]]
                sigma[i] = sigma[on[i]]
                limit[i] = limit[on[i]]
            width = kept
            if width == 0:
                break


@kernel(apart=True)
def measure_all(lowest, lower, upper, highest, scatter, per_low, per_high, width, centre, near, bound, sigma):
    """Median, σ, and the σ below which the outermost sample is out, of columns from which nothing is missing."""
    for i in range(width):
        z = 0.5 * (np.float64(lower[i]) + np.float64(upper[i]))
        under = np.float32((z - np.float64(lowest[i])) * per_low)
        over = np.float32((np.float64(highest[i]) - z) * per_high)
        centre[i] = z
        near[i] = z
        bound[i] = over if under < over else under  # noqa: FURB136 (one vector instruction)
        sigma[i] = np.sqrt(scatter[i])


@kernel(apart=True)
def keep_largest(row, per_low, per_high, width, largest, second, third):
    """Bring the bounds of a row of differences into the three largest so far."""
    below = np.float32(-per_low)
    above = np.float32(per_high)
    for i in range(width):
        under = row[i] * below
        over = row[i] * above
        e = over if under < over else under  # noqa: FURB136 (one vector instruction, and so below)
        a = largest[i]
        b = second[i]
        c = third[i]
        largest[i] = e if a < e else a  # noqa: FURB136
        e = a if e > a else e  # noqa: FURB136
        second[i] = e if b < e else b  # noqa: FURB136
        e = b if e > b else e  # noqa: FURB136
        third[i] = e if c < e else c  # noqa: FURB136


@kernel(apart=True)
def count_beyond(row, sigma, low, high, width, n_low, n_high):
    """Count the differences of a row beyond the limits."""
    below = np.float32(-low)
    above = np.float32(high)
    for i in range(width):
        n_low[i] += np.float32(1.0) if row[i] < sigma[i] * below else np.float32(0.0)
        n_high[i] += np.float32(1.0) if row[i] > sigma[i] * above else np.float32(0.0)


@kernel
def find_bounds(tile, per_low, per_high, columns, table):
    """The values of σ below which the three outermost samples of each column are out."""
    for row in (BOUND, NEXT, AFTER):
        table[row, :columns] = 0.0
    for j in range(tile.shape[0]):
        keep_largest(tile[j], per_low, per_high, columns, table[BOUND], table[NEXT], table[AFTER])


@kernel(apart=True)
def cannot_lose(bound, step, sigma, width, safe):
    """Whether no σ that begins with *sigma* falls below *bound*, whose g is *step*."""
    for i in range(width):
        safe[i] = (step[i] * LESS > bound[i]) & (bound[i] < sigma[i] * LESS)


@kernel
def sure_columns(s, start, columns, scatter, sigma, per_low, per_high, centre, safe, table):
    """Put down σ of pixels that lie side by side, from which no sample is missing, and tell which cannot lose one."""
    n = s.shape[0]
    end = start + columns
    near, bound = table[RESULT], table[BOUND]
    measure_all(
        s[0, start:end],
        s[(n - 1) // 2, start:end],
        s[n // 2, start:end],
        s[n - 1, start:end],
        scatter[start:end],
        per_low,
        per_high,
        columns,
        centre,
        near,
        bound,
        sigma,
    )
    table[NUMBER, :columns] = n
    if s.itemsize == 2:  # 16-bit numbers and their medians are exact in single precision
        step_from(s, start, columns, near, table, BOUND, BOUND_STEP)
    else:
        step_from(s, start, columns, centre, table, BOUND, BOUND_STEP)
    cannot_lose(bound, table[BOUND_STEP], sigma, columns, safe)


@kernel
def leave_suspects(
    s, pixel, waiting, first, last, sigma_of, per_low, per_high, tile, centre, zero, at, values, safe, table
):
    """Leave in *pixel* those that may lose a sample, and put down their σ; returns how many."""
    wide = tile.shape[1]
    left = 0
    for start in range(0, waiting, wide):
        columns = min(wide, waiting - start)
        these = pixel[start : start + columns]
        load_windows(s, these, columns, first, last, centre, table[NUMBER], at, values, tile)
        find_bounds(tile, per_low, per_high, columns, table)
        table[STEP, :columns] = np.inf
        step_from(tile, 0, columns, zero, table, STEP, SIGMA)
        table[SIGMA, :columns] /= np.float32(WINSOR_CORRECTION)
        step_from(tile, 0, columns, zero, table, BOUND, BOUND_STEP)
        cannot_lose(table[BOUND], table[BOUND_STEP], table[SIGMA], columns, safe)
        for c in range(columns):
            p = these[c]
            sigma_of[p] = table[SIGMA, c]
            pixel[left] = p
            left += not safe[c]
    return left


@kernel
def first_suspects(
    s, size, count, least, scatter, first, last, sigma_of, per_low, per_high,
    tile, centre, zero, at, values, safe, table, pixel,
):  # fmt: skip
    """Put into *pixel* those of more than *least* samples that may lose one, and put down their σ; returns how many."""
    n, wide = tile.shape
    found = 0
    for start in range(0, size, wide):
        columns = min(wide, size - start)
        if n > least and fewest(count[start:], columns) == n:
            sure_columns(
                s, start, columns, scatter, sigma_of[start : start + columns], per_low, per_high, centre, safe, table
            )  # fmt: skip
            for c in range(columns):
                pixel[found] = start + c
                found += not safe[c]
            continue
        some = pixels_above(count[start:], columns, least, pixel[found:])
        pixel[found : found + some] += start
        found += leave_suspects(
            s, pixel[found:], some, first, last, sigma_of, per_low, per_high, tile, centre, zero, at, values, safe, table
        )  # fmt: skip
    return found


@kernel
def load_batch(s, these, columns, first, last, sigma_of, tile, centre, at, values, table):
    """The differences of some pixels' samples from their medians, their number and σ."""
    load_windows(s, these, columns, first, last, centre, table[NUMBER], at, values, tile)
    for c in range(columns):
        table[SIGMA, c] = sigma_of[these[c]]


@kernel
def tell_outliers(columns, low, high, keep, tile, zero, table):
    """How many samples of each column are out, in the rows LOW_OUT and HIGH_OUT; NaN where some steps do not tell.

    Of the outermost samples the first whose bound no σ falls below stays, with all further in; those before
    it are out when σ has fallen below the bound of the last of them.
    """
    step_from(tile, 0, columns, zero, table, NEXT, NEXT_STEP)
    step_from(tile, 0, columns, zero, table, AFTER, AFTER_STEP)
    step_from(tile, 0, columns, zero, table, SIGMA, STEP)
    sigma, step, reached = table[SIGMA], table[STEP], table[RESULT]
    for c in range(columns):
        one = table[NEXT_STEP, c] * LESS > table[NEXT, c] and table[NEXT, c] < sigma[c] * LESS
        two = table[AFTER_STEP, c] * LESS > table[AFTER, c] and table[AFTER, c] < sigma[c] * LESS
        falls = step[c] < sigma[c] * LESS
        reached[c] = table[BOUND, c] if one else (table[NEXT, c] if two else np.float32(0.0))
        reached[c] = reached[c] * LESS if falls and table[NUMBER, c] >= keep + 2 else np.float32(0.0)
    # the iteration ends with the step that changes σ by little, and σ goes no lower than that
    ending = np.float32(1.0 - 1.01 * WINSOR_TOLERANCE)
    n_low, n_high = table[LOW_OUT], table[HIGH_OUT]
    going = n_low
    for c in range(columns):
        going[c] = step[c] < sigma[c] * ending
        sigma[c] = step[c]
    for _ in range(QUICK_STEPS - 1):
        step_from(tile, 0, columns, zero, table, SIGMA, STEP)
        for c in range(columns):
            before = sigma[c]
            sigma[c] = step[c] if going[c] > 0.0 else before
            going[c] = going[c] if step[c] < before * ending else 0.0
    for c in range(columns):
        n_low[c] = n_high[c] = 0.0 if sigma[c] < reached[c] else np.nan
    for j in range(tile.shape[0]):
        count_beyond(tile[j], sigma, low, high, columns, n_low, n_high)


@kernel
def reject_winsorized(s, size, count, mean, scatter, first, last, low, high, iterations, keep, sigma_of):
    """Clipping about the median with Huber's winsorized standard deviation.

    ``sigma_of`` is an array to work in.
    """
    n = s.shape[0]
    wide = tile_width(n)
    tile = np.empty((n, wide), np.float32)
    table = np.zeros((15, wide), np.float32)
    zero = np.zeros(wide, np.float32)
    at = np.empty(wide, np.uint32)
    on = np.empty(wide, np.uint32)
    values = np.empty(wide, s.dtype)
    safe = np.empty(wide, np.bool_)
    centre = np.empty(wide)
    pixel = np.empty(size, np.int32)
    slow = np.empty(size, np.int32)
    per_low = 1.0 / low  # infinite for a limit of zero: no bound tells anything then
    per_high = 1.0 / high
    waiting = 0
    for round_ in range(iterations):
        if round_ == 0:
            waiting = first_suspects(
                s, size, count, max(keep, 2), scatter, first, last, sigma_of, per_low, per_high,
                tile, centre, zero, at, values, safe, table, pixel,
            )  # fmt: skip
        else:
            waiting = leave_suspects(
                s, pixel, waiting, first, last, sigma_of, per_low, per_high,
                tile, centre, zero, at, values, safe, table,
            )  # fmt: skip
        changed = 0
        unknown = 0
        for start in range(0, waiting, wide):
            columns = min(wide, waiting - start)
            these = pixel[start : start + columns]
            load_batch(s, these, columns, first, last, sigma_of, tile, centre, at, values, table)
            find_bounds(tile, per_low, per_high, columns, table)
            tell_outliers(columns, low, high, keep, tile, zero, table)
            for c in range(columns):  # without branches, since nothing can be foretold
                p = these[c]
                told = table[LOW_OUT, c] >= 0.0
                n_low = np.int32(table[LOW_OUT, c] if told else 0.0)
                n_high = np.int32(table[HIGH_OUT, c] if told else 0.0)
                first[p] += n_low
                last[p] -= n_high
                pixel[changed] = p
                changed += n_low + n_high > 0
                slow[unknown] = p
                unknown += not told
        for start in range(0, unknown, wide):
            columns = min(wide, unknown - start)
            these = slow[start : start + columns]
            load_batch(s, these, columns, first, last, sigma_of, tile, centre, at, values, table)
            winsorize(tile, columns, table, at, on)
            for c in range(columns):
                p = these[c]
                sigma = np.float64(table[RESULT, c])
                a, b = trim(s, p, first[p], last[p], centre[c], low * sigma, high * sigma, keep)
                pixel[changed] = p
                changed += b - a < last[p] - first[p]
                first[p] = a
                last[p] = b
        waiting = 0
        for p in pixel[:changed]:
            pixel[waiting] = p
            waiting += last[p] - first[p] > max(keep, 2)
        if waiting == 0:
            break
