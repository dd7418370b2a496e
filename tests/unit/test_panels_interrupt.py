"""The kernel's interrupt button in the middle of a panel's work: the kernel lives, and the panel is as good as new."""

from __future__ import annotations

import contextlib
import os
import queue
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.panel_makers import PANELS

ROOT = Path(__file__).resolve().parents[2]
#: Times that each panel is interrupted; raise it for a longer look.
INTERRUPTS = int(os.environ.get("CALIBKIT_INTERRUPTS", "2"))

#: What is done without end until it is interrupted: the result made, the settings changed.
WORK = {
    "result": "while True:\n    panel.result",
    "settings": "while True:\n    for chosen in settings:\n        change(panel, chosen)",
}
PREPARE = """
import warnings
from pathlib import Path
from hypothesis import HealthCheck, Phase, given, seed, settings as options
from tests.panel_makers import PANELS
from tests.properties.test_panel_code import plain

def examples(strategy):
    found = []
    @seed(1)
    @options(max_examples=3, database=None, phases=[Phase.generate])
    @given(strategy)
    def collect(chosen):
        found.append(chosen)
    collect()
    return found

def change(panel, chosen):
    panel.state.restore()
    for name, value in {**panel.given, **chosen}.items():
        setattr(panel.state, name, value)
"""
MAKE = """
make, strategy = PANELS[{name!r}]
panel = make(Path({folder!r}))
panel.given = panel.settings()
settings = examples(strategy)
expected = plain(panel.result)
panel
"""
AGAIN = """
for chosen in settings:
    change(panel, chosen)
change(panel, {})
"""
COMPARE = """
assert not panel.errors.text, panel.errors.text
assert plain(panel.result) == expected
for chosen in settings:
    change(panel, chosen)
    panel.result
"""


class Notebook:
    """A kernel, cell by cell."""

    def __init__(self) -> None:
        self.manager = KernelManager(kernel_name="python3")
        self.manager.start_kernel(cwd=str(ROOT), env=os.environ | {"PYTHONPATH": str(ROOT)})
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=120)

    def run(self, code: str) -> dict:
        """The reply to a cell; a kernel drops those that come right after an error."""
        while True:
            reply = self.client.execute_interactive(code, timeout=300, output_hook=lambda message: None)
            if reply["content"]["status"] != "aborted":
                return reply["content"]
            time.sleep(0.1)

    def interrupt(self, code: str, after: float) -> dict:
        """The reply to a cell that is interrupted *after* seconds of its work.

        Python loses an interrupt that comes while it collects garbage; who wants to stop presses again.
        """
        number = self.client.execute(f"print('at work', flush=True)\n{code}")
        while True:
            message = self.client.get_iopub_msg(timeout=60)
            if message["parent_header"].get("msg_id") == number and message["msg_type"] == "stream":
                break
        time.sleep(after)
        for _ in range(5):
            self.manager.interrupt_kernel()
            with contextlib.suppress(queue.Empty):
                while True:
                    reply = self.client.get_shell_msg(timeout=20)
                    if reply["parent_header"].get("msg_id") == number:
                        return reply["content"]
        pytest.fail("five interrupts did not end the work")

    def wait(self, code: str) -> None:
        """Leave the kernel's loop to its work for as long as *code* is true."""
        until = time.monotonic() + 120
        while self.run(f"assert not ({code})")["status"] != "ok":
            assert time.monotonic() < until, code
            time.sleep(0.05)

    def close(self) -> None:
        """End the kernel."""
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()


@pytest.fixture(scope="module")
def notebook() -> Iterator[Notebook]:
    kernel = Notebook()
    reply = kernel.run(PREPARE)
    assert reply["status"] == "ok", "\n".join(reply.get("traceback", ()))
    yield kernel
    kernel.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", list(PANELS))
def test_an_interrupt_ends_the_work_and_nothing_else(notebook: Notebook, tmp_path: Path, name: str) -> None:
    made = notebook.run(MAKE.format(name=name, folder=str(tmp_path)))
    assert made["status"] == "ok", "\n".join(made.get("traceback", ()))
    luck = random.Random(name)
    for number in range(INTERRUPTS):
        work = list(WORK)[number % len(WORK)]
        stopped = notebook.interrupt(WORK[work], luck.uniform(0.0, 0.5))
        assert stopped["status"] == "error"
        assert stopped["ename"] == "KeyboardInterrupt", "\n".join(stopped["traceback"])
        assert notebook.manager.is_alive()
        # What was set when it was interrupted may not be shown yet: the next change shows everything.
        assert notebook.run(AGAIN)["status"] == "ok"
        notebook.wait("panel.busy")
        after = notebook.run(COMPARE)
        assert after["status"] == "ok", "\n".join(after.get("traceback", ()))
    assert notebook.run("panel.close()")["status"] == "ok"
