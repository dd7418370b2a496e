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
from calibkit.panels import ComparePanel, NumbersPanel, SignalChainPanel
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

PANELS: dict[str, tuple[Callable[[Path], Panel], Settings]] = {
    "ComparePanel": (make_compare, COMPARE),
    "NumbersPanel": (make_numbers, NUMBERS),
    "SignalChainPanel": (make_signal_chain, SIGNAL_CHAIN),
}
