"""Every panel on tiny frames that lie in files, and random settings for it.

`PANELS` is name → (maker, settings): ``maker(folder)`` writes what the panel needs into the folder and returns the panel
with its defaults; ``settings`` is a hypothesis strategy of dicts that are set on ``panel.state``, one trait after another.
Whoever adds a panel adds it here; ``tests/properties/test_panel_code.py`` then holds its Python against its result.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from hypothesis import strategies as st

import calibkit
from calibkit.panels import (
    BiasPanel,
    BrightnessPanel,
    CalibratePanel,
    ChannelsPanel,
    CombinePanel,
    ComparePanel,
    DarkPanel,
    FlatPanel,
    HotPixelsPanel,
    NoisePanel,
    NumbersPanel,
    SessionPanel,
    SignalChainPanel,
    StackPanel,
)
from calibkit.panels.base import Panel

Settings = st.SearchStrategy[dict[str, Any]]


def write_frames(
    folder: Path,
    kind: str,
    count: int = 5,
    *,
    shape: tuple[int, int] = (24, 32),
    level: float = 1000.0,
    noise: float = 8.0,
    seed: int = 1,
    **cards: object,
) -> list[Path]:
    """FITS frames of 16 bits of normal noise around a level; *cards* are further keywords (``EXPTIME=60.0``)."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for i in range(count):
        pixels = rng.normal(level, noise, shape).round().clip(0, 65535).astype(np.uint16)
        header = fits.Header({"IMAGETYP": f"{kind} frame", "EXPTIME": 0.0, "INSTRUME": "test", **cards})
        paths.append(folder / f"{kind}_{i}.fits")
        fits.PrimaryHDU(pixels, header).writeto(paths[-1], overwrite=True)
    return paths


def optional(**strategies: st.SearchStrategy) -> Settings:
    """Settings of which any may be left as it is."""
    return st.fixed_dictionaries({}, optional=strategies)


# ---- ComparePanel ---------------------------------------------------------------------------------------------


def make_compare(folder: Path) -> Panel:
    """A frame and a crop of its neighbour, of one stack."""
    stack = calibkit.open_stack(write_frames(folder, "light", 2, BAYERPAT="RGGB"))
    return ComparePanel(stack.isel(frame=0), stack.isel(frame=1, y=slice(3, 20)))


_edges = st.tuples(st.floats(-3.0, 10.0), st.floats(14.0, 40.0), st.floats(-3.0, 9.0), st.floats(12.0, 30.0))
COMPARE = optional(
    mode=st.sampled_from(["before", "after", "split", "side by side", "difference"]),
    region=st.none() | _edges,
    channel=st.sampled_from(["mosaic", "colour", "R", "G2"]),
    split=st.floats(0.0, 1.0),
    curve=st.sampled_from(["linear", "asinh", "mtf"]),
    levels=st.none() | st.tuples(st.floats(0.0, 900.0), st.floats(1000.0, 9000.0), st.floats(0.1, 0.9)),
)

# ---- NumbersPanel, SignalChainPanel ---------------------------------------------------------------------------


def make_numbers(folder: Path) -> Panel:
    """One frame of a stack."""
    return NumbersPanel(calibkit.open_stack(write_frames(folder, "light", 2)).isel(frame=1))


NUMBERS = optional(
    centre=st.none() | st.tuples(st.integers(0, 23), st.integers(0, 31)),
    rows=st.integers(5, 30),
    columns=st.integers(5, 40),
    counting=st.sampled_from(["in bins", "every value"]),
    shades=st.booleans(),
)


def make_signal_chain(folder: Path) -> Panel:
    """No files: everything is simulated."""
    return SignalChainPanel(effects=("offset",), frames=1)


SIGNAL_CHAIN = optional(
    effects=st.lists(st.sampled_from(sorted(calibkit.simulate.EFFECTS)), unique=True, max_size=4),
    temperature=st.floats(-40.0, 30.0),
    frames=st.integers(1, 3),
)

