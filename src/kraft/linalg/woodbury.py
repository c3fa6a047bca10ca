"""Inverse of a low-rank matrix plus an easily inverted remainder, ``P = L Lᵀ + C Cᵀ``.

With ``L~ = C⁻¹ L`` and the triangle ``R`` of a thin QR of ``[L~; I]``, ``RᵀR = I + L~ᵀL~`` and

    P⁻¹ = C⁻ᵀ (I - Tᵀ T) C⁻¹,   T = R⁻ᵀ L~ᵀ

(paper 000, eq. S2 of appendix G; `docs/theory.md`, section 11). ``T`` takes the place of ``L``.
"""

from __future__ import annotations

from typing import Protocol

from kraft.linalg.arrays import Array, n_bytes
from kraft.linalg.row_arithmetic import (
    divide_,
    multiply_,
    pack,
    squared_columns,
    triangle_by_products,
    triangle_by_reflections,
    unpack,
)

WELL_CONDITIONED = 1e12
"""Largest square of the norm of ``L~`` for which the triangle is computed from ``L~ᵀL~``.

Rounding then changes the identity in ``I + L~ᵀL~`` by about 1e-4, and so the preconditioner by that
factor: no iteration notices. The QR costs five times as much and is taken beyond.
"""


class Remainder(Protocol):
    """A symmetric positive definite ``D = C Cᵀ`` of which ``C`` is cheap to invert."""

    @property
    def memory(self) -> int:
        """Bytes that it keeps."""
        ...

    @property
    def description(self) -> str:
        """What it is, in a few words."""
        ...

    def half_solve(self, vectors: Array) -> Array:
        """Return ``C⁻¹ v`` as a new array, for ``(n,)`` or ``(n, m)``."""
        ...

    def half_solve_transposed(self, vectors: Array) -> Array:
        """Return ``C⁻ᵀ v`` as a new array, for ``(n,)`` or ``(n, m)``."""
        ...

    def whiten_(self, rows: Array) -> None:
        """Replace ``Lᵀ`` by ``(C⁻¹ L)ᵀ``, rows ``(k, n)``."""
        ...

    def color_(self, rows: Array) -> None:
        """Replace ``Lᵀ`` by ``(C L)ᵀ``: undo :meth:`whiten_`."""
        ...


class Woodbury:
    """``P⁻¹`` of ``P = L Lᵀ + D``, in the memory of ``L`` and half a square of its rank.

    Parameters
    ----------
    rows
        ``Lᵀ`` of shape ``(k, n)``, contiguous; overwritten.
    remainder
        ``D``.
    """

    def __init__(self, rows: Array, remainder: Remainder) -> None:
        self.remainder = remainder
        self._rows, self._triangle = rows, rows[:0, 0]
        if len(rows):
            remainder.whiten_(rows)
            triangle = _triangle(rows)
            divide_(rows, triangle)
            self._triangle = pack(triangle)

    @property
    def rank(self) -> int:
        """Columns of ``L``."""
        return len(self._rows)

    @property
    def memory(self) -> int:
        """Bytes kept, those of the rows and of the remainder included."""
        return n_bytes(self._rows) + n_bytes(self._triangle) + self.remainder.memory

    def solve(self, vectors: Array) -> Array:
        """Return ``P⁻¹ v`` as a new array, for ``(n,)`` or ``(n, m)``."""
        whitened = self.remainder.half_solve(vectors)
        if self.rank:
            coefficients = self._rows @ whitened
            if vectors.ndim == 1:
                whitened -= coefficients @ self._rows
            else:
                whitened -= self._rows.T @ coefficients
        return self.remainder.half_solve_transposed(whitened)

    def scores(self) -> Array:
        """Return the diagonal ``(n,)`` of ``L~ (I + L~ᵀL~)⁻¹ L~ᵀ``, between 0 and 1.

        With ``D = λ I`` these are the ridge leverage scores of ``L Lᵀ``.
        """
        return squared_columns(self._rows)

    def restore(self) -> Array:
        """Turn the rows back into ``Lᵀ``, in place, and return them; the inverse is gone."""
        rows = self._rows
        if len(rows):
            multiply_(rows, unpack(self._triangle, len(rows)))
            self.remainder.color_(rows)
        self._rows, self._triangle = rows[:0], rows[:0, 0]
        return rows


def _triangle(rows: Array) -> Array:
    if float(squared_columns(rows).sum()) < WELL_CONDITIONED:  # no less than the squared norm
        triangle = triangle_by_products(rows)
        if triangle is not None:
            return triangle
    return triangle_by_reflections(rows)
