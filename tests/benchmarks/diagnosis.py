"""Detection rate of every test of `calibkit.diagnose` against the strength of a simulated fault.

``python -m tests.benchmarks.diagnosis [--runs 12] [--clean 60] [--fault NAME …] [--out table.md]``; what was found
is in ``diagnosis.md`` beside this file.

Each fault is made at several strengths on several cameras and seeds. A run counts as detected when the test that
the fault is for calls it suspect or a fault. Clean sessions, samples among them, tell how often any test at all
raises an alarm without reason.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from scipy import stats

import calibkit
from calibkit.errors import CalibkitWarning
from calibkit.simulate import X_TRANS, Camera, Lamp, Optics, Sky, random_dust, simulate_stack
from calibkit.simulate.samples import ccd_night, dslr_night
from calibkit.simulate.spectrum import Spectrum

Frames = dict[str, Any]


@dataclass(frozen=True)
class Setup:
    """A camera and all that a night with it shows; the faults change parts of it."""

    camera: Camera
    optics: Optics
    sky: Sky
    lamp: Lamp
    filter: str = ""
    light_exposure: float = 120.0
    flat_exposure: float = 2.0
    count: int = 8


def _plain(pattern: str, gain: float, shape: tuple[int, int] = (240, 324)) -> Setup:
    return Setup(
        camera=Camera(
            shape=shape,
            pattern=pattern,
            gain=gain,
            read_noise=8.0,
            offset=300.0,
            dark_current=0.5,
            dark_spread=0.2,
            hot_fraction=0.002,
            hot_rate=8.0,
            glow_rate=0.6,
            glow_size=35.0,
            sensitivity_spread=0.01,
            full_well=60_000.0,
            bit_depth=16,
        ),
        optics=Optics(vignetting=0.22, dust=random_dust(9, shape, depth=0.06, radius=10.0, seed=3)),
        sky=Sky(
            background=14.0 if not pattern else 40.0, gradient=0.06, gradient_angle=30.0, n_stars=120, seed=5
        ),
        lamp=Lamp(rate=11_000.0 if not pattern else 32_000.0, spectrum="white"),
    )


SETUPS: dict[str, Setup] = {
    "mono": _plain("", 1.5),
    "bayer": _plain("RGGB", 1.2),
    "x-trans": _plain(X_TRANS, 1.2, shape=(390, 486)),
}


def frames_of(setup: Setup, seed: int, **changes: Any) -> Frames:
    """Stacks of one night. Of every kind the keywords of `simulate_stack` can be changed: ``dark={"exposure": 60}``."""
    camera = replace(setup.camera, seed=seed)
    light = {"exposure": setup.light_exposure, "sky": replace(setup.sky, seed=seed), "filter": setup.filter}
    flat = {"exposure": setup.flat_exposure, "lamp": setup.lamp, "filter": setup.filter}
    wanted = {
        "bias": {},
        "dark": {"exposure": setup.light_exposure},
        "flat": flat,
        "flat dark": {"exposure": setup.flat_exposure},
        "light": light,
    }
    found: Frames = {}
    for number, (kind, settings) in enumerate(wanted.items()):
        settings = {"optics": setup.optics, "camera": camera, "count": setup.count, **settings}
        settings |= changes.get(kind.replace(" ", "_"), {})
        if "camera" in changes.get(kind.replace(" ", "_"), {}):
            settings["camera"] = replace(settings["camera"], seed=seed)
        stated = settings.pop("stated", {})
        temperature = settings.pop("temperature", None)
        made, count = settings.pop("camera"), settings.pop("count")
        start = 1000 * number
        if isinstance(temperature, tuple):
            parts = [
                simulate_stack(
                    made, 1, kind=kind, seed=seed, frame_index=start + i, temperature=t, **settings
                )
                for i, t in enumerate(np.linspace(*temperature, count))
            ]
            stack = xr.concat(parts, dim="frame", combine_attrs="override")
        else:
            stack = simulate_stack(
                made, count, kind=kind, seed=seed, frame_index=start, temperature=temperature, **settings
            )
        ones = {name: ("frame", np.full(count, value)) for name, value in stated.items()}
        found[kind.replace(" ", "_")] = stack.assign_coords(ones)
    return found


def sample_frames(night: Any, seed: int) -> Frames:
    """Stacks of a sample session, with other noise for every seed."""
    found: Frames = {}
    index = 0
    for group in night.frames:
        scene = {"light": {"sky": night.sky}, "flat": {"lamp": night.lamp}}.get(group.kind, {})
        temperature = (
            group.temperature
            if not isinstance(group.temperature, tuple)
            else float(np.mean(group.temperature))
        )
        settings = {"exposure": group.exposure, "filter": group.filter, "optics": night.optics, **scene}
        found[group.kind.replace(" ", "_")] = simulate_stack(
            night.camera,
            group.count,
            kind=group.kind,
            seed=seed,
            frame_index=index,
            temperature=temperature,
            **settings,
        )
        index += group.count
    return found


def calibrated(frames: Frames, **options: Any) -> xr.Dataset:
    """The first light, calibrated by calibkit with masters of the frames."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibkitWarning)
        bias = calibkit.master_bias(frames["bias"])
        dark = calibkit.master_dark(frames["dark"], bias=bias) if options.pop("dark", True) else None
        flat = calibkit.master_flat(frames["flat"], bias=bias)
        return calibkit.calibrate(frames["light"][0], bias=bias, dark=dark, flat=flat, **options)


