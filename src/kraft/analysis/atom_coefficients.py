"""The coefficients of a force field, atom by atom.

Training geometry ``j`` enters a prediction with ``v_j = J_j α_j``. Since ``α_j`` holds one vector
for each atom, ``v_j`` is a sum over atoms: with the gradient ``g_d`` of the feature of atoms ``a``
and ``a'`` by the position of ``a``, atom ``a`` brings ``g_d · α_ja`` to it and ``a'`` the rest
(paper 003, eq. 2).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from kraft.core.errors import OptionError
from kraft.core.typing import FloatArray
from kraft.descriptors import PairFeatures, internal_motions
from kraft.models.parameters import Parameters

GEOMETRIES = 64
"""Training geometries treated at once."""

RECOVERED = 1e-6
"""Largest relative deviation of features and their coefficients that are recovered."""


class PairMatrices:
    """Values of pairs of atoms as matrices ``(N, N)``, with zeros where there is no feature."""

    def __init__(self, descriptor: PairFeatures) -> None:
        first, second = descriptor.first_atoms, descriptor.second_atoms
        self._n_atoms, n_features = descriptor.n_atoms, descriptor.n_features
        self._n_features = n_features
        numbers = torch.arange(n_features, device=first.device)
        table = numbers.new_full((self._n_atoms, self._n_atoms), 2 * n_features)
        table[first, second] = numbers
        table[second, first] = numbers + n_features
        self._table = table.reshape(-1)

    def symmetric(self, values: Tensor) -> Tensor:
        """Return ``(B, N, N)`` with the values ``(B, D)`` at both places of a pair."""
        return self.directed(values, values)

    def directed(self, of_first: Tensor, of_second: Tensor) -> Tensor:
        """Return ``(B, N, N, ...)`` from ``(B, D, ...)`` values of first and of second atoms.

        Row ``a`` of a matrix belongs to atom ``a``, column ``b`` to the other one of the pair.
        """
        nothing = torch.zeros_like(of_first[:, :1])
        padded = torch.cat([of_first, of_second, nothing], dim=1)
        entries = padded.index_select(1, self._table)
        return entries.reshape(-1, self._n_atoms, self._n_atoms, *entries.shape[2:])

    def features(self, matrices: Tensor) -> Tensor:
        """Return rows ``(..., N, N)`` as features ``(..., N, D)`` of one atom each."""
        entries = matrices.reshape(-1, self._n_atoms, self._n_atoms)
        numbers = self._table.reshape(self._n_atoms, self._n_atoms)
        rows, columns = torch.nonzero(numbers < 2 * self._n_features, as_tuple=True)
        result = entries.new_zeros(len(entries), self._n_atoms, self._n_features)
        result[:, rows, numbers[rows, columns] % self._n_features] = entries[:, rows, columns]
        return result.reshape(*matrices.shape[:-1], self._n_features)


def pair_coefficients(parameters: Parameters, descriptor: PairFeatures) -> Tensor:
    """Return half of each feature coefficient for either atom of the pair, ``(M, N, N)``."""
    halves = 0.5 * torch.tensor(
        parameters.feature_coefficients, device=descriptor.first_atoms.device
    )
    return PairMatrices(descriptor).symmetric(halves)


def atom_coefficients(parameters: Parameters, descriptor: PairFeatures) -> Tensor:
    """Return what each atom brings to the feature coefficients of the training geometries.

    Parameters
    ----------
    parameters
        The model. One that was imported knows only the features of its training geometries;
        their positions and coefficients are recovered from these.
    descriptor
        Its descriptor, on the device to use.

    Returns
    -------
    Tensor
        ``(M, N, N)``: entry ``[j, a, b]`` (eV over the unit of the features) is the part of atom
        ``a`` in the coefficient of the feature of ``a`` and ``b``; the other is ``[j, b, a]``.

    Raises
    ------
    OptionError
        When the coefficients of the atoms are neither known nor determined by the features.
    """
    positions, coefficients = parameters.training_positions, parameters.coefficients
    if positions is None or coefficients is None:
        positions, coefficients = recover_coefficients(parameters, descriptor)
    first, second = descriptor.first_atoms, descriptor.second_atoms
    matrices = PairMatrices(descriptor)
    parts = []
    for start in range(0, parameters.n_train, GEOMETRIES):
        some = slice(start, start + GEOMETRIES)
        at, along = (
            torch.tensor(array[some], device=first.device) for array in (positions, coefficients)
        )
        gradients = descriptor.evaluate(at).gradients
        of_first = (gradients * along.index_select(1, first)).sum(dim=2)
        of_second = -(gradients * along.index_select(1, second)).sum(dim=2)
        parts.append(matrices.directed(of_first, of_second))
    return torch.cat(parts)


def recover_coefficients(
    parameters: Parameters, descriptor: PairFeatures
) -> tuple[FloatArray, FloatArray]:
    """Return training positions and coefficients ``α_j``, ``(M, N, 3)`` each, from the features.

    All distances of a geometry determine it up to rotation and mirror image (classical
    multidimensional scaling), and the smallest ``α_j`` with ``J_j α_j = v_j`` is the one that
    training finds (`docs/theory.md`, section 5).

    Raises
    ------
    OptionError
        When the model has a periodic cell or not all features, or its features are not those of
        geometries.
    """
    n_atoms = parameters.n_atoms
    if parameters.cell is not None or descriptor.n_features != n_atoms * (n_atoms - 1) // 2:
        raise OptionError(
            "Contributions of atoms need the training geometries and their coefficients, which "
            "this model does not hold. Train it with kraft."
        )
    cpu = PairFeatures(n_atoms, feature_function=descriptor.function.name)
    described = torch.tensor(parameters.training_descriptors)
    wanted = torch.tensor(parameters.feature_coefficients)
    distances = PairMatrices(cpu).symmetric(cpu.function.distance(described))
    positions = _embedded(distances.square())
    basis = internal_motions(positions).reshape(len(positions), 3 * n_atoms, -1)
    coefficients = torch.empty_like(positions)
    for start in range(0, len(positions), GEOMETRIES):
        some = slice(start, start + GEOMETRIES)
        displacements = basis[some].reshape(-1, n_atoms, 3, basis.shape[2])
        reduced = cpu.jacobian_product(cpu.evaluate(positions[some]), displacements)
        right = wanted[some].unsqueeze(-1)
        solution = torch.linalg.lstsq(reduced, right, driver="gelsd").solution
        coefficients[some] = (basis[some] @ solution).reshape(-1, n_atoms, 3)
    features = cpu.evaluate(positions)
    _require_recovered("features", features.values, described)
    _require_recovered("coefficients", cpu.jacobian_product(features, coefficients), wanted)
    return np.asarray(positions), np.asarray(coefficients)


def _require_recovered(name: str, found: Tensor, stored: Tensor) -> None:
    error = float((found - stored).norm() / stored.norm().clamp_min(1e-300))
    if not error < RECOVERED:
        raise OptionError(
            "Contributions of atoms need the coefficients of the training forces. They were to be "
            f"recovered from the model's features, but its {name} are off those of real geometries "
            f"by {error:.1e} of their size. Train the model with kraft."
        )


def _embedded(squared_distances: Tensor) -> Tensor:
    """Return positions ``(M, N, 3)`` with these squared distances ``(M, N, N)``."""
    centered = squared_distances - squared_distances.mean(dim=1, keepdim=True)
    centered = centered - centered.mean(dim=2, keepdim=True)
    values, vectors = torch.linalg.eigh(-0.5 * centered)
    n_axes = min(3, vectors.shape[1])
    axes = vectors[:, :, -n_axes:] * values[:, None, -n_axes:].clamp_min(0.0).sqrt()
    return torch.nn.functional.pad(axes, (0, 3 - n_axes))
