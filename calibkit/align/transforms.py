"""Where each frame lies with respect to the reference: small, and kept as JSON."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from calibkit.errors import FrameFileError
from calibkit.io.atomic import part_file
from calibkit.io.json_file import read_json

if TYPE_CHECKING:
    import pandas as pd

_FORMAT = "calibkit transforms 1"


@dataclass(frozen=True, eq=False)
class Transform:
    """How one frame is brought onto the reference.

    ``matrix`` (3 × 3) takes (x, y, 1) of the frame to the reference's, in sensor pixels. ``rms`` is the distance, along
    one axis, of the stars from where it puts them, in pixels, and ``error`` what that makes of the map itself at a
    typical place. A frame that could not be aligned has ``ok`` false and says ``reason``.
    """

    name: str
    matrix: np.ndarray
    rms: float
    error: float
    stars: int
    ok: bool
    reason: str = ""

    @property
    def shift(self) -> tuple[float, float]:
        """Columns and rows by which the pixel (0, 0) moves."""
        return float(self.matrix[0, 2]), float(self.matrix[1, 2])

    @property
    def rotation(self) -> float:
        """Degrees by which the frame is turned, from the x axis to the y axis."""
        return math.degrees(math.atan2(self.matrix[1, 0], self.matrix[0, 0]))

    @property
    def scale(self) -> float:
        """Pixels of the reference for one of the frame."""
        (a, b), (c, d) = self.matrix[:2, :2]
        return math.sqrt(abs(float(a * d - b * c)))


@dataclass(frozen=True, eq=False)
class Transforms:
    """The transforms of a set of lights, in their order."""

    frames: tuple[Transform, ...]
    reference: int
    model: str
    shape: tuple[int, int]
    origin: tuple[int, int]

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, number: int) -> Transform:
        return self.frames[number]

    def __iter__(self) -> Iterator[Transform]:
        return iter(self.frames)

    @property
    def ok(self) -> np.ndarray:
        """Which frames could be aligned, boolean of shape (frame,)."""
        return np.array([frame.ok for frame in self.frames])

    @property
    def table(self) -> pd.DataFrame:
        """A row for every frame: shift (pixels), rotation (degrees), scale, rms and error (pixels), stars."""
        import pandas as pd

        return pd.DataFrame(
            {
                "file": [Path(frame.name).name for frame in self.frames],
                "aligned": self.ok,
                "shift x": [frame.shift[0] for frame in self.frames],
                "shift y": [frame.shift[1] for frame in self.frames],
                "rotation": [frame.rotation for frame in self.frames],
                "scale": [frame.scale for frame in self.frames],
                "rms": [frame.rms for frame in self.frames],
                "error": [frame.error for frame in self.frames],
                "stars": [frame.stars for frame in self.frames],
                "reason": [frame.reason for frame in self.frames],
            }
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write everything as JSON; a file that is there is replaced."""
        path = Path(path)
        content = {
            "format": _FORMAT,
            "reference": self.reference,
            "model": self.model,
            "shape": list(self.shape),
            "origin": list(self.origin),
            "frames": [
                {k: _plain(v) for k, v in (asdict(f) | {"matrix": f.matrix.tolist()}).items()}
                for f in self.frames
            ],
        }
        text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
        with part_file(path, overwrite=True) as part:
            part.write_at(0, text.encode("utf-8"))
            part.finish(overwrite=True)
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Transforms:
        """Read what `save` wrote.

        Raises
        ------
        FrameFileError
            The file cannot be read or is none of ours.
        """
        content = read_json(path, "file of transforms")
        if content.get("format") != _FORMAT:
            msg = f"{path}: these are no transforms that calibkit knows (format {content.get('format')!r})"
            raise FrameFileError(msg)
        try:
            frames = tuple(_transform(entry) for entry in content["frames"])
            reference, model = int(content["reference"]), str(content["model"])
            (rows, columns), (y0, x0) = (map(int, content[name]) for name in ("shape", "origin"))
            if not (-1 <= reference < len(frames) and rows > 0 and columns > 0):
                msg = f"frame {reference} of {len(frames)} as reference, {columns} × {rows} pixels"
                raise ValueError(msg)
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            msg = f"{path}: the transforms cannot be read ({error})"
            raise FrameFileError(msg) from error
        return cls(frames, reference, model, (rows, columns), (y0, x0))


def _transform(entry: Mapping[str, Any]) -> Transform:
    matrix = np.array([[math.nan if v is None else v for v in row] for row in entry["matrix"]], float)
    if matrix.shape != (3, 3):
        msg = f"a matrix of {matrix.shape} instead of 3 × 3"
        raise ValueError(msg)
    numbers = {name: math.nan if entry[name] is None else float(entry[name]) for name in ("rms", "error")}
    return Transform(
        name=str(entry["name"]),
        matrix=matrix,
        stars=int(entry["stars"]),
        ok=bool(entry["ok"]),
        reason=str(entry["reason"]),
        **numbers,
    )


def _plain(value: Any) -> Any:
    """*value* as JSON has it: null for NaN."""
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, float | np.floating):
        return None if math.isnan(value) else float(value)
    return value.item() if isinstance(value, np.generic) else value
