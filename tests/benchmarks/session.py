"""A whole night beside Siril: ``python -m tests.benchmarks.session``.

Makes 11 darks, 10 flats, 10 flat darks and 7 lights of a 24 Mpx colour camera as 16-bit FITS files (once, with
``--cache FOLDER``), has calibkit and Siril make the stacked picture of them, one process after the other, and
prints times, peak memories, and the noise and sharpness of both results. ``--small`` has frames that only show that it works.
``--workers`` lets calibkit work with a cluster of one and of two workers instead, and prints the memory of each.

Times are of whole processes, from files to the stack. Noise is that of the sky in the stack, of differences of
neighbouring pixels that are far enough apart not to share samples, divided by what one ADU of light became in
that stack, which the same stars tell. The width is of stars found in both results by the same programs.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.benchmarks.night import FULL, SMALL, make_night

#: What is compiled in the first run is kept, Python's bytecode too, as pip leaves it when it installs a package.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
_FOLDERS = {"darks": "dark", "flats": "flat", "flat darks": "fdark", "lights": "light"}
_SCRIPT = """\
requires 1.0.0
setext fit
cd {folder}
stack fdark_ rej w 3 3 -nonorm -out=mfdark
stack dark_ rej w 3 3 -nonorm -out=mdark
preprocess flat_ -dark=mfdark
stack pp_flat_ rej w 3 3 -norm=mul -out=mflat
preprocess light_ -dark=mdark -flat=mflat -cc=dark 3 3 -cfa -equalize_cfa -debayer
register pp_light_
stack r_pp_light_ rej w 3 3 -norm=addscale -output_norm -out=result
close
"""
_CODE = (
    "import sys, calibkit; from calibkit.recipe import Recipe; "
    "calibkit.process(sys.argv[1], Recipe(until='stack'), sys.argv[2], report=False)"
)


_CLUSTER = """
import os, sys, time
from distributed import Client, LocalCluster
import calibkit
from calibkit.recipe import Recipe

def peak():
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

if __name__ == "__main__":
    night, small, out, workers = *sys.argv[1:4], int(sys.argv[4])
    options = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None, "silence_logs": 50}
    with LocalCluster(**options) as cluster, Client(cluster) as client:
        recipe = Recipe(until="stack")
        calibkit.process(small, recipe, out + "/warm", report=False, client=client)  # workers have imported everything
        start = time.perf_counter()
        calibkit.process(night, recipe, out + "/done", report=False, client=client)
        seconds = time.perf_counter() - start
        print(seconds, peak(), *client.run(peak).values())
"""


@dataclass(frozen=True)
class Run:
    """What one program took, and its stack, (channel, y, x)."""

    name: str
    seconds: float
    processors: float
    megabytes: float
    stack: Path


def calibkit_run(night: Path, work: Path) -> Run:
    """calibkit in a process of its own, its kernels compiled before."""
    out = work / "calibkit"
    command = [sys.executable, "-c", _CODE, str(night), str(out)]
    seconds, processors, megabytes, _ = _timed(command, _ENVIRONMENT)
    (stack,) = (out / "stacks").glob("*.fits")
    return Run("calibkit", seconds, processors, megabytes, stack)


def siril_run(night: Path, work: Path) -> Run:
    """Siril, with a script as its users write it for colour cameras."""
    folder = work / "siril"
    folder.mkdir()
    for kind, name in _FOLDERS.items():
        for number, path in enumerate(sorted((night / kind).iterdir()), start=1):
            (folder / f"{name}_{number:05d}.fit").symlink_to(path)
    script = folder / "run.ssf"
    script.write_text(_SCRIPT.format(folder=folder))
    # a home of its own, so that neither its settings nor the user's are touched
    seconds, processors, megabytes, said = _timed(
        ["siril-cli", "-s", str(script)], os.environ | {"HOME": str(folder)}
    )
    if not (folder / "result.fit").exists():
        msg = f"siril-cli made no stack:\n{said[-3000:]}"
        raise RuntimeError(msg)
    for number, step in enumerate(re.findall(r"Execution time: (.+)", said), start=1):
        print(f"  siril, step {number}: {step}")
    return Run("siril", seconds, processors, megabytes, folder / "result.fit")


def cluster_runs(night: Path, small: Path, work: Path, runs: int) -> None:
    """calibkit with one and with two workers of one thread: seconds, and megabytes of each process, in the fastest run."""
    script = work / "cluster.py"
    script.write_text(_CLUSTER)
    print("\n| workers | seconds | MB of the asking process | MB of each worker |\n|---:|---:|---:|---|")
    found: dict[int, list[list[float]]] = {1: [], 2: []}
    for number, workers in itertools.product(range(runs), found):
        out = work / f"by{workers}-{number}"
        command = [sys.executable, str(script), str(night), str(small), str(out), str(workers)]
        said = _timed(command, _ENVIRONMENT)[3]
        found[workers].append(list(map(float, said.split()[-2 - workers :])))
        shutil.rmtree(out)
    for workers, runs_of in found.items():
        seconds, asking, *each = min(runs_of)
        print(f"| {workers} | {seconds:.1f} | {asking:.0f} | {', '.join(f'{mb:.0f}' for mb in each)} |")
    print(f"\none worker ÷ two: {min(found[1])[0] / min(found[2])[0]:.2f}")


def _timed(command: list[str], environment: dict[str, str]) -> tuple[float, float, float, str]:
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        msg = f"{command[0]} ended with {process.returncode}:\n{said[-3000:]}"
        raise RuntimeError(msg)
    per_megabyte = 2**20 if sys.platform == "darwin" else 1024
    return time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / per_megabyte, said


def middle(path: Path) -> np.ndarray:
    """The green plane of a stack without its edges, which not all lights reach, float64 with row 0 on top."""
    from astropy.io import fits

    with fits.open(path, memmap=True) as hdus:
        image = hdus[0].data
        green = np.array(image[1] if image.ndim == 3 else image, np.float64)
    top, left = (max(side // 8, 1) for side in green.shape)
    return green[top:-top, left:-left]


def measured(green: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Noise of the sky, median width of the stars, and the stars (x, y, flux), brightest first."""
    import sep

    background = sep.Background(np.ascontiguousarray(green), bw=64, bh=64)
    flat = green - background.back()
    # Pixels ten apart share no sample, whatever was interpolated from what.
    apart = flat[:, 10:] - flat[:, :-10]
    noise = 1.4826 * float(np.median(np.abs(apart - np.median(apart)))) / np.sqrt(2)
    found = sep.extract(flat, 8.0, err=background.globalrms, minarea=9)
    good = (found["flag"] == 0) & (found["npix"] > 12)
    found = found[good]
    order = np.argsort(-found["flux"])[20:400]
    x, y = found["x"][order], found["y"][order]
    radius, flag = sep.flux_radius(flat, x, y, np.full(x.size, 12.0), 0.5, subpix=5)
    flux = sep.sum_circle(flat, x, y, 8.0)[0]
    fine = flag == 0
    return noise, 2.0 * float(np.median(radius[fine])), np.stack([x[fine], y[fine], flux[fine]], axis=1)


