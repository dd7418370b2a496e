"""Requests that cannot be met, each refused with what was found; those about one subject are tested beside it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import xarray as xr

import calibkit as ck
from calibkit.brightness.faint import faint_structure
from calibkit.combining.trial import map_of
from calibkit.errors import CalibkitError, MismatchError, SettingError

DIMS = ("y", "x")


def frame(shape: tuple[int, ...] = (12, 16), **attrs: object) -> xr.DataArray:
    """Raw frames, each pixel with a number of its own."""
    dims = ("frame", *DIMS)[-len(shape) :]
    coords = {dim: np.arange(size) for dim, size in zip(dims, shape, strict=True) if dim in DIMS}
    values = 100 + np.arange(np.prod(shape)).reshape(shape) % 251
    return xr.DataArray(
        values.astype("u2"), dims=dims, coords=coords, attrs={"units": "adu", "cfa": ""} | attrs
    )


def master(**attrs: object) -> xr.Dataset:
    signal = frame().astype("f4")
    flags = xr.zeros_like(signal, "u2")
    return xr.Dataset(
        {"signal": signal, "variance": xr.ones_like(signal), "flags": flags},
        attrs={"units": "adu", "cfa": "", "bias_subtracted": False} | attrs,
    )


STACK = frame((3, 12, 16))
TURNED = xr.Dataset({"signal": STACK, "flags": xr.zeros_like(STACK).transpose("frame", "x", "y")})
FLAT_TUPLE = master().expand_dims("frame")
COLOUR = ck.debayer(master(cfa="RGGB"), method="superpixel")
REFUSED: dict[str, tuple[Callable[[], object], type[CalibkitError], str]] = {
    "no DataArray": (
        lambda: ck.calibrate(STACK.values),
        SettingError,
        "takes an xarray.DataArray .*, found ndarray",
    ),
    "no pixels": (lambda: ck.calibrate(frame((0, 16))), MismatchError, r"an empty frame, shape \(0, 16\)"),
    "no numbers": (
        lambda: ck.calibrate(frame().astype(bool)),
        SettingError,
        "whole or floating .*, found type bool",
    ),
    "several masters": (
        lambda: ck.calibrate(frame(), dark=FLAT_TUPLE),
        MismatchError,
        r"dark= takes one frame with dimensions \('y', 'x'\), found \('frame', 'y', 'x'\)",
    ),
    "a dark without exposure": (
        lambda: ck.calibrate(
            frame().assign_coords(exposure=60.0),
            bias=master(),
            dark=master(bias_subtracted=True),
            dark_scale="exposure",
        ),
        MismatchError,
        "the exposure of the dark is not known",
    ),
    "a dark of 0 s": (
        lambda: ck.calibrate(
            frame().assign_coords(exposure=60.0),
            bias=master(),
            dark=master(bias_subtracted=True, exposure=0.0),
            dark_scale="exposure",
        ),
        MismatchError,
        "the dark was exposed for 0 s",
    ),
    "too many frames": (
        lambda: ck.combine(xr.DataArray(np.zeros((65_536, 1, 1), "u1"), dims=("frame", *DIMS))),
        SettingError,
        r"65536 frames are more than .* \(65535\)",
    ),
    "flags that lie otherwise": (
        lambda: ck.combine(TURNED),
        MismatchError,
        "signal has the dimensions .* but flags has",
    ),
    "frames without noise": (
        lambda: ck.combine(xr.full_like(STACK, 7), weights="noise", normalise="none"),
        SettingError,
        "needs frames with noise in them",
    ),
    "no such map": (
        lambda: map_of(ck.combine(STACK), "sigmas"),
        SettingError,
        "map 'sigmas': allowed are",
    ),
    "no such model": (
        lambda: ck.register(STACK, model="rubber"),
        SettingError,
        "model='rubber' .* allowed are",
    ),
    "nothing to align": (lambda: ck.find_stars([]), MismatchError, "needs at least one light, found none"),
    "planes to align": (
        lambda: ck.find_stars(STACK.rename(frame="channel")),
        MismatchError,
        r"dimensions \(y, x\) or \(frame, y, x\), found \('channel', 'y', 'x'\)",
    ),
    "many resampled": (lambda: ck.resample(STACK, np.eye(3)), MismatchError, "takes one light .*, found 3"),
    "no way back": (lambda: ck.resample(frame(), np.zeros((3, 3))), SettingError, "that can be inverted"),
    "faint in a stack": (lambda: faint_structure(STACK, 100.0), SettingError, "one plane with the dims"),
    "faint in a pixel": (
        lambda: faint_structure(frame(), 100.0, block=1),
        SettingError,
        "block=1: a block has 2",
    ),
    "faint in little": (
        lambda: faint_structure(frame(), 100.0),
        SettingError,
        "fewer than 2 × 2 blocks of 8 × 8",
    ),
    "faint in nothing": (
        lambda: faint_structure(frame((20, 20)) * np.nan, 100.0),
        SettingError,
        "no finite pixel",
    ),
    "a defect map of numbers": (
        lambda: ck.DefectMap(frame().astype("f4")),
        SettingError,
        r"holds uint16 flags \(y, x\), found float32",
    ),
    "a factor too few": (
        lambda: ck.white_balance(COLOUR, {"R": 2.0, "G": 1.0}),
        SettingError,
        "white balance for B is missing",
    ),
    "a matrix of two rows": (lambda: ck.colour_matrix(COLOUR, [[1, 0], [0, 1]]), SettingError, "3 × 3"),
    "no matrix": (lambda: ck.colour_matrix(COLOUR), SettingError, "no .*matrix"),
    "a mosaic balanced": (
        lambda: ck.white_balance(master(), {"L": 1.0}),
        SettingError,
        r"has a dimension 'channel'; found",
    ),
    "hot from nothing a second": (
        lambda: ck.find_defects(dark=master(bias_subtracted=True, exposure=60.0, gain=1.5), rate=0.0),
        SettingError,
        "rate=0.0; a number .* above 0",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_what_was_found(name: str) -> None:
    ask, error, message = REFUSED[name]
    with pytest.raises(error, match=message):
        ask()
