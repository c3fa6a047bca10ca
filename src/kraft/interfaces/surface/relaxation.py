"""Going downhill to a minimum with ASE's BFGS, started from the analytic Hessian."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from numpy.typing import ArrayLike

from kraft.analysis.trajectories import rmsd
from kraft.core.errors import GeometryError, OptionError
from kraft.core.typing import FloatArray
from kraft.interfaces.surface.images import ModelImages
from kraft.models import ForceField

FMAX = 1e-3
"""eV/Å: a geometry is relaxed when the force on no atom is larger."""

MAX_STEPS = 500

MAX_HESSIAN_ATOMS = 100
"""Larger molecules start from a general guess of the Hessian, since theirs takes long."""

_SOFTEST = 0.5
"""eV/Å²: curvatures below count as this in the first guess, so that steps stay small."""


@dataclass(frozen=True, eq=False)
class Relaxation:
    """A geometry that went downhill.

    Attributes
    ----------
    start, positions
        ``(N, 3)`` in Å, before and after.
    energy_before, energy_after
        eV.
    force_before, max_force
        Largest force on an atom before and after, eV/Å.
    forces
        ``(N, 3)`` after, eV/Å.
    rmsd
        How far the atoms moved, in Å, after the best superposition.
    n_steps
        Steps of the optimizer.
    converged
        Whether ``max_force`` is below what was asked for.
    interrupted
        Whether it was stopped from outside.
    novelty
        Of the geometry at the end: about 1 near the training geometries.
    """

    start: FloatArray
    positions: FloatArray
    energy_before: float
    energy_after: float
    force_before: float
    max_force: float
    forces: FloatArray
    rmsd: float
    n_steps: int
    converged: bool
    interrupted: bool
    novelty: float


def relax(
    force_field: ForceField,
    positions: ArrayLike,
    *,
    fmax: float = FMAX,
    max_steps: int = MAX_STEPS,
    stop_requested: Callable[[], bool] = lambda: False,
) -> Relaxation:
    """Go from a geometry down to the next minimum of a model.

    Parameters
    ----------
    force_field
        The model.
    positions
        ``(N, 3)`` in Å in the model's order of atoms.
    fmax
        Largest force on an atom that may be left, in eV/Å.
    max_steps
        Steps of the optimizer at most; look at ``converged``.
    stop_requested
        Asked after every step; True ends the work with what was reached.

    Raises
    ------
    GeometryError
        When the geometry does not fit the model, or the atoms run into each other.
    OptionError
        When an option is out of its range.
    """
    check_limits(fmax, max_steps)
    start = checked_geometry(force_field, positions)
    images = ModelImages(force_field, start[None])
    atoms = images.atoms[0]
    before, forces_before = (array[0] for array in images.results())
    n_steps, converged = minimize(force_field, atoms, fmax, max_steps, stop_requested)
    after, forces = (array[0] for array in images.results())
    return Relaxation(
        start=start,
        positions=atoms.positions.copy(),
        energy_before=float(before),
        energy_after=float(after),
        force_before=largest_force(forces_before),
        max_force=largest_force(forces),
        forces=forces,
        rmsd=float(rmsd(atoms.positions[None], start)[0]),
        n_steps=n_steps,
        converged=converged,
        interrupted=not converged and stop_requested(),
        novelty=float(force_field.novelty(atoms.positions)),
    )


def minimize(
    force_field: ForceField,
    atoms: Atoms,
    fmax: float,
    max_steps: int,
    stop_requested: Callable[[], bool],
) -> tuple[int, bool]:
    """Move ``atoms`` downhill, under their constraints; return the steps and whether it ended well.

    The steps are those of ASE's BFGS. Its first guess of the Hessian is that of the model with
    curvatures made positive, so that what follows are nearly Newton's steps.
    """
    from ase.optimize import BFGS  # slow: only where something is relaxed

    optimizer = BFGS(atoms, logfile=None)
    guess = _hessian_guess(force_field, atoms.positions)
    if guess is not None:
        optimizer.H0 = guess
    converged = False
    for reached in optimizer.irun(fmax, max_steps):  # type: ignore[no-untyped-call]
        converged = bool(reached)
        if converged or stop_requested():
            break
    return int(optimizer.nsteps), converged


def _hessian_guess(force_field: ForceField, positions: FloatArray) -> FloatArray | None:
    """Return the Hessian ``(3N, 3N)`` with positive curvatures; None without or for many atoms."""
    if force_field.kind.hessian is None or len(positions) > MAX_HESSIAN_ATOMS:
        return None
    values, vectors = np.linalg.eigh(force_field.hessian(positions))
    guess: FloatArray = (vectors * np.maximum(np.abs(values), _SOFTEST)) @ vectors.T
    return guess


def check_limits(fmax: float, max_steps: int) -> None:
    """Raise OptionError unless the limits of an optimization make sense."""
    if not (np.isfinite(fmax) and fmax > 0.0):
        raise OptionError(f"Expected a positive largest force (fmax), got {fmax}.")
    if max_steps < 1:
        raise OptionError(f"Expected at least 1 step (max_steps), got {max_steps}.")


def checked_geometry(force_field: ForceField, positions: ArrayLike) -> FloatArray:
    """Return a geometry ``(N, 3)`` as a new array; GeometryError when it is none of the model."""
    points = np.array(positions, dtype=np.float64)
    expected = (len(force_field.atomic_numbers), 3)
    if points.shape != expected:
        raise GeometryError(
            f"Expected one geometry of shape {expected}, got {points.shape}. Pass several "
            "geometries one by one."
        )
    return points


def largest_force(forces: FloatArray) -> float:
    """Return the largest force on an atom of ``(..., N, 3)``."""
    return float(np.linalg.norm(forces, axis=-1).max())
