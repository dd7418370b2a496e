"""``calibkit calibrate FOLDER -o OUT``: masters, calibrated lights and a report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calibkit.cli.scan import add_folder_options, alike, read_session, show_list, show_session, told_frames
from calibkit.cli.terminal import Meter, Terminal, relative_to_here
from calibkit.errors import Cancelled

if TYPE_CHECKING:
    from calibkit.pipeline import RunResult
    from calibkit.recipe import Recipe
    from calibkit.session import Session

_EXAMPLES = """\
examples:
  calibkit calibrate night -o done
  calibkit calibrate night -o done --dry-run             only say what would be done
  calibkit calibrate sun -o done --flat 'flat-*' --light '*_b1*'
  calibkit calibrate night -o done --ignore temperature  darks of any temperature

A run that was stopped goes on where it was when it is started again; what has changed is redone.
Exit code: 0 when every light was calibrated, 1 when something could not be done, 130 after Ctrl-C.
"""
#: Warnings shown after a run; the report has them all.
_MOST = 20


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add ``calibrate`` to the commands."""
    parser = commands.add_parser(
        "calibrate",
        help="masters, calibrated lights and a report from a folder of frames",
        description=(
            "Find out what the frames in FOLDER are and which belong together, make the masters, calibrate the "
            "lights, and write a report. FITS files with variance, flags and the record of what was done go to "
            "OUT/masters and OUT/lights, the report to OUT/report.html. The frames themselves are never changed."
        ),
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_folder_options(parser)
    add_out_options(parser)
    parser.add_argument("--no-repair", action="store_true", help="leave hot and other bad pixels as they are")
    add_camera_options(parser)
    combining = parser.add_argument_group("how masters are combined")
    combining.add_argument("--method", metavar="NAME", help="mean (default), median …")
    combining.add_argument("--reject", metavar="NAME", help="auto (default), none, sigma …")
    combining.add_argument("--low", type=float, metavar="S", help="rejection limit below")
    combining.add_argument("--high", type=float, metavar="S", help="rejection limit above")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Do the whole session."""
    from calibkit.recipe import CameraSettings, DefectSettings, MasterSettings, Recipe

    recipe = Recipe(
        until="lights",
        masters=MasterSettings(**{name: getattr(args, name) for name in ("method", "reject", "low", "high")}),
        camera=CameraSettings(gain=args.gain, read_noise=args.read_noise, pedestal=args.pedestal),
        defects=DefectSettings(repair=not args.no_repair),
    )
    session = read_session(args.folder, told_frames(args, recipe.frames), terminal)
    return work(session, recipe, args, terminal)


def add_camera_options(parser: argparse.ArgumentParser) -> None:
    """What is known of the camera."""
    noise = parser.add_argument_group("the camera, where its frames do not say it or say it wrongly")
    noise.add_argument("--gain", type=float, metavar="G", help="electrons per ADU")
    noise.add_argument("--read-noise", type=float, metavar="R", help="electrons")
    noise.add_argument(
        "--pedestal",
        type=float,
        metavar="P",
        help="ADU of a pixel without light; 0 where the camera has subtracted a dark itself",
    )


def add_out_options(parser: argparse.ArgumentParser) -> None:
    """Where the results go, and what is done at all."""
    parser.add_argument("-o", "--out", metavar="OUT", required=True, help="folder for the results")
    parser.add_argument("-n", "--dry-run", action="store_true", help="say what would be done, and do nothing")
    parser.add_argument(
        "--overwrite", action="store_true", help="do everything again, and replace files of other origin"
    )
    parser.add_argument("--no-report", action="store_true", help="write no report")
    parser.add_argument(
        "--library",
        metavar="FOLDER",
        help="masters that several nights share are taken from here and kept here",
    )


def work(session: Session, recipe: Recipe, args: argparse.Namespace, terminal: Terminal) -> int:
    """Do what the recipe says, or only tell it; the exit code."""
    from calibkit.pipeline import process

    if args.dry_run:
        _show_plan(session, recipe, terminal)
        return 0
    with terminal.progress() as progress:
        try:
            result = process(
                session,
                recipe,
                Path(args.out).expanduser(),
                overwrite=args.overwrite,
                report=not args.no_report,
                library=args.library,
                progress=progress,
            )
        except (KeyboardInterrupt, Cancelled):
            stopped: Meter | None = progress
        else:
            stopped = None
    if stopped is not None:
        done, total = stopped.seen.get("lights", (0, sum(len(match.light) for match in session.matches)))
        terminal.error(
            f"stopped: {done} of {total} lights are finished and kept in {args.out}; "
            "the same command goes on from there"
        )
        return 130
    _show_result(result, terminal)
    return 0 if result.ok else 1


def _show_plan(session: Session, recipe: Recipe, terminal: Terminal) -> None:
    from calibkit.pipeline import plan_session

    plan = plan_session(session, recipe)
    show_session(session, terminal)
    terminal.heading("Masters that would be made")
    terminal.table(("master", "kind", "from"), [(spec.name, spec.kind, spec.how()) for spec in plan.masters])
    terminal.heading(f"{plan.lights} lights would be calibrated")
    rows = [
        (lights.match.light.name, str(len(lights.match.light)), lights.error or " ".join(lights.steps()))
        for lights in plan.groups
    ]
    terminal.table(("lights", "number", "done with them"), rows, numbers=(1,))
    show_list("Warnings of the plan", list(plan.warnings), terminal)


def _show_result(result: RunResult, terminal: Terminal) -> None:
    if result.masters:
        terminal.heading("Masters")
        terminal.table(
            ("master", "frames", "from", "rejected", "came out"),
            [
                (
                    row.name,
                    str(row.frames or ""),
                    row.how,
                    f"{100 * row.rejected:.2g} %" if row.rejected == row.rejected else "",
                    row.error or row.status,
                )
                for row in result.masters
            ],
            numbers=(1, 3),
        )
    terminal.heading("Lights")
    headings = (
        "lights",
        "number",
        "done with them",
        "level before",
        "level after",
        "noise",
        "predicted",
        "came out",
    )
    terminal.table(headings, _light_rows(result), numbers=(1,))
    if result.stacks:
        _show_stacks(result, terminal)
    failed = alike([(row.file, row.error) for row in result.failed])
    failed += [f"stack of {row.name}: {row.error}" for row in result.stacks if row.error]
    show_list("Could not be done", failed, terminal)
    show_list("Unreadable", list(result.session.unreadable.values()), terminal)
    for text in result.warnings[:_MOST]:
        terminal.warning(text)
    if len(result.warnings) > _MOST:
        terminal.warning(f"{len(result.warnings) - _MOST} more: see the report")
    terminal.print()
    terminal.print(result.summary(), style="bold" if result.ok else "bold red")
    if result.report:
        terminal.print(f"report: {relative_to_here(result.report)}")


def _show_stacks(result: RunResult, terminal: Terminal) -> None:
    terminal.heading("Stacks")
    terminal.table(
        ("stack", "lights", "level", "noise", "came out"),
        [
            (
                row.picture or row.path or row.name,
                f"{len(row.files) or ''}{f', line {row.line}' if row.line else ''}",
                _medians([row.noise], "level"),
                _medians([row.noise], "measured"),
                "failed" if row.error else row.status,
            )
            for row in result.stacks
        ],
        numbers=(1,),
    )
    failed = {row.file for row in result.failed}  # told with their reason further down
    left = [item for row in result.stacks for item in row.left_out.items() if item[0] not in failed]
    show_list("Not in the stack", alike(left), terminal)


def _light_rows(result: RunResult) -> list[list[str]]:
    """One row a group of lights: medians over its lights, of every channel."""
    rows: list[list[str]] = []
    for group in dict.fromkeys(row.group for row in result.lights):
        lights = [row for row in result.lights if row.group == group]
        done = [row for row in lights if row.status != "failed"]
        after = [row.after for row in done]
        rows.append(
            [
                group,
                str(len(lights)),
                " ".join(done[0].steps) if done else "",
                _medians([row.before for row in done], "level"),
                _medians(after, "level"),
                _medians(after, "measured"),
                _medians(after, "predicted"),
                f"{len(done)} done"
                + (f", {len(lights) - len(done)} failed" if len(done) < len(lights) else ""),
            ]
        )
    return rows


def _medians(found: list[dict[str, dict[str, Any]]], name: str) -> str:
    import numpy as np

    texts = []
    for channel in found[0] if found else ():
        values = [row[channel][name] for row in found if channel in row and np.isfinite(row[channel][name])]
        if values:
            texts.append(f"{'' if channel == 'L' else channel + ' '}{np.median(values):.4g}")
    return ", ".join(texts)
