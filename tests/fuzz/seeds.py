"""Sound files of every kind that calibkit reads: what the mutations begin with."""

from __future__ import annotations

import gzip
import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits
from PIL import Image

import calibkit
from calibkit import Camera, DefectMap, simulate_frame, simulate_stack
from calibkit.align.transforms import Transform, Transforms
from calibkit.simulate import FrameSet, write_session
from calibkit.simulate.ground_truth import SIDECAR
from tests.dng_files import coloured, dng, noise

#: Real files above this size are left out: mutating them takes longer than it teaches.
_LARGEST = 4_000_000


def make_seeds(folder: Path, real: Path | None = None) -> list[Path]:
    """Write one sound file of each kind into *folder*; with those of *real*, a folder of frames by others."""
    folder.mkdir(parents=True, exist_ok=True)
    frame = simulate_frame(Camera(shape=(24, 36), pattern="RGGB"), exposure=2.0)
    data = frame.values
    header = fits.Header()
    header.update(
        EXPTIME=2.0, IMAGETYP="Light", INSTRUME="Camera", GAIN=1.5, BAYERPAT="RGGB", XBINNING=1, YBINNING=1
    )
    header["CCD-TEMP"] = -10.0
    header["DATE-OBS"] = "2026-01-15T19:00:00"
    header["TRIMSEC"] = "[3:34,3:22]"
    header["BIASSEC"] = "[1:2,1:24]"
    made = []

    def write(name: str, *hdus: object) -> None:
        fits.HDUList(list(hdus)).writeto(folder / name, overwrite=True)
        made.append(folder / name)

    write("unsigned.fits", fits.PrimaryHDU(data, header))
    write("float.fits", fits.PrimaryHDU(data.astype(np.float32), header))
    write("signed.fit", fits.PrimaryHDU(data.astype(np.int16), header))
    write("cube.fits", fits.PrimaryHDU(np.stack([data] * 3), header))
    write("extension.fits", fits.PrimaryHDU(), fits.ImageHDU(data, header))
    write("tiled.fits.fz", fits.PrimaryHDU(), fits.CompImageHDU(data, header))
    for method in ("HCOMPRESS_1", "PLIO_1", "GZIP_2"):
        tile = {"compression_type": method, "tile_shape": (8, 36)}
        write(
            f"{method.lower()}.fits.fz",
            fits.PrimaryHDU(),
            fits.CompImageHDU((data // 2).astype(np.int16), header, **tile),
        )
    packed = folder / "packed.fits.gz"
    packed.write_bytes(gzip.compress((folder / "unsigned.fits").read_bytes()))
    Image.fromarray(data).save(folder / "picture.tif")
    Image.fromarray((data >> 8).astype(np.uint8)).save(folder / "picture.png")
    made += [packed, folder / "picture.tif", folder / "picture.png"]
    made += [
        dng(folder / "bayer.dng", noise(), active=(4, 6, 60, 90), black=(60, 61, 62, 63)),
        coloured(folder / "colours.dng", matrix=True),
        dng(folder / "mono.dng", noise(), pattern=""),
    ]
    stack = simulate_stack(Camera(shape=(24, 36), pattern="RGGB"), 3, kind="bias")
    master = calibkit.master_bias(stack)
    made.append(calibkit.save(master, folder / "master.fits", overwrite=True))
    defects = DefectMap.empty(master).add(points=[(3, 4), (10, 11)])
    defects.save(folder / "mask.fits", overwrite=True)
    defects.write_list(folder / "defects.lst", overwrite=True)
    made += [folder / "mask.fits", folder / "defects.lst"]
    camera = Camera(shape=(60, 90))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", calibkit.CalibkitWarning)
        report = calibkit.measure_sensor(
            flats=simulate_stack(camera, 4, kind="flat", exposure=2.0),
            biases=simulate_stack(camera, 4, kind="bias"),
        )
    made.append(report.profile.save(folder / "profile.json", overwrite=True))
    recipe = folder / "recipe.yaml"
    calibkit.write_recipe(calibkit.Recipe(), recipe)
    made.append(recipe)
    turned = Transform("light.fits", np.eye(3), rms=0.1, error=0.02, stars=9, ok=True)
    lost = Transform(
        "cloud.fits", np.full((3, 3), np.nan), rms=np.nan, error=np.nan, stars=0, ok=False, reason="no stars"
    )
    made.append(
        Transforms((turned, lost), 0, "similarity", (24, 36), (0, 0)).save(folder / "transforms.json")
    )
    made.append(
        write_session(folder / "night", Camera(shape=(24, 36)), [FrameSet(kind="bias", count=2)]) / SIDECAR
    )
    if real is not None:
        for path in sorted(real.rglob("*")):
            if path.is_file() and path.stat().st_size <= _LARGEST and path.suffix.lower() != ".md":
                made.append(path)
    return made
