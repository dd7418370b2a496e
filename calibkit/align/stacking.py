"""Lights, aligned and combined: from calibrated frames to one picture."""

from __future__ import annotations

import itertools
import operator
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import xarray as xr

from calibkit import meta
from calibkit.align.drizzling import drizzle_lights
from calibkit.align.levels import levels_of, template_of
from calibkit.align.lights import Light, Lights, lights_of, place_of
from calibkit.align.resampling import (
    Grid,
    align_rows,
    correlation,
    grid_like,
    grid_of_cells,
    rows_needed,
)
from calibkit.align.transforms import Transforms
from calibkit.cfa import channel_index, pattern_of
from calibkit.combining.bands import OUTPUTS
from calibkit.combining.engine import combine_into
from calibkit.combining.normalise import Levels
from calibkit.errors import MismatchError, SettingError
from calibkit.makers import tell_maker
from calibkit.memory import band_rows, release_memory, worker_count
from calibkit.progress import Progress, silent

Channels = Literal["planes", "mosaic", "debayer", "drizzle"]
#: Bytes of aligned samples in a band, over all the frames.
_BAND_BYTES = 76 * 2**20
_SAMPLE_BYTES = 10
#: Rows above and below a band that interpolation and calibration need, about.
_AROUND = 32
_DTYPES = {"signal": np.float32, "variance": np.float32, "flags": np.uint16}


