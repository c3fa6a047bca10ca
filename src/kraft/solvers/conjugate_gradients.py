"""Preconditioned conjugate gradients: the recurrence alone, without policy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from kraft.core.typing import AnyArray, FloatArray
from kraft.linalg.arrays import Array, copy, empty_like, host, namespace, native_like

LARGEST_DRIFT = 0.1
"""A recurrence this far from the true residual, relative to it, loses its direction."""


class BreakdownError(ArithmeticError):
    """The recurrence cannot go on: a curvature that is not positive, or not a number."""


@dataclass(frozen=True)
class Recurrence:
    """A consistent point of the recurrence; a step replaces it as a whole.

    Attributes
    ----------
    solution, residual, direction
        ``(n, m)`` native arrays.
    products
        ``(m,)`` ``rᵀ P⁻¹ r`` of the step before.
    fresh
        ``(m,)`` columns that start over with the preconditioned residual as direction.
    converged
        ``(m,)`` columns that are frozen, since a recomputed residual met the tolerance.
    relative
        ``(m,)`` ``|r| / |b|``.
    energy
        ``(m,)`` ``½ xᵀ A x - bᵀ x``, which falls with every step.
    """

    solution: Array
    residual: Array
    direction: Array
    products: FloatArray
    fresh: AnyArray
    converged: AnyArray
    relative: FloatArray
    energy: FloatArray


class ConjugateGradients:
    """Preconditioned conjugate gradients for one or several right-hand sides in lockstep.

    Each column has its own step lengths; a column is frozen once its residual, recomputed with the
    operator, meets the tolerance. ``current`` is always consistent: a step interrupted anywhere
    leaves the one before it.

    Parameters
    ----------
    apply
        ``A v`` for native ``(n,)`` or ``(n, m)``, symmetric positive definite.
    precondition
        ``P⁻¹ v`` for the same, symmetric positive definite.
    right_hand_side
        ``(n, m)`` native.
    start
        ``(n, m)`` native; zero when not given.
    tolerance
        Relative residual ``|b - A x| / |b|`` that every column is to meet.

    Attributes
    ----------
    gap
        How far, relative to ``|b|``, the recurrence was from the true residual when it was last
        recomputed: smaller residuals of the recurrence mean nothing.
    """

    def __init__(
        self,
        apply: Callable[[Array], Array],
        precondition: Callable[[Array], Array],
        right_hand_side: Array,
        *,
        tolerance: float,
        start: Array | None = None,
    ) -> None:
        self._apply = apply
        self._precondition = precondition
        self._b = right_hand_side
        self.tolerance = tolerance
        sizes = norms(right_hand_side)
        self._sizes = np.where(sizes > 0.0, sizes, 1.0)
        if start is None:
            solution, residual = zeros(right_hand_side), right_hand_side
        else:
            solution, residual = start, right_hand_side - columnwise(apply, start)
        self.gap = 0.0
        self.current = self._begin(solution, residual)

    def _begin(self, solution: Array, residual: Array) -> Recurrence:
        relative = norms(residual) / self._sizes
        return Recurrence(
            solution=solution,
            residual=residual,
            direction=residual,
            products=np.ones(len(relative)),
            fresh=np.ones(len(relative), dtype=bool),
            converged=relative <= self.tolerance,
            relative=relative,
            energy=self._energy(solution, residual),
        )

    def _energy(self, solution: Array, residual: Array) -> FloatArray:
        return -0.5 * numbers((solution * (self._b + residual)).sum(0))

    @property
    def relative_residual(self) -> float:
        """The largest relative residual of the columns, by the recurrence."""
        return float(np.max(self.current.relative))

    @property
    def energy(self) -> float:
        """The sum of the columns' energies, by the recurrence."""
        return float(np.sum(self.current.energy))

    @property
    def converged(self) -> bool:
        """Whether every column met the tolerance with a recomputed residual."""
        return bool(np.all(self.current.converged))

    def step(self) -> None:
        """Take one step with every column that has not converged.

        Raises
        ------
        BreakdownError
            When the matrix or the preconditioner shows not to be positive definite, or with
            numbers that are not finite; ``current`` stays what it was.
        """
        with np.errstate(all="ignore"):  # what is not finite is noticed
            self.current = self._stepped(self.current)

    def _stepped(self, old: Recurrence) -> Recurrence:
        active = ~old.converged
        residual = select(old.residual, active)
        z = columnwise(self._precondition, residual)
        products = numbers((residual * z).sum(0))
        _require_positive(products, "The preconditioner")
        beta = np.where(old.fresh[active], 0.0, products / old.products[active])
        direction = z
        if np.any(beta):
            direction = z + native_like(beta, z) * select(old.direction, active)
        image = columnwise(self._apply, direction)
        curvature = numbers((direction * image).sum(0))
        _require_positive(curvature, "The matrix")
        alpha = products / curvature
        steps = native_like(alpha, z)
        solution = select(old.solution, active) + steps * direction
        residual = residual - steps * image
        relative = norms(residual) / self._sizes[active]
        if not np.all(np.isfinite(relative)):
            raise BreakdownError("The residual is not a finite number")
        return Recurrence(
            solution=_put(old.solution, active, solution),
            residual=_put(old.residual, active, residual),
            direction=_put(old.direction, active, direction),
            products=_put(old.products, active, products),
            fresh=np.zeros_like(old.fresh),
            converged=old.converged,
            relative=_put(old.relative, active, relative),
            energy=_put(old.energy, active, old.energy[active] - 0.5 * alpha * products),
        )

    def claims(self) -> AnyArray:
        """Return ``(m,)`` the columns whose recurrence claims convergence, to be checked."""
        return (self.current.relative <= self.tolerance) & ~self.current.converged

    def refresh(self, columns: AnyArray | None = None) -> float:
        """Replace residuals by recomputed ones and freeze what converged.

        Parameters
        ----------
        columns
            ``(m,)`` which ones; all that have not converged when not given.

        Returns
        -------
        float
            The largest drift found, ``|r - (b - A x)| / |b - A x|``. Columns that drifted further
            than :data:`LARGEST_DRIFT` start over with a new direction.
        """
        old = self.current
        chosen = ~old.converged if columns is None else columns
        if not np.any(chosen):
            return 0.0
        solution, b = select(old.solution, chosen), select(self._b, chosen)
        residual = b - columnwise(self._apply, solution)
        size = norms(residual)
        with np.errstate(all="ignore"):
            gap = norms(residual - select(old.residual, chosen))
            drift = gap / np.where(size > 0.0, size, 1.0)
        self.gap = float(np.max(gap / self._sizes[chosen]))
        relative = size / self._sizes[chosen]
        energy = -0.5 * numbers((solution * (b + residual)).sum(0))
        self.current = replace(
            old,
            residual=_put(old.residual, chosen, residual),
            fresh=_put(old.fresh, chosen, old.fresh[chosen] | ~(drift <= LARGEST_DRIFT)),
            converged=_put(old.converged, chosen, relative <= self.tolerance),
            relative=_put(old.relative, chosen, relative),
            energy=_put(old.energy, chosen, energy),
        )
        return float(np.max(drift))


