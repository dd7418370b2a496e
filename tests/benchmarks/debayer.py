"""Colour conversion of a 24-megapixel frame beside Siril's: ``python -m tests.benchmarks.debayer``.

Both read the same 16-bit FITS frame with a Bayer pattern and write the colours as FITS. Siril's time is what its
own log gives for two frames less one (its sequences have two at least), so that its start does not count.
Run from the top of the repository.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.io import fits

import calibkit

SCRIPT = "requires 1.0.0\nsetext fit\ncd {folder}\npreprocess frame_ -cfa{option}\nclose\n"


def write_frames(folder: Path, height: int, width: int) -> Path:
    """Two frames of noise with a pattern; the path of the first."""
    header = fits.Header({"BAYERPAT": "RGGB", "ROWORDER": "TOP-DOWN", "EGAIN": 1.0, "RDNOISE": 5.0})
    rng = np.random.default_rng(1)
    pixels = rng.poisson(800, (height, width)).astype(np.uint16)
    for number in (1, 2):
        fits.PrimaryHDU(pixels, header).writeto(folder / f"frame_{number:05d}.fit")
    return folder / "frame_00001.fit"


def siril_seconds(folder: Path) -> float | None:
    """Seconds per frame of Siril's conversion, writing included, or None where it is not installed."""
    if shutil.which("siril-cli") is None:
        return None
    script = folder / "run.ssf"
    script.write_text(SCRIPT.format(folder=folder, option=" -debayer"))
    out = subprocess.run(["siril-cli", "-s", str(script)], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"Execution time: ([\d.]+) (m?s)", out)
    return sum(float(value) / (1000 if unit == "ms" else 1) for value, unit in found) / 2


def calibkit_seconds(path: Path, folder: Path, method: str) -> float:
    """Seconds to open, convert and save one frame."""
    raw = calibkit.open_stack(path).isel(frame=0)
    start = time.perf_counter()
    light = calibkit.calibrate(raw, bias=calibkit.constant_bias(raw, 0.0), repair=False)
    calibkit.save(calibkit.debayer(light, method=method), folder / "out.fits", overwrite=True)
    return time.perf_counter() - start


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", default="4000x6000", help="height x width (default: %(default)s)")
    parser.add_argument(
        "--runs", type=int, default=3, help="runs of each, the median counts (default: %(default)s)"
    )
    options = parser.parse_args()
    height, width = (int(number) for number in options.size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write_frames(folder, height, width)
        methods = ("superpixel", "bilinear", "edge")
        times: dict[str, list[float]] = {"siril": [], **{method: [] for method in methods}}
        for run in range(options.runs + 1):  # the first run compiles and fills the caches, and does not count
            siril = siril_seconds(folder)
            found = {method: calibkit_seconds(path, folder, method) for method in methods}
            if run:
                times["siril"].append(siril if siril is not None else float("nan"))
                for method in methods:
                    times[method].append(found[method])
        reference = float(np.median(times.pop("siril")))
        print(f"| {height} × {width}, read, convert, write | seconds | Siril ÷ calibkit |\n|---|---:|---:|")
        print(f"| Siril (RCD, no variance) | {reference:.2f} | 1 |")
        for method, values in times.items():
            seconds = float(np.median(values))
            print(
                f"| calibkit {method}, with variance and flags | {seconds:.2f} | {reference / seconds:.2f} |"
            )


if __name__ == "__main__":
    main()
