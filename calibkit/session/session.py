"""What a folder holds, what belongs together, and what calibrates what."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from calibkit.errors import SettingError
from calibkit.session import table
from calibkit.session.frame import Frame, Group
from calibkit.session.grouping import group_frames
from calibkit.session.matching import Match, match_lights, unused_groups
from calibkit.session.tolerances import Tolerances

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


class Session:
    """Frames of a folder, grouped and matched; made by `calibkit.scan`.

    Attributes
    ----------
    folder : Path
        The folder that was scanned.
    frames : list of Frame
        Every frame that can be read, by name.
    groups : list of Group
        Frames that belong together: bias, dark, flat dark, flat, light.
    matches : list of Match
        For every group of lights its bias, dark, flat and flat dark, or why there is none.
    unreadable : dict
        Path → reason, of the files that look like frames and cannot be read.
    ignored : list of Path
        Files that calibkit wrote itself.
    warnings : list of str
        What somebody should look at before trusting the result.
    tolerances : Tolerances
        How far apart frames may be and still belong together.

    Examples
    --------
    >>> import calibkit
    >>> session = calibkit.scan(calibkit.sample_session("ccd"))
    >>> [group.name for group in session.groups][:2]
    ['bias', 'dark 240 s']
    >>> len(session.matches)
    1
    """

    def __init__(
        self,
        *,
        folder: Path,
        frames: Sequence[Frame],
        tolerances: Tolerances,
        unreadable: dict[Path, str],
        ignored: list[Path],
        scan_warnings: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.frames = list(frames)
        self.tolerances = tolerances
        self.unreadable = unreadable
        self.ignored = ignored
        self.groups = group_frames(self.frames, tolerances)
        self.matches: list[Match] = match_lights(self.groups, tolerances)
        self.warnings = [*scan_warnings, *self._group_warnings()]

    @property
    def unknown(self) -> list[Frame]:
        """Frames whose kind nothing says; they belong to no group."""
        return [frame for frame in self.frames if not frame.kind]

    @property
    def unused(self) -> list[Group]:
        """Biases, darks and flats that no light uses."""
        return unused_groups(self.groups, self.matches)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row a frame: file, kind and why, exposure (s), gain (e⁻/ADU), temperature (°C), filter, night …"""
        return table.frame_table(self)

    def group(self, name: str) -> Group:
        """The group of this name.

        Raises
        ------
        SettingError
            When there is none.
        """
        for group in self.groups:
            if group.name == name:
                return group
        names = ", ".join(repr(group.name) for group in self.groups)
        msg = f"no group is called {name!r}; there are {names}"
        raise SettingError(msg)

    def stack(self, group: Group | str) -> xr.DataArray:
        """The frames of a group as one lazy stack, their kind as the session has it.

        Parameters
        ----------
        group : Group or str
            One of `groups`, or its name.

        Returns
        -------
        xarray.DataArray
            As `calibkit.open_stack` gives it, dimensions ``(frame, y, x)``.

        See Also
        --------
        calibkit.open_result : for a group that is a master (`Group.master`).
        """
        from calibkit.frames import open_stack

        chosen = self.group(group) if isinstance(group, str) else group
        # Grouping has compared cameras and gains already, with tolerances that open_stack does not know.
        return open_stack(chosen.paths, kind=chosen.kind, mixed=True, cfa=chosen.info.cfa)

    def summary(self) -> str:
        """Groups, matches, warnings and unreadable files as text."""
        return table.summary_text(self)

    def __repr__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        return table.summary_html(self)

    def _group_warnings(self) -> list[str]:
        warnings = [f"{group.name} ({len(group)}): {note}" for group in self.groups for note in group.notes]
        warnings += [
            f"{group.name} ({group.frames[0].relative}): a light that is combined already is not calibrated: {group.master}"
            for group in self.groups
            if group.kind == "light" and group.master
        ]
        warnings += [
            f"{match.light.name}: look at its {role}: {', '.join(facts)}"
            for match in self.matches
            for role, facts in match.doubts.items()
        ]
        if self.groups and not any(group.kind == "light" for group in self.groups):
            warnings.append("there are no lights here: masters can be made, nothing can be calibrated")
        return warnings
