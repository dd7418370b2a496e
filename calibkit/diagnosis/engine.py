"""`diagnose`: run the tests on frames, on a session or on results, and say what is wrong."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import xarray as xr

from calibkit.diagnosis.checks import CHECKS
from calibkit.diagnosis.evidence import Evidence
from calibkit.diagnosis.finding import Diagnosis, Finding
from calibkit.diagnosis.gathering import from_frames, from_session, made_masters
from calibkit.errors import SettingError
from calibkit.pipeline.result import RunResult
from calibkit.progress import Progress, silent
from calibkit.session import Session, scan


def diagnose(
    subject: Session | RunResult | xr.Dataset | str | os.PathLike[str] | None = None,
    *,
    light: xr.DataArray | None = None,
    bias: xr.DataArray | xr.Dataset | None = None,
    dark: xr.DataArray | xr.Dataset | None = None,
    flat: xr.DataArray | xr.Dataset | None = None,
    flat_dark: xr.DataArray | xr.Dataset | None = None,
    result: xr.Dataset | None = None,
    dark_scale: float | None = None,
    gain: float | Mapping[str, float] | None = None,
    read_noise: float | Mapping[str, float] | None = None,
    combine: Mapping[str, Any] | None = None,
    checks: Sequence[str] | None = None,
    progress: Progress = silent,
) -> Diagnosis:
    """Find out what is wrong with a session, with masters or with a calibrated frame.

    Closure tests, not headers: what a frame says of itself is compared with what its pixels show. Every test
    gives a number with its error, a verdict, the likely cause and what to do; a test that the frames do not support says
    so instead.

    Parameters
    ----------
    subject : Session, RunResult, Dataset or path, optional
        A session from `calibkit.scan` or its folder, what `calibkit.calibrate_session` gave, or a calibrated frame.
        Frames given by name go with a calibrated frame only.
    light : xarray.DataArray, optional
        Raw lights of one group, ``(frame, y, x)`` or one ``(y, x)``, ADU.
    bias, dark, flat, flat_dark : xarray.DataArray or xarray.Dataset, optional
        Raw frames, which tell more because halves of them can be compared; or masters.
    result : xarray.Dataset, optional
        One of the lights as it was calibrated, by whatever program.
    dark_scale : float, optional
        Factor that the dark was multiplied by; by default as the result says it, or as the exposures have it.
    gain : float or mapping of channel to float, optional
        Electrons per ADU; by default what the frames say.
    read_noise : float or mapping of channel to float, optional
        Electrons; by default what the frames say.
    combine : mapping, optional
        Options of `calibkit.combine` for masters that are to be made, for the test of the rejection. A result that
        calibkit made tells how those that it was made with were combined.
    checks : sequence of str, optional
        Names of the tests that are run; all of them by default.
    progress : callable
        ``progress(done, total, what)``; may raise `calibkit.Cancelled`.

    Returns
    -------
    Diagnosis
        Its findings; `Diagnosis.faults`, `Diagnosis.suspects` and `Diagnosis.unclear` pick some, printing it
        gives a summary in words.

    Raises
    ------
    SettingError
        Nothing to look at, a test that does not exist, or frames too small.
    FrameFileError
        A file cannot be read.

    Notes
    -----
    Pixels are taken from some 400 tiles of 48 × 48 pixels spread over the frame, of at most 10 frames a set, so
    that time and memory do not grow with the sensor.

    - *Dark*: with high-passed light L and two half masters A and B, ``cov(L, (A + B)/2) / cov(A, B)`` is the dark's
      strength, unbiased by its noise; over the ratio of the exposures it tells the temperature.
    - *Flat*: the flat's pattern from pixel to pixel modulates light but no offset, so that its strength in the
      light tells what offset is left; likewise the flat's shading against the sky of tiles (as in the seiza
      pipeline: 32 tiles and 2 % of shading at least), which nebulae disturb, and the shadows of dust, which tell
      a flat of another night.
    - *Noise*: differences of frames against gain and read noise.
    - *Colour pattern*: behind a filter of one line, which colours are bright; without one, whether the two greens are
      alike.

    A deviation counts from 4 standard errors on, and only where it is large enough to matter. Errors come from a
    jackknife over tiles (Efron & Tibshirani 1993, *An Introduction to the Bootstrap*, chapter 11), or from what the
    same test finds where nothing can be.

    How strong a fault has to be, and how rarely a clean session raises an alarm (none of 420 did), is measured on simulated
    sessions: ``tests/benchmarks/diagnosis.md``.

    Examples
    --------
    >>> import calibkit
    >>> print(calibkit.diagnose(calibkit.scan("night")))  # doctest: +SKIP
    >>> found = calibkit.diagnose(light=lights, bias=biases, dark=darks, flat=flats)  # doctest: +SKIP
    >>> [fault.name for fault in found.faults]  # doctest: +SKIP
    ['dark temperature']
    """
    chosen = _chosen(checks)
    options = {"gain": gain, "read_noise": read_noise, "combine": combine}
    if dark_scale is not None:
        options["dark_scale"] = float(dark_scale)
    given = {
        "light": light,
        "bias": bias,
        "dark": dark,
        "flat": flat,
        "flat dark": flat_dark,
        "result": result,
    }
    title, count, cases = _cases(subject, given, options)
    total, done = count * len(chosen), 0
    findings: dict[tuple[str, str], Finding] = {}
    for evidence in cases:
        for name in chosen:
            progress(done, total, name)
            for finding in CHECKS[name].run(evidence):
                findings.setdefault(
                    (finding.name, finding.where), finding
                )  # sets that several lights share: once
            done += 1
    progress(total, total, "diagnosis")
    return Diagnosis(title, tuple(findings.values()))


def _chosen(checks: Sequence[str] | None) -> list[str]:
    if checks is None:
        return list(CHECKS)
    names = [checks] if isinstance(checks, str) else list(checks)
    unknown = [name for name in names if name not in CHECKS]
    if unknown:
        msg = f"checks={unknown}: there is no such test; there are {', '.join(CHECKS)}"
        raise SettingError(msg)
    return names


def _cases(
    subject: Any, given: dict[str, Any], options: dict[str, Any]
) -> tuple[str, int, Iterable[Evidence]]:
    """What the diagnosis is called, and the evidence of every group of lights, with their number."""
    if isinstance(subject, xr.Dataset):
        if given["result"] is not None:
            msg = "diagnose(subject, result=): a calibrated frame is given twice"
            raise SettingError(msg)
        given, subject = given | {"result": subject}, None
    if subject is None:
        masters = tuple(made_masters(given))
        evidence = from_frames(given, masters=masters, **options)
        return ", ".join(sample.name for sample in evidence.each), 1, [evidence]
    extra = [role for role, data in given.items() if data is not None]
    if extra:
        msg = f"diagnose: a session brings its own frames; leave out {', '.join(extra)}, or give frames only"
        raise SettingError(msg)
    run = subject if isinstance(subject, RunResult) else None
    session = run.session if run is not None else subject
    if not isinstance(session, Session):
        if not isinstance(session, str | os.PathLike):
            msg = (
                "diagnose takes a Session, a folder, what calibrate_session gave, or a calibrated frame, found "
                f"{type(subject).__name__}; raw frames are given by name: light=, bias=, dark=, flat="
            )
            raise SettingError(msg)
        session = scan(session)
    count = max(len(session.matches), 1)
    return str(session.folder), count, from_session(session, run, **options)
