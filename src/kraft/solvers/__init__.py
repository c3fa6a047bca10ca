"""Solvers of regularized symmetric systems; they know operators, not kernels."""

from kraft.solvers.dense import DenseCholesky, PreparedCholesky
from kraft.solvers.iterative import IterativeSolver, PreparedIterative
from kraft.solvers.monitor import Iterate, Monitor, StopReason
from kraft.solvers.outcome import SolveOutcome, Status
from kraft.solvers.state import HistoryPoint, SolverState

__all__ = [
    "DenseCholesky",
    "HistoryPoint",
    "Iterate",
    "IterativeSolver",
    "Monitor",
    "PreparedCholesky",
    "PreparedIterative",
    "SolveOutcome",
    "SolverState",
    "Status",
    "StopReason",
]
