"""One specimen of a camera behind its optics: the maps that are the same in every frame."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np

from calibkit.cfa.pattern import MONO_CHANNEL
from calibkit.simulate.camera import Camera
from calibkit.simulate.chance import normals, over_bands, stream
from calibkit.simulate.effects import chosen_effects
from calibkit.simulate.optics import Optics
from calibkit.simulate.spectrum import FILTERS, SPECTRA, Curve, Spectrum, named


class Detector:
    """The fixed maps of a camera and its optics, made when first asked for and kept.

    Parameters
    ----------
    camera : Camera
    optics : Optics, optional
        Perfect ones when not given.
    effects : iterable of str, optional
        Names from `effects.EFFECTS` that are on; all of them by default.
    """

    def __init__(
        self, camera: Camera, optics: Optics | None = None, *, effects: Iterable[str] | None = None
    ) -> None:
        self.camera = camera
        self.optics = optics or Optics()
        self.effects = chosen_effects(effects)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.camera.shape

    def has(self, effect: str) -> bool:
        """Whether *effect* is on."""
        return effect in self.effects

    def sensitivity(self) -> np.ndarray:
        """Response of each pixel to light relative to an ideal one of its colour, float32; not kept."""
        camera = self.camera
        out = np.ones(self.shape, np.float32)
        if self.has("sensitivity") and camera.sensitivity_spread:

            def draw(band: int, y0: int, y1: int) -> None:
                z = normals(camera.seed, "sensitivity", out[y0:y1].shape, band)
                out[y0:y1] += np.float32(camera.sensitivity_spread) * z

            over_bands(self.shape, draw)
            np.maximum(out, 0, out=out)
        if self.has("weak pixels") and self.weak_index.size:
            rng = stream(camera.seed, "weak pixels response")
            out.flat[self.weak_index] *= 0.7 * rng.random(self.weak_index.size, dtype=np.float32)
        if self.has("bad columns"):
            for x, y0 in self.bad_columns:
                out[y0:, x] *= 0.3
        return out

    @cached_property
    def weak_index(self) -> np.ndarray:
        """Flat indices of the pixels with little response."""
        return self._pixels("weak pixels", self.camera.weak_fraction)

    @cached_property
    def bad_columns(self) -> list[tuple[int, int]]:
        """(column, first bad row) of every bad column."""
        rng = stream(self.camera.seed, "bad columns")
        count = min(self.camera.bad_columns, self.shape[1])
        columns = rng.choice(self.shape[1], count, replace=False)
        return [(int(x), int(y)) for x, y in zip(columns, rng.integers(0, self.shape[0], count), strict=True)]

    @cached_property
    def response(self) -> np.ndarray:
        """Sensitivity times what the optics let through: what a perfect flat maps, not yet normalised."""
        passed = self.optics.throughput(self.shape, vignetting=self.has("vignetting"), dust=self.has("dust"))
        passed *= self.sensitivity()
        return passed

    @cached_property
    def thermal(self) -> np.ndarray:
        """Thermal electrons per second at the reference temperature, float32, without telegraph pixels."""
        camera = self.camera
        level = camera.dark_current if self.has("dark current") else 0.0
        out = np.full(self.shape, level, np.float32)
        if self.has("dark spread") and camera.dark_spread and level:
            sigma = np.float32(np.sqrt(np.log1p(camera.dark_spread**2)))

            def draw(band: int, y0: int, y1: int) -> None:
                z = normals(camera.seed, "dark spread", out[y0:y1].shape, band)
                out[y0:y1] *= np.exp(sigma * z - sigma * sigma / 2)

            over_bands(self.shape, draw)
        if self.has("hot pixels"):
            out.flat[self.hot_index] += self.hot_rate
        return out

    @cached_property
    def hot_index(self) -> np.ndarray:
        """Flat indices of the hot pixels."""
        return self._pixels("hot pixels", self.camera.hot_fraction)

    @cached_property
    def hot_rate(self) -> np.ndarray:
        """What each of them adds, in electrons per second at the reference temperature, float32."""
        z = stream(self.camera.seed, "hot pixels rate").standard_normal(self.hot_index.size)
        return (self.camera.hot_rate * np.exp(self.camera.hot_spread * z)).astype(np.float32)

    @cached_property
    def telegraph_index(self) -> np.ndarray:
        """Flat indices of the pixels that jump between two levels."""
        return self._pixels("telegraph pixels", self.camera.telegraph_fraction)

    @cached_property
    def glow(self) -> tuple[np.ndarray, np.ndarray]:
        """Amplifier glow in electrons per second as a column and a row whose product it is, float32."""
        camera = self.camera
        if not self.has("amp glow"):
            return np.zeros((self.shape[0], 1), np.float32), np.zeros((1, self.shape[1]), np.float32)
        y, x = (np.exp(-0.5 * (np.arange(n) / camera.glow_size) ** 2) for n in self.shape)
        y = y[::-1] if camera.glow_corner.startswith("bottom") else y
        x = x[::-1] if camera.glow_corner.endswith("right") else x
        return (camera.glow_rate * y[:, None]).astype(np.float32), x[None, :].astype(np.float32)

    @cached_property
    def offset(self) -> tuple[np.ndarray, np.ndarray]:
        """Offset in ADU as a column and a row whose sum it is, float32."""
        camera = self.camera
        level = camera.offset if self.has("offset") else 0.0
        rows, columns = np.full((self.shape[0], 1), level), np.zeros((1, self.shape[1]))
        if self.has("offset structure"):
            rng = stream(camera.seed, "offset structure")
            rows += camera.row_offsets * rng.standard_normal(rows.shape)
            columns += camera.column_offsets * rng.standard_normal(columns.shape)
        return rows.astype(np.float32), columns.astype(np.float32)

    def light(
        self, components: Iterable[tuple[Spectrum, np.ndarray]], filter: str | Curve = ""
    ) -> np.ndarray | None:
        """Electrons per second that light makes in each pixel, float32; None when there is none.

        Parameters
        ----------
        components : iterable of (Spectrum, numpy.ndarray)
            As from `Sky.components`.
        filter : str or Curve
            In front of the camera.
        """
        ghosts = self.optics.ghosts(self.shape) if self.has("reflection") else None
        leaks = self.has("light leak") and self.optics.light_leak > 0
        out = stray = None
        for spectrum, even in components:
            out = np.zeros(self.shape, np.float32) if out is None else out
            weights = self._weights(spectrum, filter)
            self._add(out, even, weights)
            if ghosts is not None:
                stray = np.zeros(self.shape, np.float32) if stray is None else stray
                self._add(stray, ghosts * even.mean(dtype=np.float64).astype(np.float32), weights)
        if out is not None:
            out *= self.response
        if leaks:
            stray = np.zeros(self.shape, np.float32) if stray is None else stray
            self._add(stray, self.optics.leak(self.shape[1])[None, :], self._weights(SPECTRA["white"], ""))
        if stray is not None:
            stray *= self.sensitivity()  # stray light is neither vignetted nor shaded by dust
            out = stray if out is None else np.add(out, stray, out=out)
        return out

    def _weights(self, spectrum: Spectrum, filter: str | Curve) -> np.ndarray:
        """Electrons per photon for every site of the pattern's cell."""
        glass = named(FILTERS, filter, "the filter")
        letters = self.camera.cfa.letters if self.camera.pattern else (MONO_CHANNEL,)
        share = {letter: self.camera.share(letter, spectrum, glass) for letter in set("".join(letters))}
        return np.array([[share[letter] for letter in row] for row in letters], np.float32)

    def _add(self, out: np.ndarray, light: np.ndarray, weights: np.ndarray) -> None:
        light = np.broadcast_to(light, out.shape)
        py, px = weights.shape
        for i in range(py):
            for j in range(px):
                out[i::py, j::px] += weights[i, j] * light[i::py, j::px]

    def _pixels(self, what: str, fraction: float) -> np.ndarray:
        total = self.shape[0] * self.shape[1]
        picked = stream(self.camera.seed, what).choice(total, round(fraction * total), replace=False)
        return np.sort(picked)
