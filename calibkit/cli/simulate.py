"""``calibkit simulate ccd|dslr -o FOLDER``: a session whose truth is known."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from calibkit.cli.terminal import Terminal

_SESSIONS = {
    "ccd": "a cooled CCD at −46 °C: 10 lights and 11 darks of 240 s, 10 flats, 10 flat darks, 10 biases",
    "dslr": "a warm DSLR behind an Hα filter: 7 lights and 11 darks of 300 s, 10 flats, 10 flat darks, 10 biases",
    "dslr-warming": "the same, growing warmer from light to light",
}


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add ``simulate`` to the commands."""
    parser = commands.add_parser(
        "simulate",
        help="make a sample session whose truth is known",
        description=(
            "Write the frames of a simulated night as FITS files. calibkit.simulate.session_truth(FOLDER) tells in "
            "Python what they would show without noise and without the camera's traces."
        ),
        epilog="\n".join(f"{name}: {text}" for name, text in _SESSIONS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("camera", choices=list(_SESSIONS), help="which session")
    parser.add_argument("-o", "--out", metavar="FOLDER", required=True, help="an empty or a new folder")
    parser.add_argument(
        "--size", metavar="WxH", type=_size, help="frames of this many pixels (default: 640x480)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Write the session."""
    from calibkit.simulate import sample_session

    size = {"shape": args.size} if args.size else {}
    with terminal.progress() as progress:
        name = args.camera.replace("-", " ")
        folder = sample_session(name, folder=Path(args.out).expanduser(), progress=progress, **size)
    terminal.print(f"{folder}: {_SESSIONS[args.camera]}")
    done = folder.with_name(f"{folder.name}-done")
    terminal.print(f"next: calibkit calibrate {shlex.quote(str(folder))} -o {shlex.quote(str(done))}")
    return 0


def _size(text: str) -> tuple[int, int]:
    """``"640x480"`` as (rows, columns)."""
    found = re.fullmatch(r"(\d+)[x×](\d+)", text)
    if not found:
        msg = f"{text!r}: wanted is WIDTHxHEIGHT, such as 1280x960"
        raise argparse.ArgumentTypeError(msg)
    return int(found[2]), int(found[1])
