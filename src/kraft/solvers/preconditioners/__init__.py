"""Preconditioners of regularized symmetric systems, by name."""

from kraft.solvers.preconditioners.base import Preconditioner, PreconditionerMethod
from kraft.solvers.preconditioners.catalog import DEFAULT_METHOD, METHODS, preconditioner_method
from kraft.solvers.preconditioners.low_rank import REMAINDERS

__all__ = [
    "DEFAULT_METHOD",
    "METHODS",
    "REMAINDERS",
    "Preconditioner",
    "PreconditionerMethod",
    "preconditioner_method",
]
