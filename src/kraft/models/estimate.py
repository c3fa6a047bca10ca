"""What a training will take, before it is started: memory from counting, time from measuring.

Memory follows from the sizes of the arrays. Time is put together from the speeds of the machine and
of the data's own small systems, measured for a fraction of a second, from the iterations that a
small part takes, and from the number of trials that the choice of hyper-parameters makes as a rule.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from kraft.core.errors import OptionError
from kraft.core.memory import available_memory
from kraft.core.progress import Progress, silent
from kraft.data.dataset import Dataset
from kraft.descriptors.feature_functions import INVERSE
from kraft.models.device import check_device
from kraft.models.estimate_stages import Counts, choice_memory, choice_seconds
from kraft.models.iteration_rule import IterationRule, Samples, measure_rule
from kraft.models.metric import AUTO, LEARNED, MetricOptions, worth_learning
from kraft.models.objective import TrainingArrays
from kraft.models.preparation import permutation_group, training_arrays
from kraft.models.selection import Request, start
from kraft.models.solver_choice import (
    DENSE_LABELS,
    SolverPlan,
    Speeds,
    choose_route,
    fastest_route,
    method_name,
)
from kraft.models.solver_costs import Cost, SystemSize, dense_cost
from kraft.models.solver_options import SolverOptions
from kraft.models.solver_speeds import PROBE_BYTES
from kraft.solvers.iterative import AVAILABLE_SHARE

MEASURING_SECONDS = 10.0
"""Time for measuring iterations, at most."""


TILES_MEMORY = 50_000_000
"""Bytes of the iterative route's tiles and of what its measurements leave to the allocator: 40 to
70 MB were found with ethanol and aspirin, whatever the size of the system."""


@dataclass(frozen=True)
class StageSeconds:
    """Estimated wall time of the stages of a training, in seconds.

    For the iterative solver, ``assembly`` is what the product keeps, ``factorization`` the building
    of the preconditioner and ``solution`` the iterations; ``planning`` is measuring speeds.
    """

    symmetry: float
    choice: float
    planning: float
    assembly: float
    factorization: float
    solution: float
    prediction: float

    @property
    def total(self) -> float:
        """All stages together."""
        system = self.assembly + self.factorization + self.solution
        return self.symmetry + self.choice + self.planning + system + self.prediction


@dataclass(frozen=True)
class RouteEstimate:
    """What a training takes with one of the solvers.

    Attributes
    ----------
    memory
        Bytes of the whole process at its peak.
    solver_memory
        Bytes of the linear system, part of ``memory``.
    seconds
        Wall time by stage.
    rank, block_geometries, iterations
        Of the iterative solver; zero for the dense one.
    """

    memory: int
    solver_memory: int
    seconds: StageSeconds
    rank: int = 0
    block_geometries: int = 0
    iterations: int = 0


@dataclass(frozen=True)
class Estimate:
    """What a training is expected to take.

    Attributes
    ----------
    n_train
        Training geometries.
    n_labels
        Rows of the linear system.
    n_symmetries
        Permutations found or given.
    dense, iterative
        Either route.
    plan
        Which of them would be chosen, and why.
    allowed
        Bytes that the solver may use.
    available
        Bytes that can be allocated on the device now.
    flops_per_second, bytes_per_second
        Measured rate of matrix products, and of reading a matrix from memory.
    iterations_measured
        Whether iterations were measured on a part of the system.
    """

    n_train: int
    n_labels: int
    n_symmetries: int
    dense: RouteEstimate
    iterative: RouteEstimate
    plan: SolverPlan
    allowed: int
    available: int
    flops_per_second: float
    bytes_per_second: float
    iterations_measured: bool

    @property
    def chosen(self) -> RouteEstimate:
        """The route that would be chosen."""
        return self.dense if self.plan.solver == "dense" else self.iterative

    @property
    def memory(self) -> int:
        """Bytes of the whole process at its peak, by the chosen route."""
        return self.chosen.memory

    @property
    def solver_memory(self) -> int:
        """Bytes of the linear system, by the chosen route."""
        return self.chosen.solver_memory

    @property
    def seconds(self) -> StageSeconds:
        """Wall time by stage, by the chosen route."""
        return self.chosen.seconds

    @property
    def fits(self) -> bool:
        """Whether the chosen route fits into the memory that the solver may use."""
        return self.solver_memory <= self.allowed


def estimate_training(
    dataset: Dataset,
    n_train: int,
    *,
    n_valid: int = 0,
    request: Request = Request(),  # noqa: B008
    permutations: Literal["auto"] | ArrayLike | None = "auto",
    max_permutations: int | None = None,
    features: ArrayLike | None = None,
    feature_function: str = INVERSE.name,
    feature_weights: Literal["auto", "learned"] | None = "auto",
    energy_weight: float = 0.0,
    solver_options: SolverOptions = SolverOptions(),  # noqa: B008
    device: str = "cpu",
    seed: int = 0,
    progress: Progress = silent,
) -> Estimate:
    """Estimate memory and time of a training on ``n_train`` geometries like those of ``dataset``.

    Takes a few seconds: it searches for the symmetries, assembles a small part of the matrix and
    solves a small system by iteration.

    Parameters
    ----------
    dataset
        Some geometries of the molecule; fewer than ``n_train`` will do.
    n_train, n_valid
        Sizes of the training in question.
    request
        Which hyper-parameters are given. Iterations are measured with these; where they will be
        chosen, with those that the search starts from.
    permutations, max_permutations, features, feature_function, feature_weights
        As for :func:`kraft.train`.
    energy_weight, solver_options
        As for :func:`kraft.train`.
    device, seed, progress
        As for :func:`kraft.train`.

    Raises
    ------
    OptionError
        When a number is out of range.
    """
    _check_request(n_train, n_valid, device)
    some = np.unique(np.linspace(0, len(dataset) - 1, n_train).astype(np.int64))
    dataset = dataset.subset(some)
    started = time.perf_counter()
    group, found = permutation_group(dataset, permutations, max_permutations, seed, progress)
    symmetry = 0.0 if found is None else time.perf_counter() - started
    resident = _resident_memory()  # with the libraries that were loaded by now
    arrays = training_arrays(
        dataset, None, group, None, energy_weight, device, features, feature_function
    )
    samples = _samples(arrays, request)
    size = SystemSize(n_train, samples.operator.block_size)
    started = time.perf_counter()
    speeds = Speeds.measure(samples.operator, progress)
    planning = time.perf_counter() - started
    available = available_memory(device)
    allowed = solver_options.max_memory or int(AVAILABLE_SHARE * available)
    rule = _rule(samples, size, solver_options, seed, progress)
    plan = _plan(size, solver_options, allowed, speeds, rule)
    counts = Counts(arrays, n_train, n_valid, len(group), size.block_size)
    flops = speeds.machine.flops
    learning = feature_weights == LEARNED or (
        feature_weights == AUTO and worth_learning(arrays, n_train, request, MetricOptions())
    )
    stages = _Stages(
        counts,
        resident + counts.array_memory,
        0 if request.complete else choice_memory(counts, learning=learning),
        symmetry,
        choice_seconds(counts, request, flops, speeds.system.assembly, learning=learning),
        counts.prediction_flops / flops,
    )
    route = fastest_route(size, solver_options, allowed, speeds, rule)
    return Estimate(
        n_train=n_train,
        n_labels=size.n,
        n_symmetries=len(group),
        dense=stages.with_solver(dense_cost(size, speeds.machine, speeds.system)),
        iterative=replace(
            stages.with_solver(route.cost, planning if _plans(solver_options) else 0.0),
            rank=route.rank,
            block_geometries=route.block_geometries,
            iterations=route.cost.iterations,
        ),
        plan=plan,
        allowed=allowed,
        available=available,
        flops_per_second=flops,
        bytes_per_second=speeds.machine.bandwidth,
        iterations_measured=rule.measured,
    )


@dataclass(frozen=True)
class _Stages:
    """What the stages beside the solver take."""

    counts: Counts
    base_memory: int
    choice_memory: int
    symmetry: float
    choice: float
    prediction: float

    def with_solver(self, cost: Cost, planning: float = 0.0) -> RouteEstimate:
        """Return the estimate of the whole training with a solver."""
        largest = max(cost.memory, self.choice_memory, self.counts.model_memory, PROBE_BYTES)
        return RouteEstimate(
            memory=self.base_memory + largest + (TILES_MEMORY if cost.iterations else 0),
            solver_memory=cost.memory,
            seconds=StageSeconds(
                symmetry=self.symmetry,
                choice=self.choice,
                planning=planning,
                assembly=cost.assembly,
                factorization=cost.factorization,
                solution=cost.solution,
                prediction=self.prediction,
            ),
        )


def _check_request(n_train: int, n_valid: int, device: str) -> None:
    if n_train < 1 or n_valid < 0:
        raise OptionError(
            f"Expected at least 1 training and 0 validation frames, got {n_train} and {n_valid}."
        )
    check_device(device)


def _plans(options: SolverOptions) -> bool:
    """Return whether speeds are measured before the iterative solver runs."""
    return options.solver == "auto" or options.rank in ("fastest", "auto")


def _samples(arrays: TrainingArrays, request: Request) -> Samples:
    """Return a system of the geometries there are, with given or typical hyper-parameters."""
    kernel = request.kernels[0]
    length_scale, relative = start(arrays, kernel)
    operator, _ = arrays.operator(kernel, request.length_scale or length_scale)
    regularization = request.regularization
    if regularization is None:
        regularization = relative * float(operator.diagonal().mean())
    weights = arrays.labels.regularization(operator, regularization)
    return Samples(operator, weights, arrays.labels.vector(operator))


def _rule(
    samples: Samples, size: SystemSize, options: SolverOptions, seed: int, progress: Progress
) -> IterationRule:
    """Return the rule for the number of iterations, measured unless the system is small."""
    if size.n <= DENSE_LABELS and options.solver != "iterative":
        return IterationRule.typical(size.block_size, options.expected_residual)
    return measure_rule(
        samples,
        method_name(options),
        options.block_geometries,
        options.expected_residual,
        seconds=MEASURING_SECONDS,
        seed=seed,
        progress=progress,
    )


def _plan(
    size: SystemSize, options: SolverOptions, allowed: int, speeds: Speeds, rule: IterationRule
) -> SolverPlan:
    plan = choose_route(size, options, allowed, speeds, rule)
    if options.solver == "auto" and size.n <= DENSE_LABELS and plan.dense_memory <= allowed:
        return replace(plan, solver="dense", rank=0, block_geometries=0, preconditioner="")
    return plan


def _resident_memory() -> int:
    """Return the bytes that this process takes now."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
