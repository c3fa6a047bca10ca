"""Predictive covariances of an atomized force field, exact for every set (paper 001, eq. 10).

With the Cholesky factor ``L`` of ``R + λI`` and the covariances ``R*`` of the forces of a query on
the atoms of a set with the training forces on them,

    cov(F*) = σ² (R** - WᵀW),     W = L⁻¹ R*,

and different sets are independent. The energy's variance is that for exactly known forces plus
``gᵀ cov(F*) g`` with its gains ``g`` (:mod:`kraft.models.aff.energies`; eq. 13 and appendix C).
"""

from __future__ import annotations

import torch
from torch import Tensor

from kraft.core.errors import MemoryLimitError, OptionError, SolverError
from kraft.core.memory import available_memory, format_bytes
from kraft.kernels.atom_energies import own_covariances
from kraft.kernels.atom_geometries import Distances, TileFactors, radial_factors
from kraft.kernels.atom_sets import AtomSet, AtomSetOperator
from kraft.linalg.arrays import tensor
from kraft.linalg.panels import PanelCholesky, panel_entries
from kraft.models.aff.evaluator import AtomizedEvaluator
from kraft.models.aff.parameters import AtomizedParameters
from kraft.models.aff.systems import AtomizedArrays, side_by_side
from kraft.models.uncertainty.base import Deviations, Direction, Method, UncertaintyOptions
from kraft.solvers import DenseCholesky

CHUNK_ELEMENTS = 4_000_000
"""Covariances of queries with the labels of a set that are held at once."""

AVAILABLE_SHARE = 0.7
"""Of the memory that the machine has left, where no limit is given."""

ROUNDING = 1e-8
"""A variance below minus this share of the prior one tells of a broken factorization."""


