"""What every panel has: errors that are seen, work that can be cancelled and replaced, code that is kept up."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
import traitlets

from calibkit.errors import SettingError
from calibkit.panels.base import Panel
from calibkit.panels.errors import ErrorArea
from calibkit.panels.settings import choice
from calibkit.progress import Progress
from calibkit.state import CombineState, State
from calibkit.warned import warn


class Doubling(State):
    call = "double"
    number = traitlets.Int(1)


class DoublePanel(Panel):
    def __init__(self, **settings: Any) -> None:
        super().__init__(Doubling(**settings))
        self.done: list[int] = []
        self.assemble()

    def code_lines(self) -> list[str]:
        return [f"result = 2 * {self.state.number}"]

    def compute(self) -> int:
        return 2 * self.state.number

    def describe(self) -> str:
        return f"number {self.state.number}"


def test_settings_code_result_and_repr() -> None:
    panel = DoublePanel(number=4)
    assert panel.settings() == {"number": 4}
    assert panel.result == 8
    assert panel.code == panel._code.code == "result = 2 * 4"
    panel.state.number = 5
    assert panel._code.code == "result = 2 * 5"
    assert repr(panel) == "DoublePanel(number 5)"
    assert panel._repr_mimebundle_()["text/plain"] == "DoublePanel(number 5)"
    with pytest.raises(TypeError, match="no setting 'nmber'"):
        DoublePanel(nmber=1)


def test_work_without_a_loop_is_done_at_once() -> None:
    panel = DoublePanel()

    def work(progress: Progress) -> int:
        assert panel.busy
        progress(1, 2, "half way")
        return 42

    panel.run(work, panel.done.append, "doubling")
    assert panel.done == [42]
    assert not panel.busy
    assert panel._busy_row.layout.display == "none"


def test_an_error_of_work_is_shown() -> None:
    panel = DoublePanel()

    def work(progress: Progress) -> int:
        raise SettingError("3 σ can reject nothing among ten frames")

    panel.run(work, panel.done.append, "combining")
    assert panel.errors.text == "3 σ can reject nothing among ten frames"
    assert not panel.busy
    panel.run(lambda progress: 1, panel.done.append, "combining")
    assert panel.errors.text == ""
    assert panel.done == [1]


def test_what_work_warns_of_is_shown_until_it_is_done_without() -> None:
    panel = DoublePanel()
    few = "3 < 10 frames cannot reject"

    def work(progress: Progress) -> int:
        warn(few, stacklevel=1)
        return 1

    def done(number: int) -> None:
        panel.done.append(number)
        warn("made of 3", stacklevel=1)

    panel.run(work, done, "combining")
    assert panel.done == [1]
    assert panel.errors.warned == {"combining": [few, "made of 3"]}
    assert "combining: 3 &lt; 10 frames cannot reject" in panel.errors.value
    assert (panel.errors.text, panel.errors.layout.display) == ("", "")
    with panel.errors.guard("other"):
        raise SettingError("not so")
    assert "not so" in panel.errors.value
    with panel.errors.guard("other"):
        pass
    assert panel.errors.value.count("<div") == 1
    panel.run(lambda progress: 1, panel.done.append, "combining")
    assert (panel.errors.warned, panel.errors.value, panel.errors.layout.display) == ({}, "", "none")


async def until(condition: Any, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def test_work_leaves_the_notebook_free_and_can_be_cancelled() -> None:
    async def notebook() -> None:
        panel = DoublePanel()
        steps, stopped = [], threading.Event()

        def work(progress: Progress) -> int:
            try:
                for step in range(10_000):
                    progress(step, 10_000, "many steps")
                    steps.append(step)
                    time.sleep(0.002)
            finally:
                stopped.set()
            return 1

        panel.run(work, panel.done.append, "many steps")
        await until(lambda: len(steps) > 3 and panel._what.value == "many steps")
        assert panel.busy
        panel._cancel.click()
        assert not panel.busy
        await until(stopped.is_set)
        await asyncio.sleep(0.05)
        assert panel.done == []
        assert panel.errors.text == ""
        assert len(steps) < 5000

    asyncio.run(notebook())


def test_new_work_replaces_old() -> None:
    async def notebook() -> None:
        panel = DoublePanel()
        release = threading.Event()

        def slow(progress: Progress) -> int:
            release.wait(5)
            return 1

        panel.run(slow, panel.done.append, "slow")
        panel.run(lambda progress: 2, panel.done.append, "quick")
        await until(lambda: panel.done == [2])
        release.set()
        await asyncio.sleep(0.1)
        assert panel.done == [2]
        assert not panel.busy

    asyncio.run(notebook())


def test_close_stops_work_and_may_be_repeated() -> None:
    async def notebook() -> None:
        panel = DoublePanel(number=4)
        stopped = threading.Event()

        def work(progress: Progress) -> int:
            try:
                for step in range(10_000):
                    progress(step, 10_000, "many steps")
                    time.sleep(0.002)
            finally:
                stopped.set()
            return 1

        panel.run(work, panel.done.append, "many steps")
        assert panel.busy
        panel.close()
        panel.close()
        assert not panel.busy
        await until(stopped.is_set)
        await asyncio.sleep(0.05)
        assert panel.done == []
        shown = panel._code.code
        panel.state.number = 9
        assert panel._code.code == shown == "result = 2 * 4"

    asyncio.run(notebook())


def test_a_list_shows_a_setting_that_is_none() -> None:
    state = CombineState()
    made = choice(state, ErrorArea(), "weights", "weights")
    assert (made.label, made.index) == ("none", 0)  # with the index None the page would show an empty line
    made.index = 1
    assert state.weights == "exposure"
    state.weights = None
    assert (made.label, made.index) == ("none", 0)
    made.index = 2
    made.index = 0
    assert state.weights is None
    assert state.settings() == {}
