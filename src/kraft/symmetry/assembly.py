"""From verified candidates to the group that they span, within a bound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kraft.core.typing import AnyArray, IntArray
from kraft.symmetry.group import canonical, extend, identity

SAFETY_LIMIT = 20_000
"""No group larger than this is built: a kernel over it could not be evaluated anyway."""

Test = Callable[[IntArray], AnyArray]
"""Tells for permutations ``(P, N)`` which are visited by the data, ``(P,)``."""


@dataclass(frozen=True)
class Assembly:
    """A group spanned by candidates.

    Attributes
    ----------
    group
        ``(S, N)``, sorted.
    used
        Positions of the candidates that span it.
    unvisited, too_large
        Positions of the candidates left out, because they would span a permutation that the data
        do not visit, or a group above the bound.
    """

    group: IntArray
    used: tuple[int, ...]
    unvisited: tuple[int, ...]
    too_large: tuple[int, ...]


def assemble(candidates: IntArray, order: IntArray, limit: int, visited: Test) -> Assembly:
    """Add candidates ``(C, N)`` in the given order as generators, as long as all goes well.

    A generator is only taken when the larger group stays within ``limit`` and when each of its
    elements (of a sample of them, in a large group) takes some geometry to one that looks visited.
    """
    group = identity(candidates.shape[1])[None]
    members = {group[0].tobytes()}
    used: list[int] = []
    unvisited: list[int] = []
    too_large: list[int] = []
    for position in order.tolist():
        row = np.ascontiguousarray(candidates[position])
        if row.tobytes() in members:
            continue
        larger = extend(group, candidates[[*used, position]], limit)
        if larger is None:
            too_large.append(position)
            continue
        # `extend` keeps the old group in front and appends whole cosets of it.
        if not visited(larger[len(group) :]).all():
            unvisited.append(position)
            continue
        group = larger
        members = {element.tobytes() for element in np.ascontiguousarray(group)}
        used.append(position)
    return Assembly(canonical(group), tuple(used), tuple(unvisited), tuple(too_large))


def largest_subgroup(group: IntArray, weight: IntArray, limit: int) -> IntArray:
    """Return the largest subgroup ``(S', N)`` of at most ``limit`` elements that was found.

    Generators are added greedily in several orders: by their support, by how few atoms they move
    and by how many; the largest result counts.

    Parameters
    ----------
    group
        ``(S, N)``.
    weight
        ``(S,)`` the support of each element.
    limit
        At least 1.
    """
    moved = (group != identity(group.shape[1])).sum(axis=1)
    orders = (
        np.lexsort((-weight, moved)),
        np.lexsort((moved, -weight)),
        np.lexsort((-weight, -moved)),
    )
    best = identity(group.shape[1])[None]
    for order in orders:
        subgroup = assemble(group, order, limit, lambda rows: np.ones(len(rows), dtype=bool)).group
        if len(subgroup) > len(best):
            best = subgroup
    return best
