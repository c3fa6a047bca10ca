"""Choosing atoms by number, element or the bond graph.

A selection is written as words separated by commas, and names the atoms that any of them means:
``0-3`` and ``7`` (numbers counted from 0), ``C`` (element), ``all``, ``heavy`` (all but hydrogen),
``bonded to O`` or ``H bonded to O`` (neighbors in the bond graph), ``fragment 1`` (connected
components of the bond graph, in the order of their first atoms).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from ase.data import atomic_numbers as numbers_of_symbols
from ase.data import chemical_symbols, covalent_radii
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from kraft.core.errors import OptionError
from kraft.core.typing import FloatArray, IntArray
from kraft.data.geometry import pair_distances

BOND_FACTOR = 1.25
"""Atoms nearer than this times the sum of their covalent radii are bonded."""

_RANGE = re.compile(r"(\d+)\s*-\s*(\d+)")
_BONDED = re.compile(r"(?:(\S+)\s+)?bonded\s+to\s+(\S+)", re.IGNORECASE)
_FRAGMENT = re.compile(r"fragment\s+(\d+)", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class BondGraph:
    """Which atoms are bonded, by distances and covalent radii.

    Attributes
    ----------
    atomic_numbers
        ``(N,)``.
    bonds
        ``(K, 2)`` pairs ``i < j``.
    """

    atomic_numbers: IntArray
    bonds: IntArray

    @classmethod
    def of(
        cls, atomic_numbers: IntArray, positions: FloatArray, cell: FloatArray | None = None
    ) -> BondGraph:
        """Find the bonds of a geometry ``(N, 3)`` in Å, in a cell where one is given."""
        first, second = np.triu_indices(len(atomic_numbers), 1)
        radii = covalent_radii[atomic_numbers]
        near = pair_distances(positions[None], cell)[0] < BOND_FACTOR * (
            radii[first] + radii[second]
        )
        return cls(np.asarray(atomic_numbers), np.stack([first[near], second[near]], axis=1))

    @cached_property
    def neighbors(self) -> tuple[IntArray, ...]:
        """For each atom the atoms bonded to it, in order."""
        both = np.concatenate([self.bonds, self.bonds[:, ::-1]])
        return tuple(
            np.sort(both[both[:, 0] == atom, 1]) for atom in range(len(self.atomic_numbers))
        )

    @cached_property
    def fragments(self) -> tuple[IntArray, ...]:
        """The connected components, in the order of their first atoms."""
        n = len(self.atomic_numbers)
        entries = (np.ones(len(self.bonds)), (self.bonds[:, 0], self.bonds[:, 1]))
        count, labels = connected_components(csr_array(entries, shape=(n, n)), directed=False)
        parts = [np.flatnonzero(labels == label) for label in range(count)]
        return tuple(sorted(parts, key=lambda part: int(part[0])))

    def elements(self, symbol: str) -> IntArray:
        """Return the atoms of an element; OptionError when it is none."""
        number = numbers_of_symbols.get(symbol.capitalize())
        if number is None or not symbol.isalpha():
            raise OptionError(f"Expected an element such as C or O, got {symbol!r}.")
        return np.flatnonzero(self.atomic_numbers == number)

    def label(self, atom: int) -> str:
        """Return an atom as it is named in messages, ``C0``."""
        return f"{chemical_symbols[self.atomic_numbers[atom]]}{atom}"


def select_atoms(text: str, graph: BondGraph) -> IntArray:
    """Return the atoms that a selection names, in rising order.

    Raises
    ------
    OptionError
        When a word is not understood, an atom or fragment is not there, or no atom is meant.

    Examples
    --------
    >>> water = BondGraph(np.array([8, 1, 1]), np.array([[0, 1], [0, 2]]))
    >>> select_atoms("H", water), select_atoms("bonded to O", water), select_atoms("0,2", water)
    (array([1, 2]), array([1, 2]), array([0, 2]))
    """
    chosen = [_meant(word.strip(), graph) for word in text.split(",")]
    atoms: IntArray = np.unique(np.concatenate(chosen)).astype(np.int64)
    if len(atoms) == 0:
        raise OptionError(f"No atom of the molecule is meant by {text!r}. Choose others.")
    return atoms


def _meant(word: str, graph: BondGraph) -> IntArray:
    """Return the atoms that one word of a selection means."""
    n_atoms = len(graph.atomic_numbers)
    spread, bonded, fragment = (pattern.fullmatch(word) for pattern in (_RANGE, _BONDED, _FRAGMENT))
    if word.isdigit() or spread:
        first, last = (int(word), int(word)) if spread is None else map(int, spread.groups())
        if not first <= last < n_atoms:
            raise OptionError(
                f"Expected atoms from 0 to {n_atoms - 1} in rising order, got {word!r}. Atoms are "
                "counted from 0."
            )
        return np.arange(first, last + 1)
    if bonded:
        return _bonded(bonded[1], bonded[2], graph)
    if fragment:
        number = int(fragment[1])
        if number >= len(graph.fragments):
            raise OptionError(
                f"There is no {word!r}: the bond graph has {len(graph.fragments)} fragments, "
                "counted from 0."
            )
        return graph.fragments[number]
    if word.lower() == "all":
        return np.arange(n_atoms)
    if word.lower() == "heavy":
        return np.flatnonzero(graph.atomic_numbers > 1)
    try:
        return graph.elements(word)
    except OptionError as error:
        raise OptionError(
            f"Cannot tell which atoms {word!r} means. Expected numbers (0-3, 7), an element (C), "
            "all, heavy, 'bonded to O', 'H bonded to O' or 'fragment 0', separated by commas."
        ) from error


def _bonded(of: str | None, to: str, graph: BondGraph) -> IntArray:
    """Return the neighbors of atoms ``to``, those of element ``of`` only where it is given."""
    centers = _meant(to, graph)
    found = np.zeros(len(graph.atomic_numbers), dtype=bool)
    for center in centers:
        found[graph.neighbors[center]] = True
    if of is not None:
        wanted = np.zeros_like(found)
        wanted[_meant(of, graph)] = True
        found &= wanted
    return np.flatnonzero(found)
