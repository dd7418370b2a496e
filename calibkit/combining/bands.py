"""Combining one band of rows, in chunks of pixels that fit the processor's cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import numpy as np

from calibkit import flags as fl
from calibkit.combining.plan import Plan, critical_values
from calibkit.combining.reading import Band
from calibkit.combining.workspace import Workspace

#: Output name → type, one value per pixel.
OUTPUTS = {
    "signal": np.float32,
    "variance": np.float32,
    "flags": np.uint16,
    "n_kept": np.uint16,
    "rejected_low": np.uint16,
    "rejected_high": np.uint16,
}


@dataclass
class Tally:
    """What was counted while bands were combined.

    ``frames`` (frame, 3): samples rejected low, rejected high and missing; ``unknown``: pixels that have a
    value but whose variance is not known.
    """

    frames: np.ndarray
    unknown: int = 0

    @classmethod
    def empty(cls, n_frames: int) -> Tally:
        return cls(np.zeros((n_frames, 3), np.int64))

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.frames + other.frames, self.unknown + other.unknown)


class BandCombiner:
    """Combines bands of one stack, one after the other, in one thread."""

    def __init__(self, plan: Plan, dtype: np.dtype, width: int, *, flagged: bool) -> None:
        self.plan = plan
        self.work = Workspace(plan, plan.working_dtype(dtype, flagged=flagged), width)
        self.width = width
        module, _, name = plan.rejection.kernel.partition(".")
        self._kernel = getattr(import_module(f"calibkit.kernels.{module}"), name) if module else None
        self._channel: tuple[tuple[int, int], np.ndarray] = ((-1, -1), np.empty(0, np.uint8))

    def combine(
        self, band: Band, y0: int, out: dict[str, np.ndarray], stopped: Callable[[], bool] = lambda: False
    ) -> Tally:
        """Combine *band*, which starts at row *y0* of the stack, into the zeroed arrays *out* (rows, x).

        They are those of `OUTPUTS`, of which the counts of rejected samples may be left out.
        """
        n = self.plan.n_frames
        rows = band.values.shape[1]
        values = band.values.reshape(n, -1)
        flags = None if band.flags is None else band.flags.reshape(n, -1)
        variance = None if band.variance is None else band.variance.reshape(n, -1)
        flat = {name: array.reshape(-1) for name, array in out.items()}
        channel = self._channels(y0, rows)
        tally = Tally.empty(n)
        for offset, size in self.work.chunks(rows, self.width):
            if stopped():
                break
            tally.unknown += self._chunk(values, flags, variance, channel, offset, size, flat, tally.frames)
        return tally

    def _channels(self, y0: int, rows: int) -> np.ndarray:
        """Channel number of every pixel of a band."""
        period_y, period_x = self.plan.cell.shape
        key = (y0 % period_y, rows)
        if self._channel[0] != key:
            y = (y0 + np.arange(rows)) % period_y
            x = np.arange(self.width) % period_x
            self._channel = (key, self.plan.cell[y[:, None], x].astype(np.uint8).reshape(-1))
        return self._channel[1]

    def _chunk(
        self,
        values: np.ndarray,
        flags: np.ndarray | None,
        variance: np.ndarray | None,
        channel: np.ndarray,
        offset: int,
        size: int,
        out: dict[str, np.ndarray],
        frames: np.ndarray,
    ) -> int:
        """Combine *size* pixels from *offset* on; returns for how many the variance is not known."""
        from calibkit.kernels import rejected, samples, stacking

        plan, work = self.plan, self.work
        count, first, last = work.count, work.first, work.last
        flagged = work.flagged[:0]
        if flags is not None:
            flagged = work.flagged[: samples.list_flagged(flags, offset, size, work.flagged)]
            flags = flags if flagged.size else None  # nothing to leave out, to keep track of or to pass on
        x, x_offset, missing = self._load(values, flags, flagged, channel, offset, size, frames)
        complete = missing == 0
        rejecting = self._kernel is not None
        saturates = np.isfinite(plan.saturation)
        self._measure(x, x_offset, size, complete=complete, saturates=saturates)
        if stateful := plan.weight is not None or flags is not None or variance is not None:
            rejected.mark_missing(x, x_offset, size, work.state)
        if rejecting:
            self._reject(x, x_offset, channel, offset, size)
            rejections = (
                out[name][offset : offset + size] if name in out else work.unwanted
                for name in ("rejected_low", "rejected_high")
            )
            number = rejected.list_rejecting(size, count, first, last, work.pixel)
            rejected.settle_rejected(
                x,
                x_offset,
                work.s,
                work.pixel,
                number,
                count,
                first,
                last,
                work.mean,
                work.scatter,
                frames,
                work.state,
                stateful,
                *rejections,
            )
        value = self._value(x, x_offset, channel, offset, size, whole=complete and not rejecting)
        factor = plan.scatter_factor
        if variance is not None:
            ones = np.ones((plan.n_frames, plan.channels))
            weight = ones if plan.weight is None else plan.weight
            scale = ones if plan.scale is None else plan.scale
            stacking.carried(variance, offset, size, work.state, weight, scale, channel, offset, work.scatter)
            factor = plan.carried_factor
        gain = float(plan.n_frames) if plan.method == "sum" else 1.0
        results = (out[name][offset : offset + size] for name in ("signal", "variance", "n_kept"))
        unknown = stacking.store(first, last, count, value, work.scatter, factor, gain, *results)
        if flags is not None:
            stacking.common_flags(flags, offset, flagged, work.state, out["flags"], offset)
        if saturates:
            self._flag_saturated(size, offset, out)
        if not complete:
            self._fill_empty(values, flags, channel, offset, size, out)
        return unknown

    def _measure(self, x: np.ndarray, x_offset: int, size: int, *, complete: bool, saturates: bool) -> None:
        """Sort the samples as far as that is needed, and take their mean and scatter."""
        from calibkit.kernels.measuring import sort_and_measure

        plan, work = self.plan, self.work
        n = plan.n_frames
        steps, rows = work.steps, (0, n)
        if complete and self._kernel is None:
            if plan.method == "median" or (plan.method in ("mean", "sum") and saturates):
                steps, rows = work.middle_steps, ((n - 1) // 2, n // 2 + 1)
            elif plan.method in ("mean", "sum"):
                steps, rows = work.few_steps, (0, 0)
        sort_and_measure(
            x,
            x_offset,
            size,
            steps,
            *rows,
            complete,
            *work.block,
            work.s,
            work.count,
            work.first,
            work.last,
            work.mean,
            work.scatter,
        )

    def _load(
        self,
        values: np.ndarray,
        flags: np.ndarray | None,
        flagged: np.ndarray,
        channel: np.ndarray,
        offset: int,
        size: int,
        frames: np.ndarray,
    ) -> tuple[np.ndarray, int, int]:
        """The samples as the kernels want them, where they start, and how many are missing."""
        from calibkit.kernels import samples

        plan, work = self.plan, self.work
        if values.dtype == work.dtype == np.uint16:
            return values, offset, 0
        if plan.scale is None:
            missing = samples.load(values, offset, size, work.x, frames[:, 2])
        else:
            rows = (self.width, plan.cell.shape[1])
            missing = samples.load_scaled(
                values, offset, size, *rows, plan.scale, plan.zero, channel, work.x, frames[:, 2]
            )
        if flags is not None:
            missing += samples.drop_flagged(
                flags, offset, flagged, fl.BAD, fl.REPAIRED, fl.NO_DATA, work.x, frames[:, 2]
            )
        return work.x, 0, missing

    def _reject(self, x: np.ndarray, x_offset: int, channel: np.ndarray, offset: int, size: int) -> None:
        """Narrow the windows by the rejection method."""
        plan, work = self.plan, self.work
        kernel = self._kernel
        head = (work.s, size, work.count, work.mean, work.scatter, work.first, work.last)
        limits = (plan.low, plan.high, plan.iterations, plan.keep)
        match plan.rejection.name:
            case "sigma" | "mean_sigma":
                kernel(*head, *limits, plan.rejection.name == "mean_sigma", work.marks)
            case "gesd":
                kernel(*head, *self._critical(size), plan.keep)
            case "averaged_sigma" | "winsorized":
                kernel(*head, *limits, work.work)
            case "noise_model":
                noise = plan.noise
                if noise.same_in_all_frames:
                    kernel(*head, *limits, noise.floor[0], noise.slope[0], noise.zero[0], channel, offset)
                else:
                    from calibkit.kernels.rejection_noise import reject_frame_noise

                    reject_frame_noise(
                        x,
                        x_offset,
                        work.s,
                        size,
                        work.count,
                        work.first,
                        work.last,
                        *limits,
                        noise.floor,
                        noise.slope,
                        noise.zero,
                        channel,
                        offset,
                    )
            case _:
                kernel(*head, *limits)

    def _critical(self, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Limits of the ESD test for the counts of a chunk, and the row of each pixel's."""
        counts, row = np.unique(self.work.count[:size], return_inverse=True)
        rows = [critical_values(int(k), self.plan.low, self.plan.high) for k in counts]
        table = np.zeros((len(rows), max(len(r) for r in rows)))
        for line, values in zip(table, rows, strict=True):
            line[: len(values)] = values
        return table, row.astype(np.int32)

    def _value(
        self, x: np.ndarray, x_offset: int, channel: np.ndarray, offset: int, size: int, *, whole: bool
    ) -> np.ndarray:
        """What the kept samples come to; *whole* when all samples are there and kept."""
        from calibkit.kernels import stacking

        plan, work = self.plan, self.work
        if plan.method == "median" and whole:
            n = plan.n_frames
            stacking.middle_of_all(work.s[(n - 1) // 2], work.s[n // 2], n % 2 == 1, size, work.value)
            return work.value
        if plan.method == "median":
            stacking.median_of_kept(work.s, size, work.first, work.last, work.value)
            return work.value
        if plan.method in ("minimum", "maximum"):
            highest = plan.method == "maximum"
            stacking.end_of_kept(work.s, size, work.first, work.last, highest, work.value)
            return work.value
        if plan.weight is not None:
            stacking.weighted(
                x,
                x_offset,
                size,
                work.state,
                plan.weight,
                plan.relative,
                channel,
                offset,
                work.value,
                work.scatter,
            )
            return work.value
        return work.mean

    def _flag_saturated(self, size: int, offset: int, out: dict[str, np.ndarray]) -> None:
        """Flag pixels at least half of whose samples are saturated."""
        work = self.work
        middle = work.s[self.plan.n_frames // 2, :size]
        if middle.max() >= self.plan.saturation:
            count = work.count[:size]
            middle = work.s[np.maximum(count, 1) // 2, np.arange(size)]
            full = (middle >= self.plan.saturation) & (count > 0)
            out["flags"][offset : offset + size][full] |= fl.SATURATED

    def _fill_empty(
        self,
        values: np.ndarray,
        flags: np.ndarray | None,
        channel: np.ndarray,
        offset: int,
        size: int,
        out: dict[str, np.ndarray],
    ) -> None:
        """Where every sample is missing: the median of the flagged ones, or no data.

        Where all of them are saturated the result is so too: a lower limit, which pictures and colours can use.
        """
        empty = offset + np.flatnonzero(self.work.count[:size] == 0)
        if empty.size == 0:
            return
        plan = self.plan
        there = values[:, empty].astype(np.float64)
        if plan.scale is not None:
            there = there * plan.scale[:, channel[empty]] + plan.zero[:, channel[empty]]
        there[~np.isfinite(there)] = np.nan
        some = np.isfinite(there).any(axis=0)
        fallback = np.full(empty.size, np.nan)
        fallback[some] = np.nanmedian(there[:, some], axis=0)
        out["signal"][empty] = fallback * (plan.n_frames if plan.method == "sum" else 1)
        full = np.zeros(empty.size, bool)
        if flags is not None:
            full = some & (((flags[:, empty] & fl.SATURATED) != 0) | np.isnan(there)).all(axis=0)
        marks = np.where(full, fl.SATURATED, np.where(some, fl.REJECTED_ALL, fl.NO_DATA))
        out["flags"][empty] |= marks.astype(np.uint16)
