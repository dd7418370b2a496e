"""Drizzle: every sample drops onto the grid of its own colour, and nothing is interpolated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from calibkit import meta
from calibkit.align.levels import levels_of
from calibkit.align.lights import Light, Rows, place_of
from calibkit.cfa import channel_index, pattern_of
from calibkit.colour.debayer import block_size
from calibkit.combining.normalise import Levels
from calibkit.combining.threads import page_zeros, run
from calibkit.errors import SettingError
from calibkit.flags import NO_DATA, REJECTED_ALL
from calibkit.memory import worker_count
from calibkit.progress import Progress
from calibkit.warned import warn

#: Bytes of a band with the rows of all the frames that fall into it, over all threads.
_BAND_BYTES = 320 * 2**20
#: Fewer frames than this do not tell what is astray.
LEAST_FRAMES = 3
#: Standard deviations beyond which a sample is rejected, besides the difference between neighbours.
LIMIT = 4.0


@dataclass(frozen=True, eq=False)
class Drizzle:
    """What is done, small enough to travel: lights, their maps, the grid and the settings."""

    lights: tuple[Light, ...]
    matrices: tuple[np.ndarray, ...]
    place: tuple[int, int]  # sensor row and column of the lights' first pixel
    colour: np.ndarray  # number of the colour on each site of the cell, from the lights' first pixel
    block: int  # side of the square that holds every colour
    scale: float
    pixfrac: float
    factor: np.ndarray  # (frame, py, px)
    term: np.ndarray
    weight: np.ndarray  # (frame, colour)
    low: float  # standard deviations; infinite when nothing is rejected
    high: float

    @property
    def colours(self) -> int:
        return int(self.colour.max()) + 1

    @property
    def shape(self) -> tuple[int, int]:
        height, width = self.lights[0].shape
        return max(1, math.floor(height * self.scale + 1e-9)), max(1, math.floor(width * self.scale + 1e-9))

    @property
    def start(self) -> tuple[float, float]:
        """Sensor row and column of the first pixel's centre: the outer edges stay where they are."""
        shift = (1 / self.scale - 1) / 2
        return self.place[0] + shift, self.place[1] + shift

    @property
    def guided(self) -> bool:
        return math.isfinite(min(self.low, self.high)) and len(self.lights) >= LEAST_FRAMES

    def affine(self, frame: int, first_row: int, pixel: float, y0: float, x0: float) -> np.ndarray:
        """From row (counted from *first_row* on) and column of a frame to a grid of *pixel* that begins at (y0, x0)."""
        m = self.matrices[frame]
        top, left = self.place[0] + first_row, self.place[1]
        # (row, column, 1) → (x, y, 1) of the frame → of the reference → (row, column) of the grid
        to_frame = np.array([[0.0, 1.0, left], [1.0, 0.0, top], [0.0, 0.0, 1.0]])
        to_grid = np.array([[0.0, 1 / pixel, -y0 / pixel], [1 / pixel, 0.0, -x0 / pixel]])
        return to_grid @ m @ to_frame

    def rows_needed(self, frame: int, y0: int, y1: int) -> tuple[int, int]:
        """Rows of a frame, from a whole cell on, that can fall into output rows *y0* to *y1*."""
        back = np.linalg.inv(self.matrices[frame])
        margin = self.pixfrac + 2 * self.block
        rows = [
            self.start[0] + (y0 - 0.5) / self.scale - margin,
            self.start[0] + (y1 - 0.5) / self.scale + margin,
        ]
        columns = [self.start[1] - margin, self.start[1] + self.shape[1] / self.scale + margin]
        found = [back[1, 0] * x + back[1, 1] * y + back[1, 2] - self.place[0] for y in rows for x in columns]
        period = self.colour.shape[0]
        top = max(0, math.floor(min(found))) // period * period
        return top, min(self.lights[0].shape[0], math.ceil(max(found)) + 1)


