"""Transforms as files: damaged ones are refused, and one that is there is never half replaced."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibkit.align.transforms import Transform, Transforms
from calibkit.errors import FrameFileError, OutputError


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reference": 7}, "frame 7 of 2 as reference"),
        ({"reference": "x"}, "cannot be read"),
        ({"shape": [10]}, "cannot be read"),
        ({"frames": [{"name": "a"}]}, "cannot be read"),
        ({"frames": [3]}, "cannot be read"),
        ({"matrix": [[1, 0], [0, 1]]}, r"a matrix of \(2, 2\)"),
        ({"matrix": [[1, 0, 0], [0, 1]]}, "cannot be read"),
        ({"matrix": [["one", 0, 0]] * 3}, "cannot be read"),
    ],
)
def test_damaged_transforms_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    frames = [Transform(name, np.eye(3), rms=0.1, error=0.1, stars=9, ok=True) for name in "ab"]
    path = Transforms(tuple(frames), 0, "similarity", (30, 40), (0, 0)).save(tmp_path / "t.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    (content["frames"][1] if "matrix" in change else content).update(change)
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(FrameFileError, match=message) as caught:
        Transforms.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("data", [b"\xff\xfe\xfa", b"[" * 100_000, b"[1]", b"{", b""])
def test_files_that_are_no_transforms_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "t.json").write_bytes(data)
    with pytest.raises(FrameFileError, match=r"t\.json is no file of transforms"):
        Transforms.load(tmp_path / "t.json")


def test_transforms_that_cannot_be_written_leave_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = Transform("a", np.eye(3), rms=0.1, error=0.1, stars=9, ok=True)
    made = Transforms((frame,), 0, "similarity", (30, 40), (0, 0))
    before = made.save(tmp_path / "t.json").read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="disk is full"):
        replace(made, reference=0, model="translation").save(tmp_path / "t.json")
    assert [path.name for path in tmp_path.iterdir()] == ["t.json"]
    assert (tmp_path / "t.json").read_bytes() == before
