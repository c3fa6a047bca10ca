"""Extended XYZ as kraft writes it: every digit, and the units in the comment line.

ASE's own writer keeps eight decimals; this one writes the shortest text that reads back as the same
number, so a file written and read is the dataset it was.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import numpy as np
from ase.data import chemical_symbols

from kraft.core.files import atomic_path
from kraft.core.typing import FloatArray
from kraft.data.dataset import Dataset
from kraft.data.frame_contributions import FrameContributions
from kraft.data.frame_uncertainty import FrameUncertainty
from kraft.data.units import Units

_ASCII_LENGTH = {"Å": "Ang"}


def write_extxyz(
    dataset: Dataset,
    path: str | os.PathLike[str],
    units: Units | None = None,
    uncertainty: FrameUncertainty | None = None,
    contributions: FrameContributions | None = None,
) -> None:
    """Write ``dataset`` as extended XYZ with ``energy``, ``forces`` and the units of both.

    Parameters
    ----------
    dataset
        What to write.
    path
        Where to; the file appears whole or not at all.
    units
        Units in the file; by default eV and Å, which is what ASE takes the numbers for.
    uncertainty
        Standard deviations to write as a column ``forces_std`` and as ``energy_std`` and
        ``novelty`` in the comment line.
    contributions
        Contributions of atoms to write as columns ``energy_contribution`` and
        ``force_contribution``, and ``energy_offset`` in the comment line.

    Raises
    ------
    OSError
        When the file cannot be written.
    """
    units = units or Units()
    symbols = [chemical_symbols[number] for number in dataset.atomic_numbers]
    columns = _columns(dataset, units, uncertainty, contributions)
    properties = ":".join(f"{name}:R:{column.shape[2]}" for name, column in columns.items())
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as handle:
        for index in range(len(dataset)):
            scalars = _scalars(index, dataset, units, uncertainty, contributions)
            rows = np.concatenate([column[index] for column in columns.values()], axis=1).tolist()
            comment = _comment(dataset, units, properties, scalars, first=index == 0)
            lines = [str(dataset.n_atoms), comment]
            lines += [
                f"{symbol} {' '.join(map(repr, row))}"
                for symbol, row in zip(symbols, rows, strict=True)
            ]
            handle.write("\n".join(lines) + "\n")


def _columns(
    dataset: Dataset,
    units: Units,
    uncertainty: FrameUncertainty | None,
    contributions: FrameContributions | None,
) -> dict[str, FloatArray]:
    """Return what stands in the columns, ``(B, N, C)`` each, by name and in order."""
    columns = {
        "pos": dataset.positions / units.length_factor,
        "forces": dataset.forces / units.force_factor,
    }
    if uncertainty is not None:
        columns["forces_std"] = uncertainty.forces / units.force_factor
    if contributions is not None:
        energies, strengths = contributions.energies, contributions.strengths
        columns["energy_contribution"] = energies[:, :, None] / units.energy_factor
        columns["force_contribution"] = strengths[:, :, None] / units.force_factor
    return columns


def _scalars(
    index: int,
    dataset: Dataset,
    units: Units,
    uncertainty: FrameUncertainty | None,
    contributions: FrameContributions | None,
) -> dict[str, float]:
    """Return the numbers in the comment line of a frame."""
    scalars = {}
    if dataset.energies is not None:
        scalars["energy"] = float(dataset.energies[index] / units.energy_factor)
    if uncertainty is not None:
        if uncertainty.energies is not None:
            scalars["energy_std"] = float(uncertainty.energies[index] / units.energy_factor)
        scalars["novelty"] = float(uncertainty.novelty[index])
    if contributions is not None:
        scalars["energy_offset"] = contributions.energy_offset / units.energy_factor
    return scalars


def _comment(
    dataset: Dataset, units: Units, properties: str, scalars: Mapping[str, float], *, first: bool
) -> str:
    """Return the second line of a frame; name and theory stand in the first frame only."""
    parts = []
    if dataset.cell is not None:
        vectors = (dataset.cell / units.length_factor).reshape(-1).tolist()
        parts.append(f'Lattice="{" ".join(map(repr, vectors))}"')
    parts.append(f"Properties=species:S:1:{properties}")
    parts += [f"{name}={value!r}" for name, value in scalars.items()]
    length = _ASCII_LENGTH.get(units.length, units.length)
    parts.append(f"energy_unit={units.energy} length_unit={length}")
    if first:
        for key in ("name", "theory"):
            text = _one_line(getattr(dataset.provenance, key))
            if text:
                parts.append(f'{key}="{text}"')
    periodic = "F F F" if dataset.cell is None else "T T T"
    parts.append(f'pbc="{periodic}"')
    return " ".join(parts)


def _one_line(text: str) -> str:
    """Return ``text`` without what would end the value or the line."""
    clean = text.replace('"', "'").replace("\\", "/")
    return " ".join("".join(c if c.isprintable() else " " for c in clean).split())
