"""``kraft scan``: energies along a bond, an angle or a dihedral angle."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Group, Parameter

from kraft.analysis.trajectories import BondGraph
from kraft.cli.console import out
from kraft.cli.interruption import StopSwitch
from kraft.cli.model_files import load_model
from kraft.cli.options import ComputeOptions, Flag
from kraft.cli.outputs import check_output, note_written, write_json
from kraft.cli.progress import progress_bars
from kraft.cli.results import model_figures
from kraft.cli.summary import counted, number, print_facts, print_notices
from kraft.cli.surface_options import (
    GEOMETRY_SUFFIXES,
    OPTIMIZER_GROUP,
    SurfaceResults,
    energy_text,
    force_text,
    novelty_text,
    parse_force,
    read_one,
    unfinished,
    warn_of_novelty,
    write_frames,
)
from kraft.core.errors import OptionError
from kraft.core.files import atomic_path
from kraft.core.typing import FloatArray
from kraft.data.geometry_format import Geometries
from kraft.data.units import Units
from kraft.interfaces.surface import InternalCoordinate, Scan
from kraft.interfaces.surface import scan as scan_coordinate
from kraft.interfaces.surface.relaxation import FMAX, MAX_STEPS
from kraft.models import ForceField
from kraft.reports.surface_figures import save_figure, scan_figure

COORDINATE_GROUP = Group("Coordinate", sort_key=20)
_STEPS = {"bond": 0.05, "angle": 2.0, "dihedral": 10.0}
_NOTEWORTHY = 1e-3
"""eV: directions of a scan that differ by more are told of."""


@Parameter(name="*", group=COORDINATE_GROUP)
@dataclass(frozen=True)
class CoordinateOptions:
    """What is changed, and over which range."""

    dihedral: Annotated[
        tuple[int, int, int, int] | None,
        Parameter(help="Four atoms in a row, counted from 0.", negative=""),
    ] = None
    angle: Annotated[
        tuple[int, int, int] | None,
        Parameter(help="Three atoms, the middle one second.", negative=""),
    ] = None
    bond: Annotated[tuple[int, int] | None, Parameter(help="Two atoms.", negative="")] = None
    begin: Annotated[
        float | None,
        Parameter(
            name="--from", help="First value, in degrees or Å; of a dihedral that of the start."
        ),
    ] = None
    to: Annotated[
        float | None, Parameter(help="Last value; of a dihedral a full turn after the first.")
    ] = None
    step: Annotated[
        float | None, Parameter(help="10 degrees of a dihedral, 2 of an angle, 0.05 Å of a bond.")
    ] = None

    @property
    def atoms(self) -> tuple[int, ...]:
        """The atoms chosen; OptionError unless one coordinate is."""
        given = [each for each in (self.dihedral, self.angle, self.bond) if each is not None]
        if len(given) != 1:
            raise OptionError(
                "Expected one of --dihedral I J K L, --angle I J K and --bond I J, got "
                f"{len(given)} of them."
            )
        return given[0]

    def values(self, coordinate: InternalCoordinate, start: FloatArray) -> FloatArray:
        """Return the values to go through.

        Raises
        ------
        OptionError
            When the range makes no sense.
        """
        begin, end = self.begin, self.to
        if coordinate.kind == "dihedral":
            begin = coordinate.value(start) if begin is None else begin
            end = begin + 360.0 if end is None else end
        if begin is None or end is None:
            now = f"{coordinate.value(start):.4g} {coordinate.unit}"
            raise OptionError(
                f"Expected --from and --to of the {coordinate.kind}; it is {now} in the start."
            )
        step = _STEPS[coordinate.kind] if self.step is None else self.step
        if not step > 0.0 or not end > begin:
            raise OptionError(
                f"Expected --to above --from and a positive --step, got {begin:g} to {end:g} in "
                f"steps of {step:g}."
            )
        n = round((end - begin) / step)
        if n < 1 or abs(begin + n * step - end) > 1e-6 * step:
            raise OptionError(
                f"The range {begin:g} to {end:g} is no multiple of the step {step:g}. Expected "
                f"another --step, such as {(end - begin) / max(1, n):.6g}."
            )
        return np.linspace(begin, end, n + 1)


def scan(
    model: Path,
    start: Path,
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    overwrite: Annotated[bool, Flag] = False,
    rigid: Annotated[bool, Flag] = False,
    along: CoordinateOptions = CoordinateOptions(),
    fmax: Annotated[str, Parameter(group=OPTIMIZER_GROUP)] = f"{FMAX:g}",
    max_steps: Annotated[int, Parameter(group=OPTIMIZER_GROUP)] = MAX_STEPS,
    length_unit: str | None = None,
    any_order: Annotated[bool, Flag] = False,
    compute: ComputeOptions = ComputeOptions(),  # noqa: B008
    result: SurfaceResults = SurfaceResults(),  # noqa: B008
) -> None:
    """Scan a dihedral angle, an angle or a bond, all else relaxed: energies, minima and barriers.

    The range is gone through in both directions until no point becomes lower. Ctrl-C ends it with
    the points reached so far in the files.

    Parameters
    ----------
    model
        A model made by kraft (.safetensors) or by sgdml (.npz).
    start
        The first geometry of a file, anything ASE reads.
    output
        File to write the geometries to, .xyz or .extxyz, in eV and Å; beside it a table (.csv).
    overwrite
        Replace files that are there already.
    rigid
        Do not relax: both sides of the molecule stay as they are in the start.
    fmax
        Largest force on an atom beside the constraint: a number in eV/Å, or with its unit, as in
        '0.02 kcal/mol/Å'.
    max_steps
        Steps of the optimizer for each point.
    length_unit
        Unit of the positions where the file does not say; Å by default.
    any_order
        Do not check whether like atoms have changed places.
    """
    compute.apply()
    result.check()
    limit, atoms = parse_force(fmax), along.atoms
    table = output.with_suffix(".csv")
    check_output(output, suffixes=GEOMETRY_SUFFIXES, overwrite=overwrite)
    check_output(table, overwrite=overwrite)
    force_field = load_model(model, compute.device, compute.dtype)
    units = result.units_for(force_field.units)
    frames = read_one(force_field, start, length_unit, any_order=any_order)
    coordinate = InternalCoordinate(atoms, force_field.parameters.cell)
    coordinate.require_in(len(frames.atomic_numbers))
    values = along.values(coordinate, frames.positions[0])
    _note_unbonded(coordinate, frames)
    switch = StopSwitch()
    with progress_bars() as progress, switch.listening():
        found = scan_coordinate(
            force_field, frames.positions[0], atoms, values, relaxed=not rigid, fmax=limit,
            max_steps=max_steps, progress=progress, stop_requested=lambda: switch.requested,
        )  # fmt: skip
    name = coordinate.name(force_field.atomic_numbers)
    _write(output, table, frames, found, units)
    _print(f"{name} of {start.name} with {model.name}", found, units)
    warn_of_novelty(found.novelty, "of the scan")
    _remark(found, units)
    write_json(result.json, _figures(model, [output, table], found, units, force_field))
    files = [output, table]
    if result.plot is not None:
        title = f"{name}, {'relaxed' if found.relaxed else 'rigid'} ({model.name})"
        save_figure(scan_figure([found], name=name, units=units, title=title), result.plot)
        note_written(result.plot)
        files.append(result.plot)
    out.print(f"\nWrote {', '.join(map(str, files))}.", soft_wrap=True)
    failed = int((~found.converged).sum())
    if failed or found.interrupted:
        what = f"{failed} of {counted(len(found.values), 'point')} not below {number(limit)} eV/Å"
        left = len(values) - len(found.values)
        what += f", {left} not reached" if found.interrupted and left > 0 else ""
        raise unfinished(what, found.interrupted, files)


def _note_unbonded(coordinate: InternalCoordinate, frames: Geometries) -> None:
    """Tell of neighbors in the row that are not bonded: often a mistake."""
    graph = BondGraph.of(frames.atomic_numbers, frames.positions[0], frames.cell)
    apart = [
        f"{graph.label(a)} and {graph.label(b)}"
        for a, b in zip(coordinate.atoms, coordinate.atoms[1:], strict=False)
        if b not in graph.neighbors[a]
    ]
    if apart:
        print_notices([f"Not bonded: {', '.join(apart)}. Are these the atoms that are meant?"])


def _write(path: Path, table: Path, like: Geometries, found: Scan, units: Units) -> None:
    """Write geometries, and a table in the units to show."""
    kind, rows = found.coordinate.kind, range(len(found.values))
    write_frames(
        path, like, found.positions, found.energies,
        [
            {
                kind: float(found.values[k]),
                "max_force": float(found.max_forces[k]),
                "converged": int(found.converged[k]),
                "novelty": float(found.novelty[k]),
            }
            for k in rows
        ],
    )  # fmt: skip
    unit, energy = ("A" if kind == "bond" else "deg"), units.energy_label
    lowest, factor = found.energies.min(), units.energy_factor
    with atomic_path(table) as temporary, temporary.open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(
            [f"{kind}_{unit}", f"energy_{energy}", f"above_lowest_{energy}",
             f"slope_{energy}/{unit}", "max_force_eV/A", f"hysteresis_{energy}", "converged",
             "novelty"]
        )  # fmt: skip
        for k in rows:
            writer.writerow(
                [found.values[k], found.energies[k] / factor,
                 (found.energies[k] - lowest) / factor, found.slopes[k] / factor,
                 found.max_forces[k], found.hysteresis[k] / factor, int(found.converged[k]),
                 found.novelty[k]]
            )  # fmt: skip
    note_written(table)


def _print(title: str, found: Scan, units: Units) -> None:
    unit, factor = found.coordinate.unit, units.energy_factor
    profile = found.profile
    low, high = float(found.energies.min()), float(found.energies.max())
    rows = [
        (
            "points",
            f"{len(found.values)} from {found.values[0]:.6g} to {found.values[-1]:.6g} {unit}, "
            + (f"relaxed, {counted(found.n_sweeps, 'sweep')}" if found.relaxed else "rigid"),
        ),
        ("range of energies", energy_text(high - low, units)),
    ]
    if found.relaxed:
        rows.append(("largest force", force_text(float(found.max_forces.max()), units)))
    minima = profile.minima()
    bottom = min((point.energy for point in minima), default=low)
    rows += [
        (
            f"minimum at {point.coordinate:.4g} {unit}",
            f"{number((point.energy - bottom) / factor)} {units.energy_label}",
        )
        for point in minima
    ]
    rows += [
        (
            f"barrier at {each.top.coordinate:.4g} {unit}",
            f"{number(each.forward / factor)} {units.energy_label} from "
            f"{each.start.coordinate:.4g} {unit}, {number(each.reverse / factor)} from "
            f"{each.end.coordinate:.4g} {unit}",
        )
        for each in profile.barriers()
    ]
    rows.append(("novelty", novelty_text(found.novelty)))
    print_facts(title[0].upper() + title[1:], rows)


def _remark(found: Scan, units: Units) -> None:
    several = found.hysteresis > _NOTEWORTHY
    if several.any():
        worst = int(np.argmax(found.hysteresis))
        print_notices(
            [
                f"The two directions ended in different geometries at "
                f"{counted(int(several.sum()), 'point')}, by up to "
                f"{energy_text(float(found.hysteresis[worst]), units)} (at "
                f"{found.values[worst]:.4g} {found.coordinate.unit}); the lower ones are taken."
            ]
        )
    if found.relaxed and len(found.values) > 2:
        steps = np.linalg.norm(np.diff(found.positions, axis=0), axis=2).max(axis=1)
        usual = float(np.median(steps))
        jumps = np.flatnonzero(steps > max(0.5, 5.0 * usual))
        if len(jumps) and not found.interrupted:
            where = ", ".join(f"{found.values[k]:.4g}" for k in jumps[:8])
            print_notices(
                [
                    f"The geometry jumps after {where} {found.coordinate.unit}: the lowest valley "
                    "changes there, so barriers at these places are lower bounds. `kraft neb` "
                    "finds the true path."
                ]
            )


def _figures(
    model: Path, files: list[Path], found: Scan, units: Units, force_field: ForceField
) -> dict[str, Any]:
    factor, profile = units.energy_factor, found.profile
    return {
        "model": model,
        "files": files,
        "units": {"energy": units.energy_label, "force": units.force_label},
        "coordinate": found.coordinate.kind,
        "atoms": found.coordinate.atoms,
        "values": found.values,
        "energies": found.energies / factor,
        "slopes": found.slopes / factor,
        "max_forces": found.max_forces / units.force_factor,
        "converged": found.converged,
        "hysteresis": found.hysteresis / factor,
        "novelty": found.novelty,
        "relaxed": found.relaxed,
        "minima": [
            {"value": point.coordinate, "energy": point.energy / factor}
            for point in profile.minima()
        ],
        "barriers": [
            {
                "value": each.top.coordinate,
                "from": each.start.coordinate,
                "to": each.end.coordinate,
                "forward": each.forward / factor,
                "reverse": each.reverse / factor,
            }
            for each in profile.barriers()
        ],
        **model_figures(force_field),
    }
