"""Fast evaluation: a symmetric kernel contracted with coefficients, by tiles of matrix products.

For scaled, centered features ``z`` of a query and training features ``z_j`` with coefficient
vectors ``v_j`` (and, with energy labels, scalars ``ε_j``), this computes (`docs/theory.md`, eq. 9)

    energy(z)   = Σ_{j,q} [first(u) δᵀv_j + k(u) ε_j],
    gradient(z) = -d energy/dz = Σ_{j,q} P_q [ -first(u) v_j - (second(u) δᵀv_j + first(u) ε_j) δ ],

with ``δ = P_qᵀ z - z_j`` and ``u = |δ|``. All distances and projections come from two matrix
products with the permuted queries, all results from two more; the permutation group's action on
the features (:mod:`kraft.kernels.feature_classes`) makes each of them as small as it can be.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kraft.core.typing import IntArray
from kraft.kernels.feature_classes import FeatureClass, feature_classes
from kraft.kernels.radial import RadialKernel

TILE_ELEMENTS = 98_304
"""Kernel entries in one tile: its three scratch arrays should stay in the second-level cache."""

OPERAND_ELEMENTS = 2_000_000
"""Training features used by one tile at most, so that they are read from memory only once."""


class Contracted(NamedTuple):
    """Energies ``(B,)`` and negative feature-space gradients ``(B, D)`` of ``B`` queries."""

    energies: Tensor
    gradients: Tensor


class _ClassOperands(NamedTuple):
    """What one class of features brings to the matrix products.

    The squares ``|z_j|²`` and the offsets ``-z_j·v_j`` stand in the leading class, zeros elsewhere.
    """

    query_columns: Tensor  # (S_c D_c,) columns of the query that make its permuted copies
    gather_back: Tensor  # (S_c D_c,) where each permuted gradient entry belongs
    action_of_permutation: Tensor | None  # None: one action for each permutation, in order
    n_actions: int
    n_features: int
    features: Tensor  # (M, D_c + 2): [-2 z_j, |z_j|², 1]
    coefficients: Tensor  # (M, D_c + 1): [v_j, -z_j·v_j]


class SymmetricContraction:
    """A kernel expansion ready to be evaluated at many queries.

    Parameters
    ----------
    kernel
        The radial kernel.
    features
        ``(M, D)`` scaled and centered training features.
    coefficients
        ``(M, D)`` feature-space coefficients ``v_j``.
    feature_permutations
        ``(S, D)`` action of the permutation group on the features.
    energy_coefficients
        ``(M,)`` coefficients ``ε_j`` of energy labels, if there are any.
    """

    def __init__(
        self,
        kernel: RadialKernel,
        features: Tensor,
        coefficients: Tensor,
        feature_permutations: IntArray,
        energy_coefficients: Tensor | None = None,
    ) -> None:
        self.kernel = kernel
        self.energy_coefficients = energy_coefficients
        self.n_train, self.n_features = features.shape
        self.n_permutations = len(feature_permutations)
        classes = feature_classes(feature_permutations)
        self.operands = [
            _make_operands(c, features, coefficients, self.n_permutations, leading=index == 0)
            for index, c in enumerate(classes)
        ]
        order = np.concatenate([c.features for c in classes])
        self._restore_order = torch.as_tensor(np.argsort(order), device=features.device)
        self._in_order = len(classes) == 1

    @property
    def flops_per_query(self) -> int:
        """Floating-point operations of the matrix products for one query."""
        return sum(8 * self.n_train * c.n_actions * c.n_features for c in self.operands)

    def __call__(self, queries: Tensor) -> Contracted:
        """Evaluate at scaled and centered query features ``(B, D)``."""
        n_columns = min(
            self.n_train,
            4 * TILE_ELEMENTS // self.n_permutations,
            max(64, OPERAND_ELEMENTS // self.n_features),
        )
        n_rows = min(len(queries), max(1, TILE_ELEMENTS // (self.n_permutations * n_columns)))
        workspace = queries.new_empty(3, n_rows * self.n_permutations * n_columns)
        results = []
        for start in range(0, len(queries), n_rows):
            tile = _QueryTile(self, queries[start : start + n_rows], workspace)
            for first in range(0, self.n_train, n_columns):
                tile.add(slice(first, min(first + n_columns, self.n_train)))
            results.append(tile.result())
        energies, gradients = results[0]
        if len(results) > 1:
            energies = torch.cat([result.energies for result in results])
            gradients = torch.cat([result.gradients for result in results])
        if not self._in_order:
            gradients = gradients.index_select(1, self._restore_order)
        return Contracted(energies, gradients)


def _make_operands(
    c: FeatureClass, features: Tensor, coefficients: Tensor, n_permutations: int, *, leading: bool
) -> _ClassOperands:
    def indices(array: IntArray) -> Tensor:
        return torch.as_tensor(array, dtype=torch.long, device=features.device)

    z, v = features[:, indices(c.features)], coefficients[:, indices(c.features)]
    share = 1.0 if leading else 0.0
    squares = share * features.square().sum(dim=1, keepdim=True)
    offsets = -share * (features * coefficients).sum(dim=1, keepdim=True)
    n_features = len(c.features)
    local = np.searchsorted(c.features, c.actions)
    gather_back = np.argsort(local, axis=1) + n_features * np.arange(c.n_actions)[:, None]
    every_permutation = c.n_actions == n_permutations
    return _ClassOperands(
        query_columns=indices(c.actions.ravel()),
        gather_back=indices(gather_back.ravel()),
        action_of_permutation=None if every_permutation else indices(c.action_of_permutation),
        n_actions=c.n_actions,
        n_features=n_features,
        features=torch.cat([-2.0 * z, squares, torch.ones_like(squares)], dim=1),
        coefficients=torch.cat([v, offsets], dim=1),
    )


class _QueryTile:
    """A few queries, their permuted copies, and what they have gathered so far.

    With ``z`` a permuted query, ``u² = [z, 1, |z|²] · [-2 z_j, |z_j|², 1]`` and
    ``δᵀv_j = [z, 1] · [v_j, -z_j·v_j]``, each a matrix product. The same operands then gather
    ``Σ_j c1 v_j``, ``Σ_j c2 z_j`` and ``Σ_j c2``.
    """

    def __init__(self, whole: SymmetricContraction, queries: Tensor, workspace: Tensor) -> None:
        self.whole = whole
        self.workspace = workspace
        self.n_queries = len(queries)
        self.energies: Tensor | None = None
        self.permuted = []
        squares = queries.square().sum(dim=1).view(-1, 1, 1)
        for index, c in enumerate(whole.operands):
            shape = (self.n_queries, c.n_actions, c.n_features)
            copies = queries.index_select(1, c.query_columns).view(shape)
            norms = squares.expand(-1, c.n_actions, 1)
            extended = [copies, torch.ones_like(norms), norms if index == 0 else 0.0 * norms]
            self.permuted.append(torch.cat(extended, dim=2).flatten(0, 1))
        self._gathered: list[tuple[Tensor, Tensor]] = []

    def add(self, columns: slice) -> None:
        """Add the contributions of the training geometries ``columns``."""
        whole = self.whole
        kernel, epsilon = whole.kernel, whole.energy_coefficients
        shape = (self.n_queries, whole.n_permutations, columns.stop - columns.start)
        size = shape[0] * shape[1] * shape[2]
        squared, projections, scratch = (
            memory[:size].view(shape) for memory in self.workspace.unbind()
        )
        self._products([c.features[columns] for c in whole.operands], squared, scratch)
        self._products([c.coefficients[columns] for c in whole.operands], projections, scratch)
        if epsilon is not None:
            energies = (kernel.derivative(0, squared) @ epsilon[columns]).sum(dim=1)
            self.energies = energies if self.energies is None else self.energies + energies
        minus_first, second = kernel.force_factors_(squared, scratch)
        projections *= second
        if epsilon is not None:
            projections.addcmul_(minus_first, epsilon[columns], value=-1.0)
        gathered = [
            (
                _sum_actions(minus_first, c).flatten(0, 1) @ c.coefficients[columns],
                _sum_actions(projections, c).flatten(0, 1) @ c.features[columns],
            )
            for c in whole.operands
        ]
        if self._gathered:
            pairs = zip(self._gathered, gathered, strict=True)
            gathered = [(a + more_a, b + more_b) for (a, b), (more_a, more_b) in pairs]
        self._gathered = gathered

    def result(self) -> Contracted:
        """Return energies, and negative gradients with the features in the order of the classes."""
        energies = self.energies
        gradients = []
        for c, z, (with_v, with_z) in zip(
            self.whole.operands, self.permuted, self._gathered, strict=True
        ):
            width = c.n_features
            projected = (with_v * z[:, : width + 1]).view(self.n_queries, -1).sum(dim=1)
            energies = -projected if energies is None else energies - projected
            gradient = torch.addcmul(with_v[:, :width], with_z[:, -1:], z[:, :width], value=-1.0)
            gradient = gradient.add_(with_z[:, :width], alpha=-0.5).view(self.n_queries, -1)
            gradient = gradient.index_select(1, c.gather_back)
            gradients.append(gradient.view(self.n_queries, c.n_actions, width).sum(dim=1))
        if energies is None:
            raise AssertionError("a molecule has at least one feature")
        joined = gradients[0] if len(gradients) == 1 else torch.cat(gradients, dim=1)
        return Contracted(energies, joined)

    def _products(self, operands: list[Tensor], out: Tensor, scratch: Tensor) -> None:
        """Write ``Σ_c query_c · operand_c`` for every permutation into ``out``, ``(T, S, M)``."""
        last = len(operands) - 1
        for index in range(last, -1, -1):
            c, query, operand = self.whole.operands[index], self.permuted[index], operands[index]
            query = query[:, : operand.shape[1]]
            if index == last and c.action_of_permutation is None:
                torch.mm(query, operand.T, out=out.view(-1, out.shape[2]))
                continue
            shape = (self.n_queries, c.n_actions, out.shape[2])
            memory = scratch.view(-1)[: shape[0] * shape[1] * shape[2]].view(shape)
            torch.mm(query, operand.T, out=memory.view(-1, shape[2]))
            if c.n_actions > 1 and c.action_of_permutation is not None:
                memory = memory.index_select(1, c.action_of_permutation)
            if index == last:
                out.copy_(memory.expand_as(out))
            else:
                out += memory


def _sum_actions(weights: Tensor, c: _ClassOperands) -> Tensor:
    """Sum ``(T, S, M)`` weights over the permutations of equal action: ``(T, S_c, M)``."""
    if c.action_of_permutation is None:
        return weights
    if c.n_actions == 1:
        return weights.sum(dim=1, keepdim=True)
    summed = weights.new_zeros(len(weights), c.n_actions, weights.shape[2])
    return summed.index_add_(1, c.action_of_permutation, weights)
