"""The report: whole in itself, true to the rows, and harmless whatever files say."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from astropy.io import fits
from PIL import Image

import calibkit
from calibkit.display.view import FrameView
from calibkit.errors import OutputError
from calibkit.pipeline import LightRow, RunResult
from calibkit.pipeline.result import StackRow
from calibkit.report import write_report
from calibkit.report.pictures import frame_picture, histogram, noise_figure

NASTY = "<script>alert(1)</script>&\"'"


class Page(HTMLParser):
    """Tags, their attributes, and the text that a reader sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._hidden = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._hidden += tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in ("script", "style")

    def handle_data(self, data: str) -> None:
        self.text += "" if self._hidden else data


def scripts(html: str) -> list[str]:
    return re.findall(r"<script[^>]*>(.*?)</script>", html, re.DOTALL)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """A run over a Bayer night whose files have names of the worst kind."""
    folder = tmp_path_factory.mktemp("night")
    rng = np.random.default_rng(3)
    for kind, count, level in (("Dark", 4, 100.0), ("Light", 3, 400.0)):
        for i in range(count):
            header = fits.Header(
                {"IMAGETYP": f"{kind} Frame", "EXPTIME": 10.0, "BAYERPAT": "RGGB", "EGAIN": 1.0}
            )
            header["OBJECT"] = header["INSTRUME"] = NASTY
            data = rng.normal(level, np.sqrt(level - 50), (60, 80)).astype(np.uint16)
            fits.PrimaryHDU(data, header).writeto(folder / f"{kind}{i}<b>&'{kind}'.fits")
    (folder / "torn<i>.fits").write_bytes(b"SIMPLE  =                    T")
    return calibkit.calibrate_session(folder, tmp_path_factory.mktemp("out"))


@pytest.fixture(scope="module")
def html(done: RunResult) -> str:
    assert done.report is not None
    return done.report.read_text(encoding="utf-8")


def test_it_needs_nothing_but_itself(html: str) -> None:
    page = Page(html)
    for tag, attrs in page.tags:
        source = attrs.get("src") or attrs.get("href") or ""
        assert not source or source.startswith(("data:", "#")), f"{tag} loads {source}"
    assert not any(tag == "link" for tag, _ in page.tags)
    assert "@import" not in html
    assert len(html) < 4_000_000


def test_nothing_that_files_say_becomes_markup(html: str) -> None:
    page = Page(html)
    assert [tag for tag, _ in page.tags if tag in ("b", "i")].count("i") == 0
    assert "torn<i>.fits" in page.text
    assert "Light0<b>&'Light'.fits" in page.text
    assert "<script>alert" not in html
    assert not any(
        "alert(1)" in script and "</" in script.split("alert(1)")[1][:9] for script in scripts(html)
    )
    assert NASTY in page.text  # the camera's name, as text


def test_it_says_what_the_rows_say(html: str, done: RunResult) -> None:
    text = Page(html).text
    assert "3 of 3" in text
    for row in done.lights:
        assert row.file in text
        assert f"{row.after['G1']['level']:.4g}" in text
    for warning in done.warnings:
        assert warning in text
    assert text.index("Warnings") < text.index("What was matched") < text.index("Masters")


def test_it_has_pictures_of_every_master_and_of_a_light_before_and_after(html: str) -> None:
    (data,) = re.findall(r"docs_json = '?(\{.*?\})'?;\n", html, re.DOTALL)
    assert data.count("data:image/jpeg;base64,") == 3  # the dark, and one light twice
    assert len(re.findall(r'"name":"(?:Figure|Plot)"', data)) == 5  # three pictures, one histogram, the noise
    assert data.count('"glyph":{"type":"object","name":"Step"') == 4  # R, G1, G2, B
    json.loads(data)


def test_a_page_without_lights_or_masters(done: RunResult, tmp_path: Path) -> None:
    failed = LightRow("x.fits", "light", error=NASTY)
    empty = RunResult(done.session, tmp_path, [failed], [], [NASTY])
    page = Page(write_report(empty, tmp_path / "r.html").read_text(encoding="utf-8"))
    assert "0 of 1" in page.text
    assert page.text.count(NASTY) >= 2
    assert "Could not be done" in page.text


