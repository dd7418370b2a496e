"""What a result's file holds: images as extensions, everything else in one table; and how it is read again."""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from calibkit.cfa import Pattern
from calibkit.errors import FrameFileError, SettingError
from calibkit.io import plain
from calibkit.io.byte_order import swap_bytes
from calibkit.io.cards import BLOCK, Header, parse_header
from calibkit.io.detect import read_magic
from calibkit.memory import band_rows

#: Name of the table and of its column.
TABLE, COLUMN = "CALIBKIT", "json"
#: Version of the text in it; a reader refuses those it does not know.
FORMAT = 1
#: FITS allows no more.
_MOST_AXES = 999

#: dask array name → the image behind it, for as long as the array lives.
_IMAGES: weakref.WeakValueDictionary[str, _Image] = weakref.WeakValueDictionary()

#: Type of the numbers → (BITPIX, BZERO).
_STORED = {
    "u1": (8, 0),
    "i1": (8, -128),
    "i2": (16, 0),
    "u2": (16, 2**15),
    "i4": (32, 0),
    "u4": (32, 2**31),
    "i8": (64, 0),
    "u8": (64, 2**63),
    "f4": (-32, 0),
    "f8": (-64, 0),
}


@dataclass(frozen=True)
class ImagePlan:
    """One variable with rows and columns, and how its numbers are stored."""

    extname: str
    variable: xr.Variable  # its last two dims are y and x
    units: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        return self.variable.shape

    @property
    def bitpix(self) -> int:
        """FITS type of the stored numbers."""
        return _STORED[_code(self.variable.dtype)][0]

    @property
    def bzero(self) -> int:
        """What is added to the stored numbers."""
        return _STORED[_code(self.variable.dtype)][1]

    @property
    def nbytes(self) -> int:
        """Size of the image without padding."""
        return self.variable.size * abs(self.bitpix) // 8

    def encode(self, rows: np.ndarray, memory: np.ndarray) -> np.ndarray:
        """Rows as they are stored: big-endian, unsigned numbers with the top bit turned; *rows* stay as they are.

        The bytes are put into *memory*, which has just their number.
        """
        code = _code(self.variable.dtype)
        stored = memory.view(code).reshape(rows.shape)
        stored[...] = rows
        bits = stored.view(f"u{stored.itemsize}")
        flip = _top_bit(bits.itemsize) if self.bzero else bits.dtype.type(0)
        swap_bytes(bits, flip.byteswap())
        return bits.view(
            np.dtype(code[0].replace("u", "i") + code[1] if self.bzero else code).newbyteorder(">")
        )


def _code(dtype: np.dtype) -> str:
    return "u1" if dtype.kind == "b" else f"{dtype.kind}{dtype.itemsize}"


def _top_bit(itemsize: int) -> np.integer:
    return np.dtype(f"u{itemsize}").type(1 << (8 * itemsize - 1))


def members(result: xr.Dataset) -> tuple[list[ImagePlan], dict[str, Any]]:
    """The images in the order of the file, and the record that restores everything from them.

    Parameters
    ----------
    result : xarray.Dataset

    Returns
    -------
    images : list of ImagePlan
        signal, flags, variance, then the others; a coordinate with rows and columns too.
    record : dict
        For `calibkit.io.plain.dumps`.

    Raises
    ------
    SettingError
        A variable of a type that FITS cannot hold as an image.
    """
    first = ("signal", "flags", "variance")
    names = [*first, *(name for name in (*result.data_vars, *result.coords) if name not in first)]
    images: list[ImagePlan] = []
    entries: dict[str, dict[str, Any]] = {}
    for name in names:
        variable = result[name].variable
        entry: dict[str, Any] = {"attrs": variable.attrs}
        if {"y", "x"} <= set(variable.dims):
            variable = variable.transpose(..., "y", "x")
            if _code(variable.dtype) not in _STORED or variable.ndim > 3:
                msg = (
                    f"save: the variable {name!r} with the dims {variable.dims} and the type {variable.dtype} is no "
                    "image that FITS can hold; convert or drop it"
                )
                raise SettingError(msg)
            images.append(ImagePlan(str(name).upper()[:60], variable, _unit(variable.attrs.get("units"))))
            entry |= {"hdu": len(images) - 1, "dtype": variable.dtype.str}
        elif _counts(variable):
            values = variable.values
            entry |= {"start": int(values[0]), "size": values.size, "dtype": values.dtype.str}
        else:
            entry["values"] = np.asarray(variable.values)
        entries[str(name)] = entry | {"dims": list(variable.dims)}
    return images, {
        "attrs": result.attrs,
        "data_vars": {str(name): entries[str(name)] for name in result.data_vars},
        "coords": {str(name): entries[str(name)] for name in result.coords},
    }


