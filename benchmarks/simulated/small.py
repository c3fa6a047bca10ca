"""Ethanol, malonaldehyde and aspirin: paper 002."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from reporting import Figures

import kraft
from kraft.analysis.trajectories import Frames, angle_histogram, find_basins

from . import geometry
from .bands import TORSION
from .cases import Row
from .observables import (
    Array,
    Arrays,
    dihedrals,
    histogram,
    mean_density,
    over_runs,
    peak_near,
    share_of_runs,
    spectrum,
    split_spectrum,
)
from .runs import Paths, Trajectories, classical, ends, quantum
from .work import Work

HYDROXYL, METHYL, HYDROGEN = (1, 0, 2, 8), (2, 0, 1, 5), 8
PAIRS = {
    "malonaldehyde": ((4, 0, 1, 2), (3, 2, 1, 0)),
    "aspirin": ((5, 6, 12, 11), (6, 5, 10, 7)),
}
"""Dihedral angles: O-C-C-C from both ends; C-C-O-C of the ester, C-C-C=O of the acid."""

MIDDLE = 60.0
"""Degrees: both angles of malonaldehyde are beyond in structure (1), one is within in (2)."""


def profile(row: Row, work: Work) -> tuple[Figures, Arrays]:
    """Scan ethanol's hydroxyl rotor with both models, and find the harmonic vibrations."""
    figures: Figures = {"scans": {}, "harmonic": {}}
    arrays: Arrays = {}
    for key in row.models:
        force_field, frames = work.model(key)
        trans = geometry.lowest(force_field, frames, HYDROXYL, 180.0, 40.0)
        found, curve = geometry.turned(force_field, trans, HYDROXYL, work.scan_step)
        figures["scans"][key] = found
        arrays |= geometry.curve(curve, key)
        for name, near in (("trans", 180.0), ("gauche", 60.0)):
            start = geometry.lowest(force_field, frames, HYDROXYL, near, 40.0)
            numbers, modes, _ = geometry.harmonic(force_field, start)
            figures["harmonic"][f"{key} {name}"] = {
                **numbers,
                "hydroxyl_shares": [float(share) for share in modes["shares"][:, HYDROGEN]],
            }
            arrays[f"{key}_{name}_wavenumbers"] = modes["wavenumbers"]
            arrays[f"{key}_{name}_hydroxyl"] = modes["shares"][:, HYDROGEN]
    return figures, arrays


def ethanol_md(row: Row, work: Work) -> tuple[Figures, Arrays]:
    """Simulate ethanol classically: occupations, distributions, spectra."""
    force_field, starts = work.model(row.model)
    sampled, moving = _classical(row, work, force_field, starts)
    figures, arrays = _ethanol_angles([[each] for each in sampled.frames])
    found, curves = _ethanol_spectra(moving.frames, work.resolution(row.resolution))
    figures |= {"sampling": sampled.figures, "spectral": moving.figures, **found}
    return figures, arrays | curves


def ethanol_pimd(row: Row, work: Work) -> tuple[Figures, Arrays]:
    """Simulate ethanol by path integrals: the same observables."""
    force_field, starts = work.model(row.model)
    paths = _paths(row, work, force_field, starts, HYDROXYL)
    figures, arrays = _ethanol_angles(paths.beads)
    found, curves = _ethanol_spectra(paths.centroids, work.resolution(row.resolution))
    return figures | {"quantum": paths.figures, **found}, arrays | curves


def ethanol_cold(row: Row, work: Work) -> tuple[Figures, Arrays]:
    """Simulate ethanol at 100 K, classically and by path integrals: spectra."""
    force_field, starts = work.model(row.model)
    sampled, moving = _classical(row, work, force_field, starts)
    paths = _paths(row, work, force_field, starts, HYDROXYL)
    md, md_curves = _ethanol_spectra(moving.frames, work.resolution(row.resolution))
    pimd, pimd_curves = _ethanol_spectra(paths.centroids, work.resolution(row.resolution))
    figures = {
        "md": md,
        "pimd": pimd,
        "sampling": sampled.figures,
        "spectral": moving.figures,
        "quantum": paths.figures,
    }
    arrays = {f"md_{key}": value for key, value in md_curves.items()}
    return figures, arrays | {f"pimd_{key}": value for key, value in pimd_curves.items()}


def pair(row: Row, work: Work) -> tuple[Figures, Arrays]:
    """Simulate malonaldehyde or aspirin: joint distribution of two angles, spectra, minima."""
    molecule = row.model.split("-")[0]
    angles = PAIRS[molecule]
    force_field, starts = work.model(row.model)
    figures: Figures = {"minima": geometry.minima(force_field, starts, angles)}
    arrays: Arrays = {}
    if molecule == "aspirin":
        low = geometry.lowest(force_field, starts, angles[0], 90.0, 60.0)
        figures["scan"], curve = geometry.turned(force_field, low, angles[0], work.scan_step)
        arrays |= geometry.curve(curve, "scan")
    sampled, moving = _classical(row, work, force_field, starts)
    paths = _paths(row, work, force_field, starts, angles[0])
    classical_runs = [[each] for each in sampled.frames]
    for name, runs in (("md", classical_runs), ("pimd", paths.beads)):
        numbers, found = _two_angles([[dihedrals(beads, a) for a in angles] for beads in runs])
        figures[name] = numbers
        arrays |= {f"{name}_{key}": value for key, value in found.items()}
    for name, frames in (("md", moving.frames), ("pimd", paths.centroids)):
        numbers, found = split_spectrum(spectrum(frames, work.resolution(row.resolution)), name)
        figures[name]["spectrum"] = numbers
        arrays |= found
    figures |= {
        "sampling": sampled.figures,
        "spectral": moving.figures,
        "quantum": paths.figures,
    }
    return figures, arrays


