"""From the calibrated lights of a run to one stack and one picture for each target and filter."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from calibkit.align.stars import Stars
from calibkit.cfa import pattern_of
from calibkit.combining.normalise import Levels
from calibkit.errors import (
    CalibkitError,
    Cancelled,
    FrameFileError,
    OutputError,
    SettingError,
)
from calibkit.io.provenance import hash_inputs
from calibkit.io.result_file import plane_of
from calibkit.io.save import open_result, save
from calibkit.memory import release_memory
from calibkit.pipeline.lanes import Lanes
from calibkit.pipeline.lights import made_again
from calibkit.pipeline.result import FAILED, MADE, REUSED, LightRow, StackRow
from calibkit.pipeline.store import STACKS, Store, key_of
from calibkit.recipe import Recipe
from calibkit.session import Group
from calibkit.session.grouping import filter_key
from calibkit.statistics import measure_noise
from calibkit.threads import in_threads
from calibkit.warned import collected, warn

if TYPE_CHECKING:
    import pandas as pd

    from calibkit.align import Transforms


#: Width of stars, in pixels of a colour sensor, below which the best interpolation makes rings of 2 % of their light.
NARROW = 2.8
#: Pixels by which a light may lie beside the reference and is as good as not moved.
STILL = 0.15


#: A light whose rows would be calibrated more often than this in stacking is written to a file before: writing and reading
#: it costs as much as calibrating it some six times.
_OFTEN = 6.0


@dataclass(frozen=True)
class LightSource:
    """How a calibrated light is come by.

    ``open(row)`` gives it, or None where it first has to be written, which ``write()`` does; ``refuse_changed(row)`` raises
    FrameFileError when the raw frame has changed since, and there is no file of it.
    """

    open: Callable[[LightRow], xr.Dataset | None]
    write: Callable[[], LightRow]
    refuse_changed: Callable[[LightRow], None]


@dataclass
class LightSet:
    """Lights that belong into one stack, and how each is come by."""

    name: str
    slug: str
    flat: xr.Dataset | None = None
    rows: list[LightRow] = field(default_factory=list)
    sources: list[LightSource] = field(default_factory=list)


def _write(source: LightSource) -> LightRow:
    return source.write()


def set_of(light: Group) -> tuple[object, ...]:
    """What lights must have in common to be stacked: target, filter, exposure, and the pixels they lie on."""
    info = light.info
    exposure = round(light.exposure, 3) if math.isfinite(light.exposure) else None
    return light.target, filter_key(light.filter), exposure, info.shape, info.binning, info.cfa, info.origin


class StackMaker:
    """Stacks sets of calibrated lights.

    Parameters
    ----------
    store : Store
        Where they go.
    recipe : Recipe
        How they are aligned, combined and shown.
    progress : Lanes
        Called as ``progress(done, total, what)``.
    client : dask.distributed.Client or None
        Where lights are combined.
    """

    def __init__(self, store: Store, recipe: Recipe, *, progress: Lanes, client: Any = None) -> None:
        self._store = store
        self._recipe = recipe
        self._progress = progress
        self._client = client

    def make(self, lights: LightSet) -> StackRow:
        """The stack of one set, and its picture; an error is kept in the row."""
        row = StackRow(lights.name)
        good = [number for number, light in enumerate(lights.rows) if light.status != FAILED]
        row.left_out = {light.file: light.error for light in lights.rows if light.status == FAILED}
        start = time.monotonic()
        try:
            if not good:
                row.error = "none of its lights could be calibrated"
                return row
            with collected(row.warnings):
                key = self._stack(lights, good, row)
            if row.status == MADE:
                row.seconds = time.monotonic() - start
                self._store.remember(self._store.out / row.path, key, asdict(row))
            if self._recipe.until == "picture":
                self._picture(lights, key, row)
        except (Cancelled, OutputError):
            raise
        except CalibkitError as error:
            row.error, row.picture = str(error), ""  # what may lie there is of an earlier run
            if row.status == FAILED:
                row.path = ""
        return row

    def _stack(self, lights: LightSet, good: Sequence[int], row: StackRow) -> str:
        path = self._store.place(STACKS, lights.slug)
        key = key_of(
            lights=[lights.rows[number].key for number in good],
            files=[lights.rows[number].file for number in good],
            align=asdict(self._recipe.align),
            stack=asdict(self._recipe.stack),
        )
        row.path = str(path.relative_to(self._store.out))
        done = self._store.finished(path, key)
        if done is not None:
            for name in ("files", "frames", "units", "noise", "line", "seconds"):
                setattr(row, name, done[name])
            looked_at = {lights.rows[number].file for number in good}
            row.left_out |= {file: why for file, why in done["left_out"].items() if file in looked_at}
            row.warnings[:] = done["warnings"]
            row.status = REUSED
            return key
        self._store.refuse_foreign(path)
        data = self._combined(lights, good, row)
        in_threads(lambda number: lights.sources[number].refuse_changed(lights.rows[number]), good)
        self._store.forget(path)
        save(hash_inputs(data), path, overwrite=True, cached=False)
        del data
        written = open_result(path)
        row.units = str(written.attrs.get("units", ""))
        row.noise = _noise(written)
        row.status = MADE
        return key

    def _opened(self, lights: LightSet, good: Sequence[int]) -> list[xr.Dataset]:
        """The calibrated lights; those that cannot be made whenever their rows are asked for are written first."""
        frames = {number: lights.sources[number].open(lights.rows[number]) for number in good}
        if missing := [number for number, frame in frames.items() if frame is None]:
            frames |= self._written(lights, missing)
        return [frames[number] for number in good]

    def _written(self, lights: LightSet, numbers: Sequence[int]) -> dict[int, xr.Dataset]:
        """Calibrated lights from files that are written now.

        Raises
        ------
        FrameFileError
            One could be made before, and cannot any more.
        """
        jobs = [(lights.sources[number],) for number in numbers]
        rows = self._progress.run(
            _write, jobs, "writing lights", before=0, total=len(jobs), client=self._client
        )
        for number, row in zip(numbers, rows, strict=True):
            lights.rows[number] = row
            if row.status == FAILED:
                msg = f"{row.error}; run it again, and the stack is made of the other lights"
                raise FrameFileError(msg)
        return {number: lights.sources[number].open(lights.rows[number]) for number in numbers}

    def _stars(self, lights: Sequence[LightRow], frames: Sequence[xr.Dataset]) -> list[Stars]:
        """Stars of every light: those that were found when it was made, and of the others those that are found now."""
        from calibkit.align import find_stars

        found = [None if light.stars is None else Stars.from_dict(light.stars) for light in lights]
        if missing := [i for i, stars in enumerate(found) if stars is None]:
            new = find_stars([frames[i] for i in missing], progress=self._progress, client=self._client)
            for i, stars in zip(missing, new, strict=True):
                found[i] = stars
        return found

    def _combined(self, which: LightSet, good: Sequence[int], row: StackRow) -> xr.Dataset:
        from calibkit.align import measure_quality, register, stack_lights
        from calibkit.align.stacking import rows_again

        frames = self._opened(which, good)
        lights, flat = [which.rows[number] for number in good], which.flat
        release_memory()
        stars = self._stars(lights, frames)
        quality = measure_quality(frames, stars=stars)
        settings = self._recipe.align
        use = [bool(fine) or not settings.select for fine in quality["usable"]]
        named = [_is_named(light.file, settings.leave_out) for light in lights]
        use = [fine and not out for fine, out in zip(use, named, strict=True)]
        transforms = register(frames, stars=stars, use=use, model=settings.model, progress=self._progress)
        for light, found, frame, out in zip(
            lights, quality.to_dict("records"), transforms, named, strict=True
        ):
            if not frame.ok:
                why = "the recipe leaves it out" if out else found["reason"] if settings.select else ""
                row.left_out[light.file] = str(why or frame.reason)
            measured = {
                name: _plain(value) for name, value in found.items() if name not in ("file", "reason")
            }
            placed = {
                "shift x": frame.shift[0],
                "shift y": frame.shift[1],
                "rotation": frame.rotation,
                "rms": frame.rms,
            }
            row.frames.append({"file": light.file, **measured, **placed})
        row.files = [light.file for light, frame in zip(lights, transforms, strict=True) if frame.ok]
        options = self._recipe.stack.options()
        row.line = _line(options.pop("line"), options["channels"], frames[0], flat)
        if row.line:
            options["channels"] = "mosaic"
        _tell_of_rings(frames[0], quality["fwhm"], transforms, options, row.line)
        release_memory()  # what stars were looked for in
        if rows_again(transforms) > _OFTEN:
            again = [
                number
                for number, frame, moved in zip(good, frames, transforms, strict=True)
                if moved.ok and made_again(frame)
            ]
            written = self._written(which, again)
            frames = [written.get(number, frame) for number, frame in zip(good, frames, strict=True)]
        stack = stack_lights(
            frames,
            transforms,
            levels=_levels(lights),
            progress=self._progress,
            client=self._client,
            **options,
        )
        return _of_line(stack, row.line, flat) if row.line else stack

    def _picture(self, lights: LightSet, stack_key: str, row: StackRow) -> None:
        from calibkit.brightness import save_picture, stretch_picture

        settings = self._recipe.picture
        path = self._store.place(STACKS, lights.slug, f".{settings.format}")
        key = key_of(stack=stack_key, picture=asdict(settings))
        row.picture = str(path.relative_to(self._store.out))
        if self._store.finished(path, key) is not None:
            return
        self._store.refuse_foreign(path)
        options = settings.options()
        bits = options.pop("bits")
        del options["format"]
        shown = stretch_picture(open_result(self._store.out / row.path), **options)
        self._store.forget(path)
        save_picture(shown, path, bits=bits, overwrite=True)
        self._store.remember(path, key, {})


def _levels(lights: Sequence[LightRow]) -> Levels | None:
    """The levels of the lights where all were measured when the lights were made."""
    if any(light.levels is None for light in lights):
        return None
    location, scale = (np.array([light.levels[name] for light in lights]) for name in ("location", "scale"))
    return Levels(location, scale, np.full_like(scale, np.nan))


def _is_named(file: str, patterns: Sequence[str]) -> bool:
    """Whether a light is among those that *patterns* name."""
    names = file, PurePosixPath(file).name
    return any(fnmatchcase(name, pattern) or name == pattern for name in names for pattern in patterns)


def _tell_of_rings(
    light: xr.Dataset, widths: pd.Series, transforms: Transforms, options: dict[str, Any], line: str
) -> None:
    """Warn where the pixels of one colour lie too far apart for the images of the stars."""
    width = float(widths.median())
    moved = any(max(map(abs, frame.shift)) > STILL for frame in transforms if frame.ok)
    sharp = options["channels"] != "drizzle" and options.get("interpolation", "lanczos3") == "lanczos3"
    if pattern_of(light).is_mono or not (moved and sharp and width < NARROW):
        return
    msg = (
        f"the stars are {width:.1f} pixels wide, and pixels of one colour lie 2 apart: interpolation leaves dark rings "
        "about bright stars. In a recipe, stack: interpolation: linear leaves none and is less sharp"
    )
    if not line:
        msg += "; with many lights channels: drizzle, which does not interpolate, keeps them sharp"
    warn(msg, stacklevel=2)


def _line(wanted: str, channels: str, light: xr.Dataset, flat: xr.Dataset | None) -> str:
    """The line to be taken from the stack's colours, "" for none."""
    from calibkit.colour.narrowband import channels_of_line, line_of_filter

    if wanted == "none" or pattern_of(light).is_mono:
        return ""  # all that a mono camera sees behind such a filter is the line
    if wanted != "auto":
        return wanted
    line = line_of_filter(str(light.attrs.get("filter", "")))
    if line is None or channels != "debayer":
        return ""
    try:
        several = len(channels_of_line(light, line)) > 1
    except SettingError:  # other colours of filters than red, green and blue
        return ""
    if several and (flat is None or not flat.attrs.get("channel_level")):
        msg = (
            f"the filter lets {line} pass alone, but no flat says how strongly each colour sees it: the stack keeps all "
            "colours"
        )
        warn(msg, stacklevel=2)
        return ""
    return line


def _of_line(stack: xr.Dataset, line: str, flat: xr.Dataset | None) -> xr.Dataset:
    """The line in a stack that is still a mosaic."""
    from calibkit.align.stacking import in_bands
    from calibkit.colour import channel_worth, extract_line
    from calibkit.colour.narrowband import channels_of_line

    several = len(channels_of_line(stack, line)) > 1
    worth = channel_worth(flat, light=stack) if several and flat is not None else None
    found = extract_line(in_bands(stack), line, worth=worth)
    correlation = {"noise_correlation": stack.attrs["noise_correlation"]}
    return found.assign_attrs(correlation)


def _noise(data: xr.Dataset) -> dict[str, dict[str, float]]:
    data = data[["signal", "variance", "flags"]]
    if "channel" not in data.dims:
        return {name: found.as_dict() for name, found in measure_noise(data).items()}

    def measure(number: int) -> dict[str, float]:
        return next(iter(measure_noise(plane_of(data, number)).values())).as_dict()

    names = data["channel"].values.tolist()
    return dict(zip(map(str, names), in_threads(measure, range(len(names))), strict=True))


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
