"""Valid sgdml model files of any size with random coefficients, for timing predictions.

The time of a prediction depends on the numbers of atoms, permutations and training geometries
and not on the coefficients, so nothing is trained. Needs NumPy only: both sides can use it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
LENGTH_SCALE = 20
MIN_DISTANCE = 1.2  # Å
JITTER = 0.05  # Å


def write_synthetic_model(
    path: str | Path,
    n_atoms: int,
    n_permutations: int,
    n_train: int,
    *,
    seed: int = 0,
    molecule: Array | None = None,
    permutations: Array | None = None,
) -> Path:
    """Write an sgdml model (``.npz``) with random coefficients; return its path.

    ``molecule`` (n_atoms, 3) in Å and ``permutations`` (n_permutations, n_atoms), a group, make it
    one of a real molecule; otherwise atoms stand at random in a box.
    """
    model = synthetic_model(
        n_atoms, n_permutations, n_train, seed=seed, molecule=molecule, permutations=permutations
    )
    np.savez_compressed(path, **model)
    return Path(path)


def synthetic_positions(
    n_atoms: int, n_geometries: int, *, seed: int = 0, molecule: Array | None = None
) -> Array:
    """Return query geometries (n_geometries, n_atoms, 3) in Å for the models of the same seed.

    They follow the rule of the training geometries, from another random stream.
    """
    base = _molecule(n_atoms, seed) if molecule is None else molecule
    noise = np.random.default_rng([seed, 2]).normal(size=(n_geometries, n_atoms, 3))
    return base + JITTER * noise


def synthetic_model(
    n_atoms: int,
    n_permutations: int,
    n_train: int,
    *,
    seed: int = 0,
    molecule: Array | None = None,
    permutations: Array | None = None,
) -> dict[str, Any]:
    """Return the arrays of such a model in the layout that sgdml 1.0.3 writes."""
    generator = np.random.default_rng([seed, 1])
    if permutations is None:
        permutations = permutation_group(n_atoms, n_permutations)
    if permutations.shape != (n_permutations, n_atoms):
        raise ValueError(f"expected {(n_permutations, n_atoms)}, got {permutations.shape}")
    base = _molecule(n_atoms, seed) if molecule is None else molecule
    first, second = np.tril_indices(n_atoms, -1)
    positions = base + JITTER * generator.normal(size=(n_train, n_atoms, 3))
    difference = positions[:, first] - positions[:, second]
    distance = np.linalg.norm(difference, axis=-1)
    coefficients = generator.normal(size=positions.shape)
    coefficients -= coefficients.mean(axis=1, keepdims=True)
    step = coefficients[:, second] - coefficients[:, first]
    projected = np.einsum("mdc,mdc->md", difference / distance[..., None] ** 3, step)

    feature_permutations = np.stack([_feature_permutation(p) for p in permutations])
    offsets = len(first) * np.arange(n_permutations)[:, None]
    return {
        "type": "m",
        "code_version": "1.0.3",
        "dataset_name": "synthetic",
        "dataset_theory": "random coefficients",
        "solver_name": "analytic",
        "z": np.full(n_atoms, 6, dtype=np.uint8),
        "idxs_train": np.arange(n_train),
        "idxs_valid": np.arange(0),
        "md5_train": b"0" * 32,
        "md5_valid": b"0" * 32,
        "n_test": 0,
        "R_desc": (1.0 / distance).T,
        "R_d_desc_alpha": projected,
        "c": 0.0,
        "std": 1.0,
        "sig": LENGTH_SCALE,
        "lam": 1e-10,
        "alphas_F": coefficients.ravel(),
        "perms": permutations,
        "tril_perms_lin": (feature_permutations + offsets).flatten("F"),
        "use_E": True,
        "r_unit": "Ang",
        "e_unit": "kcal/mol",
    }


def permutation_group(n_atoms: int, order: int) -> Array:
    """Return an abelian group of ``order`` permutations (order, n_atoms), the identity first.

    It is the product of cyclic groups, one for each prime factor ``p`` of the order, that turn
    ``p`` atoms of their own.
    """
    group = [np.arange(n_atoms)]
    used = 0
    for prime in _prime_factors(order):
        if used + prime > n_atoms:
            raise ValueError(f"{n_atoms} atoms are too few for a group of order {order}")
        turn = np.arange(n_atoms)
        turn[used : used + prime] = np.roll(turn[used : used + prime], 1)
        used += prime
        powers = [np.arange(n_atoms)]
        for _ in range(prime - 1):
            powers.append(powers[-1][turn])
        group = [power[member] for power in powers for member in group]
    return np.stack(group)


def _prime_factors(number: int) -> list[int]:
    factors = []
    divisor = 2
    while number > 1:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return factors


def _feature_permutation(permutation: Array) -> Array:
    """Return how a permutation of atoms acts on the descriptor: x(R[p]) = x(R)[result]."""
    n_atoms = len(permutation)
    index = np.zeros((n_atoms, n_atoms), dtype=int)
    lower = np.tril_indices(n_atoms, -1)
    index[lower] = np.arange(len(lower[0]))
    index += index.T
    return index[np.ix_(permutation, permutation)][lower]


def _molecule(n_atoms: int, seed: int) -> Array:
    """Place atoms at random in a box, no two closer than ``MIN_DISTANCE``."""
    generator = np.random.default_rng([seed, 0])
    edge = 1.6 * MIN_DISTANCE * n_atoms ** (1 / 3) + 1.0
    atoms: list[Array] = []
    while len(atoms) < n_atoms:
        atom = generator.uniform(0.0, edge, 3)
        if all(np.linalg.norm(atom - other) > MIN_DISTANCE for other in atoms):
            atoms.append(atom)
    return np.stack(atoms)
