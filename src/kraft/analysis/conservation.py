"""Whether forces are the gradient of the energy: energy differences against the work of forces.

Along any path ``E(b) - E(a) = -∫ F · dr`` for a conservative model. What is left of that is the
energy that dynamics gain or lose on the way, whatever the integrator and the time step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kraft.core.errors import GeometryError, OptionError
from kraft.core.progress import Progress, silent
from kraft.core.typing import FloatArray
from kraft.models.force_field import ForceField

DEFAULT_ORDER = 8
"""Gauss-Legendre points on a segment: exact for polynomials of degree 15."""

_BATCH = 64


@dataclass(frozen=True, eq=False)
class WorkDefect:
    """Energy differences along a path of ``T`` geometries, and the work that should equal them.

    Attributes
    ----------
    energies
        ``(T,)`` in eV.
    work
        ``(T - 1,)`` work ``∫ F · dr`` of the forces along the segments in eV.
    """

    energies: FloatArray
    work: FloatArray

    @property
    def defects(self) -> FloatArray:
        """``(T - 1,)`` eV: energy that appears from nowhere on each segment."""
        return np.diff(self.energies) + self.work

    @property
    def accumulated(self) -> FloatArray:
        """``(T,)`` eV: the same from the start of the path."""
        return np.concatenate([[0.0], np.cumsum(self.defects)])

    @property
    def rms(self) -> float:
        """Root mean square defect of a segment in eV."""
        return float(np.sqrt(np.square(self.defects).mean()))

    @property
    def relative(self) -> float:
        """The same over the root mean square energy difference of a segment; 0 is conservative."""
        scale = float(np.sqrt(np.square(np.diff(self.energies)).mean()))
        return self.rms / scale if scale > 0.0 else float("nan")

    @property
    def largest_gain(self) -> float:
        """Largest accumulated defect along the path, without sign, in eV."""
        return float(np.abs(self.accumulated).max())


def work_defect(
    force_field: ForceField,
    path: FloatArray,
    *,
    order: int = DEFAULT_ORDER,
    progress: Progress = silent,
) -> WorkDefect:
    """Compare energy differences with the work of the forces along a path of straight segments.

    Parameters
    ----------
    force_field
        The model.
    path
        ``(T, N, 3)`` geometries in Å, for example of a trajectory, at least two. Segments should be
        short on the scale of the forces' changes (0.1 Å or so), for the quadrature to be exact.
    order
        Gauss-Legendre points on each segment.
    progress
        Told about segments.

    Raises
    ------
    GeometryError
        When the path does not fit the molecule or has fewer than two geometries.
    OptionError
        When ``order`` is below one.
    """
    points = np.asarray(path, dtype=np.float64)
    if points.ndim != 3 or len(points) < 2:
        raise GeometryError(
            f"Expected a path of shape (T, N, 3) with at least two geometries, got {points.shape}."
        )
    if order < 1:
        raise OptionError(f"Expected at least one point on a segment, got order={order}.")
    nodes, weights = np.polynomial.legendre.leggauss(order)
    fractions = 0.5 * (nodes + 1.0)
    steps = np.diff(points, axis=0)
    work = np.empty(len(steps))
    for start in range(0, len(steps), _BATCH):
        progress("work", start, len(steps))
        some = slice(start, start + _BATCH)
        between = points[:-1][some, None] + fractions[:, None, None] * steps[some, None]
        forces = force_field.predict(between.reshape(-1, *points.shape[1:])).forces
        along = (forces.reshape(between.shape) * steps[some, None]).sum(axis=(2, 3))
        work[some] = 0.5 * along @ weights
    progress("work", len(steps), len(steps))
    return WorkDefect(force_field.predict(points).energies, work)