# the faults: (setup, seed, strength) → keywords of `diagnose`


def _clipped(setup: Setup, seed: int, strength: float) -> Frames:
    frames = frames_of(setup, seed)
    result = calibrated(frames)
    period = setup.camera.cfa.period[0]
    sites = [
        result.isel(y=slice(i, None, period), x=slice(j, None, period)) for i, j in np.ndindex(period, period)
    ]
    faint = min(sites, key=lambda site: float(site.signal.median()))  # the faintest colour decides
    sky, noise = float(faint.signal.median()), float(np.sqrt(faint.variance.median()))
    return {"result": result.assign(signal=result.signal.clip(min=sky - strength * noise))}


def _bias_twice(setup: Setup, seed: int, strength: float) -> Frames:
    frames = frames_of(setup, seed)
    bias = frames["bias"].mean("frame").round().astype("i4")
    dark = frames["dark"].astype("i4") - (strength * bias).round().astype("i4")
    return frames | {"dark": dark.transpose("frame", "y", "x").assign_attrs(frames["dark"].attrs)}


def _bias_twice_in_result(setup: Setup, seed: int, strength: float) -> Frames:
    frames = frames_of(setup, seed)
    result = calibrated(frames)
    wrong = result.signal - strength * setup.camera.offset
    return frames | {"result": result.assign(signal=wrong), "light": frames["light"][:1]}


def _bias_gone(setup: Setup, seed: int, strength: float) -> Frames:
    """Strength: lights, which the camera's driver has freed of the bias without saying so."""
    frames = frames_of(setup, seed)
    light = frames["light"][: int(strength)]
    return frames | {"light": (light.astype("i4") - int(setup.camera.offset)).assign_attrs(light.attrs)}


def _dark_scaled(setup: Setup, seed: int, strength: float) -> Frames:
    return frames_of(setup, seed) | {"dark_scale": strength}


def _dark_colder(setup: Setup, seed: int, strength: float) -> Frames:
    home = setup.camera.reference_temperature
    stated = {"temperature": home}
    return frames_of(setup, seed, dark={"temperature": home - strength, "stated": stated})


def _warming(setup: Setup, seed: int, strength: float) -> Frames:
    home = setup.camera.reference_temperature
    return frames_of(
        setup, seed, light={"temperature": (home - strength, home), "stated": {"temperature": home}}
    )


def _darks_warming(setup: Setup, seed: int, strength: float) -> Frames:
    """Strength: °C by which the darks warm up to the lights' temperature, which is what their headers say."""
    home = setup.camera.reference_temperature
    return frames_of(
        setup, seed, dark={"temperature": (home - strength, home), "stated": {"temperature": home}}
    )


def _offset_left(setup: Setup, seed: int, strength: float) -> Frames:
    frames = frames_of(setup, seed)
    sky = float(frames["light"].median() - frames["dark"].median())
    light = frames["light"].astype("i4") + round(strength / 100 * sky)
    return frames | {"light": light.assign_attrs(frames["light"].attrs)}


def _flat_offset_left(setup: Setup, seed: int, strength: float) -> Frames:
    frames = frames_of(setup, seed)
    level = float(frames["flat"].median())
    flat = frames["flat"].astype("i4") + round(strength / 100 * level)
    return frames | {"flat": flat.assign_attrs(frames["flat"].attrs)}