def stack_lights(
    lights: Lights,
    transforms: Transforms,
    *,
    method: str = "mean",
    reject: str = "auto",
    low: float | None = None,
    high: float | None = None,
    normalise: str = "auto",
    weights: str | Sequence[float] | None = None,
    levels: Levels | None = None,
    channels: Channels = "planes",
    scale: float = 1.0,
    pixfrac: float = 1.0,
    interpolation: str = "lanczos3",
    progress: Progress = silent,
    client: Any = None,
) -> xr.Dataset:
    """Align lights and combine them into one picture, without outliers and with its variance.

    Parameters
    ----------
    lights : Dataset, DataArray or sequence of them
        Calibrated lights, as for `register`, in memory or lazy; of lazy ones only the rows of a band are held.
    transforms : Transforms
        From `register`. Frames that could not be aligned are left out.
    method, reject, low, high : str, str, float, float
        As for `calibkit.combine`. Drizzle knows ``method="mean"`` and ``reject="auto"`` or ``"none"``: samples that
        are more than 4 σ (*low*, *high*) and a step to the neighbouring pixels away from the median of the frames.
    normalise : str
        As for `calibkit.combine`; levels and spreads are measured on the lights before they are aligned. ``"auto"``
        shifts and scales, or only shifts where most pixels of a light are equal, and warns of that.
    weights : {"exposure", "noise"} or sequence of float, optional
        As for `calibkit.combine`; numbers for all the lights, or for those that could be aligned.
    levels : Levels, optional
        What `calibkit.combining.measure_levels` found of all the lights; measured when left out, or when the weights need a
        noise that it does not know.
    channels : {"planes", "mosaic", "debayer", "drizzle"}
        What becomes of the colours. ``"planes"``: one plane for each colour, one pixel for each cell of the pattern, all at
        the cell's middle; greens are averaged. ``"mosaic"``: a mosaic like the lights, for `calibkit.extract_line` and
        others. ``"debayer"``: that mosaic, converted along edges by `calibkit.debayer`, which keeps stars sharp.
        ``"drizzle"``: every sample drops onto the grid of its colour, without any interpolation; for every pattern.
        Samples that were repaired only enter where there is no other. A mono camera's frames are just aligned, or
        drizzled.
    scale : float
        Pixels of the result for each pixel (of ``"planes"``: for each cell).
    pixfrac : float
        Side of a drop in pixels of the light, for ``"drizzle"``.
    interpolation : {"lanczos3", "bicubic", "linear"}
        As for `resample`.
    progress : callable
        ``progress(done, total, what)``; may raise `Cancelled`.
    client : dask.distributed.Client, optional
        Do the work on this cluster; its workers must see the same files.

    Returns
    -------
    Dataset
        ``signal``, ``variance`` and ``flags`` with dims ``(y, x)``, or ``(channel, y, x)`` in colour; ``n_kept`` counts the
        frames. In memory, but with ``"debayer"`` only the mosaic is, where the lights are lazy. ``y`` and ``x`` are places
        on the reference's sensor. ``attrs["noise_correlation"]`` as in `resample`.

    Raises
    ------
    MismatchError
        The transforms are of other lights, or none could be aligned.
    SettingError
        A setting that cannot work.
    Cancelled
        The progress callback asked to stop.

    Warns
    -----
    CalibkitWarning
        As `calibkit.combine`.

    Notes
    -----
    The result is made in bands of rows: for each, the rows of every light that fall into it are read, brought to
    the reference and combined by the same engine as the masters. Memory does not grow with the number of
    lights.

    References
    ----------
    Fruchter, A. S. & Hook, R. N. 2002, "Drizzle", PASP 114, 144.

    Examples
    --------
    >>> import calibkit
    >>> camera = calibkit.Camera(shape=(200, 300), offset=100.0)
    >>> sky = calibkit.Sky(n_stars=60, star_flux=20_000.0, drift=(2.0, -3.0))
    >>> raw = calibkit.simulate_stack(camera, 3, exposure=30.0, sky=sky)
    >>> lights = calibkit.calibrate(raw, bias=calibkit.constant_bias(raw, level=100.0))
    >>> stacked = calibkit.stack_lights(lights, calibkit.register(lights))
    >>> stacked.signal.dims
    ('y', 'x')
    """
    everything = lights_of(lights, "stack_lights")
    chosen, matrices = _aligned(everything, transforms)
    pattern = pattern_of(everything[0].labelled)
    if channels not in ("planes", "mosaic", "debayer", "drizzle"):
        msg = f"channels={channels!r}: allowed are 'planes', 'mosaic', 'debayer' and 'drizzle'"
        raise SettingError(msg)
    if not 0.1 <= scale <= 4:
        msg = f"scale={scale!r}: from 0.1 to 4 is allowed"
        raise SettingError(msg)
    if scale != 1 and channels in ("mosaic", "debayer") and not pattern.is_mono:
        msg = f"scale={scale!r}: a mosaic keeps its pixels; use channels='planes' or 'drizzle'"
        raise SettingError(msg)
    if weights is not None and not isinstance(weights, str):
        weights = np.asarray(weights, float)
        weights = weights[chosen] if weights.shape == (len(everything),) else weights
    if levels is not None:
        levels = _chosen(
            levels, chosen, len(everything), int(channel_index(everything[0].labelled)[0].max()) + 1
        )
    used = [everything[i] for i in chosen]
    first = used[0].labelled
    template = template_of(used)
    if channels == "drizzle":
        result = drizzle_lights(
            template, used, matrices, normalise=normalise, method=method, reject=reject, low=low, high=high,
            weights=weights, levels=levels, scale=scale, pixfrac=pixfrac, progress=progress, client=client,
        )  # fmt: skip
        return _recorded(result, used[0], transforms, channels=channels, scale=scale, pixfrac=pixfrac)
    if channels == "planes" or pattern.is_mono:
        grid = grid_of_cells(first, interpolation, scale)
    else:
        grid = grid_like(first, interpolation)
    factor, term, weight = levels_of(
        template, used, normalise=normalise, weights=weights, known=levels, progress=progress
    )
    cell, _ = channel_index(template)
    scaling = (None, None) if factor is None else (factor[:, cell], term[:, cell])
    aligned = _lazily(template, used, matrices, grid, *scaling)
    if not all(light.knows_noise for light in used):  # their scatter tells it
        aligned = aligned.drop_vars("variance")
    settings = {
        "method": method,
        "reject": reject,
        "low": low,
        "high": high,
        "normalise": "none",
        "weights": None if weight is None else weight.mean(axis=1),
    }
    if isinstance(weights, str):  # they tell the noise of the lights too, as numbers would not
        noise = np.repeat(weight.mean(axis=1, keepdims=True) ** -0.5, weight.shape[1], axis=1)
        settings |= {"weights": weights, "levels": Levels(np.zeros_like(noise), np.ones_like(noise), noise)}
    as_it_is = pattern.is_mono or channels == "mosaic"
    wanted = [name for name in OUTPUTS if as_it_is or not name.startswith("rejected")]
    result = combine_into(wanted, aligned, settings, progress=progress, client=client)
    del aligned
    release_memory()  # what the bands were made in
    result.attrs["noise_correlation"] = round(correlation(grid, matrices), 3)
    result = _recorded(
        result, used[0], transforms, channels=channels, scale=scale, interpolation=interpolation
    )
    return _finished(result, used[0], grid, channels)


