"""Finding, keeping and replacing bad pixels."""

from __future__ import annotations

import math
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from calibkit import (
    CalibkitError,
    FrameFileError,
    MismatchError,
    OutputError,
    Pattern,
    SettingError,
    find_defects,
    repair,
)
from calibkit import flags as fl
from calibkit.defects import DefectMap
from calibkit.defects.surroundings import measure_surroundings

XTRANS = "GGRGGB/GGBGGR/BRGRBG/GGBGGR/GGRGGB/RBGBRG"
DIMS = ("y", "x")


def coords(shape: tuple[int, ...], y0: int = 0, x0: int = 0) -> dict[str, np.ndarray]:
    return {"y": y0 + np.arange(shape[-2]), "x": x0 + np.arange(shape[-1])}


def dark(signal: np.ndarray, cfa: str = "RGGB", y0: int = 0, x0: int = 0, **attrs: Any) -> xr.Dataset:
    data = {"signal": (DIMS, signal.astype("f4")), "flags": (DIMS, np.zeros(signal.shape, "u2"))}
    return xr.Dataset(data, coords=coords(signal.shape, y0, x0), attrs={"cfa": cfa, "units": "adu"} | attrs)


class TestHot:
    @pytest.mark.parametrize("cfa", ["", "GBRG", XTRANS])
    def test_found_and_false(self, cfa: str) -> None:
        """Hot pixels from 5 sigma on over four decades, on a sensor with glow and channels of different levels.

        The master's noise is the whole of sigma here, the hardest case; seven of eight at 5 sigma itself are found.
        """
        shape, excess, found = (700, 900), [], []
        y, x = np.indices(shape)
        level = 100 + 200 * np.exp(-np.hypot(y, x) / 80)
        if cfa:
            level += 60 * Pattern(cfa).index[y % len(Pattern(cfa).index), x % Pattern(cfa).period[1]]
        for seed in range(3):
            rng = np.random.default_rng(seed)
            hot = rng.random(shape) < 0.004
            excess.append(np.where(hot, 5 * 5.0 * 10 ** rng.uniform(0, 4, shape), 0.0))
            found.append(find_defects(dark=dark(level + rng.normal(0, 5, shape) + excess[-1], cfa)).mask)
        above, seen = np.array(excess), np.array(found)
        assert seen[above > 0].mean() >= 0.995
        assert seen[above > 6 * 5.0].mean() >= 0.998
        assert seen[above == 0].mean() < 1e-4

    def test_spread_of_dark_current_is_no_noise(self) -> None:
        """Where the master's noise is small, so is what the limit gives way: a skew spread stays unflagged."""
        rng = np.random.default_rng(18)
        shape = (600, 800)
        spread = rng.gamma(25.0, 1.0, shape)  # sigma 5
        hot = rng.random(shape) < 0.003
        excess = np.where(hot, 5 * 5.0 * 10 ** rng.uniform(0, 3, shape), 0.0)
        master = dark(spread + excess + rng.normal(0, 1, shape), "")
        master["variance"] = xr.ones_like(master["signal"])
        found = find_defects(dark=master).mask
        above = spread + excess > 25 + 5.2 * 5
        assert found[above].mean() >= 0.995
        assert found[spread + excess < 25 + 4.0 * 5].mean() < 1e-5

    def test_sigma_of_points_and_counts(self) -> None:
        rng = np.random.default_rng(2)
        frame = rng.normal(100, 5, (200, 300))
        frame[50, 60], frame[51, 61] = 600, 2100  # R and B of RGGB from (0, 0): even + even, odd + odd
        result = find_defects(dark=dark(frame), sigma=6)
        at = {(int(p["y"]), int(p["x"])): float(p["sigma"]) for p in result.points}
        assert at[50, 60] == pytest.approx(100, rel=0.15)
        assert at[51, 61] == pytest.approx(400, rel=0.1)
        assert result.counts() == {"R": {"hot": 1}, "G1": {}, "G2": {}, "B": {"hot": 1}}
        assert result.counts_by_sigma((50, 200))["B"] == {"≥ 50": 1, "≥ 200": 1}
        assert result.counts_by_sigma((50, 200))["R"] == {"≥ 50": 1, "≥ 200": 0}

    def test_clusters(self) -> None:
        rng = np.random.default_rng(3)
        frame = rng.normal(100, 5, (100, 100))
        frame[40:44, 50:54] = 900
        result = find_defects(dark=dark(frame, ""), sigma=6).mask
        assert result[40:44, 50:54].all()
        assert np.count_nonzero(result) == 16

    def test_cold_and_saturated(self) -> None:
        rng = np.random.default_rng(4)
        master = dark(rng.normal(100, 5, (100, 100)))
        master["signal"][7, 8] = 0
        master["flags"][20, 21] = fl.SATURATED
        flags = find_defects(dark=master, sigma=6).flags.values
        assert flags[7, 8] == fl.COLD
        assert flags[20, 21] == fl.HOT | fl.SATURATED

    def test_rate_in_electrons(self) -> None:
        frame = np.full((60, 60), 10.0)
        frame[30:, :] = 50.0  # half of the sensor: no outlier, but above the rate
        master = dark(frame, bias_subtracted=True, exposure=100.0, gain=2.0)
        result = find_defects(dark=master, rate=0.5, sigma=1e9, line_sigma=1e9, cold_sigma=1e9)
        np.testing.assert_array_equal(result.mask, frame > 25)
        with pytest.raises(SettingError, match="whose bias was subtracted, the gain"):
            find_defects(dark=dark(frame, exposure=100.0), rate=0.5)

    def test_unstable_pixels(self) -> None:
        """Their frames scatter more than those of their neighbours; hot ones may, by photon noise."""
        rng = np.random.default_rng(5)
        shape, count, gain = (150, 150), 10, 1.0
        charge = np.full(shape, 40.0)
        charge[20, 20], charge[60, 60] = 5000.0, 5000.0
        frames = rng.poisson(charge, (count, *shape)) / gain + rng.normal(0, 5, (count, *shape))
        frames[::2, 100, 100] += 60
        frames[::2, 60, 60] += 900
        master = dark(frames.mean(axis=0), n_frames=count, gain=gain)
        master["variance"] = (DIMS, (frames.var(axis=0, ddof=1) / count).astype("f4"))
        flags = find_defects(dark=master).flags.values
        assert flags[100, 100] & fl.UNSTABLE
        assert flags[60, 60] & fl.UNSTABLE
        assert flags[20, 20] == fl.HOT
        assert np.count_nonzero(flags & fl.UNSTABLE) == 2


