"""The force error that a choice of hyper-parameters leads to, on a subset of the training set."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from kraft.core.typing import FloatArray, IntArray
from kraft.data.geometry import pair_distances
from kraft.descriptors import FeatureMap, PairFeatures
from kraft.descriptors.feature_functions import INVERSE
from kraft.kernels import KernelOperator, radial_kernel
from kraft.kernels.contraction import SymmetricContraction
from kraft.kernels.geometries import ReducedGeometries
from kraft.linalg import LowerPanels, NotPositiveDefiniteError, PanelCholesky
from kraft.linalg.operators import assembled_panels
from kraft.models.labels import Labels
from kraft.models.parameters import symmetric_mean
from kraft.models.validation_error import LEAST_ENERGIES, ValidationError
from kraft.solvers.rounding import norm_bound, shortfall

SPREAD_GEOMETRIES = 60
"""Geometries that :attr:`TrainingArrays.relative_spread` is taken from."""

KEPT_SYSTEMS = 4
"""Kernel matrices of as many length scales are kept in a search."""


@dataclass(frozen=True, eq=False)
class TrainingArrays:
    """What a search for hyper-parameters works on, as tensors on one device.

    Attributes
    ----------
    positions, valid_positions
        ``(M, N, 3)`` and, with validation, ``(V, N, 3)`` in Å.
    labels
        Labels of the training geometries.
    valid_forces
        ``(V, N, 3)`` in eV/Å.
    energies, valid_energies
        ``(M,)`` and ``(V,)`` in eV, to judge by; None where they are not known.
    feature_weights
        ``(D,)``.
    feature_mixing
        ``(D, D)`` symmetric matrix that mixes the weighted features; None for the identity.
    """

    descriptor: PairFeatures
    positions: Tensor
    labels: Labels
    feature_permutations: IntArray
    feature_weights: FloatArray
    feature_mixing: FloatArray | None = None
    valid_positions: Tensor | None = None
    valid_forces: Tensor | None = None
    energies: Tensor | None = None
    valid_energies: Tensor | None = None

    @property
    def n_train(self) -> int:
        """Number of training geometries."""
        return len(self.positions)

    @property
    def has_validation(self) -> bool:
        """Whether there are validation geometries."""
        return self.valid_positions is not None

    @property
    def labels_per_geometry(self) -> int:
        """Number of labels of one geometry, about."""
        return min(self.descriptor.jacobian_rank, max(1, 3 * self.descriptor.n_atoms - 6))

    def weighted(self, features: Tensor) -> Tensor:
        """Return features ``(M, D)`` as the metric sees them, without the kernel's scale."""
        metric = FeatureMap(
            self.feature_weights, np.zeros_like(self.feature_weights), self.feature_mixing
        )
        values: Tensor = metric.on(features.device).values(features)
        return values

    @cached_property
    def relative_spread(self) -> float:
        """How far apart the features of two geometries are, relative to all inverse distances.

        Length scales that suit the latter suit the former when multiplied by it; one for them.
        """
        descriptor = self.descriptor
        if (descriptor.features is None and descriptor.function == INVERSE) or self.n_train < 2:
            return 1.0
        chosen = np.unique(np.linspace(0, self.n_train - 1, SPREAD_GEOMETRIES).astype(np.int64))
        positions = self.positions[torch.as_tensor(chosen, device=self.positions.device)]
        cell = None if descriptor.cell is None else descriptor.cell.cpu().numpy()
        inverse = torch.as_tensor(1.0 / pair_distances(positions.cpu().numpy(), cell))
        spreads = [torch.pdist(x).median() for x in (descriptor.values(positions).cpu(), inverse)]
        ratio = float(spreads[0] / spreads[1])
        return ratio if math.isfinite(ratio) and ratio > 0.0 else 1.0

    def operator(
        self, kernel: str, length_scale: float, indices: IntArray | None = None
    ) -> tuple[KernelOperator, FeatureMap]:
        """Return the kernel operator of (some of) the geometries and what makes its features."""
        positions = self.positions if indices is None else self.positions[torch.as_tensor(indices)]
        device = positions.device
        values = self.descriptor.values(positions).cpu().numpy()
        feature_map = FeatureMap(
            radial_kernel(kernel).scale(length_scale) * self.feature_weights,
            symmetric_mean(values, self.feature_permutations),
            self.feature_mixing,
        ).on(device)
        geometries = ReducedGeometries.from_positions(self.descriptor, positions, feature_map)
        operator = KernelOperator(
            radial_kernel(kernel),
            geometries,
            self.feature_permutations,
            energy_labels=self.labels.energies is not None,
        )
        return operator, feature_map


@dataclass(frozen=True)
class Fit:
    """What a length scale and a regularization lead to.

    Attributes
    ----------
    force_mae
        Validation or leave-one-out error in eV/Å; infinite where the system is singular.
    energy_mae
        The same of energies less their mean, in eV; None where no energies are known.
    shortfall
        By which factor the regularization is too small for rounding in the system of the whole
        training set (:func:`kraft.solvers.rounding.shortfall`).
    """

    force_mae: float
    energy_mae: float | None
    shortfall: float