# ---- BrightnessPanel, ChannelsPanel, StackPanel, SessionPanel ---------------------------------------------------


def make_brightness(folder: Path) -> Panel:
    """A result that was saved."""
    frames = calibkit.open_stack(write_frames(folder, "light", 4, shape=(64, 96)))
    path = folder / "result.fits"
    calibkit.save(calibkit.combine(frames, reject="none"), path)
    return BrightnessPanel(path)


BRIGHTNESS = optional(
    curve=st.sampled_from(["linear", "asinh", "mtf", "ghs"]),
    levels=st.none() | st.tuples(st.floats(0.0, 900.0), st.floats(1200.0, 9000.0), st.floats(0.1, 0.9)),
    brightness=st.floats(0.05, 0.6),
    intensity=st.floats(-5.0, 15.0),
    linked=st.booleans(),
    allow_clipping=st.booleans(),
    block=st.integers(2, 8),
)


def make_channels(folder: Path) -> Panel:
    """A raw frame of a colour sensor with its masters."""
    colour = {"BAYERPAT": "RGGB", "EGAIN": 1.5, "RDNOISE": 6.0}
    dark = calibkit.master_dark(calibkit.open_stack(write_frames(folder, "dark", 4, EXPTIME=60.0, **colour)))
    flats = write_frames(folder, "flat", 4, level=9000.0, noise=40.0, EXPTIME=1.0, **colour)
    flat = calibkit.master_flat(
        calibkit.open_stack(flats), bias=calibkit.constant_bias(calibkit.open_stack(flats), 1000.0)
    )
    for name, master in (("dark", dark), ("flat", flat)):
        calibkit.save(master, folder / f"master_{name}.fits")
    light = write_frames(folder, "light", 1, level=1500.0, noise=20.0, EXPTIME=60.0, **colour)
    return ChannelsPanel(
        calibkit.open_stack(light).isel(frame=0),
        dark=calibkit.open_result(folder / "master_dark.fits"),
        flat=calibkit.open_result(folder / "master_flat.fits"),
    )


CHANNELS = optional(
    line=st.sampled_from(["Ha", "OIII", "R+G1", "G2", "R+G1+G2+B"]),
    size=st.sampled_from(["half", "full"]),
    same_scale=st.booleans(),
    region=st.none() | st.just((3.0, 20.0, 2.0, 15.0)),
)


def write_star_frames(folder: Path, count: int = 4, shape: tuple[int, int] = (90, 120)) -> list[Path]:
    """Frames with stars that drift by a third of a pixel from one to the next."""
    rng = np.random.default_rng(3)
    paths = write_frames(folder, "light", count, shape=shape, EXPTIME=60.0, EGAIN=1.5, RDNOISE=6.0)
    stars = np.column_stack(
        [rng.uniform(8, shape[0] - 8, 25), rng.uniform(8, shape[1] - 8, 25), rng.uniform(8e3, 6e4, 25)]
    )
    y, x = np.mgrid[: shape[0], : shape[1]]
    for n, path in enumerate(paths):
        sky = sum(
            flux / 20.0 * np.exp(-((y - sy - 0.2 * n) ** 2 + (x - sx - 0.3 * n) ** 2) / 6.5)
            for sy, sx, flux in stars
        )
        with fits.open(path, mode="update") as file:
            file[0].data = (file[0].data + sky).clip(0, 65535).astype(np.uint16)
    return paths


def make_stack(folder: Path) -> Panel:
    """Four lights that drift, to be calibrated with a dark."""
    darks = write_frames(folder, "dark", 4, shape=(90, 120), EXPTIME=60.0, EGAIN=1.5, RDNOISE=6.0)
    calibkit.save(calibkit.master_dark(calibkit.open_stack(darks)), folder / "master_dark.fits")
    return StackPanel(
        calibkit.open_stack(write_star_frames(folder)), dark=calibkit.open_result(folder / "master_dark.fits")
    )