class TestLinesFlatsLights:
    def test_columns_whole_and_in_part(self) -> None:
        rng = np.random.default_rng(6)
        frame = rng.normal(100, 5, (256, 200))
        frame[:, 31] += 40
        frame[128:, 70] += 40
        frame[99, :] -= 40
        result = find_defects(dark=dark(frame))
        assert result.lines() == ([31], [99])
        line = (result.flags.values & fl.BAD_LINE) != 0
        assert line[128:, 70].all()
        assert not line[:120, 70][:99].any()

    def test_a_pattern_that_a_dark_takes_away_is_no_bad_line(self) -> None:
        rng = np.random.default_rng(7)
        frame = rng.normal(100, 5, (128, 256)) + rng.normal(0, 5, 256)
        assert find_defects(dark=dark(frame, "")).lines() == ([], [])

    def test_weak_and_hot_pixels_of_a_flat(self) -> None:
        rng = np.random.default_rng(8)
        y, x = np.indices((200, 200))
        shade = 1 - 0.3 * ((y - 100) ** 2 + (x - 100) ** 2) / 2e4
        shade -= 0.3 * (np.hypot(y - 60, x - 60) < 12)  # dust: a shadow is no defect
        flat = shade * rng.normal(1, 0.01, (200, 200))
        flat[20, 30] *= 0.4
        flat[150, 151] *= 1.5
        flat[90, 90] *= 0.9
        flags = find_defects(flat=dark(flat, "", units="1")).flags.values
        assert flags[20, 30] == fl.COLD
        assert flags[150, 151] == fl.BAD_FLAT
        assert np.count_nonzero(flags) == 2

    @staticmethod
    def dithered(cfa: str, count: int = 10) -> tuple[xr.DataArray, np.ndarray]:
        rng = np.random.default_rng(9)
        shape = (160, 180)
        y, x = np.indices(shape)
        places = rng.uniform(-10, 190, (50, 2))
        flux = 10 ** rng.uniform(2, 4.5, 50)
        hot = np.zeros(shape, bool)
        hot[tuple(rng.integers(3, 157, (2, 60)))] = True
        frames = []
        for _ in range(count):
            dy, dx = rng.uniform(-6, 6, 2)
            stars = sum(
                f / 12 * np.exp(-((y - sy - dy) ** 2 + (x - sx - dx) ** 2) / (2 * 1.4**2))
                for (sy, sx), f in zip(places, flux, strict=True)
            )
            frames.append(1000 + stars + rng.normal(0, 10, shape) + np.where(hot, 150.0, 0.0))
        data = np.rint(frames).astype("u2")
        stack = xr.DataArray(data, dims=("frame", *DIMS), coords=coords(shape), attrs={"cfa": cfa})
        return stack, hot

    @pytest.mark.parametrize("cfa", ["", "RGGB"])
    def test_lights_alone(self, cfa: str) -> None:
        lights, hot = self.dithered(cfa)
        found = find_defects(lights=lights).mask
        assert found[hot].mean() > 0.9  # some lie under a star in one frame or another
        assert np.count_nonzero(found & ~hot) <= 1

    def test_too_few_lights(self) -> None:
        lights, _ = self.dithered("", 2)
        with pytest.raises(MismatchError, match="3 lights at least"):
            find_defects(lights=lights)

    def test_nothing_to_look_at(self) -> None:
        with pytest.raises(SettingError, match="nothing to look at"):
            find_defects()
        with pytest.raises(SettingError, match="sigma=0"):
            find_defects(dark=dark(np.ones((9, 9))), sigma=0)
        with pytest.raises(SettingError, match="persistence=2"):
            find_defects(dark=dark(np.ones((9, 9))), persistence=2)
        with pytest.raises(MismatchError, match="does not cover"):
            find_defects(dark=dark(np.ones((9, 9))), bias=dark(np.ones((9, 8))))


