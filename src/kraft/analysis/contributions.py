"""What every atom contributes to a prediction (paper 000, figure 5; paper 003, eqs. 2 and 3).

A force field of sGDML is a linear combination of functions of pairs of atoms, with the feature
coefficients ``v_j`` of the training geometries. Split these by atoms, ``v_j = Σ_k v_j^k``, and a
*partial evaluation* of the model, with the part of one atom only, is the contribution of that atom
to the energy and to the forces on all atoms (`docs/theory.md`, eq. 9):

    E_k = Σ_{j,q} first δᵀ v_j^k,     F^k = Jᵀ Σ_{j,q} P_q [-first v_j^k - second (δᵀ v_j^k) δ],

where ``k`` is the atom of the query that the permutation ``q`` brings to the place of the training
geometry's atom. There are two ways to split. ``"pairs"`` gives either atom of a pair half of its
coefficient. ``"coefficients"`` takes ``v_j^k = J_j α_j^k`` with the coefficients of the training
forces on atom ``k`` only, as paper 003 does; where a group of atoms moves as a whole, its parts are
huge and cancel. Contributions add up to the prediction, each ``F^k`` is the negative gradient of
its ``E_k``, and they go with the atoms when the molecule is turned or like atoms change places.

For one geometry and all atoms this takes about 34 operations a training geometry, permutation and
feature (6 for energies alone), where a prediction takes 8: ``δᵀ v_j^k`` of all atoms together
costs twice ``δᵀ v_j``, since ``v_j^k`` touches the features of atom ``k`` only, and ``Jᵀ z_j``
is formed first, so that the sums over ``j`` run over ``3N`` numbers, not over ``D``. Where the
metric mixes features by a matrix ``C``, ``δᵀ C v_j^k`` is ``(C δ)ᵀ v_j^k``, so all this stays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from kraft.analysis.atom_coefficients import PairMatrices, atom_coefficients, pair_coefficients
from kraft.core.errors import DataError, OptionError
from kraft.core.progress import Progress, silent
from kraft.core.typing import FloatArray
from kraft.kernels.radial import RadialKernel
from kraft.models.evaluator import Evaluator
from kraft.models.force_field import ForceField
from kraft.models.prediction import Prediction
from kraft.models.query import checked_positions, not_finite

TILE_ELEMENTS = 200_000
"""Projections ``δᵀ v_j^k`` held at once: permuted queries times training geometries times atoms."""

STAGE = "contributions"

Partition = Literal["pairs", "coefficients"]

_PARTITIONS = {"pairs": pair_coefficients, "coefficients": atom_coefficients}


@dataclass(frozen=True, eq=False)
class AtomContributions:
    """Contributions of every atom to predictions; shapes without ``B`` for a single geometry.

    Attributes
    ----------
    energies
        ``(B, N)`` contributions to the energies in eV; they add up to the energy less
        ``energy_offset``.
    forces
        ``(B, N, N, 3)`` contributions to the forces in eV/Å, or None where they were not asked
        for: ``forces[b, k, l]`` is what atom ``k`` contributes to the force on atom ``l``.
    energy_offset
        The integration constant in eV, which belongs to no atom.
    """

    energies: FloatArray
    forces: FloatArray | None
    energy_offset: float

    @property
    def prediction(self) -> Prediction:
        """What the contributions add up to, as :meth:`kraft.ForceField.predict` returns it.

        Raises
        ------
        OptionError
            When the contributions to forces were not asked for.
        """
        energies: FloatArray = self.energies.sum(axis=-1) + self.energy_offset
        return Prediction(energies, self._known_forces.sum(axis=-3))

    @property
    def force_norms(self) -> FloatArray:
        """``(B, N, N)`` norms of the contributions to forces, ``F_l^k`` of paper 003, eq. 3.

        Entry ``[b, k, l]`` in eV/Å is how much atom ``k`` contributes to the force on atom ``l``.
        """
        norms: FloatArray = np.linalg.norm(self._known_forces, axis=-1)
        return norms

    @property
    def strengths(self) -> FloatArray:
        """``(B, N)`` norm of what each atom contributes to the forces on all atoms, in eV/Å."""
        strengths: FloatArray = np.linalg.norm(self._known_forces, axis=(-2, -1))
        return strengths

    @property
    def _known_forces(self) -> FloatArray:
        if self.forces is None:
            raise OptionError(
                "Contributions to forces were not computed. Ask for them with forces=True."
            )
        return self.forces


def atom_contributions(
    force_field: ForceField,
    positions: ArrayLike,
    *,
    partition: Partition = "pairs",
    forces: bool = True,
    progress: Progress = silent,
) -> AtomContributions:
    """Split predictions into the contributions of the atoms.

    Terms of energy labels, where a model was trained with any, belong to the molecule as a whole;
    every atom gets an equal share of them.

    Parameters
    ----------
    force_field
        An sGDML model. Contributions are computed in float64 on its device.
    positions
        ``(N, 3)`` one geometry or ``(B, N, 3)`` many, in Å.
    partition
        How the model is split: ``"pairs"``, every feature half to either atom of its pair, or
        ``"coefficients"``, by the training forces that coefficients belong to (paper 003, eq. 2).
    forces
        Whether contributions to forces are computed, which takes most of the time.
    progress
        Told about geometries.

    Raises
    ------
    GeometryError
        When the shape does not fit the molecule, a position is not finite or atoms coincide.
    OptionError
        When the model is an atomized one, which has no global coefficients, or the partition is
        unknown or needs coefficients that the model does not hold.
    """
    if partition not in _PARTITIONS:
        known = ", ".join(_PARTITIONS)
        raise OptionError(f"Unknown partition {partition!r}; choose one of {known}.")
    evaluator = force_field.evaluator
    if not isinstance(evaluator, Evaluator):
        raise OptionError(
            f"An {force_field.kind.label} model consists of one model for each set of equivalent "
            "atoms; contributions to its energy are not defined. Train an sGDML model."
        )
    array = checked_positions(positions, len(force_field.atomic_numbers))
    batch = array.reshape(-1, *array.shape[-2:])
    n_geometries, n_atoms, _ = batch.shape
    energies = np.empty((n_geometries, n_atoms))
    of_forces = np.empty((n_geometries, n_atoms, n_atoms, 3)) if forces else None
    with torch.inference_mode():
        expansion = _Expansion(evaluator, partition)
        for start in range(0, n_geometries, expansion.n_queries):
            progress(STAGE, start, n_geometries)
            some = slice(start, start + expansion.n_queries)
            part = expansion(torch.from_numpy(batch[some]).to(force_field.device), forces)
            energies[some] = part.energies.cpu().numpy()
            if of_forces is not None and part.forces is not None:
                of_forces[some] = part.forces.cpu().numpy()
    progress(STAGE, n_geometries, n_geometries)
    finite = np.isfinite(energies).all(axis=1)
    if not finite.all():
        raise not_finite(batch, int(np.argmin(finite)))
    shape = array.shape[:-2]
    return AtomContributions(
        energies.reshape(*shape, n_atoms),
        None if of_forces is None else of_forces.reshape(*shape, n_atoms, n_atoms, 3),
        evaluator.parameters.energy_offset,
    )


def energy_shares(energies: ArrayLike) -> FloatArray:
    """Return which share of the changes of the energy over some geometries each atom has.

    With the contributions ``E_k`` and their sum ``E``, the share of atom ``k`` is
    ``cov(E_k, E) / var(E)``. Shares add up to one; one may be negative, where an atom's
    contribution falls when the energy rises.

    Parameters
    ----------
    energies
        ``(B, N)`` contributions, of at least two geometries.

    Raises
    ------
    DataError
        When there are fewer than two geometries or their energies are all the same.

    Examples
    --------
    >>> energy_shares([[0.0, 0.0, 1.0], [3.0, 1.0, 1.0]])
    array([0.75, 0.25, 0.  ])
    """
    values = np.asarray(energies, dtype=np.float64)
    if values.ndim != 2 or len(values) < 2:
        raise DataError(
            f"Expected contributions (B, N) of at least two geometries, got shape {values.shape}."
        )
    centered = values - values.mean(axis=0)
    total = centered.sum(axis=1)
    variance = float(total @ total)
    if variance == 0.0:
        raise DataError("The energies of all geometries are the same: there is no change to share.")
    shares: FloatArray = total @ centered / variance
    return shares


def participation(changes: ArrayLike) -> float:
    """Return how many atoms take part in a change: ``(Σ|c_k|)² / Σ c_k²`` of ``(N,)`` changes.

    One when a single atom changes, ``N`` when all do alike.

    >>> participation([2.0, -2.0, 0.0])
    2.0
    """
    values = np.abs(np.asarray(changes, dtype=np.float64))
    squares = float(values @ values)
    return float(values.sum()) ** 2 / squares if squares > 0.0 else 0.0


class _Parts(NamedTuple):
    energies: Tensor  # (B, N)
    forces: Tensor | None  # (B, N, N, 3)


class _Operands(NamedTuple):
    """What some of the training geometries bring to the matrix products."""

    features: Tensor  # (M, D) z_j
    squares: Tensor  # (M,) their squared norms
    matrices: Tensor  # (N, M, N) C z_j by atoms
    coefficients: Tensor  # (N, M, N) the parts v_j^k of the atoms, of features that do not mix
    offsets: Tensor  # (N, M) C z_j · v_j^k
    epsilon: Tensor | None  # (M,) coefficients of energy labels, of one atom

    def chunk(self, some: slice) -> _Operands:
        """Return the operands of some of these training geometries."""
        return _Operands(
            self.features[some],
            self.squares[some],
            self.matrices[:, some],
            self.coefficients[:, some],
            self.offsets[:, some],
            None if self.epsilon is None else self.epsilon[some],
        )


class _Expansion:
    """The kernel expansion of a force field, split by atoms, without the constant."""

    def __init__(self, evaluator: Evaluator, partition: Partition) -> None:
        parameters, device = evaluator.parameters, evaluator.device
        self._kernel = parameters.radial_kernel
        self._descriptor = evaluator.descriptor
        self._matrices = PairMatrices(evaluator.descriptor)
        self._permutations = torch.as_tensor(parameters.permutations, device=device)
        self._inverses = torch.argsort(self._permutations, dim=1)
        self._map = evaluator.feature_map
        mixing = self._map.mixing
        self._metric: Tensor | None = None if mixing is None else mixing @ mixing
        described = torch.tensor(parameters.training_descriptors, device=device)
        features = self._map.values(described)
        by_atom = _PARTITIONS[partition](parameters, self._descriptor)
        by_atom *= self._matrices.symmetric(self._map.scale[None])
        epsilon = parameters.energy_coefficients
        matrices = self._matrices.symmetric(self._map.mixed(features))
        self._operands = _Operands(
            features,
            features.square().sum(dim=1),
            matrices.transpose(0, 1).contiguous(),
            by_atom.transpose(0, 1).contiguous(),
            (matrices * by_atom).sum(dim=2).T.contiguous(),
            None if epsilon is None else torch.tensor(epsilon / parameters.n_atoms, device=device),
        )
        n_train, n_permutations = parameters.n_train, parameters.n_permutations
        copies = max(1, TILE_ELEMENTS // (parameters.n_atoms * min(n_train, 256)))
        self.n_queries = max(1, copies // n_permutations)
        tile = self.n_queries * n_permutations * parameters.n_atoms
        self._n_columns = min(n_train, max(16, TILE_ELEMENTS // tile))

    def __call__(self, positions: Tensor, forces: bool) -> _Parts:
        """Return the contributions at ``(B, N, 3)``, those to forces if asked for."""
        n_queries, n_atoms, _ = positions.shape
        copies = positions[:, self._permutations]  # (B, S, N, 3)
        found = self._descriptor.evaluate(copies.reshape(-1, n_atoms, 3))
        values = self._map.values(found.values)
        gradients = found.gradients * self._map.scale[:, None]
        slopes = self._matrices.directed(gradients, -gradients)
        mixed = self._matrices.symmetric(self._map.mixed(values))
        tile = _Tile(self._kernel, values, mixed, slopes)
        for start in range(0, len(self._operands.features), self._n_columns):
            training = self._operands.chunk(slice(start, start + self._n_columns))
            tile.add(training, forces=forces)
        energies = self._restored(tile.energies.T.reshape(n_queries, -1, n_atoms))
        if not forces:
            return _Parts(energies, None)
        metric = self._metric  # of the features, where they mix
        own = tile.pulls() if metric is None else self._mixed_pulls(tile, gradients, metric)
        of_forces = (tile.forces() + own).reshape(n_queries, -1, n_atoms, n_atoms, 3)
        return _Parts(energies, self._restored(of_forces))

    def _mixed_pulls(self, tile: _Tile, gradients: Tensor, metric: Tensor) -> Tensor:
        """Return what :meth:`_Tile.pulls` does where the part of an atom acts on all features."""
        weights = self._matrices.features(tile.own.transpose(0, 1)) @ metric  # (T, N, D)
        pulls = weights.unsqueeze(3) * gradients.unsqueeze(1)
        forces: Tensor = pulls.new_zeros(*weights.shape[:2], self._descriptor.n_atoms, 3)
        forces.index_add_(2, self._descriptor.first_atoms, pulls, alpha=-1.0)
        forces.index_add_(2, self._descriptor.second_atoms, pulls)
        return forces

    def _restored(self, parts: Tensor) -> Tensor:
        """Sum ``(B, S, N)`` or ``(B, S, N, N, 3)`` over permuted copies, each atom in its place."""
        total = torch.zeros_like(parts[:, 0])
        for index, inverse in enumerate(self._inverses):
            part = parts[:, index].index_select(1, inverse)
            total += part if part.ndim == 2 else part.index_select(2, inverse)
        return total


class _Tile:
    """A few (permuted) geometries, and what they have gathered from training geometries.

    Shapes: ``T`` geometries, ``m`` training geometries at once.

    Parameters
    ----------
    kernel
        The radial kernel.
    values, matrices
        ``(T, D)`` kernel features ``z``, and ``C z`` as matrices ``(T, N, N)``.
    slopes
        ``(T, N, N, 3)`` derivatives of the scaled features by the position of the first atom.
    """

    def __init__(
        self, kernel: RadialKernel, values: Tensor, matrices: Tensor, slopes: Tensor
    ) -> None:
        self._kernel = kernel
        self._values = values  # (T, D)
        self._squares = values.square().sum(dim=1)
        self._matrices = matrices.transpose(0, 1).contiguous()  # (N, T, N)
        # (N, N, T, 3): derivatives of the feature of a and b by the position of a
        self._slopes = slopes.permute(1, 2, 0, 3).contiguous()
        n_atoms, n_geometries = self._matrices.shape[:2]
        self.energies = values.new_zeros(n_atoms, n_geometries)
        self.own = slopes.new_zeros(n_atoms, n_geometries, n_atoms)  # Σ_j first v_j^k, without C
        self._weights = slopes.new_zeros(n_atoms, n_geometries)  # Σ_j second δᵀv_j^k
        self._moved = slopes.new_zeros(n_geometries, n_atoms, 3 * n_atoms)

    def add(self, training: _Operands, *, forces: bool) -> None:
        """Add what some training geometries bring, by matrix products."""
        squared = self._squares[:, None] + training.squares
        squared = torch.addmm(squared, self._values, training.features.T, alpha=-2.0)
        first = self._kernel.derivative(1, squared)
        projections = self._matrices @ training.coefficients.transpose(1, 2)  # (N, T, m)
        projections -= training.offsets[:, None]
        self.energies += (projections * first).sum(dim=2)
        epsilon = training.epsilon
        if epsilon is not None:
            self.energies += self._kernel.derivative(0, squared) @ epsilon
        if not forces:
            return
        projections *= self._kernel.derivative(2, squared)
        if epsilon is not None:
            projections += first * epsilon
        self.own += first @ training.coefficients
        self._weights += projections.sum(dim=2)
        n_atoms, n_geometries, n_columns = projections.shape
        moved = training.matrices @ self._slopes.reshape(n_atoms, n_atoms, -1)  # Jᵀz_j, (N, m, 3T)
        moved = moved.reshape(n_atoms, n_columns, n_geometries, 3).permute(2, 1, 0, 3)
        moved = moved.reshape(n_geometries, n_columns, 3 * n_atoms)
        self._moved.baddbmm_(projections.transpose(0, 1), moved)

    def forces(self) -> Tensor:
        """Return contributions to forces, ``(T, N, N, 3)``, without the :meth:`pulls`."""
        n_atoms, n_geometries, _ = self.own.shape
        own_motion = torch.einsum("abtc,atb->tac", self._slopes, self._matrices)  # Jᵀz
        result = self._moved.reshape(n_geometries, n_atoms, n_atoms, 3)
        result -= self._weights.T[:, :, None, None] * own_motion[:, None]
        return result

    def pulls(self) -> Tensor:
        """Return ``-Jᵀ Σ_j first v_j^k``, ``(T, N, N, 3)``, where features do not mix."""
        pulls = self._slopes * self.own.transpose(1, 2).unsqueeze(-1)  # (N, N, T, 3)
        result = pulls.permute(2, 0, 1, 3).clone()
        atoms = torch.arange(len(pulls), device=result.device)
        result[:, atoms, atoms] -= pulls.sum(dim=1).transpose(0, 1)
        return result
