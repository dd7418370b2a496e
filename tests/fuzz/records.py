"""Output folders in which something has changed what a run left: ``python -m tests.fuzz.records --cases 300``.

A run into such a folder ends with the same bytes as one into an empty folder, or says why not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import shutil
import sys
import tempfile
import traceback
import warnings
from pathlib import Path
from typing import Any

import calibkit
from calibkit import CalibkitError, Camera, FrameSet, Recipe, write_session
from calibkit.recipe import LightSettings
from tests.fuzz.mutations import mutate

_VALUES = (
    None,
    True,
    -1,
    0,
    1e308,
    float("nan"),
    "",
    "../../../x",
    "<b>",
    [],
    {},
    [[]],
    {"a": {}},
    2**70,
    "\ud800",
)
_HIDDEN = ".calibkit"


def write_night(folder: Path) -> Path:
    """Three lights of a small sensor, with their darks and flats."""
    sets = [
        FrameSet(kind="dark", count=3, exposure=60.0),
        FrameSet(kind="flat", count=3, exposure=2.0),
        FrameSet(kind="flat dark", count=3, exposure=2.0),
        FrameSet(kind="light", count=3, exposure=60.0),
    ]
    return write_session(folder, Camera(shape=(96, 128)), sets)


def run(night: Path, folder: Path, *, keep: bool) -> list[str]:
    """A run with everything that leaves records; what failed."""
    recipe = Recipe(lights=LightSettings(keep=keep))
    done = calibkit.process(night, recipe, folder / "out", library=folder / "library", report=False)
    return [row.error for row in done.failed]


def results(out: Path) -> dict[str, str]:
    """Every result → its digest."""
    files = (path for path in sorted(out.rglob("*")) if path.is_file() and _HIDDEN not in path.parts)
    return {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def spoil(out: Path, rng: random.Random) -> str:
    """Change one to three things below *out*; what, in words."""
    done = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        files = [path for path in sorted(out.rglob("*")) if path.is_file()]
        records = [path for path in files if path.suffix == ".json"]
        path = rng.choice(records if records and rng.random() < 0.8 else files)
        how = rng.choice((_bytes, _value, _value, _value, _swapped, _gone, _folder, _deep))
        how(path, rng, files)
        done.append(f"{how.__name__} {path.relative_to(out)}")
    return ", ".join(done)


def _bytes(path: Path, rng: random.Random, files: list[Path]) -> None:
    mutate(path, rng, path) if path.stat().st_size else path.write_bytes(b"\0")


def _value(path: Path, rng: random.Random, files: list[Path]) -> None:
    """Another value somewhere, or none, in a file of JSON."""
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        data = None
    places: list[tuple[Any, Any]] = []
    waiting = [data] if isinstance(data, dict | list) else []
    while waiting:
        found = waiting.pop()
        keys = found if isinstance(found, dict) else range(len(found))
        places += [(found, key) for key in keys]
        waiting += [found[key] for key in keys if isinstance(found[key], dict | list)]
    if not places:
        _bytes(path, rng, files)
        return
    holder, key = rng.choice(places)
    if isinstance(holder, dict) and rng.random() < 0.3:
        del holder[key]
    else:
        holder[key] = rng.choice(_VALUES)
    path.write_bytes(json.dumps(data).encode("utf-8", "surrogatepass"))


def _swapped(path: Path, rng: random.Random, files: list[Path]) -> None:
    """The bytes of another file of its kind."""
    others = [other for other in files if other.suffix == path.suffix]
    path.write_bytes(rng.choice(others).read_bytes())


def _gone(path: Path, rng: random.Random, files: list[Path]) -> None:
    path.unlink()


def _folder(path: Path, rng: random.Random, files: list[Path]) -> None:
    path.unlink()
    path.mkdir()
    (path / "in it").touch()


def _deep(path: Path, rng: random.Random, files: list[Path]) -> None:
    path.write_bytes(b"[" * 100_000)


def attempt(cases: int, seed: int) -> list[str]:
    """Spoil and run as often as that; what should not have happened."""
    wrong = []
    with tempfile.TemporaryDirectory(prefix="calibkit-records-") as name:
        night = write_night(Path(name) / "night")
        whole = {}
        for keep in (True, False):
            first = Path(name) / f"first {keep}"
            assert run(night, first, keep=keep) == []
            whole[keep] = results(first / "out")
        for case in range(cases):
            keep = case % 2 == 0
            rng = random.Random(f"{seed}-{case}")
            again = Path(name) / "again"
            shutil.copytree(Path(name) / f"first {keep}", again, copy_function=shutil.copy2)
            how = spoil(again, rng)
            try:
                failed = run(night, again, keep=keep)
            except CalibkitError as error:
                failed = [str(error)]
            except Exception:  # noqa: BLE001 (finding out which is the point)
                wrong.append(f"case {case} ({how}): {traceback.format_exc(limit=-6)}")
                failed = ["?"]
            if failed and "_folder" not in how:
                wrong.append(f"case {case} ({how}): {failed}")
            if not failed and results(again / "out") != whole[keep]:
                wrong.append(f"case {case} ({how}): other bytes than an undisturbed run")
            shutil.rmtree(again)
    return wrong


def main() -> int:
    """Run, and print what failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=300, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    wrong = attempt(args.cases, args.seed)
    sys.stdout.write("\n\n".join([*wrong, f"{args.cases} cases, {len(wrong)} failures\n"]))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
