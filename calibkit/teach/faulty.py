"""`hidden_fault`: a night in which something is wrong, for a learner to find with panels, numbers and `diagnose`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import xarray as xr

from calibkit.errors import SettingError
from calibkit.simulate.samples import Night, ccd_night, dslr_night, keep_night
from calibkit.teach.exercise import Verdict
from calibkit.warned import collected

#: Takes the folder of a night; gives its first light, calibrated in some way.
Work = Callable[[Path], xr.Dataset]


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong at night or at the desk.

    Attributes
    ----------
    name : str
    where : str
        Where it can be seen: the hint for a wrong guess.
    meaning : str
        What happened, and how to avoid it.
    night : callable
        Makes the night that has it.
    work : callable
        Calibrates the first light.
    diagnosis : str
        The test of `calibkit.diagnose` that fails.
    """

    name: str
    where: str
    meaning: str
    night: Callable[[], Night]
    work: Work
    diagnosis: str


@dataclass(frozen=True)
class Case:
    """A night with a hidden fault.

    Attributes
    ----------
    number : int
    night : pathlib.Path
        Folder with the raw frames.
    result : xarray.Dataset
        The first light as somebody calibrated it.
    """

    number: int
    night: Path
    result: xr.Dataset = field(repr=False)

    def guess(self, name: str) -> Verdict:
        """Whether *name* is the fault; a hint where to look when it is not.

        Parameters
        ----------
        name : str
            One of `FAULTS`.

        Returns
        -------
        Verdict

        Raises
        ------
        SettingError
            No fault has that name.
        """
        if name not in FAULTS:
            msg = f"guess({name!r}): the faults are {', '.join(map(repr, FAULTS))}"
            raise SettingError(msg)
        fault = FAULTS[_ORDER[self.number - 1]]
        if name == fault.name:
            return Verdict(f"case {self.number}", True, fault.meaning)
        return Verdict(f"case {self.number}", False, f"It is something else. {fault.where}")


def hidden_fault(number: int) -> Case:
    """A night in which one thing is wrong.

    Parameters
    ----------
    number : int
        Which case, from 1 on; the same number gives the same case.

    Returns
    -------
    Case
        Its raw frames, and its first light as somebody calibrated it.

    Raises
    ------
    SettingError
        There is no such case.

    Examples
    --------
    >>> case = hidden_fault(1)  # doctest: +SKIP
    >>> calibkit.diagnose(case.night)  # doctest: +SKIP
    >>> case.guess("interference")  # doctest: +SKIP
    """
    fault = FAULTS[_ORDER[_checked(number) - 1]]
    night = keep_night(f"case-{number}", fault.night())
    with collected():  # they would tell the fault
        return Case(number, night, fault.work(night))


def reveal_fault(number: int) -> str:
    """Name of the fault that a case hides, for teachers.

    Parameters
    ----------
    number : int
        Of the case.

    Returns
    -------
    str

    Raises
    ------
    SettingError
        There is no such case.

    Examples
    --------
    >>> reveal_fault(1) in FAULTS
    True
    """
    return _ORDER[_checked(number) - 1]


def _checked(number: Any) -> int:
    if number not in range(1, len(_ORDER) + 1):
        msg = f"case {number!r}: there are cases 1 to {len(_ORDER)}"
        raise SettingError(msg)
    return int(number)


# ---- nights ---------------------------------------------------------------------------------------------------


def _frames(night: Night, kind: str, **changes: Any) -> Night:
    """*night* with other settings for the frames of one kind; of every kind for ``"all"``."""
    sets = tuple(replace(each, **changes) if kind in (each.kind, "all") else each for each in night.frames)
    return replace(night, frames=sets)


def _warm_darks() -> Night:
    return _frames(ccd_night(), "dark", temperature=-36.0, stated={"CCD-TEMP": -46.0, "SET-TEMP": -46.0})


def _clipped() -> Night:
    night = ccd_night()
    camera = replace(night.camera, offset=0.0, dark_current=0.002)
    return replace(night, camera=camera, sky=replace(night.sky, background=0.05, h_alpha=0.0, o_iii=0.0))


def _interference() -> Night:
    night = ccd_night()
    return replace(night, camera=replace(night.camera, interference=12.0))


def _swapped() -> Night:
    return _frames(dslr_night(), "all", stated={"BAYERPAT": "GRBG"})


