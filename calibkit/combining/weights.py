"""Weights of the frames in a mean."""

from __future__ import annotations

import numpy as np
import xarray as xr

from calibkit.errors import SettingError


def by_noise(weights: object) -> bool:
    """Whether the noise of every frame is needed; numbers may be an array, which is not simply equal to a text."""
    return isinstance(weights, str) and weights == "noise"


def frame_weights(
    weights: str | np.ndarray | None,
    stack: xr.DataArray | xr.Dataset,
    *,
    noise: np.ndarray | None,
    scale: np.ndarray | None,
    channels: int,
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Weight and relative variance of the samples, each (frame, channel), or None for equal ones.

    Parameters
    ----------
    weights : {"exposure", "noise"}, array of shape (frame,), or None
        ``"exposure"`` weighs by time and takes the variance to go as its inverse; ``"noise"`` weighs by the
        inverse of the variance that was measured; given weights say nothing about the variance, which is
        taken as equal in all frames.
    noise : numpy.ndarray
        Measured pixel noise (frame, channel), for ``"noise"``.
    scale : numpy.ndarray or None
        What normalisation multiplies the samples by, (frame, channel).
    """
    if weights is None:
        return None, None
    n = stack.sizes["frame"]
    ones = np.ones((n, channels))
    if isinstance(weights, str):
        if weights == "exposure":
            value = stack.coords["exposure"].values if "exposure" in stack.coords else np.full(n, np.nan)
            value = np.broadcast_to(np.asarray(value, float), n)
            if not (np.isfinite(value) & (value > 0)).all():
                msg = "weights='exposure' needs the exposure of every frame above zero; give weights as numbers instead"
                raise SettingError(msg)
            weight = value[:, None] * ones
        elif weights == "noise":
            sigma = noise if scale is None else noise * np.abs(scale)
            if not (sigma > 0).all():
                msg = "weights='noise' needs frames with noise in them, found one without; give weights as numbers"
                raise SettingError(msg)
            weight = 1.0 / sigma**2
        else:
            msg = f"weights={weights!r}; allowed are 'exposure', 'noise', one number per frame, or None"
            raise SettingError(msg)
        weight = weight / weight.mean(axis=0)
        return weight, 1.0 / weight
    given = np.asarray(weights, float)
    if given.shape != (n,) or not np.isfinite(given).all() or (given < 0).any() or not given.any():
        msg = f"weights must be {n} numbers, one per frame, none negative and not all zero; found {given!r}"
        raise SettingError(msg)
    return given[:, None] / given.mean() * ones, ones
