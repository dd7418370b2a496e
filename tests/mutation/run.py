"""A sample of small errors in one part of the package, each against its tests: ``python -m tests.mutation.run noise``.

What is printed are the survivors: errors that no test has noticed. Each is either worth a test, or changes nothing
that can be seen (the first guess of an iteration, a size of blocks, what is said twice).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.mutation.mutants import Mutant, mutants

ROOT = Path(__file__).resolve().parents[2]
#: What is made wrong → the tests that should notice, the quickest first.
PARTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "noise": (("calibkit/noise.py",), ("unit/test_noise.py",)),
    "cfa": (
        ("calibkit/cfa/*.py",),
        ("unit/test_cfa.py", "properties/test_cfa.py", "unit/test_told_pattern.py"),
    ),
    "calibrate": (
        ("calibkit/calibration/*.py", "calibkit/kernels/calibrate.py", "calibkit/kernels/flat.py"),
        (
            "unit/test_calibrated_rows.py",
            "unit/test_calibration.py",
            "unit/test_masters.py",
            "unit/test_scatter.py",
            "unit/test_bias_overscan.py",
            "unit/test_made_rows.py",
            "properties/test_calibration.py",
        ),
    ),
    "scatter": (
        ("calibkit/kernels/scatter.py", "calibkit/calibration/pairs.py"),
        ("unit/test_scatter.py", "unit/test_noise.py"),
    ),
    "statistics": (
        ("calibkit/statistics.py", "calibkit/kernels/neighbours.py"),
        ("unit/test_statistics.py",),
    ),
    "defects": (
        (
            "calibkit/defects/*.py",
            "calibkit/kernels/defects.py",
            "calibkit/kernels/repair.py",
            "calibkit/kernels/tile_statistics.py",
        ),
        ("unit/test_defects.py", "unit/test_defects_oracle.py", "unit/test_calibrated_rows.py"),
    ),
    "align": (
        (
            "calibkit/align/*.py",
            "calibkit/kernels/drizzle.py",
            "calibkit/kernels/footprint.py",
            "calibkit/kernels/parts.py",
            "calibkit/kernels/resample.py",
            "calibkit/kernels/stars.py",
        ),
        (
            "unit/test_align_transforms.py",
            "unit/test_align_register.py",
            "unit/test_align_stack.py",
            "unit/test_made_rows.py",
        ),
    ),
    "combine": (
        (
            "calibkit/combining/*.py",
            "calibkit/kernels/rejection*.py",
            "calibkit/kernels/stacking.py",
            "calibkit/kernels/samples.py",
            "calibkit/kernels/sorting.py",
        ),
        (
            "unit/test_combine.py",
            "unit/test_combine_levels.py",
            "unit/test_combine_rejection.py",
            "unit/test_combine_files.py",
            "unit/test_combine_coarse.py",
            "unit/test_combine_trial.py",
            "unit/test_combine_efficiency.py",
            "properties/test_combine.py",
        ),
    ),
}
#: Starts a process for each mutant; what takes long to load and is not spoilt is loaded once.
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["pytest", "numba", "dask.array", "xarray", "astropy.io.fits", "scipy.stats"])
#: No part of what runs: makes the table of efficiencies anew.
_LEFT_OUT = ("make_efficiency.py",)


def tests_pass(tree: Path, tests: tuple[str, ...], seconds: float) -> bool:
    """Whether the tests pass with the package in *tree* within *seconds*; an error that hangs is noticed too."""
    process = _SERVER.Process(target=_test, args=(str(tree), tests))
    process.start()
    process.join(seconds)
    if process.exitcode is None:
        process.kill()
        process.join()
    return process.exitcode == 0


def _test(tree: str, tests: tuple[str, ...]) -> None:
    sys.path.insert(0, tree)
    os.environ["PYTHONPATH"] = tree
    os.chdir(ROOT)
    sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (until the process ends)
    import pytest

    options = ["-x", "-q", "-p", "no:cacheprovider", "--tb=no"]
    code = pytest.main([*options, *(f"tests/{name}" for name in tests)])
    import calibkit

    assert Path(calibkit.__file__).is_relative_to(tree), "the spoilt package is the one that is tested"
    os._exit(code)


def sample(part: str, count: int, seed: int) -> list[tuple[Path, Mutant]]:
    """*count* mutants of the part, drawn from all, as (file below the root, mutant)."""
    patterns = PARTS[part][0]
    files = sorted(
        {path for pattern in patterns for path in ROOT.glob(pattern) if path.name not in _LEFT_OUT}
    )
    found = [
        (path.relative_to(ROOT), mutant)
        for path in files
        for mutant in mutants(path.read_text(encoding="utf-8"))
    ]
    chosen = random.Random(seed).sample(range(len(found)), min(count, len(found)))
    sys.stdout.write(f"{part}: {len(chosen)} of {len(found)} mutants\n")
    return [found[i] for i in sorted(chosen)]


def main() -> int:
    """Run, and print the survivors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--count", type=int, default=50, help="how many mutants (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="which ones (default: %(default)s)")
    args = parser.parse_args()
    tests = PARTS[args.part][1]
    survivors = 0
    with tempfile.TemporaryDirectory(prefix="calibkit-mutation-") as name:
        tree = Path(name)
        shutil.copytree(ROOT / "calibkit", tree / "calibkit", ignore=shutil.ignore_patterns("__pycache__"))
        os.environ["CALIBKIT_KERNEL_CACHE"] = str(
            tree / "kernels"
        )  # spoilt kernels are not kept among the user's
        start = time.monotonic()
        if not tests_pass(tree, tests, 3600.0):
            sys.stdout.write("the tests fail without any error written in: mend that first\n")
            return 2
        limit = 60.0 + 5.0 * (time.monotonic() - start)
        chosen = sample(args.part, args.count, args.seed)
        for path, mutant in chosen:
            whole = (tree / path).read_text(encoding="utf-8")
            (tree / path).write_text(mutant.text, encoding="utf-8")
            if tests_pass(tree, tests, limit):
                survivors += 1
                sys.stdout.write(f"survives: {path}, {mutant}\n")
            (tree / path).write_text(whole, encoding="utf-8")
            sys.stdout.flush()
    sys.stdout.write(f"{len(chosen) - survivors} of {len(chosen)} noticed\n")
    return bool(survivors)


if __name__ == "__main__":
    sys.exit(main())
