"""Choosing kernel, length scale and regularization together, cheaply, on subsets.

Length scale and regularization are traded against each other along a narrow valley, and the best
kernel depends on both (`docs/theory.md`, section 6), so none of them is chosen alone. A compass
search walks the plane of their logarithms for each kernel on a small subset of the training
geometries; the best kernels then compete on a larger one, started from what they found.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from threadpoolctl import threadpool_limits

from kraft.core.errors import OptionError, SolverError
from kraft.core.progress import Progress
from kraft.core.random import generator
from kraft.core.typing import IntArray
from kraft.models.choice import Choice as Choice
from kraft.models.choice import Request as Request
from kraft.models.choice import Trial as Trial
from kraft.models.compass_search import Point, compass_search
from kraft.models.objective import Objective, TrainingArrays

LENGTH_SCALE_BOUNDS = (0.05, 5000.0)
REGULARIZATION_BOUNDS = (1e-14, 1e-2)
"""Bounds of the search; regularization relative to the mean diagonal of the kernel matrix."""

START = {"matern52": (16.0, 1e-8), "matern72": (16.0, 1e-7), "gaussian": (8.0, 1e-7)}
"""Where a search starts: length scale in units of 1/Å, and relative regularization.

Length scales are those for the inverse distances of all pairs; for other features they are
multiplied by :attr:`TrainingArrays.relative_spread`.
"""

SMALL_SYSTEM, LARGE_SYSTEM, LARGEST_SYSTEM = 1000, 2400, 4000
"""Labels in the subsets of the first, the second and the last round."""

MIN_HELD_OUT, MAX_HELD_OUT = 50, 200
"""Training geometries outside the subsets that are enough to judge by, and as many as are used.

Their error costs a prediction, the leave-one-out error the inverse of the matrix: three times the
time of a trial.
"""

FIRST_STEPS, SECOND_STEPS, LAST_STEPS = (1.5, 0.375), (0.5, 0.5), (1.0, 0.5)
NO_STEPS = (0.0, 1.0)
"""Largest and smallest step of each round, in powers of 2 (length scale) and 10."""

TYPICAL_TRIALS, TYPICAL_LENGTH_SCALES, TYPICAL_FINALISTS = (25, 10), (7, 4), 3
"""Trials of one kernel in each round, different length scales among them, and the kernels in the
second round: measured as a rule, for estimates of the time that a choice takes."""

TYPICAL_LAST_TRIALS = 5
"""Trials of one kernel in the last round, as a rule."""

CLOSE_CALL = 1.03
"""Kernels whose error is within this factor of the best go on to the second round."""

LAST_KERNELS = 2
"""Kernels in the last round, where as a rule only the regularization moves."""

LAST_GROWTH = 1.2
"""There is a last round if its subset is larger by this factor at least."""

POOR_FIT = 0.25
"""A force error beyond this share of the forces' standard deviation: little is learned."""

TYPICAL_LENGTH_SCALE = {"matern52": 42.0, "matern72": 50.0, "gaussian": 16.0}
"""In units of the median distance between the features of two geometries (as for aspirin)."""

TYPICAL_GEOMETRIES = 60
"""Geometries that this distance is taken from."""

LEAST_EXPONENT, MAX_EXPONENT = 2.0, 3.0
"""The best regularization falls with the number of geometries to minus this power: measured were
0.7 (aspirin, Matérn-7/2, 42 to 105 geometries), 1.6 (105 to 350) and more than 3 (ethanol,
malonaldehyde, uracil; 100 to 300)."""

SMALLEST_EXTRAPOLATED = 1e-12
"""Relative to the mean diagonal: an extrapolation goes no further."""


