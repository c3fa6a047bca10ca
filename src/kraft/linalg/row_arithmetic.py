"""Steps of low-rank factors, in place, on each kind of processor.

A factor ``L`` of shape ``(n, k)`` is stored as its transpose: ``k`` contiguous rows of length
``n``, so columns can be added at the end. To the column-major libraries such rows are ``L`` itself.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import get_blas_funcs, get_lapack_funcs
from torch import Tensor

from kraft.core.typing import AnyArray
from kraft.linalg.arrays import Array

CHUNK_ELEMENTS = 4_000_000
"""Numbers in the rows that are triangularized at once: the only scratch of a thin QR."""

INNER_BLOCK = 64
"""Columns that LAPACK's QR of a triangle on top of a rectangle treats at once."""


def subtract_product_(target: Array, coefficients: Array, rows: Array) -> None:
    """Subtract ``coefficientsᵀ rows``, of ``(r, m)`` and ``(r, n)``, from ``target`` ``(m, n)``."""
    if len(rows) == 0 or len(target) == 0:
        return
    if isinstance(target, Tensor):
        target.addmm_(coefficients.T, rows, alpha=-1.0)
        return
    _require_contiguous(target)
    (gemm,) = get_blas_funcs(("gemm",), (target,))
    gemm(-1.0, rows.T, np.asfortranarray(coefficients), beta=1.0, c=target.T, overwrite_c=1)


def divide_(rows: Array, upper: Array) -> None:
    """Replace ``rows`` by ``R⁻ᵀ rows``, with ``R`` the upper triangle ``upper``."""
    if len(rows) == 0:
        return
    if isinstance(rows, Tensor):
        torch.linalg.solve_triangular(upper.T, rows, upper=False, out=rows)
        return
    _require_contiguous(rows)
    (trsm,) = get_blas_funcs(("trsm",), (rows,))
    trsm(1.0, np.asfortranarray(upper), rows.T, side=1, lower=0, overwrite_b=1)


def multiply_(rows: Array, upper: Array) -> None:
    """Replace ``rows`` by ``Rᵀ rows``: the inverse of :func:`divide_`."""
    if len(rows) == 0:
        return
    if isinstance(rows, Tensor):
        width = max(1, CHUNK_ELEMENTS // len(rows))
        for start in range(0, rows.shape[1], width):
            part = rows[:, start : start + width]
            part.copy_(upper.T @ part)
        return
    _require_contiguous(rows)
    (trmm,) = get_blas_funcs(("trmm",), (rows,))
    trmm(1.0, np.asfortranarray(upper), rows.T, side=1, lower=0, overwrite_b=1)


def _require_contiguous(rows: AnyArray) -> None:
    """Raise ``ValueError`` where the libraries would work on a copy and change nothing."""
    if not rows.flags.c_contiguous:
        raise ValueError("rows that are changed in place must be contiguous")


def squared_columns(rows: Array) -> Array:
    """Return the sums ``(n,)`` of the squares of ``rows`` over ``k``."""
    if isinstance(rows, Tensor):
        return torch.einsum("kn,kn->n", rows, rows)
    return np.einsum("kn,kn->n", rows, rows)


def triangle_by_products(rows: Array) -> Array | None:
    """Return ``R`` with ``RᵀR = I + rows rowsᵀ`` from that matrix, or None when it is indefinite.

    Fast, but the product squares the condition number: rounding moves ``I`` by about
    ``epsilon |rows|²``.
    """
    if isinstance(rows, Tensor):
        gram = rows @ rows.T
        gram.diagonal().add_(1.0)
        upper, info = torch.linalg.cholesky_ex(gram, upper=True)
        return upper if int(info) == 0 else None
    (syrk,) = get_blas_funcs(("syrk",), (rows,))
    (potrf,) = get_lapack_funcs(("potrf",), (rows,))
    gram = syrk(1.0, rows.T, trans=1, lower=0)
    gram[np.diag_indices_from(gram)] += 1.0
    upper, info = potrf(gram, lower=0, overwrite_a=1, clean=1)
    return upper if info == 0 else None


def triangle_by_reflections(rows: Array) -> Array:
    """Return the same ``R`` by a thin QR of ``[rowsᵀ; I]``, chunk by chunk, without ``Q``.

    Each chunk of columns of ``rows`` is put below the triangle of those before it and reflected
    into it, so the scratch is one chunk.
    """
    rank, size = rows.shape
    width = min(size, max(INNER_BLOCK, CHUNK_ELEMENTS // max(1, rank)))
    if isinstance(rows, Tensor):
        triangle = torch.eye(rank, dtype=rows.dtype, device=rows.device)
        for start in range(0, size, width):
            stacked = torch.cat([triangle, rows[:, start : start + width].T])
            triangle = torch.linalg.qr(stacked, mode="r").R
        return triangle
    (tpqrt,) = get_lapack_funcs(("tpqrt",), (rows,))
    upper = np.asfortranarray(np.eye(rank, dtype=rows.dtype))
    for start in range(0, size, width):
        chunk = np.array(rows[:, start : start + width].T, order="F")
        upper = tpqrt(0, min(INNER_BLOCK, rank), upper, chunk, overwrite_a=1, overwrite_b=1)[0]
    return upper


def pack(upper: Array) -> Array:
    """Return the entries of an upper triangle: half the memory of the square."""
    if isinstance(upper, Tensor):
        rows, columns = torch.triu_indices(len(upper), len(upper), device=upper.device)
        return upper[rows, columns]
    (trttp,) = get_lapack_funcs(("trttp",), (upper,))
    return trttp(upper, uplo="U")[0]


def unpack(packed: Array, size: int) -> Array:
    """Return the square that :func:`pack` packed, zeros below the diagonal."""
    if isinstance(packed, Tensor):
        square = packed.new_zeros(size, size)
        rows, columns = torch.triu_indices(size, size, device=packed.device)
        square[rows, columns] = packed
        return square
    (tpttr,) = get_lapack_funcs(("tpttr",), (packed,))
    return np.triu(tpttr(size, packed, uplo="U")[0])


def pivoted_cholesky(matrix: AnyArray, tolerance: float) -> tuple[AnyArray, AnyArray]:
    """Factorize a small semi-definite matrix with greedy pivots, for as far as it is definite.

    Returns
    -------
    order : IntArray
        ``(r,)`` the pivots; the others depend on them but for ``tolerance`` on the diagonal.
    upper : FloatArray
        ``(r, r)`` with ``upperᵀ upper = matrix[order][:, order]``.
    """
    (pstrf,) = get_lapack_funcs(("pstrf",), (matrix,))
    if not len(matrix) or not matrix.diagonal().max() > tolerance:
        return np.zeros(0, dtype=np.int64), np.zeros((0, 0), dtype=matrix.dtype)
    factor, pivots, rank, _ = pstrf(np.asfortranarray(matrix), tol=tolerance, lower=0)
    order = pivots[:rank].astype(np.int64) - 1
    return order, np.triu(factor[:rank, :rank])
