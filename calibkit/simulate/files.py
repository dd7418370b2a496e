"""Simulated frames as FITS files, with the header of a capture program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import xarray as xr

from calibkit import __version__
from calibkit.simulate.camera import Camera
from calibkit.simulate.optics import Optics

_IMAGETYP = {
    "bias": "Bias Frame",
    "dark": "Dark Frame",
    "flat": "Flat Frame",
    "flat dark": "Dark Flat",
    "light": "Light Frame",
}


def header_cards(
    frame: xr.DataArray, camera: Camera, *, optics: Optics, target: str = ""
) -> dict[str, tuple[Any, str] | Any]:
    """The cards that a capture program writes for *frame*, as keyword → (value, comment)."""
    start = frame["time"].values.astype("datetime64[ms]")
    cards: dict[str, Any] = {
        "IMAGETYP": (_IMAGETYP[str(frame.kind.item())], "kind of frame"),
        "OBJECT": (target if frame.kind == "light" else "", ""),
        "INSTRUME": (camera.name, ""),
        "DATE-OBS": (str(start), "UTC start of the exposure"),
        "EXPTIME": (float(frame.exposure), "[s] exposure"),
        "CCD-TEMP": (round(float(frame.temperature), 1), "[deg C] detector temperature"),
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
        cards["BAYERPAT"] = (shown_pattern(camera), "filters, as displayed")
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
    """Write *frame* as 16-bit FITS.

    Cards are values or (value, comment); None leaves one out.
    """
    from astropy.io import fits

    hdu = fits.PrimaryHDU(frame.values)
    for keyword, card in cards.items():
        if card is not None:
            hdu.header[keyword] = card
    path.parent.mkdir(parents=True, exist_ok=True)
    hdu.writeto(path)
