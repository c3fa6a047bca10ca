"""Extended XYZ of geometries without labels, each with where it comes from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from ase.data import chemical_symbols

from kraft.core.files import atomic_path
from kraft.data.geometry_format import Geometries


def write_geometries(
    geometries: Geometries,
    path: str | os.PathLike[str],
    scalars: Sequence[Mapping[str, float | int]],
) -> None:
    """Write geometries as extended XYZ in Å, with every digit.

    Parameters
    ----------
    geometries
        What to write.
    path
        Where to; the file appears whole or not at all.
    scalars
        Names and numbers for the comment line of every frame.

    Raises
    ------
    OSError
        When the file cannot be written.
    """
    symbols = [chemical_symbols[number] for number in geometries.atomic_numbers]
    common = ["Properties=species:S:1:pos:R:3", 'length_unit=Ang pbc="F F F"']
    if geometries.cell is not None:
        vectors = " ".join(map(repr, geometries.cell.reshape(-1).tolist()))
        common = [f'Lattice="{vectors}"', common[0], 'length_unit=Ang pbc="T T T"']
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as handle:
        for positions, numbers in zip(geometries.positions, scalars, strict=True):
            own = [f"{name}={value!r}" for name, value in numbers.items()]
            lines = [str(len(symbols)), " ".join([*common, *own])]
            lines += [
                f"{symbol} {' '.join(map(repr, row))}"
                for symbol, row in zip(symbols, positions.tolist(), strict=True)
            ]
            handle.write("\n".join(lines) + "\n")
