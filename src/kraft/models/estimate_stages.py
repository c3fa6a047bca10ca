"""What the stages beside the linear system take: the choice of hyper-parameters, predictions."""

from __future__ import annotations

from dataclasses import dataclass

from kraft.linalg.panels import panel_entries
from kraft.models.evaluator import CHUNK_ELEMENTS
from kraft.models.metric.learning import EARLY_SHARE, LEAST_EARLY, MetricOptions
from kraft.models.objective import KEPT_SYSTEMS, TrainingArrays
from kraft.models.preparation import MAX_VALID_IN_SEARCH
from kraft.models.selection import (
    LARGE_SYSTEM,
    LARGEST_SYSTEM,
    LAST_GROWTH,
    LAST_KERNELS,
    SMALL_SYSTEM,
    TYPICAL_FINALISTS,
    TYPICAL_LAST_TRIALS,
    TYPICAL_LENGTH_SCALES,
    TYPICAL_TRIALS,
    Request,
    held_out_size,
    subset_size,
)

SMALL_FACTORIZATION_SPEED = 0.5
"""Of the factorization of a small matrix by one thread, relative to products of matrices."""

LAST_FACTORIZATION_SPEED = 0.75
"""The same for the matrices of the last round, by all threads."""

TYPICAL_EVALUATIONS, TYPICAL_LATE_EVALUATIONS = 25, 30
"""Of the objective of a metric, on the first geometries and then on all."""

GRADIENT_ASSEMBLIES = 5.0
"""Times that the matrix could be assembled in the time of such an evaluation and its gradient."""


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

    @property
    def n_held_out(self) -> int:
        """Training geometries that a choice judges by, where there is no validation."""
        if self.n_valid:
            return 0
        return held_out_size(self.n_train, self.arrays.labels_per_geometry)

    @property
    def n_judging(self) -> int:
        """Geometries whose error a trial predicts; 0 where it takes the leave-one-out error."""
        return min(self.n_valid, MAX_VALID_IN_SEARCH) or self.n_held_out

    @property
    def learned_from(self) -> int:
        """Geometries that weights of features are learned from."""
        labels = MetricOptions().max_labels
        return subset_size(self.n_train, labels, self.arrays.labels_per_geometry)

    def subset(self, n_labels: int) -> int:
        """Return how many geometries a round of the choice works on."""
        n_available = self.n_train - self.n_held_out
        return subset_size(n_available, n_labels, self.arrays.labels_per_geometry)


@dataclass(frozen=True)
class _Round:
    """A round of the choice: geometries, kernels, trials of each, length scales among them."""

    n_geometries: int
    n_kernels: int
    n_trials: int
    n_length_scales: int
    speed: float = SMALL_FACTORIZATION_SPEED


def choice_seconds(
    counts: Counts, request: Request, flops: float, assembly: float, *, learning: bool = False
) -> float:
    """Return the seconds that a choice takes.

    Parameters
    ----------
    flops
        Operations per second of products of matrices.
    assembly
        Seconds that a pair of geometries takes in an assembly.
    learning
        Whether weights of features are learned: then two rounds are made before, all after it.
    """
    rounds = _rounds(counts, request)
    seconds = sum(_round_seconds(one, counts, flops, assembly) for one in rounds)
    if not learning:
        return seconds
    seconds += sum(_round_seconds(one, counts, flops, assembly) for one in rounds[:2])
    return seconds + _learning_seconds(counts, flops, assembly)


def _learning_seconds(counts: Counts, flops: float, assembly: float) -> float:
    """Return the seconds that the learning of a metric takes as a rule."""
    n_geometries = counts.learned_from
    early = int(EARLY_SHARE * n_geometries)
    sizes = [(n_geometries, TYPICAL_EVALUATIONS)]
    if early >= LEAST_EARLY:
        sizes = [(early, TYPICAL_EVALUATIONS), (n_geometries, TYPICAL_LATE_EVALUATIONS)]
    seconds = 0.0
    for some, evaluations in sizes:
        labels, pairs = some * counts.block_size, 0.5 * some * (some + 1)
        matrix = labels**3 / (LAST_FACTORIZATION_SPEED * flops)  # with the inverse
        seconds += evaluations * (matrix + GRADIENT_ASSEMBLIES * assembly * pairs)
    return seconds


def _rounds(counts: Counts, request: Request) -> list[_Round]:
    """Return the rounds that a choice makes as a rule."""
    if request.complete:
        return []
    sizes = [counts.subset(labels) for labels in (SMALL_SYSTEM, LARGE_SYSTEM, LARGEST_SYSTEM)]
    n_kernels = len(request.kernels)
    rounds = [_Round(sizes[0], n_kernels, *_trials(request, 0))]
    if sizes[1] > sizes[0]:
        n_kernels = min(TYPICAL_FINALISTS, n_kernels)
        rounds.append(_Round(sizes[1], n_kernels, *_trials(request, 1)))
    if sizes[2] >= LAST_GROWTH * sizes[1] and request.regularization is None:
        n_kernels = min(LAST_KERNELS, n_kernels)
        last = _Round(sizes[2], n_kernels, TYPICAL_LAST_TRIALS, 1, LAST_FACTORIZATION_SPEED)
        rounds.append(last)
    return rounds


def _round_seconds(one: _Round, counts: Counts, flops: float, assembly: float) -> float:
    """Return the seconds of one round."""
    size = one.n_geometries * counts.block_size
    factorization = one.speed * flops
    trial = size**3 / 3.0 / factorization
    if counts.n_judging:
        trial += counts.query_flops(one.n_geometries) * counts.n_judging / flops
    else:  # the inverse
        trial += 2.0 * size**3 / 3.0 / factorization
    pairs = 0.5 * one.n_geometries * (one.n_geometries + 1)
    return one.n_kernels * (one.n_trials * trial + one.n_length_scales * assembly * pairs)


def _trials(request: Request, number: int) -> tuple[int, int]:
    """Return how many trials, and how many length scales among them, one kernel takes."""
    trials, length_scales = TYPICAL_TRIALS[number], TYPICAL_LENGTH_SCALES[number]
    if request.length_scale is not None:
        return length_scales, 1
    if request.regularization is not None:
        return length_scales, length_scales
    return trials, length_scales


def choice_memory(counts: Counts, *, learning: bool = False) -> int:
    """Return the peak of a choice: the matrices kept, the one factorized, and its inverse."""
    large, largest = (
        counts.subset(labels) * counts.block_size for labels in (LARGE_SYSTEM, LARGEST_SYSTEM)
    )
    panels = (KEPT_SYSTEMS + 1) * panel_entries(large, counts.block_size)
    inverses = 0 if counts.n_judging else 3  # the factor as a full matrix, a copy, the inverse
    last = 2 * panel_entries(largest, counts.block_size)
    learned = 4 * (counts.learned_from * counts.block_size) ** 2 if learning else 0
    return 8 * max(panels + inverses * large**2, last + inverses * largest**2, learned)
