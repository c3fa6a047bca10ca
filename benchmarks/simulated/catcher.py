"""The buckyball catcher: paper 000, section IV."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from reporting import Figures

import kraft
from kraft.analysis.trajectories import (
    BondGraph,
    Frames,
    blocked_mean,
    cumulative_mean,
    describe_rotations,
    relative_rotations,
    rmsd,
    stationarity,
)
from kraft.interfaces.surface import relax

from .bands import STRETCH
from .cases import Row
from .models import KCAL
from .observables import Array, Arrays, mean, peak_near, spectrum, split_spectrum
from .runs import classical, quantum
from .work import Work


def md(row: Row, work: Work) -> tuple[Figures, Arrays]:
    """Simulate the catcher classically."""
    force_field, starts = work.model(row.model)
    if row.sampling is None:
        raise ValueError("the row has no dynamics")
    start = _start(force_field, starts, work)
    found = classical(
        force_field, start[None], work.folder, "sampling", row.sampling, row.temperature,
        guarded=not work.quick,
    )  # fmt: skip
    figures, arrays = _motion(found.frames, start, starts[0], row.sampling.interval)
    energies = [frames.require_energies() for frames in found.frames]
    figures |= _energies(energies) | _spectrum(
        found.frames, work.resolution(row.resolution), arrays
    )
    arrays["cumulative"] = np.stack([_relative(each) for each in energies])
    return figures | {"sampling": found.figures}, arrays


def pimd(row: Row, work: Work) -> tuple[Figures, Arrays]:
    """Simulate the catcher by path integrals; deviations and rotation are the centroid's."""
    force_field, starts = work.model(row.model)
    if row.quantum is None:
        raise ValueError("the row has no path integrals")
    start = _start(force_field, starts, work)
    found = quantum(
        force_field, start[None], work.folder, row.quantum, row.temperature,
        guarded=not work.quick,
    )  # fmt: skip
    figures, arrays = _motion(found.centroids, start, starts[0], row.quantum.interval)
    beads = [rmsd(bead.positions, start) for ring in found.beads for bead in ring]
    figures["rmsd_beads"] = float(np.mean([each.mean() for each in beads]))
    late = found.times > row.quantum.equilibration
    energies = [each[late] for each in found.energies]
    figures |= _energies(energies) | _spectrum(
        found.centroids, work.resolution(row.resolution), arrays
    )
    arrays["cumulative"] = np.stack([_relative(each) for each in energies])
    return figures | {"quantum": found.figures}, arrays


def _start(force_field: kraft.ForceField, starts: Array, work: Work) -> Array:
    """Return a relaxed geometry; one of the data where the model is too poor to relax."""
    return starts[0] if work.quick else relax(force_field, starts[0], fmax=0.05).positions


def _motion(
    frames: Sequence[Frames], start: Array, sound: Array, interval: float
) -> tuple[Figures, Arrays]:
    """Return deviations from the start and the rotation of the ball in the catcher.

    ``sound`` is a geometry of the data, which tells the two molecules.
    """
    graph = BondGraph.of(frames[0].atomic_numbers, sound)
    fragments = sorted(graph.fragments, key=len)
    ball, host = fragments[0], fragments[-1]
    axis = _axis(start[host], start[ball])
    deviations, angles, twists = [], [], []
    for each in frames:
        deviations.append(rmsd(each.positions, start))
        found = describe_rotations(relative_rotations(each.positions, host, ball, start), axis)
        angles.append(found.angles)
        twists.append(found.twists)
    length = min(map(len, deviations))
    return {
        "fragments": [len(ball), len(host)],
        "rmsd": mean(blocked_mean(np.mean([d[:length] for d in deviations], axis=0))),
        "rmsd_max": float(max(d.max() for d in deviations)),
        "rotation_mean": float(np.mean([a.mean() for a in angles])),
        "rotation_max": float(max(a.max() for a in angles)),
    }, {
        "times": 1e-3 * interval * np.arange(length),
        "rmsd": np.stack([d[:length] for d in deviations]),
        "rotation": np.stack([a[:length] for a in angles]),
        "twist": np.stack([t[:length] for t in twists]),
    }


def _axis(host: Array, ball: Array) -> Array:
    """Return the unit vector from the host's center to the ball's: the axis of the complex."""
    vector = ball.mean(axis=0) - host.mean(axis=0)
    direction: Array = vector / np.linalg.norm(vector)
    return direction


def _energies(energies: Sequence[Array]) -> Figures:
    tests = [stationarity(each) for each in energies]
    return {
        "stationary": [test.stationary for test in tests],
        "p_values": [test.p_value for test in tests],
        "energy_spread": KCAL * float(np.std(np.concatenate(list(energies)))),
    }


def _relative(energies: Array) -> Array:
    """Return the cumulative mean in kcal/mol, relative to the mean of all."""
    relative: Array = KCAL * (cumulative_mean(energies) - energies.mean())
    return relative


def _spectrum(frames: Sequence[Frames], resolution: float, arrays: Arrays) -> Figures:
    """Return the spectrum and where the C-H stretch is; add the curves to ``arrays``."""
    hydrogen = np.flatnonzero(frames[0].atomic_numbers == 1)
    whole, curves = split_spectrum(spectrum(frames, resolution), "all")
    alone = spectrum(frames, resolution, atoms=hydrogen)
    lines, more = split_spectrum(alone, "hydrogen")
    arrays |= curves | more
    return {
        "spectrum": whole,
        "hydrogen_spectrum": {**lines, "stretch": peak_near(alone, *STRETCH)},
    }
