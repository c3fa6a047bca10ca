"""GFN2-xTB energies and forces through tblite: minimum, normal modes, frames, rotation profiles.

Everything is kept in a folder as it is calculated, so that an interrupted run goes on.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from .molecule import Array, Stilbene, atoms_behind, bonds, turned

THEORY = "GFN2-xTB (tblite)"
TEMPERATURE = 300.0
SOFTEST = 50.0
"""Modes softer than this many 1/cm are given its amplitude: in straight lines they bend bonds."""
_KB = 8.617333262e-5  # eV/K
_WAVENUMBER = 521.470898  # 1/cm of one sqrt(eV/(Å² u))
_EVERY = 25


def minimum(molecule: Stilbene, folder: Path) -> Array:
    """Return the positions of the minimum near the built geometry in Å."""

    def optimise() -> dict[str, Array]:
        from ase.optimize import BFGS

        atoms = _atoms(molecule, molecule.positions)
        # out of the plane, where symmetry would keep it on a saddle point
        atoms.rattle(0.01, seed=0)
        dynamics = BFGS(atoms, logfile=None)
        if not dynamics.run(fmax=0.002, steps=600):
            raise RuntimeError("the geometry has not converged in 600 steps")
        return {"R": atoms.positions, "E": np.array(atoms.get_potential_energy())}

    return _kept(folder / "minimum.npz", optimise)["R"]


def normal_modes(molecule: Stilbene, positions: Array, folder: Path) -> tuple[Array, Array]:
    """Return wave numbers ``(r,)`` in 1/cm and modes ``(r, N, 3)``, of unit kinetic energy.

    The Hessian is that of central differences of the forces.
    """

    def differentiate() -> dict[str, Array]:
        step, flat = 0.005, positions.reshape(-1)
        hessian = np.empty((flat.size, flat.size))
        for column in range(flat.size):
            ends = []
            for sign in (1.0, -1.0):
                moved = flat.copy()
                moved[column] += sign * step
                ends.append(_label(molecule, moved.reshape(-1, 3))[1])
            hessian[column] = -(ends[0] - ends[1]).reshape(-1) / (2.0 * step)
        return {"hessian": 0.5 * (hessian + hessian.T)}

    from ase.data import atomic_masses

    hessian = _kept(folder / "hessian.npz", differentiate)["hessian"]
    roots = np.repeat(atomic_masses[molecule.atomic_numbers], 3) ** 0.5
    values, vectors = np.linalg.eigh(hessian / roots / roots[:, None])
    inner = slice(6, None)  # the six smallest are rigid motions
    numbers = np.sign(values[inner]) * np.abs(values[inner]) ** 0.5 * _WAVENUMBER
    modes = (vectors[:, inner] / roots[:, None]).T
    return numbers, modes.reshape(len(modes), -1, 3)


def frames(molecule: Stilbene, n: int, folder: Path) -> dict[str, Array]:
    """Return ``n`` labelled frames ``R``, ``E``, ``F`` in eV and Å, and the bond that was turned.

    Frame ``i`` is the same however many are asked for. Displacements along the normal modes have
    the variances of classical harmonic oscillators at 300 K; then one single bond, drawn at random,
    is turned by an angle drawn at random.
    """
    at = minimum(molecule, folder)
    numbers, modes = normal_modes(molecule, at, folder)
    spread = (_KB * TEMPERATURE) ** 0.5 / (np.maximum(numbers, SOFTEST) / _WAVENUMBER)
    bonded = bonds(molecule.atomic_numbers, at)
    axes = list(molecule.single_bonds.values())
    path = folder / "frames.npz"
    rows: dict[str, list[Any]] = {key: [] for key in ("R", "E", "F", "bond")}
    if path.exists():
        with np.load(path) as stored:
            rows = {key: list(stored[key]) for key in rows}
    for index in range(len(rows["E"]), n):
        rng = np.random.default_rng([7, index])
        positions = at + np.einsum("r,rnx->nx", spread * rng.normal(size=len(spread)), modes)
        which = int(rng.integers(len(axes)))
        moving = atoms_behind(bonded, *axes[which])
        positions = turned(positions, *axes[which], moving, rng.uniform(0.0, 2.0 * np.pi))
        energy, forces = _label(molecule, positions)
        for key, value in zip(rows, (positions, energy, forces, which), strict=True):
            rows[key].append(value)
        if (index + 1) % _EVERY == 0 or index == n - 1:
            _save(path, {key: np.array(value) for key, value in rows.items()})
            print(f"{index + 1} of {n} frames", file=sys.stderr, flush=True)
    return {key: np.array(value[:n]) for key, value in rows.items()}


def turns(molecule: Stilbene, bond: str, degrees: Array, folder: Path) -> Array:
    """Return the minimum ``(T, N, 3)`` with a bond turned by angles ``(T,)``."""
    at = minimum(molecule, folder)
    axis = molecule.single_bonds[bond]
    moving = atoms_behind(bonds(molecule.atomic_numbers, at), *axis)
    return np.array([turned(at, *axis, moving, angle) for angle in np.radians(degrees)])


def profile(molecule: Stilbene, bond: str, degrees: Array, folder: Path) -> dict[str, Array]:
    """Return ``R``, ``E``, ``F`` of the minimum with a bond turned by angles ``(T,)``."""

    def scan() -> dict[str, Array]:
        path = turns(molecule, bond, degrees, folder)
        labels = [_label(molecule, positions) for positions in path]
        energies, forces = (np.array(column) for column in zip(*labels, strict=True))
        return {"R": path, "E": energies, "F": forces}

    one, other = molecule.single_bonds[bond]
    return _kept(folder / f"profile-{one}-{other}-{len(degrees)}.npz", scan)


def stretch(molecule: Stilbene, pair: tuple[int, int], steps: Array, folder: Path) -> Array:
    """Return the minimum ``(T, N, 3)`` with the second of two atoms moved along their bond."""
    at = minimum(molecule, folder)
    along = at[pair[1]] - at[pair[0]]
    path = np.repeat(at[None], len(steps), axis=0)
    path[:, pair[1]] += steps[:, None] * along / np.linalg.norm(along)
    return path


def label(molecule: Stilbene, positions: Array, path: Path) -> Array:
    """Return the energies ``(T,)`` of geometries, kept in a file."""

    def calculate() -> dict[str, Array]:
        return {"E": np.array([_label(molecule, one)[0] for one in positions])}

    return _kept(path, calculate)["E"]


def _label(molecule: Stilbene, positions: Array) -> tuple[float, Array]:
    atoms = _atoms(molecule, positions)
    return float(atoms.get_potential_energy()), np.array(atoms.get_forces())


def _atoms(molecule: Stilbene, positions: Array) -> Any:
    from ase import Atoms

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    try:
        from tblite.ase import TBLite
    except ImportError as error:
        raise SystemExit(
            "tblite calculates the reference data of this benchmark: pip install tblite"
        ) from error
    return Atoms(
        molecule.atomic_numbers,
        positions,
        calculator=TBLite(method="GFN2-xTB", accuracy=0.1, verbosity=0),
    )


def _kept(path: Path, make: Any) -> dict[str, Array]:
    if not path.exists():
        _save(path, make())
        print(f"made {path.name}", file=sys.stderr, flush=True)
    with np.load(path) as stored:
        return {key: stored[key] for key in stored}


def _save(path: Path, arrays: dict[str, Array]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part.npz")
    np.savez_compressed(temporary, **arrays)
    temporary.replace(path)
