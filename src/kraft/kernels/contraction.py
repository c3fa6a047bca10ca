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
from kraft.kernels.threads import Threads
from kraft.linalg.arrays import Array, empty_like, multiply_stack, namespace, take

TILE_ELEMENTS = 98_304
"""Kernel entries in one tile: its three scratch arrays should stay in the second-level cache."""

OPERAND_ELEMENTS = 2_000_000
"""Training features used by one tile at most, so that they are read from memory only once."""

THREAD_ELEMENTS = 20_000
"""Kernel entries for each thread from which several threads pay on a CPU."""


class Contracted(NamedTuple):
    """Energies ``(B,)`` and negative feature-space gradients ``(B, D)`` of ``B`` queries."""

    energies: Array
    gradients: Array


class _ClassOperands(NamedTuple):
    """What one class of features brings to the matrix products.

    The squares ``|z_j|²`` and the offsets ``-z_j·v_j`` stand in the leading class, zeros elsewhere.
    """

    query_columns: Array  # (S_c (D_c + 2),) of [z, |z|², 1, 0], to make the permuted copies
    gather_back: Array  # (S_c (D_c + 1),) where each permuted gradient entry belongs, and the last
    action_of_permutation: Array | None  # None: one action for each permutation, in order
    permutations_of_action: Array | None  # (S_c, S) 1 where a permutation has this action
    n_actions: int
    n_features: int
    rights: Array  # (2, M, D_c + 2): [v_j, -z_j·v_j, 0] / norm and [-2 z_j, |z_j|², 1]
    rights_t: Array  # the transposes, contiguous where that is affordable

    def columns(self, columns: slice) -> _ClassOperands:
        """Return the operands of some of the training geometries."""
        if columns == slice(0, self.rights.shape[1]):
            return self
        return self._replace(rights=self.rights[:, columns], rights_t=self.rights_t[:, :, columns])

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
        ``(M, D)`` kernel features of the training geometries.
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
        self._threads = Threads(native=energy_coefficients is None)
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
        """Evaluate at kernel features of queries ``(B, D)``, tensors or NumPy arrays.

        The same code runs on both: NumPy is the faster one on a CPU (see
        :mod:`kraft.models.cpu_evaluator`), torch runs on a GPU.
        """
        operands = self._operands[namespace(queries)]
        n_rows = self._tile_rows(queries)
        if len(queries) <= n_rows:
            found = self._tile(operands, queries)
        else:
            tiles = [queries[start : start + n_rows] for start in range(0, len(queries), n_rows)]
            found = self._joined(operands, tiles)
        if operands.restore_order is None:
            return found
        return Contracted(found.energies, take(found.gradients, operands.restore_order))

    def _tile_rows(self, queries: Array) -> int:
        """Return how many queries make a tile: fewer when there are threads to share them."""
        entries = self.n_permutations * self.n_train
        n_threads = 1
        if namespace(queries) is np and len(queries) > 1:
            n_threads = min(self._threads.count, len(queries) * entries // THREAD_ELEMENTS)
        return min(self._n_rows, -(-len(queries) // max(1, n_threads)))

    def _joined(self, operands: _Operands, tiles: list[Array]) -> Contracted:
        """Evaluate several tiles, on a CPU side by side."""
        results: dict[int, Contracted] = {}

        def evaluate(index: int) -> None:
            results[index] = self._tile(operands, tiles[index])

        xp, indices = namespace(tiles[0]), range(len(tiles))
        if xp is np:
            self._threads.run(evaluate, indices)
        else:
            for index in indices:
                evaluate(index)
        return Contracted(
            xp.concatenate([results[index].energies for index in indices]),
            xp.concatenate([results[index].gradients for index in indices]),
        )

    def _tile(self, operands: _Operands, queries: Array) -> Contracted:
        tile = _QueryTile(self, operands, queries, self._n_columns)
        for first in range(0, self.n_train, self._n_columns):
            tile.add(slice(first, min(first + self._n_columns, self.n_train)))
        return tile.result()


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
    places = np.argsort(np.searchsorted(c.features, c.actions), axis=1)
    last = np.full((c.n_actions, 1), n_features + 1)
    gather_back = np.concatenate([places, last], axis=1)
    gather_back += (n_features + 2) * np.arange(c.n_actions)[:, None]
    ones = torch.ones_like(squares)
    with_v = torch.cat([v, offsets, torch.zeros_like(ones)], dim=1)
    with_z = torch.cat([-2.0 * z, squares, ones], dim=1)
    rights = torch.stack([with_v, with_z])
    rights_t = rights.transpose(1, 2)
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
        rights=rights,
        rights_t=rights_t.contiguous() if features.numel() <= OPERAND_ELEMENTS else rights_t,
    )


class _QueryTile:
    """A few queries, their permuted copies, and what they have gathered so far.

    With ``z`` a permuted query, ``u² = [z, 1, |z|²] · [-2 z_j, |z_j|², 1]`` and
    ``δᵀv_j = [z, 1, |z|²] · [v_j, -z_j·v_j, 0]``, each a matrix product. The same operands then
    gather ``Σ_j c1 v_j``, ``Σ_j c2 z_j`` and ``Σ_j c2``.
    """

    def __init__(
        self,
        whole: SymmetricContraction,
        operands: _Operands,
        queries: Array,
        n_columns: int,
    ) -> None:
        self.whole = whole
        self.operands = operands
        self.xp = namespace(queries)
        self.queries = queries
        self.n_queries = len(queries)
        self.workspace = empty_like(
            queries, (3 * self.n_queries * whole.n_permutations * n_columns,)
        )
        self.energies: Array | None = None
        squares = (queries * queries).sum(axis=1)[:, None]
        one_zero = operands.one_zero
        if self.n_queries > 1:
            one_zero = self.xp.broadcast_to(one_zero, (self.n_queries, 2))
        extended = self.xp.concatenate([queries, squares, one_zero], axis=1)
        self.permuted = [
            take(extended, c.query_columns).reshape(-1, c.n_features + 2) for c in operands.classes
        ]
        self._gathered: list[Array] = []

    def add(self, columns: slice) -> None:
        """Add the contributions of the training geometries ``columns``."""
        xp, kernel = self.xp, self.whole.kernel
        classes = [c.columns(columns) for c in self.operands.classes]
        shape = (self.n_queries, self.whole.n_permutations, columns.stop - columns.start)
        size = shape[0] * shape[1] * shape[2]
        projections, squared, scratch = slots = self.workspace[: 3 * size].reshape(3, *shape)
        self._multiply(classes, slots[:2], scratch)
        epsilon = self.operands.energy_coefficients
        if epsilon is not None:
            epsilon = epsilon[columns]
            value = kernel.derivative(0, torch.as_tensor(squared)) @ torch.as_tensor(epsilon)
            energies = value.sum(dim=1) * kernel.norm
            more: Array = energies if xp is torch else energies.numpy()
            self.energies = more if self.energies is None else self.energies + more
        minus_first, second = kernel.force_factors_(squared, scratch)
        weights = xp.multiply(projections, second, out=scratch)
        if epsilon is not None:
            weights -= minus_first * epsilon
        gathered = [self._gather(slots[1:], c) for c in classes]
        if self._gathered:
            gathered = [a + b for a, b in zip(self._gathered, gathered, strict=True)]
        self._gathered = gathered

    def result(self) -> Contracted:
        """Return energies, and negative gradients with the features in the order of the classes."""
        n_queries, energies = self.n_queries, self.energies
        gradients, total = [], None
        for c, z, (with_v, with_z) in zip(
            self.operands.classes, self.permuted, self._gathered, strict=True
        ):
            projected = self.xp.matmul(
                with_v.reshape(n_queries, 1, -1), z.reshape(n_queries, -1, 1)
            ).reshape(n_queries)
            energies = -projected if energies is None else energies - projected
            with_v -= 0.5 * with_z  # the last column becomes -Σ c2 / 2
            summed = with_v.reshape(n_queries, -1)
            if c.n_actions > 1:
                summed = take(summed, c.gather_back)
                summed = summed.reshape(n_queries, c.n_actions, -1).sum(axis=1)
            total = summed[:, -1:] if total is None else total
            own = self.queries if len(self.permuted) == 1 else z[:: c.n_actions, : c.n_features]
            gradients.append(summed[:, : c.n_features] + (2.0 * total) * own)
        joined = gradients[0] if len(gradients) == 1 else self.xp.concatenate(gradients, axis=1)
        return Contracted(energies, joined)

    def _multiply(self, classes: list[_ClassOperands], out: Array, scratch: Array) -> None:
        """Write ``Σ_c query_c · rights_c`` for every permutation into ``out``, ``(2, T, S, M)``."""
        last, n_columns = len(classes) - 1, out.shape[3]
        for index in range(last, -1, -1):
            c, left = classes[index], self.permuted[index]
            if index == last and c.action_of_permutation is None:
                multiply_stack(left, c.rights_t, out.reshape(2, -1, n_columns))
                continue
            shape = (self.n_queries, c.n_actions, n_columns)
            memory = scratch.reshape(-1)[: len(left) * n_columns].reshape(shape)
            for right, target in zip(c.rights_t, out, strict=True):
                self.xp.matmul(left, right, out=memory.reshape(-1, n_columns))
                added = memory
                if c.n_actions > 1 and c.action_of_permutation is not None:
                    added = take(memory, c.action_of_permutation)
                if index == last:
                    target[:] = added
                else:
                    target += added

    def _gather(self, weights: Array, c: _ClassOperands) -> Array:
        """Return ``(2, T, S, M)`` weights, summed over equal actions, times the rights.

        First with coefficients, then with features: ``(2, T S_c, D_c + 2)``.
        """
        if c.n_actions == 1 and weights.shape[2] > 1:
            weights = weights.sum(axis=2)
        elif c.permutations_of_action is not None:
            weights = self.xp.matmul(c.permutations_of_action, weights)
        gathered: Array = self.xp.matmul(weights.reshape(2, -1, weights.shape[-1]), c.rights)
        return gathered
