"""Permutations of atoms as a group: products, closure and validation.

A permutation is a row ``p`` of N atom indices and acts on geometries as
``new_positions = positions[p]``: the atom that stands at place ``a`` afterwards is the atom
``p[a]`` of before. A set of S permutations is an ``(S, N)`` array, the identity in row 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from kraft.core.errors import SymmetryError
from kraft.core.typing import IntArray


def identity(n_atoms: int) -> IntArray:
    """Return the permutation ``(N,)`` that changes nothing."""
    return np.arange(n_atoms, dtype=np.int64)


def compose(first: IntArray, second: IntArray) -> IntArray:
    """Return the permutation ``(N,)`` that applies ``first`` and then ``second``.

    >>> compose(np.array([1, 2, 0]), np.array([1, 0, 2]))
    array([2, 1, 0])
    """
    product: IntArray = first[second]
    return product


def inverse(permutation: IntArray) -> IntArray:
    """Return the permutation ``(N,)`` that undoes ``permutation``.

    >>> inverse(np.array([1, 2, 0]))
    array([2, 0, 1])
    """
    undo = np.empty_like(permutation)
    undo[permutation] = identity(len(permutation))
    return undo


def cycles(permutation: IntArray) -> tuple[tuple[int, ...], ...]:
    """Return the cycles longer than one of a permutation, each from its smallest atom.

    >>> cycles(np.array([1, 2, 0, 3, 5, 4]))
    ((0, 1, 2), (4, 5))
    """
    found = []
    seen: set[int] = set()
    for start, image in enumerate(permutation.tolist()):
        if start in seen or image == start:
            continue
        cycle = [start]
        while image != start:
            cycle.append(image)
            image = int(permutation[image])
        seen.update(cycle)
        found.append(tuple(cycle))
    return tuple(found)


def as_permutations(permutations: ArrayLike, n_atoms: int | None = None) -> IntArray:
    """Check that every row is a permutation of the atoms and return an ``(S, N)`` int64 array.

    Raises
    ------
    SymmetryError
        When the array is not two-dimensional, not of whole numbers, of another number of atoms
        than ``n_atoms``, or a row is no permutation of 0 .. N-1.
    """
    rows = np.asarray(permutations)
    if rows.ndim != 2 or 0 in rows.shape:
        raise SymmetryError(
            f"expected permutations of shape (permutations, atoms), got {rows.shape}; "
            "give one row of atom indices per permutation"
        )
    if rows.dtype.kind not in "iu":
        if rows.dtype.kind != "f" or not np.array_equal(rows, np.round(rows)):
            raise SymmetryError(
                f"expected whole atom indices counted from 0, got values of type {rows.dtype}"
            )
        rows = np.round(rows)
    rows = rows.astype(np.int64)
    if n_atoms is not None and rows.shape[1] != n_atoms:
        raise SymmetryError(
            f"expected permutations of {n_atoms} atoms, got rows of {rows.shape[1]} indices; "
            "the permutations belong to another molecule"
        )
    wrong = np.flatnonzero((np.sort(rows, axis=1) != identity(rows.shape[1])).any(axis=1))
    if wrong.size:
        raise SymmetryError(
            f"expected every atom index 0 to {rows.shape[1] - 1} once in each row, but row "
            f"{wrong[0]} is {rows[wrong[0]].tolist()}; indices count from 0"
        )
    return rows


def is_group(permutations: IntArray) -> bool:
    """Tell whether the rows of ``(S, N)`` are distinct, hold the identity and are closed.

    >>> is_group(np.array([[0, 1, 2], [1, 2, 0], [2, 0, 1]]))
    True
    >>> is_group(np.array([[0, 1, 2], [1, 2, 0]]))
    False
    """
    keys = {row.tobytes() for row in np.ascontiguousarray(permutations)}
    if len(keys) != len(permutations) or identity(permutations.shape[1]).tobytes() not in keys:
        return False
    return all(
        row.tobytes() in keys
        for member in permutations
        for row in np.ascontiguousarray(permutations[:, member])
    )


def validate(
    permutations: ArrayLike, atomic_numbers: IntArray, *, require_group: bool = True
) -> IntArray:
    """Return permutations ``(S, N)`` that fit a molecule, identity first, other rows sorted.

    Parameters
    ----------
    permutations
        ``(S, N)`` atom indices counted from 0.
    atomic_numbers
        ``(N,)``: only atoms of the same element may be exchanged.
    require_group
        Refuse a set that is not closed under products.

    Raises
    ------
    SymmetryError
        Beside what `as_permutations` refuses: when a row exchanges different elements or is
        repeated, or when the set is no group.
    """
    rows = as_permutations(permutations, len(atomic_numbers))
    mixing = np.flatnonzero((atomic_numbers[rows] != atomic_numbers).any(axis=1))
    if mixing.size:
        raise SymmetryError(
            f"expected permutations of like atoms, but row {mixing[0]} exchanges different "
            "elements; check the order of the atoms"
        )
    if len(np.unique(rows, axis=0)) != len(rows):
        raise SymmetryError("expected distinct permutations, got a repeated row; remove it")
    if require_group and not is_group(rows):
        raise SymmetryError(
            f"expected a group, but the {len(rows)} permutations are not closed under products "
            "or lack the identity; kraft.symmetry.group.closure completes them"
        )
    return canonical(rows)


def canonical(permutations: IntArray) -> IntArray:
    """Return the rows of ``(S, N)`` without repetition and sorted; the identity comes first."""
    rows: IntArray = np.unique(permutations, axis=0)
    return rows


def extend(group: IntArray, generators: IntArray, limit: int) -> IntArray | None:
    """Return the group that ``group`` and ``generators`` span, by adding whole cosets.

    Dimino's algorithm: with H the rows of ``group``, cosets ``H x`` are added until the products
    of every coset's representative with every generator are inside, which takes one product of
    whole arrays per coset instead of one per pair of elements.

    Parameters
    ----------
    group
        ``(S, N)``, closed already (the identity alone will do).
    generators
        ``(G, N)``: must contain generators of ``group`` too.
    limit
        The largest order wanted.

    Returns
    -------
    IntArray or None
        ``(S', N)``, or ``None`` when the order exceeds ``limit``.
    """
    cosets = [np.ascontiguousarray(group)]
    seen = {row.tobytes() for row in cosets[0]}
    representatives = [identity(group.shape[1])]
    for representative in representatives:
        for generator in generators:
            product = np.ascontiguousarray(representative[generator])
            if product.tobytes() in seen:
                continue
            if (len(cosets) + 1) * len(group) > limit:
                return None
            coset = np.ascontiguousarray(group[:, product])
            cosets.append(coset)
            seen.update(row.tobytes() for row in coset)
            representatives.append(product)
    return np.concatenate(cosets)


def closure(permutations: ArrayLike, *, max_order: int = 100_000) -> IntArray:
    """Return the smallest group ``(S, N)`` that contains the given permutations, sorted.

    Raises
    ------
    SymmetryError
        When a row is no permutation or the group has more than ``max_order`` elements.

    Examples
    --------
    >>> closure([[1, 2, 0]])
    array([[0, 1, 2],
           [1, 2, 0],
           [2, 0, 1]])
    """
    rows = as_permutations(permutations)
    group = identity(rows.shape[1])[None]
    used: list[IntArray] = []
    for row in rows:
        if (group == row).all(axis=1).any():
            continue
        used.append(row)
        larger = extend(group, np.stack(used), max_order)
        if larger is None:
            raise SymmetryError(
                f"expected a group of at most {max_order} permutations, but {len(rows)} rows "
                "span more; raise max_order or leave out permutations that are no symmetries"
            )
        group = larger
    return canonical(group)


def generators(group: IntArray) -> IntArray:
    """Return few rows ``(G, N)`` of a group that span it; none for the trivial group.

    The elements that move the fewest atoms are taken first, so that independent symmetries
    (a methyl rotor, a ring flip) come out separately.
    """
    moved = (group != identity(group.shape[1])).sum(axis=1)
    spanned = identity(group.shape[1])[None]
    chosen: list[IntArray] = []
    for row in group[np.argsort(moved, kind="stable")]:
        if len(spanned) == len(group):
            break
        if (spanned == row).all(axis=1).any():
            continue
        chosen.append(row)
        larger = extend(spanned, np.stack(chosen), len(group))
        if larger is None:
            raise SymmetryError(
                "expected a group, got permutations that are not closed under products; "
                "kraft.symmetry.group.closure completes them"
            )
        spanned = larger
    return np.stack(chosen) if chosen else group[:0]
