"""What an atomized force field consists of: numbers, and a record of how they came about."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch

from kraft.core.errors import GeometryError
from kraft.core.typing import FloatArray, IntArray
from kraft.data.units import Units
from kraft.descriptors import FeatureMap, InverseDistances
from kraft.kernels.radial import RadialKernel, radial_kernel
from kraft.models.parameters import Record, symmetric_mean
from kraft.symmetry.orbits import atom_orbits, feature_permutations

if TYPE_CHECKING:
    from kraft.models.uncertainty.calibration import Calibration


@dataclass(frozen=True, eq=False)
class AtomizedParameters:
    """Everything that determines an atomized force field's predictions, in eV and Å.

    Attributes
    ----------
    atomic_numbers
        ``(N,)``.
    permutations
        ``(S, N)`` permutation group of the atoms, the identity first; its orbits are the sets.
    kernel
        Name of the radial kernel.
    length_scale
        Range of the forces' kernel in units of the descriptor, 1/Å, the same for all sets.
    regularization
        Nugget: what was added to the diagonals of the force covariances, the same for all sets.
    feature_weights
        ``(D,)`` weight of each feature, equal on the orbits of the group.
    training_positions
        ``(M, N, 3)`` training geometries in Å.
    coefficients
        ``(M, N, 3)`` coefficients ``α`` in eV Å: those of an atom belong to the system of its set.
    set_variances
        ``(L,)`` maximum-likelihood variance of each set in eV² (paper 001, after eq. 7).
    training_energies
        ``(M,)`` in eV, or None when the data have none.
    energy_length_scale, energy_regularization
        Range and nugget of the energies' kernel.
    energy_mean, energy_variance
        Maximum-likelihood mean (eV) and variance (eV²) of the energy; the variance is None without
        energies.
    energy_offset
        What is added to every predicted energy, in eV.
    cell
        ``(3, 3)`` periodic cell in Å, rows are vectors, or None.
    units
        For display.
    record
        Where the model comes from.
    calibration
        Scale of the predictive standard deviations, fitted on validation data, or None.
    """

    atomic_numbers: IntArray
    permutations: IntArray
    kernel: str
    length_scale: float
    regularization: float
    feature_weights: FloatArray
    training_positions: FloatArray
    coefficients: FloatArray
    set_variances: FloatArray
    training_energies: FloatArray | None = None
    energy_length_scale: float = 1.0
    energy_regularization: float = 0.0
    energy_mean: float = 0.0
    energy_variance: float | None = None
    energy_offset: float = 0.0
    cell: FloatArray | None = None
    units: Units = field(default_factory=Units)
    record: Record = field(default_factory=Record)
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        n_atoms, n_train = self.n_atoms, self.n_train
        expected = {
            "permutations": (len(self.permutations), n_atoms),
            "feature_weights": (n_atoms * (n_atoms - 1) // 2,),
            "training_positions": (n_train, n_atoms, 3),
            "coefficients": (n_train, n_atoms, 3),
            "set_variances": (len(self.atom_sets),),
        }
        optional = {"training_energies": (n_train,), "cell": (3, 3)}
        expected |= {k: v for k, v in optional.items() if getattr(self, k) is not None}
        for name, shape in expected.items():
            got = np.shape(getattr(self, name))
            if got != shape:
                raise GeometryError(
                    f"The model's {name} should have shape {shape} for {n_atoms} atoms and "
                    f"{n_train} training geometries, got {got}. The model is damaged."
                )

    @property
    def n_atoms(self) -> int:
        """Number of atoms ``N``."""
        return len(self.atomic_numbers)

    @property
    def n_train(self) -> int:
        """Number of training geometries ``M``."""
        return len(self.training_positions)

    @property
    def n_permutations(self) -> int:
        """Number of permutations ``S``."""
        return len(self.permutations)

    @property
    def has_energies(self) -> bool:
        """Whether energies are predicted; without them they are not known at all."""
        return self.training_energies is not None

    @cached_property
    def atom_sets(self) -> tuple[IntArray, ...]:
        """The sets of permutationally equivalent atoms, each sorted, by smallest atom."""
        return atom_orbits(self.permutations)

    @cached_property
    def radial_kernel(self) -> RadialKernel:
        """The radial kernel."""
        return radial_kernel(self.kernel)

    @cached_property
    def feature_permutations(self) -> IntArray:
        """``(S, D)`` action of the permutations on the features."""
        return feature_permutations(self.permutations)

    @cached_property
    def feature_scale(self) -> FloatArray:
        """``(D,)`` factor from features to the scaled features of the forces' kernel."""
        return self.radial_kernel.scale(self.length_scale) * self.feature_weights

    @cached_property
    def energy_feature_scale(self) -> FloatArray:
        """``(D,)`` factor from features to the scaled features of the energies' kernel."""
        return self.radial_kernel.scale(self.energy_length_scale) * self.feature_weights

    def descriptor(self, device: torch.device | str = "cpu") -> InverseDistances:
        """Return what makes features of positions, on a device: always all inverse distances."""
        cell = None if self.cell is None else torch.tensor(self.cell, dtype=torch.float64)
        return InverseDistances(self.n_atoms, cell=cell, device=device)

    @cached_property
    def training_descriptors(self) -> FloatArray:
        """``(M, D)`` inverse distances of the training geometries in 1/Å."""
        positions = torch.tensor(self.training_positions)
        values: FloatArray = self.descriptor().values(positions).numpy()
        return values

    @property
    def training_distances(self) -> FloatArray:
        """``(M, D)`` distances of all pairs of atoms of the training geometries in Å."""
        return 1.0 / self.training_descriptors

    @cached_property
    def feature_map(self) -> FeatureMap:
        """What makes the features of the forces' kernel of those of the descriptor."""
        return FeatureMap(self.feature_scale, self.feature_center)

    @cached_property
    def feature_center(self) -> FloatArray:
        """``(D,)`` mean training features, averaged over the group so that it commutes with it."""
        return symmetric_mean(self.training_descriptors, self.feature_permutations)