STACK = optional(
    left_out=st.sampled_from([(), (1,), (2, 3)]),
    judge=st.booleans(),
    method=st.sampled_from(["mean", "median"]),
    reject=st.sampled_from(["auto", "none"]),
    model=st.sampled_from(["translation", "similarity"]),
    interpolation=st.sampled_from(["lanczos3", "linear"]),
    frame=st.integers(0, 3),
)


def make_session(folder: Path) -> Panel:
    """A night of biases, darks and lights."""
    night = folder / "night"
    write_frames(night / "bias", "bias", 3, EGAIN=1.5)
    write_frames(night / "darks", "dark", 3, EXPTIME=60.0, EGAIN=1.5)
    write_frames(night / "lights", "light", 2, level=1300.0, EXPTIME=60.0, EGAIN=1.5)
    return SessionPanel(night, out=str(folder / "out"))


SESSION = st.sampled_from([{"repair": False}, {"method": "median"}])  # each run writes files and a report

# ---- BiasPanel ------------------------------------------------------------------------------------------------


def make_bias(folder: Path) -> Panel:
    """Four biases."""
    return BiasPanel(calibkit.open_stack(write_frames(folder, "bias", 4, shape=(40, 48), level=100.0)))


BIAS = optional(
    picture=st.sampled_from(["one frame", "master"]),
    frame=st.integers(0, 3),
    frames=st.none() | st.integers(2, 4),
    method=st.sampled_from(["mean", "median"]),
)

# ---- CombinePanel ---------------------------------------------------------------------------------------------


def make_combine(folder: Path) -> Panel:
    """Twelve lights."""
    return CombinePanel(calibkit.open_stack(write_frames(folder, "light", 12, EXPTIME=60.0, BAYERPAT="RGGB")))


COMBINE = optional(
    method=st.sampled_from(["mean", "median", "sum", "minimum"]),
    frames=st.none() | st.integers(10, 12),  # with fewer, 3 sigma can reject nothing, and a warning says so
    normalise=st.sampled_from(["auto", "none", "additive", "multiplicative"]),
    reject=st.sampled_from(["auto", "none", "sigma", "winsorized", "mad"]),
    low=st.none() | st.floats(1.5, 3.0),
    shown=st.sampled_from(["result", "noise", "kept"]),
)

# ---- DarkPanel ------------------------------------------------------------------------------------------------


def make_dark(folder: Path) -> Panel:
    """Five darks of one exposure and temperature."""
    cards = {"EXPTIME": 60.0, "CCD-TEMP": -10.0}
    return DarkPanel(
        calibkit.open_stack(write_frames(folder, "dark", 5, shape=(40, 48), level=120.0, **cards))
    )


DARK = optional(
    frame=st.integers(0, 4),
    frames=st.none() | st.integers(2, 5),
    method=st.sampled_from(["median", "mean"]),
    hot_sigma=st.floats(2.0, 20.0),
    mode=st.sampled_from(["before", "after", "split", "difference"]),
)

# ---- HotPixelsPanel -------------------------------------------------------------------------------------------


def make_hot_pixels(folder: Path) -> Panel:
    """A master dark that was saved."""
    darks = write_frames(folder, "dark", 4, shape=(60, 80), EXPTIME=60.0, EGAIN=1.5, RDNOISE=6.0)
    calibkit.save(calibkit.master_dark(calibkit.open_stack(darks)), folder / "master_dark.fits")
    return HotPixelsPanel(calibkit.open_result(folder / "master_dark.fits"))


_pixels = st.lists(st.tuples(st.integers(0, 79), st.integers(0, 59)), max_size=3)
HOT_PIXELS = optional(
    sigma=st.floats(3.0, 20.0), cold_sigma=st.floats(3.0, 20.0), added=_pixels, removed=_pixels
)

# ---- FlatPanel ------------------------------------------------------------------------------------------------


