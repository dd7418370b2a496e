"""``xarray.open_dataset(path, engine="calibkit")``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

import xarray as xr
from xarray.backends import BackendEntrypoint

from calibkit.errors import FrameFileError
from calibkit.io.detect import looks_like_frame, read_magic


class CalibkitBackend(BackendEntrypoint):
    """Opens one frame, or one result that calibkit wrote, as a dataset.

    Notes
    -----
    A frame gives the variable ``signal`` with the dimensions ``(y, x)`` and everything that
    `calibkit.open_stack` says of it as scalar coordinates and attributes; a result gives ``signal``,
    ``variance`` and ``flags``. Several frames: ``xarray.open_mfdataset(paths, engine="calibkit",
    combine="nested", concat_dim="frame")``, or better `calibkit.open_stack`, which checks that they belong
    together.

    Examples
    --------
    >>> xr.open_dataset("light.fit", engine="calibkit")  # doctest: +SKIP
    """

    description = "Frames from astronomical cameras (FITS, camera RAW, TIFF, PNG) and calibkit's results"
    open_dataset_parameters = ("filename_or_obj", "drop_variables", "area")

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        area: Literal["active", "full"] = "active",
    ) -> xr.Dataset:
        """Open a frame, or a result of calibkit's.

        Parameters
        ----------
        filename_or_obj : path
        drop_variables : str or list of str, optional
        area : {"active", "full"}
            As for `calibkit.open_stack`; a result is always opened whole.

        Returns
        -------
        xarray.Dataset

        Raises
        ------
        FrameFileError
            The file cannot be read as a frame.
        """
        from calibkit.frames import open_stack
        from calibkit.io.result_file import open_own

        if not isinstance(filename_or_obj, str | os.PathLike):
            msg = f"engine='calibkit' opens files by their path, not {type(filename_or_obj).__name__}"
            raise FrameFileError(msg)
        path = Path(filename_or_obj)
        magic = read_magic(path)
        dataset = open_own(path) if magic.startswith(b"SIMPLE") else None
        if dataset is None:
            frame = open_stack([path], area=area).isel(frame=0)
            dataset = frame.to_dataset(name="signal")
            dataset.attrs["units"] = frame.attrs["units"]
        dropped = [drop_variables] if isinstance(drop_variables, str) else list(drop_variables or ())
        return dataset.drop_vars(dropped, errors="ignore")

    def guess_can_open(self, filename_or_obj: Any) -> bool:
        """Whether the name is that of a frame."""
        return isinstance(filename_or_obj, str | os.PathLike) and looks_like_frame(Path(filename_or_obj))
