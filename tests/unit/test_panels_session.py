"""SessionPanel without a page: folders, groups, matches, warnings, a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from calibkit import open_result, scan
from calibkit.errors import SettingError
from calibkit.panels import SessionPanel
from calibkit.session.folders import folders_in
from tests.panel_makers import make_session, write_frames


@pytest.fixture
def panel(tmp_path: Path) -> SessionPanel:
    return make_session(tmp_path)


def test_what_is_there_is_shown(panel: SessionPanel) -> None:
    assert repr(panel) == "SessionPanel(night: 8 frames in 3 groups)"
    text = panel.found.value
    assert "8 frames in" in text
    for group in panel.session.groups:
        assert group.name in text
    assert text.count('title="lights/') == 2  # a cell for each light
    assert "none" in text  # no flat
    assert panel._inside.options == ("(a folder in this one)", "bias", "darks", "lights")


def test_a_run(panel: SessionPanel, tmp_path: Path) -> None:
    panel._start.click()
    assert panel.errors.text == ""
    assert "2 of 2 lights calibrated" in panel.outcome.value
    assert str(panel.done.report) in panel.outcome.value
    made = open_result(panel.result["lights/light_0.fits"])
    assert made.attrs["dark_subtracted"]
    panel.state.method = "median"
    again = panel.result
    assert set(again) == {"lights/light_0.fits", "lights/light_1.fits"}


def test_going_through_folders(panel: SessionPanel, tmp_path: Path) -> None:
    panel._inside.value = "darks"
    assert panel.state.folder == str(tmp_path / "night" / "darks")
    assert len(panel.session.frames) == 3
    assert "There are no lights" in panel.found.value
    panel._up.click()
    assert panel.state.folder == str(tmp_path / "night")
    panel._path.value = str(tmp_path / "not there")
    assert "no such folder" in panel.errors.text
    assert panel.state.folder == str(tmp_path / "night")
    panel._path.value = ""
    assert "take a sample" in panel.found.value
    assert panel.session is None


def test_warnings_are_shown(tmp_path: Path) -> None:
    night = tmp_path / "night"
    write_frames(night, "light", 2, EXPTIME=60.0)
    (night / "broken.fits").write_bytes(b"SIMPLE  =                    T / cut off")
    panel = SessionPanel(scan(night))
    assert "To look at" in panel.found.value
    assert "broken.fits" in panel.found.value
    panel._start.click()
    assert "nothing here" in panel.errors.text or "failed" in panel.outcome.value


def test_no_folder_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "night").mkdir()
    monkeypatch.chdir(tmp_path)
    panel = SessionPanel()
    assert panel._inside.options == ("(a folder in this one)", "night")
    assert (panel._inside.value, panel._inside.index) == (
        "(a folder in this one)",
        0,
    )  # the page shows the index
    panel._inside.index = 1
    assert panel.state.folder == str(tmp_path / "night")
    assert panel._inside.index == 0
    panel = SessionPanel()
    assert repr(panel) == "SessionPanel(no folder)"
    assert "take a sample" in panel.found.value
    with pytest.raises(SettingError, match="no folder yet"):
        _ = panel.result
    with pytest.raises(SettingError, match="given twice"):
        SessionPanel(tmp_path, folder=str(tmp_path))


def test_folders(tmp_path: Path) -> None:
    for name in ("b", "a", ".hidden"):
        (tmp_path / name).mkdir()
    (tmp_path / "file").write_text("")
    assert folders_in(tmp_path) == ["a", "b"]
    assert folders_in(tmp_path, most=1) == ["a"]
    assert folders_in(tmp_path / "nowhere") == []
