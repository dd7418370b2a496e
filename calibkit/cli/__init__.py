"""The command line: ``calibkit lab``, ``app``, ``process``, ``recipe``, ``calibrate``, ``scan``, ``info`` and ``simulate``.

One module a command: ``add_parser`` says what it takes, ``run`` does it. Whatever a user can do wrong ends in
one message on the error stream and an exit code: 1 for what cannot be done, 2 for a command that cannot be
understood, 130 for Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from calibkit import __version__
from calibkit.cli import app, calibrate, info, lab, process, recipe, scan, simulate
from calibkit.errors import CalibkitError

COMMANDS = (lab, app, process, recipe, calibrate, scan, info, simulate)

_EXAMPLES = """\
examples:
  calibkit lab                           open the notebooks in JupyterLab
  calibkit app night                     every step on the frames in night, in a browser
  calibkit simulate ccd -o night         make a session whose truth is known
  calibkit scan night                    what is there, and what fits what
  calibkit process night -o done         masters, lights, the stacked picture, a report
  calibkit calibrate night -o done       the same until the lights are calibrated
  calibkit info done/masters/bias.fits   one file
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments after the program's name; the process's own by default.

    Returns
    -------
    int
        The exit code.
    """
    from calibkit.cli.terminal import Terminal, explain_os_error

    terminal = Terminal()
    args = build_parser().parse_args(argv)
    with terminal.told_warnings():
        try:
            code = args.run(args, terminal)
            sys.stdout.flush()
        except CalibkitError as error:
            terminal.error(str(error))
            return 1
        except BrokenPipeError:  # `calibkit scan … | head`: nobody listens any more
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except OSError as error:
            terminal.error(explain_os_error(error))
            return 1
        except MemoryError:
            terminal.error("not enough memory for this; close other programs, or use a machine with more")
            return 1
        except KeyboardInterrupt:
            terminal.error("stopped by Ctrl-C; what was finished is kept")
            return 130
    return code


def build_parser() -> argparse.ArgumentParser:
    """Everything that can be said on the command line."""
    parser = argparse.ArgumentParser(
        prog="calibkit",
        description="Teach and do the calibration of astronomical images from CCD and DSLR cameras.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"calibkit {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in COMMANDS:
        command.add_parser(commands)
    return parser
