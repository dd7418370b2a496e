"""A folder of frames: what is there, what belongs together, what is missing, and everything done at once."""

from __future__ import annotations

import html
import os
from pathlib import Path
from typing import Any

import ipywidgets
import traitlets

from calibkit.display.sheet import Line
from calibkit.errors import SettingError
from calibkit.panels.base import Panel, caption
from calibkit.panels.errors import ErrorArea
from calibkit.panels.inputs import with_imports
from calibkit.panels.settings import choice, row, tick
from calibkit.pipeline import RunResult, calibrate_session
from calibkit.progress import Progress, silent
from calibkit.session import Group, Session, scan
from calibkit.session.folders import folders_in
from calibkit.simulate import sample_session
from calibkit.state.session import SAMPLE_NAMES, SessionState

#: The mark and the colour of every kind of frame; the mark alone is enough to tell them apart.
_KINDS = {
    "bias": ("B", "#0072b2"),
    "dark": ("D", "#444444"),
    "flat dark": ("FD", "#7f7f7f"),
    "flat": ("F", "#009e73"),
    "light": ("L", "#d55e00"),
}
_OTHER = ("?", "#808080")
_ROLES = ("bias", "dark", "flat", "flat dark")


class SessionPanel(Panel):
    """Look into a folder, see what its frames are and what fits what, and calibrate all of it.

    Parameters
    ----------
    source : path or Session, optional
        A folder, or a session that is scanned already. None: one is chosen in the panel.
    **settings
        Settings of `calibkit.state.SessionState`, e.g. ``out="done"``.

    Raises
    ------
    CalibkitError
        The folder cannot be scanned.
    TypeError
        A setting that does not exist.

    Notes
    -----
    Frames are not sent through the page, which loses large files silently: give the folder where the kernel runs.
    `result` has the path of the calibrated frame for the name of every light, "" where it failed; the session is run
    for it when it has not been yet. `done` is all that `calibkit.calibrate_session` returned.

    Examples
    --------
    >>> panel = SessionPanel(calibkit.sample_session("ccd"))  # doctest: +SKIP
    >>> panel.session.groups  # doctest: +SKIP
    """

    session = traitlets.Any(None, help="What was found in the folder, a `Session`; None: no folder yet.")

    def __init__(self, source: str | os.PathLike[str] | Session | None = None, **settings: Any) -> None:
        if source is not None and "folder" in settings:
            msg = "a folder is given twice: as the first argument and as folder="
            raise SettingError(msg)
        given = source if isinstance(source, Session) else None
        if source is not None:
            folder = given.folder if given is not None else Path(source).expanduser()
            settings = {"folder": str(folder), **settings}
        super().__init__(SessionState(**settings), ErrorArea())
        self.session = given
        self._made: tuple[tuple, RunResult] | None = None
        self.found, self.outcome = ipywidgets.HTML(), ipywidgets.HTML()
        self.assemble(*self._controls(), self.found, self._run_row, self.outcome)
        self.state.observe(lambda _change: self.look(), "folder")
        self.state.observe(lambda _change: self._show_out(), ["out", "folder"])
        if self.session is None and self.state.folder:
            self.session = scan(self.state.folder)
        self._show()

    # ---- code and result ------------------------------------------------------------------------------------------

    def code_lines(self) -> list[str]:
        options = [f"{self.state.folder!r}", f"{str(self.out)!r}"]
        options += [f"{name}={value!r}" for name, value in self._options().items()]
        if not self.state.folder:
            return ["from calibkit.panels import SessionPanel", "", "SessionPanel()"]
        return with_imports(
            [
                "from calibkit import calibrate_session",
                "from calibkit.panels import SessionPanel",
                f"done = calibrate_session({', '.join(options)})",
                "result = done.files",
                self.state.code(),
            ]
        )

    def compute(self) -> dict[str, str]:
        """The path of the calibrated frame for every light; see `calibkit.calibrate_session`."""
        if not self.state.folder:
            msg = "there is no folder yet: choose one in the panel, or pass it to SessionPanel"
            raise SettingError(msg)
        if self._made is None or self._made[0] != self._key():
            self._made = (self._key(), self._calibrated(silent))
        return self._made[1].files

    @property
    def done(self) -> RunResult | None:
        """What the last run did."""
        return None if self._made is None else self._made[1]

    def describe(self) -> str:
        if self.session is None:
            return "no folder"
        return f"{self.session.folder.name}: {len(self.session.frames)} frames in {len(self.session.groups)} groups"

    def png(self) -> bytes:
        """The groups with a cell for each frame, what calibrates what, what to look at, and what was done."""
        if self.session is None:
            return super().png()
        current = self._made is not None and self._made[0] == self._key()
        done = [Line(self._made[1].summary())] if current else []
        return self.sheet_png([*_found_lines(self.session), *done])

    @property
    def out(self) -> Path:
        """Where the results go."""
        return Path(self.state.out) if self.state.out else Path(self.state.folder) / "calibrated"

    def _options(self) -> dict[str, Any]:
        given: dict[str, Any] = {} if self.state.repair else {"repair": False}
        return given | ({"combine": {"method": self.state.method}} if self.state.method != "mean" else {})

    def _key(self) -> tuple:
        return (self.state.folder, str(self.out), repr(self._options()))

    # ---- parts ------------------------------------------------------------------------------------------------------

    def _controls(self) -> list[ipywidgets.Widget]:
        state, errors = self.state, self.errors
        self._path = ipywidgets.Combobox(
            value=state.folder, description="folder", placeholder="path of a folder with frames, then Enter",
            continuous_update=False, layout={"width": "46em"}, ensure_option=False,
        )  # fmt: skip
        self._path.observe(lambda change: self._typed(change["new"]), "value")
        self._up = ipywidgets.Button(
            description="one up", tooltip="The folder that holds this one.", layout={"width": "auto"}
        )
        self._up.on_click(lambda _button: self._go_up())
        self._inside = ipywidgets.Dropdown(
            description="go into", style={"description_width": "initial"}, layout={"width": "22em"}
        )
        self._inside.observe(self._go_into, "value")
        samples = []
        for name in SAMPLE_NAMES:
            button = ipywidgets.Button(
                description=f"sample: {name}",
                tooltip="A simulated night whose truth is known.",
                layout={"width": "auto"},
            )
            button.on_click(lambda _button, name=name: self.open_sample(name))
            samples.append(button)
        self._out = ipywidgets.Text(
            value=state.out, description="results to", continuous_update=False, layout={"width": "46em"},
            style={"description_width": "initial"},
        )  # fmt: skip
        self._out.observe(lambda change: self.state.set_trait("out", change["new"]), "value")
        self._start = ipywidgets.Button(
            description="calibrate all", button_style="primary",
            tooltip="Make the masters, calibrate every light, write a report. What is done already is kept.",
        )  # fmt: skip
        self._start.on_click(lambda _button: self.start())
        self._run_row = ipywidgets.VBox(
            [
                self._out,
                row(
                    self._start,
                    tick(state, errors, "repair", "repair bad pixels"),
                    choice(state, errors, "method", "masters by"),
                ),
            ]
        )
        return [
            caption(
                "Frames stay where they are: give the folder on the computer where the notebook’s kernel runs."
            ),
            row(self._path),
            row(self._up, self._inside, *samples),
        ]

    def _typed(self, text: str) -> None:
        with self.errors.guard("folder"):
            if text and not Path(text).expanduser().is_dir():
                msg = f"{text}: there is no such folder here"
                raise SettingError(msg)
            self.state.folder = str(Path(text).expanduser()) if text else ""

    def _go_up(self) -> None:
        self.state.folder = str(Path(self.state.folder or os.curdir).resolve().parent)

    def _go_into(self, change: traitlets.Bunch) -> None:
        if change["new"] and change["new"] != _HERE:
            folder = Path(self.state.folder) if self.state.folder else Path.cwd()
            self.state.folder = str(folder / change["new"])

    # ---- work -------------------------------------------------------------------------------------------------------

    def open_sample(self, name: str) -> None:
        """Make a sample session, where it is not there yet, and look into it."""

        def work(progress: Progress) -> Path:
            return sample_session(name, progress=progress)

        self.run(work, lambda folder: self.state.set_trait("folder", str(folder)), f"sample session {name}")

    def look(self) -> None:
        """Scan the folder."""
        folder = self.state.folder
        self.session = None
        self._picture_waits_for_work()
        self.outcome.value = ""
        self._show()
        if folder:
            self.run(
                lambda progress: scan(folder, progress=progress), self._scanned, f"looking into {folder}"
            )

    def _scanned(self, session: Session) -> None:
        self.session = session
        self._show()

    def start(self) -> None:
        """Make masters, calibrate the lights and write the report."""
        key = self._key()
        self._picture_waits_for_work()

        def done(result: RunResult) -> None:
            self._made = (key, result)
            self._show_outcome(result)

        self.run(self._calibrated, done, "calibrating")

    def _calibrated(self, progress: Progress) -> RunResult:
        source = self.session if self.session is not None else self.state.folder
        return calibrate_session(source, self.out, progress=progress, **self._options())

    # ---- what is shown ------------------------------------------------------------------------------------------------

    def _show(self) -> None:
        folder = self.state.folder
        inside = folders_in(folder or os.curdir)
        self._inside.unobserve(self._go_into, "value")
        self._inside.options = [_HERE, *inside]
        self._inside.value = _HERE
        self._inside.observe(self._go_into, "value")
        self._inside.disabled = not inside
        self._path.value = folder
        ready = self.session is not None and bool(self.session.groups)
        self._run_row.layout.display = "" if ready else "none"
        self._show_out()
        self.found.value = "" if self.session is None else _found_html(self.session)
        if not folder:
            self.found.value = caption(
                "Type a folder above, go into one beside this notebook, or take a sample."
            ).value

    def _show_out(self) -> None:
        self._out.placeholder = str(self.out)

    def _show_outcome(self, result: RunResult) -> None:
        rows = "".join(_light_row(light) for light in result.lights)
        notes = "".join(f"<li>{html.escape(text)}</li>" for text in result.warnings)
        report = ""
        if result.report is not None:
            report = f"<p>Report: <code>{html.escape(str(result.report))}</code></p>"
        self.outcome.value = (
            f'<p role="status"><b>{html.escape(result.summary())}</b></p>'
            '<div style="max-height: 260px; overflow: auto"><table class="calibkit-table" style="border-spacing: 12px 2px">'
            "<thead><tr><th>light</th><th>came out</th><th>level before → after</th><th>noise after, per channel</th></tr>"
            "</thead>"
            f"<tbody>{rows}</tbody></table></div>{'<ul>' + notes + '</ul>' if notes else ''}{report}"
        )


