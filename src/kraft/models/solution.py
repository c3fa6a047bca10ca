"""Solving the linear system of a training by the planned solver, so that it can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from torch import Tensor

from kraft.core.errors import MemoryLimitError, SolverError
from kraft.core.progress import Progress
from kraft.kernels import KernelOperator
from kraft.linalg.operators import SymmetricOperator
from kraft.models.checkpoint import TrainingState
from kraft.models.objective import TrainingArrays
from kraft.models.run_control import RunControl
from kraft.models.selection import Choice
from kraft.models.solve_monitor import SolveMonitor
from kraft.models.solver_choice import SolverPlan, plan_solution
from kraft.models.solver_options import SolverOptions
from kraft.models.validation_error import ValidationError
from kraft.models.validation_stop import EVALUATION_SHARE, ValidationWatch
from kraft.solvers import DenseCholesky, SolveOutcome
from kraft.solvers.iterative import IterativeSolver
from kraft.solvers.outcome import raise_unless_converged
from kraft.solvers.preconditioners import method_with_blocks
from kraft.solvers.state import SolverState


@dataclass(frozen=True, eq=False)
class Solution:
    """A solved system.

    Attributes
    ----------
    plan
        How it was solved, and why.
    outcome
        The solution and its figures.
    tolerance
        The relative residual asked for; None for the dense solver.
    """

    plan: SolverPlan
    outcome: SolveOutcome
    tolerance: float | None


@dataclass(frozen=True, eq=False)
class System:
    """A linear system ``(A + Λ) c = y``.

    Attributes
    ----------
    operator, regularization, labels
        ``A``, ``Λ`` ``(n,)`` and ``y`` ``(n,)``.
    error
        Validation error of coefficients ``(n,)`` in eV/Å; None without validation geometries.
    """

    operator: SymmetricOperator
    regularization: Tensor
    labels: Tensor
    error: Callable[[Tensor], float] | None


def training_system(arrays: TrainingArrays, choice: Choice) -> tuple[KernelOperator, System]:
    """Return the system of a training with the hyper-parameters chosen, and its operator."""
    operator, feature_map = arrays.operator(choice.kernel, choice.length_scale)
    error = ValidationError(arrays, operator, feature_map) if arrays.has_validation else None
    regularization = arrays.labels.regularization(operator, choice.regularization)
    return operator, System(operator, regularization, arrays.labels.vector(operator), error)


def solve(
    system: System,
    state: TrainingState,
    options: SolverOptions,
    control: RunControl,
    progress: Progress,
    *,
    jitter: bool = True,
) -> Solution:
    """Solve a system from the start, or from a state.

    Parameters
    ----------
    system
        What to solve.
    state
        The training, with the plan and the iterate when it is resumed.
    options, control
        What was asked for.
    progress
        Told about the stages.
    jitter
        Whether the dense solver may add a little to the diagonal where rounding wants it.

    Raises
    ------
    MemoryLimitError
        Before anything large is allocated, when the planned solver does not fit.
    IllConditionedError
        When rounding defeats the solver.
    SolverError
        When there is no solution as good as asked for and such are not accepted.
    UnfinishedError
        When the run was stopped from outside or by its time limit; the state is saved.
    """
    plan = state.plan
    if plan is None:
        plan = plan_solution(
            system.operator,
            options,
            regularization=system.regularization,
            labels=system.labels,
            seed=control.seed,
            progress=control.limited(progress),
        )
        state = replace(state, plan=plan)
    control.save(state)
    if plan.solver == "iterative":
        outcome = _iterate(system, state, plan, options, control, progress)
        _require_good(outcome, options, control)
        return Solution(plan, outcome, options.tolerance)
    with _discarding(state, control):
        prepared = DenseCholesky(options.max_memory, jitter=jitter).prepare(
            system.operator, system.regularization, control.limited(progress)
        )
        return Solution(plan, prepared.solve(system.labels), None)


@contextmanager
def _discarding(state: TrainingState, control: RunControl) -> Iterator[None]:
    """Remove the state when the solver fails before it has an iterate: it would fail again."""
    try:
        yield
    except (MemoryLimitError, SolverError):
        if state.solver is None:
            control.discard()
        raise


def _iterate(
    system: System,
    state: TrainingState,
    plan: SolverPlan,
    options: SolverOptions,
    control: RunControl,
    progress: Progress,
) -> SolveOutcome:
    """Run the iterative solver; however it ends, the last state is saved."""
    solver = iterative_solver(plan, options, control.seed)
    with _discarding(state, control):
        prepared = solver.prepare(
            system.operator, system.regularization, control.limited(progress), start=state.solver
        )

    def save(reached: SolverState) -> None:
        control.save(replace(state, solver=reached))

    validation = None
    if system.error is not None:
        validation = ValidationWatch(system.error, EVALUATION_SHARE[options.stop])
    monitor = SolveMonitor(
        save=None if control.checkpoint is None else save,
        interval=control.interval,
        deadline=control.deadline,
        validation=validation,
        stop_on_validation=options.stop == "validation",
        observer=control.observer,
    )
    try:
        with control.observer.solving():
            return prepared.solve(
                system.labels, start=state.solver, monitor=monitor, progress=progress
            )
    finally:
        reached = prepared.state()
        if reached is not None:
            save(reached)


def iterative_solver(plan: SolverPlan, options: SolverOptions, seed: int) -> IterativeSolver:
    """Return the planned iterative solver."""
    return IterativeSolver(
        preconditioner=method_with_blocks(plan.preconditioner, plan.block_geometries),
        rank=plan.rank,
        tolerance=options.tolerance,
        max_iterations=options.max_iterations,
        max_memory=options.max_memory,
        seed=seed,
    )


def _require_good(outcome: SolveOutcome, options: SolverOptions, control: RunControl) -> None:
    """Raise unless the outcome is to become a model."""
    if outcome.converged:
        return
    if outcome.status == "interrupted" or (
        outcome.status == "max_time" and not options.accept_unconverged
    ):
        raise control.unfinished(
            outcome.status,
            f"after {outcome.iterations} iterations, at a relative residual of "
            f"{outcome.relative_residual:.1e} ({options.tolerance:.0e} was asked for)",
        )
    if not options.accept_unconverged:
        kept = "" if control.checkpoint is None else f" The state is in {control.checkpoint}."
        raise_unless_converged(outcome.status, f"{outcome.advice}{kept}")
