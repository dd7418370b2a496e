"""Warnings stay with the work that they belong to, also when several pieces of work are under way in threads."""

from __future__ import annotations

import asyncio
import linecache
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
import xarray as xr

from calibkit import (
    Camera,
    Lamp,
    Sky,
    calibrate,
    constant_bias,
    convert_too_early,
    master_flat,
    noise_ledger,
    simulate_stack,
)
from calibkit.combining import noise_by_count
from calibkit.errors import CalibkitWarning, SettingError
from calibkit.flat.steps import prepare_flat
from calibkit.panels import CalibratePanel, ChannelsPanel, CombinePanel, FlatPanel, NoisePanel, StackPanel
from calibkit.panels.base import Panel
from calibkit.warned import collected, warn

GREY = Camera(shape=(96, 128), offset=300.0, hot_fraction=0.0)
COLOUR = Camera(shape=(96, 128), offset=300.0, hot_fraction=0.002, pattern="RGGB")
#: How often everything is done at once.
ROUNDS = 2


# ---- one thread -------------------------------------------------------------------------------------------------


def test_a_warning_that_nobody_keeps_is_pythons_own() -> None:
    def combining() -> None:
        warn("3 frames cannot reject", stacklevel=2)

    with pytest.warns(CalibkitWarning, match="3 frames cannot reject") as shown:
        combining()
    assert shown[0].filename == __file__
    assert linecache.getline(__file__, shown[0].lineno).strip() == "combining()"


def test_the_innermost_keeps_each_text_once() -> None:
    with collected() as outer:
        warn("a", stacklevel=1)
        with suppress(SettingError), collected() as inner:
            warn("b", stacklevel=1)
            warn("b", stacklevel=1)
            raise SettingError("an error")
        warn("c", stacklevel=1)
        warn("a", stacklevel=1)
    assert (outer, inner) == (["a", "c"], ["b"])
    with pytest.warns(CalibkitWarning, match="d"):
        warn("d", stacklevel=1)
    given = ["said before"]
    with collected(given):
        warn("e", stacklevel=1)
    assert given == ["said before", "e"]


# ---- several threads --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def frames() -> dict[str, Any]:
    """Frames that something is wrong with, each in its own way."""
    lights = simulate_stack(GREY, 4, exposure=60.0, sky=Sky(background=20.0))
    colour = simulate_stack(COLOUR, 2, exposure=60.0, sky=Sky(background=20.0))
    flats = simulate_stack(COLOUR, 4, kind="flat", exposure=1.0, lamp=Lamp(rate=9000.0))
    stars = simulate_stack(
        Camera(shape=(200, 240), offset=100.0), 4, exposure=30.0, sky=Sky(n_stars=60, star_flux=20_000.0)
    )
    stars = calibrate(stars, bias=constant_bias(stars, 100.0))
    clear = xr.DataArray([True, True, False, True], dims="frame")
    return {
        "lights": lights,
        "no gain": lights.drop_vars("gain"),
        "bias": constant_bias(lights, 300.0),
        "colour": colour,
        "colour bias": constant_bias(colour, 300.0),
        "flats": flats,
        "cloudy": stars.assign(signal=stars["signal"].where(clear, 50.0)),
    }


def panels(frames: dict[str, Any]) -> dict[str, Callable[[], Panel]]:
    """Panels whose work warns."""
    few = frames["lights"].isel(frame=slice(3))
    colour, bias = frames["colour"].isel(frame=0), frames["colour bias"]
    return {
        "no gain": lambda: CalibratePanel(frames["no gain"], bias=frames["bias"]),
        "no bias": lambda: CalibratePanel(frames["lights"]),
        "noise, no gain": lambda: NoisePanel(frames["no gain"], bias=frames["bias"]),
        "noise, no bias": lambda: NoisePanel(frames["lights"]),
        "flat": lambda: FlatPanel(frames["flats"]),
        "few": lambda: begun(CombinePanel(few, reject="sigma"), "combine_whole"),
        "early": lambda: begun(ChannelsPanel(colour, bias=bias), "compare"),
        "cloudy": lambda: begun(StackPanel(frames["cloudy"], judge=False), "stack"),
    }


def begun(panel: Any, work: str) -> Panel:
    getattr(panel, work)()
    return panel


def said(panel: Any) -> tuple[Any, ...]:
    """Everything that it says in words."""
    notes = [getattr(panel, name, None) for name in ("note", "_warning", "early_note")]
    return *[getattr(note, "text", "") or getattr(note, "value", "") for note in notes], panel.errors.warned


