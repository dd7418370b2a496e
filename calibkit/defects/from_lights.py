"""Hot pixels from lights alone: what stays on its pixel while the sky moves."""

from __future__ import annotations

import math

import numpy as np
import xarray as xr

from calibkit import flags as fl
from calibkit.calibration.checks import check_frame
from calibkit.defects.defect_map import POINT, DefectMap
from calibkit.defects.surroundings import measure_surroundings, standing_out
from calibkit.errors import MismatchError
from calibkit.progress import Progress

#: Fewer lights than this do not tell a star from a hot pixel.
LEAST_LIGHTS = 3
#: Beside a star the next pixels stand out by this share of its excess, or by this many sigma.
_SHARE, _BESIDE_SIGMA = 0.25, 3.0
_AROUND = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if dy or dx]


def find_in_lights(
    lights: xr.DataArray, reference: DefectMap, sigma: float, persistence: float, progress: Progress
) -> DefectMap:
    """Pixels that stand out alone in so large a share of the lights."""
    lights = check_frame(lights, "find_defects(lights=)")
    count = lights.sizes.get("frame", 1)
    if count < LEAST_LIGHTS:
        msg = (
            f"find_defects: {LEAST_LIGHTS} lights at least are needed, shifted against each other, to tell hot "
            f"pixels from stars; found {count}"
        )
        raise MismatchError(msg)
    shape = lights.shape[1:]
    if shape != reference.flags.shape:
        msg = f"find_defects: the lights measure {shape} pixels and the masters {reference.flags.shape} (rows, columns)"
        raise MismatchError(msg)
    hits = np.zeros(shape, np.uint16)
    best = np.zeros(shape, np.float32)
    for number in range(count):
        progress(number, count, "look for hot pixels in lights")
        frame = xr.Dataset(
            {"signal": (("y", "x"), np.asarray(lights[number].data))},
            coords={dim: lights.coords[dim] for dim in ("y", "x") if dim in lights.coords},
            attrs={"cfa": lights.attrs.get("cfa", "")},
        )
        stands = standing_out(frame, measure_surroundings(frame), least=0.5 * sigma)
        y, x = np.nonzero(stands > sigma)
        beside = np.pad(stands, 1)
        most = np.max([beside[y + 1 + dy, x + 1 + dx] for dy, dx in _AROUND], axis=0)
        own = stands[y, x]
        alone = most < np.maximum(_SHARE * own, _BESIDE_SIGMA)
        y, x, own = y[alone], x[alone], own[alone]
        hits[y, x] += 1
        best[y, x] += own
    progress(count, count, "look for hot pixels in lights")
    hot = hits >= math.ceil(persistence * count - 1e-9)
    y, x = np.nonzero(hot)
    points = np.empty(y.size, POINT)
    points["y"], points["x"] = reference.flags.y.values[y], reference.flags.x.values[x]
    points["sigma"] = best[y, x] / hits[y, x]
    return DefectMap(reference.flags.copy(data=hot.astype(fl.FLAG_DTYPE) * np.uint16(fl.HOT)), points)
