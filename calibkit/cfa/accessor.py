"""``frame.cfa``: the functions of this package on any DataArray or Dataset. It keeps no state of its own."""

from __future__ import annotations

from typing import Any

import xarray as xr

from calibkit.cfa import phase
from calibkit.cfa import planes as work
from calibkit.cfa.pattern import Pattern


@xr.register_dataarray_accessor("cfa")
@xr.register_dataset_accessor("cfa")
class CfaAccessor:
    """Colour filters of a frame, a stack or a result.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> frame = xr.DataArray(
    ...     np.arange(16).reshape(4, 4),
    ...     coords={"y": range(4), "x": range(4)},
    ...     dims=("y", "x"),
    ...     attrs={"cfa": "GRBG"},
    ... )
    >>> frame[1:, :].cfa["B"].values
    array([[ 4,  6],
           [12, 14]])
    >>> frame.cfa.planes().channel.values.tolist()
    ['R', 'G1', 'G2', 'B']
    >>> frame[1:, 1:].cfa.planes().cfa.mosaic().identical(frame[1:, 1:])
    True
    """

    def __init__(self, obj: xr.DataArray | xr.Dataset) -> None:
        self._obj = obj

    @property
    def pattern(self) -> Pattern:
        """The pattern, anchored at sensor pixel (0, 0)."""
        return phase.pattern_of(self._obj)

    def __getitem__(self, name: str) -> xr.DataArray | xr.Dataset:
        """One channel as a view without a copy, with its own sensor pixel numbers."""
        return work.one_channel(self._obj, name)

    def channel_mask(self, name: str) -> xr.DataArray:
        """Boolean (y, x): which pixels carry the channel, site or colour *name*."""
        return work.channel_mask(self._obj, name)

    def planes(self) -> xr.DataArray | xr.Dataset:
        """Every site as a plane, dims (…, channel, y, x); see `calibkit.cfa.planes.planes`."""
        return work.planes(self._obj)

    def mosaic(self, *, dtype: Any = None) -> xr.DataArray | xr.Dataset:
        """The mosaic back from planes; see `calibkit.cfa.planes.mosaic`."""
        return work.mosaic(self._obj, dtype=dtype)
