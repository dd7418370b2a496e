"""The one decorator of every kernel, and where its machine code is kept.

Compiled kernels are kept in a folder of the user's, never beside the source, so that an install
which may only be read works. Each file holds one kernel for one set of argument types, one processor
and one state of the source, named by a hash of all of these, written in one step and checked when
read: processes may share the folder, and a wrong or torn file is as good as none. numba's own cache
numbers its files, so that two processes which compile at the same time can swap theirs (numba#4807).

``CALIBKIT_KERNEL_CACHE`` names another folder, or turns the cache off with ``off``.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import pickle
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import numba
from numba.core import caching
from numba.core.compiler import Compiler
from numba.core.dispatcher import Dispatcher

SWITCH = "CALIBKIT_KERNEL_CACHE"


@cache
def cache_folder() -> Path | None:
    """The folder of compiled kernels, or None when it is turned off or nothing can be written there."""
    setting = os.environ.get(SWITCH, "")
    if setting.lower() in ("off", "0", "no", "false"):
        return None
    if setting:
        folder = Path(setting)
    else:
        import platformdirs

        folder = platformdirs.user_cache_path("calibkit", appauthor=False) / "kernels"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return None
    return folder


@cache
def _text_of(path: str) -> bytes:
    return Path(path).read_bytes()


def _collect_files(function: Callable, files: set[str]) -> None:
    file = inspect.getfile(function)
    if file not in files:
        files.add(file)
        for value in function.__globals__.values():
            if isinstance(value, Dispatcher):
                _collect_files(value.py_func, files)


def source_stamp(function: Callable) -> str:
    """Hash of everything that the machine code of *function* comes from, but for types and processor.

    That is its own file and the files of the kernels which it imports, since they are compiled into it.
    """
    files: set[str] = set()
    _collect_files(function, files)
    digest = hashlib.sha256(f"{numba.__version__} {llvmlite.__version__}".encode())
    for path in sorted(files):
        digest.update(_text_of(path))
    return digest.hexdigest()


class _Locator(caching._CacheLocator):
    """Tells numba's cache the folder and the state of the source."""

    def __init__(self, function: Callable, file: str) -> None:
        self._py_file = file
        self._function = function

    @classmethod
    def from_function(cls, function: Callable, file: str) -> _Locator:
        return cls(function, file)

    def get_cache_path(self) -> str:
        return str(cache_folder())

    def get_source_stamp(self) -> str:
        return source_stamp(self._function)

    def ensure_cache_path(self) -> None:
        """Nothing to do: `cache_folder` has made sure, and a folder that is gone since does no harm."""

    def get_disambiguator(self) -> str:
        return str(self._function.__code__.co_firstlineno)


class _Files:
    """Keeps compiled kernels, one file each."""

    def __init__(self, folder: Path, base: str, stamp: str) -> None:
        self._folder, self._base, self._stamp = folder, base, stamp

    def _path(self, key: object) -> Path:
        name = hashlib.sha256(f"{self._stamp} {key!r}".encode()).hexdigest()[:24]
        return self._folder / f"{self._base}.{name}.nbc"

    def load(self, key: object) -> Any:
        try:
            content = self._path(key).read_bytes()
        except OSError:
            return None
        digest, data = content[:32], content[32:]
        return pickle.loads(data) if hashlib.sha256(data).digest() == digest else None

    def save(self, key: object, value: object) -> None:
        data = caching.dumps(value)
        path = self._path(key)
        try:
            handle, name = tempfile.mkstemp(prefix=path.name, dir=self._folder)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(hashlib.sha256(data).digest() + data)
                Path(name).replace(path)
            except OSError:
                Path(name).unlink(missing_ok=True)
        except OSError:  # the folder is full or gone: the kernel is there all the same
            return

    def flush(self) -> None:
        for path in self._folder.glob(f"{self._base}.*.nbc"):
            path.unlink(missing_ok=True)


class _Impl(caching.CompileResultCacheImpl):
    _locator_classes = [_Locator]  # noqa: RUF012 (the name and kind are numba's)


class KernelCache(caching.Cache):
    """numba's cache with our folder and our files."""

    _impl_class = _Impl

    def __init__(self, function: Callable) -> None:
        super().__init__(function)
        locator = self._impl.locator
        self._cache_file = _Files(
            Path(self._cache_path), self._impl.filename_base, locator.get_source_stamp()
        )


class _ApartCompiler(Compiler):
    """numba's compiler for functions whose array arguments share no memory.

    Without this promise a loop over more than a few arrays is not turned into vector instructions.
    """

    def _compile_bytecode(self) -> Any:
        self.state.flags.noalias = True
        return super()._compile_bytecode()


def kernel(function: Callable | None = None, *, apart: bool = False, **options: Any) -> Callable:
    """Compile *function* with numba when it is first called, without the GIL, kept between sessions.

    Parameters
    ----------
    apart : bool
        No two array arguments share memory in which one of them is written.
    **options
        Passed to `numba.njit`, e.g. ``fastmath=True``. ``nogil`` is always on, and division by zero
        gives what numpy gives.
    """
    if function is None:
        return lambda f: kernel(f, apart=apart, **options)
    if apart:
        options["pipeline_class"] = _ApartCompiler
    compiled = numba.njit(nogil=True, error_model="numpy", **options)(function)
    if isinstance(compiled, Dispatcher) and cache_folder() is not None:  # it is not with NUMBA_DISABLE_JIT
        compiled._cache = KernelCache(function)
    return compiled
