"""What the commands that start a server have in common."""

from __future__ import annotations

import argparse

from calibkit.errors import CalibkitError


def add_server_options(parser: argparse.ArgumentParser, port: int) -> None:
    """Add ``--no-browser``, ``--port`` (first tried: *port*) and ``--ip``."""
    parser.add_argument(
        "--no-browser",
        action="store_true",
        help="print the address and open no browser (servers, containers)",
    )
    parser.add_argument("--port", type=int, default=port, help="first port to try (default: %(default)s)")
    parser.add_argument(
        "--ip",
        default="localhost",
        help="address to listen on; 0.0.0.0 in a container (default: %(default)s)",
    )


def check_port(port: int) -> None:
    """Raise CalibkitError when *port* is none."""
    if not 0 < port < 65536:
        msg = f"--port {port}: a port is a number from 1 to 65535"
        raise CalibkitError(msg)
