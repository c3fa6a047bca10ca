"""The three steps of a Cholesky factorisation by panels, in place, on each kind of processor.

On the CPU they call the BLAS and LAPACK that come with SciPy, which factorize about a third faster
than those of torch on the machines that were measured (`docs/benchmarks/training.md`); elsewhere
they are torch's. Blocks are rows of row-major panels, so the column-major libraries see transposes.

SciPy's routines let no other thread of Python run meanwhile, torch's do: ``concurrent`` asks for
those where several matrices are factorized side by side.
"""

from __future__ import annotations

import torch
from scipy.linalg import get_blas_funcs, get_lapack_funcs
from torch import Tensor


def cholesky_(block: Tensor, *, concurrent: bool = False) -> int:
    """Replace the lower triangle of a square block by its factor; return 0 or the bad pivot."""
    if concurrent or block.device.type != "cpu":
        factor, info = torch.linalg.cholesky_ex(block)
        block.copy_(factor)
        return int(info)
    upper = block.numpy().T
    (potrf,) = get_lapack_funcs(("potrf",), (upper,))
    _, info = potrf(upper, lower=0, overwrite_a=1, clean=0)
    return int(info)


def divide_(rows: Tensor, factor: Tensor, *, concurrent: bool = False) -> None:
    """Replace ``B`` by ``B L⁻ᵀ``, with ``L`` the lower triangle of ``factor``."""
    if concurrent or rows.device.type != "cpu":
        rows.copy_(torch.linalg.solve_triangular(factor.tril().T, rows, upper=True, left=False))
        return
    right, upper = rows.numpy().T, factor.numpy().T
    (trsm,) = get_blas_funcs(("trsm",), (upper, right))
    trsm(1.0, upper, right, side=0, lower=0, trans_a=1, overwrite_b=1)


def subtract_product_(target: Tensor, rows: Tensor, *, concurrent: bool = False) -> None:
    """Subtract ``rows rows[:w]ᵀ`` from the lower triangle of ``target``, which is ``w`` wide."""
    width = target.shape[1]
    if concurrent or target.device.type != "cpu":
        target.addmm_(rows, rows[:width].T, alpha=-1.0)
        return
    leading, below = rows[:width].numpy().T, rows[width:].numpy().T
    square, rest = target[:width].numpy().T, target[width:].numpy().T
    syrk, gemm = get_blas_funcs(("syrk", "gemm"), (square,))
    syrk(-1.0, leading, beta=1.0, c=square, trans=1, lower=0, overwrite_c=1)
    if len(rows) > width:
        gemm(-1.0, leading, below, beta=1.0, c=rest, trans_a=1, overwrite_c=1)
