"""What the search for symmetries found, and why."""

from __future__ import annotations

from dataclasses import dataclass

from kraft.core.typing import IntArray


@dataclass(frozen=True)
class GeneratorEvidence:
    """One of the permutations that span the group, and what speaks for it.

    Attributes
    ----------
    permutation
        ``(N,)``.
    cycles
        The atoms that it moves, as cycles.
    support
        Pairs of geometries that this permutation matches and that pass every test.
    tree_edges
        How many of them are on the minimum spanning tree (paper 002's most confident ones).
    gain
        The largest fraction of a pair's squared matching cost that it takes away.
    exact
        Whether a geometry is exactly itself under the permutation.
    """

    permutation: IntArray
    cycles: tuple[tuple[int, ...], ...]
    support: int
    tree_edges: int
    gain: float
    exact: bool


@dataclass(frozen=True)
class Rejection:
    """Why matchings were not taken for symmetries.

    Attributes
    ----------
    reason
        In words.
    permutations, pairs
        How many distinct permutations, proposed by how many pairs of geometries.
    """

    reason: str
    permutations: int
    pairs: int


@dataclass(frozen=True)
class StageTime:
    """How long one stage of the search took, in seconds."""

    stage: str
    seconds: float


@dataclass(frozen=True)
class SymmetryResult:
    """The permutational symmetries of a set of geometries.

    Attributes
    ----------
    permutations
        ``(S, N)``, a group; row 0 is the identity; ``new_positions = positions[p]``.
    atom_orbits
        The sets of equivalent atoms, each sorted.
    generators
        The permutations that span the group, with the evidence for each; the whole group, also
        when ``permutations`` is only a subgroup of it.
    rejections
        Why other matchings were refused, most frequent first.
    group_order
        Number of permutations of the whole group found; larger than S when ``max_permutations``
        made it a subgroup.
    n_geometries, n_pairs
        How many geometries were compared, and in how many pairs.
    agreement
        Fraction of pairs whose matching is the one that the minimum spanning tree implies.
    times
        Seconds per stage.
    notes
        What a user should know: a subgroup was taken, a single geometry, and the like.
    """

    permutations: IntArray
    atom_orbits: tuple[IntArray, ...]
    generators: tuple[GeneratorEvidence, ...]
    rejections: tuple[Rejection, ...]
    group_order: int
    n_geometries: int
    n_pairs: int
    agreement: float
    times: tuple[StageTime, ...]
    notes: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number S of permutations, the identity included."""
        return len(self.permutations)

    @property
    def seconds(self) -> float:
        """Seconds that the search took altogether."""
        return sum(time.seconds for time in self.times)