def _counts(variable: xr.Variable) -> bool:
    """Whether the values are consecutive whole numbers, as sensor pixels are."""
    if variable.ndim != 1 or variable.dtype.kind not in "iu" or not variable.size:
        return False
    return bool((np.diff(variable.values.astype(np.int64)) == 1).all())


def _unit(units: Any) -> str:
    text = str(units or "")
    return text if text.isascii() and text.isprintable() and len(text) < 60 and text != "1" else ""


def open_own(path: Path) -> xr.Dataset | None:
    """A file that `calibkit.save` wrote, lazily; None when *path* is another one.

    Raises
    ------
    FrameFileError
        The file cannot be read, is damaged, or was written by a newer version.
    """
    if not read_magic(path).startswith(b"SIMPLE  ="):
        return None
    try:
        with path.open("rb") as file:
            hdus = _hdus(file)
            if not hdus or hdus[0][0].get("EXTNAME") != "SIGNAL" or "CALIBKIT" not in hdus[0][0]:
                return None
            state = os.fstat(file.fileno())
            record = _record(path, file, hdus, state.st_size)
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror or error})"
        raise FrameFileError(msg) from error
    identity = (state.st_mtime_ns, state.st_size)
    try:
        return _restore(path, identity, hdus, plain.loads(record))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        msg = f"{path}: its table {TABLE} is damaged ({type(error).__name__}: {error}); make the result again"
        raise FrameFileError(msg) from error


def _hdus(file: Any) -> list[tuple[Header, int, int]]:
    """(header, offset of the data, their size) of every HDU; none for a file that is not plain FITS."""
    found: list[tuple[Header, int, int]] = []
    position = 0
    while True:
        file.seek(position)
        cards = b""
        while True:
            block = file.read(BLOCK)
            if len(block) < BLOCK or (not cards and not block.startswith((b"SIMPLE  =", b"XTENSION="))):
                return found
            cards += block
            if any(block[at : at + 8] == b"END     " for at in range(0, BLOCK, 80)):
                break
        header = parse_header(cards)
        position += len(cards)
        count, bits = header.get("NAXIS") or 0, header.get("BITPIX")
        if not (isinstance(count, int) and isinstance(bits, int) and 0 <= count <= _MOST_AXES):
            return found
        axes = [header.get(f"NAXIS{i + 1}") for i in range(count)]
        if not all(type(n) is int and n >= 0 for n in axes):  # True is an int, too
            return found
        heap = header.get("PCOUNT", 0)
        size = abs(bits) // 8 * math.prod(axes) if axes else 0  # Python's numbers, which have no largest one
        size += heap if isinstance(heap, int) and heap > 0 else 0
        if position + size > 2**62:
            return found
        found.append((header, position, size))
        position += size + -size % BLOCK


def _record(path: Path, file: Any, hdus: list[tuple[Header, int, int]], length: int) -> str:
    for header, offset, size in hdus:
        if header.get("EXTNAME") == TABLE and offset + size <= length:
            if header.get("FORMAT") != FORMAT:
                msg = (
                    f"{path}: written in format {header.get('FORMAT')} of calibkit {hdus[0][0]['CALIBKIT']}, and this "
                    f"version reads format {FORMAT}; update calibkit"
                )
                raise FrameFileError(msg)
            file.seek(offset)
            return file.read(size).decode("latin-1")
    msg = f"{path}: the file is cut off: a result of calibkit's without its table {TABLE}; make it again"
    raise FrameFileError(msg)


def _restore(path: Path, identity: tuple, hdus: list, record: dict[str, Any]) -> xr.Dataset:
    period = Pattern(record["attrs"].get("cfa") or "").period[0]

    def variable(entry: dict[str, Any]) -> xr.Variable:
        dims, dtype = tuple(entry["dims"]), entry.get("dtype")
        if "hdu" in entry:
            header, offset, _ = hdus[entry["hdu"]]
            shape = tuple(header[f"NAXIS{axis}"] for axis in range(header["NAXIS"], 0, -1))
            data = _lazy(_Image(path, identity, offset, shape, np.dtype(dtype)), period)
        elif "start" in entry:
            data = (entry["start"] + np.arange(entry["size"])).astype(dtype)
        else:
            data = entry["values"]
        return xr.Variable(dims, data, entry["attrs"])

    return xr.Dataset(
        {name: variable(entry) for name, entry in record["data_vars"].items()},
        coords={name: variable(entry) for name, entry in record["coords"].items()},
        attrs=record["attrs"],
    )


