"""How many independent displacements a set of distances can see: the rank of its Jacobian.

The rank is the same at almost all geometries and nowhere larger (the framework of the kept pairs is
rigid, or flexible, *generically*), so it is found once, at random positions, and serves as the
number of displacements that kernel matrices are made for.
"""

from __future__ import annotations

import functools

import numpy as np
from torch import Tensor

SINGULAR = 1e-9
"""Singular values of the Jacobian at random positions below this share of the largest are zero."""


def generic_rank(n_atoms: int, first: Tensor, second: Tensor, turns_freely: bool) -> int:
    """Return the largest rank that the Jacobian of these distances has at any geometry.

    Parameters
    ----------
    n_atoms
        Number of atoms ``N``.
    first, second
        ``(D,)`` atoms of each pair.
    turns_freely
        False with a periodic cell: each distance may then be to another image, so the directions of
        all separations are independent, and the rank is an upper bound.
    """
    pairs = np.stack([first.cpu().numpy(), second.cpu().numpy()])
    return _rank(n_atoms, np.ascontiguousarray(pairs, dtype=np.int64).tobytes(), turns_freely)


@functools.lru_cache(maxsize=64)
def _rank(n_atoms: int, pairs: bytes, turns_freely: bool) -> int:
    first, second = np.frombuffer(pairs, dtype=np.int64).reshape(2, -1)
    rng = np.random.default_rng(0)
    if turns_freely:
        positions = rng.normal(size=(n_atoms, 3))
        separations = positions[first] - positions[second]
    else:
        separations = rng.normal(size=(len(first), 3))
    separations /= np.linalg.norm(separations, axis=1, keepdims=True)
    jacobian = np.zeros((len(first), n_atoms, 3))
    rows = np.arange(len(first))
    jacobian[rows, first], jacobian[rows, second] = separations, -separations
    square = np.linalg.qr(jacobian.reshape(len(first), -1), mode="r")
    values = np.linalg.svd(square, compute_uv=False)
    return int((values > SINGULAR * values[0]).sum())
