"""What a trained force field consists of: numbers, and a record of how they came about."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from kraft.core.errors import GeometryError, OptionError
from kraft.core.typing import FloatArray, IntArray
from kraft.data.geometry import pair_distances
from kraft.data.units import Units
from kraft.descriptors import FeatureMap, PairFeatures, checked_features
from kraft.descriptors.feature_functions import INVERSE
from kraft.kernels.radial import RadialKernel, radial_kernel
from kraft.models.uncertainty.calibration import Calibration
from kraft.symmetry.orbits import feature_permutations


@dataclass(frozen=True)
class Record:
    """Where a model comes from: kept in the model file, shown by the command line.

    Indices are those of the source file; fingerprints identify its content. ``converged`` is
    False for ever when the linear system was not solved as well as asked for; ``status``,
    ``iterations``, ``preconditioner``, ``rank`` and ``tolerance`` tell how it was solved (see
    :class:`kraft.solvers.SolveOutcome`; ``tolerance`` is None with a direct solver).
    """

    name: str = ""
    theory: str = ""
    source: str = ""
    source_fingerprint: str = ""
    train_indices: tuple[int, ...] = ()
    valid_indices: tuple[int, ...] = ()
    seed: int | None = None
    kraft_version: str = ""
    solver: str = ""
    relative_residual: float | None = None
    jitter: float = 0.0
    energy_offset_scatter: float | None = None
    valid_force_mae: float | None = None
    choice: str = ""
    converged: bool = True
    status: str = ""
    iterations: int = 0
    preconditioner: str = ""
    rank: int = 0
    tolerance: float | None = None

    @property
    def caution(self) -> str:
        """What a user of an unconverged model must know; empty for a converged one."""
        if self.converged:
            return ""
        residual = "unknown" if self.relative_residual is None else f"{self.relative_residual:.1e}"
        asked = "" if self.tolerance is None else f", {self.tolerance:.0e} was asked for"
        return (
            f"This model is unconverged: its linear system was solved to a relative residual of "
            f"{residual} only{asked} ({self.status or 'unknown'} after {self.iterations} "
            "iterations). Its errors may be larger than the data allow; train it to the end."
        )


@dataclass(frozen=True, eq=False)
class Parameters:
    """Everything that determines a force field's predictions, in eV and Å.

    Attributes
    ----------
    atomic_numbers
        ``(N,)``.
    permutations
        ``(S, N)`` permutation group of the atoms, the identity first.
    kernel
        Name of the radial kernel.
    length_scale
        In units of the features, 1/Å for inverse distances.
    regularization
        What was added to the diagonal of the kernel matrix.
    feature_weights
        ``(D,)`` weight of each feature, equal on the orbits of the group.
    training_descriptors
        ``(M, D)`` features of the training geometries, in 1/Å for inverse distances.
    feature_coefficients
        ``(M, D)`` coefficients ``J_j α_j``, with the Jacobian ``J`` of the features themselves; in
        eV/Å for inverse distances, whose Jacobian is in 1/Å².
    energy_coefficients
        ``(M,)`` coefficients ``ε_j`` of energy labels in eV, or None.
    energy_offset
        The integration constant ``c`` in eV.
    cell
        ``(3, 3)`` periodic cell in Å, rows are vectors, or None.
    training_positions, coefficients
        ``(M, N, 3)`` training geometries in Å and their coefficients ``α_j`` in eV Å, where known;
        a model imported from another program may lack them.
    energy_weight
        Weight ``w`` of the energy labels, whose regularization is ``λ / w²``, where there are any
        and it is known.
    units
        For display.
    record
        Where the model comes from.
    calibration
        Factors on the predicted standard deviations, or None.
    feature_mixing
        ``(D, D)`` symmetric matrix ``C`` that mixes the weighted features and commutes with the
        group (`docs/theory.md`, eq. 28); None for the identity.
    features
        ``(D,)`` the pairs of atoms kept, in ascending order, counted in that of
        ``numpy.triu_indices(N, 1)``, whole orbits of the group; None when they are all.
    feature_function
        Name of the function that makes features of distances.
    """

    atomic_numbers: IntArray
    permutations: IntArray
    kernel: str
    length_scale: float
    regularization: float
    feature_weights: FloatArray
    training_descriptors: FloatArray
    feature_coefficients: FloatArray
    energy_offset: float
    energy_coefficients: FloatArray | None = None
    cell: FloatArray | None = None
    training_positions: FloatArray | None = None
    coefficients: FloatArray | None = None
    energy_weight: float | None = None
    units: Units = field(default_factory=Units)
    record: Record = field(default_factory=Record)
    calibration: Calibration | None = None
    feature_mixing: FloatArray | None = None
    features: IntArray | None = None
    feature_function: str = INVERSE.name

    def __post_init__(self) -> None:
        checked_features(self.features, self.n_atoms)
        n_features = self.n_features
        expected = {
            "permutations": (len(self.permutations), self.n_atoms),
            "feature_weights": (n_features,),
            "training_descriptors": (self.n_train, n_features),
            "feature_coefficients": (self.n_train, n_features),
        }
        optional = {
            "energy_coefficients": (self.n_train,),
            "feature_mixing": (n_features, n_features),
            "cell": (3, 3),
            "training_positions": (self.n_train, self.n_atoms, 3),
            "coefficients": (self.n_train, self.n_atoms, 3),
        }
        expected |= {name: shape for name, shape in optional.items() if self._has(name)}
        for name, shape in expected.items():
            got = np.shape(getattr(self, name))
            if got != shape:
                raise GeometryError(
                    f"The model's {name} should have shape {shape} for {self.n_atoms} atoms and "
                    f"{self.n_train} training geometries, got {got}. The model is damaged."
                )
        if self.features is not None:
            feature_permutations(self.permutations, self.features)

    def _has(self, name: str) -> bool:
        return getattr(self, name) is not None

    @property
    def n_atoms(self) -> int:
        """Number of atoms ``N``."""
        return len(self.atomic_numbers)

    @property
    def n_pairs(self) -> int:
        """Number of pairs of atoms, ``N(N-1)/2``."""
        return self.n_atoms * (self.n_atoms - 1) // 2

    @property
    def n_features(self) -> int:
        """Number of features ``D``."""
        return self.n_pairs if self.features is None else len(self.features)

    def descriptor(self, device: torch.device | str = "cpu") -> PairFeatures:
        """Return what makes features of positions, on a device."""
        cell = None if self.cell is None else torch.tensor(self.cell, dtype=torch.float64)
        return PairFeatures(
            self.n_atoms,
            cell=cell,
            features=self.features,
            feature_function=self.feature_function,
            device=device,
        )

    @property
    def n_train(self) -> int:
        """Number of training geometries ``M``."""
        return len(self.training_descriptors)

    @property
    def n_permutations(self) -> int:
        """Number of permutations ``S``."""
        return len(self.permutations)

    @cached_property
    def radial_kernel(self) -> RadialKernel:
        """The radial kernel."""
        return radial_kernel(self.kernel)

    @cached_property
    def feature_permutations(self) -> IntArray:
        """``(S, D)`` action of the permutations on the features."""
        return feature_permutations(self.permutations, self.features)

    @cached_property
    def training_distances(self) -> FloatArray:
        """``(M, N(N-1)/2)`` distances of all pairs of atoms of the training geometries in Å.

        Raises
        ------
        OptionError
            When the model has neither the geometries nor the features of all pairs.
        """
        if self.features is None:
            function = self.descriptor().function
            distances: FloatArray = function.distance(self.training_descriptors)
            return distances
        if self.training_positions is None:
            raise OptionError(
                f"This model knows only {self.n_features} of the {self.n_pairs} distances of its "
                "training geometries, so other geometries cannot be compared with these. Switch "
                "the check of the order of atoms off (check_order=False), or train the model anew."
            )
        return pair_distances(self.training_positions, self.cell)

    @cached_property
    def feature_scale(self) -> FloatArray:
        """``(D,)`` factor from features to the kernel's scaled features."""
        return self.radial_kernel.scale(self.length_scale) * self.feature_weights

    @cached_property
    def feature_map(self) -> FeatureMap:
        """What makes the kernel's features of those of the descriptor."""
        return FeatureMap(self.feature_scale, self.feature_center, self.feature_mixing)

    @cached_property
    def feature_center(self) -> FloatArray:
        """``(D,)`` mean training features, averaged over the group so that it commutes with it."""
        return symmetric_mean(self.training_descriptors, self.feature_permutations)


