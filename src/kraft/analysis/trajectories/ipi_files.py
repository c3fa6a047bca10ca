"""What i-PI's other files say about its trajectories: tables of properties, and the time step.

An XYZ frame of i-PI knows its step and not its time. The time is in the table of properties of the
same simulation (columns ``step`` and ``time``), or follows from the time step of its input.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import ase.units
import numpy as np

from kraft.core.errors import DataError
from kraft.core.typing import FloatArray

_ATOMIC = float(ase.units.AUT / ase.units.fs)
_TIMES = {
    "": _ATOMIC,
    "automatic": _ATOMIC,
    "atomic_unit": _ATOMIC,
    "femtosecond": 1.0,
    "picosecond": 1e3,
    "nanosecond": 1e6,
    "second": 1e15,
}
"""fs; i-PI's default is the atomic unit of time."""

_ENERGIES = {
    "": float(ase.units.Hartree),
    "automatic": float(ase.units.Hartree),
    "atomic_unit": float(ase.units.Hartree),
    "electronvolt": 1.0,
    "kilocal/mol": float(ase.units.kcal / ase.units.mol),
    "kilojoule/mol": float(ase.units.kJ / ase.units.mol),
    "j/mol": 1e-3 * float(ase.units.kJ / ase.units.mol),
    "rydberg": float(ase.units.Rydberg),
    "kelvin": float(ase.units.kB),
}
"""eV."""

_COLUMN = re.compile(r"#\s*(?:column|cols\.?)\s+(\d+)(?:-(\d+))?\s*-->\s*(\S+)")
_SAME = 1e-6
_SCANNED = 2_000_000
"""Bytes of a candidate for an input that are looked at, at most."""


@dataclass(frozen=True)
class TimeStep:
    """The time step of a simulation by i-PI.

    Attributes
    ----------
    fs
        Its length.
    source
        Name of the file that says it.
    """

    fs: float
    source: str


def is_property_table(path: Path) -> bool:
    """Tell whether a file is a table of properties of i-PI."""
    try:
        with path.open(encoding="utf-8", errors="replace") as handle:
            return _COLUMN.match(handle.readline(500)) is not None
    except OSError:
        return False


def read_properties(path: Path) -> dict[str, FloatArray]:
    """Read a table of properties: columns ``(T,)`` by names such as ``potential{electronvolt}``.

    Properties of several columns are left out, and a last row that was not written to its end.

    Raises
    ------
    DataError
        When it is no table of i-PI or has no row.
    """
    columns: dict[str, int] = {}
    rows = []
    with path.open(encoding="utf-8", errors="replace") as handle:
        for line in handle:
            if line.startswith("#"):
                found = _COLUMN.match(line)
                if found is not None and found[2] is None:
                    columns[found[3]] = int(found[1]) - 1
            elif line.endswith("\n") and line.strip():
                rows.append(line.split())
    width = len(rows[0]) if rows else 0
    if not columns or width <= max(columns.values()):
        raise DataError(
            f"{path.name} is no table of properties of i-PI, or has no row. Expected lines such as "
            "'# column 1 --> step' and rows of numbers."
        )
    try:
        table = np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise DataError(f"{path.name} is damaged: {error}.") from error
    return {name: table[:, column] for name, column in columns.items()}


def in_electronvolt(columns: dict[str, FloatArray], name: str) -> FloatArray | None:
    """Return an energy of a table ``(T,)`` in eV; None where it is not there.

    Raises
    ------
    DataError
        When its unit is unknown.
    """
    return _converted(columns, name, _ENERGIES)


def in_femtoseconds(columns: dict[str, FloatArray]) -> FloatArray | None:
    """Return the times of a table ``(T,)`` in fs; None where they are not there."""
    return _converted(columns, "time", _TIMES)


def property_table_of(trajectory: Path) -> Path | None:
    """Return the table of properties of the simulation that wrote a trajectory, or None.

    It is in the same folder and its name begins alike: ``simulation.out`` for
    ``simulation.pos_0.xyz``.
    """
    prefix = trajectory.name.split(".")[0]
    found = [
        path
        for path in sorted(trajectory.parent.glob(f"{_escaped(prefix)}.*"))
        if path != trajectory and path.is_file() and is_property_table(path)
    ]
    return found[0] if found else None


def time_step_of(trajectory: Path) -> TimeStep | None:
    """Return the time step of the simulation that wrote a trajectory, or None.

    It is that of the table of properties, else that of the inputs and saved states in the folder,
    where they agree.
    """
    table = property_table_of(trajectory)
    if table is not None:
        step = _step_of_table(table)
        if step is not None:
            return TimeStep(step, table.name)
    prefix = _escaped(trajectory.name.split(".")[0])
    names = ["*.xml", "RESTART", f"{prefix}.checkpoint*", f"{prefix}.chk*"]
    paths = [path for name in names for path in sorted(trajectory.parent.glob(name))]
    found = [TimeStep(step, path.name) for path in paths for step in _steps_of_input(path)]
    if not found or any(abs(step.fs / found[0].fs - 1.0) > _SAME for step in found):
        return None
    return found[0]


def _step_of_table(path: Path) -> float | None:
    try:
        columns = read_properties(path)
        times = in_femtoseconds(columns)
    except DataError:
        return None
    steps = columns.get("step")
    if steps is None or times is None or len(steps) < 2 or steps[-1] <= steps[0]:
        return None
    step = float((times[-1] - times[0]) / (steps[-1] - steps[0]))
    straight = np.abs(times - times[0] - step * (steps - steps[0])).max() < 1e-3 * step
    return step if straight and step > 0.0 else None


def _steps_of_input(path: Path) -> list[float]:
    """Return the time steps in fs of an input or a saved state of i-PI; none of other files."""
    try:
        if not path.is_file() or path.stat().st_size > _SCANNED:
            return []
        root = ElementTree.parse(path).getroot()
    except (OSError, ElementTree.ParseError):
        return []
    found = []
    for element in root.iter("timestep") if root.tag == "simulation" else ():
        factor = _TIMES.get(element.get("units", ""))
        try:
            found.append(float((element.text or "").strip()) * (factor or float("nan")))
        except ValueError:
            continue
    return [step for step in found if step > 0.0]


def _converted(
    columns: dict[str, FloatArray], name: str, units: dict[str, float]
) -> FloatArray | None:
    for column, values in columns.items():
        quantity, _, rest = column.partition("{")
        if quantity != name:
            continue
        unit = rest.partition("}")[0]
        factor = units.get(unit)
        if factor is None:
            raise DataError(
                f"The table has its {name} in {unit}. Expected one of "
                f"{', '.join(filter(None, units))}."
            )
        return values * factor
    return None


def _escaped(name: str) -> str:
    """Return a name without the meaning that characters have in patterns of file names."""
    return re.sub(r"([*?\[])", r"[\1]", name)
