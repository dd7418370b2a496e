"""What was done to make a result, for people and for machines."""

from __future__ import annotations

import hashlib
import os
import textwrap
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from calibkit.errors import FrameFileError
from calibkit.progress import Progress, silent

#: Characters of text in one HISTORY card.
_CARD_TEXT = 72
#: Path, time of change and size → SHA-256.
Hashes = dict[tuple[str, int, int], str]
_hashes: Hashes = {}


def sha256_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file's bytes, read once as long as the file stays as it is.

    Parameters
    ----------
    path : path

    Returns
    -------
    str
        64 hexadecimal digits, as ``sha256sum`` prints them.

    Raises
    ------
    FrameFileError
        The file cannot be read.
    """
    path = Path(path)
    try:
        key = _state(path)
        if key not in _hashes:
            with path.open("rb") as file:
                _hashes[key] = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror or error})"
        raise FrameFileError(msg) from error
    return _hashes[key]


def _state(path: Path) -> tuple[str, int, int]:
    state = path.stat()
    return str(path.resolve()), state.st_mtime_ns, state.st_size


def hashes_of(paths: Iterable[Path]) -> Hashes:
    """What `known_hashes` has of these files, which are hashed where they are not yet; those that cannot be read are left out."""
    found: Hashes = {}
    for path in paths:
        with suppress(FrameFileError, OSError):
            digest = sha256_of(path)
            found[_state(path)] = digest
    return {state: digest for state, digest in found.items() if _hashes.get(state) == digest}


def known_hashes() -> Hashes:
    """The digests that this process has found: (path, time of change, size) → SHA-256."""
    return dict(_hashes)


def take_hashes(found: Hashes) -> None:
    """Be given what another process knows, so that files which are as it saw them need not be read again."""
    _hashes.update(found)


def hash_inputs(result: xr.Dataset, *, progress: Progress = silent) -> xr.Dataset:
    """Put the SHA-256 of its input files into every step of a result's provenance.

    Parameters
    ----------
    result : xarray.Dataset
        With ``attrs["provenance"]``; a step's ``inputs`` are file names.
    progress : callable
        Called with (done, total, what).

    Returns
    -------
    xarray.Dataset
        The same data; every step with inputs has a dictionary ``sha256`` of file name → digest. Inputs that are
        not files (simulated in memory, or gone) are left out of it.

    Raises
    ------
    FrameFileError
        A file that is there cannot be read.
    """
    steps = result.attrs.get("provenance", [])
    files = {name for step in steps for name in step.get("inputs", ()) if name not in step.get("sha256", {})}
    digests = {}
    for done, name in enumerate(sorted(files)):
        progress(done, len(files), "hashing the inputs")
        if name and Path(name).is_file():
            digests[name] = sha256_of(name)
    if files:
        progress(len(files), len(files), "hashing the inputs")
    return result.assign_attrs(provenance=[_with_digests(step, digests) for step in steps])


def _with_digests(step: dict[str, Any], digests: dict[str, str]) -> dict[str, Any]:
    if not step.get("inputs"):
        return step
    known = {name: digests[name] for name in step["inputs"] if name in digests}
    return step | {"sha256": {**step.get("sha256", {}), **known}}


def history(provenance: Iterable[dict[str, Any]]) -> list[str]:
    """Lines for the HISTORY of a header: each step, its settings, its inputs with their digests.

    Each is ASCII and short enough for one card; of the inputs the names without their folders are given.

    Examples
    --------
    >>> history([{"step": "combine", "method": "mean", "n_frames": 2, "inputs": ["n/a.fit", "n/ä.fit"]}])
    ['1. combine: method = mean, n_frames = 2', ' input a.fit', ' input \\\\xe4.fit']
    """
    lines: list[str] = []
    for number, step in enumerate(provenance, start=1):
        settings = {k: v for k, v in step.items() if k not in ("step", "inputs", "sha256")}
        text = ", ".join(f"{key} = {_brief(value)}" for key, value in settings.items() if value is not None)
        lines += _wrapped(f"{number}. {step.get('step', '?')}" + (f": {text}" if text else ""))
        digests = step.get("sha256", {})
        for name in step.get("inputs", ()):
            lines += _wrapped(f" input {Path(name).name}")
            lines += [f" sha256 {digests[name]}"] if name in digests else []
    return lines


def _wrapped(line: str) -> list[str]:
    plain = line.encode("ascii", "backslashreplace").decode("ascii")
    return textwrap.wrap(
        plain, _CARD_TEXT, subsequent_indent="   ", drop_whitespace=False, break_on_hyphens=False
    )


def last(provenance: Iterable[dict[str, Any]], key: str) -> Any:
    """*key* of the last step that has it, else None."""
    return next((step[key] for step in reversed(list(provenance)) if step.get(key) is not None), None)


def _brief(value: Any) -> str:
    if isinstance(value, float | np.floating):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return " ".join(f"{k}:{_brief(v)}" for k, v in value.items())
    if isinstance(value, list | tuple | np.ndarray):
        shown = [_brief(v) for v in list(value)[:8]]
        return "[" + " ".join(shown + ["..."] * (len(value) > 8)) + "]"
    return str(value)
