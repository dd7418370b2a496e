"""What a visitor of Binder meets: the workbench and notebooks of the course with 2 GB of memory and one processor.

``python -m tests.benchmarks.binder PYTHON``, as root on Linux, with Debian's chromium. PYTHON is
that of an environment which was made as Binder makes it: ``pip install -r binder/requirements.txt``, then
``binder/postBuild``, with the compiled kernels in ``~/.cache``. Prints its size, the seconds from the start of the server
to the first panel, and the most memory.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]
GROUPS = Path("/sys/fs/cgroup")
MEMORY = 2 * 2**30
#: Where `postBuild` has left compiled kernels and sample sessions.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
#: Named after what a kernel of the workbench shows first.
PANEL = ".calibkit-panel"


class Limits:
    """A control group of 2 GB and one processor, of either version; what `wrap` starts is in it."""

    def __init__(self, groups: Path = GROUPS) -> None:
        name = f"calibkit-binder-{os.getpid()}"
        self.second = (groups / "cgroup.controllers").exists()
        kinds = [""] if self.second else ["memory", "cpu"]
        self.folders = [groups / kind / name for kind in kinds]
        for folder in self.folders:
            folder.mkdir()
        memory, cpu = self.folders[0], self.folders[-1]
        if self.second:
            (memory / "memory.max").write_text(str(MEMORY))
            (cpu / "cpu.max").write_text("100000 100000")
        else:
            (memory / "memory.limit_in_bytes").write_text(str(MEMORY))
            (cpu / "cpu.cfs_period_us").write_text("100000")
            (cpu / "cpu.cfs_quota_us").write_text("100000")

    def wrap(self, command: list[str]) -> list[str]:
        """The command that runs *command* within the limits."""
        enter = "; ".join(f"echo $$ > '{folder}/cgroup.procs'" for folder in self.folders)
        return ["bash", "-c", f'{enter}; exec "$@"', "bash", str(ROOT / "binder/start"), *command]

    def peak(self) -> float:
        """The most memory in use so far, in MB, the page cache included."""
        name = "memory.peak" if self.second else "memory.max_usage_in_bytes"
        return int((self.folders[0] / name).read_text()) / 2**20

    def killed(self) -> int:
        """Processes that were ended for want of memory."""
        text = (self.folders[0] / ("memory.events" if self.second else "memory.oom_control")).read_text()
        return int(dict(line.split() for line in text.splitlines()).get("oom_kill", 0))

    def close(self) -> None:
        """Remove the groups, whose processes have ended."""
        for folder in self.folders:
            for _ in range(100):
                try:
                    folder.rmdir()
                except OSError:  # the last of them is still ending
                    time.sleep(0.1)
                else:
                    break


def open_workbench(python: Path, limits: Limits, home: Path) -> float:
    """Seconds from the start of the server to the workbench in the page."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    lab = [str(python.with_name("jupyter-lab")), "--no-browser", "--allow-root", f"--port={port}"]
    options = ["--IdentityProvider.token=", f"--ServerApp.root_dir={home}"]
    start = time.monotonic()
    log = (home / "server.log").open("w")
    environment = os.environ | {"HOME": str(home), "PYTHONPATH": "", "XDG_CACHE_HOME": str(CACHE)}
    server = subprocess.Popen(limits.wrap([*lab, *options]), env=environment, stdout=log, stderr=log)
    try:
        while time.monotonic() - start < 120:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        with sync_playwright() as player:
            browser = player.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{port}/voila/render/workbench.ipynb", timeout=240_000)
            page.locator(PANEL).first.wait_for(timeout=240_000)
            took = time.monotonic() - start
            browser.close()
    finally:
        server.terminate()
        server.wait()
        log.close()
    return took


def main() -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("python", type=Path)
    parser.add_argument("notebooks", nargs="*", type=Path, help="run too, one after the other")
    args = parser.parse_args()
    for what, folder in (
        ("environment", args.python.parent.parent),
        ("compiled, samples", CACHE / "calibkit"),
    ):
        size = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
        print(f"{what}: {size:.0f} MB")
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        shutil.copy(ROOT / "binder/workbench.ipynb", home)
        with closing(Limits()) as limits:
            print(f"start to the workbench: {open_workbench(args.python, limits, home):.1f} s")
            print(f"most memory: {limits.peak():.0f} MB, {limits.killed()} processes killed")
        for notebook in args.notebooks:
            copy = shutil.copy(notebook, home)
            run = [str(args.python.with_name("jupyter")), "execute", "--timeout=600", str(copy)]
            start = time.monotonic()
            with closing(Limits()) as limits:
                done = subprocess.run(limits.wrap(run), capture_output=True, text=True, check=False)
                failed += done.returncode != 0
                print(f"{notebook.name}: code {done.returncode}, {time.monotonic() - start:.0f} s, ", end="")
                print(f"most memory {limits.peak():.0f} MB, {limits.killed()} killed", flush=True)
            if done.returncode:
                print(done.stderr[-1500:])
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
