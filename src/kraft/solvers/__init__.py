"""Solvers of regularized symmetric systems; they know operators, not kernels."""

from kraft.solvers.dense import DenseCholesky, PreparedCholesky
from kraft.solvers.outcome import SolveOutcome

__all__ = ["DenseCholesky", "PreparedCholesky", "SolveOutcome"]
