"""What is asked of a choice of hyper-parameters, what was tried, and what came of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from kraft.core.errors import OptionError
from kraft.kernels import KERNELS, radial_kernel

ENERGY_SHARE = 0.25
"""How much a change of the error of energies weighs beside one of that of forces."""

TINY = 1e-12
"""Errors of energies below are as good as none."""


@dataclass(frozen=True)
class Trial:
    """One set of hyper-parameters that was tried, and its errors.

    Attributes
    ----------
    force_mae
        In eV/Å.
    energy_mae
        Of energies less their mean, in eV; None where there are none to judge by.
    """

    kernel: str
    length_scale: float
    regularization: float
    n_train: int
    force_mae: float
    energy_mae: float | None = None

    @property
    def score(self) -> float:
        """What trials are compared by: the error of forces times a power of that of energies."""
        if self.energy_mae is None or not math.isfinite(self.force_mae):
            return self.force_mae
        return float(self.force_mae * max(self.energy_mae, TINY) ** ENERGY_SHARE)


@dataclass(frozen=True)
class Choice:
    """The hyper-parameters chosen, why, and everything that was tried.

    Attributes
    ----------
    criterion
        ``"validation"``, ``"held-out"``, ``"leave-one-out"`` or ``"given"``.
    at_edge
        Names of parameters that ended at the edge of the range searched; empty as a rule.
    reason
        One sentence for the report.
    raised_from
        The regularization that was chosen at first, where rounding then defeated the solver and
        ``regularization`` is a larger one; None as a rule.
    """

    kernel: str
    length_scale: float
    regularization: float
    criterion: str
    trials: tuple[Trial, ...] = ()
    at_edge: tuple[str, ...] = ()
    reason: str = "given by the user"
    seconds: float = 0.0
    raised_from: float | None = None

    def raised(self, factor: float) -> Choice:
        """Return the choice with a regularization that is larger by a factor."""
        return replace(
            self,
            regularization=factor * self.regularization,
            reason=f"{self.reason}; regularization raised {factor:g} times for rounding",
            raised_from=self.raised_from or self.regularization,
        )


@dataclass(frozen=True)
class Request:
    """What the user fixed; None (or ``"auto"``) is to be chosen."""

    kernel: str = "auto"
    length_scale: float | None = None
    regularization: float | None = None

    def __post_init__(self) -> None:
        if self.kernel != "auto":
            radial_kernel(self.kernel)
        for name, value in (
            ("length scale", self.length_scale),
            ("regularization", self.regularization),
        ):
            if value is not None and not (value > 0.0 and math.isfinite(value)):
                raise OptionError(f"The {name} must be a positive number, got {value}.")

    @property
    def kernels(self) -> tuple[str, ...]:
        """Names of the kernels that may be chosen."""
        return tuple(KERNELS) if self.kernel == "auto" else (self.kernel,)

    @property
    def complete(self) -> bool:
        """Whether nothing is left to choose."""
        return self.kernel != "auto" and None not in (self.length_scale, self.regularization)
