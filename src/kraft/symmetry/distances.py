"""Distances and displacements between atoms, with the minimum image in a periodic cell."""

from __future__ import annotations

import itertools

import numpy as np

from kraft.core.errors import GeometryError
from kraft.core.typing import FloatArray


def minimum_image(displacements: FloatArray, cell: FloatArray | None) -> FloatArray:
    """Return each displacement's shortest periodic image.

    Parameters
    ----------
    displacements
        ``(..., 3)`` in Å.
    cell
        ``(3, 3)`` in Å, rows are the lattice vectors, or ``None`` for a free molecule.

    Returns
    -------
    FloatArray
        ``(..., 3)`` in Å. After rounding in fractional coordinates the 27 images around are
        compared, which is exact for a reduced cell.
    """
    if cell is None:
        return displacements
    fractional = displacements @ np.linalg.inv(cell)
    wrapped = (fractional - np.round(fractional)) @ cell
    shortest, best = wrapped, np.einsum("...k,...k->...", wrapped, wrapped)
    for shift in itertools.product((-1.0, 0.0, 1.0), repeat=3):
        image = wrapped + np.array(shift) @ cell
        length = np.einsum("...k,...k->...", image, image)
        closer = length < best
        shortest = np.where(closer[..., None], image, shortest)
        best = np.where(closer, length, best)
    return shortest


def distance_matrices(positions: FloatArray, cell: FloatArray | None = None) -> FloatArray:
    """Return the ``(B, N, N)`` distances in Å of the atoms of ``positions`` (B, N, 3) in Å.

    Raises
    ------
    GeometryError
        When the positions have another shape, no frame or values that are not finite.
    """
    if positions.ndim != 3 or positions.shape[2] != 3 or 0 in positions.shape:
        raise GeometryError(
            f"expected positions of shape (frames, atoms, 3), got {positions.shape}; "
            "a single geometry is positions[None]"
        )
    if not np.isfinite(positions).all():
        raise GeometryError(
            "expected finite positions, got NaN or infinity; remove those frames first"
        )
    displacements = minimum_image(positions[:, :, None] - positions[:, None, :], cell)
    distances: FloatArray = np.sqrt(np.einsum("bijk,bijk->bij", displacements, displacements))
    return distances
