"""What the page makes of codes is what Python says: values, stretches, colours, clipped shares."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser

import calibkit
from calibkit.display.codes import encode
from calibkit.display.stretch import CURVES, PALETTES, Levels, colours, picture, quantiles, stretch
from calibkit.panels.image_plots import number

SCRIPT = (Path(calibkit.__file__).parent / "panels" / "pixels.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def js(browser: Browser) -> Iterator[Callable[..., Any]]:
    """``js(body, argument)`` runs a function body on a blank page, beside ``pixels.js``."""
    page = browser.new_page()
    yield lambda body, argument=None: page.evaluate(f"(given) => {{ {SCRIPT}\n{body} }}", argument)
    page.close()


@pytest.fixture(scope="module")
def values() -> np.ndarray:
    """A noisy sky with stars a thousand times brighter, and a hole."""
    rng = np.random.default_rng(5)
    made = rng.normal(500, 10, (40, 50))
    made[::7, ::9] += rng.exponential(30_000, made[::7, ::9].shape)
    made[3, 4] = math.nan
    return made.astype(np.float32)


def scale_of(scale: Any) -> list[float]:
    return [scale.offset, scale.scale, scale.start, scale.step]


def test_values_of_codes(js: Callable, values: np.ndarray) -> None:
    for array in (values, np.arange(0, 60_000, 7)):
        codes, scale = encode(array)
        script = "const v = valuesOf(given[0]); return given[1].map((c) => v[c]);"
        found = js(script, [scale_of(scale), codes.ravel().tolist()])
        np.testing.assert_allclose(found, scale.values(codes).ravel(), rtol=1e-6)


@pytest.mark.parametrize("curve", CURVES)
@pytest.mark.parametrize("palette", PALETTES)
def test_colours_of_one_plane(js: Callable, values: np.ndarray, curve: str, palette: str) -> None:
    codes, scale = encode(values)
    levels = Levels(480.0, 20_000.0, 0.01)
    packed = (colours(palette).astype(np.int64) @ [1, 256, 65536]).tolist()
    script = """
      const [scale, levels, curve, palette, codes, width] = given;
      const table = coloursOf(valuesOf(scale), levels, curve, Uint32Array.from(palette, (c) => 0xff000000 | c), false);
      const out = new Uint32Array(codes.length);
      paintLayer(out, width, 0, width, { codes: [Uint16Array.from(codes)], tables: [table] });
      return [...out];"""
    found = js(
        script, [scale_of(scale), list(levels), curve, packed, codes.ravel().tolist(), values.shape[1]]
    )
    rgba = np.array(found, np.uint32).view(np.uint8).reshape(*values.shape, 4)
    wanted = picture(scale.values(codes)[None], levels, curve=curve, palette=palette)
    hole = wanted[..., 3] == 0
    assert (rgba[hole] == 0).all()
    # Half-way cases may be rounded either way: by one step of the map, no more.
    steps = np.abs(np.diff(colours(palette).astype(int), axis=0)).max()
    assert np.abs(rgba[~hole].astype(int) - wanted[~hole].astype(int)).max() <= steps
    assert (rgba[~hole] == wanted[~hole]).mean() > 0.99


def test_three_planes_side_by_side(js: Callable, values: np.ndarray) -> None:
    planes = [values, values * 0.5, values + 40]
    pairs = [encode(plane) for plane in planes]
    levels, balance = Levels(100.0, 900.0, 0.3), [[1.0, 0.0], [2.0, 0.0], [1.0, -40.0]]
    script = """
      const [scales, levels, balance, codes, width, from] = given;
      const tables = scales.map((scale, p) => shadesOf(valuesOf(scale), levels, "mtf", balance[p]));
      const out = new Uint32Array(codes[0].length);
      paintLayer(out, width, from, width, { codes: codes.map((c) => Uint16Array.from(c)), tables });
      return [...out];"""
    codes = [pair[0].ravel().tolist() for pair in pairs]
    scales = [scale_of(scale) for _, scale in pairs]
    found = js(script, [scales, list(levels), balance, codes, values.shape[1], 20])
    rgba = np.array(found, np.uint32).view(np.uint8).reshape(*values.shape, 4)
    assert not rgba[:, :20].any()
    shown = np.stack(
        [scale.values(c) * gain + shift for (c, scale), (gain, shift) in zip(pairs, balance, strict=True)]
    )
    wanted = picture(shown, levels, curve="mtf")
    assert np.abs(rgba[:, 20:].astype(int) - wanted[:, 20:].astype(int)).max() <= 1
    assert rgba[3, 4].tolist() == [0, 0, 0, 0]


def test_difference(js: Callable, values: np.ndarray) -> None:
    after = values * np.float32(0.9) + 30
    (before_codes, before_scale), (after_codes, after_scale) = encode(values), encode(after)
    packed = (colours(PALETTES[-1]).astype(np.int64) @ [1, 256, 65536]).tolist()
    script = """
      const [scales, codes, levels, palette] = given;
      const layers = scales.map((s, i) => ({ codes: [Uint16Array.from(codes[i])], values: [valuesOf(s)] }));
      const out = new Uint32Array(codes[0].length);
      paintDifference(out, ...layers, levels, Uint32Array.from(palette, (c) => 0xff000000 | c));
      return [...out];"""
    codes = [before_codes.ravel().tolist(), after_codes.ravel().tolist()]
    scales = [scale_of(before_scale), scale_of(after_scale)]
    found = js(script, [scales, codes, [-40, 0, 0.5], packed])
    rgba = np.array(found, np.uint32).view(np.uint8).reshape(*values.shape, 4)
    shown = after_scale.values(after_codes) - before_scale.values(before_codes)
    wanted = picture(shown[None], Levels(-40, 0), palette=PALETTES[-1])
    assert np.abs(rgba.astype(int) - wanted.astype(int)).max() <= 4
    assert not rgba[3, 4].any()


def test_what_is_clipped_is_marked_and_told(js: Callable, values: np.ndarray) -> None:
    codes, scale = encode(values)
    black, white = 485.0, 530.0
    script = """
      const [scale, levels, codes] = given;
      const table = coloursOf(valuesOf(scale), levels, "linear", new Uint32Array(256), true);
      return codes.map((c) => table[c]);"""
    found = np.array(js(script, [scale_of(scale), [black, white, 0.5], codes.ravel().tolist()]), np.uint32)
    back = scale.values(codes).ravel()
    np.testing.assert_array_equal(found == 0xFFFF6B2B, back <= black)
    np.testing.assert_array_equal(found == 0xFF1A8CFF, back >= white)
    table = [part.tolist() for part in quantiles(values)]
    for low, high in ((485.0, 530.0), (400.0, 1e6), (500.0, 500.1)):
        below, above = js("return clippedOf(...given);", [table, low, high])
        assert below == pytest.approx(np.nanmean(values <= low), abs=0.01)
        assert above == pytest.approx(1 - np.nanmean(values <= high), abs=0.01)


def test_numbers_read_the_same_in_both(js: Callable) -> None:
    for value in (0.0, 7.0, -12.0, 65535.0, 1013.456789, -0.000123456, 0.95712345, 123456.7):
        assert js("return textOf(given);", value) == number(value)


@pytest.mark.parametrize("curve", CURVES)
def test_curves(js: Callable, curve: str) -> None:
    x = np.linspace(0, 1, 101)
    for midtone in (0.002, 0.2, 0.5, 0.8):
        found = js("return given[0].map(curveOf(given[1], given[2]));", [x.tolist(), curve, midtone])
        np.testing.assert_allclose(found, stretch(x, 0, 1, midtone, curve=curve), atol=1e-9)
