"""``kraft analyze``: what trajectories show, one command for each observable."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import ase.units
from cyclopts import App

from kraft.analysis.trajectories import (
    Frames,
    cumulative_mean,
    kinetic_energies,
    pooled_mean,
    radius_of_gyration,
    rmsd,
    select_atoms,
)
from kraft.analysis.trajectories.energy import degrees_of_freedom
from kraft.cli.analyze_angles import dihedrals, rotation
from kraft.cli.analyze_display import (
    chosen_atoms,
    energy_figures,
    energy_rows,
    finish,
    formula,
    graph_of,
    lengths,
)
from kraft.cli.analyze_series import show_series
from kraft.cli.analyze_spectrum import spectrum
from kraft.cli.analyze_tables import read_tables, show_tables, tables_beside
from kraft.cli.geometry_match import check_match
from kraft.cli.means import mean_figures, with_error
from kraft.cli.model_files import load_model
from kraft.cli.options import Flag
from kraft.cli.progress import progress_bars
from kraft.cli.summary import counted, number, print_facts
from kraft.cli.trajectory_options import EnergyUnits, ShowOptions, Simulations, TrajectoryOptions
from kraft.core.typing import FloatArray, IntArray
from kraft.data.geometry_format import Geometries
from kraft.reports.trajectory_figures import Panel, series_figure

analyze = App(
    name="analyze",
    help="""Observables of trajectories, with standard errors.

