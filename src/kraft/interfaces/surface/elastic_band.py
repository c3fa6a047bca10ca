"""Reaction paths between two minima: ASE's nudged elastic band, all images predicted together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from kraft.analysis.trajectories import rmsd, superpose
from kraft.core.errors import GeometryError, OptionError
from kraft.core.progress import Progress, silent
from kraft.core.typing import FloatArray
from kraft.interfaces.surface.images import ModelImages
from kraft.interfaces.surface.profile import Barrier, Profile
from kraft.interfaces.surface.relaxation import (
    MAX_STEPS,
    check_limits,
    checked_geometry,
    largest_force,
    relax,
)
from kraft.models import ForceField

BAND_FMAX = 1e-3
"""eV/Å: a path is found when no image has a larger force across it (and the climbing one none)."""

MAX_BAND_STEPS = 2000
N_IMAGES = 9
_SPRING = 0.5
_BEFORE_CLIMBING = 50.0
"""The highest image starts to climb when forces are below this times what is asked for."""

_END_FMAX = 1e-3
_SAME = 0.05
"""Å: ends nearer than this are one geometry; another order of equivalent atoms has to be nearer by
more than this to count."""

EndOrder = Literal["check", "nearest", "keep"]


@dataclass(frozen=True, eq=False)
class ReactionPath:
    """A path from one minimum to another, over a transition state.

    Attributes
    ----------
    positions
        ``(P, N, 3)`` in Å, the ends included, each laid upon the one before.
    energies
        ``(P,)`` in eV.
    forces
        ``(P, N, 3)`` in eV/Å.
    lengths
        ``(P,)`` length of the path up to each image, in Å (root of the summed squares of all atoms'
        displacements).
    max_force
        Largest force on an atom across the path (the climbing image: any), eV/Å.
    converged
        Whether that is below what was asked for, and both ends are relaxed.
    n_steps
        Steps of the optimizer.
    climbed
        Whether the highest image is the transition state itself.
    end_moves
        How far relaxation moved the ends, RMSD in Å.
    order
        ``(N,)`` order into which the atoms of the end were brought.
    novelty
        ``(P,)``, about 1 near the training geometries.
    interrupted
        Whether it was stopped from outside.
    """

    positions: FloatArray
    energies: FloatArray
    forces: FloatArray
    lengths: FloatArray
    max_force: float
    converged: bool
    n_steps: int
    climbed: bool
    end_moves: tuple[float, float]
    order: tuple[int, ...]
    novelty: FloatArray
    interrupted: bool = False

    @property
    def top(self) -> int:
        """Number of the highest image."""
        return int(np.argmax(self.energies))

    @property
    def has_barrier(self) -> bool:
        """Whether some image between the ends is the highest."""
        return 0 < self.top < len(self.energies) - 1

    @property
    def forward(self) -> float:
        """Energy of the highest image above the start, eV."""
        return float(self.energies[self.top] - self.energies[0])

    @property
    def reverse(self) -> float:
        """Energy of the highest image above the end, eV."""
        return float(self.energies[self.top] - self.energies[-1])

    @property
    def profile(self) -> Profile:
        """The energies along the path as a curve; slopes from the forces."""
        tangents = np.gradient(
            self.positions.reshape(len(self.positions), -1), self.lengths, axis=0
        )
        tangents /= np.linalg.norm(tangents, axis=1, keepdims=True)
        slopes = -np.einsum("px,px->p", self.forces.reshape(len(tangents), -1), tangents)
        if self.climbed and self.converged:
            slopes[self.top] = 0.0
        return Profile(self.lengths, self.energies, slopes, between_minima=True)

    @property
    def barriers(self) -> tuple[Barrier, ...]:
        """Tops between minima inside the path: more than one when it passes other minima."""
        return self.profile.barriers()


def find_path(
    force_field: ForceField,
    start: ArrayLike,
    end: ArrayLike,
    *,
    n_images: int = N_IMAGES,
    climb: bool = True,
    relax_ends: bool = True,
    end_order: EndOrder = "check",
    fmax: float = BAND_FMAX,
    max_steps: int = MAX_BAND_STEPS,
    progress: Progress = silent,
    stop_requested: Callable[[], bool] = lambda: False,
) -> ReactionPath:
    """Find the path of lowest energy between two geometries (nudged elastic band).

    With improved tangents (Henkelman and Jónsson, J. Chem. Phys. 113, 9978 (2000)), from an
    interpolation of distances (IDPP: Smidstrup et al., J. Chem. Phys. 140, 214106 (2014)), the
    highest image climbing (Henkelman, Uberuaga and Jónsson, J. Chem. Phys. 113, 9901 (2000)).

    Parameters
    ----------
    force_field
        A conservative model.
    start, end
        ``(N, 3)`` in Å in the model's order of atoms. The end is laid upon the start.
    n_images
        Geometries between the ends.
    climb
        Whether the highest image climbs to the transition state.
    relax_ends
        Whether both ends go to their minima first.
    end_order
        What to do when the end is nearer to the start with equivalent atoms in another order:
        ``"check"`` raises an error, ``"nearest"`` reorders them, ``"keep"`` keeps them: the path
        then exchanges them, as when a methyl group turns by a third.
    fmax
        Largest force on an atom across the path, eV/Å.
    max_steps
        Steps of the optimizer at most; look at ``converged``.
    progress
        Told about the steps.
    stop_requested
        Asked after every step; True ends the work with what was reached.

    Raises
    ------
    GeometryError
        When geometries do not fit the model, are one and the same, or equivalent atoms of the end
        stand in another order.
    OptionError
        When an option is out of its range, or the model is not conservative.
    """
    check_limits(fmax, max_steps)
    if n_images < 1:
        raise OptionError(f"Expected at least 1 image between the ends, got {n_images}.")
    if not force_field.conservative:
        raise OptionError(
            "The forces of this model are no gradient of its energy, so that barriers depend on "
            "the path. Train an sGDML model for reaction paths."
        )
    first, last = (checked_geometry(force_field, end_) for end_ in (start, end))
    order = _matched(force_field, first, last, end_order)
    last = last[list(order)]
    moves = (0.0, 0.0)
    relaxed = True
    if relax_ends:
        tight = min(fmax, _END_FMAX)
        found = [
            relax(force_field, each, fmax=tight, max_steps=MAX_STEPS, stop_requested=stop_requested)
            for each in (first, last)
        ]
        (first, last), moves = [f.positions for f in found], (found[0].rmsd, found[1].rmsd)
        relaxed = all(each.converged for each in found)
    if force_field.parameters.cell is None:
        last = _laid_upon(last, first)
    if float(rmsd(last[None], first)[0]) < _SAME:
        why = " after relaxation: they fall into one minimum" if relax_ends else ""
        raise GeometryError(
            f"Start and end are the same geometry{why}. Expected two minima; check them with "
            "`kraft relax`."
        )
    band = _Band(force_field, first, last, n_images)
    n_steps, reached = band.optimize(climb, fmax, max_steps, progress, stop_requested)
    positions, (energies, forces) = band.images.positions, band.images.results()
    steps = np.diff(positions, axis=0).reshape(n_images + 1, -1)
    return ReactionPath(
        positions=positions,
        energies=energies,
        forces=forces,
        lengths=np.concatenate([[0.0], np.cumsum(np.linalg.norm(steps, axis=1))]),
        max_force=band.force(),
        converged=reached and relaxed,
        n_steps=n_steps,
        climbed=climb and band.climbing,
        end_moves=moves,
        order=order,
        novelty=force_field.novelty(positions),
        interrupted=not reached and stop_requested(),
    )


class _Band:
    """Images between two ends, as ASE's optimizer moves them."""

    def __init__(
        self, force_field: ForceField, first: FloatArray, last: FloatArray, n_images: int
    ) -> None:
        shares = np.linspace(0.0, 1.0, n_images + 2)[:, None, None]
        self.images = ModelImages(force_field, (1.0 - shares) * first + shares * last)
        from ase.mep import NEB  # slow: only where a path is sought
        from ase.optimize import FIRE

        band: Any = NEB  # untyped in ASE
        self._neb = band(
            self.images.atoms,
            k=_SPRING,
            method="improvedtangent",
            remove_rotation_and_translation=force_field.parameters.cell is None,
        )
        self._neb.interpolate(method="idpp")
        self._optimizer: Any = FIRE(self._neb, logfile=None)

    @property
    def climbing(self) -> bool:
        """Whether the highest image climbs by now."""
        return bool(self._neb.climb)

    def force(self) -> float:
        """Return the largest force on an atom that moves the band, eV/Å."""
        return largest_force(self._neb.get_forces())

    def optimize(
        self,
        climb: bool,
        fmax: float,
        max_steps: int,
        progress: Progress,
        stop_requested: Callable[[], bool],
    ) -> tuple[int, bool]:
        """Move the band; return the steps done and whether it reached ``fmax``."""
        reached = False
        stages = (_BEFORE_CLIMBING * fmax, fmax) if climb else (fmax,)
        for number, limit in enumerate(stages):
            self._neb.climb = climb and number == 1
            left = max_steps - int(self._optimizer.nsteps)
            for converged in self._optimizer.irun(limit, left):
                progress("moving the path", int(self._optimizer.nsteps), max_steps)
                reached = bool(converged) and number == len(stages) - 1
                if converged or stop_requested():
                    break
            if stop_requested() or self._optimizer.nsteps >= max_steps:
                break
        return int(self._optimizer.nsteps), reached


