"""Everything that the tests look at: samples of the frames, and what calibration makes of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import xarray as xr

from calibkit.calibration.levels import per_channel
from calibkit.diagnosis.finding import Finding
from calibkit.diagnosis.patterns import (
    Pattern,
    Share,
    dark_share,
    high_pass,
    mean_of,
    median_of,
    sky_of,
    spread_of,
)
from calibkit.diagnosis.sampling import Grid, Sample
from calibkit.session.tolerances import Tolerances

_TOLERANCES = Tolerances()


class Evidence:
    """Samples of the lights of one group and of what calibrates them.

    Parameters
    ----------
    where : str
        How findings call it.
    grid : Grid
    samples : dict of str to Sample
        By role: "light", "bias", "dark", "flat", "flat dark", "flat bias", "result".
    dark_scale : float, optional
        Factor by which the dark is multiplied; by default what the result says, else 1 or the ratio of exposures.
    gain, read_noise : float or mapping, optional
        Electrons per ADU, and electrons; by default what the frames say.
    combine : mapping, optional
        Options of `calibkit.combine` for the masters.
    masters : sequence of (str, Dataset)
        Masters that were made, for what they say of their making.
    match : Match, optional
        What the session has found for these lights.
    groups : sequence of Group
        All groups of the session.
    tolerances : Tolerances
        Of the session.
    misfits : sequence of Finding
        About frames that could not be laid over the others.
    """

    def __init__(
        self,
        where: str,
        grid: Grid,
        samples: Mapping[str, Sample],
        *,
        dark_scale: float | None = None,
        gain: float | Mapping[str, float] | None = None,
        read_noise: float | Mapping[str, float] | None = None,
        combine: Mapping[str, Any] | None = None,
        masters: tuple[tuple[str, xr.Dataset], ...] = (),
        match: Any = None,
        groups: tuple[Any, ...] = (),
        tolerances: Tolerances = _TOLERANCES,
        misfits: tuple[Finding, ...] = (),
    ) -> None:
        self.where, self.grid, self.samples = where, grid, dict(samples)
        self._dark_scale, self._gain, self._read_noise = dark_scale, gain, read_noise
        self.combine = dict(combine or {})
        self.misfits = misfits
        self.masters, self.match, self.groups, self.tolerances = masters, match, groups, tolerances

    def get(self, role: str) -> Sample | None:
        """The sample of this role, None where there is none."""
        return self.samples.get(role)

    @property
    def each(self) -> list[Sample]:
        """Every sample once, also when it has two roles."""
        return list({id(sample): sample for sample in self.samples.values()}.values())

    # what is known of the camera

    def gain_of(self, sample: Sample) -> np.ndarray | None:
        """Electrons per ADU of every channel, as given or as the frames say; None where it is not known."""
        if self._gain is not None:
            return per_channel(self._gain, self.grid.channels, "gain", least=1e-6)
        value = sample.number("gain")
        return np.full(len(self.grid.channels), value) if value > 0 else None

    def read_noise_of(self, sample: Sample) -> np.ndarray | None:
        """Electrons of every channel; None where it is not known."""
        said = self._read_noise if self._read_noise is not None else sample.data.attrs.get("read_noise")
        if said is None or (isinstance(said, float) and not math.isfinite(said)):
            return None
        return per_channel(said, self.grid.channels, "read_noise")

    # what is subtracted

    @cached_property
    def thermal(self) -> Pattern | None:
        """The dark without its bias; the bias' fixed pattern is in it where there is no bias."""
        dark, bias = self.get("dark"), self.get("bias")
        if dark is None:
            return None
        if dark.bias_subtracted or bias is None:
            return Pattern(
                dark.master, dark.halves or (dark.master,) * 2, None if dark.raw else dark.variance
            )
        return self._less(dark, bias)

    def _less(self, sample: Sample, offset: Sample) -> Pattern:
        """*sample* without *offset*, halves by halves, so that no noise is in both of them."""
        master = sample.master - offset.master
        if sample.halves is None:
            noise = (
                None if sample.raw or sample.variance is None else sample.variance + self.variance_of(offset)
            )
            return Pattern(master, (master, master), noise)
        split = offset.halves
        if split is None:
            a, b = sample.halves
            return Pattern(master, (a - offset.master, b - offset.master), self.variance_of(offset))
        return Pattern(master, tuple(half - part for half, part in zip(sample.halves, split, strict=True)))

    def variance_of(self, sample: Sample) -> np.ndarray:
        """Variance of the combined frames' noise, (site, tile, row, column)."""
        if sample.variance is not None:
            return sample.variance
        if sample.pair_variance is not None:
            each = sample.pair_variance.mean(axis=1) / len(sample.frames)
        else:  # a single frame: its noise is what its pixels differ by
            each = spread_of(high_pass(sample.master))[:, :, 0, 0].mean(axis=1) ** 2 / 1.125
        return np.broadcast_to(each[:, None, None, None], sample.master.shape).astype(np.float32)

    @property
    def thermal_is_free(self) -> bool:
        """Whether `thermal` holds no bias: its level is that of dark current."""
        dark = self.get("dark")
        return dark is not None and (dark.bias_subtracted or self.get("bias") is not None)

    @cached_property
    def exposure_ratio(self) -> float:
        """Light's exposure over the dark's, NaN where one is not known."""
        dark, light = self.get("dark"), self.get("light") or self.get("result")
        if dark is None or light is None or not dark.exposure > 0:
            return math.nan
        return light.exposure / dark.exposure

    @cached_property
    def scale(self) -> float:
        """Factor by which the dark is multiplied in the calibration of these lights."""
        if self._dark_scale is not None:
            return float(self._dark_scale)
        result = self.get("result")
        for step in result.data.attrs.get("provenance", []) if result is not None else []:
            if step.get("step") == "subtract dark" and "scale" in step:
                return float(np.mean(step["scale"]))
        ratio = self.exposure_ratio
        dark, light = self.get("dark"), self.get("light") or self.get("result")
        if math.isnan(ratio) or _TOLERANCES.same_exposure(light.exposure, dark.exposure):
            return 1.0
        return ratio if self.thermal_is_free else 1.0

    @cached_property
    def offset(self) -> np.ndarray | None:
        """What is subtracted from a light; None where neither bias nor dark is there."""
        dark, bias = self.get("dark"), self.get("bias")
        if dark is not None and not dark.bias_subtracted and self.scale == 1.0:
            return dark.master
        if dark is not None and (bias is not None or self._light_is_bare):
            level = bias.master if bias is not None and not self._light_is_bare else 0.0
            return level + self.scale * self.thermal.values
        return bias.master if bias is not None else None

    @cached_property
    def shared_with_flat(self) -> np.ndarray | None:
        """Variance of the noise that light and flat have in common, ADU², where one master was subtracted from both."""
        if self.get("flat") is None or self.flat_offset is None or self.get("light") is None:
            return None
        common, dark, bias = self.flat_offset, self.get("dark"), self.get("bias")
        weight = 0.0
        if common is dark:
            weight = self.scale
        elif common is bias and dark is None:
            weight = 1.0
        elif common is bias and not (self.scale == 1.0 and not dark.bias_subtracted):
            weight = 1.0 if dark.bias_subtracted else 1.0 - self.scale
        return weight * self.variance_of(common) if weight else None

    @property
    def _light_is_bare(self) -> bool:
        light = self.get("light")
        return light is not None and light.bias_subtracted

    @cached_property
    def net(self) -> np.ndarray | None:
        """Light without offset and dark current, not divided by the flat; from the result where there is one."""
        result, light = self.get("result"), self.get("light")
        if result is not None:
            values = result.master
            if result.data.attrs.get("flat_divided", self.response is not None) and self.response is not None:
                values = values * self.response.values
            return values
        return light.master - self.offset if light is not None and self.offset is not None else None

    @cached_property
    def even(self) -> np.ndarray | None:
        """`net` divided by the flat where there is one, NaN where the flat has no light."""
        if self.net is None or self.response is None:
            return self.net
        response = self.response.values
        return np.divide(
            self.net, response, out=np.full(self.net.shape, np.nan, np.float32), where=response > 0
        )

    @cached_property
    def lit(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Light without bias, to be compared with the first and the second half of the dark."""
        light, bias, result = self.get("light"), self.get("bias"), self.get("result")
        if light is None:
            if result is None or self.thermal is None or self.net is None:
                return None
            bare = self.net + self.scale * self.thermal.values
            return bare, bare
        if self._light_is_bare or self.get("dark") is None or not self.thermal_is_free or bias is None:
            return light.master, light.master
        split = bias.halves or (bias.master,) * 2
        return light.master - split[1], light.master - split[0]  # each with the other half's noise

    @cached_property
    def shared(self) -> np.ndarray | None:
        """Variance of the bias' noise that is in the light without bias and in the dark without bias alike."""
        bias, dark, light = self.get("bias"), self.get("dark"), self.get("light")
        if bias is None or dark is None or light is None or self._light_is_bare:
            return None
        if bias.halves is not None and dark.raw and not dark.bias_subtracted:
            return None  # each half of the dark has its own half of the biases
        return self.variance_of(bias)

    @cached_property
    def dark_share(self) -> Share | None:
        """How much of the dark's pattern is in the lights; None where one of them is missing or cannot tell."""
        if self.thermal is None or not self.thermal.known or self.lit is None:
            return None
        return dark_share(self.lit, self.thermal, shared=self.shared, full=self.full)

    @cached_property
    def sky(self) -> np.ndarray | None:
        """Level of the sky in `net`, (site, tile)."""
        return None if self.net is None else sky_of(self.net)

    @cached_property
    def full(self) -> np.ndarray | None:
        """Pixels of the light that are or may be saturated."""
        light, dark = self.get("light"), self.get("dark")
        found = None
        for sample in (light, dark):
            if sample is not None and sample.raw and math.isfinite(sample.saturation):
                part = sample.master > 0.9 * sample.saturation
                found = part if found is None else found | part
        return found

    # what is divided

    @property
    def flat_is_bare(self) -> bool:
        """Whether the flat's offset is gone already."""
        flat = self.get("flat")
        done = flat.bias_subtracted or bool(flat.data.attrs.get("dark_subtracted", False))
        return done or flat.data.attrs.get("units") == "1"

    @cached_property
    def flat_offset(self) -> Sample | None:
        """What is subtracted from a raw flat; None where that is done, or nothing is there for it."""
        if self.flat_is_bare:
            return None
        for role in ("flat dark", "flat bias", "bias"):
            sample = self.get(role)
            if sample is not None and not sample.bias_subtracted:
                return sample
        flat, dark = self.get("flat"), self.get("dark")
        exact = dark is not None and not dark.bias_subtracted and dark.exposure <= flat.exposure * 1.01
        return dark if exact else None

    @cached_property
    def _net_flat(self) -> Pattern:
        flat = self.get("flat")
        if self.flat_offset is not None:
            return self._less(flat, self.flat_offset)
        return Pattern(flat.master, flat.halves or (flat.master,) * 2, None if flat.raw else flat.variance)

    @cached_property
    def response(self) -> Pattern | None:
        """The flat without offset, over the mean of each channel; None where there is no flat or no light in it."""
        if self.get("flat") is None:
            return None
        net = self._net_flat
        levels = [self._site_level(part) for part in (net.values, *net.halves)]
        if not all((level > 0).any() for level in levels):
            return None
        levels = [np.where(level > 0, level, np.nan) for level in levels]
        values = net.values / levels[0]
        halves = (
            tuple(h / level for h, level in zip(net.halves, levels[1:], strict=True))
            if net.split
            else (values, values)
        )
        return Pattern(values, halves, None if net.noise is None else net.noise / levels[0] ** 2)

    @cached_property
    def flat_level(self) -> np.ndarray | None:
        """Level of the flat above its offset in ADU, per channel; None where it is not known."""
        flat = self.get("flat")
        if flat is None:
            return None
        said = flat.data.attrs.get("channel_level")
        if isinstance(said, Mapping):
            return np.array([float(said.get(name, math.nan)) for name in self.grid.channels])
        if flat.data.attrs.get("units") == "1" or not (self.flat_is_bare or self.flat_offset is not None):
            return None
        return median_of(self.grid.by_channel(sky_of(self._net_flat.values)), axis=-1)

    def _site_level(self, values: np.ndarray) -> np.ndarray:
        """Level of every site's channel, (site, 1, 1, 1)."""
        channel = mean_of(self.grid.by_channel(mean_of(values, axis=(-2, -1))), axis=-1)
        return channel[self.grid.site_channel][:, None, None, None].astype(np.float32)

    # levels

    def level(self, role: str) -> np.ndarray | None:
        """Median level of every channel of the frames of a role, ADU."""
        sample = self.get(role)
        return None if sample is None else median_of(self.grid.by_channel(sample.sky), axis=-1)

    @cached_property
    def bias_level(self) -> float:
        """Mean over the channels of the bias' level, NaN where it is not known."""
        level = self.level("bias")
        return math.nan if level is None else mean_of(level)
