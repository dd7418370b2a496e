"""What simulated frames would show without noise, and what perfect calibration would make of a light."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import xarray as xr

from calibkit.errors import CalibkitError, FrameFileError, SettingError
from calibkit.io.json_file import read_json
from calibkit.simulate.camera import Camera
from calibkit.simulate.chain import bloom
from calibkit.simulate.detector import Detector
from calibkit.simulate.frame import frame_attrs, light_on, scene_of
from calibkit.simulate.optics import Optics
from calibkit.simulate.parameters import from_json
from calibkit.simulate.sky import Lamp, Sky

#: Beside the frames of a session: all that was simulated.
SIDECAR = "simulation.json"
#: No camera that is simulated has more: a damaged file must not ask for all memory.
_MOST_PIXELS = 2**28
#: Charge that overflows ends a few pixels sooner or later from frame to frame.
_BLOOM_MARGIN = 4


def truth(
    camera: Camera,
    *,
    kind: str = "light",
    exposure: float = 0.0,
    temperature: float | None = None,
    optics: Optics | None = None,
    sky: Sky | None = None,
    lamp: Lamp | None = None,
    filter: str = "",
    frame_index: int = 0,
    effects: Iterable[str] | None = None,
) -> xr.Dataset:
    """What `simulate_frame` draws its numbers from.

    Parameters
    ----------
    camera, kind, exposure, temperature, optics, sky, lamp, filter, frame_index, effects : as in `simulate_frame`
        What was given to it.

    Returns
    -------
    xarray.Dataset
        With dims ``(y, x)``:

        - ``bias``: expected bias frame, ADU.
        - ``dark_rate``: thermal charge, hot pixels and amplifier glow, electrons per second; ``dark``: the same in
          ADU for this exposure.
        - ``flat``: response to light, divided by its mean over the good pixels of each channel.
        - ``light``: expected light in this frame, ADU.
        - ``signal``, ``variance``: this frame calibrated with perfect bias, dark and flat: expectation in ADU and
          variance of one such frame in ADU² (photon, thermal and read noise, rounding); NaN where ``flat`` is 0.
        - ``hot_rate``: what hot pixels add, electrons per second; 0 elsewhere.
        - ``weak``, ``unstable``, ``saturated``: boolean. Weak pixels and bad columns; telegraph pixels; pixels that
          are or may be saturated in the raw frame, or take charge that flows over from one.

    Raises
    ------
    SettingError
        A setting that cannot be, with what is allowed.

    Notes
    -----
    Reflections, light leaks and the sky's gradient are light: they are part of ``signal``. What is another in every
    frame (interference, row noise, cosmic rays) or bends the scale (non-linearity, smear) is not in the truth.

    Examples
    --------
    >>> perfect = truth(Camera(shape=(20, 30)), exposure=60)
    >>> sorted(perfect.data_vars)[:4]
    ['bias', 'dark', 'dark_rate', 'flat']
    """
    detector = Detector(camera, optics, effects=effects)
    light = light_on(detector, scene_of(kind, sky, lamp), filter=filter, frame_index=frame_index)
    return truth_of(detector, light, kind=kind, exposure=exposure, temperature=temperature)


def truth_of(
    detector: Detector, light: np.ndarray | None, *, kind: str, exposure: float, temperature: float | None
) -> xr.Dataset:
    """`truth` for a detector and the electrons per second that light makes in its pixels."""
    camera = detector.camera
    temperature = camera.reference_temperature if temperature is None else float(temperature)
    if not 0 <= exposure < math.inf:
        msg = f"exposure={exposure!r}: seconds of 0 or more are allowed"
        raise SettingError(msg)
    factor = np.float32(camera.thermal_factor(temperature))
    (rows, columns), (glow_y, glow_x) = detector.offset, detector.glow
    dark_rate = detector.thermal * factor + glow_y * glow_x
    electrons = np.zeros(detector.shape, np.float32) if light is None else light * np.float32(exposure)
    dark = dark_rate * np.float32(exposure)
    weak = weak_map(detector)
    flat = perfect_flat(detector, weak)
    good = np.where(flat > 0, flat, np.float32(np.nan))
    noise = np.full(detector.shape, camera.read_noise**2 if detector.has("read noise") else 0, np.float32)
    noise += electrons if detector.has("photon noise") else 0
    noise += dark if detector.has("thermal noise") else 0
    gain = np.float32(camera.gain)
    hot_rate = np.zeros(detector.shape, np.float32)
    unstable = np.zeros(detector.shape, bool)
    if detector.has("hot pixels"):
        hot_rate.flat[detector.hot_index] = detector.hot_rate * factor
    if detector.has("telegraph pixels"):
        unstable.flat[detector.telegraph_index] = True
    maps = {
        "bias": (rows + columns, "adu"),
        "dark_rate": (dark_rate, "electron/s"),
        "dark": (dark / gain, "adu"),
        "flat": (flat, "1"),
        "light": (electrons / gain, "adu"),
        "signal": (electrons / gain / good, "adu"),
        "variance": ((noise / gain**2 + np.float32(1 / 12)) / good**2, "adu2"),
        "hot_rate": (hot_rate, "electron/s"),
        "weak": (weak, ""),
        "unstable": (unstable, ""),
        "saturated": (_saturated(detector, electrons + dark), ""),
    }
    return xr.Dataset(
        {name: (("y", "x"), values, {"units": units}) for name, (values, units) in maps.items()},
        coords={"y": np.arange(camera.shape[0]), "x": np.arange(camera.shape[1])},
        attrs={
            **frame_attrs(camera),
            "kind": kind,
            "exposure": float(exposure),
            "temperature": temperature,
            "gain": camera.gain,
        },
    )


def weak_map(detector: Detector) -> np.ndarray:
    """True for weak pixels and those in bad columns."""
    weak = np.zeros(detector.shape, bool)
    if detector.has("weak pixels"):
        weak.flat[detector.weak_index] = True
    if detector.has("bad columns"):
        for x, y0 in detector.bad_columns:
            weak[y0:, x] = True
    return weak


def perfect_flat(detector: Detector, weak: np.ndarray) -> np.ndarray:
    """The response divided by its mean over the pixels of each channel that are not *weak*, float32."""
    flat = detector.response.copy()
    index = detector.camera.cfa.index
    py, px = index.shape
    tiled = np.tile(index, (-(-flat.shape[0] // py), -(-flat.shape[1] // px)))[
        : flat.shape[0], : flat.shape[1]
    ]
    for channel in range(int(index.max()) + 1):
        mine = tiled == channel
        good = mine & ~weak
        level = flat[good if good.any() else mine].sum(dtype=np.float64) / max(good.sum() or mine.sum(), 1)
        if level > 0:
            flat[mine] /= np.float32(level)
    return flat


def _saturated(detector: Detector, charge: np.ndarray) -> np.ndarray:
    """Where the raw frame is within five standard deviations of its end, or charge flows in."""
    camera = detector.camera
    level = (camera.saturation - camera.offset) * camera.gain
    spread = 5 * np.sqrt(charge + np.float32(camera.read_noise**2))
    end = charge + spread >= level
    if detector.has("saturation") and detector.has("blooming") and camera.blooming:
        flooded = charge.copy()
        bloom(flooded, np.float32(camera.full_well))
        changed = np.flatnonzero((flooded != charge).any(axis=0))
        for x in changed:
            for y in np.flatnonzero(flooded[:, x] != charge[:, x]):
                end[max(y - _BLOOM_MARGIN, 0) : y + _BLOOM_MARGIN + 1, x] = True
    return end


def session_truth(folder: str | os.PathLike[str], file: str | os.PathLike[str] | None = None) -> xr.Dataset:
    """The truth behind one frame of a session that `write_session` wrote.

    Parameters
    ----------
    folder : path
        Of the session.
    file : path, optional
        Which frame, as a path below *folder* or a whole path; the first light (or frame) when not given.

    Returns
    -------
    xarray.Dataset
        As from `truth`.

    Raises
    ------
    FrameFileError
        The folder holds no simulated session, or the file is none of its frames.
    SettingError
        The session was written by a version whose random numbers were others.

    Examples
    --------
    >>> import calibkit
    >>> truth = calibkit.session_truth(calibkit.sample_session("ccd"), "lights/light_240s_001.fits")
    >>> truth.signal.attrs["units"], bool((truth.hot_rate > 0).any())
    ('adu', True)
    """
    folder = Path(folder)
    name = None
    if file is not None:
        wanted = Path(file)
        name = wanted.relative_to(folder).as_posix() if wanted.is_absolute() else wanted.as_posix()
    session = _read_session(folder, name)
    detector = Detector(session.camera, session.optics, effects=session.effects)
    found = fingerprint(detector)
    if not (
        np.shape(found) == session.fingerprint.shape and np.allclose(found, session.fingerprint, rtol=1e-3)
    ):
        msg = (
            f"{folder} was written with other random numbers (numpy changed them); simulate the session again"
        )
        raise SettingError(msg)
    light = light_on(detector, session.scene, filter=session.filter, frame_index=session.index)
    return truth_of(
        detector, light, kind=session.kind, exposure=session.exposure, temperature=session.temperature
    )


@dataclass(frozen=True)
class _Session:
    """What the settings of a simulated session say of one of its frames."""

    camera: Camera
    optics: Optics
    effects: tuple[str, ...]
    fingerprint: np.ndarray
    scene: Sky | Lamp | None
    filter: str
    index: int
    kind: str
    exposure: float
    temperature: float | None


def _read_session(folder: Path, name: str | None) -> _Session:
    """The settings of the frame *name*, or of the first light."""
    try:
        read = read_json(folder / SIDECAR, "file of settings")
    except FrameFileError as error:
        msg = f"{folder} holds no simulated session: {error}"
        raise FrameFileError(msg) from error
    try:
        settings = from_json(read)
        frames, sets = settings["frames"], settings["sets"]
        if name is None:
            chosen = [frame for frame in frames if sets[frame["set"]]["kind"] == "light"] or frames
        else:
            chosen = [frame for frame in frames if frame["file"] == name]
        if not chosen:
            msg = f"{folder / (name or '')}: not one of the {len(frames)} frames of the simulated session in {folder}"
            raise FrameFileError(msg)
        group = sets[chosen[0]["set"]]
        session = _Session(
            camera=settings["camera"],
            optics=settings["optics"],
            effects=tuple(map(str, settings["effects"])),
            fingerprint=np.array(settings["fingerprint"], float),
            scene=group.get("scene"),
            filter=str(group["filter"]),
            index=int(chosen[0]["index"]),
            kind=str(group["kind"]),
            exposure=float(group["exposure"]),
            temperature=None if (at := chosen[0]["temperature"]) is None else float(at),
        )
    except CalibkitError:  # from another version, or no such frame
        raise
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError, RecursionError) as error:
        msg = f"{folder / SIDECAR}: the settings of this simulated session are damaged ({error!r})"
        raise FrameFileError(msg) from error
    simulated = isinstance(session.camera, Camera) and isinstance(session.optics, Optics)
    lit = session.scene is None or isinstance(session.scene, Sky | Lamp)
    if not simulated or not lit or math.prod(session.camera.shape) > _MOST_PIXELS:
        msg = f"{folder / SIDECAR}: the settings of this simulated session hold nothing that can be simulated"
        raise FrameFileError(msg)
    return session


def fingerprint(detector: Detector) -> list[float]:
    """A few numbers that change when the random numbers behind the fixed maps do."""
    rows, columns = (slice(None, None, max(1, n // 8)) for n in detector.shape)
    return [
        float(value) for each in (detector.response, detector.thermal) for value in each[rows, columns].flat
    ]
