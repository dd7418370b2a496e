"""Where each frame lies with respect to the reference: small, and kept as JSON."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from calibkit.errors import FrameFileError, OutputError

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
        try:
            text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            msg = f"{path}: the transforms cannot be written ({error.strerror or error})"
            raise OutputError(msg) from error
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Transforms:
        """Read what `save` wrote.

        Raises
        ------
        FrameFileError
            The file cannot be read or is none of ours.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            if content.get("format") != _FORMAT:
                msg = (
                    f"{path}: these are no transforms that calibkit knows (format {content.get('format')!r})"
                )
                raise FrameFileError(msg)
            frames = tuple(
                Transform(
                    **{k: math.nan if v is None else v for k, v in entry.items() if k != "matrix"},
                    matrix=np.array(
                        [[math.nan if v is None else v for v in row] for row in entry["matrix"]], float
                    ),
                )
                for entry in content["frames"]
            )
            return cls(
                frames,
                int(content["reference"]),
                content["model"],
                tuple(content["shape"]),
                tuple(content["origin"]),
            )
        except (OSError, KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
            msg = f"{path}: the transforms cannot be read ({error})"
            raise FrameFileError(msg) from error


def _plain(value: Any) -> Any:
    """*value* as JSON has it: null for NaN."""
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, float | np.floating):
        return None if math.isnan(value) else float(value)
    return value.item() if isinstance(value, np.generic) else value
