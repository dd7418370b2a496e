"""calibkit: teach and do the calibration of astronomical images.

Every public name is listed once, in ``_PUBLIC`` below, and loaded when it is first used, so that
``import calibkit`` costs next to nothing.
"""

from __future__ import annotations

import importlib
import sys

__version__ = "0.1.0"

#: module → the public names that it defines, in the order of the work.
_PUBLIC = {
    "frames": ("open_stack",),
    "cfa": ("Pattern",),
    "session": ("Session", "Tolerances", "scan"),
    "combining": ("can_reject", "combine"),
    "masters": ("constant_bias", "master_bias", "master_dark", "master_flat"),
    "calibration": ("calibrate",),
    "noise": ("measure_gain", "measure_read_noise"),
    "ledger": ("noise_ledger", "plan_exposures"),
    "dark.scale": ("measure_dark_scale",),
    "dark.shrunken": ("shrink_dark",),
    "dark.current": ("fit_dark_current",),
    "dark.warming": ("measure_warming",),
    "bias.overscan": ("subtract_overscan",),
    "bias.synthetic": ("make_synthetic_bias",),
    "sensor": (
        "SensorProfile",
        "find_unstable_pixels",
        "measure_dark_current",
        "measure_fixed_pattern",
        "measure_photon_transfer",
        "measure_sensor",
    ),
    "bias.interference": ("find_interference", "line_structure"),
    "defects": ("DefectMap", "find_defects", "repair"),
    "cosmicrays": ("find_cosmic_rays",),
    "colour": (
        "channel_worth",
        "colour_matrix",
        "combine_channels",
        "convert_too_early",
        "debayer",
        "extract_line",
        "lamp_colour",
        "neutralise_background",
        "white_balance",
    ),
    "brightness": ("hyperbolic_curve", "save_picture", "stretch_picture"),
    "align": ("find_stars", "measure_quality", "register", "resample", "stack_lights"),
    "io.save": ("open_result", "save"),
    "display.images": ("open_image",),
    "display.comparing": ("difference",),
    "display.view": ("view_of",),
    "diagnosis": ("Diagnosis", "Finding", "diagnose"),
    "recipe": ("Recipe", "read_recipe", "write_recipe"),
    "pipeline": ("calibrate_session", "process"),
    "simulate": (
        "sample_session",
        "deck_pixels",
        "Camera",
        "Optics",
        "Sky",
        "Lamp",
        "FrameSet",
        "simulate_frame",
        "simulate_stack",
        "write_session",
        "truth",
        "session_truth",
    ),
    "errors": (
        "CalibkitError",
        "CalibkitWarning",
        "Cancelled",
        "FrameFileError",
        "MismatchError",
        "OutputError",
        "SettingError",
    ),
}
_SUBMODULES = ("flags", "panels", "simulate", "state", "display", "teach")
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = [name for names in _PUBLIC.values() for name in names]


def __getattr__(name: str) -> object:
    if name in _HOME:
        value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
        globals()[name] = value
        return value
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})


if "xarray" in sys.modules:  # the .cfa accessor is there at once for those who use xarray already
    importlib.import_module(f"{__name__}.cfa")
