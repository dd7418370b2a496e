"""``calibkit scan FOLDER``: what is there, what belongs together, what calibrates what."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from dataclasses import fields
from typing import TYPE_CHECKING

from calibkit.cli.terminal import Terminal
from calibkit.errors import SettingError

if TYPE_CHECKING:
    from calibkit.recipe import FrameSettings
    from calibkit.session import Session

_KIND_OPTIONS = {
    "bias": "--bias",
    "dark": "--dark",
    "flat": "--flat",
    "flat dark": "--flat-dark",
    "light": "--light",
}
#: Files of one reason that are named; the others are counted.
_NAMED = 3


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add ``scan`` to the commands."""
    parser = commands.add_parser(
        "scan",
        help="what a folder holds, and what fits what",
        description=(
            "Read the headers of all frames in FOLDER; say what each is and why, what belongs together, and "
            "which bias, dark and flat fit which lights."
        ),
    )
    add_folder_options(parser)
    parser.add_argument("--frames", action="store_true", help="list every frame, with why it is what it is")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Show the session."""
    from calibkit.recipe import FrameSettings

    session = read_session(args.folder, told_frames(args, FrameSettings()), terminal)
    if args.frames:
        show_frames(session, terminal)
    show_session(session, terminal)
    return 0


def add_folder_options(parser: argparse.ArgumentParser) -> None:
    """FOLDER, and what its frames are where they do not say."""
    parser.add_argument("folder", metavar="FOLDER", help="where the frames are, folders below included")
    kinds = parser.add_argument_group(
        "what the frames are",
        "Only for frames that do not say it themselves, or say it wrongly. GLOB is compared with the path below "
        "FOLDER and with the name; put it in quotes. Each may be given several times.",
    )
    for kind, option in _KIND_OPTIONS.items():
        kinds.add_argument(
            option, metavar="GLOB", action="append", default=[], help=f"these are {kind} frames"
        )
    kinds.add_argument(
        "--pattern",
        metavar="RGGB",
        help="their colour filters, from sensor pixel 0, 0 on; mono for a camera whose filters were removed",
    )
    limits = parser.add_argument_group("what fits what")
    limits.add_argument(
        "--ignore",
        metavar="PROPERTY",
        action="append",
        default=[],
        help="do not compare this: camera, gain, offset, readout mode, temperature, filter or night",
    )
    limits.add_argument(
        "--tolerance",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        type=_tolerance,
        help="widen or narrow a limit, e.g. dark_temperature=1 (°C), flat_hours=72, max_dark_scale=2",
    )


def _tolerance(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name.strip(), float(value)
    except ValueError:
        msg = f"{text!r}: wanted is NAME=NUMBER, such as dark_temperature=1"
        raise argparse.ArgumentTypeError(msg) from None


def told_frames(args: argparse.Namespace, settings: FrameSettings) -> FrameSettings:
    """The settings with what the command line says of the frames, which goes before."""
    from calibkit.recipe import FrameSettings
    from calibkit.session import Tolerances

    known = [field.name for field in fields(Tolerances) if isinstance(field.default, float)]
    strange = [name for name, _ in args.tolerance if name not in known]
    if strange:
        msg = f"--tolerance {strange[0]}: there is no such limit; there are {', '.join(known)}"
        raise SettingError(msg)
    kinds = {
        kind: tuple(patterns) for kind in _KIND_OPTIONS if (patterns := getattr(args, kind.replace(" ", "_")))
    }
    return FrameSettings(
        kinds={**settings.kinds, **kinds},
        pattern=settings.pattern if args.pattern is None else args.pattern,
        tolerances={**settings.tolerances, **dict(args.tolerance)},
        ignore=tuple(dict.fromkeys((*settings.ignore, *args.ignore))),
    )


def read_session(folder: str, frames: FrameSettings, terminal: Terminal) -> Session:
    """Scan the folder with the kinds that were told."""
    from calibkit.session import scan

    with terminal.progress() as progress:
        return scan(
            folder,
            kinds=frames.kinds or None,
            cfa=frames.pattern,
            tolerances=frames.limits(),
            progress=progress,
        )


def show_session(session: Session, terminal: Terminal) -> None:
    """Groups, matches, what is missing, what cannot be read."""
    from calibkit.session.table import group_table, match_rows

    headings, rows = group_table(session.groups)
    terminal.heading(str(session.folder))
    terminal.table(headings, rows)
    for match in session.matches:
        terminal.heading(f"{match.light.name}: what calibrates it")
        terminal.table(("for", "used", "why"), match_rows(match))
    show_list("Used by no light", [group.name for group in session.unused], terminal)
    show_list("Unreadable", list(session.unreadable.values()), terminal)
    show_list("Warnings", session.warnings, terminal)


def show_frames(session: Session, terminal: Terminal) -> None:
    """Every frame with its kind and the reason."""
    terminal.heading(f"{session.folder}: {len(session.frames)} frames")
    rows = ((frame.relative, frame.kind or "unknown", frame.reason) for frame in session.frames)
    terminal.table(("file", "kind", "why"), rows)


def show_list(title: str, items: list[str], terminal: Terminal) -> None:
    """A title and its points, or nothing when there are none."""
    if items:
        terminal.heading(title)
        for item in items:
            terminal.print(f"  - {item}")


def alike(items: Iterable[tuple[str, str]]) -> list[str]:
    """Points for `show_list` from (file, reason): files of one reason stand together, three of them by name."""
    files: dict[str, list[str]] = {}
    for file, reason in items:
        files.setdefault(reason, []).append(file)
    return [
        f"{', '.join(names[:_NAMED])}{f' and {len(names) - _NAMED} more' if len(names) > _NAMED else ''}: {reason}"
        for reason, names in files.items()
    ]
