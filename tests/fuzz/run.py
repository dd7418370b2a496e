"""Spoilt files by the thousand: ``python -m tests.fuzz.run --cases 10000``."""

from __future__ import annotations

import argparse
import json
import queue
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.mutations import mutate
from tests.fuzz.seeds import make_seeds
from tests.fuzz.target import LONGEST
from tests.fuzz.trees import make_tree

#: Share of the cases that are whole folders.
TREES = 0.06
#: Mutations after which a file may well hold other pixels; one that is cut off or goes on after its end may not.
_CHANGING = "flip|drop|repeat|zero|spoil|swap|truncate.*lengthen"


@dataclass(frozen=True)
class Failure:
    """One file that did what it should not: crash, hang, or end in something else than a clear message."""

    case: int
    how: str
    what: str

    def __str__(self) -> str:
        return f"case {self.case} ({self.how}): {self.what}"


class Reader:
    """The process that reads, started anew after a crash or a hang."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fuzz.target"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self._lines: queue.Queue[str] = queue.Queue()
        self._thread = threading.Thread(target=self._listen, args=(self._process, self._lines), daemon=True)
        self._thread.start()

    @staticmethod
    def _listen(process: subprocess.Popen, lines: queue.Queue[str]) -> None:
        for line in process.stdout:
            lines.put(line)
        lines.put("")

    def read(self, path: Path) -> list[str]:
        """What went wrong with *path*, a file or a folder; `pixels` is then a digest of what was read."""
        self.pixels: str | None = None
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        try:
            line = self._lines.get(timeout=LONGEST + 40 * (self._fresh + path.is_dir()))
        except queue.Empty:
            self.close()
            self._start()
            return [f"hangs: no answer in {LONGEST} s"]
        if not line:
            text = self._process.stderr.read()
            text = text[max(0, text.find("Fatal Python error")) :][:2000]
            code = self._process.wait()
            self.close()
            self._start()
            return [f"the process died, code {code}: {text}"]
        self._answered = self._process
        answer = json.loads(line)
        self.pixels = answer["pixels"]
        return answer["wrong"]

    @property
    def _fresh(self) -> bool:
        return getattr(self, "_answered", None) is not self._process

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._thread.join()
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            pipe.close()


def run(cases: int, seed: int, *, real: Path | None = None, keep: Path | None = None) -> list[Failure]:
    """Read *cases* spoilt files and folders; the failures, whose files are kept in the folder *keep*."""
    failures = []
    with tempfile.TemporaryDirectory(prefix="calibkit-fuzz-") as name:
        seeds = make_seeds(Path(name) / "seeds", real)
        whole: dict[Path, str | None] = {}
        reader = Reader()
        try:
            for case in range(cases):
                rng = random.Random(f"{seed}-{case}")
                folder = Path(name) / "case"
                if rng.random() < TREES:
                    path = folder / "night"
                    path.mkdir(parents=True)
                    how = make_tree(seeds, rng, path)
                    wrong = reader.read(path)
                else:
                    origin = rng.choice(seeds)
                    folder.mkdir()
                    path = folder / origin.name
                    how = mutate(origin, rng, path)
                    wrong = reader.read(path)
                    if reader.pixels and not re.search(_CHANGING, how):
                        if origin not in whole:
                            found = reader.pixels
                            assert reader.read(origin) == []
                            whole[origin], reader.pixels = reader.pixels, found
                        if reader.pixels != whole[origin]:
                            wrong.append("other pixels than the whole file has, and no word of it")
                failures += [Failure(case, how, what) for what in wrong]
                if wrong and keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    copy = shutil.copytree if path.is_dir() else shutil.copy
                    copy(path, keep / f"{case}-{path.name}", **({"symlinks": True} if path.is_dir() else {}))
                shutil.rmtree(folder)
        finally:
            reader.close()
    return failures


def main() -> int:
    """Run, and print what failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--real", type=Path, help="folder with frames of real cameras, spoilt too")
    parser.add_argument("--keep", type=Path, help="folder for the files that failed")
    args = parser.parse_args()
    failures = run(args.cases, args.seed, real=args.real, keep=args.keep)
    for failure in failures:
        sys.stdout.write(f"{failure}\n\n")
    sys.stdout.write(f"{args.cases} cases, {len(failures)} failures\n")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