def columnwise(function: Callable[[Array], Array], vectors: Array) -> Array:
    """Apply a function of ``(n,)`` or ``(n, m)`` to ``(n, m)``; a single column as a vector."""
    if vectors.shape[1] == 1:
        return function(vectors[:, 0]).reshape(-1, 1)
    return function(vectors)


def zeros(array: Array) -> Array:
    """Return zeros of the shape and kind of a native array."""
    result = empty_like(array, tuple(array.shape))
    result[...] = 0.0
    return result


def norms(vectors: Array) -> FloatArray:
    """Return ``(m,)`` the Euclidean norms of native ``(n, m)`` columns."""
    return np.sqrt(numbers((vectors * vectors).sum(0)))


def numbers(array: Array) -> FloatArray:
    """Return a small native array as float64 numbers of NumPy."""
    return np.asarray(host(array), dtype=np.float64)


def select(array: Array, columns: AnyArray) -> Array:
    """Return ``(n, m)`` without the columns that are false; a view when all are true."""
    if np.all(columns):
        return array
    if namespace(array) is np:
        return np.ascontiguousarray(array[..., columns])
    return array[..., np.flatnonzero(columns).tolist()].contiguous()


def _put(array: Array, columns: AnyArray, values: Array) -> Array:
    """Return ``array`` with some columns (or entries) replaced; the argument is kept."""
    if np.all(columns):
        return values
    changed = copy(array)
    changed[..., np.flatnonzero(columns).tolist()] = values
    return changed


def _require_positive(values: FloatArray, what: str) -> None:
    if not np.all(np.isfinite(values)):
        raise BreakdownError(f"{what} gave numbers that are not finite")
    if not np.all(values > 0.0):
        raise BreakdownError(f"{what} is not positive definite to rounding")
