"""From frames, a session or a run to the evidence that the tests look at."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import xarray as xr

from calibkit.calibration.checks import cover
from calibkit.cfa import pattern_of
from calibkit.diagnosis.evidence import Evidence
from calibkit.diagnosis.finding import FAULT, Finding
from calibkit.diagnosis.sampling import Grid, Sample
from calibkit.errors import MismatchError, SettingError
from calibkit.pipeline.result import FAILED, RunResult
from calibkit.session import Group, Match, Session
from calibkit.warned import collected

#: Which frames decide the size and place of all others.
_REFERENCE = ("light", "result", "flat", "dark", "bias", "flat dark")
#: Samples that are kept for the next group of lights.
_KEPT = 8
Data = xr.DataArray | xr.Dataset


class Cache:
    """Samples of calibration frames that several groups of lights share; of the last ones only, for their memory."""

    def __init__(self) -> None:
        self._data: dict[str, Data] = {}
        self._samples: OrderedDict[tuple[object, ...], Sample] = OrderedDict()

    def opened(self, session: Session, group: Group) -> Data:
        """The frames of a group: the same object for the same group."""
        if group.name not in self._data:
            self._data[group.name] = _opened(session, group)
        return self._data[group.name]

    def sample(self, name: str, role: str, grid: Grid, data: Data) -> Sample:
        """The sample of these frames, taken once."""
        key = (id(data), grid.shape, grid.period, grid.site_channel.tobytes())
        if key not in self._samples:
            self._samples[key] = Sample(name, "bias" if role == "flat bias" else role, grid, data)
        self._samples.move_to_end(key)
        while len(self._samples) > _KEPT:
            self._samples.popitem(last=False)
        return self._samples[key]


def from_frames(
    given: Mapping[str, Data | None], where: str = "", *, cache: Cache | None = None, **options: Any
) -> Evidence:
    """Evidence from stacks, masters and results by role.

    Raises
    ------
    SettingError
        Nothing is given, or something that is neither frames nor a master.
    """
    given = {role: _checked(role, data) for role, data in given.items() if data is not None}
    if not given:
        msg = "diagnose was given nothing: a session or a result, or light=, bias=, dark=, flat=, result="
        raise SettingError(msg)
    reference = next(given[role] for role in _REFERENCE if role in given)
    names = options.pop("names", {})
    misfits, fitting = [], {}
    for role, data in given.items():
        try:
            fitting[role] = _part(data, reference, role)
        except MismatchError as error:
            misfits.append(_misfit(names.get(role, role), str(error)))
    grid = Grid.of(reference)
    cache = cache or Cache()
    samples = {role: cache.sample(names.get(role, role), role, grid, data) for role, data in fitting.items()}
    where = where or names.get("light", next(iter(samples.values())).name)
    return Evidence(where, grid, samples, misfits=tuple(misfits), **options)


def _checked(role: str, data: object) -> Data:
    if isinstance(data, xr.Dataset) and "signal" in data:
        return data.isel(frame=0) if "frame" in data["signal"].dims else data
    if isinstance(data, xr.DataArray) and {"y", "x"} <= set(data.dims) <= {"frame", "y", "x"}:
        if role == "result":
            msg = "diagnose(result=) takes a calibrated frame (a Dataset with 'signal'); raw frames are given as light="
            raise SettingError(msg)
        return data if data.dims[-2:] == ("y", "x") else data.transpose(..., "y", "x")
    msg = (
        f"diagnose({role.replace(' ', '_')}=) takes raw frames (a DataArray from calibkit.open_stack) or a master or result "
        f"(a Dataset with 'signal'), found {type(data).__name__}"
    )
    raise SettingError(msg)


def _part(data: Data, reference: Data, role: str) -> Data:
    """The part of *data* that lies on the sensor pixels of *reference*."""
    if data is reference:
        return data
    if pattern_of(data).text != pattern_of(reference).text:
        msg = f"its colour pattern is {pattern_of(data)}, the others' {pattern_of(reference)}"
        raise MismatchError(msg)
    if _same_place(data, reference):
        return data  # untouched, so that its reader stays known
    if isinstance(data, xr.Dataset):
        keep = ["signal", *(name for name in ("variance", "flags") if name in data)]
        return cover(data[keep], _one(reference), role)
    return cover(data.to_dataset(name="signal"), _one(reference), role)["signal"].assign_attrs(data.attrs)


def _same_place(data: Data, reference: Data) -> bool:
    """Whether both have the same sensor pixels."""
    known = [dim for dim in ("y", "x") if dim in data.coords and dim in reference.coords]
    sizes = all(data.sizes[dim] == reference.sizes[dim] for dim in ("y", "x"))
    return sizes and all(data[dim].equals(reference[dim]) for dim in known)


def _one(frame: Data) -> xr.DataArray:
    signal = frame["signal"] if isinstance(frame, xr.Dataset) else frame
    return signal.isel(frame=0) if "frame" in signal.dims else signal


def _misfit(where: str, text: str) -> Finding:
    advice = "Take calibration frames with the lights' own binning, size and camera."
    return Finding("mixed settings", where, 2, 0.0, "settings", 1, FAULT, f"{text}; it was left out.", advice)


def from_session(session: Session, run: RunResult | None = None, **options: Any) -> Iterator[Evidence]:
    """Evidence for every group of lights, one after the other; for the calibration frames alone where there are none."""
    cache = Cache()
    if not session.matches and session.groups:
        yield _without_lights(session, **options)
    for match in session.matches:
        yield _from_match(session, match, run, cache, **options)


def _from_match(
    session: Session, match: Match, run: RunResult | None, cache: Cache, **options: Any
) -> Evidence:
    roles: dict[str, Group | None] = {
        "light": match.light,
        "bias": match.bias,
        "dark": match.dark,
        "flat": match.flat,
        "flat dark": match.flat_dark if match.flat_dark_scale is None else None,
        "flat bias": match.flat_bias if match.flat_bias is not match.bias else None,
    }
    given = {role: cache.opened(session, group) for role, group in roles.items() if group is not None}
    names = {role: group.name for role, group in roles.items() if group is not None}
    light = given["light"]
    if "bias" not in given and (light.attrs.get("black") or light.attrs.get("pedestal")):
        from calibkit.masters import constant_bias

        given["bias"], names["bias"] = constant_bias(light), "black level"
    masters: tuple[tuple[str, xr.Dataset], ...] = ()
    if run is not None:
        result = _result_of(run, match.light.name)
        if result is not None:
            given["result"], names["result"] = result
        masters = _masters_of(run)
    options = {"dark_scale": match.dark_scale, **options}
    return from_frames(
        given,
        match.light.name,
        names=names,
        cache=cache,
        match=match,
        groups=tuple(session.groups),
        masters=masters,
        tolerances=session.tolerances,
        **options,
    )


def _without_lights(session: Session, **options: Any) -> Evidence:
    given, names = {}, {}
    for group in session.groups:
        if group.kind not in given:
            given[group.kind], names[group.kind] = _opened(session, group), group.name
    where = str(session.folder.name)
    return from_frames(
        given, where, names=names, groups=tuple(session.groups), tolerances=session.tolerances, **options
    )


def _opened(session: Session, group: Group) -> Data:
    from calibkit.io.save import open_result

    if group.master:
        return open_result(group.paths[0])
    stack = session.stack(group)
    return stack.assign_attrs(
        {f"{step}_subtracted": True for step in ("bias", "dark") if step in group.applied}
    )


def _result_of(run: RunResult, light: str) -> tuple[xr.Dataset, str] | None:
    from calibkit.io.save import open_result

    for row in run.lights:
        if row.group == light and row.status != FAILED:
            return open_result(run.out / row.path), row.path
    return None


def _masters_of(run: RunResult) -> tuple[tuple[str, xr.Dataset], ...]:
    from calibkit.io.save import open_result

    with collected():
        return tuple((row.name, open_result(run.out / row.path)) for row in run.masters if row.path)


def made_masters(given: Mapping[str, Data | None]) -> Sequence[tuple[str, xr.Dataset]]:
    """Of what was given, the masters."""
    return [(role, data) for role, data in given.items() if isinstance(data, xr.Dataset) and role != "result"]
