"""A bias from a model: a constant, rows and columns hold less noise than a mean of frames, where they suffice."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import xarray as xr

from calibkit import meta
from calibkit.bias.interference import LineStructure, line_structure
from calibkit.calibration.levels import channel_levels
from calibkit.calibration.pairs import pair_noise
from calibkit.cfa import channel_index
from calibkit.errors import SettingError
from calibkit.flags import usable
from calibkit.masters import master_bias

MODELS = ("auto", "constant", "rows", "columns", "rows and columns")
#: Lines differ when the scatter of their means exceeds what noise explains by this many sigma.
_SIGNIFICANT = 5.0
#: Rows and columns, from the middle of the frame, that are tested.
_TESTED = 2048
#: Lines at a time that are worked on.
_ROWS = 256
#: Pixels further from their line than this many robust sigma do not count.
_CLIP = 5.0 * 1.4826022185056018


def make_synthetic_bias(
    biases: xr.DataArray,
    *,
    model: Literal["auto", "constant", "rows", "columns", "rows and columns"] = "auto",
    **options: Any,
) -> xr.Dataset:
    """Make a bias from a model of the bias frames instead of their mean, where that is less noisy.

    Parameters
    ----------
    biases : xarray.DataArray
        Raw bias frames ``(frame, y, x)``, ADU; lazy or in memory.
    model : {"auto", "constant", "rows", "columns", "rows and columns"}
        A level for each channel, and one more for each row, column or both. ``"auto"`` takes what leaves the least
        error: rows and columns where they differ, and the mean of the frames where pixels differ more than it is noisy.
    **options
        Passed to `calibkit.master_bias`: reject, low, high, progress …

    Returns
    -------
    xarray.Dataset
        A master bias ``(y, x)``. Its ``variance`` holds the error of the model's numbers and what the model leaves out of
        the bias's structure. The provenance says which model it is and why, and its noise beside that of the mean.

    Raises
    ------
    SettingError
        A model that does not exist, or frames too small to tell structure from noise (32 × 32).
    MismatchError
        The stack is not one of raw bias frames.

    Notes
    -----
    The frames are halved; structure is what both half means have in common (their covariance), noise what they have
    not. With row structure S, error of the rows' means e (that of a new row noise in every frame included), the same of
    columns, pixel structure P and noise σ of one frame, all as standard deviations, a model's squared error is P² plus, for
    rows and for columns, e² where they are in it and S² where they are not; that of the mean of n frames is
    σ²/n, with σ from differences of frames. Lines are taken in only where `line_structure` finds them to differ by 5
    sigma, too. A single frame cannot tell rows that stay from rows that are new in each frame: ``"auto"`` then takes the
    constant.

    Examples
    --------
    >>> from calibkit import Camera, simulate_stack
    >>> frames = simulate_stack(Camera(shape=(64, 96), column_offsets=3.0), 10, kind="bias")
    >>> make_synthetic_bias(frames).attrs["bias_model"]
    'columns'
    """
    if model not in MODELS:
        msg = f"model={model!r}: allowed are {', '.join(map(repr, MODELS))}"
        raise SettingError(msg)
    stack = biases if "frame" in biases.dims else biases.expand_dims("frame")
    count = stack.sizes["frame"]
    halves = [
        master_bias(part, **options)[["signal", "flags"]]  # the rest of it takes as much memory again
        for part in (stack[0::2], stack[1::2])
        if part.sizes["frame"]
    ]
    shares = np.array([half.attrs["n_frames"] / count for half in halves])
    parts = [_lines(half) for half in halves]
    together = _weighted(parts, shares)
    average = sum(np.float32(share) * half["signal"] for share, half in zip(shares, halves, strict=True))
    average.attrs = dict(halves[0].attrs)
    tested = line_structure(_middle(average, halves[0]["flags"], together))
    noise = pair_noise(stack, sample=True).noise if count > 1 else {}
    found = _Structure.of(parts, shares, tested, _level_error(stack), noise, count)
    chosen, why = found.choose() if model == "auto" else (model, "asked for")
    if chosen == "mean":
        result = master_bias(stack, **options)
    else:
        result = _filled(halves[0], _model_of(average, together, chosen), found.error(chosen) ** 2)
        result.attrs["channel_level"] = dict(
            zip(channel_index(stack)[1], together.levels.tolist(), strict=True)
        )
        result.attrs["n_frames"] = count
        if noise:
            result.attrs["frame_noise"] = noise
        result.attrs["provenance"] = list(stack.attrs.get("provenance", []))
    files = [str(f) for f in np.atleast_1d(stack.coords["file"].values)] if "file" in stack.coords else []
    step = {
        "step": "synthetic bias",
        "model": chosen,
        "why": why,
        "n_frames": count,
        "row structure": found.text("rows"),
        "column structure": found.text("columns"),
        "error": round(found.error(chosen), 4),
        "error of the mean": round(found.error("mean"), 4),
        "inputs": [] if chosen == "mean" else files,
    }
    return meta.add_step(result, **step).assign_attrs(kind="bias", bias_model=chosen)


def _middle(average: xr.DataArray, flags: xr.DataArray, lines: _Lines) -> xr.DataArray:
    """The middle of the frame, as much as is needed to test lines, with its bad pixels at their channel's level."""
    cuts = {}
    for dim in ("y", "x"):
        start = max(0, (average.sizes[dim] - _TESTED) // 2)
        cuts[dim] = slice(start, start + _TESTED)
    part = average.isel(cuts)
    return part.where(usable(flags.isel(cuts)), _model_of(part, lines, "constant"))


@dataclass(frozen=True)
class _Lines:
    """Levels per channel, and what rows and columns differ from them, ADU; ``rest`` is what is left of the frame."""

    levels: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    rest: np.ndarray


def _lines(master: xr.Dataset) -> _Lines:
    cell, channels = channel_index(master)
    values = np.array(master["signal"].values, np.float32)
    values[~usable(master["flags"].values) | ~np.isfinite(values)] = np.nan
    levels = channel_levels(master, mean=True, sample=False)
    found = np.array([levels[name] for name in channels])
    py, px = cell.shape
    for a in range(py):
        for b in range(px):
            values[a::py, b::px] -= np.float32(found[cell[a, b]])
    lines = {}
    for axis in (1, 0):
        lines[axis] = _line_means(values, axis)
        values -= np.expand_dims(lines[axis], axis).astype(np.float32)
    shift = [float(lines[axis].mean()) for axis in (1, 0)]
    return _Lines(found + sum(shift), lines[1] - shift[0], lines[0] - shift[1], values)


def _line_means(values: np.ndarray, axis: int) -> np.ndarray:
    """Mean of every row (axis 1) or column (axis 0) without its outliers; 0 for a line without a good pixel."""
    lines = values if axis == 1 else values.T
    means = np.zeros(len(lines))
    for start in range(0, len(lines), _ROWS):
        part = lines[start : start + _ROWS]
        some = np.isfinite(part).any(axis=1)
        if not some.any():
            continue
        part = part[some]
        away = np.abs(part - np.nanmedian(part, axis=1, keepdims=True))
        inside = away <= max(_CLIP * float(np.nanmedian(away)), 1e-6)  # not where there is no number
        total = np.sum(part, axis=1, where=inside, dtype=np.float64)
        means[start : start + _ROWS][some] = total / np.maximum(inside.sum(axis=1), 1)
    return means


def _weighted(parts: list[_Lines], shares: np.ndarray) -> _Lines:
    levels, rows, columns = (
        np.tensordot(shares, np.stack([getattr(part, name) for part in parts]), axes=1)
        for name in ("levels", "rows", "columns")
    )
    return _Lines(levels, rows, columns, np.empty((0, 0), np.float32))


def _model_of(frame: xr.DataArray, lines: _Lines, model: str) -> np.ndarray:
    cell, _ = channel_index(frame)
    height, width = frame.sizes["y"], frame.sizes["x"]
    index = cell[np.arange(height)[:, None] % cell.shape[0], np.arange(width) % cell.shape[1]]
    out = lines.levels[index]
    if "rows" in model:
        out += lines.rows[:, None]
    if "columns" in model:
        out += lines.columns
    return out.astype(np.float32)


def _level_error(stack: xr.DataArray) -> float:
    """Standard error of the level of all frames together, from their scatter; 0 for a single frame."""
    count = stack.sizes["frame"]
    if count < 2:
        return 0.0
    levels = [np.mean(list(channel_levels(stack.isel(frame=i), mean=True).values())) for i in range(count)]
    return float(np.std(levels, ddof=1) / math.sqrt(count))


@dataclass(frozen=True)
class _Structure:
    """Squares of what is the same in every frame, and of the errors of means of all frames, ADU².

    ``mean_error`` is that of a pixel of the mean, but for the level's.
    """

    rows: float
    columns: float
    pixels: float
    row_error: float
    column_error: float
    mean_error: float
    level_error: float
    tested: tuple[LineStructure, LineStructure]
    frames: int

    @classmethod
    def of(
        cls,
        parts: list[_Lines],
        shares: np.ndarray,
        tested: tuple[LineStructure, LineStructure],
        level_error: float,
        noise: dict[str, float],
        frames: int,
    ) -> _Structure:
        if len(parts) == 1:
            rows, columns = tested
            seen = [rows.scatter, columns.scatter, 0.0, rows.expected, columns.expected]
            return cls(*(s**2 for s in seen), float(np.nanvar(parts[0].rest)), 0.0, tested, frames)
        one, two = parts
        # Of means over shares a and b of the frames, the difference has 1/a + 1/b times the variance of that of all.
        scale = float((1 / shares).sum())
        rows, row_difference = _common(one.rows, two.rows)
        columns, column_difference = _common(one.columns, two.columns)
        pixels = _common_pixels(one.rest, two.rest)
        mean = float(np.mean(np.square(list(noise.values())))) / frames
        errors = row_difference / scale, column_difference / scale
        return cls(rows, columns, pixels, *errors, mean, level_error**2, tested, frames)

    def error(self, model: str) -> float:
        """Standard error of a pixel of the model."""
        total = self.level_error
        if model == "mean":
            return math.sqrt(total + self.mean_error)
        total += self.row_error if "rows" in model else self.rows
        total += self.column_error if "columns" in model else self.columns
        return math.sqrt(total + self.pixels)

    def choose(self) -> tuple[str, str]:
        """The model with the least error, and why."""
        if self.frames == 1:
            return "constant", (
                "a single frame does not tell rows and columns that stay from those that are new in every frame; take more"
            )
        names = [name for name in ("rows", "columns") if self._is_there(name)]
        model = " and ".join(names) or "constant"
        why = f"rows: {self.text('rows')}; columns: {self.text('columns')}; "
        compared = f"{self.error(model):.3g} ADU of error, the mean of {self.frames} frames {self.error('mean'):.3g} ADU"
        if self.error("mean") < self.error(model):
            why += f"pixels differ by {math.sqrt(self.pixels):.3g} ADU besides, so that a model would have {compared}"
            return "mean", why
        return model, f"{why}the model has {compared}"

    def _is_there(self, name: str) -> bool:
        test = self.tested[0 if name == "rows" else 1]
        structure, error = (
            (self.rows, self.row_error) if name == "rows" else (self.columns, self.column_error)
        )
        return test.sigma > _SIGNIFICANT and structure > error

    def text(self, name: str) -> str:
        """How much lines differ, in words."""
        test = self.tested[0 if name == "rows" else 1]
        structure = self.rows if name == "rows" else self.columns
        error = self.row_error if name == "rows" else self.column_error
        return (
            f"differ by {math.sqrt(structure):.3g} ADU, their means have an error of {math.sqrt(error):.3g} ADU "
            f"({test.sigma:+.1f} sigma from noise)"
        )


def _common(one: np.ndarray, two: np.ndarray) -> tuple[float, float]:
    """Covariance, 0 at least, and variance of the difference."""
    if one.size < 2:
        return 0.0, 0.0
    a, b = one - one.mean(), two - two.mean()
    return max(float(a @ b) / (one.size - 1), 0.0), float(np.var(a - b, ddof=1))


def _common_pixels(one: np.ndarray, two: np.ndarray) -> float:
    """Covariance of two frames of residuals, without outliers of their mean or difference; 0 at least."""
    step = max(1, one.size // 1_000_000)
    width = _CLIP * float(np.nanmedian(np.abs(one.ravel()[::step] + two.ravel()[::step])))
    total, count = 0.0, 0
    for y0 in range(0, len(one), _ROWS):
        a, b = one[y0 : y0 + _ROWS].astype(np.float64), two[y0 : y0 + _ROWS].astype(np.float64)
        good = np.maximum(np.abs(a + b), np.abs(a - b)) <= width
        total += float(np.sum(a * b, where=good))
        count += int(good.sum())
    return max(total / count, 0.0) if count else 0.0


def _filled(like: xr.Dataset, signal: np.ndarray, variance: float) -> xr.Dataset:
    """A master with the attributes of *like*, *signal* and one variance everywhere."""
    result = like.drop_vars("file", errors="ignore")
    flags = np.zeros(signal.shape, like["flags"].dtype)
    result = result.assign(
        signal=like["signal"].copy(data=signal),
        variance=(("y", "x"), np.full(signal.shape, variance, np.float32), {"units": "adu2"}),
        flags=like["flags"].copy(data=flags),
    )[["signal", "variance", "flags"]]
    result.attrs = dict(like.attrs)
    result.attrs.pop("rejection", None)
    return result
