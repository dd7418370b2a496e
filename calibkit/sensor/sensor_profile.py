"""What is known about a sensor, as a small file: for calibration, the noise-model rejection and the simulator."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xarray as xr

import calibkit
from calibkit._equal import same_fields
from calibkit.cfa.pattern import Pattern
from calibkit.dark.current import DarkCurrent
from calibkit.errors import FrameFileError, MismatchError, SettingError
from calibkit.io.atomic import part_file
from calibkit.io.json_file import read_json
from calibkit.meta import known
from calibkit.noise import Measurement
from calibkit.simulate.camera import Camera

FORMAT, VERSION = "calibkit sensor profile", 1
#: What a profile may hold: name → (unit, what it is, whether it has to be above zero).
QUANTITIES = {
    "gain": ("electron/adu", "electrons per ADU", True),
    "read_noise": ("electron", "noise of one reading, without rounding to whole ADU", False),
    "dark_noise": ("adu", "noise of one bias frame, with rounding", False),
    "offset": ("adu", "level without light", False),
    "saturation": ("adu", "level at which the variance is largest, offset included", True),
    "full_well": ("electron", "electrons at saturation", True),
    "linearity": ("1", "mean deviation from a straight line", False),
    "prnu": ("1", "spread of the response from pixel to pixel", False),
    "dsnu": ("adu", "spread of the level without light from pixel to pixel", False),
    "unstable": ("1", "share of pixels that jump or scatter too much", False),
}
_LARGEST = 4 * 2**20


@dataclass(frozen=True, kw_only=True)
class SensorProfile:
    """A sensor at one gain setting, as measured.

    Attributes
    ----------
    camera : str
    gain_setting : float
        ISO or the camera's own gain number; NaN when it has none.
    binning : (int, int)
    pattern : str
        Colour filter pattern, ``""`` for none; it names the channels.
    shape : (int, int)
        Rows and columns of the frames; (0, 0) when not known.
    white : float
        Largest number that the frames can hold, as they state it, ADU; NaN when not known.
    quantities : dict
        Name in `QUANTITIES` → `Measurement`, for as many channels as could be measured.
    dark_rates : tuple of (float, Measurement)
        Temperature in °C and dark current in electron/s.
    dark_fits : dict
        Channel → `DarkCurrent` in electron/s.
    notes : tuple of str
    created : str
        Day of the measurement, ISO.

    Raises
    ------
    SettingError
        A quantity that does not exist, of another unit, of a channel that the pattern has not, or a value that no
        sensor has.

    Examples
    --------
    >>> gain = Measurement({"L": 1.94}, {"L": 0.01}, "electron/adu", 5)
    >>> noise = Measurement({"L": 13.0}, {"L": 0.1}, "electron", 5)
    >>> profile = SensorProfile(camera="STL-1001E", quantities={"gain": gain, "read_noise": noise})
    >>> profile.gain, profile.camera_model(shape=(100, 150)).read_noise
    ({'L': 1.94}, 13.0)
    """

    camera: str = ""
    gain_setting: float = math.nan
    binning: tuple[int, int] = (1, 1)
    pattern: str = ""
    shape: tuple[int, int] = (0, 0)
    white: float = math.nan
    quantities: dict[str, Measurement] = field(default_factory=dict)
    dark_rates: tuple[tuple[float, Measurement], ...] = ()
    dark_fits: dict[str, DarkCurrent] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    created: str = ""

    __eq__ = same_fields

    def __post_init__(self) -> None:
        channels = set(Pattern(self.pattern).channels)
        for name, found in self.quantities.items():
            if name not in QUANTITIES:
                msg = f"sensor profile: {name!r} is no quantity of it; allowed are {', '.join(QUANTITIES)}"
                raise SettingError(msg)
            unit, _, positive = QUANTITIES[name]
            _check(name, found, unit, channels, positive=positive)
        for temperature, rate in self.dark_rates:
            _check(f"dark current at {temperature:g} °C", rate, "electron/s", channels, positive=False)
        strange = set(self.dark_fits) - channels
        if strange:
            msg = f"sensor profile: dark current of channel {', '.join(sorted(strange))}, which the pattern has not"
            raise SettingError(msg)

    @property
    def gain(self) -> dict[str, float]:
        """Electrons per ADU by channel: for ``calibrate(gain=…)`` and ``combine(gain=…)``."""
        return self._values("gain")

    @property
    def read_noise(self) -> dict[str, float]:
        """Electrons by channel: for ``calibrate(read_noise=…)`` and ``combine(read_noise=…)``."""
        return self._values("read_noise")

    def _values(self, name: str) -> dict[str, float]:
        if name not in self.quantities:
            msg = f"this sensor profile has no {name}; it holds {', '.join(self.quantities) or 'nothing'}"
            raise SettingError(msg)
        return dict(self.quantities[name].values)

    def dark_rate(self, temperature: float) -> dict[str, float]:
        """Dark current in electron/s by channel at *temperature* in °C.

        From the fit over temperature, or the one temperature that was measured if that is within 1 °C.

        Raises
        ------
        SettingError
            Neither is there.
        """
        if self.dark_fits:
            return {channel: fit.at(temperature) for channel, fit in self.dark_fits.items()}
        near = [rate for t, rate in self.dark_rates if abs(t - temperature) <= 1.0]
        if not near:
            have = ", ".join(f"{t:.1f}" for t, _ in self.dark_rates) or "no temperature"
            msg = f"dark current at {temperature:g} °C is not in this sensor profile; it was measured at {have} °C"
            raise SettingError(msg)
        return dict(near[0].values)

    def check(self, frames: xr.DataArray | xr.Dataset) -> None:
        """Refuse frames of another camera, gain setting, binning or pattern; what is not known is not compared.

        Raises
        ------
        MismatchError
            They differ; the message says in what.
        """
        said = {
            "camera": self.camera,
            "gain_setting": self.gain_setting,
            "binning": tuple(self.binning),
            "cfa": self.pattern,
        }
        for name, mine in said.items():
            theirs = frames.attrs.get(name)
            if theirs is None and name in frames.coords and frames.coords[name].size:
                theirs = frames.coords[name].values.reshape(-1)[0].item()
            theirs = tuple(theirs) if name == "binning" and theirs is not None else theirs
            if theirs is None or (name != "cfa" and not (known(mine) and known(theirs))):
                continue
            if mine != theirs:
                msg = f"the sensor profile is of {name} {mine!r}, the frames have {theirs!r}; measure a profile of their own"
                raise MismatchError(msg)

    def camera_model(self, **changes: Any) -> Camera:
        """A simulated camera with these properties (channels averaged), and *changes* to it.

        Parameters
        ----------
        **changes
            Fields of `calibkit.Camera`, e.g. ``shape``, ``seed``; they go before what was measured.

        Returns
        -------
        calibkit.Camera
        """
        settings: dict[str, Any] = {"pattern": self.pattern, "gain_setting": self.gain_setting}
        if self.camera:
            settings["name"] = self.camera
        if min(self.shape) > 0:
            settings["shape"] = tuple(self.shape)
        bits = math.log2(self.white + 1) if self.white > 0 else math.nan
        if 4 <= bits <= 16 and bits.is_integer():
            settings["bit_depth"] = int(bits)
        same = {"gain": "gain", "read_noise": "read_noise", "full_well": "full_well", "offset": "offset"}
        same |= {"prnu": "sensitivity_spread", "unstable": "telegraph_fraction"}
        for name, target in same.items():
            if name in self.quantities and math.isfinite(self.quantities[name].value):
                settings[target] = self.quantities[name].value
        if self.dark_fits:
            fits = list(self.dark_fits.values())
            middle = sum(fit.temperature for fit in fits) / len(fits)
            settings["reference_temperature"] = middle
            settings["dark_current"] = sum(fit.at(middle) for fit in fits) / len(fits)
            settings["doubling"] = sum(fit.doubling for fit in fits) / len(fits)
        elif self.dark_rates:
            temperature, rate = self.dark_rates[0]
            settings["dark_current"] = max(rate.value, 0.0)
            if math.isfinite(temperature):
                settings["reference_temperature"] = temperature
        return Camera(**(settings | changes))

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
        """Write the profile as JSON.

        Parameters
        ----------
        path : path
        overwrite : bool
            Replace a file that is there.

        Returns
        -------
        pathlib.Path

        Raises
        ------
        OutputError
            The file exists, or cannot be written; nothing is left behind then.
        """
        target = Path(path)
        text = json.dumps(self._as_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        with part_file(target, overwrite=overwrite) as part:
            part.write_at(0, text.encode())
            part.finish(overwrite=overwrite)
        return target

    def _as_json(self) -> dict[str, Any]:
        return _plain(
            {
                "format": FORMAT,
                "version": VERSION,
                "calibkit": calibkit.__version__,
                "created": self.created,
                "camera": self.camera,
                "gain_setting": self.gain_setting,
                "binning": list(self.binning),
                "pattern": self.pattern,
                "shape": list(self.shape),
                "white": self.white,
                "quantities": {n: dataclasses.asdict(m) for n, m in self.quantities.items()},
                "dark_rates": [{"temperature": t} | dataclasses.asdict(m) for t, m in self.dark_rates],
                "dark_fits": {c: dataclasses.asdict(fit) for c, fit in self.dark_fits.items()},
                "notes": list(self.notes),
            }
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SensorProfile:
        """Read a profile that `save` wrote.

        Parameters
        ----------
        path : path

        Returns
        -------
        SensorProfile

        Raises
        ------
        FrameFileError
            There is no such file, it is no sensor profile, it is damaged, or a newer version wrote it.
        """
        data = read_json(path, "sensor profile", largest=_LARGEST)
        if data.get("format") != FORMAT:
            msg = f"{path} is no sensor profile: its format is not {FORMAT!r}"
            raise FrameFileError(msg)
        version = data.get("version")
        if not isinstance(version, int) or isinstance(version, bool) or version < 1:
            msg = f"{path}: version {version!r} of a sensor profile does not exist; it is damaged"
            raise FrameFileError(msg)
        if version > VERSION:
            msg = (
                f"{path} was written by calibkit {data.get('calibkit', '?')} as version {version} of a sensor profile; this "
                f"calibkit ({calibkit.__version__}) reads versions up to {VERSION}: update calibkit"
            )
            raise FrameFileError(msg)
        try:
            return cls(
                camera=str(data["camera"]),
                gain_setting=_number(data["gain_setting"]),
                binning=_two(data["binning"]),
                pattern=str(data["pattern"]),
                shape=_two(data["shape"]),
                white=_number(data["white"]),
                quantities={name: _measurement(m) for name, m in data["quantities"].items()},
                dark_rates=tuple((_number(m["temperature"]), _measurement(m)) for m in data["dark_rates"]),
                dark_fits={
                    c: DarkCurrent(**{f.name: _number(fit[f.name]) for f in dataclasses.fields(DarkCurrent)})
                    for c, fit in data["dark_fits"].items()
                },
                notes=tuple(str(note) for note in data["notes"]),
                created=str(data["created"]),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            msg = f"{path}: this sensor profile is damaged: {what}"
            raise FrameFileError(msg) from error

    def __str__(self) -> str:
        title = self.camera or "sensor"
        if math.isfinite(self.gain_setting):
            title += f", gain setting {self.gain_setting:g}"
        lines = [f"{name.replace('_', ' ')}: {found}" for name, found in self.quantities.items()]
        lines += [f"dark current at {t:.1f} °C: {rate}" for t, rate in self.dark_rates]
        lines += [f"{channel}: {fit}" for channel, fit in self.dark_fits.items()]
        return "\n".join([title, *lines, *self.notes])


def _check(name: str, found: Measurement, unit: str, channels: set[str], *, positive: bool) -> None:
    if found.unit != unit:
        msg = f"sensor profile: {name} is in {found.unit!r}, wanted is {unit!r}"
        raise SettingError(msg)
    if not found.values or set(found.values) - channels or set(found.errors) != set(found.values):
        msg = (
            f"sensor profile: {name} is of channel {', '.join(found.values) or 'none'}, with errors of "
            f"{', '.join(found.errors) or 'none'}; the pattern has {', '.join(sorted(channels))}"
        )
        raise SettingError(msg)
    for channel, value in found.values.items():
        error = found.errors[channel]
        if math.isinf(value) or (positive and not value > 0) or error < 0 or math.isinf(error):
            msg = f"sensor profile: {name} of channel {channel} is {value!r} ± {error!r}, which no sensor has"
            raise SettingError(msg)


def _plain(value: Any) -> Any:
    """*value* for JSON, which has no NaN."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _number(value: object) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"{value!r} is no number"
        raise TypeError(msg)
    return float(value)


def _two(value: list[int]) -> tuple[int, int]:
    a, b = value
    if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in (a, b)):
        msg = f"{value!r} are no two whole numbers"
        raise TypeError(msg)
    return a, b


def _measurement(data: Mapping[str, Any]) -> Measurement:
    values, errors = ({str(c): _number(v) for c, v in data[part].items()} for part in ("values", "errors"))
    return Measurement(values, errors, str(data["unit"]), int(data["samples"]))
