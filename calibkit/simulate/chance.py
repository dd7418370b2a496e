"""Random numbers that stay the same when something else is switched off.

Every effect of every frame has its own stream, and within it every band of rows, so that the numbers do
not depend on which other effects are on, on the number of threads or on the memory of the machine.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from calibkit.errors import SettingError
from calibkit.memory import worker_count

#: Rows drawn from one stream. Part of the definition of a simulated frame: another number, another frame.
BAND = 64
#: Frames of fewer pixels are not worth starting threads for.
_THREADS_FROM = 1_000_000


def stream(seed: int, what: str, *numbers: int) -> np.random.Generator:
    """The random numbers of *what* (an effect), for a frame and band told apart by *numbers*."""
    if not (isinstance(seed, int | np.integer) and seed >= 0):
        msg = f"seed={seed!r}: a whole number of 0 or more is allowed"
        raise SettingError(msg)
    sequence = np.random.SeedSequence((int(seed), zlib.crc32(what.encode()), *numbers))
    return np.random.Generator(np.random.SFC64(sequence))  # twice as fast as PCG64 for normal float32


def over_bands(shape: tuple[int, int], work: Callable[[int, int, int], None]) -> None:
    """Call ``work(number, y0, y1)`` for every band of rows of a frame of *shape*, on several threads if large."""
    jobs = [(i, y0, min(y0 + BAND, shape[0])) for i, y0 in enumerate(range(0, shape[0], BAND))]
    if shape[0] * shape[1] < _THREADS_FROM or worker_count() == 1:
        for job in jobs:
            work(*job)
        return
    with ThreadPoolExecutor(worker_count(), thread_name_prefix="calibkit-simulate") as pool:
        for _ in pool.map(lambda job: work(*job), jobs):
            pass


def normals(seed: int, what: str, shape: tuple[int, int], *numbers: int) -> np.ndarray:
    """Standard normal float32 numbers of *shape* for one band."""
    return stream(seed, what, *numbers).standard_normal(shape, dtype=np.float32)
