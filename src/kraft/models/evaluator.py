"""Predictions of a force field on one device, in one precision."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kraft.core.typing import FloatArray
from kraft.descriptors import Features
from kraft.kernels import SymmetricContraction
from kraft.models.cpu_evaluator import CpuEvaluator
from kraft.models.parameters import Parameters

CHUNK_ELEMENTS = 4_000_000
"""Entries of feature gradients held at once when many geometries are evaluated."""


class EnergiesForces(NamedTuple):
    """Energies ``(B,)`` in eV and forces ``(B, N, 3)`` in eV/Å, as tensors."""

    energies: Tensor
    forces: Tensor


class Evaluator:
    """A force field ready to be evaluated.

    Distances and forces are computed in float64; ``dtype`` is that of the kernel expansion, where
    the time goes.

    Parameters
    ----------
    parameters
        The force field.
    device
        Where to compute.
    dtype
        ``torch.float64`` or ``torch.float32``.
    """

    def __init__(
        self, parameters: Parameters, device: torch.device | str, dtype: torch.dtype
    ) -> None:
        self.parameters = parameters
        self.device, self.dtype = torch.device(device), dtype
        self.descriptor = parameters.descriptor(self.device)
        self.feature_map = parameters.feature_map.on(self.device)
        self._features = self.feature_map.values(self._tensor(parameters.training_descriptors))
        self._coefficients = self.feature_map.push(self._tensor(parameters.feature_coefficients))
        epsilon = parameters.energy_coefficients
        self._expansion = SymmetricContraction(
            parameters.radial_kernel,
            self._features.to(dtype),
            self._coefficients.to(dtype),
            parameters.feature_permutations,
            None if epsilon is None else self._tensor(epsilon).to(dtype),
        )
        self._chunk = max(1, CHUNK_ELEMENTS // (3 * self.descriptor.n_features))
        self.cpu: CpuEvaluator | None = None
        if self.device.type == "cpu" and parameters.cell is None:
            precision = np.float64 if dtype == torch.float64 else np.float32
            self.cpu = CpuEvaluator(parameters, self._expansion, precision)

    def _tensor(self, array: FloatArray) -> Tensor:
        return torch.tensor(array, dtype=torch.float64, device=self.device)

    @property
    def flops_per_geometry(self) -> int:
        """Floating-point operations of the matrix products for one geometry."""
        return self._expansion.flops_per_query

    def __call__(self, positions: Tensor) -> EnergiesForces:
        """Return energies and forces of positions ``(B, N, 3)`` in Å."""
        if self.cpu is not None:
            return EnergiesForces(*map(torch.from_numpy, self.in_numpy(positions.numpy())))
        if len(positions) <= self._chunk:
            return self._evaluate(positions)
        parts = [self._evaluate(part) for part in torch.split(positions, self._chunk)]
        return EnergiesForces(
            torch.cat([part.energies for part in parts]), torch.cat([part.forces for part in parts])
        )

    def in_numpy(self, positions: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the same as arrays, where :attr:`cpu` is not None."""
        if self.cpu is None:
            raise AssertionError("this evaluator is not on the CPU, or the model is periodic")
        if len(positions) <= self._chunk:
            return self.cpu(positions)
        starts = range(0, len(positions), self._chunk)
        parts = [self.cpu(positions[start : start + self._chunk]) for start in starts]
        energies, forces = zip(*parts, strict=True)
        return np.concatenate(energies), np.concatenate(forces)

    def _scaled(self, positions: Tensor) -> Features:
        values, gradients = self.descriptor.evaluate(positions)
        return Features(self.feature_map.values(values), gradients)

    def feature_forces(self, positions: Tensor) -> tuple[Features, Tensor]:
        """Return features of positions ``(B, N, 3)`` in Å, and ``-∂E/∂x_d`` ``(B, D)``.

        Values of these features are the kernel's; their gradients and the derivatives are
        those of the descriptor's own features ``x``.
        """
        features = self._scaled(positions)
        contracted = self._expansion(features.values.to(self.dtype))
        return features, self.feature_map.pull(contracted.gradients.to(torch.float64))

    def _evaluate(self, positions: Tensor) -> EnergiesForces:
        features = self._scaled(positions)
        contracted = self._expansion(features.values.to(self.dtype))
        forces = self.descriptor.jacobian_transpose_product(
            features, self.feature_map.pull(contracted.gradients.to(torch.float64))
        )
        energies = contracted.energies.to(torch.float64) + self.parameters.energy_offset
        return EnergiesForces(energies, forces)

    def hessian(self, positions: Tensor) -> Tensor:
        """Return the second derivatives of the energy at ``(N, 3)``: ``(3N, 3N)`` in eV/Å².

        With ``a_j = δᵀJ`` and ``b_j = v_jᵀJ`` for every permuted copy of the geometry
        (`docs/theory.md`, eq. 10),

            H = Σ_j [second (a bᵀ + b aᵀ) + third (δᵀv) a aᵀ + second (δᵀv) JᵀJ]
                + Σ_d ∂E/∂x_d ∂²x_d,

        to which energy labels add ``Σ_j ε_j [second a aᵀ + first JᵀJ]``. Always in float64.
        """
        n = 3 * self.descriptor.n_atoms
        features = self._scaled(positions[None])
        identity = torch.eye(n, dtype=torch.float64, device=self.device)
        raw = self.descriptor.jacobian_product(features, identity.view(1, n // 3, 3, n))
        jacobian = self.feature_map.push_columns(raw.squeeze(0))
        hessian = torch.zeros(n, n, dtype=torch.float64, device=self.device)
        slope = torch.zeros_like(self._features[0])
        isotropic = torch.zeros((), dtype=torch.float64, device=self.device)
        for permutation in torch.as_tensor(
            self.parameters.feature_permutations, device=self.device
        ):
            part = self._permuted_part(features.values[0, permutation], jacobian[permutation])
            hessian += part.hessian
            slope[permutation] += part.slope
            isotropic += part.isotropic
        hessian += isotropic * (jacobian.T @ jacobian)
        hessian += self.descriptor.curvature(positions, self.feature_map.pull(slope)).reshape(n, n)
        return 0.5 * (hessian + hessian.T)

    def _permuted_part(self, query: Tensor, jacobian: Tensor) -> _HessianPart:
        kernel = self.parameters.radial_kernel
        differences = query - self._features  # (M, D)
        squared = differences.square().sum(dim=1)
        projections = (differences * self._coefficients).sum(dim=1)
        first, second, third = (kernel.derivative(order, squared) for order in (1, 2, 3))
        a, b = differences @ jacobian, self._coefficients @ jacobian
        outer, along = third * projections, second * projections
        isotropic = along
        if self.parameters.energy_coefficients is not None:
            epsilon = self._tensor(self.parameters.energy_coefficients)
            outer = outer + epsilon * second
            along = along + epsilon * first
            isotropic = isotropic + epsilon * first
        mixed = a.T @ (second[:, None] * b)
        return _HessianPart(
            hessian=mixed + mixed.T + a.T @ (outer[:, None] * a),
            slope=first @ self._coefficients + along @ differences,
            isotropic=isotropic.sum(),
        )


class _HessianPart(NamedTuple):
    hessian: Tensor
    slope: Tensor
    isotropic: Tensor
