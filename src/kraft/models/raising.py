"""Solving the system of a training; where rounding defeats it, with more regularization.

A regularization that kraft chose is raised by steps until the solver succeeds, and the choice tells
of it. One that was given stays what it is: the error then names one that is large enough.
"""

from __future__ import annotations

import math
from dataclasses import replace

from kraft.core.errors import IllConditionedError
from kraft.core.progress import Progress
from kraft.kernels import KernelOperator
from kraft.models.checkpoint import TrainingState
from kraft.models.objective import TrainingArrays
from kraft.models.run_control import RunControl
from kraft.models.selection import Choice, Request
from kraft.models.solution import Solution, solve, training_system
from kraft.models.solver_options import SolverOptions
from kraft.solvers.rounding import RAISE, by_raising, norm_bound, shortfall

MARGIN = 2.0
"""What is advised exceeds what rounding demands by this factor."""


def solve_chosen(
    arrays: TrainingArrays,
    state: TrainingState,
    request: Request,
    options: SolverOptions,
    control: RunControl,
    progress: Progress,
) -> tuple[KernelOperator, Solution, TrainingState]:
    """Solve the system of a training that has its hyper-parameters.

    Parameters
    ----------
    arrays, state
        The training, and where it stands.
    request
        Tells whether the regularization was given.
    options, control, progress
        As for :func:`kraft.models.solution.solve`.

    Returns
    -------
    KernelOperator, Solution
        The system without its regularization, and its solution.
    TrainingState
        With the hyper-parameters of the solution.

    Raises
    ------
    IllConditionedError
        When rounding defeats the solver with a regularization that was given, or with the largest
        that was tried.
    MemoryLimitError, SolverError, UnfinishedError
        As :func:`kraft.models.solution.solve`.
    """
    given = request.regularization is not None

    def attempt(factor: float) -> tuple[KernelOperator, Solution, TrainingState]:
        tried = state
        if factor != 1.0:
            raised = state.choice.raised(factor)
            tried = replace(state, choice=raised, plan=None, solver=None)
        operator, system = training_system(arrays, tried.choice)
        try:
            return operator, solve(system, tried, options, control, progress, jitter=given), tried
        except IllConditionedError as error:
            raise _informed(error, arrays, tried.choice, operator) from error

    if not given:
        return by_raising(attempt)[0]
    try:
        return attempt(1.0)
    except IllConditionedError as error:
        least = least_regularization(state.choice.regularization, error)
        raise IllConditionedError(
            f"{error} With so many labels, rounding asks for a regularization of about "
            f"{least:.0e} at least (--regularization), instead of "
            f"{state.choice.regularization:.1e}; left out, a suitable one is chosen.",
            error.shortfall,
        ) from error


def _informed(
    error: IllConditionedError, arrays: TrainingArrays, choice: Choice, operator: KernelOperator
) -> IllConditionedError:
    """Return the error with the shortfall that the norm of the matrix tells of, if larger."""
    norm = norm_bound(operator, arrays.labels.regularization(operator, 1.0))
    told = shortfall(norm, choice.regularization)
    return IllConditionedError(str(error), max(error.shortfall, told))


def least_regularization(given: float, error: IllConditionedError) -> float:
    """Return a regularization that rounding should allow where a given one failed, rounded up."""
    least = given * max(MARGIN * error.shortfall, RAISE)
    power: float = 10.0 ** math.floor(math.log10(least))
    return math.ceil(least / power - 1e-9) * power
