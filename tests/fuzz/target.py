"""What is done with a spoilt file, in a process of its own with little memory: it may refuse it, in one clear message."""

from __future__ import annotations

import faulthandler
import json
import resource
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np

import calibkit
from calibkit import CalibkitError, DefectMap, SensorProfile

#: Bytes of address space: far more than any seed needs, far less than what a lying header asks for.
_MEMORY = 6 * 2**30
#: Seconds after which a file counts as one that hangs.
LONGEST = 20


def _frame(path: Path) -> None:
    stack = calibkit.open_stack([path])
    pixels = stack.isel(frame=0).values
    # An image that is given has to be one: numbers, and no more of them than the file has bytes to fill.
    assert pixels.ndim == 2
    assert pixels.size <= 64 * max(path.stat().st_size, 1) * 8
    assert np.issubdtype(pixels.dtype, np.number)


def _scan(path: Path) -> None:
    session = calibkit.scan(path.parent)
    repr(session)
    session._repr_html_()


def _result(path: Path) -> None:
    calibkit.open_result(path).load()


def _image(path: Path) -> None:
    calibkit.open_image(path).load()


def _mask(path: Path) -> None:
    DefectMap.load(path)


def _list(path: Path) -> None:
    frame = calibkit.simulate_frame(calibkit.Camera(shape=(24, 36), pattern="RGGB"))
    DefectMap.read_list(path, like=frame)


def _profile(path: Path) -> None:
    SensorProfile.load(path)


def _recipe(path: Path) -> None:
    calibkit.read_recipe(path)


FRAME = (_frame, _scan, _image, _result)
BY_SUFFIX: dict[str, tuple[Callable[[Path], None], ...]] = {
    ".lst": (_list, _scan),
    ".json": (_profile, _scan),
    ".yaml": (_recipe, _scan),
}


def attempt(path: Path) -> list[str]:
    """Everything that reads files reads *path*; what should not have happened."""
    wrong = []
    for reader in (*BY_SUFFIX.get(path.suffix, FRAME), *((_mask,) if "mask" in path.name else ())):
        try:
            reader(path)
        except CalibkitError as error:
            text = str(error)
            if not text.strip() or "Traceback" in text or len(text) > 2000:
                wrong.append(f"{reader.__name__}: no clear message: {text[:200]!r}")
        except Exception:  # noqa: BLE001 (finding out which is the point)
            wrong.append(f"{reader.__name__}: {traceback.format_exc(limit=-6)}")
    return wrong


def main() -> None:
    """Read paths from standard input, one a line; answer each with a line of JSON."""
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    warnings.simplefilter("ignore")  # a warning is an answer
    for line in sys.stdin:
        began = time.monotonic()
        wrong = attempt(Path(line.rstrip("\n")))
        sys.stdout.write(json.dumps({"wrong": wrong, "seconds": time.monotonic() - began}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
