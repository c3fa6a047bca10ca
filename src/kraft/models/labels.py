"""From reference data to labels of a linear system, and back: all signs and scales live here.

Forces are labels as they are (the kernel is that of ``F = -∂E/∂R``), energies relative to their
mean; both are divided by the standard deviation of the force components, so that regularization
means the same for every molecule and unit (as in paper 002; `docs/theory.md`, section 5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from kraft.core.errors import DataError, OptionError
from kraft.core.typing import FloatArray, IntArray
from kraft.data.dataset import Dataset
from kraft.kernels.operator import KernelOperator


@dataclass(frozen=True, eq=False)
class Labels:
    """Scaled labels of a training set.

    Attributes
    ----------
    forces
        ``(M, N, 3)`` forces, divided by ``scale``.
    energies
        ``(M,)`` energies less their mean, divided by ``scale``; None when only forces are learned.
    scale
        Standard deviation of the force components in eV/Å.
    energy_weight
        Weight ``w`` of the energies: their regularization is ``λ / w²``.
    """

    forces: FloatArray
    energies: FloatArray | None
    scale: float
    energy_weight: float

    @classmethod
    def from_dataset(cls, dataset: Dataset, energy_weight: float = 0.0) -> Labels:
        """Make the labels of a training set; energies enter if ``energy_weight`` is positive."""
        if not (energy_weight >= 0.0 and math.isfinite(energy_weight)):
            raise OptionError(
                f"The energy weight must be a number from 0 on, got {energy_weight}; 0 learns from "
                "forces only, 1 trusts energies (eV) as much as forces (eV/Å)."
            )
        scale = float(np.std(dataset.forces))
        if not scale > 0.0:
            raise DataError(
                "All forces are equal, so there is nothing to learn. Expected forces of geometries "
                "away from equilibrium in eV/Å; look at the file with `kraft info`."
            )
        energies = None
        if energy_weight > 0.0:
            if dataset.energies is None:
                raise DataError(
                    "Energies were asked for as labels, but the dataset has none. Name the key "
                    "that holds them (--energy-key) or train without --energy-weight."
                )
            energies = (dataset.energies - dataset.energies.mean()) / scale
        return cls(dataset.forces / scale, energies, scale, energy_weight)

    def subset(self, indices: IntArray) -> Labels:
        """Return the labels of some of the geometries, as they are."""
        energies = None if self.energies is None else self.energies[indices]
        return replace(self, forces=self.forces[indices], energies=energies)

    def vector(self, operator: KernelOperator) -> Tensor:
        """Return the right-hand side of the operator's system."""
        options = {"dtype": operator.dtype, "device": operator.device}
        energies = None if self.energies is None else torch.tensor(self.energies, **options)  # type: ignore[arg-type]
        return operator.join(torch.tensor(self.forces, **options), energies)  # type: ignore[arg-type]

    def regularization(self, operator: KernelOperator, strength: float) -> Tensor:
        """Return the regularization of every label, ``(size,)``."""
        block = torch.full((operator.block_size,), strength, dtype=operator.dtype)
        if operator.energy_labels:
            block[-1] = strength / self.energy_weight**2
        return block.repeat(len(operator.geometries)).to(operator.device)
