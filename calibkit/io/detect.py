"""What a file is, from its first bytes; its name decides only where those leave it open."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

from calibkit.errors import FrameFileError

FITS_SUFFIXES = (".fit", ".fits", ".fts", ".fz")
RAW_SUFFIXES = (
    *(
        ".3fr",
        ".arw",
        ".bay",
        ".cr2",
        ".cr3",
        ".crw",
        ".cs1",
        ".dc2",
        ".dcr",
        ".dng",
        ".erf",
        ".fff",
        ".ia",
        ".iiq",
    ),
    *(".k25", ".kc2", ".kdc", ".mdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef", ".ptx", ".pxn"),
    *(".qtk", ".raf", ".raw", ".rdc", ".rw2", ".rwl", ".rwz", ".sr2", ".srf", ".srw", ".sti", ".x3f"),
)
PICTURE_SUFFIXES = (".tif", ".tiff", ".png")
#: Suffixes of files that may be frames; ".gz" goes with the one before it.
FRAME_SUFFIXES = (*FITS_SUFFIXES, *RAW_SUFFIXES, *PICTURE_SUFFIXES)

_HEAD = 32
_FORMATS = "Frames are FITS (plain, .gz or .fz), camera RAW, and grey TIFF or PNG."
_JPEG = (
    "a JPEG picture, whatever its name: colours, sharpening and compression have replaced the sensor's numbers, so "
    "it cannot be calibrated; save RAW in the camera"
)
_REFUSED = (
    (b"\xff\xd8\xff", _JPEG),
    (b"BZh", "compressed with bzip2: unpack it first"),
    (b"\xfd7zXZ", "compressed with xz: unpack it first"),
    (b"PK\x03\x04", "a zip archive: unpack it first"),
    (b"XISF0100", "an XISF file, which calibkit does not read: save it as FITS"),
    (b"LUCAM-RECORDER", "a SER video, which calibkit does not read: save its frames as FITS"),
    (b"GIF8", "a GIF picture, which does not hold the sensor's numbers"),
    (b"BM", "a BMP picture, which does not hold the sensor's numbers"),
)


def looks_like_frame(path: Path) -> bool:
    """Whether the name is that of a frame: by its suffix, with ``.gz`` taken off."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        return len(suffixes) > 1 and suffixes[-2] in FITS_SUFFIXES
    return bool(suffixes) and suffixes[-1] in FRAME_SUFFIXES


def read_magic(path: Path) -> bytes:
    """The first bytes of *path*, or a FrameFileError that says why they cannot be read."""
    try:
        if stat.S_ISFIFO(path.stat().st_mode) or stat.S_ISSOCK(path.stat().st_mode):
            msg = f"{path}: it is a pipe or a socket, not a file"  # reading it would wait for ever
            raise FrameFileError(msg)
        with path.open("rb") as file:
            magic = file.read(_HEAD)
    except OSError as error:
        reasons = {
            errno.ENOENT: "there is no such file",
            errno.EISDIR: "it is a folder: give its files, or use calibkit.scan",
            errno.EACCES: "there is no permission to read it",
        }
        reason = "it is a folder: give its files, or use calibkit.scan" if path.is_dir() else error.strerror
        msg = f"{path}: {reasons.get(error.errno or 0, reason)}"
        raise FrameFileError(msg) from error
    if not magic:
        msg = f"{path}: the file is empty. Copy it again from where it came from."
        raise FrameFileError(msg)
    return magic


def detect(path: Path, magic: bytes) -> str:
    """``"fits"``, ``"fits.gz"``, ``"raw"`` or ``"picture"``.

    Raises
    ------
    FrameFileError
        The file is something else; the message says what.
    """
    from calibkit.io.containers import TIFF_MAGIC, looks_raw, tiff_directories

    if magic.startswith(b"SIMPLE  ="):
        return "fits"
    if magic.startswith(b"\x1f\x8b"):
        return "fits.gz"
    if magic.startswith(b"\x89PNG"):
        return "picture"
    for start, what in _REFUSED:
        if magic.startswith(start):
            msg = f"{path}: this is {what}. {_FORMATS}"
            raise FrameFileError(msg)
    suffix = path.suffix.lower()
    if magic[:4] in TIFF_MAGIC[:2] and suffix not in RAW_SUFFIXES and magic[8:10] != b"CR":
        return "raw" if looks_raw(tiff_directories(path)) else "picture"
    known = (*TIFF_MAGIC, b"FUJI", b"FOVb", b"\0MRM")
    if magic[:4] in known or magic[4:8] == b"ftyp" or magic[6:14] == b"HEAPCCDR" or suffix in RAW_SUFFIXES:
        return "raw"
    text = magic.decode("ascii", "ignore").strip()
    begins = (
        f"it begins with {text!r}" if text.isprintable() and len(text) > 8 else "its contents are not known"
    )
    msg = f"{path}: not a frame: {begins}. {_FORMATS}"
    raise FrameFileError(msg)