def test_a_result_that_is_gone_is_said(done: RunResult, tmp_path: Path) -> None:
    gone = RunResult(done.session, tmp_path, done.lights, done.masters, [])
    page = Page(write_report(gone, tmp_path / "r.html").read_text(encoding="utf-8"))
    assert page.text.lower().count("no such file") >= 2


def test_it_cannot_be_written(done: RunResult, tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        write_report(done, tmp_path / "nowhere" / "r.html")


def pixels(url: str) -> np.ndarray:
    """The picture behind a data URL."""
    import base64
    import io

    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))))


@pytest.mark.parametrize("roworder", ["TOP-DOWN", "BOTTOM-UP"])
def test_a_picture_stands_the_right_way_up(roworder: str) -> None:
    data = np.random.default_rng(1).normal(100.0, 3.0, (80, 120))
    data[:20, :30] += 60.0  # at the first rows and columns
    frame = xr.DataArray(data, dims=("y", "x"), coords={"y": range(80), "x": range(120)})
    shown = frame_picture(FrameView(frame.assign_attrs(roworder=roworder)), "", width=120)
    (glyph,) = [renderer.glyph for renderer in shown.plot.renderers]
    (url,) = [renderer.data_source.data["url"][0] for renderer in shown.plot.renderers]
    picture = pixels(url).astype(float)
    top, bottom = picture[5:15, 5:25].mean(), picture[-15:-5, 5:25].mean()
    y_range = shown.plot.y_range
    if roworder == "TOP-DOWN":
        assert top > bottom + 20
        assert (y_range.start, y_range.end, glyph.y) == (79.5, -0.5, -0.5)
    else:
        assert bottom > top + 20
        assert (y_range.start, y_range.end, glyph.y) == (-0.5, 79.5, 79.5)


@pytest.mark.parametrize(
    "values", [np.arange(12.0), np.full(12, 3.0), np.full(12, np.nan), np.linspace(-1e-9, 1e9, 12)]
)
def test_histograms_of_odd_frames(values: np.ndarray) -> None:
    plot = histogram(FrameView(xr.DataArray(values.reshape(3, 4), dims=("y", "x"))), "")
    counts = [renderer.data_source.data["y"] for renderer in plot.renderers]
    assert sum(count[count >= 1].sum() for count in counts) == np.isfinite(values).sum()


def test_noise_is_shown_where_it_was_predicted() -> None:
    def row(predicted: float) -> LightRow:
        return LightRow("a", "g", after={"L": {"level": 1.0, "measured": 2.0, "predicted": predicted}})

    assert noise_figure([row(np.nan), row(0.0)]) is None
    plot = noise_figure([row(np.nan), row(1.6)])
    (dots,) = [renderer for renderer in plot.renderers if hasattr(renderer, "glyph")]
    assert dots.data_source.data["light"] == [2]
    assert dots.data_source.data["ratio"] == [1.25]


def test_stacks_are_shown_with_what_is_in_them_and_what_is_not(done: RunResult, tmp_path: Path) -> None:
    picture = tmp_path / "m31.png"
    Image.fromarray((np.arange(120 * 160, dtype=np.uint16).reshape(120, 160)) * 3).save(picture)
    frame = {"file": "a.fits", "fwhm": 2.345, "stars": 12, "rms": 0.0123}
    made = StackRow(
        "M 31 <x>",
        path="stacks/m31.fits",
        picture=str(picture),
        status="made",
        files=["a.fits"],
        left_out={"b.fits": "no <stars>"},
        frames=[frame],
        units="adu",
        noise={"R": {"level": 12.5, "measured": 1.25, "predicted": 1.2}},
    )
    gone = replace(made, name="gone", picture="nowhere.png")
    bad = StackRow("bad", error="it <failed>")
    page = write_report(replace(done, stacks=[made, gone, bad]), tmp_path / "report.html").read_text(
        encoding="utf-8"
    )
    for text in (
        "M 31 &lt;x&gt;",
        "b.fits: no &lt;stars&gt;",
        "2.345",
        "12.5",
        "it &lt;failed&gt;",
        "nowhere.png",
    ):
        assert text in page
    data = re.findall(r'<img alt="m31.png"[^>]*base64,([^"]+)"', page)
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(data[0]))), dtype=float)
    assert shown.shape == (120, 160)
    assert abs(shown[-1].mean() - 119 * 160 * 3 / 257) < 6


def test_a_page_without_stacks_says_nothing_of_them(html: str) -> None:
    assert "<h2>Stacks</h2>" not in html
