"""Solving the systems of all atom sets: side by side, or iteratively where they do not fit."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor

from kraft.core.errors import IllConditionedError
from kraft.core.memory import available_memory
from kraft.core.progress import Progress, silent
from kraft.core.typing import IntArray
from kraft.kernels.atom_expansion import AtomExpansion
from kraft.kernels.atom_geometries import AtomGeometries, Distances, radial_factors
from kraft.kernels.atom_sets import AtomSet, AtomSetOperator
from kraft.kernels.radial import RadialKernel
from kraft.linalg.arrays import tensor
from kraft.models.aff.cost import AtomizedCost, aff_cost
from kraft.models.aff.left_out import LeftOut, SetLeftOut, gather_left_out, set_left_out
from kraft.models.aff.systems import AtomizedArrays, side_by_side
from kraft.models.solution import iterative_solver
from kraft.models.solver_choice import plan_solution
from kraft.models.solver_options import SolverOptions
from kraft.solvers import DenseCholesky
from kraft.solvers.dense import TOLERATED_RESIDUAL

AVAILABLE_SHARE = 0.8
"""Of the memory that the machine has left, where no limit is given."""

CHUNK_ELEMENTS = 4_000_000
"""Radial factors held at once when residuals are computed."""


@dataclass(frozen=True)
class SetOutcome:
    """How the system of one atom set was solved.

    Attributes
    ----------
    atoms
        The atoms of the set.
    n_labels
        Rows of the system.
    variance
        Maximum-likelihood variance in eV².
    solver
        ``"dense"`` or ``"iterative"``.
    relative_residual
        ``|F - (R + λI) α| / |F|``, computed by the expansion that predicts.
    jitter
        What had to be added to the diagonal beyond the nugget; zero as a rule.
    status, iterations
        Of the solver.
    seconds
        Wall time.
    """

    atoms: tuple[int, ...]
    n_labels: int
    variance: float
    solver: str
    relative_residual: float
    jitter: float
    status: str
    iterations: int
    seconds: float


@dataclass(frozen=True, eq=False)
class AtomizedSolution:
    """Coefficients ``(M, N, 3)`` in eV Å and how each set was solved.

    ``left_out`` are the predictions at the geometries that were to be left out; None where a set
    was solved iteratively, or none were asked for.
    """

    coefficients: Tensor
    outcomes: tuple[SetOutcome, ...]
    cost: AtomizedCost
    left_out: LeftOut | None = None

    @property
    def variances(self) -> list[float]:
        """Maximum-likelihood variance of each set in eV²."""
        return [outcome.variance for outcome in self.outcomes]


@dataclass(frozen=True, eq=False)
class _Solved:
    coefficients: Tensor
    solver: str
    jitter: float
    status: str
    iterations: int
    seconds: float
    left_out: SetLeftOut | None = None


def solve_sets(
    arrays: AtomizedArrays,
    kernel: RadialKernel,
    length_scale: float,
    regularization: float,
    *,
    leave_out: IntArray | None = None,
    max_memory: int | None = None,
    seed: int = 0,
    progress: Progress = silent,
) -> AtomizedSolution:
    """Solve ``(R + λI) α = F`` for every atom set.

    Parameters
    ----------
    arrays
        Training geometries, forces and sets.
    kernel, length_scale, regularization
        Radial kernel, range in 1/Å and nugget.
    leave_out
        Training geometries that are to be predicted from all others as well.
    max_memory
        Bytes that it may allocate; a share of what the machine has when not given. A set whose
        matrix does not fit is solved iteratively.
    seed
        Of the iterative solver.
    progress
        Told about the sets (stage ``solving atom sets``).

    Raises
    ------
    IllConditionedError
        When rounding defeats the solver of a set.
    SolverError
        When a set could not be solved iteratively to the accuracy that a model needs.
    """
    allowed = max_memory
    if allowed is None:
        allowed = int(AVAILABLE_SHARE * available_memory(arrays.forces.device))
    cost = memory_plan(arrays, allowed)
    keep = cost.shared_memory < allowed // 2
    factors = arrays.tiles(keep=keep).factors(kernel, length_scale, keep=keep)
    sizes = [arrays.n_train * atom_set.block_size for atom_set in arrays.sets]
    share = (allowed - cost.shared_memory) // cost.n_parallel
    done = 0

    def work(atom_set: AtomSet, concurrent: bool) -> _Solved:
        nonlocal done
        operator = AtomSetOperator(atom_set, arrays.geometries, factors, arrays.descriptor)
        labels = arrays.labels(atom_set)
        memory = share if concurrent else allowed - cost.shared_memory
        needed = DenseCholesky.required_memory(operator.size, operator.block_size)
        if needed <= memory:
            solved = _dense(operator, labels, regularization, memory, concurrent, leave_out)
        else:
            solved = _iterative(operator, labels, regularization, memory, seed, progress)
        done += 1
        progress("solving atom sets", done, len(arrays.sets))
        return solved

    solved = side_by_side(work, arrays.sets, sizes, cost.n_parallel)
    coefficients = torch.zeros_like(arrays.forces)
    for atom_set, one in zip(arrays.sets, solved, strict=True):
        atoms = torch.as_tensor(atom_set.atoms, device=coefficients.device)
        coefficients[:, atoms] = one.coefficients.view(arrays.n_train, len(atoms), 3)
    predicted = training_forces(arrays, kernel, length_scale, coefficients)
    outcomes = []
    for atom_set, one in zip(arrays.sets, solved, strict=True):
        outcomes.append(_outcome(arrays, atom_set, one, predicted, regularization))
    left_out = None
    parts = [one.left_out for one in solved if one.left_out is not None]
    if leave_out is not None and len(parts) == len(solved):
        variances = [outcome.variance for outcome in outcomes]
        left_out = gather_left_out(arrays.forces, leave_out, arrays.sets, parts, variances)
    return AtomizedSolution(coefficients, tuple(outcomes), cost, left_out)


def memory_plan(arrays: AtomizedArrays, allowed: int) -> AtomizedCost:
    """Return the cost with as many sets solved at a time as there are threads and memory for."""
    sets = [atom_set.atoms for atom_set in arrays.sets]
    cost = None
    for n_parallel in range(arrays.n_parallel, 0, -1):
        cost = aff_cost(arrays.n_train, arrays.n_permutations, sets, n_parallel=n_parallel)
        if cost.memory <= allowed:
            return cost
    assert cost is not None
    return cost


def training_forces(
    arrays: AtomizedArrays, kernel: RadialKernel, length_scale: float, coefficients: Tensor
) -> Tensor:
    """Return the expansion's forces ``(M, N, 3)`` at the training geometries."""
    return expansion_forces(arrays, arrays.geometries, kernel, length_scale, coefficients)


