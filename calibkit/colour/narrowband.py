"""One spectral line from a colour sensor: which channels hold it, and how much each is worth."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import numpy as np
import xarray as xr

from calibkit.cfa import channel_index, pattern_of
from calibkit.colour.debayer import convert_planes
from calibkit.errors import SettingError
from calibkit.meta import add_step
from calibkit.session.grouping import filter_key

#: Line → the colours of filter that let it pass on common Bayer sensors.
LINES: dict[str, tuple[str, ...]] = {
    "Ha": ("R",),  # 656.3 nm
    "SII": ("R",),  # 672 nm
    "NII": ("R",),  # 658 nm
    "OIII": ("G", "B"),  # 500.7 nm
    "Hb": ("G", "B"),  # 486.1 nm
}
#: How filters of one line are called, as `filter_key` writes it, with or without their width.
_NAMES = {
    "Ha": "ha|hα|halpha",
    "SII": "sii|s2",
    "NII": "nii|n2",
    "OIII": "oiii|o3",
    "Hb": "hb|hβ|hbeta",
}


def channel_worth(
    flat: xr.Dataset, *, light: xr.Dataset | None = None, noise: Mapping[str, float] | None = None
) -> xr.Dataset:
    """Measure what each colour channel is worth behind the filter that the flat was taken through.

    A channel that sees the fraction *r* of the light that the best one sees has to be multiplied by 1/r to
    show the same object, and its noise with it. Its share of the squared signal-to-noise ratio is what is
    lost by discarding it.

    Parameters
    ----------
    flat : xarray.Dataset
        A result of `master_flat` for the filter in use, with ``attrs["channel_level"]``: the light that each
        channel received, in ADU.
    light : xarray.Dataset, optional
        A calibrated light through the same filter: the noise of each channel is the root of its median
        variance. Dividing by a flat does not change a channel's level, so that responses stay as they are.
    noise : mapping of str to float, optional
        Noise of one pixel of each channel in ADU, instead of *light*. With neither, all channels are
        equally noisy, as when readout noise dominates.

    Returns
    -------
    xarray.Dataset
        Along ``channel``: ``response`` (best = 1), ``noise`` (ADU), ``pixels`` (share of the sensor's
        pixels), ``worth`` (share of the squared signal-to-noise ratio, sum 1), ``weight`` (factor of the
        channel's value in the optimal estimate ``Σ weight · value``) and ``noise_gain`` (1/response²: how much
        the variance grows where the channel is scaled up to the best).

    Raises
    ------
    SettingError
        The flat does not say what level each channel had, a channel's level or noise is not positive, or
        *light* and *noise* are both given.

    Notes
    -----
    With response r and noise σ the best unbiased estimate of the light is Σ(r x/σ²)/Σ(r²/σ²) and its squared
    signal-to-noise ratio is proportional to Σ r²/σ² (weighted least squares; e.g. Bevington & Robinson 2003,
    chapter 4).

    Examples
    --------
    >>> import calibkit
    >>> camera = calibkit.Camera(shape=(100, 150), pattern="RGGB")
    >>> flats = calibkit.simulate_stack(camera, 4, kind="flat", exposure=3.0)
    >>> flat = calibkit.master_flat(flats, bias=calibkit.constant_bias(flats, level=100.0))
    >>> worth = calibkit.channel_worth(flat)
    >>> list(worth.data_vars)
    ['response', 'noise', 'pixels', 'worth', 'weight', 'noise_gain']
    """
    levels = flat.attrs.get("channel_level")
    pattern = pattern_of(flat)
    if not levels or pattern.is_mono:
        msg = (
            "channel_worth needs a flat of a colour sensor with attrs['channel_level'], the level of each channel "
            f"before it was divided by it; found pattern {pattern} and channel_level {levels}. "
            "Make the flat with calibkit.master_flat"
        )
        raise SettingError(msg)
    channels = pattern.channels
    level = np.array([float(levels.get(name, np.nan)) for name in channels])
    sigma = _noise(channels, light, noise)
    for what, values in (("level", level), ("noise", sigma)):
        if not (np.isfinite(values) & (values > 0)).all():
            table = ", ".join(f"{n}: {v:.4g}" for n, v in zip(channels, values, strict=True))
            msg = f"every channel's {what} has to be a positive number of ADU; found {table}"
            raise SettingError(msg)
    response = level / level.max()
    share = np.array([np.mean(pattern.labels == name) for name in channels])
    power = response**2 / sigma**2
    worth = share * power
    return xr.Dataset(
        {
            "response": ("channel", response, {"units": "1"}),
            "noise": ("channel", sigma, {"units": "adu"}),
            "pixels": ("channel", share, {"units": "1"}),
            "worth": ("channel", worth / worth.sum(), {"units": "1"}),
            "weight": ("channel", (response / sigma**2) / power.sum(), {"units": "1"}),
            "noise_gain": ("channel", 1.0 / response**2, {"units": "1"}),
        },
        coords={"channel": list(channels)},
        attrs={"filter": flat.attrs.get("filter", ""), "pattern": pattern.text},
    )


def _noise(
    channels: tuple[str, ...], light: xr.Dataset | None, noise: Mapping[str, float] | None
) -> np.ndarray:
    if light is not None and noise is not None:
        msg = "give the noise of the channels either as light= or as noise=, not both"
        raise SettingError(msg)
    if noise is not None:
        return np.array([float(noise.get(name, np.nan)) for name in channels])
    if light is None:
        return np.ones(len(channels))
    cell, names = channel_index(light)
    py, px = cell.shape
    sampled: dict[str, list[np.ndarray]] = {name: [] for name in names}
    variance = light["variance"].transpose(..., "y", "x")
    for i in range(py):
        for j in range(px):
            values = np.asarray(variance[..., i::py, j::px].data).ravel()
            sampled[names[cell[i, j]]].append(values[:: max(1, values.size // 200_000)])
    return np.array([float(np.sqrt(np.nanmedian(np.concatenate(sampled[name])))) for name in channels])


def extract_line(
    light: xr.Dataset,
    line: str,
    *,
    worth: xr.Dataset | None = None,
    size: Literal["half", "full"] = "half",
) -> xr.Dataset:
    """One picture of a spectral line from a calibrated mosaic: the channels that hold it, the others discarded.

    Parameters
    ----------
    light : xarray.Dataset
        A result of `calibrate`, dims ``(…, y, x)``, in memory or lazy.
    line : str
        ``"Ha"``, ``"SII"`` or ``"NII"`` (red); ``"OIII"`` or ``"Hb"`` (green and blue); or the channels themselves,
        joined by ``"+"``, such as ``"G1+B"``.
    worth : xarray.Dataset, optional
        From `channel_worth`. Needed where several channels are put together: they see the line with different
        strength, and the weights come from there.
    size : {"half", "full"}
        ``"half"``: one pixel per 2 × 2 of the sensor (X-Trans 3 × 3), nothing interpolated.
        ``"full"``: every sensor pixel, by distance-weighted interpolation of each channel; neighbours
        then share noise.

    Returns
    -------
    xarray.Dataset
        ``signal``, ``variance`` and ``flags`` with dims ``(…, y, x)`` on the scale of the best of the channels used.
        ``y`` and ``x`` are sensor pixel numbers: at half size the centre of the pixels that were used.

    Raises
    ------
    SettingError
        An unknown line or channel, several channels without *worth*, or a sensor without filters.

    Examples
    --------
    >>> import calibkit
    >>> camera = calibkit.Camera(shape=(40, 60), pattern="RGGB", offset=100.0)
    >>> raw = calibkit.simulate_frame(camera, exposure=60.0)
    >>> light = calibkit.calibrate(raw, bias=calibkit.constant_bias(raw, level=100.0))
    >>> h_alpha = calibkit.extract_line(light, "Ha")
    >>> dict(h_alpha.sizes)
    {'y': 20, 'x': 30}
    """
    if size not in ("half", "full"):
        msg = f"size={size!r} does not exist; allowed are 'half' and 'full'"
        raise SettingError(msg)
    channels = channels_of_line(light, line)
    response, power = _weights(channels, worth)
    planes = convert_planes(light, channels, "superpixel" if size == "half" else "bilinear")
    r = xr.DataArray(response, dims="channel", coords={"channel": list(channels)})
    w = xr.DataArray(power, dims="channel", coords={"channel": list(channels)})
    there = planes["signal"].notnull() & (w > 0)
    weight = xr.where(there, w * r, 0.0)
    norm = (weight * r).sum("channel")
    signal = (weight * planes["signal"].fillna(0.0)).sum("channel") / norm.where(norm > 0)
    variance = xr.where(there, weight**2 * planes["variance"], 0.0).sum("channel") / norm.where(norm > 0) ** 2
    flags = planes["flags"].isel(channel=0, drop=True)
    for i in range(1, len(channels)):
        flags = flags | planes["flags"].isel(channel=i, drop=True)
    out = xr.Dataset(
        {
            "signal": signal.astype(np.float32).assign_attrs(light["signal"].attrs),
            "variance": variance.astype(np.float32).assign_attrs(light["variance"].attrs),
            "flags": flags.assign_attrs(light["flags"].attrs),
        },
        attrs={**planes.attrs, "cfa": "", "filter": light.attrs.get("filter", "") or line},
    )
    weights = {name: round(float(value), 6) for name, value in zip(channels, power * response, strict=True)}
    return add_step(out, "extract line", line=line, size=size, weights=weights)


def line_of_filter(name: str) -> str | None:
    """The line of `LINES` that a filter of this name lets pass alone, None for every other name.

    Examples
    --------
    >>> line_of_filter("H-alpha 7 nm"), line_of_filter("[O III]"), line_of_filter("Ha+OIII")
    ('Ha', 'OIII', None)
    """
    key = filter_key(name)
    return next((line for line, names in _NAMES.items() if re.fullmatch(f"({names})([0-9]+nm)?", key)), None)


def channels_of_line(light: xr.DataArray | xr.Dataset, line: str) -> tuple[str, ...]:
    """The channels of *light* that hold *line*, a line of `LINES` or channels joined by "+"; SettingError for others."""
    pattern = pattern_of(light)
    if pattern.is_mono:
        msg = "this frame has no colour filters (mono): all of it is the line, there is nothing to extract"
        raise SettingError(msg)
    if line in LINES and set(pattern.colours) <= set("RGB"):
        found = tuple(name for name in pattern.channels if name[0] in LINES[line])
        if found:
            return found
    else:
        found = tuple(part.strip() for part in line.split("+"))
        if found and set(found) <= set(pattern.channels):
            return found
    msg = (
        f"line {line!r}: allowed are {', '.join(LINES)} on a sensor with red, green and blue filters, or channels "
        f"of this one joined by '+', from {', '.join(pattern.channels)}"
    )
    raise SettingError(msg)


def _weights(channels: tuple[str, ...], worth: xr.Dataset | None) -> tuple[np.ndarray, np.ndarray]:
    """Response (best of those used = 1) and r-free weight of every channel."""
    if worth is None:
        if len(channels) > 1:
            msg = (
                f"channels {', '.join(channels)} see the line with different strength, and without their "
                "responses they cannot be put together rightly: pass worth=calibkit.channel_worth(flat, light=light), "
                "or name a single channel"
            )
            raise SettingError(msg)
        return np.ones(1), np.ones(1)
    missing = [name for name in channels if name not in worth["channel"].values]
    if missing:
        msg = f"worth says nothing about {', '.join(missing)}; it knows {', '.join(map(str, worth['channel'].values))}"
        raise SettingError(msg)
    chosen = worth.sel(channel=list(channels))
    response = chosen["response"].values / chosen["response"].values.max()
    power = 1.0 / chosen["noise"].values ** 2
    return response, power / power.max()