def _classical(
    row: Row, work: Work, force_field: kraft.ForceField, starts: Array
) -> tuple[Trajectories, Trajectories]:
    """Sample with Langevin dynamics, then go on for the spectra."""
    if row.sampling is None or row.spectral is None:
        raise ValueError("the row has no classical dynamics")
    spread = starts[np.linspace(0, len(starts) - 1, row.sampling.replicas).astype(int)]
    sampled = classical(
        force_field, spread, work.folder, "sampling", row.sampling, row.temperature,
        guarded=not work.quick,
    )  # fmt: skip
    moving = classical(
        force_field,
        ends(sampled),
        work.folder,
        "spectral",
        replace(row.spectral, equilibration=0.0),
        row.temperature,
        spectral=True,
        guarded=not work.quick,
    )
    return sampled, moving


def _paths(
    row: Row, work: Work, force_field: kraft.ForceField, starts: Array, atoms: Sequence[int]
) -> Paths:
    """Start path integrals from relaxed geometries around the turn of an angle."""
    if row.quantum is None:
        raise ValueError("the row has no path integrals")
    n = row.quantum.runs
    places = [180.0, 60.0, -60.0, 180.0] if atoms is HYDROXYL else [90.0, -90.0]
    chosen = [
        geometry.lowest(force_field, starts, atoms, places[k % len(places)], 45.0) for k in range(n)
    ]
    return quantum(
        force_field, np.stack(chosen), work.folder, row.quantum, row.temperature,
        guarded=not work.quick,
    )  # fmt: skip


def _ethanol_angles(runs: Sequence[Sequence[Frames]]) -> tuple[Figures, Arrays]:
    """Return occupations and distributions of both dihedral angles; runs of beads."""
    hydroxyl = [dihedrals(beads, HYDROXYL) for beads in runs]
    methyl = [dihedrals(beads, METHYL) for beads in runs]
    flat = [[angles for beads in kind for angles in beads] for kind in (hydroxyl, methyl)]
    whole = angle_histogram(np.concatenate(flat[0]))
    basins = find_basins(whole, centers=[180.0, 60.0, -60.0])
    # the two gauche minima are mirror images: together they have a smaller error
    wanted = {"Mt": [0], "Mg+": [1], "Mg-": [2], "Mg": [1, 2]}
    shares = {name: share_of_runs(basins, w, hydroxyl) for name, w in wanted.items()}
    density, errors = mean_density(hydroxyl)
    methyl_density, methyl_errors = mean_density(methyl, fold=3)
    changes = sum(
        int((basins.assign(a)[1:] != basins.assign(a)[:-1]).sum())
        for beads in hydroxyl
        for a in beads
    )
    return {
        "shares": shares,
        "n_frames": sum(len(a) for a in flat[0]),
        "transitions": changes,
    }, {
        "joint": histogram(flat[0], flat[1], folds=(1, 3)),
        "hydroxyl": density,
        "hydroxyl_errors": errors,
        "methyl": methyl_density,
        "methyl_errors": methyl_errors,
    }


def _ethanol_spectra(frames: Sequence[Frames], resolution: float) -> tuple[Figures, Arrays]:
    """Return the spectrum of all atoms and that of the hydroxyl hydrogen."""
    whole, arrays = split_spectrum(spectrum(frames, resolution), "all")
    alone = spectrum(frames, resolution, atoms=np.array([HYDROGEN]))
    hydrogen, more = split_spectrum(alone, "hydroxyl_hydrogen")
    return {
        "spectrum": whole,
        "hydroxyl_spectrum": {**hydrogen, "torsion": peak_near(alone, *TORSION)},
    }, arrays | more


def _two_angles(runs: Sequence[Sequence[Sequence[Array]]]) -> tuple[Figures, Arrays]:
    """Return the joint distribution of two angles and shares of the regions of the first."""
    first = [angles[0] for angles in runs]
    second = [angles[1] for angles in runs]
    flat = [[a for beads in kind for a in beads] for kind in (first, second)]
    densities = [mean_density(kind) for kind in (first, second)]
    middle = [
        np.mean(
            [np.minimum(np.abs(a), np.abs(b)) > MIDDLE for a, b in zip(*pair, strict=True)], axis=0
        )
        for pair in zip(first, second, strict=True)
    ]
    return {
        "n_frames": sum(len(a) for a in flat[0]),
        "middle": over_runs(middle),
        "width": _width([densities[0][0], *_without_each(first)]),
    }, {
        "joint": histogram(flat[0], flat[1]),
        "first": densities[0][0],
        "first_errors": densities[0][1],
        "second": densities[1][0],
        "second_errors": densities[1][1],
    }


def _without_each(runs: Sequence[Sequence[Array]]) -> list[Array]:
    """Return the densities of an angle without one run each."""
    return [
        histogram([a for k, beads in enumerate(runs) if k != left_out for a in beads])
        for left_out in range(len(runs))
        if len(runs) > 1
    ]


def _width(densities: Sequence[Array]) -> Figures:
    """Return over how many degrees an angle is spread: ``exp`` of the entropy, folded at zero.

    The first density is that of all runs; those without one each give the error (jackknife).
    """
    widths = []
    for density in densities:
        folded = density + density[::-1]  # mirror images
        shares = folded[: len(folded) // 2] / folded[: len(folded) // 2].sum()
        entropy = -float((shares[shares > 0.0] * np.log(shares[shares > 0.0])).sum())
        widths.append(np.exp(entropy) * 180.0 / len(shares))
    others = np.array(widths[1:])
    spread = np.sqrt((len(others) - 1) * np.var(others)) if len(others) > 1 else np.nan
    return {"mean": float(widths[0]), "error": float(spread)}
