"""Spoilt files by the thousand: ``python -m tests.fuzz.run --cases 10000``."""

from __future__ import annotations

import argparse
import json
import queue
import random
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
        """What went wrong with *path*."""
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        try:
            line = self._lines.get(timeout=LONGEST + (40 if self._fresh else 0))
        except queue.Empty:
            self.close()
            self._start()
            return [f"hangs: no answer in {LONGEST} s"]
        if not line:
            text = self._process.stderr.read()[-2000:]
            code = self._process.wait()
            self.close()
            self._start()
            return [f"the process died, code {code}: {text}"]
        self._answered = self._process
        return json.loads(line)["wrong"]

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
    """Read *cases* spoilt files; the failures, whose files are kept in the folder *keep*."""
    failures = []
    with tempfile.TemporaryDirectory(prefix="calibkit-fuzz-") as name:
        seeds = make_seeds(Path(name) / "seeds", real)
        reader = Reader()
        try:
            for case in range(cases):
                rng = random.Random(f"{seed}-{case}")
                origin = rng.choice(seeds)
                folder = Path(name) / "case"
                folder.mkdir()
                path = folder / origin.name
                how = mutate(origin, rng, path)
                wrong = reader.read(path)
                failures += [Failure(case, how, what) for what in wrong]
                if wrong and keep is not None:
                    keep.mkdir(parents=True, exist_ok=True)
                    shutil.copy(path, keep / f"{case}-{origin.name}")
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
