"""All panels as one application, in the order of the lecture, on one session."""

from __future__ import annotations

import html
import os
import shlex
from pathlib import Path
from typing import Any

import ipywidgets
import traitlets

from calibkit.errors import SettingError
from calibkit.io.notebook import Cell, write_notebook
from calibkit.memory import memory_limit
from calibkit.panels.base import Panel
from calibkit.panels.inputs import load_lines, with_imports
from calibkit.panels.notes import Note
from calibkit.panels.session import SessionPanel
from calibkit.panels.settings import row
from calibkit.panels.steps import STEPS
from calibkit.pipeline.material import Material
from calibkit.recipe import Recipe, write_recipe
from calibkit.session import Session, scan
from calibkit.state.workbench import WorkbenchState

#: A panel holds about this many bytes for each pixel of a frame; all open ones together may have this part of the memory.
_BYTES, _SHARE = 60, 8
_WITHOUT_SESSION = ("session", "signal chain")
_OPENING = "open the step"
#: Names of the files that are written.
_RECIPE, _NOTEBOOK = "recipe.yaml", "session.ipynb"


class Workbench(Panel):
    """Every step from the raw frames to the picture, one panel at a time.

    Parameters
    ----------
    session : Session or path, optional
        From `calibkit.scan`, or the folder to be scanned; None: it is chosen in the first step.
    **settings
        Settings of `calibkit.state.WorkbenchState`, e.g. ``step="dark"``, ``out="done"``.

    Raises
    ------
    CalibkitError
        The folder cannot be scanned.
    TypeError
        A setting that does not exist.

    Notes
    -----
    A step's panel is made when the step is opened. Masters and calibrated lights that it needs are made then, as files
    in `out`, and never twice; where frames are large, a panel is closed when it is left, and comes back with its settings.
    `result` is that of the step that is open.

    Examples
    --------
    >>> import calibkit
    >>> bench = Workbench(calibkit.sample_session("ccd"), step="bias")
    >>> bench
    Workbench(ccd-640x480-v1: bias)
    """

    def __init__(self, session: Session | str | os.PathLike[str] | None = None, **settings: Any) -> None:
        super().__init__(WorkbenchState(**settings))
        self.session = session if isinstance(session, Session) or session is None else scan(session)
        #: The panels that are open, the one that was seen last at the end.
        self.panels: dict[str, Panel] = {}
        self._codes: dict[str, str] = {}
        self._buttons = {name: self._step_button(number, name) for number, name in enumerate(STEPS, start=1)}
        self._lights = ipywidgets.Dropdown(description="lights", layout={"width": "auto"})
        self._light = ipywidgets.IntSlider(
            min=0,
            description="number of the light",
            style={"description_width": "initial"},
            continuous_update=False,
            layout={"width": "26em"},
        )
        self._says, self._body, self._written = Note(), ipywidgets.VBox(), ipywidgets.HTML()
        self._code.title = "Python for the workbench"
        self._list_lights()
        self._lights.observe(self._lights_chosen, "value")
        self._light.observe(self._light_chosen, "value")
        self.state.observe(self._step_changed, "step")
        self.state.observe(self._lights_changed, ["lights", "light", "out"])
        bar = row(*self._buttons.values()).add_class("calibkit-steps")
        bar.layout.grid_gap = "4px 2px"  # all fit into one line of 1280 pixels
        self.assemble(bar, row(self._lights, self._light), self._says, self._body, self._writing())
        self._open_step()

    # ---- code and result --------------------------------------------------------------------------------------

    @property
    def panel(self) -> Panel | None:
        """The panel that is seen; None while it is being made."""
        return self.panels.get(self.state.step)

    @property
    def out(self) -> Path:
        """Where masters, calibrated lights and what is written go."""
        if self.session is None:
            msg = "no session is chosen yet: choose a folder in the step 'session'"
            raise SettingError(msg)
        return Path(self.state.out).expanduser() if self.state.out else self.session.folder / "calibrated"

    def code_lines(self) -> list[str]:
        lines = [] if self.panel is None else self.panel.code_lines()
        if self.session is None:
            return with_imports([*lines, "from calibkit.panels import Workbench", self.state.code()])
        loads = load_lines(session=self.session)
        return with_imports(
            [*lines, "from calibkit.panels import Workbench", *loads, self.state.code("session")]
        )

    def compute(self) -> Any:
        """The result of the panel that is seen."""
        if self.panel is None:
            msg = f"the step {self.state.step!r} has no panel: {self.errors.text or 'it is being made'}"
            raise SettingError(msg)
        return self.panel.result

    def describe(self) -> str:
        folder = "no session" if self.session is None else self.session.folder.name
        return f"{folder}: {self.state.step}"

    def png(self) -> bytes:
        return super().png() if self.panel is None else self.panel.png()

    # ---- steps ------------------------------------------------------------------------------------------------

    def _step_button(self, number: int, name: str) -> ipywidgets.Button:
        button = ipywidgets.Button(
            description=f"{number} {name}", tooltip=STEPS[name].says, layout={"width": "auto"}
        )

        def go(_button: object) -> None:
            self.state.step = name

        button.on_click(go)
        return button

    def _step_changed(self, change: traitlets.Bunch) -> None:
        if change["old"] in self.panels:
            self.panels[change["old"]].cancel()
        self._open_step()

    def _session_found(self, change: traitlets.Bunch) -> None:
        """Another folder was chosen in the first step: all others begin anew."""
        panel = self.panels.pop("session")
        self._close_panels()
        self._codes.clear()
        self.session = change["new"]
        with self.state.hold_trait_notifications():
            self.state.steps, self.state.lights, self.state.light = {}, "", 0
        self._list_lights()
        self.panels["session"] = panel
        self._open_step()

    def _open_step(self) -> None:
        name = self.state.step
        for step, button in self._buttons.items():
            button.button_style = "primary" if step == name else ""
            button.disabled = self.session is None and step not in _WITHOUT_SESSION
        self._says.say(STEPS[name].says)
        self._show_light_slider()
        self._body.children = []
        if name in self.panels:
            self._show(name, self.panels[name])
        elif self.session is not None:
            material = Material(self.session, self.out, lights=self.state.lights, recipe=self.recipe())
            number, inputs = self.state.light, STEPS[name].inputs
            self.run(lambda progress: inputs(material, number, progress), self._made, _OPENING)
        else:
            with self.errors.guard(_OPENING):
                if name not in _WITHOUT_SESSION:
                    msg = f"the step {name!r} needs frames: choose a folder in the step 'session'"
                    raise SettingError(msg)
                self._made({})

    def _made(self, inputs: dict[str, Any]) -> None:
        name = self.state.step
        panel = STEPS[name].panel(**inputs, **self.state.steps.get(name, {}))
        panel.state.observe(lambda _change: self._panel_changed(name, panel), panel.state.setting_names())
        if isinstance(panel, SessionPanel):
            panel.observe(self._session_found, "session")
        self._show(name, panel)

    def _show(self, name: str, panel: Panel) -> None:
        self.panels.pop(name, None)
        while len(self.panels) >= self._most_open():
            self.panels.pop(next(iter(self.panels))).close()
        self.panels[name] = panel
        self._body.children = [panel]
        self._panel_changed(name, panel)

    def _panel_changed(self, name: str, panel: Panel) -> None:
        settings = panel.settings()
        if name == "session":
            settings.pop("folder", None)  # the session itself says where it is
        self.state.remember(name, settings)
        self._codes[name] = panel.code
        self._code.code = self.code

    def _most_open(self) -> int:
        """How many panels may be open at the same time."""
        if self.session is None:
            return 2
        height, width = self.session.frames[0].info.shape
        return max(1, int(memory_limit() / _SHARE / (_BYTES * height * width)))

    def _close_panels(self) -> None:
        """The frames are others now: every panel is made anew when it is seen again."""
        self.cancel()
        self._body.children = []
        while self.panels:
            self.panels.popitem()[1].close()

    # ---- which lights -----------------------------------------------------------------------------------------

    def _list_lights(self) -> None:
        names = [] if self.session is None else [match.light.name for match in self.session.matches]
        chosen = self.state.lights or (names[0] if names else "")
        self._lights.options = names
        if chosen in names:
            self._lights.value = chosen
            count = len(self.session.group(chosen)) if self.session is not None else 0
            self._light.max = max(0, count - 1)
            self._light.value = min(self.state.light, self._light.max)
        self._lights.layout.display = "" if len(names) > 1 else "none"
        self._show_light_slider()

    def _show_light_slider(self) -> None:
        useful = self._light.max > 0 and STEPS[self.state.step].one_light
        self._light.layout.display = "" if useful else "none"

    def _lights_chosen(self, change: traitlets.Bunch) -> None:
        first = self._lights.options[0] if self._lights.options else ""
        if change["new"] is not None:
            self.state.lights = "" if change["new"] == first else change["new"]

    def _light_chosen(self, change: traitlets.Bunch) -> None:
        self.state.light = change["new"]

    def _lights_changed(self, _change: object) -> None:
        self._list_lights()
        self._close_panels()
        self._open_step()

    # ---- the whole session as files -----------------------------------------------------------------------------

    def recipe(self) -> Recipe:
        """What the steps are set to, for `calibkit.process` and the command line."""
        if self.session is None:
            return self.state.recipe({})
        lights = Material(self.session, self.out, lights=self.state.lights).lights
        names = [] if lights is None else [frame.relative for frame in lights.frames]
        return self.state.recipe(self.session.asked, names)

    def cells(self) -> list[Cell]:
        """The session as the cells of a notebook: scan, run, and every step that was opened."""
        if self.session is None:
            msg = "no session is chosen yet: choose a folder in the step 'session'"
            raise SettingError(msg)
        recipe = self.out / _RECIPE
        run = [
            "from calibkit import process",
            *load_lines(session=self.session),
            f"process(session, {str(recipe)!r}, {str(self.out)!r})",
        ]
        found: list[Cell] = [
            ("markdown", f"# {self.session.folder.name}\n\nWritten by calibkit's workbench."),
            (
                "markdown",
                "## Masters, calibrated lights and stacks\n\nWhat is finished already is not made again.",
            ),
            ("code", "\n".join(with_imports(run))),
        ]
        for name, step in STEPS.items():
            if name in self._codes and name != "session":
                found += [("markdown", f"## {name.capitalize()}\n\n{step.says}"), ("code", self._codes[name])]
        return found

    def command(self) -> str:
        """The command that does the same without a notebook."""
        if self.session is None:
            return ""
        recipe = ["--recipe", str(self.out / _RECIPE)]
        parts = ["calibkit", "process", str(self.session.folder), "-o", str(self.out), *recipe]
        return shlex.join(parts)

    def write(self) -> tuple[Path, Path]:
        """Write the session as a recipe and as a notebook that uses it, into `out`, in place of earlier ones.

        Returns
        -------
        recipe, notebook : pathlib.Path

        Raises
        ------
        SettingError
            No session is chosen.
        OutputError
            The folder cannot be written.
        """
        cells = self.cells()
        recipe = write_recipe(self.recipe(), self.out / _RECIPE, overwrite=True)
        return recipe, write_notebook(cells, self.out / _NOTEBOOK, overwrite=True)

    def _write_clicked(self, _button: object) -> None:
        with self.errors.guard("write"):
            recipe, notebook = self.write()
            self._written.value = (
                f"notebook: <code>{html.escape(str(notebook))}</code><br>recipe: <code>{html.escape(str(recipe))}</code>"
                f"<br>command: <code>{html.escape(self.command())}</code>"
            )

    def _writing(self) -> ipywidgets.Widget:
        button = ipywidgets.Button(
            description="write notebook, recipe and command",
            tooltip="Write what was done here as a notebook and as a recipe, and show the command for it.",
            layout={"width": "auto"},
        )
        button.on_click(self._write_clicked)
        return row(button, self._written)

    def close(self) -> None:
        """Close every panel."""
        if self._open:
            self._close_panels()
        super().close()
