"""Ac-Ala3-NHMe: paper 003."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from reporting import Figures

from kraft.analysis.trajectories import (
    BondGraph,
    Frames,
    backbone,
    dihedral_angles,
    radius_of_gyration,
)
from kraft.interfaces.surface import relax
from kraft.simulation import Steering

from .cases import Row
from .observables import Array, Arrays, histogram, over_runs
from .runs import Trajectories, classical
from .work import Work

PULL = 10.0
"""pN on the terminal carbons, paper 003."""

UNFOLDED = 3.8
"""Å: the radius of gyration that paper 003 gives the time to."""


def equilibrium(row: Row, work: Work) -> tuple[Figures, Arrays]:
    """Simulate the peptide: whether it stays whole, and where its central residue is."""
    force_field, starts = work.model(row.model)
    if row.sampling is None:
        raise ValueError("the row has no dynamics")
    spread = starts[np.linspace(0, len(starts) - 1, row.sampling.replicas).astype(int)]
    found = classical(
        force_field, spread, work.folder, "sampling", row.sampling, row.temperature,
        guarded=not work.quick,
    )  # fmt: skip
    graph = BondGraph.of(force_field.atomic_numbers, starts[0])
    residues = backbone(graph)
    central = residues[len(residues) // 2]
    phi, psi = (
        [dihedral_angles(frames.positions, atoms) for frames in found.frames]
        for atoms in (central.phi, central.psi)
    )
    radii = [_radii(frames) for frames in found.frames]
    data = work.frames(row.model)
    figures = {
        "sampling": found.figures,
        "residue": [int(atom) for atom in (*central.phi, *central.psi)],
        "gyration": over_runs(radii),
        "gyration_data": float(radius_of_gyration(data, found.frames[0].masses).mean()),
        "regions": _regions(phi, psi),
    }
    return figures, {
        "ramachandran": histogram(phi, psi, n_bins=60),
        "ramachandran_data": histogram(
            [dihedral_angles(data, central.phi)], [dihedral_angles(data, central.psi)], n_bins=60
        ),
        "radii": np.concatenate(radii),
    }


def steered(row: Row, work: Work) -> tuple[Figures, Arrays]:
    """Pull at the ends of the folded peptide, and let the same replicas go without a force."""
    force_field, starts = work.model(row.model)
    if row.sampling is None:
        raise ValueError("the row has no dynamics")
    ends = terminal_carbons(BondGraph.of(force_field.atomic_numbers, starts[0]))
    data = work.frames(row.model)
    masses = _masses(force_field.atomic_numbers)
    compact = data[np.argsort(radius_of_gyration(data, masses))[:1]]
    start = relax(force_field, compact[0], fmax=0.02)
    figures: Figures = {
        "ends": [int(atom) for atom in ends],
        "pull_pN": PULL,
        "start_gyration": float(radius_of_gyration(start.positions[None], masses)[0]),
        "start_novelty": float(start.novelty),
    }
    arrays: Arrays = {}
    for name, steering in (("pulled", Steering(*ends, PULL)), ("free", None)):
        found = classical(
            force_field,
            start.positions[None],
            work.folder,
            name,
            replace(row.sampling, equilibration=0.0),
            row.temperature,
            steering=steering,
            guarded=not work.quick,
        )
        numbers, curves = _unfolding(found, ends, row.sampling.interval)
        figures[name] = {**numbers, "sampling": found.figures}
        arrays |= {f"{name}_{key}": value for key, value in curves.items()}
    figures["difference"] = _paired(arrays["pulled_last"], arrays["free_last"])
    return figures, arrays


def terminal_carbons(graph: BondGraph) -> tuple[int, int]:
    """Return the carbon atoms of the two methyl groups at the ends: far apart along the bonds."""
    methyls = [
        int(atom)
        for atom in graph.elements("C")
        if (graph.atomic_numbers[graph.neighbors[atom]] == 1).sum() == 3
    ]
    return max(
        ((a, b) for k, a in enumerate(methyls) for b in methyls[k + 1 :]),
        key=lambda pair: _bonds_between(graph, *pair),
    )


def _bonds_between(graph: BondGraph, start: int, end: int) -> int:
    reached, edge, count = {start}, {start}, 0
    while end not in reached and edge:
        edge = {int(b) for a in edge for b in graph.neighbors[a]} - reached
        reached |= edge
        count += 1
    return count


def _radii(frames: Frames) -> Array:
    return radius_of_gyration(frames.positions, frames.masses)


def _masses(atomic_numbers: Array) -> Array:
    return Frames(atomic_numbers, np.zeros((1, len(atomic_numbers), 3))).masses


def _unfolding(
    found: Trajectories, ends: tuple[int, int], interval: float
) -> tuple[Figures, Arrays]:
    """Return the radius of gyration and the distance of the ends, means over the replicas."""
    length = min(len(frames) for frames in found.frames)
    radii = np.stack([_radii(frames)[:length] for frames in found.frames])
    apart = np.stack(
        [
            np.linalg.norm(
                frames.positions[:length, ends[1]] - frames.positions[:length, ends[0]], axis=1
            )
            for frames in found.frames
        ]
    )
    n = len(radii)
    mean_radius, error = radii.mean(axis=0), radii.std(axis=0, ddof=1) / np.sqrt(n)
    reached = np.flatnonzero(mean_radius >= UNFOLDED)
    crossed = [np.flatnonzero(each >= UNFOLDED) for each in radii]
    times = [interval * int(each[0]) for each in crossed if each.size]
    return {
        "n": n,
        "mean_reaches_fs": interval * int(reached[0]) if reached.size else None,
        "n_reached": len(times),
        "median_time_fs": float(np.median(times)) if times else None,
        "last_gyration": [float(mean_radius[-1]), float(error[-1])],
        "last_distance": [
            float(apart[:, -1].mean()),
            float(apart[:, -1].std(ddof=1) / np.sqrt(n)),
        ],
    }, {
        "times": interval * np.arange(length),
        "radius": mean_radius,
        "radius_error": error,
        "distance": apart.mean(axis=0),
        "distance_error": apart.std(axis=0, ddof=1) / np.sqrt(n),
        "last": radii[:, -1],
    }


def _paired(pulled: Array, free: Array) -> Figures:
    """Return the mean difference of replicas with the same random numbers, and its error."""
    n = min(len(pulled), len(free))
    gaps = pulled[:n] - free[:n]
    return {"mean": float(gaps.mean()), "error": float(gaps.std(ddof=1) / np.sqrt(n))}


def _regions(phi: list[Array], psi: list[Array]) -> Figures:
    """Return shares of the regions of the Ramachandran map with phi below and above zero."""
    regions = {
        "beta (phi < 0, psi beyond 90)": [
            (a < 0.0) & (np.abs(b) > 90.0) for a, b in zip(phi, psi, strict=True)
        ],
        "alpha (phi < 0, psi within 90)": [
            (a < 0.0) & (np.abs(b) <= 90.0) for a, b in zip(phi, psi, strict=True)
        ],
        "left-handed (phi > 0)": [a >= 0.0 for a in phi],
    }
    return {
        name: over_runs([np.asarray(each, np.float64) for each in series])
        for name, series in regions.items()
    }
