"""One frame of a session, and a group of frames that belong together."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from calibkit.errors import FrameFileError
from calibkit.io import open_frame
from calibkit.io.detect import RAW_SUFFIXES
from calibkit.io.source import FrameInfo, told_pattern
from calibkit.session.facts import OFFSET, READOUT, applied_steps, number_of, text_of


@dataclass(frozen=True, eq=False)
class Frame:
    """One frame file: what it says, and what kind of frame it is taken for."""

    info: FrameInfo
    relative: str  # path below the scanned folder, with /
    kind: str  # one of meta.KINDS, "" when it is not known
    reason: str  # why
    night: str = ""  # date of the evening, "2013-07-03"
    master: str = ""  # why it is taken as combined already, "" when it is a single exposure
    applied: dict[str, str] = field(default_factory=dict)  # bias, dark, flat → the keyword that says so
    target: str = ""
    readout: str = ""
    offset: float = math.nan  # the camera's own offset setting

    @property
    def path(self) -> Path:
        """The file."""
        return self.info.path


def make_frame(
    info: FrameInfo, relative: str, *, kind: str, reason: str, night: str = "", master: str = ""
) -> Frame:
    """A `Frame` with what its header says beside `FrameInfo`."""
    header = info.header
    return Frame(
        info=info,
        relative=relative,
        kind=kind,
        reason=reason,
        night=night,
        master=master or ("its header says that it is combined" if info.master else ""),
        applied=applied_steps(header),
        target=text_of(header, ("OBJECT",)),
        readout=text_of(header, READOUT),
        offset=number_of(header, OFFSET),
    )


@dataclass(frozen=True, eq=False)
class Group:
    """Frames of one kind that belong together, or one master that is ready to use.

    What the frames agree in is what the first one says; exposure, temperature and time are medians with
    their range beside them.
    """

    name: str
    kind: str
    frames: tuple[Frame, ...]
    exposure: float  # s
    exposure_range: tuple[float, float]
    temperature: float  # °C
    temperature_range: tuple[float, float]
    time: np.datetime64
    time_range: tuple[np.datetime64, np.datetime64]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.frames)

    def __repr__(self) -> str:
        return f"<{self.name}: {count_of(self)}>"

    @property
    def info(self) -> FrameInfo:
        """What the first frame says."""
        return self.frames[0].info

    @property
    def paths(self) -> list[Path]:
        """The files."""
        return [frame.path for frame in self.frames]

    @cached_property
    def black(self) -> dict[str, float] | None:
        """Black level per channel in ADU, where the camera states one; of camera RAW one frame is decoded for it."""
        if self.info.black is None and self.info.path.suffix.lower() in RAW_SUFFIXES:
            try:
                return told_pattern(open_frame(self.info.path).complete_info(), self.info.cfa).black
            except FrameFileError:  # it will be told when the frame is calibrated
                return None
        return self.info.black

    @property
    def slug(self) -> str:
        """The name as part of a file name: ``"light_V_30s"``."""
        plain = self.name.replace("−", "-").replace("×", "x").replace(" °C", "C")
        return re.sub(r"[^\w.+-]+", "_", re.sub(r"(?<=\d) s\b", "s", plain)).strip("_")

    @property
    def master(self) -> str:
        """Why this is a master that is ready to use, "" for single exposures."""
        return self.frames[0].master

    @property
    def applied(self) -> dict[str, str]:
        """What was subtracted or divided already → the keyword that says so."""
        return self.frames[0].applied

    @property
    def filter(self) -> str:
        """Name of the filter."""
        return self.info.filter

    @property
    def night(self) -> str:
        """Date of the evening, "" when it is not known."""
        return self.frames[0].night

    @property
    def target(self) -> str:
        """What the telescope pointed at, as the header says."""
        return self.frames[0].target

    @property
    def gain_setting(self) -> float:
        """ISO, or the camera's own gain number."""
        return self.info.gain_setting

    @property
    def gain(self) -> float:
        """Electrons per ADU."""
        return self.info.gain


def group_of(frames: Sequence[Frame], name: str = "", notes: Sequence[str] = ()) -> Group:
    """The group of these frames, in order of time and name."""
    ordered = sorted(frames, key=lambda frame: (time_key(frame.info.time), natural_key(frame.relative)))
    first = ordered[0]
    times = [frame.info.time for frame in ordered if not np.isnat(frame.info.time)]
    temperature, temperature_range = _median_and_range(ordered, lambda frame: frame.info.temperature)
    exposure, exposure_range = _median_and_range(ordered, lambda frame: frame.info.exposure)
    nat = np.datetime64("NaT", "ns")
    return Group(
        name=name or first.kind,
        kind=first.kind,
        frames=tuple(ordered),
        exposure=exposure,
        exposure_range=exposure_range,
        temperature=temperature,
        temperature_range=temperature_range,
        time=times[len(times) // 2] if times else nat,
        time_range=(times[0], times[-1]) if times else (nat, nat),
        notes=tuple(notes),
    )


def _median_and_range(
    frames: Sequence[Frame], value: Callable[[Frame], float]
) -> tuple[float, tuple[float, float]]:
    values = sorted(v for v in map(value, frames) if math.isfinite(v))
    if not values:
        return math.nan, (math.nan, math.nan)
    return float(np.median(values)), (values[0], values[-1])


def time_key(time: np.datetime64) -> int:
    """A sortable number; what has no time comes last."""
    return np.iinfo(np.int64).max if np.isnat(time) else int(time.astype("datetime64[ns]").astype(np.int64))


def natural_key(text: str) -> list[Any]:
    """Sort ``frame2`` before ``frame10``."""
    parts = re.split(r"(\d+)", text)
    return [(0, int(part), "") if i % 2 else (1, 0, part.casefold()) for i, part in enumerate(parts)] + [
        (2, 0, text)
    ]


def count_of(group: Group) -> str:
    """``"10 frames"``, ``"1 frame"`` or ``"1 master"``."""
    if group.master:
        return "1 master"
    return f"{len(group)} frame{'s' if len(group) != 1 else ''}"
