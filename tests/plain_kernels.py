"""What the kernels compute, of small frames; ``python -m tests.plain_kernels FILE`` keeps it.

With ``NUMBA_DISABLE_JIT=1`` it is plain Python that runs, which looks at every index and which coverage sees.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import xarray as xr

import calibkit as ck
from calibkit import flags as fl
from calibkit.combining.rejections import REJECTIONS
from calibkit.display.view import FrameView
from calibkit.simulate import X_TRANS, Camera, Lamp, Sky, simulate_stack

Result = xr.Dataset | xr.DataArray


def results() -> dict[str, np.ndarray]:
    """Name of a result and of its part → numbers."""
    found: dict[str, np.ndarray] = {}
    for work in (_combined, _calibrated, _converted, _aligned, _read):
        for name, result in work():
            parts = result.data_vars if isinstance(result, xr.Dataset) else {"values": result}
            found |= {f"{name}: {key}": np.asarray(part.values) for key, part in parts.items()}
    return found


def _combined() -> Iterator[tuple[str, Result]]:
    rng = np.random.default_rng(3)
    for dtype, count, cfa in (("u2", 9, ""), ("f4", 6, "RGGB")):
        values = rng.normal(1000, 12, (count, 6, 10))
        values[rng.random(values.shape) < 0.06] += 400
        stack = xr.DataArray(
            values.astype(dtype),
            dims=("frame", "y", "x"),
            coords={"y": np.arange(6), "x": np.arange(10)},
            attrs=_attrs(cfa),
        )
        normalise = "none"
        if dtype == "f4":
            stack[2, 3:5, ::2] = np.nan
            stack = stack * xr.DataArray(np.linspace(0.9, 1.1, count), dims="frame").astype(dtype)
            stack, normalise = stack.assign_attrs(_attrs(cfa)), "multiplicative"
        for method in ("mean", "median", "minimum", "maximum", "sum"):
            yield f"{method} of {dtype}", ck.combine(stack, method=method, reject="none", normalise=normalise)
        for name in REJECTIONS:
            yield f"{name}, {dtype}", ck.combine(stack, reject=name, normalise=normalise)
            yield (
                f"{name}, median {dtype}",
                ck.combine(stack, method="median", reject=name, normalise=normalise),
            )

    many = xr.DataArray(rng.normal(1000, 12, (25, 3, 4)), dims=("frame", "y", "x"))
    yield "many frames", ck.combine(many, reject="linear_fit", low=1.5, high=1.5, normalise="none")
    yield "weighted", ck.combine(many, reject="sigma", weights=np.linspace(1, 2, 25), normalise="none")


def _attrs(cfa: str) -> dict[str, object]:
    return {"cfa": cfa, "gain": 1.5, "read_noise": 6.0, "units": "adu"}


def _session(pattern: str, shape: tuple[int, int] = (14, 18)) -> dict[str, xr.DataArray]:
    camera = Camera(
        pattern=pattern, shape=shape, gain=1.5, read_noise=6.0, offset=300.0, bit_depth=14, dark_current=0.5,
        reference_temperature=20.0, hot_fraction=0.05, telegraph_fraction=0.03, telegraph_rate=8.0,
    )  # fmt: skip
    return {
        "bias": simulate_stack(camera, 5, kind="bias"),
        "dark": simulate_stack(camera, 16, kind="dark", exposure=60.0),
        "flat": simulate_stack(camera, 5, kind="flat", exposure=1.0, lamp=Lamp(rate=20_000.0)),
        "light": simulate_stack(camera, 3, exposure=60.0, sky=Sky(background=40.0)),
    }


def _calibrated() -> Iterator[tuple[str, Result]]:
    for pattern in ("", "GBRG"):
        frames = _session(pattern)
        bias = ck.master_bias(frames["bias"])
        dark = ck.master_dark(frames["dark"], bias=bias)
        flat = ck.master_flat(frames["flat"], bias=bias)
        defects = ck.find_defects(dark=dark, flat=flat)
        yield f"defects {pattern}", defects.flags
        steep = dark.copy(deep=True)
        steep["signal"] += xr.DataArray(np.arange(18.0) ** 2, dims="x").astype("f4")
        yield f"defects in glow {pattern}", ck.find_defects(dark=steep).flags
        gain = ck.measure_gain(frames["flat"], frames["bias"])
        yield f"gain {pattern}", xr.DataArray([*gain.values.values()])
        yield f"unstable {pattern}", ck.find_unstable_pixels(frames["dark"]).flags
        light = ck.calibrate(
            frames["light"], bias=bias, dark=dark, flat=flat, dark_scale=0.9, defects=defects
        )
        yield f"light {pattern}", light
        yield f"repaired {pattern}", ck.repair(light.isel(frame=0))
        yield f"stacked {pattern}", ck.combine(light)
        for reduce in ("mean", "max"):
            seen = FrameView(light.isel(frame=0)).view(width=5, height=4, reduce=reduce)
            yield f"seen {pattern}, {reduce}", xr.DataArray(seen.values)


def _converted() -> Iterator[tuple[str, Result]]:
    for pattern, shape in (("RGGB", (9, 11)), (X_TRANS, (13, 14)), (X_TRANS, (40, 1))):
        raw = _session(pattern, shape)["light"][0]
        light = ck.calibrate(raw, bias=ck.constant_bias(raw, level=300.0), repair=False)
        light["signal"][3:5, 0] = np.nan
        light["flags"][6, :5] = fl.SATURATED
        for method in ("superpixel", "bilinear", "edge"):
            if pattern == "RGGB" or method == "bilinear":
                yield f"{method} of {pattern} {shape}", ck.debayer(light, method=method)


def _aligned() -> Iterator[tuple[str, Result]]:
    camera = Camera(shape=(84, 100), pattern="RGGB", offset=100.0, read_noise=2.0)
    sky = Sky(n_stars=30, star_flux=40_000.0, fwhm=3.0, drift=(1.3, -2.4))
    raw = simulate_stack(camera, 3, exposure=30.0, sky=sky)
    lights = ck.calibrate(raw, bias=ck.constant_bias(raw, level=100.0)).compute()
    stars = ck.find_stars(lights)
    yield "stars", xr.DataArray(np.concatenate([each.xy for each in stars]))
    lights["flags"][1, 20:22, 30] = fl.HOT
    moved = np.array([[1, 0.05, 1.3], [-0.05, 1, -2.4], [0, 0, 1.0]])
    for interpolation in ("lanczos3", "bicubic", "linear"):
        yield (
            interpolation,
            ck.resample(
                lights.isel(frame=1, y=slice(20, 50), x=slice(20, 60)), moved, interpolation=interpolation
            ),
        )
    turned = np.array([[-1, 0.02, 59.3], [-0.02, -1, 81.6], [0, 0, 1.0]])
    lights["flags"][2, 50, 30:33] = fl.SATURATED
    lights["signal"][2, 52, 40:42] = np.nan
    for width in (61, 60):
        odd = lights.isel(frame=2, y=slice(20, 60), x=slice(20, 20 + width))
        yield f"turned, {width}", ck.resample(odd, turned)
        yield f"turned without colours, {width}", ck.resample(odd.assign_attrs(cfa=""), turned)
    transforms = ck.register(lights, stars=stars)
    for channels in ("planes", "drizzle"):
        yield channels, ck.stack_lights(lights, transforms, channels=channels)
    yield "finer", ck.stack_lights(lights, transforms, channels="drizzle", scale=1.5, pixfrac=0.8)
    yield "hot", ck.find_defects(lights=ck.simulate_stack(camera, 8, exposure=30.0, sky=sky)).flags


def _read() -> Iterator[tuple[str, Result]]:
    from astropy.io import fits

    values = np.random.default_rng(1).normal(1000, 20, (20, 34))
    with tempfile.TemporaryDirectory() as folder:
        for kind, dtype in (("RICE_1", "u2"), ("PLIO_1", "i4"), ("HCOMPRESS_1", "i2")):
            path = Path(folder) / f"{kind}.fits.fz"
            image = fits.CompImageHDU(values.astype(dtype), compression_type=kind)
            fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)
            yield kind, ck.open_stack(path).compute()


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # on so few pixels much is uncertain, and whole numbers may run over
    np.savez(sys.argv[1], **results())