@dataclass(frozen=True)
class _Image:
    """Where an image lies, and the state of the file that it belongs to."""

    path: Path
    identity: tuple[int, int]
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype

    def read(
        self, plane: int, y0: int, y1: int, *, memory: Callable[..., np.ndarray] = np.empty
    ) -> np.ndarray:
        """Rows of one plane, in an array that ``memory(shape, dtype)`` gives."""
        height, width = self.shape[-2:]
        code = _code(self.dtype)
        raw = memory((y1 - y0, width), np.dtype(code))
        try:
            with self.path.open("rb", buffering=0) as file:
                state = os.fstat(file.fileno())
                if (state.st_mtime_ns, state.st_size) != self.identity:
                    msg = f"{self.path}: the file changed after it was opened; open it again"
                    raise FrameFileError(msg)
                file.seek(self.offset + (plane * height + y0) * width * raw.itemsize)
                data = memoryview(raw).cast("B")
                while data:
                    count = file.readinto(data)
                    if not count:
                        msg = f"{self.path}: the file is cut off; make it again"
                        raise FrameFileError(msg)
                    data = data[count:]
        except OSError as error:
            msg = f"{self.path}: cannot be read any more ({error.strerror or error})"
            raise FrameFileError(msg) from error
        bits = raw.view(f"u{raw.itemsize}")
        swap_bytes(bits, _top_bit(raw.itemsize) if _STORED[code][1] else bits.dtype.type(0))
        return raw.astype(self.dtype, copy=False)


def _lazy(image: _Image, period: int) -> Any:
    import dask.array as da
    from dask.base import tokenize

    height, width = image.shape[-2:]
    rows = band_rows(height, width, bytes_per_pixel=16, multiple=period)
    edges = [*range(0, height, rows), height]
    name = f"result-{tokenize(image)}"
    lead = image.shape[:-2]
    keys = [(c, j) for c in range(int(np.prod(lead))) for j in range(len(edges) - 1)]
    place = (lambda c: (c,)) if lead else (lambda c: ())
    graph = {(name, *place(c), j, 0): (_read, image, c, edges[j], edges[j + 1]) for c, j in keys}
    chunks = (*((1,) * n for n in lead), tuple(np.diff(edges).tolist()), (width,))
    _IMAGES[name] = image
    return da.Array(graph, name, chunks, dtype=image.dtype)


@dataclass(frozen=True)
class RowReader:
    """Reads any rows of an image; those of one image are equal."""

    image: _Image

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the image."""
        return self.image.shape

    def __call__(self, y0: int, y1: int, *, memory: Callable[..., np.ndarray] = np.empty) -> np.ndarray:
        """Rows *y0* to *y1*, in an array that ``memory(shape, dtype)`` gives."""
        return self.image.read(0, y0, y1, memory=memory)


def rows_of(array: Any) -> RowReader | None:
    """What reads any rows of a 2-D image of a result that was opened lazily; None for every other array.

    A slice of a dask array reads the whole chunk that it lies in.
    """
    image = _IMAGES.get(getattr(array, "name", ""))
    if image is None or image.shape != array.shape or len(image.shape) != 2:
        return None
    return RowReader(image)


def plane_of(result: xr.Dataset, channel: int) -> xr.Dataset:
    """One channel (y, x) of a result, mono; where it was opened lazily, `rows_of` knows its arrays."""
    plane = result.isel(channel=channel, drop=True).assign_attrs(cfa="")
    for name, variable in result.data_vars.items():
        image = _IMAGES.get(getattr(variable.data, "name", ""))
        if image is not None and image.shape == variable.shape and variable.dims == ("channel", "y", "x"):
            size = math.prod(image.shape[1:]) * image.dtype.itemsize
            own = replace(image, offset=image.offset + channel * size, shape=image.shape[1:])
            plane[name] = plane[name].variable.copy(data=_lazy(own, 1))
    return plane


def _read(image: _Image, plane: int, y0: int, y1: int) -> np.ndarray:
    rows = image.read(plane, y0, y1)
    return rows if len(image.shape) == 2 else rows[None]
