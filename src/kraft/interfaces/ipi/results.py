"""What a simulation by i-PI has left in its folder."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kraft.analysis.trajectories.ipi_files import read_properties
from kraft.core.errors import DataError
from kraft.core.typing import FloatArray
from kraft.interfaces.ipi.bead_watch import BeadAlarm, read_alarms
from kraft.interfaces.ipi.input_file import ALARMS, PREFIX

_EXTRAS = re.compile(r"\(([\w,]+)\)")


@dataclass(frozen=True)
class PimdRun:
    """What a simulation did.

    Attributes
    ----------
    folder
        Where its files are.
    n_steps
        Steps done in all.
    new_steps, seconds
        Steps of this call, and the time that i-PI took for them, its start left out.
    alarms
        Geometries that counted as extrapolation (extended XYZ), or None.
    """

    folder: Path
    n_steps: int
    new_steps: int
    seconds: float
    alarms: Path | None

    @property
    def table(self) -> dict[str, np.ndarray[Any, Any]]:
        """Columns of the table of energies by name, ``(T,)``, in the units of their names."""
        return read_table(self.folder / f"{PREFIX}.out")

    @property
    def novelty(self) -> FloatArray | None:
        """Novelty ``(T, B)`` of the beads at each frame, or None where it was not written."""
        path = self.folder / f"{PREFIX}.extras"
        return read_extras(path)["novelty"] if path.exists() else None

    @property
    def events(self) -> tuple[BeadAlarm, ...]:
        """Alarms, each kind once for each bead."""
        return read_alarms(self.folder / ALARMS)


def read_table(path: str | os.PathLike[str]) -> dict[str, np.ndarray[Any, Any]]:
    """Read the columns of a table of i-PI: names such as ``potential{electronvolt}``.

    Raises
    ------
    DataError
        When it is none.
    """
    return read_properties(Path(path))


def read_extras(path: str | os.PathLike[str]) -> dict[str, FloatArray]:
    """Read the extras of all frames by name: ``(T, B)`` for ``B`` beads.

    Raises
    ------
    DataError
        When the file has none.
    """
    names: tuple[str, ...] = ()
    rows = []
    with Path(path).open(encoding="utf-8") as handle:
        for line in handle:
            if line.lstrip().startswith("#"):
                found = _EXTRAS.search(line)
                names = tuple(found[1].split(",")) if found else names
            elif line.strip():
                rows.append([float(word) for word in line.split()])
    if not rows or not names or len({len(row) for row in rows}) > 1:
        raise DataError(f"{path} has no extras of i-PI, or they are damaged.")
    table = np.array(rows).reshape(len(rows), len(names), -1)
    return {name: table[:, index] for index, name in enumerate(names)}
