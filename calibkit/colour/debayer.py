"""Colour conversion of a calibrated mosaic: super-pixel, bilinear and along edges."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import xarray as xr

from calibkit.cfa import Pattern, channel_index, pattern_of
from calibkit.errors import SettingError
from calibkit.memory import band_rows, worker_count
from calibkit.meta import add_step
from calibkit.threads import in_threads

Planes = tuple[np.ndarray, np.ndarray, np.ndarray]
Method = Literal["superpixel", "bilinear", "edge"]
COLOURS = ("R", "G", "B")
_HALO = 2
_DTYPES = (np.float32, np.float32, np.uint16)


def debayer(light: xr.Dataset, *, method: Method = "bilinear") -> xr.Dataset:
    """Convert a calibrated mosaic to red, green and blue, in float and with negatives kept.

    Parameters
    ----------
    light : xarray.Dataset
        A result of `calibrate`: ``signal``, ``variance`` and ``flags`` with dims ``(…, y, x)``, in memory or
        lazy; a crop at any row and column is converted with its own colours.
    method : {"superpixel", "bilinear", "edge"}
        ``"superpixel"``: the mean of each colour in every block of the sensor (2 × 2, X-Trans 3 × 3): no
        value is made up and neighbours stay independent, at a half (a third) of the size.
        ``"bilinear"``: missing colours are the distance-weighted mean of the nearest samples of that colour.
        ``"edge"``: missing colours are interpolated along the smaller gradient, corrected by the second
        difference of the pixel's own colour (Hamilton and Adams), where gradients stand out of the noise by
        three standard deviations; elsewhere as bilinear, which is less noisy. For 2 × 2 patterns.

    Returns
    -------
    xarray.Dataset
        ``signal`` (float32), ``variance`` and ``flags`` with dims ``(…, channel, y, x)`` and channel R, G, B,
        lazy if *light* was. ``y`` and ``x`` are sensor pixel numbers, of a super-pixel's centre.
        Bad pixels do not enter, saturated ones do and are flagged. ``attrs["noise_correlation"]`` states
        the correlation that interpolation makes: the variance of a mean over many pixels is this many times
        what the pixels' own variances would give if they were independent, for R, G and B on a flat sky.

    Raises
    ------
    SettingError
        The frame has no colour filters, or filters other than red, green and blue (complementary filters
        need a colour matrix of their own), or *method* does not exist or does not fit the pattern.

    References
    ----------
    Hamilton and Adams 1997, US patent 5,629,734 (expired): the edge rule, here with corrections taken from
    measured samples only, so that the stated variance is exact.

    Examples
    --------
    >>> import calibkit
    >>> camera = calibkit.Camera(shape=(40, 60), pattern="RGGB", offset=100.0)
    >>> raw = calibkit.simulate_frame(camera, exposure=60.0)
    >>> light = calibkit.calibrate(raw, bias=calibkit.constant_bias(raw, level=100.0))
    >>> colour = calibkit.debayer(light, method="superpixel")
    >>> dict(colour.sizes)
    {'channel': 3, 'y': 20, 'x': 30}
    """
    pattern = _checked_pattern(light, method)
    out = convert_planes(light, COLOURS, method)
    out = out.assign_attrs(noise_correlation=_correlation(pattern, method))
    return add_step(out, "debayer", method=method, pattern=pattern.text)


def convert_planes(light: xr.Dataset, names: tuple[str, ...], method: Method) -> xr.Dataset:
    """Planes of up to three colours or channels of a mosaic, as `debayer` makes them, under these *names*."""
    _check_variables(light)
    pattern = pattern_of(light)
    block = block_size(pattern)
    cell, channels = channel_index(light)
    numbers = {
        name: next((i for i, n in enumerate(names) if n in (name, name[0])), len(names)) for name in channels
    }
    lookup = np.array([numbers[name] for name in channels], np.uint8)
    convert = _converter(method, lookup[cell], block, len(names))
    run = _lazily if light["signal"].chunks else _now
    planes = run(light, convert, method, block, len(names))
    return _labelled(light, planes, names, block if method == "superpixel" else 1, lookup[cell])


def _checked_pattern(light: xr.Dataset, method: str) -> Pattern:
    if method not in ("superpixel", "bilinear", "edge"):
        msg = f"method={method!r} does not exist; allowed are 'superpixel', 'bilinear' and 'edge'"
        raise SettingError(msg)
    pattern = pattern_of(light)
    if pattern.is_mono:
        msg = "this frame has no colour filters (mono): there is nothing to convert"
        raise SettingError(msg)
    if set(pattern.colours) != set(COLOURS):
        msg = (
            f"pattern {pattern} has the filters {', '.join(pattern.colours)}: conversion to red, green and blue "
            "needs a colour matrix for these filters, which is not known. Its planes are there unconverted: "
            "light.cfa.planes()"
        )
        raise SettingError(msg)
    if method == "edge" and pattern.period != (2, 2):
        msg = (
            f"method='edge' follows edges on a 2 × 2 pattern; this one repeats every {pattern.period[0]} × "
            f"{pattern.period[1]} pixels. Use 'bilinear' or 'superpixel'"
        )
        raise SettingError(msg)
    return pattern


def _check_variables(light: xr.Dataset) -> None:
    missing = [name for name in ("signal", "variance", "flags") if name not in light]
    if missing:
        msg = (
            f"a calibrated light has signal, variance and flags; {', '.join(missing)} is missing. Colours are "
            "converted after calibration: pass the result of calibkit.calibrate"
        )
        raise SettingError(msg)


def block_size(pattern: Pattern) -> int:
    """The smallest square that holds every colour, wherever it is laid."""
    py, px = pattern.period
    tiled = np.tile([list(row) for row in pattern.letters], (3, 3))
    for size in range(2, max(py, px) + 1):
        blocks = (tiled[i : i + size, j : j + size] for i in range(py) for j in range(px))
        if all(set(block.ravel()) == set(pattern.colours) for block in blocks):
            return size
    return max(py, px)


def _converter(method: str, cell: np.ndarray, block: int, count: int) -> Callable[..., Planes]:
    """A function of (signal, variance, flags, first row, rows above, rows) that gives the planes of a band.

    With planes and a row of theirs to begin at, it fills these and returns them.
    """
    reach = max(1, block - 1)

    def convert(
        signal: Any,
        variance: Any,
        flags: Any,
        first: int,
        top: int,
        rows: int,
        out: Planes | None = None,
        begin: int = 0,
    ) -> Planes:
        from calibkit.kernels import debayer as kernels
        from calibkit.kernels import debayer_edge as edges

        own = np.ascontiguousarray(np.roll(cell, -(first % cell.shape[0]), axis=0))
        arrays = [
            np.ascontiguousarray(array, dtype)
            for array, dtype in zip((signal, variance, flags), _DTYPES, strict=True)
        ]
        width = arrays[0].shape[1]
        step = block if method == "superpixel" else 1
        if out is None:
            out = _empty_planes((count, rows // step, width // step))
        if method == "superpixel":
            kernels.superpixel(*arrays, own, block, begin, rows // step, *out)
        elif method == "bilinear":
            kernels.bilinear(*arrays, own, _taps(own, reach, count), top, rows, reach, begin, *out)
        else:
            edges.edge_aware(*arrays, own, top, rows, begin, *out)
        return out

    return convert


def _empty_planes(shape: tuple[int, ...]) -> Planes:
    from calibkit.combining.threads import page_zeros

    height, width = math.prod(shape[:-1]), shape[-1]
    return tuple(page_zeros((height, width), dtype).reshape(shape) for dtype in _DTYPES)


def _taps(cell: np.ndarray, reach: int, count: int) -> np.ndarray:
    """Where each colour comes from at each site: [site row, site column, colour, tap, (dy, dx, weight)].

    The first tap holds their number. An own sample is its only tap; no colour is out of reach.
    """
    (py, px), side = cell.shape, 2 * reach + 1
    taps = np.zeros((py, px, count, side * side + 1, 3), np.float32)
    for a, b, colour in np.ndindex(py, px, count):
        near = [
            (dy, dx, (reach + 1 - abs(dy)) * (reach + 1 - abs(dx)))
            for dy in range(-reach, reach + 1)
            for dx in range(-reach, reach + 1)
            if cell[(a + dy) % py, (b + dx) % px] == colour
        ]
        if cell[a, b] == colour:
            near = [(0, 0, 1)]
        total = sum(weight for *_, weight in near)
        taps[a, b, colour, 0, 0] = len(near)
        for k, (dy, dx, weight) in enumerate(near):
            taps[a, b, colour, k + 1] = dy, dx, weight / total
    return taps


def _bands(
    height: int, width: int, method: str, block: int, bounds: list[int] | None = None
) -> list[tuple[int, ...]]:
    """(first row, last row, rows read above, last row read) of every band."""
    if bounds is None:
        rows = band_rows(height, width, bytes_per_pixel=40 * worker_count(), multiple=block)
        bounds = [*range(0, height, rows), height]
    if method == "superpixel":  # whole blocks in every band
        bounds = sorted({min(y // block * block, height // block * block) for y in bounds})
        return [(y0, y1, y0, y1) for y0, y1 in itertools.pairwise(bounds)]
    return [(y0, y1, max(0, y0 - _HALO), min(height, y1 + _HALO)) for y0, y1 in itertools.pairwise(bounds)]


def _frames(light: xr.Dataset) -> tuple[tuple[int, ...], list[tuple[Any, Any, Any]]]:
    """The leading shape, and signal, variance and flags of every frame as (y, x) arrays."""
    data = [light[name].transpose(..., "y", "x").data for name in ("signal", "variance", "flags")]
    lead = data[0].shape[:-2]
    return lead, [tuple(array[index] for array in data) for index in np.ndindex(*lead)]


def _now(light: xr.Dataset, convert: Callable[..., Planes], method: str, block: int, count: int) -> Planes:
    lead, frames = _frames(light)
    height, width = light.sizes["y"], light.sizes["x"]
    bands = _bands(height, width, method, block)
    step = block if method == "superpixel" else 1
    out = _empty_planes((len(frames), count, height // step, width // step))

    def work(job: tuple[int, tuple[int, ...]]) -> None:
        index, (y0, y1, above, below) = job
        rows = (array[above:below] for array in frames[index])
        planes = tuple(array[index] for array in out)
        convert(*rows, above, y0 - above, y1 - y0, planes, y0 // step)

    in_threads(work, [(index, band) for index in range(len(frames)) for band in bands])
    return tuple(array.reshape(*lead, *array.shape[1:]) for array in out)


def _lazily(light: xr.Dataset, convert: Callable[..., Planes], method: str, block: int, count: int) -> Planes:
    import dask
    import dask.array as da

    lead, frames = _frames(light)
    height, width = light.sizes["y"], light.sizes["x"]
    heights = light["signal"].transpose(..., "y", "x").data.chunks[-2]
    edges = [0, *np.cumsum(heights).tolist()]
    bands = _bands(height, width, method, block, edges)
    step = block if method == "superpixel" else 1
    # Neighbouring bands share blocks by name, so that each is calibrated once: slices of whole arrays would be
    # optimised one by one, and what they come from computed for every one of them.
    work = dask.delayed(_converted, pure=False, nout=3)  # a name from its arguments costs more than the rest
    parts: list[list[list[Any]]] = [[], [], []]
    for arrays in frames:
        blocks = [
            da.asarray(array).rechunk((heights, width)).to_delayed(optimize_graph=False)[:, 0].tolist()
            for array in arrays
        ]
        rows: list[list[Any]] = [[], [], []]
        for y0, y1, above, below in bands:
            first, end = np.searchsorted(edges, above, "right") - 1, np.searchsorted(edges, below, "left")
            near = [column[first:end] for column in blocks]
            start = edges[first]
            planes = work(convert, near, above - start, below - start, above, y0 - above, y1 - y0)
            shape = (count, (y1 - y0) // step, width // step)
            for row, plane, dtype in zip(rows, planes, _DTYPES, strict=True):
                row.append(da.from_delayed(plane, shape, dtype))
        for part, row in zip(parts, rows, strict=True):
            part.append(da.concatenate(row, axis=1))
    return tuple(da.stack(part).reshape(*lead, *part[0].shape) for part in parts)


def _converted(
    convert: Callable[..., Planes],
    blocks: list[list[np.ndarray]],
    start: int,
    stop: int,
    first: int,
    top: int,
    rows: int,
) -> Planes:
    """`convert` on rows ``start:stop`` of the blocks of signal, variance and flags laid one below the other."""
    return convert(*(_rows_of(column, start, stop) for column in blocks), first, top, rows)


def _rows_of(blocks: list[np.ndarray], start: int, stop: int) -> np.ndarray:
    parts = []
    for block in blocks:
        parts.append(block[max(start, 0) : max(stop, 0)])
        start, stop = start - block.shape[0], stop - block.shape[0]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _labelled(
    light: xr.Dataset, planes: Planes, names: tuple[str, ...], block: int, cell: np.ndarray
) -> xr.Dataset:
    lead = tuple(str(dim) for dim in light["signal"].dims if dim not in ("y", "x"))
    dims = (*lead, "channel", "y", "x")
    coords: dict[str, Any] = {"channel": list(names)}
    coords |= {name: c for name, c in light.coords.items() if not {"y", "x"} & set(map(str, c.dims))}
    for axis, dim in enumerate(("y", "x")):
        values = np.asarray(light[dim].values)
        if block > 1:
            values = values[: values.size // block * block : block] + _centre(cell, block, len(names), axis)
        coords[dim] = (dim, values, light[dim].attrs)
    return xr.Dataset(
        {
            name: (dims, plane, {key: value for key, value in light[name].attrs.items() if key != "cfa"})
            for name, plane in zip(("signal", "variance", "flags"), planes, strict=True)
        },
        coords=coords,
        attrs={**light.attrs, "cfa": ""},
    )


def _centre(cell: np.ndarray, block: int, count: int, axis: int) -> float:
    """Mean place, within a block, of the pixels that are used: the same in every block of a 2 × 2 pattern."""
    if cell.shape != (block, block):
        return (block - 1) / 2
    return float(np.nonzero(cell < count)[axis].mean())


def _correlation(pattern: Pattern, method: str) -> dict[str, float]:
    """Variance of a mean over many pixels ÷ what independent pixels would give, on a flat sky."""
    if method == "superpixel":
        return dict.fromkeys(COLOURS, 1.0)
    py, px = pattern.period
    cell = np.array([[COLOURS.index(letter) for letter in row] for row in pattern.letters], np.uint8)
    flat = np.ones((3 * py + 4, 3 * px + 4), np.float32)
    convert = _converter("bilinear", cell, block_size(pattern), 3)
    variance = convert(0 * flat, flat, np.zeros(flat.shape, np.uint16), 0, 0, flat.shape[0])[1]
    middle = variance[:, py : 2 * py, px : 2 * px].mean(axis=(1, 2))
    share = [float(np.mean(cell == number)) for number in range(3)]
    return {name: round(1.0 / (share[i] * float(middle[i])), 3) for i, name in enumerate(COLOURS)}
