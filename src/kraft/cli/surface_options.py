"""What the commands that explore an energy surface share: reading, limits, warnings, writing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Group, Parameter

from kraft.cli.geometry_match import check_match
from kraft.cli.options import RESULT_GROUP
from kraft.cli.outputs import check_json, check_plot, note_written
from kraft.cli.summary import number, print_notices, print_warning
from kraft.core.errors import OptionError, UnfinishedError
from kraft.core.typing import FloatArray
from kraft.data.geometry_format import Geometries, read_geometries
from kraft.data.geometry_writer import write_geometries
from kraft.data.units import Units
from kraft.models import ForceField
from kraft.simulation.watching import MAX_NOVELTY

GEOMETRY_SUFFIXES = (".xyz", ".extxyz")
OPTIMIZER_GROUP = Group("Optimization", sort_key=30)

_FORCE = re.compile(r"([0-9.]+(?:[eE][-+]?[0-9]+)?)\s*(.*)")


@Parameter(name="*", group=RESULT_GROUP)
@dataclass(frozen=True)
class SurfaceResults:
    """How results are shown and where they go."""

    units: Annotated[
        str | None,
        Parameter(help="Units to show: eV, meV, kcal/mol, kJ/mol, hartree …; the data's own."),
    ] = None
    plot: Annotated[Path | None, Parameter(help="File to draw them into (.png, .pdf, .svg).")] = (
        None
    )
    json: Annotated[Path | None, Parameter(help="File to write all figures to, for programs.")] = (
        None
    )

    def check(self) -> None:
        """Make sure that the files can be written; older ones will be replaced."""
        check_json(self.json)
        check_plot(self.plot)

    def units_for(self, default: Units) -> Units:
        """Return the units to show."""
        return default if self.units is None else Units.parse(self.units)


def parse_force(text: str) -> float:
    """Return a force in eV/Å: a number alone is in eV/Å, else a unit stands after it.

    Raises
    ------
    OptionError
        When the text is no force.
    UnitError
        When the unit is unknown.

    Examples
    --------
    >>> parse_force("0.001"), round(parse_force("0.1 kcal/mol/Å"), 6)
    (0.001, 0.004336)
    """
    match = _FORCE.fullmatch(text.strip())
    try:
        size = float(match[1]) if match else float("nan")
    except ValueError:
        size = float("nan")
    if match is None or not size > 0.0:
        raise OptionError(
            f"Expected a positive force such as 0.001 (eV/Å) or '0.02 kcal/mol/Å', got {text!r}."
        )
    return size * (Units.parse(match[2]).force_factor if match[2] else 1.0)


def read_starts(
    force_field: ForceField, path: Path, length_unit: str | None, *, any_order: bool
) -> Geometries:
    """Read geometries of the model's molecule; warn of those that the model does not know.

    Raises
    ------
    DataError, UnitError, GeometryError
        When the file cannot be read, or is not of the molecule in its order of atoms.
    """
    frames = read_geometries(path, length_unit=length_unit)
    check_match(force_field, frames, path, any_order=any_order)
    warn_of_novelty(
        force_field.novelty(frames.positions),
        f"in {path.name}",
        " If positions are not in Å, give their --length-unit.",
    )
    return frames


def read_one(
    force_field: ForceField, path: Path, length_unit: str | None, *, any_order: bool
) -> Geometries:
    """Read the first geometry of a file as `read_starts`; say so when it has more."""
    frames = read_starts(force_field, path, length_unit, any_order=any_order)
    if len(frames) > 1:
        print_notices([f"{path.name} has {len(frames)} geometries; the first is taken."])
    return Geometries(frames.atomic_numbers, frames.positions[:1], frames.cell)


def warn_of_novelty(novelty: FloatArray, where: str, advice: str = "") -> None:
    """Warn of geometries that are far from all training geometries."""
    novelty = np.atleast_1d(novelty)
    far = int((novelty > MAX_NOVELTY).sum())
    if far:
        which = "The geometry" if len(novelty) == 1 else f"{far} of {len(novelty)} geometries"
        verb, value = ("is" if far == 1 else "are"), f"{novelty.max():.2f}"
        reach = value if len(novelty) == 1 else f"up to {value}"
        print_warning(
            f"{which} {where} {verb} unlike all training geometries: novelty {reach}, beyond "
            f"{MAX_NOVELTY:g}. The model extrapolates there.{advice}"
        )


def novelty_text(novelty: FloatArray) -> str:
    """Return novelties in words."""
    low, high = float(np.min(novelty)), float(np.max(novelty))
    spread = number(low) if np.size(novelty) == 1 else f"{number(low)} to {number(high)}"
    return f"{spread} (about 1: like the training frames)"


def force_text(force: float, units: Units) -> str:
    """Return a force with its unit."""
    return f"{number(force / units.force_factor)} {units.force_label}"


def energy_text(energy: float, units: Units) -> str:
    """Return a difference of energies with its unit."""
    return f"{number(energy / units.energy_factor)} {units.energy_label}"


def wave_text(wavenumber: float) -> str:
    """Return a wavenumber with its unit, an imaginary one with an i."""
    return f"{abs(wavenumber):.1f}{'i' if wavenumber < 0.0 else ''} /cm"


def write_frames(
    path: Path,
    like: Geometries,
    positions: FloatArray,
    energies: FloatArray,
    scalars: Sequence[Mapping[str, float | int]],
) -> None:
    """Write geometries with energies in eV and other numbers as extended XYZ."""
    known = np.isfinite(energies)
    rows = [
        {**({"energy": float(energy)} if fine else {}), **numbers}
        for energy, fine, numbers in zip(energies, known, scalars, strict=True)
    ]
    write_geometries(
        Geometries(like.atomic_numbers, positions, like.cell), path, rows, energy_unit="eV"
    )
    note_written(path)


def unfinished(what: str, interrupted: bool, written: Sequence[Path]) -> UnfinishedError:
    """Return the error that ends a command whose result is written but not finished."""
    files = ", ".join(str(path) for path in written)
    kept = f" What was reached is in {files}." if files else ""
    if interrupted:
        return UnfinishedError(f"Stopped before the end: {what}.{kept}", "interrupted")
    return UnfinishedError(f"Not converged: {what}.{kept}", "max_steps")
