"""What a force field predicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np

from kraft.core.progress import Progress, silent
from kraft.core.typing import FloatArray

BATCH = 64
"""Geometries predicted at once, so that progress can be told between."""


class Prediction(NamedTuple):
    """Energies in eV and forces in eV/Å.

    For ``B`` geometries energies are ``(B,)`` and forces ``(B, N, 3)``; for a single geometry
    ``(N, 3)`` they are ``()`` and ``(N, 3)``.
    """

    energies: FloatArray
    forces: FloatArray


class UncertainPrediction(NamedTuple):
    """Energies in eV and forces in eV/Å with the standard deviation of each, in the same shapes."""

    energies: FloatArray
    forces: FloatArray
    energies_std: FloatArray
    forces_std: FloatArray


Predicted = TypeVar("Predicted", Prediction, UncertainPrediction)


def in_batches(
    predict: Callable[[FloatArray], Predicted],
    positions: FloatArray,
    stage: str,
    progress: Progress = silent,
) -> Predicted:
    """Predict at positions ``(B, N, 3)`` in Å, telling how far it is under the name ``stage``."""
    parts = []
    for start in range(0, len(positions), BATCH):
        progress(stage, start, len(positions))
        parts.append(predict(positions[start : start + BATCH]))
    progress(stage, len(positions), len(positions))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return type(parts[0])(*columns)