def compare(ours: Path, theirs: Path) -> tuple[list[float], list[float]]:
    """(noise per unit of light, width) of both: light as the stars that are in both tell it."""
    found = [measured(middle(path)) for path in (ours, theirs)]
    ratio = np.median(found[0][2][:200, 2]) / np.median(found[1][2][:200, 2])
    return [found[0][0], found[1][0] * ratio], [found[0][1], found[1][1]]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cache", type=Path, help="folder where the frames are kept for the next time")
    parser.add_argument("--small", action="store_true", help="small frames, which only show that it works")
    parser.add_argument("--lights", type=int, default=7)
    parser.add_argument("--runs", type=int, default=1, help="times that each is run; the fastest counts")
    parser.add_argument("--without-siril", action="store_true")
    parser.add_argument("--workers", action="store_true", help="one and two workers of a cluster instead")
    options = parser.parse_args()
    shape = SMALL if options.small else FULL
    with tempfile.TemporaryDirectory(dir=options.cache) as temporary:
        work = Path(temporary)
        kept = (options.cache or work) / f"night-{shape[1]}x{shape[0]}-{options.lights}"
        night = make_night(kept, shape, options.lights)
        small = make_night(work / "first", SMALL, 3)
        calibkit_run(small, work / "warm")  # compiles what is not compiled yet
        if options.workers:
            cluster_runs(night, small, work, options.runs)
            return
        programs = (
            [calibkit_run]
            if options.without_siril or not shutil.which("siril-cli")
            else [calibkit_run, siril_run]
        )
        best: dict[str, Run] = {}
        for number in range(options.runs):
            for program in programs:
                place = work / f"run{number}"
                place.mkdir(exist_ok=True)
                done = program(night, place)
                if done.name not in best or done.seconds < best[done.name].seconds:
                    best[done.name] = done
        print(f"\n{options.lights} lights, 31 calibration frames, {shape[1]} × {shape[0]}, 16-bit FITS\n")
        print("| program | seconds | processor seconds | peak MB |\n|---|---:|---:|---:|")
        for done in best.values():
            print(f"| {done.name} | {done.seconds:.1f} | {done.processors:.1f} | {done.megabytes:.0f} |")
        if "siril" in best:
            ours, theirs = best["calibkit"], best["siril"]
            noise, width = compare(ours.stack, theirs.stack)
            print(
                f"\nsiril ÷ calibkit: {theirs.seconds / ours.seconds:.2f} in time, "
                f"{theirs.processors / ours.processors:.2f} in processor time, "
                f"{theirs.megabytes / ours.megabytes:.2f} in memory"
            )
            print(
                f"noise for equal light: calibkit {noise[0]:.4g}, siril {noise[1]:.4g} ADU, ratio {noise[0] / noise[1]:.3f}"
            )
            print(
                f"width of stars: calibkit {width[0]:.3f}, siril {width[1]:.3f} pixels, ratio {width[0] / width[1]:.3f}"
            )


if __name__ == "__main__":
    main()
