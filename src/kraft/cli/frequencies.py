"""``kraft frequencies``: harmonic vibrations from the analytic Hessian of a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import ase.data
import ase.units
import numpy as np
from cyclopts import Parameter
from rich.padding import Padding
from rich.table import Table

from kraft.analysis.trajectories import BondGraph, HarmonicSpectrum, select_atoms, vibrations
from kraft.cli.console import out
from kraft.cli.interruption import handling, interrupt
from kraft.cli.model_files import load_model
from kraft.cli.options import ComputeOptions, Flag
from kraft.cli.outputs import check_output, note_written, write_json
from kraft.cli.results import model_figures
from kraft.cli.summary import counted, number, print_facts, print_notices, print_warning
from kraft.cli.surface_options import (
    GEOMETRY_SUFFIXES,
    SurfaceResults,
    energy_text,
    force_text,
    novelty_text,
    read_one,
    unfinished,
)
from kraft.core.errors import DataError, OptionError
from kraft.core.typing import FloatArray
from kraft.data.ase_format import read_frames
from kraft.data.geometry_format import Geometries
from kraft.data.geometry_writer import write_geometries
from kraft.data.units import Units
from kraft.interfaces.surface import relax as relax_geometry
from kraft.interfaces.surface.relaxation import FMAX
from kraft.interfaces.surface.thermochemistry import Thermochemistry, thermochemistry
from kraft.models import ForceField
from kraft.reports.surface_figures import modes_figure, save_figure

_TIGHT = 1e-4
"""eV/Å to which --relax goes."""

ISOTOPES = {
    "D": 2.01410177784,
    "2H": 2.01410177784,
    "T": 3.01604928132,
    "3H": 3.01604928132,
    "13C": 13.00335483534,
    "15N": 15.00010889827,
    "17O": 16.99913175595,
    "18O": 17.99915961214,
}
"""Masses in u by name (Atomic Mass Evaluation 2020); others are given as numbers."""


def frequencies(
    model: Path,
    geometry: Path,
    /,
    *,
    relax: Annotated[bool, Flag] = False,
    isotope: Annotated[list[str] | None, Parameter(negative="")] = None,
    temperature: float = 298.15,
    atoms: str | None = None,
    modes: Path | None = None,
    overwrite: Annotated[bool, Flag] = False,
    length_unit: str | None = None,
    any_order: Annotated[bool, Flag] = False,
    compute: ComputeOptions = ComputeOptions(),  # noqa: B008
    result: SurfaceResults = SurfaceResults(),  # noqa: B008
) -> None:
    """Harmonic vibrations at a minimum or transition state, from the analytic Hessian.

    Translations and rotations are projected out. Imaginary modes have an i.

    Parameters
    ----------
    model
        A model made by kraft (.safetensors) or by sgdml (.npz).
    geometry
        The first geometry of a file, anything ASE reads. A column `masses` of an extended XYZ
        counts.
    relax
        Go down to the next minimum first.
    isotope
        Other masses, ATOMS=MASS: 'H bonded to O=D', 3=2.014, C=13C; may be given several times.
    temperature
        K, of the vibrational free energy.
    atoms
        Show the share of these atoms in each mode: 'bonded to O', 3, 0-2 ...
    modes
        File to write the modes to (.xyz): a frame for each, with the displacements of its atoms in
        columns, of length one in all.
    overwrite
        Replace a file of modes that is there already.
    length_unit
        Unit of the positions where the file does not say; Å by default.
    any_order
        Do not check whether like atoms have changed places.
    """
    compute.apply()
    result.check()
    if not temperature > 0.0:
        raise OptionError(f"Expected a positive --temperature in K, got {temperature:g}.")
    if modes is not None:
        check_output(modes, suffixes=GEOMETRY_SUFFIXES, overwrite=overwrite)
    force_field = load_model(model, compute.device, compute.dtype)
    units = result.units_for(force_field.units)
    start = read_one(force_field, geometry, length_unit, any_order=any_order)
    graph = BondGraph.of(start.atomic_numbers, start.positions[0], start.cell)
    masses = _masses(start, geometry, graph, isotope or ())
    positions = start.positions[0]
    if relax:
        positions = _relaxed(force_field, positions)
    found = vibrations(force_field, positions, masses=masses)
    chosen = None if atoms is None else select_atoms(atoms, graph)
    thermal = thermochemistry(found.wavenumbers, temperature)
    novelty = force_field.novelty(positions)
    rows = [
        ("geometry", "relaxed" if relax else "as it is in the file"),
        ("largest force", force_text(found.max_force, units)),
        ("novelty", novelty_text(novelty)),
        *_thermal_rows(thermal, found, units),
    ]
    print_facts(f"Vibrations of {geometry.name} with {model.name}", rows)
    _print_modes(found, None if chosen is None else found.weights(chosen), atoms)
    _warn(found, units, f"kraft frequencies {model} {geometry} --relax")
    if modes is not None:
        _write_modes(modes, start, found)
        out.print(f"\nWrote {modes}.", soft_wrap=True)
    write_json(result.json, _figures(model, found, thermal, float(novelty), units, force_field))
    if result.plot is not None:
        title = f"{geometry.name} with {model.name}"
        share = f"share of\n{atoms}"
        save_figure(modes_figure([found], atoms=chosen, share=share, title=title), result.plot)
        note_written(result.plot)
        out.print(f"\nWrote {result.plot}.", soft_wrap=True)


def _masses(start: Geometries, path: Path, graph: BondGraph, isotopes: Sequence[str]) -> FloatArray:
    """Return masses ``(N,)``: standard ones, those of the file, then those of --isotope."""
    masses = np.array(ase.data.atomic_masses[start.atomic_numbers], dtype=np.float64)
    if path.suffix != ".npz":
        given = read_frames(path)[1][0].arrays.get("masses")
        if given is not None:
            masses = np.array(given, dtype=np.float64)
            print_notices([f"Masses are those of {path.name}."])
    for text in isotopes:
        which, equals, mass = text.rpartition("=")
        if not equals or not which.strip():
            raise OptionError(
                f"Expected --isotope ATOMS=MASS, such as 'H bonded to O=D' or 3=2.014, got "
                f"{text!r}."
            )
        masses[select_atoms(which.strip(), graph)] = parse_mass(mass.strip())
    return masses


def parse_mass(text: str) -> float:
    """Return a mass in u: a number, or an isotope such as D or 13C.

    Raises
    ------
    OptionError
        When it is neither.

    Examples
    --------
    >>> parse_mass("D"), parse_mass("2.5")
    (2.01410177784, 2.5)
    """
    if text.upper() in ISOTOPES:
        return ISOTOPES[text.upper()]
    try:
        mass = float(text)
    except ValueError:
        mass = float("nan")
    if not (np.isfinite(mass) and mass > 0.0):
        raise OptionError(f"Expected a mass in u or one of {', '.join(ISOTOPES)}, got {text!r}.")
    return mass


def _relaxed(force_field: ForceField, positions: FloatArray) -> FloatArray:
    with handling(interrupt):
        reached = relax_geometry(force_field, positions, fmax=_TIGHT)
    if not reached.converged:
        raise unfinished(
            f"forces up to {reached.max_force:.2g} eV/Å are left after {reached.n_steps} steps. "
            "Relax it with `kraft relax` and look at it",
            False,
            [],
        )
    print_notices(
        [f"Relaxed in {counted(reached.n_steps, 'step')}; atoms moved by {reached.rmsd:.3f} Å."]
    )
    return reached.positions


def _thermal_rows(
    thermal: Thermochemistry, found: HarmonicSpectrum, units: Units
) -> list[tuple[str, str]]:
    at = f"at {thermal.temperature:g} K"
    entropy = thermal.entropy / units.energy_factor
    return [
        ("zero-point energy", energy_text(found.zero_point_energy, units)),
        ("vibrational energy", f"{energy_text(thermal.energy, units)} {at}, zero point included"),
        ("entropy", f"{number(1e3 * entropy)} m{units.energy_label}/K {at}, vibrations only"
         if units.energy_label in ("eV",) else
         f"{number(entropy)} {units.energy_label}/K {at}, vibrations only"),
        ("free energy", f"{energy_text(thermal.free_energy, units)} {at}, vibrations only"),
    ]  # fmt: skip


def _print_modes(found: HarmonicSpectrum, shares: FloatArray | None, atoms: str | None) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    headings = ["mode", "1/cm", "meV", "reduced mass (u)"]
    headings += [] if shares is None else [f"share of {atoms}"]
    for heading in headings:
        table.add_column(heading, justify="right")
    reduced = found.reduced_masses
    for index, wave in enumerate(found.wavenumbers):
        i = "i" if wave < 0.0 else ""
        row = [str(index), f"{abs(wave):.1f}{i}",
               f"{1e3 * abs(wave) * ase.units.invcm:.2f}{i}", f"{reduced[index]:.3f}"]  # fmt: skip
        row += [] if shares is None else [f"{100 * shares[index]:.0f} %"]
        table.add_row(*row)
    out.print(Padding(table, (0, 0, 0, 2), expand=False))


def _warn(found: HarmonicSpectrum, units: Units, command: str) -> None:
    if found.max_force > FMAX:
        advice = f"Relax it first: {command}"
        if found.n_imaginary == 1:
            advice += "; or, for a transition state, `kraft neb` with a smaller --fmax"
        print_warning(
            f"This is no stationary geometry: the largest force is "
            f"{force_text(found.max_force, units)}, expected below {force_text(FMAX, units)}. "
            f"Wavenumbers mean little there. {advice}"
        )
    if found.n_imaginary:
        waves = ", ".join(f"{-wave:.1f}i" for wave in found.wavenumbers[: found.n_imaginary])
        kind = "a transition state" if found.n_imaginary == 1 else "a higher saddle point"
        where = f"{kind}, not a minimum" if found.max_force <= FMAX else "not at a minimum"
        print_notices(
            [
                f"{counted(found.n_imaginary, 'imaginary mode')} ({waves} /cm): this is {where}. "
                "Imaginary modes do not count in energies and entropy."
            ]
        )


def _write_modes(path: Path, start: Geometries, found: HarmonicSpectrum) -> None:
    n = len(found.wavenumbers)
    if n == 0:
        raise DataError("There are no vibrations to write: a single atom has none.")
    write_geometries(
        Geometries(start.atomic_numbers, np.tile(found.positions, (n, 1, 1)), start.cell),
        path,
        [
            {"mode": index, "wavenumber": float(wave), "reduced_mass": float(mass)}
            for index, (wave, mass) in enumerate(
                zip(found.wavenumbers, found.reduced_masses, strict=True)
            )
        ],
        columns={"displacement": found.displacements},
    )
    note_written(path)


def _figures(
    model: Path,
    found: HarmonicSpectrum,
    thermal: Thermochemistry,
    novelty: float,
    units: Units,
    force_field: ForceField,
) -> dict[str, Any]:
    factor = units.energy_factor
    return {
        "model": model,
        "units": {"energy": units.energy_label, "force": units.force_label},
        "wavenumbers": found.wavenumbers,
        "n_imaginary": found.n_imaginary,
        "reduced_masses": found.reduced_masses,
        "masses": found.masses,
        "displacements": found.displacements,
        "positions": found.positions,
        "max_force": found.max_force / units.force_factor,
        "novelty": novelty,
        "zero_point_energy": found.zero_point_energy / factor,
        "temperature": thermal.temperature,
        "vibrational_energy": thermal.energy / factor,
        "vibrational_entropy": thermal.entropy / factor,
        "vibrational_free_energy": thermal.free_energy / factor,
        **model_figures(force_field),
    }