`kraft analyze run.xyz` gives an overview; `kraft analyze spectrum run.xyz` and the other commands
one observable each. Trajectories are XYZ files or anything that ASE reads. Atoms are chosen by
number (0-3,7), element (C), all, heavy, 'bonded to O', 'H bonded to O' or 'fragment 1'.
""",
    help_format="plaintext",
    version_flags=[],
)


analyze.command(dihedrals)
analyze.command(rotation)
analyze.command(spectrum)


@analyze.default
def overview(
    *trajectories: Path,
    reading: TrajectoryOptions = TrajectoryOptions(),  # noqa: B008
    energy_units: EnergyUnits = EnergyUnits(),  # noqa: B008
    show: ShowOptions = ShowOptions(),  # noqa: B008
) -> None:
    """Length, energies, temperature, deviation from the start and size, with standard errors.

    Parameters
    ----------
    trajectories
        One file, or several (see --files).
    """
    show.check()
    units = energy_units.chosen
    tables = read_tables(trajectories, reading)
    if tables is not None:
        show_tables(tables, units, show)
        return
    simulations = reading.open(trajectories)
    first = simulations.first()
    known = _known(first)
    with progress_bars() as progress:
        found = simulations.collect(lambda frames, start: _overview(frames, start, known), progress)
    names = ["deviation", "radius", *known]
    columns = {name: found.averaged(index) for index, name in enumerate(names)}
    rows = [
        ("molecule", f"{formula(first)}, {len(first.atomic_numbers)} atoms"),
        ("frames", lengths(found.times, found.n_frames)),
    ]
    figures: dict[str, object] = {
        "trajectories": [file.path for file in simulations.files],
        "n_frames": found.n_frames,
        "times": found.times,
    }
    panels = []
    if "temperature" in known:
        temperature = pooled_mean(columns["temperature"])
        rows.append(("temperature", with_error(temperature, "K")))
        figures["temperature_K"] = mean_figures(temperature)
    if "energy" in known:
        totals = columns.get("total")
        rows += energy_rows(columns["energy"], totals, found.times[0], units, simulations.meaning)
        figures["energy"] = energy_figures(columns["energy"], totals, found.times[0], units)
        energies = [each / units.energy_factor for each in columns["energy"]]
        panels.append(
            Panel(
                f"energy ({units.energy_label})", energies, [*map(cumulative_mean, energies)],
                "Potential energy and its cumulative mean",
            )
        )  # fmt: skip
    for name, label in (("deviation", "RMSD to the start"), ("radius", "radius of gyration")):
        mean = pooled_mean(columns[name])
        largest = max(float(each.max()) for each in columns[name])
        rows.append((label, f"{with_error(mean, 'Å')}, at most {number(largest)}"))
        figures[name] = {**mean_figures(mean), "largest": largest}
        panels.append(Panel(f"{label} (Å)", columns[name]))
    print_facts(simulations.title, rows)
    finish(
        simulations, show, figures, lambda title: series_figure(panels, found.times, title=title)
    )


@analyze.command(name="rmsd")
def deviation(
    *trajectories: Path,
    atoms: str = "all",
    model: Path | None = None,
    masses: Annotated[bool, Flag] = False,
    reading: TrajectoryOptions = TrajectoryOptions(),  # noqa: B008
    show: ShowOptions = ShowOptions(),  # noqa: B008
) -> None:
    """Deviation from the start after the best superposition.

    Parameters
    ----------
    trajectories
        One file, or several (see --files).
    atoms
        Atoms to superpose and compare.
    model
        Take the smallest deviation over the permutations of this model.
    masses
        Weight atoms with their masses.
    """
    show.check()
    simulations = reading.open(trajectories)
    first = simulations.first()
    chosen = select_atoms(atoms, graph_of(first))
    permutations = None if model is None else _permutations(model, first, simulations)
    weights = first.masses if masses else None
    with progress_bars() as progress:
        found = simulations.collect(
            lambda frames, start: (
                rmsd(
                    frames.positions,
                    start.positions[0],
                    atoms=chosen,
                    permutations=permutations,
                    weights=weights,
                ),
            ),
            progress,
        )
    over = "" if permutations is None else f", over {counted(len(permutations), 'permutation')}"
    show_series(simulations, show, found, "RMSD", "Å", f"{chosen_atoms(chosen, first)}{over}")


@analyze.command
def gyration(
    *trajectories: Path,
    atoms: str = "all",
    geometric: Annotated[bool, Flag] = False,
    reach: float | None = None,
    reading: TrajectoryOptions = TrajectoryOptions(),  # noqa: B008
    show: ShowOptions = ShowOptions(),  # noqa: B008
) -> None:
    """Radius of gyration; of replicas also its average over them as a function of time.

    Parameters
    ----------
    trajectories
        One file, or several (see --files).
    atoms
        Atoms that count.
    geometric
        Count all atoms alike, instead of by their masses.
    reach
        Å: tell when the radius first comes to this value.
    """
    show.check()
    simulations = reading.open(trajectories)
    first = simulations.first()
    chosen = select_atoms(atoms, graph_of(first))
    weights = None if geometric else first.masses[chosen]
    with progress_bars() as progress:
        found = simulations.collect(
            lambda frames, _: (radius_of_gyration(frames.positions[:, chosen], weights),), progress
        )
    what = chosen_atoms(chosen, first)
    show_series(simulations, show, found, "radius of gyration", "Å", what, level=reach)


@analyze.command
def energy(
    *trajectories: Path,
    reading: TrajectoryOptions = TrajectoryOptions(),  # noqa: B008
    energy_units: EnergyUnits = EnergyUnits(),  # noqa: B008
    show: ShowOptions = ShowOptions(),  # noqa: B008
) -> None:
    """Potential energy: mean, cumulative mean, test of stationarity; drift of the total energy.

    Parameters
    ----------
    trajectories
        One file, or several (see --files); or tables: run.csv of kraft md, those of i-PI. Of
        i-PI's trajectories, which have no energies, the table beside them is read.
    """
    show.check()
    units = energy_units.chosen
    tables = read_tables(trajectories, reading)
    if tables is not None:
        show_tables(tables, units, show)
        return
    simulations = reading.open(trajectories)
    first = simulations.first()
    if first.energies is None and (beside := tables_beside(trajectories, reading)) is not None:
        show_tables(beside, units, show)
        return
    first.require_energies()
    moving = first.velocities is not None

    def energies(frames: Frames, _: Frames) -> tuple[FloatArray, ...]:
        potential = frames.require_energies()
        if frames.velocities is None or not moving:
            return (potential,)
        return (potential, potential + kinetic_energies(frames.velocities, frames.masses))

    with progress_bars() as progress:
        found = simulations.collect(energies, progress)
    totals = found.averaged(1) if moving else None
    potential = found.averaged(0)
    print_facts(
        f"Energies of {simulations.title}",
        energy_rows(potential, totals, found.times[0], units, simulations.meaning),
    )
    panels = [
        Panel(
            f"{name} ({units.energy_label})",
            [each / units.energy_factor for each in series],
            [cumulative_mean(each / units.energy_factor) for each in series],
            f"{name.capitalize()} and its cumulative mean",
        )
        for name, series in (("potential energy", potential), ("total energy", totals or []))
        if series
    ]
    figures = {
        "trajectories": [file.path for file in simulations.files],
        **energy_figures(potential, totals, found.times[0], units),
        "cumulative": [cumulative_mean(each) / units.energy_factor for each in potential],
        "times": found.times,
    }
    finish(
        simulations, show, figures, lambda title: series_figure(panels, found.times, title=title)
    )


def _known(first: Frames) -> tuple[str, ...]:
    """Return what else the frames tell."""
    names = []
    if first.energies is not None:
        names.append("energy")
    if first.velocities is not None:
        names += ["temperature", *(["total"] if first.energies is not None else [])]
    return tuple(names)


def _overview(frames: Frames, start: Frames, known: tuple[str, ...]) -> tuple[FloatArray, ...]:
    values = {
        "deviation": rmsd(frames.positions, start.positions[0]),
        "radius": radius_of_gyration(frames.positions, frames.masses),
    }
    if "energy" in known:
        values["energy"] = frames.require_energies()
    if "temperature" in known and frames.velocities is not None:
        kinetic = kinetic_energies(frames.velocities, frames.masses)
        free = degrees_of_freedom(frames.velocities, frames.positions, frames.masses)
        values["temperature"] = 2.0 * kinetic / (max(1, free) * ase.units.kB)
        if "total" in known:
            values["total"] = values["energy"] + kinetic
    return tuple(values[name] for name in ("deviation", "radius", *known))


def _permutations(model: Path, first: Frames, simulations: Simulations) -> IntArray:
    force_field = load_model(model)
    frames = Geometries(first.atomic_numbers, first.positions, first.cell)
    check_match(force_field, frames, simulations.files[0].path, any_order=False)
    return force_field.permutations
