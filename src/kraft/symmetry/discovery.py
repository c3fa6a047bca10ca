"""Finding the permutational symmetries that a set of geometries shows."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from kraft.core.errors import GeometryError, OptionError
from kraft.core.progress import Progress, silent
from kraft.core.random import generator
from kraft.core.typing import AnyArray, FloatArray, IntArray
from kraft.symmetry.assembly import SAFETY_LIMIT, Assembly, assemble, largest_subgroup
from kraft.symmetry.candidates import Candidates, judge
from kraft.symmetry.distances import distance_matrices
from kraft.symmetry.group import cycles
from kraft.symmetry.isometries import isometries
from kraft.symmetry.matching import choose_pairs, match_pairs
from kraft.symmetry.orbits import atom_orbits
from kraft.symmetry.result import GeneratorEvidence, Rejection, StageTime, SymmetryResult
from kraft.symmetry.synchronization import synchronize
from kraft.symmetry.verification import VisitedRegion

MAX_GEOMETRIES = 200
EXACT_TOLERANCE = 0.02
"""Å: a geometry with all distances this close after a permutation is itself under it."""

_PAIR_ENTRIES = 5e6
_MIN_PAIRS = 1000
_MANY_PAIRS = 500
_REGION_ENTRIES = 1e7
_EXACT_ENTRIES = 5e5
_MIN_INSIDE_SPANNED = 0.85
_N_PROBES = 60
_MAX_PROBED = 512


@dataclass
class _Clock:
    """Measures the stages of one search."""

    times: list[StageTime] = field(default_factory=list)
    last: float = field(default_factory=time.perf_counter)

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.times.append(StageTime(stage, now - self.last))
        self.last = now


@dataclass(frozen=True)
class _Sample:
    """The geometries that are compared, and the region that they and others span."""

    positions: FloatArray
    distances: FloatArray
    region: VisitedRegion
    cell: FloatArray | None

    @property
    def probes(self) -> IntArray:
        """The few geometries ``(G,)`` on which permutations are tried."""
        spaced = np.linspace(0, len(self.positions) - 1, _N_PROBES)
        return np.unique(spaced.astype(np.int64))

    def visited(self, permutations: IntArray) -> AnyArray:
        """Tell ``(P,)`` which permutations take one of some geometries into the region, or near it.

        Meant for products of symmetries, which are symmetries too even when this sample does not
        happen to show them: the distances may leave their ranges more often than in
        `kraft.symmetry.candidates.judge`.
        """
        probed = np.ones(len(permutations), dtype=bool)
        step = max(1, len(permutations) // _MAX_PROBED)
        probes = self.probes
        for number in range(0, len(permutations), step):
            rows = np.repeat(permutations[number][None], len(probes), axis=0)
            inside = (
                self.region.fraction_inside(self.distances[probes], rows) >= _MIN_INSIDE_SPANNED
            )
            upright = self.region.keeps_handedness(self.positions[probes], rows, self.cell)
            probed[number] = ((inside >= _MIN_INSIDE_SPANNED) & upright).any()
        return probed


def find_permutations(
    positions: ArrayLike,
    atomic_numbers: ArrayLike,
    *,
    cell: ArrayLike | None = None,
    max_permutations: int | None = None,
    max_geometries: int = MAX_GEOMETRIES,
    seed: int = 0,
    progress: Progress = silent,
) -> SymmetryResult:
    """Find the permutations of like atoms that are symmetries of the data.

    A symmetry is a permutation that takes a geometry of the data to one that looks visited too:
    the point group of a rigid molecule, and what its motion adds, like the rotation of a methyl
    group. What the data do not visit, like the inversion of a center or a rotation over a
    barrier that no geometry crossed, is no symmetry here.

    Pairs of geometries are matched (`kraft.symmetry.matching`), the matchings are tested against
    the region that the data visit (`kraft.symmetry.verification`) and the permutations that pass
    span the group, the best supported first. Source: paper 002, "Symmetrized gradient-domain
    machine learning"; the refinement of matchings and the tests are added here.

    Parameters
    ----------
    positions
        ``(B, N, 3)`` in Å. With one geometry, or in one that is exactly symmetric, the
        permutations that leave all its distances within 0.02 Å are found.
    atomic_numbers
        ``(N,)``.
    cell
        ``(3, 3)`` in Å, rows are the lattice vectors, for distances by minimum image.
    max_permutations
        An upper bound for the number of permutations: of a larger group, the largest subgroup
        found within the bound is returned, with a note.
    max_geometries
        How many geometries at most are matched with each other, chosen at random. In molecules
        above 22 atoms not all pairs of them are matched, to bound the work.
    seed
        Of that choice.
    progress
        Told the stages.

    Returns
    -------
    SymmetryResult
        ``.permutations`` is ``(S, N)``, a group with the identity in row 0.

    Raises
    ------
    GeometryError
        When shapes do not fit or positions are not finite.
    OptionError
        When ``max_permutations`` or ``max_geometries`` is below 1.
    """
    for name, value in (("max_permutations", max_permutations), ("max_geometries", max_geometries)):
        if value is not None and value < 1:
            raise OptionError(f"expected {name} to be at least 1, got {value}")
    geometries, numbers, lattice = _checked(positions, atomic_numbers, cell)
    clock = _Clock()
    sample = _draw(geometries, numbers, lattice, max_geometries, seed)
    clock.lap("distances")
    exact = _exact(sample, numbers)
    clock.lap("exact symmetries")
    pairs = _pairs(sample, seed)
    matches = match_pairs(sample.distances, numbers, pairs, progress)
    clock.lap("matching")
    tree = synchronize(matches, len(sample.positions))
    clock.lap("synchronization")
    region, distances = sample.region, sample.distances
    candidates = judge(matches, region, sample.positions, distances, lattice, progress)
    clock.lap("verification")
    needed = 1 if len(pairs[0]) < _MANY_PAIRS else 2
    supported = np.flatnonzero(candidates.support >= needed)
    offered = np.concatenate([exact, candidates.permutations[supported]])
    assembly = assemble(offered, np.arange(len(offered)), SAFETY_LIMIT, sample.visited)
    group, notes = _bounded(assembly, candidates, max_permutations)
    clock.lap("closure")
    tree_rows = matches.permutations[tree.tree_pairs]
    return SymmetryResult(
        permutations=group,
        atom_orbits=atom_orbits(group),
        generators=_evidence(offered[list(assembly.used)], candidates, tree_rows, exact),
        rejections=_rejections(candidates, assembly, len(exact), needed),
        group_order=len(assembly.group),
        n_geometries=len(sample.positions),
        n_pairs=len(matches.first),
        agreement=tree.agreement,
        times=tuple(clock.times),
        notes=_notes_on_data(len(sample.positions)) + notes,
    )


def _checked(
    positions: ArrayLike, atomic_numbers: ArrayLike, cell: ArrayLike | None
) -> tuple[FloatArray, IntArray, FloatArray | None]:
    geometries = np.asarray(positions, dtype=np.float64)
    numbers = np.asarray(atomic_numbers, dtype=np.int64)
    if geometries.ndim != 3 or geometries.shape[2] != 3 or 0 in geometries.shape:
        raise GeometryError(
            f"expected positions of shape (frames, atoms, 3), got {geometries.shape}; "
            "a single geometry is positions[None]"
        )
    if numbers.shape != geometries.shape[1:2]:
        raise GeometryError(
            f"expected one atomic number for each of {geometries.shape[1]} atoms, got an array of "
            f"shape {numbers.shape}"
        )
    if cell is None:
        return geometries, numbers, None
    lattice = np.asarray(cell, dtype=np.float64)
    if lattice.shape != (3, 3) or not np.isfinite(lattice).all() or np.linalg.det(lattice) == 0:
        raise GeometryError(
            "expected a cell of three lattice vectors (3, 3) in Å that span a volume; "
            "give None for a free molecule"
        )
    return geometries, numbers, lattice


def _draw(
    geometries: FloatArray,
    atomic_numbers: IntArray,
    cell: FloatArray | None,
    max_geometries: int,
    seed: int,
) -> _Sample:
    n_atoms = geometries.shape[1]
    n_region = int(min(len(geometries), max(2.0, _REGION_ENTRIES / n_atoms**2)))
    n_matched = min(max_geometries, n_region)
    order = generator(seed, "symmetry").permutation(len(geometries))[:n_region]
    drawn = geometries[order]
    distances = distance_matrices(drawn, cell)
    region = VisitedRegion.of(drawn, distances, atomic_numbers, cell)
    return _Sample(drawn[:n_matched], distances[:n_matched], region, cell)


def _pairs(sample: _Sample, seed: int) -> tuple[IntArray, IntArray]:
    n_atoms = sample.positions.shape[1]
    budget = max(_MIN_PAIRS, int(_PAIR_ENTRIES / n_atoms**2))
    return choose_pairs(sample.distances, budget, generator(seed, "symmetry pairs"))


def _exact(sample: _Sample, atomic_numbers: IntArray) -> IntArray:
    """Return the permutations ``(E, N)`` that leave one of the geometries unchanged."""
    n_checked = max(2, int(_EXACT_ENTRIES / len(atomic_numbers) ** 2))
    found = [
        isometries(distances, atomic_numbers, EXACT_TOLERANCE)
        for distances in sample.distances[:n_checked]
    ]
    rows = np.unique(np.concatenate(found), axis=0)
    exact: IntArray = rows[1:]
    return exact


def _bounded(
    assembly: Assembly, candidates: Candidates, max_permutations: int | None
) -> tuple[IntArray, tuple[str, ...]]:
    group = assembly.group
    notes: tuple[str, ...] = ()
    if assembly.too_large:
        notes = (
            f"{len(assembly.too_large)} further permutations would make the group larger than "
            f"{SAFETY_LIMIT} and were left out",
        )
    if max_permutations is None or len(group) <= max_permutations:
        return group, notes
    support = {
        row.tobytes(): int(count)
        for row, count in zip(candidates.permutations, candidates.support, strict=True)
    }
    weight = np.array([support.get(row.tobytes(), 0) for row in np.ascontiguousarray(group)])
    subgroup = largest_subgroup(group, weight, max_permutations)
    note = (
        f"the group has {len(group)} permutations; kept the largest subgroup found with at most "
        f"{max_permutations}, which has {len(subgroup)}"
    )
    return subgroup, (*notes, note)


def _evidence(
    generators: IntArray, candidates: Candidates, tree_rows: IntArray, exact: IntArray
) -> tuple[GeneratorEvidence, ...]:
    evidence = []
    for row in generators:
        known = np.flatnonzero((candidates.permutations == row).all(axis=1))
        evidence.append(
            GeneratorEvidence(
                permutation=row,
                cycles=cycles(row),
                support=int(candidates.support[known].sum()),
                tree_edges=int((tree_rows == row).all(axis=1).sum()),
                gain=float(candidates.gains[known].max(initial=0.0)),
                exact=bool((exact == row).all(axis=1).any()),
            )
        )
    return tuple(evidence)


def _rejections(
    candidates: Candidates, assembly: Assembly, n_exact: int, needed: int
) -> tuple[Rejection, ...]:
    members = {row.tobytes() for row in np.ascontiguousarray(assembly.group)}
    rows = np.ascontiguousarray(candidates.permutations)
    outside = np.array([row.tobytes() not in members for row in rows], dtype=bool)
    failed = outside & (candidates.support == 0)
    seldom = outside & (candidates.support > 0) & (candidates.support < needed)
    supported = np.flatnonzero(candidates.support >= needed)
    counted = [
        ("some distance never occurs in the data", candidates.out_of_range * failed),
        ("a center of fixed handedness would be inverted", candidates.inverted * failed),
        ("hardly closer to another geometry than without it", candidates.indifferent * failed),
        ("a single pair of geometries shows it, among many", seldom.astype(np.int64)),
    ]
    for reason, positions in (
        ("with the other symmetries it spans geometries that are not visited", assembly.unvisited),
        (f"the group would have more than {SAFETY_LIMIT} permutations", assembly.too_large),
    ):
        numbers = [supported[position - n_exact] for position in positions if position >= n_exact]
        pairs = np.zeros_like(candidates.support)
        pairs[numbers] = candidates.support[numbers]
        counted.append((reason, pairs))
    rejections = [
        Rejection(reason, int((pairs > 0).sum()), int(pairs.sum())) for reason, pairs in counted
    ]
    rejections = [rejection for rejection in rejections if rejection.permutations]
    return tuple(sorted(rejections, key=lambda rejection: -rejection.pairs))


def _notes_on_data(n_geometries: int) -> tuple[str, ...]:
    if n_geometries > 1:
        return ()
    return (
        "a single geometry shows only what leaves itself unchanged; give more geometries to find "
        "the symmetries of its motion",
    )
