"""The force error on validation geometries, straight from the coefficients of a linear system."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from kraft.descriptors import FeatureMap, Features
from kraft.kernels import KernelOperator

if TYPE_CHECKING:
    from kraft.models.objective import TrainingArrays


LEAST_ENERGIES = 10
"""Energies, known up to a constant, that are enough to judge by."""


class ValidationError:
    """Mean absolute force error in eV/Å as a function of the coefficients.

    On the CPU the work is done by NumPy, as the solver's is, so that the thread pools of NumPy and
    torch do not disturb each other.

    Parameters
    ----------
    arrays
        With validation geometries.
    operator, feature_map
        The system and what makes its features, from
        :meth:`kraft.models.objective.TrainingArrays.operator`.
    """

    def __init__(
        self, arrays: TrainingArrays, operator: KernelOperator, feature_map: FeatureMap
    ) -> None:
        positions, reference = arrays.valid_positions, arrays.valid_forces
        if positions is None or reference is None:
            raise AssertionError("no validation geometries")
        raw = arrays.descriptor.evaluate(positions)
        self._features = Features(feature_map.values(raw.values), raw.gradients)
        self._descriptor = arrays.descriptor
        self._operator = operator
        self._reference = reference
        self._reference_energies = arrays.valid_energies
        self._map = feature_map
        self._factor = arrays.labels.scale

    def __call__(self, coefficients: Tensor) -> float:
        """Return the error of ``(n,)`` coefficients."""
        return self.of_forces_and_energies(coefficients)[0]

    def of_forces_and_energies(self, coefficients: Tensor) -> tuple[float, float | None]:
        """Return also that of energies in eV, None where they are not known."""
        values = self._features.values
        on_cpu = values.device.type == "cpu"
        contracted = self._operator.expansion(coefficients)(values.numpy() if on_cpu else values)
        gradients = self._map.pull(torch.as_tensor(contracted.gradients))
        forces = self._descriptor.jacobian_transpose_product(self._features, gradients)
        force_mae = float((self._factor * forces - self._reference).abs().mean())
        if self._reference_energies is None:
            return force_mae, None
        energies = self._factor * torch.as_tensor(contracted.energies)
        return force_mae, energy_mae(energies, self._reference_energies)


def energy_mae(predicted: Tensor, reference: Tensor) -> float | None:
    """Return the mean absolute error of energies ``(V,)`` that are known up to a constant.

    None where there are fewer than :data:`LEAST_ENERGIES`, which tell next to nothing.
    """
    if len(reference) < LEAST_ENERGIES:
        return None
    difference = predicted - reference
    return float((difference - difference.mean()).abs().mean())
