"""What a preconditioner adds to the low-rank part, so that it can be inverted.

The papers add the regularization alone. Adding what the low-rank part leaves of the diagonal
blocks too, ``D = blockdiag(A - L Lᵀ) + Λ``, costs little and makes the preconditioner exact within
blocks: the partially independent conditional of Quiñonero-Candela and Rasmussen (J. Mach. Learn.
Res. 6, 1939, 2005).
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import get_blas_funcs, get_lapack_funcs
from threadpoolctl import threadpool_limits
from torch import Tensor

from kraft.core.errors import IllConditionedError, OptionError
from kraft.core.progress import Progress, silent
from kraft.linalg.arrays import Array, host, machine_epsilon, n_bytes, native_like
from kraft.linalg.operators import SymmetricOperator

JITTER_GROWTH = 10.0
"""Factor between the jitters tried for a block that rounding made indefinite."""

COLOR_ROWS = 512
"""Rows of the factor that are transformed at once."""


class Shift:
    """The regularization alone: ``D = Λ``, a number or one number a row.

    Parameters
    ----------
    regularization
        ``Λ``.
    diagonal
        Diagonal of ``A``: ``Λ`` is raised to the rounding error of its largest entry.
    """

    def __init__(self, regularization: Array | float, diagonal: Array) -> None:
        largest = float(diagonal.max()) if len(diagonal) else 0.0
        floor = max(machine_epsilon(diagonal) * largest, np.finfo(np.float64).tiny)
        if isinstance(regularization, float | int) or np.ndim(host(regularization)) == 0:
            self._root: Array | float = max(float(regularization), floor) ** 0.5
        else:
            weights = np.maximum(host(regularization), floor)
            self._root = native_like(np.sqrt(weights), diagonal)

    @property
    def memory(self) -> int:
        """Bytes that it keeps."""
        return 8 if isinstance(self._root, float) else n_bytes(self._root)

    @property
    def description(self) -> str:
        """What it is, in a few words."""
        return "the regularization"

    def half_solve(self, vectors: Array) -> Array:
        """Return ``C⁻¹ v``."""
        if isinstance(self._root, float):
            return vectors * (1.0 / self._root)
        return vectors / (self._root if vectors.ndim == 1 else self._root[:, None])

    def half_solve_transposed(self, vectors: Array) -> Array:
        """Return ``C⁻ᵀ v``, which is ``C⁻¹ v``."""
        return self.half_solve(vectors)

    def whiten_(self, rows: Array) -> None:
        """Replace ``Lᵀ`` by ``(C⁻¹ L)ᵀ``."""
        rows /= self._root

    def color_(self, rows: Array) -> None:
        """Replace ``Lᵀ`` by ``(C L)ᵀ``."""
        rows *= self._root


class Blocks:
    """Diagonal blocks of ``A - L Lᵀ + Λ``, each of a few whole geometries.

    Kept are the inverses of their Cholesky factors, ``(groups, s, s)``; the last block is smaller
    when the number of geometries is not a multiple of those in a block.

    Parameters
    ----------
    operator
        ``A``.
    rows
        ``Lᵀ`` of shape ``(k, n)``; left as it is.
    regularization
        ``Λ``, a number or one number a row.
    geometries
        How many make a block.
    progress
        Told of the geometries done.
    """

    def __init__(
        self,
        operator: SymmetricOperator,
        rows: Array,
        regularization: Array | float,
        geometries: int = 1,
        progress: Progress = silent,
    ) -> None:
        if geometries < 1:
            raise OptionError(
                f"A block must hold at least 1 geometry, but {geometries} were asked for."
            )
        self._size, b = operator.size, operator.block_size
        self._geometries = geometries = min(geometries, max(1, self._size // b))
        self._block = geometries * b
        self.jitter = 0.0
        n_full, n_blocks = self._size // self._block, self._size // b
        self._last = self._size - n_full * self._block
        self._factors: Array = None
        self._last_factor: Array = None
        # Small matrices gain nothing from threads, and the pools of two libraries that take turns
        # (NumPy's and SciPy's) wait for each other: with them this took ten times as long.
        with threadpool_limits(limits=1):
            for index, first in enumerate(range(0, n_blocks, geometries)):
                progress("building the preconditioner: blocks", first, n_blocks)
                blocks = np.arange(first, min(first + geometries, n_blocks))
                part = slice(first * b, first * b + len(blocks) * b)
                residual = operator.principal(blocks) - rows[:, part].T @ rows[:, part]
                inverse = self._inverse_factor(residual, _part(regularization, part))
                if len(blocks) < geometries:
                    self._last_factor = inverse
                    continue
                if self._factors is None:
                    shape = (n_full, self._block, self._block)
                    self._factors = _empty(inverse, shape)
                self._factors[index] = inverse

    def _inverse_factor(self, residual: Array, weights: Array | float) -> Array:
        diagonal = residual.diagonal()
        scale = max(float(abs(residual).max()), float(abs(native_like(weights, residual)).max()))
        residual = 0.5 * (residual + residual.T)
        _diagonal(residual)[...] += native_like(weights, residual)
        jitter, step = 0.0, machine_epsilon(diagonal) * scale
        while jitter <= scale:
            inverse = _inverse_cholesky(residual, jitter)
            if inverse is not None:
                self.jitter = max(self.jitter, jitter)
                return inverse
            jitter = max(step, jitter * JITTER_GROWTH)
        raise IllConditionedError(
            "A diagonal block of the matrix is not positive definite, or has entries that are not "
            "finite; expected distinct, finite geometries: look at them with `kraft info`."
        )

    @property
    def memory(self) -> int:
        """Bytes that it keeps."""
        return sum(n_bytes(f) for f in (self._factors, self._last_factor) if f is not None)

    @property
    def description(self) -> str:
        """What it is, in a few words."""
        return f"diagonal blocks of {self._geometries} geometries"

    def half_solve(self, vectors: Array) -> Array:
        """Return ``C⁻¹ v``."""
        return self._apply(vectors, transposed=False)

    def half_solve_transposed(self, vectors: Array) -> Array:
        """Return ``C⁻ᵀ v``."""
        return self._apply(vectors, transposed=True)

    def _apply(self, vectors: Array, *, transposed: bool) -> Array:
        result = _empty(vectors, tuple(vectors.shape))
        end = self._size - self._last
        if self._factors is not None:
            factors = self._factors.swapaxes(1, 2) if transposed else self._factors
            columns = 1 if vectors.ndim == 1 else vectors.shape[1]
            shape = (len(factors), self._block, columns)
            result[:end].reshape(shape)[...] = factors @ vectors[:end].reshape(shape)
        if self._last:
            factor = self._last_factor.T if transposed else self._last_factor
            result[end:] = factor @ vectors[end:]
        return result

    def whiten_(self, rows: Array) -> None:
        """Replace ``Lᵀ`` by ``(C⁻¹ L)ᵀ``."""
        for part, inverse in self._parts():
            for first in range(0, len(rows), COLOR_ROWS):
                block = rows[first : first + COLOR_ROWS, part]
                block[...] = block @ inverse.T

    def color_(self, rows: Array) -> None:
        """Replace ``Lᵀ`` by ``(C L)ᵀ``."""
        for part, inverse in self._parts():
            for first in range(0, len(rows), COLOR_ROWS):
                block = rows[first : first + COLOR_ROWS, part]
                block[...] = _divide_right(block, inverse)

    def _parts(self) -> list[tuple[slice, Array]]:
        starts = range(0, self._size - self._last, self._block)
        parts = [
            (slice(start, start + self._block), self._factors[i]) for i, start in enumerate(starts)
        ]
        if self._last:
            parts.append((slice(self._size - self._last, self._size), self._last_factor))
        return parts


def _part(weights: Array | float, part: slice) -> Array | float:
    if isinstance(weights, float | int) or np.ndim(host(weights)) == 0:
        return float(weights)
    return weights[part]


def _empty(like: Array, shape: tuple[int, ...]) -> Array:
    if isinstance(like, Tensor):
        return like.new_empty(shape)
    return np.empty(shape, dtype=like.dtype)


def _diagonal(matrix: Array) -> Array:
    if isinstance(matrix, Tensor):
        return matrix.diagonal()
    return np.einsum("ii->i", matrix)


def _inverse_cholesky(matrix: Array, jitter: float) -> Array | None:
    """Return ``C⁻¹`` with ``C Cᵀ = matrix + jitter I``, lower, or None when that is indefinite."""
    if isinstance(matrix, Tensor):
        identity = torch.eye(len(matrix), dtype=matrix.dtype, device=matrix.device)
        factor, info = torch.linalg.cholesky_ex(matrix + jitter * identity)
        if int(info) != 0 or not bool(torch.isfinite(factor).all()):
            return None
        return torch.linalg.solve_triangular(factor, identity, upper=False)
    potrf, trtri = get_lapack_funcs(("potrf", "trtri"), (matrix,))
    shifted = np.array(matrix, order="F")
    _diagonal(shifted)[...] += jitter
    factor, info = potrf(shifted, lower=1, overwrite_a=1, clean=1)
    if info != 0 or not np.isfinite(factor).all():
        return None
    inverse, info = trtri(factor, lower=1, overwrite_c=1)
    return inverse if info == 0 else None


def _divide_right(rows: Array, inverse: Array) -> Array:
    """Return ``rows inverse⁻ᵀ`` for a lower triangle ``inverse``."""
    if isinstance(rows, Tensor):
        return torch.linalg.solve_triangular(inverse.T, rows, upper=True, left=False)
    (trsm,) = get_blas_funcs(("trsm",), (rows, inverse))
    return trsm(1.0, inverse, np.asfortranarray(rows.T), side=0, lower=1).T
