"""Combining frames beside Siril, ccdproc, numpy and bottleneck: ``python -m tests.benchmarks.combine --full``.

Makes 16-bit FITS frames, combines them with everything that is installed, one process after the other, and
prints a Markdown table of times, ratios and peak memories, which it also writes to a file. Without ``--full`` the
frames are few and small, which only shows that it works. Run from the top of the repository.

Times are of the work alone: not of starting Python, nor of compiling, which is done once (``first use``). Siril's
are those of its log; they include writing its result of one plane in single precision, and its processor seconds
are of the whole program. "calibkit, saved" also writes a file: signal, variance and flags, with the checksum of
every input, for which all frames are read a second time. On a busy machine processor seconds say more. Memories
are peaks above what is in use after the imports.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np

#: What is measured: name → arguments of calibkit.combine, Siril's of ``stack``.
TASKS: dict[str, tuple[dict[str, object], str]] = {
    "median": ({"method": "median"}, "med"),
    "sigma 3/3": ({"reject": "sigma"}, "rej s 3 3"),
    "winsorized 3/3": ({"reject": "winsorized"}, "rej w 3 3"),
    "linear fit 5/5": ({"reject": "linear_fit"}, "rej l 5 5"),
    "GESD 0.3/0.05": ({"reject": "gesd"}, "rej g 0.3 0.05"),
    "MAD 3/3": ({"reject": "mad"}, ""),
}
MEGABYTE = 2**20


def write_frames(folder: Path, count: int, height: int, width: int) -> None:
    """Darks of a warm sensor: fixed pattern, hot pixels, read noise and cosmic rays."""
    from astropy.io import fits

    rng = np.random.default_rng(1)
    pattern = 1000 + 6 * rng.standard_normal((height, width), dtype=np.float32)
    hot = rng.random((height, width), dtype=np.float32) < 0.002
    pattern[hot] += rng.exponential(3000, int(hot.sum())).astype(np.float32)
    for number in range(1, count + 1):
        frame = pattern + 25 * rng.standard_normal((height, width), dtype=np.float32)
        struck = rng.integers(0, height * width, height * width // 2000)
        frame.reshape(-1)[struck] += rng.exponential(2000, struck.size).astype(np.float32)
        pixels = np.clip(frame, 0, 65535).round().astype(np.uint16)
        fits.PrimaryHDU(pixels).writeto(folder / f"dark_{number:05d}.fit")


def peak() -> float:
    """Largest memory of this process so far, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says there may be that of the process which started this one
        return int(re.search(r"VmHWM:\s*(\d+)", status.read_text(encoding="ascii"))[1]) / 1024
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (MEGABYTE if sys.platform == "darwin" else 1024)


def one(peer: str, task: str, folder: Path) -> None:
    """In a process of its own: print seconds, MB and seconds of the processors of one combination."""
    paths = sorted(folder.glob("dark_*.fit"))
    make = {"calibkit": _calibkit, "calibkit, saved": _calibkit, "ccdproc": _ccdproc, "read": _read}
    work, warm_up = make.get(peer, _in_bands)(peer, task, paths)
    warm_up()
    before = peak()
    start, used = time.perf_counter(), time.process_time()
    work()
    print(time.perf_counter() - start, peak() - before, time.process_time() - used)


def _calibkit(peer: str, task: str, paths: list[Path]):
    import calibkit

    options = TASKS[task][0]
    stack = calibkit.open_stack(paths)

    def work(frames: object = stack, folder: Path = paths[0].parent) -> None:
        result = calibkit.combine(frames, **options)
        if peer == "calibkit, saved":
            calibkit.save(result, folder / "calibkit.fits", overwrite=True)

    def warm_up() -> None:  # with files, so that the kernels of reading are loaded, too
        with tempfile.TemporaryDirectory() as folder:
            write_frames(Path(folder), 9, 8, 64)
            work(calibkit.open_stack(sorted(Path(folder).glob("*.fit"))), Path(folder))

    return work, warm_up


