"""Making the masters of a run, each once, from what can be read, or taking up those of an earlier run."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import xarray as xr

from calibkit.errors import CalibkitError, Cancelled, FrameFileError, OutputError
from calibkit.flags import count_flags
from calibkit.frames import open_stack
from calibkit.io import open_frame
from calibkit.io.provenance import Hashes, hash_inputs, hashes_of, sha256_of, take_hashes
from calibkit.io.save import open_result, save
from calibkit.memory import band_rows, memory_limit, release_memory, worker_count
from calibkit.pipeline.lanes import waited_for
from calibkit.pipeline.library import Library
from calibkit.pipeline.plan import MasterSpec
from calibkit.pipeline.result import GIVEN, MADE, REUSED, MasterRow
from calibkit.pipeline.store import MASTERS, Store, key_of
from calibkit.progress import Progress, silent
from calibkit.session import Group, Tolerances
from calibkit.session.wording import listed, plural
from calibkit.statistics import measure_noise
from calibkit.threads import in_threads
from calibkit.warned import collected

#: A master that has lost more than this fraction of its samples is warned of.
MUCH_REJECTED = 0.05
#: Bytes that a master in the making takes for each of its pixels, about.
_PIXEL_BYTES = 16
#: Frames that one job of a cluster hashes.
_HASHED = 3


@dataclass(frozen=True)
class Made:
    """A master that can be used: its data, lazily from its file, and the digest of all that it was made from."""

    spec: MasterSpec
    data: xr.Dataset
    key: str
    path: Path | None = None  # of the file that *data* is lazily from

    def __getstate__(self) -> dict[str, Any]:
        """For another process, which opens the file itself."""
        return self.__dict__ | ({"data": None} if self.path is not None else {})

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self.path is not None:
            self.__dict__["data"] = open_result(self.path)


class MasterMaker:
    """Masters of one run by their specification; each is made when it is first asked for.

    Parameters
    ----------
    store : Store
        Where they are kept.
    combine : mapping
        Options of `calibkit.combine`.
    hot_sigma : float or None
        How far hot pixels stand out in darks; None: none are looked for.
    tolerances : Tolerances
        Of the session.
    progress : callable
        Called as ``progress(done, total, what)``.
    library : Library or None
        Where other nights' masters are.

    """

    def __init__(
        self,
        store: Store,
        *,
        combine: Mapping[str, Any],
        hot_sigma: float | None,
        tolerances: Tolerances,
        progress: Progress,
        library: Library | None = None,
    ) -> None:
        self._rows: dict[MasterSpec, MasterRow] = {}
        self._tolerances = tolerances
        self._store = store
        self._combine = dict(combine)
        self._hot_sigma = hot_sigma
        self._library = library
        self._progress = progress
        self._made: dict[MasterSpec, Made | None] = {}
        self._damaged: dict[Path, str] = {}
        self._paths: dict[str, MasterSpec] = {}

    @property
    def rows(self) -> list[MasterRow]:
        """What became of each, in the order in which they were expected or else asked for."""
        return list(self._rows.values())

    def expect(self, specs: Sequence[MasterSpec]) -> None:
        """Be told which masters will be asked for, so that tables and files are the same whichever is made first."""
        for spec in specs:
            self._row(spec)
            if not spec.group.master:
                self._path(spec)

    def usable(self, spec: MasterSpec) -> bool:
        """Whether the master can be had."""
        return self.get(spec) is not None

    def get(self, spec: MasterSpec) -> Made | None:
        """The master, made now if it has to be; None when that does not work, which `rows` explains."""
        if spec not in self._made:
            self._made[spec] = self._constant(spec) if spec.constant else self._try(spec)
        return self._made[spec]

    def make(
        self, spec: MasterSpec, hashes: Sequence[Hashes], *parts: tuple[Made | None, MasterRow]
    ) -> tuple[Made | None, MasterRow]:
        """`get` and the row, for any thread, or worker of a cluster.

        *hashes* is what is known of its frames, and *parts* what was made of the parts that are no constants.
        """
        for found in hashes:
            take_hashes(found)
        for part, (made, _) in zip(_made_parts(spec), parts, strict=True):
            self._made.setdefault(part, made)
        return self.get(spec), self._row(spec)

    def take(self, spec: MasterSpec, made: Made | None, row: MasterRow) -> None:
        """Be given what `make` has made, here or on a cluster."""
        self._made[spec], self._rows[spec] = made, row

    def __getstate__(self) -> dict[str, Any]:
        """For another process."""
        return self.__dict__ | {"_made": {}, "_rows": {}, "_progress": silent}

    def _constant(self, spec: MasterSpec) -> Made | None:
        from calibkit.masters import constant_bias

        info = spec.group.info
        stack = open_stack(spec.group.paths[:1], kind=spec.group.kind, cfa=info.cfa)
        if spec.level is not None:
            return Made(spec, constant_bias(stack, spec.level), key_of(level=spec.level))
        return Made(spec, constant_bias(stack), key_of(black=info.black, pedestal=info.pedestal))

    def _try(self, spec: MasterSpec) -> Made | None:
        row = self._row(spec)
        start = time.monotonic()
        try:
            with collected(row.warnings):
                made = self._given(spec, row) if spec.group.master else self._make(spec, row)
        except (Cancelled, OutputError):
            raise
        except CalibkitError as error:
            row.error, row.path = str(error), ""  # what may lie there is of an earlier run
            return None
        if row.status == MADE:  # now, when its warnings are known too
            row.seconds = time.monotonic() - start
            path = self._store.out / row.path
            if self._store.defers:
                self._store.remember_later(path, made.key, asdict(row))
            else:
                self._store.remember(path, made.key, asdict(row))
            if self._library is not None:
                self._library.keep(made.key, path, asdict(row))
        return made

    def _row(self, spec: MasterSpec) -> MasterRow:
        return self._rows.setdefault(spec, MasterRow(spec.name, spec.kind, spec.how()))

    def _given(self, spec: MasterSpec, row: MasterRow) -> Made:
        """A master that was among the frames."""
        path = spec.group.paths[0]
        data = open_result(path)
        row.files, row.frames = [spec.group.frames[0].relative], int(data.attrs.get("n_frames") or 0)
        if spec.kind == "flat" and data.attrs.get("units") != "1":
            from calibkit.masters import master_flat

            data = master_flat(data, **self._subtracted(spec))
        describe(row, data)
        row.path, row.status = str(path), GIVEN
        return Made(spec, data, key_of(given=sha256_of(path), kind=spec.kind))

    def _make(self, spec: MasterSpec, row: MasterRow) -> Made:
        parts = [self.get(part) for part in spec.parts]
        if lost := [part.name for part, made in zip(spec.parts, parts, strict=True) if made is None]:
            msg = f"{listed(lost)}, which is subtracted from its frames, could not be made"
            raise FrameFileError(msg)
        frames, digests = self._whole_frames(spec.group, row)
        key = key_of(
            kind=spec.kind,
            cfa=spec.group.info.cfa,
            frames=digests,
            parts=[part.key for part in parts],
            dark_scale=spec.dark_scale,
            combine=self._combine,
            hot_sigma=self._hot_limit(spec),
        )
        path = self._path(spec)
        row.path, row.frames = str(path.relative_to(self._store.out)), len(frames)
        row.files = [frame.relative for frame in frames.frames]
        known = self._store.finished(path, key)
        if known is not None:
            _take_over(row, known)
            return Made(spec, open_result(path), key, path)
        self._store.refuse_foreign(path)
        if self._library is not None and not self._store.overwrite:
            self._store.forget(path)
            if (known := self._library.fetch(key, path)) is not None:
                self._store.remember(path, key, known)
                _take_over(row, known)
                return Made(spec, open_result(path), key, path)
        try:
            data = self._combined(spec, frames)
        except FrameFileError:
            good = self._without_damaged(frames)
            if good is None:
                raise
            return self._make(replace(spec, group=good), row)
        self._store.forget(path)
        save(hash_inputs(data), path, overwrite=True, flush=not self._store.defers, cached=False)
        describe(row, data)
        del data
        release_memory()
        for frame, digest in zip(frames.frames, digests, strict=True):
            refuse_change(frame.path, digest)
        row.status = MADE
        return Made(spec, open_result(path), key, path)

    def _combined(self, spec: MasterSpec, group: Group) -> xr.Dataset:
        from calibkit import masters

        stack = open_stack(group.paths, kind=spec.kind, mixed=True, cfa=group.info.cfa)
        done = {f"{step}_subtracted": True for step in ("bias", "dark") if step in group.applied}
        stack = stack.assign_attrs(done)
        options = {**self._combine, "progress": self._named_progress(spec)}
        if spec.kind == "bias":
            return masters.master_bias(stack, **options)
        options |= self._subtracted(spec)
        # What the session keeps together although its temperature drifts (and warns of) is not refused here.
        options["temperature_tolerance"] = self._temperature_limit(group)
        if spec.kind == "flat":
            flat = masters.master_flat(stack, **options)
            return flat if self._hot_limit(spec) is None else with_defects(flat)
        return masters.master_dark(stack, hot_sigma=self._hot_limit(spec), **options)

    def _hot_limit(self, spec: MasterSpec) -> float | None:
        """None for halves, whose hot pixels tell the strength of a dark, and for flat darks.

        The lights' own dark tells what is hot in them, and a flat is searched for what is wrong with it (`with_defects`).
        """
        return None if spec.half or spec.kind == "flat dark" else self._hot_sigma

    def _temperature_limit(self, group: Group) -> float:
        if "temperature" in self._tolerances.ignore:
            return math.inf
        low, high = group.temperature_range
        spread = high - low if math.isfinite(high - low) else 0.0
        return self._tolerances.dark_temperature + spread

    def _subtracted(self, spec: MasterSpec) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for role, part in (("bias", spec.bias), ("dark", spec.dark)):
            made = self.get(part) if part is not None else None
            if made is not None:
                found[role] = made.data
        if spec.dark_scale is not None:
            found["dark_scale"] = spec.dark_scale
        return found

    def _whole_frames(self, group: Group, row: MasterRow) -> tuple[Group, list[str]]:
        """The frames that can be read, and their digests."""
        digests: dict[Path, str] = {}

        def read(path: Path) -> None:
            try:
                digests[path] = sha256_of(path)
            except FrameFileError as error:
                self._damaged[path] = str(error)

        in_threads(read, [path for path in group.paths if path not in self._damaged])
        digests = {path: digests[path] for path in group.paths if path in digests}
        lost = [self._damaged[frame.path] for frame in group.frames if frame.path in self._damaged]
        if not digests:
            msg = f"none of its {plural(len(group), 'frame')} can be read: {listed(lost, 2)}"
            raise FrameFileError(msg)
        row.warnings[:] = [f"left out: {reason}" for reason in lost]
        whole = replace(group, frames=tuple(frame for frame in group.frames if frame.path in digests))
        return whole, list(digests.values())

    def _without_damaged(self, group: Group) -> Group | None:
        """After an error in reading: the group without the frames whose pixels cannot be read, None if all can."""
        before = len(self._damaged)
        for number, path in enumerate(group.paths):
            self._progress(number, len(group), f"looking for damaged files in {group.name}")
            try:
                read_through(path)
            except FrameFileError as error:
                self._damaged[path] = str(error)
        return group if len(self._damaged) > before else None

    def _path(self, spec: MasterSpec) -> Path:
        name, number = spec.slug, 1
        while self._paths.setdefault(name.casefold(), spec).name != spec.name:
            number += 1
            name = f"{spec.slug}_{number}"
        return self._store.place(MASTERS, name)

    def _named_progress(self, spec: MasterSpec) -> Progress:
        def progress(done: int, total: int, _what: str) -> None:
            self._progress(done, total, f"master {spec.name}")

        return progress


def with_defects(flat: xr.Dataset) -> xr.Dataset:
    """A master flat with what `calibkit.find_defects` finds in it: flags (y, x) called ``defects``.

    They go into its file, so that they are looked for once, and are not among its own flags: a pixel that is merely duller
    or brighter than those around it still has a usable flat.
    """
    from calibkit.defects import find_defects

    return flat.assign(defects=find_defects(flat=flat).flags.variable)


def jobs_of(specs: Sequence[MasterSpec]) -> tuple[list[MasterSpec], list[list[int]]]:
    """The masters in an order for `MasterMaker.make`, those first that need no others; and for each the places of its parts."""
    ordered = sorted(specs, key=lambda spec: bool(_made_parts(spec)))
    return ordered, [[ordered.index(part) for part in _made_parts(spec)] for spec in ordered]


def hash_frames(specs: Sequence[MasterSpec], after: Sequence[Sequence[int]], client: Any) -> list[list[Any]]:
    """For each master what a cluster's workers find of its frames, few at a time, so that not only its own maker hashes them.

    Masters that others wait for are made as soon as their own frames are hashed, the others when all are: what the last
    ones need is then found while the first are made.
    """
    if client is None:
        return [[] for _ in specs]
    urgent, found = waited_for(after), {}
    for place in sorted(range(len(specs)), key=urgent.__getitem__, reverse=True):
        paths = specs[place].group.paths
        parts = (paths[i : i + _HASHED] for i in range(0, len(paths), _HASHED))
        found[place] = [client.submit(hashes_of, part, pure=False) for part in parts]
    everything = [future for futures in found.values() for future in futures]
    return [found[place] if urgent[place] else everything for place in range(len(specs))]


def masters_at_once(specs: Sequence[MasterSpec]) -> int:
    """How many masters are worth making at a time on this machine.

    While one is read, searched and written in one thread, another is combined in all; where there is memory for two.
    """
    pixels = max((math.prod(spec.group.info.shape) for spec in specs), default=0)
    return 2 if worker_count() > 1 and 2 * _PIXEL_BYTES * pixels < memory_limit() // 3 else 1


def _made_parts(spec: MasterSpec) -> list[MasterSpec]:
    return [part for part in spec.parts if not part.constant]


def _take_over(row: MasterRow, known: Mapping[str, Any]) -> None:
    """What an earlier run found out about the same master."""
    for name in ("rejected", "units", "noise", "flags", "seconds"):
        setattr(row, name, known[name])
    row.warnings = list(known["warnings"])
    row.status = REUSED


def refuse_change(path: Path, digest: str) -> None:
    """After a frame was worked on: raise FrameFileError if it is not what it was when its digest was taken."""
    if sha256_of(path) != digest:
        raise changed(path)


def changed(path: Path) -> FrameFileError:
    """The error for a frame that is not what it was when its digest was taken."""
    return FrameFileError(f"{path}: changed while it was being read; nothing was made of it, run it again")


def describe(row: MasterRow, data: xr.Dataset) -> None:
    """Fill in levels, noise, flags and what was rejected."""
    row.units = str(data.attrs.get("units", ""))
    row.noise = {
        name: found.as_dict() for name, found in measure_noise(data[["signal", "variance", "flags"]]).items()
    }
    row.flags = flag_counts(data)
    if "rejected_fraction" in data:
        row.rejected = float(data["rejected_fraction"].mean())
        if row.rejected > MUCH_REJECTED:
            row.warnings.append(
                f"{100 * row.rejected:.0f} % of its samples were rejected, where 1 % would be much: its frames differ by "
                "more than their noise, or their numbers are too coarse for it"
            )


def flag_counts(data: xr.Dataset) -> dict[str, int]:
    """Pixels with each flag, counted by bands of rows."""
    flags = data["flags"]
    height, width = flags.sizes["y"], flags.sizes["x"]
    rows = band_rows(height, width, bytes_per_pixel=8)
    counts: dict[str, int] = {}
    for start in range(0, height, rows):
        for name, count in count_flags(flags.isel(y=slice(start, start + rows)).values).items():
            counts[name] = counts.get(name, 0) + count
    return counts


def read_through(path: Path) -> None:
    """Read every row of a frame.

    Raises
    ------
    FrameFileError
        It is damaged.
    """
    source = open_frame(path)
    height, width = source.info.shape
    rows = band_rows(height, width, bytes_per_pixel=8)
    for start in range(0, height, rows):
        source.read(start, min(start + rows, height))