def drizzle_rows(work: Drizzle, y0: int, y1: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Output rows *y0* to *y1*: signal, variance, flags and n_kept (colour, row, column), and counts (frame, 2)."""
    from calibkit.kernels import drizzle as kernels

    shape = (work.colours, y1 - y0, work.shape[1])
    sums = [np.zeros(shape, np.float32) for _ in range(5)]
    kept, seen = np.zeros(shape, np.uint16), np.zeros(shape, np.uint16)
    reads: list[tuple[int, Rows]] = []
    for frame, light in enumerate(work.lights):
        top, bottom = work.rows_needed(frame, y0, y1)
        if bottom > top:
            reads.append((top, light.read(top, bottom)))
        else:
            reads.append((0, light.read(0, 0)))
    guide, step, origin = _guide(work, reads, y0, y1)
    counts = np.zeros((len(reads), 2), np.int64)
    for frame, (top, rows) in enumerate(reads):
        m = work.matrices[frame]
        half = 0.5 * work.pixfrac * work.scale * math.sqrt(abs(float(np.linalg.det(m[:2, :2]))))
        pixel = 1 / work.scale
        affine = work.affine(frame, top, pixel, work.start[0] + y0 * pixel, work.start[1])
        counts[frame] = kernels.drop(
            *rows, work.colour, affine, half, work.factor[frame], work.term[frame], work.weight[frame], frame + 1,
            guide, step, work.affine(frame, top, float(work.block), *origin), work.low, work.high, *sums, kept, seen,
        )  # fmt: skip
    out = {
        "signal": np.empty(shape, np.float32),
        "variance": np.empty(shape, np.float32),
        "flags": np.empty(shape, np.uint16),
    }
    flat = [array.reshape(-1) for array in (*sums, *out.values())]
    kernels.finish(*flat[:5], np.uint16(REJECTED_ALL), np.uint16(NO_DATA), *flat[5:])
    return out | {"n_kept": kept}, counts


def _guide(
    work: Drizzle, reads: list[tuple[int, Rows]], y0: int, y1: int
) -> tuple[np.ndarray, np.ndarray, tuple[float, float]]:
    """Median of the frames in large pixels, its steps, and where its first pixel lies; empty without rejection."""
    from calibkit.kernels import drizzle as kernels

    pixel = float(work.block)
    origin = (work.start[0] + y0 / work.scale - pixel, work.start[1] - pixel)
    if not work.guided:
        nothing = np.empty((work.colours, 0, 0), np.float32)
        return nothing, nothing, origin
    rows = math.ceil((y1 - y0) / work.scale / pixel) + 3
    columns = math.ceil(work.shape[1] / work.scale / pixel) + 3
    shape = (work.colours, rows, columns)
    values = np.empty((len(reads), *shape), np.float32)
    for frame, (top, (signal, _, flags)) in enumerate(reads):
        total, count = np.zeros(shape, np.float32), np.zeros(shape, np.uint16)
        affine = work.affine(frame, top, pixel, *origin)
        kernels.coarse(signal, flags, work.colour, affine, work.factor[frame], work.term[frame], total, count)
        with np.errstate(invalid="ignore", divide="ignore"):
            np.divide(total, count, out=values[frame])
    guide, step = np.empty(shape, np.float32), np.empty(shape, np.float32)
    kernels.medians(values.reshape(len(reads), -1), guide.reshape(-1))
    kernels.steps(guide, step)
    return guide, step, origin


def drizzle(work: Drizzle, progress: Progress, client: Any) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The whole picture, band by band: arrays (colour, y, x) and the share of each frame's samples that was rejected."""
    height, width = work.shape
    count = len(work.lights)
    pixel = 30 * work.colours + count * (
        14 / work.scale**2 + 4 * work.colours / (work.block * work.scale) ** 2
    )
    rows = max(8, min(height, int(_BAND_BYTES / worker_count() / (pixel * width))))
    bands = [(y0, min(y0 + rows, height)) for y0 in range(0, height, rows)]
    kinds = {"signal": np.float32, "variance": np.float32, "flags": np.uint16, "n_kept": np.uint16}
    whole = {
        name: page_zeros((work.colours * height, width), dtype).reshape(work.colours, height, width)
        for name, dtype in kinds.items()
    }
    what = f"drizzle {count} frames"

    def keep(band: tuple[int, int], made: dict[str, np.ndarray]) -> None:
        for name, part in made.items():
            whole[name][:, band[0] : band[1]] = part

    def one(number: int) -> np.ndarray:
        made, counts = drizzle_rows(work, *bands[number])
        keep(bands[number], made)
        return counts

    if client is None:
        counts = np.sum(run(one, len(bands), what, progress), axis=0)
    else:
        counts = _on_cluster(work, bands, keep, what, progress, client)
    return whole, counts[:, 1] / np.maximum(counts[:, 0], 1)


def _on_cluster(
    work: Drizzle, bands: list[tuple[int, int]], keep: Any, what: str, progress: Progress, client: Any
) -> np.ndarray:
    from distributed import as_completed

    progress(0, len(bands), what)
    places = {client.submit(drizzle_rows, work, *band, pure=False): band for band in bands}
    counts = np.zeros((len(work.lights), 2), np.int64)
    try:
        for done, future in enumerate(as_completed(list(places)), start=1):
            made, counted = future.result()
            keep(places.pop(future), made)
            future.release()
            counts += counted
            progress(done, len(bands), what)
    except BaseException:
        client.cancel(list(places))
        raise
    return counts


def correlation(work: Drizzle) -> list[float]:
    """For each colour, by what the variance of a mean over many pixels exceeds what independent pixels would have.

    Measured by dropping samples of the variance 1 onto a part of the grid.
    """
    size = min(work.lights[0].shape[0], 240), min(work.lights[0].shape[1], 240)
    flat = Light("", {"signal": np.zeros(size, np.float32), "variance": np.ones(size, np.float32)}, None)
    middle = np.array([work.place[1] + size[1] / 2, work.place[0] + size[0] / 2])
    matrices = []
    for m in work.matrices:  # turned about the middle of the part, with the fraction of the shift that it has
        own = m.copy()
        away = m[:2, :2] @ middle + m[:2, 2] - middle
        own[:2, 2] = middle - m[:2, :2] @ middle + (away - np.rint(away))
        matrices.append(own)
    part = replace(
        work, lights=(flat,) * len(matrices), matrices=tuple(matrices), low=np.inf, high=np.inf,
        factor=np.ones_like(work.factor), term=np.zeros_like(work.term),
    )  # fmt: skip
    height, width = part.shape
    made, _ = drizzle_rows(part, height // 4, height - height // 4)
    found = []
    for number in range(work.colours):
        variance = made["variance"][number, :, width // 4 : width - width // 4]
        share = float(np.mean(work.colour == number))
        mean = float(np.nanmean(variance)) if np.isfinite(variance).any() else math.nan
        weight = work.weight[:, number]
        samples = weight.sum() ** 2 / (weight**2).sum()
        found.append(work.scale**2 / (samples * share * mean))
    return found


def drizzle_lights(
    template: xr.Dataset,
    lights: list[Light],
    matrices: list[np.ndarray],
    *,
    normalise: str,
    method: str,
    reject: str,
    low: float | None,
    high: float | None,
    weights: str | Sequence[float] | None,
    levels: Levels | None,
    scale: float,
    pixfrac: float,
    progress: Progress,
    client: Any,
) -> xr.Dataset:
    """`stack_lights` with ``channels="drizzle"``."""
    if method != "mean" or reject not in ("auto", "none"):
        msg = (
            f"method={method!r}, reject={reject!r}: drizzle makes a mean (method='mean') and rejects what is away from "
            "the median of the frames (reject='auto') or nothing (reject='none')"
        )
        raise SettingError(msg)
    if not 0.05 <= pixfrac <= 2:
        msg = f"pixfrac={pixfrac!r}: from 0.05 to 2 is allowed, 1 is a drop as large as the pixel"
        raise SettingError(msg)
    pattern = pattern_of(template)
    cell, channels = channel_index(template)
    names = pattern.colours
    # a channel such as G1 belongs to the colour of its letter
    number = np.array([names.index(name if name in names else name[0]) for name in channels])
    colour = number[cell].astype(np.uint8)
    factor, term, weight = levels_of(
        template, lights, normalise=normalise, weights=weights, known=levels, progress=progress
    )
    count = len(lights)
    ones = np.ones((count, *cell.shape))
    each = np.ones((count, len(names)))
    if weight is not None:
        each = np.stack([weight[:, number == k].mean(axis=1) for k in range(len(names))], axis=1)
    limits = [LIMIT if value is None else float(value) for value in (low, high)]
    unknown = sum(not light.knows_noise for light in lights)
    if unknown:
        msg = (
            f"stack_lights: the noise of {unknown} of {count} lights is not known (no variance, or NaN), so that drizzle "
            "rejects nothing in them, and the variance of what they are in is NaN; give gain= and read_noise= when they "
            "are calibrated"
        )
        warn(msg, stacklevel=3)
        reject = "none" if unknown == count else reject
    work = Drizzle(
        lights=tuple(light.bare() for light in lights),
        matrices=tuple(matrices),
        place=place_of(lights[0].labelled),
        colour=colour,
        block=1 if pattern.is_mono else block_size(pattern),
        scale=float(scale),
        pixfrac=float(pixfrac),
        factor=ones if factor is None else factor[:, cell],
        term=0 * ones if term is None else term[:, cell],
        weight=each,
        low=math.inf if reject == "none" else limits[0],
        high=math.inf if reject == "none" else limits[1],
    )
    whole, rejected = drizzle(work, progress, client)
    return _labelled(template, work, names, whole, rejected, reject)


def _labelled(
    template: xr.Dataset,
    work: Drizzle,
    names: tuple[str, ...],
    whole: dict[str, np.ndarray],
    rejected: np.ndarray,
    reject: str,
) -> xr.Dataset:
    height, width = work.shape
    coords: dict[str, Any] = {
        dim: start + np.arange(n) / work.scale
        for dim, start, n in zip(("y", "x"), work.start, (height, width), strict=True)
    }
    if work.scale == 1:
        coords = {dim: values.astype(int) for dim, values in coords.items()}
    mono = len(names) == 1
    dims = ("y", "x") if mono else ("channel", "y", "x")
    if not mono:
        coords["channel"] = list(names)
    coords["file"] = template.coords["file"].variable
    result = xr.Dataset({n: (dims, part[0] if mono else part) for n, part in whole.items()}, coords=coords)
    result["rejected_fraction"] = ("frame", rejected)
    units = template.attrs.get("units", "adu")
    attrs = meta.camera_attrs(template) | {"units": units, "cfa": ""}
    for name, (_, default) in meta.FRAME_COORDS.items():
        if name not in ("file", "time"):
            attrs[name] = meta.frame_value(template, name, default)
    attrs["n_frames"] = len(work.lights)
    attrs |= {
        name: bool(template.attrs.get(name, False))
        for name in ("bias_subtracted", "dark_subtracted", "flat_divided")
    }
    found = [round(float(value), 3) for value in correlation(work)]
    attrs["noise_correlation"] = found[0] if mono else dict(zip(names, found, strict=True))
    step = {
        "step": "drizzle",
        "reject": "median of the frames" if work.guided else "none",
        "limits": [work.low, work.high] if reject != "none" else [],
        "n_frames": len(work.lights),
        "rejected_fraction": float(np.mean(rejected)),
        "inputs": [str(name) for name in template.coords["file"].values],
    }
    attrs["provenance"] = [*template.attrs.get("provenance", []), step]
    result.attrs = attrs
    result["signal"].attrs["units"] = units
    result["variance"].attrs["units"] = units if units == "1" else f"{units}2"
    return result
