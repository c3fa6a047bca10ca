"""``kraft analyze dihedrals`` and ``rotation``: angles, their minima and free energies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from ase.data import chemical_symbols
from cyclopts import Parameter

from kraft.analysis.trajectories import (
    Frames,
    FreeEnergyProfile,
    Occupations,
    angle_histogram,
    backbone,
    describe_rotations,
    dihedral_angles,
    free_energy_profile,
    long_axis,
    occupations,
    relative_rotations,
    rotation_angles,
    select_atoms,
)
from kraft.analysis.trajectories.dihedrals import N_BINS
from kraft.cli.analyze_display import (
    chosen_atoms,
    finish,
    graph_of,
    lengths,
    warn_if_unconverged,
)
from kraft.cli.means import mean_figures, with_error
from kraft.cli.progress import progress_bars
from kraft.cli.summary import counted, number, print_facts, print_notices
from kraft.cli.trajectory_options import EnergyUnits, ShowOptions, TrajectoryOptions
from kraft.core.errors import OptionError
from kraft.core.typing import FloatArray
from kraft.data import Units
from kraft.reports.trajectory_figures import Panel, dihedral_figure, joint_figure, series_figure

Quadruple = tuple[int, int, int, int]


def dihedrals(
    *trajectories: Path,
    dihedral: Annotated[list[Quadruple] | None, Parameter(negative="")] = None,
    residue: int | None = None,
    temperature: float | None = None,
    bins: int = N_BINS,
    fold: Annotated[list[int] | None, Parameter(negative="", consume_multiple=True)] = None,
    centers: Annotated[list[float] | None, Parameter(negative="", consume_multiple=True)] = None,
    reading: TrajectoryOptions = TrajectoryOptions(),  # noqa: B008
    energy_units: EnergyUnits = EnergyUnits(),  # noqa: B008
    show: ShowOptions = ShowOptions(),  # noqa: B008
) -> None:
    """One dihedral angle, or two together: distribution, occupation of minima, free energy.

    Parameters
    ----------
    trajectories
        One file, or several (see --files).
    dihedral
        Four atoms in a row, for example 8 2 0 1; given twice: the joint distribution.
    residue
        Instead of two dihedrals: phi and psi of this residue of a peptide, counted from 0 along the
        chain (Ramachandran map).
    temperature
        K: the free energy along the angle at this temperature, that of the simulation.
    bins
        Bins of a full turn.
    fold
        For each dihedral, equivalent places in a turn: 3 for a methyl group.
    centers
        Angles of the minima of one dihedral; by default minima are found.
    """
    show.check()
    units = energy_units.chosen
    simulations = reading.open(trajectories)
    first = simulations.first()
    quadruples, names = _quadruples(dihedral, residue, first)
    if len(quadruples) == 2 and (temperature is not None or centers is not None):
        raise OptionError("--temperature and --centers are for one dihedral angle, got two.")
    folds = tuple(fold or (1,) * len(quadruples))
    with progress_bars() as progress:
        found = simulations.collect(
            lambda frames, _: tuple(dihedral_angles(frames.positions, four) for four in quadruples),
            progress,
        )
    occupied = occupations(
        found.series, n_bins=bins, folds=folds, centers=centers, independent=found.independent
    )
    pooled = [np.concatenate(found.column(index)) for index in range(len(quadruples))]
    histogram = angle_histogram(*pooled, n_bins=bins, folds=folds)
    profile = None
    if temperature is not None:
        profile = free_energy_profile(
            found.column(0), temperature, n_bins=bins, fold=folds[0], independent=found.independent
        )
    rows = [(f"angle {i + 1}", name) for i, name in enumerate(names)]
    rows.append(("frames", lengths(found.times, found.n_frames)))
    rows += [*_occupation_rows(occupied), *_profile_rows(profile, occupied, units)]
    print_facts(f"Dihedral angles of {simulations.title}", rows)
    warn_if_unconverged(occupied.shares)
    figures = {
        "trajectories": [file.path for file in simulations.files],
        "files": simulations.meaning,
        "dihedrals": quadruples,
        "minima": [
            {"center": center, **mean_figures(share)}
            for center, share in zip(occupied.basins.centers, occupied.shares, strict=True)
        ],
        "n_transitions": occupied.n_transitions,
        "bins": histogram.centers,
        "density": histogram.density,
        "free_energy": _profile_figures(profile, units),
        "series": found.series,
        "times": found.times,
    }
    if len(quadruples) == 2:
        both = (names[0], names[1])
        finish(
            simulations, show, figures,
            lambda title: joint_figure(histogram, occupied, names=both, title=title),
        )  # fmt: skip
        return
    finish(
        simulations, show, figures,
        lambda title: dihedral_figure(
            histogram, occupied, profile, units=units, name=names[0], title=title
        ),
    )  # fmt: skip


def rotation(
    *trajectories: Path,
    first: str = "fragment 0",
    second: str = "fragment 1",
    axis: tuple[float, float, float] | None = None,
    reading: TrajectoryOptions = TrajectoryOptions(),  # noqa: B008
    show: ShowOptions = ShowOptions(),  # noqa: B008
) -> None:
    """Rotation of one fragment against another since the start.

    Parameters
    ----------
    trajectories
        One file, or several (see --files).
    first, second
        Atoms of the fragments; the connected parts of the molecule by default.
    axis
        Axis of the twist, three numbers in the frame of the start; by default the long axis of the
        first fragment, where it has one.
    """
    show.check()
    simulations = reading.open(trajectories)
    start = simulations.first()
    graph = graph_of(start)
    parts = [select_atoms(text, graph) for text in (first, second)]
    reference = start.positions[0]
    notes: list[str] = []
    direction = axis
    if direction is None:
        try:
            direction = tuple(long_axis(reference[parts[0]]).tolist())
        except OptionError as error:
            notes.append(f"No twist: {error} (--axis)")

    def turned(frames: Frames, own: Frames) -> tuple[FloatArray, ...]:
        return (relative_rotations(frames.positions, parts[0], parts[1], own.positions[0]),)

    with progress_bars() as progress:
        found = simulations.collect(turned, progress)
    series = found.column(0)
    angles = [rotation_angles(each) for each in series]
    rows = [
        ("first", chosen_atoms(parts[0], start)),
        ("second", chosen_atoms(parts[1], start)),
        ("frames", lengths(found.times, found.n_frames)),
        ("angle", _range_text(angles)),
    ]
    panels = [Panel("angle of rotation (degrees)", angles)]
    figures: dict[str, Any] = {
        "trajectories": [file.path for file in simulations.files],
        "angles": angles,
        "times": found.times,
    }
    if direction is not None:
        described = [describe_rotations(each, direction) for each in series]
        twists = [each.twists for each in described]
        rows.append(("axis", " ".join(f"{part:.3f}" for part in described[0].axis)))
        rows.append(("twist", _range_text(twists)))
        panels.append(Panel("twist about the axis (degrees)", twists))
        figures |= {"twists": twists, "axis": described[0].axis}
    print_facts(f"Relative rotation in {simulations.title}", rows)
    print_notices(notes)
    finish(
        simulations, show, figures, lambda title: series_figure(panels, found.times, title=title)
    )


def _quadruples(
    given: list[Quadruple] | None, residue: int | None, first: Frames
) -> tuple[list[Quadruple], list[str]]:
    """Return the atoms of one or two angles, and their names."""
    if (given is None) == (residue is None):
        raise OptionError(
            "Expected either --dihedral with four atoms (once or twice), or --residue."
        )
    if residue is not None:
        residues = backbone(graph_of(first))
        if not 0 <= residue < len(residues):
            raise OptionError(
                f"There is no residue {residue}: {counted(len(residues), 'residue')} with phi and "
                "psi were found, counted from 0."
            )
        chosen = residues[residue]
        names = ["phi " + _named(chosen.phi, first), "psi " + _named(chosen.psi, first)]
        return [chosen.phi, chosen.psi], names
    quadruples = list(given or ())
    if len(quadruples) > 2:
        raise OptionError(f"Expected one or two dihedrals, got {len(quadruples)}.")
    for four in quadruples:
        dihedral_angles(first.positions, four)  # tells what is wrong with the atoms
    return quadruples, [_named(four, first) for four in quadruples]


def _named(atoms: Quadruple, first: Frames) -> str:
    return "-".join(f"{chemical_symbols[first.atomic_numbers[atom]]}{atom}" for atom in atoms)


def _occupation_rows(occupied: Occupations) -> list[tuple[str, str]]:
    rows = []
    for center, share in zip(occupied.basins.centers, occupied.shares, strict=True):
        place = ", ".join(f"{angle:.0f}°" for angle in center)
        text = with_error(share, "%", 0.01)
        if occupied.n_transitions == 0:
            text = f"{100 * share.mean:.1f} % (no transition was seen: error not known)"
        rows.append((f"near {place}", text))
    rows.append(("transitions", str(occupied.n_transitions)))
    return rows


def _profile_rows(
    profile: FreeEnergyProfile | None, occupied: Occupations, units: Units
) -> list[tuple[str, str]]:
    """Return the free energies of the minima."""
    if profile is None:
        return []
    rows = []
    period = len(profile.centers) * (profile.centers[1] - profile.centers[0])
    for center in occupied.basins.centers[:, 0]:
        gaps = np.abs((profile.centers - center + 0.5 * period) % period - 0.5 * period)
        place = int(gaps.argmin())
        energy, error = profile.free_energies[place], profile.standard_errors[place]
        rows.append(
            (
                f"F near {center:.0f}°",
                f"{number(energy / units.energy_factor)} ± {number(error / units.energy_factor)} "
                f"{units.energy_label} at {profile.temperature:g} K",
            )
        )
    highest = profile.free_energies[np.isfinite(profile.free_energies)].max()
    never = int(np.isinf(profile.free_energies).sum())
    seen = f"; {counted(never, 'bin')} never visited" if never else ""
    rows.append(
        ("F, highest seen", f"{number(highest / units.energy_factor)} {units.energy_label}{seen}")
    )
    return rows


def _profile_figures(profile: FreeEnergyProfile | None, units: Units) -> dict[str, Any] | None:
    if profile is None:
        return None
    return {
        "unit": units.energy_label,
        "temperature": profile.temperature,
        "values": profile.free_energies / units.energy_factor,
        "standard_errors": profile.standard_errors / units.energy_factor,
    }


def _range_text(series: list[FloatArray]) -> str:
    low, high = min(each.min() for each in series), max(each.max() for each in series)
    mean = float(np.concatenate(series).mean())
    return f"{low:.1f} to {high:.1f} degrees, mean {mean:.1f}, at the end {series[0][-1]:.1f}"