async def at_once(makers: dict[str, Callable[[], Panel]]) -> dict[str, Panel]:
    """The panels, once the work of all has been done, in threads as in a notebook."""
    made = {name: make() for name, make in makers.items()}
    end = time.monotonic() + 60
    while any(panel.busy for panel in made.values()):
        assert time.monotonic() < end
        await asyncio.sleep(0.01)
    return made


def filters() -> list[Any]:
    """Those that decide on calibkit's warnings; xarray adds others of its own for a moment, in any thread."""
    return [one for one in warnings.filters if issubclass(CalibkitWarning, one[2]) and one[1] is None]


def test_each_of_several_panels_says_its_own_and_nothing_is_printed(
    frames: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    alone = {}
    for name, make in panels(
        frames
    ).items():  # no loop is running: the work is done before the next panel is made
        panel = make()
        assert not panel.errors.text
        alone[name] = said(panel)
        panel.close()
    assert "not known of this camera: the gain" in alone["no gain"][0]
    assert "neither bias nor dark is given" in alone["no bias"][0]
    assert "not known of this camera: the gain" in alone["noise, no gain"][0]
    assert "neither bias nor dark is given" in alone["noise, no bias"][0]
    assert "the flat's offset stays in it" in alone["flat"][1]
    assert "cannot reject a stray sample" in alone["few"][0]
    assert alone["early"][-1] == {}
    assert "1 of 4 frames cannot be aligned" in alone["cloudy"][-1]["stacking"][0]
    capfd.readouterr()
    with warnings.catch_warnings(record=True) as printed:
        warnings.simplefilter("always")
        before = filters(), warnings.showwarning
        for _ in range(ROUNDS):
            for name, panel in asyncio.run(at_once(panels(frames))).items():
                assert (name, said(panel)) == (name, alone[name])
                panel.close()
        assert (filters(), warnings.showwarning) == before
    assert [str(warning.message) for warning in printed] == []
    assert capfd.readouterr().err == ""


def works(frames: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    """What panels and notebooks call, and whose warnings are kept, left out or said again."""
    return {
        "steps": lambda: prepare_flat(frames["flats"]).notes,
        "counts": lambda: noise_by_count(frames["lights"], [2, 4], reject="sigma").sizes,
        "no gain": lambda: calibrate(frames["no gain"], bias=frames["bias"]).sizes,
        "ledger": lambda: len(noise_ledger(frames["lights"]).steps),
        "early": lambda: convert_too_early(frames["colour"].isel(frame=0), bias=frames["colour bias"]).sizes,
        "flat": lambda: master_flat(frames["flats"]).sizes,
    }


def test_each_of_several_threads_keeps_its_own(frames: dict[str, Any]) -> None:
    def work(name: str) -> tuple[str, Any, list[str]]:
        together.wait(30)
        with collected() as found:
            return name, works(frames)[name](), found

    def told(name: str) -> list[str]:
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter("always")
            works(frames)[name]()
        return list(dict.fromkeys(str(warning.message) for warning in shown))

    alone = {name: told(name) for name in works(frames)}
    assert [name for name, texts in alone.items() if texts] == ["no gain", "ledger", "early", "flat"]
    notes = works(frames)["steps"]()
    assert "the flat's offset stays in it" in notes[0]
    names = list(alone)
    together = threading.Barrier(len(names))
    with warnings.catch_warnings(record=True) as printed, ThreadPoolExecutor(len(names)) as pool:
        warnings.simplefilter("always")
        before = filters(), warnings.showwarning
        for _ in range(ROUNDS):
            for name, value, found in pool.map(work, names):
                assert (name, found) == (name, alone[name])
                assert name != "steps" or value == notes
        assert (filters(), warnings.showwarning) == before
    assert [str(warning.message) for warning in printed] == []


def test_a_thread_does_not_take_what_another_warns_of() -> None:
    inside, leave = threading.Event(), threading.Event()
    found: list[str] = []

    def work() -> None:
        with collected(found):
            warn("of the thread", stacklevel=1)
            inside.set()
            leave.wait(30)

    thread = threading.Thread(target=work)
    thread.start()
    assert inside.wait(30)
    with pytest.warns(CalibkitWarning, match="of the cell"):
        warn("of the cell", stacklevel=1)
    leave.set()
    thread.join()
    assert found == ["of the thread"]