def _matched(
    force_field: ForceField, first: FloatArray, last: FloatArray, wanted: EndOrder
) -> tuple[int, ...]:
    """Return the order of the end's atoms to take, or raise when it is another than theirs."""
    same = tuple(range(len(first)))
    orders = force_field.permutations
    if wanted == "keep" or len(orders) < 2:
        return same
    distances = superpose(last[orders], first).rmsd
    plain = float(rmsd(last[None], first)[0])
    best = int(np.argmin(distances))
    if plain - float(distances[best]) < _SAME:
        return same
    order = tuple(int(atom) for atom in orders[best])
    if wanted == "nearest":
        return order
    raise GeometryError(
        f"Equivalent atoms of the end are in another order than those of the start: RMSD "
        f"{plain:.2f} Å, but {float(distances[best]):.2f} Å with atoms[{list(order)}]. The path "
        "would exchange them. Take the nearest order (--end-order nearest; Python: "
        "end_order='nearest'), or keep theirs where the exchange is what the path is for (keep)."
    )


def _laid_upon(positions: FloatArray, reference: FloatArray) -> FloatArray:
    """Return a geometry turned and shifted to be nearest to a reference."""
    found = superpose(positions[None], reference)
    turned = (positions - found.centers[0]) @ found.rotations[0].T
    laid: FloatArray = turned + reference.mean(axis=0)
    return laid
