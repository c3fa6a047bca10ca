"""Geometries that a force field is asked about: checked before, explained after."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from kraft.core.errors import GeometryError
from kraft.core.typing import FloatArray


def checked_positions(positions: ArrayLike, n_atoms: int) -> FloatArray:
    """Return a copy of positions ``(N, 3)`` or ``(B, N, 3)`` in Å as float64.

    Raises
    ------
    GeometryError
        When the shape does not fit a molecule of ``n_atoms``, or there is no geometry.
    """
    array = np.array(positions, dtype=np.float64, order="C")  # torch wants it writable
    if array.ndim not in (2, 3) or array.shape[-2:] != (n_atoms, 3):
        raise GeometryError(
            f"Expected positions of shape ({n_atoms}, 3) or (B, {n_atoms}, 3) in Å, got "
            f"{array.shape}. The model is for a molecule of {n_atoms} atoms."
        )
    if array.size == 0:
        raise GeometryError("Expected at least one geometry, got none.")
    return array


def not_finite(positions: FloatArray, index: int) -> GeometryError:
    """Return the error for geometry ``index`` of ``(B, N, 3)``, whose prediction is not finite."""
    where = f"geometry {index}" if len(positions) > 1 else "the geometry"
    if not np.isfinite(positions[index]).all():
        return GeometryError(
            f"Expected finite positions, but {where} has NaN or infinite ones. "
            "Look at the step before: a simulation may have become unstable."
        )
    return GeometryError(
        f"Two atoms of {where} are in the same place, so their distance has no inverse. "
        "Check the positions."
    )
