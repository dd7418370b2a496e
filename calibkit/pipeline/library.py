"""Masters that several nights share: kept in a folder by what they were made from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from calibkit.errors import FrameFileError
from calibkit.io.atomic import part_file
from calibkit.io.provenance import sha256_of
from calibkit.pipeline.store import read_record, unwritable, write_record

_PIECE = 16 * 2**20


class Library:
    """A folder of masters, each called by the digest of its frames, settings and version of calibkit.

    Several runs may use it at once: files come into it whole, and one that is not what it was when it came is
    not taken.

    Parameters
    ----------
    folder : Path
        Made if it is not there.

    Raises
    ------
    OutputError
        It cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(folder, error) from error

    def fetch(self, key: str, path: Path) -> dict[str, Any] | None:
        """Copy the master with that digest to *path* and return what is known of it; None if there is none."""
        kept = self._master(key)
        record = read_record(kept.with_suffix(".json"), key, "sha256")
        try:
            if record is None or sha256_of(kept) != record["sha256"]:
                return None
        except FrameFileError:
            return None
        _copy(kept, path)
        return record["row"] if sha256_of(path) == record["sha256"] else None

    def keep(self, key: str, path: Path, row: Mapping[str, Any]) -> None:
        """Take a copy of the master at *path* into the library."""
        kept = self._master(key)
        record = {"key": key, "sha256": sha256_of(path), "row": dict(row)}
        _copy(path, kept)  # the record comes last: without it the file is not looked at
        write_record(kept.with_suffix(".json"), record)

    def _master(self, key: str) -> Path:
        return self._folder / f"{key[:32]}.fits"


def _copy(source: Path, target: Path) -> None:
    """Copy a file so that *target* is there whole or not at all."""
    with source.open("rb") as file, part_file(target, overwrite=True) as part:
        part.reserve(source.stat().st_size)
        at = 0
        while piece := file.read(_PIECE):
            part.write_at(at, piece)
            at += len(piece)
        part.finish(overwrite=True)
