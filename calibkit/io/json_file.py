"""Small JSON files of our own, read with care: anybody may have edited, cut off or replaced them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from calibkit.errors import FrameFileError


def read_json(path: str | os.PathLike[str], what: str, *, largest: int = 64 * 2**20) -> dict[str, Any]:
    """The object that a JSON file holds.

    Parameters
    ----------
    path : path
    what : str
        What it should be, for messages: "sensor profile".
    largest : int
        Bytes above which the file is not read.

    Raises
    ------
    FrameFileError
        It cannot be read, is larger, or holds no JSON object.
    """
    try:
        with Path(path).open("rb") as file:
            raw = file.read(largest + 1)
        data = json.loads(raw) if len(raw) <= largest else None
    except OSError as error:
        msg = f"{path}: {error.strerror or error}"
        raise FrameFileError(msg) from error
    except (ValueError, RecursionError) as error:  # ValueError: no JSON, or no text at all
        msg = f"{path} is no {what}: it is not JSON ({error})"
        raise FrameFileError(msg) from error
    if not isinstance(data, dict):
        reason = "it holds no JSON object" if len(raw) <= largest else f"it is larger than {largest:,} bytes"
        msg = f"{path} is no {what}: {reason}"
        raise FrameFileError(msg)
    return data
