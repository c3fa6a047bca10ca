"""Forces of all atom sets at new geometries: each set's expansion over the features that touch it.

For a set with coefficients ``α_j`` on its atoms and ``v_j = J_j α_j``, which is zero but for the
features that touch these atoms, equation 9 of `docs/theory.md` gives, with ``δ = P_qᵀ z - z_j``,

    F(R) = Jᵀ Σ_{j,q} P_q [ -first(u) v_j - second(u) (δᵀv_j) δ ].

Only the distances ``u`` need all features, and they are the same for all sets. The slopes and
coefficients of a set are short vectors, so every product is one of narrow matrices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from kraft.core.typing import IntArray
from kraft.kernels.atom_geometries import FEATURE, AtomGeometries, Factors
from kraft.linalg.arrays import Array, index_array, namespace, native, take, tensor
from kraft.symmetry.orbits import feature_permutations, pair_indices

TILE_ELEMENTS = 150_000
"""Radial factors of one tile times sets: its scratch should stay in the cache."""


class _Group(NamedTuple):
    """Sets with equally many features ``t``, treated at once."""

    query_columns: Array  # (G, S, t): features of the query, permuted back
    features: Array  # (G, M, t)
    coefficients: Array  # (G, t, M)
    offsets: Array  # (G, 1, M): z_j · v_j
    columns: slice  # of the results of all sets


class AtomExpansion:
    """The force expansions of all atom sets, ready to be evaluated.

    Parameters
    ----------
    geometries
        The ``M`` training geometries.
    sets
        The atom sets, each ``(l,)``; every atom is in one of them.
    coefficients
        ``(M, N, 3)`` coefficients ``α``.
    dtype
        Precision of the expansion.
    """

    def __init__(
        self,
        geometries: AtomGeometries,
        sets: Sequence[IntArray],
        coefficients: Tensor,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self.dtype = dtype
        self.n_train, self.n_atoms = len(geometries), geometries.n_atoms
        table = feature_permutations(geometries.permutations)
        touching = [touching_features(atoms, self.n_atoms) for atoms in sets]
        order = sorted(range(len(sets)), key=lambda index: len(touching[index]))
        place = np.zeros((self.n_atoms, self.n_atoms), dtype=np.int64)
        gather: list[IntArray] = []
        self._groups: list[_Group] = []
        start = 0
        for chosen in _equally_long(order, touching):
            for index in chosen:
                gather.append(_local(table, touching[index]) + start)
                _write_places(place, sets[index], touching[index], start)
                start += len(touching[index])
            features = [touching[index] for index in chosen]
            some = [sets[index] for index in chosen]
            self._groups.append(
                _group(geometries, table, some, features, coefficients, dtype, start)
            )
        everything = [tensor(group.coefficients).flatten(0, 1) for group in self._groups]
        self._coefficients = native(torch.cat(everything).T.contiguous())  # (M, T)
        self._gather = index_array(np.concatenate(gather, axis=1), geometries.values)  # (S, T)
        self._place = index_array(place, geometries.values)

    def __call__(self, queries: AtomGeometries, factors: Factors) -> Array:
        """Return the forces ``(B, N, 3)`` of queries, given their factors with all geometries."""
        xp = namespace(queries.values)
        n_permutations, n_queries, _ = factors.minus_first.shape
        rows = n_permutations * n_queries
        minus_first = self._cast(factors.minus_first).reshape(rows, -1)
        second = self._cast(factors.second).reshape(rows, -1)
        values = self._cast(queries.values)
        results = xp.matmul(minus_first, self._coefficients)  # (S B, T)
        for group in self._groups:
            for some in _pieces(len(group.features), rows * self.n_train):
                self._subtract(results, group, some, values, second)
        results = results.reshape(n_permutations, n_queries, -1)
        gradients = take(results[0], self._gather[0])
        for index in range(1, n_permutations):
            gradients = gradients + take(results[index], self._gather[index])
        return forces_of(queries, gradients[:, self._place])

    def _cast(self, array: Array) -> Array:
        return native(tensor(array).to(self.dtype))

    def _subtract(
        self, results: Array, group: _Group, some: slice, values: Array, second: Array
    ) -> None:
        """Subtract ``second (δᵀv) δ`` of some sets of a group from the results."""
        xp = namespace(values)
        columns, width = group.query_columns[some], group.features.shape[2]
        permuted = _first_axes(values[:, columns])  # (G, S, B, t)
        permuted = permuted.reshape(len(columns), -1, width)
        along = xp.matmul(permuted, group.coefficients[some])
        along -= group.offsets[some]
        along *= second
        part = along.sum(2)[:, :, None] * permuted - xp.matmul(along, group.features[some])
        first = group.columns.start + some.start * width
        results[:, first : first + len(columns) * width] -= _joined(part)


def forces_of(queries: AtomGeometries, gradients: Array) -> Array:
    """Return forces ``(B, N, 3)`` from negative gradients ``(B, N, N)``, one row for each atom."""
    slopes = queries.stacked[:, :FEATURE]  # (N, 3, B, N)
    if isinstance(gradients, Tensor):
        return torch.einsum("axbc,bac->bax", slopes, gradients.to(slopes.dtype))
    forces = (slopes * gradients.transpose(1, 0, 2)[:, None]).sum(axis=3)
    return np.ascontiguousarray(forces.transpose(2, 0, 1))


def touching_features(atoms: IntArray, n_atoms: int) -> IntArray:
    """Return the features with at least one atom in the set, in ascending order."""
    first, second = pair_indices(n_atoms)
    touches: IntArray = np.flatnonzero(np.isin(first, atoms) | np.isin(second, atoms))
    return touches


def _group(
    geometries: AtomGeometries,
    table: IntArray,
    sets: Sequence[IntArray],
    features: Sequence[IntArray],
    coefficients: Tensor,
    dtype: torch.dtype,
    stop: int,
) -> _Group:
    """Return the group of some sets, whose results end before column ``stop``."""
    values = tensor(geometries.values)
    columns = [own[np.argsort(_local(table, own), axis=1)] for own in features]
    z = torch.stack([values[:, torch.as_tensor(own)] for own in features])
    v = torch.stack(
        [
            _jacobian_product(geometries, atoms, coefficients)[:, torch.as_tensor(own)]
            for atoms, own in zip(sets, features, strict=True)
        ]
    )
    return _Group(
        index_array(np.stack(columns), geometries.values),
        native(z.to(dtype)),
        native(v.transpose(1, 2).to(dtype).contiguous()),
        native((z * v).sum(dim=2)[:, None].to(dtype)),
        slice(stop - z.shape[0] * z.shape[2], stop),
    )


def _local(table: IntArray, features: IntArray) -> IntArray:
    """Return the action ``(S, t)`` of the group on some features, as places among them."""
    return np.searchsorted(features, table[:, features])


def _equally_long(order: list[int], touching: list[IntArray]) -> Iterator[list[int]]:
    """Yield runs of the order whose sets have equally many features."""
    run: list[int] = []
    for index in order:
        if run and len(touching[index]) != len(touching[run[0]]):
            yield run
            run = []
        run.append(index)
    yield run


def _jacobian_product(geometries: AtomGeometries, atoms: IntArray, coefficients: Tensor) -> Tensor:
    """Return ``J α`` ``(M, D)`` for the coefficients of some atoms only."""
    first, second = pair_indices(geometries.n_atoms)
    result = torch.zeros_like(tensor(geometries.values))
    for atom in atoms:
        slopes = tensor(geometries.stacked[atom])[:FEATURE]  # (3, M, N)
        along = torch.einsum("xmc,mx->mc", slopes, coefficients[:, atom])
        touched = np.flatnonzero((first == atom) | (second == atom))
        other = np.where(first[touched] == atom, second[touched], first[touched])
        result[:, torch.as_tensor(touched)] += along[:, torch.as_tensor(other)]
    return result


def _write_places(place: IntArray, atoms: IntArray, features: IntArray, start: int) -> None:
    """Write where the results of the features of each atom of a set stand."""
    first, second = pair_indices(len(place))
    for number, feature in enumerate(features):
        for atom, other in ((first, second), (second, first)):
            if atom[feature] in atoms:
                place[atom[feature], other[feature]] = start + number


def _first_axes(array: Array) -> Array:
    """Return ``(B, G, S, t)`` as ``(G, S, B, t)``."""
    return array.permute(1, 2, 0, 3) if isinstance(array, Tensor) else array.transpose(1, 2, 0, 3)


def _joined(part: Array) -> Array:
    """Return ``(G, R, t)`` as ``(R, G t)``."""
    return part.swapaxes(0, 1).reshape(part.shape[1], -1)


def _pieces(size: int, weight: int) -> Iterator[slice]:
    step = max(1, TILE_ELEMENTS // weight)
    for start in range(0, size, step):
        yield slice(start, min(start + step, size))
