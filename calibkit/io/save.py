"""Results as FITS files, written by bands of rows and there whole or not at all, and opened again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from calibkit.errors import OutputError, SettingError
from calibkit.flags import FLAGS
from calibkit.io import plain
from calibkit.io.atomic import part_file
from calibkit.io.band_writer import write_images
from calibkit.io.result_file import COLUMN, FORMAT, TABLE, ImagePlan, members
from calibkit.io.result_header import primary_header
from calibkit.memory import worker_count
from calibkit.progress import Progress, silent

if TYPE_CHECKING:
    from astropy.io.fits import Header

_BLOCK = 2880


def save(
    result: xr.Dataset,
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    workers: int | None = None,
    flush: bool = True,
    cached: bool = True,
    progress: Progress = silent,
) -> Path:
    """Write a result as a FITS file.

    Parameters
    ----------
    result : xarray.Dataset
        ``signal``, ``variance`` and ``flags`` with the dims (y, x), or (channel, y, x) in colour, and any
        variables beside them. One frame: take it from a stack with ``result.isel(frame=0)``. A lazy result is
        computed by bands of rows, each once for all its variables, so that memory stays bounded.
    path : path
        File to write, with a name such as ``.fits`` or ``.fit``.
    overwrite : bool
        Replace a file that is there.
    workers : int, optional
        Bands of a lazy result that are computed at a time; by default one for each processor.
    flush : bool
        Wait until the bytes are on the disk. Without, the file is there at once and whole for every program, but may be
        lost if the power fails within the next half minute.
    cached : bool
        Leave the bytes in the system's cache, for what reads them next. Without, a large file goes past it to a disk that is
        fast, which is less work; only Linux can.
    progress : callable
        Called with (rows done, rows, what) after every band.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    OutputError
        The file exists, the folder cannot be written to, or the disk is full. Nothing is left behind then.
    SettingError
        *result* is not a result of one frame, or holds something that a file cannot keep.

    Notes
    -----
    The primary HDU is the signal; FLAGS (the bits of `calibkit.flags`), VARIANCE and other images follow as
    extensions, then the table CALIBKIT, whose one cell is JSON text from which `open_result` restores
    coordinates and attributes exactly. FLAGS stands before VARIANCE because Siril takes a file whose second
    image is of the type and size of the first for a sequence of frames.

    The bytes are written into a hidden file in the same folder, brought to the disk and then renamed
    (`calibkit.io.atomic`), so that a run that is killed leaves no half file under the final name.

    Keywords and HISTORY are described in `calibkit.io.result_header`, the FITS format in Pence et al. 2010,
    A&A 524, A42.

    Examples
    --------
    >>> import calibkit
    >>> stack = calibkit.simulate_stack(calibkit.Camera(shape=(20, 30)), 3, kind="bias")
    >>> import tempfile
    >>> bias = calibkit.constant_bias(stack, level=100.0)
    >>> path = calibkit.save(bias, tempfile.mkdtemp() + "/bias.fits")
    >>> calibkit.open_result(path).signal.identical(bias.signal)
    True
    """
    target = Path(path)
    _check(result, target)
    images, record = members(result)
    blocks = [_header_bytes(primary_header(result), images[0], first=True)]
    blocks += [_header_bytes(None, image, first=False) for image in images[1:]]
    table = _table_bytes(plain.dumps(record))
    offsets, end = [], 0
    for block, image in zip(blocks, images, strict=True):
        offsets.append(end + len(block))
        end += len(block) + image.nbytes + -image.nbytes % _BLOCK
    with part_file(target, overwrite=overwrite) as part:
        part.reserve(end + len(table))
        if not cached:
            part.pass_cache()
        for block, offset, image in zip(blocks, offsets, images, strict=True):
            part.write_at(offset - len(block), block)
            part.write_at(offset + image.nbytes, bytes(-image.nbytes % _BLOCK))
        part.write_at(end, table)
        # past the cache the writing of one band is waited for, while others are worked on
        at_once = worker_count() + (not cached) if workers is None else max(1, workers)
        write_images(
            part,
            result,
            images,
            offsets,
            at_once=at_once,
            flush=flush,
            progress=progress,
            what=f"writing {target.name}",
        )
        part.finish(overwrite=overwrite, flush=flush)
    return target


def _check(result: object, target: Path) -> None:
    if not isinstance(result, xr.Dataset):
        msg = f"save writes a result, an xarray.Dataset of signal, variance and flags, not {type(result).__name__}"
        raise SettingError(msg)
    missing = [name for name in ("signal", "variance", "flags") if name not in result]
    if missing:
        msg = f"save: the result has no {', '.join(missing)}; it needs signal, variance and flags"
        raise SettingError(msg)
    dims = result["signal"].dims
    if set(dims) not in ({"y", "x"}, {"channel", "y", "x"}):
        hint = (
            "save every frame by itself, result.isel(frame=i)"
            if "frame" in dims
            else "reduce it to one frame"
        )
        msg = f"save writes one frame with the dims (y, x) or (channel, y, x); found {dims}: {hint}"
        raise SettingError(msg)
    unlike = [name for name in ("variance", "flags") if set(result[name].dims) != set(dims)]
    if unlike or not result["signal"].size:
        found = {name: dict(result[name].sizes) for name in ("signal", *unlike)}
        msg = f"save: signal, variance and flags must be of one size with at least one pixel; found {found}"
        raise SettingError(msg)
    if target.suffix.lower() in (".gz", ".fz", ".bz2", ".zip", ".xz"):
        msg = f"cannot write {target}: results are written uncompressed; use the name {target.with_suffix('').name}"
        raise OutputError(msg)


def _header_bytes(header: Header | None, image: ImagePlan, *, first: bool) -> bytes:
    """The HDU's header with its keywords of structure, a multiple of 2880 bytes."""
    from astropy.io import fits

    structure = fits.Header()
    structure["SIMPLE" if first else "XTENSION"] = True if first else "IMAGE"
    structure["BITPIX"] = (image.bitpix, "type of the numbers")
    structure["NAXIS"] = len(image.shape)
    for axis, length in enumerate(reversed(image.shape), start=1):
        structure[f"NAXIS{axis}"] = length
    if first:
        structure["EXTEND"] = True
    else:
        structure["PCOUNT"], structure["GCOUNT"] = 0, 1
    if image.bzero:
        structure["BSCALE"], structure["BZERO"] = 1, (image.bzero, "unsigned numbers")
    if header is None:
        structure["EXTNAME"] = image.extname
        if image.units:
            structure["BUNIT"] = image.units
        if image.extname == "FLAGS":
            for flag in FLAGS:
                structure.add_comment(f"{flag.value} {flag.name}: {flag.meaning}")
    else:
        structure.extend(header.cards)
    return structure.tostring().encode("ascii")


