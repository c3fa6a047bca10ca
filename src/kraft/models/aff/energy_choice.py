"""Choosing range and nugget of the energies' Gaussian process.

What matters is the energy given those of other geometries *and* the forces of its own. The
likelihood of the training energies alone knows nothing of the latter, and its choice makes energies
look far too certain, so the score is the logarithm of the predictive density at training geometries
that are held out, given their reference forces:

    mean [ ½ log v + ½ (E - Ê)² / v ].

The system has ``M`` rows only, so trials use all geometries, or six hundred of them.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from kraft.core.errors import SolverError
from kraft.core.progress import Progress
from kraft.core.random import generator
from kraft.kernels.atom_geometries import AtomGeometries, Distances
from kraft.kernels.radial import RadialKernel
from kraft.linalg.arrays import Array, tensor
from kraft.models.aff.energies import EnergyProcess
from kraft.models.aff.objective import log_prior, typical_distance
from kraft.models.compass_search import Point, compass_search

LENGTH_SCALE_BOUNDS = (0.05, 1000.0)
REGULARIZATION_BOUNDS = (1e-13, 1e-2)
"""Bounds of the search; the variance of an energy is about one."""

BOUNDS = tuple(
    (transform(low), transform(high))
    for transform, (low, high) in (
        (math.log2, LENGTH_SCALE_BOUNDS),
        (math.log10, REGULARIZATION_BOUNDS),
    )
)

START = (5.0, 1e-9)

HELD_OUT, LEAST_HELD_OUT = 60, 3
"""Training geometries that are held out, at most a quarter; with fewer than three, the profile
likelihood of the energies is the score."""

ROUNDS = ((300, 1.5, 0.375), (600, 0.375, 0.375))
"""Training geometries that trials look at, at most, and largest and smallest step, of each round;
steps are in powers of 2 (range) and 10 (nugget)."""


@dataclass(frozen=True)
class EnergyTrial:
    """Range in 1/Å and nugget that were tried, and their score as for the forces."""

    length_scale: float
    regularization: float
    n_train: int
    score: float


@dataclass(frozen=True)
class EnergyChoice:
    """The range and nugget of the energies, and everything that was tried.

    Attributes
    ----------
    criterion
        ``"held-out"``: the predictive likelihood of energies that were held out; ``"likelihood"``:
        the profile likelihood, with few geometries; ``"validation"``: the mean absolute error.
    at_bound
        Names of parameters that ended at a bound of the search.
    """

    length_scale: float
    regularization: float
    criterion: str
    score: float
    trials: tuple[EnergyTrial, ...]
    at_bound: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, eq=False)
class HeldEnergies:
    """Validation geometries, their predicted forces ``(V, N, 3)`` and energies ``(V,)``."""

    geometries: AtomGeometries
    forces: Tensor
    energies: Tensor


def choose_energies(
    geometries: AtomGeometries,
    forces: Tensor,
    energies: Tensor,
    kernel: RadialKernel,
    validation: HeldEnergies | None,
    *,
    seed: int,
    progress: Progress,
) -> EnergyChoice:
    """Choose by the predictive likelihood, or, with ``validation``, by the error there.

    Parameters
    ----------
    geometries, forces, energies
        The training geometries, their forces ``(M, N, 3)`` in eV/Å and energies ``(M,)`` in eV.
    kernel
        The radial kernel.
    validation
        Geometries whose energies are to be as right as possible.
    seed
        Of the random subsets.
    progress
        Told about the trials.

    Raises
    ------
    SolverError
        When no trial gave a solvable system.
    """
    started = time.perf_counter()
    order = generator(seed, "aff energies").permutation(len(geometries))
    held, criterion, available = validation, "validation", order
    if held is None:
        n_held = min(HELD_OUT, len(order) // 4)
        criterion = "held-out" if n_held >= LEAST_HELD_OUT else "likelihood"
        if criterion == "held-out":
            some, available = order[:n_held], order[n_held:]
            rows = torch.as_tensor(some, device=energies.device)
            held = HeldEnergies(geometries.subset(some), forces[rows], energies[rows])
    point: Point = (math.log2(START[0]), math.log10(START[1]))
    trials: list[EnergyTrial] = []
    before = 0
    for size, step, smallest_step in ROUNDS:
        chosen = np.sort(available[:size])
        if len(chosen) == before:
            break
        before = len(chosen)
        rows = torch.as_tensor(chosen, device=energies.device)
        search = _Round(geometries.subset(chosen), energies[rows], kernel, held, criterion)
        point = search.run(point, step, smallest_step, progress)
        trials += search.trials
    winner = min(search.trials, key=lambda trial: trial.score)
    if not math.isfinite(winner.score):
        raise SolverError(
            "No range and nugget in the searched range made the energies' covariance positive "
            "definite. Look for duplicate or coincident frames with `kraft info`."
        )
    names = ("energy_length_scale", "energy_regularization")
    return EnergyChoice(
        winner.length_scale,
        winner.regularization,
        criterion,
        winner.score,
        tuple(trials),
        tuple(
            name
            for name, x, (low, high) in zip(names, point, BOUNDS, strict=True)
            if not low + 1e-3 < x < high - 1e-3
        ),
        time.perf_counter() - started,
    )


class _Round:
    """A search on some of the training geometries."""

    def __init__(
        self,
        geometries: AtomGeometries,
        energies: Tensor,
        kernel: RadialKernel,
        held: HeldEnergies | None,
        criterion: str,
    ) -> None:
        self._geometries, self._energies = geometries, energies
        self._kernel, self._held, self._criterion = kernel, held, criterion
        self._spread = typical_distance(tensor(geometries.values))
        self._squared: Array = None
        if held is not None:
            self._squared = Distances(held.geometries, geometries).tile()
        self.trials: list[EnergyTrial] = []

    def run(self, start: Point, step: float, smallest_step: float, progress: Progress) -> Point:
        """Search from a point and return the best one."""

        def evaluate(point: Point) -> float:
            progress("choosing (energies)", len(self.trials), 0)
            length_scale, nugget = 2.0 ** point[0], 10.0 ** point[1]
            score = self._score(length_scale, nugget)
            score = score if math.isfinite(score) else math.inf
            self.trials.append(EnergyTrial(length_scale, nugget, len(self._energies), score))
            return score

        return compass_search(
            evaluate, start, BOUNDS, (0, 1), step=step, smallest_step=smallest_step
        )

    def _score(self, length_scale: float, nugget: float) -> float:
        process = EnergyProcess.fit(
            self._kernel, length_scale, nugget, self._geometries, self._energies
        )
        if process is None:
            return math.inf
        prior = log_prior(self._spread / length_scale, nugget, len(self._energies))
        if self._held is None:
            return -(process.log_likelihood + prior) / len(self._energies)
        try:
            found = process.conditional(self._held.geometries, self._squared, self._held.forces)
        except SolverError:
            return math.inf
        errors = found.energies - self._held.energies
        if self._criterion == "validation":
            return float(errors.abs().mean())
        if not bool((found.variances > 0.0).all()):
            return math.inf
        density = found.variances.log() + errors.square() / found.variances
        return 0.5 * float(density.mean()) - prior / len(errors)