def choose(
    arrays: TrainingArrays,
    request: Request,
    *,
    seed: int,
    progress: Progress,
    last_round: bool = True,
) -> Choice:
    """Choose what the request leaves open.

    The criterion is the force error on the validation geometries. Without any, it is that on
    training geometries outside the subsets of the search, where enough are left, and otherwise the
    leave-one-geometry-out error of the subset (`docs/theory.md`, eq. 12). Without the last round
    the choice is not final: the regularization is that which suits the subset of the second.

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
        finalists = search.finalists()
    winner = search.last_round(finalists) if last_round else finalists[0]
    if not math.isfinite(winner.force_mae):
        raise SolverError(
            "No length scale and regularization in the searched range gave a solvable system. "
            "Look for duplicate or coincident frames with `kraft info`."
        )
    regularization = search.extrapolated(winner) if last_round else winner.regularization
    return Choice(
        kernel=winner.kernel,
        length_scale=winner.length_scale,
        regularization=regularization,
        criterion=search.criterion,
        trials=tuple(search.trials),
        at_edge=search.edges(winner),
        reason=search.reason(winner, regularization),
        seconds=time.perf_counter() - started,
    )


def start(arrays: TrainingArrays, kernel: str) -> tuple[float, float]:
    """Return where the search for a kernel starts: length scale and relative regularization."""
    length_scale, regularization = START[kernel]
    return arrays.relative_spread * length_scale, regularization


def search_order(n_train: int, seed: int) -> IntArray:
    """Return the order ``(n_train,)`` in which geometries enter subsets; the last are held out."""
    return generator(seed, "selection").permutation(n_train)


def subset_size(n_train: int, n_labels: int, labels_per_geometry: int) -> int:
    """Return how many of the geometries have at most this many labels, at least a few."""
    return min(n_train, max(5, n_labels // labels_per_geometry))


def held_out_size(n_train: int, labels_per_geometry: int) -> int:
    """Return how many training geometries outside the subsets a search can judge by; 0 if few."""
    left = n_train - subset_size(n_train, LARGE_SYSTEM, labels_per_geometry)
    return min(MAX_HELD_OUT, max(MIN_HELD_OUT, left // 3)) if left >= MIN_HELD_OUT else 0


def _with_criterion(arrays: TrainingArrays, order: IntArray) -> tuple[TrainingArrays, str]:
    """Return the arrays with geometries to judge by, where there are any, and the criterion.

    The subsets are made of the first geometries of the order, so the last ones are held out.
    """
    if arrays.has_validation:
        return arrays, "validation"
    n_held_out = held_out_size(arrays.n_train, arrays.labels_per_geometry)
    if n_held_out == 0:
        return arrays, "leave-one-out"
    chosen = torch.as_tensor(order[-n_held_out:])
    forces = torch.as_tensor(arrays.labels.forces)[chosen] * arrays.labels.scale
    held_out = replace(
        arrays,
        valid_positions=arrays.positions[chosen.to(arrays.positions.device)],
        valid_forces=forces.to(arrays.positions),
        valid_energies=None
        if arrays.energies is None
        else arrays.energies[chosen.to(arrays.energies.device)],
    )
    return held_out, "held-out"


class _Search:
    """Runs of the compass search, with everything they tried."""

    def __init__(
        self, arrays: TrainingArrays, request: Request, seed: int, progress: Progress
    ) -> None:
        self._order = search_order(arrays.n_train, seed)
        self._arrays, self.criterion = _with_criterion(arrays, self._order)
        held_out = self._arrays.valid_positions
        taken = 0 if arrays.has_validation or held_out is None else len(held_out)
        self._n_available = arrays.n_train - taken
        low, high = (arrays.relative_spread * bound for bound in LENGTH_SCALE_BOUNDS)
        self._bounds = (low, high), REGULARIZATION_BOUNDS
        self._request = request
        self._progress = progress
        self._final: set[Trial] = set()  # typical for all sizes
        self._ancestor: dict[Trial, Trial] = {}  # where a trial of the last round started
        self._relative: dict[Trial, float] = {}  # regularization over the mean diagonal
        self._shortfall: dict[Trial, float] = {}  # of the regularization, for all geometries
        self.trials: list[Trial] = []

    def finalists(self) -> list[Trial]:
        """Search with each kernel on a small subset, then with the best ones on a larger one."""
        best = {
            name: self.run(name, start(self._arrays, name), SMALL_SYSTEM, FIRST_STEPS)
            for name in self._request.kernels
        }
        if self.n_geometries(LARGE_SYSTEM) > self.n_geometries(SMALL_SYSTEM):
            limit = CLOSE_CALL * min(trial.score for trial in best.values())
            finalists = [name for name, trial in best.items() if trial.score <= limit]
            best = {
                name: self.run(name, self.start_of(best[name]), LARGE_SYSTEM, SECOND_STEPS)
                for name in finalists
            }
        return sorted(best.values(), key=lambda trial: trial.score)

    def last_round(self, finalists: list[Trial]) -> Trial:
        """Move the regularization of the best trials on a still larger subset; return the best.

        The more geometries, the less regularization they want, and the error depends on it more
        and more: a subset of a tenth of them can ask for a hundred times too much, at twice the
        error. Where the subsets were too small to learn much, their choice means nothing, and
        typical values are taken, with the best kernel at these.
        """
        if finalists[0].n_train == self._arrays.n_train:
            return finalists[0]
        if finalists[0].force_mae > POOR_FIT * self._arrays.labels.scale:
            typical = [self._typical(trial.kernel) for trial in finalists]
            return min(typical, key=lambda trial: trial.score)
        growth = self.n_geometries(LARGEST_SYSTEM) / finalists[0].n_train
        if growth < LAST_GROWTH or self._request.regularization:
            return finalists[0]
        best = []
        for trial in finalists[:LAST_KERNELS]:
            start = self.start_of(trial)
            last = self.run(trial.kernel, start, LARGEST_SYSTEM, LAST_STEPS, axes=(1,))
            self._ancestor[last] = trial
            best.append(last)
        return min(best, key=lambda trial: trial.score)

    def _typical(self, kernel: str) -> Trial:
        """Try the length scale that suits molecules whose features differ as much."""
        chosen = torch.as_tensor(self._order[:TYPICAL_GEOMETRIES])
        values = self._arrays.descriptor.values(self._arrays.positions[chosen])
        distance = float(torch.pdist(self._arrays.weighted(values)).median())
        typical = TYPICAL_LENGTH_SCALE[kernel] * distance, START[kernel][1]
        trial = self.run(kernel, typical, LARGE_SYSTEM, NO_STEPS)
        self._final.add(trial)
        return trial

    def reason(self, winner: Trial, regularization: float) -> str:
        """Return why the winner, with this regularization, was chosen."""
        if winner in self._final:
            return "typical for such molecules, since subsets that can be searched learn too little"
        reason = (
            f"lowest {self.criterion} error among {len(self.trials)} trials on up to "
            f"{winner.n_train} geometries"
        )
        if regularization != winner.regularization:
            reason += f", its regularization of {winner.regularization:.1e} extrapolated to all"
            if regularization <= 1.01 * self._shortfall[winner] * winner.regularization:
                reason += " as far as rounding allows"
        return reason

    def extrapolated(self, trial: Trial) -> float:
        """Return the regularization of a trial for the whole training set.

        It falls as a power of the number of geometries, the same as between the last two rounds,
        but no further than rounding in the system of all of them allows.
        """
        known = trial.n_train == self._arrays.n_train or trial in self._final
        if self._request.regularization or known:
            return trial.regularization
        exponent, before = LEAST_EXPONENT, self._ancestor.get(trial)
        if before is not None:
            fall = math.log(before.regularization / trial.regularization)
            exponent = fall / math.log(trial.n_train / before.n_train)
        exponent = min(max(exponent, LEAST_EXPONENT), MAX_EXPONENT)
        factor = (trial.n_train / self._arrays.n_train) ** exponent
        lowest = max(SMALLEST_EXTRAPOLATED / self._relative[trial], self._shortfall[trial])
        return float(trial.regularization * min(1.0, max(factor, lowest)))

    def n_geometries(self, n_labels: int) -> int:
        """Return how many training geometries a subset of this many labels has."""
        return subset_size(self._n_available, n_labels, self._arrays.labels_per_geometry)

    def start_of(self, trial: Trial) -> tuple[float, float]:
        """Return length scale and relative regularization of a trial."""
        return trial.length_scale, self._relative[trial]

    def run(
        self,
        kernel: str,
        start: tuple[float, float],
        n_labels: int,
        steps: tuple[float, float],
        axes: Sequence[int] = (0, 1),
    ) -> Trial:
        """Search from ``start`` and return the best trial of this kernel on this subset.

        ``axes`` are those that may move: 0 for the length scale, 1 for the regularization. One that
        is too small for rounding in the system of all geometries counts as singular.
        """
        objective = Objective(self._arrays, self._order[: self.n_geometries(n_labels)], kernel)
        fixed = self._request
        points: dict[Point, Trial] = {}

        def evaluate(point: Point) -> float:
            length_scale = fixed.length_scale or 2.0 ** point[0]
            mean_diagonal = objective.mean_diagonal(length_scale)
            regularization = fixed.regularization or 10.0 ** point[1] * mean_diagonal
            fit = objective.fit(length_scale, regularization)
            error = fit.force_mae if fit.shortfall <= 1.0 or fixed.regularization else math.inf
            trial = Trial(
                kernel,
                length_scale,
                regularization,
                objective.n_train,
                error,
                fit.energy_mae,
            )
            self._relative[trial] = regularization / mean_diagonal
            self._shortfall[trial] = fit.shortfall
            points[point] = trial
            self.trials.append(trial)
            self._progress(f"choosing ({kernel})", len(points), 0)
            return trial.score

        center = (math.log2(start[0]), math.log10(start[1]))
        bounds = tuple(
            (function(low), function(high))
            for function, (low, high) in zip((math.log2, math.log10), self._bounds, strict=True)
        )
        free = [
            axis
            for axis, value in enumerate((fixed.length_scale, fixed.regularization))
            if value is None and axis in axes
        ]
        highest = bounds[1][1]
        while not math.isfinite(evaluate(center)) and fixed.regularization is None:
            if center[1] + 1.0 > highest:
                break
            center = (center[0], center[1] + 1.0)
        best = compass_search(
            lambda point: points[point].score if point in points else evaluate(point),
            center,
            bounds,
            free,
            step=steps[0],
            smallest_step=steps[1],
        )
        return points[best]

    def edges(self, trial: Trial) -> tuple[str, ...]:
        """Return the names of the chosen parameters that lie at the edge of the range."""
        names = ("length scale", "regularization")
        values = (trial.length_scale, self._relative[trial])
        given = (self._request.length_scale, self._request.regularization)
        found = []
        for name, value, (low, high), fixed in zip(names, values, self._bounds, given, strict=True):
            if fixed is None and not low * 1.01 < value < high / 1.01:
                found.append(name)
        return tuple(found)