def expansion_forces(
    arrays: AtomizedArrays,
    queries: AtomGeometries,
    kernel: RadialKernel,
    length_scale: float,
    coefficients: Tensor,
) -> Tensor:
    """Return the expansion's forces ``(B, N, 3)`` at queries."""
    sets = [atom_set.atoms for atom_set in arrays.sets]
    expansion = AtomExpansion(arrays.geometries, sets, coefficients)
    distances = Distances(queries, arrays.geometries)
    step = max(1, CHUNK_ELEMENTS // (arrays.n_train * arrays.n_permutations))
    parts = []
    for start in range(0, len(queries), step):
        rows = slice(start, min(start + step, len(queries)))
        factors = radial_factors(kernel, length_scale, distances.tile(rows))
        parts.append(tensor(expansion(queries.part(rows), factors)))
    return torch.cat(parts)


def _dense(
    operator: AtomSetOperator,
    labels: Tensor,
    regularization: float,
    max_memory: int,
    concurrent: bool,
    leave_out: IntArray | None,
) -> _Solved:
    started = time.perf_counter()
    solver = DenseCholesky(max_memory, concurrent=concurrent)
    prepared = solver.prepare(operator, regularization)
    solution = prepared.factor.solve(labels)
    left_out = None
    if leave_out is not None:
        left_out = set_left_out(
            prepared.factor, solution, regularization, leave_out, operator.block_size
        )
    seconds = time.perf_counter() - started
    return _Solved(solution, "dense", prepared.jitter, "exact", 0, seconds, left_out)


def _iterative(
    operator: AtomSetOperator,
    labels: Tensor,
    regularization: float,
    max_memory: int,
    seed: int,
    progress: Progress,
) -> _Solved:
    started = time.perf_counter()
    options = SolverOptions(solver="iterative", max_memory=max_memory)
    nugget = torch.full_like(labels, regularization)
    plan = plan_solution(
        operator.whole,
        options,
        regularization=nugget,
        labels=labels,
        seed=seed,
        progress=progress,
    )
    prepared = iterative_solver(plan, options, seed).prepare(operator.whole, nugget, progress)
    outcome = prepared.solve(labels, progress=progress)
    outcome.require_converged()
    return _Solved(
        outcome.coefficients,
        "iterative",
        outcome.jitter,
        outcome.status,
        outcome.iterations,
        time.perf_counter() - started,
    )


def _outcome(
    arrays: AtomizedArrays,
    atom_set: AtomSet,
    solved: _Solved,
    predicted: Tensor,
    regularization: float,
) -> SetOutcome:
    """Check the residual of a set and return what there is to tell about it."""
    atoms = torch.as_tensor(atom_set.atoms, device=predicted.device)
    labels = arrays.labels(atom_set)
    applied = predicted.index_select(1, atoms).reshape(-1) + regularization * solved.coefficients
    size = float(torch.linalg.vector_norm(labels))
    residual = float(torch.linalg.vector_norm(labels - applied)) / (size or 1.0)
    if not residual < TOLERATED_RESIDUAL * (2.0 if solved.solver == "iterative" else 1.0):
        raise IllConditionedError(
            f"The solution for atoms {atom_set.atoms.tolist()} leaves a relative residual of "
            f"{residual:.1e}; expected less than {TOLERATED_RESIDUAL:.0e}. The system is too "
            "ill-conditioned: choose a shorter range or a larger nugget.",
            shortfall=min(residual, 1.0) / TOLERATED_RESIDUAL,
        )
    return SetOutcome(
        atoms=tuple(int(atom) for atom in atom_set.atoms),
        n_labels=len(labels),
        variance=float(labels @ solved.coefficients) / len(labels),
        solver=solved.solver,
        relative_residual=residual,
        jitter=solved.jitter,
        status=solved.status,
        iterations=solved.iterations,
        seconds=solved.seconds,
    )
