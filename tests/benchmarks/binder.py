"""What a visitor of Binder meets: the workbench and the course in a browser, with 2 GB of memory and one processor.

``python -m tests.benchmarks.binder PYTHON [NOTEBOOK …]``, as root on Linux, with Debian's chromium. PYTHON is
that of an environment which was made as Binder makes it: ``pip install -r binder/requirements.txt``, then
``binder/postBuild``, with the compiled kernels in ``~/.cache``. Server and kernels are within the limits, the browser is
not. Prints the size of the environment, and for the workbench and each notebook, with a server of its own, the seconds
from its start to the first panel and to the end of the last cell, and the most memory.
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
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from playwright.sync_api import Error, Page, sync_playwright

from tests.browser.conftest import CLOSE, FLAGS, OPEN_AND_RUN, READY
from tests.browser.test_notebooks import check_panels

ROOT = Path(__file__).resolve().parents[2]
GROUPS = Path("/sys/fs/cgroup")
MEMORY = 2 * 2**30
#: Where `postBuild` has left compiled kernels and sample sessions.
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
#: Named after what a kernel of the workbench shows first.
PANEL = ".calibkit-panel"
WORKBENCH = ROOT / "binder/workbench.ipynb"
#: Milliseconds: a cold start on one processor.
WAIT = 240_000
#: Goes to the first cell that has a panel, and keeps the time at which the panel is there.
NOTE_FIRST_PANEL = f"""() => {{
  window.begun = performance.now();
  let gone = false;
  const look = () => {{
    if (document.querySelector('{PANEL}')) {{
      window.firstPanel = performance.now();
      return;
    }}
    const notebook = window.jupyterapp.shell.currentWidget?.content;
    const number = (notebook?.widgets ?? []).findIndex((cell) => cell.model?.type === 'code' &&
      cell.model.outputs.toJSON().some((output) => output.data?.['application/vnd.jupyter.widget-view+json']));
    if (number >= 0 && !gone) {{
      gone = true;
      notebook.activeCellIndex = number;
      notebook.scrollToItem(number, 'start');
    }}
    window.setTimeout(look, 20);
  }};
  look();
}}"""


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


@contextmanager
def server(python: Path, limits: Limits, home: Path) -> Iterator[str]:
    """A Jupyter server within the limits, on the notebooks in *home*; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    lab = [str(python.with_name("jupyter-lab")), "--no-browser", "--allow-root", f"--port={port}"]
    options = [
        *("--IdentityProvider.token=", f"--ServerApp.root_dir={home}"),
        "--LabApp.expose_app_in_browser=True",
    ]
    environment = os.environ | {"HOME": str(home), "PYTHONPATH": "", "XDG_CACHE_HOME": str(CACHE)}
    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(limits.wrap([*lab, *options]), env=environment, stdout=log, stderr=log)
        try:
            for _ in range(2400):
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def open_workbench(page: Page, address: str) -> None:
    """Wait for the workbench in the page."""
    page.goto(f"{address}/voila/render/workbench.ipynb", timeout=WAIT)
    page.locator(PANEL).first.wait_for(timeout=WAIT)


def run_notebook(page: Page, address: str, name: str) -> float:
    """Run every cell in JupyterLab and look at every panel; when the first was there, by `time.monotonic`."""
    page.goto(f"{address}/lab?reset", wait_until="domcontentloaded", timeout=WAIT)
    page.wait_for_function(READY, timeout=WAIT)
    page.evaluate(NOTE_FIRST_PANEL)
    begun = time.monotonic()
    page.evaluate(OPEN_AND_RUN, name)
    check_panels(page)
    first = page.evaluate("() => window.firstPanel - window.begun") / 1000
    page.evaluate(CLOSE)
    return begun + first


def look_at(python: Path, notebook: Path) -> bool:
    """Open the notebook with a server of its own, and print what it took; whether it came to its end."""
    problem, first = "", float("nan")
    with tempfile.TemporaryDirectory() as name, closing(Limits()) as limits, sync_playwright() as player:
        home = Path(name)
        shutil.copy(notebook, home)
        browser = player.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        start = time.monotonic()
        with server(python, limits, home) as address:
            page = browser.new_page(viewport={"width": 1280, "height": 1000})
            try:
                if notebook.name == WORKBENCH.name:
                    open_workbench(page, address)
                    first = time.monotonic() - start
                else:
                    first = run_notebook(page, address, notebook.name) - start
            except (Error, AssertionError) as error:
                problem = f": {str(error)[:500]}"
            took = time.monotonic() - start
        browser.close()
        print(
            f"{notebook.name}: {'failed' if problem else 'done'}, first panel {first:.1f} s, all {took:.1f} s, ",
            end="",
        )
        print(f"most memory {limits.peak():.0f} MB, {limits.killed()} killed{problem}", flush=True)
        return not problem and not limits.killed()


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
    done = [look_at(args.python, notebook) for notebook in (WORKBENCH, *args.notebooks)]
    return not all(done)


if __name__ == "__main__":
    sys.exit(main())
