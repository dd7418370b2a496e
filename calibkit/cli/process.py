"""``calibkit process FOLDER -o OUT``: from the frames to the stacked picture, as a recipe says."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from calibkit.cli.calibrate import add_camera_options, add_out_options, work
from calibkit.cli.scan import add_folder_options, read_session, told_frames
from calibkit.cli.terminal import Terminal

_EXAMPLES = """\
examples:
  calibkit process night -o done                      with the usual settings
  calibkit recipe mine.yaml                           the usual settings as a file, to be edited
  calibkit process night -o done --recipe mine.yaml   as the file says
  calibkit process night -o done --recipe mine.yaml --dry-run
  calibkit process sun -o done --flat 'flat-*' --pedestal 0   what the frames do not say

What is said on the command line goes before what the recipe says.
A run that was stopped goes on where it was when it is started again; what has changed is redone.
Exit code: 0 when everything was done, 1 when something could not be done, 130 after Ctrl-C.
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add ``process`` to the commands."""
    parser = commands.add_parser(
        "process",
        help="from a folder of frames to the stacked picture, with a report",
        description=(
            "Find out what the frames in FOLDER are and which belong together, make the masters, calibrate the lights, "
            "lay them upon each other and make a picture of them. Masters go to OUT/masters, stacks and pictures to "
            "OUT/stacks, the report to OUT/report.html. The frames themselves are never changed."
        ),
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_folder_options(parser)
    add_out_options(parser)
    add_camera_options(parser)
    parser.add_argument(
        "-r",
        "--recipe",
        metavar="FILE",
        help="YAML file that says what is done; `calibkit recipe` writes one",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Do what the recipe says with the whole folder."""
    from calibkit.recipe import Recipe, read_recipe

    recipe = Recipe() if args.recipe is None else read_recipe(Path(args.recipe).expanduser())
    names = ("gain", "read_noise", "pedestal")
    camera = {name: value for name in names if (value := getattr(args, name)) is not None}
    recipe = replace(recipe, frames=told_frames(args, recipe.frames), camera=replace(recipe.camera, **camera))
    return work(read_session(args.folder, recipe.frames, terminal), recipe, args, terminal)
