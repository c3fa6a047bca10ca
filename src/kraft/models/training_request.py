"""What a training was asked for, apart from how its linear system is solved."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from kraft.core.errors import OptionError
from kraft.core.progress import Progress
from kraft.core.typing import IntArray
from kraft.data.dataset import Dataset
from kraft.models.checkpoint import TrainingState
from kraft.models.metric import AUTO, LEARNED, MetricOptions, worth_learning
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
    permutations, max_permutations, feature_weights, feature_mixing, features, feature_function
        As for :func:`kraft.train`.
    energy_weight, device, seed, metric_options
        As for :func:`kraft.train`.
    """

    parameters: Request
    permutations: Literal["auto"] | ArrayLike | None
    max_permutations: int | None
    feature_weights: Literal["auto", "learned"] | ArrayLike | None
    feature_mixing: ArrayLike | None
    features: ArrayLike | None
    feature_function: str
    energy_weight: float
    device: str
    seed: int
    metric_options: MetricOptions

    def group(
        self, training: Dataset, progress: Progress
    ) -> tuple[IntArray, SymmetryResult | None]:
        """Return the ``(S, N)`` permutations to use, and how they were found (None when given)."""
        return permutation_group(
            training, self.permutations, self.max_permutations, self.seed, progress
        )

    @property
    def may_learn_metric(self) -> bool:
        """Whether the weights of the features are to be learned, or are where that can help."""
        if not isinstance(self.feature_weights, str):
            return False
        if self.feature_mixing is not None:
            raise OptionError(
                "How features mix can only be given together with their weights, which are learned "
                "otherwise: give feature_weights, an array or None for equal ones, too."
            )
        if self.feature_weights not in (AUTO, LEARNED):
            raise OptionError(
                f"Unknown feature weights {self.feature_weights!r}: give 'auto', 'learned', None "
                "or a (D,) array."
            )
        return True

    @property
    def demands_metric(self) -> bool:
        """Whether the weights of the features are to be learned in any case."""
        return self.may_learn_metric and self.feature_weights == LEARNED

    def learns_metric(self, arrays: TrainingArrays) -> bool:
        """Tell whether the weights of the features are learned from these data."""
        if not self.may_learn_metric or self.demands_metric:
            return self.may_learn_metric
        return worth_learning(arrays, arrays.n_train, self.parameters, self.metric_options)

    def arrays(
        self,
        training: Dataset,
        validation: Dataset | None,
        group: IntArray,
        saved: TrainingState | None = None,
    ) -> TrainingArrays:
        """Return the tensors to work on, with the metric that was given or, earlier, learned."""
        weights, mixing = self.feature_weights, self.feature_mixing
        if self.may_learn_metric:
            weights = None if saved is None else saved.feature_weights
            mixing = None if saved is None else saved.feature_mixing
        return training_arrays(
            training,
            validation,
            group,
            weights,
            self.energy_weight,
            self.device,
            self.features,
            self.feature_function,
            mixing,
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
            "mixing of features": _described(self.feature_mixing),
            "learning of the metric": repr(self.metric_options) if self.may_learn_metric else None,
            "choice of features": _described(self.features),
            "feature function": self.feature_function,
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
