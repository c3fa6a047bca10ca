"""What a choice of range and nugget is judged by: the profile likelihood, or an error of forces.

With its maximum-likelihood variance, a set of ``n`` labels ``F`` has the log likelihood (paper 001,
section II B; constants left out), with ``R`` its covariance,

    ℓ = -½ n log(σ̂²) - ½ log det(R + λI),     σ̂² = Fᵀ (R + λI)⁻¹ F / n,

and the sets are independent, so their likelihoods add. The lower a score the better: scores are
``-ℓ`` less the logarithm of a prior for a label, or mean absolute errors in eV/Å.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from kraft.kernels.atom_expansion import AtomExpansion
from kraft.kernels.atom_geometries import AtomGeometries, Distances, TileFactors, radial_factors
from kraft.kernels.atom_sets import AtomSet, AtomSetOperator
from kraft.kernels.radial import RadialKernel
from kraft.linalg.arrays import tensor
from kraft.linalg.panels import PanelCholesky
from kraft.models.aff.systems import AtomizedArrays, factorized, side_by_side

Criterion = Literal["likelihood", "validation", "leave-one-out"]

PRIOR_RANGE = 0.2
"""Exponent ``a`` of the jointly robust prior (Gu, Bayesian Anal. 14, 857, 2019)."""

NUGGET_CENTER, NUGGET_WIDTH = -9.0, 4.0
"""Mean and standard deviation of the prior of log10 of the relative nugget."""


@dataclass(frozen=True, eq=False)
class Held:
    """Geometries that were held out, and their forces ``(V, N, 3)``."""

    geometries: AtomGeometries
    forces: Tensor


class Objective:
    """The score of range and nugget on some geometries and some of the atom sets.

    Parameters
    ----------
    arrays
        Geometries to train on.
    kernel
        The radial kernel.
    criterion
        What the score is.
    chosen
        The atom sets that count; all when not given.
    held
        Geometries for ``"validation"``.
    """

    def __init__(
        self,
        arrays: AtomizedArrays,
        kernel: RadialKernel,
        criterion: Criterion,
        *,
        chosen: Sequence[int] | None = None,
        held: Held | None = None,
        keep: bool = True,
    ) -> None:
        self._arrays, self._kernel, self._criterion = arrays, kernel, criterion
        numbers = range(len(arrays.sets)) if chosen is None else chosen
        self._sets = [arrays.sets[number] for number in numbers]
        self._held, self._keep = held, keep
        self._tiles = arrays.tiles(keep=keep)
        self._cross = None if held is None else Distances(held.geometries, arrays.geometries).tile()
        self._spread = typical_distance(tensor(arrays.geometries.values))

    def __call__(self, length_scale: float, nugget: float) -> float:
        """Return the score; infinite where a covariance is singular."""
        relative_nugget = nugget / self._arrays.mean_diagonal(self._kernel, length_scale)
        factors = self._tiles.factors(self._kernel, length_scale, keep=self._keep)
        sizes = [self._arrays.n_train * atom_set.block_size for atom_set in self._sets]

        def work(atom_set: AtomSet, concurrent: bool) -> tuple[float, Tensor] | None:
            return self._solved(atom_set, factors, nugget, concurrent)

        results = side_by_side(work, self._sets, sizes, self._arrays.n_parallel)
        solved = [result for result in results if result is not None]
        if len(solved) < len(results):
            return math.inf
        if self._criterion == "validation":
            return self._validation_error(length_scale, [solution for _, solution in solved])
        score = sum(part for part, _ in solved)
        if self._criterion == "likelihood":
            score -= log_prior(self._spread / length_scale, relative_nugget, self._arrays.n_train)
        score /= sum(sizes)
        return score if math.isfinite(score) else math.inf

    def _solved(
        self, atom_set: AtomSet, factors: TileFactors, nugget: float, concurrent: bool
    ) -> tuple[float, Tensor] | None:
        """Return a set's share of the score and its coefficients."""
        arrays = self._arrays
        operator = AtomSetOperator(atom_set, arrays.geometries, factors, arrays.descriptor)
        factor = factorized(operator, nugget, concurrent=concurrent)
        if factor is None:
            return None
        labels = arrays.labels(atom_set)
        if self._criterion == "likelihood":
            return -profile_log_likelihood(factor, labels), labels
        solution = factor.solve(labels)
        if self._criterion == "validation":
            return 0.0, solution
        errors = leave_one_out_errors(factor, solution, atom_set.block_size)
        return float(errors.abs().sum()), solution

    def _validation_error(self, length_scale: float, solutions: list[Tensor]) -> float:
        if self._held is None or self._cross is None:
            raise AssertionError("no geometries were held out")
        coefficients = torch.zeros_like(self._arrays.forces)
        for atom_set, solution in zip(self._sets, solutions, strict=True):
            atoms = torch.as_tensor(atom_set.atoms)
            coefficients[:, atoms] = solution.view(len(coefficients), len(atoms), 3)
        sets = [atom_set.atoms for atom_set in self._arrays.sets]
        expansion = AtomExpansion(self._arrays.geometries, sets, coefficients)
        factors = radial_factors(self._kernel, length_scale, self._cross)
        forces = tensor(expansion(self._held.geometries, factors))
        counted = torch.cat([torch.as_tensor(atom_set.atoms) for atom_set in self._sets])
        error = float((forces - self._held.forces)[:, counted].abs().mean())
        return error if math.isfinite(error) else math.inf


def profile_log_likelihood(factor: PanelCholesky, labels: Tensor) -> float:
    """Return ``ℓ`` of labels ``(n,)``, with the factor of ``R + λI``."""
    variance = float(factor.half_solve(labels).square().mean())
    return -0.5 * len(labels) * math.log(variance) - 0.5 * factor.log_determinant()


def leave_one_out_errors(factor: PanelCholesky, solution: Tensor, block_size: int) -> Tensor:
    """Return the errors ``(M, b)`` at geometries left out one by one (`docs/theory.md`, eq. 12)."""
    inverse = factor.inverse()
    count = len(solution) // block_size
    blocks = inverse.view(count, block_size, count, block_size)
    own = torch.diagonal(blocks, dim1=0, dim2=2).permute(2, 0, 1)
    errors: Tensor = torch.linalg.solve(own, solution.view(count, block_size))
    return errors


def log_prior(inverse_range: float, relative_nugget: float, n_train: int) -> float:
    """Return the logarithm of the prior of range and nugget, which decides small samples only.

    With ``β`` the typical distance of two geometries over the range, it is the jointly robust prior
    ``(β + η)^a exp(-b (β + η))``, ``b = (a + 1)/M``, times a wide log-normal one of ``η``.

    Parameters
    ----------
    inverse_range
        ``β``.
    relative_nugget
        ``η``, relative to the mean prior variance.
    n_train
        ``M``.
    """
    joint = inverse_range + relative_nugget
    robust = PRIOR_RANGE * math.log(joint) - (PRIOR_RANGE + 1.0) / n_train * joint
    standardized = (math.log10(relative_nugget) - NUGGET_CENTER) / NUGGET_WIDTH
    return robust - 0.5 * standardized**2


def typical_distance(values: Tensor) -> float:
    """Return the median distance between the features of (some) geometries."""
    some = values[:: max(1, len(values) // 100)]
    if len(some) < 2:
        return 1.0
    return max(float(torch.pdist(some).median()), 1e-12)