def _aligned(lights: list[Light], transforms: Transforms) -> tuple[list[int], list[np.ndarray]]:
    """Numbers and matrices of the frames that could be aligned."""
    if not isinstance(transforms, Transforms) or len(transforms) != len(lights):
        found = (
            f"{len(transforms)} of them" if isinstance(transforms, Transforms) else type(transforms).__name__
        )
        msg = f"{len(lights)} lights need the Transforms that calibkit.register made of them, found {found}"
        raise MismatchError(msg)
    first = lights[0]
    if transforms.shape != first.shape or transforms.origin != place_of(first.labelled):
        msg = (
            f"the transforms are for lights of {transforms.shape} pixels at {transforms.origin} of the sensor, these have "
            f"{first.shape} at {place_of(first.labelled)}; register them anew"
        )
        raise MismatchError(msg)
    chosen = [i for i, frame in enumerate(transforms) if frame.ok]
    if not chosen:
        msg = "none of the lights could be aligned, so there is nothing to stack; see transforms.table"
        raise MismatchError(msg)
    return chosen, [transforms[i].matrix for i in chosen]


def _chosen(levels: Levels, chosen: list[int], count: int, channels: int) -> Levels:
    """The levels of those lights that are used."""
    if levels.location.shape != (count, channels):
        msg = f"levels= of {levels.location.shape} frames and channels for lights of {(count, channels)}"
        raise SettingError(msg)
    return Levels(*(getattr(levels, field.name)[chosen] for field in fields(levels)))


def _rows_of_band(count: int, shape: tuple[int, int], period: int) -> int:
    rows = _BAND_BYTES // (_SAMPLE_BYTES * count * shape[1]) // period * period
    return max(8 * period, min(rows, shape[0]))


def rows_again(transforms: Transforms) -> float:
    """How many rows of every light, and of those around them that a calibrated one depends on, are asked for by a row of a stack.

    Each band of the stack takes all the rows that some pixel of it comes from: with turned lights, or with many, whose
    bands are low, these are several times as many as it has.
    """
    matrices = [frame.matrix for frame in transforms if frame.ok]
    if not matrices:
        return 1.0
    across = np.mean([abs(np.linalg.inv(matrix)[1, 0]) for matrix in matrices]) * transforms.shape[1]
    rows = _rows_of_band(len(matrices), transforms.shape, 2)
    return float((rows + across + _AROUND) / rows)


def _lazily(
    template: xr.Dataset,
    lights: list[Light],
    matrices: list[np.ndarray],
    grid: Grid,
    factor: np.ndarray | None,
    term: np.ndarray | None,
) -> xr.Dataset:
    """The aligned lights as a lazy stack in bands of rows."""
    import dask.array as da

    count, (height, width) = len(lights), grid.shape
    rows = _rows_of_band(count, grid.shape, grid.period[0])
    edges = [*range(0, height, rows), height]
    name = f"aligned-{uuid.uuid4().hex}"
    graph: dict[Any, Any] = {}
    maker = _Aligned([light.bare() for light in lights], matrices, grid, factor, term)
    for j, (y0, y1) in enumerate(itertools.pairwise(edges)):
        graph[f"{name}-rows", j] = (maker.rows, y0, y1)
        for k, part in enumerate(_DTYPES):
            graph[f"{name}-{part}", 0, j, 0] = (operator.getitem, (f"{name}-rows", j), k)
    chunks = ((count,), tuple(np.diff(edges).tolist()), (width,))
    data = {
        part: (("frame", "y", "x"), da.Array(graph, f"{name}-{part}", chunks, dtype=dtype))
        for part, dtype in _DTYPES.items()
    }
    coords = {n: c for n, c in template.coords.items() if n not in ("y", "x")}
    origin = grid.place
    coords |= {dim: origin[axis] + np.arange(grid.shape[axis]) for axis, dim in enumerate(("y", "x"))}
    stack = xr.Dataset(data, coords=coords, attrs=template.attrs)
    tell_maker(stack, maker)
    return stack


def _overlapping(spans: Sequence[tuple[int, int]]) -> list[tuple[int, int, list[int]]]:
    """Rows (start, stop) in groups that overlap, and the numbers in each: a light turned by half has others than the rest."""
    groups: list[tuple[int, int, list[int]]] = []
    for number in sorted(range(len(spans)), key=lambda i: spans[i]):
        top, bottom = spans[number]
        if groups and top < groups[-1][1]:
            first, last, members = groups.pop()
            groups.append((first, max(last, bottom), [*members, number]))
        else:
            groups.append((top, bottom, [number]))
    return groups


