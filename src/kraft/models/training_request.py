"""What a training was asked for, apart from how its linear system is solved."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from kraft.core.progress import Progress
from kraft.core.typing import IntArray
from kraft.data.dataset import Dataset
from kraft.models.objective import TrainingArrays
from kraft.models.preparation import permutation_group, training_arrays
from kraft.models.selection import Request
from kraft.models.solver_options import SolverOptions
from kraft.symmetry import SymmetryResult


@dataclass(frozen=True, eq=False)
class TrainingRequest:
    """The arguments of :func:`kraft.train` that make the model what it is.

    Attributes
    ----------
    parameters
        Kernel, length scale and regularization, as far as given.
    permutations, max_permutations, feature_weights, energy_weight, device, seed
        As for :func:`kraft.train`.
    """

    parameters: Request
    permutations: Literal["auto"] | ArrayLike | None
    max_permutations: int | None
    feature_weights: ArrayLike | None
    energy_weight: float
    device: str
    seed: int

    def group(
        self, training: Dataset, progress: Progress
    ) -> tuple[IntArray, SymmetryResult | None]:
        """Return the ``(S, N)`` permutations to use, and how they were found (None when given)."""
        return permutation_group(
            training, self.permutations, self.max_permutations, self.seed, progress
        )

    def arrays(
        self, training: Dataset, validation: Dataset | None, group: IntArray
    ) -> TrainingArrays:
        """Return the tensors to work on."""
        return training_arrays(
            training, validation, group, self.feature_weights, self.energy_weight, self.device
        )

    def identity(
        self, training: Dataset, validation: Dataset | None, options: SolverOptions
    ) -> dict[str, Any]:
        """Return what must be the same for a training to be resumed; names are for people."""
        return {
            "training set": training.fingerprint,
            "validation set": None if validation is None else validation.fingerprint,
            "kernel": self.parameters.kernel,
            "length scale": self.parameters.length_scale,
            "regularization": self.parameters.regularization,
            "choice of permutations": _described(self.permutations),
            "largest number of permutations": self.max_permutations,
            "feature weights": _described(self.feature_weights),
            "energy weight": float(self.energy_weight),
            **options.identity(),
            "seed": self.seed,
        }


def _described(value: ArrayLike | None) -> str | None:
    """Return words as they are, and the fingerprint of an array."""
    if value is None or isinstance(value, str):
        return value
    array = np.ascontiguousarray(value, dtype=np.float64)
    return f"array {hashlib.sha256(repr(array.shape).encode() + array.tobytes()).hexdigest()[:16]}"
