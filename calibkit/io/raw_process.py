"""Talks to the processes in which LibRaw runs: starts them, asks them, replaces the ones that crash."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from calibkit.errors import FrameFileError, OutputError
from calibkit.memory import memory_limit, worker_count

_SCRIPT = Path(__file__).with_name("raw_worker.py")
#: A file that LibRaw has not decoded after so many seconds is one that it cannot decode.
_PATIENCE = 300.0
#: Memory that decoding a large frame takes.
_PROCESS_BYTES = 2**30
_idle: queue.LifoQueue[_Worker] = queue.LifoQueue()
_slots = threading.BoundedSemaphore(max(1, min(worker_count(), memory_limit() // _PROCESS_BYTES)))
_all: list[_Worker] = []


class _Worker:
    """One process with LibRaw."""

    def __init__(self) -> None:
        self.owner = os.getpid()
        self.process = subprocess.Popen(
            # -P: the script's own folder stays out of the import path
            [sys.executable, "-P", str(_SCRIPT)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            start_new_session=True,  # Ctrl-C is for this process, not for that one
        )

    def ask(self, request: dict[str, Any]) -> dict[str, Any] | None:
        """The answer, or None when the process ended before it gave one."""
        process = self.process
        assert process.stdin is not None
        assert process.stdout is not None
        alarm = threading.Timer(_PATIENCE, process.kill)
        alarm.daemon = True
        alarm.start()
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            return None
        finally:
            alarm.cancel()
        return json.loads(line) if line.endswith("\n") else None

    def close(self) -> None:
        """End the process and wait for it."""
        if os.getpid() == self.owner and self.process.poll() is None:
            self.process.kill()
        if os.getpid() == self.owner:
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):  # what was not sent any more
                    pipe.close()


def ask_libraw(path: Path, out: Path | None = None) -> dict[str, Any]:
    """Identify the RAW file *path*, or decode it into *out*.

    Raises
    ------
    FrameFileError
        LibRaw does not know the file, reports damaged data, or crashes on it.
    OutputError
        The decoded frame cannot be written.
    """
    request = {"path": str(path.absolute()), "out": None if out is None else str(out)}
    with _slots:
        worker = _take()
        try:
            answer = worker.ask(request)
        except BaseException:  # interrupted while it works: its next answer would be to this question
            _end(worker)
            raise
        if answer is None:
            _end(worker)
            code = worker.process.returncode
            msg = f"{path}: LibRaw crashed on this file (it ended with {code}): the file is damaged"
            raise FrameFileError(msg)
        _idle.put(worker)
    if "error" in answer:
        raise _failure(path, answer)
    if answer["said"]:
        msg = f"{path}: LibRaw reports damaged data ({_said(path, answer)}). Copy the file again from the camera."
        raise FrameFileError(msg)
    return answer["facts"]


def _failure(path: Path, answer: dict[str, Any]) -> FrameFileError | OutputError:
    cause = ", ".join(filter(None, (answer["cause"], _said(path, answer))))
    if answer["errno"] is not None:
        return OutputError(
            f"{path}: the decoded frame cannot be kept ({cause}); is the temporary folder full?"
        )
    reasons = {
        "LibRawFileUnsupportedError": "the camera is not known to LibRaw, or the file is cut off or damaged",
        "LibRawIOError": "the file is cut off",
        "LibRawDataError": "its data are damaged or cut off",
    }
    reason = reasons.get(answer["error"], "LibRaw cannot decode it")
    return FrameFileError(f"{path}: {reason} (LibRaw: {cause}).")


def _said(path: Path, answer: dict[str, Any]) -> str:
    lines = [line.strip().removeprefix(f"{path.absolute()}: ") for line in answer["said"].splitlines()]
    return "; ".join(dict.fromkeys(filter(None, lines)))[:200]


def _take() -> _Worker:
    while True:
        try:
            worker = _idle.get_nowait()
        except queue.Empty:
            worker = _Worker()
            _all.append(worker)
            return worker
        if worker.owner == os.getpid() and worker.process.poll() is None:
            return worker
        _end(worker)


def _end(worker: _Worker) -> None:
    worker.close()
    if worker in _all:
        _all.remove(worker)


@atexit.register
def _end_all() -> None:
    for worker in tuple(_all):
        _end(worker)