_HERE = "(a folder in this one)"
#: A group of more frames says how many more.
_MOST_CELLS = 60


def _found_html(session: Session) -> str:
    groups = "".join(_group_card(group) for group in session.groups)
    matches = "".join(
        f'<tr><td style="padding-right: 12px">{html.escape(match.light.name)}</td>'
        + "".join(f"<td style='padding-right: 12px'>{_partner(match, role)}</td>" for role in _ROLES)
        + "</tr>"
        for match in session.matches
    )
    head = "<tr><th>lights</th><th>bias</th><th>dark</th><th>flat</th><th>flat dark</th></tr>"
    table = (
        f'<table class="calibkit-table" style="text-align: left"><thead>{head}</thead><tbody>{matches}</tbody></table>'
        if matches
        else ""
    )
    notes = _notes(session)
    warned = "".join(
        f'<li style="border-left: 4px solid #d55e00; padding-left: 8px; margin: 3px 0; list-style: none">{html.escape(note)}</li>'
        for note in notes
    )
    title = f"{len(session.frames)} frames in {html.escape(str(session.folder))}"
    return (
        f'<p role="status"><b>{title}</b></p><div style="display: flex; flex-wrap: wrap; gap: 8px">{groups}</div>'
        f"<p><b>What calibrates what</b></p>{table or '<p>There are no lights to calibrate.</p>'}"
        + (
            f"<p><b>To look at</b></p><ul style='padding-left: 0'>{warned}</ul>"
            if warned
            else "<p>Nothing is missing.</p>"
        )
    )


