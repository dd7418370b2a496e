"""``calibkit recipe FILE``: the usual settings as a file, to be edited; or a look at one."""

from __future__ import annotations

import argparse
from pathlib import Path

from calibkit.cli.terminal import Terminal, relative_to_here


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add ``recipe`` to the commands."""
    parser = commands.add_parser(
        "recipe",
        help="write a recipe with the usual settings, or check one",
        description=(
            "Write a recipe for `calibkit process` with the usual settings into FILE, or check the recipe that is "
            "there and show all its settings, those too that it leaves out."
        ),
    )
    parser.add_argument("file", metavar="FILE", help="a YAML file")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Write a recipe, or show it."""
    from calibkit.recipe import Recipe, read_recipe, write_recipe
    from calibkit.recipe.files import recipe_text

    path = Path(args.file).expanduser()
    if path.exists():
        terminal.print(recipe_text(read_recipe(path)))
    else:
        terminal.print(f"written: {relative_to_here(write_recipe(Recipe(), path))}")
    return 0
