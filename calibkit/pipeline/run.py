"""A whole session: masters, calibrated lights and a report, in one call."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from calibkit.errors import CalibkitError, SettingError
from calibkit.pipeline.camera import PerChannel, camera_of
from calibkit.pipeline.lights import LightMaker
from calibkit.pipeline.making import MasterMaker, collected
from calibkit.pipeline.plan import LightPlan, Plan, all_specs, companions, plan_lights
from calibkit.pipeline.result import LightRow, RunResult
from calibkit.pipeline.store import REPORT, Store, light_names
from calibkit.progress import Progress, silent
from calibkit.session import Session, Tolerances, scan
from calibkit.session.wording import listed


def calibrate_session(
    session: Session | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    kinds: Mapping[str, str | Iterable[str]] | None = None,
    tolerances: Tolerances | None = None,
    combine: Mapping[str, Any] | None = None,
    gain: PerChannel | None = None,
    read_noise: PerChannel | None = None,
    repair: bool = True,
    overwrite: bool = False,
    report: bool = True,
    progress: Progress = silent,
) -> RunResult:
    """Make the masters of a session, calibrate its lights with them, and write a report.

    Results go to ``out/masters`` and ``out/lights`` as FITS files with variance, flags and the record of what
    was done. What is finished is not done again: a run that was stopped goes on where it was, and after a
    change only what depends on it is redone. A light that fails stops no other.

    Parameters
    ----------
    session : Session or path
        From `calibkit.scan`, or the folder to be scanned.
    out : path
        Folder of the results, made if it is not there; it may lie in the session's folder, but not be it.
    kinds : dict, optional
        What the frames are where they do not say, as for `calibkit.scan`; only with a folder.
    tolerances : Tolerances, optional
        How far apart frames may be and still belong together; only with a folder.
    combine : dict, optional
        Options of `calibkit.combine` for the masters, such as ``{"method": "median"}``.
    gain : float or mapping of channel to float, optional
        Electrons per ADU; by default what the frames say, else measured from flats and biases.
    read_noise : float or mapping of channel to float, optional
        Electrons; by default what the frames say, else what the biases or darks show.
    repair : bool
        Replace hot and other bad pixels by neighbours of the same channel.
    overwrite : bool
        Do everything again, and replace files that calibkit did not write.
    report : bool
        Write ``out/report.html``.
    progress : callable
        Called as ``progress(done, total, what)``; may raise `calibkit.Cancelled`.

    Returns
    -------
    RunResult
        A row for every light and master, warnings, the path of the report.

    Raises
    ------
    CalibkitError
        The folder cannot be scanned or holds nothing that can be used.
    SettingError
        A setting that cannot work, or *out* is the folder of the frames.
    OutputError
        *out* cannot be written, the disk is full, or another run is writing there.
    Cancelled
        *progress* asked to stop; what is finished is kept.

    Notes
    -----
    What is missing is replaced by the best that remains, and said: without a dark of the lights' exposure a
    longer one is scaled after its bias is subtracted; without any dark the bias alone is subtracted; without
    biases the black level that the camera states; without a flat nothing is divided. A light for which there
    is none of these fails.

    Examples
    --------
    >>> import calibkit
    >>> import tempfile
    >>> night = calibkit.sample_session("ccd")
    >>> done = calibkit.calibrate_session(night, tempfile.mkdtemp() + "/done")
    >>> len(done.table), set(done.table["status"])
    (10, {'made'})
    """
    start = time.monotonic()
    session = _session(session, kinds, tolerances, progress)
    out = Path(out).expanduser()
    _check_folders(session, out)
    store = Store(out, inputs=[frame.path for frame in session.frames], overwrite=overwrite)
    with store.locked():
        maker = MasterMaker(store, combine=combine or {}, tolerances=session.tolerances, progress=progress)
        lights, warnings = _work(
            session, store, maker, given=(gain, read_noise), repair=repair, progress=progress
        )
        result = RunResult(session, out, lights, maker.rows, [*session.warnings, *warnings])
        result.seconds = time.monotonic() - start
        if report:
            from calibkit.report import write_report

            result.report = write_report(result, out / REPORT, progress=progress)
    result.seconds = time.monotonic() - start
    return result


def plan_session(session: Session) -> Plan:
    """What `calibrate_session` would do, as far as headers tell.

    Parameters
    ----------
    session : Session
        From `calibkit.scan`.

    Returns
    -------
    Plan
        Plans for the lights, and the masters in the order in which they are made.
    """
    plans = [plan_lights(match, lambda _: True) for match in session.matches]
    extra = companions(session, lambda _: True)
    return Plan(tuple(plans), tuple(all_specs(plans, extra)), tuple(_merged(_plan_notes(plans))))


def _session(
    session: Session | str | os.PathLike[str],
    kinds: Mapping[str, str | Iterable[str]] | None,
    tolerances: Tolerances | None,
    progress: Progress,
) -> Session:
    if not isinstance(session, Session):
        return scan(session, kinds=kinds, tolerances=tolerances, progress=progress)
    if kinds is not None or tolerances is not None:
        msg = "kinds= and tolerances= are for scanning a folder; this session is scanned: give them to calibkit.scan"
        raise SettingError(msg)
    return session


def _check_folders(session: Session, out: Path) -> None:
    if out.exists() and out.resolve() == session.folder.resolve():
        msg = (
            f"{out} is the folder of the frames: give another one for the results, e.g. {out / 'calibrated'}"
        )
        raise SettingError(msg)
    if out.exists() and not out.is_dir():
        msg = f"{out} is a file: give a folder for the results"
        raise SettingError(msg)


def _work(
    session: Session,
    store: Store,
    maker: MasterMaker,
    *,
    given: tuple[PerChannel | None, PerChannel | None],
    repair: bool,
    progress: Progress,
) -> tuple[list[LightRow], list[str]]:
    plans = [plan_lights(match, maker.usable) for match in session.matches]
    for spec in companions(session, maker.usable):
        maker.get(spec)
    names = light_names([frame for plan in plans for frame in plan.match.light.frames])
    said = _plan_notes(plans)
    rows: list[LightRow] = []
    for plan in plans:
        found: list[str] = []
        with collected(found):
            camera = camera_of(plan, given)
        worker = LightMaker(store, maker, plan, camera, repair=repair, tolerances=session.tolerances)
        said += [(plan.match.light.name, note) for note in (*camera.notes, *found)]
        for frame in plan.match.light.frames:
            progress(len(rows), len(names), "lights")
            rows.append(worker.make(frame, names[frame.path]))
    progress(len(rows), len(names), "lights")
    said += [(f"master {row.name}", text) for row in maker.rows for text in row.warnings]
    said += [(row.group, text) for row in rows for text in row.warnings]
    warnings = _merged(said)
    if not rows and not any(row.path for row in maker.rows):
        msg = f"{session.folder}: nothing here can be made into a master or calibrated: {'; '.join(session.warnings)}"
        raise CalibkitError(msg)
    return rows, warnings


def _plan_notes(plans: Iterable[LightPlan]) -> list[tuple[str, str]]:
    return [(plan.match.light.name, note) for plan in plans for note in plan.notes]


def _merged(said: Iterable[tuple[str, str]]) -> list[str]:
    """Each warning once, with what it is about and, of lights, how many."""
    about: dict[str, Counter[str]] = {}
    for subject, text in said:
        about.setdefault(text, Counter())[subject] += 1
    lines = []
    for text, subjects in about.items():
        names = [f"{name} ({count} times)" if count > 1 else name for name, count in subjects.items()]
        lines.append(f"{listed(names)}: {text}")
    return lines
