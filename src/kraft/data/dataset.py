"""Reference data: the frames of one molecule with their forces and, if known, energies."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from ase.data import chemical_symbols
from ase.formula import Formula
from ase.symbols import symbols2numbers
from numpy.typing import ArrayLike

from kraft.core.errors import DataError
from kraft.core.typing import AnyArray, FloatArray, IntArray
from kraft.data.units import Units

_MAX_ATOMIC_NUMBER = 118


@dataclass(frozen=True, eq=False)
class Provenance:
    """Where a dataset comes from.

    Parameters
    ----------
    name
        What the data set calls itself, or an empty string.
    theory
        The level of theory as the source states it, or an empty string.
    source
        Name of the file (without its folder), or an empty string.
    source_fingerprint
        Fingerprint of the whole dataset from which this one was taken; empty for a dataset that
        is whole.
    indices
        ``(B,)`` int64: the frames of the source that these are, or None when it is whole.
    """

    name: str = ""
    theory: str = ""
    source: str = ""
    source_fingerprint: str = ""
    indices: IntArray | None = None

    def __post_init__(self) -> None:
        if self.indices is not None:
            object.__setattr__(self, "indices", _frozen(self.indices, np.int64, "indices"))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Frames of one molecule in one atom order, in eV and Å. Immutable; arrays are read-only.

    Parameters
    ----------
    atomic_numbers
        ``(N,)`` atomic numbers.
    positions
        ``(B, N, 3)`` positions in Å. One frame ``(N, 3)`` is taken as ``B = 1``.
    forces
        ``(B, N, 3)`` forces in eV/Å.
    energies
        ``(B,)`` energies in eV, or None. ``(B, 1)`` is flattened.
    cell
        ``(3, 3)`` cell in Å, rows are the vectors, or None for a molecule in free space.
    units
        Units of the source; used for display only.
    provenance
        Where the frames come from.
    notices
        What a reader assumed or left out: one sentence each, for a person to see.

    Raises
    ------
    DataError
        When shapes do not fit together or an atomic number is none.

    Examples
    --------
    >>> ds = Dataset([1, 1], [[[0, 0, 0], [0, 0, 0.8]]], [[[0, 0, 1], [0, 0, -1]]], [-31.0])
    >>> len(ds), ds.n_atoms, ds.formula
    (1, 2, 'H2')
    """

    atomic_numbers: IntArray
    positions: FloatArray
    forces: FloatArray
    energies: FloatArray | None = None
    cell: FloatArray | None = None
    units: Units = field(default_factory=Units)
    provenance: Provenance = field(default_factory=Provenance)
    notices: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        numbers = _atomic_numbers(self.atomic_numbers)
        n_atoms = len(numbers)
        positions = _frames(self.positions, n_atoms, "positions")
        forces = _frames(self.forces, n_atoms, "forces")
        if len(forces) != len(positions):
            raise DataError(
                f"There are {len(positions)} frames of positions but {len(forces)} of forces. "
                "Expected one array of forces for each frame; leave out the frames without forces."
            )
        object.__setattr__(self, "atomic_numbers", numbers)
        object.__setattr__(self, "positions", positions)
        object.__setattr__(self, "forces", forces)
        if self.energies is not None:
            object.__setattr__(self, "energies", _energies(self.energies, len(positions)))
        if self.cell is not None:
            object.__setattr__(self, "cell", _cell(self.cell))
        object.__setattr__(self, "notices", tuple(self.notices))

    def __len__(self) -> int:
        return len(self.positions)

    def __repr__(self) -> str:
        name = f"{self.provenance.name}: " if self.provenance.name else ""
        return f"<Dataset {name}{len(self)} frames of {self.formula} ({self.n_atoms} atoms)>"

    @property
    def n_atoms(self) -> int:
        """Number of atoms in each frame."""
        return len(self.atomic_numbers)

    @property
    def formula(self) -> str:
        """Chemical formula in Hill order."""
        symbols = [chemical_symbols[number] for number in self.atomic_numbers]
        return str(Formula.from_list(symbols).format("hill"))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the atomic numbers, positions, forces, energies and cell.

        Name, theory, display units and origin do not enter, so the same numbers read from two
        files have the same fingerprint.
        """
        digest = hashlib.sha256(b"kraft dataset 1")
        parts: tuple[tuple[str, AnyArray | None], ...] = (
            ("atomic_numbers", self.atomic_numbers),
            ("positions", self.positions),
            ("forces", self.forces),
            ("energies", self.energies),
            ("cell", self.cell),
        )
        for name, array in parts:
            if array is not None:
                little_endian = array.dtype.newbyteorder("<")
                digest.update(f"{name}{array.shape}".encode())
                digest.update(array.astype(little_endian, copy=False).tobytes())
        return digest.hexdigest()

    @property
    def source_fingerprint(self) -> str:
        """Fingerprint of the whole dataset that these frames belong to."""
        return self.provenance.source_fingerprint or self.fingerprint

    def subset(self, indices: Sequence[int] | IntArray) -> Dataset:
        """Return the frames ``indices``, in that order.

        Parameters
        ----------
        indices
            ``(K,)`` frame numbers from 0 to ``len(self) - 1``; negative ones count from the end.

        Raises
        ------
        DataError
            When an index is not an integer or is out of range.
        """
        chosen = np.atleast_1d(np.asarray(indices))
        if chosen.size == 0:
            chosen = chosen.astype(np.int64)
        if chosen.ndim != 1 or chosen.dtype.kind not in "iu":
            raise DataError(
                f"Expected a list of whole frame numbers, got {chosen.dtype} of shape "
                f"{chosen.shape}. Turn a mask into numbers with numpy.flatnonzero."
            )
        if chosen.size and (chosen.min() < -len(self) or chosen.max() >= len(self)):
            raise DataError(
                f"Frame numbers must lie between 0 and {len(self) - 1}, got "
                f"{chosen.min()} to {chosen.max()}. The dataset has {len(self)} frames."
            )
        chosen = np.where(chosen < 0, chosen + len(self), chosen).astype(np.int64)
        old = self.provenance.indices
        provenance = replace(
            self.provenance,
            source_fingerprint=self.source_fingerprint,
            indices=chosen if old is None else old[chosen],
        )
        return replace(
            self,
            positions=self.positions[chosen],
            forces=self.forces[chosen],
            energies=None if self.energies is None else self.energies[chosen],
            provenance=provenance,
        )


def _frozen(values: ArrayLike, dtype: type, name: str) -> AnyArray:
    """Return a read-only copy of ``values``, so that nothing outside can change it."""
    try:
        array: AnyArray = np.array(values, dtype=dtype, order="C")
    except (TypeError, ValueError) as error:
        raise DataError(
            f"Expected {name} as a rectangular array of numbers: {error}. "
            "All frames must hold the same atoms."
        ) from error
    array.setflags(write=False)
    return array


def _atomic_numbers(values: ArrayLike) -> IntArray:
    raw = np.asarray(values)
    if raw.dtype.kind in "US":
        raw = np.array(symbols2numbers([str(symbol) for symbol in raw.astype(str)]))
    numbers = _frozen(raw, np.int64, "atomic numbers")
    if numbers.ndim != 1 or len(numbers) == 0:
        raise DataError(
            f"Expected atomic numbers of shape (N,) with N > 0, got shape {numbers.shape}. "
            "Give one number for each atom, the same for all frames."
        )
    if raw.dtype.kind not in "iu" and not np.array_equal(raw, numbers):
        raise DataError("Expected whole atomic numbers, got fractions. Check their array.")
    if numbers.min() < 1 or numbers.max() > _MAX_ATOMIC_NUMBER:
        raise DataError(
            f"Expected atomic numbers from 1 to {_MAX_ATOMIC_NUMBER}, got "
            f"{numbers.min()} to {numbers.max()}. Remove dummy atoms from the frames."
        )
    return numbers


def _frames(values: ArrayLike, n_atoms: int, name: str) -> FloatArray:
    array = _frozen(values, np.float64, name)
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or array.shape[1:] != (n_atoms, 3):
        raise DataError(
            f"Expected {name} of shape (frames, {n_atoms}, 3) for {n_atoms} atoms, got "
            f"{np.shape(values)}. Check that {name} and atomic numbers belong together."
        )
    return array


def _energies(values: ArrayLike, n_frames: int) -> FloatArray:
    array = _frozen(values, np.float64, "energies")
    if array.shape not in ((n_frames,), (n_frames, 1)) and not (n_frames == 1 == array.size):
        raise DataError(
            f"Expected energies of shape ({n_frames},), one for each frame, got {array.shape}. "
            "Check that energies and positions belong together."
        )
    return array.reshape(n_frames)


def _cell(values: ArrayLike) -> FloatArray:
    array = _frozen(values, np.float64, "cell")
    if array.shape != (3, 3):
        raise DataError(
            f"Expected a cell of shape (3, 3) with the vectors as rows, got {array.shape}. "
            "Give the three vectors, or no cell for a molecule in free space."
        )
    if not np.all(np.isfinite(array)) or abs(np.linalg.det(array)) < 1e-8:
        raise DataError(
            "Expected three independent cell vectors, got a cell without volume. Correct the "
            "cell, or leave it out for a molecule in free space."
        )
    return array
