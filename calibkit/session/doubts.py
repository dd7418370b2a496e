"""What is doubtful about a folder, said with the way out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

import numpy as np

from calibkit.session.frame import Frame
from calibkit.session.kinds import Verdict
from calibkit.session.wording import listed, plural


def how_to_tell(kind: str, pattern: str) -> str:
    """How the user says what frames are, in Python and on the command line."""
    return f"kinds={{{kind!r}: {pattern!r}}}, or --{kind.replace(' ', '-')} {pattern!r} on the command line"


def contradictions(relatives: Sequence[str], verdicts: Sequence[Verdict]) -> list[str]:
    """One warning for all files whose header and name say different things in the same way."""
    cases: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for relative, verdict in zip(relatives, verdicts, strict=True):
        if verdict.contradiction:
            cases[PurePosixPath(relative).parent.as_posix(), verdict.kind, verdict.named].append(relative)
    reasons = dict(zip(relatives, verdicts, strict=True))
    warnings = []
    for (_, kind, named), files in cases.items():
        verdict = reasons[files[0]]
        pattern = common_pattern(files, relatives)
        warnings.append(
            f"{plural(len(files), 'file')} ({listed(files, 1)}): header says {kind} ({verdict.reason}), but "
            f"{verdict.contradiction}: taken as {kind}. If the name is right: {how_to_tell(named, pattern)}"
        )
    return warnings


def common_pattern(files: Sequence[str], among: Sequence[str]) -> str:
    """A pattern that fits these files and no others of *among*, as far as their beginning allows.

    >>> common_pattern(["a/flat1.fit", "a/flat2.fit"], ["a/flat1.fit", "a/flat2.fit", "b/dark.fit"])
    'a/flat*'
    """
    first, last = min(files), max(files)
    same = next(
        (i for i, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first)
    )
    pattern = first[:same].rstrip("0123456789") + "*" if len(files) > 1 else first
    caught = sum(fnmatchcase(name, pattern) for name in among)
    return pattern if caught == len(files) else "PATTERN"


def unknown_kinds(frames: Sequence[Frame]) -> list[str]:
    """A warning when there are frames whose kind nothing says."""
    unknown = [frame.relative for frame in frames if not frame.kind]
    if not unknown:
        return []
    text = (
        f"{plural(len(unknown), 'frame')} of unknown kind ({listed(unknown)}): neither header, folder nor file name "
        "says it. Left out until told, such as: "
        + how_to_tell("light", common_pattern(unknown, [frame.relative for frame in frames]))
    )
    return [text]


def copies(frames: Sequence[Frame]) -> list[str]:
    """Frames that are there in two copies: ``a.fit`` and ``a.fit.gz``, or the same file in two folders."""
    alike: dict[tuple[str, str, tuple[int, int]], list[str]] = defaultdict(list)
    for frame in frames:
        if not np.isnat(frame.info.time):
            stem = PurePosixPath(frame.relative).name.partition(".")[0]
            alike[stem, str(frame.info.time), frame.info.shape].append(frame.relative)
    twice = [files for files in alike.values() if len(files) > 1]
    if not twice:
        return []
    text = (
        f"{plural(len(twice), 'frame')} there more than once ({' = '.join(twice[0])}): the copies are not "
        "independent and make the noise look lower than it is; keep one of each"
    )
    return [text]