class AtomizedUncertainty:
    """Exact predictive deviations of an atomized force field.

    The factors of the sets are made at the first use. They are kept where they fit the memory, and
    made again for every call otherwise.

    Parameters
    ----------
    parameters
        The force field.
    options
        ``method`` must be ``"auto"`` or ``"exact"``; ``max_memory`` bounds the factors.
    device
        Where to compute.

    Raises
    ------
    OptionError
        When another method is asked for.
    MemoryLimitError
        When the factor of one set does not fit.
    """

    method: Method = "exact"
    direction: Direction = "exact"

    def __init__(
        self,
        parameters: AtomizedParameters,
        options: UncertaintyOptions = UncertaintyOptions(),  # noqa: B008
        device: torch.device | str = "cpu",
    ) -> None:
        if options.method not in ("auto", "exact"):
            raise OptionError(
                f"The uncertainty of an atomized force field is exact, not {options.method!r}: "
                "choose 'auto' or 'exact'."
            )
        self.parameters = parameters
        self.evaluator = AtomizedEvaluator(parameters, device, torch.float64)
        p, training = parameters, self.evaluator.training
        self._arrays = AtomizedArrays(
            self.evaluator.descriptor,
            training,
            torch.zeros(len(training), p.n_atoms, 3, dtype=torch.float64, device=device),
            tuple(AtomSet(atoms, p.permutations) for atoms in p.atom_sets),
            self.evaluator.weights,
            self.evaluator.center,
        )
        self._variances = [float(value) for value in p.set_variances]
        self.keeps_factors = self._check_memory(options.max_memory)
        self._factors: dict[int, PanelCholesky] = {}

    @property
    def description(self) -> str:
        """What it is and how it was made."""
        how = "kept" if self.keeps_factors else "made again for every call, to save memory"
        return (
            f"exact posterior of {len(self.parameters.atom_sets)} independent Gaussian processes, "
            f"one for each set of equivalent atoms; their factorizations are {how}"
        )

    def _check_memory(self, max_memory: int | None) -> bool:
        """Return whether all factors fit; raise where not even one does."""
        allowed = max_memory
        if allowed is None:
            allowed = int(AVAILABLE_SHARE * available_memory(self.evaluator.device))
        blocks = [atom_set.block_size for atom_set in self._arrays.sets]
        n_train = self.parameters.n_train
        kept = sum(8 * panel_entries(block * n_train, block) for block in blocks)
        largest = max(DenseCholesky.required_memory(block * n_train, block) for block in blocks)
        if largest > allowed:
            raise MemoryLimitError(
                f"The uncertainty of the largest atom set needs {format_bytes(largest)}, but may "
                f"use {format_bytes(allowed)}. Allow more memory (--max-memory)."
            )
        return kept + largest <= allowed

    def deviations(self, positions: Tensor) -> Deviations:
        """Return standard deviations of energies (eV) and force components (eV/Å).

        Parameters
        ----------
        positions
            ``(B, N, 3)`` in Å.

        Returns
        -------
        Deviations
            Without training energies, those of the energies are infinite.
        """
        covariances = self.covariances(positions)
        forces = torch.zeros_like(positions)
        for atom_set, covariance in zip(self._arrays.sets, covariances, strict=True):
            variances = torch.diagonal(covariance, dim1=1, dim2=2).clamp_min(0.0)
            atoms = torch.as_tensor(atom_set.atoms, device=positions.device)
            forces[:, atoms] = variances.sqrt().view(len(positions), len(atoms), 3)
        return Deviations(self._energy_deviations(positions, covariances), forces)

    def covariances(self, positions: Tensor) -> list[Tensor]:
        """Return the predictive covariance of every set's forces, ``(B, 3l, 3l)`` in eV²/Å².

        The components are those of the set's atoms in ascending order; ``x, y, z`` of each.
        """
        sizes = [len(self._arrays.geometries) * s.block_size for s in self._arrays.sets]
        tiles = self._arrays.tiles(keep=False)
        p = self.parameters
        shared = tiles.factors(p.radial_kernel, p.length_scale, keep=False)
        missing = self._arrays.n_parallel if len(self._factors) < len(sizes) else 1
        numbers = list(range(len(sizes)))
        if self.keeps_factors and missing > 1:
            side_by_side(
                lambda number, concurrent: self._factor(number, shared, concurrent),
                numbers,
                sizes,
                missing,
            )
        priors = self._priors(positions)
        return [self._covariance(number, shared, positions, priors[number]) for number in numbers]

    def _priors(self, positions: Tensor) -> list[Tensor]:
        """Return the prior covariance of every set's forces, ``(B, 3l, 3l)``, for ``σ² = 1``."""
        p = self.parameters
        parts: list[list[Tensor]] = [[] for _ in self._arrays.sets]
        per_query = (3 * p.n_atoms) * p.n_atoms * max(p.n_atoms, 18)
        for some in torch.split(positions, max(1, CHUNK_ELEMENTS // per_query)):
            queries = self.evaluator.geometries(some)
            whole = own_covariances(queries, p.radial_kernel, p.length_scale).forces
            for part, atom_set in zip(parts, self._arrays.sets, strict=True):
                atoms = torch.as_tensor(atom_set.atoms, device=positions.device)
                where = (3 * atoms[:, None] + torch.arange(3, device=positions.device)).reshape(-1)
                part.append(whole[:, where][:, :, where])
        return [torch.cat(part) for part in parts]

    def _factor(self, number: int, shared: TileFactors, concurrent: bool) -> PanelCholesky:
        """Return the Cholesky factor of ``R + λI`` of a set."""
        if number in self._factors:
            return self._factors[number]
        arrays, p = self._arrays, self.parameters
        operator = AtomSetOperator(
            arrays.sets[number], arrays.geometries, shared, arrays.descriptor
        )
        solver = DenseCholesky(concurrent=concurrent)
        factor = solver.prepare(operator, p.regularization).factor
        if self.keeps_factors:
            self._factors[number] = factor
        return factor

    def _covariance(
        self, number: int, shared: TileFactors, positions: Tensor, prior: Tensor
    ) -> Tensor:
        """Return the predictive covariance ``(B, 3l, 3l)`` of a set."""
        factor = self._factor(number, shared, False)
        p, atom_set = self.parameters, self._arrays.sets[number]
        training, size = self._arrays.geometries, atom_set.block_size
        columns = atom_set.columns(training)
        per_query = len(training) * max(size**2, len(p.permutations))
        parts = []
        for some in torch.split(positions, max(1, CHUNK_ELEMENTS // per_query)):
            queries = self.evaluator.geometries(some)
            squared = Distances(queries, training).tile()
            factors = radial_factors(p.radial_kernel, p.length_scale, squared)
            cross = atom_set.tile(queries, columns, factors).reshape(len(some) * size, -1)
            half = factor.half_solve_rows(tensor(cross)).view(len(some), size, -1)
            parts.append(half @ half.transpose(1, 2))
        posterior = prior - torch.cat(parts)
        _check(posterior, prior, atom_set)
        return self._variances[number] * posterior

    def _energy_deviations(self, positions: Tensor, covariances: list[Tensor]) -> Tensor:
        """Return the deviations of the energies, with those of the predicted forces in them."""
        if self.evaluator.energy_process is None:
            return torch.full_like(positions[:, 0, 0], torch.inf)
        variances, gains = [], []
        for some in torch.split(positions, self.evaluator.chunk):
            query = self.evaluator.query(some)
            conditional = self.evaluator.conditional_energies(query)
            variances.append(conditional.variances)
            gains.append(conditional.gains.view(len(some), -1, 3))
        total, gain = torch.cat(variances).clamp_min(0.0), torch.cat(gains)
        for atom_set, covariance in zip(self._arrays.sets, covariances, strict=True):
            atoms = torch.as_tensor(atom_set.atoms, device=positions.device)
            own = gain[:, atoms].flatten(1)
            spread = torch.einsum("bi,bij,bj->b", own, covariance, own)
            total = total + spread.clamp_min(0.0)
        return total.sqrt()


def _check(posterior: Tensor, prior: Tensor, atom_set: AtomSet) -> None:
    """Raise where a variance is negative beyond rounding."""
    ratio = torch.diagonal(posterior, dim1=1, dim2=2) / torch.diagonal(prior, dim1=1, dim2=2)
    if bool((ratio < -ROUNDING).any()):
        raise SolverError(
            f"A predictive variance of atoms {atom_set.atoms.tolist()} is negative, "
            f"{float(ratio.min()):.1e} of the prior one: the covariance is too ill-conditioned. "
            "Train with a shorter range or a larger nugget."
        )
