"""Calibrating the lights of a run, one by one, so that one that fails stops no other."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import xarray as xr

from calibkit.calibration import calibrate
from calibkit.errors import CalibkitError, Cancelled, OutputError
from calibkit.frames import open_stack
from calibkit.io.provenance import hash_inputs, sha256_of
from calibkit.io.save import open_result, save
from calibkit.meta import known
from calibkit.pipeline.camera import Camera, PerChannel
from calibkit.pipeline.making import Made, MasterMaker, collected, flag_counts, in_memory
from calibkit.pipeline.plan import LightPlan
from calibkit.pipeline.result import MADE, REUSED, LightRow
from calibkit.pipeline.store import LIGHTS, Store, key_of
from calibkit.session import Frame, Tolerances
from calibkit.statistics import measure_noise


class LightMaker:
    """Calibrates the lights of one plan.

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
    repair : bool
        Replace bad pixels from their neighbours.
    tolerances : Tolerances
        Of the session, so that what it has matched is not refused here.
    """

    def __init__(
        self,
        store: Store,
        maker: MasterMaker,
        plan: LightPlan,
        camera: Camera,
        *,
        repair: bool,
        tolerances: Tolerances,
    ) -> None:
        self._store = store
        self._plan = plan
        self._camera = camera
        self._repair = repair
        self._tolerances = tolerances
        self._masters: dict[str, Made] = {}
        for role in ("bias", "dark", "flat"):
            spec = getattr(plan, role)
            made = maker.get(spec) if spec is not None else None
            if made is not None:
                self._masters[role] = replace(made, data=in_memory(made.data))

    def make(self, frame: Frame, name: str) -> LightRow:
        """Calibrate one light into the result called *name*; an error is kept in the row."""
        row = LightRow(frame.relative, self._plan.match.light.name, steps=self._plan.steps())
        row.gain, row.read_noise = _plain(self._camera.gain), _plain(self._camera.read_noise)
        start = time.monotonic()
        try:
            if self._plan.error:
                row.error = self._plan.error
            else:
                with collected(row.warnings):
                    key = self._make(frame, name, row)
                row.seconds = time.monotonic() - start if row.status == MADE else row.seconds
                if row.status == MADE:  # now, when its warnings are known too
                    self._store.remember(self._store.out / row.path, key, asdict(row))
        except (Cancelled, OutputError):
            raise
        except CalibkitError as error:
            row.error = str(error)
        return row

    def _make(self, frame: Frame, name: str, row: LightRow) -> str:
        """Fill in the row; the digest of what the result depends on."""
        path = self._store.place(LIGHTS, name)
        key = key_of(
            light=sha256_of(frame.path),
            cfa=frame.info.cfa,
            masters={role: made.key for role, made in self._masters.items()},
            dark_scale=self._plan.dark_scale,
            gain=row.gain,
            read_noise=row.read_noise,
            repair=self._repair,
        )
        row.path = str(path.relative_to(self._store.out))
        done = self._store.finished(path, key)
        if done is not None:
            for field in ("units", "before", "after", "flags", "seconds"):
                setattr(row, field, done[field])
            row.warnings[:] = done["warnings"]
            row.status = REUSED
            return key
        self._store.refuse_foreign(path)
        light = in_memory(open_stack([frame.path], kind="light", cfa=frame.info.cfa).isel(frame=0))
        result = calibrate(light, **self._options(light))
        self._store.forget(path)
        save(hash_inputs(result), path, overwrite=True)
        written = open_result(path) if hasattr(result["signal"].data, "dask") else result
        row.units = str(written.attrs.get("units", ""))
        row.before = {channel: found.as_dict() for channel, found in measure_noise(light).items()}
        row.after = {channel: found.as_dict() for channel, found in measure_noise(written).items()}
        row.flags = flag_counts(written)
        if any(found["measured"] == 0 for found in row.before.values()):
            row.warnings.append(
                "most neighbouring pixels are equal: its numbers are too coarse to show its noise, so the variance is "
                "not to be relied on"
            )
        row.status = MADE
        return key

    def _options(self, light: xr.DataArray) -> dict[str, Any]:
        options: dict[str, Any] = {
            role: self._agreed(made.data, light, role) for role, made in self._masters.items()
        }
        ignore = self._tolerances.ignore
        warm = math.inf if "temperature" in ignore else self._tolerances.dark_temperature
        return options | {
            "dark_scale": self._plan.dark_scale,
            "gain": self._camera.gain,
            "read_noise": self._camera.read_noise,
            "repair": self._repair,
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


def _plain(value: PerChannel | None) -> Any:
    """A number or a dictionary of numbers, NaN for what the frames say themselves."""
    if value is None:
        return math.nan
    return (
        {name: float(number) for name, number in value.items()}
        if isinstance(value, Mapping)
        else float(value)
    )
