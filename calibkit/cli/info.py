"""``calibkit info FILE``: what a file says about its frame, and its levels per channel."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import xarray as xr

    from calibkit.cli.terminal import Terminal

_FACTS = (
    ("kind", ""),
    ("exposure", " s"),
    ("gain", " e⁻/ADU"),
    ("gain_setting", ""),
    ("temperature", " °C"),
    ("filter", ""),
    ("time", ""),
    ("camera", ""),
    ("cfa", ""),
    ("binning", ""),
    ("saturation", " ADU"),
    ("pedestal", " ADU"),
    ("black", " ADU"),
    ("read_noise", " e⁻"),
    ("roworder", ""),
    ("n_frames", ""),
)
_TITLES = {
    "gain_setting": "gain or ISO",
    "cfa": "pattern",
    "roworder": "row order",
    "n_frames": "frames combined",
}


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add ``info`` to the commands."""
    parser = commands.add_parser(
        "info",
        help="one file: what it says, and its levels",
        description=(
            "What FILE says about its frame (a raw frame, a master or a calibrated light) and minimum, median, "
            "mean, maximum and noise of every channel. The noise is that of neighbouring pixels of one channel."
        ),
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="FITS, camera RAW, 16-bit TIFF or PNG")
    parser.add_argument("--header", action="store_true", help="all header cards as well")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Show every file."""
    from calibkit.display.images import open_image

    for name in args.files:
        path = Path(name).expanduser()
        frame = open_image(path)
        terminal.heading(str(path))
        _show(frame, terminal, header=args.header)
    return 0


def _show(frame: xr.DataArray | xr.Dataset, terminal: Terminal, *, header: bool) -> None:
    from calibkit.statistics import channel_levels, measure_noise

    levels, noise = (
        channel_levels(frame),
        measure_noise(frame),
    )  # first: damage is found before anything is said
    signal = frame if not hasattr(frame, "data_vars") else frame["signal"]
    first = [int(signal.coords[dim][0]) for dim in ("x", "y")] if {"x", "y"} <= set(signal.coords) else [0, 0]
    rows = [
        ("size", f"{signal.sizes['x']} × {signal.sizes['y']}, {signal.dtype}"),
        ("first pixel", f"x {first[0]}, y {first[1]} on the sensor" if any(first) else ""),
        ("unit", frame.attrs.get("units", "")),
        *((_TITLES.get(name, name.replace("_", " ")), _fact(frame, name, unit)) for name, unit in _FACTS),
    ]
    terminal.table(("", ""), [row for row in rows if row[1]])
    terminal.print()
    predicted = any(math.isfinite(found.predicted) for found in noise.values())
    terminal.table(
        ("channel", "minimum", "median", "mean", "maximum", "noise", "predicted", "saturated"),
        [
            (
                name,
                *(f"{value:.6g}" for value in (level.minimum, level.median, level.mean, level.maximum)),
                f"{noise[name].measured:.4g}",
                f"{noise[name].predicted:.4g}" if predicted else "",
                str(level.saturated) if math.isfinite(frame.attrs.get("saturation", math.nan)) else "",
            )
            for name, level in levels.items()
        ],
        numbers=range(1, 8),
    )
    _show_flags(frame, terminal)
    _show_steps(frame, terminal)
    if header:
        terminal.print()
        terminal.table(("card", "value"), list(frame.attrs.get("header", {}).items()))


def _fact(frame: xr.DataArray | xr.Dataset, name: str, unit: str) -> str:
    from calibkit.meta import frame_value, known

    value: Any = frame_value(frame, name)
    if value is None or not known(value) or (name == "pedestal" and value == 0):
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{channel} {level:g}" for channel, level in value.items()) + unit
    if isinstance(value, tuple | list):
        return " × ".join(f"{part}" for part in value)
    if name == "time":
        return str(value.astype("datetime64[ms]"))
    return (f"{value:.6g}" if isinstance(value, float) else str(value)) + unit


def _show_flags(frame: xr.DataArray | xr.Dataset, terminal: Terminal) -> None:
    from calibkit.flags import count_flags

    if "flags" not in getattr(frame, "data_vars", ()):
        return
    counts = count_flags(frame["flags"].values)
    terminal.print()
    terminal.print("flags: " + (", ".join(f"{name} {count}" for name, count in counts.items()) or "none"))


def _show_steps(frame: xr.DataArray | xr.Dataset, terminal: Terminal) -> None:
    from calibkit.session.wording import plural

    steps = frame.attrs.get("provenance") or []
    if not steps:
        return
    terminal.print()
    rows = []
    for step in steps:
        count = len(step.get("inputs", []))
        rows.append((step.get("step", ""), _words(step), plural(count, "file") if count else ""))
    terminal.table(("step", "how", "from"), rows)


def _words(step: dict[str, Any]) -> str:
    """The settings of a step; the checksum of every frame, which would fill the page, stays in the file."""
    kept = {
        key: value
        for key, value in step.items()
        if key not in ("step", "inputs", "sha256") and value is not None and value != []
    }
    return ", ".join(
        f"{key} ({_words(value)})" if isinstance(value, dict) else f"{key} {value}"
        for key, value in kept.items()
    )
