"""`DefectMap`: which pixels of a sensor are bad, why, and by how much."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from calibkit import flags as fl
from calibkit import meta
from calibkit.calibration.levels import sites_of
from calibkit.cfa import channel_index
from calibkit.errors import MismatchError, SettingError

#: What a defect map may hold.
KINDS = {
    flag.name: flag.value for flag in fl.FLAGS if flag.bad and flag.value not in (fl.NO_DATA, fl.REJECTED_ALL)
}
#: One entry per pixel whose excess was measured, in sensor pixels.
POINT = np.dtype([("y", np.int32), ("x", np.int32), ("sigma", np.float32)])
_EDGES = (5.0, 10.0, 20.0, 50.0, 100.0)


@dataclass(frozen=True)
class DefectMap:
    """Bad pixels of one sensor.

    Parameters
    ----------
    flags : xarray.DataArray
        uint16 ``(y, x)`` with sensor pixel numbers, a combination of `calibkit.flags`; ``attrs["cfa"]`` is the
        colour pattern.
    points : numpy.ndarray, optional
        Records (y, x, sigma) of the pixels whose excess over their surroundings is known.

    Notes
    -----
    A map is never changed: `add`, `remove` and `merge` give a new one.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frame = xr.DataArray(np.zeros((4, 6)), dims=("y", "x"), coords={"y": range(4), "x": range(6)})
    >>> bad = DefectMap.empty(frame.assign_attrs(cfa="RGGB")).add(points=[(3, 2)], columns=[5])
    >>> bad.counts()
    {'R': {}, 'G1': {'hot': 1, 'bad_line': 2}, 'G2': {}, 'B': {'bad_line': 2}}
    """

    flags: xr.DataArray
    points: np.ndarray = field(default_factory=lambda: np.empty(0, POINT))

    def __post_init__(self) -> None:
        if self.flags.dims != ("y", "x") or self.flags.dtype != fl.FLAG_DTYPE:
            msg = f"a defect map holds uint16 flags (y, x), found {self.flags.dtype} {self.flags.dims}"
            raise SettingError(msg)

    @classmethod
    def empty(cls, frame: xr.DataArray | xr.Dataset) -> DefectMap:
        """A map without defects for the sensor pixels of *frame*."""
        shape = (frame.sizes["y"], frame.sizes["x"])
        coords = {
            dim: frame.coords[dim].variable if dim in frame.coords else (dim, np.arange(size))
            for dim, size in zip(("y", "x"), shape, strict=True)
        }
        attrs = {
            name: value
            for name, value in meta.camera_attrs(frame).items()
            if name in ("camera", "cfa", "binning", "roworder")
        }
        return cls(xr.DataArray(np.zeros(shape, fl.FLAG_DTYPE), coords=coords, dims=("y", "x"), attrs=attrs))

    @property
    def mask(self) -> np.ndarray:
        """Boolean (y, x): every bad pixel."""
        return (self.flags.values & fl.BAD) != 0

    @property
    def fraction(self) -> float:
        """Share of the pixels that are bad."""
        return float(self.mask.mean())

    def counts(self) -> dict[str, dict[str, int]]:
        """Number of bad pixels per channel and kind; a pixel with two kinds counts in both."""
        cell, channels = channel_index(self.flags)
        result = {}
        for number, name in enumerate(channels):
            sites = [fl.count_flags(self.flags.values[site]) for site in sites_of(cell, number)]
            kinds = [flag.name for flag in fl.FLAGS if any(flag.name in counts for counts in sites)]
            result[name] = {kind: sum(counts.get(kind, 0) for counts in sites) for kind in kinds}
        return result

    def counts_by_sigma(self, edges: Sequence[float] = _EDGES) -> dict[str, dict[str, int]]:
        """Number of pixels per channel that stand out by at least so many sigma, ``{"R": {"≥ 5": 12, …}}``."""
        cell, channels = channel_index(self.flags)
        y0, x0 = int(self.flags.y[0]), int(self.flags.x[0])
        numbers = cell[(self.points["y"] - y0) % cell.shape[0], (self.points["x"] - x0) % cell.shape[1]]
        sigma = np.abs(self.points["sigma"])
        return {
            name: {f"≥ {edge:g}": int(np.count_nonzero((numbers == c) & (sigma >= edge))) for edge in edges}
            for c, name in enumerate(channels)
        }

    def merge(self, other: DefectMap) -> DefectMap:
        """Every defect of both maps, which have to lie on the same sensor pixels."""
        for dim in ("y", "x"):
            if not np.array_equal(self.flags[dim], other.flags[dim]):
                msg = f"defect maps of different sensor pixels cannot be merged (their {dim} coordinates differ)"
                raise MismatchError(msg)
        points = np.concatenate([self.points, other.points])
        order = np.lexsort((-np.abs(points["sigma"]), points["x"], points["y"]))
        points = points[order]
        _, first = np.unique(points[["y", "x"]], return_index=True)
        return DefectMap(self.flags | other.flags, points[np.sort(first)])

    def __or__(self, other: DefectMap) -> DefectMap:
        return self.merge(other)

    def add(
        self,
        *,
        points: Iterable[tuple[int, int]] = (),
        columns: Iterable[int] = (),
        rows: Iterable[int] = (),
        kind: str = "hot",
    ) -> DefectMap:
        """The map with more defects.

        Parameters
        ----------
        points : iterable of (x, y)
            Sensor pixels, flagged *kind*.
        columns, rows : iterable of int
            Sensor columns and rows, flagged bad_line.
        kind : str
            "hot", "cold", "unstable" or another name of `calibkit.flags` that marks a bad pixel.

        Raises
        ------
        SettingError
            A kind that does not exist, or a pixel that is not on the map.
        """
        if kind not in KINDS:
            msg = f"kind={kind!r}: allowed are {', '.join(KINDS)}"
            raise SettingError(msg)
        return self._changed(points, columns, rows, lambda old: old | np.uint16(KINDS[kind]), fl.BAD_LINE)

    def remove(
        self,
        *,
        points: Iterable[tuple[int, int]] = (),
        columns: Iterable[int] = (),
        rows: Iterable[int] = (),
    ) -> DefectMap:
        """The map with these pixels, columns and rows taken to be good; parameters as for `add`."""
        return self._changed(points, columns, rows, lambda old: old & np.uint16(0), None)

    def _changed(
        self, points: Iterable, columns: Iterable, rows: Iterable, change: Callable, line: int | None
    ) -> DefectMap:
        flags = self.flags.copy(deep=True)
        values = flags.values
        for x, y in points:
            at = self._place("y", y), self._place("x", x)
            values[at] = change(values[at])
        for column in columns:
            part = values[:, self._place("x", column)]
            part[:] = part | np.uint16(line) if line is not None else 0
        for row in rows:
            part = values[self._place("y", row)]
            part[:] = part | np.uint16(line) if line is not None else 0
        y, x = self.points["y"] - int(flags.y[0]), self.points["x"] - int(flags.x[0])
        return DefectMap(flags, self.points[values[y, x] != 0])

    def _place(self, dim: str, number: int) -> int:
        numbers = self.flags[dim].values
        place = int(number) - int(numbers[0])
        if not 0 <= place < numbers.size:
            msg = f"{dim} {number} is not on this map, whose sensor pixels are {dim} {numbers[0]} to {numbers[-1]}"
            raise SettingError(msg)
        return place

    def lines(self) -> tuple[list[int], list[int]]:
        """Columns and rows that are flagged bad_line over their whole length, as sensor numbers (columns, rows)."""
        bad = (self.flags.values & fl.BAD_LINE) != 0
        columns = self.flags.x.values[bad.all(axis=0)].tolist()
        rows = self.flags.y.values[bad.all(axis=1)].tolist()
        return columns, rows

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the flags as a FITS image; the points' sigma as a table."""
        from calibkit.defects.files import write_mask

        write_mask(self, path, overwrite=overwrite)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], *, like: xr.DataArray | xr.Dataset | None = None
    ) -> DefectMap:
        """Read a FITS mask of `save`, or of another program, where any pixel that is not zero is bad.

        Parameters
        ----------
        path : path
        like : DataArray or Dataset, optional
            Frame on whose sensor pixels a mask of another program lies.
        """
        from calibkit.defects.files import read_mask

        return read_mask(path, like=like)

    def write_list(self, path: str | os.PathLike[str], **options: Any) -> None:
        """Write the list that Siril or IRIS reads; options as for `calibkit.defects.lists.write_list`."""
        from calibkit.defects.lists import write_list

        write_list(self, path, **options)

    @classmethod
    def read_list(
        cls, path: str | os.PathLike[str], like: xr.DataArray | xr.Dataset, **options: Any
    ) -> DefectMap:
        """Read such a list for the frames that *like* is one of; see `calibkit.defects.lists.read_list`."""
        from calibkit.defects.lists import read_list

        return read_list(path, like, **options)

    def __repr__(self) -> str:
        height, width = self.flags.shape
        kinds = fl.count_flags(self.flags.values)
        found = ", ".join(f"{count} {kind}" for kind, count in kinds.items()) or "no defects"
        return f"<DefectMap {width} × {height}: {found}>"
