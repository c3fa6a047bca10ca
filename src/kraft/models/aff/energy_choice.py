"""Choosing range and nugget of the energies' Gaussian process.

What matters is the energy given those of other geometries *and* the predicted forces of its own.
The likelihood of the training energies alone knows nothing of the latter, and its choice makes
energies look far too certain, so the score is the logarithm of the predictive density at training
geometries that are held out, given their forces as predicted by the others:

    mean [ ½ log v + ½ (E - Ê - o)² / v ],     o = mean [ (E - Ê) / v ] / mean [ 1 / v ].

Their common error ``o`` is known and taken away (:mod:`kraft.models.aff.energies`). The system has
``M`` rows only, so trials use all geometries, or six hundred of them.
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
from kraft.core.typing import IntArray
from kraft.kernels.atom_geometries import AtomGeometries, Distances
from kraft.kernels.radial import RadialKernel
from kraft.linalg.arrays import Array, tensor
from kraft.models.aff.energies import EnergyProcess
from kraft.models.aff.left_out import LeftOut
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
"""Training geometries that are held out at a time, at most a quarter; with fewer than three, the
profile likelihood of the energies is the score. The offset comes from sixty, in as many parts as
that takes."""

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
    offset
        Mean error of the energies that were held out, in eV: to be added to predictions.
    held_out_error
        Root mean square of these errors less the offset, in eV; None without any held out.
    at_bound
        Names of parameters that ended at a bound of the search.
    """

    length_scale: float
    regularization: float
    criterion: str
    score: float
    trials: tuple[EnergyTrial, ...]
    offset: float
    held_out_error: float | None
    at_bound: tuple[str, ...]
    seconds: float


@dataclass(frozen=True, eq=False)
class HeldEnergies:
    """Geometries whose energies are held out, with the forces predicted there.

    Attributes
    ----------
    geometries, forces, energies
        ``V`` geometries, predicted forces ``(V, N, 3)`` in eV/Å, reference energies ``(V,)`` in eV.
    covariances
        ``(V, 3N, 3N)`` of the forces in eV²/Å², or None where they count as exact.
    """

    geometries: AtomGeometries
    forces: Tensor
    energies: Tensor
    covariances: Tensor | None = None


@dataclass(frozen=True, eq=False)
class _Fold:
    """Training geometries that are left, and what is held out."""

    rest: IntArray
    held: HeldEnergies


def frames_to_leave_out(n_train: int, seed: int) -> IntArray | None:
    """Return the training geometries whose forces the choice needs as predicted by the others.

    None where there are too few of them.
    """
    if n_train // 4 < LEAST_HELD_OUT:
        return None
    order: IntArray = generator(seed, "aff energies").permutation(n_train)[:HELD_OUT]
    return order


def choose_energies(
    geometries: AtomGeometries,
    forces: Tensor,
    energies: Tensor,
    kernel: RadialKernel,
    validation: HeldEnergies | None,
    left_out: LeftOut | None = None,
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
    left_out
        Forces at :func:`frames_to_leave_out`, as predicted by the other training geometries;
        reference forces take their place when not given.
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
    folds = _folds(geometries, forces, energies, validation, left_out, seed)
    criterion = "likelihood" if not folds else "held-out" if validation is None else "validation"
    held = folds[0].held if folds else None
    order = generator(seed, "aff energies").permutation(len(geometries))
    available = order if not folds else order[np.isin(order, folds[0].rest)]
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
    offset, error = _offset(folds, geometries, energies, kernel, winner)
    names = ("energy_length_scale", "energy_regularization")
    return EnergyChoice(
        winner.length_scale,
        winner.regularization,
        criterion,
        winner.score,
        tuple(trials),
        offset,
        error,
        tuple(
            name
            for name, x, (low, high) in zip(names, point, BOUNDS, strict=True)
            if not low + 1e-3 < x < high - 1e-3
        ),
        time.perf_counter() - started,
    )


def _folds(
    geometries: AtomGeometries,
    forces: Tensor,
    energies: Tensor,
    validation: HeldEnergies | None,
    left_out: LeftOut | None,
    seed: int,
) -> list[_Fold]:
    """Return what is held out in turn; the first one is what trials are judged by."""
    everything = np.arange(len(geometries))
    if validation is not None:
        return [_Fold(everything, validation)]
    frames = frames_to_leave_out(len(geometries), seed)
    if frames is None:
        return []
    if left_out is not None and not np.array_equal(left_out.frames, frames):
        raise AssertionError("other geometries were left out")
    rows = torch.as_tensor(frames, device=energies.device)
    predicted = forces[rows] if left_out is None else left_out.forces
    covariances = None if left_out is None else left_out.covariances
    folds = []
    at_a_time = min(HELD_OUT, len(geometries) // 4)
    for part in torch.split(torch.arange(len(frames), device=energies.device), at_a_time):
        some = frames[part.cpu().numpy()]
        held = HeldEnergies(
            geometries.subset(some),
            predicted[part],
            energies[rows[part]],
            None if covariances is None else covariances[part],
        )
        folds.append(_Fold(np.setdiff1d(everything, some), held))
    return folds


def _offset(
    folds: list[_Fold],
    geometries: AtomGeometries,
    energies: Tensor,
    kernel: RadialKernel,
    winner: EnergyTrial,
) -> tuple[float, float | None]:
    """Return the mean error of the energies that are held out, and what is left without it."""
    errors = []
    for fold in folds:
        rest = geometries.subset(fold.rest)
        rows = torch.as_tensor(fold.rest, device=energies.device)
        process = EnergyProcess.fit(
            kernel, winner.length_scale, winner.regularization, rest, energies[rows]
        )
        if process is None:
            continue
        squared = Distances(fold.held.geometries, rest).tile()
        try:
            found = process.conditional(fold.held.geometries, squared, fold.held.forces)
        except SolverError:
            continue
        errors.append(fold.held.energies - found.energies)
    if not errors:
        return 0.0, None
    together = torch.cat(errors)
    return float(together.mean()), float(together.std(correction=0))


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
        errors = self._held.energies - found.energies
        if self._criterion == "validation":
            return float((errors - errors.median()).abs().mean())
        variances = found.variances
        if self._held.covariances is not None:
            gains = found.gains[:, :, None]
            variances = variances + (gains * (self._held.covariances @ gains)).sum(dim=(1, 2))
        if not bool((variances > 0.0).all()):
            return math.inf
        errors = errors - (errors / variances).mean() / (1.0 / variances).mean()
        density = variances.log() + errors.square() / variances
        return 0.5 * float(density.mean()) - prior / len(errors)