def _few_darks() -> Night:
    night = _frames(ccd_night(), "dark", count=4)
    return replace(night, camera=replace(night.camera, cosmic_rays=1.0))


# ---- work at the desk -----------------------------------------------------------------------------------------


def _open(night: Path) -> dict[str, Any]:
    from calibkit import open_stack

    names = {"bias": "bias", "dark": "darks", "flat": "flats", "flat dark": "flat darks", "light": "lights"}
    return {kind: open_stack(night / folder / "*") for kind, folder in names.items()}


def _calibrate(
    night: Path, *, flat_dark: bool = True, bias_again: bool = False, reject: str = "auto"
) -> xr.Dataset:
    from calibkit import calibrate, master_bias, master_dark, master_flat

    frames = _open(night)
    dark = master_dark(frames["dark"], reject=reject)
    flat = master_flat(frames["flat"], dark=master_dark(frames["flat dark"]) if flat_dark else None)
    result = calibrate(frames["light"], dark=dark, flat=flat).isel(frame=0).load()
    if bias_again:
        bias = master_bias(frames["bias"]).load()
        attrs = result.signal.attrs
        result["signal"] = (result.signal - bias.signal / flat.signal).astype("float32").assign_attrs(attrs)
    return result


def _properly(night: Path) -> xr.Dataset:
    return _calibrate(night)


def _without_flat_dark(night: Path) -> xr.Dataset:
    return _calibrate(night, flat_dark=False)


def _bias_twice(night: Path) -> xr.Dataset:
    return _calibrate(night, bias_again=True)


def _cannot_reject(night: Path) -> xr.Dataset:
    return _calibrate(night, reject="mean_sigma")


FAULTS: dict[str, Fault] = {
    fault.name: fault
    for fault in (
        Fault(
            "warm dark",
            "Look at the background beside the hot pixels: what did the dark leave there, or take too much of?",
            "The darks are 10 °C warmer than the lights, whatever their headers say: too much was subtracted, and "
            "hot pixels became dark holes. Let the cooler settle before the first frame.",
            _warm_darks,
            _properly,
            "dark temperature",
        ),
        Fault(
            "no flat dark",
            "Look at the corners: does the flat do what it should there? And which frames was it made from?",
            "The flat still holds the camera's offset, so that it corrects too little. Take flat darks, or at least a "
            "bias, off the flats.",
            dslr_night,
            _without_flat_dark,
            "flat correction",
        ),
        Fault(
            "clipped background",
            "Look at the histogram of a raw light, at its lower end.",
            "The camera's offset is so small that half of the sky was cut off at 0. What is cut off cannot be had "
            "back: raise the offset in the camera's settings, or expose longer.",
            _clipped,
            _properly,
            "background clipped",
        ),
        Fault(
            "swapped pattern",
            "Look at the channels one by one. Through an Hα filter, which of them should be bright?",
            "The header says GRBG and the sensor is GBRG: red and blue changed places. Programs differ in where they "
            "count rows from; look at a frame whose colours you know.",
            _swapped,
            _properly,
            "colour pattern",
        ),
        Fault(
            "interference",
            "Look at a single bias, not at the master: is there a pattern, and is it in the next one too?",
            "A radio signal gets into the cables. Its phase is another one in every frame, so no master takes it out: "
            "find the source, try other cables and another power supply.",
            _interference,
            _properly,
            "noise",
        ),
        Fault(
            "bias twice",
            "Look at the level of the calibrated background: is it where sky should be?",
            "The dark holds the bias already, and the bias was subtracted once more: the sky lies 99 ADU too low, and "
            "below zero. A dark that was not freed of its bias takes it along.",
            ccd_night,
            _bias_twice,
            "bias level",
        ),
        Fault(
            "too few to reject",
            "Look at the darks for streaks and dots that are in one of them only. Then count the darks, and ask "
            "can_reject what 3 σ around the mean can do with so few.",
            "Four darks, and 3 σ around their mean: no value among four can be further off than 1.5 σ, so that "
            "nothing was ever rejected, and every cosmic ray went into the master. Take more, or use the median.",
            _few_darks,
            _cannot_reject,
            "rejection",
        ),
    )
}
"""Every fault by name."""

#: Which fault each case hides.
_ORDER = (
    "interference",
    "warm dark",
    "swapped pattern",
    "too few to reject",
    "no flat dark",
    "bias twice",
    "clipped background",
)
