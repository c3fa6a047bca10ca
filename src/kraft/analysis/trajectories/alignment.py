"""Best superposition of geometries, and what is left: RMSD, also over permutations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kraft.core.errors import GeometryError, OptionError
from kraft.core.typing import FloatArray


@dataclass(frozen=True, eq=False)
class Superposition:
    """How geometries are laid upon a reference.

    ``(positions - centers) @ rotations.T + reference center`` is nearest to the reference.

    Attributes
    ----------
    rotations
        ``(T, 3, 3)`` proper rotations that turn the geometries to the reference.
    centers
        ``(T, 3)`` weighted centers of the geometries.
    rmsd
        ``(T,)`` what is left, in the unit of the positions.
    """

    rotations: FloatArray
    centers: FloatArray
    rmsd: FloatArray


def superpose(
    positions: ArrayLike, reference: ArrayLike, weights: ArrayLike | None = None
) -> Superposition:
    """Lay geometries ``(T, N, 3)`` upon a reference ``(N, 3)`` (Kabsch, Acta Cryst. A 32, 922).

    Parameters
    ----------
    positions, reference
        Of the atoms to compare.
    weights
        ``(N,)`` positive; equal by default, masses for a mass-weighted RMSD.

    Raises
    ------
    GeometryError
        When shapes do not fit.
    OptionError
        When weights are not positive or of another number.
    """
    moving, fixed = np.asarray(positions, np.float64), np.asarray(reference, np.float64)
    if moving.ndim != 3 or moving.shape[1:] != fixed.shape or fixed.shape[1:] != (3,):
        raise GeometryError(
            f"Expected geometries (T, N, 3) and a reference (N, 3) of the same atoms, got "
            f"{moving.shape} and {fixed.shape}."
        )
    w = np.ones(len(fixed)) if weights is None else np.asarray(weights, np.float64)
    if w.shape != (len(fixed),) or not (w > 0.0).all():
        raise OptionError(f"Expected {len(fixed)} positive weights, got shape {w.shape}.")
    w = w / w.sum()
    centers = np.einsum("n,tnx->tx", w, moving)
    x, y = moving - centers[:, None], fixed - w @ fixed
    left, stretches, right = np.linalg.svd(np.einsum("nx,n,tny->txy", y, w, x, optimize=True))
    signs = np.sign(np.linalg.det(left @ right))
    left[:, :, 2] *= signs[:, None]
    stretches[:, 2] *= signs
    rotations: FloatArray = left @ right
    sizes = np.einsum("n,tnx->t", w, x * x) + float(w @ (y * y).sum(axis=1))
    squares = sizes - 2.0 * stretches.sum(axis=1)
    near = squares < 1e-6 * sizes  # the difference loses digits: there from the aligned atoms
    if near.any():
        gaps = np.einsum("txy,tny->tnx", rotations[near], x[near]) - y
        squares[near] = np.einsum("n,tnx->t", w, gaps * gaps)
    return Superposition(rotations, centers, np.sqrt(squares))


def rmsd(
    positions: ArrayLike,
    reference: ArrayLike,
    *,
    atoms: ArrayLike | None = None,
    permutations: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> FloatArray:
    """Return root mean square deviations from a reference after the best superposition.

    Parameters
    ----------
    positions
        ``(T, N, 3)`` in Å.
    reference
        ``(N, 3)`` in Å, the start of the simulation as a rule.
    atoms
        Numbers of the atoms to compare; all by default.
    permutations
        ``(S, N)`` equivalent orders of the atoms (:attr:`kraft.ForceField.permutations`); the
        smallest deviation over them counts. Without, atoms that have changed places count as moved.
    weights
        ``(N,)``; equal by default.

    Returns
    -------
    deviations
        ``(T,)`` in Å.

    Raises
    ------
    GeometryError, OptionError
        When shapes do not fit.
    """
    moving, fixed = np.asarray(positions, np.float64), np.asarray(reference, np.float64)
    n_atoms = len(fixed)
    chosen = np.arange(n_atoms) if atoms is None else np.asarray(atoms)
    given = None if weights is None else np.asarray(weights, np.float64)[chosen]
    orders = np.arange(n_atoms)[None] if permutations is None else np.asarray(permutations)
    if orders.ndim != 2 or orders.shape[1] != n_atoms:
        raise GeometryError(
            f"Expected permutations (S, {n_atoms}) of all atoms, got {orders.shape}. Is the model "
            "one of this molecule?"
        )
    best = np.full(len(moving), np.inf)
    for order in np.unique(orders[:, chosen], axis=0):
        found = superpose(moving[:, order], fixed[chosen], given).rmsd
        np.minimum(best, found, out=best)
    return best


def rotation_angles(rotations: FloatArray) -> FloatArray:
    """Return the angles of rotations ``(T, 3, 3)`` in degrees, from 0 to 180."""
    skew = np.stack(
        [
            rotations[:, 2, 1] - rotations[:, 1, 2],
            rotations[:, 0, 2] - rotations[:, 2, 0],
            rotations[:, 1, 0] - rotations[:, 0, 1],
        ],
        axis=1,
    )
    traces = np.trace(rotations, axis1=1, axis2=2) - 1.0
    angles: FloatArray = np.degrees(np.arctan2(np.linalg.norm(skew, axis=1), traces))
    return angles
