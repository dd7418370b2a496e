"""A night of a colour camera whose sky moves and turns from light to light, as 16-bit FITS files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from calibkit.simulate.camera import Camera
from calibkit.simulate.optics import Optics, random_dust
from calibkit.simulate.session import FrameSet, write_session
from calibkit.simulate.sky import Lamp, Sky

#: Rows and columns of 24 Mpx, and of a frame that only shows that it works.
FULL, SMALL = (4000, 6000), (1280, 1920)
#: From one light to the next: rows, columns, degrees.
STEP = (5.3, -8.7, 0.11)
#: Full width at half maximum of the stars, pixels.
FWHM = 3.2


def make_night(folder: Path, shape: tuple[int, int], lights: int = 7) -> Path:
    """The folder with 11 darks, 10 flats, 10 flat darks and *lights* lights, made when it is not there."""
    if (folder / "simulation.json").exists():
        return folder
    camera = Camera(
        name="Benchmark camera",
        shape=shape,
        pattern="RGGB",
        gain=1.2,
        gain_setting=800.0,
        read_noise=4.0,
        offset=512.0,
        bit_depth=14,
        full_well=19_000.0,
        dark_current=0.05,
        reference_temperature=5.0,
        hot_fraction=0.001,
        hot_rate=6.0,
        glow_rate=0.0,
        sensitivity_spread=0.008,
        seed=24,
    )
    stars = field(shape, seed=24)
    sets = [
        FrameSet(kind="flat", count=10, exposure=1.0),
        FrameSet(kind="flat dark", count=10, exposure=1.0),
        *(
            FrameSet(kind="light", count=1, exposure=60.0, scene=sky_of(stars, shape, i))
            for i in range(lights)
        ),
        FrameSet(kind="dark", count=11, exposure=60.0),
    ]
    optics = Optics(vignetting=0.3, dust=random_dust(6, shape, depth=0.06, radius=40.0, seed=3))
    return write_session(folder, camera, sets, optics=optics, lamp=Lamp(rate=30_000.0), seed=24)


def field(shape: tuple[int, int], seed: int) -> np.ndarray:
    """Row, column and electrons per second of the stars, some way beyond the frame, shape (n, 3)."""
    rng = np.random.default_rng(seed)
    count = round(shape[0] * shape[1] / 3000)
    flux = np.minimum(40.0 * rng.random(count) ** -0.9, 20_000.0)
    y, x = ((rng.random(count) * 1.2 - 0.1) * side for side in shape)
    return np.stack([y, x, flux], axis=1)


def moved(stars: np.ndarray, shape: tuple[int, int], number: int) -> np.ndarray:
    """The stars as light *number* sees them: turned about the middle, then shifted."""
    dy, dx, degrees = (step * number for step in STEP)
    angle, middle = math.radians(degrees), (np.array(shape) - 1) / 2
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    places = (stars[:, :2] - middle) @ turn.T + middle + (dy, dx)
    return np.concatenate([places, stars[:, 2:]], axis=1)


def sky_of(stars: np.ndarray, shape: tuple[int, int], number: int) -> Sky:
    """The sky of light *number*."""
    seen = moved(stars, shape, number)
    inside = ((seen[:, :2] > -20) & (seen[:, :2] < np.array(shape) + 20)).all(axis=1)
    return Sky(background=4.0, fwhm=FWHM, stars=tuple(map(tuple, seen[inside].tolist())))
