"""Choosing range and nugget of an atomized force field: on few geometries first, then on all.

Trials on a small subset are cheap but want another range and nugget than all geometries do, so the
search moves on: from a subset to a larger one, and at last to all geometries, where only as many
randomly chosen atom sets are looked at as the work allows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from kraft.core.errors import OptionError, SolverError
from kraft.core.progress import Progress
from kraft.core.random import generator
from kraft.core.typing import IntArray
from kraft.kernels.radial import KERNELS, radial_kernel
from kraft.models.aff.cost import SetCost, aff_cost
from kraft.models.aff.objective import Criterion, Held, Objective
from kraft.models.aff.systems import AtomizedArrays
from kraft.models.compass_search import Point, compass_search

LENGTH_SCALE_BOUNDS = (0.05, 5000.0)
REGULARIZATION_BOUNDS = (1e-13, 1e-2)
"""Bounds of the search; the nugget is relative to the mean prior variance of a force component."""

START = {"matern52": (30.0, 1e-10), "matern72": (10.0, 1e-10), "gaussian": (5.0, 1e-9)}
"""Where a search starts: range in 1/Å, and relative nugget."""

ROUNDS = ((1e9, 1.5, 0.5), (1e10, 0.5, 0.5), (4e10, 0.5, 0.5))
"""Work of a trial in floating-point operations, and largest and smallest step, of each round; steps
are in powers of 2 (range) and 10 (nugget)."""

ENTRY_WORK = 400.0
"""Work for an entry of a covariance and a permutation: measured 90 to 140 ns for a block of 3 x 3,
50 Gflop/s for factorizations."""

LEAST_GEOMETRIES = 20
"""Geometries in a subset at least."""

LEAST_SETS = 3
"""Atom sets that a trial with all geometries looks at, at least."""

GROWTH = 1.25
"""A round is worth it where its subset is larger by this factor, or it has all geometries."""


@dataclass(frozen=True)
class AtomizedTrial:
    """Range and nugget that were tried.

    Attributes
    ----------
    kernel, length_scale, regularization
        What was tried; the nugget as it is added.
    n_train, n_sets
        Geometries and atom sets that the score is of.
    score
        Negative logarithm of likelihood and prior, for each label; or mean absolute force error in
        eV/Å. Infinite where a covariance was singular.
    """

    kernel: str
    length_scale: float
    regularization: float
    n_train: int
    n_sets: int
    score: float


@dataclass(frozen=True)
class AtomizedChoice:
    """The kernel, range and nugget chosen, why, and everything that was tried.

    Attributes
    ----------
    criterion
        ``"likelihood"``, ``"validation"``, ``"leave-one-out"`` or ``"given"``.
    score
        Of the last round, as in :class:`AtomizedTrial`; None when all was given.
    at_bound
        Names of parameters that ended at a bound of the search.
    raised_from
        The nugget that was chosen at first, where rounding then defeated the solver and
        ``regularization`` is a larger one; None as a rule.
    """

    kernel: str
    length_scale: float
    regularization: float
    criterion: Literal["likelihood", "validation", "leave-one-out", "given"]
    score: float | None = None
    trials: tuple[AtomizedTrial, ...] = ()
    at_bound: tuple[str, ...] = ()
    seconds: float = 0.0
    raised_from: float | None = None

    def raised(self, factor: float) -> AtomizedChoice:
        """Return the choice with a nugget that is larger by a factor, which may be 1."""
        if factor == 1.0:
            return self
        nugget = factor * self.regularization
        return replace(self, regularization=nugget, raised_from=self.regularization)


@dataclass(frozen=True)
class AtomizedRequest:
    """What the user fixed; None (or ``"auto"``) is to be chosen."""

    kernel: str = "auto"
    length_scale: float | None = None
    regularization: float | None = None
    criterion: Literal["likelihood", "validation"] = "likelihood"

    def __post_init__(self) -> None:
        if self.kernel != "auto":
            radial_kernel(self.kernel)
        if self.criterion not in ("likelihood", "validation"):
            raise OptionError(
                f"Unknown criterion {self.criterion!r}; choose 'likelihood' or 'validation'."
            )
        for name, value in (("range", self.length_scale), ("nugget", self.regularization)):
            if value is not None and not (value > 0.0 and math.isfinite(value)):
                raise OptionError(f"The {name} must be a positive number, got {value}.")

    @property
    def kernels(self) -> tuple[str, ...]:
        """Names of the kernels that may be chosen."""
        return tuple(KERNELS) if self.kernel == "auto" else (self.kernel,)


def choose(
    arrays: AtomizedArrays,
    request: AtomizedRequest,
    held: Held | None,
    *,
    seed: int,
    progress: Progress,
    keep: bool = True,
) -> AtomizedChoice:
    """Choose what the request leaves open.

    Parameters
    ----------
    arrays
        The training geometries.
    request
        What is fixed, and the criterion; ``"validation"`` without validation geometries is the
        error at training geometries left out one by one.
    held
        Validation geometries.
    seed
        Of the random subsets.
    progress
        Told about the trials (stage ``choosing``).
    keep
        Whether there is memory to keep what trials share.

    Raises
    ------
    OptionError
        When there is only one geometry to choose by.
    SolverError
        When no trial gave a solvable system.
    """
    if request.kernel != "auto" and request.length_scale and request.regularization:
        return AtomizedChoice(request.kernel, request.length_scale, request.regularization, "given")
    if arrays.n_train == 1:
        raise OptionError(
            "One training frame alone cannot tell which range and nugget are good. Train on more "
            "frames, or set kernel, range and nugget yourself."
        )
    started = time.perf_counter()
    search = _Search(arrays, request, held, seed, progress, keep)
    best = search.run()
    return AtomizedChoice(
        kernel=best.kernel,
        length_scale=best.length_scale,
        regularization=best.regularization,
        criterion=search.criterion,
        score=best.score,
        trials=tuple(search.trials),
        at_bound=search.at_bound(best),
        seconds=time.perf_counter() - started,
    )


def work_of(costs: Sequence[SetCost], n_permutations: int) -> float:
    """Return the work of assembling and factorizing some sets, in floating-point operations."""
    entries = sum(float(cost.labels) ** 2 for cost in costs)
    return sum(cost.flops for cost in costs) + 0.5 * ENTRY_WORK * n_permutations * entries


@dataclass(frozen=True, eq=False)
class _Round:
    """Geometries and atom sets of the trials of a round, and its steps."""

    geometries: IntArray
    sets: IntArray
    step: float
    smallest_step: float


class _Search:
    """The rounds of a search, with everything they tried."""

    def __init__(
        self,
        arrays: AtomizedArrays,
        request: AtomizedRequest,
        held: Held | None,
        seed: int,
        progress: Progress,
        keep: bool,
    ) -> None:
        self._arrays, self._request, self._held = arrays, request, held
        self._progress, self._keep = progress, keep
        self.criterion: Criterion = "likelihood"
        if request.criterion == "validation":
            self.criterion = "leave-one-out" if held is None else "validation"
        self._rng = generator(seed, "aff choice")
        self.trials: list[AtomizedTrial] = []

    def run(self) -> AtomizedTrial:
        """Return the best trial of the last round."""
        best: list[AtomizedTrial] = []
        for index, plan in enumerate(self._rounds()):
            names = self._request.kernels if index == 0 else (best[0].kernel,)
            best = [self._search(name, plan, best[0] if index else None) for name in names]
            best.sort(key=lambda trial: trial.score)
        if not math.isfinite(best[0].score):
            raise SolverError(
                "No range and nugget in the searched range gave a solvable system. Look for "
                "duplicate or coincident frames with `kraft info`."
            )
        return best[0]

    def _rounds(self) -> list[_Round]:
        """Return the rounds that are worth it, the last one with as many geometries as possible."""
        n_train, n_sets = self._arrays.n_train, len(self._arrays.sets)
        order, set_order = self._rng.permutation(n_train), self._rng.permutation(n_sets)
        rounds: list[_Round] = []
        for index, (work, step, smallest_step) in enumerate(ROUNDS):
            size, chosen = self._affordable(work), np.sort(set_order)
            last = index == len(ROUNDS) - 1
            if last and size < n_train:
                chosen = self._sets_at_full_size(set_order, work)
                size = n_train if len(chosen) else size
                chosen = chosen if len(chosen) else np.sort(set_order)
            before = len(rounds[-1].geometries) if rounds else 0
            if size >= GROWTH * before or (size == n_train > before):
                rounds.append(_Round(np.sort(order[:size]), chosen, step, smallest_step))
            if size == n_train and len(chosen) == n_sets:
                break
        return rounds

    def _work(self, size: int, sets: IntArray) -> float:
        atoms = [atom_set.atoms for atom_set in self._arrays.sets]
        costs = aff_cost(size, self._arrays.n_permutations, atoms).sets
        return work_of([costs[number] for number in sets], self._arrays.n_permutations)

    def _affordable(self, work: float) -> int:
        """Return how many geometries a trial of all sets may have."""
        n_train, every = self._arrays.n_train, np.arange(len(self._arrays.sets))
        share = (work / self._work(n_train, every)) ** (1 / 3)
        size = n_train * min(1.0, share)
        return min(n_train, max(LEAST_GEOMETRIES, int(size)))

    def _sets_at_full_size(self, set_order: IntArray, work: float) -> IntArray:
        """Return the sets that a trial of all geometries may have; none when they are too few."""
        chosen: list[int] = []
        total = 0.0
        for number in set_order:
            cost = self._work(self._arrays.n_train, np.array([number]))
            if total + cost <= work:
                chosen.append(int(number))
                total += cost
        enough = len(chosen) >= min(LEAST_SETS, len(set_order))
        return np.sort(np.array(chosen if enough else [], dtype=np.int64))

    def _search(self, kernel: str, plan: _Round, start: AtomizedTrial | None) -> AtomizedTrial:
        """Search with one kernel on the geometries of a round and return the best trial."""
        subset = self._arrays.subset(plan.geometries)
        radial, fixed = radial_kernel(kernel), self._request
        objective = Objective(
            subset,
            radial,
            self.criterion,
            chosen=plan.sets.tolist(),
            held=self._held,
            keep=self._keep,
        )
        points: dict[Point, AtomizedTrial] = {}

        def evaluate(point: Point) -> float:
            length_scale = fixed.length_scale or 2.0 ** point[0]
            diagonal = self._arrays.mean_diagonal(radial, length_scale)
            nugget = fixed.regularization or diagonal * 10.0 ** point[1]
            self._progress("choosing", len(self.trials), 0)
            score = objective(length_scale, nugget)
            trial = AtomizedTrial(
                kernel, length_scale, nugget, len(plan.geometries), len(plan.sets), score
            )
            self.trials.append(trial)
            points[point] = trial
            return score

        origin = self._start(kernel, start)
        while not math.isfinite(evaluate(origin)) and (safer := self._safer(origin)) != origin:
            origin = safer
        best = compass_search(
            lambda point: points[point].score if point in points else evaluate(point),
            origin,
            self._bounds(),
            self._free(),
            step=plan.step,
            smallest_step=plan.smallest_step,
        )
        return points[best]

    def _start(self, kernel: str, before: AtomizedTrial | None) -> Point:
        if before is None:
            length_scale, relative = START[kernel]
        else:
            diagonal = self._arrays.mean_diagonal(radial_kernel(kernel), before.length_scale)
            length_scale, relative = before.length_scale, before.regularization / diagonal
        (_, _), (low, high) = self._bounds()
        exponent = round(math.log10(relative), 9)  # exact steps, so that no point comes twice
        return round(math.log2(length_scale), 9), min(max(exponent, low), high)

    def _safer(self, point: Point) -> Point:
        """Return a point of half the range and ten times the nugget, where they may move."""
        free, ((lowest, _), (_, highest)) = self._free(), self._bounds()
        return (
            max(point[0] - 1.0, lowest) if 0 in free else point[0],
            min(point[1] + 1.0, highest) if 1 in free else point[1],
        )

    def _free(self) -> list[int]:
        given = (self._request.length_scale, self._request.regularization)
        return [axis for axis, value in enumerate(given) if not value]

    @staticmethod
    def _bounds() -> list[tuple[float, float]]:
        low, high = LENGTH_SCALE_BOUNDS
        lowest, highest = REGULARIZATION_BOUNDS
        return [(math.log2(low), math.log2(high)), (math.log10(lowest), math.log10(highest))]

    def at_bound(self, trial: AtomizedTrial) -> tuple[str, ...]:
        """Return the names of chosen parameters that ended at a bound of the search."""
        names = []
        point = self._start(trial.kernel, trial)
        for axis, name in enumerate(("length_scale", "regularization")):
            low, high = self._bounds()[axis]
            if axis in self._free() and not low + 1e-3 < point[axis] < high - 1e-3:
                names.append(name)
        return tuple(names)
