"""Preconditioners of regularized symmetric systems, by name."""

from kraft.solvers.preconditioners.base import Preconditioner, PreconditionerMethod
from kraft.solvers.preconditioners.catalog import (
    DEFAULT_METHOD,
    METHODS,
    method_with_blocks,
    preconditioner_method,
)
from kraft.solvers.preconditioners.low_rank import REMAINDERS

__all__ = [
    "DEFAULT_METHOD",
    "METHODS",
    "REMAINDERS",
    "Preconditioner",
    "PreconditionerMethod",
    "method_with_blocks",
    "preconditioner_method",
]
