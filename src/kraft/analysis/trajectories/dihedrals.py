"""Dihedral angles and their distributions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from kraft.analysis.trajectories.selection import BondGraph
from kraft.core.errors import GeometryError, OptionError
from kraft.core.typing import FloatArray

N_BINS = 72
"""Bins of a full turn unless told otherwise: 5 degrees each."""


@dataclass(frozen=True, eq=False)
class AngleHistogram:
    """Probability density of an angle, or joint density of two, over a turn.

    Attributes
    ----------
    edges
        ``(n + 1,)`` edges of the bins in degrees for each angle, ``-period/2`` to ``period/2``.
    density
        ``(n,)`` per degree or ``(n, n')`` per square degree; its integral is one.
    n
        Number of values counted.
    """

    edges: tuple[FloatArray, ...]
    density: FloatArray
    n: int

    @property
    def centers(self) -> tuple[FloatArray, ...]:
        """Middles of the bins in degrees, for each angle."""
        return tuple(0.5 * (edge[1:] + edge[:-1]) for edge in self.edges)

    @property
    def periods(self) -> tuple[float, ...]:
        """Period of each angle in degrees."""
        return tuple(float(edge[-1] - edge[0]) for edge in self.edges)

    @property
    def probabilities(self) -> FloatArray:
        """Of each bin; they add up to one."""
        shares: FloatArray = self.density / self.density.sum()
        return shares


def dihedral_angles(positions: ArrayLike, atoms: Sequence[int]) -> FloatArray:
    """Return a dihedral angle along a trajectory.

    With IUPAC's sign: positive where, looking along the middle bond, the far one is turned
    clockwise from the near one; 180° is trans.

    Parameters
    ----------
    positions
        ``(T, N, 3)``.
    atoms
        Four different atoms in a row.

    Returns
    -------
    angles
        ``(T,)`` degrees above -180 up to 180.

    Raises
    ------
    OptionError
        When there are not four different atoms of the molecule.
    GeometryError
        When three atoms lie in a line, so that there is no angle.
    """
    array = np.asarray(positions, dtype=np.float64)
    _require_atoms(atoms, array.shape[1], 4)
    first, second, third, fourth = (array[:, atom] for atom in atoms)
    before, axis, after = second - first, third - second, fourth - third
    left, right = np.cross(before, axis), np.cross(axis, after)
    sizes = np.minimum(np.linalg.norm(left, axis=1), np.linalg.norm(right, axis=1))
    if not (sizes > 1e-8).all():
        frame = int(np.flatnonzero(~(sizes > 1e-8))[0])
        raise GeometryError(
            f"Atoms {tuple(atoms)} have no dihedral angle in frame {frame}: three of them lie in "
            "a line. Choose other atoms."
        )
    sines = np.einsum("tx,tx->t", before, right) * np.linalg.norm(axis, axis=1)
    angles: FloatArray = np.degrees(np.arctan2(sines, np.einsum("tx,tx->t", left, right)))
    angles[angles <= -180.0] = 180.0
    return angles


def folded(angles: ArrayLike, period: float) -> FloatArray:
    """Return angles in degrees folded into ``[-period/2, period/2)``.

    Examples
    --------
    >>> folded([170.0, -170.0, 60.0], 120.0)
    array([ 50., -50., -60.])
    """
    values = np.asarray(angles, dtype=np.float64)
    result: FloatArray = np.mod(values + 0.5 * period, period) - 0.5 * period
    return result


def angle_histogram(
    angles: ArrayLike, *more: ArrayLike, n_bins: int = N_BINS, folds: Sequence[int] = ()
) -> AngleHistogram:
    """Count an angle, or two of the same frames, in bins.

    Parameters
    ----------
    angles, more
        ``(T,)`` degrees each, at most two.
    n_bins
        Bins of a full turn; a folded one has the same width of bins.
    folds
        For each angle how many equivalent places a turn has: 3 for a methyl group. 1 by default.

    Raises
    ------
    OptionError
        When there are no angles, more than two, different numbers of them or too few bins.
    """
    series = [np.asarray(each, dtype=np.float64) for each in (angles, *more)]
    periods = _periods(folds, len(series))
    if len(series) > 2 or len({each.shape for each in series}) != 1 or series[0].ndim != 1:
        raise OptionError(
            f"Expected one or two series of angles of one length, got {[s.shape for s in series]}."
        )
    if len(series[0]) == 0 or n_bins < 4:
        raise OptionError(
            f"Expected angles and at least 4 bins, got {len(series[0])} angles and {n_bins} bins."
        )
    edges = [np.linspace(-p / 2, p / 2, max(4, round(n_bins * p / 360.0)) + 1) for p in periods]
    values = np.stack([folded(s, p) for s, p in zip(series, periods, strict=True)], axis=1)
    counts, _ = np.histogramdd(values, edges)
    volume = float(np.prod([edge[1] - edge[0] for edge in edges]))
    return AngleHistogram(tuple(edges), counts / (counts.sum() * volume), len(series[0]))


def _periods(folds: Sequence[int], n: int) -> tuple[float, ...]:
    """Return the periods of ``n`` angles in degrees."""
    counts = tuple(folds) or (1,) * n
    if len(counts) != n or min(counts) < 1:
        raise OptionError(f"Expected one fold of at least 1 for each of {n} angles, got {folds}.")
    return tuple(360.0 / fold for fold in counts)


@dataclass(frozen=True)
class Backbone:
    """The dihedral angles of a residue of a peptide.

    Attributes
    ----------
    phi, psi
        Four atoms each: C(-1) N CA C and N CA C N(+1).
    """

    phi: tuple[int, int, int, int]
    psi: tuple[int, int, int, int]


def backbone(graph: BondGraph) -> tuple[Backbone, ...]:
    """Return the residues of a peptide that have both angles, along the chain.

    Raises
    ------
    OptionError
        When the molecule has none: no C(O) N CA C(O) N in its bond graph.
    """
    carbonyls = {atom for atom in graph.elements("C").tolist() if _is_carbonyl(atom, graph)}
    nitrogens = set(graph.elements("N").tolist())
    found = []
    for alpha in graph.elements("C").tolist():
        if alpha in carbonyls:
            continue
        around = graph.neighbors[alpha].tolist()
        for n in (atom for atom in around if atom in nitrogens):
            for c in (atom for atom in around if atom in carbonyls):
                before = [a for a in graph.neighbors[n].tolist() if a in carbonyls and a != c]
                after = [a for a in graph.neighbors[c].tolist() if a in nitrogens and a != n]
                if before and after:
                    found.append(Backbone((before[0], n, alpha, c), (n, alpha, c, after[0])))
    if not found:
        raise OptionError(
            "The bond graph has no residue with both angles phi and psi (C-N-CA-C and N-CA-C-N). "
            "Give the atoms of two dihedrals instead."
        )
    return _along_chain(found)


def _is_carbonyl(carbon: int, graph: BondGraph) -> bool:
    """Tell whether a carbon atom has a terminal oxygen atom and a nitrogen atom."""
    around = graph.neighbors[carbon]
    numbers = graph.atomic_numbers[around]
    terminal = [len(graph.neighbors[atom]) == 1 for atom in around[numbers == 8]]
    return any(terminal) and bool((numbers == 7).any())


def _along_chain(residues: list[Backbone]) -> tuple[Backbone, ...]:
    """Return residues so that each follows the one whose last nitrogen it starts with."""
    starts = {residue.phi[1]: residue for residue in residues}
    ends = {residue.psi[3] for residue in residues}
    ordered: list[Backbone] = []
    for first in [r for r in residues if r.phi[1] not in ends] or residues[:1]:
        link: Backbone | None = first
        while link is not None and link not in ordered:
            ordered.append(link)
            link = starts.get(link.psi[3])
    return tuple(ordered)


def _require_atoms(atoms: Sequence[int], n_atoms: int, n: int) -> None:
    """Raise OptionError unless there are ``n`` different atoms of the molecule."""
    if len(atoms) != n or len(set(atoms)) != n or min(atoms) < 0 or max(atoms) >= n_atoms:
        raise OptionError(
            f"Expected {n} different atoms from 0 to {n_atoms - 1}, got {tuple(atoms)}."
        )
