"""Patterns, phases and the ``.cfa`` accessor: names, views and refusals."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from calibkit.cfa import Pattern, channel_index, pattern_of
from calibkit.errors import SettingError

XTRANS = "GGRGGB/GGBGGR/BRGRBG/GGBGGR/GGRGGB/RBGBRG"


def frame(
    text: str, y0: int = 0, x0: int = 0, shape: tuple[int, int] = (6, 8), **more: object
) -> xr.DataArray:
    ny, nx = shape
    return xr.DataArray(
        np.arange(ny * nx, dtype="u2").reshape(ny, nx),
        dims=("y", "x"),
        coords={"y": np.arange(y0, y0 + ny), "x": np.arange(x0, x0 + nx)},
        attrs={"cfa": text, **more},
    )


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("RGGB", [["R", "G1"], ["G2", "B"]]),
        ("BGGR", [["B", "G2"], ["G1", "R"]]),
        ("GRBG", [["G1", "R"], ["B", "G2"]]),
        ("GBRG", [["G2", "B"], ["R", "G1"]]),
    ],
)
def test_bayer_channels_are_named_by_the_rows_of_red(text: str, rows: list[list[str]]) -> None:
    pattern = Pattern(text)
    assert pattern.channels == ("R", "G1", "G2", "B")
    assert pattern.labels.tolist() == rows
    assert pattern.period == (2, 2)
    assert pattern.letters == (text[:2], text[2:])
    assert pattern.index.dtype == np.uint8
    assert [[pattern.channels[i] for i in row] for row in pattern.index] == rows


@pytest.mark.parametrize("text", ["", "mono", "MONO", " ", "L"])
def test_mono_is_the_one_by_one_case(text: str) -> None:
    pattern = Pattern(text)
    assert pattern == Pattern("")
    assert pattern.is_mono
    assert (pattern.text, pattern.period, pattern.channels, pattern.letters) == ("", (1, 1), ("L",), ("L",))
    assert pattern.label(7, 9) == "L"
    assert str(pattern) == "mono"


@pytest.mark.parametrize(
    ("text", "channels"),
    [
        ("GMYC", {"G", "M", "Y", "C"}),
        ("CYYM", {"C", "Y1", "Y2", "M"}),
        ("RGBE", {"R", "G", "B", "E"}),
        (XTRANS, {"R", "G", "B"}),
        (XTRANS.replace("/", ""), {"R", "G", "B"}),
        ("YC/GM/YC/MG", {"Y", "C", "G", "M"}),
    ],
)
def test_other_patterns(text: str, channels: set[str]) -> None:
    pattern = Pattern(text)
    assert set(pattern.channels) == channels
    assert len(pattern.sites) == len(set(pattern.site_names)) == np.prod(pattern.period)


def test_sites_of_a_larger_cell_are_counted_row_by_row() -> None:
    pattern = Pattern("YC/GM/YC/MG")
    assert pattern.sites == ((0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1), (3, 0), (3, 1))
    assert pattern.site_names == ("Y1", "C1", "G1", "M1", "Y2", "C2", "M2", "G2")


def test_a_repeating_cell_is_reduced() -> None:
    assert Pattern("rgrg/gbgb/rgrg/gbgb").text == "RGGB"
    assert Pattern("GRBG").shifted(0, 1) == Pattern("RGGB")
    assert Pattern(XTRANS).shifted(6, -6) == Pattern(XTRANS)
    assert len({Pattern("RGGB"), Pattern("rggb"), Pattern("RG/GB")}) == 1


@pytest.mark.parametrize(("text", "period"), [("BRBR", (1, 2)), ("BBRR", (2, 1)), ("RGB/RGB", (1, 3))])
def test_stripes_are_patterns_that_can_be_written_and_read(text: str, period: tuple[int, int]) -> None:
    pattern = Pattern(text)
    assert pattern.period == period
    assert Pattern(pattern.text) == pattern


@pytest.mark.parametrize(
    "text", ["RGG", "RGBX", "RG/G", "RRRR", "/", "TRUE", "R" * 36, "RGGB" * 200, None, 5]
)
def test_nonsense_is_refused_with_what_is_allowed(text: object) -> None:
    with pytest.raises(SettingError, match=r"colour filter pattern .*: .* Allowed are"):
        Pattern(text)


def test_a_crop_at_an_odd_row_keeps_its_colours() -> None:
    whole = frame("RGGB")
    crop = whole.isel(y=slice(1, None), x=slice(3, None))
    np.testing.assert_array_equal(crop.cfa["R"], [[20, 22], [36, 38]])
    assert crop.cfa["R"].y.values.tolist() == [2, 4]
    assert crop.cfa["R"].x.values.tolist() == [4, 6]
    cell, channels = channel_index(crop)
    assert [channels[i] for i in cell.ravel()] == ["B", "G2", "G1", "R"]
    assert crop.cfa.channel_mask("R").sum() == 4


def test_what_hides_the_phase_is_refused() -> None:
    with pytest.raises(SettingError, match=r"must number consecutive sensor pixels.*found \[0 2 4\]"):
        channel_index(frame("RGGB")[::2])
    with pytest.raises(SettingError, match="no coordinate 'x'"):
        frame("RGGB").drop_vars("x").cfa.planes()
    with pytest.raises(SettingError, match="consecutive"):
        frame("RGGB")[:, ::-1].cfa["R"]
    with pytest.raises(SettingError, match="dimensions y and x"):
        channel_index(frame("RGGB")[0])
    mono = frame("")[::2, ::-1].drop_vars("x")
    xr.testing.assert_identical(mono.cfa.planes().cfa.mosaic(), mono)
    xr.testing.assert_identical(mono.cfa["L"].drop_vars("channel"), mono)


def test_unknown_or_scattered_channels_are_refused() -> None:
    with pytest.raises(SettingError, match=r"channel 'L' is not there\. Take one of R, G1, G2, B"):
        frame("RGGB").cfa["L"]
    with pytest.raises(SettingError, match=r"lies on 2 pixels of each cell.*G1, G2,"):
        frame("RGGB").cfa["G"]
    with pytest.raises(SettingError, match=r"lies on 8 pixels of each cell.*R1, R2"):
        frame(XTRANS).cfa["R"]
    with pytest.raises(SettingError, match=r"there are R, G1, G2, B, G$"):
        frame("RGGB").cfa.channel_mask("Y")
    assert frame("RGGB").cfa.channel_mask("G").sum() == 24
    assert frame(XTRANS, shape=(6, 6)).cfa.channel_mask("G").sum() == 20
    assert frame(XTRANS, shape=(6, 6)).cfa.channel_mask("G7").sum() == 1


def test_planes_that_do_not_make_a_mosaic_are_refused() -> None:
    planes = frame("RGGB").cfa.planes()
    with pytest.raises(SettingError, match="each of the planes R, G1, G2, B once; found R, G1, B"):
        planes.sel(channel=["R", "G1", "B"]).cfa.mosaic()
    with pytest.raises(SettingError, match="the dimension channel"):
        planes.sel(channel="R").cfa.mosaic()
    with pytest.raises(SettingError, match="missing cfa_end"):
        planes.drop_attrs().cfa.mosaic()
    with pytest.raises(SettingError, match="pattern mono: a mosaic needs each of the planes L once"):
        planes.assign_attrs(cfa="").cfa.mosaic()
    with pytest.raises(SettingError, match="in the way of planes"):
        frame("RGGB").assign_coords(air=(("y", "x"), np.zeros((6, 8)))).cfa.planes()
    with pytest.raises(SettingError, match="floating point, which cannot hold 9007199254740993 exactly"):
        (frame("RGGB", shape=(5, 5)).astype("i8") + (2**53 - 23)).assign_attrs(cfa="RGGB").cfa.planes()
    with pytest.raises(SettingError, match="padded with NaN, which <U21 cannot hold"):
        frame("RGGB", shape=(5, 5)).astype("i8").astype("U").cfa.planes()


def test_whole_numbers_come_back_only_when_they_are_whole() -> None:
    odd = frame("RGGB", shape=(5, 5))
    planes = odd.cfa.planes()
    assert planes.dtype == np.float32
    assert planes.cfa.mosaic().dtype == np.uint16
    half = (planes / 2).assign_attrs(planes.attrs)
    with pytest.raises(SettingError, match="no longer hold whole numbers of type uint16"):
        half.cfa.mosaic()
    np.testing.assert_array_equal(half.cfa.mosaic(dtype="f4"), odd / 2)
    planes[0, 0, 0] = np.nan
    with pytest.raises(SettingError, match="no longer hold whole numbers"):
        planes.cfa.mosaic()


def test_planes_of_a_lazy_stack_compute_nothing() -> None:
    def never(block: np.ndarray) -> np.ndarray:
        msg = "computed"
        raise AssertionError(msg)

    data = da.zeros((2, 7, 8), chunks=(1, 3, -1), dtype="u2").map_blocks(
        never, meta=np.empty((0, 0, 0), "u2")
    )
    stack = xr.DataArray(
        data, dims=("frame", "y", "x"), coords={"y": range(3, 10), "x": range(8)}, attrs={"cfa": "GBRG"}
    )
    planes = stack.cfa.planes()
    assert planes.dims == ("frame", "channel", "y", "x")
    assert planes.sizes["y"] == 4
    assert planes.cfa.mosaic().shape == stack.shape
    assert stack.cfa["B"].shape == (2, 3, 4)
    with pytest.raises(AssertionError, match="computed"):
        planes.compute()


def test_a_signal_without_its_result_is_not_taken_for_mono() -> None:
    result = xr.Dataset({"signal": frame("GBRG").drop_attrs()}, attrs={"cfa": "GBRG"})
    with pytest.raises(SettingError, match="the signal was taken out of its result"):
        result["signal"].cfa.planes()
    assert result["signal"].assign_attrs(cfa="GBRG").cfa.pattern.text == "GBRG"


def test_the_pattern_is_found_on_a_dataset_or_its_signal() -> None:
    signal = frame("GBRG")
    assert pattern_of(xr.Dataset({"signal": signal})).text == "GBRG"
    assert xr.Dataset({"signal": signal}, attrs={"cfa": "RGGB"}).cfa.pattern.text == "RGGB"
    assert xr.DataArray([[0]], dims=("y", "x")).cfa.pattern.is_mono


def test_the_accessor_keeps_no_state() -> None:
    one = frame("RGGB")
    one.cfa.planes()
    one[0, 0] = 99
    assert one.cfa["R"][0, 0] == 99
    assert one.cfa.planes()[0, 0, 0] == 99
