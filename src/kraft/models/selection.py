"""Choosing kernel, length scale and regularization together, cheaply, on subsets.

Length scale and regularization are traded against each other along a narrow valley, and the best
kernel depends on both (`docs/theory.md`, section 6), so none of them is chosen alone. A compass
search walks the plane of their logarithms for each kernel on a small subset of the training
geometries; the best kernels then compete on a larger one, started from what they found.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from threadpoolctl import threadpool_limits

from kraft.core.errors import OptionError, SolverError
from kraft.core.progress import Progress
from kraft.core.random import generator
from kraft.kernels import KERNELS, radial_kernel
from kraft.models.objective import Objective, TrainingArrays

LENGTH_SCALE_BOUNDS = (0.05, 5000.0)
REGULARIZATION_BOUNDS = (1e-14, 1e-2)
"""Bounds of the search; regularization relative to the mean diagonal of the kernel matrix."""

START = {"matern52": (16.0, 1e-8), "matern72": (16.0, 1e-7), "gaussian": (8.0, 1e-7)}
"""Where a search starts: length scale in units of 1/Å, and relative regularization."""

SMALL_SYSTEM, LARGE_SYSTEM = 1000, 2400
"""Labels in the subsets of the first and of the second round."""

FIRST_STEPS, SECOND_STEPS = (1.5, 0.375), (0.5, 0.5)
"""Largest and smallest step of each round, in powers of 2 (length scale) and 10."""

TYPICAL_TRIALS, TYPICAL_LENGTH_SCALES, TYPICAL_FINALISTS = (25, 10), (7, 4), 3
"""Trials of one kernel in each round, different length scales among them, and the kernels in the
second round: measured as a rule, for estimates of the time that a choice takes."""

CLOSE_CALL = 1.03
"""Kernels whose error is within this factor of the best go on to the second round."""

AS_GOOD = 1.01
"""Trials on a subset whose error is within this factor of the best count as equally good."""

Point = tuple[float, ...]


@dataclass(frozen=True)
class Trial:
    """One set of hyper-parameters that was tried, and its force error (MAE in eV/Å)."""

    kernel: str
    length_scale: float
    regularization: float
    n_train: int
    force_mae: float


@dataclass(frozen=True)
class Choice:
    """The hyper-parameters chosen, why, and everything that was tried.

    Attributes
    ----------
    criterion
        ``"validation"``, ``"leave-one-out"`` or ``"given"``.
    at_edge
        Names of parameters that ended at the edge of the range searched; empty as a rule.
    reason
        One sentence for the report.
    """

    kernel: str
    length_scale: float
    regularization: float
    criterion: str
    trials: tuple[Trial, ...] = ()
    at_edge: tuple[str, ...] = ()
    reason: str = "given by the user"
    seconds: float = 0.0


@dataclass(frozen=True)
class Request:
    """What the user fixed; None (or ``"auto"``) is to be chosen."""

    kernel: str = "auto"
    length_scale: float | None = None
    regularization: float | None = None

    def __post_init__(self) -> None:
        if self.kernel != "auto":
            radial_kernel(self.kernel)
        for name, value in (
            ("length scale", self.length_scale),
            ("regularization", self.regularization),
        ):
            if value is not None and not (value > 0.0 and math.isfinite(value)):
                raise OptionError(f"The {name} must be a positive number, got {value}.")

    @property
    def kernels(self) -> tuple[str, ...]:
        """Names of the kernels that may be chosen."""
        return tuple(KERNELS) if self.kernel == "auto" else (self.kernel,)

    @property
    def complete(self) -> bool:
        """Whether nothing is left to choose."""
        return self.kernel != "auto" and None not in (self.length_scale, self.regularization)


def choose(arrays: TrainingArrays, request: Request, *, seed: int, progress: Progress) -> Choice:
    """Choose what the request leaves open.

    The criterion is the force error on the validation geometries; without any, the
    leave-one-geometry-out error of the subset (`docs/theory.md`, eq. 12).

    Raises
    ------
    OptionError
        When there is something to choose, but nothing to choose by.
    SolverError
        When no trial gave a solvable system.
    """
    if request.kernel != "auto" and request.length_scale and request.regularization:
        return Choice(request.kernel, request.length_scale, request.regularization, "given")
    if arrays.n_train == 1 and not arrays.has_validation:
        raise OptionError(
            "One training frame alone cannot tell which parameters are good. Train on more frames, "
            "give validation frames (--n-valid), or set kernel, length scale and regularization "
            "yourself (--kernel, --length-scale, --regularization)."
        )
    started = time.perf_counter()
    search = _Search(arrays, request, seed, progress)
    # The matrices are small: more threads gain little on an idle machine, and on a busy one they
    # wait for each other, which made the search fifteen times slower.
    with threadpool_limits(limits=1):
        winner = search.winner()
    if not math.isfinite(winner.force_mae):
        raise SolverError(
            "No length scale and regularization in the searched range gave a solvable system. "
            "Look for duplicate or coincident frames with `kraft info`."
        )
    if winner.n_train < arrays.n_train:
        winner = _least_regularized(winner, search.trials)
    criterion = "validation" if arrays.has_validation else "leave-one-out"
    return Choice(
        kernel=winner.kernel,
        length_scale=winner.length_scale,
        regularization=winner.regularization,
        criterion=criterion,
        trials=tuple(search.trials),
        at_edge=search.edges(winner),
        reason=(
            f"lowest {criterion} force error among {len(search.trials)} trials on up to "
            f"{winner.n_train} geometries"
            + (", the least regularized of equals" if winner.n_train < arrays.n_train else "")
        ),
        seconds=time.perf_counter() - started,
    )


def _least_regularized(winner: Trial, trials: Sequence[Trial]) -> Trial:
    """Return the trial with the smallest regularization among those as good as the winner.

    The more geometries, the less regularization they want, so what a subset cannot tell apart is
    decided in favor of the full training set.
    """
    equals = [
        trial
        for trial in trials
        if (trial.kernel, trial.n_train) == (winner.kernel, winner.n_train)
        and trial.force_mae <= AS_GOOD * winner.force_mae
    ]
    return min(equals, key=lambda trial: (trial.regularization, trial.force_mae))


def subset_size(n_train: int, n_labels: int, labels_per_geometry: int) -> int:
    """Return how many of the geometries have at most this many labels, at least a few."""
    return min(n_train, max(5, n_labels // labels_per_geometry))


class _Search:
    """Runs of the compass search, with everything they tried."""

    def __init__(
        self, arrays: TrainingArrays, request: Request, seed: int, progress: Progress
    ) -> None:
        self._arrays = arrays
        self._request = request
        self._progress = progress
        self._order = generator(seed, "selection").permutation(arrays.n_train)
        self._relative: dict[Trial, float] = {}  # regularization over the mean diagonal
        self.trials: list[Trial] = []

    def winner(self) -> Trial:
        """Search with each kernel on a small subset, then with the best ones on a larger one."""
        best = {
            name: self.run(name, START[name], SMALL_SYSTEM, FIRST_STEPS)
            for name in self._request.kernels
        }
        if self.n_geometries(LARGE_SYSTEM) > self.n_geometries(SMALL_SYSTEM):
            limit = CLOSE_CALL * min(trial.force_mae for trial in best.values())
            finalists = [name for name, trial in best.items() if trial.force_mae <= limit]
            best = {
                name: self.run(name, self.start_of(best[name]), LARGE_SYSTEM, SECOND_STEPS)
                for name in finalists
            }
        return min(best.values(), key=lambda trial: trial.force_mae)

    def n_geometries(self, n_labels: int) -> int:
        """Return how many training geometries a subset of this many labels has."""
        return subset_size(self._arrays.n_train, n_labels, self._arrays.labels_per_geometry)

    def start_of(self, trial: Trial) -> tuple[float, float]:
        """Return length scale and relative regularization of a trial."""
        return trial.length_scale, self._relative[trial]

    def run(
        self,
        kernel: str,
        start: tuple[float, float],
        n_labels: int,
        steps: tuple[float, float],
    ) -> Trial:
        """Search from ``start`` and return the best trial of this kernel on this subset."""
        objective = Objective(self._arrays, self._order[: self.n_geometries(n_labels)], kernel)
        fixed = self._request
        points: dict[Point, Trial] = {}

        def evaluate(point: Point) -> float:
            length_scale = fixed.length_scale or 2.0 ** point[0]
            mean_diagonal = objective.mean_diagonal(length_scale)
            regularization = fixed.regularization or 10.0 ** point[1] * mean_diagonal
            error = objective.force_mae(length_scale, regularization)
            trial = Trial(kernel, length_scale, regularization, objective.n_train, error)
            self._relative[trial] = regularization / mean_diagonal
            points[point] = trial
            self.trials.append(trial)
            self._progress(f"choosing ({kernel})", len(points), 0)
            return error

        center = (math.log2(start[0]), math.log10(start[1]))
        bounds = tuple(
            (function(low), function(high))
            for function, (low, high) in (
                (math.log2, LENGTH_SCALE_BOUNDS),
                (math.log10, REGULARIZATION_BOUNDS),
            )
        )
        free = [
            axis
            for axis, value in enumerate((fixed.length_scale, fixed.regularization))
            if value is None
        ]
        largest, smallest = steps
        best = compass_search(evaluate, center, bounds, free, step=largest, smallest_step=smallest)
        return points[best]

    def edges(self, trial: Trial) -> tuple[str, ...]:
        """Return the names of the chosen parameters that lie at the edge of the range."""
        found = []
        for name, value, (low, high), given in (
            ("length scale", trial.length_scale, LENGTH_SCALE_BOUNDS, self._request.length_scale),
            (
                "regularization",
                self._relative[trial],
                REGULARIZATION_BOUNDS,
                self._request.regularization,
            ),
        ):
            if given is None and not low * 1.01 < value < high / 1.01:
                found.append(name)
        return tuple(found)


def compass_search(
    function: Callable[[Point], float],
    start: Point,
    bounds: Sequence[tuple[float, float]],
    free: Sequence[int],
    *,
    step: float,
    smallest_step: float,
) -> Point:
    """Minimize by steps along the free axes and, with two, their diagonals; halve when none helps.

    Every point is evaluated once. The function may return infinity where it is not defined.
    """
    values: dict[Point, float] = {}

    def value(point: Point) -> float:
        if point not in values:
            values[point] = function(point)
        return values[point]

    directions = [
        tuple(sign if axis == chosen else 0.0 for axis in range(len(start)))
        for chosen in free
        for sign in (1.0, -1.0)
    ]
    if len(free) == 2:
        directions += [(1.0, 1.0), (-1.0, -1.0)]  # along the valley
    best = start
    value(best)
    while directions and step >= smallest_step:
        neighbors = [
            tuple(
                min(max(x + step * d, low), high)
                for x, d, (low, high) in zip(best, direction, bounds, strict=True)
            )
            for direction in directions
        ]
        candidate = min(neighbors, key=value)
        if value(candidate) < value(best):
            best = candidate
        else:
            step /= 2.0
    return best