SINGULAR = Fit(math.inf, None, math.inf)


class Objective:
    """Mean absolute force error in eV/Å as a function of length scale and regularization.

    The kernel matrices of the last length scales are kept, since a search tries several
    regularizations with each.
    """

    def __init__(self, arrays: TrainingArrays, indices: IntArray, kernel: str) -> None:
        self._arrays = arrays
        self._indices = indices
        self._kernel = kernel
        self.n_train = len(indices)
        self._labels = arrays.labels.subset(indices)
        self._systems: dict[float, _System] = {}

    def mean_diagonal(self, length_scale: float) -> float:
        """Return the mean diagonal entry of the kernel matrix."""
        return self._system(length_scale).mean_diagonal

    def force_mae(self, length_scale: float, regularization: float) -> float:
        """Return the validation or leave-one-out error; infinite where the system is singular."""
        return self.fit(length_scale, regularization).force_mae

    def fit(self, length_scale: float, regularization: float) -> Fit:
        """Return the error, and whether rounding allows so small a regularization."""
        system = self._system(length_scale)
        matrix = system.matrix.copy()
        added = self._labels.regularization(system.operator, regularization)
        matrix.add_to_diagonal(added)
        try:
            factor = matrix.factorize_()
        except NotPositiveDefiniteError:
            return SINGULAR
        solution = factor.solve(system.labels)
        if self._arrays.has_validation:
            errors = self._validation_errors(system, solution)
        else:
            errors = self._leave_one_out_errors(system, factor, solution)
        if not math.isfinite(errors[0]):
            return SINGULAR
        unfitted = float((added * solution).norm() / system.labels.norm())
        growth = self._arrays.n_train / self.n_train
        return Fit(*errors, shortfall(growth * system.norm, regularization, unfitted))

    def _system(self, length_scale: float) -> _System:
        if length_scale not in self._systems:
            if len(self._systems) == KEPT_SYSTEMS:
                self._systems.pop(next(iter(self._systems)))
            operator, feature_map = self._arrays.operator(self._kernel, length_scale, self._indices)
            matrix = assembled_panels(operator)
            self._systems[length_scale] = _System(
                operator,
                feature_map,
                matrix,
                self._labels.vector(operator),
                float(matrix.diagonal().mean()),
                norm_bound(operator, self._labels.regularization(operator, 1.0)),
            )
        return self._systems[length_scale]

    def _validation_errors(self, system: _System, solution: Tensor) -> tuple[float, float | None]:
        error = ValidationError(self._arrays, system.operator, system.feature_map)
        return error.of_forces_and_energies(solution)

    def _leave_one_out_errors(
        self, system: _System, factor: PanelCholesky, solution: Tensor
    ) -> tuple[float, float | None]:
        """Return the mean of ``|([A⁻¹]_ii)⁻¹ (A⁻¹ y)_i|`` (`docs/theory.md`, eq. 12).

        The coefficients without geometry ``i`` are ``β - A⁻¹_{:i} e_i``; the energies that they
        give all geometries follow from their covariances with the labels. Each of these models has
        a constant of its own, the one that suits the energies of the other geometries.
        """
        operator = system.operator
        block = operator.block_size
        inverse = factor.inverse().view(self.n_train, block, self.n_train, block)
        own = inverse.diagonal(dim1=0, dim2=2).permute(2, 0, 1)  # (M, b, b)
        residuals = torch.linalg.solve(own, solution.view(self.n_train, block, 1))[:, :, 0]
        forces, _ = operator.split(residuals.reshape(-1))
        force_mae = float(self._labels.scale * forces.abs().mean())
        if self._arrays.energies is None or self.n_train < LEAST_ENERGIES:
            return force_mae, None
        removed = torch.einsum("ajbk,bk->baj", inverse, residuals).flatten(1)  # (M, n)
        predicted = solution - removed
        energies = self._labels.scale * (
            system.energy_covariances @ predicted.T
        )  # (of j, without i)
        reference = self._arrays.energies[torch.as_tensor(self._indices, device=removed.device)]
        differences = energies - reference[:, None]
        own = differences.diagonal()
        constants = (differences.sum(dim=0) - own) / (self.n_train - 1)
        return force_mae, float((own - constants).abs().mean())


@dataclass(frozen=True, eq=False)
class _System:
    operator: KernelOperator
    feature_map: FeatureMap
    matrix: LowerPanels
    labels: Tensor
    mean_diagonal: float
    norm: float

    @cached_property
    def energy_covariances(self) -> Tensor:
        """Covariances ``(M, n)`` of the energies of the geometries with the labels."""
        geometries = self.operator.geometries
        values = geometries.features.values
        rows = []
        for one in values:
            contraction = SymmetricContraction(
                self.operator.kernel,
                one[None],
                torch.zeros_like(one[None]),
                self.operator.feature_permutations,
                one.new_ones(1),
            )
            energies, gradients = contraction(values)
            forces = geometries.pulled(gradients)
            rows.append(self.operator.join(forces, energies))
        return torch.stack(rows)
