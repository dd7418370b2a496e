"""The kernels as plain Python: the same numbers as when compiled, and no index outside of an array."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np

from tests.plain_kernels import results

ROOT = Path(__file__).resolve().parents[2]


def test_plain_python_gives_what_the_compiled_kernels_give(tmp_path: Path) -> None:
    """Compiled code reads and writes beside an array without a word; numpy refuses."""
    path = tmp_path / "plain.npz"
    subprocess.run(
        [sys.executable, "-m", "tests.plain_kernels", str(path)],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        check=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on so few pixels much is uncertain
        compiled = results()
    with np.load(path) as plain:
        assert set(plain.files) == set(compiled)
        for name, numbers in compiled.items():
            if numbers.dtype.kind == "f":  # sums are taken in another order
                np.testing.assert_allclose(numbers, plain[name], rtol=2e-5, atol=1e-4, err_msg=name)
            else:
                np.testing.assert_array_equal(numbers, plain[name], err_msg=name)
