"""Stationary points, relaxed scans and harmonic vibrations of a model, as numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from reporting import Figures

import kraft
from kraft.analysis.trajectories import dihedral_angles, vibrations
from kraft.interfaces.surface import Scan, relax, scan

from .models import KCAL

Array = NDArray[np.float64]
Arrays = dict[str, Array]


def lowest(
    force_field: kraft.ForceField, starts: Array, atoms: Sequence[int], near: float, width: float
) -> Array:
    """Return the lowest of some relaxed geometries whose dihedral angle is near a value."""
    angles = dihedral_angles(starts, atoms)
    gaps = np.abs(np.mod(angles - near + 180.0, 360.0) - 180.0)
    inside = np.flatnonzero(gaps < width)
    if len(inside) == 0:
        inside = gaps.argsort()[:4]
    energies = force_field.predict(starts[inside])[0]
    chosen = inside[np.argsort(energies)[:4]]
    relaxed = [relax(force_field, starts[place], fmax=1e-3) for place in chosen]
    best: Array = min(relaxed, key=lambda found: found.energy_after).positions
    return best


def turned(
    force_field: kraft.ForceField, start: Array, atoms: Sequence[int], step: float
) -> tuple[Figures, Scan]:
    """Return a relaxed scan over a full turn of a dihedral angle with its minima and barriers.

    Energies are in kcal/mol above the lowest minimum.
    """
    found = scan(force_field, start, atoms, np.arange(-180.0, 180.0 + 0.5 * step, step))
    profile = found.profile
    zero = min(point.energy for point in profile.minima())
    barriers = [
        {
            "from": _wrapped(barrier.start.coordinate),
            "top": _wrapped(barrier.top.coordinate),
            "to": _wrapped(barrier.end.coordinate),
            "forward": KCAL * barrier.forward,
            "reverse": KCAL * barrier.reverse,
        }
        for barrier in profile.barriers()
    ]
    return {
        "minima": [[_wrapped(p.coordinate), KCAL * (p.energy - zero)] for p in profile.minima()],
        "barriers": barriers,
        "converged": bool(found.converged.all()),
        "max_novelty": float(found.novelty.max()),
        "n_sweeps": found.n_sweeps,
    }, found


def curve(found: Scan, name: str) -> Arrays:
    """Return a scan's curve on a fine grid, in kcal/mol above its minimum."""
    profile = found.profile
    zero = min(point.energy for point in profile.minima())
    grid = np.linspace(profile.coordinates[0], profile.coordinates[-1], 361)
    return {
        f"{name}_angles": grid,
        f"{name}_energies": KCAL * (profile.at(grid) - zero),
        f"{name}_points": KCAL * (found.energies - zero),
        f"{name}_values": found.values,
    }


def harmonic(force_field: kraft.ForceField, start: Array) -> tuple[Figures, Arrays, Array]:
    """Return wavenumbers of the minimum near a geometry, mode shares of atoms, the geometry."""
    found = relax(force_field, start, fmax=1e-4, max_steps=2000)
    modes = vibrations(force_field, found.positions)
    shares = np.square(modes.modes).sum(axis=2)
    figures = {
        "energy": KCAL * found.energy_after,
        "wavenumbers": [float(value) for value in modes.wavenumbers],
        "max_force": float(modes.max_force),
    }
    return figures, {"wavenumbers": modes.wavenumbers, "shares": shares}, found.positions


def minima(
    force_field: kraft.ForceField,
    starts: Array,
    angles: Sequence[Sequence[int]],
    *,
    n_starts: int = 40,
    tolerance: float = 12.0,
) -> list[Figures]:
    """Return the minima that geometries relax to, by their dihedral angles, the lowest first."""
    spaced = starts[np.linspace(0, len(starts) - 1, min(n_starts, len(starts))).astype(int)]
    found: list[Figures] = []
    for start in spaced:
        done = relax(force_field, start, fmax=2e-3)
        if not done.converged:
            continue
        at = [float(dihedral_angles(done.positions[None], atoms)[0]) for atoms in angles]
        energy = KCAL * done.energy_after
        known = next((f for f in found if _alike(f["angles"], at, tolerance)), None)
        if known is None:
            found.append({"angles": at, "energy": energy, "n": 1})
            continue
        known["n"] += 1
        if energy < known["energy"]:
            known.update(angles=at, energy=energy)
    zero = min((f["energy"] for f in found), default=0.0)
    for each in found:
        each["energy"] -= zero
    return sorted(found, key=lambda each: each["energy"])


def _alike(first: Sequence[float], second: Sequence[float], tolerance: float) -> bool:
    gaps = np.mod(np.subtract(first, second) + 180.0, 360.0) - 180.0
    return bool(np.abs(gaps).max() < tolerance)


def _wrapped(angle: float) -> float:
    return float(np.mod(angle + 180.0, 360.0) - 180.0)
