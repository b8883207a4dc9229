"""Where a photo is like a reference photo: the likeness of its places, on a grid over the whole photo.

Each crop that is asked about has features of its places, and several crops see each cell of the grid. A cell is as
alike as they find it on average; the map is stretched, because what counts is where it is highest.
"""

from __future__ import annotations

import numpy as np

from assistant.ports import Box
from assistant.skills.own_products.views import ASKED, place

_GRID = 14
# Of the stretched map: what belongs to the thing.
_WARM = 0.6
_SAME = 0.99


def where(wholes: np.ndarray, places: np.ndarray, known: np.ndarray) -> tuple[Box | None, tuple[str, ...]]:
    """The box around what is most alike and the map as rows of digits, 0 to 9. ``wholes`` (n, d) and ``places``
    (n, h, w, d) of the crops `ASKED`; ``known`` (m, d): of a reference photo's crops, unit length.

    Nothing if a whole is not the mean of its places: then places cannot be compared with wholes."""
    if places.shape[-1] != wholes.shape[-1] or _cosine(places.mean((1, 2)), wholes).min() < _SAME:
        return None, ()
    return _shown(_alike(places, known))


def difference(
    wholes: np.ndarray, places: np.ndarray, like: np.ndarray, unlike: np.ndarray
) -> tuple[Box | None, tuple[str, ...]]:
    """As `where`: what is more like the crops ``like`` (m, d) than ``unlike`` (n, d) ones."""
    if places.shape[-1] != wholes.shape[-1] or _cosine(places.mean((1, 2)), wholes).min() < _SAME:
        return None, ()
    return _shown(_alike(places, like) - _alike(places, unlike))


def _alike(places: np.ndarray, known: np.ndarray) -> np.ndarray:
    unit = places / np.maximum(np.linalg.norm(places, axis=-1, keepdims=True), 1e-9)
    found: np.ndarray = (unit @ known.astype(np.float32).T).max(axis=-1)
    return found


def _shown(alike: np.ndarray) -> tuple[Box | None, tuple[str, ...]]:
    warm = _on_grid(alike)
    warm = (warm - warm.min()) / max(float(np.ptp(warm)), 1e-9)
    return _around(warm), tuple("".join(str(int(9 * cell)) for cell in row) for row in warm)


def _on_grid(alike: np.ndarray) -> np.ndarray:
    """(`_GRID`, `_GRID`): the mean of the crops that see each cell. ``alike`` (n, h, w)."""
    sums, counts = np.zeros((_GRID, _GRID)), np.zeros((_GRID, _GRID))
    centres = (np.arange(_GRID) + 0.5) / _GRID
    for number, own in zip(ASKED, alike, strict=True):
        left, top, share = place(number)
        across, down = (centres - left) / share, (centres - top) / share
        columns, rows = (np.flatnonzero((at >= 0) & (at < 1)) for at in (across, down))
        height, width = own.shape
        seen = own[np.ix_((down[rows] * height).astype(int), (across[columns] * width).astype(int))]
        sums[np.ix_(rows, columns)] += seen
        counts[np.ix_(rows, columns)] += 1
    return sums / np.maximum(counts, 1)


def _around(warm: np.ndarray) -> Box:
    """Around the connected cells that are warm, and among them the warmest."""
    from scipy.ndimage import label

    parts, _ = label(warm >= _WARM)
    rows, columns = np.nonzero(parts == parts[np.unravel_index(warm.argmax(), warm.shape)])
    edges = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    return Box(*(float(edge) / _GRID for edge in edges))


def _cosine(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    found: np.ndarray = (one * other).sum(axis=1) / np.maximum(lengths, 1e-9)
    return found
