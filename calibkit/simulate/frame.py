"""Simulated frames, labelled like those that are read from files."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr

from calibkit.errors import SettingError
from calibkit.meta import FRAME_COORDS, KINDS
from calibkit.simulate.camera import Camera
from calibkit.simulate.chain import expose
from calibkit.simulate.detector import Detector
from calibkit.simulate.optics import Optics
from calibkit.simulate.sky import Lamp, Sky
from calibkit.simulate.spectrum import FILTERS, named

#: When the first frame is taken unless it is said otherwise.
START = np.datetime64("2026-01-15T19:00:00", "ns")


def simulate_frame(
    camera: Camera,
    *,
    kind: str = "light",
    exposure: float = 0.0,
    temperature: float | None = None,
    optics: Optics | None = None,
    sky: Sky | None = None,
    lamp: Lamp | None = None,
    filter: str = "",
    seed: int = 0,
    frame_index: int = 0,
    effects: Iterable[str] | None = None,
    time: np.datetime64 | None = None,
) -> xr.DataArray:
    """Take one frame with a simulated camera.

    The same arguments give the same frame. Every effect has random numbers of its own: with one switched off
    the others stay as they are.

    Parameters
    ----------
    camera : Camera
    kind : {"bias", "dark", "flat", "flat dark", "light"}
    exposure : float
        In seconds.
    temperature : float, optional
        Of the detector in °C; the camera's reference temperature when not given.
    optics : Optics, optional
        In front of the camera; perfect ones when not given.
    sky : Sky, optional
        What a light looks at; ``Sky()`` when not given.
    lamp : Lamp, optional
        What a flat looks at; ``Lamp()`` when not given.
    filter : str
        Name of the filter in front of the camera, one of `calibkit.simulate.spectrum.FILTERS`.
    seed, frame_index : int
        Say which random numbers are used; frames of one session share *seed* and have indices of their own.
    effects : iterable of str, optional
        Names of the effects that are on, from `calibkit.simulate.EFFECTS`; all of them by default.
    time : numpy.datetime64, optional
        Start of the exposure.

    Returns
    -------
    xarray.DataArray
        uint16 ADU with dims ``(y, x)`` and the coordinates and attributes of a frame read from a file.

    Raises
    ------
    SettingError
        A setting that cannot be, with what is allowed.

    Examples
    --------
    >>> frame = simulate_frame(Camera(shape=(20, 30), pattern="RGGB"), kind="dark", exposure=60)
    >>> frame.dtype, frame.dims, float(frame.exposure)
    (dtype('uint16'), ('y', 'x'), 60.0)
    """
    detector = Detector(camera, optics, effects=effects)
    scene = scene_of(kind, sky, lamp)
    light = light_on(detector, scene, filter=filter, frame_index=frame_index)
    return take(
        detector, light, kind=kind, exposure=exposure, temperature=temperature, filter=filter, seed=seed,
        frame_index=frame_index, time=time,
    )  # fmt: skip


def simulate_stack(camera: Camera, count: int, *, frame_index: int = 0, **settings: Any) -> xr.DataArray:
    """Take *count* frames in a row: a stack as `calibkit.open_stack` gives it, but in memory.

    Parameters
    ----------
    camera : Camera
    count : int
        Number of frames, 1 or more.
    frame_index : int
        Of the first frame.
    **settings
        As in `simulate_frame`.

    Returns
    -------
    xarray.DataArray
        uint16 ADU with dims ``(frame, y, x)``.

    Raises
    ------
    SettingError
        A setting that cannot be, with what is allowed.

    Examples
    --------
    >>> simulate_stack(Camera(shape=(20, 30)), 3, kind="bias").sizes["frame"]
    3
    """
    if count < 1:
        msg = f"count={count!r}: a stack needs one frame or more"
        raise SettingError(msg)
    options: dict[str, Any] = {"kind": "light", **settings}
    start = START if options.get("time") is None else np.datetime64(options["time"], "ns")
    detector = Detector(camera, options.pop("optics", None), effects=options.pop("effects", None))
    scene = scene_of(options["kind"], options.pop("sky", None), options.pop("lamp", None))
    filter = options.get("filter", "")
    frames, light = [], None
    for i in range(frame_index, frame_index + count):
        if light is None or moves(scene):
            light = light_on(detector, scene, filter=filter, frame_index=i)
        options["time"] = start + len(frames) * cadence(options.get("exposure", 0.0))
        frames.append(take(detector, light, frame_index=i, **options))
    coords = {name: ("frame", np.array([frame[name].item() for frame in frames])) for name in FRAME_COORDS}
    coords["time"] = ("frame", np.array([frame["time"].values for frame in frames]))
    return xr.DataArray(
        np.stack([frame.values for frame in frames]),
        dims=("frame", "y", "x"),
        coords={**coords, "y": frames[0]["y"].values, "x": frames[0]["x"].values},
        attrs=frames[0].attrs,
        name="signal",
    )


def cadence(exposure: float) -> np.timedelta64:
    """From the start of one frame to the start of the next: the exposure and 3 s to read it out."""
    return np.timedelta64(round((exposure + 3.0) * 1000), "ms")


def scene_of(kind: str, sky: Sky | None, lamp: Lamp | None) -> Sky | Lamp | None:
    """What a frame of *kind* looks at.

    Raises
    ------
    SettingError
        A kind that does not exist, or light given for a frame that sees none.
    """
    if kind not in KINDS:
        msg = f"kind={kind!r}: allowed are {', '.join(map(repr, KINDS))}"
        raise SettingError(msg)
    if (sky is not None and kind != "light") or (lamp is not None and kind != "flat"):
        msg = f"a {kind} looks at no {'sky' if sky is not None else 'lamp'}: only lights see a sky, only flats a lamp"
        raise SettingError(msg)
    if kind == "light":
        return sky or Sky()
    return (lamp or Lamp()) if kind == "flat" else None


def moves(scene: Sky | Lamp | None) -> bool:
    """Whether *scene* lies elsewhere in every frame."""
    return isinstance(scene, Sky) and bool(scene.dither or any(scene.drift) or scene.rotation)


def light_on(
    detector: Detector, scene: Sky | Lamp | None, *, filter: str, frame_index: int
) -> np.ndarray | None:
    """Electrons per second that *scene* makes in each pixel; None in the dark."""
    if isinstance(scene, Sky):
        parts = scene.components(
            detector.shape,
            shift=scene.shift(frame_index),
            turn=scene.turn(frame_index),
            gradient=detector.has("sky gradient"),
        )
    else:
        parts = scene.components() if scene is not None else ()
    return detector.light(parts, filter)


def take(
    detector: Detector,
    light: np.ndarray | None,
    *,
    kind: str,
    exposure: float = 0.0,
    temperature: float | None = None,
    filter: str = "",
    seed: int = 0,
    frame_index: int = 0,
    time: np.datetime64 | None = None,
) -> xr.DataArray:
    """A labelled frame of *light*, as `light_on` gives it."""
    camera = detector.camera
    named(FILTERS, filter, "the filter")
    temperature = camera.reference_temperature if temperature is None else float(temperature)
    if not (0 <= exposure < math.inf) or (kind == "bias" and exposure):
        msg = f"exposure={exposure!r} for a {kind}: seconds of 0 or more are allowed, and for a bias 0"
        raise SettingError(msg)
    if not -200 <= temperature <= 100:
        msg = f"temperature={temperature!r}: from −200 to 100 °C is allowed"
        raise SettingError(msg)
    data = expose(
        detector, light, exposure=float(exposure), temperature=temperature, seed=seed, frame_index=frame_index
    )
    coords = {
        "file": "",
        "kind": kind,
        "exposure": float(exposure),
        "gain": float(camera.gain),
        "gain_setting": float(camera.gain_setting),
        "temperature": temperature,
        "filter": filter,
        "time": np.datetime64(START if time is None else time, "ns"),
        "y": np.arange(data.shape[0]),
        "x": np.arange(data.shape[1]),
    }
    return xr.DataArray(data, dims=("y", "x"), coords=coords, attrs=frame_attrs(camera), name="signal")


def frame_attrs(camera: Camera) -> dict[str, object]:
    """The attributes of every frame of *camera*."""
    return {
        "units": "adu",
        "camera": camera.name,
        "cfa": camera.pattern,
        "saturation": camera.saturation,
        "pedestal": 0.0,
        "binning": (1, 1),
        "read_noise": float(camera.read_noise),
        "roworder": camera.roworder,
        "header": {},
    }
