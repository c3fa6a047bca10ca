"""The sGDML dataset layout: NumPy archives of every vintage, and rMD17 archives.

Layout: ``z`` (N,), ``R`` (M, N, 3), ``F`` (M, N, 3), optional ``E`` (M,) or (M, 1), ``name``,
``theory``, ``r_unit``, ``e_unit``, ``lattice`` (3, 3; columns are the vectors), ``type`` = ``d``,
``md5``. By the convention of the format, a file without unit keys is in kcal/mol and Å.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kraft.core.errors import DataError, UnitError
from kraft.core.typing import AnyArray
from kraft.data.archive import archive_keys, read_archive, text_entry, write_archive
from kraft.data.dataset import Dataset, Provenance
from kraft.data.frame_contributions import FrameContributions
from kraft.data.frame_uncertainty import FrameUncertainty
from kraft.data.units import Units
from kraft.data.validity import require_usable
from kraft.version import __version__

_TEXT_KEYS = ("type", "name", "theory", "r_unit", "e_unit")
_MODEL_KEYS = frozenset({"R_desc", "R_d_desc_alpha", "alphas_F"})
_KINDS = {"m": "an sGDML model", "t": "an sGDML training task"}


@dataclass(frozen=True)
class _Layout:
    """Which key holds what; ``implied`` are the units when the file names none."""

    numbers: str
    positions: str
    forces: str
    energies: str
    implied: Units | None


_SGDML = _Layout("z", "R", "F", "E", Units("kcal/mol", "Å"))
_RMD17 = _Layout("nuclear_charges", "coords", "forces", "energies", None)


def read_sgdml(
    path: str | os.PathLike[str],
    *,
    energy_key: str | None = None,
    forces_key: str | None = None,
    energy_unit: str | None = None,
    length_unit: str | None = None,
) -> Dataset:
    """Read a dataset from a ``.npz`` archive in the sGDML (or rMD17) layout.

    Parameters
    ----------
    energy_key, forces_key
        Keys of the energies and forces where they are not ``E`` and ``F``.
    energy_unit, length_unit
        Units of the file; they overrule what it says about itself.

    Raises
    ------
    DataError
        When the file is no archive, is damaged, is a model, lacks a key, holds a pickled object
        under a needed key, or has wrong shapes, values that are not finite or no frames.
    UnitError
        When a unit is unknown or must be given.
    """
    path = Path(path)
    keys = archive_keys(path)
    layout = _RMD17 if "coords" in keys and "R" not in keys else _SGDML
    texts = read_archive(path, _TEXT_KEYS, skip_pickled=True)
    text = {key: text_entry(array) for key, array in texts.items()}
    _require_dataset(path, keys, text.get("type", ""))
    forces_at = forces_key or layout.forces
    energies_at = energy_key or layout.energies
    needed = [layout.numbers, layout.positions, forces_at] + ([energy_key] if energy_key else [])
    _require_keys(path, keys, needed)
    notices: list[str] = []
    units = _units(path, layout, text, energy_unit, length_unit, notices)
    arrays = read_archive(path, [*needed, energies_at, "lattice"])
    if energies_at not in arrays:
        notices.append(
            f"{path.name} holds no energies, so only forces are read; energies will be known up "
            "to a constant."
        )
    numbers = {key: _numeric(path, key, arrays) for key in arrays}
    energies, lattice = numbers.get(energies_at), numbers.get("lattice")
    dataset = Dataset(
        atomic_numbers=numbers[layout.numbers].reshape(-1),
        positions=numbers[layout.positions] * units.length_factor,
        forces=numbers[forces_at] * units.force_factor,
        energies=None if energies is None else energies * units.energy_factor,
        cell=None if lattice is None else lattice.T * units.length_factor,
        units=units,
        provenance=Provenance(
            name=text.get("name") or path.stem, theory=text.get("theory", ""), source=path.name
        ),
        notices=tuple(notices),
    )
    return require_usable(dataset, path.name)


def write_sgdml(
    dataset: Dataset,
    path: str | os.PathLike[str],
    units: Units | None = None,
    uncertainty: FrameUncertainty | None = None,
    contributions: FrameContributions | None = None,
) -> None:
    """Write ``dataset`` as an sGDML ``.npz`` dataset that sgdml 1.0.3 takes.

    Parameters
    ----------
    dataset
        What to write.
    path
        Where to; the file appears whole or not at all.
    units
        Units in the file; the dataset's own display units by default.
    uncertainty
        Standard deviations to write as ``F_std`` and ``E_std``, and ``novelty``.
    contributions
        Contributions of atoms to write as ``E_atoms`` and ``F_atoms``, with ``E_offset``.

    Raises
    ------
    OSError
        When the file cannot be written.
    """
    units = units or dataset.units
    arrays: dict[str, AnyArray] = {
        "type": np.array("d"),
        "code_version": np.array(f"kraft {__version__}"),
        "name": np.array(dataset.provenance.name or "dataset"),
        "theory": np.array(dataset.provenance.theory or "unknown"),
        "z": dataset.atomic_numbers.astype(np.uint8),
        "R": dataset.positions / units.length_factor,
        "F": dataset.forces / units.force_factor,
        "r_unit": np.array(_ASCII.get(units.length, units.length)),
        "e_unit": np.array(units.energy),
    }
    if dataset.energies is not None:
        arrays["E"] = dataset.energies / units.energy_factor
    if dataset.cell is not None:
        arrays["lattice"] = dataset.cell.T / units.length_factor
    for key in ("E", "F"):
        if key in arrays:
            values = arrays[key]
            arrays[f"{key}_min"], arrays[f"{key}_max"] = np.array(values.min()), values.max()
            arrays[f"{key}_mean"], arrays[f"{key}_var"] = np.array(values.mean()), values.var()
    arrays["md5"] = np.array(sgdml_md5(arrays))
    if uncertainty is not None:
        arrays["F_std"] = uncertainty.forces / units.force_factor
        if uncertainty.energies is not None:
            arrays["E_std"] = uncertainty.energies / units.energy_factor
        arrays["novelty"] = uncertainty.novelty
    if contributions is not None:
        arrays["E_atoms"] = contributions.energies / units.energy_factor
        arrays["E_offset"] = np.array(contributions.energy_offset / units.energy_factor)
        if contributions.forces is not None:
            arrays["F_atoms"] = contributions.forces / units.force_factor
    write_archive(path, arrays)


_ASCII = {"Å": "Ang"}


def sgdml_md5(arrays: dict[str, AnyArray]) -> bytes:
    """Return the fingerprint by which sgdml knows a dataset: MD5 of z, R, E and F as stored.

    It identifies, it does not protect; models store it (``md5_train``) to name their data.
    """
    digest = hashlib.md5(usedforsecurity=False)
    for key in ("z", "R", "E", "F"):
        if key in arrays:
            flat = np.ascontiguousarray(arrays[key]).reshape(-1)
            digest.update(hashlib.md5(flat.tobytes(), usedforsecurity=False).digest())
    return digest.hexdigest().encode()


def _require_dataset(path: Path, keys: tuple[str, ...], kind: str) -> None:
    if kind not in _KINDS and _MODEL_KEYS & set(keys):
        kind = "m"
    if kind in _KINDS:
        raise DataError(
            f"{path.name} is {_KINDS[kind]}, not a dataset. Expected frames with forces (z, R, F); "
            "give the file of the reference data instead."
        )


def _require_keys(path: Path, keys: tuple[str, ...], needed: list[str]) -> None:
    missing = [key for key in needed if key not in keys]
    if missing:
        raise DataError(
            f"{path.name} has no {' and no '.join(map(repr, missing))}. Expected an sGDML dataset "
            f"with z, R, F (and E); the keys there are: {', '.join(sorted(keys)) or 'none'}. Name "
            "others with --forces-key and --energy-key (Python: forces_key=, energy_key=)."
        )


def _numeric(path: Path, key: str, arrays: dict[str, AnyArray]) -> AnyArray:
    array = arrays[key]
    if array.dtype.kind not in "fiu":
        raise DataError(
            f"Entry {key!r} of {path.name} holds {array.dtype}, not real numbers. Check the file."
        )
    return array.astype(np.float64)


def _units(
    path: Path,
    layout: _Layout,
    text: dict[str, str],
    energy_unit: str | None,
    length_unit: str | None,
    notices: list[str],
) -> Units:
    """Return the units of a file: as told, else as it says, else as its format implies."""
    stated = {"energy": text.get("e_unit", "").strip(), "length": text.get("r_unit", "").strip()}
    told = {"energy": energy_unit, "length": length_unit}
    chosen: dict[str, str] = {}
    implied: list[str] = []
    for kind in ("energy", "length"):
        given = told[kind]
        if given is not None:
            chosen[kind] = given
            _note_overruled(path, kind, given, stated[kind], notices)
        elif stated[kind]:
            chosen[kind] = stated[kind]
        elif layout.implied is not None:
            chosen[kind] = str(getattr(layout.implied, kind))
            implied.append(kind)
        elif kind == "length":
            chosen[kind] = "Å"
        else:
            raise UnitError(
                f"{path.name} does not say in which unit its energies are. Give it with "
                "--energy-unit (Python: energy_unit=), for example kcal/mol."
            )
    if implied:
        notices.append(
            f"{path.name} does not name its unit of {' and '.join(implied)}: read as "
            f"{' and '.join(chosen[kind] for kind in implied)}, the convention of sGDML files. If "
            "that is wrong, give --energy-unit and --length-unit (Python: energy_unit=, "
            "length_unit=)."
        )
    try:
        return Units(chosen["energy"], chosen["length"])
    except UnitError as error:
        raise UnitError(
            f"{path.name}: {error} The options are --energy-unit and --length-unit (Python: "
            "energy_unit=, length_unit=)."
        ) from error


def _note_overruled(path: Path, kind: str, given: str, stated: str, notices: list[str]) -> None:
    if not stated:
        return
    told = Units(energy=given) if kind == "energy" else Units(length=given)
    try:
        says = Units(energy=stated) if kind == "energy" else Units(length=stated)
    except UnitError:
        says = None
    if told != says:
        notices.append(f"{path.name} says its {kind} unit is {stated}; read as {given}, as told.")