def _table_bytes(text: str) -> bytes:
    """The table whose one cell is *text*."""
    from astropy.io import fits

    header = fits.Header()
    header["XTENSION"], header["BITPIX"], header["NAXIS"] = "BINTABLE", 8, 2
    header["NAXIS1"], header["NAXIS2"] = len(text), 1
    header["PCOUNT"], header["GCOUNT"], header["TFIELDS"] = 0, 1, 1
    header["TTYPE1"], header["TFORM1"] = COLUMN, f"{len(text)}A"
    header["EXTNAME"] = TABLE
    header["FORMAT"] = (FORMAT, "version of the JSON text")
    return header.tostring().encode("ascii") + text.encode("ascii") + bytes(-len(text) % _BLOCK)


def open_result(path: str | os.PathLike[str]) -> xr.Dataset:
    """Open a result, or a master that another program made.

    Parameters
    ----------
    path : path
        A file from `save`; a FITS file of astropy's ``CCDData`` (ccdproc) with the extensions UNCERT and MASK;
        or any FITS image of one plane, compressed or not.

    Returns
    -------
    xarray.Dataset
        ``signal``, ``variance`` and ``flags``, lazy in bands of rows. From a file of calibkit's coordinates, attributes
        and other variables are those that were saved. Of a foreign file the keywords are read as
        `calibkit.open_stack` reads them; masked pixels and those without a number are flagged ``no_data``.

    Raises
    ------
    FrameFileError
        The file cannot be read, is damaged, or says of its noise what is not understood.

    Warns
    -----
    CalibkitWarning
        A foreign file says nothing of its noise: the variance is NaN, not known.

    Examples
    --------
    >>> import calibkit
    >>> stack = calibkit.simulate_stack(calibkit.Camera(shape=(20, 30)), 3, kind="bias")
    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/bias.fits"
    >>> path = calibkit.save(calibkit.constant_bias(stack, level=100.0), path)
    >>> calibkit.open_result(path).attrs["kind"]
    'bias'
    """
    from calibkit.io.foreign import open_foreign
    from calibkit.io.result_file import open_own

    path = Path(path)
    result = open_own(path)
    return open_foreign(path) if result is None else result
