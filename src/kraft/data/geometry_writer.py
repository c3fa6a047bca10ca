"""Extended XYZ of geometries without labels, each with where it comes from."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import numpy as np
from ase.data import chemical_symbols

from kraft.core.files import atomic_path
from kraft.core.typing import FloatArray
from kraft.data.geometry_format import Geometries


def write_geometries(
    geometries: Geometries,
    path: str | os.PathLike[str],
    scalars: Sequence[Mapping[str, float | int]],
    *,
    energy_unit: str | None = None,
    columns: Mapping[str, FloatArray] | None = None,
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
    energy_unit
        Unit of an ``energy`` among them, to be written there too.
    columns
        Names and ``(B, N, C)`` numbers to write behind the positions of each atom.

    Raises
    ------
    OSError
        When the file cannot be written.
    """
    symbols = [chemical_symbols[number] for number in geometries.atomic_numbers]
    extra = dict(columns or {})
    named = "".join(f":{name}:R:{column.shape[2]}" for name, column in extra.items())
    units = (
        "length_unit=Ang" if energy_unit is None else f"energy_unit={energy_unit} length_unit=Ang"
    )
    common = [f"Properties=species:S:1:pos:R:3{named}", f'{units} pbc="F F F"']
    if geometries.cell is not None:
        vectors = " ".join(map(repr, geometries.cell.reshape(-1).tolist()))
        common = [f'Lattice="{vectors}"', common[0], f'{units} pbc="T T T"']
    rows = np.concatenate([geometries.positions, *extra.values()], axis=2)
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as handle:
        for frame, numbers in zip(rows, scalars, strict=True):
            own = [f"{name}={value!r}" for name, value in numbers.items()]
            lines = [str(len(symbols)), " ".join([*common, *own])]
            lines += [
                f"{symbol} {' '.join(map(repr, row))}"
                for symbol, row in zip(symbols, frame.tolist(), strict=True)
            ]
            handle.write("\n".join(lines) + "\n")
