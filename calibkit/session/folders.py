"""Folders inside a folder, for somebody who looks for frames."""

from __future__ import annotations

import os
from pathlib import Path


def folders_in(folder: str | os.PathLike[str], *, most: int = 500) -> list[str]:
    """Names of the folders in *folder* that may be read and are not hidden, in order; at most *most*."""
    try:
        found = sorted(
            entry.name for entry in Path(folder).iterdir() if entry.is_dir() and entry.name[0] != "."
        )
    except OSError:  # it was removed, or may not be read
        return []
    return found[:most]
