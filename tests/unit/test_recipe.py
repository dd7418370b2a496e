"""Recipes: what is written is read again as it was, and nothing else is read at all."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from calibkit import Recipe, read_recipe, write_recipe
from calibkit.errors import OutputError, SettingError
from calibkit.recipe import (
    AlignSettings,
    CameraSettings,
    DefectSettings,
    FrameSettings,
    MasterSettings,
    PictureSettings,
    StackSettings,
)
from calibkit.recipe.files import MOST_BYTES, recipe_text

HEAD = "calibkit recipe: 1\n"


def read(tmp_path: Path, text: str | bytes) -> Recipe:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_recipe(path)


def test_a_recipe_survives_its_file(tmp_path: Path) -> None:
    recipe = Recipe(
        until="stack",
        frames=FrameSettings(
            kinds={"flat dark": ("fd: *", "yes", "ä*"), "dark": "1e3"},
            pattern="",
            tolerances={"flat_hours": 72},
        ),
        camera=CameraSettings(gain={"R": 1.5, "G1": 1e-5}, read_noise=3),
        masters=MasterSettings(reject="none", keep=2),
        defects=DefectSettings(repair=False),
        stack=StackSettings(low=2.5, scale=2, pixfrac=0.7, channels="drizzle"),
        picture=PictureSettings(curve="ghs", intensity=3, black=-5, white=1e5),
    )
    path = write_recipe(recipe, tmp_path / "a.yaml")
    assert read_recipe(path) == recipe
    with pytest.raises(OutputError, match="exists already"):
        write_recipe(recipe, path)
    assert write_recipe(read_recipe(path), tmp_path / "b.yaml").read_bytes() == path.read_bytes()
    assert yaml.safe_load(path.read_text("utf-8"))["masters"]["reject"] == "none"  # other readers agree


def test_what_is_left_out_has_its_default(tmp_path: Path) -> None:
    assert read(tmp_path, HEAD) == Recipe()
    assert read(tmp_path, HEAD + "masters:\nalign: {}\n") == Recipe()


@given(
    st.text(st.characters(exclude_categories=("Cc", "Cs"))),
    st.floats(1e-5, 1e5),
    st.sampled_from(["mean", "median"]),
    st.booleans(),
)
def test_any_text_and_number_survive(text: str, value: float, method: str, repair: bool) -> None:
    recipe = Recipe(
        frames=FrameSettings(kinds={"light": text}),
        camera=CameraSettings(gain=value),
        stack=StackSettings(method=method),
        defects=DefectSettings(repair=repair),
    )
    again = yaml.safe_load(recipe_text(recipe))
    assert again["camera"]["gain"] == value
    assert tuple(again["frames"]["kinds"]["light"]) == recipe.frames.kinds["light"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stak: {}", r"line 2: 'stak' is no section \(did you mean 'stack'\?\)"),
        ("masters:\n  methd: mean", r"line 3: 'methd' is no setting of masters \(did you mean 'method'\?\)"),
        ("\nmasters:\n  method: medain", r"line 4: masters: method: 'medain': .*did you mean 'median'"),
        ("masters: {low: -1}", "line 2: masters: low: -1: wanted is a number from 0 to 1000"),
        ("masters: {low: .nan}", "low: nan"),
        ("masters: {low: true}", "low: True"),
        ("masters: {low: 2026-01-01}", "low: '2026-01-01'"),
        ("masters: {keep: 2.5}", "a whole number from 1 to 10000"),
        ("masters: 3", "line 2: wanted are names with values"),
        ("masters: {low: 1, low: 2}", "'low' is there twice"),
        ("frames: {kinds: {drak: 'a'}}", r"'drak': .*did you mean 'dark'"),
        ("frames: {kinds: {dark: 3}}", "put it in quotes"),
        ("frames: {kinds: {dark: a, dark: b}}", "is there twice"),
        ("frames: {tolerances: {flat_hours: .inf}}", "a number of 0 or more"),
        ("frames: {tolerances: {flat_hours: 1" + "0" * 900 + "}}", "a number of 0 or more"),
        ("defects: {repair: 'no'}", "true or false"),
        ("until: dinner", "one of lights, stack, picture"),
        ("until: !!python/object/apply:os.system [ls]", "line 2: wanted is a number, a text"),
        ("camera: {gain: !!binary aGk=}", "wanted is a number, a text"),
        ("camera: &a {gain: 1}\nmasters: *a", r"line 2: .*anchors \(&, \*\) are not allowed"),
        ("camera: {? [a] : 1}", "'a list or mapping as a name' is no setting"),
        ("a: b: c", "line 2: is not YAML"),
        ("--- \n---", "is not YAML|is not a recipe"),
    ],
)
def test_what_no_recipe_holds_is_refused_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingError, match=message):
        read(tmp_path, HEAD + text + "\n")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not a recipe"),
        (b"- a\n", "is not a recipe"),
        (b"until: stack\n", "is not a recipe"),
        (b"calibkit recipe: 2\n", "of version 2, and this calibkit knows versions up to 1"),
        (b"calibkit recipe: true\n", "is not a recipe"),
        (b"\xff\xfe\x00", "not text in UTF-8"),
        (b"a: \x00", "is not text as a recipe"),
        (b"a: " + b"[" * 30_000, "nested too deeply"),
        (b"a: [" + b"1," * 30_000 + b"]", "nested too deeply"),
        (b" " * (MOST_BYTES + 1), "larger than 64 kB"),
        (b"a: &a [1,1]\nb: &b [*a,*a]\nc: [*b,*b]\n", "anchors"),
    ],
)
def test_files_that_are_no_recipe_end_soon(tmp_path: Path, data: bytes, message: str) -> None:
    start = time.monotonic()
    with pytest.raises(SettingError, match=message):
        read(tmp_path, data)
    assert time.monotonic() - start < 5


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="cannot be read"):
        read_recipe(tmp_path / "none.yaml")


@given(st.binary(max_size=200))
def test_any_bytes_give_a_recipe_or_a_message(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    with contextlib.suppress(SettingError):
        assert isinstance(read(tmp_path_factory.getbasetemp(), HEAD.encode() + data), Recipe)


def test_settings_are_checked_in_python_too() -> None:
    with pytest.raises(SettingError, match=r"MasterSettings\(method=…\): 'medain'"):
        MasterSettings(method="medain")
    with pytest.raises(SettingError, match="wanted is a StackSettings, found dict"):
        Recipe(stack={})  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="until"):
        Recipe(until="dinner")
    with pytest.raises(SettingError, match="without control characters"):
        FrameSettings(pattern="RG\nGB")
    with pytest.raises(SettingError, match="model"):
        AlignSettings(model="rubber")
    with pytest.raises(SettingError, match="drops are those of drizzle"):
        StackSettings(pixfrac=0.5)
    with pytest.raises(SettingError, match=r"intensity=2, curve='mtf'.*belongs to 'ghs'"):
        PictureSettings(intensity=2)
    with pytest.raises(SettingError, match="white has to be above black"):
        PictureSettings(black=2, white=2)
