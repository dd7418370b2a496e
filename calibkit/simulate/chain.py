"""The signal chain: from light and heat to the numbers of a camera file."""

from __future__ import annotations

import math

import numpy as np

from calibkit.kernels.chance import poisson_from_normal
from calibkit.simulate.chance import normals, over_bands, stream
from calibkit.simulate.detector import Detector


def expose(
    detector: Detector,
    light: np.ndarray | None,
    *,
    exposure: float,
    temperature: float,
    seed: int,
    frame_index: int,
) -> np.ndarray:
    """One frame as the camera writes it.

    Parameters
    ----------
    detector : Detector
    light : numpy.ndarray or None
        Electrons per second that light makes in each pixel, float32 of shape (y, x).
    exposure, temperature : float
        In seconds and °C.
    seed, frame_index : int
        Both together say which random numbers are used.

    Returns
    -------
    numpy.ndarray
        uint16 of shape (y, x), in ADU.
    """
    charge = np.zeros(detector.shape, np.float32)
    if exposure > 0:
        _collect(detector, light, charge, exposure, temperature, seed, frame_index)
        _cosmic_rays(detector, charge, exposure, seed, frame_index)
        if detector.has("saturation"):
            full = np.float32(detector.camera.full_well)
            if detector.camera.blooming and detector.has("blooming"):
                bloom(charge, full)
            np.minimum(charge, full, out=charge)
    return _read_out(detector, charge, seed, frame_index)


def _collect(
    detector: Detector,
    light: np.ndarray | None,
    charge: np.ndarray,
    exposure: float,
    temperature: float,
    seed: int,
    frame_index: int,
) -> None:
    """Add the electrons of light and heat, with their noise."""
    camera = detector.camera
    thermal, (glow_y, glow_x) = detector.thermal, detector.glow
    heat = np.float32(camera.thermal_factor(temperature))
    time = np.float32(exposure)
    smear = None
    if light is not None and camera.smear and detector.has("smear"):
        smear = np.float32(camera.smear) * light.sum(axis=0, dtype=np.float32)
    jumping = telegraph(detector, seed, frame_index) * (heat * time)

    def collect(part: np.ndarray, mean: np.ndarray, effect: str, band: int) -> None:
        if detector.has(effect):
            z = normals(seed, effect, part.shape, frame_index, band)
            poisson_from_normal(mean, z)
            part += z
        else:
            part += mean

    def work(band: int, y0: int, y1: int) -> None:
        part = charge[y0:y1]
        mean = (thermal[y0:y1] * heat + glow_y[y0:y1] * glow_x) * time
        if jumping.size:
            first = np.searchsorted(detector.telegraph_index, (y0 * part.shape[1], y1 * part.shape[1]))
            mean.reshape(-1)[detector.telegraph_index[slice(*first)] - y0 * part.shape[1]] += jumping[
                slice(*first)
            ]
        collect(part, mean, "thermal noise", band)
        if light is None:
            return
        mean = light[y0:y1] * time
        if smear is not None:
            mean += smear
        collect(part, mean, "photon noise", band)

    over_bands(detector.shape, work)


def telegraph(detector: Detector, seed: int, frame_index: int) -> np.ndarray:
    """What each telegraph pixel adds in this frame, in electrons per second at the reference temperature."""
    if not detector.has("telegraph pixels"):
        return np.zeros(0, np.float32)
    high = stream(seed, "telegraph pixels", frame_index).random(detector.telegraph_index.size) < 0.5
    return (detector.camera.telegraph_rate * high).astype(np.float32)


def _cosmic_rays(
    detector: Detector, charge: np.ndarray, exposure: float, seed: int, frame_index: int
) -> None:
    """Short straight tracks of charge, about a thousand electrons in each pixel."""
    camera = detector.camera
    if not (camera.cosmic_rays and detector.has("cosmic rays")):
        return
    rng = stream(seed, "cosmic rays", frame_index)
    height, width = charge.shape
    for _ in range(rng.poisson(camera.cosmic_rays * exposure * charge.size / 1e6)):
        y, x, angle = rng.random() * height, rng.random() * width, rng.random() * 2 * math.pi
        step = np.arange(1 + rng.geometric(0.35))
        ys = (y + step * math.sin(angle)).astype(int)
        xs = (x + step * math.cos(angle)).astype(int)
        hit = (ys >= 0) & (ys < height) & (xs >= 0) & (xs < width)
        np.add.at(charge, (ys[hit], xs[hit]), rng.gamma(2.0, 600.0, hit.sum()).astype(np.float32))


def bloom(charge: np.ndarray, full: float) -> None:
    """Let charge above *full* flow along the columns of *charge*, half of it up and half down, in place.

    No charge is lost but what flows over the upper or lower edge.
    """
    columns = np.flatnonzero((charge > full).any(axis=0))
    if not columns.size:
        return
    part = charge[:, columns]
    over = np.maximum(part - full, 0)
    part -= over
    for rows in (range(part.shape[0]), range(part.shape[0] - 1, -1, -1)):
        flow = np.zeros(columns.size, np.float32)
        for y in rows:
            flow += over[y] / 2
            taken = np.minimum(flow, full - part[y])
            part[y] += taken
            flow -= taken
    charge[:, columns] = part


def _read_out(detector: Detector, charge: np.ndarray, seed: int, frame_index: int) -> np.ndarray:
    camera = detector.camera
    rows, columns = detector.offset
    if detector.has("row noise") and camera.row_noise:
        z = stream(seed, "row noise", frame_index).standard_normal(rows.shape, dtype=np.float32)
        rows = rows + np.float32(camera.row_noise) * z
    wave = _interference(detector, seed, frame_index)
    out = np.empty(charge.shape, np.uint16)
    bend = np.float32(camera.non_linearity / camera.full_well) if detector.has("non-linearity") else 0

    def work(band: int, y0: int, y1: int) -> None:
        part = charge[y0:y1]
        if bend:
            part -= bend * part * part
        if detector.has("read noise") and camera.read_noise:
            part += np.float32(camera.read_noise) * normals(seed, "read noise", part.shape, frame_index, band)
        part *= np.float32(1 / camera.gain)
        part += rows[y0:y1]
        part += columns
        for column, row in wave:
            part += column[y0:y1] * row
        np.rint(part, out=part)
        out[y0:y1] = np.clip(part, 0, camera.white, out=part)

    over_bands(charge.shape, work)
    return out


def _interference(detector: Detector, seed: int, frame_index: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """A plane wave as a sum of two products of a column and a row."""
    camera = detector.camera
    if not (camera.interference and detector.has("interference")):
        return []
    turn = 2 * math.pi
    phase = turn * stream(seed, "interference", frame_index).random()
    angle = math.radians(camera.interference_angle)
    y = np.arange(detector.shape[0])[:, None] * (turn * math.sin(angle) / camera.interference_period) + phase
    x = np.arange(detector.shape[1])[None, :] * (turn * math.cos(angle) / camera.interference_period)
    waves = ((np.sin(y), np.cos(x)), (np.cos(y), np.sin(x)))
    return [((camera.interference * a).astype(np.float32), b.astype(np.float32)) for a, b in waves]
