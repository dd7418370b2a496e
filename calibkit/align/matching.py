"""Which star of one frame is which of another, and the map between the two."""

from __future__ import annotations

import itertools

import numpy as np

from calibkit.errors import SettingError

#: Model → least number of stars that it needs.
MODELS = {"translation": 1, "euclidean": 2, "similarity": 2, "affine": 3}
#: Triangles of the brightest stars, all of them, and of more stars with their neighbours.
_BRIGHTEST, _MORE, _NEIGHBOURS = 14, 70, 6
#: Sides of the same triangle agree to so many pixels, and by this share for a scale that changed with the focus.
_SIDE, _SCALE = 1.5, 0.003
_NEAR = 3.0
_TRIED = 400


def fit(model: str, source: np.ndarray, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The 3 × 3 matrix that takes *source* (n, 2) to *target* with least weighted squares.

    A rotation and scale are found in the complex plane, where they are one factor; see Umeyama, S. 1991, IEEE
    Transactions on Pattern Analysis and Machine Intelligence 13, 376.
    """
    if model not in MODELS:
        msg = f"model={model!r} is not known; allowed are {', '.join(map(repr, MODELS))}"
        raise SettingError(msg)
    w = weight / weight.sum()
    centre, goal = w @ source, w @ target
    a, b = source - centre, target - goal
    turn = np.eye(2)
    if model in ("euclidean", "similarity"):
        z, u = a[:, 0] + 1j * a[:, 1], b[:, 0] + 1j * b[:, 1]
        factor = np.sum(w * u * z.conj()) / np.sum(w * np.abs(z) ** 2)
        if model == "euclidean":
            factor /= abs(factor)
        turn = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    elif model == "affine":
        root = np.sqrt(w)[:, None]
        turn = np.linalg.lstsq(a * root, b * root, rcond=None)[0].T
    matrix = np.eye(3)
    matrix[:2, :2] = turn
    matrix[:2, 2] = goal - turn @ centre
    return matrix


def move(matrix: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Places (n, 2) moved by a 3 × 3 matrix."""
    return xy @ matrix[:2, :2].T + matrix[:2, 2]


def match(source: np.ndarray, target: np.ndarray, *, least: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Pairs of stars of two lists (n, 2), brightest first, or None when the fields do not match.

    Triangles with the same three sides, in the same order round, propose a map; the one under which most stars find a
    partner wins, and is then fitted to more and more of them. A chance match is told by its number of pairs.

    References
    ----------
    Groth, E. J. 1986, "A pattern-matching algorithm for two-dimensional coordinate lists", AJ 91, 1244.
    Beroiz, M., Cabral, J. B. & Sanchez, B. 2020, "Astroalign", Astronomy and Computing 32, 100384.
    """
    from scipy.spatial import cKDTree

    if min(len(source), len(target)) < max(3, least):
        return None
    corners_a, sides_a = _triangles(source)
    corners_b, sides_b = _triangles(target)
    if not len(corners_a) or not len(corners_b):
        return None
    size = sides_a[:, 2:3]
    distance, near = cKDTree(sides_b).query(
        sides_a, k=min(3, len(sides_b)), distance_upper_bound=_SIDE * 1.8 + _SCALE * float(size.max())
    )
    distance, near = distance.reshape(len(sides_a), -1), near.reshape(len(sides_a), -1)
    i, k = np.nonzero(distance <= 1.8 * _SIDE + _SCALE * size)
    if not i.size:
        return None
    j = near[i, k]
    # the longest sides fix the rotation best
    order = np.argsort(-sides_a[i, 2] / (1 + distance[i, k]))[:_TRIED]
    tree = cKDTree(target)
    best, best_count = None, 0
    few = source[:100]
    for n in order:
        matrix = fit("similarity", source[corners_a[i[n]]], target[corners_b[j[n]]], np.ones(3))
        if abs(np.hypot(matrix[0, 0], matrix[1, 0]) - 1) > 0.02:
            continue
        count = int((tree.query(move(matrix, few), distance_upper_bound=_NEAR)[0] < np.inf).sum())
        if count > best_count:
            best, best_count = matrix, count
            if count > 0.7 * min(len(few), len(target)) and count >= 2 * least:
                break
    if best is None or best_count < 3:
        return None
    return _grown(best, source, target, tree, least)


def _grown(
    matrix: np.ndarray, source: np.ndarray, target: np.ndarray, tree: object, least: int
) -> tuple[np.ndarray, np.ndarray] | None:
    """Pairs under *matrix*, fitted again and again to the stars that agree with it."""
    pairs = None
    for reach in (_NEAR, _NEAR, _NEAR, 2.0, 2.0, 1.5):
        distance, partner = tree.query(move(matrix, source), distance_upper_bound=reach)
        mine = np.flatnonzero(distance < np.inf)
        # one partner each: the nearer one
        mine = mine[np.argsort(distance[mine], kind="stable")]
        _, first = np.unique(partner[mine], return_index=True)
        mine = mine[np.sort(first)]
        if mine.size < 3:
            return None
        pairs = mine, partner[mine]
        matrix = fit("similarity", source[mine], target[partner[mine]], np.ones(mine.size))
    count = pairs[0].size
    extent = np.ptp(target, axis=0).prod()
    chance = len(source) * len(target) * np.pi * 1.5**2 / max(extent, 1.0)
    return pairs if count >= least and count > chance + 4 * np.sqrt(chance) else None


def _triangles(xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners (n, 3), those opposite the shortest side first, and sides (n, 3); both ways round are told apart."""
    from scipy.spatial import cKDTree

    sets = set(itertools.combinations(range(min(len(xy), _BRIGHTEST)), 3))
    some = xy[:_MORE]
    if len(some) > 3:
        _, near = cKDTree(some).query(some, k=min(_NEIGHBOURS, len(some)))
        for row in near:
            sets |= {tuple(sorted(c)) for c in itertools.combinations(row.tolist(), 3)}
    corners = np.array(sorted(sets))
    p = xy[corners]
    sides = np.stack(
        [np.linalg.norm(p[:, (k + 1) % 3] - p[:, (k + 2) % 3], axis=1) for k in range(3)], axis=1
    )
    order = np.argsort(sides, axis=1)
    corners, sides = np.take_along_axis(corners, order, 1), np.take_along_axis(sides, order, 1)
    p = xy[corners]
    u, v = p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]
    area = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0]
    keep = (np.abs(area) > 0.02 * sides[:, 2] ** 2) & (sides[:, 0] > 8)
    # a mirrored triangle lies far away from its image
    signed = np.concatenate([sides, np.sign(area)[:, None] * 1e4], axis=1)
    return corners[keep], signed[keep]
