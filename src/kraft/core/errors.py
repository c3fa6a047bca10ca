"""Errors that a user can act on.

Every message says what was expected, what came and what to do about it. The command line prints
the message without a traceback; library code raises these and never exits.
"""

from __future__ import annotations


class KraftError(Exception):
    """Base of every error that kraft raises on purpose."""


class DataError(KraftError, ValueError):
    """Reference data that cannot be read or cannot be trained on."""


class UnitError(DataError):
    """A unit that is missing, unknown or inconsistent."""


class ModelFileError(KraftError, ValueError):
    """A model file that cannot be read, is damaged or is of an unknown version."""


class GeometryError(KraftError, ValueError):
    """A geometry that does not fit the model: other atoms, another order, a wrong shape."""


class ExtrapolationError(GeometryError):
    """A simulation that has left what its model knows.

    Parameters
    ----------
    message
        What was seen, when, and what to do.
    seen
        What was seen, alone.
    step, bead
        When, and of which of the geometries predicted together.
    """

    def __init__(self, message: str, seen: str, step: int, bead: int) -> None:
        super().__init__(message)
        self.seen, self.step, self.bead = seen, step, bead


class OptionError(KraftError, ValueError):
    """An option outside the values it can take."""


class MemoryLimitError(KraftError, MemoryError):
    """A computation that would need more memory than it may use; raised before it starts."""


class SolverError(KraftError, ArithmeticError):
    """A linear system that could not be solved to the accuracy that a model needs."""


class IllConditionedError(SolverError):
    """A linear system that rounding makes unsolvable; a larger regularization mends it.

    Parameters
    ----------
    message
        What failed and what to do.
    shortfall
        By which factor the regularization is too small, as far as the failure tells; 1 if it does
        not.
    """

    def __init__(self, message: str, shortfall: float = 1.0) -> None:
        super().__init__(message)
        self.shortfall = shortfall


class SymmetryError(KraftError, ValueError):
    """Permutations that are malformed, do not fit the molecule or do not form a group."""


class UnfinishedError(KraftError):
    """Work that was stopped, from outside or by a limit, before it was done.

    Parameters
    ----------
    message
        What was stopped where, and how to go on.
    reason
        ``"interrupted"`` or ``"max_time"``.
    """

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason
