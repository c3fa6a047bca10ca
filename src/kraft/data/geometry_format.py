"""Geometries without energies and forces, to predict for: whatever ASE reads, or an archive."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kraft.core.errors import DataError
from kraft.core.typing import FloatArray, IntArray
from kraft.data.archive import archive_keys, read_archive, text_entry
from kraft.data.ase_format import read_frames, stated_unit
from kraft.data.composition import common_cell, require_one_molecule
from kraft.data.units import Units
from kraft.data.validity import frame_list

_ARCHIVE_KEYS = (("z", "R"), ("nuclear_charges", "coords"))


@dataclass(frozen=True, eq=False)
class Geometries:
    """Frames of one molecule: ``atomic_numbers (N,)``, ``positions (B, N, 3)`` and cell in Å."""

    atomic_numbers: IntArray
    positions: FloatArray
    cell: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.positions)


def read_geometries(path: str | os.PathLike[str], *, length_unit: str | None = None) -> Geometries:
    """Read the geometries of a file; energies and forces in it are ignored.

    Parameters
    ----------
    path
        Anything that ASE reads, or a ``.npz`` archive in the sGDML layout.
    length_unit
        Unit of the positions; by default what the file says, else Å.

    Raises
    ------
    DataError
        When the file cannot be read, has no frames, or its frames are not one molecule in one
        order of atoms.
    UnitError
        When the unit is unknown.
    """
    source = Path(path)
    if source.is_dir():
        raise DataError(f"{source} is a folder. Expected a file of geometries.")
    found = (_from_archive if source.suffix == ".npz" else _from_ase)(source, length_unit)
    finite = np.isfinite(found.positions).all(axis=(1, 2))
    if not finite.all():
        raise DataError(
            f"{source.name}: positions are not finite (NaN or infinite) in "
            f"{frame_list(np.flatnonzero(~finite))}. Remove these frames."
        )
    return found


def _from_ase(path: Path, length_unit: str | None) -> Geometries:
    _, frames = read_frames(path)
    numbers = require_one_molecule([atoms.numbers for atoms in frames], path.name)
    unit = length_unit or stated_unit(path, frames, "length_unit") or "Å"
    factor = Units(length=unit).length_factor
    cell = common_cell(frames, path.name, [])
    positions = np.array([atoms.positions for atoms in frames]) * factor
    return Geometries(numbers, positions, None if cell is None else cell * factor)


def _from_archive(path: Path, length_unit: str | None) -> Geometries:
    keys = archive_keys(path)
    for numbers_key, positions_key in _ARCHIVE_KEYS:
        if numbers_key in keys and positions_key in keys:
            break
    else:
        raise DataError(
            f"{path.name} holds no geometries: expected the keys z and R, found "
            f"{', '.join(sorted(keys)) or 'none'}."
        )
    arrays = read_archive(path, (numbers_key, positions_key, "lattice"))
    texts = read_archive(path, ("r_unit",), skip_pickled=True)
    factor = Units(length=length_unit or text_entry(texts.get("r_unit")) or "Å").length_factor
    positions = np.asarray(arrays[positions_key])
    numbers = np.asarray(arrays[numbers_key]).reshape(-1)
    if positions.dtype.kind not in "fiu" or numbers.dtype.kind not in "iu":
        raise DataError(f"{path.name}: {numbers_key} and {positions_key} must hold numbers.")
    positions = positions.astype(np.float64)
    positions = positions[None] if positions.ndim == 2 else positions
    if positions.ndim != 3 or positions.shape[1:] != (len(numbers), 3) or len(positions) == 0:
        raise DataError(
            f"{path.name}: expected {positions_key} of shape (frames, {len(numbers)}, 3), got "
            f"{positions.shape}. Check that {positions_key} and {numbers_key} belong together."
        )
    lattice = arrays.get("lattice")
    cell = None if lattice is None else np.asarray(lattice, dtype=np.float64).T * factor
    return Geometries(numbers.astype(np.int64), positions * factor, cell)