def _notes(session: Session) -> list[str]:
    """What to look at."""
    return [
        *session.warnings,
        *(f"{path.name}: {why}" for path, why in session.unreadable.items()),
        *(f"{frame.relative}: nothing says what kind of frame this is" for frame in session.unknown),
    ]


def _found_lines(session: Session) -> list[Line]:
    """What was found, for a static picture."""
    groups = []
    for group in session.groups:
        colour = _KINDS.get(group.kind, _OTHER)[1]
        cells = [(colour, 7.0), ("#ffffff", 2.0)] * min(len(group), _MOST_CELLS)
        groups.append(Line(_counted(group), cells))
    matches = [
        Line(
            f"{match.light.name} is calibrated by: "
            + "; ".join(f"{role}: {getattr(match[role], 'name', 'none')}" for role in _ROLES)
        )
        for match in session.matches
    ]
    return [*groups, *matches, *(Line(f"⚠ {note}") for note in _notes(session))]


def _counted(group: Group) -> str:
    return f"{group.name}, {len(group)} frame{'s' if len(group) != 1 else ''}"


def _group_card(group: Group) -> str:
    """A group as a card: a strip with one cell for each frame, and what it is."""
    mark, colour = _KINDS.get(group.kind, _OTHER)
    cells = "".join(
        f'<span title="{html.escape(str(frame.relative))}" style="display: inline-block; width: 9px; height: 14px; '
        f'margin-right: 2px; background: {colour}; border: 1px solid #8a8a8a"></span>'
        for frame in group.frames[:_MOST_CELLS]
    )
    more = f" + {len(group) - _MOST_CELLS}" if len(group) > _MOST_CELLS else ""
    return (
        f'<div style="border: 1px solid var(--jp-border-color1, #bdbdbd); border-left: 6px solid {colour}; padding: 4px 8px; '
        f'max-width: 46em"><b>{mark}</b> {html.escape(_counted(group))}'
        f"<div>{cells}{more}</div></div>"
    )


def _partner(match: Any, role: str) -> str:
    group = match[role]
    if group is None:
        why = match.missing.get(role, "")
        return f'<span style="color: #d55e00" title="{html.escape(why)}">none</span>'
    doubt = "; ".join(match.doubts.get(role, ()))
    return html.escape(group.name) + (
        f' <span style="color: #d55e00" title="{html.escape(doubt)}">(?)</span>' if doubt else ""
    )


def _light_row(light: Any) -> str:
    def numbers(found: dict[str, dict[str, float]], name: str) -> str:
        return " / ".join(f"{each[name]:.4g}" for each in found.values())

    state = light.status if not light.error else f"{light.status}: {light.error}"
    cells = (
        light.file, state,
        f"{numbers(light.before, 'level')} → {numbers(light.after, 'level')}", numbers(light.after, "measured"),
    )  # fmt: skip
    return "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in cells) + "</tr>"
