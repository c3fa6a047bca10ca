"""Data so smooth and dense that rounding, and not the data, limits the regularization."""

from __future__ import annotations

import numpy as np
from molecules import WATER, pair_potential

from kraft.data import Dataset


def vibrations(n: int, *, amplitude: float = 0.01, noise: float = 0.0, seed: int = 0) -> Dataset:
    """Return tiny vibrations of water, in forces of a pair potential and, if wanted, noise.

    ``noise`` is relative to the spread of the forces: what no model can fit.
    """
    positions = WATER.frames(n, seed=seed, amplitude=amplitude)
    energies, forces = pair_potential(WATER.atomic_numbers, positions)
    rng = np.random.default_rng(seed + 1)
    extra = rng.normal(size=forces.shape)
    extra -= extra.mean(axis=1, keepdims=True)
    return Dataset(WATER.atomic_numbers, positions, forces + noise * forces.std() * extra, energies)