def _dust_moved(setup: Setup, seed: int, strength: float) -> Frames:
    moved = tuple(replace(speck, x=speck.x + strength, y=speck.y + strength) for speck in setup.optics.dust)
    return frames_of(setup, seed, flat={"optics": replace(setup.optics, dust=moved)})


def _flat_bright(setup: Setup, seed: int, strength: float) -> Frames:
    """Strength: brightest channel of the flat, per cent of saturation."""
    shares = setup.camera.shares(setup.lamp.spectrum, setup.filter)
    full = (setup.camera.saturation - setup.camera.offset) * setup.camera.gain
    rate = (strength * setup.camera.saturation / 100 - setup.camera.offset) * setup.camera.gain
    rate = max(rate, 0.01 * full) / max(shares.values()) / setup.flat_exposure
    return frames_of(setup, seed, flat={"lamp": replace(setup.lamp, rate=rate)})


def _flat_dark_longer(setup: Setup, seed: int, strength: float) -> Frames:
    stated = {"exposure": setup.flat_exposure}
    return frames_of(setup, seed, flat_dark={"exposure": strength * setup.flat_exposure, "stated": stated})


def _glow(setup: Setup, seed: int, strength: float) -> Frames:
    """Strength: share of the lights' glow that is missing in the darks."""
    camera = replace(setup.camera, glow_rate=setup.camera.glow_rate * (1 - strength))
    return frames_of(setup, seed, dark={"camera": camera})


def _gradient(setup: Setup, seed: int, strength: float) -> Frames:
    return frames_of(replace(setup, sky=replace(setup.sky, gradient=strength / 100)), seed)


def _leak(setup: Setup, seed: int, strength: float) -> Frames:
    """Strength: light leak over dark current at the edge."""
    leak = replace(setup.optics, light_leak=strength * setup.camera.dark_current)
    return frames_of(setup, seed, dark={"optics": leak})


def _row_noise(setup: Setup, seed: int, strength: float) -> Frames:
    frames = frames_of(setup, seed)
    noise = float((frames["light"][0].astype(float) - frames["light"][1]).std()) / np.sqrt(2)
    camera = replace(setup.camera, row_noise=strength / 100 * min(noise, 60.0))
    return frames | {"light": frames_of(setup, seed, light={"camera": camera})["light"]}


def _rounded_flat(setup: Setup, seed: int, strength: float) -> Frames:
    frames = frames_of(setup, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibkitWarning)
        flat = calibkit.master_flat(frames["flat"], bias=calibkit.master_bias(frames["bias"]))
    coarse = (np.floor(flat.signal / strength) * strength).astype("f4")
    return frames | {"flat": flat.assign(signal=coarse)}


def _few_frames(setup: Setup, seed: int, strength: float) -> Frames:
    frames = frames_of(replace(setup, count=int(strength)), seed)
    return frames | {"combine": {"reject": "mean_sigma", "low": 3.0, "high": 3.0}}


def _pattern_off(setup: Setup, seed: int, strength: float) -> Frames:
    """Strength: red photons for each blue one. The pattern that is stated lies one column off."""
    setup = SETUPS["bayer"]
    lines = Spectrum(lines=((600.0, strength), (530.0, 1.0), (460.0, 1.0)))
    lamp, sky = replace(setup.lamp, spectrum=lines), replace(setup.sky, spectrum=lines)
    frames = frames_of(replace(setup, lamp=lamp, sky=sky), seed)
    return {kind: stack.assign_attrs(cfa="GRBG") for kind, stack in frames.items()}


def _colours_swapped(setup: Setup, seed: int, strength: float) -> Frames:
    """Strength: light in the flats, in per cent of the usual. Behind Hα; red and blue are stated the other way round."""
    setup = SETUPS["bayer"]
    lamp = replace(setup.lamp, rate=setup.lamp.rate * strength / 100, spectrum="h-alpha")
    frames = frames_of(replace(setup, lamp=lamp, filter="Ha"), seed)
    return {kind: stack.assign_attrs(cfa="BGGR") for kind, stack in frames.items() if kind != "light"}


