"""Pictures of single lines or filters put together as red, green and blue."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import xarray as xr

from calibkit.errors import MismatchError, SettingError
from calibkit.flags import FLAG_DTYPE
from calibkit.meta import add_step, camera_attrs

Weights = Mapping[str, Mapping[str, float]]

#: What amateurs call the mappings by: the first letters of the lines for red, green and blue.
_LETTERS = {"H": "Ha", "S": "SII", "O": "OIII", "N": "NII", "R": "R", "G": "G", "B": "B"}
_COLOURS = ("R", "G", "B")


def combine_channels(images: Mapping[str, xr.Dataset], mapping: str | Weights = "RGB") -> xr.Dataset:
    """Put pictures of single lines or filters together as one picture in colour.

    Parameters
    ----------
    images : mapping of str to xarray.Dataset
        Results by name, such as ``{"Ha": …, "OIII": …}``, each with ``signal``, ``variance`` and ``flags`` of the dims
        (y, x), on the same pixels and in the same unit: register them first, if they were not taken at once.
    mapping : str or mapping of colour to weights
        Three letters for red, green and blue, of H (Ha), O (OIII), S (SII), N (NII), R, G, B: ``"HOO"``, ``"SHO"``,
        ``"RGB"``. Or the weights themselves: ``{"R": {"Ha": 1.0}, "G": {"Ha": 0.2, "OIII": 0.8}, "B": {"OIII": 1.0}}``.

    Returns
    -------
    xarray.Dataset
        Dims (channel, y, x) with channels R, G, B: ``signal`` is the weighted sum, ``variance`` that of independent
        images, ``flags`` those of every image with a weight. Colours that hold the same image share its noise:
        ``attrs["shared_noise"]`` has the correlation of each two colours where the images are equally noisy.

    Raises
    ------
    SettingError
        A mapping that is no three colours, names an image that is not there, or has weights that are not finite or
        all zero.
    MismatchError
        Images on different pixels or in different units.

    See Also
    --------
    extract_line : a line from a colour sensor.
    white_balance : factors of the channels afterwards.

    Examples
    --------
    >>> import calibkit
    >>> stack = calibkit.simulate_stack(calibkit.Camera(shape=(20, 30), offset=100.0), 2, exposure=60.0)
    >>> red, green = (calibkit.calibrate(each, bias=calibkit.constant_bias(each, level=100.0)) for each in stack)
    >>> colour = calibkit.combine_channels({"Ha": red, "OIII": green}, "HOO")
    >>> colour.signal.dims
    ('channel', 'y', 'x')
    """
    weights = _weights(images, mapping)
    used = [name for name in images if any(name in part for part in weights.values())]
    _check_images({name: images[name] for name in used})
    planes = {"signal": [], "variance": [], "flags": []}
    for part in weights.values():
        planes["signal"].append(sum(images[n]["signal"] * np.float32(w) for n, w in part.items()))
        planes["variance"].append(sum(images[n]["variance"] * np.float32(w) ** 2 for n, w in part.items()))
        first, *rest = (images[name]["flags"] for name in part)
        for flags in rest:
            first = first | flags
        planes["flags"].append(first.astype(FLAG_DTYPE))
    example = images[used[0]]
    made = {
        name: xr.concat(
            [part.reset_coords(drop=True) for part in parts],
            xr.Variable("channel", list(_COLOURS)),
            join="exact",
        )
        .transpose("channel", "y", "x")
        .astype(FLAG_DTYPE if name == "flags" else np.float32)
        .assign_attrs(example[name].attrs)
        for name, parts in planes.items()
    }
    attrs = {**camera_attrs(example), "cfa": "", "units": example.attrs.get("units", "")}
    attrs["provenance"] = [
        dict(step, image=name) for name in used for step in images[name].attrs.get("provenance", [])
    ]
    out = xr.Dataset(made, attrs={**attrs, "shared_noise": _shared(weights)})
    return add_step(out, "combine channels", mapping={colour: dict(part) for colour, part in weights.items()})


def _weights(images: Mapping[str, xr.Dataset], mapping: str | Weights) -> dict[str, dict[str, float]]:
    if isinstance(mapping, str):
        names = [_LETTERS.get(letter, letter) for letter in mapping]
        if len(names) != 3:
            msg = f"mapping={mapping!r}: three letters are wanted, for red, green and blue, e.g. 'HOO'"
            raise SettingError(msg)
        mapping = {colour: {name: 1.0} for colour, name in zip(_COLOURS, names, strict=True)}
    if set(mapping) != set(_COLOURS):
        msg = f"a mapping says what red, green and blue are made of; this one has {', '.join(map(str, mapping)) or 'nothing'}"
        raise SettingError(msg)
    weights = {colour: {n: float(w) for n, w in mapping[colour].items()} for colour in _COLOURS}
    for colour, part in weights.items():
        missing = [name for name in part if name not in images]
        if missing:
            msg = f"{colour} is made of {', '.join(missing)}, which is not given; there are {', '.join(images) or 'no images'}"
            raise SettingError(msg)
        if not all(map(math.isfinite, part.values())) or not any(part.values()):
            msg = f"{colour}={part}: weights are finite numbers, and one of them is not zero"
            raise SettingError(msg)
    return {colour: {n: w for n, w in part.items() if w} for colour, part in weights.items()}


def _check_images(images: Mapping[str, xr.Dataset]) -> None:
    first_name, first = next(iter(images.items()))
    for name, image in images.items():
        if not {"signal", "variance", "flags"} <= set(image) or set(image["signal"].dims) != {"y", "x"}:
            found = f"{', '.join(map(str, image))} with {dict(image.sizes)}"
            msg = f"{name}: one result has signal, variance and flags with the dims (y, x); found {found}"
            raise MismatchError(msg)
        if image.attrs.get("cfa"):
            msg = f"{name} is a mosaic of colours ({image.attrs['cfa']}): take the line from it with calibkit.extract_line first"
            raise MismatchError(msg)
        if not all(np.array_equal(image[dim].values, first[dim].values) for dim in ("y", "x")):
            msg = f"{first_name} and {name} are not on the same pixels: register them first, or crop both to what they share"
            raise MismatchError(msg)
        if image.attrs.get("units", "") != first.attrs.get("units", ""):
            msg = f"{first_name} is in {first.attrs.get('units')} and {name} in {image.attrs.get('units')}: use one unit"
            raise MismatchError(msg)


def _shared(weights: Weights) -> dict[str, float]:
    """Correlation of the noise of each two colours, for images of equal noise."""
    shared = {}
    for one, other in (("R", "G"), ("R", "B"), ("G", "B")):
        a, b = weights[one], weights[other]
        common = sum(a[name] * b[name] for name in a if name in b)
        size = math.sqrt(sum(w * w for w in a.values()) * sum(w * w for w in b.values()))
        shared[one + other] = round(common / size, 6)
    return shared
