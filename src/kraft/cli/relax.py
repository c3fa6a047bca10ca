"""``kraft relax``: from geometries down to the minima of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
from cyclopts import Parameter
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kraft.analysis.trajectories import HarmonicSpectrum, rmsd, vibrations
from kraft.cli.console import out
from kraft.cli.interruption import StopSwitch
from kraft.cli.model_files import load_model
from kraft.cli.options import ComputeOptions, Flag, ResultOptions
from kraft.cli.outputs import check_json, check_output, write_json
from kraft.cli.progress import progress_bars
from kraft.cli.results import model_figures
from kraft.cli.summary import counted, number, print_facts, print_next, print_warning
from kraft.cli.surface_options import (
    GEOMETRY_SUFFIXES,
    OPTIMIZER_GROUP,
    energy_text,
    force_text,
    novelty_text,
    parse_force,
    read_starts,
    unfinished,
    warn_of_novelty,
    wave_text,
    write_frames,
)
from kraft.core.typing import IntArray
from kraft.data.geometry_format import Geometries
from kraft.data.units import Units
from kraft.interfaces.surface import Relaxation
from kraft.interfaces.surface import relax as relax_geometry
from kraft.interfaces.surface.relaxation import FMAX, MAX_HESSIAN_ATOMS, MAX_STEPS
from kraft.models import ForceField

_SAME = 0.05
"""Å: minima nearer than this (RMSD over equivalent orders of the atoms) count as one."""

_MAX_SHOWN = 12


def relax(
    model: Path,
    start: Path,
    /,
    *,
    output: Annotated[Path, Parameter(name=["--output", "-o"])],
    overwrite: Annotated[bool, Flag] = False,
    fmax: Annotated[str, Parameter(group=OPTIMIZER_GROUP)] = f"{FMAX:g}",
    max_steps: Annotated[int, Parameter(group=OPTIMIZER_GROUP)] = MAX_STEPS,
    length_unit: str | None = None,
    any_order: Annotated[bool, Flag] = False,
    compute: ComputeOptions = ComputeOptions(),  # noqa: B008
    result: ResultOptions = ResultOptions(),  # noqa: B008
) -> None:
    """Go from geometries down to the next minima of a model, and write them as extended XYZ.

    Ctrl-C ends it with the geometries reached so far in the file.

    Parameters
    ----------
    model
        A model made by kraft (.safetensors) or by sgdml (.npz).
    start
        One or many geometries, anything ASE reads.
    output
        File to write, .xyz or .extxyz, in eV and Å.
    overwrite
        Replace a file that is there already.
    fmax
        Largest force on an atom that may be left: a number in eV/Å, or with its unit, as in
        '0.02 kcal/mol/Å'.
    max_steps
        Steps of the optimizer (BFGS, started from the analytic Hessian) for each geometry.
    length_unit
        Unit of the positions where the file does not say; Å by default.
    any_order
        Do not check whether like atoms have changed places.
    """
    compute.apply()
    limit = parse_force(fmax)
    check_output(output, suffixes=GEOMETRY_SUFFIXES, overwrite=overwrite)
    check_json(result.json)
    force_field = load_model(model, compute.device, compute.dtype)
    units = result.units_for(force_field.units)
    frames = read_starts(force_field, start, length_unit, any_order=any_order)
    switch = StopSwitch()
    done: list[Relaxation] = []
    with progress_bars() as progress, switch.listening():
        for index, positions in enumerate(frames.positions):
            progress("relaxing", index, len(frames))
            done.append(
                relax_geometry(
                    force_field, positions, fmax=limit, max_steps=max_steps,
                    stop_requested=lambda: switch.requested,
                )
            )  # fmt: skip
            if switch.requested:
                break
    modes = [_vibrations(force_field, each) for each in done]
    classes = _distinct(force_field, done)
    _write(output, frames, done, classes)
    _print(f"{start.name} with {model.name}", done, modes, classes, units,
           force_field.permutations)  # fmt: skip
    write_json(result.json, _figures(model, output, done, modes, classes, units, force_field))
    warn_of_novelty(np.array([each.novelty for each in done]), "reached")
    _warn_of_saddles(modes)
    out.print(f"\nWrote {output}, in eV and Å.", soft_wrap=True)
    failed = sum(not each.converged for each in done)
    if failed or len(done) < len(frames):
        left = len(frames) - len(done)
        what = f"{failed} of {counted(len(done), 'geometry')} not below {number(limit)} eV/Å"
        what += f", {left} not begun" if left else ""
        advice = "" if switch.requested else "; go on from there, or give more --max-steps"
        raise unfinished(what + advice, switch.requested, [output])
    print_next(f"kraft frequencies {model} {output}")


def _vibrations(force_field: ForceField, reached: Relaxation) -> HarmonicSpectrum | None:
    """Return the vibrations where a geometry converged; None where they are not to be had."""
    small = len(reached.positions) <= MAX_HESSIAN_ATOMS
    if force_field.kind.hessian is None or not reached.converged or not small:
        return None
    return vibrations(force_field, reached.positions)


def _distinct(force_field: ForceField, done: list[Relaxation]) -> IntArray:
    """Return the number ``(B,)`` of the minimum that each geometry reached, lowest first."""
    order = np.argsort([each.energy_after for each in done], kind="stable")
    classes = np.full(len(done), -1)
    known: list[int] = []
    for index in order:
        positions = done[index].positions
        for number_of, other in enumerate(known):
            gap = rmsd(
                positions[None], done[other].positions, permutations=force_field.permutations
            )
            if gap[0] < _SAME:
                classes[index] = number_of
                break
        else:
            classes[index] = len(known)
            known.append(int(index))
    return classes


def _write(path: Path, frames: Geometries, done: list[Relaxation], classes: IntArray) -> None:
    write_frames(
        path,
        frames,
        np.stack([each.positions for each in done]),
        np.array([each.energy_after for each in done]),
        [
            {
                "start": index,
                "minimum": int(kind),
                "max_force": each.max_force,
                "converged": int(each.converged),
                "novelty": each.novelty,
            }
            for index, (each, kind) in enumerate(zip(done, classes, strict=True))
        ],
    )


def _print(
    title: str,
    done: list[Relaxation],
    modes: list[HarmonicSpectrum | None],
    classes: IntArray,
    units: Units,
    permutations: IntArray,
) -> None:
    if len(done) == 1:
        _print_one(title, done[0], modes[0], units)
        return
    lowest = min(each.energy_after for each in done)
    table = Table(box=None, pad_edge=False, header_style="dim")
    headings = ("start", "minimum", f"above lowest ({units.energy_label})", "came down by",
                f"force ({units.force_label})", "RMSD (Å)", "steps", "novelty")  # fmt: skip
    for heading in headings:
        table.add_column(heading, justify="right")
    for index, (each, kind) in enumerate(zip(done, classes, strict=True)):
        table.add_row(
            str(index), str(kind),
            *(number(float(e) / units.energy_factor) for e in
              (each.energy_after - lowest, each.energy_before - each.energy_after)),
            number(each.max_force / units.force_factor) + ("" if each.converged else " !"),
            f"{each.rmsd:.3f}", str(each.n_steps), f"{each.novelty:.2f}",
        )  # fmt: skip
    out.print(Text(title, style="bold"))
    out.print(Padding(table, (0, 0, 0, 2), expand=False))
    kinds = int(classes.max()) + 1
    rows = []
    for kind in range(min(kinds, _MAX_SHOWN)):
        members = np.flatnonzero(classes == kind)
        energy = (done[members[0]].energy_after - lowest) / units.energy_factor
        text = f"{number(float(energy))} {units.energy_label}, {len(members)} of {len(done)} starts"
        other = _mirror_image(kind, done, classes, permutations)
        rows.append(
            (f"minimum {kind}", text + ("" if other is None else f", mirror image of {other}"))
        )
    print_facts("One minimum" if kinds == 1 else f"{kinds} different minima", rows)


def _mirror_image(
    kind: int, done: list[Relaxation], classes: IntArray, permutations: IntArray
) -> int | None:
    """Return the minimum before this one whose mirror image it is, or None."""
    first = done[int(np.flatnonzero(classes == kind)[0])].positions
    for other in range(kind):
        mirrored = -done[int(np.flatnonzero(classes == other)[0])].positions
        if rmsd(first[None], mirrored, permutations=permutations)[0] < _SAME:
            return other
    return None


def _print_one(
    title: str, reached: Relaxation, modes: HarmonicSpectrum | None, units: Units
) -> None:
    factor = units.energy_factor
    rows = [
        ("energy", f"{reached.energy_before / factor:.10g} before, "
                   f"{reached.energy_after / factor:.10g} {units.energy_label} after"),
        ("came down by", energy_text(reached.energy_before - reached.energy_after, units)),
        ("largest force", f"{force_text(reached.force_before, units)} before, "
                          f"{force_text(reached.max_force, units)} after "
                          f"{counted(reached.n_steps, 'step')}"),
        ("moved", f"{reached.rmsd:.4f} Å (RMSD)"),
        ("novelty", novelty_text(np.array([reached.novelty]))),
    ]  # fmt: skip
    if modes is not None:
        kind = "a minimum" if modes.n_imaginary == 0 else "no minimum"
        rows.append(("it is", f"{kind}: lowest mode {wave_text(float(modes.wavenumbers[0]))}"))
    print_facts(title, rows)


def _warn_of_saddles(modes: list[HarmonicSpectrum | None]) -> None:
    saddles = [index for index, each in enumerate(modes) if each is not None and each.n_imaginary]
    if saddles:
        which = ", ".join(map(str, saddles[:10]))
        print_warning(
            f"{counted(len(saddles), 'geometry')} (start {which}) ended where some mode is "
            "imaginary: a saddle point, kept by the symmetry of the start. Displace the start a "
            "little, or see the mode with `kraft frequencies --modes`."
        )


def _figures(
    model: Path,
    output: Path,
    done: list[Relaxation],
    modes: list[HarmonicSpectrum | None],
    classes: IntArray,
    units: Units,
    force_field: ForceField,
) -> dict[str, Any]:
    return {
        "model": model,
        "output": output,
        "units": {"energy": units.energy_label, "force": units.force_label},
        "geometries": [
            {
                "energy_before": each.energy_before / units.energy_factor,
                "energy_after": each.energy_after / units.energy_factor,
                "force_before": each.force_before / units.force_factor,
                "max_force": each.max_force / units.force_factor,
                "rmsd": each.rmsd,
                "n_steps": each.n_steps,
                "converged": each.converged,
                "novelty": each.novelty,
                "minimum": int(kind),
                "lowest_wavenumber": None if mode is None else mode.wavenumbers[0],
                "n_imaginary": None if mode is None else mode.n_imaginary,
            }
            for each, mode, kind in zip(done, modes, classes, strict=True)
        ],
        **model_figures(force_field),
    }
