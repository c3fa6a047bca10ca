"""The radius of gyration."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from kraft.core.errors import OptionError
from kraft.core.typing import FloatArray


def radius_of_gyration(positions: ArrayLike, masses: ArrayLike | None = None) -> FloatArray:
    """Return root mean square distances ``(T,)`` from the center.

    Parameters
    ----------
    positions
        ``(T, N, 3)`` in Å.
    masses
        ``(N,)`` for the mass-weighted radius about the center of mass; equal weights by default.

    Raises
    ------
    OptionError
        When the masses are not as many as the atoms.
    """
    points = np.asarray(positions, dtype=np.float64)
    weights = np.ones(points.shape[1]) if masses is None else np.asarray(masses, np.float64)
    if weights.shape != points.shape[1:2]:
        raise OptionError(f"Expected {points.shape[1]} masses, got shape {weights.shape}.")
    weights = weights / weights.sum()
    vectors = points - np.einsum("n,tnx->tx", weights, points)[:, None]
    radii: FloatArray = np.sqrt(np.einsum("n,tnx,tnx->t", weights, vectors, vectors))
    return radii
