"""What to tell about a solution that did not converge."""

from __future__ import annotations

from kraft.solvers.outcome import CONVERGED, Status

_WHAT: dict[Status, str] = {
    "stalled": "no longer made progress after {restarts} restarts",
    "max_iterations": "reached the largest number of iterations",
    "max_time": "reached its time limit",
    "interrupted": "was interrupted",
    "breakdown": "broke down ({breakdown})",
}

_REMEDY: dict[Status, str] = {
    "stalled": "Choose a larger --rank (more memory: --max-memory) or a larger regularization",
    "max_iterations": "Allow more iterations, choose a larger --rank or a larger regularization",
    "max_time": "Resume it, or choose a larger --rank or a larger regularization",
    "interrupted": "Resume it",
    "breakdown": (
        "The system is singular to rounding: look for duplicate frames (`kraft info`), choose a "
        "larger regularization or a shorter length scale"
    ),
}


def advice(
    status: Status,
    *,
    relative_residual: float,
    tolerance: float,
    iterations: int,
    restarts: int,
    rank: int,
    breakdown: str = "",
) -> str:
    """Return what was reached and what to do; nothing for a converged solution."""
    if status in CONVERGED:
        return ""
    what = _WHAT[status].format(restarts=restarts, breakdown=breakdown)
    return (
        f"The iterative solver {what} at a relative residual of {relative_residual:.1e} after "
        f"{iterations} iterations with {rank} columns in the preconditioner; expected at most "
        f"{tolerance:.0e}. {_REMEDY[status]}; a looser --tolerance or --accept-unconverged takes "
        "the solution as it is."
    )
