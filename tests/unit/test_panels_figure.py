"""The figure widget's Python side: what it sends to which view, and what it does with what comes back."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import traitlets
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure

from calibkit.panels.errors import ErrorArea
from calibkit.panels.figure import FigureWidget
from calibkit.state import CompareState


class Page:
    """Stands for the page: keeps what is sent, and answers."""

    def __init__(self, widget: FigureWidget) -> None:
        self.widget = widget
        self.sent: list[tuple[dict[str, Any], list]] = []
        widget.send = lambda content, buffers=None: self.sent.append((content, buffers or []))

    def open(self, view: str = "v1") -> dict[str, Any]:
        self.receive({"type": "open", "view": view, "id": f"ask-{view}"})
        return self.take("reply")[0][0]

    def receive(self, message: dict[str, Any]) -> None:
        self.widget._receive(self.widget, message, [])

    def changes(
        self, view: str = "v1", *, events: list = (), settings: dict | None = None, calls: list = ()
    ) -> None:
        message = {"type": "changes", "view": view, "settings": settings or {}}
        self.receive({**message, "events": list(events), "calls": list(calls)})

    def take(self, kind: str) -> list[tuple[dict[str, Any], list]]:
        found = [item for item in self.sent if item[0]["type"] == kind]
        self.sent = [item for item in self.sent if item[0]["type"] != kind]
        return found


@pytest.fixture
def source() -> ColumnDataSource:
    return ColumnDataSource({"image": [np.zeros((20, 30), np.uint16)]})


@pytest.fixture
def plot(source: ColumnDataSource) -> Any:
    made = figure(width=200, height=100)
    made.image("image", x=0, y=0, dw=30, dh=20, source=source)
    return made


def test_a_view_gets_the_document_as_it_is_when_it_opens(plot: Any, source: ColumnDataSource) -> None:
    widget = FigureWidget(plot)
    page = Page(widget)
    plot.title.text = "changed before anybody looked"
    assert page.sent == []
    reply = page.open()
    assert "changed before anybody looked" in str(reply["content"])
    source.data = {"image": [np.ones((20, 30), np.uint16)]}
    ((patch, buffers),) = page.take("patch")
    assert patch["not_to"] is None
    assert [len(bytes(b)) for b in buffers] == [20 * 30 * 2]
    assert len(str(patch)) < 1000  # the array travels as bytes, not as text


def test_a_change_goes_to_the_other_views_and_not_back(plot: Any) -> None:
    widget = FigureWidget(plot)
    page = Page(widget)
    page.open("v1")
    heard = []
    plot.x_range.on_change("start", lambda attr, old, new: heard.append(new))
    event = {"kind": "ModelChanged", "model": {"id": plot.x_range.id}, "attr": "start", "new": 7.0}
    page.changes("v1", events=[event])
    assert heard == [7.0]
    assert page.take("patch") == []
    assert [message["to"] for message, _ in page.take("done")] == ["v1"]
    page.open("v2")
    page.changes("v1", events=[{**event, "new": 8.0}])
    ((patch, _),) = page.take("patch")
    assert patch["not_to"] == "v1"
    page.receive({"type": "closed", "view": "v2"})
    page.changes("v1", events=[{**event, "new": 9.0}])
    assert page.take("patch") == []


def test_a_batch_is_one_message(plot: Any) -> None:
    widget = FigureWidget(plot)
    page = Page(widget)
    page.open()
    with widget.batch():
        plot.title.text = "a"
        with widget.batch():
            plot.x_range.start = 3
        plot.height = 77
        assert page.take("patch") == []
    ((patch, _),) = page.take("patch")
    assert [event["attr"] for event in patch["content"]["events"]] == ["text", "start", "height"]


def test_messages_of_the_page_wait_for_a_batch(plot: Any) -> None:
    """JupyterLab has them handled in another thread than the cells."""
    widget = FigureWidget(plot)
    page = Page(widget)
    page.open()
    order = []
    widget.on_message("look", lambda content: order.append(plot.title.text))
    thread = threading.Thread(target=page.changes, kwargs={"calls": [["look", {}]]})
    with widget.batch():
        plot.title.text = "half done"
        thread.start()
        thread.join(0.2)
        order.append("batch ends")
        plot.title.text = "done"
    thread.join(5)
    assert order == ["batch ends", "done"]


def test_errors_of_callbacks_are_shown_and_the_rest_goes_on(plot: Any) -> None:
    widget = FigureWidget(plot)
    page = Page(widget)
    page.open()
    seen = []
    widget.on_message("bad", lambda content: 1 / 0)
    widget.on_message("good", seen.append)
    page.changes(calls=[["bad", {}], ["good", {"x": 1}], ["unheard of", {}]])
    assert seen == [{"x": 1}]
    assert widget.errors.text == "ZeroDivisionError: division by zero"
    assert page.take("error")[-1][0]["text"].startswith("ZeroDivisionError")
    assert len(page.take("done")) == 1
    widget.on_message("bad", lambda content: None)
    page.changes(calls=[["bad", {}]])
    assert widget.errors.text == ""


def test_settings_go_both_ways_and_refused_ones_are_put_right(plot: Any) -> None:
    state = CompareState()
    widget = FigureWidget(plot, state=state)
    page = Page(widget)
    assert page.open()["settings"]["split"] == 0.5
    page.changes("v1", settings={"split": 0.25, "levels": [1, 2, 0.5]})
    assert state.settings() == {"split": 0.25, "levels": (1.0, 2.0, 0.5)}
    assert {message["not_to"] for message, _ in page.take("settings")} == {"v1"}
    state.split = 0.75
    ((message, _),) = page.take("settings")
    assert message == {"type": "settings", "not_to": None, "settings": {"split": 0.75}}
    page.changes("v1", settings={"split": 3, "unknown": 1, "mode": "after"})
    ((message, _), _) = page.take("settings")
    assert message["settings"] == {"split": 0.75}
    assert "split" in widget.errors.text
    assert state.mode == "after"


def test_events_registered_late_are_heard(plot: Any) -> None:
    from bokeh.events import Tap

    widget = FigureWidget(plot)
    page = Page(widget)
    page.open()
    taps = []
    plot.on_event(Tap, lambda event: taps.append((event.x, event.y)))
    values = {
        "type": "map",
        "entries": [["model", {"id": plot.id}], ["sx", 1], ["sy", 2], ["x", 3.0], ["y", 4.0]],
    }
    values["entries"].append(["modifiers", {"type": "map", "entries": []}])
    event = {"type": "event", "name": "tap", "values": values}
    page.changes(events=[{"kind": "MessageSent", "msg_type": "bokeh_event", "msg_data": event}])
    assert widget.errors.text == ""
    assert taps == [(3.0, 4.0)]


def test_close_is_final_and_may_be_repeated(plot: Any) -> None:
    widget = FigureWidget(plot, state=CompareState())
    page = Page(widget)
    page.open()
    widget.close()
    widget.close()
    page.sent.clear()
    widget._state.split = 0.1
    plot.height = 5
    assert page.sent == []


def test_a_script_is_one_module() -> None:
    widget = FigureWidget(figure(), scripts=("pixels.js", "image_view.js"))
    page = Page(widget)
    page.receive({"type": "script", "id": "1"})
    ((reply, _),) = page.take("reply")
    assert reply["text"].count("export function attach") == 1
    page.receive({"type": "bokehjs", "id": "2"})
    ((_, files),) = page.take("reply")
    assert len(files) == 1
    assert b"Bokeh" in files[0][:4000]


def test_errors_are_shown_until_the_same_work_succeeds() -> None:
    area = ErrorArea()
    with area.guard("levels"):
        raise ValueError("white <b>below</b> black")
    assert area.text == "white <b>below</b> black"
    assert "&lt;b&gt;" in area.value
    assert "Traceback" not in area.value
    assert area.layout.display == ""
    with area.guard("zoom"):
        pass
    assert area.text
    with area.guard("levels"):
        pass
    assert (area.text, area.value, area.last) == ("", "", None)
    with area.guard("work"):
        raise KeyError("a defect")
    assert "Traceback" in area.value
    with pytest.raises(KeyboardInterrupt), area.guard("work"):
        raise KeyboardInterrupt


def test_short_repr_without_addresses(plot: Any) -> None:
    assert repr(FigureWidget(plot, label="a flat")) == "FigureWidget('a flat')"


def test_settings_of_a_state_are_traits() -> None:
    assert all(
        isinstance(CompareState.class_traits()[n], traitlets.TraitType) for n in CompareState.setting_names()
    )
