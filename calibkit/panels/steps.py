"""The steps of the workbench: which panel each is, and what it takes from the session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import xarray as xr

from calibkit.errors import SettingError
from calibkit.panels.base import Panel
from calibkit.panels.bias import BiasPanel
from calibkit.panels.brightness import BrightnessPanel
from calibkit.panels.calibrate import CalibratePanel
from calibkit.panels.channels import ChannelsPanel
from calibkit.panels.combine import CombinePanel
from calibkit.panels.compare import ComparePanel
from calibkit.panels.dark import DarkPanel
from calibkit.panels.flat import FlatPanel
from calibkit.panels.hot_pixels import HotPixelsPanel
from calibkit.panels.noise import NoisePanel
from calibkit.panels.numbers import NumbersPanel
from calibkit.panels.session import SessionPanel
from calibkit.panels.signal_chain import SignalChainPanel
from calibkit.panels.stack import StackPanel
from calibkit.pipeline.material import Material
from calibkit.progress import Progress


@dataclass(frozen=True)
class Step:
    """One step: its panel, a sentence on it, and how its inputs are made.

    Inputs are by name, and made of the session's material, the number of a light, and a callback for progress. With
    *one_light* they depend on that number.
    """

    name: str
    panel: Callable[..., Panel]
    says: str
    inputs: Callable[[Material, int, Progress], dict[str, Any]]
    one_light: bool = False


def _frames(material: Material, kind: str) -> xr.DataArray:
    frames = material.frames(kind)
    if frames is None:
        group = material.group(kind)
        found = "none" if group is None else f"only one that is combined already, {group.frames[0].relative}"
        msg = f"this step needs single {kind} frames; in {material.session.folder} there is {found}"
        raise SettingError(msg)
    return frames


def _light(material: Material, number: int) -> xr.DataArray:
    lights = _frames(material, "light")
    return lights.isel(frame=min(number, lights.sizes["frame"] - 1))


def _any_frames(material: Material) -> xr.DataArray:
    """Frames to be combined: the darks, as in the lecture, or what else there are several of."""
    for kind in ("dark", "bias", "flat", "light"):
        frames = material.frames(kind)
        if frames is not None and frames.sizes["frame"] > 1:
            return frames
    return _frames(material, "dark")


def _hot_pixels(material: Material, _number: int, progress: Progress) -> dict[str, Any]:
    masters = material.masters(progress) if material.lights is not None else {}
    found = {"darks": masters.get("dark"), "flat": masters.get("flat")}
    if found["darks"] is None:
        found["darks"] = _frames(material, "dark")
    return found


def _noise(material: Material, _number: int, progress: Progress) -> dict[str, Any]:
    pairs = {"flats": material.frames("flat"), "biases": material.frames("bias")}
    both = all(frames is not None for frames in pairs.values())
    return {"lights": _frames(material, "light"), **material.masters(progress), **(pairs if both else {})}


STEPS = {
    step.name: step
    for step in (
        Step(
            "session",
            SessionPanel,
            "What is in the folder, what belongs together, and what is missing.",
            lambda material, _number, _progress: {"source": material.session},
        ),
        Step(
            "numbers",
            NumbersPanel,
            "A digital image is a set of numbers, and nothing else.",
            lambda material, number, _progress: {"image": _light(material, number)},
            one_light=True,
        ),
        Step(
            "signal chain",
            SignalChainPanel,
            "What sky, optics and detector add to the numbers, and what calibration frames can map of it.",
            lambda _material, _number, _progress: {},
        ),
        Step(
            "bias",
            BiasPanel,
            "The offset of the electronics, its pattern and its noise.",
            lambda material, _number, _progress: {"biases": _frames(material, "bias")},
        ),
        Step(
            "dark",
            DarkPanel,
            "The charge that heat makes: noisy in one dark, mapped by many; hot pixels; what cooling is worth.",
            lambda material, _number, _progress: {
                "darks": _frames(material, "dark"),
                "biases": material.frames("bias"),
            },
        ),
        Step(
            "flat",
            FlatPanel,
            "A map of the sensor's relative response to light, prepared step by step.",
            lambda material, _number, _progress: {
                "flats": _frames(material, "flat"),
                "flat_darks": material.frames("flat dark"),
            },
        ),
        Step(
            "combine",
            CombinePanel,
            "Many frames make one of less noise; what is far off is left out.",
            lambda material, _number, _progress: {"stack": _any_frames(material)},
        ),
        Step(
            "hot pixels",
            HotPixelsPanel,
            "Pixels of far too much charge: found in the dark, listed, and replaced by their neighbours.",
            _hot_pixels,
        ),
        Step(
            "calibrate",
            CalibratePanel,
            "Every step of the calibration on and off, its numbers, and the noise that it leaves.",
            lambda material, number, progress: {
                "light": _light(material, number),
                **material.masters(progress),
            },
            one_light=True,
        ),
        Step(
            "noise",
            NoisePanel,
            "Where the noise of the lights comes from, and what longer exposures and more frames buy.",
            _noise,
        ),
        Step(
            "compare",
            ComparePanel,
            "The light as it came, and calibrated.",
            lambda material, number, progress: {
                "before": _light(material, number),
                "after": material.calibrated(number, progress),
                "names": ("raw", "calibrated"),
            },
            one_light=True,
        ),
        Step(
            "channels",
            ChannelsPanel,
            "The channels of a colour sensor, and what each is worth behind the filter in use.",
            lambda material, number, progress: {
                "light": _light(material, number),
                **material.masters(progress),
            },
            one_light=True,
        ),
        Step(
            "stack",
            StackPanel,
            "The lights laid upon each other, and combined.",
            lambda material, _number, progress: {
                "lights": _frames(material, "light"),
                **material.masters(progress),
            },
        ),
        Step(
            "brightness",
            BrightnessPanel,
            "How bright the picture is shown; the background is never cut off.",
            lambda material, number, progress: {"image": material.calibrated(number, progress)},
            one_light=True,
        ),
    )
}
