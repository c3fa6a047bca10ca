"""The exact posterior of the Gaussian process, from a factorization of its matrix.

With ``A = K + Λ = L Lᵀ`` and the covariances ``K*`` of new quantities with the labels, their
posterior covariance is ``σ_f² (K** - Wᵀ W)`` with ``W = L⁻¹ K*``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from kraft.core.errors import GeometryError, IllConditionedError, MemoryLimitError
from kraft.core.memory import available_memory, format_bytes
from kraft.core.progress import Progress, silent
from kraft.kernels.cross_covariance import CrossCovariance
from kraft.kernels.geometries import ReducedGeometries
from kraft.linalg.panels import PanelCholesky
from kraft.models.uncertainty.base import Deviations, Direction
from kraft.models.uncertainty.system import TrainedSystem
from kraft.solvers import DenseCholesky
from kraft.solvers.dense import PreparedCholesky
from kraft.solvers.rounding import by_raising

ROUNDING = 1e-9
"""A variance below zero by more than this share of the prior variance is no rounding error."""

RESOLUTION = 16.0 * torch.finfo(torch.float64).eps
"""A variance is not told apart from zero below this share of the numbers it is the difference of:
what is smaller is given as so much, never as certainty."""

CHUNK_COLUMNS = 1024
"""Right-hand sides solved for at once: enough for fast products."""

WORKING_COPIES = 4
"""Arrays of the size of the right-hand sides that one chunk takes at its peak."""


class ExactUncertainty:
    """Exact predictive standard deviations of an sGDML model.

    Parameters
    ----------
    system
        The model's system.
    max_memory
        Bytes it may use in all; what the machine has available when not given.
    progress
        Told of the factorization.
    reference
        Geometries to whose mean energy energies are relative; those of the system when not given.

    Raises
    ------
    MemoryLimitError
        When the factor does not fit.
    IllConditionedError
        When the matrix has no factor, even with more regularization than the model's.
    """

    method: str = "exact"
    direction: Direction = "exact"

    def __init__(
        self,
        system: TrainedSystem,
        max_memory: int | None = None,
        progress: Progress = silent,
        *,
        reference: ReducedGeometries | None = None,
    ) -> None:
        self._system = system
        self._cross = CrossCovariance(system.operator, reference)
        allowed = max_memory or available_memory(system.operator.device)

        def factorized(factor: float) -> PreparedCholesky:
            regularization = factor * system.regularization
            return DenseCholesky(allowed).prepare(system.operator, regularization, progress)

        prepared, raised = by_raising(factorized)
        self._factor: PanelCholesky = prepared.factor
        size = system.operator.size
        left = allowed - DenseCholesky.required_memory(size, system.operator.block_size)
        fitting = left // (8 * WORKING_COPIES * size)
        self._chunk_columns = max(1, min(CHUNK_COLUMNS, fitting))
        added = f", {prepared.jitter:.1e} added to its diagonal" if prepared.jitter else ""
        added += f", its regularization raised {raised:.0f} times for rounding" * (raised > 1.0)
        self.description = (
            "Exact posterior standard deviations of the Gaussian process, from a factorization of "
            f"its matrix of {size} training labels{added}."
        )

    @property
    def n_labels(self) -> int:
        """Training labels that the posterior is given."""
        return self._system.operator.size

    def deviations(self, positions: Tensor) -> Deviations:
        """Return the deviations at positions ``(B, N, 3)`` in Å.

        Raises
        ------
        IllConditionedError
            When rounding in an ill-conditioned system makes a variance negative.
        """
        energies, forces = [], []
        for some in self._pieces(self._system.queries(positions), extra=1):
            columns, prior = self._cross.forces_and_energies(some)
            covariance = prior - self._explained(columns)
            basis = some.basis.flatten(1, 2)  # (B, 3N, r)
            raw = ((basis @ covariance[:, :-1, :-1]) * basis).sum(dim=2)
            largest = prior.diagonal(dim1=1, dim2=2)
            of_forces = largest[:, :-1].amax(dim=1, keepdim=True)
            forces.append(standard_deviations(raw, of_forces, RESOLUTION * of_forces))
            resolution = RESOLUTION * self._cross.energy_amplitude
            energies.append(standard_deviations(covariance[:, -1, -1], largest[:, -1], resolution))
        sigma = math.sqrt(self._system.variance)
        return Deviations(
            sigma * torch.cat(energies), sigma * torch.cat(forces).view(positions.shape)
        )

    def projected(self, positions: Tensor, directions: Tensor) -> Tensor:
        """Return the joint posterior covariance of components of the forces.

        Parameters
        ----------
        positions
            ``(P, N, 3)`` in Å.
        directions
            ``(P, R, N, 3)``: the quantities are ``Σ directions · F`` of every geometry.

        Returns
        -------
        Tensor
            ``(P R, P R)`` in eV²/Å² (for directions without unit), those of one geometry together.

        Raises
        ------
        GeometryError
            When the shapes do not belong together.
        MemoryLimitError
            When the result, with two arrays of its size, does not fit into the memory left.
        """
        queries = self._directed(positions, directions)
        size = len(queries) * queries.n_motions
        needed = 8 * size * (WORKING_COPIES * size + self._system.operator.size)
        allowed = available_memory(positions.device)
        if needed > allowed:
            raise MemoryLimitError(
                f"A joint covariance of {size} forces needs {format_bytes(needed)}, but may use "
                f"{format_bytes(allowed)}. Ask for fewer geometries or directions."
            )
        solved = torch.empty(
            self._system.operator.size, size, dtype=positions.dtype, device=positions.device
        )
        done = 0
        for some in self._pieces(queries, extra=0):
            columns = self._cross.forces(some).flatten(0, 1).T
            solved[:, done : done + columns.shape[1]] = self._factor.half_solve(columns)
            done += columns.shape[1]
        covariance = self._cross.among(queries)
        covariance.addmm_(solved.T, solved, alpha=-1.0)
        return self._system.variance * 0.5 * (covariance + covariance.T)

    def _explained(self, columns: Tensor) -> Tensor:
        """Return ``K*ᵀ A⁻¹ K*`` of each of the queries, for ``(B, b, size)``."""
        n_queries, block, size = columns.shape
        solved = self._factor.half_solve(columns.view(-1, size).T)
        blocks = solved.T.reshape(n_queries, block, size)
        return blocks @ blocks.transpose(1, 2)

    def _pieces(self, queries: ReducedGeometries, extra: int) -> Iterator[ReducedGeometries]:
        """Split queries so that the right-hand sides of each piece fit into the memory."""
        step = max(1, self._chunk_columns // (queries.n_motions + extra))
        for start in range(0, len(queries), step):
            yield queries.subset(np.arange(start, min(start + step, len(queries))))

    def _directed(self, positions: Tensor, directions: Tensor) -> ReducedGeometries:
        """Return the geometries with these directions in place of their internal motions."""
        shape = tuple(positions.shape)
        expected = (shape[0], directions.shape[1], *shape[1:]) if directions.ndim == 4 else None
        if tuple(directions.shape) != expected:
            raise GeometryError(
                f"Expected directions of shape ({shape[0]}, R, {shape[1]}, 3) for positions "
                f"{shape}, got {tuple(directions.shape)}."
            )
        basis = directions.permute(0, 2, 3, 1).contiguous()
        return replace(self._system.queries(positions), basis=basis)


def standard_deviations(
    variances: Tensor, prior: Tensor, resolution: Tensor | float = 0.0
) -> Tensor:
    """Return the square roots of posterior variances; rounding may have made them negative.

    Parameters
    ----------
    variances
        Of any shape; those below zero by no more than :data:`ROUNDING` of the prior are taken for
        rounding.
    prior
        Prior variances, broadcasting against them.
    resolution
        What smaller variances, and those below zero, are replaced by.

    Raises
    ------
    IllConditionedError
        When one is further below zero, or is not a number.
    """
    floor = torch.as_tensor(resolution, dtype=variances.dtype, device=variances.device)
    relative = float(((variances + floor) / prior).min())
    if not relative >= -ROUNDING:
        raise IllConditionedError(
            f"A predictive variance came out at {relative:.1e} of its prior, but can only be "
            "positive: the system is too ill-conditioned for its exact uncertainty. Take the "
            "committee, or train with a larger regularization."
        )
    return torch.maximum(variances, floor).sqrt()
