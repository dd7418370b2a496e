"""Interleaved pixels to planes and back, for one block of numpy or every block of dask."""

from __future__ import annotations

from typing import Any

import numpy as np

from calibkit.errors import SettingError


def split(block: np.ndarray, *, offsets: list, period: tuple, to: np.dtype, fill: Any) -> np.ndarray:
    """Pixels (…, y, x) of one block to planes (…, channel, y, x), the last cells filled up with *fill*."""
    py, px = period
    if block.dtype.kind in "iu" and block.dtype.itemsize == 8 and to.kind == "f":
        largest = max(abs(int(block.max(initial=0))), abs(int(block.min(initial=0))))
        if largest > 2**53:
            msg = f"planes are padded with NaN and so in floating point, which cannot hold {largest} exactly"
            raise SettingError(msg)
    height, width = -(-block.shape[-2] // py), -(-block.shape[-1] // px)
    out = np.empty((*block.shape[:-2], len(offsets), height, width), dtype=to)
    for k, (dy, dx) in enumerate(offsets):
        plane = block[..., dy::py, dx::px]
        rows, columns = plane.shape[-2:]
        out[..., k, :rows, :columns] = plane
        out[..., k, rows:, :] = fill
        out[..., k, :, columns:] = fill
    return out


def join(block: np.ndarray, *, offsets: list, period: tuple) -> np.ndarray:
    """Planes (…, channel, y, x) of one block to their pixels (…, y, x)."""
    py, px = period
    out = np.empty((*block.shape[:-3], block.shape[-2] * py, block.shape[-1] * px), dtype=block.dtype)
    for k, (dy, dx) in enumerate(offsets):
        out[..., dy::py, dx::px] = block[..., k, :, :]
    return out


def convert(block: np.ndarray, *, to: np.dtype) -> np.ndarray:
    """*block* as type *to*; floating-point numbers that are not whole numbers of that type are refused."""
    if to.kind in "biu" and block.dtype.kind == "f":
        low, high = (0, 1) if to.kind == "b" else (np.iinfo(to).min, np.iinfo(to).max)
        if not ((block >= low) & (block <= high) & (block == np.floor(block))).all():
            msg = f"the planes no longer hold whole numbers of type {to}; ask for mosaic(dtype='float32')"
            raise SettingError(msg)
    return block.astype(to, copy=False)


def split_bands(data: Any, *, offsets: list, period: tuple, to: np.dtype, fill: Any) -> Any:
    """`split` on a numpy array, or on every block of a dask array without computing it."""
    options = {"offsets": offsets, "period": period, "to": to, "fill": fill}
    if not hasattr(data, "dask"):
        return split(np.asarray(data), **options)
    import dask.array as da

    lead, rows, columns = data.chunks[:-2], *map(whole_cells, data.chunks[-2:], period)
    chunks = [tuple(-(-c // step) for c in cs) for cs, step in zip((rows, columns), period, strict=True)]
    return da.map_blocks(
        split,
        data.rechunk((*lead, rows, columns)),
        chunks=(*lead, (len(offsets),), *chunks),
        new_axis=data.ndim - 2,
        meta=np.empty((0,) * (data.ndim + 1), dtype=to),
        **options,
    )


def join_bands(data: Any, *, offsets: list, period: tuple, shape: tuple[int, int], to: np.dtype) -> Any:
    """`join`, cut to *shape* and converted, on a numpy array or lazily on a dask array."""
    rows, columns = shape
    if not hasattr(data, "dask"):
        return convert(join(np.asarray(data), offsets=offsets, period=period)[..., :rows, :columns], to=to)
    import dask.array as da

    data = data.rechunk({data.ndim - 3: -1})
    joined = da.map_blocks(
        join,
        data,
        chunks=(
            *data.chunks[:-3],
            *(tuple(c * p for c in cs) for cs, p in zip(data.chunks[-2:], period, strict=True)),
        ),
        drop_axis=data.ndim - 3,
        meta=np.empty((0,) * (data.ndim - 1), dtype=data.dtype),
        offsets=offsets,
        period=period,
    )[..., :rows, :columns]
    return da.map_blocks(convert, joined, to=to, meta=np.empty((0,) * joined.ndim, dtype=to))


def whole_cells(chunks: tuple[int, ...], period: int) -> tuple[int, ...]:
    """Chunk sizes near *chunks* of which all but the last are whole cells."""
    total = sum(chunks)
    ends = sorted({min(total, -(-int(end) // period) * period) for end in np.cumsum(chunks)} - {0})
    return tuple(int(size) for size in np.diff([0, *ends])) or (0,)
