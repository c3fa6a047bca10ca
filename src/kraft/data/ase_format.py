"""Extended XYZ and every other format that ASE reads with energies and forces.

ASE converts the output of electronic-structure programs to eV and Å; extended XYZ and a few others
carry bare numbers, so their units must be in the file (``energy_unit=eV length_unit=Ang`` in the
comment line, as kraft writes it) or be given.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ase import Atoms

from kraft.core.errors import DataError, UnitError
from kraft.core.typing import AnyArray, FloatArray
from kraft.data.composition import common_cell, require_one_molecule
from kraft.data.dataset import Dataset, Provenance
from kraft.data.units import Units
from kraft.data.validity import frame_list, require_usable

_WITHOUT_UNITS = frozenset(
    {"extxyz", "xyz", "cfg", "n2p2", "lammps-dump-text", "lammps-dump-binary"}
)
"""Formats whose numbers ASE passes on in whatever unit they were written."""

_FORCES_KEYS = ("forces", "Forces", "force")
_ENERGY_KEYS = ("energy", "Energy")
_NESTED_INFO = ("data", "key_value_pairs")
"""Entries of ``Atoms.info`` under which ASE puts what a database row holds beside results."""

_ALWAYS_THERE = frozenset({"numbers", "positions"})


class _Found(NamedTuple):
    """A value of one frame, and whether it is a calculator result (so in ASE's units)."""

    value: Any
    is_result: bool


def read_ase(
    path: str | os.PathLike[str],
    *,
    energy_key: str | None = None,
    forces_key: str | None = None,
    energy_unit: str | None = None,
    length_unit: str | None = None,
) -> Dataset:
    """Read a dataset with ASE.

    Parameters
    ----------
    path
        The file; ASE finds the format from its name and content.
    energy_key, forces_key
        Names under which energies and forces are stored where they are not the standard ones;
        looked up among calculator results, ``Atoms.info`` and ``Atoms.arrays``. Without
        ``energy_key`` the force-consistent ``free_energy`` is preferred where a program reports
        both.
    energy_unit, length_unit
        Units of the file; needed where neither format nor file defines them.

    Raises
    ------
    DataError
        When the file cannot be read, forces (or energies under an explicit key) are missing, or
        the frames are not one molecule in one atom order and cell.
    UnitError
        When the energy unit is not known or a unit is unknown.
    """
    path = Path(path)
    file_format, frames = read_frames(path)
    notices: list[str] = []
    numbers = require_one_molecule([atoms.numbers for atoms in frames], path.name)
    forces, forces_are_results = _forces(path, frames, forces_key)
    energies, energies_are_results = _energies(path, frames, energy_key, notices)
    units_known = file_format not in _WITHOUT_UNITS and forces_are_results and energies_are_results
    units = _units(path, frames, units_known, energy_unit, length_unit)
    cell = common_cell(frames, path.name, notices)
    info = frames[0].info
    dataset = Dataset(
        atomic_numbers=numbers,
        positions=np.array([atoms.positions for atoms in frames]) * units.length_factor,
        forces=forces * units.force_factor,
        energies=None if energies is None else energies * units.energy_factor,
        cell=None if cell is None else cell * units.length_factor,
        units=units,
        provenance=Provenance(
            name=str(info.get("name", path.stem)),
            theory=str(info.get("theory", "")),
            source=path.name,
        ),
        notices=tuple(notices),
    )
    return require_usable(dataset, path.name)


def read_frames(path: Path) -> tuple[str, list[Atoms]]:
    """Return the name of the format and all frames, at least one; DataError when there are none."""
    from ase.io.formats import UnknownFileTypeError, filetype  # slow: only where a file is read

    if not path.is_file():
        raise DataError(f"There is no file {path}. Check the path.")
    if path.stat().st_size == 0:
        raise DataError(f"{path.name} is empty. Expected geometries with forces.")
    try:
        file_format = str(filetype(str(path), read=True))
        frames = _parse(path, file_format)
    except UnknownFileTypeError as error:
        raise DataError(
            f"{path.name} is in a format that ASE does not know. Expected an sGDML .npz, an "
            "extended XYZ file (.xyz) or another format that ASE reads; give the file the suffix "
            "of its format."
        ) from error
    except Exception as error:  # the readers of 80 formats raise anything
        raise DataError(
            f"ASE cannot read {path.name}: {str(error) or type(error).__name__}. Expected an "
            "sGDML .npz, an extended XYZ file or another format that ASE reads; check that the "
            "file is whole and that its suffix fits its content."
        ) from error
    if not frames:
        raise DataError(f"{path.name} holds no frames. Expected geometries with forces.")
    return file_format, frames


def _parse(path: Path, file_format: str) -> list[Atoms]:
    """Return the frames; of a database row also what it holds beside results."""
    import ase.db  # slow, too
    import ase.io

    if file_format in ("db", "json"):
        connect: Any = ase.db.connect  # untyped in ASE
        with connect(str(path), type=file_format) as database:
            return [row.toatoms(add_additional_information=True) for row in database.select()]
    found = ase.io.read(str(path), index=":", format=file_format, do_not_split_by_at_sign=True)
    return list(found)


def _find(atoms: Atoms, key: str) -> _Found | None:
    """Return what a frame holds under ``key``."""
    results = getattr(atoms.calc, "results", {})
    if results.get(key) is not None:
        return _Found(results[key], True)
    for place in (atoms.info, atoms.arrays, *(atoms.info.get(name) for name in _NESTED_INFO)):
        if isinstance(place, dict) and place.get(key) is not None:
            return _Found(place[key], False)
    return None


def _keys(atoms: Atoms) -> str:
    """Return the names under which a frame holds anything, for an error message."""
    names = set(getattr(atoms.calc, "results", {})) | set(atoms.arrays) - _ALWAYS_THERE
    for place in (atoms.info, *(atoms.info.get(name) for name in _NESTED_INFO)):
        if isinstance(place, dict):
            names |= {str(name) for name in place if name not in _NESTED_INFO}
    return ", ".join(sorted(names)) or "none"


def _collect(path: Path, frames: list[Atoms], key: str) -> tuple[list[Any], bool]:
    """Return the value of every frame under ``key``, and whether all are results."""
    found = [_find(atoms, key) for atoms in frames]
    missing = np.array([index for index, entry in enumerate(found) if entry is None])
    if len(missing):
        raise DataError(
            f"{path.name}: {key!r} is missing in {frame_list(missing)} out of {len(frames)}. "
            "Expected it in every frame; remove these frames or repeat their calculations."
        )
    present = [entry for entry in found if entry is not None]
    return [entry.value for entry in present], all(entry.is_result for entry in present)


def _first_key(frames: list[Atoms], keys: tuple[str, ...]) -> str | None:
    for key in keys:
        if any(_find(atoms, key) is not None for atoms in frames):
            return key
    return None


def _forces(path: Path, frames: list[Atoms], key: str | None) -> tuple[AnyArray, bool]:
    found = _first_key(frames, (key,) if key else _FORCES_KEYS)
    if found is None:
        wanted = repr(key) if key else "'forces'"
        raise DataError(
            f"{path.name} has no forces under {wanted}. The keys there are: {_keys(frames[0])}. "
            "Name the right one with --forces-key (Python: forces_key=)."
        )
    values, are_results = _collect(path, frames, found)
    n_atoms = len(frames[0])
    for index, value in enumerate(values):
        if np.shape(value) != (n_atoms, 3):
            raise DataError(
                f"{path.name}: expected {found!r} of shape ({n_atoms}, 3) in each frame, got "
                f"{np.shape(value)} in frame {index}. Name the forces with --forces-key (Python: "
                "forces_key=)."
            )
    return _as_float(path, found, values), are_results


def _energies(
    path: Path, frames: list[Atoms], key: str | None, notices: list[str]
) -> tuple[FloatArray | None, bool]:
    found = _first_key(frames, (key,) if key else _ENERGY_KEYS)
    if found is None:
        if key:
            raise DataError(
                f"{path.name} has no energies under {key!r}. The keys there are: "
                f"{_keys(frames[0])}. Name the right one with --energy-key (Python: energy_key=), "
                "or leave it out to use forces only."
            )
        notices.append(
            f"{path.name} has no energies under 'energy', so only forces are read. If they are "
            "there under another name, give it with --energy-key (Python: energy_key=); the keys "
            f"there are: {_keys(frames[0])}."
        )
        return None, True
    values, are_results = _collect(path, frames, found)
    energies = _as_float(path, found, values)
    if energies.size != len(frames):
        raise DataError(
            f"{path.name}: expected one number under {found!r} in each frame, got an array of "
            f"shape {energies.shape[1:]}. Name the energies with --energy-key (Python: "
            "energy_key=)."
        )
    energies = energies.reshape(len(frames))
    if key is None and all(_is_result(atoms, "free_energy") for atoms in frames):
        free = np.array([atoms.calc.results["free_energy"] for atoms in frames], dtype=float)
        if not np.allclose(free, energies, rtol=0, atol=1e-9):
            notices.append(
                f"{path.name} has two energies; the free energy is used, since the forces are its "
                "gradient. The extrapolated one is read with --energy-key energy (Python: "
                "energy_key='energy')."
            )
            energies = free
    return energies, are_results


def _is_result(atoms: Atoms, key: str) -> bool:
    return getattr(atoms.calc, "results", {}).get(key) is not None


def _as_float(path: Path, key: str, values: list[Any]) -> FloatArray:
    try:
        return np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{path.name}: {key!r} holds something else than numbers ({error}). Name the right "
            "key with --forces-key or --energy-key (Python: forces_key=, energy_key=)."
        ) from error


def _units(
    path: Path,
    frames: list[Atoms],
    known: bool,
    energy_unit: str | None,
    length_unit: str | None,
) -> Units:
    """Return the units: as told, else as the file says, else eV and Å where ASE defines them."""
    energy = energy_unit or stated_unit(path, frames, "energy_unit") or ("eV" if known else None)
    length = length_unit or stated_unit(path, frames, "length_unit") or "Å"
    if energy is None:
        raise UnitError(
            f"{path.name} does not say in which unit its energies and forces are. Give it with "
            "--energy-unit (Python: energy_unit=), for example eV or kcal/mol; forces are then in "
            f"that unit per {Units(length=length).length_label} (--length-unit, length_unit=)."
        )
    return Units(energy, length)


def stated_unit(path: Path, frames: list[Atoms], key: str) -> str | None:
    """Return the unit that all frames name under ``key``, or None."""
    stated = {str(atoms.info[key]) if key in atoms.info else None for atoms in frames}
    if len(stated) > 1:
        raise UnitError(
            f"{path.name}: the frames name different units under {key!r}: "
            f"{', '.join(sorted(map(str, stated)))}. Expected one; write them in one unit."
        )
    return stated.pop()