@dataclass(frozen=True, eq=False)
class _Aligned:
    """Makes rows of every light on the grid: signal, variance and flags, (frame, y, x)."""

    lights: list[Light]
    matrices: list[np.ndarray]
    grid: Grid
    factor: np.ndarray | None
    term: np.ndarray | None

    def __call__(self, y0: int, y1: int, out: tuple[np.ndarray, ...]) -> bool:
        needed = [rows_needed(matrix, self.grid, y0, y1) for matrix in self.matrices]
        for top, bottom, numbers in _overlapping(needed):
            if top < bottom and self.lights[0].maker is not None:
                self.lights[0].maker.expect(top, bottom)
            for i in numbers:
                scaling = (None, None) if self.factor is None else (self.factor[i], self.term[i])
                part = tuple(array[i] for array in out)
                align_rows(self.lights[i], self.matrices[i], self.grid, y0, y1, *scaling, out=part)
        return True

    def rows(self, y0: int, y1: int) -> tuple[np.ndarray, ...]:
        """The same in memory of its own."""
        shape = (len(self.lights), y1 - y0, self.grid.shape[1])
        out = tuple(np.empty(shape, dtype) for dtype in _DTYPES.values())
        self(y0, y1, out)
        return out

    def strips(self, frame: int, places: list[tuple[int, int]]) -> None:
        """Levels are those of the lights before they are aligned."""


def _recorded(result: xr.Dataset, light: Light, transforms: Transforms, **settings: Any) -> xr.Dataset:
    """The result with the step that made it."""
    mono = pattern_of(light.labelled).is_mono
    return meta.add_step(
        result,
        "stack lights",
        **settings,
        mono=mono,
        model=transforms.model,
        reference=transforms[transforms.reference].name,
        aligned=int(transforms.ok.sum()),
        left_out=[{"file": frame.name, "reason": frame.reason} for frame in transforms if not frame.ok],
    )


def _finished(result: xr.Dataset, light: Light, grid: Grid, channels: str) -> xr.Dataset:
    """The combined mosaic as it was asked for."""
    from calibkit.colour.debayer import convert_planes, debayer

    pattern = pattern_of(light.labelled)
    if pattern.is_mono:
        return _placed(result, grid)
    if channels == "mosaic":
        return result
    if channels == "debayer":
        factor = result.attrs["noise_correlation"]
        # Lights without a known noise cannot tell an edge from it.
        method = (
            "edge"
            if np.isfinite(result["variance"].values[:: grid.shape[0] // 16 or 1]).any()
            else "bilinear"
        )
        made = debayer(in_bands(result) if light.lazy else result, method=method)
        both = {name: round(value * factor, 3) for name, value in made.attrs["noise_correlation"].items()}
        return made.assign_attrs(noise_correlation=both)
    kept = result["n_kept"]
    factor = result.attrs["noise_correlation"]
    planes = convert_planes(result[["signal", "variance", "flags"]], pattern.colours, "superpixel")
    labels = np.roll(pattern.label_letters, (-grid.place[0], -grid.place[1]), (0, 1))
    py, px = grid.period
    counts = [
        np.max([kept.values[dy::py, dx::px] for dy, dx in np.argwhere(labels == letter)], axis=0)
        for letter in pattern.colours
    ]
    planes["n_kept"] = (("channel", "y", "x"), np.stack(counts))
    planes["rejected_fraction"] = result["rejected_fraction"]
    planes.attrs["noise_correlation"] = dict.fromkeys(pattern.colours, factor)
    return _placed(planes, grid)


def in_bands(mosaic: xr.Dataset) -> xr.Dataset:
    """A mosaic in memory as a lazy one, so that its three planes need not be there as a whole."""
    import dask.array as da

    height, width = mosaic.sizes["y"], mosaic.sizes["x"]
    rows = band_rows(height, width, bytes_per_pixel=40 * worker_count(), multiple=2)
    edges = [*range(0, height, rows), height]
    chunks = (tuple(np.diff(edges).tolist()), (width,))
    arrays = {}
    for name, dtype in _DTYPES.items():
        values, key = mosaic[name].data, f"mosaic-{name}-{uuid.uuid4().hex}"
        # da.from_array would copy all of it
        graph = {(key, j, 0): values[y0:y1] for j, (y0, y1) in enumerate(itertools.pairwise(edges))}
        arrays[name] = mosaic[name].copy(data=da.Array(graph, key, chunks, dtype=dtype))
    return mosaic[list(_DTYPES)].assign(arrays)


def _placed(result: xr.Dataset, grid: Grid) -> xr.Dataset:
    """The result with the places of its pixels on the sensor."""
    middle = [(p - 1) / 2 for p in grid.period]
    places = {
        dim: grid.start[axis] + middle[axis] + grid.step[axis] * np.arange(result.sizes[dim])
        for axis, dim in enumerate(("y", "x"))
    }
    whole = all((v == np.floor(v)).all() for v in places.values())
    return result.assign_coords({d: v.astype(int) if whole else v for d, v in places.items()})
