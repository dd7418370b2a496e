"""A folder into a session: find the frames, read their headers, decide what they are."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from calibkit import io
from calibkit.cfa import Pattern
from calibkit.errors import CalibkitError, FrameFileError
from calibkit.io.detect import looks_like_frame
from calibkit.io.source import FrameInfo, told_pattern
from calibkit.meta import KINDS
from calibkit.progress import Progress, silent
from calibkit.session.doubts import contradictions, copies, how_to_tell, unknown_kinds
from calibkit.session.facts import RECORDS, clock_offset, written_by_calibkit
from calibkit.session.frame import Frame, make_frame, natural_key
from calibkit.session.kinds import Verdict, decide_kind, master_in_name, told_kinds
from calibkit.session.nights import nights_of
from calibkit.session.session import Session
from calibkit.session.tolerances import Tolerances
from calibkit.session.wording import plural

_THREADS = 8


def scan(
    folder: str | os.PathLike[str],
    *,
    kinds: Mapping[str, str | Iterable[str]] | None = None,
    cfa: str | None = None,
    recursive: bool = True,
    tolerances: Tolerances | None = None,
    progress: Progress = silent,
) -> Session:
    """Find the frames in a folder, say what each is, group them and match them.

    Only headers are read. What cannot be read does not stop the scan: it is in `Session.unreadable` with
    the reason. Hidden files and folders, and what calibkit itself wrote, are passed over.

    Parameters
    ----------
    folder : path
        Where the frames are.
    kinds : dict, optional
        Kind → file name pattern or patterns, such as ``{"flat": "flat-*", "light": ["*_b1*", "M42/*"]}``,
        for frames that do not say what they are or say it wrongly. Kinds are "bias", "dark", "flat",
        "flat dark" and "light". Patterns are compared with the path below *folder* and with the file name.
    cfa : str, optional
        The colour filters of all frames, as for `open_stack`, where the files do not say or say it wrongly: ``""`` for a
        camera whose filters were removed. Masters among the frames say it themselves.
    recursive : bool
        Look into the folders below as well.
    tolerances : Tolerances, optional
        How far apart frames may be and still belong together.
    progress : callable
        Called as ``progress(done, total, what)``.

    Returns
    -------
    Session
        Table, groups, matches and warnings.

    Raises
    ------
    CalibkitError
        When the folder does not exist, holds no files, or no frame that can be read.
    SettingError
        When *kinds* names a kind that does not exist or a pattern that no file fits, or *cfa* is no pattern of filters.

    Notes
    -----
    The kind of a frame is decided by, in this order: *kinds*; the header (IMAGETYP and its kin) or EXIF; the
    names of the folders, innermost first; the file name; the name of *folder*; an exposure of 0 s (bias).
    Frames that nothing says anything about stay unknown; only when that is so for every frame of the session
    are they taken as lights.

    Examples
    --------
    >>> import calibkit
    >>> session = calibkit.scan(calibkit.sample_session("ccd"))
    >>> session.matches[0].why["dark"]
    '11 frames, 240 s, −46.0 °C (light: −46.0 °C)'
    """
    Pattern(cfa or "")  # what is no pattern is refused before anything is read
    root = Path(folder).expanduser()
    files, closed = _find(root, recursive=recursive)
    found, unreadable, ours = _read(root, files, progress)
    unreadable |= closed
    if not found:
        raise CalibkitError(_nothing(root, len(files), unreadable, ours))
    found = [(name, info if info.master else told_pattern(info, cfa)) for name, info in found]
    told = told_kinds(kinds, [relative for relative, _ in found])
    session = assemble(
        found, folder=root, told=told, tolerances=tolerances, unreadable=unreadable, ignored=ours
    )
    asked = {
        "kinds": (kinds, None),
        "cfa": (cfa, None),
        "recursive": (recursive, True),
        "tolerances": (tolerances, None),
    }
    session.asked = {name: value for name, (value, default) in asked.items() if value != default}
    return session


def assemble(
    found: Sequence[tuple[str, FrameInfo]],
    *,
    folder: Path,
    told: Mapping[str, str] | None = None,
    tolerances: Tolerances | None = None,
    unreadable: Mapping[Path, str] | None = None,
    ignored: Sequence[Path] = (),
) -> Session:
    """The session of frames whose headers are read: (path below *folder*, what the file says)."""
    ordered = sorted(found, key=lambda item: natural_key(item[0]))
    root = folder.resolve().name
    verdicts = [decide_kind(info, rel, root=root, told=(told or {}).get(rel, "")) for rel, info in ordered]
    warnings = contradictions([rel for rel, _ in ordered], verdicts)
    if not any(verdict.kind for verdict in verdicts):
        reason = "no frame here says what it is: taken as a light"
        verdicts = [Verdict("light", reason)] * len(ordered)
        warnings.append(
            f"no frame says what it is, so {plural(len(ordered), 'frame')} taken as lights. If some are not: "
            + how_to_tell("dark", "PATTERN")
        )
    offsets = [clock_offset(info.header, info.time) for _, info in ordered]
    nights = nights_of([info.time for _, info in ordered], offsets)
    frames = [
        _frame(relative, info, verdict, night)
        for (relative, info), verdict, night in zip(ordered, verdicts, nights, strict=True)
    ]
    warnings += [*unknown_kinds(frames), *copies(frames)]
    return Session(
        folder=folder,
        frames=frames,
        tolerances=tolerances or Tolerances(),
        unreadable=dict(unreadable or {}),
        ignored=list(ignored),
        scan_warnings=warnings,
    )


def _frame(relative: str, info: FrameInfo, verdict: Verdict, night: str) -> Frame:
    named = master_in_name(relative)
    master = f"{named!r} says that it is combined" if named and verdict.kind in KINDS else ""
    frame = make_frame(info, relative, kind=verdict.kind, reason=verdict.reason, night=night, master=master)
    return replace(frame, info=replace(info, header={}))  # thousands of headers would fill the memory


def _find(root: Path, *, recursive: bool) -> tuple[list[Path], dict[Path, str]]:
    """Files below *root*, and the folders that cannot be read."""
    if not root.is_dir():
        what = "is a file, not a folder: give the folder it is in" if root.exists() else "does not exist"
        msg = f"{root}: this {what}" if root.exists() else f"{root}: this folder {what}"
        raise CalibkitError(msg)
    closed: dict[Path, str] = {}
    files = list(_walk(root, recursive=recursive, closed=closed, seen=set()))
    if root in closed:
        raise CalibkitError(closed[root])
    return sorted(files, key=lambda path: natural_key(path.as_posix())), closed


def _walk(
    folder: Path, *, recursive: bool, closed: dict[Path, str], seen: set[tuple[int, int]]
) -> Iterator[Path]:
    """Files, hidden ones left out; linked folders are followed once."""
    try:
        state = folder.stat()
        entries = (
            [] if (state.st_dev, state.st_ino) in seen else sorted(os.scandir(folder), key=lambda e: e.name)
        )
    except OSError as error:
        closed[folder] = f"{folder}: the folder cannot be read ({error.strerror})"
        return
    seen.add((state.st_dev, state.st_ino))
    for entry in entries:
        if entry.name.startswith(".") or entry.name == "__MACOSX":
            continue
        path = Path(entry.path)
        if _is_folder(path):
            if recursive:
                yield from _walk(path, recursive=True, closed=closed, seen=seen)
        elif _is_file(path):
            yield path


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # a link to where one may not look
        return False


def _is_file(path: Path) -> bool:
    try:
        return path.is_file() or not path.exists()  # a link to nowhere is told when it is read
    except OSError:
        return True


def _read(
    root: Path, files: Sequence[Path], progress: Progress
) -> tuple[list[tuple[str, FrameInfo]], dict[Path, str], list[Path]]:
    """Headers of all frames, what cannot be read and why, and what calibkit wrote."""
    found: list[tuple[str, FrameInfo]] = []
    unreadable: dict[Path, str] = {}
    ours: list[Path] = []
    with ThreadPoolExecutor(_THREADS) as pool:
        try:
            for done, (path, result) in enumerate(zip(files, pool.map(_info, files), strict=True), start=1):
                progress(done, len(files), "reading headers")
                if isinstance(result, FrameInfo):
                    if written_by_calibkit(result.header) or _recorded(path):
                        ours.append(path)
                    else:
                        found.append((path.relative_to(root).as_posix(), result))
                elif result:
                    unreadable[path] = result
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return found, unreadable, ours


def _recorded(path: Path) -> bool:
    """Whether a run has kept a record of the file: a picture has no header that says whose it is."""
    return (path.parent.parent / RECORDS / path.parent.name / f"{path.name}.json").is_file()


def _info(path: Path) -> FrameInfo | str:
    """What the file says, else why it cannot be read, "" when it is no frame at all."""
    try:
        return io.read_info(path)
    except FrameFileError as error:
        return str(error) if looks_like_frame(path) else ""
    except OSError as error:
        return f"{path}: cannot be read ({error.strerror})"


def _nothing(root: Path, files: int, unreadable: Mapping[Path, str], ours: Sequence[Path]) -> str:
    if not files:
        return f"{root}: this folder is empty; put FITS, camera RAW or 16-bit TIFF/PNG frames into it"
    if unreadable:
        reasons = "; ".join(list(unreadable.values())[:3])
        return f"{root}: none of its {plural(len(unreadable), 'frame file')} can be read: {reasons}"
    if ours:
        return f"{root}: there are only files that calibkit wrote, no raw frames"
    return (
        f"{root}: no frames among its {plural(files, 'file')}; wanted are FITS, camera RAW or 16-bit TIFF/PNG"
    )
