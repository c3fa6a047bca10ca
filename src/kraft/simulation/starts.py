"""Geometries that replicas start from."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from kraft.core.errors import GeometryError, OptionError
from kraft.core.typing import FloatArray
from kraft.models import ForceField


def start_geometries(
    force_field: ForceField, starts: ArrayLike | None, n_replicas: int
) -> FloatArray:
    """Return the start of every replica: ``(R, N, 3)`` in Å.

    Parameters
    ----------
    force_field
        The model.
    starts
        ``(N, 3)`` or ``(S, N, 3)`` in Å; replica ``r`` starts from number ``r mod S``. None for
        training geometries, spread over the set.
    n_replicas
        Number of replicas ``R``.

    Raises
    ------
    OptionError
        When there are no starts.
    GeometryError
        When they do not fit the molecule or are not finite.
    """
    given = _spread_over_training(force_field, n_replicas) if starts is None else starts
    array = np.asarray(given, dtype=np.float64)
    n_atoms, shape = len(force_field.atomic_numbers), array.shape
    array = array[None] if array.ndim == 2 else array
    if array.ndim != 3 or array.shape[1:] != (n_atoms, 3) or len(array) == 0:
        raise GeometryError(
            f"Expected starts of shape ({n_atoms}, 3) or (S, {n_atoms}, 3) in Å, got {shape}. The "
            f"model is for a molecule of {n_atoms} atoms."
        )
    if not np.isfinite(array).all():
        raise GeometryError("Expected finite starts, got NaN or infinite positions.")
    chosen: FloatArray = array[np.arange(n_replicas) % len(array)]
    return chosen


def _spread_over_training(force_field: ForceField, n_replicas: int) -> FloatArray:
    trained = force_field.parameters.training_positions
    if trained is None:
        raise OptionError(
            "The model lacks its training geometries: give geometries to start from (starts)."
        )
    spaced = np.linspace(0, len(trained) - 1, min(n_replicas, len(trained)))
    spread: FloatArray = trained[spaced.round().astype(np.int64)]
    return spread
