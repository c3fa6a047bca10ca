"""Fast evaluation: a symmetric kernel contracted with coefficients, by tiles of matrix products.

For scaled, centered features ``z`` of a query and training features ``z_j`` with coefficient
vectors ``v_j`` (and, with energy labels, scalars ``ε_j``), this computes (`docs/theory.md`, eq. 9)

    energy(z)   = Σ_{j,q} [first(u) δᵀv_j + k(u) ε_j],
    gradient(z) = -d energy/dz = Σ_{j,q} P_q [ -first(u) v_j - (second(u) δᵀv_j + first(u) ε_j) δ ],

with ``δ = P_qᵀ z - z_j`` and ``u = |δ|``. All distances and projections come from two matrix
products with the permuted queries, all results from two more; the permutation group's action on
the features (:mod:`kraft.kernels.feature_classes`) makes each of them as small as it can be
(eqs. 14 and 15).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kraft.core.typing import IntArray
from kraft.kernels.feature_classes import FeatureClass, feature_classes
from kraft.kernels.radial import RadialKernel
from kraft.linalg.arrays import Array, Namespace, empty_like, namespace, take

TILE_ELEMENTS = 98_304
"""Kernel entries in one tile: its three scratch arrays should stay in the second-level cache."""

OPERAND_ELEMENTS = 2_000_000
"""Training features used by one tile at most, so that they are read from memory only once."""


class Contracted(NamedTuple):
    """Energies ``(B,)`` and negative feature-space gradients ``(B, D)`` of ``B`` queries."""

    energies: Array
    gradients: Array


class _ClassOperands(NamedTuple):
    """What one class of features brings to the matrix products.

    The squares ``|z_j|²`` and the offsets ``-z_j·v_j`` stand in the leading class, zeros elsewhere.
    """

    query_columns: Array  # (S_c (D_c + 2),) of [z, |z|², 1, 0], to make the permuted copies
    gather_back: Array  # (S_c D_c,) where each permuted gradient entry belongs
    action_of_permutation: Array | None  # None: one action for each permutation, in order
    permutations_of_action: Array | None  # (S_c, S) 1 where a permutation has this action
    n_actions: int
    n_features: int
    features: Array  # (M, D_c + 2): [-2 z_j, |z_j|², 1]
    coefficients: Array  # (M, D_c + 1): [v_j, -z_j·v_j] / norm
    features_t: Array  # the transposes, contiguous where that is affordable
    coefficients_t: Array

    def columns(self, columns: slice) -> _ClassOperands:
        """Return the operands of some of the training geometries."""
        if columns == slice(0, len(self.features)):
            return self
        return self._replace(
            features=self.features[columns],
            coefficients=self.coefficients[columns],
            features_t=self.features_t[:, columns],
            coefficients_t=self.coefficients_t[:, columns],
        )

    def numpy(self) -> _ClassOperands:
        """Return the same operands as NumPy arrays, on the same memory."""
        parts = {
            name: part.numpy() for name, part in self._asdict().items() if isinstance(part, Tensor)
        }
        return self._replace(**parts)  # type: ignore[arg-type]


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
        self.n_train, self.n_features = features.shape
        self.n_permutations = len(feature_permutations)
        classes = feature_classes(feature_permutations)
        operands = [
            _make_operands(
                c, features, coefficients / kernel.norm, self.n_permutations, leading=index == 0
            )
            for index, c in enumerate(classes)
        ]
        order = np.argsort(np.concatenate([c.features for c in classes]))
        epsilon = None if energy_coefficients is None else energy_coefficients / kernel.norm
        tensors = _Operands(
            tuple(operands),
            torch.as_tensor(order, device=features.device) if len(classes) > 1 else None,
            features.new_tensor([[1.0, 0.0]]),
            epsilon,
        )
        self._operands = {torch: tensors}
        if features.device.type == "cpu":
            self._operands[np] = tensors.numpy()
        self._n_columns = min(
            self.n_train,
            max(1, 4 * TILE_ELEMENTS // self.n_permutations),
            max(64, OPERAND_ELEMENTS // self.n_features),
        )
        # the products of a class with few actions need the more queries for their speed
        tile = TILE_ELEMENTS if len(classes) == 1 else 4 * TILE_ELEMENTS
        self._n_rows = max(1, tile // (self.n_permutations * self._n_columns))

    @property
    def flops_per_query(self) -> int:
        """Floating-point operations of the matrix products for one query."""
        classes = self._operands[torch].classes
        return sum(8 * self.n_train * c.n_actions * c.n_features for c in classes)

    def __call__(self, queries: Array) -> Contracted:
        """Evaluate at scaled and centered query features ``(B, D)``, tensors or NumPy arrays.

        The same code runs on both: NumPy is the faster one on a CPU (see
        :mod:`kraft.models.cpu_evaluator`), torch runs on a GPU.
        """
        xp = namespace(queries)
        operands = self._operands[xp]
        n_rows, n_columns = min(len(queries), self._n_rows), self._n_columns
        workspace = empty_like(queries, (3, n_rows * self.n_permutations * n_columns))
        results = []
        for start in range(0, len(queries), n_rows):
            tile = _QueryTile(self, operands, queries[start : start + n_rows], workspace)
            for first in range(0, self.n_train, n_columns):
                tile.add(slice(first, min(first + n_columns, self.n_train)))
            results.append(tile.result())
        energies, gradients = results[0]
        if len(results) > 1:
            energies = xp.concatenate([result.energies for result in results])
            gradients = xp.concatenate([result.gradients for result in results])
        if operands.restore_order is not None:
            gradients = take(gradients, operands.restore_order)
        return Contracted(energies, gradients)


class _Operands(NamedTuple):
    """Everything an evaluation multiplies with, as tensors or as NumPy arrays."""

    classes: tuple[_ClassOperands, ...]
    restore_order: Array | None  # (D,) from the order of the classes to that of the features
    one_zero: Array  # (1, 2)
    energy_coefficients: Array | None  # (M,) / norm

    def numpy(self) -> _Operands:
        """Return the same operands as NumPy arrays, on the same memory."""
        return _Operands(
            tuple(c.numpy() for c in self.classes),
            None if self.restore_order is None else self.restore_order.numpy(),
            self.one_zero.numpy(),
            None if self.energy_coefficients is None else self.energy_coefficients.numpy(),
        )


def _make_operands(
    c: FeatureClass, features: Tensor, coefficients: Tensor, n_permutations: int, *, leading: bool
) -> _ClassOperands:
    def indices(array: IntArray) -> Tensor:
        return torch.as_tensor(array, dtype=torch.long, device=features.device)

    z, v = features[:, indices(c.features)], coefficients[:, indices(c.features)]
    share = 1.0 if leading else 0.0
    squares = share * features.square().sum(dim=1, keepdim=True)
    offsets = -share * (features * coefficients).sum(dim=1, keepdim=True)
    n_all, n_features = features.shape[1], len(c.features)
    extra = np.tile([n_all + 1, n_all if leading else n_all + 2], (c.n_actions, 1))
    gather_back = np.argsort(np.searchsorted(c.features, c.actions), axis=1)
    gather_back += n_features * np.arange(c.n_actions)[:, None]
    left = torch.cat([-2.0 * z, squares, torch.ones_like(squares)], dim=1)
    right = torch.cat([v, offsets], dim=1)
    affordable = features.numel() <= OPERAND_ELEMENTS
    actions = None if c.n_actions == n_permutations else indices(c.action_of_permutation)
    members = None
    if actions is not None:
        members = features.new_zeros(c.n_actions, n_permutations)
        members[actions, torch.arange(n_permutations, device=features.device)] = 1.0
    return _ClassOperands(
        query_columns=indices(np.concatenate([c.actions, extra], axis=1).ravel()),
        gather_back=indices(gather_back.ravel()),
        action_of_permutation=actions,
        permutations_of_action=members,
        n_actions=c.n_actions,
        n_features=n_features,
        features=left,
        coefficients=right,
        features_t=left.T.contiguous() if affordable else left.T,
        coefficients_t=right.T.contiguous() if affordable else right.T,
    )


class _QueryTile:
    """A few queries, their permuted copies, and what they have gathered so far.

    With ``z`` a permuted query, ``u² = [z, 1, |z|²] · [-2 z_j, |z_j|², 1]`` and
    ``δᵀv_j = [z, 1] · [v_j, -z_j·v_j]``, each a matrix product. The same operands then gather
    ``Σ_j c1 v_j``, ``Σ_j c2 z_j`` and ``Σ_j c2``.
    """

    def __init__(
        self,
        whole: SymmetricContraction,
        operands: _Operands,
        queries: Array,
        workspace: Array,
    ) -> None:
        self.whole = whole
        self.operands = operands
        self.xp: Namespace = namespace(queries)
        self.workspace = workspace
        self.n_queries = len(queries)
        self.energies: Array | None = None
        squares = (queries * queries).sum(axis=1)[:, None]
        one_zero = operands.one_zero
        if self.n_queries > 1:
            one_zero = self.xp.broadcast_to(one_zero, (self.n_queries, 2))
        extended = self.xp.concatenate([queries, squares, one_zero], axis=1)
        self.permuted = [
            take(extended, c.query_columns).reshape(-1, c.n_features + 2) for c in operands.classes
        ]
        self._gathered: list[tuple[Array, Array]] = []

    def add(self, columns: slice) -> None:
        """Add the contributions of the training geometries ``columns``."""
        xp, kernel = self.xp, self.whole.kernel
        classes = [c.columns(columns) for c in self.operands.classes]
        shape = (self.n_queries, self.whole.n_permutations, len(classes[0].features))
        size = shape[0] * shape[1] * shape[2]
        squared, projections, scratch = self.workspace[:, :size].reshape(3, *shape)
        self._products(classes, [c.features_t for c in classes], squared, scratch)
        self._products(classes, [c.coefficients_t for c in classes], projections, scratch)
        epsilon = self.operands.energy_coefficients
        if epsilon is not None:
            epsilon = epsilon[columns]
            value = kernel.derivative(0, torch.as_tensor(squared)) @ torch.as_tensor(epsilon)
            energies = value.sum(dim=1) * kernel.norm
            more: Array = energies if xp is torch else energies.numpy()
            self.energies = more if self.energies is None else self.energies + more
        minus_first, second = kernel.force_factors_(squared, scratch)
        xp.multiply(projections, second, out=projections)
        if epsilon is not None:
            projections -= minus_first * epsilon
        gathered = [
            (self._gather(minus_first, c, c.coefficients), self._gather(projections, c, c.features))
            for c in classes
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
            self.operands.classes, self.permuted, self._gathered, strict=True
        ):
            width = c.n_features
            projected = (with_v * z[:, : width + 1]).reshape(self.n_queries, -1).sum(axis=1)
            energies = -projected if energies is None else energies - projected
            gradient = with_z[:, -1:] * z[:, :width]
            gradient += 0.5 * with_z[:, :width]
            gradient = (with_v[:, :width] - gradient).reshape(self.n_queries, -1)
            if c.n_actions > 1:
                gradient = take(gradient, c.gather_back)
                gradient = gradient.reshape(self.n_queries, c.n_actions, width).sum(axis=1)
            gradients.append(gradient)
        joined = gradients[0] if len(gradients) == 1 else self.xp.concatenate(gradients, axis=1)
        return Contracted(energies, joined)

    def _products(
        self, classes: list[_ClassOperands], rights: list[Array], out: Array, scratch: Array
    ) -> None:
        """Write ``Σ_c query_c · right_c`` for every permutation into ``out``, ``(T, S, M)``."""
        last, n_columns = len(classes) - 1, out.shape[2]
        for index in range(last, -1, -1):
            c, right = classes[index], rights[index]
            left = self.permuted[index][:, : len(right)]
            if index == last and c.action_of_permutation is None:
                self.xp.matmul(left, right, out=out.reshape(-1, n_columns))
                continue
            shape = (self.n_queries, c.n_actions, n_columns)
            memory = scratch.reshape(-1)[: len(left) * n_columns].reshape(shape)
            self.xp.matmul(left, right, out=memory.reshape(-1, n_columns))
            if c.n_actions > 1 and c.action_of_permutation is not None:
                memory = take(memory, c.action_of_permutation)
            if index == last:
                out[:] = memory
            else:
                out += memory

    def _gather(self, weights: Array, c: _ClassOperands, right: Array) -> Array:
        """Return ``(T, S, M)`` weights, summed over equal actions, times ``right``."""
        if c.n_actions == 1 and weights.shape[1] > 1:
            weights = weights.sum(axis=1)
        elif c.permutations_of_action is not None:
            weights = self.xp.matmul(c.permutations_of_action, weights)
        return self.xp.matmul(weights.reshape(-1, weights.shape[-1]), right)
