"""A whole simulated session on disk, with its truth beside it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from calibkit import __version__
from calibkit.errors import FrameFileError, OutputError, SettingError
from calibkit.io.json_file import read_json
from calibkit.meta import KINDS
from calibkit.progress import Progress, silent
from calibkit.simulate.camera import Camera
from calibkit.simulate.detector import Detector
from calibkit.simulate.files import header_cards, write_frame
from calibkit.simulate.frame import START, cadence, light_on, moves, scene_of, take
from calibkit.simulate.ground_truth import SIDECAR, fingerprint
from calibkit.simulate.optics import Optics
from calibkit.simulate.parameters import to_json
from calibkit.simulate.sky import Lamp, Sky

#: Folders that are not finished yet begin so; older ones than this many seconds were left by a killed process.
PARTIAL, _STALE = ".partial-", 3600.0
_FOLDER = {"bias": "bias", "dark": "darks", "flat": "flats", "flat dark": "flat darks", "light": "lights"}


@dataclass(frozen=True, kw_only=True)
class FrameSet:
    """Frames of one kind taken in a row.

    Parameters
    ----------
    kind : {"bias", "dark", "flat", "flat dark", "light"}
    count : int
    exposure : float
        In seconds.
    temperature : float or (float, float), optional
        Of the detector in °C, or at the first and the last frame when it drifts.
    filter : str
        Name from `spectrum.FILTERS`.
    scene : Sky or Lamp, optional
        What is looked at, when not the session's own.
    stated : dict
        Header cards that say something else than what is true, e.g. ``{"CCD-TEMP": -20.0}``, or nothing (None):
        for lessons in finding faults.

    Examples
    --------
    >>> import calibkit
    >>> darks = calibkit.FrameSet(kind="dark", count=3, exposure=60.0, temperature=(-20.0, -19.0))
    >>> [darks.temperature_of(i, calibkit.Camera()) for i in range(3)]
    [-20.0, -19.5, -19.0]
    """

    kind: str
    count: int
    exposure: float = 0.0
    temperature: float | tuple[float, float] | None = None
    filter: str = ""
    scene: Sky | Lamp | None = None
    stated: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            msg = f"kind={self.kind!r}: allowed are {', '.join(map(repr, KINDS))}"
            raise SettingError(msg)
        if int(self.count) != self.count or self.count < 1:
            msg = f"count={self.count!r} for {self.kind} frames: 1 or more are allowed"
            raise SettingError(msg)

    def temperature_of(self, i: int, camera: Camera) -> float:
        """Detector temperature of frame number *i* of the set."""
        if self.temperature is None:
            return camera.reference_temperature
        if isinstance(self.temperature, int | float):
            return float(self.temperature)
        first, last = self.temperature
        return float(first + (last - first) * i / max(self.count - 1, 1))


def write_session(
    folder: str | os.PathLike[str],
    camera: Camera,
    frames: Sequence[FrameSet],
    *,
    optics: Optics | None = None,
    sky: Sky | None = None,
    lamp: Lamp | None = None,
    target: str = "simulated field",
    start: np.datetime64 = START,
    seed: int = 0,
    effects: Iterable[str] | None = None,
    progress: Progress = silent,
) -> Path:
    """Write the frames of a simulated night as FITS files, as a capture program does.

    The files lie in folders by kind. ``simulation.json``, written last, holds all the settings; from it
    `session_truth` tells what the frames would show without noise.

    Parameters
    ----------
    folder : path
        Made if it is not there; it must be empty.
    camera : Camera
    frames : sequence of FrameSet
        In the order in which they are taken.
    optics : Optics, optional
    sky : Sky, optional
        What the lights look at.
    lamp : Lamp, optional
        What the flats look at.
    target : str
        Written as ``OBJECT``.
    start : numpy.datetime64
        When the first frame is begun.
    seed : int
    effects : iterable of str, optional
        Names from `EFFECTS` that are on; all of them by default.
    progress : callable
        Called as ``progress(done, total, what)``; may raise `Cancelled`.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    SettingError
        A setting that cannot be, or a folder that is not empty.
    OutputError
        The files cannot be written.

    Examples
    --------
    >>> night = [FrameSet(kind="dark", count=3, exposure=60), FrameSet(kind="light", count=2, exposure=60)]
    >>> write_session("night", Camera(), night)  # doctest: +SKIP
    """
    folder = Path(folder)
    if not frames:
        msg = "a session needs at least one FrameSet"
        raise SettingError(msg)
    if folder.exists() and (not folder.is_dir() or not is_free(folder)):
        msg = f"{folder} is there already: a simulated session needs a new or an empty folder"
        raise SettingError(msg)
    for text in (target, camera.name):
        if not (text.isascii() and text.isprintable()):
            msg = f"{text!r} cannot be written into a FITS header: plain ASCII letters and signs are allowed"
            raise SettingError(msg)
    scenes = [_scene(group, sky, lamp) for group in frames]
    detector = Detector(camera, optics, effects=effects)
    settings = session_settings(detector, frames, scenes, seed)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_stale(folder)
        partial = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=folder))
        try:
            listed = _write_frames(partial, detector, frames, scenes, target, start, seed, progress)
            notes = {"calibkit": __version__, "fingerprint": fingerprint(detector), "frames": listed}
            text = json.dumps({**settings, **notes}, indent=1, ensure_ascii=False)
            (partial / SIDECAR).write_text(text, encoding="utf-8")
            for part in sorted(partial.iterdir(), key=lambda path: path.name == SIDECAR):
                part.rename(folder / part.name)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        msg = f"the simulated session cannot be written to {folder}: {error}"
        raise OutputError(msg) from error
    return folder


def session_settings(
    detector: Detector, frames: Sequence[FrameSet], scenes: Sequence[Sky | Lamp | None], seed: int
) -> dict[str, Any]:
    """All that decides what the frames of a session show, as plain JSON."""
    sets = [{**vars(group), "scene": scene} for group, scene in zip(frames, scenes, strict=True)]
    return to_json(
        {
            "seed": seed,
            "effects": sorted(detector.effects),
            "camera": detector.camera,
            "optics": detector.optics,
            "sets": sets,
        }
    )


def is_written(
    folder: Path,
    camera: Camera,
    frames: Sequence[FrameSet],
    *,
    optics: Optics,
    sky: Sky,
    lamp: Lamp,
    seed: int,
) -> bool:
    """Whether *folder* holds this session whole: its settings are written last, and no frame is missing since."""
    scenes = [_scene(group, sky, lamp) for group in frames]
    wanted = session_settings(Detector(camera, optics), frames, scenes, seed)
    try:
        found = read_json(folder / SIDECAR, "file of settings")
        same = all(found.get(key) == value for key, value in wanted.items())
        return same and all((folder / frame["file"]).is_file() for frame in found["frames"])
    except (FrameFileError, KeyError, TypeError):
        return False


def is_free(folder: Path) -> bool:
    """Whether *folder* holds nothing but what an interrupted `write_session` left."""
    return all(path.name.startswith(PARTIAL) for path in folder.iterdir())


def _remove_stale(folder: Path) -> None:
    for left in folder.glob(f"{PARTIAL}*"):
        if time.time() - left.stat().st_mtime > _STALE:
            shutil.rmtree(left, ignore_errors=True)


def _write_frames(
    folder: Path,
    detector: Detector,
    frames: Sequence[FrameSet],
    scenes: Sequence[Sky | Lamp | None],
    target: str,
    start: np.datetime64,
    seed: int,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Write all frames; returns file, index, set and temperature of each."""
    camera = detector.camera
    total = sum(group.count for group in frames)
    begin = np.datetime64(start, "ns")
    listed: list[dict[str, Any]] = []
    numbers: Counter[str] = Counter()
    for number, (group, scene) in enumerate(zip(frames, scenes, strict=True)):
        light = None
        for i in range(group.count):
            index = len(listed)
            progress(index, total, f"simulate {group.kind} frames")
            if light is None or moves(scene):
                light = light_on(detector, scene, filter=group.filter, frame_index=index)
            frame = take(
                detector,
                light,
                kind=group.kind,
                exposure=group.exposure,
                temperature=group.temperature_of(i, camera),
                filter=group.filter,
                seed=seed,
                frame_index=index,
                time=begin,
            )
            stem = _stem(group)
            numbers[stem] += 1
            name = f"{stem}_{numbers[stem]:03}.fits"
            cards = header_cards(frame, camera, optics=detector.optics, target=target) | group.stated
            write_frame(folder / name, frame, cards)
            listed.append(
                {"file": name, "index": index, "set": number, "temperature": frame["temperature"].item()}
            )
            begin += cadence(group.exposure)
    progress(total, total, "simulate")
    return listed


def _scene(group: FrameSet, sky: Sky | None, lamp: Lamp | None) -> Sky | Lamp | None:
    own = group.scene
    return scene_of(
        group.kind,
        own if isinstance(own, Sky) else (sky if group.kind == "light" else None),
        own if isinstance(own, Lamp) else (lamp if group.kind == "flat" else None),
    )


def _stem(group: FrameSet) -> str:
    parts = [group.kind.replace(" ", "-"), group.filter, f"{group.exposure:g}s" if group.exposure else ""]
    return f"{_FOLDER[group.kind]}/{'_'.join(filter(None, parts))}"
