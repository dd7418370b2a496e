"""Kinds of frames from header, folders and names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calibkit.errors import SettingError
from calibkit.io.source import FrameInfo
from calibkit.session.kinds import decide_kind, kind_in_name, master_in_name, told_kinds, words_in


def info(**facts: Any) -> FrameInfo:
    plain = {
        "path": Path("x.fit"),
        "shape": (4, 6),
        "dtype": np.dtype("u2"),
        "full_shape": (4, 6),
        "active": (0, 4, 0, 6),
    }
    return FrameInfo(**{**plain, **facts})


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("darks-001D15.fit.gz", "dark"),
        ("flood-flat-001bias.fit.gz", "bias"),
        ("flood-flat-011B.fit.gz", "flat"),
        ("darks-expos1-Neg5-Vis.00000003.DARK.FIT", "dark"),
        ("biases-Neg5-Vis.00000000.BIAS.FIT.gz", "bias"),
        ("flat-expos23s-Neg5-Vis.00000000.FIT", "flat"),
        ("dark_1.dng", "dark"),
        ("dark_flat", "flat dark"),
        ("flatdark_003", "flat dark"),
        ("DarkFlat_5s", "flat dark"),
        ("DARKFLATS", "flat dark"),
        ("Flat Darks", "flat dark"),
        ("dflat01", "flat dark"),
        ("MasterDark_-10C_300s", "dark"),
        ("masterflat_V", "flat"),
        ("skyflats", "flat"),
        ("twilight_flat", "flat"),
        ("flatfield-07", "flat"),
        ("Biases", "bias"),
        ("OFFSETS", "bias"),
        ("offset001", "bias"),
        ("master_offset", "bias"),
        ("Light_M 94_10.0s_IRCUT_20250326-212046", "light"),
        ("LIGHTS", "light"),
        ("science", "light"),
        ("Light_Dark Shark_300s", "light"),
        ("Light_LDN 1235_dark_nebula", "light"),
        ("lightbox_flat_3", "flat"),
        ("flat with light box 3", "flat"),
        ("darks for lights", "dark"),
        ("Dunkelbilder", "dark"),
        ("PLU_rouge", "flat"),
        ("平场", "flat"),
        ("ダーク", "dark"),
        ("Дарки", "dark"),
        # what says nothing, or too much
        ("level73_01.dng", ""),
        ("m003_b0101_ms_20150604_08543374_y1.fit.gz", ""),
        ("SA112-SF1-001B1.fit.gz", ""),
        ("zero", ""),  # 0 °C in one well-known folder
        ("bias_dark_flat", ""),
        ("lights and darks", ""),
        ("darkness", ""),
        ("flatiron_building", ""),
        ("twilight_moon", ""),
        ("biased_result", ""),
        ("Dark Sky Park", ""),
        ("M42_300s_gain100_offset50_-10C", ""),
        ("IMG_4711.CR2", ""),
        ("", ""),
    ],
)
def test_kind_in_name(name: str, kind: str) -> None:
    assert kind_in_name(name) == kind


def test_words_are_split_at_signs_digits_and_capitals() -> None:
    assert words_in("MasterDark_-10C") == ("master", "dark", "10", "c")
    assert words_in("Éclairé-DARKFlat2") == ("eclaire", "dark", "flat", "2")


def test_the_user_goes_before_the_header_and_the_header_before_names() -> None:
    dark = info(kind="dark", kind_reason="IMAGETYP = 'Dark Frame'")
    told = decide_kind(dark, "flats/flat-001.fit", told="light")
    assert (told.kind, told.reason, told.contradiction) == ("light", "told by the user", "")
    header = decide_kind(dark, "flats/flat-001.fit")
    assert (header.kind, header.reason) == ("dark", "IMAGETYP = 'Dark Frame'")
    assert header.contradiction == "folder 'flats' says flat"


def test_folders_go_before_file_names_and_the_innermost_before_others() -> None:
    verdict = decide_kind(info(), "flats/darks/IMG_0001.CR2")
    assert (verdict.kind, verdict.reason) == ("dark", "folder 'darks'")
    verdict = decide_kind(info(), "Dark Sky Park/flats/light-1.fit")
    assert (verdict.kind, verdict.reason) == ("flat", "folder 'flats'")
    verdict = decide_kind(info(), "night1/flat-001.fit", root="darks")
    assert (verdict.kind, verdict.reason) == ("flat", "file name 'flat-001.fit'")
    verdict = decide_kind(info(), "IMG_0001.CR2", root="darks")
    assert (verdict.kind, verdict.reason) == ("dark", "folder 'darks'")


def test_a_dark_in_a_folder_of_flat_darks_is_one() -> None:
    verdict = decide_kind(info(kind="dark", kind_reason="IMAGETYP = 'Dark'"), "FlatDarks/001.fit")
    assert verdict.kind == "flat dark"
    assert verdict.reason == "IMAGETYP = 'Dark', and folder 'FlatDarks' says that it is for flats"
    assert not verdict.contradiction


def test_header_and_file_name_together_overrule_a_folder_in_silence() -> None:
    verdict = decide_kind(info(kind="bias", kind_reason="IMAGETYP = 'BIAS'"), "flats/bias-1.fit")
    assert (verdict.kind, verdict.contradiction) == ("bias", "")


def test_no_exposure_is_a_bias_and_silence_is_unknown() -> None:
    verdict = decide_kind(info(exposure=0.0), "level73_01.fit")
    assert (verdict.kind, verdict.reason) == ("bias", "exposure 0 s")
    assert decide_kind(info(exposure=1.0), "level73_01.fit").kind == ""


def test_masters_by_name() -> None:
    assert master_in_name("lib/MasterDark_300s.fit") == "MasterDark_300s.fit"
    assert master_in_name("masters/dark_300s.fit") == "masters"
    assert master_in_name("combined_bias.fit.gz") == "combined_bias.fit.gz"
    assert master_in_name("darks/dark_300s.fit") == ""
    assert master_in_name("Super_Moon/light.fit") == ""


def test_told_patterns_reach_paths_and_names() -> None:
    files = ["a/m1_b1.fit", "a/m2_y1.fit", "b/m3_y1.fit"]
    told = told_kinds({"light": "*_b1*", "dark_flat": ["m2*", "b/*"]}, files)
    assert told == {"a/m1_b1.fit": "light", "a/m2_y1.fit": "flat dark", "b/m3_y1.fit": "flat dark"}


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        ({"lihgt": "*"}, "'lihgt' is not a kind of frame; allowed are 'bias', 'dark'"),
        ({"light": "*_z9*"}, "no file fits '\\*_z9\\*' \\(light\\); the files are called 'm1_b1.fit'"),
        (
            {"light": "*b1*", "dark": "m1*"},
            "'m1_b1.fit' is told to be both light .* and dark .*; make the patterns",
        ),
    ],
)
def test_wrong_patterns_are_refused(kinds: dict[str, str], words: str) -> None:
    with pytest.raises(SettingError, match=words):
        told_kinds(kinds, ["m1_b1.fit", "m2_y1.fit"])
