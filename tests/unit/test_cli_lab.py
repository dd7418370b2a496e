"""``calibkit lab`` as a process: the address that it prints is answered."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("jupyterlab")

NOTEBOOK = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'
CODE = """
import sys
from pathlib import Path
from calibkit.cli import lab, main
lab.notebooks_folder = lambda: Path(sys.argv[1])
sys.exit(main(["lab", sys.argv[2], "--no-browser", "--port", sys.argv[3]]))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    (tmp_path / "shipped").mkdir()
    (tmp_path / "shipped/01 start.ipynb").write_text(NOTEBOOK)
    command = [
        sys.executable,
        "-c",
        CODE,
        str(tmp_path / "shipped"),
        str(tmp_path / "mine"),
        str(free_port()),
    ]
    environment = {
        **os.environ,
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "run"),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "c"),
    }
    with (tmp_path / "err").open("w") as err:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=err, text=True, env=environment)
    yield process
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=30)
    assert process.stdout is not None
    process.stdout.close()


@pytest.mark.slow
def test_the_address_is_printed_once_it_answers(server: subprocess.Popen[str], tmp_path: Path) -> None:
    assert server.stdout is not None
    line = server.stdout.readline()
    found = re.fullmatch(r"JupyterLab: (http://\S+/lab/tree/01%20start\.ipynb\?token=\w+)\n", line)
    assert found, line + (tmp_path / "err").read_text()
    until = time.monotonic() + 20
    with urllib.request.urlopen(found[1], timeout=until - time.monotonic()) as answer:
        assert answer.status == 200
    assert (tmp_path / "mine/01 start.ipynb").read_text() == NOTEBOOK
    assert "To access the server" not in (tmp_path / "err").read_text()
