"""Which atoms a change of the energy along a path comes from.

Along any path, with the features ``x_d`` of pairs of atoms,

    E(b) - E(a) = Σ_d ∫ (∂E/∂x_d) dx_d,

so each pair has a part in the change: none where its distance stays the same, whatever the model
makes of it. Either atom of a pair is given half of its part. Parts add up to the change, turn with
nothing, and change places when like atoms do. Unlike contributions to the energy itself
(:mod:`kraft.analysis.contributions`) they are of the size of the change, but depend on the path.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from kraft.analysis.conservation import DEFAULT_ORDER
from kraft.core.errors import GeometryError, OptionError
from kraft.core.progress import Progress, silent
from kraft.core.typing import FloatArray
from kraft.models.evaluator import Evaluator
from kraft.models.force_field import ForceField
from kraft.models.query import checked_positions, not_finite

SEGMENTS = 16
"""Segments of a path treated at once."""

STAGE = "path"


def path_contributions(
    force_field: ForceField,
    path: FloatArray,
    *,
    order: int = DEFAULT_ORDER,
    progress: Progress = silent,
) -> FloatArray:
    """Return what each atom has contributed to the energy since the start of a path.

    Parameters
    ----------
    force_field
        An sGDML model.
    path
        ``(T, N, 3)`` geometries in Å, at least two, with straight segments between them; short
        ones, 0.1 Å or so, for a path that is curved and for the quadrature.
    order
        Gauss-Legendre points on each segment.
    progress
        Told about segments.

    Returns
    -------
    ndarray
        ``(T, N)`` in eV, zero at the start; the sum over atoms is ``E(t) - E(0)`` up to the
        quadrature, whose error the caller can see from that.

    Raises
    ------
    GeometryError
        When the path does not fit the molecule or has fewer than two geometries, a position is not
        finite or atoms coincide.
    OptionError
        When the model is an atomized one, or ``order`` is below one.
    """
    points = checked_positions(path, len(force_field.atomic_numbers))
    if points.ndim != 3 or len(points) < 2:
        raise GeometryError(
            f"Expected a path of shape (T, N, 3) with at least two geometries, got {points.shape}."
        )
    evaluator = force_field.evaluator
    if not isinstance(evaluator, Evaluator):
        raise OptionError(
            f"The forces of an {force_field.kind.label} model are no gradient of its energy, so "
            "work along a path is no change of it. Train an sGDML model."
        )
    if order < 1:
        raise OptionError(f"Expected at least one point on a segment, got order={order}.")
    steps = np.diff(points, axis=0)
    parts = np.empty(points.shape[:2])
    parts[0] = 0.0
    with torch.inference_mode():
        for start in range(0, len(steps), SEGMENTS):
            progress(STAGE, start, len(steps))
            some = slice(start, start + SEGMENTS)
            begins, moves = (torch.from_numpy(part[some]) for part in (points[:-1], steps))
            found = _segments(evaluator, begins, moves, order).cpu().numpy()
            parts[start + 1 : start + 1 + len(found)] = found
    progress(STAGE, len(steps), len(steps))
    finite = np.isfinite(parts).all(axis=1)
    if not finite.all():
        raise not_finite(points, int(np.argmin(finite)))
    result: FloatArray = np.cumsum(parts, axis=0)
    return result


def _segments(evaluator: Evaluator, begins: Tensor, moves: Tensor, order: int) -> Tensor:
    """Return the parts of the atoms ``(s, N)`` on segments from ``begins`` by ``moves``."""
    nodes, weights = (
        torch.tensor(values, device=evaluator.device)
        for values in np.polynomial.legendre.leggauss(order)
    )
    begins, moves = begins.to(evaluator.device), moves.to(evaluator.device)
    fractions = 0.5 * (nodes + 1.0)
    between = begins[:, None] + fractions[:, None, None] * moves[:, None]
    features, pulls = evaluator.feature_forces(between.flatten(0, 1))
    along = moves.repeat_interleave(order, dim=0)
    rates = evaluator.descriptor.jacobian_product(features, along)  # dx_d/dt
    work = -(pulls * rates).reshape(len(moves), order, -1)
    halves = 0.25 * torch.einsum("o,sod->sd", weights, work)
    parts = halves.new_zeros(moves.shape[:2])
    parts.index_add_(1, evaluator.descriptor.first_atoms, halves)
    parts.index_add_(1, evaluator.descriptor.second_atoms, halves)
    return parts
