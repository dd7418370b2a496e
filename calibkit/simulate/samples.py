"""The sample sessions: a cooled CCD and a warm DSLR, made on first use and kept in the user's cache.

The CCD session reproduces the figures of the lecture's worked example. There a picture was shown between two
pixel values; *shown from a to b* means here that 0.1 % of the pixels lie below a and 0.1 % above b. With that
definition, and the median of the darks and the mean of the flats as masters, the first light is shown from
827 to 2617 raw, 715 to 2132 after the dark and 724 to 2119 after the flat, and the flat runs from 4.3 % below
to 3.8 % above its mean, all to half a per cent (`PERCENTILES`).
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibkit.errors import OutputError, SettingError
from calibkit.progress import Progress, silent
from calibkit.simulate.camera import Camera
from calibkit.simulate.frame import START
from calibkit.simulate.optics import DustShadow, Optics, random_dust
from calibkit.simulate.session import FrameSet, is_free, is_written, write_session
from calibkit.simulate.sky import Lamp, Sky
from calibkit.simulate.spectrum import ORIGINAL_GLASS

#: Names the folder where samples are kept; the user's cache folder otherwise.
SWITCH = "CALIBKIT_CACHE"
#: Between these percentiles a picture is shown where the lecture gives its range of pixel values.
PERCENTILES = (0.1, 99.9)
#: A sample's folder is named by this; raise it when a sample changes.
_VERSION = 1
_SHAPE = (480, 640)


@dataclass(frozen=True, kw_only=True)
class Night:
    """All that `write_session` needs for one sample session."""

    camera: Camera
    optics: Optics
    sky: Sky
    lamp: Lamp
    frames: tuple[FrameSet, ...]
    target: str
    start: np.datetime64 = START
    seed: int = 0


def ccd_night(shape: tuple[int, int] = _SHAPE) -> Night:
    """A cooled CCD at −46 °C: 10 biases, 11 darks and 10 lights of 240 s, 10 flats and 10 flat darks."""
    scale = shape[0] / _SHAPE[0]
    camera = Camera(
        name="Sample CCD",
        shape=shape,
        gain=2.0,
        read_noise=10.0,
        offset=99.0,
        full_well=100_000.0,
        blooming=True,
        pixel_size=9.0,
        dark_current=0.1,
        reference_temperature=-46.0,
        doubling=7.0,
        dark_spread=0.12,
        hot_fraction=0.00096,
        hot_rate=6.0,
        hot_spread=1.0,
        glow_rate=0.25,
        glow_size=45.0 * scale,
        glow_corner="bottom right",
        sensitivity_spread=0.0097,
        weak_fraction=5e-5,
        column_offsets=0.7,
        row_offsets=0.4,
        interference=1.4,
        interference_period=9.0,
        interference_angle=64.0,
        seed=46,
    )
    dust = random_dust(7, shape, depth=0.025, radius=16 * scale, seed=5)
    optics = Optics(vignetting=0.046, centre=(0.44, 0.56), dust=dust, focal_length=1600.0)
    sky = Sky(
        background=12.03,
        gradient=0.065,
        gradient_angle=135.0,
        n_stars=round(420 * scale**2),
        star_flux=6800.0,
        fwhm=2.9,
        h_alpha=5.0,
        o_iii=2.0,
        nebula_size=0.55,
        nebula_centre=(0.45, 0.52),
        seed=11,
    )
    cold = -46.0
    frames = (
        FrameSet(kind="flat", count=10, exposure=6.0, temperature=cold),
        FrameSet(kind="flat dark", count=10, exposure=6.0, temperature=cold),
        FrameSet(kind="light", count=10, exposure=240.0, temperature=cold),
        FrameSet(kind="dark", count=11, exposure=240.0, temperature=cold),
        FrameSet(kind="bias", count=10, temperature=cold),
    )
    lamp = Lamp(rate=10_000.0, spectrum="twilight")
    return Night(
        camera=camera, optics=optics, sky=sky, lamp=lamp, frames=frames, target="Sample nebula", seed=240
    )


def dslr_night(shape: tuple[int, int] = _SHAPE, *, warming: bool = False) -> Night:
    """A DSLR at 28 °C with its original filter, behind an Hα filter: 7 lights and 11 darks of 300 s.

    The camera warms up while biases and flats are taken. With *warming* it goes on doing so during the lights,
    from 22 to 30 °C, while the darks stay at 28 °C.
    """
    scale = shape[0] / _SHAPE[0]
    camera = Camera(
        name="Sample DSLR",
        shape=shape,
        pattern="GBRG",
        gain=1.4,
        gain_setting=800.0,
        read_noise=7.0,
        offset=128.0,
        bit_depth=12,
        full_well=45_000.0,
        pixel_size=6.4,
        glass=ORIGINAL_GLASS,
        dark_current=0.6,
        reference_temperature=28.0,
        doubling=7.0,
        dark_spread=0.10,
        hot_fraction=0.009,
        hot_rate=2.0,
        hot_spread=1.2,
        glow_rate=1.2,
        glow_size=70.0 * scale,
        glow_corner="top right",
        sensitivity_spread=0.009,
        weak_fraction=5e-5,
        column_offsets=0.8,
        row_offsets=0.4,
        row_noise=0.5,
        interference=1.0,
        interference_period=14.0,
        interference_angle=8.0,
        seed=28,
    )
    dust = (
        *random_dust(5, shape, depth=0.08, radius=12 * scale, seed=9),
        DustShadow(0.31 * shape[0], 0.68 * shape[1], 24 * scale, 0.12, hole=0.0),
    )
    optics = Optics(vignetting=0.28, dust=dust, focal_length=200.0)
    sky = Sky(
        background=150.0,
        gradient=0.1,
        gradient_angle=-70.0,
        n_stars=round(1500 * scale**2),
        star_flux=250_000.0,
        fwhm=2.4,
        h_alpha=60.0,
        nebula_size=0.8,
        seed=7,
    )
    warm = 28.0
    frames = (
        FrameSet(kind="bias", count=10, temperature=(22.0, 22.4)),
        FrameSet(kind="flat", count=10, exposure=1.0, temperature=(23.0, 24.0), filter="Ha"),
        FrameSet(kind="flat dark", count=10, exposure=1.0, temperature=(24.0, 25.0), filter="Ha"),
        FrameSet(
            kind="light", count=7, exposure=300.0, temperature=(22.0, 30.0) if warming else warm, filter="Ha"
        ),
        FrameSet(kind="dark", count=11, exposure=300.0, temperature=warm),
    )
    lamp = Lamp(rate=270_000.0, spectrum="rgb led with 660 nm")
    return Night(
        camera=camera, optics=optics, sky=sky, lamp=lamp, frames=frames, target="Sample nebula", seed=300
    )


def _warming_night(shape: tuple[int, int]) -> Night:
    return dslr_night(shape, warming=True)


SAMPLES = {"ccd": ccd_night, "dslr": dslr_night, "dslr warming": _warming_night}
"""What each sample session is made of, by name."""


def sample_session(
    name: str,
    *,
    folder: str | os.PathLike[str] | None = None,
    shape: tuple[int, int] = _SHAPE,
    progress: Progress = silent,
) -> Path:
    """The folder of a simulated session with known truth, made in seconds when it is first asked for.

    Parameters
    ----------
    name : {"ccd", "dslr", "dslr warming"}
        - ``"ccd"``: a cooled CCD at −46 °C with the lecture's figures: 10 lights and 11 darks of 240 s, 10 flats,
          10 flat darks, 10 biases.
        - ``"dslr"``: a DSLR at 28 °C, 12 bit, pattern GBRG, with its original filter, behind an Hα filter: 7 lights
          and 11 darks of 300 s, 10 flats, 10 flat darks, 10 biases.
        - ``"dslr warming"``: the same, but warming up from 22 to 30 °C during the lights.
    folder : path, optional
        Where to put it: a new or empty folder, or one that holds this sample already. By default a folder in the
        user's cache, or in the one that the environment variable ``CALIBKIT_CACHE`` names.
    shape : (int, int)
        Rows and columns. The figures of the lecture hold for the default.
    progress : callable
        Called as ``progress(done, total, what)``; may raise `Cancelled`.

    Returns
    -------
    pathlib.Path
        The folder, for `calibkit.scan` or `calibkit.calibrate_session`; `session_truth` knows what is behind it.

    Raises
    ------
    SettingError
        A name that does not exist, or a folder that holds something else.
    OutputError
        The frames cannot be written.

    Examples
    --------
    >>> import calibkit
    >>> night = calibkit.sample_session("ccd")
    >>> sorted(path.name for path in night.iterdir() if path.name != "calibrated")  # of an earlier look at it
    ['bias', 'darks', 'flat darks', 'flats', 'lights', 'simulation.json']
    """
    if name not in SAMPLES:
        msg = f"sample session {name!r}: allowed are {', '.join(map(repr, SAMPLES))}"
        raise SettingError(msg)
    night = SAMPLES[name](tuple(int(n) for n in shape))
    kept = f"{name}-{shape[1]}x{shape[0]}".replace(" ", "-")
    return keep_night(kept, night, folder=folder, progress=progress)


def keep_night(
    name: str, night: Night, *, folder: str | os.PathLike[str] | None = None, progress: Progress = silent
) -> Path:
    """The folder of *night*, written when it is first asked for and kept.

    Parameters
    ----------
    name : str
        Of the folder in the user's cache.
    night : Night
        What is in it.
    folder : path, optional
        Where to put it instead.
    progress : callable
        Called as ``progress(done, total, what)``.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    OutputError
        The frames cannot be written.
    """
    own = folder is None
    place = _cache() / f"{name}-v{_VERSION}" if own else Path(folder)
    parts = {"optics": night.optics, "sky": night.sky, "lamp": night.lamp, "seed": night.seed}
    if is_written(place, night.camera, night.frames, **parts):
        return place
    if own and place.is_dir() and not is_free(place):
        shutil.rmtree(place)  # a frame was taken away: the cache is ours, so make it anew
    try:
        return write_session(
            place,
            night.camera,
            night.frames,
            target=night.target,
            start=night.start,
            progress=progress,
            **parts,
        )
    except OutputError as error:
        if is_written(place, night.camera, night.frames, **parts):  # another process was faster
            return place
        msg = f"{error}. The environment variable {SWITCH} names another folder for samples"
        raise OutputError(msg) from error


def _cache() -> Path:
    if os.environ.get(SWITCH):
        return Path(os.environ[SWITCH]) / "samples"
    import platformdirs

    return platformdirs.user_cache_path("calibkit", appauthor=False) / "samples"
