"""Which atom is which, for pairs of geometries: spectral matching and its refinement.

Source: S. Chmiela et al., Nat. Commun. 9, 3887 (2018), eqs. 1 and 2 and Methods, "Bipartite
matching cost matrix" (paper 002). With ``A`` a geometry's matrix of distances, the assignment
``p`` of geometry G to geometry H minimizes ``||A_G[p][:, p] - A_H||`` (eq. 1). The paper takes
the assignment that makes the absolute eigenvectors overlap best (eq. 2). Here that is one of two
starting points, the other being the order in which the atoms stand, and both are refined by
assignments of whole rows until eq. 1 decreases no more (Frank-Wolfe steps of full length on eq.
1, as in J. T. Vogelstein et al., PLoS ONE 10, e0121002 (2015)).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import minimum_spanning_tree

from kraft.core.progress import Progress, silent
from kraft.core.typing import AnyArray, FloatArray, IntArray

_FORBIDDEN = 1e8
_MAX_STEPS = 12
_CHUNK_ENTRIES = 100_000


@dataclass(frozen=True)
class PairMatches:
    """The assignments of pairs of geometries.

    Attributes
    ----------
    first, second
        ``(P,)`` the geometries of each pair.
    permutations
        ``(P, N)``: ``positions[first][permutation]`` is closest to ``positions[second]``.
    costs
        ``(P,)`` Å: the value of eq. 1 (the norm, not its square) with that permutation.
    unmatched_costs
        ``(P,)`` Å: the value of eq. 1 without a permutation.
    """

    first: IntArray
    second: IntArray
    permutations: IntArray
    costs: FloatArray
    unmatched_costs: FloatArray

    @property
    def gains(self) -> FloatArray:
        """``(P,)``: the fraction of the squared cost that the permutation takes away."""
        before = np.maximum(self.unmatched_costs**2, np.finfo(np.float64).tiny)
        gains: FloatArray = 1.0 - self.costs**2 / before
        return gains


def permute_matrices(matrices: FloatArray, permutations: IntArray) -> FloatArray:
    """Return each of ``(P, N, N)`` matrices with rows and columns in a new order ``(P, N)``."""
    batch = np.arange(len(matrices))[:, None, None]
    permuted: FloatArray = matrices[batch, permutations[:, :, None], permutations[:, None, :]]
    return permuted


def species_penalty(atomic_numbers: IntArray) -> FloatArray:
    """Return the ``(N, N)`` cost that keeps different elements apart (paper 002, Methods)."""
    return np.where(atomic_numbers[:, None] != atomic_numbers, _FORBIDDEN, 0.0)


def spectral_cost(eigenvectors_first: FloatArray, eigenvectors_second: FloatArray) -> FloatArray:
    """Return the assignment costs ``(P, N, N)`` of eq. 2, rows being the second geometry's atoms.

    Parameters
    ----------
    eigenvectors_first, eigenvectors_second
        ``(P, N, N)``: columns are the eigenvectors, in the order of their eigenvalues.
    """
    return -np.abs(eigenvectors_second) @ np.abs(eigenvectors_first).transpose(0, 2, 1)


def assign(costs: FloatArray) -> IntArray:
    """Return the cheapest assignments ``(P, N)`` for ``(P, N, N)`` costs (Hungarian algorithm).

    Row ``b`` is given column ``permutation[b]``. Where the cheapest columns of the rows are all
    different they are the solution, and the algorithm is spared.
    """
    permutations: IntArray = costs.argmin(axis=2)
    places = np.arange(costs.shape[1])
    clashing = (np.sort(permutations, axis=1) != places).any(axis=1)
    for k in np.flatnonzero(clashing):
        permutations[k] = linear_sum_assignment(costs[k])[1]
    return permutations


def refine(
    first: FloatArray, second: FloatArray, start: IntArray, penalty: FloatArray
) -> tuple[IntArray, FloatArray]:
    """Lower eq. 1 from given permutations by assigning whole rows of distances.

    Each step takes the atoms in their present order, compares every row of distances of the one
    geometry with every row of the other, assigns the rows and keeps the result where eq. 1 fell.
    The two atoms of a comparison are taken to change places, which leaves their own distance.

    Parameters
    ----------
    first, second
        ``(P, N, N)`` distances in Å.
    start
        ``(P, N)`` permutations of the first geometry.
    penalty
        ``(N, N)``, see `species_penalty`.

    Returns
    -------
    permutations, squared_costs
        ``(P, N)`` and ``(P,)`` in Å².
    """
    permutations = start.copy()
    permuted = permute_matrices(first, permutations)
    costs = _squared_norms(permuted - second)
    active: AnyArray = np.arange(len(start))
    for _ in range(_MAX_STEPS):
        target, current = second[active], permuted[active]
        rows = _squares(target)[:, :, None] + _squares(current)[:, None, :]
        # In row b of the one and row a of the other, compare a-b with b-a and not with a-a.
        exchange = target**2 + current**2 - 4.0 * target * current
        step = assign(rows - 2.0 * target @ current + exchange + penalty)
        candidates = np.take_along_axis(permutations[active], step, axis=1)
        matrices = permute_matrices(first[active], candidates)
        values = _squared_norms(matrices - target)
        better = values < costs[active] * (1.0 - 1e-9)
        active = active[better]
        if not active.size:
            break
        permutations[active] = candidates[better]
        permuted[active] = matrices[better]
        costs[active] = values[better]
    return permutations, costs


def choose_pairs(
    distances: FloatArray, max_pairs: int, random: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Choose pairs ``(P,)``, ``(P,)`` of geometries to match, the first index the smaller.

    All pairs when they are no more than ``max_pairs``. Otherwise those that connect each geometry
    with a near one (the minimum spanning tree before matching), and others at random, so that the
    work grows linearly with the number M of geometries.

    Parameters
    ----------
    distances
        ``(M, N, N)`` in Å.
    max_pairs
        Exceeded only where the M - 1 connections alone are more.
    """
    n_geometries = len(distances)
    first, second = (half.astype(np.int64) for half in np.triu_indices(n_geometries, 1))
    if len(first) <= max_pairs:
        return first, second
    flat = distances.reshape(n_geometries, -1)
    norms = np.einsum("mk,mk->m", flat, flat)
    squared = norms[first] + norms[second] - 2.0 * (flat @ flat.T)[first, second]
    weights = 1.0 + np.sqrt(np.maximum(squared, 0.0))
    shape = (n_geometries, n_geometries)
    tree = minimum_spanning_tree(coo_matrix((weights, (first, second)), shape=shape)).tocoo()
    keys = first * n_geometries + second
    connecting = np.flatnonzero(np.isin(keys, tree.row.astype(np.int64) * n_geometries + tree.col))
    others = np.setdiff1d(np.arange(len(keys)), connecting)
    extra = random.permutation(others)[: max(0, max_pairs - len(connecting))]
    chosen = np.sort(np.concatenate([connecting, extra]))
    return first[chosen], second[chosen]


