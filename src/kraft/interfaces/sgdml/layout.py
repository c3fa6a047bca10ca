"""The layout of sgdml's model files: its order of atom pairs, its permutations, its units."""

from __future__ import annotations

import numpy as np

from kraft.core.typing import IntArray
from kraft.data.units import Units
from kraft.symmetry.orbits import pair_indices

IMPLIED_UNITS = Units("kcal/mol", "Å")
"""Units of files that name none, by the convention of the format."""

MD5_LENGTH = 32
"""Characters of the fingerprints by which sgdml knows datasets."""


def pair_order(n_atoms: int) -> IntArray:
    """Return where each of our pairs of atoms stands in sgdml's order, ``(D,)``."""
    first, second = pair_indices(n_atoms)
    return second * (second - 1) // 2 + first


def linear_permutations(permutations: IntArray) -> IntArray:
    """Return sgdml's ``tril_perms_lin``: element ``d S + q`` is ``images[q, d] + q D``."""
    n_atoms = permutations.shape[1]
    first, second = np.tril_indices(n_atoms, -1)
    number = np.zeros((n_atoms, n_atoms), dtype=np.int64)
    number[first, second] = number[second, first] = np.arange(len(first))
    images = number[permutations[:, first], permutations[:, second]]
    offsets = len(first) * np.arange(len(permutations))[:, None]
    linear: IntArray = (images + offsets).flatten("F")
    return linear
