"""One consistent labeling of the atoms of all geometries from matchings of pairs.

Source: paper 002, "Symmetrized gradient-domain machine learning": pairwise matchings need not be
transitive, so only the most confident ones are kept, those on the minimum spanning tree of the
matching cost; every other assignment follows from them by transitive closure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

from kraft.core.typing import AnyArray, IntArray
from kraft.symmetry.group import inverse
from kraft.symmetry.matching import PairMatches


@dataclass(frozen=True)
class Synchronization:
    """A consistent labeling of all geometries.

    Attributes
    ----------
    tree_pairs
        ``(M-1,)`` positions in the list of pairs: the most confident matchings.
    assignments
        ``(M, N)``: ``positions[m][assignments[m]]`` is geometry m in the labeling of geometry 0.
    agreement
        Fraction of all pairs whose own matching is the one that the tree implies; the others
        either err or differ by a symmetry.
    """

    tree_pairs: IntArray
    assignments: IntArray
    agreement: float


def synchronize(matches: PairMatches, n_geometries: int) -> Synchronization:
    """Label all geometries consistently through the minimum spanning tree of the matching cost.

    Parameters
    ----------
    matches
        Pairs that connect all geometries, not necessarily all pairs.
    n_geometries
        M, at least 1.
    """
    n_atoms = matches.permutations.shape[1]
    assignments = np.tile(np.arange(n_atoms, dtype=np.int64), (n_geometries, 1))
    if n_geometries < 2:
        return Synchronization(np.zeros(0, dtype=np.int64), assignments, 1.0)
    # The tree must not lose edges of cost zero (duplicate geometries): shift all weights.
    weights = matches.costs + 1.0
    shape = (n_geometries, n_geometries)
    graph = coo_matrix((weights, (matches.first, matches.second)), shape=shape).tocsr()
    tree = minimum_spanning_tree(graph).tocoo()
    number = np.zeros(shape, dtype=np.int64)
    number[matches.first, matches.second] = np.arange(len(weights))
    pairs: IntArray = np.sort(number[tree.row, tree.col])
    order, parents = breadth_first_order(tree.tocsr(), 0, directed=False)
    for child in order[1:].tolist():
        parent = int(parents[child])
        low, high = min(parent, child), max(parent, child)
        permutation = matches.permutations[number[low, high]]
        # positions[low][permutation] looks like positions[high].
        to_parent = inverse(permutation) if child == high else permutation
        assignments[child] = to_parent[assignments[parent]]
    return Synchronization(pairs, assignments, _agreement(matches, assignments))


def _agreement(matches: PairMatches, assignments: IntArray) -> float:
    places: AnyArray = np.argsort(assignments, axis=1)
    implied = np.take_along_axis(assignments[matches.first], places[matches.second], axis=1)
    return float((implied == matches.permutations).all(axis=1).mean())