def _mixed_iso(setup: Setup, seed: int, strength: float) -> Frames:
    """Strength: darks of another ISO."""
    frames = frames_of(setup, seed)
    iso = np.full(setup.count, 800.0)
    darks = iso.copy()
    darks[: int(strength)] = 1600.0
    named = {kind: stack.assign_coords(gain_setting=("frame", iso)) for kind, stack in frames.items()}
    return named | {"dark": frames["dark"].assign_coords(gain_setting=("frame", darks))}


def _other_gain(setup: Setup, seed: int, strength: float) -> Frames:
    """Strength: gain of the darks over that of the lights."""
    camera = replace(setup.camera, gain=setup.camera.gain * strength)
    return frames_of(setup, seed, dark={"camera": camera})


def _binned(setup: Setup, seed: int, strength: float) -> Frames:
    """Strength: binning of the darks, of a camera that keeps the size of the frame by reading a part of the sensor."""
    frames = frames_of(setup, seed)
    return frames | {"dark": frames["dark"].assign_attrs(binning=(int(strength),) * 2)}


def _hot_left(setup: Setup, seed: int, strength: float) -> Frames:
    """Strength: hot pixels of a million, no dark."""
    camera = replace(setup.camera, hot_fraction=strength / 1e6, hot_rate=40.0, hot_spread=0.3)
    changed = replace(setup, camera=camera)
    return {"result": calibrated(frames_of(changed, seed), dark=False)}


def _cloud(setup: Setup, seed: int, strength: float) -> Frames:
    frames = frames_of(setup, seed)
    light = frames["light"].values.astype("i4")
    light[2] -= np.round(strength / 100 * (light[2] - frames["dark"].values.mean())).astype("i4")
    return frames | {"light": frames["light"].copy(data=light)}


def _odd_dark(setup: Setup, seed: int, strength: float) -> Frames:
    frames = frames_of(setup, seed)
    dark = frames["dark"].values.astype("i4")
    dark[3] += round(strength / 100 * setup.camera.read_noise / setup.camera.gain)
    return frames | {"dark": frames["dark"].copy(data=dark)}


def _wrong_gain(setup: Setup, seed: int, strength: float) -> Frames:
    return frames_of(setup, seed) | {"gain": setup.camera.gain * strength}


def _other_night(setup: Setup, seed: int, strength: float) -> Frames:
    frames = frames_of(setup, seed)
    hours = np.timedelta64(round(strength * 3600), "s")
    return frames | {"flat": frames["flat"].assign_coords(time=frames["flat"].time - hours)}


@dataclass(frozen=True)
class Fault:
    """A fault, the test that has to name it, and strengths from next to nothing to plain; *clear* is for tests."""

    make: Callable[[Setup, int, float], Frames]
    test: str
    unit: str
    strengths: tuple[float, ...]
    clear: float


