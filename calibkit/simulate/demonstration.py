"""One scene through one camera with every artifact strong enough to be seen, and what its calibration frames map of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import xarray as xr

from calibkit.calibration import calibrate
from calibkit.errors import CalibkitError
from calibkit.masters import master_bias, master_dark, master_flat
from calibkit.simulate.camera import Camera
from calibkit.simulate.effects import chosen_effects
from calibkit.simulate.frame import simulate_frame, simulate_stack
from calibkit.simulate.optics import DustShadow, Optics, Reflection
from calibkit.simulate.sky import Lamp, Sky
from calibkit.warned import collected

_SHAPE = (180, 270)
#: Seconds of the light and of the flat.
_FLAT_EXPOSURE = 2.0
#: The pictures of a demonstration, and what each is.
PICTURES = {
    "light": "one raw frame of the sky",
    "bias": "master bias: shortest exposure, no light",
    "dark": "master dark without its bias: no light",
    "flat": "master flat: an even lamp, divided by its average",
    "calibrated": "the light calibrated: (light − bias − dark) / flat",
    "remains": "what remains: calibrated − the sky as it is",
}


def demonstration_camera() -> Camera:
    """A small camera that shows every artifact at once.

    Examples
    --------
    >>> demonstration_camera().shape
    (180, 270)
    """
    return Camera(
        name="Demonstration", shape=_SHAPE, gain=1.5, read_noise=9.0, offset=300.0, full_well=40_000.0, blooming=True,
        dark_current=0.4, reference_temperature=-10.0, dark_spread=0.25, hot_fraction=0.003, hot_rate=12.0,
        telegraph_fraction=0.001, telegraph_rate=6.0, glow_rate=6.0, glow_size=35.0, glow_corner="bottom right",
        sensitivity_spread=0.025, weak_fraction=0.0008, bad_columns=2, non_linearity=0.1, smear=0.02, row_offsets=1.5,
        column_offsets=3.0, row_noise=2.0, interference=5.0, interference_period=11.0, interference_angle=30.0,
        cosmic_rays=3.0, seed=3,
    )  # fmt: skip


def demonstration_optics() -> Optics:
    """Optics with vignetting, dust, a ghost and a light leak, for `demonstration_camera`.

    Examples
    --------
    >>> len(demonstration_optics().dust)
    3
    """
    dust = (
        DustShadow(60, 70, 12, 0.18),
        DustShadow(125, 190, 17, 0.14),
        DustShadow(140, 60, 7, 0.25, hole=0.0),
    )
    return Optics(vignetting=0.35, dust=dust, reflections=(Reflection(70, 200, 30, 0.18),), light_leak=3.0)


def demonstration_sky() -> Sky:
    """A nebula, stars and one star that is too bright, for `demonstration_camera`.

    Examples
    --------
    >>> demonstration_sky().background
    12.0
    """
    return Sky(
        background=12.0, gradient=0.3, gradient_angle=-20.0, n_stars=60, star_flux=1500.0, fwhm=2.6,
        stars=((95.0, 130.0, 40_000.0),), h_alpha=14.0, nebula_size=0.5, seed=5,
    )  # fmt: skip


def demonstrate_chain(
    effects: Iterable[str] | None = None,
    *,
    exposure: float = 120.0,
    temperature: float = -10.0,
    frames: int = 9,
) -> xr.Dataset:
    """Take and calibrate one light with the artifacts that are switched on.

    Parameters
    ----------
    effects : iterable of str, optional
        Names from `calibkit.simulate.EFFECTS`; all of them by default. Light, bias, dark and flat frames have the same.
    exposure : float
        Of the light and its darks, in seconds.
    temperature : float
        Of the detector, in °C.
    frames : int
        Bias, dark and flat frames that each master is made of.

    Returns
    -------
    xarray.Dataset
        The maps `PICTURES` with dims ``(y, x)``: ``light``, ``bias``, ``dark``, ``flat``, ``calibrated`` and ``remains``;
        in ADU but for ``flat``. ``remains`` is calibrated minus the same sky seen without any artifact or noise, where the
        sky is brought to the same mean response. ``attrs["notes"]``: what calibkit had to warn of; ``scatter_before``
        and ``scatter_after``: by how much most pixels of ``light`` and ``calibrated`` differ from that sky, in ADU, an even
        offset apart.

    Raises
    ------
    SettingError
        An effect that is not known, or an exposure, temperature or number that cannot be.

    Examples
    --------
    >>> found = demonstrate_chain(["offset", "vignetting"], frames=3)
    >>> float(abs(found.remains).median()) < 1.0
    True
    """
    on = chosen_effects(effects)
    camera = demonstration_camera()
    optics = demonstration_optics()
    common: dict[str, Any] = {"temperature": temperature, "optics": optics, "effects": on}
    shut = common | {"optics": None}  # a camera that is covered sees no leak either
    sky = demonstration_sky()
    light = simulate_frame(camera, kind="light", exposure=exposure, sky=sky, seed=1, **common)
    stacks = {
        "bias": simulate_stack(camera, frames, kind="bias", seed=2, **shut),
        "dark": simulate_stack(camera, frames, kind="dark", exposure=exposure, seed=3, **shut),
        "flat": simulate_stack(
            camera, frames, kind="flat", exposure=_FLAT_EXPOSURE, lamp=Lamp(rate=9000.0), seed=4, **common
        ),
    }
    with collected() as notes:
        options = {"reject": "none"} if frames < 3 else {}
        bias = master_bias(stacks["bias"], **options)
        dark = master_dark(stacks["dark"], bias=bias, **options)
        flat = master_flat(stacks["flat"], bias=bias, **options)
        try:
            calibrated = calibrate(light, bias=bias, dark=dark, flat=flat).signal.compute()
        except CalibkitError as error:
            notes.insert(0, str(error))
            calibrated = light.astype(np.float32)
    ideal = simulate_frame(camera, exposure=exposure, sky=sky, temperature=temperature, effects=()).astype(
        np.float32
    )
    ratio = float((calibrated / ideal).median())
    seen = np.float32(ratio if np.isfinite(ratio) else 1.0) * ideal
    pictures = {
        "light": light.astype(np.float32),
        "bias": bias.signal,
        "dark": dark.signal,
        "flat": flat.signal,
        "calibrated": calibrated,
        "remains": calibrated - seen,
    }
    result = xr.Dataset({name: (("y", "x"), np.asarray(each.data)) for name, each in pictures.items()})
    for name in PICTURES:
        result[name].attrs["units"] = "1" if name == "flat" else "adu"
    return result.assign_coords(y=light.y.values, x=light.x.values).assign_attrs(
        notes=notes,
        scatter_before=_scatter(pictures["light"] - seen),
        scatter_after=_scatter(result["remains"]),
    )


def _scatter(difference: xr.DataArray) -> float:
    """Standard deviation of the 98 of 100 pixels that lie in the middle."""
    values = difference.values[np.isfinite(difference.values)]
    low, high = np.percentile(values, (1, 99))
    return float(values[(values >= low) & (values <= high)].std(dtype=np.float64))
