"""What every model of predictive uncertainty offers, whatever it costs and however exact it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from torch import Tensor

from kraft.core.errors import OptionError

Direction = Literal["exact", "estimate", "upper bound"]
"""How standard deviations relate to those of the exact posterior of the Gaussian process."""

Method = Literal["auto", "exact", "committee", "landmarks"]
"""Ways to the uncertainty; `docs/uncertainty.md` tells when each is the right one."""

METHODS: tuple[str, ...] = get_args(Method)


@dataclass(frozen=True, eq=False)
class Deviations:
    """Standard deviations of predictions, uncalibrated.

    Attributes
    ----------
    energies
        ``(B,)`` in eV. Where energies are known up to a constant that was fitted to the training
        energies, the deviation of the energy less the mean energy of the training geometries.
    forces
        ``(B, N, 3)`` in eV/Å, of every component by itself.
    """

    energies: Tensor
    forces: Tensor


class UncertaintyModel(Protocol):
    """Predictive standard deviations of a force field."""

    @property
    def method(self) -> str:
        """The name of the method, one of :data:`METHODS` other than ``"auto"``."""
        ...

    @property
    def direction(self) -> Direction:
        """Whether deviations are exact, estimates, or bounds from above."""
        ...

    @property
    def description(self) -> str:
        """One sentence for people: what it is and how it was made."""
        ...

    def deviations(self, positions: Tensor) -> Deviations:
        """Return the deviations at positions ``(B, N, 3)`` in Å, on the model's device."""
        ...


@dataclass(frozen=True)
class UncertaintyOptions:
    """How uncertainty is to be computed.

    Parameters
    ----------
    method
        ``"auto"`` is exact for up to 5000 training labels, where they fit into the memory, and a
        committee beyond; ``"landmarks"`` are upper bounds, for training sets of any size.
    max_memory
        Bytes it may use in all; what the machine has available when not given.
    n_members
        Members of a committee.
    seed
        Of the random parts of a committee, and of the choice of landmarks.
    """

    method: Method = "auto"
    max_memory: int | None = None
    n_members: int = 8
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise OptionError(
                f"Unknown method of uncertainty {self.method!r}; choose one of "
                f"{', '.join(METHODS)}."
            )
        if self.max_memory is not None and self.max_memory <= 0:
            raise OptionError(
                f"The memory for uncertainty must be positive, got {self.max_memory} bytes."
            )
        if self.n_members < 2:
            raise OptionError(
                f"A committee needs at least two members, got {self.n_members}; 8 is usual."
            )
