"""Controls for the settings of a state: sliders, lists, ticks; their limits and choices are the trait's own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ipywidgets
import traitlets

from calibkit.panels.errors import ErrorArea
from calibkit.state import State

_STYLE = {"description_width": "initial"}


def slider(
    state: State, errors: ErrorArea, name: str, label: str, *, top: float | None = None, tip: str = ""
) -> ipywidgets.Widget:
    """A slider for a number; *top* where the largest value depends on the data.

    A setting that may be None stands at the top of its slider when it is.
    """
    trait = state.traits()[name]
    whole = isinstance(trait, traitlets.Integer)
    low, high = trait.min, trait.max if top is None else top
    kind = ipywidgets.IntSlider if whole else ipywidgets.FloatSlider
    made = kind(min=low, max=high, description=label, tooltip=tip, style=_STYLE, layout={"width": "22em"})
    if not whole:
        # The page moves a value between steps to the next one: a whole decimal step keeps what was written in Python.
        made.step = 10.0 ** math.floor(math.log10((high - low) / 100))
        made.readout_format = ".3g"
    return _tied(
        made, state, errors, name, shown=lambda value: high if value is None else value,
        taken=lambda value: None if trait.allow_none and value == high else value,
    )  # fmt: skip


def choice(
    state: State, errors: ErrorArea, name: str, label: str, *, among: list[Any] | None = None, tip: str = ""
) -> ipywidgets.Widget:
    """A drop-down list of the values that the setting may have; *among*: these, or pairs of a text and a value."""
    options = list(state.traits()[name].values) if among is None else among
    pairs = [
        each if isinstance(each, tuple) else ("none" if each is None else str(each), each) for each in options
    ]
    width = f"{max(12, len(label) + max(len(text) for text, _ in pairs)) * 0.62 + 5:.0f}em"
    made = ipywidgets.Dropdown(description=label, tooltip=tip, style=_STYLE, layout={"width": width})
    if not state.traits()[name].allow_none:
        made.options = pairs
        return _tied(made, state, errors, name)
    # To a list None means that nothing is chosen, and it would show nothing.
    made.options = [(text, "" if value is None else value) for text, value in pairs]
    return _tied(
        made, state, errors, name, shown=lambda value: "" if value is None else value,
        taken=lambda value: None if value == "" else value,
    )  # fmt: skip


def modes(state: State, errors: ErrorArea, name: str, label: str = "") -> ipywidgets.Widget:
    """Buttons, one for each value that the setting may have."""
    return _tied(
        ipywidgets.ToggleButtons(
            options=list(state.traits()[name].values), description=label, style=_STYLE | {"button_width": "auto"}
        ),
        state, errors, name,
    )  # fmt: skip


def tick(state: State, errors: ErrorArea, name: str, label: str, *, tip: str = "") -> ipywidgets.Widget:
    """A box to tick."""
    made = ipywidgets.Checkbox(description=label, tooltip=tip, indent=False, layout={"width": "auto"})
    return _tied(made, state, errors, name)


def row(*widgets: ipywidgets.Widget) -> ipywidgets.HBox:
    """Controls beside each other, in several lines where the page is narrow."""
    return ipywidgets.HBox(
        widgets, layout={"flex_flow": "row wrap", "align_items": "center", "grid_gap": "4px 12px"}
    )


def _tied(
    widget: ipywidgets.Widget,
    state: State,
    errors: ErrorArea,
    name: str,
    *,
    shown: Callable[[Any], Any] = lambda value: value,
    taken: Callable[[Any], Any] = lambda value: value,
) -> ipywidgets.Widget:
    """*widget* and the setting follow each other; what the setting refuses is shown and put back."""

    # A widget that is told a value may cut it off at its limits: that is no setting of the user's.
    told = False

    def from_state(_change: object = None) -> None:
        nonlocal told
        told = True
        try:
            widget.value = shown(getattr(state, name))
        finally:
            told = False

    def from_widget(change: traitlets.Bunch) -> None:
        if told:
            return
        with errors.guard(name):
            try:
                setattr(state, name, taken(change["new"]))
            except traitlets.TraitError:
                from_state()
                raise

    from_state()
    widget.observe(from_widget, "value")
    state.observe(from_state, name)
    return widget
