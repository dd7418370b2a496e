"""``calibkit app [FOLDER]``: the workbench as a page of its own, served by Voila."""

from __future__ import annotations

import argparse
import importlib.util
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from calibkit.cli.serving import add_server_options, check_port
from calibkit.errors import CalibkitError

if TYPE_CHECKING:
    from calibkit.cli.terminal import Terminal

_STARTING = 60.0  # s until a server that has not come up is given up on
_PORTS = 50


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add ``app`` to the commands."""
    parser = commands.add_parser(
        "app",
        help="open the workbench as a page of its own, without a notebook",
        description=(
            "Open the workbench on the frames in FOLDER in a browser: every step from the raw frames to the picture. "
            "Masters and calibrated lights go to OUT, by default FOLDER/calibrated. The frames are never changed."
        ),
    )
    parser.add_argument(
        "folder", nargs="?", metavar="FOLDER", help="where the frames are; chosen on the page when left out"
    )
    parser.add_argument("-o", "--out", metavar="OUT", help="folder for the results")
    parser.add_argument("--dark", action="store_true", help="bright on dark")
    add_server_options(parser, 8866)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, terminal: Terminal) -> int:
    """Serve the workbench until it is ended."""
    import tempfile

    if importlib.util.find_spec("voila") is None or importlib.util.find_spec("ipykernel") is None:
        msg = "Voila is not installed here: pip install 'calibkit[lab]'"
        raise CalibkitError(msg)
    if args.folder is not None and not Path(args.folder).expanduser().is_dir():
        msg = f"{args.folder} is not a folder: give the one that the frames are in"
        raise CalibkitError(msg)
    port = free_port(args.ip, args.port)
    with tempfile.TemporaryDirectory(prefix="calibkit-app-") as folder:
        page = write_page(Path(folder), args.folder, args.out)
        return _serve(page, port, args, terminal)


def write_page(folder: Path, frames: str | None, out: str | None) -> Path:
    """The notebook that Voila makes the page of."""
    from calibkit.io.notebook import write_notebook

    given = [] if frames is None else [repr(str(Path(frames).expanduser().resolve()))]
    if out is not None:
        given.append(f"out={str(Path(out).expanduser().resolve())!r}")
    code = f"from calibkit.panels import Workbench\n\nWorkbench({', '.join(given)})"
    return write_notebook([("code", code)], folder / "calibkit.ipynb")


def free_port(ip: str, first: int) -> int:
    """The first port from *first* on that nobody listens at.

    Raises
    ------
    CalibkitError
        There is none, or *first* is no port.
    """
    import socket

    check_port(first)
    for port in range(first, min(first + _PORTS, 65536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((ip, port))
            except OSError:
                continue
            return port
    msg = f"no port from {first} to {port} is free at {ip}: give another one by --port"
    raise CalibkitError(msg)


def _serve(page: Path, port: int, args: argparse.Namespace, terminal: Terminal) -> int:
    import secrets

    from voila.app import Voila

    token = secrets.token_hex(24)
    shown = "localhost" if args.ip == "0.0.0.0" else args.ip
    address = f"http://{shown}:{port}/?token={token}"
    options = [
        str(page),
        "--no-browser",  # Voila would open one without the token
        f"--Voila.ip={args.ip}",
        f"--Voila.port={port}",
        "--Voila.port_retries=0",
        f"--Voila.token={token}",
        f"--VoilaConfiguration.theme={'dark' if args.dark else 'light'}",
        "--VoilaConfiguration.show_tracebacks=True",
        "--Voila.log_level=WARN",
    ]
    tell = threading.Thread(
        target=_tell_address, args=(address, shown, port, not args.no_browser, terminal), daemon=True
    )
    tell.start()
    Voila.launch_instance(argv=options)
    return 0


def _tell_address(address: str, ip: str, port: int, browse: bool, terminal: Terminal) -> None:
    """Print the address once something answers at it."""
    import socket
    import webbrowser

    until = time.monotonic() + _STARTING
    while time.monotonic() < until:
        try:
            socket.create_connection((ip, port), timeout=1.0).close()
        except OSError:
            time.sleep(0.1)
            continue
        terminal.print(f"calibkit: {address}")
        terminal.print("Ctrl-C ends it.")
        if browse:
            webbrowser.open(address)
        return
