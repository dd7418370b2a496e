"""What is done with a spoilt file, in a process of its own with little memory: it may refuse it, in one clear message."""

from __future__ import annotations

import faulthandler
import hashlib
import json
import resource
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.io import fits

import calibkit
from calibkit import CalibkitError, DefectMap, SensorProfile
from calibkit.align.transforms import Transforms
from calibkit.io import open_frame
from calibkit.simulate.ground_truth import SIDECAR
from tests.fuzz.trees import MARKUP, contents

#: Bytes of address space: far more than any seed needs, far less than what a lying header asks for.
_MEMORY = 6 * 2**30
#: Seconds after which a file counts as one that hangs.
LONGEST = 20


def _frame(path: Path) -> str:
    """A digest of the pixels, which have to be numbers, and no more of them than the file has bytes to fill."""
    stack = calibkit.open_stack([path])
    pixels = stack.isel(frame=0).values
    assert pixels.ndim == 2
    assert pixels.size <= 64 * max(path.stat().st_size, 1) * 8
    assert np.issubdtype(pixels.dtype, np.number)
    _agrees_with_astropy(path)
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def _agrees_with_astropy(path: Path) -> None:
    """A plain FITS file that astropy reads without complaint holds what it says there."""
    if not path.name.endswith((".fits", ".fit")):
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with fits.open(path) as hdus:
                data = [hdu.data for hdu in hdus if isinstance(hdu, fits.PrimaryHDU | fits.ImageHDU)]
                data = [np.squeeze(found) for found in data if found is not None and found.size]
    except Exception:  # noqa: BLE001 (whatever it is that astropy does not like)
        return
    source = open_frame(path)
    if data and data[0].shape == source.info.full_shape and data[0].ndim == 2:
        y0, y1, x0, x1 = source.info.active
        np.testing.assert_array_equal(source.read(0, y1 - y0), data[0][y0:y1, x0:x1])


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


def _transforms(path: Path) -> None:
    found = Transforms.load(path)
    assert len(found.table) == len(found)


def _simulated(path: Path) -> None:
    calibkit.session_truth(path.parent)


def _tree(folder: Path) -> None:
    """Everything in *folder* becomes a picture, as far as it can; nothing but the output folder changes."""
    before = contents(folder)
    session = calibkit.scan(folder)
    pages = [repr(session), session._repr_html_()]
    out = folder.parent / "out"
    try:
        calibkit.process(session, None, out)
        pages.append((out / "report.html").read_text(encoding="utf-8"))
    finally:
        assert contents(folder) == before, "the frames are not touched"
        assert {path.name for path in folder.parent.iterdir()} <= {folder.name, "out"}
    for page in pages[1:]:
        assert MARKUP not in page, "what files say is shown as text"


FRAME = (_frame, _scan, _image, _result)
OTHERS: dict[str, tuple[Callable[[Path], object], ...]] = {
    "defects.lst": (_list, _scan),
    "mask.fits": (*FRAME, _mask),
    "profile.json": (_profile, _scan),
    "recipe.yaml": (_recipe, _scan),
    "transforms.json": (_transforms, _scan),
    SIDECAR: (_simulated, _scan),
}


def attempt(path: Path) -> tuple[list[str], str | None]:
    """Everything that reads files reads *path*: what should not have happened, and a digest of the pixels."""
    wrong, pixels = [], None
    for reader in (_tree,) if path.is_dir() else OTHERS.get(path.name, FRAME):
        try:
            found = reader(path)
            pixels = found if reader is _frame else pixels
        except CalibkitError as error:
            text = str(error)
            if not text.strip() or "Traceback" in text or len(text) > 2000:
                wrong.append(f"{reader.__name__}: no clear message: {text[:200]!r}")
        except Exception:  # noqa: BLE001 (finding out which is the point)
            wrong.append(f"{reader.__name__}: {traceback.format_exc(limit=-6)}")
    return wrong, pixels


def main() -> None:
    """Read paths from standard input, one a line; answer each with a line of JSON."""
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    warnings.simplefilter("ignore")  # a warning is an answer
    for line in sys.stdin:
        began = time.monotonic()
        wrong, pixels = attempt(Path(line.rstrip("\n")))
        answer = {"wrong": wrong, "pixels": pixels, "seconds": time.monotonic() - began}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
