"""That all frames of a file are one molecule in one atom order and one cell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.data import chemical_symbols
from ase.formula import Formula

from kraft.core.errors import DataError
from kraft.core.typing import AnyArray, FloatArray, IntArray


def require_one_molecule(numbers: Sequence[AnyArray], source: str) -> IntArray:
    """Return the atomic numbers that all frames share.

    Parameters
    ----------
    numbers
        For each frame its ``(N,)`` atomic numbers.
    source
        Name of the file, for the message.

    Raises
    ------
    DataError
        When a frame differs; the message names the first one and says whether its atoms are only
        in another order.
    """
    first = np.asarray(numbers[0], dtype=np.int64)
    for index, other in enumerate(numbers):
        if np.array_equal(first, other):
            continue
        if np.array_equal(np.sort(first), np.sort(other)):
            atom = int(np.flatnonzero(first != other)[0])
            raise DataError(
                f"{source}: frame {index} has the atoms of frame 0 in another order (first at atom "
                f"{atom}: {_symbol(other[atom])} instead of {_symbol(first[atom])}). Expected one "
                "order in all frames; reorder the atoms, with their forces."
            )
        raise DataError(
            f"{source}: frame {index} is {_formula(other)} ({len(other)} atoms), frame 0 is "
            f"{_formula(first)} ({len(first)} atoms). Expected one molecule in all frames; split "
            "the file, one molecule each."
        )
    return first


def common_cell(frames: Sequence[Atoms], source: str, notices: list[str]) -> FloatArray | None:
    """Return the cell that all frames share, rows are vectors, or None for free molecules.

    A cell without periodic boundary conditions is ignored. Appends to ``notices`` when only some
    directions are periodic, since distances are then taken to the nearest image in all three.

    Raises
    ------
    DataError
        When frames differ in their cell or periodicity, or a periodic cell has no volume.
    """
    first = frames[0]
    for index, atoms in enumerate(frames):
        same = np.array_equal(atoms.pbc, first.pbc) and (
            not first.pbc.any() or np.allclose(atoms.cell[:], first.cell[:], atol=1e-8)
        )
        if not same:
            raise DataError(
                f"{source}: frame {index} has another cell or periodicity than frame 0. Expected "
                "one cell for all frames; use frames of a simulation at constant volume."
            )
    if not first.pbc.any():
        return None
    cell = np.array(first.cell[:], dtype=np.float64)
    if abs(np.linalg.det(cell)) < 1e-8:
        raise DataError(
            f"{source} is periodic but its cell has no volume. Expected three independent vectors; "
            "where a direction is not periodic give it a vector longer than the system."
        )
    if not first.pbc.all():
        notices.append(
            f"{source} is periodic in some directions only; distances are taken to the nearest "
            "image in all three, so the cell must be wide enough in the others."
        )
    return cell


def _symbol(number: int) -> str:
    return chemical_symbols[number]


def _formula(numbers: AnyArray) -> str:
    return str(Formula.from_list([_symbol(number) for number in numbers]).format("hill"))
