"""Low-rank approximation ``A ≈ L Lᵀ`` from some of the columns of a matrix.

With the columns ``S``, ``L Lᵀ = A[:, S] A[S, S]⁻¹ A[S, :]``: the Nyström approximation, which is
the Cholesky factorization of ``A`` stopped after the pivots ``S`` (paper 004, eqs. 5 and 6).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch

from kraft.core.errors import SolverError
from kraft.core.typing import AnyArray, IntArray
from kraft.linalg.arrays import (
    Array,
    copy,
    host,
    index_array,
    machine_epsilon,
    native_empty,
    native_like,
    take,
    take_rows,
)
from kraft.linalg.operators import SymmetricOperator
from kraft.linalg.row_arithmetic import (
    divide_,
    pivoted_cholesky,
    squared_columns,
    subtract_product_,
)

COLUMN_BLOCK = 256
"""Columns fetched and orthogonalized at once: enough for fast products, little scratch."""

DEPENDENCE = 1e3
"""A residual below this many rounding errors of the largest diagonal entry is only rounding."""

Choice: TypeAlias = Callable[[AnyArray, float], tuple[AnyArray, AnyArray]]
"""Takes the residual matrix of the proposed columns and a tolerance; returns the accepted ones, in
order, and their Cholesky factor ``R`` (upper), as :func:`pivoted_cholesky` does."""


class PartialCholesky:
    """Columns of ``L``, added block by block, with memory reserved beforehand.

    Parameters
    ----------
    operator
        The matrix ``A``.
    capacity
        Columns to make room for.

    Attributes
    ----------
    rank
        Number of columns so far.
    residual_diagonal
        ``(n,)`` diagonal of ``A - L Lᵀ``, never negative; zero for pivots.
    tolerance
        A column with no more than this on the residual diagonal is numerically dependent.
    """

    def __init__(self, operator: SymmetricOperator, capacity: int) -> None:
        self.operator = operator
        self.rank = 0
        self.residual_diagonal: Array = copy(operator.diagonal())
        _require_finite(host(self.residual_diagonal))
        self._indices = np.zeros(0, dtype=np.int64)
        largest = float(self.residual_diagonal.max()) if operator.size else 0.0
        self.tolerance = DEPENDENCE * machine_epsilon(self.residual_diagonal) * largest
        shape = (min(capacity, operator.size), operator.size)
        self._storage: Array = native_empty(shape, operator.dtype, operator.device)

    @property
    def indices(self) -> IntArray:
        """The pivots ``(rank,)`` in the order in which they were accepted."""
        return self._indices

    @property
    def rows(self) -> Array:
        """``Lᵀ`` of shape ``(rank, n)``: a view."""
        return self._storage[: self.rank]

    @property
    def capacity(self) -> int:
        """Columns that there is room for."""
        return len(self._storage)

    def candidates(self) -> IntArray:
        """Return the columns that are neither pivots nor numerically dependent on them."""
        return np.flatnonzero(host(self.residual_diagonal) > self.tolerance)

    def reserve(self, capacity: int) -> None:
        """Make room for this many columns, or give room back; the columns there are stay.

        Views of :attr:`rows` taken before are not valid afterwards.
        """
        shape = (max(self.rank, min(capacity, self.operator.size)), self.operator.size)
        if shape == tuple(self._storage.shape):
            return
        if isinstance(self._storage, np.ndarray):
            self._storage.resize(shape, refcheck=False)  # in place: never two of them
        else:
            larger = self._storage.new_empty(shape)
            larger[: self.rank] = self.rows
            self._storage = larger

    def extend(
        self, indices: IntArray, *, limit: int | None = None, choose: Choice = pivoted_cholesky
    ) -> int:
        """Add columns with these indices and return how many were accepted.

        Pivots, and columns that depend numerically on them, are left out. No more than ``limit``
        are accepted, nor more than there is room for.

        Raises
        ------
        SolverError
            When entries of the matrix are not finite.
        """
        room = self.capacity - self.rank if limit is None else limit
        room = min(room, self.capacity - self.rank)
        before = self.rank
        wanted = np.asarray(indices, dtype=np.int64)
        wanted = wanted[np.sort(np.unique(wanted, return_index=True)[1])]
        wanted = wanted[host(self.residual_diagonal)[wanted] > self.tolerance]
        for start in range(0, len(wanted), COLUMN_BLOCK):
            left = room - (self.rank - before)
            if left <= 0:
                break
            self._extend_block(wanted[start : start + COLUMN_BLOCK], left, choose)
        return self.rank - before

    def extend_greedily(self, lookahead: int = 32) -> int:
        """Add the columns with the largest residual diagonal, one after the other.

        The ``lookahead`` columns that lead now are fetched and freed from the older ones together;
        they are used for as long as the largest residual is one of theirs (paper 004, algorithm 1;
        the same pivots as without looking ahead).

        Returns
        -------
        int
            How many were added; 0 when there is no room, or only rounding is left.
        """
        before = self.rank
        candidates = self.candidates()
        if not len(candidates) or self.rank == self.capacity:
            return 0
        residual = host(self.residual_diagonal)[candidates]
        leading = candidates[np.argsort(-residual, kind="stable")[:lookahead]]
        columns = self.operator.columns(leading)
        subtract_product_(columns, take(self.rows, leading), self.rows)
        place = {int(column): row for row, column in enumerate(leading)}
        while self.rank < self.capacity:
            pivot = int(self.residual_diagonal.argmax())
            if pivot not in place or not float(self.residual_diagonal[pivot]) > self.tolerance:
                break
            new = self._storage[self.rank : self.rank + 1]
            new[0] = columns[place[pivot]]
            if self.rank > before:
                recent = self._storage[before : self.rank]
                new[0] -= recent[:, pivot] @ recent
            value = float(new[0, pivot])
            _require_finite(value)
            if value <= self.tolerance:
                self.residual_diagonal[pivot] = 0.0  # rounding had left it more
                continue
            new /= value**0.5
            self._accept(np.array([pivot]), new)
        return self.rank - before

    def _extend_block(self, indices: IntArray, limit: int, choose: Choice) -> None:
        columns = self.operator.columns(indices)
        old = take(self.rows, indices)
        corner = host(take(columns, indices) - old.T @ old)
        _require_finite(corner)
        order, upper = choose(0.5 * (corner + corner.T), self.tolerance)
        order, upper = order[:limit], upper[:limit, :limit]
        new = self._storage[self.rank : self.rank + len(order)]
        take_rows(columns, order, new)
        del columns
        subtract_product_(new, take(old, order), self.rows)
        divide_(new, native_like(upper, new))
        self._accept(indices[order], new)

    def _accept(self, pivots: IntArray, new: Array) -> None:
        self.rank += len(pivots)
        self._indices = np.concatenate([self._indices, pivots])
        self.residual_diagonal -= squared_columns(new)
        self.residual_diagonal[index_array(pivots, self.residual_diagonal)] = 0.0
        if isinstance(self.residual_diagonal, torch.Tensor):
            self.residual_diagonal.clamp_(min=0.0)
        else:
            np.maximum(self.residual_diagonal, 0.0, out=self.residual_diagonal)


def _require_finite(entries: AnyArray | float) -> None:
    if not np.isfinite(entries).all():
        raise SolverError(
            "The matrix has entries that are not finite; expected numbers. Look for damaged frames "
            "(`kraft info`) or choose another length scale."
        )
