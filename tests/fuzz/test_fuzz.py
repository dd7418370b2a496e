"""Five hundred spoilt files: each is read, or refused in a clear message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz.records import attempt
from tests.fuzz.run import Reader, run


def test_spoilt_files_are_refused_clearly() -> None:
    failures = run(500, seed=1)
    assert not failures, "\n\n".join(map(str, failures))


def test_spoilt_frames_of_real_cameras_are_refused_clearly(shared_data: Callable[[str], Path]) -> None:
    failures = run(100, seed=2, real=shared_data("robust"))
    assert not failures, "\n\n".join(map(str, failures))


def test_runs_go_on_from_spoilt_records_as_from_none() -> None:
    wrong = attempt(6, seed=3)
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.parametrize("size", ["100000", "2147483647"])
def test_a_header_that_claims_too_much_allocates_nothing(tmp_path: Path, size: str) -> None:
    cards = ["SIMPLE  = T", "BITPIX  = -64", "NAXIS   = 2", f"NAXIS1  = {size}", f"NAXIS2  = {size}", "END"]
    path = tmp_path / "huge.fits"
    path.write_bytes("".join(card.ljust(80) for card in cards).encode().ljust(2880) + bytes(2880))
    reader = Reader()
    try:
        assert reader.read(path) == []
    finally:
        reader.close()
