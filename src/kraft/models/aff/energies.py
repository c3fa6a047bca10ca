"""The energy: a Gaussian process conditioned on training energies and on the forces at the query.

With the covariances ``A = K + λI`` of the training energies, ``b`` of the query's forces with them,
``R`` of its forces and ``c`` of its forces with its energy, the conditional mean and variance
(paper 001, eq. 12, appendices B and C) are, with ``A = L Lᵀ``, ``h = L⁻¹ (E - m)``,
``V = L⁻¹ bᵀ``, ``w = L⁻¹ k`` and the Schur complement ``D = R + λI - VᵀV``,

    Ê = m + wᵀh + gᵀ (F - Vᵀh),     g = D⁻¹ (c - Vᵀw),
    σ² [ k(x, x) + λ - wᵀw - gᵀ (c - Vᵀw) ].

The nugget in the variance is that of the energy to be compared with (eq. 11). The predicted forces
take the place of ``F``; their covariance ``Σ`` adds ``gᵀΣg`` to the variance.

A prior of constant mean knows nothing of the mean curvature of an energy surface, so that energies
far from all training geometries are too high by about ``½ δᵀHδ``; an offset, the mean error of
energies that were held out, takes away what is common to all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from kraft.core.errors import SolverError
from kraft.kernels.atom_energies import force_energy_covariances, own_covariances
from kraft.kernels.atom_geometries import (
    AtomGeometries,
    Distances,
    radial_factors,
    radial_values,
)
from kraft.kernels.radial import RadialKernel
from kraft.linalg.arrays import Array, tensor

CHUNK_ELEMENTS = 4_000_000
"""Squared distances that are held at once."""


class ConditionalEnergies(NamedTuple):
    """Energies of ``B`` queries given training energies and the queries' forces.

    Attributes
    ----------
    energies
        ``(B,)`` conditional means in eV.
    variances
        ``(B,)`` conditional variances in eV² for exactly known forces.
    gains
        ``(B, 3N)`` how the means depend on the forces, in Å.
    """

    energies: Tensor
    variances: Tensor
    gains: Tensor


@dataclass(frozen=True, eq=False)
class EnergyProcess:
    """The energies' Gaussian process, factorized; made by :meth:`fit`.

    Attributes
    ----------
    kernel, length_scale, regularization
        Radial kernel, range in 1/Å and nugget ``λ``.
    geometries
        The ``M`` training geometries.
    factor
        ``(M, M)`` Cholesky factor ``L``.
    residual
        ``(M,)`` ``L⁻¹ (E - m)`` in eV.
    mean, variance
        Maximum-likelihood mean in eV and variance in eV².
    offset
        What is added to every predicted energy, in eV: the mean error of those that were held out.
    """

    kernel: RadialKernel
    length_scale: float
    regularization: float
    geometries: AtomGeometries
    factor: Tensor
    residual: Tensor
    mean: float
    variance: float
    offset: float = 0.0

    @classmethod
    def fit(
        cls,
        kernel: RadialKernel,
        length_scale: float,
        regularization: float,
        geometries: AtomGeometries,
        energies: Tensor,
        offset: float = 0.0,
    ) -> EnergyProcess | None:
        """Factorize the covariance of the training energies; None where it is singular."""
        matrix = energy_covariance(geometries, kernel, length_scale)
        matrix.diagonal().add_(regularization)
        factor, info = torch.linalg.cholesky_ex(matrix)
        if int(info) != 0:
            return None
        both = torch.stack([torch.ones_like(energies), energies], dim=1)
        ones, whitened = torch.linalg.solve_triangular(factor, both, upper=False).unbind(1)
        mean = float(ones @ whitened / (ones @ ones))
        residual = whitened - mean * ones
        variance = float(residual.square().mean())
        return cls(
            kernel,
            length_scale,
            regularization,
            geometries,
            factor,
            residual,
            mean,
            variance,
            offset,
        )

    @property
    def log_likelihood(self) -> float:
        """Profile log likelihood of the energies, without constants."""
        size = len(self.residual)
        return -0.5 * size * math.log(self.variance) - float(self.factor.diagonal().log().sum())

    def conditional(
        self, queries: AtomGeometries, squared: Array, forces: Tensor
    ) -> ConditionalEnergies:
        """Return the energies of queries with these forces ``(B, N, 3)`` in eV/Å.

        ``squared`` are the unscaled squared distances ``(S, B, M)`` to the training geometries.

        Raises
        ------
        SolverError
            When the nugget is too small for a factorization.
        """
        count, width = len(forces), forces[0].numel()
        minus_first = radial_factors(self.kernel, self.length_scale, squared).minus_first
        mixed = tensor(force_energy_covariances(queries, self.geometries, minus_first))
        values = tensor(radial_values(self.kernel, self.length_scale, squared))
        own = own_covariances(queries, self.kernel, self.length_scale)
        rows = torch.cat([mixed, values[:, None]], dim=1)  # (B, 3N + 1, M)
        rows = torch.linalg.solve_triangular(
            self.factor.T, rows.flatten(0, 1), upper=True, left=False
        ).view(count, width + 1, -1)
        of_forces, of_energy = rows[:, :-1], rows[:, -1]
        predicted = rows @ self.residual
        schur = own.forces - of_forces @ of_forces.transpose(1, 2)
        schur.diagonal(dim1=1, dim2=2).add_(self.regularization)
        slope = own.mixed - (of_forces @ of_energy[:, :, None])[:, :, 0]
        lower, info = torch.linalg.cholesky_ex(schur)
        if bool((info != 0).any()):
            raise SolverError(
                "The covariance of the forces given the training energies is not positive definite "
                f"with the energies' nugget {self.regularization:.1e}. Choose a larger one."
            )
        gains = torch.cholesky_solve(slope[:, :, None], lower)[:, :, 0]
        surprise = forces.reshape(count, -1) - predicted[:, :-1]
        explained = of_energy.square().sum(dim=1) + (gains * slope).sum(dim=1)
        variances = own.energies + self.regularization - explained
        return ConditionalEnergies(
            self.offset + self.mean + predicted[:, -1] + (gains * surprise).sum(dim=1),
            self.variance * variances,
            gains,
        )


def energy_covariance(
    geometries: AtomGeometries, kernel: RadialKernel, length_scale: float
) -> Tensor:
    """Return the prior covariance ``(M, M)`` of the energies of geometries."""
    distances, count = Distances(geometries, geometries), len(geometries)
    matrix = tensor(geometries.values).new_empty(count, count)
    step = max(1, CHUNK_ELEMENTS // (count * len(geometries.permutations)))
    for start in range(0, count, step):
        rows = slice(start, min(start + step, count))
        matrix[rows] = tensor(radial_values(kernel, length_scale, distances.tile(rows)))
    return 0.5 * (matrix + matrix.T)