def _ccdproc(peer: str, task: str, paths: list[Path]):
    import warnings

    import ccdproc
    from astropy.stats import mad_std

    warnings.simplefilter("ignore")
    options: dict[str, object] = {"method": "median"}
    if task != "median":
        options = {
            "method": "average",
            "sigma_clip": True,
            "sigma_clip_func": np.ma.mean,
            "sigma_clip_dev_func": np.ma.std,
        }
    if task == "MAD 3/3":
        options |= {"sigma_clip_func": np.ma.median, "sigma_clip_dev_func": mad_std}
    names = [str(path) for path in paths]
    return lambda: ccdproc.combine(
        names, unit="adu", mem_limit=500e6, dtype=np.float32, **options
    ), lambda: None


def _in_bands(peer: str, task: str, paths: list[Path]):
    from astropy.io import fits

    if peer == "bottleneck":
        import bottleneck

        function = bottleneck.nanmedian
    else:
        function = np.nanmedian

    def work() -> np.ndarray:
        frames = [fits.getdata(path, memmap=True, do_not_scale_image_data=True) for path in paths]
        height = frames[0].shape[0]
        result = np.empty(frames[0].shape, np.float32)
        for y in range(0, height, 100):
            band = np.stack([frame[y : y + 100] for frame in frames]).astype(np.float32) + np.float32(32768)
            result[y : y + 100] = function(band, axis=0)
        return result

    return work, lambda: None


def _read(peer: str, task: str, paths: list[Path]):
    def work() -> None:
        with ThreadPoolExecutor(2) as pool:
            for _ in pool.map(lambda path: np.fromfile(path, np.uint8).size, paths):
                pass

    return work, lambda: None


