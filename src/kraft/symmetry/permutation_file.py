"""Reading the permutations that a user gives instead of having them found."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from kraft.core.errors import SymmetryError
from kraft.core.files import atomic_path
from kraft.core.typing import AnyArray, IntArray
from kraft.symmetry.group import validate


def read_permutations(path: str | os.PathLike[str], atomic_numbers: IntArray) -> IntArray:
    """Read a group of permutations ``(S, N)`` from a file.

    The file is either a NumPy ``.npy`` array of shape (S, N), or text: one permutation per line,
    N atom indices **counted from 0** and separated by blanks or commas; ``#`` starts a comment.
    Row ``p`` means ``new_positions = positions[p]``. The identity may be left out; all other
    elements of the group must be there.

    Raises
    ------
    SymmetryError
        When the file cannot be read as such, or the permutations do not fit the molecule or are
        no group.
    OSError
        When there is no such file.
    """
    source = Path(path)
    rows = _read_array(source) if source.suffix == ".npy" else _read_text(source)
    try:
        if rows.ndim == 2 and rows.shape[1] == len(atomic_numbers):
            identity = np.arange(len(atomic_numbers))
            if not (rows == identity).all(axis=1).any():
                rows = np.vstack([identity, rows])
        return validate(rows, atomic_numbers)
    except SymmetryError as error:
        raise SymmetryError(f"{source.name}: {error}") from error


def write_permutations(path: str | os.PathLike[str], permutations: IntArray) -> None:
    """Write permutations ``(S, N)`` as text that `read_permutations` reads."""
    lines = [
        "# Permutations of atoms: one per line, indices count from 0.",
        "# Row p means new_positions = positions[p].",
        *(" ".join(map(str, row)) for row in permutations.tolist()),
    ]
    with atomic_path(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _read_array(path: Path) -> AnyArray:
    try:
        loaded: AnyArray = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise SymmetryError(
            f"{path.name}: expected a NumPy .npy array of whole numbers, which this file is not "
            f"({error}); write it with numpy.save"
        ) from error
    return loaded


def _read_text(path: Path) -> AnyArray:
    rows: list[list[int]] = []
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise SymmetryError(
            f"{path.name}: expected text with one permutation per line, got binary data; "
            "give a .npy file that suffix"
        ) from error
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split("#")[0].replace(",", " ").split()
        if not words:
            continue
        try:
            rows.append([int(word) for word in words])
        except ValueError as error:
            raise SymmetryError(
                f"{path.name}, line {number}: expected atom indices counted from 0, got {line!r}"
            ) from error
        if len(rows[-1]) != len(rows[0]):
            raise SymmetryError(
                f"{path.name}, line {number}: expected {len(rows[0])} indices as in the lines "
                f"before, got {len(rows[-1])}"
            )
    if not rows:
        raise SymmetryError(f"{path.name}: expected at least one permutation, got none")
    return np.array(rows)