def symmetric_mean(features: FloatArray, feature_permutations: IntArray) -> FloatArray:
    """Return the mean of ``(M, D)`` features over geometries and permutations, ``(D,)``.

    >>> symmetric_mean(np.array([[1.0, 2.0, 6.0]]), np.array([[0, 1, 2], [1, 0, 2]]))
    array([1.5, 1.5, 6. ])
    """
    mean: FloatArray = features.mean(axis=0)[feature_permutations].mean(axis=0)
    return mean


def descriptors_and_coefficients(
    positions: FloatArray,
    coefficients: FloatArray,
    cell: FloatArray | None,
    features: IntArray | None = None,
    feature_function: str = INVERSE.name,
) -> tuple[FloatArray, FloatArray]:
    """Return descriptors ``x_j`` and ``J_j α_j``, ``(M, D)`` each, of training geometries.

    ``features`` and ``feature_function`` as in :class:`Parameters`.
    """
    descriptor = PairFeatures(
        positions.shape[1],
        cell=None if cell is None else torch.tensor(cell),
        features=features,
        feature_function=feature_function,
    )
    evaluated = descriptor.evaluate(torch.tensor(positions))
    product = descriptor.jacobian_product(evaluated, torch.tensor(coefficients))
    return evaluated.values.numpy(), product.numpy()
