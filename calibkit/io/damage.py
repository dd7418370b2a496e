"""FITS files that astropy reads and that may be damaged: whatever it raises becomes one clear error."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from calibkit.errors import CalibkitError, FrameFileError


@cache
def _raised() -> tuple[type[Exception], ...]:
    """What astropy and its decompressors raise on headers and pixels that make no sense, found by fuzzing."""
    from astropy.io.fits.hdu.compressed import _compression
    from astropy.io.fits.verify import VerifyError

    return (
        *(
            OSError,
            EOFError,
            ValueError,
            TypeError,
            KeyError,
            IndexError,
            AttributeError,
            OverflowError,
            AssertionError,
        ),
        *(
            RuntimeError,
            MemoryError,
            ZeroDivisionError,
            zlib.error,
            VerifyError,
            _compression.CfitsioException,
        ),
    )


@contextmanager
def fits_damage(path: Path, what: str) -> Iterator[None]:
    """Work inside it that fails because the file is damaged ends in a FrameFileError.

    Parameters
    ----------
    path : pathlib.Path
    what : str
        What could not be done, after "<path>: ".

    Raises
    ------
    FrameFileError
        Instead of what astropy raised.
    """
    try:
        yield
    except CalibkitError:
        raise
    except _raised() as error:
        told = getattr(error, "strerror", None) or str(error).split("\n")[0] or type(error).__name__
        msg = f"{path}: {what} ({told}); copy the file again, or leave it out"
        raise FrameFileError(msg) from error