def make_flat(folder: Path) -> Panel:
    """Four flats and their darks."""
    cards = {"EXPTIME": 1.0, "BAYERPAT": "RGGB"}
    flats = write_frames(folder / "flats", "flat", 4, level=20_000.0, noise=100.0, **cards)
    darks = write_frames(folder / "darks", "flat dark", 4, level=100.0, seed=2, **cards)
    return FlatPanel(calibkit.open_stack(flats), calibkit.open_stack(darks, kind="flat dark"))


FLAT = optional(
    step=st.sampled_from(["one flat", "flat darks combined", "difference", "flat"]),
    method=st.sampled_from(["mean", "median"]),
    dark_method=st.sampled_from(["mean", "median"]),
    whole_numbers=st.sampled_from([1, 10, 100, 1000, 10_000]),
)

# ---- CalibratePanel -------------------------------------------------------------------------------------------


def make_calibrate(folder: Path) -> Panel:
    """Two lights with a bias and a dark that were saved."""
    cards = {"EGAIN": 1.5, "RDNOISE": 6.0}
    bias = calibkit.master_bias(calibkit.open_stack(write_frames(folder, "bias", 4, shape=(64, 96), **cards)))
    darks = calibkit.open_stack(
        write_frames(folder, "dark", 4, shape=(64, 96), level=1020, EXPTIME=60.0, **cards)
    )
    calibkit.save(bias, folder / "master_bias.fits")
    bias = calibkit.open_result(folder / "master_bias.fits")
    calibkit.save(calibkit.master_dark(darks, bias=bias), folder / "master_dark.fits")
    lights = write_frames(folder, "light", 2, shape=(64, 96), level=1300.0, EXPTIME=60.0, **cards)
    return CalibratePanel(
        calibkit.open_stack(lights), bias=bias, dark=calibkit.open_result(folder / "master_dark.fits")
    )


CALIBRATE = optional(
    repair=st.booleans(), subtract_dark=st.booleans(), dark_scale=st.sampled_from([None, "exposure"])
)

# ---- NoisePanel -----------------------------------------------------------------------------------------------


def make_noise(folder: Path) -> Panel:
    """Three lights with a bias that was saved."""
    cards = {"EGAIN": 1.5, "RDNOISE": 6.0}
    bias = calibkit.master_bias(
        calibkit.open_stack(write_frames(folder, "bias", 4, shape=(192, 192), **cards))
    )
    calibkit.save(bias, folder / "master_bias.fits")
    lights = write_frames(
        folder, "light", 3, shape=(192, 192), level=1300.0, noise=15.0, EXPTIME=60.0, **cards
    )
    return NoisePanel(calibkit.open_stack(lights), bias=calibkit.open_result(folder / "master_bias.fits"))


NOISE = optional(
    hours=st.floats(0.5, 12.0),
    overhead=st.floats(0.0, 60.0),
    dithered=st.booleans(),
    sky=st.none() | st.floats(0.1, 9.0),
)

PANELS: dict[str, tuple[Callable[[Path], Panel], Settings]] = {
    "NoisePanel": (make_noise, NOISE),
    "CalibratePanel": (make_calibrate, CALIBRATE),
    "HotPixelsPanel": (make_hot_pixels, HOT_PIXELS),
    "CombinePanel": (make_combine, COMBINE),
    "BrightnessPanel": (make_brightness, BRIGHTNESS),
    "ChannelsPanel": (make_channels, CHANNELS),
    "ComparePanel": (make_compare, COMPARE),
    "BiasPanel": (make_bias, BIAS),
    "DarkPanel": (make_dark, DARK),
    "FlatPanel": (make_flat, FLAT),
    "NumbersPanel": (make_numbers, NUMBERS),
    "SessionPanel": (make_session, SESSION),
    "StackPanel": (make_stack, STACK),
    "SignalChainPanel": (make_signal_chain, SIGNAL_CHAIN),
}
