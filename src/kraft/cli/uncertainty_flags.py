"""Flags that say whether and how uncertainty is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Group, Parameter

from kraft.cli.options import Flag, parse_memory
from kraft.models import ForceField
from kraft.models.uncertainty.base import Method, UncertaintyOptions

UNCERTAINTY_GROUP = Group("Uncertainty", sort_key=48)


@Parameter(name="*", group=UNCERTAINTY_GROUP)
@dataclass(frozen=True)
class MethodFlags:
    """How standard deviations are computed."""

    uncertainty_method: Annotated[
        Method,
        Parameter(
            help=(
                "exact needs a factorization of the training matrix; the others do with less; "
                "auto is exact where that is feasible."
            )
        ),
    ] = "auto"
    uncertainty_memory: Annotated[
        str | None, Parameter(help="Memory it may use, for example 8GB; what is free.")
    ] = None

    def options(self) -> UncertaintyOptions:
        """Return these flags as options; OptionError when one is wrong."""
        memory = self.uncertainty_memory
        return UncertaintyOptions(
            self.uncertainty_method, None if memory is None else parse_memory(memory)
        )

    def apply(self, force_field: ForceField) -> ForceField:
        """Return the force field with these options."""
        options = self.options()
        return force_field.with_uncertainty(options.method, max_memory=options.max_memory)


@Parameter(name="*", group=UNCERTAINTY_GROUP)
@dataclass(frozen=True)
class UncertaintyFlags(MethodFlags):
    """Whether standard deviations are computed, and how."""

    uncertainty: Annotated[
        bool, Flag, Parameter(help="Standard deviations of energies and forces, too.")
    ] = False

    @property
    def wanted(self) -> bool:
        """Whether uncertainty was asked for, by itself or by saying how."""
        return self.uncertainty or self != type(self)()
