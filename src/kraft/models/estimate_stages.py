"""What the stages beside the linear system take: the choice of hyper-parameters, predictions."""

from __future__ import annotations

from dataclasses import dataclass

from kraft.linalg.panels import panel_entries
from kraft.models.evaluator import CHUNK_ELEMENTS
from kraft.models.objective import KEPT_SYSTEMS, TrainingArrays
from kraft.models.preparation import MAX_VALID_IN_SEARCH
from kraft.models.selection import (
    LARGE_SYSTEM,
    SMALL_SYSTEM,
    TYPICAL_FINALISTS,
    TYPICAL_LENGTH_SCALES,
    TYPICAL_TRIALS,
    Request,
    subset_size,
)

SMALL_FACTORIZATION_SPEED = 0.5
"""Of the factorization of a small matrix by one thread, relative to products of matrices."""


@dataclass(frozen=True)
class Counts:
    """Sizes from which memory and time follow."""

    arrays: TrainingArrays
    n_train: int
    n_valid: int
    n_symmetries: int
    block_size: int

    @property
    def n_features(self) -> int:
        """Number of interatomic distances."""
        return self.arrays.descriptor.n_features

    @property
    def array_memory(self) -> int:
        """Bytes of features, gradients and bases of the training geometries."""
        n_atoms = self.arrays.descriptor.n_atoms
        entries = 8 * self.n_features + 3 * n_atoms * self.block_size
        return 8 * self.n_train * entries

    @property
    def model_memory(self) -> int:
        """Bytes of the force field, made after the solution, and of a chunk of predictions."""
        entries = 4 * self.n_features + 6 * self.arrays.descriptor.n_atoms
        queries = min(CHUNK_ELEMENTS, 3 * self.n_features * max(self.n_train, self.n_valid))
        return 8 * (self.n_train * entries + 3 * queries)

    @property
    def prediction_flops(self) -> float:
        """Operations of the residual, the integration constant and the validation."""
        queries = 2 * self.n_train + self.n_valid
        return self.query_flops(self.n_train) * queries

    def query_flops(self, n_train: int) -> float:
        """Return the operations of one prediction with a model of ``n_train`` geometries."""
        return 8.0 * n_train * self.n_symmetries * self.n_features

    def subset(self, n_labels: int) -> int:
        """Return how many geometries a round of the choice works on."""
        return subset_size(self.n_train, n_labels, self.arrays.labels_per_geometry)


def choice_seconds(counts: Counts, request: Request, flops: float, assembly: float) -> float:
    """Return the seconds that a choice takes.

    Parameters
    ----------
    flops
        Operations per second of products of matrices.
    assembly
        Seconds that a pair of geometries takes in an assembly.
    """
    if request.complete:
        return 0.0
    small, large = counts.subset(SMALL_SYSTEM), counts.subset(LARGE_SYSTEM)
    rounds = [(small, len(request.kernels), *_trials(request, 0))]
    if large > small:
        rounds.append((large, min(TYPICAL_FINALISTS, len(request.kernels)), *_trials(request, 1)))
    factorization = SMALL_FACTORIZATION_SPEED * flops
    total = 0.0
    for n_geometries, n_kernels, n_trials, n_length_scales in rounds:
        size = n_geometries * counts.block_size
        if counts.n_valid:
            n_queries = min(counts.n_valid, MAX_VALID_IN_SEARCH)
            extra = counts.query_flops(n_geometries) * n_queries / flops
        else:  # the inverse
            extra = 2.0 * size**3 / 3.0 / factorization
        trial = size**3 / 3.0 / factorization + extra
        pairs = 0.5 * n_geometries * (n_geometries + 1)
        total += n_kernels * (n_trials * trial + n_length_scales * assembly * pairs)
    return total


def _trials(request: Request, number: int) -> tuple[int, int]:
    """Return how many trials, and how many length scales among them, one kernel takes."""
    trials, length_scales = TYPICAL_TRIALS[number], TYPICAL_LENGTH_SCALES[number]
    if request.length_scale is not None:
        return length_scales, 1
    if request.regularization is not None:
        return length_scales, length_scales
    return trials, length_scales


def choice_memory(counts: Counts) -> int:
    """Return the peak of a choice: the matrices kept, the one factorized, and its inverse."""
    size = counts.subset(LARGE_SYSTEM) * counts.block_size
    panels = (KEPT_SYSTEMS + 1) * panel_entries(size, counts.block_size)
    inverses = 0 if counts.n_valid else 3  # the factor as a full matrix, a copy, the inverse
    return 8 * (panels + inverses * size**2)
