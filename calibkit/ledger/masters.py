"""The masters under a block of the light, and the same without their noise."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from calibkit.calibration.checks import check_master, cover
from calibkit.calibration.dark import fingerprint, same_bias
from calibkit.calibration.levels import channel_levels


@dataclass(frozen=True)
class Masters:
    """Bias, dark and flat as they are given to `calibrate`; None for what there is not."""

    bias: xr.Dataset | None
    dark: xr.Dataset | None
    flat: xr.Dataset | None
    common: bool  # the bias is the one that was subtracted from the dark

    @classmethod
    def of(
        cls,
        lights: xr.DataArray,
        bias: xr.Dataset | None,
        dark: xr.Dataset | None,
        flat: xr.Dataset | None,
    ) -> Masters:
        """The parts on the pixels of *lights*, which has coordinates ``y`` and ``x``."""
        common = bias is not None and dark is not None and same_bias(bias, dark)
        found = [
            None if master is None else _placed(cover(check_master(master, name), lights, name), lights)
            for name, master in (("bias", bias), ("dark", dark), ("flat", flat))
        ]
        # A level that is not known is measured on the whole frame, not on every block.
        found = [
            m.assign_attrs(channel_level=channel_levels(m))
            if m is not None and "channel_level" not in m.attrs
            else m
            for m in found
        ]
        return cls(*found, common=common)

    def under(self, light: xr.DataArray) -> Masters:
        """Their pixels under a block, in memory; the dark goes on knowing its bias."""
        parts = [
            None if m is None else cover(m, light, "master").compute()
            for m in (self.bias, self.dark, self.flat)
        ]
        bias, dark, flat = parts
        if self.common and bias is not None and dark is not None:
            mark = fingerprint(bias)
            steps = [
                step | {"fingerprint": mark} if "fingerprint" in step else step
                for step in dark.attrs["provenance"]
            ]
            dark = dark.assign_attrs(provenance=steps)
        return replace(self, bias=bias, dark=dark, flat=flat)

    def without_noise(self, name: str) -> Masters:
        """With a variance of zero in one of them."""
        master = getattr(self, name)
        if master is None or "variance" not in master:
            return self
        return replace(self, **{name: master.assign(variance=xr.zeros_like(master["variance"]))})

    def as_options(self) -> dict[str, xr.Dataset | None]:
        """Keywords of `calibrate`."""
        return {"bias": self.bias, "dark": self.dark, "flat": self.flat}


def _placed(master: xr.Dataset, lights: xr.DataArray) -> xr.Dataset:
    """What `calibrate` reads, with the coordinates of the light, so that blocks of both find each other."""
    master = master[[name for name in ("signal", "variance", "flags") if name in master]]
    return master.assign_coords({dim: np.asarray(lights.coords[dim].values) for dim in ("y", "x")})