def measure(peer: str, task: str, folder: Path) -> tuple[float, float, float]:
    """Seconds, MB and seconds of the processors of one combination by one program."""
    if peer == "siril":
        return _siril(task, folder)
    command = [sys.executable, "-m", "tests.benchmarks.combine", "--one", peer, task, "--folder", str(folder)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    seconds, memory, processors = map(float, out.splitlines()[-1].split())
    return seconds, memory, processors


def _siril(task: str, folder: Path) -> tuple[float, float, float]:
    script = folder / "run.ssf"
    lines = [
        "requires 1.0.0",
        "setext fit",
        f"cd {folder}",
        f"stack dark_ {TASKS[task][1]} -nonorm -out=result",
        "close",
    ]
    script.write_text("\n".join([*lines, ""]))
    # a home of its own, so that neither its settings nor the user's are touched
    process = subprocess.Popen(
        ["siril-cli", "-s", str(script)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"HOME": str(folder)},
    )
    out = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    found = re.findall(r"Execution time: ([\d.]+) (m?s)", out)
    if process.returncode or not found:
        msg = f"siril-cli did not combine the frames:\n{out}"
        raise RuntimeError(msg)
    seconds = sum(float(value) / (1000 if unit == "ms" else 1) for value, unit in found)
    return seconds, used.ru_maxrss / 1024, used.ru_utime + used.ru_stime


def first_use(folder: Path) -> str:
    """Seconds to import calibkit and to combine for the first time, without and with kept kernels."""
    code = (
        "import time; a = time.perf_counter(); import calibkit; b = time.perf_counter(); import numpy as np, xarray; "
        "s = xarray.DataArray(np.ones((9, 8, 64), 'u2'), dims=('frame', 'y', 'x')); "
        "calibkit.combine(s, method='median'); print(b - a, time.perf_counter() - b)"
    )
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        settings = os.environ | {"CALIBKIT_KERNEL_CACHE": cache}
        runs = [
            subprocess.run(
                [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=settings
            ).stdout
            for _ in range(2)
        ]
    (load, cold), (_, warm) = ([float(x) for x in run.split()] for run in runs)
    return f"First use: import calibkit {load:.3f} s; first median {cold:.1f} s compiling, {warm:.1f} s with kept kernels."


def compare(folder: Path, runs: int, tasks: list[str], *, slow: bool) -> list[str]:
    """Rows of the table."""
    peers = ["calibkit", "calibkit, saved"]
    peers += ["siril"] if shutil.which("siril-cli") else []
    peers += [name for name in ("ccdproc", "bottleneck") if slow and find_spec(name)]
    peers += ["numpy"] if slow else []
    reading = median(measure("read", "median", folder)[0] for _ in range(max(3, runs)))
    rows = [
        "| task | program | seconds | ÷ calibkit | processor seconds | ÷ calibkit | peak MB |",
        "|---|---|---:|---:|---:|---:|---:|",
        f"| read the bytes, two threads | numpy | {reading:.2f} | | | | |",
    ]
    for task in tasks:
        times: dict[str, list[tuple[float, float, float]]] = {peer: [] for peer in peers if _can(peer, task)}
        for run in range(runs):
            for peer, found in times.items():
                if run == 0 or peer.startswith(("calibkit", "siril")):  # the slow ones once
                    found.append(measure(peer, task, folder))
        ours, _, our_work = (median(values) for values in zip(*times["calibkit"], strict=True))
        for peer, found in times.items():
            seconds, memory, work = (median(values) for values in zip(*found, strict=True))
            rows.append(
                f"| {task} | {peer} | {seconds:.2f} | {seconds / ours:.1f} | {work:.2f} | {work / our_work:.1f} "
                f"| {memory:.0f} |"
            )
        if task == "median":
            rows.append(f"| median ÷ reading | calibkit | | {ours / reading:.1f} | | | |")
    return rows


def _can(peer: str, task: str) -> bool:
    if peer in ("numpy", "bottleneck"):
        return task == "median"
    if peer == "ccdproc":
        return task in ("median", "sigma 3/3", "MAD 3/3")
    if peer == "calibkit, saved":
        return task in ("median", "winsorized 3/3")
    return peer == "calibkit" or bool(TASKS[task][1])


def machine() -> str:
    """The processor, and how many of it."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"model name\s*:\s*(.+)", info.read_text())
        name = found[1] if found else name
    return f"{name}, {len(os.sched_getaffinity(0))} processors, {platform.system()}, Python {platform.python_version()}"


def main() -> None:
    """Make the frames, measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=int, default=9, help="number of frames (default: %(default)s)")
    parser.add_argument("--size", default="200x300", help="height x width (default: %(default)s)")
    parser.add_argument("--full", action="store_true", help="20 frames of 4000x6000, and 100 for the memory")
    parser.add_argument("--runs", type=int, default=1, help="runs of calibkit and Siril, the median counts")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument(
        "--fast", action="store_true", help="Siril only: ccdproc, numpy and bottleneck are slow"
    )
    parser.add_argument(
        "--folder", type=Path, help="where the frames are, or are made (default: a temporary one)"
    )
    parser.add_argument("--output", type=Path, default=Path("test-results/benchmark-combine.md"))
    parser.add_argument("--one", nargs=2, metavar=("PROGRAM", "TASK"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(*options.one, options.folder)
        return
    count, size = (20, "4000x6000") if options.full else (options.frames, options.size)
    height, width = map(int, size.split("x"))
    with tempfile.TemporaryDirectory() as name:
        folder = (options.folder or Path(name)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        if not list(folder.glob("dark_*.fit")):
            write_frames(folder, count, height, width)
        lines = [f"{count} frames of {height} × {width}, 16-bit FITS; {machine()}.", ""]
        lines += compare(folder, options.runs, options.tasks, slow=not options.fast)
        if options.full:
            many = folder / "many"
            many.mkdir(exist_ok=True)
            for i in range(100):
                (many / f"dark_{i + 1:05d}.fit").symlink_to(folder / f"dark_{i % count + 1:05d}.fit")
            for task in ("median", "winsorized 3/3"):
                seconds, memory, work = measure("calibkit", task, many)
                lines.append(
                    f"| {task}, 100 frames | calibkit | {seconds:.2f} | | {work:.2f} | | {memory:.0f} |"
                )
            shutil.rmtree(many)
        lines += ["", first_use(folder)]
    text = "\n".join(lines)
    print(text)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
