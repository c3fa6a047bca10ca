"""``kraft neb``: the path between two minima, its barriers and its transition state."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter

from kraft.analysis.trajectories import HarmonicSpectrum, vibrations
from kraft.cli.console import out
from kraft.cli.interruption import StopSwitch
from kraft.cli.model_files import load_model
from kraft.cli.options import ComputeOptions, Flag
from kraft.cli.outputs import check_output, note_written, write_json
from kraft.cli.progress import progress_bars
from kraft.cli.results import model_figures
from kraft.cli.summary import counted, number, print_facts, print_next, print_notices, print_warning
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
    wave_text,
    write_frames,
)
from kraft.data.geometry_format import Geometries
from kraft.data.units import Units
from kraft.interfaces.surface import EndOrder, ReactionPath, find_path
from kraft.interfaces.surface.elastic_band import BAND_FMAX, MAX_BAND_STEPS, N_IMAGES
from kraft.interfaces.surface.relaxation import MAX_HESSIAN_ATOMS
from kraft.models import ForceField
from kraft.reports.surface_figures import path_figure, save_figure


def neb(
    model: Path,
    start: Path,
    end: Path,
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    overwrite: Annotated[bool, Flag] = False,
    images: int = N_IMAGES,
    climb: bool = True,
    relax: bool = True,
    end_order: EndOrder = "check",
    fmax: Annotated[str, Parameter(group=OPTIMIZER_GROUP)] = f"{BAND_FMAX:g}",
    max_steps: Annotated[int, Parameter(group=OPTIMIZER_GROUP)] = MAX_BAND_STEPS,
    length_unit: str | None = None,
    any_order: Annotated[bool, Flag] = False,
    compute: ComputeOptions = ComputeOptions(),  # noqa: B008
    result: SurfaceResults = SurfaceResults(),  # noqa: B008
) -> None:
    """Find the path between two minima (nudged elastic band), its barriers and transition state.

    Ctrl-C ends it with the path reached so far in the file.

    Parameters
    ----------
    model
        A model made by kraft (.safetensors) or by sgdml (.npz).
    start, end
        The first geometry of each file, anything ASE reads; the end is laid upon the start.
    output
        File to write the path to, .xyz or .extxyz, in eV and Å; the transition state goes to a
        file beside it (.ts.xyz).
    overwrite
        Replace files that are there already.
    images
        Geometries between the ends.
    climb
        Let the highest image climb to the transition state.
    relax
        Relax both ends first.
    end_order
        When the end is nearer to the start with equivalent atoms in another order: `check` stops
        with an error, `nearest` reorders them, `keep` makes the path exchange them.
    fmax
        Largest force on an atom across the path: a number in eV/Å, or with its unit, as in
        '0.2 kcal/mol/Å'.
    max_steps
        Steps of the optimizer.
    length_unit
        Unit of the positions where the files do not say; Å by default.
    any_order
        Do not check whether like atoms have changed places.
    """
    compute.apply()
    result.check()
    limit = parse_force(fmax)
    top_file = output.with_suffix(".ts.xyz")
    for path in (output, top_file):
        check_output(path, suffixes=GEOMETRY_SUFFIXES, overwrite=overwrite)
    force_field = load_model(model, compute.device, compute.dtype)
    units = result.units_for(force_field.units)
    ends = [read_one(force_field, path, length_unit, any_order=any_order) for path in (start, end)]
    switch = StopSwitch()
    with progress_bars() as progress, switch.listening():
        found = find_path(
            force_field, ends[0].positions[0], ends[1].positions[0], n_images=images, climb=climb,
            relax_ends=relax, end_order=end_order, fmax=limit, max_steps=max_steps,
            progress=progress, stop_requested=lambda: switch.requested,
        )  # fmt: skip
    modes = _vibrations(force_field, found)
    files = _write(output, top_file, ends[0], found)
    title = f"{start.stem} to {end.stem} with {model.name}"
    _print(title, found, modes, units)
    _remark(found, modes, units)
    write_json(result.json, _figures(model, files, found, modes, units, force_field))
    if result.plot is not None:
        save_figure(path_figure(found, units=units, title=title), result.plot)
        note_written(result.plot)
        files.append(result.plot)
    out.print(f"\nWrote {', '.join(map(str, files))}.", soft_wrap=True)
    if not found.converged:
        what = (
            f"forces across the path up to {force_text(found.max_force, units)} after "
            f"{counted(found.n_steps, 'step')}; give more --max-steps, or more --images"
        )
        raise unfinished(what, found.interrupted, files)
    if found.has_barrier:
        print_next(f"kraft frequencies {model} {top_file}")


def _vibrations(force_field: ForceField, found: ReactionPath) -> HarmonicSpectrum | None:
    """Return the vibrations at the transition state, where it is known."""
    small = found.positions.shape[1] <= MAX_HESSIAN_ATOMS
    if not (found.climbed and found.converged and found.has_barrier and small):
        return None
    return vibrations(force_field, found.positions[found.top])


def _write(output: Path, top_file: Path, like: Geometries, found: ReactionPath) -> list[Path]:
    numbers = [
        {"image": index, "path_length": float(length), "novelty": float(novelty)}
        for index, (length, novelty) in enumerate(zip(found.lengths, found.novelty, strict=True))
    ]
    write_frames(output, like, found.positions, found.energies, numbers)
    if not found.has_barrier:
        return [output]
    top = slice(found.top, found.top + 1)
    write_frames(top_file, like, found.positions[top], found.energies[top], numbers[top])
    return [output, top_file]


def _print(title: str, found: ReactionPath, modes: HarmonicSpectrum | None, units: Units) -> None:
    gap = float(found.energies[-1] - found.energies[0])
    rows = [
        ("barrier", _barrier_text(found.forward, found, units)),
        ("reverse", _barrier_text(found.reverse, found, units)),
        ("end above start", energy_text(gap, units)),
        (
            "path",
            f"{counted(len(found.energies) - 2, 'image')} between the ends, "
            f"{found.lengths[-1]:.2f} Å long",
        ),
        (
            "forces",
            f"at most {force_text(found.max_force, units)} across the path after "
            f"{counted(found.n_steps, 'step')}",
        ),
        ("ends moved", f"{found.end_moves[0]:.3f} and {found.end_moves[1]:.3f} Å (RMSD)"),
        ("novelty", novelty_text(found.novelty)),
    ]
    if modes is not None:
        waves = ", ".join(wave_text(float(wave)) for wave in modes.wavenumbers[:2])
        rows.append(
            ("transition state", f"{counted(modes.n_imaginary, 'imaginary mode')}; lowest {waves}")
        )
    print_facts(title, rows)


def _barrier_text(height: float, found: ReactionPath, units: Units) -> str:
    if not found.has_barrier:
        return "none: the energy is highest at an end"
    return energy_text(height, units)


def _remark(found: ReactionPath, modes: HarmonicSpectrum | None, units: Units) -> None:
    """Tell what a person should look at."""
    if found.order != tuple(range(len(found.order))):
        print_notices([f"Atoms of the end were taken in the order {list(found.order)}."])
    warn_of_novelty(found.novelty, "on the path")
    barriers = found.barriers
    if found.converged and len(barriers) > 1:
        heights = ", ".join(number(b.forward / units.energy_factor) for b in barriers)
        print_notices(
            [
                f"The path passes other minima: {len(barriers)} barriers of {heights} "
                f"{units.energy_label}, each from the minimum before. Search each part by itself "
                "for exact heights."
            ]
        )
    if modes is not None and modes.n_imaginary != 1:
        print_warning(
            f"The highest image has {modes.n_imaginary} imaginary modes, expected 1: it is no "
            "transition state. Take more --images or a smaller --fmax."
        )
    if found.converged and not found.climbed:
        print_notices(["Without --climb the barrier is that of the highest image, a lower bound."])


def _figures(
    model: Path,
    files: list[Path],
    found: ReactionPath,
    modes: HarmonicSpectrum | None,
    units: Units,
    force_field: ForceField,
) -> dict[str, Any]:
    factor = units.energy_factor
    return {
        "model": model,
        "files": files,
        "units": {"energy": units.energy_label, "force": units.force_label},
        "barrier_forward": found.forward / factor if found.has_barrier else None,
        "barrier_reverse": found.reverse / factor if found.has_barrier else None,
        "end_above_start": (found.energies[-1] - found.energies[0]) / factor,
        "energies": (found.energies - found.energies[0]) / factor,
        "path_lengths": found.lengths,
        "transition_state": found.top if found.has_barrier else None,
        "imaginary_modes": None if modes is None else modes.n_imaginary,
        "lowest_wavenumber": None if modes is None else modes.wavenumbers[0],
        "barriers": [
            {"forward": each.forward / factor, "reverse": each.reverse / factor}
            for each in found.barriers
        ],
        "max_force": found.max_force / units.force_factor,
        "converged": found.converged,
        "n_steps": found.n_steps,
        "end_moves": found.end_moves,
        "order": np.array(found.order),
        "novelty": found.novelty,
        **model_figures(force_field),
    }
