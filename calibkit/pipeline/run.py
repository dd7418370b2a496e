"""A whole session: masters, calibrated lights, stacks, pictures and a report, in one call."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from calibkit.computing import no_cluster
from calibkit.errors import CalibkitError, SettingError
from calibkit.io.provenance import sha256_of
from calibkit.io.spool import kept
from calibkit.memory import release_memory, return_memory_early
from calibkit.pipeline.camera import PerChannel, camera_of
from calibkit.pipeline.lanes import Lanes
from calibkit.pipeline.library import Library
from calibkit.pipeline.lights import LightMaker
from calibkit.pipeline.making import MasterMaker, hash_frames, jobs_of, masters_at_once
from calibkit.pipeline.options import plan_options
from calibkit.pipeline.plan import LightPlan, Plan, all_specs, companions, plan_lights
from calibkit.pipeline.result import LightRow, RunResult, StackRow
from calibkit.pipeline.stacks import LightSet, LightSource, StackMaker, set_of
from calibkit.pipeline.store import LIGHTS, PASSING, REPORT, Store, light_names
from calibkit.progress import Progress, silent
from calibkit.recipe import CameraSettings, DefectSettings, FrameSettings, MasterSettings, Recipe, read_recipe
from calibkit.session import Session, Tolerances, scan
from calibkit.session.wording import listed
from calibkit.warned import collected


def process(
    session: Session | str | os.PathLike[str],
    recipe: Recipe | str | os.PathLike[str] | None,
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    report: bool = True,
    library: str | os.PathLike[str] | None = None,
    progress: Progress = silent,
    client: Any = None,
) -> RunResult:
    """From the frames of a session to its final pictures: masters, calibrated and repaired lights, stacks, a report.

    Results go to ``out/masters``, ``out/lights`` (when they are kept) and ``out/stacks``. Each is written whole or not at
    all, with a digest of all that it was made from beside it: what is finished is not done again, a run that
    was stopped, however that was, goes on where it was and ends with the same bytes, and after a change only what
    depends on it is redone. A light that fails stops no other.

    Parameters
    ----------
    session : Session or path
        The folder of the frames, or what `calibkit.scan` made of it.
    recipe : Recipe, path or None
        What is done, or the YAML file that says it; None for a recipe's defaults.
    out : path
        Folder of the results, made if it is not there; it may lie in the session's folder, but not be it.
    overwrite : bool
        Do everything again, and replace files that calibkit did not write.
    report : bool
        Write ``out/report.html``.
    library : path, optional
        Folder of masters that several nights share: one that was made of the very same frames with the same settings is
        copied from there into ``out/masters``, and one that is made now is copied into it.
    progress : callable
        Called as ``progress(done, total, what)``; may raise `calibkit.Cancelled`.
    client : dask.distributed.Client, optional
        Make masters, calibrate lights, look for stars and stack on this cluster; its workers must see the same files
        under the same names, those in *out* too.

    Returns
    -------
    RunResult
        A row for every light, master and stack, warnings, the path of the report.

    Raises
    ------
    CalibkitError
        The folder cannot be scanned or holds nothing that can be used.
    SettingError
        A setting or recipe that cannot work, or *out* is the folder of the frames.
    OutputError
        *out* cannot be written, the disk is full, or another run is writing there.
    Cancelled
        *progress* asked to stop; what is finished is kept.

    Notes
    -----
    What is missing is replaced by the best that remains, and said: without a dark of the lights' exposure a
    longer one is scaled after its bias is subtracted; one of another temperature by its strength in each light, which
    is measured (`calibkit.measure_dark_scale`); without any dark the bias alone is subtracted; without
    biases the black level that the camera states; without a flat nothing is divided. A light for which there
    is none of these fails.

    The file of a master flat also holds the defects that were found in it, flags called ``defects``.

    Lights of one target, filter and exposure make one stack. Those that cannot be aligned, or whose stars are much
    poorer than the others', are left out, and said.

    Examples
    --------
    >>> import calibkit
    >>> import tempfile
    >>> night = calibkit.sample_session("ccd")
    >>> done = calibkit.process(night, None, tempfile.mkdtemp() + "/done")
    >>> len(done.table), set(done.table["status"])
    (10, {'made'})
    """
    start = time.monotonic()
    recipe = Recipe() if recipe is None else recipe if isinstance(recipe, Recipe) else read_recipe(recipe)
    with kept(), nullcontext() if client is not None else no_cluster():
        session = _session(session, recipe.frames, progress)
        out = Path(out).expanduser()
        _check_folders(session, out)
        store = Store(out, inputs=[frame.path for frame in session.frames], overwrite=overwrite)
        return_memory_early()
        with store.locked():
            shared = None if library is None else Library(Path(library).expanduser())
            result = _Run(session, store, recipe, progress=progress, client=client, library=shared).work()
            result.seconds = time.monotonic() - start
            if report:
                from calibkit.report import write_report

                result.report = write_report(result, out / REPORT, progress=progress)
            store.clear(PASSING)
    result.seconds = time.monotonic() - start
    return result


def calibrate_session(
    session: Session | str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    kinds: Mapping[str, str | Iterable[str]] | None = None,
    tolerances: Tolerances | None = None,
    combine: Mapping[str, Any] | None = None,
    gain: PerChannel | None = None,
    read_noise: PerChannel | None = None,
    pedestal: float | None = None,
    repair: bool = True,
    overwrite: bool = False,
    report: bool = True,
    progress: Progress = silent,
) -> RunResult:
    """Make the masters of a session, calibrate its lights with them, and write a report.

    This is `calibkit.process` that stops when the lights are calibrated, with the settings most often wanted as arguments.

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
    pedestal : float, optional
        ADU of a pixel without light where neither biases nor the frames say it; 0 where the camera has subtracted
        a dark itself.
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
    What is missing is replaced as `calibkit.process` tells.

    Examples
    --------
    >>> import calibkit
    >>> import tempfile
    >>> night = calibkit.sample_session("ccd")
    >>> done = calibkit.calibrate_session(night, tempfile.mkdtemp() + "/done")
    >>> len(done.table), set(done.table["status"])
    (10, {'made'})
    """
    try:
        masters = MasterSettings(**(combine or {}))
    except TypeError as error:
        msg = f"combine={combine!r}: options of calibkit.combine for masters are wanted, such as {{'method': 'median'}}"
        raise SettingError(msg) from error
    if not isinstance(session, Session):
        session = scan(session, kinds=kinds, tolerances=tolerances, progress=progress)
    elif kinds is not None or tolerances is not None:
        msg = "kinds= and tolerances= are for scanning a folder; this session is scanned: give them to calibkit.scan"
        raise SettingError(msg)
    recipe = Recipe(
        until="lights",
        masters=masters,
        camera=CameraSettings(gain=gain, read_noise=read_noise, pedestal=pedestal),
        defects=DefectSettings(repair=repair),
    )
    return process(session, recipe, out, overwrite=overwrite, report=report, progress=progress)


def plan_session(session: Session, recipe: Recipe | None = None) -> Plan:
    """What `process` would do, as far as headers tell.

    Parameters
    ----------
    session : Session
        From `calibkit.scan`.
    recipe : Recipe, optional
        What is to be done.

    Returns
    -------
    Plan
        Plans for the lights, and the masters in the order in which they are made.
    """
    options = plan_options(session, recipe or Recipe())
    plans = [plan_lights(match, lambda _: True, **options) for match in session.matches]
    extra = companions(session, lambda _: True, options["pedestal"])
    return Plan(tuple(plans), tuple(all_specs(plans, extra)), tuple(_merged(_plan_notes(plans))))


def _session(
    session: Session | str | os.PathLike[str], settings: FrameSettings, progress: Progress
) -> Session:
    if not isinstance(session, Session):
        return scan(
            session,
            kinds=settings.kinds or None,
            cfa=settings.pattern,
            tolerances=settings.limits(),
            progress=progress,
        )
    if settings != FrameSettings() and session.tolerances != settings.limits():
        msg = "the session was scanned with other limits than the recipe's: give its folder instead, which is scanned then"
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


class _Run:
    """The work of one run, in its order."""

    def __init__(
        self,
        session: Session,
        store: Store,
        recipe: Recipe,
        *,
        progress: Progress,
        client: Any,
        library: Library | None,
    ) -> None:
        self._session, self._store, self._recipe = session, store, recipe
        self._progress, self._client = Lanes(progress), client
        self._maker = MasterMaker(
            store,
            combine=recipe.masters.options(),
            hot_sigma=recipe.defects.sigma if recipe.defects.find else None,
            tolerances=session.tolerances,
            progress=self._progress,
            library=library,
        )
        self._stacking = recipe.until != "lights"
        self._said: list[tuple[str, str]] = []
        self._sets: dict[tuple[object, ...], LightSet] = {}

    def work(self) -> RunResult:
        """Everything, as far as the recipe goes."""
        session, maker = self._session, self._maker
        self._make_masters()
        options = plan_options(session, self._recipe)
        plans = [plan_lights(match, maker.usable, **options) for match in session.matches]
        for spec in companions(session, maker.usable, options["pedestal"]):
            maker.get(spec)
        self._said += _plan_notes(plans)
        lights = self._lights(plans)
        stacks = self._stacks() if self._stacking else []
        said = [(row.title, text) for row in maker.rows for text in row.warnings]
        said += [(row.group, text) for row in lights for text in row.warnings]
        said += [(f"stack of {row.name}", text) for row in stacks for text in row.warnings]
        warnings = _merged([*self._said, *said])
        if not lights and not any(row.path for row in maker.rows):
            why = [*session.warnings, *(row.error for row in maker.rows if row.error)]
            msg = f"{session.folder}: nothing here can be made into a master or calibrated: {'; '.join(why)}"
            raise CalibkitError(msg)
        return RunResult(
            session, self._store.out, lights, maker.rows, [*session.warnings, *warnings], stacks=stacks
        )

    def _make_masters(self) -> None:
        """Make the masters that the headers ask for, several at once; planning finds them made.

        Who is left without a master to make hashes the lights, which the next step begins with.
        """
        maker, specs = self._maker, plan_session(self._session, self._recipe).masters
        maker.expect(specs)
        ordered, after = jobs_of(specs)
        hashes = hash_frames(ordered, after, self._client)
        lights = [(path,) for match in self._session.matches for path in match.light.paths]
        made = self._progress.run(
            maker.make, list(zip(ordered, hashes, strict=True)), "masters", before=0, total=len(specs),
            after=after, at_once=masters_at_once(specs), spare=(sha256_of, lights), client=self._client,
        )  # fmt: skip
        for spec, (found, row) in zip(ordered, made, strict=True):
            maker.take(spec, found, row)

    def _lights(self, plans: list[LightPlan]) -> list[LightRow]:
        names = light_names([frame for plan in plans for frame in plan.match.light.frames])
        kept = self._recipe.lights.keep or not self._stacking
        rows: list[LightRow] = []
        for plan in plans:
            found: list[str] = []
            with collected(found):
                camera = camera_of(plan, (self._recipe.camera.gain, self._recipe.camera.read_noise))
            worker = LightMaker(
                self._store,
                self._maker,
                plan,
                camera,
                defects=self._recipe.defects,
                tolerances=self._session.tolerances,
                folder=LIGHTS if kept else PASSING,
                elsewhere=self._client is not None,
                progress=self._progress.heed,
            )
            light = plan.match.light
            self._said += [(light.name, note) for note in (*camera.notes, *found)]
            flat = self._maker.get(plan.flat) if plan.flat is not None else None
            data = None if flat is None else flat.data
            lights = self._sets.setdefault(set_of(light), LightSet(light.name, light.slug, data))
            jobs = [(frame, names[frame.path]) for frame in light.frames]
            make = partial(worker.make, needed=kept)
            made = self._progress.run(
                make, jobs, "lights", before=len(rows), total=len(names), client=self._client
            )
            rows += made
            lights.rows += made
            lights.sources += [
                LightSource(
                    partial(worker.open, frame),
                    partial(worker.make, frame, names[frame.path]),
                    partial(worker.refuse_changed, frame),
                )
                for frame in light.frames
            ]
            if len(plans) > 1:
                worker.release()
            release_memory()
        return rows

    def _stacks(self) -> list[StackRow]:
        maker = StackMaker(self._store, self._recipe, progress=self._progress, client=self._client)
        return [maker.make(lights) for lights in self._sets.values()]


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
