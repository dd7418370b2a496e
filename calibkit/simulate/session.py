"""A whole simulated session on disk, with its truth beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from calibkit import __version__
from calibkit.errors import OutputError, SettingError
from calibkit.meta import KINDS
from calibkit.progress import Progress, silent
from calibkit.simulate.camera import Camera
from calibkit.simulate.detector import Detector
from calibkit.simulate.frame import START, cadence, light_on, moves, scene_of, take
from calibkit.simulate.optics import Optics
from calibkit.simulate.parameters import to_json
from calibkit.simulate.sky import Lamp, Sky
from calibkit.simulate.truth import SIDECAR, fingerprint

_FOLDER = {"bias": "bias", "dark": "darks", "flat": "flats", "flat dark": "flat darks", "light": "lights"}
_IMAGETYP = {
    "bias": "Bias Frame",
    "dark": "Dark Frame",
    "flat": "Flat Frame",
    "flat dark": "Dark Flat",
    "light": "Light Frame",
}


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
        Header cards that say something else than what is true, e.g. ``{"CCD-TEMP": -20.0}``: for lessons in
        finding faults.
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
    if folder.is_dir() and any(folder.iterdir()):
        msg = f"{folder} is not empty: a simulated session needs a folder of its own"
        raise SettingError(msg)
    detector = Detector(camera, optics, effects=effects)
    if not frames:
        msg = "a session needs at least one FrameSet"
        raise SettingError(msg)
    scenes = [_scene(group, sky, lamp) for group in frames]
    total = sum(group.count for group in frames)
    time, index = np.datetime64(start, "ns"), 0
    listed: list[dict[str, Any]] = []
    try:
        for number, (group, scene) in enumerate(zip(frames, scenes, strict=True)):
            light = None
            for i in range(group.count):
                progress(index, total, f"simulate {group.kind} frames")
                if light is None or moves(scene):
                    light = light_on(detector, scene, filter=group.filter, frame_index=index)
                frame = take(
                    detector, light, kind=group.kind, exposure=group.exposure, filter=group.filter, seed=seed,
                    temperature=group.temperature_of(i, camera), frame_index=index, time=time,
                )  # fmt: skip
                name = _name(group, i)
                cards = header_cards(frame, camera, optics=detector.optics, target=target) | group.stated
                write_frame(folder / name, frame, cards)
                listed.append(
                    {"file": name, "index": index, "set": number, "temperature": frame["temperature"].item()}
                )
                time += cadence(group.exposure)
                index += 1
        settings = {
            "calibkit": __version__,
            "seed": seed,
            "effects": sorted(detector.effects),
            "camera": camera,
            "optics": detector.optics,
            "sets": [{**vars(group), "scene": scene} for group, scene in zip(frames, scenes, strict=True)],
            "frames": listed,
            "fingerprint": fingerprint(detector),
        }
        _replace(folder / SIDECAR, json.dumps(to_json(settings), indent=1, ensure_ascii=False).encode())
    except OSError as error:
        msg = f"{folder}: the simulated session cannot be written: {error}"
        raise OutputError(msg) from error
    progress(total, total, "simulate")
    return folder


def _scene(group: FrameSet, sky: Sky | None, lamp: Lamp | None) -> Sky | Lamp | None:
    own = group.scene
    return scene_of(
        group.kind,
        own if isinstance(own, Sky) else (sky if group.kind == "light" else None),
        own if isinstance(own, Lamp) else (lamp if group.kind == "flat" else None),
    )


def _name(group: FrameSet, i: int) -> str:
    parts = [group.kind.replace(" ", "-"), group.filter]
    if group.exposure:
        parts.append(f"{group.exposure:g}s")
    stem = "_".join(part for part in parts if part)
    return f"{_FOLDER[group.kind]}/{stem}_{i + 1:03}.fits"


def header_cards(
    frame: xr.DataArray, camera: Camera, *, optics: Optics, target: str = ""
) -> dict[str, tuple[Any, str] | Any]:
    """The cards that a capture program writes for *frame*, as keyword → (value, comment)."""
    start = frame["time"].values.astype("datetime64[ms]")
    cards: dict[str, Any] = {
        "IMAGETYP": (_IMAGETYP[str(frame.kind.item())], "kind of frame"),
        "OBJECT": (target if frame.kind == "light" else "", "target"),
        "INSTRUME": (camera.name, "camera"),
        "DATE-OBS": (str(start), "UTC start of the exposure"),
        "EXPTIME": (float(frame.exposure), "[s] exposure"),
        "CCD-TEMP": (round(float(frame.temperature), 1), "[°C] detector temperature".replace("°", "deg ")),
        "FILTER": (str(frame["filter"].item()), "filter"),
        "EGAIN": (camera.gain, "[e-/ADU] electrons per ADU"),
        "GAIN": (camera.gain_setting, "camera's gain setting (ISO)"),
        "RDNOISE": (camera.read_noise, "[e-] read noise"),
        "SATURATE": (camera.saturation, "[ADU] saturation level"),
        "XPIXSZ": (camera.pixel_size, "[um] pixel size"),
        "YPIXSZ": (camera.pixel_size, "[um] pixel size"),
        "XBINNING": (1, "binning"),
        "YBINNING": (1, "binning"),
        "FOCALLEN": (optics.focal_length, "[mm] focal length"),
        "ROWORDER": (camera.roworder, "order of the rows in the file"),
        "SWCREATE": (f"calibkit {__version__} simulation", "these data are simulated"),
    }
    if camera.pattern:
        cards["BAYERPAT"] = (shown_pattern(camera), "colour filters of the picture as it is shown")
        cards["XBAYROFF"] = (0, "")
        cards["YBAYROFF"] = (0, "")
    empty = ("", None)
    return {key: card for key, card in cards.items() if card[0] not in empty and card[0] == card[0]}


def shown_pattern(camera: Camera) -> str:
    """The pattern of the upper left corner of the picture as `Camera.roworder` wants it shown, rows on end."""
    letters = camera.cfa.letters
    if camera.roworder == "BOTTOM-UP":
        height = camera.shape[0]
        letters = tuple(letters[(height - 1 - y) % len(letters)] for y in range(len(letters)))
    return "".join(letters)


def write_frame(path: Path, frame: xr.DataArray, cards: dict[str, Any]) -> None:
    """Write *frame* as 16-bit FITS in one step: the file is there whole or not at all."""
    from astropy.io import fits

    hdu = fits.PrimaryHDU(frame.values)
    for keyword, card in cards.items():
        hdu.header[keyword] = card
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    try:
        hdu.writeto(partial, overwrite=True)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _replace(path: Path, content: bytes) -> None:
    partial = path.with_name(path.name + ".part")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
