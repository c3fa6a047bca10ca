"""What training an atomized force field costs, known before it starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kraft.core.typing import IntArray
from kraft.kernels.atom_geometries import LowerTiles
from kraft.solvers import DenseCholesky


@dataclass(frozen=True)
class SetCost:
    """Cost of the system of one atom set.

    Attributes
    ----------
    atoms
        The atoms of the set.
    labels
        Rows of its system, ``3 l M``.
    memory
        Bytes of its dense solution at the peak.
    flops
        Floating-point operations of the assembly and the factorization.
    """

    atoms: tuple[int, ...]
    labels: int
    memory: int
    flops: float


@dataclass(frozen=True)
class AtomizedCost:
    """Cost of all systems of an atomized force field.

    Attributes
    ----------
    sets
        Of each atom set.
    shared_memory
        Bytes of what all sets share: features by atoms, distances and radial factors.
    n_parallel
        Sets that are solved at the same time.
    """

    sets: tuple[SetCost, ...]
    shared_memory: int
    n_parallel: int

    @property
    def flops(self) -> float:
        """Floating-point operations in all; those of a choice of parameters not included."""
        return sum(cost.flops for cost in self.sets)

    @property
    def memory(self) -> int:
        """Bytes at the peak: what is shared, and the largest sets that are solved together."""
        largest = sorted((cost.memory for cost in self.sets), reverse=True)
        return self.shared_memory + sum(largest[: self.n_parallel])


def aff_cost(
    n_train: int, n_permutations: int, sets: Sequence[IntArray], *, n_parallel: int = 1
) -> AtomizedCost:
    """Return the cost of training on ``n_train`` geometries: ``O(Σ (l M)³)`` and a set's memory.

    Parameters
    ----------
    n_train, n_permutations
        ``M`` and ``S``.
    sets
        The sets of equivalent atoms.
    n_parallel
        Sets that are solved at the same time.

    Examples
    --------
    Uracil, twelve atoms of which none are equivalent, with 1000 geometries:

    >>> cost = aff_cost(1000, 1, [[atom] for atom in range(12)])
    >>> cost.sets[0].labels, round(cost.flops / 1e9)
    (3000, 111)
    """
    n_atoms = sum(len(atoms) for atoms in sets)
    costs = []
    for atoms in sets:
        block = 3 * len(atoms)
        size = block * n_train
        pairs = 0.5 * n_train**2 * n_permutations
        assembly = pairs * (32.0 * n_atoms * len(atoms) + 4.0 * block**2)
        costs.append(
            SetCost(
                tuple(int(atom) for atom in atoms),
                size,
                DenseCholesky.required_memory(size, block),
                assembly + DenseCholesky.required_flops(size),
            )
        )
    features = 8 * n_train * (4 * n_atoms**2 + 3 * n_atoms + n_atoms * (n_atoms - 1) // 2)
    shared = features + 3 * LowerTiles.memory(n_train, n_permutations)
    return AtomizedCost(tuple(costs), shared, n_parallel)
