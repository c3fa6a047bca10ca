"""The Gaussian process behind an sGDML model, rebuilt from its parameters."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kraft.core.errors import OptionError
from kraft.core.typing import FloatArray, IntArray
from kraft.descriptors import Descriptor, FeatureMap
from kraft.kernels import KernelOperator
from kraft.kernels.geometries import ReducedGeometries
from kraft.models.parameters import Parameters


@dataclass(frozen=True, eq=False)
class TrainedSystem:
    """The linear system ``(K + Λ) β = y`` that a model solves, and its scale.

    Attributes
    ----------
    operator
        ``K``, without units.
    regularization
        ``Λ`` ``(n,)``.
    coefficients, labels
        ``β`` and ``y`` ``(n,)`` in eV and Å; the labels are what the coefficients solve for, so
        they are the training labels up to the residual of the solution.
    variance
        ``σ_f² = yᵀβ / n`` in eV²: the maximum-likelihood estimate of what multiplies ``K``.
    feature_map
        What makes the features of the kernel.
    """

    operator: KernelOperator
    regularization: Tensor
    coefficients: Tensor
    labels: Tensor
    variance: float
    feature_map: FeatureMap

    @classmethod
    def from_parameters(cls, parameters: Parameters, device: str) -> TrainedSystem:
        """Rebuild the system.

        Raises
        ------
        OptionError
            When the model does not know its training geometries or its energy weight.
        """
        positions, coefficients = parameters.training_positions, parameters.coefficients
        if positions is None or coefficients is None:
            raise OptionError(
                "Predictive uncertainty needs the training geometries and their coefficients, but "
                "this model has only descriptors (it was imported from another program). Train it "
                "with kraft."
            )
        descriptor = parameters.descriptor(device)
        feature_map = parameters.feature_map.on(device)
        operator = KernelOperator(
            parameters.radial_kernel,
            ReducedGeometries.from_positions(descriptor, _tensor(positions, device), feature_map),
            parameters.feature_permutations,
            energy_labels=parameters.energy_coefficients is not None,
        )
        energies = None
        if parameters.energy_coefficients is not None:
            energies = _tensor(parameters.energy_coefficients, device)
        beta = operator.join(_tensor(coefficients, device), energies)
        regularization = _regularization(parameters, operator)
        labels = operator.matmul(beta) + regularization * beta
        variance = float(labels @ beta) / operator.size
        return cls(operator, regularization, beta, labels, variance, feature_map)

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor of the geometries."""
        return self.operator.geometries.descriptor

    def queries(self, positions: Tensor) -> ReducedGeometries:
        """Return geometries ``(B, N, 3)`` with the bases of their internal motions."""
        return ReducedGeometries.from_positions(self.descriptor, positions, self.feature_map)

    def subset(self, chosen: IntArray) -> TrainedSystem:
        """Return the system of some training geometries; without a solution of its own.

        Coefficients are those of the whole system, and so is the variance.
        """
        rows = torch.as_tensor(chosen, device=self.operator.device)

        def some(vector: Tensor) -> Tensor:
            return vector.view(-1, self.operator.block_size)[rows].reshape(-1)

        return TrainedSystem(
            self.operator.subset(chosen),
            some(self.regularization),
            some(self.coefficients),
            some(self.labels),
            self.variance,
            self.feature_map,
        )


def _regularization(parameters: Parameters, operator: KernelOperator) -> Tensor:
    strength, weight = parameters.regularization, parameters.energy_weight
    block = torch.full((operator.block_size,), strength, dtype=operator.dtype)
    if operator.energy_labels:
        if weight is None:
            raise OptionError(
                "This model learned from energies but does not know with which weight, so its "
                "uncertainty cannot be computed. Train it anew with this version of kraft."
            )
        block[-1] = strength / weight**2
    return block.repeat(len(operator.geometries)).to(operator.device)


def _tensor(array: FloatArray, device: str) -> Tensor:
    return torch.tensor(array, dtype=torch.float64, device=device)