def match_pairs(
    distances: FloatArray,
    atomic_numbers: IntArray,
    pairs: tuple[IntArray, IntArray],
    progress: Progress = silent,
) -> PairMatches:
    """Match pairs of geometries.

    Parameters
    ----------
    distances
        ``(M, N, N)`` in Å.
    atomic_numbers
        ``(N,)``; atoms of different elements are never assigned to each other.
    pairs
        ``(P,)``, ``(P,)``, see `choose_pairs`.
    """
    n_atoms = len(atomic_numbers)
    penalty = species_penalty(atomic_numbers)
    eigenvectors = np.linalg.eigh(distances)[1]
    firsts, seconds = pairs
    permutations = np.empty((len(firsts), n_atoms), dtype=np.int64)
    costs, unmatched = np.empty(len(firsts)), np.empty(len(firsts))
    chunk = max(1, _CHUNK_ENTRIES // n_atoms**2)
    for begin in range(0, len(firsts), chunk):
        part = slice(begin, begin + chunk)
        i, j = firsts[part], seconds[part]
        first, second = distances[i], distances[j]
        in_order = np.tile(np.arange(n_atoms), (len(i), 1))
        best, cost = refine(first, second, in_order, penalty)
        spectral = assign(spectral_cost(eigenvectors[i], eigenvectors[j]) + penalty)
        other, other_cost = refine(first, second, spectral, penalty)
        better = other_cost < cost * (1.0 - 1e-9)
        permutations[part] = np.where(better[:, None], other, best)
        costs[part] = np.sqrt(np.where(better, other_cost, cost))
        unmatched[part] = np.sqrt(_squared_norms(first - second))
        progress("matching geometries", min(begin + chunk, len(firsts)), len(firsts))
    return PairMatches(firsts, seconds, permutations, costs, unmatched)


def _squares(matrices: FloatArray) -> FloatArray:
    squares: FloatArray = np.einsum("pij,pij->pi", matrices, matrices)
    return squares


def _squared_norms(matrices: FloatArray) -> FloatArray:
    norms: FloatArray = np.einsum("pij,pij->p", matrices, matrices)
    return norms