FAULTS: dict[str, Fault] = {
    "background clipped": Fault(_clipped, "background clipped", "σ below the sky", (4, 3.5, 3, 2.5, 2, 0), 2),
    "bias gone from the dark already": Fault(
        _bias_twice, "bias level", "of the bias", (0.05, 0.3, 0.6, 1), 1
    ),
    "bias twice in the result": Fault(
        _bias_twice_in_result, "bias level", "of the bias", (0.01, 0.05, 0.2, 1), 1
    ),
    "bias gone from the lights already": Fault(_bias_gone, "flat correction", "lights", (1, 2, 3, 8), 1),
    "bias gone from the lights already (noise)": Fault(_bias_gone, "noise", "lights", (1, 2, 3, 8), 2),
    "dark multiplied": Fault(_dark_scaled, "dark strength", "×", (1.02, 1.05, 1.1, 1.2, 0.8, 0.5), 1.2),
    "dark colder than it says": Fault(_dark_colder, "dark temperature", "°C", (0.5, 1, 2, 4, 7), 3),
    "lights warming up": Fault(_warming, "temperature drift", "°C", (0.5, 1, 2, 4, 8), 4),
    "offset left in the light": Fault(
        _offset_left, "flat correction", "% of the sky", (2, 4, 6, 10, 20, -10), 15
    ),
    "offset left in the light (shading)": Fault(
        _offset_left, "flat shading", "% of the sky", (2, 4, 6, 10, 20, -10), 15
    ),
    "offset left in the flat": Fault(
        _flat_offset_left, "flat correction", "% of the flat", (2, 4, 6, 10, 20), 15
    ),
    "dust moved": Fault(_dust_moved, "flat shadows", "pixels", (1, 3, 6, 10, 20), 15),
    "flat too bright": Fault(_flat_bright, "flat exposure", "% of saturation", (70, 82, 90, 100, 120), 105),
    "flat dark longer than it says": Fault(
        _flat_dark_longer, "flat dark", "× the flat", (1.2, 1.5, 2, 4, 10), 5
    ),
    "glow missing in the dark": Fault(_glow, "amp glow", "of the glow", (0.05, 0.1, 0.2, 0.3, 0.5), 0.4),
    "sky gradient": Fault(_gradient, "gradient", "%", (15, 25, 35, 50, 80), 60),
    "light in the darks": Fault(_leak, "light leak", "× the dark current", (0.1, 0.3, 0.5, 1, 3), 3),
    "rows shifted": Fault(_row_noise, "banding", "% of the noise", (5, 10, 15, 20, 40), 25),
    "flat rounded": Fault(_rounded_flat, "fractions", "step", (0.0005, 0.002, 0.004, 0.02, 1), 0.02),
    "too few for 3 σ": Fault(_few_frames, "rejection", "frames", (12, 11, 10, 5), 10),
    "pattern one column off": Fault(
        _pattern_off, "colour pattern", "red photons for a blue one", (1, 1.2, 1.5, 2, 4), 3
    ),
    "red and blue exchanged behind Hα": Fault(
        _colours_swapped, "colour pattern", "% of the usual light", (0.01, 0.1, 1, 10, 100), 50
    ),
    "darks of another ISO": Fault(_mixed_iso, "mixed settings", "frames", (1, 4, 8), 4),
    "hot pixels left": Fault(_hot_left, "hot pixels", "of a million", (10, 30, 100, 300, 1000), 500),
    "cloud in one light": Fault(_cloud, "odd frames", "%", (5, 10, 20, 50), 25),
    "offset of one dark": Fault(_odd_dark, "odd frames", "% of the read noise", (25, 50, 100, 300), 200),
    "gain stated wrongly": Fault(_wrong_gain, "noise", "×", (1.1, 1.3, 2, 4, 0.5), 2),
    "flats of another night": Fault(_other_night, "flat night", "h", (12, 30, 72, 500), 72),
    "darks warming up": Fault(_darks_warming, "temperature drift", "°C", (0.5, 1, 2, 4, 8), 4),
    "darks of another gain": Fault(_other_gain, "mixed settings", "×", (1.005, 1.02, 1.1, 2), 1.1),
    "darks of another binning": Fault(_binned, "mixed settings", "× each side", (1, 2, 3), 2),
}


def diagnosed(frames: Frames, **options: Any) -> calibkit.Diagnosis:
    """`calibkit.diagnose` of frames by name."""
    return calibkit.diagnose(**frames, **options)


def alarms(found: calibkit.Diagnosis) -> list[str]:
    """Names of the tests that call something suspect or a fault."""
    return list(dict.fromkeys(finding.name for finding in found if finding.verdict in ("suspect", "fault")))


def any_setup(seed: int) -> Setup:
    """A camera, optics and a night by chance: from dark to bright sky, few to many frames, hardly to strongly dusty."""
    rng = np.random.default_rng(seed)
    pattern = str(rng.choice(["", "RGGB", "GBRG", "GMCY", X_TRANS]))
    shape = (390, 486) if pattern == X_TRANS else (int(rng.integers(200, 320)), int(rng.integers(240, 400)))
    gain, exposure = float(10 ** rng.uniform(-0.5, 0.5)), float(rng.choice([30.0, 120.0, 600.0]))
    full = 60_000.0 * gain
    camera = Camera(
        shape=shape,
        pattern=pattern,
        gain=gain,
        read_noise=float(gain * rng.uniform(1.5, 9)),
        offset=float(rng.uniform(200, 1500)),
        dark_current=float(10 ** rng.uniform(-2, 0.5)) * gain,
        dark_spread=float(rng.uniform(0.05, 0.4)),
        hot_fraction=float(10 ** rng.uniform(-4, -2)),
        hot_rate=float(10 ** rng.uniform(0, 1.5)),
        glow_rate=float(rng.choice([0.0, 0.3, 1.0])),
        glow_size=float(rng.uniform(20, 50)),
        sensitivity_spread=float(rng.uniform(0.002, 0.015)),
        full_well=full,
        bit_depth=16,
    )
    sky = float(10 ** rng.uniform(1.5, 3.7)) * gain / exposure * (3 if pattern else 1)
    dust = random_dust(
        int(rng.integers(0, 14)), shape, depth=float(rng.uniform(0.01, 0.1)), radius=10.0, seed=seed
    )
    return Setup(
        camera=camera,
        optics=Optics(vignetting=float(rng.uniform(0.0, 0.35)), dust=dust),
        sky=Sky(
            background=sky,
            gradient=float(rng.uniform(0, 0.12)),
            gradient_angle=float(rng.uniform(0, 360)),
            n_stars=int(rng.integers(0, 250)),
            seed=seed,
        ),
        lamp=Lamp(rate=float(rng.uniform(0.25, 0.6)) * full / 2 * (2 if pattern else 1), spectrum="white"),
        light_exposure=exposure,
        count=int(rng.integers(4, 16)),
    )


