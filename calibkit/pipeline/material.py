"""What the steps of a session work on: frames, masters and calibrated lights, each made when it is first asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import xarray as xr

from calibkit.errors import CalibkitError, SettingError
from calibkit.io.save import open_result
from calibkit.pipeline.camera import camera_of
from calibkit.pipeline.lights import LightMaker
from calibkit.pipeline.making import MasterMaker
from calibkit.pipeline.options import plan_options
from calibkit.pipeline.plan import LightPlan, plan_lights
from calibkit.pipeline.store import Store, light_names
from calibkit.progress import Progress, silent
from calibkit.recipe import Recipe
from calibkit.session import Group, Session
from calibkit.session.matching import Match

_ROLES = ("bias", "dark", "flat")
#: What of a result the next step takes.
_USED = ["signal", "variance", "flags"]


class Material:
    """Frames, masters and calibrated lights of one group of lights in a session.

    Masters and lights are files in *out*, the same that `calibrate_session` makes there, and are opened lazily: what is
    finished is not made again, and none of it fills the memory.

    Parameters
    ----------
    session : Session
        From `calibkit.scan`.
    out : path
        Folder of the results, not that of the frames.
    lights : str
        Name of the group of lights; "": the first.
    recipe : Recipe, optional
        How masters are combined, how darks are scaled, what the camera is, and what becomes of bad pixels.

    Raises
    ------
    SettingError
        There is no such group of lights.

    Examples
    --------
    >>> import tempfile
    >>> import calibkit
    >>> session = calibkit.scan(calibkit.sample_session("ccd"))
    >>> material = Material(session, tempfile.mkdtemp())
    >>> dict(material.frames("dark").sizes)
    {'frame': 11, 'y': 480, 'x': 640}
    """

    def __init__(
        self, session: Session, out: str | Path, *, lights: str = "", recipe: Recipe | None = None
    ) -> None:
        self.session = session
        self.out = Path(out)
        self.recipe = recipe or Recipe()
        names = [match.light.name for match in session.matches]
        if lights and lights not in names:
            known = ", ".join(map(repr, names)) or "none"
            msg = f"no group of lights is called {lights!r}; there are: {known}"
            raise SettingError(msg)
        self.match: Match | None = None
        if names:
            self.match = session.matches[names.index(lights) if lights else 0]

    def group(self, kind: str) -> Group | None:
        """The frames of this kind that fit the lights, or else the first of the session; None: there are none."""
        fitting = None
        if self.match is not None:
            fitting = self.match.light if kind == "light" else self.match[kind]
        others = (group for group in self.session.groups if group.kind == kind)
        return fitting or next(others, None)

    def frames(self, kind: str) -> xr.DataArray | None:
        """The frames of this kind as a lazy stack; None where there are none, or only a master."""
        group = self.group(kind)
        return None if group is None or group.master else self.session.stack(group)

    @property
    def lights(self) -> Group | None:
        """The group of lights that this is for."""
        return None if self.match is None else self.match.light

    def masters(self, progress: Progress = silent) -> dict[str, xr.Dataset]:
        """The masters for the lights: "bias", "dark" and "flat", as far as `calibkit.calibrate` takes them."""
        with self._workshop(progress) as (_store, maker):
            plan = self._plan(maker)
            specs = {role: spec for role in _ROLES if (spec := getattr(plan, role)) is not None}
            found = {role: maker.get(spec) for role, spec in specs.items()}
            return {role: made.data[_USED] for role, made in found.items() if made is not None}

    def calibrated(self, number: int, progress: Progress = silent) -> xr.Dataset:
        """The calibrated light of this number, from 0.

        Raises
        ------
        CalibkitError
            It cannot be calibrated; the message says why.
        """
        with self._workshop(progress) as (store, maker):
            plan, camera = self._plan(maker), self.recipe.camera
            worker = LightMaker(
                store,
                maker,
                plan,
                camera_of(plan, (camera.gain, camera.read_noise)),
                defects=self.recipe.defects,
                tolerances=self.session.tolerances,
            )
            lights = [frame for match in self.session.matches for frame in match.light.frames]
            frame = plan.match.light.frames[number]
            row = worker.make(frame, light_names(lights)[frame.path])
            if row.error:
                raise CalibkitError(row.error)
            return open_result(store.out / row.path)[_USED]

    def _plan(self, maker: MasterMaker) -> LightPlan:
        if self.match is None:
            msg = f"{self.session.folder}: there are no lights here, so nothing can be calibrated"
            raise CalibkitError(msg)
        return plan_lights(self.match, maker.usable, **plan_options(self.session, self.recipe))

    @contextmanager
    def _workshop(self, progress: Progress) -> Iterator[tuple[Store, MasterMaker]]:
        store = Store(self.out, inputs=[frame.path for frame in self.session.frames])
        with store.locked():
            defects = self.recipe.defects
            yield (
                store,
                MasterMaker(
                    store,
                    combine=self.recipe.masters.options(),
                    hot_sigma=defects.sigma if defects.find else None,
                    tolerances=self.session.tolerances,
                    progress=progress,
                ),
            )
