"""Calibrating the lights of a run, one by one, so that one that fails stops no other."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from calibkit.calibration import calibrate
from calibkit.errors import CalibkitError, Cancelled, FrameFileError, OutputError, SettingError
from calibkit.frames import open_stack
from calibkit.io.provenance import hash_inputs, sha256_of
from calibkit.io.save import open_result, save
from calibkit.makers import maker_of, tell_maker
from calibkit.memory import release_memory
from calibkit.meta import known
from calibkit.pipeline.camera import Camera, PerChannel
from calibkit.pipeline.making import Made, MasterMaker, changed, flag_counts, refuse_change, with_defects
from calibkit.pipeline.plan import LightPlan
from calibkit.pipeline.result import FAILED, MADE, REUSED, LightRow
from calibkit.pipeline.store import LIGHTS, PASSING, Store, key_of
from calibkit.progress import Progress, silent
from calibkit.session import Frame, Tolerances
from calibkit.statistics import measure_noise
from calibkit.warned import collected

if TYPE_CHECKING:
    from calibkit.recipe import DefectSettings


#: Pixels of a light in which the strength of its dark is measured.
_SCALE_PIXELS = 4_000_000
#: What of a master goes into a light.
_USED = ["signal", "variance", "flags"]


class LightMaker:
    """Calibrates the lights of one plan; several at once, from threads, if wanted.

    Parameters
    ----------
    store : Store
        Where they go.
    maker : MasterMaker
        Gives the masters.
    plan : LightPlan
        What is done.
    camera : Camera
        Gain and read noise.
    defects : DefectSettings
        Whether bad pixels are looked for in the flat too, and whether they are replaced from their neighbours.
    tolerances : Tolerances
        Of the session, so that what it has matched is not refused here.
    folder : str
        Below the output folder, for the calibrated lights.
    elsewhere : bool
        What makes lights again is sent to a cluster's workers, and so must be little: masters that lie in files.
    progress : callable
        Called after every band of a light; may raise `Cancelled`.
    """

    def __init__(
        self,
        store: Store,
        maker: MasterMaker,
        plan: LightPlan,
        camera: Camera,
        *,
        defects: DefectSettings,
        tolerances: Tolerances,
        folder: str = LIGHTS,
        elsewhere: bool = False,
        progress: Progress = silent,
    ) -> None:
        self._store = store
        self._plan = plan
        self._camera = camera
        self._settings = defects
        self._tolerances = tolerances
        self._folder = folder
        self._flush = folder != PASSING or not store.defers  # those that are only passing never see the disk
        self._progress = progress
        self._made: dict[str, Made] = {}
        specs = {role: spec for role in ("bias", "dark", "flat") if (spec := getattr(plan, role)) is not None}
        if plan.measured:
            specs |= dict(zip(("first half", "second half"), plan.dark.halves(), strict=True))
        for role, spec in specs.items():
            made = maker.get(spec)
            if made is not None:
                self._made[role] = made
        self._elsewhere = elsewhere
        self._masters: dict[str, xr.Dataset] = {}
        self._surveyed: dict[Path, xr.Dataset] = {}  # to be opened here, and so not put together twice
        self._defects: xr.DataArray | None = None
        self._loading = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which reads the masters itself."""
        return self.__dict__ | {
            "_loading": None,
            "_masters": {},
            "_surveyed": {},
            "_defects": None,
            "_progress": silent,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _loading=threading.Lock())

    def make(self, frame: Frame, name: str, *, needed: bool = True) -> LightRow:
        """Calibrate one light into the result called *name*; an error is kept in the row.

        Unless its file is *needed*, what was found out about it once is enough, and where its rows can be made again at
        any time (`open`) no file is made of it.
        """
        row = LightRow(frame.relative, self._plan.match.light.name, steps=self._plan.steps())
        row.gain, row.read_noise = _plain(self._camera.gain), _plain(self._camera.read_noise)
        start = time.monotonic()
        try:
            if self._plan.error:
                row.error = self._plan.error
            else:
                with collected(row.warnings):
                    self._make(frame, name, row, needed=needed)
                row.seconds = time.monotonic() - start if row.status == MADE else row.seconds
                if row.status == MADE:  # now, when its warnings are known too
                    path = self._store.out / row.path
                    if row.stars is None:
                        self._store.remember(path, row.key, asdict(row), flushed=self._flush)
                    else:
                        self._store.remember_seen(path, row.key, asdict(row))
        except (Cancelled, OutputError):
            raise
        except CalibkitError as error:
            row.error, row.status = str(error), FAILED
            row.path = ""  # what may lie there is of an earlier run
        return row

    def _make(self, frame: Frame, name: str, row: LightRow, *, needed: bool) -> None:
        """Fill in the row."""
        path = self._store.place(self._folder, name)
        digest = sha256_of(frame.path)
        row.key = self._key(frame, digest)
        row.path = str(path.relative_to(self._store.out))
        done = self._store.finished(path, row.key, passing=not needed)
        if done is not None:
            for field in ("units", "before", "after", "flags", "seconds", "steps", "stars"):
                setattr(row, field, done[field])
            row.levels = done.get("levels")  # not in what earlier versions have left
            row.warnings[:] = done["warnings"]
            row.status = REUSED
            return
        self._store.refuse_foreign(path)
        light, result = self._calibrated(frame, row)
        self._store.forget(path)
        if not needed and made_again(result, elsewhere=self._elsewhere):
            from calibkit.align.stars import survey_light

            self._progress(0, 1, f"calibrating {name}")
            stars, row.flags, levels = survey_light(result)
            row.stars = stars.as_dict()
            if not self._elsewhere:
                self._surveyed[frame.path] = result
            row.levels = {"location": levels.location[0].tolist(), "scale": levels.scale[0].tolist()}
        else:
            # one band at a time: other lights are made in other threads meanwhile
            written = hash_inputs(result)
            save(written, path, overwrite=True, workers=1, flush=self._flush, progress=self._progress)
            result = open_result(path)
            row.flags = flag_counts(result)
        row.units = str(result.attrs.get("units", ""))
        row.before = {channel: found.as_dict() for channel, found in measure_noise(light).items()}
        row.after = {channel: found.as_dict() for channel, found in measure_noise(result).items()}
        try:
            refuse_change(frame.path, digest)
        except FrameFileError:
            self._store.discard(path)
            raise
        release_memory()
        if any(found["measured"] == 0 for found in row.before.values()):
            row.warnings.append(
                "most neighbouring pixels are equal: its numbers are too coarse to show its noise, so the variance is "
                "not to be relied on"
            )
        row.status = MADE

    def _key(self, frame: Frame, digest: str) -> str:
        return key_of(
            light=digest,
            cfa=frame.info.cfa,
            masters={role: made.key for role, made in self._made.items()},
            dark_scale=self._plan.dark_scale,
            gain=_plain(self._camera.gain),
            read_noise=_plain(self._camera.read_noise),
            defects=asdict(self._settings),
        )

    def _calibrated(self, frame: Frame, row: LightRow) -> tuple[xr.DataArray, xr.Dataset]:
        """The raw light, a stack of one frame, and the calibrated one, both lazy."""
        self._load()
        stack = open_stack([frame.path], kind="light", cfa=frame.info.cfa)
        made = calibrate(stack, **self._options(stack.isel(frame=0), row))
        result = made.isel(frame=0)
        if (maker := maker_of(made)) is not None:
            tell_maker(result, maker.frames[0])
        return stack, result

    def open(self, frame: Frame, row: LightRow) -> xr.Dataset | None:
        """The calibrated light of *row*: from its file, or else made whenever its rows are asked for; None if neither can be."""
        path = self._store.out / row.path
        if path.exists():
            return open_result(path)
        if frame.path in self._surveyed:
            return self._surveyed.pop(frame.path)
        with collected([]):  # what it has to say is in its row already
            _, result = self._calibrated(frame, replace(row))
        return result if made_again(result, elsewhere=self._elsewhere) else None

    def refuse_changed(self, frame: Frame, row: LightRow) -> None:
        """Raise FrameFileError when there is no file of *row*, and the raw light is not what it was when `make` looked at it."""
        if not (self._store.out / row.path).exists() and self._key(frame, sha256_of(frame.path)) != row.key:
            raise changed(frame.path)

    def _load(self) -> None:
        """The masters, once, when the first light needs them."""
        with self._loading:
            if not self._masters:
                self._read_masters()

    def _read_masters(self) -> None:
        masters = {
            role: made.data[[name for name in _USED if name in made.data]]
            for role, made in self._made.items()
        }
        if "flat" in masters and self._settings.find:
            flat = self._made["flat"].data
            flat = (
                flat if "defects" in flat else with_defects(masters["flat"])
            )  # one that was among the frames
            self._defects = flat["defects"]
        self._masters = masters

    def release(self) -> None:
        """Let the masters go; they are loaded again if a light is made later."""
        self._masters, self._surveyed, self._defects = {}, {}, None

    def _dark_scale(self, light: xr.DataArray, row: LightRow) -> float | None:
        """The strength of the dark in this light; None for no dark."""
        from calibkit.dark.scale import measure_dark_scale

        height, width = light.shape
        rows = max(_SCALE_PIXELS // width, 96)
        part = slice(top := max(0, (height - rows) // 2), top + rows)
        bias, *halves = (self._masters[role].isel(y=part) for role in ("bias", "first half", "second half"))
        options = {"gain": self._camera.gain, "read_noise": self._camera.read_noise, "repair": False}
        try:
            found = measure_dark_scale(calibrate(light.isel(y=part).compute(), bias=bias, **options), *halves)
        except SettingError as error:
            instead = self._plan.dark_scale
            done = (
                "no dark is subtracted"
                if instead is None
                else f"it is scaled by {instead:.4g}, as the exposures are"
            )
            row.warnings.append(
                f"the strength of {self._plan.dark.name} in the light cannot be measured, {done}: {error}"
            )
            return instead
        row.steps = [
            step.replace("its measured strength", f"{found.scale:.4f} ± {found.error:.4f}")
            for step in row.steps
        ]
        return float(found.scale)

    def _options(self, light: xr.DataArray, row: LightRow) -> dict[str, Any]:
        options: dict[str, Any] = {
            role: self._agreed(master, light, role)
            for role, master in self._masters.items()
            if role in ("bias", "dark", "flat")
        }
        scale = self._dark_scale(light, row) if self._plan.measured else self._plan.dark_scale
        if self._plan.measured and scale is None:
            del options["dark"]
        ignore = self._tolerances.ignore
        warm = math.inf if "temperature" in ignore else self._tolerances.dark_temperature
        return options | {
            "dark_scale": scale,
            "gain": self._camera.gain,
            "read_noise": self._camera.read_noise,
            "defects": self._defects,
            "repair": self._settings.repair,
            "temperature_tolerance": warm,
        }

    def _agreed(self, master: xr.Dataset, light: xr.DataArray, role: str) -> xr.Dataset:
        """The master without the facts that the session was told not to compare, or compared with wider limits."""
        ignore = self._tolerances.ignore
        facts = {"camera": ("camera",), "gain": ("gain", "gain_setting"), "filter": ("filter",)}
        dropped = {name for what, names in facts.items() if what in ignore for name in names}
        attrs = {name: value for name, value in master.attrs.items() if name not in dropped}
        exposure = float(light.coords["exposure"])
        own = attrs.get("exposure", math.nan)
        if (
            role == "dark"
            and self._plan.dark_scale is None
            and known(own)
            and known(exposure)
            and self._tolerances.same_exposure(own, exposure)
        ):
            attrs["exposure"] = exposure
        agreed = master.copy(deep=False)
        agreed.attrs = attrs
        return agreed


def made_again(light: xr.Dataset, *, elsewhere: bool = False) -> bool:
    """Whether rows of a calibrated light can be made at any time, for little more than reading them from a file.

    And, if *elsewhere*, by whoever sees the files.
    """
    maker = maker_of(light)
    return maker is not None and (maker.in_files or not elsewhere)


def _plain(value: PerChannel | None) -> Any:
    """A number or a dictionary of numbers, NaN for what the frames say themselves."""
    if value is None:
        return math.nan
    return (
        {name: float(number) for name, number in value.items()}
        if isinstance(value, Mapping)
        else float(value)
    )
