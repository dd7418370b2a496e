"""ComparePanel and the image viewer without a page: settings, values, static picture, code, refusals."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import traitlets
import xarray as xr
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from PIL import Image as Pictures

from calibkit import flags
from calibkit.display.comparing import difference
from calibkit.display.stretch import Levels, stretch
from calibkit.errors import MismatchError, SettingError
from calibkit.panels import ComparePanel, ImageView
from tests.unit.test_panels_figure import Page


def frame(pixels: np.ndarray, **attrs: object) -> xr.DataArray:
    coords = {"y": np.arange(pixels.shape[0]), "x": np.arange(pixels.shape[1])}
    return xr.DataArray(pixels, coords, ("y", "x"), attrs={"units": "adu", "roworder": "TOP-DOWN", **attrs})


@pytest.fixture
def before() -> xr.DataArray:
    rng = np.random.default_rng(4)
    return frame(rng.normal(1000, 10, (300, 400)).round().astype(np.uint16), cfa="RGGB")


@pytest.fixture
def after(before: xr.DataArray) -> xr.Dataset:
    signal = before.astype(np.float32) - 950.25
    signal.attrs = before.attrs
    variance = xr.full_like(signal, 4.0)
    marks = xr.zeros_like(before)
    marks.values[7, 9] = flags.HOT | flags.REPAIRED
    return xr.Dataset({"signal": signal, "variance": variance, "flags": marks}, attrs={"units": "adu"})


@pytest.fixture
def panel(before: xr.DataArray, after: xr.Dataset) -> ComparePanel:
    return ComparePanel(before, after)


def test_what_a_page_is_sent(panel: ComparePanel) -> None:
    page = Page(panel.view)
    reply = page.open()
    assert [layer["name"] for layer in reply["facts"]["layers"]] == ["before", "after"]
    assert reply["facts"]["channels"] == ["mosaic", "colour", "R", "G1", "G2", "B"]
    page.changes(
        calls=[["viewport", {"region": [10, 30, 40, 60], "width": 900, "height": 600, "screen": 45}]]
    )
    assert panel.errors.text == ""
    assert panel.state.region == (10.0, 30.0, 40.0, 60.0)
    # The page knows its own region: it is not told, or the two would chase each other.
    assert all(message["not_to"] == "v1" for message, _ in page.take("settings"))
    data = panel.view._sources["views"].data
    codes, (offset, scale, _, _) = data["codes"][0], data["scales"][0][0]
    x0, y0 = round(data["x0"][0] + 0.5), round(data["y0"][0] + 0.5)
    np.testing.assert_array_equal(
        offset + scale * codes[0].astype(float),
        panel.view.frames[0].image.values[y0 : y0 + codes.shape[1], x0 : x0 + codes.shape[2]],
    )
    # So few pixels that their numbers are written into them.
    numbers = panel.view._sources["numbers"].data
    at = [i for i, (x, y) in enumerate(zip(numbers["x"], numbers["y"], strict=True)) if (x, y) == (15, 50)]
    value = int(panel.view.frames[0].image.values[50, 15])
    assert numbers["text0"][at[0]] == str(value)
    assert numbers["text1"][at[0]] == f"{value - 950.25:g}"
    assert numbers["text2"][at[0]] == "−950.25"
    page.changes(calls=[["viewport", {"region": None, "width": 90, "height": 60, "screen": 0.2}]])
    assert panel.state.region is None
    assert len(panel.view._sources["numbers"].data["x"]) == 0
    assert panel.view._sources["views"].data["block"] == [5, 5]


def test_nothing_is_sent_again_for_the_same_view(panel: ComparePanel) -> None:
    page = Page(panel.view)
    page.open()
    content = {"region": [10, 200, 40, 160], "width": 900, "height": 600, "screen": 4}
    page.changes(calls=[["viewport", content]])
    page.take("patch")
    page.changes(calls=[["viewport", content]])
    assert page.take("patch") == []


def test_a_click_tells_exact_values_noise_and_flags(panel: ComparePanel) -> None:
    page = Page(panel.view)
    page.open()
    heard = []
    panel.view.on_pick(lambda y, x: heard.append((y, x)))
    page.changes(calls=[["pick", {"x": 9.3, "y": 6.8}]])
    assert panel.errors.text == ""
    value = int(panel.view.frames[0].image.values[7, 9])
    assert panel.state.pixel == (7, 9)
    assert heard == [(7, 9)]
    assert panel.view._facts["picked"] == (
        f"x 9  y 7 (B)   before {value} ADU   after {value - 950.25:g} ± 2 ADU [hot, repaired]"
        "   difference −950.25 ADU"
    )
    page.changes(calls=[["pick", {"x": -50, "y": 0}]])
    assert panel.state.pixel == (7, 9)


def test_channel_and_reduction_make_new_views(panel: ComparePanel) -> None:
    panel.state.channel = "R"
    red = panel.view._sources["views"].data
    assert len(red["codes"][0]) == 1
    auto = panel.view._layers[0].auto["mtf"]
    assert auto.black == pytest.approx(1000 - 28, abs=3)
    panel.state.channel = "colour"
    assert len(panel.view._sources["views"].data["codes"][0]) == 3
    assert len(panel.view._facts["layers"][0]["balance"]) == 3
    with pytest.raises(SettingError, match=r"'E': there are mosaic, colour, R"):
        panel.state.channel = "E"


def test_another_image_in_place_of_one(panel: ComparePanel, before: xr.DataArray) -> None:
    panel.state.region = (10.0, 60.0, 10.0, 60.0)
    brighter = (before + np.uint16(500)).assign_attrs(before.attrs)
    panel.view.show(brighter, layer=1)
    data = panel.view._sources["views"].data
    assert data["scales"][1][0][0] == data["scales"][0][0][0] + 500
    assert panel.state.region == (10.0, 60.0, 10.0, 60.0)
    assert float(panel.result.mean()) == 500.0


@pytest.mark.parametrize("mode", ["before", "after", "split", "side by side", "difference"])
def test_static_picture(panel: ComparePanel, mode: str) -> None:
    panel.state.mode = mode
    InteractiveShell.instance()  # without a shell there is nothing to be shown in
    with capture_output() as captured:
        panel._ipython_display_()
    bundle, static = (output.data for output in captured.outputs)
    assert bundle["text/plain"] == "ComparePanel(before 300 × 400 and after 300 × 400)"
    assert "application/vnd.jupyter.widget-view+json" in bundle
    picture = Pictures.open(io.BytesIO(base64.b64decode(static["image/png"])))
    assert picture.width >= 400
    shades = set(picture.convert("L").tobytes())
    # The two differ by the same everywhere: the lightest colour in the middle of the map.
    assert min(shades) > 240 if mode == "difference" else len(shades) > 10


def test_static_picture_shows_the_stretch(before: xr.DataArray) -> None:
    levels = (900.0, 1200.0, 0.3)
    view = ImageView(before, levels=levels, curve="asinh", region=(10, 21, 10, 21))
    shown = view.picture(48, 48)
    wanted = np.round(255 * stretch(before.values[10:22, 10:22], *levels, curve="asinh"))
    assert view.levels() == Levels(*levels)
    np.testing.assert_array_equal(shown[::4, ::4, 0], wanted)


def test_rows_of_fits_run_upward(before: xr.DataArray) -> None:
    gradient = frame(np.repeat(np.arange(50.0)[:, None], 60, 1), roworder="BOTTOM-UP")
    view = ImageView(gradient, curve="linear")
    shown = view.picture(60, 50)[:, :, 0].mean(axis=1)
    assert shown[0] > shown[-1]
    assert view.figure.y_range.start < view.figure.y_range.end
    downward = ImageView(before)
    assert downward.figure.y_range.start > downward.figure.y_range.end


def test_code_makes_the_result_again(before: xr.DataArray, after: xr.Dataset) -> None:
    panel = ComparePanel(before, after, mode="difference", region=(20.0, 60.0, 30.0, 50.0), curve="asinh")
    names = {"before": before, "after": after}
    exec(panel.code, names)  # noqa: S102
    xr.testing.assert_identical(names["result"], panel.result)
    assert names["result"].shape == (21, 41)
    assert panel._code.code == panel.code
    panel.state.split = 0.125
    assert "split=0.125" in panel._code.code


def test_images_of_different_units(before: xr.DataArray, after: xr.Dataset) -> None:
    electrons = after["signal"].assign_attrs(units="electron")
    panel = ComparePanel(before, electrons)
    page = Page(panel.view)
    facts = page.open()["facts"]
    assert facts["difference"] is None
    assert facts["no_difference"] == "there is no difference of images in different units (ADU and e⁻)"
    panel.view.pick(5, 5)
    assert "difference" not in panel.view._facts["picked"]
    with pytest.raises(SettingError, match="adu and electron have no difference"):
        panel.state.mode = "difference"
    assert panel.state.mode == "split"
    page.changes(settings={"mode": "difference"})
    assert "no difference" in panel.errors.text
    assert page.take("settings")[-1][0]["settings"] == {"mode": "split"}
    with pytest.raises(SettingError, match="no difference"):
        ComparePanel(before, electrons, mode="difference")


def test_values_carry_the_unit_of_what_is_shown(before: xr.DataArray) -> None:
    view = ImageView(before)
    assert view._plots[0].plot.xaxis.axis_label == "value (ADU)"
    view.show((before / 1000.0).assign_attrs(before.attrs | {"units": "1"}))
    assert view._plots[0].plot.xaxis.axis_label == "value"
    view.show(before)
    assert view._plots[0].plot.xaxis.axis_label == "value (ADU)"


def test_a_crop_lies_where_it_belongs(before: xr.DataArray) -> None:
    crop = before[100:200, 50:250]
    panel = ComparePanel(before, crop, mode="difference")
    assert panel.result.shape == (100, 200)
    assert not panel.result.any()
    panel.view.pick(10, 10)
    assert "after no such pixel" in panel.view._facts["picked"]


def test_paths_are_opened(tmp_path: Path, before: xr.DataArray) -> None:
    from astropy.io import fits

    files = []
    for name, offset in (("a", 0), ("b", 40)):
        files.append(tmp_path / f"{name}.fits")
        fits.PrimaryHDU((before.values + np.uint16(offset)).astype(np.uint16)).writeto(files[-1])
    panel = ComparePanel(*files)
    assert float(panel.result.mean()) == 40.0
    names: dict[str, object] = {}
    exec(panel.code, names)  # noqa: S102
    xr.testing.assert_identical(names["result"], panel.result)


def test_memory_of_lazy_frames_is_given_back_when_nobody_looks(before: xr.DataArray) -> None:
    panel = ComparePanel(before.chunk({"y": 50}), before.chunk({"y": 50}))
    page = Page(panel.view)
    page.open("v1")
    page.receive({"type": "closed", "view": "v1"})
    assert all(f._kept is None for f in panel.view.frames)
    page.open("v2")
    page.changes(
        "v2", calls=[["viewport", {"region": [0, 50, 0, 40], "width": 900, "height": 600, "screen": 9}]]
    )
    assert panel.errors.text == ""
    panel.close()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda b: ComparePanel(b, b, mod="split"), TypeError, "no setting 'mod'"),
        (lambda b: ComparePanel(b, b, mode="blink"), traitlets.TraitError, "mode"),
        (lambda b: ComparePanel(b, b, channel="Y"), SettingError, "channel 'Y'"),
        (lambda b: ComparePanel(b.expand_dims("frame"), b), SettingError, "isel"),
        (lambda b: ImageView(), SettingError, "0 images"),
        (lambda b: ImageView(b, colour="red"), TypeError, "no setting 'colour'"),
    ],
)
def test_refusals(make: object, error: type[Exception], message: str, before: xr.DataArray) -> None:
    with pytest.raises(error, match=message):
        make(before)


def test_difference_of_what_cannot_be_compared(before: xr.DataArray) -> None:
    with pytest.raises(MismatchError, match="adu and electron"):
        difference(before, before.assign_attrs(units="electron"))
    with pytest.raises(MismatchError, match="RGGB and mono"):
        difference(before, before.assign_attrs(cfa=""))
    with pytest.raises(MismatchError, match="no sensor pixel in common"):
        difference(before[:50], before[100:])
    lazy = difference(before.chunk(), before)
    assert lazy.chunks is not None
    assert lazy.dtype == np.float32
