"""Colour conversion of a 24-megapixel frame beside Siril's: ``python -m tests.benchmarks.debayer``.

Both read the same 16-bit FITS frame with a Bayer pattern and write the colours as FITS. Siril's time is half of what
its own log gives for two frames (its sequences have two at least), so that its start does not count; its processor
seconds are half of the whole run's.
Run from the top of the repository.
"""

from __future__ import annotations

import argparse
import re
import resource
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


def siril_seconds(folder: Path) -> tuple[float, float]:
    """Seconds and processor seconds per frame of Siril's conversion, writing included; NaN where it is not installed."""
    if shutil.which("siril-cli") is None:
        return float("nan"), float("nan")
    script = folder / "run.ssf"
    script.write_text(SCRIPT.format(folder=folder, option=" -debayer"))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    out = subprocess.run(["siril-cli", "-s", str(script)], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"Execution time: ([\d.]+) (m?s)", out)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return sum(float(value) / (1000 if unit == "ms" else 1) for value, unit in found) / 2, processor / 2


def calibkit_seconds(path: Path, folder: Path, method: str) -> tuple[float, float]:
    """Seconds and processor seconds to calibrate, convert and save one frame."""
    raw = calibkit.open_stack(path).isel(frame=0)
    start, processor = time.perf_counter(), time.process_time()
    light = calibkit.calibrate(raw, bias=calibkit.constant_bias(raw, 0.0), repair=False)
    calibkit.save(calibkit.debayer(light, method=method), folder / "out.fits", overwrite=True)
    return time.perf_counter() - start, time.process_time() - processor


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--size", default="4000x6000", help="height x width (default: %(default)s)")
    parser.add_argument(
        "--runs", type=int, default=3, help="runs of each, the median counts (default: %(default)s)"
    )
    options = parser.parse_args()
    height, width = (int(number) for number in options.size.split("x"))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        path = write_frames(folder, height, width)
        methods = ("superpixel", "bilinear", "edge")
        names = {
            "siril": "Siril (RCD, no variance)",
            **{method: f"calibkit {method}, with variance and flags" for method in methods},
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
        for run in range(options.runs + 1):  # the first run compiles and fills the caches, and does not count
            found = {"siril": siril_seconds(folder)}
            found |= {method: calibkit_seconds(path, folder, method) for method in methods}
            if run:
                for name, pair in found.items():
                    times[name].append(pair)
        medians = {name: np.median(pairs, axis=0) for name, pairs in times.items()}
        print(
            f"| {height} × {width}, read, convert, write | seconds | Siril ÷ it | processor seconds | Siril ÷ it |\n"
            "|---|---:|---:|---:|---:|"
        )
        for name, (wall, processor) in medians.items():
            ratios = medians["siril"] / medians[name]
            print(f"| {names[name]} | {wall:.2f} | {ratios[0]:.2f} | {processor:.2f} | {ratios[1]:.2f} |")


if __name__ == "__main__":
    main()
