"""``calibkit lab``: JupyterLab on a copy of the notebooks that may be changed at will."""

from __future__ import annotations

import argparse
import filecmp
import importlib.util
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import calibkit
from calibkit.cli.serving import add_server_options, check_port
from calibkit.errors import CalibkitError, OutputError

if TYPE_CHECKING:
    from calibkit.cli.terminal import Terminal

#: Where the notebooks are copied to, below the current folder.
DEFAULT_FOLDER = "calibkit-notebooks"
#: What belongs to the notebooks; what running them has left beside them does not.
_COPIED = (".ipynb", ".md", ".png", ".svg")
_STARTING = 60.0  # s until a server that has not come up is given up on


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add ``lab`` to the commands."""
    parser = commands.add_parser(
        "lab",
        help="open the notebooks in JupyterLab",
        description=(
            "Copy the notebooks into FOLDER, where they may be changed at will, and open JupyterLab there. "
            "Notebooks that are in FOLDER already are left as they are."
        ),
    )
    parser.add_argument(
        "folder",
        nargs="?",
        default=DEFAULT_FOLDER,
        metavar="FOLDER",
        help="working folder (default: %(default)s)",
    )
    add_server_options(parser, 8888)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Start JupyterLab and stay until it ends."""
    if importlib.util.find_spec("jupyterlab") is None or importlib.util.find_spec("ipykernel") is None:
        msg = "JupyterLab is not installed here: pip install 'calibkit[lab]'"
        raise CalibkitError(msg)
    check_port(args.port)
    folder = Path(args.folder).expanduser()
    kept = copy_notebooks(notebooks_folder(), folder)
    if kept:
        terminal.note(f"kept as they are in {folder}: {', '.join(kept)}")
    return _serve(folder.resolve(), args, terminal)


def notebooks_folder() -> Path:
    """The notebooks that came with calibkit: inside an installed package, or beside it in a clone.

    Raises
    ------
    CalibkitError
        There are none.
    """
    package = Path(calibkit.__file__).resolve().parent
    for folder in (package / "notebooks", package.parent / "notebooks"):
        if any(folder.glob("*.ipynb")):
            return folder
    msg = (
        f"calibkit's notebooks are not where they should be ({package / 'notebooks'}): install calibkit again"
    )
    raise CalibkitError(msg)


def copy_notebooks(source: Path, target: Path) -> list[str]:
    """Copy the notebooks of *source* that are not in *target* yet; the names of those that differ are returned.

    Raises
    ------
    OutputError
        When *target* cannot be written.
    """
    kept = []
    try:
        for path in _files(source):
            copy = target / path.relative_to(source)
            if copy.exists():
                if not filecmp.cmp(path, copy, shallow=False):
                    kept.append(str(path.relative_to(source)))
                continue
            copy.parent.mkdir(parents=True, exist_ok=True)
            part = copy.with_name(f".{copy.name}.part")
            shutil.copyfile(path, part)
            part.replace(copy)
    except OSError as error:
        msg = f"the notebooks cannot be copied to {target}: {error.strerror}; give another folder"
        raise OutputError(msg) from error
    return kept


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.suffix in _COPIED and not any(
            part.startswith(".") or part == "__pycache__" for part in parts
        ):
            yield path


def start_page(folder: Path) -> str:
    """The notebook to begin with: the first by name."""
    names = sorted(path.name for path in folder.glob("*.ipynb"))
    return f"/lab/tree/{quote(names[0])}" if names else "/lab"


def _serve(folder: Path, args: argparse.Namespace, terminal: Terminal) -> int:
    import logging

    from jupyterlab.labapp import LabApp

    page = start_page(folder)
    options = [
        f"--ServerApp.root_dir={folder}",
        f"--LabApp.default_url={page}",
        f"--ServerApp.ip={args.ip}",
        f"--ServerApp.port={args.port}",
        "--Application.log_level=WARN",
    ]
    if args.no_browser:
        options.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--allow-root")  # containers run as root, and Jupyter refuses to without being told
    # The address is said once, by the thread, as soon as something answers there.
    logging.getLogger("ServerApp").addFilter(lambda record: "To access the server" not in record.getMessage())
    threading.Thread(target=_tell_address, args=(page, terminal), daemon=True).start()
    LabApp.launch_instance(argv=options)
    return 0


def _tell_address(page: str, terminal: Terminal) -> None:
    """Print the address once this process answers at it."""
    from jupyter_server.serverapp import list_running_servers

    until = time.monotonic() + _STARTING
    while time.monotonic() < until:
        for server in list_running_servers():
            if server["pid"] == os.getpid():
                token = f"?token={server['token']}" if server["token"] else ""
                terminal.print(f"JupyterLab: {server['url'].rstrip('/')}{page}{token}")
                terminal.print("Ctrl-C, twice, ends it.")
                return
        time.sleep(0.2)
