"""Figures that guards compute of geometries, kept for whoever asks for the same again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from kraft.core.typing import FloatArray


class Signal:
    """A figure of each geometry; what was computed last is kept, since looks and frames coincide.

    Parameters
    ----------
    column
        Its name in the table of a run.
    function
        Values ``(R,)`` of positions ``(R, N, 3)`` in Å.
    """

    def __init__(self, column: str, function: Callable[[FloatArray], FloatArray]) -> None:
        self.column, self._function = column, function
        self._last: tuple[FloatArray, FloatArray] | None = None

    def __call__(self, positions: FloatArray) -> FloatArray:
        """Return the values ``(R,)`` at ``(R, N, 3)`` in Å."""
        if self._last is None or not np.array_equal(self._last[0], positions):
            self._last = positions.copy(), self._function(positions)
        return self._last[1]
