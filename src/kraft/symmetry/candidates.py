"""Candidate symmetries: the distinct matchings of pairs, how often they came and if they hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kraft.core.progress import Progress, silent
from kraft.core.typing import AnyArray, FloatArray, IntArray
from kraft.symmetry.matching import PairMatches
from kraft.symmetry.verification import VisitedRegion

MIN_GAIN = 0.01
MIN_INSIDE = 0.995
_CHUNK_ENTRIES = 2_000_000


@dataclass(frozen=True)
class Candidates:
    """Distinct permutations other than the identity, by falling support.

    Attributes
    ----------
    permutations
        ``(C, N)``.
    support
        ``(C,)``: the pairs of geometries that the permutation matches and that pass every test.
    proposals
        ``(C,)``: the pairs that it matches, whether they pass or not.
    gains
        ``(C,)``: the largest fraction of a pair's squared cost (eq. 1) that it takes away.
    out_of_range, inverted, indifferent
        ``(C,)``: how many proposals failed for a distance that never occurs, for an inverted
        center, and for hardly lowering the cost.
    """

    permutations: IntArray
    support: IntArray
    proposals: IntArray
    gains: FloatArray
    out_of_range: IntArray
    inverted: IntArray
    indifferent: IntArray


def judge(
    matches: PairMatches,
    region: VisitedRegion,
    positions: FloatArray,
    distances: FloatArray,
    cell: FloatArray | None,
    progress: Progress = silent,
) -> Candidates:
    """Collect the permutations that match pairs of geometries and count their support.

    Parameters
    ----------
    matches
        All pairs of the geometries.
    region
        What the geometries visit.
    positions, distances
        ``(M, N, 3)`` and ``(M, N, N)`` in Å, of the geometries that were matched.
    """
    n_atoms = positions.shape[1]
    proposed = np.flatnonzero((matches.permutations != np.arange(n_atoms)).any(axis=1))
    inside = np.zeros(len(proposed), dtype=bool)
    upright = np.zeros(len(proposed), dtype=bool)
    chunk = max(1, _CHUNK_ENTRIES // n_atoms**2)
    for begin in range(0, len(proposed), chunk):
        part = slice(begin, begin + chunk)
        geometry, rows = matches.first[proposed[part]], matches.permutations[proposed[part]]
        inside[part] = region.fraction_inside(distances[geometry], rows) >= MIN_INSIDE
        upright[part] = region.keeps_handedness(positions[geometry], rows, cell)
        progress("testing candidates", min(begin + chunk, len(proposed)), len(proposed))
    gains = matches.gains[proposed]
    clear = gains >= MIN_GAIN
    rows, number = np.unique(matches.permutations[proposed], axis=0, return_inverse=True)
    number = number.reshape(-1)

    def count(flags: AnyArray) -> IntArray:
        counts: IntArray = np.bincount(number, weights=flags, minlength=len(rows))
        return counts.astype(np.int64)

    largest = np.zeros(len(rows))
    np.maximum.at(largest, number, gains)
    support = count(inside & upright & clear)
    proposals = count(np.ones(len(proposed)))
    order = np.lexsort((-largest, -proposals, -support))
    return Candidates(
        permutations=rows[order],
        support=support[order],
        proposals=proposals[order],
        gains=largest[order],
        out_of_range=count(~inside)[order],
        inverted=count(inside & ~upright)[order],
        indifferent=count(inside & upright & ~clear)[order],
    )