CLEAN: dict[str, Callable[[int], Frames]] = {
    **{name: partial(frames_of, setup) for name, setup in SETUPS.items()},
    "any": lambda seed: frames_of(any_setup(seed), seed),
    "sample ccd": lambda seed: sample_frames(ccd_night(), seed),
    "sample dslr": lambda seed: sample_frames(dslr_night(), seed),
    "mono, calibrated": lambda seed: _with_result(SETUPS["mono"], seed),
    "bayer, calibrated": lambda seed: _with_result(SETUPS["bayer"], seed),
}


def _with_result(setup: Setup, seed: int) -> Frames:
    frames = frames_of(setup, seed)
    return frames | {"result": calibrated(frames), "light": frames["light"][:1]}


def clean_table(runs: int, names: Sequence[str]) -> list[str]:
    """False alarms by camera."""
    lines = ["| clean session | runs | with any alarm | by test |", "|--|--|--|--|"]
    total = bad = 0
    for name in names:
        counts: Counter[str] = Counter()
        hit = 0
        for seed in range(1, runs + 1):
            raised = alarms(diagnosed(CLEAN[name](seed)))
            counts.update(raised)
            hit += bool(raised)
        total, bad = total + runs, bad + hit
        lines.append(
            f"| {name} | {runs} | {hit} | {', '.join(f'{k} {v}' for k, v in counts.items()) or '–'} |"
        )
        print(lines[-1], flush=True)
    most = 100 * stats.beta.ppf(0.95, bad + 1, max(total - bad, 1))  # Clopper & Pearson 1934
    lines.append(
        f"| all | {total} | {bad} ({100 * bad / max(total, 1):.1f} %, below {most:.2f} % at 95 % confidence) | |"
    )
    return lines


def fault_table(runs: int, names: Sequence[str]) -> list[str]:
    """Detection rate by strength; the cameras take turns."""
    lines = ["| fault | named by | strength → detected |", "|--|--|--|"]
    for name in names:
        fault = FAULTS[name]
        cells = []
        for strength in fault.strengths:
            hits = 0
            for seed in range(1, runs + 1):
                setup = list(SETUPS.values())[seed % len(SETUPS)]
                hits += fault.test in alarms(
                    diagnosed(fault.make(setup, seed, strength), checks=[fault.test])
                )
            cells.append(f"{strength:g}: {100 * hits / runs:.0f} %")
        lines.append(f"| {name} ({fault.unit}) | {fault.test} | {', '.join(cells)} |")
        print(lines[-1], flush=True)
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both tables, and write them when a file is named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=12, help="runs for each strength of each fault")
    parser.add_argument("--clean", type=int, default=60, help="clean sessions for each camera")
    parser.add_argument("--fault", nargs="*", default=list(FAULTS), choices=list(FAULTS), metavar="NAME")
    parser.add_argument("--camera", nargs="*", default=list(CLEAN), choices=list(CLEAN), metavar="NAME")
    parser.add_argument("--out", type=Path, help="write the tables there as Markdown")
    chosen = parser.parse_args(arguments)
    start = time.monotonic()
    parts = []
    if chosen.runs:
        parts.append(fault_table(chosen.runs, chosen.fault))
    if chosen.clean:
        parts.append(clean_table(chosen.clean, chosen.camera))
    print(f"{time.monotonic() - start:.0f} s", file=sys.stderr)
    if chosen.out:
        chosen.out.write_text("\n\n".join("\n".join(part) for part in parts) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
