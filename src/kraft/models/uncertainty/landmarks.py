"""An upper bound: the exact posterior of some of the training geometries.

Knowing less cannot make a Gaussian process surer, so the posterior variances given the labels of
some geometries are upper bounds of those given all, whatever the size of the training set. The
bound is loose (deviations 2.5 times the exact ones with 70 of 200 geometries of aspirin, 4.5 times
with 50 of 200 of ethanol), but follows them closely, so that with a calibration it serves as well.
"""

from __future__ import annotations

import numpy as np

from kraft.core.errors import MemoryLimitError
from kraft.core.memory import available_memory
from kraft.core.progress import Progress, silent
from kraft.core.random import generator
from kraft.models.uncertainty.base import Direction
from kraft.models.uncertainty.exact import ExactUncertainty
from kraft.models.uncertainty.system import TrainedSystem
from kraft.solvers import DenseCholesky

LANDMARK_LABELS = 4000
"""Labels of the landmark geometries: a variance then costs some ten million operations a force."""


class LandmarkUncertainty(ExactUncertainty):
    """Upper bounds of the exact deviations, from a random choice of training geometries.

    Parameters
    ----------
    system
        The model's system.
    max_memory
        Bytes it may use in all; what the machine has available when not given.
    seed
        Of the choice of landmarks.
    labels
        Labels of the landmarks, about.
    progress
        Told of the factorization.
    """

    method: str = "landmarks"
    direction: Direction = "upper bound"

    def __init__(
        self,
        system: TrainedSystem,
        max_memory: int | None = None,
        *,
        seed: int = 0,
        labels: int = LANDMARK_LABELS,
        progress: Progress = silent,
    ) -> None:
        n_train, block = len(system.operator.geometries), system.operator.block_size
        count = min(n_train, max(1, labels // block))
        allowed = max_memory or available_memory(system.operator.device)
        while DenseCholesky.required_memory(count * block, block) > allowed:
            if count == 1:
                raise MemoryLimitError(
                    f"Not even one landmark geometry fits into {allowed} bytes. Allow more memory."
                )
            count //= 2
        order = generator(seed, "landmarks").permutation(n_train)
        chosen = np.sort(order[:count])
        super().__init__(
            system.subset(chosen), max_memory, progress, reference=system.operator.geometries
        )
        self.description = (
            "Upper bounds of the posterior standard deviations: those of the Gaussian process "
            f"given {count} of its {n_train} training geometries."
        )
