"""Reading and writing a dataset, by the suffix of its file."""

from __future__ import annotations

import os
from pathlib import Path

from kraft.core.errors import DataError
from kraft.data.ase_format import read_ase
from kraft.data.dataset import Dataset
from kraft.data.extxyz_format import write_extxyz
from kraft.data.frame_contributions import FrameContributions
from kraft.data.frame_uncertainty import FrameUncertainty
from kraft.data.sgdml_format import read_sgdml, write_sgdml
from kraft.data.units import Units

_EXTXYZ_SUFFIXES = (".xyz", ".extxyz")
_SGDML_SUFFIX = ".npz"
_MODEL_SUFFIX = ".safetensors"


def read(
    path: str | os.PathLike[str],
    *,
    energy_key: str | None = None,
    forces_key: str | None = None,
    energy_unit: str | None = None,
    length_unit: str | None = None,
) -> Dataset:
    """Read reference data: ``.npz`` in the sGDML layout, or any format that ASE reads.

    Parameters
    ----------
    path
        The file.
    energy_key, forces_key
        Names of the energies and forces where they are not the standard ones.
    energy_unit, length_unit
        Units of the file, for example ``"kcal/mol"`` and ``"Å"``. Needed for files that do not
        say (extended XYZ without kraft's unit keys).

    Returns
    -------
    dataset
        In eV and Å; ``dataset.notices`` says what was assumed on the way.

    Raises
    ------
    DataError
        When the file is missing, damaged, no dataset or not one molecule.
    UnitError
        When the energy unit is not known.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"There is no file {path}. Check the path.")
    if path.is_dir():
        raise DataError(f"{path} is a folder. Expected a file of geometries with forces.")
    if path.suffix == _MODEL_SUFFIX:
        raise DataError(f"{path.name} is a model, not a dataset. Give a file of reference data.")
    reader = read_sgdml if path.suffix == _SGDML_SUFFIX else read_ase
    try:
        return reader(
            path,
            energy_key=energy_key,
            forces_key=forces_key,
            energy_unit=energy_unit,
            length_unit=length_unit,
        )
    except DataError as error:
        if path.name in str(error):
            raise
        raise type(error)(f"{path.name}: {error}") from error


def write(
    dataset: Dataset,
    path: str | os.PathLike[str],
    units: Units | None = None,
    uncertainty: FrameUncertainty | None = None,
    contributions: FrameContributions | None = None,
) -> None:
    """Write a dataset: ``.npz`` in the sGDML layout, ``.xyz`` or ``.extxyz`` as extended XYZ.

    Parameters
    ----------
    dataset
        What to write.
    path
        Where to; the suffix chooses the format. The file appears whole or not at all.
    units
        Units in the file. By default ``.npz`` keeps the units of the source and extended XYZ is
        written in eV and Å, as ASE takes it; both state their units.
    uncertainty
        Standard deviations of predicted frames, to be written beside them: ``forces_std``,
        ``energy_std`` and ``novelty`` in extended XYZ, ``F_std``, ``E_std`` and ``novelty`` in
        ``.npz``.
    contributions
        Contributions of atoms to predicted frames, to be written beside them:
        ``energy_contribution`` and ``force_contribution`` in extended XYZ, ``E_atoms`` and
        ``F_atoms`` in ``.npz``.

    Raises
    ------
    DataError
        When the suffix is unknown or there are no frames.
    OSError
        When the file cannot be written.
    """
    path = Path(path)
    if len(dataset) == 0:
        raise DataError("The dataset has no frames. Expected at least one to write.")
    if path.suffix == _SGDML_SUFFIX:
        write_sgdml(dataset, path, units, uncertainty, contributions)
    elif path.suffix in _EXTXYZ_SUFFIXES:
        write_extxyz(dataset, path, units, uncertainty, contributions)
    else:
        known = ", ".join((_SGDML_SUFFIX, *_EXTXYZ_SUFFIXES))
        raise DataError(f"Cannot write {path.name}: give it one of the suffixes {known}.")