class TestMap:
    def empty(self) -> DefectMap:
        return DefectMap.empty(dark(np.zeros((12, 16)), y0=5, x0=3, camera="Cam", binning=(1, 1)))

    def test_edit_in_sensor_pixels(self) -> None:
        first = self.empty()
        bad = first.add(points=[(3, 5), (18, 16)], columns=[7], kind="cold")
        assert not first.mask.any()
        assert bad.flags.values[0, 0] == bad.flags.values[11, 15] == fl.COLD
        assert (bad.flags.values[:, 4] == fl.BAD_LINE).all()
        assert bad.lines() == ([7], [])
        assert not bad.remove(points=[(3, 5), (18, 16)], columns=[7]).mask.any()
        with pytest.raises(SettingError, match="x 19 is not on this map, whose sensor pixels are x 3 to 18"):
            bad.add(points=[(19, 5)])
        with pytest.raises(SettingError, match="kind='warm'"):
            bad.add(points=[(3, 5)], kind="warm")

    def test_merge(self) -> None:
        a, b = self.empty().add(points=[(4, 6)]), self.empty().add(points=[(4, 6), (9, 9)], kind="unstable")
        both = a | b
        assert both.flags.values[1, 1] == fl.HOT | fl.UNSTABLE
        assert np.count_nonzero(both.mask) == 2
        other = DefectMap.empty(dark(np.zeros((12, 16))))
        with pytest.raises(MismatchError, match="different sensor pixels"):
            a.merge(other)

    def test_fits_and_back(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(10)
        frame = rng.normal(100, 5, (60, 70))
        frame[3, 4] = 900
        found = find_defects(dark=dark(frame, "GRBG", 7, 9, camera="Cam", binning=(2, 2)), sigma=6)
        found.save(tmp_path / "bad.fits")
        again = DefectMap.load(tmp_path / "bad.fits")
        xr.testing.assert_identical(again.flags, found.flags.assign_attrs(again.flags.attrs))
        assert again.flags.attrs == found.flags.attrs
        np.testing.assert_array_equal(again.points, found.points)
        with pytest.raises(OutputError, match="exists already"):
            found.save(tmp_path / "bad.fits")
        assert [p.name for p in tmp_path.iterdir()] == ["bad.fits"]

    def test_mask_of_another_program(self, tmp_path: Path) -> None:
        from astropy.io import fits

        mask = np.zeros((12, 16), "u1")
        mask[2, 3] = 1
        fits.writeto(tmp_path / "mask.fits", mask)
        read = DefectMap.load(tmp_path / "mask.fits", like=dark(np.zeros((12, 16)), y0=5, x0=3))
        assert read.flags.sel(y=7, x=6) == fl.HOT
        with pytest.raises(MismatchError, match=r"measures \(12, 16\)"):
            DefectMap.load(tmp_path / "mask.fits", like=dark(np.zeros((12, 17))))
        (tmp_path / "no.fits").write_text("no")
        with pytest.raises(FrameFileError, match=r"no\.fits"):
            DefectMap.load(tmp_path / "no.fits")


@pytest.mark.parametrize(
    ("known", "least"),
    [
        ({"R": 6.0, "G1": 3.0, "G2": 9.0, "B": math.nan}, (2.0, 1.0, 3.0, 1e-4)),
        ({"R": 6.0, "G1": 3.0, "G2": 9.0}, (1e-4,) * 4),
        (None, (1e-4,) * 4),
    ],
)
def test_whole_numbers_do_not_hide_the_noise_that_is_known(
    known: dict[str, float] | None, least: tuple[float, ...]
) -> None:
    """A mean of 9 frames in which nearly all pixels are equal."""
    frame = dark(np.full((64, 64), 100.0), cfa="RGGB", frame_noise=known, n_frames=9)
    found = measure_surroundings(frame)
    for sigma, expected in zip(found.sigma, least, strict=True):
        np.testing.assert_allclose(sigma, expected, rtol=1e-6)
    frame["variance"] = frame["signal"] * 0 + 100.0
    np.testing.assert_allclose(measure_surroundings(frame, variable="variance").sigma, 1e-4, rtol=1e-6)


class TestLists:
    def bad(self) -> tuple[DefectMap, xr.Dataset]:
        like = dark(np.zeros((20, 30)), y0=5, x0=3)
        bad = DefectMap.empty(like).add(points=[(8, 8), (33 - 1, 24)], columns=[15], rows=[7])
        return bad.add(points=[(10, 20)], kind="cold"), like

    def test_siril_counts_from_the_top_and_iris_from_one(self, tmp_path: Path) -> None:
        bad, _ = self.bad()
        bad.write_list(tmp_path / "a.lst")
        bad.write_list(tmp_path / "b.lst", program="iris")
        bad.write_list(tmp_path / "c.lst", first_row="top")
        lines = [(tmp_path / f"{n}.lst").read_text().splitlines() for n in "abc"]
        assert lines[0] == ["C 12 0 H", "L 17 0 H", "P 5 16 H", "P 7 4 C", "P 29 0 H"]
        assert lines[1] == ["C 13", "L 3", "P 6 4", "P 8 16", "P 30 20"]
        assert lines[2] == ["C 12 0 H", "L 2 0 H", "P 5 3 H", "P 7 15 C", "P 29 19 H"]

    @pytest.mark.parametrize("program", ["siril", "iris"])
    @pytest.mark.parametrize("first_row", ["bottom", "top"])
    def test_there_and_back(self, tmp_path: Path, program: str, first_row: str) -> None:
        bad, like = self.bad()
        options = {"program": program, "first_row": first_row}
        bad.write_list(tmp_path / "a.lst", **options)
        again = DefectMap.read_list(tmp_path / "a.lst", like, **options)
        np.testing.assert_array_equal(again.mask, bad.mask)
        assert again.lines() == bad.lines()

    @pytest.mark.parametrize("line", ["P 30 2", "P 3 -1", "P 3", "X 1 2", "C x", "P a b"])
    def test_lines_that_make_no_sense(self, tmp_path: Path, line: str) -> None:
        _, like = self.bad()
        (tmp_path / "a.lst").write_text(f"# comment\n\nP 1 2 H\n{line}\n")
        with pytest.raises(FrameFileError, match="line 4"):
            DefectMap.read_list(tmp_path / "a.lst", like)

    def test_wrong_settings_and_files(self, tmp_path: Path) -> None:
        bad, like = self.bad()
        with pytest.raises(SettingError, match="program='prism'"):
            bad.write_list(tmp_path / "a.lst", program="prism")
        with pytest.raises(FrameFileError, match="cannot be read"):
            DefectMap.read_list(tmp_path / "none.lst", like)
        with pytest.raises(OutputError, match="could not be written"):
            bad.write_list(tmp_path / "none" / "a.lst")

    def test_a_list_is_only_replaced_when_told(self, tmp_path: Path) -> None:
        bad, like = self.bad()
        (tmp_path / "a.lst").write_text("my own")
        with pytest.raises(OutputError, match="exists already; give overwrite=True"):
            bad.write_list(tmp_path / "a.lst")
        assert (tmp_path / "a.lst").read_text() == "my own"
        bad.write_list(tmp_path / "a.lst", overwrite=True)
        np.testing.assert_array_equal(DefectMap.read_list(tmp_path / "a.lst", like).mask, bad.mask)


@pytest.mark.siril
class TestSiril:
    """The same list, and the same pixels, in Siril."""

    @pytest.fixture(autouse=True)
    def _siril(self) -> None:
        if shutil.which("siril-cli") is None:
            pytest.skip("siril-cli is not installed")

    @staticmethod
    def run(folder: Path, *commands: str) -> None:
        script = "\n".join(["requires 1.0.0", "setext fits", f"cd {folder}", *commands, "close", ""])
        (folder / "run.ssf").write_text(script)
        command = ["siril-cli", "-d", str(folder), "-s", str(folder / "run.ssf")]
        subprocess.run(command, check=True, capture_output=True, timeout=120)

    @pytest.mark.parametrize(
        ("cfa", "command"), [("", "cosme"), ("RGGB", "cosme_cfa"), ("GBRG", "cosme_cfa")]
    )
    @pytest.mark.parametrize("roworder", ["", "TOP-DOWN", "BOTTOM-UP"])
    def test_repaired_pixels_agree(self, tmp_path: Path, cfa: str, command: str, roworder: str) -> None:
        from astropy.io import fits

        rng = np.random.default_rng(11)
        frame = rng.integers(1000, 1200, (40, 50)).astype("u2")
        hot, cold = (
            [(7, 9), (30, 12), (21, 33), (5, 36)],
            [(20, 20), (41, 7)],
        )  # x, y, in the file's own order
        for x, y in hot:
            frame[y, x] = 40_000
        for x, y in cold:
            frame[y, x] = 10
        header = fits.Header({"ROWORDER": roworder} if roworder else {})
        fits.writeto(tmp_path / "hot.fits", frame, header)
        light = dark(frame.astype(float), cfa)
        bad = DefectMap.empty(light).add(points=hot).add(points=cold, kind="cold")
        bad.write_list(tmp_path / "bad.lst", cold_as_hot=True)
        bad.write_list(tmp_path / "kinds.lst")
        self.run(
            tmp_path,
            *("load hot", f"{command} bad.lst", "save mended"),
            *("load hot", f"{command} kinds.lst", "save other"),
        )
        theirs, other = (fits.getdata(tmp_path / f"{name}.fits") for name in ("mended", "other"))
        light["variance"] = xr.ones_like(light["signal"])
        ours = repair(light, bad)["signal"].values
        for mended in (theirs, other):
            np.testing.assert_array_equal(np.argwhere(mended != frame), np.argwhere(ours != frame))
        np.testing.assert_allclose(ours, theirs, atol=0.5)  # Siril rounds
        for x, y in hot:
            assert other[y, x] == theirs[y, x]

    def test_columns_and_rows_are_the_same(self, tmp_path: Path) -> None:
        from astropy.io import fits

        rng = np.random.default_rng(12)
        frame = rng.integers(1000, 1200, (40, 50)).astype("u2")
        frame[:, 12] = 40_000
        frame[7, :] = 40_000
        fits.writeto(tmp_path / "hot.fits", frame)
        bad = DefectMap.empty(dark(frame.astype(float), "RGGB")).add(columns=[12], rows=[7])
        bad.write_list(tmp_path / "bad.lst")
        self.run(tmp_path, "load hot", "cosme_cfa bad.lst", "save mended")
        mended = fits.getdata(tmp_path / "mended.fits").astype(int)
        assert (mended[:, 12] < 20_000).all()
        assert (mended[7, :] < 20_000).all()
        good = ~bad.mask
        np.testing.assert_array_equal(mended[good], frame[good])

    def test_list_made_by_siril(self, tmp_path: Path) -> None:
        from astropy.io import fits

        rng = np.random.default_rng(13)
        frame = rng.integers(1000, 1100, (40, 50)).astype("u2")
        frame[3, 5], frame[35, 41] = 30_000, 30_000
        fits.writeto(tmp_path / "hot.fits", frame)
        self.run(tmp_path, "load hot", "find_hot found 20 10")
        read = DefectMap.read_list(tmp_path / "found.lst", dark(frame.astype(float)))
        hot = (read.flags.values & fl.HOT) != 0
        assert np.argwhere(hot).tolist() == [[3, 5], [35, 41]]


class TestRepair:
    @staticmethod
    def frame(signal: np.ndarray, cfa: str = "", variance: Any = 4.0) -> xr.Dataset:
        result = dark(signal, cfa)
        result["variance"] = (DIMS, np.broadcast_to(np.float32(variance), signal.shape).copy())
        return result

    def test_mean_of_the_eight_neighbours(self) -> None:
        rng = np.random.default_rng(14)
        signal = rng.normal(100, 2, (9, 11)).astype("f4")
        light = self.frame(signal)
        light["flags"][4, 5] = fl.HOT
        mended = repair(light)
        around = np.delete(signal[3:6, 4:7].ravel(), 4)
        assert float(mended["signal"][4, 5]) == pytest.approx(around.mean(), rel=1e-6)
        assert float(mended["variance"][4, 5]) == pytest.approx(4 / 8)
        assert mended["flags"].values[4, 5] == fl.HOT | fl.REPAIRED
        rest = np.ones(signal.shape, bool)
        rest[4, 5] = False
        np.testing.assert_array_equal(mended["signal"].values[rest], signal[rest])

    @pytest.mark.parametrize("cfa", ["", "RGGB", "GMYC", XTRANS])
    def test_never_from_another_colour_or_a_flagged_pixel(self, cfa: str) -> None:
        """Each channel has one level; whatever is flagged has a wild value."""
        rng = np.random.default_rng(15)
        shape, y0, x0 = (40, 43), 3, 5
        pattern = Pattern(cfa)
        levels = {name: 100.0 * (i + 1) for i, name in enumerate(pattern.channels)}
        truth = np.array(
            [[levels[pattern.label(y0 + y, x0 + x)] for x in range(shape[1])] for y in range(shape[0])]
        )
        bad = rng.random(shape) < 0.25
        kinds = rng.choice([fl.HOT, fl.COLD, fl.SATURATED, fl.COSMIC_RAY], shape)
        light = self.frame(np.where(bad, 1e6, truth), cfa).assign_coords(coords(shape, y0, x0))
        light["flags"] = (DIMS, np.where(bad, kinds, 0).astype("u2"))
        mended = repair(light)
        done = (mended["flags"].values & fl.REPAIRED) != 0
        np.testing.assert_array_equal(done, bad & (kinds != fl.SATURATED) & done)
        np.testing.assert_allclose(mended["signal"].values[done | ~bad], truth[done | ~bad], rtol=1e-6)
        wanted = bad & (kinds != fl.SATURATED)
        assert done[wanted].mean() > 0.97

    def test_grows_until_there_are_neighbours(self) -> None:
        signal = np.full((15, 15), 50.0)
        light = self.frame(signal)
        light["flags"][5:10, 5:10] = fl.HOT
        light["signal"][5:10, 5:10] = 1e5
        mended = repair(light)
        assert (mended["signal"] == 50).all()
        far = self.frame(np.full((15, 15), 50.0))
        far["flags"][:] = fl.HOT
        far["flags"][0, 0] = 0
        kept = repair(far)
        assert not (kept["flags"].values[4:, 4:] & fl.REPAIRED).any()

    def test_structure_makes_it_less_sure(self) -> None:
        x = np.indices((9, 9))[1]
        light = self.frame(100 + 200.0 * (x > 4))
        light["flags"][4, 4] = fl.HOT
        value = repair(light)
        around = np.delete(light["signal"].values[3:6, 3:6].ravel(), 4)
        assert float(value["variance"][4, 4]) == pytest.approx(4 / 8 + around.var(ddof=1), rel=1e-5)

    def test_variance_is_right(self) -> None:
        rng = np.random.default_rng(16)
        light = self.frame(rng.normal(100, 2, (300, 300)))
        bad = rng.random((300, 300)) < 0.02
        light["flags"] = (DIMS, np.where(bad, fl.HOT, 0).astype("u2"))
        mended = repair(light)
        pull = ((mended["signal"] - 100) / np.sqrt(mended["variance"])).values[bad]
        assert pull.std() == pytest.approx(1, abs=0.06)

    def test_core_of_a_star_is_left(self) -> None:
        light = self.frame(np.full((11, 11), 100.0))
        light["flags"][3:8, 3:8] = fl.SATURATED
        light["signal"][3:8, 3:8] = 60_000
        light["flags"][5, 5] = fl.HOT
        light["signal"][5, 5] = 58_000
        mended = repair(light)
        assert mended["signal"].values[5, 5] == 58_000
        assert mended["flags"].values[5, 5] == fl.HOT

    def test_lazy_and_stacks(self) -> None:
        rng = np.random.default_rng(17)
        signal = rng.normal(100, 2, (2, 40, 30)).astype("f4")
        flags = np.where(rng.random(signal.shape) < 0.1, fl.HOT, 0).astype("u2")
        dims = ("frame", *DIMS)
        data = {"signal": (dims, signal), "variance": (dims, signal * 0 + 4), "flags": (dims, flags)}
        light = xr.Dataset(data, coords=coords(signal.shape), attrs={"cfa": "BGGR"})
        bad = DefectMap.empty(light.isel(frame=0)).add(points=[(3, 4)], columns=[17])
        now, lazy = repair(light, bad), repair(light.chunk(frame=1, y=9), bad)
        assert lazy["signal"].chunks is not None
        xr.testing.assert_identical(lazy.compute(), now)
        one = repair(light.isel(frame=1), bad)
        np.testing.assert_array_equal(one["signal"], now["signal"][1])

    def test_what_is_no_calibrated_frame(self) -> None:
        with pytest.raises(SettingError, match="takes a calibrated frame"):
            repair(dark(np.ones((5, 5))))
        with pytest.raises(CalibkitError, match="does not cover"):
            repair(self.frame(np.ones((5, 5))), DefectMap.empty(dark(np.ones((5, 4)))))
