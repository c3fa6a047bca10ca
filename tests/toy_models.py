"""Force fields with random parameters, and their energy evaluated the slow, differentiable way."""

from __future__ import annotations

import numpy as np
import torch
from kernel_cases import random_mixing
from molecules import WATER, Molecule, pair_potential
from torch import Tensor

from kraft.core.typing import FloatArray, IntArray
from kraft.data import Dataset
from kraft.descriptors import PairFeatures
from kraft.models import ForceField
from kraft.models.aff.parameters import AtomizedParameters
from kraft.models.parameters import Parameters, descriptors_and_coefficients
from kraft.symmetry.orbits import atom_orbits, feature_orbits, feature_permutations


def toy_parameters(
    molecule: Molecule,
    *,
    kernel: str = "matern52",
    n_train: int = 4,
    energies: bool = False,
    cell: np.ndarray | None = None,
    weighted: bool = False,
    features: IntArray | None = None,
    feature_function: str = "inverse",
    mixes: bool = False,
    seed: int = 0,
) -> Parameters:
    """Return random coefficients on random geometries: a force field that means nothing."""
    rng = np.random.default_rng(seed)
    positions = molecule.frames(n_train, seed=seed)
    coefficients = rng.normal(size=positions.shape)
    descriptors, products = descriptors_and_coefficients(
        positions, coefficients, cell, features, feature_function
    )
    weights = np.ones(descriptors.shape[1])
    if weighted:
        for index, orbit in enumerate(feature_orbits(molecule.permutations, features)):
            weights[orbit] = (1.0, 0.0, 2.0)[index % 3]
    mixing = None
    if mixes:
        mixing = random_mixing(feature_permutations(molecule.permutations, features)).numpy()
    return Parameters(
        atomic_numbers=molecule.atomic_numbers,
        permutations=molecule.permutations,
        kernel=kernel,
        length_scale=1.3,
        regularization=1e-10,
        feature_weights=weights,
        training_descriptors=descriptors,
        feature_coefficients=products,
        energy_offset=-7.5,
        energy_coefficients=rng.normal(size=n_train) if energies else None,
        cell=cell,
        training_positions=positions,
        coefficients=coefficients,
        features=features,
        feature_function=feature_function,
        feature_mixing=mixing,
    )


def toy_force_field(molecule: Molecule, **options) -> ForceField:
    return ForceField(toy_parameters(molecule, **options))


def toy_atomized_parameters(
    molecule: Molecule = WATER, *, n_train: int = 4, energies: bool = True, seed: int = 0
) -> AtomizedParameters:
    """Return an atomized force field with random coefficients, that means nothing."""
    rng = np.random.default_rng(seed)
    positions = molecule.frames(n_train, seed=seed)
    n_sets = len(atom_orbits(molecule.permutations))
    n_features = molecule.n_atoms * (molecule.n_atoms - 1) // 2
    return AtomizedParameters(
        atomic_numbers=molecule.atomic_numbers,
        permutations=molecule.permutations,
        kernel="matern52",
        length_scale=1.3,
        regularization=1e-6,
        feature_weights=np.ones(n_features),
        training_positions=positions,
        coefficients=rng.normal(size=positions.shape),
        set_variances=rng.uniform(1.0, 2.0, size=n_sets),
        training_energies=rng.normal(size=n_train) if energies else None,
        energy_length_scale=1.7,
        energy_regularization=1e-8,
        energy_mean=-7.5 if energies else 0.0,
        energy_offset=0.25 if energies else 0.0,
        energy_variance=2.5 if energies else None,
    )


def slow_energy(parameters: Parameters, positions: Tensor) -> Tensor:
    """Return the energy of positions ``(N, 3)`` by explicit sums over geometries and permutations.

    The energy is ``c + Σ_{j,q} [cov(E, F_j) α_j + k ε_j]``, the covariance of the energy with the
    force labels of geometry ``j`` being the derivative of the kernel by its positions.
    """
    cell = None if parameters.cell is None else torch.tensor(parameters.cell)
    options = {"features": parameters.features, "feature_function": parameters.feature_function}
    descriptor = PairFeatures(parameters.n_atoms, cell=cell, **options)
    scale = torch.tensor(parameters.feature_scale)
    kernel = parameters.radial_kernel
    query = descriptor.values(positions[None])[0]
    total = torch.tensor(parameters.energy_offset, dtype=torch.float64)
    for atoms in torch.as_tensor(parameters.permutations):
        query = descriptor.values(positions[atoms][None])[0]
        for j in range(parameters.n_train):

            def covariance(geometry: Tensor, query: Tensor = query) -> Tensor:
                delta = scale * (query - descriptor.values(geometry[None])[0])
                if parameters.feature_mixing is not None:
                    delta = torch.tensor(parameters.feature_mixing) @ delta
                return kernel.derivative(0, delta @ delta)

            at, along = (
                torch.tensor(array[j])
                for array in (parameters.training_positions, parameters.coefficients)
            )
            total = total - torch.func.jvp(covariance, (at,), (along,))[1]
            if parameters.energy_coefficients is not None:
                total = total + parameters.energy_coefficients[j] * covariance(at)
    return total


def feature_energy(
    parameters: Parameters, values: Tensor, kept: FloatArray | float = 1.0
) -> Tensor:
    """Return the energy as a function of the features ``(D,)``, less the constant.

    ``kept`` ``(D,)`` multiplies the differences of kernel features.
    """
    scale, kernel = torch.tensor(parameters.feature_scale), parameters.radial_kernel
    mixing = torch.tensor(np.diag(np.ones(parameters.n_features) * kept))
    if parameters.feature_mixing is not None:
        mixing = torch.tensor(parameters.feature_mixing) @ mixing
    trained, products = (
        torch.tensor(array)
        for array in (parameters.training_descriptors, parameters.feature_coefficients)
    )
    total = torch.zeros((), dtype=torch.float64)
    for order in torch.as_tensor(parameters.feature_permutations):
        delta = (scale * (values[order] - trained)) @ mixing
        squared = delta.square().sum(dim=1)
        moved = (scale * products) @ mixing
        total = total + (kernel.derivative(1, squared) * (delta * moved).sum(dim=1)).sum()
        if parameters.energy_coefficients is not None:
            epsilon = torch.tensor(parameters.energy_coefficients)
            total = total + (epsilon * kernel.derivative(0, squared)).sum()
    return total


def toy_dataset(molecule: Molecule, n: int, *, seed: int = 0, energies: bool = True) -> Dataset:
    """Return frames of a smooth pair potential that has the molecule's symmetry."""
    positions = molecule.frames(n, seed=seed)
    values, forces = pair_potential(molecule.atomic_numbers, positions)
    return Dataset(molecule.atomic_numbers, positions, forces, values if energies else None)
